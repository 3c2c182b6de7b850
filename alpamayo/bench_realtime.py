"""Whether the controller keeps its time while a planner works, stalls, raises or answers nonsense
beside it.

The planner sees one observation after the other, with the speed of the car that the controller
drives.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from alpamayo import streams
from alpamayo.bench_policy import Images, driven, invented
from alpamayo.types import FloatArray, ObservationBatch, PlanBatch, PlanSpec, Policy
from policies.plan_board import OUTCOME_NAMES
from policies.plan_keeper import SOURCE_NAMES, SOURCE_PLAN, RealtimeConfig
from policies.realtime import Record, run_realtime
from sim.config import SimConfig

OBSERVATIONS = 32
_QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


@dataclass(frozen=True)
class Faults:
    """Shares of calls that stall for up to ``stall_s``, raise, or answer nonsense."""

    stall: float = 0.02
    stall_s: float = 1.5
    raise_: float = 0.02
    nan: float = 0.02
    out_of_range: float = 0.02

    NAMES = ("stall", "raise_", "nan", "out_of_range")


class FaultyPolicy:
    """``policy`` with faults; which call has which is drawn by the call's number and ``seed``."""

    needs_privileged = False

    def __init__(self, policy: Policy, faults: Faults, seed: int = 0) -> None:
        self.name = f"{policy.name} with faults"
        self.injected = dict.fromkeys(Faults.NAMES, 0)
        self._policy, self._faults, self._seed = policy, faults, seed
        self._calls = 0

    def plan(self, observation: ObservationBatch, **options: Any) -> PlanBatch:
        draws = streams.uniform(streams.keys(self._seed, streams.STREAM_FAULTS, self._calls), 2)
        self._calls += 1
        fault = self._fault(float(draws[0]))
        if fault is not None:
            self.injected[fault] += 1
        if fault == "stall":
            time.sleep(self._faults.stall_s * float(draws[1]))
        if fault == "raise_":
            raise RuntimeError("injected")
        plan = self._policy.plan(observation, **options)
        if fault == "nan":
            plan.accel_mps2[:, -1] = np.nan
        if fault == "out_of_range":
            plan.curvature_per_m[:] = 9.0
        return plan

    def _fault(self, draw: float) -> str | None:
        for name in Faults.NAMES:
            share = getattr(self._faults, name)
            if draw < share:
                return name
            draw -= share
        return None


class ObservationBank:
    """Observations in turn, with the speed of the car that is driven."""

    def __init__(self, seen: ObservationBatch) -> None:
        self._all, self._next = seen, 0

    def __call__(self, ego: FloatArray) -> ObservationBatch:
        row = self._next % len(self._all)
        self._next += 1
        seen = self._all.take(slice(row, row + 1))
        columns = {**seen.as_dict(), "speed_mps": np.array([ego[3]], np.float32)}
        return ObservationBatch.from_dict(columns)


def bench_realtime(
    policy: Policy,
    suite: str,
    seconds: float,
    sim: SimConfig,
    config: RealtimeConfig,
    *,
    faults: Faults | None = None,
    controller: Literal["process", "thread"] = "process",
    priority: bool = True,
    images: Images | None = None,
) -> tuple[dict[str, Any], Record]:
    """Drive for ``seconds``; (figures, record). Observations are the simulator's, of ``suite``, or
    invented ``images``."""
    spec = PlanSpec(sim.plan_steps, sim.plan_step_s)
    if images is None:
        seen = driven(suite, OBSERVATIONS, sim, decisions=2)[-1]
    else:
        seen = invented(images, OBSERVATIONS, decisions=1)[0]
    bank = ObservationBank(seen)
    observation = bank(np.array([0.0, 0.0, 0.0, 12.0]))
    for call in range(3):  # the first calls of a policy set it up; a car is ready before it drives
        policy.plan(observation, noise_keys=streams.keys(np.zeros(1), 0, np.full(1, call)))
    driver = policy if faults is None else FaultyPolicy(policy, faults)
    record = run_realtime(
        driver, bank, spec, config, seconds, controller=controller, priority=priority
    )
    figures = {"config": asdict(config), **summary(record, config)}
    if isinstance(driver, FaultyPolicy):
        figures["injected"] = driver.injected
    return figures, record


def summary(record: Record, config: RealtimeConfig) -> dict[str, Any]:
    """Figures of a run. ``tick``: from the moment a command was due until it was given.
    ``invalid_ticks``: commands that are not finite or beyond the limits."""
    ticks, cycles = record.ticks, record.cycles
    accel, curvature = ticks["accel_mps2"], ticks["curvature_per_m"]
    slack = 1.0 + config.tolerance
    valid = np.isfinite(accel) & np.isfinite(curvature)
    valid &= (accel <= config.max_accel_mps2 * slack) & (accel >= -config.max_brake_mps2 * slack)
    valid &= np.abs(curvature) <= config.max_curvature_per_m * slack
    due = round(float(ticks["due_s"][-1]) * config.controller_hz) + 1 if len(ticks) else 0
    latency = record.latency_s()
    return {
        "controller": record.controller,
        "priority": record.priority,
        "ticks": len(ticks),
        "skipped_ticks": due - len(ticks),
        "invalid_ticks": int((~valid).sum()),
        "source": {name: int((ticks["source"] == n).sum()) for n, name in enumerate(SOURCE_NAMES)},
        "stops": _entries(ticks["source"] > SOURCE_PLAN + 1),
        "tick_ms": _milliseconds(ticks["ended_s"] - ticks["due_s"]),
        "late_ms": _milliseconds(ticks["begun_s"] - ticks["due_s"]),
        "work_ms": _milliseconds(ticks["ended_s"] - ticks["begun_s"]),
        "cycles": {
            name: int((cycles["outcome"] == n).sum()) for n, name in enumerate(OUTCOME_NAMES)
        },
        "deadlines": record.deadlines,
        "deadlines_missed": record.deadlines_missed,
        "plan_ms": _milliseconds(latency),
        "errors": record.errors,
    }


def _entries(on: np.ndarray) -> int:
    """How often ``on`` [T] becomes true."""
    return int((on[1:] & ~on[:-1]).sum() + (on[:1].sum()))


def _milliseconds(seconds: FloatArray) -> dict[str, float]:
    if not len(seconds):
        return {}
    return {name: 1e3 * float(np.quantile(seconds, q)) for name, q in _QUANTILES.items()}
