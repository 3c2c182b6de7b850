"""What can be seen of lanes: drivable surfaces, pavements, and paint."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from sim.roads.layout import Layout
from sim.roads.lines import F64
from sim.roads.maps import Marking, MarkingKind
from sim.roads.opendrive.lanes import KINDS
from sim.roads.opendrive.model import RoadMark
from sim.roads.opendrive.strips import Strip, Track

DRIVABLE = frozenset({"driving", "parking", "bike", "shoulder"})
KERB_TYPES = frozenset({"curb", "border"})
KERB_WIDTH_M = 0.6  # a border next to a pavement that is narrower than this is its kerb
PIECE_M = 40.0  # polygons longer than this are cut, so that those out of view can be left out
CHORD_M = 0.02  # how far a simplified outline may lie from its samples


def add_surfaces(layout: Layout, strip: Strip) -> set[int]:
    """Polygons of a section's lanes, side by side lanes as one; returns the lanes they show."""
    shown: set[int] = set()
    lanes = sorted((id for id in strip.section.lanes if id), reverse=True)
    roles = {id: _role(strip, id) for id in lanes}
    for role, polygons in (("road", layout.surfaces), ("pavement", layout.pavements)):
        run: list[int] = []
        for id in [*lanes, 0]:  # 0 ends the last run
            if id and roles[id] in (role, f"{role} kerb"):
                run.append(id)
                continue
            if any(roles[lane] == role for lane in run):
                shown.update(run)
                polygons += _polygons(strip, _left_edge(strip, run[0]), _right_edge(strip, run[-1]))
            run = []
    return shown


def _role(strip: Strip, lane_id: int) -> str:
    type = strip.section.lanes[lane_id].type
    kind = KINDS.get(type)
    if kind in DRIVABLE:
        return "road"
    if kind == "sidewalk":
        return "pavement"
    narrow = strip.width_m(lane_id).max() < KERB_WIDTH_M
    return "pavement kerb" if type in KERB_TYPES and narrow else ""


def _left_edge(strip: Strip, lane_id: int) -> Track:
    return strip.edges[lane_id] if lane_id > 0 else strip.inner(lane_id)


def _right_edge(strip: Strip, lane_id: int) -> Track:
    return strip.inner(lane_id) if lane_id > 0 else strip.edges[lane_id]


def _polygons(strip: Strip, left: Track, right: Track) -> list[F64]:
    """The area between two tracks, cut across into pieces."""
    last = len(strip.s_m) - 1
    pieces = max(1, int(np.ceil((strip.s_m[-1] - strip.s_m[0]) / PIECE_M)))
    cuts = np.unique(np.round(np.linspace(0, last, pieces + 1)).astype(int))
    found = []
    for a, b in pairwise(cuts):
        sides = [simplified(strip.points(track, int(a), int(b))) for track in (left, right)]
        wide = np.abs(left.t[a : b + 1] - right.t[a : b + 1]).max() > 1e-3
        if wide and min(len(side) for side in sides) >= 2:
            found.append(np.concatenate([sides[0], sides[1][::-1]]))
    return found


def simplified(points: F64, chord_m: float = CHORD_M) -> F64:
    """Fewer points of a line [n, 2 or 3], none of the others farther than ``chord_m`` from it
    (Douglas and Peucker, 1973)."""
    if len(points) < 3:
        return points
    kept = np.zeros(len(points), dtype=bool)
    kept[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        a, b = spans.pop()
        if b - a < 2:
            continue
        inner, chord = points[a + 1 : b] - points[a], points[b] - points[a]
        square = float(chord @ chord)
        share = np.clip(inner @ chord / square, 0.0, 1.0) if square > 0.0 else np.zeros(b - a - 1)
        away = ((inner - share[:, None] * chord) ** 2).sum(axis=1)
        far = int(np.argmax(away))
        if away[far] > chord_m**2:
            middle = a + 1 + far
            kept[middle] = True
            spans += [(a, middle), (middle, b)]
    return points[kept]


def add_marks(layout: Layout, strip: Strip) -> None:
    """The road marks of a section's lanes."""
    for lane in strip.section.lanes.values():
        for i, mark in enumerate(lane.marks):
            after = lane.marks[i + 1].start_m if i + 1 < len(lane.marks) else np.inf
            first = int(np.searchsorted(strip.s_m, mark.start_m - 1e-6))
            last = int(np.searchsorted(strip.s_m, after + 1e-6)) - 1
            if last > first and mark.stripes:
                _paint(layout, strip, lane.id, mark, first, last)


def _paint(
    layout: Layout, strip: Strip, lane_id: int, mark: RoadMark, first: int, last: int
) -> None:
    edge = strip.edges[lane_id]
    # Stripes are told from inside out, which is from right to left on the left side.
    side = -1.0 if lane_id > 0 else 1.0
    for offset, dashed in mark.stripes:
        points = strip.points(Track(edge.t + side * offset, edge.slope, edge.bend), first, last)
        points = simplified(points)
        if len(points) >= 2 and np.hypot(*np.ptp(points[:, :2], axis=0)) > 0.1:
            kind: MarkingKind = "edge" if mark.is_kerb else "dashed" if dashed else "solid"
            layout.markings.append(Marking(points, kind, mark.width_m, mark.color))


def across(strip: Strip, lane_id: int, road_s_m: float) -> F64:
    """The two points [2, 2 or 3] where a line across a lane at ``road_s_m`` begins and ends."""
    at = int(np.argmin(np.abs(strip.s_m - road_s_m)))
    ends = [strip.points(track, at, at) for track in (strip.inner(lane_id), strip.edges[lane_id])]
    return np.concatenate(ends)
