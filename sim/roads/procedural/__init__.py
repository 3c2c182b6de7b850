"""Roads from a few numbers: one layout function for each kind of road."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from alpamayo.types import RequestError, RoadSpec
from sim.roads.layout import Layout

# Module and function of each kind, imported when first asked for.
LAYOUTS = {
    "straight": "basic:straight_or_curve",
    "curve": "basic:straight_or_curve",
    "merge": "basic:merge",
    "junction": "junction:junction",
    "s_curve": "s_curve:s_curve",
    "exit": "exit_ramp:exit_ramp",
    "t_junction": "t_junction:t_junction",
    "roundabout": "roundabout:roundabout",
    "lane_drop": "lane_drop:lane_drop",
    "parking_street": "parking_street:parking_street",
    "crest": "crest:crest",
}


def lay_out(spec: RoadSpec) -> Layout:
    """The layout of a procedural road. Raises ``RequestError`` for what its kind cannot be."""
    if spec.kind not in LAYOUTS:
        known = ", ".join([*LAYOUTS, "opendrive"])
        raise RequestError(f"road: kind: expected one of {known}, got {spec.kind!r}")
    _check(spec)
    module, name = LAYOUTS[spec.kind].split(":")
    function: Callable[[RoadSpec], Layout] = getattr(import_module(f"{__name__}.{module}"), name)
    return function(spec)


def _check(spec: RoadSpec) -> None:
    """The bounds that all kinds share."""
    if spec.lanes < 1 or spec.oncoming_lanes < 0:
        raise RequestError(
            f"road: lanes: expected lanes >= 1 and oncoming_lanes >= 0, got {spec.lanes} "
            f"and {spec.oncoming_lanes}"
        )
    bounds = {"lane_width_m": (2.0, 6.0), "shoulder_m": (0.0, 6.0), "length_m": (60.0, 5000.0)}
    for key, (low, high) in bounds.items():
        value = getattr(spec, key)
        if not low <= value <= high:
            raise RequestError(f"road: {key}: expected {low:g} to {high:g} m, got {value:g}")
    if not spec.speed_limit_mps > 0.0:
        raise RequestError(
            f"road: speed_limit_mps: expected more than 0, got {spec.speed_limit_mps:g}"
        )
