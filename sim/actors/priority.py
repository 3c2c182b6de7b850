"""Where traffic must stop or wait: signals, stop signs, and giving way with gap acceptance.

Everything here comes down to one number: the room from the front bumper to the place where the
actor must come to a halt (inf: nowhere).
"""

from __future__ import annotations

import math
from typing import Any

from sim.actors.bodies import AT_LINE, EGO, LENGTH, SPEED, WIDTH, S
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.maps import NO_STOP, STOP_AT_SIGNAL, STOP_SIGN
from sim.roads.meetings import (
    CROSSING_LOOK_M,
    FEATURES,
    GIVES_WAY,
    HAS_STOP,
    LANE_SLACK_M,
    MEETS,
    YIELDS,
    bit,
)

GREEN, YELLOW, RED, DARK, FLASHING = range(5)  # as ``sim.signals`` numbers them
STOP_LINE_SLACK_M = 1.0
YELLOW_BRAKE_MPS2 = 4.0
# A driver of usual acceleration needs this gap in crossing traffic, in s; one who accelerates less
# needs longer to be out of the way (time over a given distance goes with 1 / sqrt(acceleration)).
GIVE_WAY_S = 5.0
USUAL_ACCEL_MPS2 = 1.5
YIELD_BACK_M = 5.0  # waits this far before the place where the lines meet
HOLD_ZONE_M = 4.0  # whoever stands this close to the line stands at it
STANDING_MPS = 0.1
STAND_S = 1.0  # at a stop sign
PATIENCE_S = 2.0  # after this, whoever has waited longest goes
LOOK_OUT_M = 40.0  # looks out for others from here on
ROLLING_MPS = 1.0
CLEAR_M, CLEAR_S = 1.0, 0.5  # between who leaves a crossing and who comes to it
CLEARLY_S = 3.0  # earlier at a crossing by this much is clearly earlier


@kernel
def room_to_stop(
    w: Any, a: Any, k: int, maps: Any, bodies: Any, shown_a: int, shown_b: int
) -> float:
    """Room (m) of the actor in row ``k`` to where it must stop; notes whether it is there."""
    line, at_line = _lines(w, a, k, maps, bodies, shown_a, shown_b)
    yielding, at_yield = _give_way(w, a, k, maps, bodies)
    bodies.rows[k, AT_LINE] = 1.0 if at_line or at_yield else 0.0
    return min(line, yielding)


@kernel
def count_waiting(a: Any, k: int, bodies: Any, tick_s: float) -> None:
    """Keep ``waited_s`` of the actor in row ``k``: how long ago it came to stand at its line, until
    it has left it; negative for someone who stands anywhere else. To be called after everyone has
    decided: who has waited longest must not depend on the order of the rows."""
    i = bodies.slot[k]
    stands, waited = abs(a[i].v) < STANDING_MPS, a[i].waited_s
    if bodies.rows[k, AT_LINE] == 0.0:
        a[i].waited_s = min(waited, 0.0) - tick_s if stands else 0.0
    elif stands or waited > 0.0:  # who starts keeps its turn
        a[i].waited_s = max(waited, 0.0) + tick_s


@kernel
def _lines(
    w: Any, a: Any, k: int, maps: Any, bodies: Any, shown_a: int, shown_b: int
) -> tuple[float, bool]:
    """Room to the nearest line that must be obeyed now, and whether the actor is at any line."""
    i = bodies.slot[k]
    front = a[i].s + 0.5 * a[i].length
    nearest, at_line = math.inf, False
    if bodies.features[k] & HAS_STOP == 0:
        return nearest, at_line
    lanes = maps.maps[w.map_id].lane_first
    for link in range(bodies.links[k]):
        if maps.bits[lanes + bodies.way[k, link], FEATURES] & HAS_STOP == 0:
            continue
        start = bodies.starts[k, link]
        line_s, kind, group = lookup.next_stop(
            maps, w.map_id, bodies.way[k, link], front - start - STOP_LINE_SLACK_M
        )
        if kind == NO_STOP:
            continue
        room = start + line_s - front
        at_line = at_line or room < HOLD_ZONE_M
        if a[i].runs_light or room <= -STOP_LINE_SLACK_M:
            continue
        if kind == STOP_AT_SIGNAL:
            shown = shown_b if group == 1 else shown_a
            if not w.has_signals:
                shown = FLASHING  # nothing tells who goes first
            stops = group >= 0 and _obeys(w, a, k, link, room, shown, maps, bodies)
        else:
            stops = kind == STOP_SIGN and a[i].waited_s < STAND_S
        if stops:
            nearest = min(nearest, max(room, 0.0))
    return nearest, at_line


