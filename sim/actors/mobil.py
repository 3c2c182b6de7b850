"""Lane changes: the MOBIL model.

Kesting, Treiber, Helbing, "General lane-changing model MOBIL for car-following models",
Transportation Research Record 1999 (2007): a change must be safe for the follower on the target
lane (eq. 2) and gain more for the driver than it costs the others, weighted by politeness (eq. 3).
There is no bias to either side. Where the lane ends, the nearness of its end adds to the incentive.
Nobody crosses a line that the map says must not be crossed.

A driver indicates, waits, looks again and then belongs to the target lane at once, still beside it.
"""

from __future__ import annotations

import math
from typing import Any

from sim.actors.bodies import (
    COS,
    EGO,
    GOAL_D,
    LENGTH,
    SIN,
    SPEED,
    SPREAD,
    TURN,
    WIDTH,
    D,
    S,
    X,
    Y,
    in_frame,
    put,
)
from sim.actors.idm import acceleration, brake_scale, interaction
from sim.actors.lanes import (
    BESIDE_M,
    beside,
    look_ahead,
    neighbour,
    switch_lane,
)
from sim.actors.leaders import ASIDE_M, CORRIDOR_MARGIN_M, DETOUR
from sim.actors.shift import is_shifting
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.maps import DRIVING, NO_STOP

SAFE_BRAKE_MPS2 = 4.0
RECHECK_S = 1.0
INDICATE_S = 1.0
COOLDOWN_S = 4.0
CHANGE_RATE_MPS = 1.2
CLEAR_M = 1.0  # least gap, bumper to bumper, to anyone on the target lane
SEE_M = 120.0
STOP_LINE_CLEAR_M = 15.0  # no change this shortly before a stop line
MUST_LOOK_M = 200.0
URGENCY_MPS2 = 4.0  # incentive where the lane ends right here
SMALL_RAD = 0.05
WORTH_M = 20.0  # a lane must go on this much farther to be worth a mandatory change
USUAL_DRIVER = (1.5, 2.0, 1.5, 2.0)  # headway, min_gap, max_accel, comfort_brake of the ego
HAZARD_LIGHTS = 2
NOBODY = -1
NEVER = -1e9  # incentive of a change that must not be


@kernel
def consider(w: Any, a: Any, k: int, maps: Any, bodies: Any, tick_s: float) -> None:
    """Let the actor in row ``k`` think about a lane change, and begin one if it is time."""
    i = bodies.slot[k]
    if is_shifting(a[i]) or a[i].indicator == HAZARD_LIGHTS:
        return
    if a[i].change_cooldown_s > INDICATE_S:  # the last change is over
        a[i].indicator = 0
    a[i].change_cooldown_s -= tick_s
    if a[i].change_cooldown_s > 0.5 * tick_s:
        return
    left, right, must = incentives(w, a, k, maps, bodies)
    side = a[i].indicator
    if side == 0:
        a[i].change_cooldown_s = RECHECK_S
        if max(left, right) > a[i].change_threshold:
            a[i].indicator = 1 if left >= right else -1
            a[i].change_cooldown_s = INDICATE_S
        return
    if (left if side > 0 else right) > 0.0:
        target = neighbour(w, a, i, side, maps)
        if switch_lane(w, a, i, target, CHANGE_RATE_MPS, maps):
            put(w, a, i, k, maps, bodies)
            a[i].change_cooldown_s = COOLDOWN_S
            return
    a[i].change_cooldown_s = 0.0
    if not must:  # else it goes on indicating and looking for a gap
        a[i].indicator = 0
        a[i].change_cooldown_s = RECHECK_S


@kernel
def incentives(w: Any, a: Any, k: int, maps: Any, bodies: Any) -> tuple[float, float, bool]:
    """What the actor in row ``k`` gains, in m/s2, by changing to the lane on its left and to that
    on its right, less what it costs the others times its politeness (``NEVER``: not possible, not
    safe, or nothing to gain); and whether its own lane is about to end."""
    i = bodies.slot[k]
    here = room_to_end(w, maps, bodies.way[k], bodies.starts[k], bodies.links[k], a[i].s)
    must = here < MUST_LOOK_M
    if not must and _near_stop_line(w, a[i], maps):
        return NEVER, NEVER, must
    lane = maps.lanes[lookup.lane(maps, w.map_id, a[i].path)]
    if lane.left < 0 and lane.right < 0:
        return NEVER, NEVER, must
    old = around(w, k, bodies.way[k], bodies.starts[k], bodies.links[k], a[i].s, maps, bodies)
    now = following(w, a, k, old[0], old[1], maps, bodies)
    # Nobody gains more than a free road, and the relief of who is behind.
    relief = a[i].politeness * _relief(w, a, k, old, maps, bodies)
    most = following(w, a, k, NOBODY, math.inf, maps, bodies) - now + max(relief, 0.0)
    if not must and most <= 0.0:
        return NEVER, NEVER, must
    s, left, right = a[i].s, NEVER, NEVER
    if not lane.closed_left[0] <= s < lane.closed_left[1]:
        left = _incentive(w, a, k, lane.left, here, now, maps, bodies)
    if not lane.closed_right[0] <= s < lane.closed_right[1]:
        right = _incentive(w, a, k, lane.right, here, now, maps, bodies)
    return left + relief, right + relief, must


