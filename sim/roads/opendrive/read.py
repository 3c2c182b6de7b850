"""The whole way from a file to a ``Layout``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from sim.roads.layout import NEVER_CLOSED_M, Lane, Layout
from sim.roads.maps import Marking
from sim.roads.opendrive.dress import across, add_marks, add_surfaces
from sim.roads.opendrive.holes import fill_holes
from sim.roads.opendrive.known import KNOWN
from sim.roads.opendrive.lanes import (
    Draft,
    Key,
    close_ends,
    draft_lane,
    jumps,
    lane_kind,
    speed_limit_mps,
)
from sim.roads.opendrive.links import link_drafts, touching_ends
from sim.roads.opendrive.model import Network
from sim.roads.opendrive.objects import add_objects, crossing
from sim.roads.opendrive.parse import read_network
from sim.roads.opendrive.priority import yields
from sim.roads.opendrive.signals import (
    CROSSWALK,
    LIGHTS,
    PRIORITY_SIGNS,
    STOP_LINE,
    Rule,
    Sign,
    approaches,
    facing,
    note_unused,
    place,
    read_signs,
    rules_of,
    sign_kind,
    signal_groups,
)
from sim.roads.opendrive.source import count_unknown, parse
from sim.roads.opendrive.strips import Strip, strips_of

STOP_WIDTH_M = 0.5


def read_opendrive(path: Path) -> Layout:
    """Lanes, links, surfaces, paint, signals and scenery of an OpenDRIVE 1.x file.

    A lane is named ``road{road id}_s{number of the lane section, from 0}_l{lane id}``: names follow
    from the file alone. Its line runs the way it is driven: with right-hand traffic, negative ids
    along the road and positive ones against it. ``Layout.skipped`` counts what the importer does
    not understand by the path of the element, and ``gap`` where curves or linked lanes of the file
    do not meet within 5 cm and 0.02 rad. Raises ``RequestError`` (file, line, element, what was
    expected) for a file that is not valid.
    """
    skipped: Counter[str] = Counter()
    root = parse(path)
    count_unknown(root, KNOWN, skipped)
    network = read_network(root, skipped)
    strips = [strip for road in network.roads.values() for strip in strips_of(road)]
    drafts = _drafts(network, strips, skipped)
    if not any(draft.kind == "driving" for draft in drafts.values()):
        raise root.error("at least one lane to drive on", "none")
    signs = read_signs(network, drafts)
    rules = rules_of(signs, drafts)
    groups = signal_groups(rules, drafts)
    layout = Layout(lanes=_lanes(network, drafts, rules, groups, skipped))
    for strip in strips:
        shown = add_surfaces(layout, strip)
        add_marks(layout, strip)
        for lane in strip.section.lanes.values():
            if lane.id and lane.id not in shown and strip.width_m(lane.id).max() > 1e-3:
                skipped[f"lane (type {lane.type[:40]})"] += 1
    for id in network.junctions:
        inside = [draft for draft in drafts.values() if draft.strip.road.junction == id]
        if inside:
            fill_holes(layout, inside)
    _add_signs(layout, signs, drafts, rules, groups, skipped)
    add_objects(layout, network, skipped)
    layout.skipped = {what: count for what, count in sorted(skipped.items()) if count}
    return layout


def _drafts(network: Network, strips: list[Strip], skipped: Counter[str]) -> dict[Key, Draft]:
    """All lanes with their lines and links."""
    touches = touching_ends(network, skipped)
    drafts: dict[Key, Draft] = {}
    for strip in strips:
        for id in strip.section.lanes:
            draft = draft_lane(strip, id)
            if draft is not None:
                drafts[draft.key] = draft
            elif lane_kind(strip, id) is not None:
                skipped["lane (folds over inside a bend, or has no length)"] += 1
            if strip.section.lanes[id].type == "bidirectional":
                skipped["lane (type bidirectional: driven one way only)"] += 1
    link_drafts(drafts, touches, skipped)
    for draft in drafts.values():
        close_ends(draft)
        skipped["gap"] += jumps(draft.line)
    return drafts


def _lanes(
    network: Network,
    drafts: dict[Key, Draft],
    rules: dict[Key, Rule],
    groups: dict[Key, int],
    skipped: Counter[str],
) -> list[Lane]:
    gives_way = yields(network, drafts, rules, groups)

    def names(keys: Iterable[Key]) -> tuple[str, ...]:
        return tuple(drafts[key].name for key in keys)

    lanes = []
    for key, draft in drafts.items():
        rule = rules.get(key, Rule())
        junction = network.junctions.get(draft.strip.road.junction)
        stop_m = rule.stop_road_s_m
        left, right = (_neighbour(drafts, draft, side) for side in (1, -1))
        lanes.append(
            Lane(
                name=draft.name,
                line=draft.line,
                kind=draft.kind,
                width_m=draft.width_m,
                left=left,
                right=right,
                successors=names(draft.successors),
                speed_limit_mps=_speed_limit_mps(drafts, draft, skipped),
                stop_s_m=np.inf if stop_m is None else draft.place_m(stop_m),
                stop_kind=rule.stop_kind,
                signal_group=groups.get(key, -1),
                yields_to=names(gives_way.get(key, [])),
                junction=-1 if junction is None else junction.index,
                ends_m=draft.ends_m,
                closed_left_m=_closed_m(drafts, draft, 1),
                closed_right_m=_closed_m(drafts, draft, -1),
            )
        )
    return lanes


def _closed_m(drafts: dict[Key, Draft], draft: Draft, left: int) -> tuple[float, float]:
    """From where to where on a lane marks forbid to change to the neighbour on its left (1) or
    right (-1); where they allow it in between, it counts as forbidden too."""
    road, section, id = draft.key
    beside = id + (left if draft.along else -left)
    # A lane's marks are those of its outer edge.
    outer = drafts.get((road, section, id if abs(beside) > abs(id) else beside))
    if outer is None:
        return NEVER_CLOSED_M
    allowed = ("both", "increase" if beside > id else "decrease")
    marks, end_m = outer.record.marks, float(draft.road_s_m.max())
    places = []
    for n, mark in enumerate(marks):
        if mark.lane_change not in allowed:
            until_m = marks[n + 1].start_m if n + 1 < len(marks) else end_m
            places += [draft.place_m(mark.start_m), draft.place_m(until_m)]
    return (min(places), max(places)) if places else NEVER_CLOSED_M


def _speed_limit_mps(drafts: dict[Key, Draft], draft: Draft, skipped: Counter[str]) -> float | None:
    """The lane's limit; inside a junction that tells none, that of where one comes from."""
    limit = speed_limit_mps(draft, skipped)
    if limit is None and draft.strip.road.junction:
        before = [speed_limit_mps(drafts[key], Counter()) for key in approaches(drafts, draft.key)]
        limit = next((known for known in before if known is not None), None)
    return limit


