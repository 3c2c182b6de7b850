"""From XML elements to the network's model, every number and reference checked.

Raises ``RequestError`` with file and line for what a valid file cannot hold; counts what is valid
and not understood.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from sim.roads.opendrive.curves import (
    MAX_CURVATURE,
    Piece,
    PlanView,
    Shape,
    arc,
    polynomial,
    spiral,
    straight,
)
from sim.roads.opendrive.marks import read_marks
from sim.roads.opendrive.model import (
    Connection,
    Contact,
    Junction,
    LaneRecord,
    Network,
    Road,
    RoadLink,
    Section,
    SpeedRecords,
)
from sim.roads.opendrive.profiles import NOTHING, Profile, read_profile
from sim.roads.opendrive.source import Node

MAX_ROAD_M = 100_000.0
MAX_LANES_M = 1_000_000.0  # of all lanes together
MAX_EXTENT_M = 50_000.0
MAX_LANES_BESIDE = 64
SPEED_UNITS = {"m/s": 1.0, "mph": 0.44704, "km/h": 1.0 / 3.6}
# A motorway without a limit: the advisory speed of Germany, 130 km/h.
NO_LIMIT_MPS = 130.0 / 3.6


def read_network(root: Node, skipped: Counter[str]) -> Network:
    """The network of a file's root element."""
    if root.tag != "OpenDRIVE":
        raise root.error("the root element OpenDRIVE", root.tag)
    header = root.first("header")
    if header is None:
        raise root.error("a header", "none")
    if (major := header.integer("revMajor")) != 1:
        raise header.error("revMajor 1", major)
    network = Network(root)
    total_m = 0.0
    corners = np.array([[np.inf, np.inf], [-np.inf, -np.inf]])
    for node in root.all("road"):
        road = _road(node, skipped)
        if road.id in network.roads:
            raise node.error("a road id of its own", f"{road.id!r} a second time")
        network.roads[road.id] = road
        total_m += sum((s.end_m - s.start_m) * len(s.lanes) for s in road.sections)
        if total_m > MAX_LANES_M:
            raise node.error(f"at most {MAX_LANES_M:g} m of lanes", f"{total_m:g} m up to here")
        ends = [(piece.x, piece.y) for piece in road.plan.pieces]
        corners = np.stack(
            [np.min([*ends, corners[0]], axis=0), np.max([*ends, corners[1]], axis=0)]
        )
        if np.ptp(corners, axis=0).max() > MAX_EXTENT_M:
            raise node.error(f"roads within {MAX_EXTENT_M:g} m of one another", "one beyond")
    if not network.roads:
        raise root.error("at least one road", "none")
    for node in root.all("junction"):
        junction = _junction(node, len(network.junctions), skipped)
        if junction.id in network.junctions:
            raise node.error("a junction id of its own", f"{junction.id!r} a second time")
        network.junctions[junction.id] = junction
    _check_references(network)
    return network


def _check_references(network: Network) -> None:
    for road in network.roads.values():
        if road.junction and road.junction not in network.junctions:
            raise road.node.error("the id of a junction as junction", repr(road.junction))
        for link in road.links.values():
            known = network.junctions if link.is_junction else network.roads
            if link.id not in known:
                what = "a junction" if link.is_junction else "a road"
                raise link.node.error(f"the id of {what} as elementId", repr(link.id))
    for junction in network.junctions.values():
        for connection in junction.connections:
            for id in (connection.incoming, connection.other):
                if id not in network.roads:
                    raise connection.node.error("ids of roads", repr(id))
        for pair in junction.priorities:
            for id in pair:
                if id and id not in network.roads:
                    raise junction.node.error("ids of roads in priority", repr(id))


def _road(node: Node, skipped: Counter[str]) -> Road:
    plan = _plan_view(node, skipped)
    length_m = node.number("length", low=1e-3, high=MAX_ROAD_M)
    if abs(length_m - plan.length_m) > 0.01 + 1e-4 * length_m:
        skipped["road (length is not that of its plan view)"] += 1
    junction = node.text("junction")
    lanes = node.first("lanes")
    if lanes is None:
        raise node.error("lanes", "none")
    tilted = [*node.all("lateralProfile", "superelevation")]
    skipped["road/lateralProfile/superelevation"] += sum(
        any(tilt.number(name) for name in "abcd") for tilt in tilted
    )
    elevation = read_profile(node.all("elevationProfile", "elevation"), "s")
    return Road(
        node=node,
        id=node.text("id"),
        junction="" if junction == "-1" else junction,
        right_hand=node.choice("rule", ("RHT", "LHT"), "RHT") == "RHT",
        plan=plan,
        elevation=NOTHING if elevation.is_zero else elevation,
        offset=read_profile(lanes.all("laneOffset"), "s"),
        sections=_sections(lanes, plan.length_m, skipped),
        links=_road_links(node, skipped),
        speeds=_road_speeds(node),
    )


