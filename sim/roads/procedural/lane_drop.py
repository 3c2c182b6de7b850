"""A road whose rightmost lane ends."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Layout
from sim.roads.lines import FINE_STEP_M, line_from_curvature, line_from_graph
from sim.roads.maps import Marking
from sim.roads.procedural.basic import TAPER_M
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import (
    RUN_OUT_M,
    SIGN_BESIDE_M,
    add_dividers,
    add_lanes,
    arrow,
    blend,
    place_sign,
    require,
    side,
)

DROP_SHARE = 0.6  # of the length: here the taper begins
ARROWS_BEFORE_M = (90.0, 55.0, 20.0)
LINE_ENDS_BEFORE_M = 15.0


def lane_drop(spec: RoadSpec) -> Layout:
    """Lanes as on a straight road; ``lane0`` has its full width up to ``ends_m``.

    From there its line bends into ``lane1`` within ``TAPER_M`` and goes on with it, as the edge of
    the road does: who has not changed lanes is squeezed into the next one and gives way to it.
    Raises ``RequestError`` for fewer than two lanes or too short a road.
    """
    require(spec.lanes >= 2, spec, "lanes", "at least 2, so that one can end")
    require(spec.length_m >= 160.0, spec, "length_m", "at least 160 m for a lane drop")
    width, ends = spec.lane_width_m, DROP_SHARE * spec.length_m
    middle = line_from_curvature([(0.0, 0.0), (spec.length_m, 0.0)])
    x = np.linspace(0.0, spec.length_m, round(spec.length_m / FINE_STEP_M) + 1)
    shift, slope, bend = (width * part for part in blend(x, ends, TAPER_M))
    lane0 = line_from_graph(x, shift, slope, bend)
    out = Layout()
    add_lanes(out, spec, middle, lane0)
    out.lanes[0].ends_m = ends
    out.lanes[0].joins = "lane1"
    out.lanes[0].yields_to = ("lane1",)
    right = -0.5 * width
    left = right + (spec.lanes + spec.oncoming_lanes) * width
    outer_left = side(middle, left + spec.shoulder_m)
    out.surfaces.append(np.concatenate([side(lane0, right - spec.shoulder_m), outer_left[::-1]]))
    out.markings.append(Marking(side(lane0, right), "edge"))
    dashed_to = ends - LINE_ENDS_BEFORE_M
    out.markings.append(
        Marking(np.array([[-RUN_OUT_M, 0.5 * width], [dashed_to, 0.5 * width]]), "dashed")
    )
    add_dividers(out, spec, middle, first=2)
    for before in ARROWS_BEFORE_M:
        out.markings += arrow(ends - before, -0.4, 1.1)
    beside = right - spec.shoulder_m
    place_sign(out, middle, ends - 100.0, beside - SIGN_BESIDE_M, "warning")
    frontages = [
        Frontage(middle, edge, 0.0, spec.length_m)
        for edge in (beside - 2.0, left + spec.shoulder_m + 2.0)
    ]
    add_scenery(out, road_seed(spec), frontages, every_m=36.0, buildings=0.15, trees=0.5)
    return out
