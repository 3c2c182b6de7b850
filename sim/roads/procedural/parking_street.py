"""A one-way street with parking lanes, kerbs, pavements and houses on both sides."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import line_from_curvature
from sim.roads.maps import Marking
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import PAVEMENT_M, add_lanes, add_pavement, require, side, strip

PARKING_M = 2.2
BAY_M = 6.0
ROW_BAYS = 6  # bays in a row, then a gap
ROW_GAP_M = 6.0
ROWS_FROM_M = 8.0
LINE_M = 0.1
KERB = (170, 170, 165)
KERB_M = 0.25


def parking_street(spec: RoadSpec) -> Layout:
    """Lanes ``lane0`` ... as on a straight road, then ``parking_right``, ``parking_left``,
    ``sidewalk_right``, ``sidewalk_left``.

    The kerb bounds the parking lanes; ``shoulder_m`` plays no part. Raises ``RequestError`` for
    oncoming lanes.
    """
    one_way = "0 on a one-way parking street"
    require(spec.oncoming_lanes == 0, spec, "oncoming_lanes", one_way)
    middle = line_from_curvature([(0.0, 0.0), (spec.length_m, 0.0)])
    out = Layout()
    add_lanes(out, spec, middle)
    right, left = -0.5 * spec.lane_width_m, (spec.lanes - 0.5) * spec.lane_width_m
    out.surfaces.append(strip(middle, right - PARKING_M, left + PARKING_M))
    for i in range(1, spec.lanes):
        out.markings.append(Marking(side(middle, (i - 0.5) * spec.lane_width_m), "dashed"))
    sides = (("right", right, -1.0), ("left", left, 1.0))
    for name, edge, outward in sides:
        line = middle.offset(edge + outward * 0.5 * PARKING_M)
        out.lanes.append(Lane(f"parking_{name}", line, kind="parking", width_m=PARKING_M))
        out.markings.append(Marking(side(middle, edge + outward * PARKING_M), "edge", KERB_M, KERB))
        out.markings += _bays(spec.length_m, edge, edge + outward * PARKING_M)
    for name, edge, outward in sides:
        line = middle.offset(edge + outward * (PARKING_M + 0.5 * PAVEMENT_M))
        add_pavement(out, line, f"sidewalk_{name}")
    fronts = [
        Frontage(middle, edge + outward * (PARKING_M + PAVEMENT_M), 0.0, spec.length_m)
        for _, edge, outward in sides
    ]
    add_scenery(out, road_seed(spec), fronts, every_m=20.0, buildings=0.65, trees=0.25)
    return out


def _bays(length_m: float, inner_m: float, outer_m: float) -> list[Marking]:
    """Lines around the bays of one side, which reaches from ``inner_m`` to the kerb."""
    result = []
    row = ROW_BAYS * BAY_M
    for first in np.arange(ROWS_FROM_M, length_m - row, row + ROW_GAP_M):
        along = np.array([[first, inner_m], [first + row, inner_m]])
        result.append(Marking(along, "solid", LINE_M))
        for x in first + BAY_M * np.arange(ROW_BAYS + 1):
            across = np.array([[x, inner_m], [x, outer_m]])
            result.append(Marking(across, "solid", LINE_M))
    return result