@kernel
def _obeys(
    w: Any, a: Any, k: int, link: int, room: float, shown: int, maps: Any, bodies: Any
) -> bool:
    """Whether the signal ``shown`` at the line ``room`` ahead, on lane ``link`` of its way, stops
    the actor in row ``k``. A dark one is an all-way stop, a flashing one asks to look out."""
    i = bodies.slot[k]
    if shown == GREEN:
        return False
    if shown == YELLOW:
        return a[i].v * a[i].v < 2.0 * YELLOW_BRAKE_MPS2 * max(room, 0.0)
    if shown == RED:
        return True
    if shown == DARK and a[i].waited_s < STAND_S:
        return True
    if room > LOOK_OUT_M:
        return False
    meets = _meets(w, k, link, maps, bodies)
    for j in range(bodies.count[0]):
        if j == k or bodies.soon[j] & meets == 0:
            continue
        if _goes_first(w, a, k, link, j, shown == DARK, maps, bodies):
            return True
    return False


@kernel
def _meets(w: Any, k: int, first: int, maps: Any, bodies: Any) -> int:
    """Set of the lanes that the way of row ``k`` soon meets from its lane ``first`` on."""
    meets, lanes = 0, maps.maps[w.map_id].lane_first
    for link in range(first, bodies.links[k]):
        if bodies.starts[k, link] - bodies.rows[k, S] > CROSSING_LOOK_M + LANE_SLACK_M:
            break
        meets |= maps.bits[lanes + bodies.way[k, link], MEETS]
    return meets


@kernel
def _goes_first(
    w: Any, a: Any, k: int, first: int, j: int, all_stop: bool, maps: Any, bodies: Any
) -> bool:
    """Whether row ``j`` may cross before row ``k`` at a junction where nobody has priority: who is
    inside it does; then who has stood longest, or, where nobody must stand, who is nearer in time.
    """
    s, their_s = bodies.rows[k, S], bodies.rows[j, S]
    lanes = maps.maps[w.map_id].lane_first
    for link in range(first, bodies.links[k]):
        start = bodies.starts[k, link]
        if start - s > CROSSING_LOOK_M + LANE_SLACK_M:
            break
        meets = maps.bits[lanes + bodies.way[k, link], MEETS]
        if bodies.soon[j] & meets == 0:
            continue
        for other in range(bodies.links[j]):
            if bodies.starts[j, other] - their_s > CROSSING_LOOK_M + LANE_SLACK_M:
                break
            if not _may_be_in(meets, j, other, bodies):
                continue
            pair = lookup.pair(maps, w.map_id, bodies.way[k, link], bodies.way[j, other])
            if pair < 0 or math.isinf(maps.pairs[pair].meet_s_p):
                continue
            to_go = start + maps.pairs[pair].meet_s_p - s
            their_to_go = bodies.starts[j, other] + maps.pairs[pair].meet_s_q - their_s
            if not 0.0 < to_go < CROSSING_LOOK_M or their_to_go > CROSSING_LOOK_M:
                continue
            if their_to_go < -0.5 * bodies.rows[j, LENGTH] - 0.5 * bodies.rows[k, LENGTH]:
                continue  # has left the crossing
            if _comes_before(w, a, k, j, other, to_go, their_to_go, all_stop, maps, bodies):
                return True
    return False


@kernel
def _may_be_in(lanes: int, j: int, other: int, bodies: Any) -> bool:
    """Whether lane ``other`` of the way of row ``j`` may be in a set of ``lanes``."""
    return j == 0 or bit(bodies.way[j, other]) & lanes != 0


@kernel
def _comes_before(
    w: Any, a: Any, k: int, j: int, other: int, to_go: float, their_to_go: float, all_stop: bool,
    maps: Any, bodies: Any,
) -> bool:  # fmt: skip
    """``_goes_first`` for one crossing, on lane ``other`` of the way of row ``j``."""
    ours_s, theirs_s = _waited(w, a, k, bodies), _waited(w, a, j, bodies)
    speed, their_speed = bodies.rows[k, SPEED], bodies.rows[j, SPEED]
    inside = _is_inside(w, j, other, maps, bodies)
    if theirs_s > 0.0 and not (inside and their_speed > STANDING_MPS):
        return theirs_s > ours_s or (theirs_s == ours_s and j < k)
    line = _line_before(w, j, their_to_go, maps, bodies)
    if math.isinf(line):  # it has passed its line, or nothing makes it stop
        if inside and _is_gone(a, k, j, to_go, their_to_go, bodies):
            return False
        return inside or their_to_go < GIVE_WAY_S * max(their_speed, 1.0)
    if their_speed > 2.0 and their_speed * their_speed > 2.0 * YELLOW_BRAKE_MPS2 * max(line, 0.0):
        return True  # cannot stop any more
    if line < HOLD_ZONE_M and bodies.slot[j] == EGO:
        return True  # starting
    if all_stop or speed < STANDING_MPS or their_to_go > LOOK_OUT_M:
        return False
    # Both are driving: whoever is not clearly the first slows down.
    ours_s, theirs_s = to_go / speed, their_to_go / max(their_speed, STANDING_MPS)
    return theirs_s < ours_s + CLEARLY_S


