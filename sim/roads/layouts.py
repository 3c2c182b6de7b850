"""The four procedural layouts: straight, curve, junction and merge."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alpamayo.types import RequestError, RoadSpec
from sim.roads.lines import F64, FINE_STEP_M, Line, eased_turn, line_from_curvature, line_from_graph
from sim.roads.maps import YELLOW, Marking, MarkingKind

RUN_OUT_M = 40.0  # the surface goes on this far before the start and past the end of the paths
LEAD_IN_M = 30.0
ARM_M = 120.0
RIGHT_TURN_LEG_M = 9.0
TAPER_M = 60.0
MAX_TURN_RAD = 1.7 * np.pi  # farther round, a curve would meet its own beginning
HEAD_BESIDE_M = 0.9
STOP_WIDTH_M = 0.5


@dataclass
class Layout:
    """What a layout function yields; ``build_road_map`` samples, tabulates and rasterises it."""

    names: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    left_lanes: list[int] = field(default_factory=list)
    right_lanes: list[int] = field(default_factory=list)
    stop_s_m: list[float] = field(default_factory=list)
    signal_group: list[int] = field(default_factory=list)
    surfaces: list[F64] = field(default_factory=list)
    markings: list[Marking] = field(default_factory=list)
    signal_heads: list[tuple[float, float, float, float]] = field(default_factory=list)

    def add_path(
        self,
        name: str,
        line: Line,
        left: int = 0,
        right: int = 0,
        stop_s_m: float = np.inf,
        group: int = -1,
    ) -> None:
        self.names.append(name)
        self.lines.append(line)
        self.left_lanes.append(left)
        self.right_lanes.append(right)
        self.stop_s_m.append(stop_s_m)
        self.signal_group.append(group)


def _stations(line: Line, start_m: float, end_m: float, step_m: float = 4.0) -> F64:
    """Arc lengths that describe ``line`` well: dense only if it bends."""
    if not np.any(line.curvature):
        return np.array([start_m, end_m])
    inner = np.arange(max(start_m, 0.0), min(end_m, line.length_m) + 1e-9, step_m)
    return np.unique(np.concatenate([[start_m], inner, [end_m]]))


def _side(line: Line, d_m: float, start_m: float = -RUN_OUT_M, end_m: float | None = None) -> F64:
    """Points [n, 2] of the parallel to ``line`` at ``d_m``; ``end_m`` None means the run-out."""
    last = line.length_m + RUN_OUT_M if end_m is None else end_m
    return line.at(_stations(line, start_m, last), d_m)[0]


def _strip(line: Line, right_m: float, left_m: float, **span: float) -> F64:
    """Polygon [n, 2] between two parallels of ``line``."""
    return np.concatenate([_side(line, right_m, **span), _side(line, left_m, **span)[::-1]])


def straight_or_curve(spec: RoadSpec) -> Layout:
    """Lane 0's centre line is the reference: it starts at the origin along +x."""
    lanes, oncoming, width = spec.lanes, spec.oncoming_lanes, spec.lane_width_m
    bend = 0.0
    if spec.kind == "curve":
        span = (lanes + oncoming) * width
        if abs(spec.radius_m) < span + 5.0:
            raise RequestError(
                f"road: radius_m: expected at least {span + 5.0:g} m either way, "
                f"got {spec.radius_m:g}"
            )
        bend = 1.0 / spec.radius_m
        if (spec.length_m - LEAD_IN_M) * abs(bend) > MAX_TURN_RAD:
            longest = LEAD_IN_M + MAX_TURN_RAD * abs(spec.radius_m)
            raise RequestError(
                f"road: length_m: expected at most {longest:.0f} m for radius {spec.radius_m:g} m, "
                f"got {spec.length_m:g}"
            )
    knots = [(0.0, 0.0), (LEAD_IN_M, 0.0), (LEAD_IN_M, bend), (spec.length_m, bend)]
    middle = line_from_curvature(knots if bend else [(0.0, 0.0), (spec.length_m, 0.0)])
    out = Layout()
    for i in range(lanes):
        out.add_path(f"lane{i}", middle.offset(i * width), lanes - 1 - i, i)
    for i in range(oncoming):
        line = middle.offset((lanes + i) * width).reverse()
        out.add_path(f"oncoming{i}", line, i, oncoming - 1 - i)
    right, left = -0.5 * width, (lanes + oncoming - 0.5) * width
    out.surfaces.append(_strip(middle, right - spec.shoulder_m, left + spec.shoulder_m))
    out.markings.append(Marking(_side(middle, right), "edge"))
    out.markings.append(Marking(_side(middle, left), "edge"))
    for i in range(1, lanes + oncoming):
        divider = i == lanes
        points = _side(middle, (i - 0.5) * width)
        if divider:
            kind: MarkingKind = "solid" if lanes + oncoming > 2 else "dashed"
            out.markings.append(Marking(points, kind, color=YELLOW))
        else:
            out.markings.append(Marking(points, "dashed"))
    return out


