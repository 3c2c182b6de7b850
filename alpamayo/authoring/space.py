"""The parameter space of a scenario as a unit cube: each drawn parameter at its quantile.

A draw of the scenario is a uniform point of the cube, whatever the distributions are, so that cells
of equal width are equally probable, and another density over the cube has plain importance weights
(1 / density).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from alpamayo.types import FloatArray
from scenarios.expressions import parse
from scenarios.parameters import parameters_at
from scenarios.schema import Distribution, ScenarioDocument


@dataclass(frozen=True)
class Dimension:
    """One drawn parameter. ``edges`` [K + 1] from 0 to 1 bound its K cells; ``labels`` name the
    values of a choice (none for numbers)."""

    name: str
    spec: Distribution
    edges: FloatArray
    labels: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        return len(self.edges) - 1

    def cell(self, quantile: float) -> int:
        """Which cell the quantile lies in."""
        found = int(np.searchsorted(self.edges, quantile, side="right")) - 1
        return min(max(found, 0), self.cells - 1)


def dimensions(document: ScenarioDocument, bins: int) -> tuple[Dimension, ...]:
    """The parameters that are drawn; a number has ``bins`` cells, a choice one for each value."""
    return tuple(
        _dimension(name, spec, bins)
        for name, spec in document.parameters.items()
        if isinstance(spec, Distribution) and spec.select is None
    )


def _dimension(name: str, spec: Distribution, bins: int) -> Dimension:
    choice = spec.choice or spec.grid
    if choice is None:
        return Dimension(name, spec, np.linspace(0.0, 1.0, bins + 1))
    weights = np.asarray(spec.weights or [1.0] * len(choice), dtype=np.float64)
    weights /= weights.sum()
    labels: list[str] = []
    widths: list[float] = []
    for value, weight in zip(choice, weights, strict=True):
        text = as_label(value)
        if labels and labels[-1] == text:
            widths[-1] += weight
        elif weight > 0.0:
            labels.append(text)
            widths.append(weight)
    edges = np.concatenate([[0.0], np.cumsum(widths)])
    edges[-1] = 1.0
    return Dimension(name, spec, edges, tuple(labels))


def as_label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def values_at(document: ScenarioDocument, quantiles: Mapping[str, float]) -> dict[str, Any]:
    """All parameters of the document at a point of its cube."""
    follow = {
        name: 0.5
        for name, spec in document.parameters.items()
        if isinstance(spec, Distribution) and spec.select is not None
    }
    return parameters_at(document, {**follow, **quantiles})


def quantile_of(spec: Distribution, value: Any, parameters: Mapping[str, Any]) -> float | None:
    """Where in 0 .. 1 ``value`` lies; ``parameters`` are the draw's others, for bounds that are
    expressions. None if the distribution cannot give this value.
    """
    if spec.choice is not None or spec.grid is not None:
        return _choice_quantile(spec, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if spec.uniform is not None:
        low, high = (_number(x, parameters) for x in spec.uniform)
        if high <= low:
            return 0.5 if np.isclose(value, low) else None
        return _inside((value - low) / (high - low))
    normal = spec.normal
    if normal is None:
        return None
    shape = NormalDist(_number(normal.mean, parameters), _number(normal.std, parameters))
    bottom = 0.0 if normal.min is None else shape.cdf(_number(normal.min, parameters))
    top = 1.0 if normal.max is None else shape.cdf(_number(normal.max, parameters))
    return _inside((shape.cdf(value) - bottom) / (top - bottom)) if bottom < top else None


def _choice_quantile(spec: Distribution, value: Any) -> float | None:
    choice = spec.choice or spec.grid or []
    weights = np.asarray(spec.weights or [1.0] * len(choice), dtype=np.float64)
    ends = np.cumsum(weights) / weights.sum()
    for i, known in enumerate(choice):
        if known == value and weights[i] > 0.0:
            return float(ends[i] - 0.5 * weights[i] / weights.sum())
    return None


def _number(quantity: float | str, parameters: Mapping[str, Any]) -> float:
    return float(parse(quantity).value(parameters)) if isinstance(quantity, str) else quantity


def _inside(quantile: float) -> float | None:
    """Rounding may end just outside; what is far outside another distribution has drawn."""
    return min(max(quantile, 0.0), 1.0) if -1e-6 <= quantile <= 1.0 + 1e-6 else None
