"""Whose fault a collision of the ego was. First rule that applies:

1. the ego (nearly) stood, < 0.5 m/s, and the other moved faster than it: the other's fault;
2. the other is a part (a door) that began to move less than a second ago: the other's, nobody could
   have reacted;
3. contact at the ego's rear: the other's;
4. contact at the ego's front: the ego's;
5. contact at the ego's side while the ego changed lanes (it moved towards the other at > 0.3 m/s,
   or its box lay across the edge of the nearest lane): the ego's;
6. contact at the ego's side with something that stood (< 0.5 m/s): the ego's;
7. otherwise (its side was hit while it kept its lane, for example by a red-light runner): the
   other's.

Which side was hit follows from the last tick before contact: the axis of the ego's box on which the
two boxes came to overlap last is the one they hit each other along. A part is as fast as its middle
was in that tick.
"""

from __future__ import annotations

import math
from typing import Any

from alpamayo.types import EGO_SIZE_M, FAULT_EGO, FAULT_OTHER, FloatArray
from sim.collision import relative, separations, wrapped
from sim.kernels import kernel
from sim.state import ATTACHED

EGO_LENGTH_M, EGO_WIDTH_M, _ = EGO_SIZE_M
STANDING_MPS = 0.5
DRIFTING_MPS = 0.3
LANE_EDGE_M = 0.1
SURPRISE_S = 1.0


@kernel
def attribute_fault(
    w: Any, actor: Any, ego: FloatArray, other: FloatArray, share: float,
    lane_offset: float, lane_heading: float, time_s: float, tick_s: float,
) -> int:  # fmt: skip
    """FAULT_* of the ego's collision with ``actor``, which happened after ``share`` of the tick
    that began with the poses ``ego`` and ``other`` and ended at ``time_s``.

    ``lane_offset``, ``lane_heading``: the lane nearest to the ego, and its heading.
    """
    their_speed = math.hypot(actor.v, actor.vd)
    if actor.behaviour == ATTACHED:
        their_speed = math.hypot(actor.ax - other[0], actor.ay - other[1]) / tick_s
    if w.speed < STANDING_MPS and their_speed > w.speed:
        return FAULT_OTHER
    if actor.behaviour == ATTACHED and time_s - actor.opened_s < SURPRISE_S:
        return FAULT_OTHER
    lengthwise, ahead, left = _contact(w, actor, ego, other, share)
    if lengthwise:
        return FAULT_EGO if ahead > 0.0 else FAULT_OTHER
    if changes_lane(w, left, lane_offset, lane_heading) or their_speed < STANDING_MPS:
        return FAULT_EGO
    return FAULT_OTHER


@kernel
def _contact(
    w: Any, actor: Any, ego: FloatArray, other: FloatArray, share: float
) -> tuple[bool, float, float]:
    """(lengthwise, ahead, left): whether the boxes hit each other along the ego's long axis, and
    where the other was in the ego's frame before the tick."""
    then_long, then_cross, ahead, left = _separated(
        actor, ego[0], ego[1], ego[2], other[0], other[1], other[2]
    )
    now_long, now_cross, _, _ = _separated(
        actor,
        ego[0] + share * (w.x - ego[0]),
        ego[1] + share * (w.y - ego[1]),
        ego[2] + share * wrapped(w.heading - ego[2]),
        other[0] + share * (actor.ax - other[0]),
        other[1] + share * (actor.ay - other[1]),
        other[2] + share * wrapped(actor.aheading - other[2]),
    )
    # Share of the way to contact after which each axis came to overlap: the later one is that of
    # contact.
    since_long = max(then_long, 0.0) / max(then_long - now_long, 1e-9)
    since_cross = max(then_cross, 0.0) / max(then_cross - now_cross, 1e-9)
    return since_long >= since_cross, ahead, left


@kernel
def _separated(
    actor: Any, x: float, y: float, heading: float,
    other_x: float, other_y: float, other_heading: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """Separation along the ego's long and cross axis, and the actor's place in the ego's frame."""
    px, py, cos_t, sin_t = relative(
        x, y, math.cos(heading), math.sin(heading),
        other_x, other_y, math.cos(other_heading), math.sin(other_heading),
    )  # fmt: skip
    long, cross, _, _ = separations(
        px, py, cos_t, sin_t, EGO_LENGTH_M, EGO_WIDTH_M, actor.length, actor.width
    )
    return long, cross, px, py


@kernel
def changes_lane(w: Any, left: float, lane_offset: float, lane_heading: float) -> bool:
    """Whether the ego drifts towards the other, which is ``left`` metres to its left, or straddles
    an edge of the lane nearest to it, ``lane_offset`` away."""
    turn = w.heading - lane_heading
    cos_t, sin_t = math.cos(turn), math.sin(turn)
    # lanes of the opposite direction count the same way: left of the ego is what matters
    drift = w.speed * sin_t * (-1.0 if cos_t < 0.0 else 1.0)
    if left < 0.0:
        drift = -drift
    extent = 0.5 * (EGO_WIDTH_M * abs(cos_t) + EGO_LENGTH_M * abs(sin_t))
    straddles = lane_offset + extent > 0.5 * w.lane_width + LANE_EDGE_M
    return straddles or (left != 0.0 and drift > DRIFTING_MPS)
