"""The signalled four-way junction."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import eased_turn, line_from_curvature
from sim.roads.maps import YELLOW, Marking
from sim.roads.procedural.shapes import ARMS, INBOUND, RUN_OUT_M, require_single_lanes, turned

ARM_M = 120.0
RIGHT_TURN_LEG_M = 9.0
STOP_BEFORE_M = 1.0  # the stop line lies this far before the turns begin
HEAD_BESIDE_M = 0.9
STOP_WIDTH_M = 0.5
# Destination of each movement, by arm: straight, left, right.
_MOVES = {
    "south": ("north", "west", "east"),
    "north": ("south", "east", "west"),
    "west": ("east", "north", "south"),
    "east": ("west", "south", "north"),
}


def junction(spec: RoadSpec) -> Layout:
    """A signalled 4-way crossing centred at the origin, one lane per direction and arm.

    Lanes are called ``<from>_<to>``; left turns give way to oncoming traffic that goes straight or
    turns right. Raises ``RequestError`` for other numbers of lanes.
    """
    require_single_lanes(spec, "junction")
    out = Layout()
    half_lane = 0.5 * spec.lane_width_m
    box = RIGHT_TURN_LEG_M + half_lane  # turns begin and end this far from the centre
    turns = {
        1: eased_turn(box + half_lane, 0.5 * np.pi),
        2: eased_turn(box - half_lane, -0.5 * np.pi),
    }
    for arm in ARMS:
        heading = INBOUND[arm]
        start = turned(np.array([[-box - ARM_M, -half_lane]]), heading)[0]
        opposite = _MOVES[arm][0]
        oncoming = tuple(f"{opposite}_{_MOVES[opposite][move]}" for move in (0, 2))
        for move, destination in enumerate(_MOVES[arm]):
            if move == 0:
                knots, inner = [(0.0, 0.0), (2 * box, 0.0)], 2 * box
            else:
                knots, inner = turns[move]
            shifted = [(0.0, 0.0), *((ARM_M + s, k) for s, k in knots), (2 * ARM_M + inner, 0.0)]
            out.lanes.append(
                Lane(
                    f"{arm}_{destination}",
                    line_from_curvature(shifted, (float(start[0]), float(start[1])), heading),
                    width_m=spec.lane_width_m,
                    stop_s_m=ARM_M - STOP_BEFORE_M,
                    stop_kind="signal",
                    signal_group=0 if arm in ("south", "north") else 1,
                    yields_to=oncoming if move == 1 else (),
                    junction=0,
                )
            )
        _dress_arm(out, spec, heading, box)
    _surface(out, spec, box)
    return out


def _dress_arm(out: Layout, spec: RoadSpec, heading: float, box: float) -> None:
    """Markings and signal heads that traffic with ``heading`` meets; local frame: forward, left."""
    width = spec.lane_width_m
    far = -box - ARM_M - RUN_OUT_M
    stop = -box - STOP_BEFORE_M
    group = 0.0 if abs(np.cos(heading)) < 0.5 else 1.0

    def paint(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
        return turned(np.array([[x0, y0], [x1, y1]]), heading)

    out.markings += [
        Marking(paint(far, -width, stop, -width), "edge"),
        Marking(paint(far, width, stop, width), "edge"),
        Marking(paint(far, 0.0, stop - 30.0, 0.0), "dashed", color=YELLOW),
        Marking(paint(stop - 30.0, 0.0, stop, 0.0), "solid", color=YELLOW),
        Marking(paint(stop - 0.25, -width, stop - 0.25, 0.0), "stop", STOP_WIDTH_M),
    ]
    beside = -(width + spec.shoulder_m + HEAD_BESIDE_M)
    # One head at the stop line, one across the junction for those who wait.
    for forward in (stop + 1.0, box + 1.0):
        x, y = turned(np.array([[forward, beside]]), heading)[0]
        facing = np.arctan2(np.sin(heading + np.pi), np.cos(heading + np.pi))
        out.signal_heads.append((float(x), float(y), float(facing), group))


def _surface(out: Layout, spec: RoadSpec, box: float) -> None:
    """Two crossing roads and four rounded corners."""
    half = spec.lane_width_m + spec.shoulder_m
    reach = box + ARM_M + RUN_OUT_M
    rect = np.array([[-reach, -half], [reach, -half], [reach, half], [-reach, half]])
    out.surfaces += [rect, turned(rect, 0.5 * np.pi)]
    radius = box - half
    angles = np.linspace(np.pi, 1.5 * np.pi, 9)
    arc = box + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    corner = np.concatenate([[[0.0, 0.0]], [[0.0, box]], arc, [[box, 0.0]]])
    # The corner is concave; both road axes bound it, so it overlaps the roads without gaps.
    out.surfaces += [turned(corner, q * 0.5 * np.pi) for q in range(4)]