def _neighbour(drafts: dict[Key, Draft], draft: Draft, left: int) -> str:
    """Name of the driving lane of the same direction beside a driving lane, on its left (1) or
    right (-1); "" for none."""
    road, section, id = draft.key
    beside = id + (left if draft.along else -left)
    other = drafts.get((road, section, beside))
    if other is None or id * beside <= 0 or {draft.kind, other.kind} != {"driving"}:
        return ""
    return other.name


def _add_signs(
    layout: Layout,
    signs: list[Sign],
    drafts: dict[Key, Draft],
    rules: dict[Key, Rule],
    groups: dict[Key, int],
    skipped: Counter[str],
) -> None:
    """Heads of lights, signs, and what signals of OpenDRIVE paint on the road."""
    lines = {
        (key, rule.stop_road_s_m)
        for key, rule in rules.items()
        if rule.stop_kind in ("signal", "stop") and rule.stop_road_s_m is not None
    }
    for i, sign in enumerate(signs):
        x, y, heading = place(sign.road, sign.s_m, sign.t_m)
        kind = sign_kind(sign)
        if sign.type in LIGHTS:
            lanes = [key for key, rule in rules.items() if i in rule.lights]
            if lanes:
                head = (x, y, facing(sign, lanes, drafts), float(groups[lanes[0]]))
                layout.signal_heads.append(head)
            else:
                skipped["road/signals/signal (a light for no lane)"] += 1
        elif kind is not None:
            layout.signs.append((x, y, facing(sign, sign.lanes, drafts), kind))
        elif sign.type == STOP_LINE:
            lines.update((key, sign.s_m) for key in sign.lanes)
        elif sign.type == CROSSWALK:
            layout.markings.append(_crosswalk(sign, (x, y), heading))
        elif sign.type not in PRIORITY_SIGNS:
            note_unused(sign, skipped)
    for key, s_m in sorted(lines):
        points = across(drafts[key].strip, key[2], s_m)
        layout.markings.append(Marking(points, "stop", STOP_WIDTH_M))


def _crosswalk(sign: Sign, xy: tuple[float, float], heading: float) -> Marking:
    """A crossing told as a signal: ``width`` across the road, ``value`` along it."""
    length_m = sign.node.number("width", 7.0, low=0.0, high=200.0) or 7.0
    width_m = sign.node.number("value", 4.0, low=-1.0, high=200.0)
    z_m = float(sign.road.elevation.at(np.array([sign.s_m]))[0][0])
    return crossing(
        np.array(xy),
        heading + 0.5 * np.pi,
        length_m,
        width_m if width_m > 0.0 else 4.0,
        z_m if len(sign.road.elevation.start_m) else None,
    )
