"""Things that roll freely: balls.

A ball that is given a speed along or across its path takes it on and then slows down evenly, by
rolling resistance, until it lies still.
"""

from __future__ import annotations

import math
from typing import Any

from alpamayo.types import ACTOR_KINDS
from sim.actors.shift import is_shifting
from sim.kernels import kernel
from sim.state import SCRIPTED

BALL = ACTOR_KINDS.index("ball")
ROLL_DECEL_MPS2 = 0.4  # rolling resistance of about 0.04, an air-filled ball on asphalt


@kernel
def rolls(actor: Any) -> bool:
    return actor.kind == BALL and actor.behaviour == SCRIPTED


@kernel
def roll(a: Any, i: int, tick_s: float) -> None:
    """Advance ball ``i`` by one tick. A ``target_v`` that it has not reached, or a lateral move
    that has not begun, is a kick."""
    v, vd = a[i].v, a[i].vd
    if is_shifting(a[i]):
        vd = a[i].shift_rate
        a[i].shift_clock = a[i].shift_s
    target = a[i].target_v
    if target != 0.0 and v != target:
        ramp = a[i].target_accel * tick_s
        v_end, vd_end = v + min(max(target - v, -ramp), ramp), vd
    else:
        a[i].target_v = 0.0
        speed = math.hypot(v, vd)
        # Where it comes to rest within the tick, it stops there.
        slower = max(speed - ROLL_DECEL_MPS2 * tick_s, 0.0)
        keep = slower / speed if speed > 0.0 else 0.0
        v_end, vd_end = v * keep, vd * keep
    a[i].actor_accel = (v_end - v) / tick_s
    a[i].s += 0.5 * (v + v_end) * tick_s
    a[i].d += 0.5 * (vd + vd_end) * tick_s
    a[i].v = v_end
    a[i].vd = vd_end
