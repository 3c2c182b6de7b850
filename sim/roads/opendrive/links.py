"""Which lane follows which: across lane sections, roads and junctions.

Every link element says that an end of one lane touches an end of another. Which of the two follows
the other is decided by the way they are driven, so that it does not matter from which side a file
tells it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sim.roads.layout import LINK_GAP_M
from sim.roads.opendrive.lanes import Draft, Key
from sim.roads.opendrive.model import Connection, Contact, Network, Road, Section
from sim.roads.opendrive.source import Node

GAP_M = 0.05
GAP_RAD = 0.02


@dataclass(frozen=True)
class LaneEnd:
    """The start or the end, along the road, of a lane of a lane section."""

    key: Key
    contact: Contact


Touch = tuple[LaneEnd, LaneEnd]


def touching_ends(network: Network, skipped: Counter[str]) -> set[Touch]:
    """All pairs of lane ends that the file links, lanes of any type. Raises ``RequestError`` for a
    link to a lane that does not exist."""
    found: list[Touch] = []
    for road in network.roads.values():
        found += _section_links(road)
        found += _road_links(network, road, skipped)
    for junction in network.junctions.values():
        for connection in junction.connections:
            found += _junction_links(network, junction.id, connection)
    # Both sides of a link may tell it.
    return {(one, two) if _order(one) <= _order(two) else (two, one) for one, two in found}


def _order(end: LaneEnd) -> tuple[Key, Contact]:
    return end.key, end.contact


def _lane_end(road: Road, section: Section, lane: int, contact: Contact, node: Node) -> LaneEnd:
    if lane not in section.lanes:
        place = f"section {section.index} of road {road.id!r}"
        raise node.error(f"a lane of {place} ({sorted(section.lanes)})", lane)
    return LaneEnd((road.id, section.index, lane), contact)


def _section_links(road: Road) -> Iterator[Touch]:
    for before, after in zip(road.sections, road.sections[1:], strict=False):
        for lane in before.lanes.values():
            for id, node in lane.successors if lane.id else []:
                yield (
                    LaneEnd((road.id, before.index, lane.id), "end"),
                    _lane_end(road, after, id, "start", node),
                )
        for lane in after.lanes.values():
            for id, node in lane.predecessors if lane.id else []:
                yield (
                    _lane_end(road, before, id, "end", node),
                    LaneEnd((road.id, after.index, lane.id), "start"),
                )


def _road_links(network: Network, road: Road, skipped: Counter[str]) -> Iterator[Touch]:
    contacts: tuple[Contact, Contact] = ("start", "end")
    for contact in contacts:
        section, link = road.end_section(contact), road.links.get(contact)
        for lane in section.lanes.values():
            named = lane.predecessors if contact == "start" else lane.successors
            for id, node in named if lane.id else []:
                if link is None or link.is_junction:  # a junction tells its links itself
                    what = "nothing" if link is None else "a junction"
                    skipped[f"lane/link/{node.tag} (the road is linked to {what})"] += 1
                    continue
                other = network.roads[link.id]
                yield (
                    LaneEnd((road.id, section.index, lane.id), contact),
                    _lane_end(other, other.end_section(link.contact), id, link.contact, node),
                )


def _junction_links(network: Network, junction: str, connection: Connection) -> Iterator[Touch]:
    incoming, other = network.roads[connection.incoming], network.roads[connection.other]
    at = _incoming_contact(junction, incoming, other, connection)
    for lane_from, lane_to, node in connection.lane_links:
        section = other.end_section(connection.contact)
        yield (
            _lane_end(incoming, incoming.end_section(at), lane_from, at, node),
            _lane_end(other, section, lane_to, connection.contact, node),
        )


def _incoming_contact(junction: str, incoming: Road, other: Road, link: Connection) -> Contact:
    """Which end of the incoming road touches the junction here."""
    back = other.links.get(link.contact)
    if back is not None and not back.is_junction and back.id == incoming.id:
        return back.contact
    ends: list[Contact] = [
        end for end, to in incoming.links.items() if to.is_junction and to.id == junction
    ]
    if len(ends) == 1:
        return ends[0]
    # A road whose both ends lie in one junction, or that does not say: the nearer end.
    touching = _end_point(other, link.contact)
    both: tuple[Contact, Contact] = ("start", "end")
    return min(both, key=lambda end: float(np.hypot(*(_end_point(incoming, end) - touching))))


def _end_point(road: Road, contact: Contact) -> np.ndarray:
    s_m = 0.0 if contact == "start" else road.length_m
    return road.plan.at(np.array([s_m])).xy[0]


def link_drafts(drafts: dict[Key, Draft], touches: set[Touch], skipped: Counter[str]) -> None:
    """Fill in ``successors`` and ``predecessors``; counts links that lead against the direction of
    travel or into a lane of another kind, and those whose ends do not meet."""
    for one, two in sorted(touches, key=lambda touch: (_order(touch[0]), _order(touch[1]))):
        if one.key not in drafts or two.key not in drafts:
            continue
        leaves_one, leaves_two = (_leaves(drafts[end.key], end) for end in (one, two))
        if leaves_one == leaves_two:
            skipped["lane/link (against the direction of travel)"] += 1
            continue
        before, after = (one.key, two.key) if leaves_one else (two.key, one.key)
        if drafts[before].kind != drafts[after].kind:
            skipped["lane/link (to a lane of another kind)"] += 1
        elif after not in drafts[before].successors and _meet(drafts, before, after, skipped):
            drafts[before].successors.append(after)
            drafts[after].predecessors.append(before)


def _leaves(draft: Draft, end: LaneEnd) -> bool:
    """Whether who drives the lane leaves it at this end."""
    return draft.along == (end.contact == "end")


def _meet(drafts: dict[Key, Draft], before: Key, after: Key, skipped: Counter[str]) -> bool:
    end, start = drafts[before].line, drafts[after].line
    away = float(np.hypot(*(end.xy[-1] - start.xy[0])))
    turn = abs(float(np.sin(0.5 * (end.heading[-1] - start.heading[0]))))
    if away > LINK_GAP_M:
        # Such as a lane that tapers out beside the one it is linked to.
        skipped["gap (link dropped)"] += 1
    elif away > GAP_M or 2.0 * turn > GAP_RAD:
        skipped["gap"] += 1
    return away <= LINK_GAP_M
