"""What a policy may know from decisions before: the plan that still drives, and how many it made.

Kept outside of policies, by whoever steps the worlds, so that a policy's answer depends on its own
row only, whatever the batch.
"""

from __future__ import annotations

import numpy as np

from alpamayo.types import FloatArray, IntArray, PlanMemory

_CLOSE = 1e-9  # floating-point dust at the boundaries of plan steps


def controls_ahead(plan: FloatArray, since_s: float, step_s: float) -> FloatArray:
    """What ``plan`` [..., K, 2] does from ``since_s`` after its start on, in steps as long as its
    own: each the control in force at the step's middle, the last one held."""
    count = plan.shape[-2]
    middle = since_s / step_s + np.arange(count) + 0.5
    return plan[..., np.clip((middle + _CLOSE).astype(np.int64), 0, count - 1), :]


class LastPlans:
    """The last plan of each of B worlds that decide every ``decision_s`` and whose plans start to
    drive ``latency_s`` (at most ``decision_s``) after their observation."""

    def __init__(
        self, worlds: int, steps: int, step_s: float, decision_s: float, latency_s: float
    ) -> None:
        self._plans = np.full((worlds, steps, 2), np.nan, dtype=np.float32)
        self._decisions = np.zeros(worlds, dtype=np.int64)
        self._since_s, self._step_s = max(decision_s - latency_s, 0.0), step_s

    def of(self, rows: IntArray) -> PlanMemory:
        ahead = controls_ahead(self._plans[rows], self._since_s, self._step_s)
        return PlanMemory(ahead, self._decisions[rows].copy())

    def put(self, rows: IntArray, actions: FloatArray) -> None:
        """``actions`` [n, K, 2] are the newest plans of ``rows``."""
        self._plans[rows] = actions
        self._decisions[rows] += 1

    def forget(self, rows: IntArray) -> None:
        """New episodes begin in ``rows``."""
        self._plans[rows] = np.nan
        self._decisions[rows] = 0
