"""A main road and a ramp that leaves it to the right."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import F64, FINE_STEP_M, Line, line_from_curvature, line_from_graph
from sim.roads.maps import Marking
from sim.roads.procedural.basic import APART_M, BESIDE_M, TAPER_M
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import (
    RUN_OUT_M,
    add_dividers,
    add_lanes,
    blend,
    require,
    side,
    strip,
)

GORE_PAVED_M = 2.5  # the gore is paved up to where it is this wide
GORE_OPENS_M = 0.3
CHEVRON_EVERY_M = 4.0


def exit_ramp(spec: RoadSpec) -> Layout:
    """Main lanes as on a straight road, and the path ``exit``.

    It runs on lane 0, goes over a taper onto a deceleration lane, along it and away to the right: a
    ``merge`` driven backwards. Raises ``RequestError`` for too short a road.
    """
    require(spec.length_m >= 200.0, spec, "length_m", "at least 200 m for an exit")
    width, taper = spec.lane_width_m, 0.5 * spec.length_m - TAPER_M
    ramp = _ramp(spec, taper)
    middle = line_from_curvature([(0.0, 0.0), (spec.length_m, 0.0)])
    out = Layout()
    add_lanes(out, spec, middle)
    out.lanes.append(Lane("exit", ramp, width_m=width))
    # The ramp's graph leaves x and its arc length close together; all stations are arc lengths.
    away = -width - ramp.xy[:, 1]  # how far the ramp's lane has left the one beside lane 0
    opens, paved = (float(np.interp(w, away, ramp.s_m)) for w in (GORE_OPENS_M, GORE_PAVED_M))
    _surfaces(out, spec, middle, ramp, taper, paved)
    _paint(out, spec, middle, ramp, taper, opens)
    _gore(out, spec, ramp, opens, paved)
    beside = 0.5 * width + spec.shoulder_m
    left = (spec.lanes + spec.oncoming_lanes - 0.5) * width + spec.shoulder_m
    frontages = [
        Frontage(ramp, -beside - 2.0, 0.0, ramp.length_m),
        Frontage(middle, left + 2.0, 0.0, spec.length_m),
    ]
    add_scenery(out, road_seed(spec), frontages, every_m=40.0, buildings=0.1, trees=0.5)
    return out


def _ramp(spec: RoadSpec, taper: float) -> Line:
    leaves = taper + TAPER_M + BESIDE_M
    x = np.linspace(0.0, spec.length_m, round(spec.length_m / FINE_STEP_M) + 1)
    change = blend(x, taper, TAPER_M)
    # The second step would end beyond the road: the ramp is still turning away there.
    away = blend(x, leaves, 1.3 * (spec.length_m - leaves))
    y, dy, ddy = (-spec.lane_width_m * a - APART_M * b for a, b in zip(change, away, strict=True))
    return line_from_graph(x, y, dy, ddy)


def _surfaces(
    out: Layout, spec: RoadSpec, middle: Line, ramp: Line, taper: float, paved: float
) -> None:
    half = 0.5 * spec.lane_width_m
    left = (spec.lanes + spec.oncoming_lanes - 0.5) * spec.lane_width_m
    out.surfaces.append(strip(middle, -half - spec.shoulder_m, left + spec.shoulder_m))
    out.surfaces.append(
        strip(ramp, -half - spec.shoulder_m, half + spec.shoulder_m, start_m=taper - 1.0)
    )
    # Between lane 0 and the ramp, so that the gore has no hole in it.
    ramp_left = side(ramp, half, taper, paved)
    lane0_right = np.array([[ramp_left[-1, 0], -half], [taper, -half]])
    out.surfaces.append(np.concatenate([ramp_left, lane0_right]))


def _paint(
    out: Layout, spec: RoadSpec, middle: Line, ramp: Line, taper: float, opens: float
) -> None:
    """Lane 0's edge line moves out with the deceleration lane; a new one begins at the gore."""
    half = 0.5 * spec.lane_width_m
    gore_x = float(ramp.at([opens], half)[0][0, 0])
    out.markings.append(Marking(side(ramp, -half), "edge"))
    last = spec.length_m + RUN_OUT_M
    out.markings.append(Marking(np.array([[gore_x, -half], [last, -half]]), "edge"))
    out.markings.append(Marking(side(ramp, half, opens), "edge"))
    dashed = np.array([[taper + 0.5 * TAPER_M, -half], [gore_x, -half]])
    out.markings.append(Marking(dashed, "dashed"))
    add_dividers(out, spec, middle)


def _gore(out: Layout, spec: RoadSpec, ramp: Line, opens: float, paved: float) -> None:
    """Chevrons between the two edge lines of the gore, pointing at the traffic."""
    half = 0.5 * spec.lane_width_m
    for s in np.arange(opens + CHEVRON_EVERY_M, paved + 1e-6, CHEVRON_EVERY_M):
        ramp_side = ramp.at([s], half)[0][0]
        main_side = np.array([ramp_side[0], -half])
        tip = 0.5 * (ramp_side + main_side) - [_lead(ramp_side, main_side), 0.0]
        points: F64 = np.stack([main_side, tip, ramp_side])
        out.markings.append(Marking(points, "solid", 0.3))


def _lead(one: F64, other: F64) -> float:
    return 0.5 * float(np.hypot(*(one - other)))
