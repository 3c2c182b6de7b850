"""An S: a bend one way, then the same bend the other way."""

from __future__ import annotations

from alpamayo.types import RoadSpec
from sim.roads.layout import Layout
from sim.roads.lines import line_from_curvature
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import (
    LEAD_IN_M,
    SIGN_BESIDE_M,
    carriageway,
    place_sign,
    require,
)

EASE_M = 30.0
MAX_TURN_RAD = 1.3  # the rest of the length is straight


def s_curve(spec: RoadSpec) -> Layout:
    """Lane 0 starts at the origin along +x and turns left by ``radius_m``, then right by it.

    Curvature changes linearly over clothoids (Euler spirals); both ends are parallel. A negative
    radius turns right first. Raises ``RequestError`` for too small a radius or length.
    """
    span = (spec.lanes + spec.oncoming_lanes) * spec.lane_width_m + 5.0
    require(
        abs(spec.radius_m) >= span, spec, "radius_m", f"at least {span:g} m either way for an S"
    )
    radius = abs(spec.radius_m)
    ease = min(EASE_M, 0.5 * radius)
    least = 2 * LEAD_IN_M + 4 * ease
    require(spec.length_m >= least, spec, "length_m", f"at least {least:g} m for this radius")
    bend = 1.0 / spec.radius_m
    hold = min(0.5 * (spec.length_m - least), MAX_TURN_RAD * radius - ease)
    steps = [
        (LEAD_IN_M, 0.0), (ease, bend), (hold, bend), (2 * ease, -bend), (hold, -bend), (ease, 0.0),
    ]  # fmt: skip
    knots = [(0.0, 0.0)]
    for length, curvature in steps:
        knots.append((knots[-1][0] + length, curvature))
    if knots[-1][0] < spec.length_m:
        knots.append((spec.length_m, 0.0))
    middle = line_from_curvature(knots)
    out = carriageway(spec, middle)
    right = -0.5 * spec.lane_width_m - spec.shoulder_m
    left = right + (spec.lanes + spec.oncoming_lanes) * spec.lane_width_m + 2 * spec.shoulder_m
    place_sign(out, middle, 0.5 * LEAD_IN_M, right - SIGN_BESIDE_M, "warning")
    sides = [Frontage(middle, edge, 0.0, spec.length_m) for edge in (right - 2.0, left + 2.0)]
    add_scenery(out, road_seed(spec), sides, every_m=30.0, buildings=0.1, trees=0.6)
    return out
