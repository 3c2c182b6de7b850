"""Drafts: what a layout function or an importer yields; ``build_road_map`` makes a map of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from alpamayo.types import RequestError
from sim.roads.lines import F64, Line
from sim.roads.maps import Marking, Scenery

__all__ = ["Lane", "LaneKind", "Layout", "Scenery", "StopKind"]

LaneKind = Literal["driving", "parking", "bike", "sidewalk", "shoulder"]
StopKind = Literal["", "signal", "stop", "yield"]
NEVER_CLOSED_M = (np.inf, -np.inf)
LINK_GAP_M = 1.0  # a lane and its successor may lie this far apart


@dataclass
class Lane:
    """A draft of one lane.

    ``left``, ``right``: neighbour of the same direction; how many lie there (``left_lanes``,
    ``right_lanes``) follows from them. ``successors``: lanes that go on where it ends.
    ``speed_limit_mps`` None: that of the road. ``stop_s_m``: arc length of its stop line, for what
    (``stop_kind``) and which ``signal_group`` (0 phase A, 1 phase B). ``yields_to``: lanes whose
    traffic goes first where this lane crosses or joins them. ``joins``: the lane that this one, a
    ramp, runs into. ``ends_m``: arc length where the lane ends by a lane drop. ``closed_left_m``,
    ``closed_right_m``: from where to where nobody may change to that neighbour. ``width_m`` is
    typical: what is painted and paved is in the layout.
    """

    name: str
    line: Line
    kind: LaneKind = "driving"
    width_m: float = 3.5
    left: str = ""
    right: str = ""
    left_lanes: int = 0
    right_lanes: int = 0
    successors: tuple[str, ...] = ()
    speed_limit_mps: float | None = None
    stop_s_m: float = np.inf
    stop_kind: StopKind = ""
    signal_group: int = -1
    yields_to: tuple[str, ...] = ()
    joins: str = ""
    junction: int = -1
    ends_m: float = np.inf
    closed_left_m: tuple[float, float] = NEVER_CLOSED_M
    closed_right_m: tuple[float, float] = NEVER_CLOSED_M


@dataclass
class Layout:
    """Lanes and what lies and stands around them.

    ``surfaces``: polygons [n, 2] or, with heights, [n, 3] of the drivable area; ``pavements``: the
    same of sidewalks. ``signal_heads``: x, y, heading it shines towards, group. ``signs``: x, y,
    heading it faces, kind (``stop``, ``yield``, ``speed_<n>``, ``warning``). ``skipped``: what an
    importer did not understand, with counts.
    """

    lanes: list[Lane] = field(default_factory=list)
    surfaces: list[F64] = field(default_factory=list)
    pavements: list[F64] = field(default_factory=list)
    markings: list[Marking] = field(default_factory=list)
    signal_heads: list[tuple[float, float, float, float]] = field(default_factory=list)
    signs: list[tuple[float, float, float, str]] = field(default_factory=list)
    scenery: list[Scenery] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def note_skipped(self, what: str, count: int = 1) -> None:
        self.skipped[what] = self.skipped.get(what, 0) + count

    def link(self) -> dict[str, int]:
        """Make the links between lanes complete; returns the number of each lane by name.

        Neighbours become mutual, ``left_lanes`` and ``right_lanes`` are counted where neighbours
        are named, and successors that do not begin where the lane ends are dropped and noted in
        ``skipped``. Raises ``RequestError`` for no lanes at all, lanes without length, names that
        no lane or two lanes have, and contradicting neighbours.
        """
        if not self.lanes:
            raise RequestError("road: lanes: expected at least one lane, got none")
        index: dict[str, int] = {}
        for i, lane in enumerate(self.lanes):
            if lane.name in index:
                raise RequestError(f"road: lane {lane.name}: expected one of this name, got two")
            if not (lane.line.length_m > 0.0 and np.isfinite(lane.line.xy).all()):
                raise RequestError(
                    f"road: lane {lane.name}: line: expected finite points on more than 0 m, "
                    f"got {lane.line.length_m:g} m"
                )
            index[lane.name] = i
        self._check_names(index)
        self._mirror(index)
        for lane in self.lanes:
            if lane.left or lane.right:
                lane.left_lanes = self._count(index, lane, "left")
                lane.right_lanes = self._count(index, lane, "right")
            self._drop_gaps(index, lane)
        return index

    def _check_names(self, index: dict[str, int]) -> None:
        for lane in self.lanes:
            named = {
                "left": (lane.left,),
                "right": (lane.right,),
                "successors": lane.successors,
                "yields_to": lane.yields_to,
                "joins": (lane.joins,),
            }
            for key, names in named.items():
                for name in names:
                    if name and name not in index:
                        raise RequestError(
                            f"road: lane {lane.name}: {key}: expected a lane's name, got {name!r}"
                        )

    def _mirror(self, index: dict[str, int]) -> None:
        for lane in self.lanes:
            for side, other_side in (("left", "right"), ("right", "left")):
                name = getattr(lane, side)
                if not name:
                    continue
                other = self.lanes[index[name]]
                back = getattr(other, other_side) or lane.name
                if back != lane.name:
                    raise RequestError(
                        f"road: lane {lane.name}: {side}: expected a lane with nothing else on its "
                        f"{other_side}, got {name}, which has {back} there"
                    )
                setattr(other, other_side, lane.name)

    def _count(self, index: dict[str, int], lane: Lane, side: str) -> int:
        """How many driving lanes follow one another on one side."""
        count, other = 0, lane
        while getattr(other, side) and count < len(self.lanes):
            other = self.lanes[index[getattr(other, side)]]
            if other.kind != "driving":
                break
            count += 1
        return count

    def _drop_gaps(self, index: dict[str, int], lane: Lane) -> None:
        kept = []
        for name in lane.successors:
            gap = self.lanes[index[name]].line.xy[0] - lane.line.xy[-1]
            if np.hypot(gap[0], gap[1]) <= LINK_GAP_M:
                kept.append(name)
            else:
                self.note_skipped("link between lanes that do not meet")
        lane.successors = tuple(kept)
