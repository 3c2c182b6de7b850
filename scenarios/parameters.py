"""Draw the parameters of a document.

Each parameter has a random stream of its own, keyed by (seed, its name): adding one parameter
leaves the draws of the others as they were, and a nominal twin shares the draws of the danger it
belongs to.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from alpamayo import streams
from scenarios.evaluate import DrawError
from scenarios.expressions import ExpressionError, parse, parse_condition
from scenarios.quantities import near
from scenarios.schema import Distribution, Normal, ScenarioDocument
from scenarios.yaml_tree import Problem

MOST_DRAWS = 1000  # until a draw must meet the constraints


@lru_cache(maxsize=4096)
def stable_hash(name: str) -> int:
    """The same 63-bit number for ``name`` in every process and version."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def uniforms(seed: int, names: list[str]) -> dict[str, float]:
    """One number in (0, 1) per name, from the stream of (seed, name)."""
    return {name: _uniform(seed, name) for name in names}


@lru_cache(maxsize=65_536)
def _uniform(seed: int, name: str) -> float:
    return streams.one_uniform(seed, streams.STREAM_PARAMETERS, stable_hash(name))


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
    for name, drawn, value_of in _steps(document):
        try:
            values[name] = value_of(quantiles[name] if drawn else 0.0, values)
        except ExpressionError as error:
            raise DrawError([Problem(("parameters", name), str(error))]) from None
    return {name: values[name] for name in document.parameters}


# --------------------------------------------------------------------------------------
# How each parameter comes about: put together once for all draws of a document
# --------------------------------------------------------------------------------------
_Values = Mapping[str, Any]
_Step = tuple[str, bool, Callable[[float, _Values], Any]]  # name, whether it has a quantile


def _steps(document: ScenarioDocument) -> tuple[_Step, ...]:
    """One step per parameter, in an order in which everything is known that a step asks for."""
    kept = document._steps
    if kept is None or kept[0] is not document.parameters:
        steps = []
        for name in _order(document.parameters):
            spec = document.parameters[name]
            if isinstance(spec, Distribution):
                steps.append((name, True, _of_distribution(spec)))
            else:
                steps.append((name, False, _constant_quantile(_number(spec))))
        kept = document._steps = (document.parameters, tuple(steps))
    return kept[1]  # type: ignore[no-any-return]


def _order(parameters: Mapping[str, Any]) -> list[str]:
    """Names, each behind those that it refers to."""
    done: dict[str, None] = {}
    busy: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in busy:
            loop = " -> ".join([*busy[busy.index(name) :], name])
            message = f"parameters refer to each other in a loop: {loop}"
            raise DrawError([Problem(("parameters", busy[-1]), message)])
        if name not in parameters:
            message = f"unknown parameter ${name}{near(name, parameters)}"
            raise DrawError([Problem(("parameters", busy[-1]), message)])
        busy.append(name)
        for quantity in _quantities(parameters[name]):
            for other in parse(quantity).names if isinstance(quantity, str) else ():
                visit(other)
        busy.pop()
        done[name] = None

    for name in parameters:
        visit(name)
    return list(done)


def _quantities(spec: Any) -> list[Any]:
    """The numbers and expressions that a parameter is made of."""
    if not isinstance(spec, Distribution):
        return [spec]
    normal = spec.normal
    of_normal = [] if normal is None else [normal.mean, normal.std, normal.min, normal.max]
    return [*(spec.uniform or ()), spec.by, *of_normal]


def _number(quantity: float | str) -> Callable[[_Values], float]:
    if isinstance(quantity, str):
        return parse(quantity).value
    return lambda values: quantity


def _constant_quantile(number: Callable[[_Values], float]) -> Callable[[float, _Values], Any]:
    return lambda q, values: number(values)


def _of_distribution(spec: Distribution) -> Callable[[float, _Values], Any]:
    """(quantile, values known so far) -> value."""
    if spec.uniform is not None:
        return _of_uniform(*(_number(end) for end in spec.uniform))
    if spec.select is not None:
        assert spec.by is not None
        return _of_select(spec.select, _number(spec.by))
    if spec.grid is not None:
        grid = spec.grid
        return lambda q, values: grid[min(int(q * len(grid)), len(grid) - 1)]
    if spec.choice is not None:
        return _of_choice(spec.choice, spec.weights or [1.0] * len(spec.choice))
    assert spec.normal is not None
    return _of_normal(spec.normal)


def _of_uniform(
    low_of: Callable[[_Values], float], high_of: Callable[[_Values], float]
) -> Callable[[float, _Values], float]:
    def value(q: float, values: _Values) -> float:
        low, high = low_of(values), high_of(values)
        if low > high:
            raise ExpressionError(
                f"expected uniform: [low, high] with low <= high, got [{low:g}, {high:g}]"
            )
        return low + (high - low) * q

    return value


def _of_select(
    choices: list[float | str], by: Callable[[_Values], float]
) -> Callable[[float, _Values], float | str]:
    def value(q: float, values: _Values) -> float | str:
        index = by(values)
        if index not in range(len(choices)):
            raise ExpressionError(
                f"by: expected a whole number from 0 to {len(choices) - 1}, got {index:g}"
            )
        return choices[int(index)]

    return value


def _of_choice(
    choices: list[float | str], weights: list[float]
) -> Callable[[float, _Values], float | str]:
    ends = (np.cumsum(weights) / np.sum(weights)).tolist()
    last = max(i for i, weight in enumerate(weights) if weight > 0.0)
    return lambda q, values: choices[min(bisect_right(ends, q), last)]


def _of_normal(spec: Normal) -> Callable[[float, _Values], float]:
    mean_of, std_of = _number(spec.mean), _number(spec.std)
    min_of = None if spec.min is None else _number(spec.min)
    max_of = None if spec.max is None else _number(spec.max)

    def value(q: float, values: _Values) -> float:
        shape = NormalDist(mean_of(values), std_of(values))
        least = -math.inf if min_of is None else min_of(values)
        most = math.inf if max_of is None else max_of(values)
        low = 0.0 if min_of is None else shape.cdf(least)
        high = 1.0 if max_of is None else shape.cdf(most)
        if not low < high:
            raise ExpressionError("expected min below max, within reach of mean and std")
        inside = min(max(low + (high - low) * q, 1e-12), 1.0 - 1e-12)
        return min(max(shape.inv_cdf(inside), least), most)

    return value