@kernel
def _incentive(
    w: Any, a: Any, k: int, target: int, here: float, now: float, maps: Any, bodies: Any
) -> float:
    """Gain of the actor in row ``k`` on lane ``target`` over its present acceleration ``now``, less
    what the follower there loses times its politeness. ``here``: room to the end of its own lane.
    """
    i = bodies.slot[k]
    if target < 0 or maps.lanes[lookup.lane(maps, w.map_id, target)].kind != DRIVING:
        return NEVER
    s, d, _ = beside(w, a, i, target, maps)
    if abs(d) > BESIDE_M:
        return NEVER
    way, starts = bodies.way[-1], bodies.starts[-1]
    links = look_ahead(w, i, a[i].hops, target, -1, s, maps, way, starts)
    there = room_to_end(w, maps, way, starts, links, s)
    if there < min(here - WORTH_M, MUST_LOOK_M):
        return NEVER
    must = here < min(there - WORTH_M, MUST_LOOK_M)
    urgency = 1.0 - max(here, 0.0) / MUST_LOOK_M if must else 0.0
    leader, ahead, follower, behind = around(w, k, way, starts, links, s, maps, bodies)
    own = following(w, a, k, leader, ahead, maps, bodies)
    theirs = following(w, a, follower, k, behind, maps, bodies)
    safe = -SAFE_BRAKE_MPS2 * (1.0 + 0.5 * urgency)
    if min(ahead, behind) < CLEAR_M or min(own, theirs) < safe:
        return NEVER
    cost = 0.0
    if follower > 0:  # not the ego, whose wishes nobody knows
        gap = behind + bodies.rows[k, LENGTH] + ahead
        cost = following(w, a, follower, leader, gap, maps, bodies) - theirs
    return own - now - a[i].politeness * cost + URGENCY_MPS2 * urgency


@kernel
def _relief(w: Any, a: Any, k: int, old: Any, maps: Any, bodies: Any) -> float:
    """What the follower of the actor in row ``k`` gains when that is gone; ``old``: its neighbours
    (see ``around``)."""
    leader, ahead, follower, behind = old
    if follower <= 0:
        return 0.0
    gap = behind + bodies.rows[k, LENGTH] + ahead
    free = following(w, a, follower, leader, gap, maps, bodies)
    return free - following(w, a, follower, k, behind, maps, bodies)


@kernel
def following(w: Any, a: Any, k: int, leader: int, gap: float, maps: Any, bodies: Any) -> float:
    """IDM acceleration of row ``k`` behind row ``leader`` (-1: nobody) at ``gap``; 0 if ``k`` is
    -1. The ego counts as a usual driver that keeps its speed."""
    if k < 0:
        return 0.0
    i, speed = bodies.slot[k], bodies.rows[k, SPEED]
    headway, min_gap, max_accel, comfort = USUAL_DRIVER
    desired = max(speed, 1.0)
    if i != EGO:
        headway, min_gap = a[i].headway, a[i].min_gap
        max_accel, comfort = a[i].max_accel, a[i].comfort_brake
        bend = lookup.bend_speed(maps, w.map_id, a[i].path, a[i].s)
        desired = max(min(a[i].desired, bend), 0.1)
    pressing = 0.0
    if leader >= 0:
        closing = speed - bodies.rows[leader, SPEED]
        pressing = interaction(
            speed, gap, closing, headway, min_gap, brake_scale(max_accel, comfort)
        )
    return acceleration(speed, desired, pressing, max_accel)


