"""When plans take effect: a fixed number of ticks after the observation they answer.

All worlds of a batch decide at the same tick of their decision interval, so the switch happens at
one tick of the interval for all of them and needs no look-up per world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpamayo.types import BoolArray, FloatArray, IntArray, RequestError
from sim.config import SimConfig


@dataclass(frozen=True)
class LatencySchedule:
    """``switch_tick``: the tick within a decision interval at which a waiting plan takes over;
    ``delay``: how many whole decisions earlier that plan was made."""

    switch_tick: int
    delay: int

    @staticmethod
    def from_config(config: SimConfig) -> LatencySchedule:
        ticks = whole_ticks("latency_s", config.latency_s, config.tick_s)
        per_decision = whole_ticks("decision_s", config.decision_s, config.tick_s)
        return LatencySchedule(ticks % per_decision, ticks // per_decision)

    @property
    def slots(self) -> int:
        """Plans that may be waiting at once."""
        return self.delay + 1


def whole_ticks(name: str, value_s: float, tick_s: float) -> int:
    """``value_s`` in ticks; times that are no multiple of the tick are refused."""
    ticks = round(value_s / tick_s)
    if ticks < 0 or abs(ticks * tick_s - value_s) > 1e-6:
        raise RequestError(
            f"sim config: {name}: expected a multiple of tick_s={tick_s}, got {value_s}"
        )
    return ticks


def push(queue: FloatArray, decision: IntArray, plan: FloatArray, active: BoolArray) -> None:
    """Put ``plan`` [B, K, 2] of decision number ``decision`` [B] into ``queue`` [B, Q, K, 2], in
    place."""
    rows = np.flatnonzero(active)
    queue[rows, decision[rows] % queue.shape[1]] = plan[rows]


def due(queue: FloatArray, decision: IntArray, delay: int) -> tuple[FloatArray, BoolArray]:
    """The plan [B, K, 2] that takes over in this decision interval and whether there is one yet
    [B]."""
    made = decision - delay
    rows = np.arange(len(decision))
    return queue[rows, made % queue.shape[1]], made >= 0
