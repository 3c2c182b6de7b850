"""How each plan of a running episode agrees with the one before it."""

from __future__ import annotations

import numpy as np

from alpamayo.judged import plans_agree
from alpamayo.metrics import plan_deviation, plan_waypoints
from alpamayo.types import BoolArray, FloatArray, IntArray
from sim.config import SimConfig


class PlanWatch:
    """Keeps the last plan of each of ``count`` worlds."""

    def __init__(self, count: int, config: SimConfig) -> None:
        self.config = config
        self._waypoints = np.zeros((count, config.plan_steps, 2))
        self._actions = np.zeros((count, config.plan_steps, 2), dtype=np.float32)
        self._speed = np.zeros(count)

    def look(
        self,
        rows: IntArray,
        actions: FloatArray,
        speed_mps: FloatArray,
        history: FloatArray,
        first: BoolArray,
    ) -> tuple[FloatArray, BoolArray]:
        """(distance to the previous plan in metres, whether both agree), [B] each.

        ``actions`` [N, K, 2], ``speed_mps`` and ``history`` belong to ``rows``; at an episode's
        ``first`` decision [N], and in the other worlds, the answers are 0 and True.
        """
        config, count = self.config, len(self._speed)
        waypoints = plan_waypoints(actions, speed_mps, config.plan_step_s)
        back = round(config.decision_s / config.tick_s)
        previous_pose = np.asarray(history[:, -1 - back], dtype=np.float64)
        distance = plan_deviation(self._waypoints[rows], previous_pose, waypoints)
        agree = plans_agree(
            self._actions[rows], self._speed[rows], actions, speed_mps, config.plan_step_s
        )
        deviation, steady = np.zeros(count), np.ones(count, dtype=bool)
        deviation[rows], steady[rows] = np.where(first, 0.0, distance), agree | first
        self._waypoints[rows], self._actions[rows] = waypoints, actions
        self._speed[rows] = speed_mps
        return deviation, steady
