"""How near the ego comes to the actors: clearance, contact and time to collision, in one tick."""

from __future__ import annotations

import math
from typing import Any

from alpamayo.types import EGO_SIZE_M, FloatArray
from sim.collision import distance, relative, separation, touch_within
from sim.kernels import kernel

EGO_LENGTH_M, EGO_WIDTH_M, _ = EGO_SIZE_M
NEAR_M = 10.0  # clearances beyond this are reported as inf
TTC_HORIZON_S = 10.0  # times to collision beyond this are reported as inf
TTC_MARGIN_M = 0.1
TURN_M = 0.3  # how far corners may move in a tick because the boxes turn
# An actor that got farther in a tick than it can drive was put there: nothing lay in between.
JUMP_SHARE, JUMP_M = 2.0, 1.0


@kernel
def look_at_actors(
    w: Any, a: Any, before: FloatArray, tally: Any, cos_h: float, sin_h: float, tick_s: float
) -> tuple[int, float]:
    """(slot, share): the actor in contact (-1: none) and the share of the tick after which they
    touched; notes the smallest clearance and time to collision.

    Of several in contact after the tick the one that overlaps most counts, otherwise the one
    touched first within the tick.
    """
    hit, deepest, grazed, share = -1, math.inf, -1, 1.0
    for i in range(w.actor_count):
        actor = a[i]
        if not actor.present:
            continue
        dx, dy = actor.ax - w.x, actor.ay - w.y
        ahead = dx * cos_h + dy * sin_h
        if ahead > 0.0:
            ttc = _time_to_collision(w, actor, ahead, dy * cos_h - dx * sin_h, cos_h, sin_h)
            tally.min_ttc_s = min(tally.min_ttc_s, ttc)
        moved_x, moved_y = _moved(w, actor, before[0], before[i + 1], tick_s)
        # Clearances that cannot lower the minimum are not computed; a contact always can.
        moved = abs(moved_x) + abs(moved_y)
        reach = 0.5 * (EGO_LENGTH_M + EGO_WIDTH_M + actor.length + actor.width)
        reach += max(min(tally.min_gap_m, NEAR_M), moved)
        if dx * dx + dy * dy >= reach * reach:
            continue
        px, py, cos_t, sin_t = relative(
            w.x, w.y, cos_h, sin_h, actor.ax, actor.ay, actor.cos_h, actor.sin_h
        )
        size = (EGO_LENGTH_M, EGO_WIDTH_M, actor.length, actor.width)
        depth = separation(px, py, cos_t, sin_t, *size)
        if depth <= 0.0:
            if depth < deepest:
                hit, deepest = i, depth
            continue
        gap = distance(px, py, cos_t, sin_t, *size)
        if gap < NEAR_M:
            tally.min_gap_m = min(tally.min_gap_m, gap)
        if gap < moved + TURN_M:
            touched = _touched(w, actor, before[0], before[i + 1])
            if 0.0 <= touched < share:
                grazed, share = i, touched
    return (hit, 1.0) if hit >= 0 else (grazed, share)


@kernel
def speed_ahead(actor: Any) -> float:
    """Speed of an actor in the direction in which it looks: negative when it backs up."""
    speed = math.sqrt(actor.v * actor.v + actor.vd * actor.vd)
    return -speed if actor.v < 0.0 and math.cos(actor.turn) > 0.0 else speed


@kernel
def _moved(
    w: Any, actor: Any, ego: FloatArray, other: FloatArray, tick_s: float
) -> tuple[float, float]:
    """How far the actor moved relative to the ego since the poses ``ego`` and ``other``. One that
    was put somewhere else (it entered the map again) counts as having been there before."""
    own_x, own_y = actor.ax - other[0], actor.ay - other[1]
    drivable = JUMP_SHARE * (abs(actor.v) + abs(actor.vd)) * tick_s + JUMP_M
    if own_x * own_x + own_y * own_y > drivable * drivable:
        other[0] = actor.ax
        other[1] = actor.ay
        other[2] = actor.aheading
        own_x, own_y = 0.0, 0.0
    return own_x - (w.x - ego[0]), own_y - (w.y - ego[1])


@kernel
def _touched(w: Any, actor: Any, ego: FloatArray, other: FloatArray) -> float:
    return touch_within(
        ego[0], ego[1], ego[2], w.x, w.y, w.heading, EGO_LENGTH_M, EGO_WIDTH_M,
        other[0], other[1], other[2], actor.ax, actor.ay, actor.aheading,
        actor.length, actor.width,
    )  # fmt: skip


@kernel
def _time_to_collision(
    w: Any, actor: Any, ahead: float, left: float, cos_h: float, sin_h: float
) -> float:
    """Time until the ego's front reaches an actor ``ahead`` and to the ``left`` of it at present
    speeds, the ego going on along its present arc.

    The actor counts if, at the moment the gap closes, it lies across the ego's arc: so someone
    about to step into the lane counts and someone about to leave it does not.
    """
    cos_t = cos_h * actor.cos_h + sin_h * actor.sin_h
    sin_t = cos_h * actor.sin_h - sin_h * actor.cos_h
    their_speed = speed_ahead(actor)
    along, across = abs(cos_t), abs(sin_t)
    gap = ahead - 0.5 * (EGO_LENGTH_M + actor.length * along + actor.width * across)
    closing = w.speed - their_speed * cos_t
    if closing <= 1e-6 or gap <= -0.5 * EGO_LENGTH_M or gap >= TTC_HORIZON_S * closing:
        return math.inf
    ttc = max(gap, 0.0) / closing
    meet_x = ahead + their_speed * cos_t * ttc
    meet_y = left + their_speed * sin_t * ttc
    aside = abs(meet_y - 0.5 * w.curvature * meet_x * meet_x)
    reach = 0.5 * (EGO_WIDTH_M + actor.length * across + actor.width * along) + TTC_MARGIN_M
    return ttc if aside < reach else math.inf
