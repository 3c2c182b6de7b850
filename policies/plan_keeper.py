"""Which command the car gets at a tick: the newest plan, what is left of the last one, or a stop.

Pure logic: time comes in with every call, so it behaves the same under a fake clock, in a thread
and in a process of its own. Planning happens in cycles: cycle n starts at ``n / planner_hz``, and
its plan must be there ``deadline_s`` later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from alpamayo.types import FloatArray, PlanSpec, RequestError

SOURCE_PLAN, SOURCE_REMAINDER, SOURCE_STOP = range(3)
SOURCE_NAMES = ("plan", "remainder", "stop")
_CLOSE_S = 1e-9  # floating-point dust at the boundaries of plan steps


@dataclass(frozen=True)
class RealtimeConfig:
    """Rates, deadlines, and what counts as a plan.

    ``latency_s``: a plan's controls start this long after its observation (what the policy was
    trained for). After ``max_missed`` deadlines in a row without a plan in time, the car brakes
    with ``stop_brake_mps2``, reached at ``stop_jerk_mps3``, until a plan arrives in time. A plan
    beyond the limits, with ``tolerance`` as a share of them, is refused.
    """

    planner_hz: float = 10.0
    controller_hz: float = 100.0
    deadline_s: float = 0.1
    latency_s: float = 0.1
    max_missed: int = 3
    stop_brake_mps2: float = 4.0
    stop_jerk_mps3: float = 20.0
    max_accel_mps2: float = 4.0
    max_brake_mps2: float = 8.0
    max_curvature_per_m: float = 0.2
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        for key in (
            "planner_hz", "controller_hz", "deadline_s", "stop_brake_mps2", "stop_jerk_mps3",
            "max_accel_mps2", "max_brake_mps2", "max_curvature_per_m",
        ):  # fmt: skip
            if not 0.0 < getattr(self, key) < math.inf:
                raise RequestError(
                    f"realtime.{key}: expected a number > 0, got {getattr(self, key)}"
                )
        if not 0.0 <= self.latency_s < math.inf:
            raise RequestError(f"realtime.latency_s: expected 0 or more, got {self.latency_s}")
        if self.max_missed < 1:
            raise RequestError(f"realtime.max_missed: expected at least 1, got {self.max_missed}")
        if self.controller_hz < self.planner_hz:
            raise RequestError(
                "realtime.controller_hz: expected at least planner_hz = "
                f"{self.planner_hz:g}, got {self.controller_hz:g}"
            )

    def cycle_start_s(self, cycle: int) -> float:
        """Seconds after the start at which planning cycle ``cycle`` starts."""
        return cycle / self.planner_hz

    def cycle_deadline_s(self, cycle: int) -> float:
        return self.cycle_start_s(cycle) + self.deadline_s


def plan_problem(actions: FloatArray, spec: PlanSpec, config: RealtimeConfig) -> str:
    """Why ``actions`` are no plan to drive [K, 2]; empty if they are one."""
    if np.shape(actions) != (spec.steps, 2):
        return f"expected {(spec.steps, 2)} controls, got {np.shape(actions)}"
    if not np.isfinite(actions).all():
        return "expected finite numbers"
    slack = 1.0 + config.tolerance
    accel, curvature = actions[:, 0], actions[:, 1]
    if accel.max() > config.max_accel_mps2 * slack or accel.min() < -config.max_brake_mps2 * slack:
        low, high = -config.max_brake_mps2, config.max_accel_mps2
        return f"expected accelerations of {low:g}..{high:g} m/s2"
    if np.abs(curvature).max() > config.max_curvature_per_m * slack:
        return f"expected curvatures within {config.max_curvature_per_m:g} 1/m"
    return ""


class PlanKeeper:
    """The controller's choice. Times are seconds since the start of the runtime.

    Every array is made here: ``offer`` and ``command`` allocate none. One thread may use it.
    """

    def __init__(self, config: RealtimeConfig, spec: PlanSpec) -> None:
        self.config, self.spec = config, spec
        self._plan = np.zeros((spec.steps, 2))
        self._starts_s = -math.inf  # when the first control of _plan applies
        self._observed_s = -math.inf
        self._in_time = -1  # newest cycle whose plan arrived before its deadline
        self._last_accel = 0.0
        self._last_s = 0.0
        self._next_deadline = 0  # the cycle whose deadline comes next
        self.missed = 0  # deadlines in a row
        self.cycle = -1  # cycle of the plan that drives
        self.source = SOURCE_STOP
        self.deadlines = 0
        self.deadlines_missed = 0

    def offer(self, plan: FloatArray, cycle: int, observed_s: float, ready_s: float) -> None:
        """Take over a checked ``plan`` [K, 2], observed at ``observed_s`` and ready at ``ready_s``.

        A late one drives too if it saw more than the last one did, but its deadline stays missed.
        """
        if ready_s <= self.config.cycle_deadline_s(cycle) and cycle > self._in_time:
            self._in_time = cycle
            self.missed = 0
        if observed_s <= self._observed_s:
            return
        np.copyto(self._plan, plan)
        self._observed_s = observed_s
        # A plan that is early is not held back: its first control is held for longer.
        self._starts_s = observed_s + self.config.latency_s
        self.cycle = cycle

    def command(self, now_s: float, speed_mps: float) -> tuple[float, float]:
        """(acceleration m/s2, curvature 1/m) for the tick at ``now_s``; says why in ``source``."""
        self._count_deadlines(now_s)
        step = self._step(now_s)
        if step >= self.spec.steps or self.missed >= self.config.max_missed:
            accel, curvature = self._stop(now_s, speed_mps, step)
        else:
            self.source = SOURCE_REMAINDER if self.missed else SOURCE_PLAN
            accel, curvature = float(self._plan[step, 0]), float(self._plan[step, 1])
        self._last_accel, self._last_s = accel, now_s
        return accel, curvature

    def _step(self, now_s: float) -> int:
        """Index of the control that applies at ``now_s``; past the end without a plan."""
        if self.cycle < 0:
            return self.spec.steps
        return int(max(now_s - self._starts_s + _CLOSE_S, 0.0) / self.spec.step_s)

    def _count_deadlines(self, now_s: float) -> None:
        while now_s >= self.config.cycle_deadline_s(self._next_deadline):
            self.deadlines += 1
            if self._in_time < self._next_deadline:
                self.missed += 1
                self.deadlines_missed += 1
            self._next_deadline += 1

    def _stop(self, now_s: float, speed_mps: float, step: int) -> tuple[float, float]:
        """Brake to a stand along the way of the last plan."""
        self.source = SOURCE_STOP
        config = self.config
        tick_s = 1.0 / config.controller_hz
        change = config.stop_jerk_mps3 * min(max(now_s - self._last_s, 0.0), 10 * tick_s)
        brake = -config.stop_brake_mps2
        start = min(self._last_accel, 0.0)  # stop pushing at once; braking comes at the jerk limit
        accel = max(brake, start - change) if start > brake else min(brake, start + change)
        accel = max(accel, -max(speed_mps, 0.0) / tick_s)  # stand, do not reverse
        curvature = float(self._plan[min(step, self.spec.steps - 1), 1])
        return accel, curvature
