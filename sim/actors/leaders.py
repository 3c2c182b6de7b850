"""Who is ahead: the strongest car-following interaction with anyone in the corridor.

An actor's corridor runs along its lane and the lanes after it. Others are looked at in the frame
of those lanes, so that it does not matter whose path they are on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.actors.bodies import (
    LENGTH,
    SPEED,
    SPREAD,
    TURN,
    WIDTH,
    D,
    S,
    X,
    in_frame,
)
from sim.actors.idm import brake_scale, interaction
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.meetings import ANY_LANE, APART_M, HAS_MERGE, NEAR, SLIM_M

CORRIDOR_MARGIN_M = 0.3
MERGE_LOOK_M = 60.0
MERGE_CORRIDOR_M = 4.0
BEHIND_M = 6.0
JOIN_LOOK_M = 25.0  # before a place where another lane joins
JOIN_LEFT_M = 7.0  # closer than this to it, hardly anybody waits any more,
JOINING_MPS = 2.0  # and nobody who drives as fast as this
SWEPT_M = 1.5  # corners reach out of a bend by no more than this
# Bounds for leaving out who cannot matter: how much longer than the way along a bent lane the
# straight distance between two offset cars may be, as a factor and in metres.
DETOUR = 1.5
ASIDE_M = 8.0
WAY_MARGIN_M = 20.0  # more than a lane is known beyond its end, and than anyone stands beside it


@kernel
def strongest(w: Any, a: Any, k: int, maps: Any, bodies: Any) -> float:
    """Strongest interaction (see ``idm.interaction``) of the actor in row ``k`` of ``bodies`` with
    anyone ahead of it, 0 if there is nobody."""
    i = bodies.slot[k]
    scale = brake_scale(a[i].max_accel, a[i].comfort_brake)
    own = abs(a[i].d) + 0.5 * a[i].width + 2.0 * CORRIDOR_MARGIN_M
    merge_at = merge_point(w, k, maps, bodies)
    v, cos_h, sin_h, x, y = a[i].v, a[i].cos_h, a[i].sin_h, a[i].ax, a[i].ay
    # The desired gap at most, for leaving out who is too far away to press harder than ``best``.
    wanted = a[i].min_gap + max(v * a[i].headway + v * (v + bodies.most[0]) / scale, 0.0)
    sizes = 0.5 * (a[i].length + bodies.most[1])
    slim = own < APART_M - SLIM_M
    near = bodies.near[k] if slim else ANY_LANE
    # Nobody beyond the end of the way is on it.
    reach = _way_ahead(w, k, a[i].s, maps, bodies) + sizes + WAY_MARGIN_M
    best, sight = 0.0, reach * reach
    facing, aside = (cos_h, sin_h) if bodies.axis[0] == X else (sin_h, cos_h)
    rank, place = bodies.rank[k], bodies.place
    # First those before it in the order of places, then those behind, until they are too far away.
    for side in range(2):
        step = 1 if (facing >= 0.0) == (side == 0) else -1
        limit = math.inf if side == 0 else _far_behind(facing, aside, bodies.wide[0])
        r = rank + step
        while 0 <= r < bodies.count[0]:
            away = abs(place[r, 0] - place[rank, 0])
            if away > limit or away * away > sight:
                break
            dx, dy = place[r, 1] - x, place[r, 2] - y
            r += step
            j = bodies.order[r - step]
            if bodies.at[j] & near == 0:
                continue
            if dx * cos_h + dy * sin_h <= -BEHIND_M or dx * dx + dy * dy > sight:
                continue
            away = math.sqrt(dx * dx + dy * dy)
            pressing = _pressing(w, a[i], k, j, away, own, slim, merge_at, scale, maps, bodies)
            if pressing > best:
                best = pressing
                reach = DETOUR * (wanted / math.sqrt(best) + sizes) + ASIDE_M
                sight = reach * reach
    return best


@kernel
def _way_ahead(w: Any, k: int, s: float, maps: Any, bodies: Any) -> float:
    """Metres from ``s`` to the end of the way of row ``k``, as far as it is known."""
    last = bodies.links[k] - 1
    lane = maps.lanes[lookup.lane(maps, w.map_id, bodies.way[k, last])]
    return max(bodies.starts[k, last] + lane.length_m - s, 0.0)


@kernel
def _far_behind(facing: float, aside: float, wide: float) -> float:
    """Nobody farther back than this on the axis of places is ahead of someone who heads along it
    with ``facing`` and across it with ``aside`` (cosine and sine)."""
    if abs(facing) < 1e-3:
        return math.inf
    return (BEHIND_M + abs(aside) * wide) / abs(facing)


@kernel
def _pressing(
    w: Any, me: Any, k: int, j: int, away: float, own: float, slim: bool, merge_at: float,
    scale: float, maps: Any, bodies: Any,
) -> float:  # fmt: skip
    """Interaction of ``me`` (row ``k``) with the body in row ``j`` at the straight distance
    ``away`` (0: not in the corridor). ``slim``: lanes that are not near those of its way need no
    look."""
    rows, theirs = bodies.rows, bodies.way[j, 0]
    best = 0.0
    for link in range(bodies.links[k]):
        path, pair = bodies.way[k, link], -1
        # Whoever is farther off than the end of this lane is not on it.
        if link + 1 < bodies.links[k] and bodies.starts[k, link + 1] - me.s + WAY_MARGIN_M < away:
            continue
        if path != theirs:
            near = maps.bits[lookup.lane(maps, w.map_id, path), NEAR]
            if slim and bodies.at[j] & near == 0:
                continue
            pair = lookup.pair(maps, w.map_id, path, theirs)
            if pair < 0 or maps.pairs[pair].apart_m >= rows[j, SPREAD] + own:
                continue
            gap, early = _gap_at_join(w, k, link, j, maps.pairs[pair], maps, bodies)
            if not math.isinf(gap):
                closing = me.v - rows[j, SPEED]
                joining = interaction(me.v, gap, closing, me.headway, me.min_gap, scale)
                if early:
                    joining = min(joining, 1.0 + me.comfort_brake / me.max_accel)
                best = max(best, joining)
        s, d, turn = in_frame(maps, w.map_id, path, theirs, rows[j, S], rows[j, D])
        ahead = bodies.starts[k, link] + s - me.s
        if ahead <= 0.0:
            continue
        turn += rows[j, TURN]
        cos_t, across = 1.0, 0.0
        if turn != 0.0:
            cos_t, across = math.cos(turn), abs(math.sin(turn))
        along = abs(cos_t)
        length, width = rows[j, LENGTH], rows[j, WIDTH]
        reach = 0.5 * (me.width + length * across + width * along) + CORRIDOR_MARGIN_M
        if me.s < merge_at and me.s > merge_at - MERGE_LOOK_M and cos_t > 0.8:
            reach = MERGE_CORRIDOR_M
        if reach <= abs(d - me.d) < reach + SWEPT_M:
            # In a bend the corners of a long body reach out of its lane.
            bend = abs(lookup.curvature(maps, w.map_id, path, s))
            reach += min(0.125 * me.length * me.length * bend, SWEPT_M)
        if abs(d - me.d) < reach:
            gap = ahead - 0.5 * (me.length + length * along + width * across)
            closing = me.v - rows[j, SPEED] * cos_t
            best = max(best, interaction(me.v, gap, closing, me.headway, me.min_gap, scale))
    return best


@kernel
def _gap_at_join(
    w: Any, k: int, link: int, j: int, pair: Any, maps: Any, bodies: Any
) -> tuple[float, bool]:
    """Gap to row ``j`` where its lane joins lane ``link`` of the way of row ``k`` a little ahead:
    both measured to the place where they join, before they are in each other's way (inf: it does
    not join there, is not nearer, or waits or may still wait before it); and whether there is time
    to make room comfortably, as one does for somebody on a ramp, who cannot wait."""
    rows = bodies.rows
    if math.isinf(pair.meet_s_p) or not math.isinf(pair.cross_s):
        return math.inf, False
    if rows[j, SPEED] < JOINING_MPS:
        return math.inf, False
    to_go = bodies.starts[k, link] + pair.meet_s_p - rows[k, S]
    their_to_go = pair.meet_s_q - rows[j, S]
    if not 0.0 < their_to_go < to_go:
        return math.inf, False
    early = their_to_go >= JOIN_LEFT_M
    if to_go > JOIN_LOOK_M or early:
        lane = maps.lanes[lookup.lane(maps, w.map_id, bodies.way[j, 0])]
        if to_go > MERGE_LOOK_M or math.isinf(lane.merge_s):
            return math.inf, False
    return to_go - their_to_go - 0.5 * (rows[k, LENGTH] + rows[j, LENGTH]), early


@kernel
def merge_point(w: Any, k: int, maps: Any, bodies: Any) -> float:
    """Arc length at which the way of row ``k`` has joined another lane (-inf: it does not)."""
    if bodies.features[k] & HAS_MERGE == 0:
        return -np.inf
    for link in range(bodies.links[k]):
        lane = maps.lanes[lookup.lane(maps, w.map_id, bodies.way[k, link])]
        if lane.merge_s > -np.inf:
            return bodies.starts[k, link] + lane.merge_s
    return -np.inf
