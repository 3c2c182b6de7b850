"""Lateral moves: a trapezoid of lateral speed on a clock that slows with a wheeled actor's own
speed."""

from __future__ import annotations

import math
from typing import Any

from sim.kernels import kernel

SHIFT_RAMP_S = 0.5  # a lateral move reaches its rate, and comes to rest again, within this time
MAX_SIDESLIP = 0.6  # lateral per longitudinal speed of anything on wheels that is not agile


@kernel
def begin_shift(a: Any, i: int, d_m: float, rate_mps: float) -> None:
    """Start moving actor ``i`` to ``d_m`` at a plateau speed of ``rate_mps`` (less if the way is
    short)."""
    way = d_m - a[i].d
    rate = min(max(abs(rate_mps), 1e-3), abs(way) / SHIFT_RAMP_S)
    rate = max(rate, 1e-9)
    a[i].shift_from = a[i].d
    a[i].shift_to = d_m
    a[i].shift_rate = math.copysign(rate, way)
    a[i].shift_s = abs(way) / rate + SHIFT_RAMP_S
    a[i].shift_clock = 0.0


@kernel
def is_shifting(actor: Any) -> bool:
    return actor.shift_clock < actor.shift_s


@kernel
def shift_profile(actor: Any, clock: float) -> float:
    """Lateral position after ``clock`` seconds of the present move."""
    total = actor.shift_s
    if clock >= total:
        return actor.shift_to
    rise = max(clock, 0.0)
    level = max(clock - SHIFT_RAMP_S, 0.0)
    fall = max(clock - (total - SHIFT_RAMP_S), 0.0)
    moved = (rise * rise - level * level - fall * fall) * (0.5 / SHIFT_RAMP_S)
    return actor.shift_from + actor.shift_rate * moved


@kernel
def advance_shift(a: Any, i: int, tick_s: float) -> None:
    """Move actor ``i`` sideways for one tick; its speed ``v`` is that at the end of the tick."""
    if not is_shifting(a[i]):
        a[i].vd = 0.0
        return
    pace = 1.0
    if not a[i].agile:
        pace = min(MAX_SIDESLIP * abs(a[i].v) / max(abs(a[i].shift_rate), 1e-9), 1.0)
    a[i].shift_clock += pace * tick_s
    d = shift_profile(a[i], a[i].shift_clock)
    a[i].vd = (d - a[i].d) / tick_s
    a[i].d = d