@kernel
def around(
    w: Any, k: int, way: Any, starts: Any, links: int, s: float, maps: Any, bodies: Any
) -> tuple[int, float, int, float]:
    """Who would be next to row ``k`` if it were in the middle of the lane ``way[0]`` at ``s``:
    row of the leader (-1: none), gap to it, row of the follower, gap to it; m, bumper to bumper."""
    rows = bodies.rows
    leader, ahead, follower, behind = NOBODY, math.inf, NOBODY, math.inf
    cos_h, sin_h = rows[k, COS], rows[k, SIN]
    sizes = 0.5 * (rows[k, LENGTH] + bodies.most[1])
    # Whoever is farther away than this, ahead and behind, is not the nearest.
    sight, rear_sight = SEE_M * SEE_M, SEE_M * SEE_M
    rank, place = bodies.rank[k], bodies.place
    for step in (1, -1):
        r = rank + step
        while 0 <= r < bodies.count[0]:
            away = place[r, 0] - place[rank, 0]
            if away * away > max(sight, rear_sight):
                break
            dx, dy = place[r, 1] - rows[k, X], place[r, 2] - rows[k, Y]
            j = bodies.order[r]
            r += step
            limit = rear_sight if dx * cos_h + dy * sin_h < 0.0 else sight
            if dx * dx + dy * dy > limit:
                continue
            gap, is_ahead = _gap_to(w, k, j, way, starts, links, s, maps, bodies)
            reach = min(DETOUR * (max(gap, 0.0) + sizes) + ASIDE_M, SEE_M)
            if is_ahead and gap < ahead:
                leader, ahead, sight = j, gap, reach * reach
            elif not is_ahead and gap < behind:
                follower, behind, rear_sight = j, gap, reach * reach
    return leader, ahead, follower, behind


@kernel
def _gap_to(
    w: Any, k: int, j: int, way: Any, starts: Any, links: int, s: float, maps: Any, bodies: Any
) -> tuple[float, bool]:
    """Gap between row ``j`` and row ``k`` as in ``around`` (inf: not on that lane), and whether
    ``j`` is ahead."""
    rows, theirs = bodies.rows, bodies.way[j, 0]
    own = 0.5 * rows[k, WIDTH] + CORRIDOR_MARGIN_M
    for link in range(links):
        if way[link] != theirs:
            pair = lookup.pair(maps, w.map_id, way[link], theirs)
            if pair < 0 or maps.pairs[pair].apart_m >= rows[j, SPREAD] + own:
                continue  # never near, or on a parallel lane
        at, d, turn = in_frame(maps, w.map_id, way[link], theirs, rows[j, S], rows[j, D])
        if way[link] == theirs:  # on its way into or out of the middle of this lane
            d = min(abs(d), abs(rows[j, GOAL_D]))
        if abs(d) < _reach(rows[k, WIDTH], rows[j], turn):
            away = starts[link] + at - s
            gap = abs(away) - 0.5 * (rows[k, LENGTH] + rows[j, LENGTH])
            return gap, away >= 0.0
    # Someone on an earlier lane that leads here.
    for other in range(1, bodies.links[j]):
        path = bodies.way[j, other]
        at, d, turn = in_frame(maps, w.map_id, path, way[0], s, 0.0)
        away = bodies.starts[j, other] + at - rows[j, S]
        if abs(d - rows[j, D]) < _reach(rows[j, WIDTH], rows[k], turn) and away > 0.0:
            return away - 0.5 * (rows[k, LENGTH] + rows[j, LENGTH]), False
    return math.inf, True


@kernel
def _reach(width: float, other: Any, turn: float) -> float:
    """Lateral distance of middles below which a body of ``width`` along its lane and the body in
    row ``other``, on a lane turned by ``turn``, are in each other's way."""
    turn += other[TURN]
    across, along = abs(turn), 1.0
    if across > SMALL_RAD:
        across, along = abs(math.sin(turn)), abs(math.cos(turn))
    return 0.5 * (width + other[LENGTH] * across + other[WIDTH] * along) + CORRIDOR_MARGIN_M


@kernel
def room_to_end(w: Any, maps: Any, way: Any, starts: Any, links: int, s: float) -> float:
    """Metres from ``s`` to where a way should have been left: a lane drop, or a lane that stops
    while a neighbour goes on (inf: nowhere in sight)."""
    for link in range(links):
        lane = maps.lanes[lookup.lane(maps, w.map_id, way[link])]
        if not math.isinf(lane.ends_m):
            return starts[link] + lane.ends_m - s
        if lane.successor_count == 0 and (
            _goes_on(w, maps, lane.left) or _goes_on(w, maps, lane.right)
        ):
            return starts[link] + lane.length_m - s
    return math.inf


@kernel
def _goes_on(w: Any, maps: Any, path: int) -> bool:
    return path >= 0 and maps.lanes[lookup.lane(maps, w.map_id, path)].successor_count > 0


@kernel
def _near_stop_line(w: Any, actor: Any, maps: Any) -> bool:
    line_s, kind, _ = lookup.next_stop(maps, w.map_id, actor.path, actor.s)
    return kind != NO_STOP and line_s - actor.s < STOP_LINE_CLEAR_M
