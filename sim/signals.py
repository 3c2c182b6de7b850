"""State of the junction's signals: a two-phase fixed cycle, computed from the time alone, and its
failures.

``dark``: the lamps are out. ``flashing``: flashing yellow on all arms. ``stuck_red`` and
``stuck_green``: the controller hangs in the phase in which the ego's group (group A if the ego
meets no signal) sees red or green; the other group sees the opposite.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alpamayo.types import FloatArray, IntArray
from sim.kernels import kernel
from sim.state import WorldState

GREEN, YELLOW, RED, DARK, FLASHING = range(5)
MODES = ("cycle", "dark", "flashing", "stuck_red", "stuck_green")
_CYCLE, _DARK, _FLASHING, _STUCK_RED, _STUCK_GREEN = range(5)


@kernel
def shown(w: Any, time_s: float) -> tuple[int, int]:
    """What groups A and B show at ``time_s``; green where there are no signals."""
    if not w.has_signals:
        return GREEN, GREEN
    if w.signal_mode == _CYCLE:
        return _cycle(w, time_s)
    if w.signal_mode == _DARK:
        return DARK, DARK
    if w.signal_mode == _FLASHING:
        return FLASHING, FLASHING
    if (w.signal_mode == _STUCK_RED) == (w.signal_group == 1):
        return GREEN, RED
    return RED, GREEN


@kernel
def _cycle(w: Any, time_s: float) -> tuple[int, int]:
    half = w.green_s + w.yellow_s + w.all_red_s
    phase = (time_s + w.offset_s) % (2.0 * half)
    # 1e-9: times are multiples of the tick, so a phase change must not depend on rounding
    phase = 1e-9 if phase > 2.0 * half - 1e-9 else phase + 1e-9
    return _lamp(w, phase), _lamp(w, (phase - half) % (2.0 * half))


@kernel
def _lamp(w: Any, phase: float) -> int:
    if phase < w.green_s:
        return GREEN
    return YELLOW if phase < w.green_s + w.yellow_s else RED


@kernel
def _all_shown(worlds: Any, time_s: FloatArray, result: IntArray) -> None:
    for b in range(len(worlds)):
        result[b, 0], result[b, 1] = shown(worlds[b], time_s[b])


def signal_state(state: WorldState, time_s: FloatArray | float) -> IntArray:
    """int8 [B, 2]: what groups A and B show at ``time_s`` (a number or [B]): 0 green, 1 yellow,
    2 red, 3 dark, 4 flashing yellow."""
    times = np.empty(len(state))
    times[:] = time_s
    result = np.empty((len(state), 2), dtype=np.int8)
    _all_shown(state.worlds, times, result)
    return result
