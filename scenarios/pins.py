"""Fix parameters of a scenario at given values, so that a suite can hold one exact case."""

from __future__ import annotations

from collections.abc import Mapping

from scenarios.quantities import near
from scenarios.schema import Distribution, ScenarioDocument

Pins = Mapping[str, float | str]


def pinned(document: ScenarioDocument, pins: Pins) -> ScenarioDocument:
    """The document with these parameters at these values instead of drawn."""
    if not pins:
        return document
    fixed = {
        name: Distribution(choice=[value]) if isinstance(value, str) else float(value)
        for name, value in pins.items()
    }
    return document.model_copy(update={"parameters": {**document.parameters, **fixed}})


def complaint(document: ScenarioDocument, name: str, value: float | str) -> str | None:
    """Why this parameter cannot be fixed at this value; None if it can. Bounds that are expressions
    are not checked here.
    """
    spec = document.parameters.get(name)
    if spec is None:
        known = document.parameters
        return f"{document.id} has no such parameter{near(name, known) or ''}"
    if not isinstance(spec, Distribution) or spec.select is not None:
        return "follows from other parameters; fix those"
    choice = spec.choice or spec.grid
    if choice is not None:
        if value in choice:
            return None
        return f"expected one of {', '.join(map(str, dict.fromkeys(choice)))}, got {value}"
    if isinstance(value, str):
        return f"expected a number, got {value}"
    low, high = bounds(spec)
    if not low <= value <= high:
        return f"expected {low:g} to {high:g}, got {value:g}"
    return None


def bounds(spec: Distribution) -> tuple[float, float]:
    """Lowest and highest value of uniform and normal; infinite where an expression says."""
    ends: tuple[float | str | None, float | str | None] = (None, None)
    if spec.uniform is not None:
        ends = (spec.uniform[0], spec.uniform[1])
    elif spec.normal is not None:
        ends = (spec.normal.min, spec.normal.max)
    low, high = ends
    return (
        low if isinstance(low, float | int) else -float("inf"),
        high if isinstance(high, float | int) else float("inf"),
    )