def _plan_view(road: Node, skipped: Counter[str]) -> PlanView:
    pieces: list[Piece] = []
    for node in road.all("planView", "geometry"):
        length_m = node.number("length", low=1e-6, high=MAX_ROAD_M)
        start_m = node.number("s", low=0.0, high=MAX_ROAD_M)
        if start_m <= (pieces[-1].start_m if pieces else -1.0):
            raise node.error("s greater than that of the geometry before", node.text("s"))
        # Curves follow one another where they were put, so a wrong s must not open the line.
        place_m = pieces[-1].start_m + pieces[-1].length_m if pieces else 0.0
        if abs(start_m - place_m) > 0.05:
            skipped["gap"] += 1
        x, y = node.number("x"), node.number("y")
        shape = _shape(node, length_m, skipped)
        pieces.append(Piece(start_m, length_m, x, y, node.number("hdg"), shape))
    if not pieces:
        raise road.error("a planView with at least one geometry", "none")
    if pieces[0].start_m > 0.0:
        raise road.error("a first geometry at s=0", f"s={pieces[0].start_m:g}")
    plan = PlanView(tuple(pieces))
    skipped["gap"] += plan.gaps()
    return plan


def _shape(node: Node, length_m: float, skipped: Counter[str]) -> Shape:
    """The curve that a geometry element holds."""
    kinds = ("line", "arc", "spiral", "poly3", "paramPoly3")
    curves = [child for child in node.children if child.tag in kinds]
    if len(curves) != 1:
        raise node.error(f"one of {', '.join(kinds)}", f"{len(curves)} of them")
    curve = curves[0]
    bound = {"low": -MAX_CURVATURE, "high": MAX_CURVATURE}
    if curve.tag == "line":
        return straight
    if curve.tag == "arc":
        return arc(curve.number("curvature", **bound))
    if curve.tag == "spiral":
        ends = (curve.number("curvStart", **bound), curve.number("curvEnd", **bound))
        return spiral(length_m, *ends)
    if curve.tag == "poly3":
        u, v = [0.0, 1.0, 0.0, 0.0], [curve.number(name) for name in "abcd"]
        range_p, fit = length_m, False
    else:
        u, v = ([curve.number(name + axis) for name in "abcd"] for axis in "UV")
        # Revision 1.4 and before: pRange may be absent and means normalized.
        kind = curve.choice("pRange", ("arcLength", "normalized"), "normalized")
        range_p, fit = (1.0 if kind == "normalized" else length_m), True
    shape, arc_m, slowest_m = polynomial(length_m, u, v, range_p, fit)
    if not slowest_m > 1e-3 * length_m or not arc_m < 1e3 * length_m:
        raise curve.error("a curve that moves on all along its length", "one that does not")
    if fit and abs(arc_m - length_m) > 0.05 + 1e-3 * length_m:
        skipped["road/planView/geometry/paramPoly3 (length is not that of the curve)"] += 1
    return shape


def _speed(node: Node) -> float | None:
    """Metres per second of a speed element; None where it says nothing."""
    maximum = node.text("max")
    if maximum == "no limit":
        return NO_LIMIT_MPS
    if maximum == "undefined":
        return None
    unit = node.choice("unit", tuple(SPEED_UNITS), "m/s")
    value = node.number("max", low=-1.0, high=1000.0) * SPEED_UNITS[unit]
    return value if value > 0.0 else None  # 0 or -1: not known


def _road_speeds(road: Node) -> SpeedRecords:
    records: SpeedRecords = []
    for node in road.all("type"):
        speed = node.first("speed")
        records.append((node.number("s", low=0.0), None if speed is None else _speed(speed)))
    return sorted(records, key=lambda record: record[0])


def _road_links(road: Node, skipped: Counter[str]) -> dict[Contact, RoadLink]:
    links: dict[Contact, RoadLink] = {}
    ends: tuple[tuple[Contact, str], ...] = (("start", "predecessor"), ("end", "successor"))
    for end, tag in ends:
        node = road.first("link", tag)
        if node is None:
            continue
        if "elementS" in node.attributes:  # into the middle of a road, through a virtual junction
            skipped[f"road/link/{tag} (elementS)"] += 1
            continue
        is_junction = node.choice("elementType", ("road", "junction")) == "junction"
        contact = "start" if is_junction else _contact(node)
        links[end] = RoadLink(node, is_junction, node.text("elementId"), contact)
    return links