@kernel
def _is_gone(a: Any, k: int, j: int, to_go: float, their_to_go: float, bodies: Any) -> bool:
    """Whether row ``j``, which drives, will have left a crossing when row ``k`` can be there;
    ``to_go``, ``their_to_go``: to it, from their middles."""
    rows, accel = bodies.rows, a[bodies.slot[k]].max_accel
    if rows[j, SPEED] < ROLLING_MPS:
        return False
    to_leave = their_to_go + 0.5 * (rows[j, LENGTH] + rows[k, WIDTH]) + CLEAR_M
    to_reach = max(to_go - 0.5 * (rows[k, LENGTH] + rows[j, WIDTH]) - CLEAR_M, 0.0)
    speed = rows[k, SPEED]
    reaches_s = (math.sqrt(speed * speed + 2.0 * accel * to_reach) - speed) / accel
    return to_leave / rows[j, SPEED] + CLEAR_S < reaches_s


@kernel
def _line_before(w: Any, j: int, to_go: float, maps: Any, bodies: Any) -> float:
    """Room of row ``j`` to a stop line that lies before the place ``to_go`` ahead of its middle
    (inf: there is none, or it has passed it)."""
    s = bodies.rows[j, S]
    front = s + 0.5 * bodies.rows[j, LENGTH]
    for other in range(bodies.links[j]):
        start = bodies.starts[j, other]
        line_s, kind, _ = lookup.next_stop(
            maps, w.map_id, bodies.way[j, other], front - start - STOP_LINE_SLACK_M
        )
        if kind != NO_STOP and start + line_s < s + to_go:
            return start + line_s - front
    return math.inf


@kernel
def _is_inside(w: Any, j: int, other: int, maps: Any, bodies: Any) -> bool:
    """Whether row ``j`` has passed the line of the junction that lane ``other`` is in."""
    for link in range(other + 1):
        lane = maps.lanes[lookup.lane(maps, w.map_id, bodies.way[j, link])]
        if bodies.starts[j, link] + lane.stop_s < bodies.rows[j, S]:
            return True
    return maps.lanes[lookup.lane(maps, w.map_id, bodies.way[j, 0])].junction >= 0


@kernel
def _waited(w: Any, a: Any, k: int, bodies: Any) -> float:
    """How long row ``k`` has stood at its line, s."""
    i = bodies.slot[k]
    if i != EGO:
        return a[i].waited_s
    return w.standstill_s if w.speed < STANDING_MPS else 0.0


@kernel
def critical_gap_s(max_accel: float) -> float:
    """Gap in crossing traffic that a driver accepts."""
    return GIVE_WAY_S * math.sqrt(USUAL_ACCEL_MPS2 / max_accel)


@kernel
def _give_way(w: Any, a: Any, k: int, maps: Any, bodies: Any) -> tuple[float, bool]:
    """Room to where the actor in row ``k`` waits for traffic that goes first (inf: free), and
    whether it is there."""
    i = bodies.slot[k]
    nearest, there = math.inf, False
    if a[i].runs_light or bodies.features[k] & GIVES_WAY == 0:
        return nearest, there
    for link in range(bodies.links[k]):
        lane = maps.lanes[lookup.lane(maps, w.map_id, bodies.way[k, link])]
        if not lane.gives_way:
            continue
        # Where signals order the traffic, those who stand are held by them.
        if w.has_signals and lane.stop_kind == STOP_AT_SIGNAL:
            room = _wait_each(w, a, k, link, maps, bodies)
            at_place = room < HOLD_ZONE_M
        else:
            room, at_place = _wait_once(w, a, k, link, maps, bodies)
        nearest = min(nearest, room)
        there = there or at_place
    return nearest, there


