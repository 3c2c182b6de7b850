"""Traffic lights and signs: which lanes they hold for, where to stop, and how they look.

Types are those of the country code OpenDRIVE (that is, of the German catalogue) and the American
ones of the same meaning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sim.roads.layout import StopKind
from sim.roads.opendrive.lanes import Draft, Key
from sim.roads.opendrive.model import Network, Road
from sim.roads.opendrive.source import Node

# Three lights, also as arrows, and two (1000002, 1000007, 1000013 to 16 are for pedestrians,
# bicycles and trams).
LIGHTS = frozenset({"1000001", "1000008", "1000009", "1000010", "1000011", "1000012"})
SIGNS = {"205": "yield", "R1-2": "yield", "206": "stop", "R1-1": "stop"}
SPEED_SIGNS = frozenset({"274", "R2-1"})
WARNING_SIGN = re.compile(r"1[0-5]\d(-.*)?|W\d+-\d+.*")
PRIORITY_SIGNS = frozenset({"306", "301"})
STOP_LINE = "294"
CROSSWALK = "1000003"
SETBACK_M = 1.0  # the front of a waiting vehicle keeps this far from where the junction begins
# A stop line that a file tells belongs to the light or sign of its lane within this distance.
LINE_WITHIN_M = 25.0


@dataclass(frozen=True)
class Sign:
    """A signal and the lanes it holds for; ``place`` its road and arc length there, ``t_m`` to the
    left."""

    node: Node
    type: str
    subtype: str
    road: Road
    s_m: float
    t_m: float
    lanes: tuple[Key, ...]


@dataclass
class Rule:
    """What holds where a lane ends: how to stop, and whether a sign gives it priority (1) or takes
    it away (-1). ``lights``: numbers of the signs that are its lights."""

    stop_kind: StopKind = ""
    stop_road_s_m: float | None = None
    rank: int = 0
    lights: list[int] = field(default_factory=list)


def read_signs(network: Network, drafts: dict[Key, Draft]) -> list[Sign]:
    """Every signal, with the lanes of its own place and of its references."""
    governed: dict[str, list[Key]] = {}
    for road in network.roads.values():
        for node in road.node.all("signals", "signalReference"):
            lanes = _lanes_at(node, road, drafts)
            governed.setdefault(node.text("id"), []).extend(lanes)
    signs = []
    for road in network.roads.values():
        for node in road.node.all("signals", "signal"):
            lanes = [*_lanes_at(node, road, drafts), *governed.get(node.text("id", ""), [])]
            signs.append(
                Sign(
                    node,
                    node.text("type", "-1"),
                    node.text("subtype", "-1"),
                    road,
                    node.number("s"),
                    node.number("t"),
                    tuple(dict.fromkeys(lanes)),
                )
            )
    return signs


def _lanes_at(node: Node, road: Road, drafts: dict[Key, Draft]) -> list[Key]:
    """Driving lanes that a signal or reference holds for where it stands: those of its orientation,
    within its validity. Some tools turn the orientation round, so a validity without a lane of the
    orientation counts alone."""
    section = road.section_at(node.number("s"))
    keys = [(road.id, section.index, id) for id in sorted(section.lanes)]
    driving = [key for key in keys if key in drafts and drafts[key].kind == "driving"]
    orientation = node.choice("orientation", ("+", "-", "none"), "none")
    facing = [
        key for key in driving if orientation == "none" or drafts[key].along == (orientation == "+")
    ]
    ranges = [
        sorted((child.integer("fromLane"), child.integer("toLane")))
        for child in node.all("validity")
    ]
    if not ranges:
        return facing

    def valid(keys: list[Key]) -> list[Key]:
        return [key for key in keys if any(low <= key[2] <= high for low, high in ranges)]

    return valid(facing) or valid(driving)


def rules_of(signs: list[Sign], drafts: dict[Key, Draft]) -> dict[Key, Rule]:
    """What holds on the lanes that lead to a light, a stop or yield sign, or a priority sign."""
    rules: dict[Key, Rule] = {}
    for i, sign in enumerate(signs):
        light = sign.type in LIGHTS
        if not light and sign.type not in SIGNS and sign.type not in PRIORITY_SIGNS:
            continue
        for key in sign.lanes:
            for approach, stop_m in _stops(drafts, key, sign, to_junction=not light):
                rule = rules.setdefault(approach, Rule())
                if sign.type in PRIORITY_SIGNS:
                    rule.rank = 1
                    continue
                if light:
                    rule.stop_kind = "signal"
                    rule.lights.append(i)
                else:
                    rule.rank = -1
                if not light and rule.stop_kind != "signal":
                    rule.stop_kind = "stop" if SIGNS[sign.type] == "stop" else "yield"
                rule.stop_road_s_m = stop_m
    lines = [sign for sign in signs if sign.type == STOP_LINE]
    for key, rule in rules.items():
        _move_to_line(drafts[key], rule, lines)
    return rules


def _stops(
    drafts: dict[Key, Draft], key: Key, sign: Sign, to_junction: bool
) -> list[tuple[Key, float]]:
    """Lanes to wait on for a sign that holds for ``key``, with the road's arc length to wait at.

    Inside a junction: the lanes that lead to it, at their ends. Before one: at the sign, or
    (``to_junction``: signs announce what holds there) at the end of the lane into the junction.
    Nobody waits past a light that stands beside the lane, where it cannot be seen.
    """
    if drafts[key].strip.road.junction:
        return [
            (lane, _before(drafts[lane], sign if sign.type in LIGHTS else None))
            for lane in approaches(drafts, key)
        ]
    if not to_junction:
        return [(key, _before(drafts[key], sign))]
    seen = {key}
    while True:
        onward = [
            lane
            for lane in drafts[key].successors
            if not drafts[lane].strip.road.junction and lane not in seen
        ]
        leads_in = any(drafts[lane].strip.road.junction for lane in drafts[key].successors)
        if leads_in or len(onward) != 1:
            return [(key, _before(drafts[key], None))]
        key = onward[0]
        seen.add(key)


def _before(draft: Draft, sign: Sign | None) -> float:
    """The road's arc length a little before the lane's end, or before ``sign`` if it stands beside
    the lane."""
    end = draft.line.length_m
    if sign is not None and sign.road.id == draft.key[0]:
        end = min(end, draft.place_m(sign.s_m))
    return float(np.interp(max(end - SETBACK_M, 0.0), draft.line.s_m, draft.road_s_m))


def approaches(drafts: dict[Key, Draft], key: Key) -> list[Key]:
    """The lanes outside the junction from which a lane inside is reached."""
    found: list[Key] = []
    rest, seen = [key], {key}
    while rest:
        for lane in drafts[rest.pop()].predecessors:
            if not drafts[lane].strip.road.junction:
                found.append(lane)
            elif lane not in seen:
                seen.add(lane)
                rest.append(lane)
    return list(dict.fromkeys(found))


def _move_to_line(draft: Draft, rule: Rule, lines: list[Sign]) -> None:
    """Wait at the stop line that the file tells for the lane, if there is one near."""
    if rule.stop_road_s_m is None:
        return
    stop_m = rule.stop_road_s_m
    near = [line.s_m for line in lines if draft.key in line.lanes]
    near = [s_m for s_m in near if abs(s_m - stop_m) < LINE_WITHIN_M]
    if near:
        rule.stop_road_s_m = min(near, key=lambda s_m: abs(s_m - stop_m))


def signal_groups(rules: dict[Key, Rule], drafts: dict[Key, Draft]) -> dict[Key, int]:
    """Group (0 or 1) of every lane with a light. The lanes of a junction are divided by the axis
    they arrive on; group 0 is the one nearer to north and south."""
    by_junction: dict[str, list[Key]] = {}
    for key, rule in rules.items():
        if rule.stop_kind == "signal":
            by_junction.setdefault(_junction_after(drafts, key), []).append(key)
    groups: dict[Key, int] = {}
    for keys in by_junction.values():
        headings = np.array([drafts[key].line.heading[-1] for key in keys])
        # Two crossing axes are one direction of the fourfold angle.
        axis = 0.25 * np.angle(np.exp(4j * headings).sum())
        north = axis + 0.5 * np.pi if abs(np.cos(axis)) > abs(np.sin(axis)) else axis
        on_axis = np.cos(2.0 * (headings - north)) > 0.0
        groups.update({key: 0 if on else 1 for key, on in zip(keys, on_axis, strict=True)})
    return groups


def _junction_after(drafts: dict[Key, Draft], key: Key) -> str:
    for lane in drafts[key].successors:
        if drafts[lane].strip.road.junction:
            return f"junction {drafts[lane].strip.road.junction}"
    return f"road {key[0]}"  # a light for a crossing between junctions


def sign_kind(sign: Sign) -> str | None:
    """``stop``, ``yield``, ``speed_<n>`` or ``warning``; None for what is not drawn."""
    if sign.type in SIGNS:
        return SIGNS[sign.type]
    if sign.type in SPEED_SIGNS:
        return f"speed_{_speed_value(sign)}"
    named = re.search(r"speed[_ ]?(?:limit[_ ]?)?(\d{1,3})", sign.node.text("name", ""), re.I)
    if named:
        return f"speed_{int(named[1])}"
    return "warning" if WARNING_SIGN.fullmatch(sign.type) else None


def _speed_value(sign: Sign) -> int:
    """The number on a speed sign: its value, else its subtype. The German catalogue numbered
    274-51 to 274-63 for 10 to 130 km/h until it took the number itself (2017)."""
    value = sign.node.number("value", 0.0) if "value" in sign.node.attributes else 0.0
    digits = re.match(r"\d+", sign.subtype)
    number = int(value) if value > 0.0 else int(digits[0]) if digits else 0
    old = value <= 0.0 and 51 <= number <= 63 and number % 10
    return min((number - 50) * 10 if old else number, 999)


def place(sign_road: Road, s_m: float, t_m: float) -> tuple[float, float, float]:
    """x, y of a place beside a road, and the road's heading there."""
    reference = sign_road.plan.at(np.array([min(max(s_m, 0.0), sign_road.length_m)]))
    heading = float(reference.heading[0])
    x = float(reference.xy[0, 0]) - t_m * np.sin(heading)
    y = float(reference.xy[0, 1]) + t_m * np.cos(heading)
    return float(x), float(y), heading


def facing(sign: Sign, lanes: Iterable[Key], drafts: dict[Key, Draft]) -> float:
    """Heading towards those who should see it: against the ``lanes`` on which they come, else by
    its orientation."""
    headings = []
    for key in lanes:
        line = drafts[key].line
        beside = key[0] == sign.road.id
        at = drafts[key].place_m(sign.s_m) if beside else line.length_m
        headings.append(float(np.interp(at, line.s_m, line.heading)))
    if not headings:
        heading = place(sign.road, sign.s_m, 0.0)[2]
        against = sign.node.text("orientation", "none") == "-"
        headings = [heading + (np.pi if against else 0.0)]
    mean = np.angle(np.exp(1j * np.array(headings)).sum())
    return float(np.angle(-np.exp(1j * mean)))


def note_unused(sign: Sign, skipped: Counter[str]) -> None:
    dynamic = "dynamic " if sign.node.text("dynamic", "no") == "yes" else ""
    skipped[f"road/signals/signal ({dynamic}type {sign.type[:40]})"] += 1
