"""Straight roads, curves, and merges."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RequestError, RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import F64, FINE_STEP_M, Line, line_from_curvature, line_from_graph
from sim.roads.maps import YELLOW, Marking, MarkingKind
from sim.roads.procedural.shapes import LEAD_IN_M, RUN_OUT_M, add_lanes, blend

TAPER_M = 60.0
APART_M = 16.0  # how far off lane 0 a ramp comes from
BESIDE_M = 40.0  # a ramp runs beside lane 0 this long
MAX_TURN_RAD = 1.7 * np.pi  # farther round, a curve would meet its own beginning
_STATION_M = 4.0


def _stations(line: Line, start_m: float, end_m: float) -> F64:
    """Arc lengths that describe ``line`` well: dense only if it bends."""
    if not np.any(line.curvature):
        return np.array([start_m, end_m])
    inner = np.arange(max(start_m, 0.0), min(end_m, line.length_m) + 1e-9, _STATION_M)
    return np.unique(np.concatenate([[start_m], inner, [end_m]]))


def _side(line: Line, d_m: float, end_m: float | None = None) -> F64:
    """Points [n, 2] of the parallel to ``line`` at ``d_m``; ``end_m`` None means the run-out."""
    last = line.length_m + RUN_OUT_M if end_m is None else end_m
    return line.at(_stations(line, -RUN_OUT_M, last), d_m)[0]


def _strip(line: Line, right_m: float, left_m: float, end_m: float | None = None) -> F64:
    """Polygon [n, 2] between two parallels of ``line``."""
    return np.concatenate([_side(line, right_m, end_m), _side(line, left_m, end_m)[::-1]])


def straight_or_curve(spec: RoadSpec) -> Layout:
    """Lane 0's centre line is the reference: it starts at the origin along +x.

    Raises ``RequestError`` for a radius too tight or a length that closes the circle.
    """
    lanes, oncoming, width = spec.lanes, spec.oncoming_lanes, spec.lane_width_m
    bend = _bend(spec) if spec.kind == "curve" else 0.0
    knots = [(0.0, 0.0), (LEAD_IN_M, 0.0), (LEAD_IN_M, bend), (spec.length_m, bend)]
    middle = line_from_curvature(knots if bend else [(0.0, 0.0), (spec.length_m, 0.0)])
    out = Layout()
    add_lanes(out, spec, middle)
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


def _bend(spec: RoadSpec) -> float:
    """Curvature of lane 0 in the bend of a curve."""
    span = (spec.lanes + spec.oncoming_lanes) * spec.lane_width_m
    if abs(spec.radius_m) < span + 5.0:
        raise RequestError(
            f"road: radius_m: expected at least {span + 5.0:g} m either way, got {spec.radius_m:g}"
        )
    bend = 1.0 / spec.radius_m
    if (spec.length_m - LEAD_IN_M) * abs(bend) > MAX_TURN_RAD:
        longest = LEAD_IN_M + MAX_TURN_RAD * abs(spec.radius_m)
        raise RequestError(
            f"road: length_m: expected at most {longest:.0f} m for radius {spec.radius_m:g} m, "
            f"got {spec.length_m:g}"
        )
    return bend


def merge(spec: RoadSpec) -> Layout:
    """A straight main road; a ramp nears it from the right, runs beside lane 0, tapers into it.

    Raises ``RequestError`` for too short a road.
    """
    if spec.length_m < 200.0:
        raise RequestError(f"road: length_m: a merge needs at least 200 m, got {spec.length_m:g}")
    main = straight_or_curve(spec)
    width = spec.lane_width_m
    taper_start = 0.5 * spec.length_m
    beside = taper_start - BESIDE_M  # where the ramp has become parallel to lane 0
    x = np.linspace(0.0, spec.length_m, round(spec.length_m / FINE_STEP_M) + 1)
    near, near_slope, near_bend = blend(x, -0.3 * beside, 1.3 * beside)
    join, join_slope, join_bend = blend(x, taper_start, TAPER_M)
    y = -width - APART_M * (1 - near) + width * join
    ramp = line_from_graph(
        x, y, APART_M * near_slope + width * join_slope, APART_M * near_bend + width * join_bend
    )
    main.lanes.append(Lane("ramp", ramp, width_m=width, joins="lane0"))
    taper_end_s = float(np.interp(taper_start + TAPER_M, x, ramp.s_m))
    beside_s = float(np.interp(beside, x, ramp.s_m))
    half = 0.5 * width + spec.shoulder_m
    main.surfaces.append(_strip(ramp, -half, half, taper_end_s))
    # Lane 0's edge line opens where the lanes run side by side and closes again after the taper.
    edge_y = -0.5 * width
    open_x, close_x = beside - 10.0, taper_start + TAPER_M
    main.markings[0] = Marking(np.array([[-RUN_OUT_M, edge_y], [open_x, edge_y]]), "edge")
    last_x = spec.length_m + RUN_OUT_M
    main.markings.append(Marking(np.array([[close_x, edge_y], [last_x, edge_y]]), "edge"))
    main.markings.append(
        Marking(np.array([[open_x, edge_y], [taper_start + 0.5 * TAPER_M, edge_y]]), "dashed")
    )
    main.markings.append(Marking(_side(ramp, -0.5 * width, taper_end_s), "edge"))
    # The ramp's left edge ends where it meets lane 0's.
    main.markings.append(Marking(_side(ramp, 0.5 * width, beside_s - 10.0), "edge"))
    return main