def _contact(node: Node) -> Contact:
    return "start" if node.choice("contactPoint", ("start", "end")) == "start" else "end"


def _sections(lanes: Node, length_m: float, skipped: Counter[str]) -> list[Section]:
    nodes = [*lanes.all("laneSection")]
    starts = [node.number("s", low=0.0, high=MAX_ROAD_M) for node in nodes]
    if not nodes or starts[0] > 1e-6:
        raise lanes.error("a first laneSection at s=0", f"s={starts[0]:g}" if nodes else "none")
    sections = []
    for i, node in enumerate(nodes):
        end_m = starts[i + 1] if i + 1 < len(nodes) else length_m
        if end_m <= starts[i]:
            raise node.error(f"s before the next section or the road's end ({end_m:g})", starts[i])
        sections.append(Section(node, i, starts[i], end_m, _lanes(node, starts[i], skipped)))
        if i and node.choice("singleSide", ("true", "false"), "false") == "true":
            _carry_on(sections[i - 1], sections[i])
    return sections


def _carry_on(before: Section, section: Section) -> None:
    """Lanes of the side that a one-sided section leaves out go on as they are."""
    for sign in (1, -1):
        if any(sign * id > 0 for id in section.lanes):
            continue
        for id in [id for id in before.lanes if sign * id > 0]:
            lane = before.lanes[id]
            section.lanes[id] = replace(lane, predecessors=[(id, lane.node)])
            before.lanes[id] = replace(lane, successors=[(id, lane.node)])


def _lanes(section: Node, start_m: float, skipped: Counter[str]) -> dict[int, LaneRecord]:
    records: dict[int, LaneRecord] = {}
    for side, sign in (("left", 1), ("center", 0), ("right", -1)):
        for node in section.all(side, "lane"):
            record = _lane(node, start_m, skipped)
            if (record.id > 0) - (record.id < 0) != sign:
                raise node.error(f"an id that fits {side}", record.id)
            if record.id in records:
                raise node.error("a lane id of its own", f"{record.id} a second time")
            records[record.id] = record
    if 0 not in records:
        raise section.error("a lane 0 in center", "none")
    if max(records) - min(records) + 1 != len(records):
        raise section.error("lane ids without holes", sorted(records))
    if len(records) > MAX_LANES_BESIDE:
        raise section.error(f"at most {MAX_LANES_BESIDE} lanes side by side", len(records))
    return records


def _lane(node: Node, section_m: float, skipped: Counter[str]) -> LaneRecord:
    id = node.integer("id")
    profiles: dict[str, Profile | None] = {"width": None, "border": None}
    # Where a lane has both, its width counts (OpenDRIVE 1.7, 9.5.2).
    for tag in ("width", "border"):
        nodes = [*node.all(tag)]
        if id and nodes and profiles["width"] is None:
            if nodes[0].number("sOffset", low=0.0) > 1e-3:
                raise nodes[0].error(f"a first {tag} at sOffset 0", nodes[0].text("sOffset"))
            profiles[tag] = read_profile(nodes, "sOffset", section_m)
    if id and profiles["width"] is None and profiles["border"] is None:
        raise node.error("a width or a border", "none")
    speeds = [
        (section_m + speed.number("sOffset", low=0.0), _speed(speed)) for speed in node.all("speed")
    ]
    return LaneRecord(
        node=node,
        id=id,
        type=node.text("type"),
        width=profiles["width"],
        border=profiles["border"],
        predecessors=[(n.integer("id"), n) for n in node.all("link", "predecessor")],
        successors=[(n.integer("id"), n) for n in node.all("link", "successor")],
        marks=read_marks(node, section_m, skipped),
        speeds=sorted(speeds, key=lambda record: record[0]),
    )


def _junction(node: Node, index: int, skipped: Counter[str]) -> Junction:
    junction = Junction(node, node.text("id"), index, [], [])
    kind = node.text("type", "default")
    if kind not in ("default", "direct"):  # virtual, crossing: ways across the middle of a road
        skipped[f"junction (type {kind[:40]})"] += 1
        return junction
    for child in node.all("connection"):
        direct = "linkedRoad" in child.attributes
        if "incomingRoad" not in child.attributes or "contactPoint" not in child.attributes:
            skipped["junction/connection (without incomingRoad or contactPoint)"] += 1
            continue
        links = [(n.integer("from"), n.integer("to"), n) for n in child.all("laneLink")]
        other = child.text("linkedRoad" if direct else "connectingRoad")
        incoming = child.text("incomingRoad")
        junction.connections.append(
            Connection(child, incoming, other, _contact(child), direct, links)
        )
    for child in node.all("priority"):
        junction.priorities.append((child.text("high", ""), child.text("low", "")))
    return junction
