"""Draw the parameters of a document.

Each parameter has a random stream of its own, keyed by (seed, its name): adding one parameter
leaves the draws of the others as they were, and a nominal twin shares the draws of the danger it
belongs to.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from alpamayo import streams
from scenarios.evaluate import DrawError
from scenarios.expressions import ExpressionError, parse, parse_condition
from scenarios.quantities import near
from scenarios.schema import Distribution, ScenarioDocument
from scenarios.yaml_tree import Loc, Problem

MOST_DRAWS = 1000  # until a draw must meet the constraints


@lru_cache(maxsize=4096)
def stable_hash(name: str) -> int:
    """The same 63-bit number for ``name`` in every process and version."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def uniforms(seed: int, names: list[str]) -> dict[str, float]:
    """One number in (0, 1) per name, from the stream of (seed, name)."""
    if not names:
        return {}
    counters = np.array([stable_hash(name) for name in names], np.int64)
    values = streams.uniform(streams.keys(seed, streams.STREAM_PARAMETERS, counters), 1)[:, 0]
    return dict(zip(names, values.tolist(), strict=True))


def draw_parameters(document: ScenarioDocument, seed: int) -> dict[str, Any]:
    """Name -> number or text. What breaks a constraint is drawn again, from streams of its own;
    raises DrawError if no draw meets them all.
    """
    names = [name for name, value in document.parameters.items() if isinstance(value, Distribution)]
    cells = grid_cells(document, seed)
    if not document.constraints:
        return parameters_at(document, uniforms(seed, names) | cells)
    broken: Counter[str] = Counter()
    tried: list[dict[str, Any]] = []
    for attempt in range(MOST_DRAWS):
        streams_ = names if attempt == 0 else [f"{name} attempt {attempt}" for name in names]
        quantiles = dict(zip(names, uniforms(seed, streams_).values(), strict=True))
        values = parameters_at(document, quantiles | cells)
        unmet = unmet_constraints(document, values)
        if not unmet:
            return values
        broken.update(unmet)
        tried.append(values)
    raise DrawError([_never_met(document, seed, broken, tried)])


def grid_cells(document: ScenarioDocument, seed: int) -> dict[str, float]:
    """Name -> quantile of the grids: seed after seed counts through their combinations, the first
    name in the alphabet fastest.
    """
    cells: dict[str, float] = {}
    count = 1
    for name, spec in sorted(document.parameters.items()):
        if isinstance(spec, Distribution) and spec.grid is not None:
            size = len(spec.grid)
            cells[name] = (seed // count % size + 0.5) / size
            count *= size
    return cells


def unmet_constraints(document: ScenarioDocument, values: Mapping[str, Any]) -> list[str]:
    """The constraints that ``values`` break; raises DrawError for one that makes no sense."""
    unmet = []
    for i, text in enumerate(document.constraints):
        try:
            if not parse_condition(text).holds(values):
                unmet.append(text)
        except ExpressionError as error:
            raise DrawError([Problem(("constraints", i), str(error))]) from None
        except KeyError as error:
            raise DrawError(
                [Problem(("constraints", i), f"unknown parameter ${error.args[0]}")]
            ) from None
    return unmet


def _never_met(
    document: ScenarioDocument, seed: int, broken: Counter[str], tried: list[dict[str, Any]]
) -> Problem:
    """What to say about constraints that no draw met: the one broken most, and what was drawn."""
    text, count = broken.most_common(1)[0]
    drawn = []
    for name in parse_condition(text).names:
        values = [values[name] for values in tried]
        if all(isinstance(value, int | float) for value in values):
            drawn.append(f"${name} from {min(values):.4g} to {max(values):.4g}")
        else:
            drawn.append(f"${name} out of {', '.join(sorted({str(value) for value in values}))}")
    held = MOST_DRAWS - count
    alone = "" if len(document.constraints) == 1 else " together with the others"
    return Problem(
        ("constraints", document.constraints.index(text)),
        f'cannot be met{alone}: "{text}" held in {held} of {MOST_DRAWS} draws of seed {seed}, with '
        f"{' and '.join(drawn)}; expected parameters that meet it more often",
    )


def parameters_at(document: ScenarioDocument, quantiles: Mapping[str, float]) -> dict[str, Any]:
    """Parameters at the given quantile (0 to 1) of each distribution."""
    values: dict[str, Any] = {}
    busy: list[str] = []

    def value_of(name: str) -> Any:
        if name in values:
            return values[name]
        loc: Loc = ("parameters", name)
        if name in busy:
            loop = " -> ".join([*busy[busy.index(name) :], name])
            raise DrawError(
                [
                    Problem(
                        ("parameters", busy[-1]),
                        f"parameters refer to each other in a loop: {loop}",
                    )
                ]
            )
        if name not in document.parameters:
            hint = near(name, document.parameters)
            raise DrawError([Problem(("parameters", busy[-1]), f"unknown parameter ${name}{hint}")])
        busy.append(name)
        spec = document.parameters[name]
        try:
            if isinstance(spec, Distribution):
                values[name] = _quantile(spec, quantiles[name], number)
            else:
                values[name] = number(spec)
        except ExpressionError as error:
            raise DrawError([Problem(loc, str(error))]) from None
        busy.pop()
        return values[name]

    def number(quantity: float | str) -> float:
        if not isinstance(quantity, str):
            return quantity
        expression = parse(quantity)
        known = {name: value_of(name) for name in expression.names}
        return expression.value(known)

    for name in document.parameters:
        value_of(name)
    return {name: values[name] for name in document.parameters}


def _quantile(spec: Distribution, q: float, number: Any) -> Any:
    if spec.uniform is not None:
        low, high = (number(x) for x in spec.uniform)
        if low > high:
            raise ExpressionError(
                f"expected uniform: [low, high] with low <= high, got [{low:g}, {high:g}]"
            )
        return low + (high - low) * q
    if spec.select is not None:
        index = number(spec.by)
        if index not in range(len(spec.select)):
            raise ExpressionError(
                f"by: expected a whole number from 0 to {len(spec.select) - 1}, got {index:g}"
            )
        return spec.select[int(index)]
    if spec.grid is not None:
        return spec.grid[min(int(q * len(spec.grid)), len(spec.grid) - 1)]
    if spec.choice is not None:
        weights = np.asarray(spec.weights or [1.0] * len(spec.choice), float)
        index = int(np.searchsorted(np.cumsum(weights) / weights.sum(), q, side="right"))
        return spec.choice[min(index, int(np.flatnonzero(weights)[-1]))]
    normal = spec.normal
    assert normal is not None
    shape = NormalDist(number(normal.mean), number(normal.std))
    low = shape.cdf(number(normal.min)) if normal.min is not None else 0.0
    high = shape.cdf(number(normal.max)) if normal.max is not None else 1.0
    if not low < high:
        raise ExpressionError("expected min below max, within reach of mean and std")
    inside = min(max(low + (high - low) * q, 1e-12), 1.0 - 1e-12)
    value = shape.inv_cdf(inside)
    value = value if normal.min is None else max(value, number(normal.min))
    return value if normal.max is None else min(value, number(normal.max))
