"""State of the junction's signals: a two-phase fixed cycle, computed from the time alone."""

from __future__ import annotations

import numpy as np

from alpamayo.types import IntArray
from sim.state import WorldState

GREEN, YELLOW, RED = range(3)


def signal_state(state: WorldState, time_s: np.ndarray) -> IntArray:
    """int8 [B, 2] state (GREEN, YELLOW, RED) of groups A and B at ``time_s`` [B]. Green where there
    are no signals."""
    half = state.green_s + state.yellow_s + state.all_red_s
    phase = np.mod(time_s + state.offset_s, 2.0 * half)
    # 1e-9: times are multiples of the tick, so a phase change must not depend on rounding
    phase = np.where(phase > 2.0 * half - 1e-9, 0.0, phase) + 1e-9
    both = np.stack([phase, np.mod(phase - half, 2.0 * half)], axis=-1)
    green, yellow = state.green_s[:, None], (state.green_s + state.yellow_s)[:, None]
    result = np.where(both < green, GREEN, np.where(both < yellow, YELLOW, RED))
    return np.where(state.has_signals[:, None], result, GREEN).astype(np.int8)
