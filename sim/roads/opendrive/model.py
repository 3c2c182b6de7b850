"""What an OpenDRIVE file says, checked and with its defaults filled in, before any sampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sim.roads.opendrive.curves import PlanView
from sim.roads.opendrive.profiles import Profile
from sim.roads.opendrive.source import Node

Contact = Literal["start", "end"]
# (start along the road or lane section, metres per second or None for "not said")
SpeedRecords = list[tuple[float, float | None]]


@dataclass(frozen=True)
class RoadMark:
    """Paint on the outer edge of a lane from ``start_m`` (along the road) to the next mark.

    ``stripes``: (offset towards the middle of the road, whether dashed); on lane 0, to the left.
    ``lane_change``: towards which lane ids it may be crossed (``both``, ``increase``, ``decrease``,
    ``none``).
    """

    start_m: float
    stripes: tuple[tuple[float, bool], ...]
    width_m: float
    color: tuple[int, int, int]
    is_kerb: bool
    lane_change: str


@dataclass
class LaneRecord:
    """A lane of a lane section. ``width`` and ``border`` run along the road; one of them is None,
    both are for the middle (lane 0)."""

    node: Node
    id: int
    type: str
    width: Profile | None
    border: Profile | None
    predecessors: list[tuple[int, Node]]
    successors: list[tuple[int, Node]]
    marks: list[RoadMark]
    speeds: SpeedRecords


@dataclass
class Section:
    """A lane section from ``start_m`` to ``end_m``; ``lanes`` by id, with 0, without holes."""

    node: Node
    index: int
    start_m: float
    end_m: float
    lanes: dict[int, LaneRecord]


@dataclass(frozen=True)
class RoadLink:
    """What a road's end is linked to: a junction, or the ``contact`` end of a road."""

    node: Node
    is_junction: bool
    id: str
    contact: Contact


@dataclass
class Road:
    """``junction``: id of the junction it runs through, or "". ``right_hand``: lanes with negative
    ids are driven along the reference line, the others against it; left-hand: the other way."""

    node: Node
    id: str
    junction: str
    right_hand: bool
    plan: PlanView
    elevation: Profile
    offset: Profile
    sections: list[Section]
    links: dict[Contact, RoadLink]
    speeds: SpeedRecords

    @property
    def length_m(self) -> float:
        return self.sections[-1].end_m

    def along(self, lane_id: int) -> bool:
        """Whether a lane is driven along the reference line."""
        return (lane_id < 0) == self.right_hand

    def section_at(self, s_m: float) -> Section:
        for section in reversed(self.sections):
            if s_m >= section.start_m:
                return section
        return self.sections[0]

    def end_section(self, contact: Contact) -> Section:
        return self.sections[0 if contact == "start" else -1]


@dataclass
class Connection:
    """A way into a junction: lanes of the ``incoming`` road meet, at the ``contact`` end of road
    ``other``, its lanes. ``direct``: ``other`` lies beyond the junction, which has no inside."""

    node: Node
    incoming: str
    other: str
    contact: Contact
    direct: bool
    lane_links: list[tuple[int, int, Node]]


@dataclass
class Junction:
    """``index``: place in the file. ``priorities``: pairs (high, low) of road ids."""

    node: Node
    id: str
    index: int
    connections: list[Connection]
    priorities: list[tuple[str, str]]


@dataclass
class Network:
    """A whole file."""

    root: Node
    roads: dict[str, Road] = field(default_factory=dict)
    junctions: dict[str, Junction] = field(default_factory=dict)