@kernel
def _wait_each(w: Any, a: Any, k: int, link: int, maps: Any, bodies: Any) -> float:
    """Room to the first conflict of lane ``link`` of its way to which traffic is coming: a left
    turn that waits in the middle of the junction."""
    i, path, nearest = bodies.slot[k], bodies.way[k, link], math.inf
    front = a[i].s + 0.5 * a[i].length
    yields = maps.bits[lookup.lane(maps, w.map_id, path), YIELDS]
    for j in range(bodies.count[0]):
        if j == k or bodies.on[j] & yields == 0:
            continue
        for other in range(bodies.links[j]):
            if not _may_be_in(yields, j, other, bodies):
                continue
            pair = lookup.pair(maps, w.map_id, path, bodies.way[j, other])
            if pair < 0 or not maps.pairs[pair].yields:
                continue
            room = bodies.starts[k, link] + maps.pairs[pair].conflict_s_p - YIELD_BACK_M - front
            meet = bodies.starts[j, other] + maps.pairs[pair].conflict_s_q
            if room > -STOP_LINE_SLACK_M and _is_coming(a[i], j, meet, 0.0, bodies):
                nearest = min(nearest, max(room, 0.0))
    return nearest


@kernel
def _wait_once(w: Any, a: Any, k: int, link: int, maps: Any, bodies: Any) -> tuple[float, bool]:
    """Room to before the first of all conflicts of lane ``link`` of its way, while traffic is
    coming to any of them (whoever has begun to cross does not stop half-way), and whether the actor
    in row ``k`` is there, waiting or starting."""
    i, path = bodies.slot[k], bodies.way[k, link]
    lane = lookup.lane(maps, w.map_id, path)
    yields, coming = maps.bits[lane, YIELDS], False
    for j in range(bodies.count[0]):
        if j == k or bodies.on[j] & yields == 0:
            continue
        for other in range(bodies.links[j]):
            if not _may_be_in(yields, j, other, bodies):
                continue
            pair = lookup.pair(maps, w.map_id, path, bodies.way[j, other])
            if pair >= 0 and maps.pairs[pair].yields:
                meet = bodies.starts[j, other] + maps.pairs[pair].conflict_s_q
                coming = coming or _is_coming(a[i], j, meet, USUAL_ACCEL_MPS2, bodies)
    if not coming and a[i].waited_s <= 0.0:
        return math.inf, False
    room = _room_before(w, a, k, link, maps.lanes[lane].conflict_s, maps, bodies)
    if room <= -STOP_LINE_SLACK_M:
        return math.inf, False
    if not coming or _gets_its_turn(w, a, k, link, maps, bodies):
        return math.inf, room < HOLD_ZONE_M
    return max(room, 0.0), room < HOLD_ZONE_M


@kernel
def _gets_its_turn(w: Any, a: Any, k: int, link: int, maps: Any, bodies: Any) -> bool:
    """Whether the actor in row ``k`` has given way for so long that it is its turn, as at an
    all-way stop: else who all wait for each other would do so for ever."""
    if a[bodies.slot[k]].waited_s < PATIENCE_S:
        return False
    first, meets = 0, _meets(w, k, link, maps, bodies)
    for j in range(bodies.count[0]):
        if j == k or bodies.soon[j] & meets == 0:
            continue
        if _goes_first(w, a, k, link, j, True, maps, bodies):
            first += 1
    return first == 0


@kernel
def _room_before(
    w: Any, a: Any, k: int, link: int, conflict_s: float, maps: Any, bodies: Any
) -> float:
    """Room to where one waits for the conflict at ``conflict_s`` of lane ``link`` of its way: at
    the line of a stop or yield sign before it, else a little before the place itself."""
    i = bodies.slot[k]
    front = a[i].s + 0.5 * a[i].length
    conflict = bodies.starts[k, link] + conflict_s - front
    for earlier in range(link + 1):
        start = bodies.starts[k, earlier]
        line_s, kind, _ = lookup.next_stop(
            maps, w.map_id, bodies.way[k, earlier], front - start - HOLD_ZONE_M
        )
        line = start + line_s - front
        if kind > STOP_AT_SIGNAL and line < conflict:
            return line
    return conflict - YIELD_BACK_M


@kernel
def _is_coming(me: Any, j: int, meet: float, starts: float, bodies: Any) -> bool:
    """Whether row ``j``, speeding up by ``starts`` (m/s2), reaches the place ``meet`` of its way
    within the gap that ``me`` needs, or stands in it."""
    speed = bodies.rows[j, SPEED]
    to_go = meet - bodies.rows[j, S]
    if to_go <= -bodies.rows[j, LENGTH]:
        return False
    gap_s = critical_gap_s(me.max_accel)
    return to_go < gap_s * max(speed, 0.1) + 0.5 * starts * gap_s * gap_s
