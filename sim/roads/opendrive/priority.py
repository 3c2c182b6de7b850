"""Who goes first where lanes of a junction cross or join.

In this order: the file's own priorities, signs, traffic lights (lanes of different groups never
have green together, so only those of one group yield to one another), then, as without any sign,
the one who comes from the right; of two that meet head-on, the one who turns across waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from sim.roads.lines import F64
from sim.roads.opendrive.lanes import Draft, Key
from sim.roads.opendrive.model import Junction, Network
from sim.roads.opendrive.signals import Rule, approaches

# Lanes conflict where their middles come nearer than this share of their mean width.
BESIDE = 0.75
PROBE_M = 1.0
MAX_PROBES = 400


@dataclass(frozen=True)
class Way:
    """A lane through a junction. ``incoming``: lanes it is reached from; ``turn``: its change of
    heading; ``rank`` and ``group``: of the signs and lights there (group -1: none)."""

    draft: Draft
    incoming: frozenset[Key]
    heading: float
    turn: float
    rank: int
    group: int
    points: F64


def yields(
    network: Network, drafts: dict[Key, Draft], rules: dict[Key, Rule], groups: dict[Key, int]
) -> dict[Key, list[Key]]:
    """The lanes that each lane gives way to. Of two lanes that conflict, exactly one yields."""
    result: dict[Key, list[Key]] = {}
    for ways, junction in _gather(network, drafts, rules, groups):
        for one, two in combinations(ways, 2):
            if not _conflict(one, two):
                continue
            if one.group != two.group and min(one.group, two.group) >= 0:
                continue
            first = _first(junction, one, two)
            waits = one if first is two else two
            result.setdefault(waits.draft.key, []).append(first.draft.key)
    return result


def _gather(
    network: Network, drafts: dict[Key, Draft], rules: dict[Key, Rule], groups: dict[Key, int]
) -> list[tuple[list[Way], Junction | None]]:
    """Sets of lanes that may conflict: those inside each junction, and, outside, those that end in
    one lane."""
    driving = [draft for draft in drafts.values() if draft.kind == "driving"]
    sets: list[tuple[list[Way], Junction | None]] = []
    for junction in network.junctions.values():
        inside = [draft for draft in driving if draft.strip.road.junction == junction.id]
        sets.append(([_way(drafts, d, rules, groups) for d in inside], junction))
    for draft in driving:
        joining = [drafts[key] for key in draft.predecessors]
        joining = [before for before in joining if not before.strip.road.junction]
        if len(joining) > 1:
            sets.append(([_way(drafts, before, rules, groups) for before in joining], None))
    return sets


def _way(
    drafts: dict[Key, Draft], draft: Draft, rules: dict[Key, Rule], groups: dict[Key, int]
) -> Way:
    line = draft.line
    incoming = approaches(drafts, draft.key) if draft.strip.road.junction else [draft.key]
    heading = float(line.heading[0])
    if draft.strip.road.junction and incoming:
        heading = float(drafts[incoming[0]].line.heading[-1])
    turn = float(np.angle(np.exp(1j * (_exit_heading(drafts, draft) - heading))))
    ranks = [rules[key].rank for key in incoming if key in rules]
    count = min(int(line.length_m / PROBE_M) + 2, MAX_PROBES)
    probes = line.at(np.linspace(0.0, line.length_m, count))[0]
    return Way(
        draft,
        frozenset(incoming),
        heading,
        turn,
        max(ranks, key=abs, default=0),
        next((groups[key] for key in incoming if key in groups), -1),
        probes,
    )


def _exit_heading(drafts: dict[Key, Draft], draft: Draft) -> float:
    """Heading where a way that begins with a lane leaves its junction."""
    seen = {draft.key}
    while draft.strip.road.junction and draft.successors:
        following = drafts[draft.successors[0]]
        if following.strip.road.junction != draft.strip.road.junction or following.key in seen:
            break
        draft = following
        seen.add(draft.key)
    return float(draft.line.heading[-1])


def _conflict(one: Way, two: Way) -> bool:
    """Whether two lanes cross or join. Those that come from one lane part, and do not."""
    if one.incoming & two.incoming:
        return False
    if two.draft.key in one.draft.successors or one.draft.key in two.draft.successors:
        return False
    if set(one.draft.successors) & set(two.draft.successors):
        return True
    apart = np.hypot(*(one.points[:, None] - two.points[None]).transpose(2, 0, 1))
    return bool(apart.min() < BESIDE * 0.5 * (one.draft.width_m + two.draft.width_m))


def _first(junction: Junction | None, one: Way, two: Way) -> Way:
    """Which of two conflicting ways goes first."""
    for high, low in junction.priorities if junction else []:
        if _of_road(one, high) and _of_road(two, low):
            return one
        if _of_road(two, high) and _of_road(one, low):
            return two
    if one.rank != two.rank:
        return one if one.rank > two.rank else two
    between = float(np.angle(np.exp(1j * (two.heading - one.heading))))
    if 0.25 * np.pi < abs(between) < 0.75 * np.pi:
        # two comes from the right of one if it heads to one's left
        return two if between > 0.0 else one
    # Head-on the one who turns across the other's lane waits, side by side the one who bends more.
    across = 1.0 if one.draft.strip.road.right_hand else -1.0
    head_on = abs(between) > 0.5 * np.pi
    costs = [across * way.turn if head_on else abs(way.turn) for way in (one, two)]
    if abs(costs[0] - costs[1]) > 0.1:
        return one if costs[0] < costs[1] else two
    return one  # the one that the file tells first


def _of_road(way: Way, road_id: str) -> bool:
    """Whether the way is on the road, or comes from it."""
    return way.draft.key[0] == road_id or any(key[0] == road_id for key in way.incoming)
