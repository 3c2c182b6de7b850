"""Lane types, and the centre lines of lanes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from sim.roads.layout import LaneKind
from sim.roads.lines import F64, Line
from sim.roads.opendrive.model import Contact, LaneRecord, SpeedRecords
from sim.roads.opendrive.strips import Strip

KINDS: dict[str, LaneKind] = {
    "driving": "driving",
    "bidirectional": "driving",
    "entry": "driving",
    "exit": "driving",
    "onRamp": "driving",
    "offRamp": "driving",
    "connectingRamp": "driving",
    "slipLane": "driving",
    "merge": "driving",
    "mwyEntry": "driving",
    "mwyExit": "driving",
    "HOV": "driving",
    "shared": "driving",
    "parking": "parking",
    "biking": "bike",
    "sidewalk": "sidewalk",
    "walking": "sidewalk",
    "shoulder": "shoulder",
    "stop": "shoulder",
}
# A lane that is narrower all along is no lane; one that is this narrow at an end that leads nowhere
# is cut there, since nothing can stand in it.
NARROW_M = 1.0
# Vehicles should have left a closing lane where it gets narrower than a car with its mirrors.
TIGHT_M = 2.2

# Road, number of the lane section, lane.
Key = tuple[str, int, int]


@dataclass
class Draft:
    """A lane of the layout in the making. ``line`` runs the way the lane is driven; ``road_s_m``
    [n] is the road's arc length at its samples, ``ends_m`` where it ends by a lane drop."""

    key: Key
    record: LaneRecord
    strip: Strip
    kind: LaneKind
    along: bool
    line: Line
    road_s_m: F64
    width_m: float
    ends_m: float = np.inf
    successors: list[Key] = field(default_factory=list)
    predecessors: list[Key] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"road{self.key[0]}_s{self.key[1]}_l{self.key[2]}"

    def place_m(self, road_s_m: float) -> float:
        """Arc length on the lane at an arc length of the road, clamped to the lane."""
        rising = self.road_s_m if self.along else -self.road_s_m
        wanted = road_s_m if self.along else -road_s_m
        return float(np.interp(wanted, rising, self.line.s_m))


def lane_kind(strip: Strip, lane_id: int) -> LaneKind | None:
    """What a lane is for; None where it is nothing to be on."""
    if lane_id == 0 or strip.width_m(lane_id).max() < NARROW_M:
        return None
    return KINDS.get(strip.section.lanes[lane_id].type)


def draft_lane(strip: Strip, lane_id: int) -> Draft | None:
    """A lane with its centre line; None where that folds over inside a bend or has no length."""
    kind = lane_kind(strip, lane_id)
    if kind is None:
        return None
    middle = (strip.edges[lane_id] + strip.inner(lane_id)).scaled(0.5)
    made = strip.line(middle, 0, len(strip.s_m) - 1)
    if made is None:
        return None
    draft = Draft(
        key=(strip.road.id, strip.section.index, lane_id),
        record=strip.section.lanes[lane_id],
        strip=strip,
        kind=kind,
        along=strip.road.along(lane_id),
        line=made[0],
        road_s_m=made[1],
        width_m=float(np.median(strip.width_m(lane_id))),
    )
    if not draft.along:
        draft.line, draft.road_s_m = draft.line.reverse(), draft.road_s_m[::-1]
    return draft


def close_ends(draft: Draft) -> None:
    """Cut a lane where it is too narrow to be on and leads nowhere, and find where it has to be
    left if nothing follows it though its road goes on."""
    width = draft.strip.width_m(draft.key[2])
    rising = draft.road_s_m if draft.along else draft.road_s_m[::-1]
    own = np.interp(rising, draft.strip.s_m, width)
    own = own if draft.along else own[::-1]
    wide = np.flatnonzero(own >= NARROW_M)
    first = 0 if draft.predecessors or not len(wide) else int(wide[0])
    last = len(own) - 1 if draft.successors or not len(wide) else int(wide[-1])
    if first < last:
        own, draft.road_s_m = own[first : last + 1], draft.road_s_m[first : last + 1]
        draft.line = _part(draft.line, first, last)
        draft.width_m = float(np.median(own))
    end: Contact = "end" if draft.along else "start"
    road, section = draft.strip.road, draft.strip.section
    goes_on = section is not road.end_section(end) or end in road.links
    if goes_on and draft.kind == "driving" and not draft.successors:
        roomy = np.flatnonzero(own >= TIGHT_M)
        draft.ends_m = float(draft.line.s_m[roomy[-1] if len(roomy) else 0])


def jumps(line: Line) -> int:
    """How often a line steps aside by more than 5 cm from one sample to the next."""
    step = np.diff(line.xy, axis=0)
    heading = 0.5 * (line.heading[1:] + line.heading[:-1])
    aside = np.cos(heading) * step[:, 1] - np.sin(heading) * step[:, 0]
    return int((np.abs(aside) > 0.05).sum())


def _part(line: Line, first: int, last: int) -> Line:
    part = slice(first, last + 1)
    z_m = None if line.z_m is None else line.z_m[part]
    s_m = line.s_m[part] - line.s_m[first]
    return Line(s_m, line.xy[part], line.heading[part], line.curvature[part], z_m)


def speed_limit_mps(draft: Draft, skipped: Counter[str]) -> float | None:
    """The limit that holds on most of the lane: its own, else that of the road there."""
    section = draft.strip.section
    for records, what in (
        (draft.record.speeds, "lane/speed (more than one on a lane)"),
        (draft.strip.road.speeds, "road/type/speed (more than one on a lane)"),
    ):
        shares = _shares(records, section.start_m, section.end_m)
        if len(shares) > 1:
            skipped[what] += 1
        if shares:
            return max(shares, key=lambda speed: shares[speed])
    return None


def _shares(records: SpeedRecords, start_m: float, end_m: float) -> dict[float, float]:
    """Length within [start, end] for which each speed holds."""
    shares: dict[float, float] = {}
    for i, (s_m, speed) in enumerate(records):
        until_m = records[i + 1][0] if i + 1 < len(records) else np.inf
        covered = min(until_m, end_m) - max(s_m, start_m)
        if speed is not None and covered > 1e-3:
            shares[speed] = shares.get(speed, 0.0) + covered
    return shares