def _blend(x: F64, start: float, length: float) -> tuple[F64, F64, F64]:
    """Smooth 0-to-1 step (zero first and second derivative at both ends) with its derivatives."""
    u = np.clip((x - start) / length, 0.0, 1.0)
    value = u**3 * (10 - 15 * u + 6 * u**2)
    slope = 30 * u**2 * (1 - u) ** 2 / length
    bend = 60 * u * (1 - u) * (1 - 2 * u) / length**2
    return value, slope, bend


def merge(spec: RoadSpec) -> Layout:
    """A straight main road; a ramp nears it from the right, runs beside lane 0, tapers into it."""
    if spec.length_m < 200.0:
        raise RequestError(f"road: length_m: a merge needs at least 200 m, got {spec.length_m:g}")
    main = straight_or_curve(spec)
    width, apart = spec.lane_width_m, 16.0
    taper_start = 0.5 * spec.length_m
    beside = taper_start - 40.0  # where the ramp has become parallel to lane 0
    x = np.linspace(0.0, spec.length_m, round(spec.length_m / FINE_STEP_M) + 1)
    near, near_slope, near_bend = _blend(x, -0.3 * beside, 1.3 * beside)
    join, join_slope, join_bend = _blend(x, taper_start, TAPER_M)
    y = -width - apart * (1 - near) + width * join
    ramp = line_from_graph(
        x, y, apart * near_slope + width * join_slope, apart * near_bend + width * join_bend
    )
    main.add_path("ramp", ramp)
    taper_end_s = float(np.interp(taper_start + TAPER_M, x, ramp.s_m))
    beside_s = float(np.interp(beside, x, ramp.s_m))
    half = 0.5 * width + spec.shoulder_m
    main.surfaces.append(_strip(ramp, -half, half, end_m=taper_end_s))
    # Lane 0's edge line opens where the lanes run side by side and closes again after the taper.
    edge_y = -0.5 * width
    open_x, close_x = beside - 10.0, taper_start + TAPER_M
    main.markings[0] = Marking(np.array([[-RUN_OUT_M, edge_y], [open_x, edge_y]]), "edge")
    last_x = spec.length_m + RUN_OUT_M
    main.markings.append(Marking(np.array([[close_x, edge_y], [last_x, edge_y]]), "edge"))
    main.markings.append(
        Marking(np.array([[open_x, edge_y], [taper_start + 0.5 * TAPER_M, edge_y]]), "dashed")
    )
    main.markings.append(Marking(_side(ramp, -0.5 * width, end_m=taper_end_s), "edge"))
    # The ramp's left edge ends where it meets lane 0's.
    main.markings.append(Marking(_side(ramp, 0.5 * width, end_m=beside_s - 10.0), "edge"))
    return main


ARMS = ("south", "north", "west", "east")
_INBOUND = {"south": 0.5 * np.pi, "north": -0.5 * np.pi, "west": 0.0, "east": np.pi}
# Destination of each movement, by arm: straight, left, right.
_MOVES = {
    "south": ("north", "west", "east"),
    "north": ("south", "east", "west"),
    "west": ("east", "north", "south"),
    "east": ("west", "south", "north"),
}


def _turned(points: F64, heading: float) -> F64:
    """Rotate points [n, 2] of the frame (forward, left) of an arm into the world."""
    cos, sin = np.cos(heading), np.sin(heading)
    return points @ np.array([[cos, sin], [-sin, cos]])


