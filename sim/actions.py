"""From an environment's actions to plans, and what to do with those that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from alpamayo.types import BoolArray, FloatArray, RequestError
from sim.config import SimConfig
from sim.world import WorldBatch

ACTION_FIELDS = ("accel_mps2", "curvature_per_m")
BOUND_SLACK = 1e-6  # bounds of float32 actions are not exact


def action_space(config: SimConfig) -> spaces.Box:
    """Of one world: [K, 2], or [2] for controls."""
    low = np.array([-config.max_brake_mps2, -config.max_curvature_per_m], np.float32)
    high = np.array([config.max_accel_mps2, config.max_curvature_per_m], np.float32)
    if config.action == "plan":
        low, high = (np.tile(bound, (config.plan_steps, 1)) for bound in (low, high))
    return spaces.Box(low, high, dtype=np.float32)


class Actions:
    """Turns actions into plans and finds those that are none."""

    def __init__(self, config: SimConfig, invalid: str) -> None:
        if invalid not in ("raise", "brake"):
            raise RequestError(f"invalid: expected 'raise' or 'brake', got {invalid!r}")
        self._config, self.brakes = config, invalid == "brake"
        self.space = action_space(config)
        shape = (config.plan_steps, 2)
        self._low = self.space.low.reshape(shape).astype(np.float64) - BOUND_SLACK
        self._high = self.space.high.reshape(shape).astype(np.float64) + BOUND_SLACK

    def plans(self, actions: Any, worlds: WorldBatch) -> tuple[FloatArray, BoolArray]:
        """Plans [B, K, 2] of all worlds, and which of the running ones [B] were no plans: those are
        refused before anything moves, or brake fully along their present curve."""
        plans = np.asarray(actions, dtype=np.float64)
        expected = (worlds.num_worlds, *self.space.shape)
        if plans.shape != expected:
            raise RequestError(f"action: expected shape {expected}, got {plans.shape}")
        plans = plans.reshape(-1, *self._low.shape)
        wrong = ~((plans >= self._low) & (plans <= self._high))
        if not wrong.any():
            return plans, np.zeros(len(plans), dtype=bool)
        wrong &= worlds.running[:, None, None]
        rows = wrong.any(axis=(1, 2))
        if rows.any() and not self.brakes:
            self._refuse(plans, wrong)
        if rows.any():
            most = self._config.max_curvature_per_m
            plans = plans.copy()
            plans[rows, :, 0] = -self._config.max_brake_mps2
            plans[rows, :, 1] = np.clip(worlds.state.curvature[rows], -most, most)[:, None]
        return plans, rows

    def _refuse(self, plans: FloatArray, wrong: BoolArray) -> None:
        row, step, part = (int(i) for i in np.argwhere(wrong)[0])
        place = "action" if self._config.action == "controls" else f"action[{step}]"
        low, high = self._low[step, part], self._high[step, part]
        raise RequestError(
            f"world {row}: {place}.{ACTION_FIELDS[part]}: expected a number from {low:.4g} to "
            f"{high:.4g}, got {plans[row, step, part]:.6g}"
        )