def junction(spec: RoadSpec) -> Layout:
    """A signalled 4-way crossing centred at the origin, one lane per direction and arm."""
    if spec.lanes != 1 or spec.oncoming_lanes not in (0, 1):
        raise RequestError(
            f"road: lanes: a junction has 1 lane and 1 oncoming lane per arm, got {spec.lanes} "
            f"and {spec.oncoming_lanes}"
        )
    out = Layout()
    half_lane = 0.5 * spec.lane_width_m
    box = RIGHT_TURN_LEG_M + half_lane  # turns begin and end this far from the centre
    turns = {
        1: eased_turn(box + half_lane, 0.5 * np.pi),
        2: eased_turn(box - half_lane, -0.5 * np.pi),
    }
    for arm in ARMS:
        heading = _INBOUND[arm]
        start = _turned(np.array([[-box - ARM_M, -half_lane]]), heading)[0]
        for move, destination in enumerate(_MOVES[arm]):
            if move == 0:
                knots, inner = [(0.0, 0.0), (2 * box, 0.0)], 2 * box
            else:
                knots, inner = turns[move]
            shifted = [(0.0, 0.0), *((ARM_M + s, k) for s, k in knots), (2 * ARM_M + inner, 0.0)]
            line = line_from_curvature(shifted, (float(start[0]), float(start[1])), heading)
            group = 0 if arm in ("south", "north") else 1
            out.add_path(f"{arm}_{destination}", line, stop_s_m=ARM_M - 1.0, group=group)
        _dress_arm(out, spec, heading, box)
    order = [
        "south_north", "south_west", "south_east", "north_south", "north_east", "north_west",
        "west_east", "west_north", "west_south", "east_west", "east_south", "east_north",
    ]  # fmt: skip
    assert out.names == order
    _junction_surface(out, spec, box)
    return out


def _dress_arm(out: Layout, spec: RoadSpec, heading: float, box: float) -> None:
    """Markings and signal heads that traffic with ``heading`` meets; local frame: forward, left."""
    width = spec.lane_width_m
    far = -box - ARM_M - RUN_OUT_M
    stop = -box - 1.0
    group = 0.0 if abs(np.cos(heading)) < 0.5 else 1.0

    def between(start: tuple[float, float], end: tuple[float, float]) -> F64:
        return _turned(np.array([start, end]), heading)

    out.markings += [
        Marking(between((far, -width), (stop, -width)), "edge"),
        Marking(between((far, width), (stop, width)), "edge"),
        Marking(between((far, 0.0), (stop - 30.0, 0.0)), "dashed", color=YELLOW),
        Marking(between((stop - 30.0, 0.0), (stop, 0.0)), "solid", color=YELLOW),
        Marking(between((stop - 0.25, -width), (stop - 0.25, 0.0)), "stop", STOP_WIDTH_M),
    ]
    beside = -(width + spec.shoulder_m + HEAD_BESIDE_M)
    # One head at the stop line, one across the junction for those who wait.
    for forward in (stop + 1.0, box + 1.0):
        x, y = _turned(np.array([[forward, beside]]), heading)[0]
        facing = np.arctan2(np.sin(heading + np.pi), np.cos(heading + np.pi))
        out.signal_heads.append((float(x), float(y), float(facing), group))


def _junction_surface(out: Layout, spec: RoadSpec, box: float) -> None:
    """Two crossing roads and four rounded corners."""
    half = spec.lane_width_m + spec.shoulder_m
    reach = box + ARM_M + RUN_OUT_M
    rect = np.array([[-reach, -half], [reach, -half], [reach, half], [-reach, half]])
    out.surfaces += [rect, _turned(rect, 0.5 * np.pi)]
    radius = box - half
    angles = np.linspace(np.pi, 1.5 * np.pi, 9)
    arc = box + radius * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    corner = np.concatenate([[[0.0, 0.0]], [[0.0, box]], arc, [[box, 0.0]]])
    # The corner is concave; both road axes bound it, so it overlaps the roads without gaps.
    out.surfaces += [_turned(corner, q * 0.5 * np.pi) for q in range(4)]
