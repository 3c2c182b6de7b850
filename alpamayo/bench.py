"""How fast the policy, and policy and simulator together, are in one process.

Every measurement runs for a given time after a warm-up, on ordinary scenarios of a suite; ended
worlds start a new scenario at once, so that the batch stays full. Times are wall time; quantiles
are over single calls.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from alpamayo import streams
from alpamayo.types import FloatArray, ObservationBatch, Policy
from sim.config import SimConfig

WARM_UP_CALLS = 2


@dataclass
class Timings:
    """Seconds of each call, by the name of what was called."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def call(self, name: str, function: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = function()
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)
        return result

    def drop_warm_up(self) -> None:
        self.seconds.clear()

    def total(self, name: str) -> float:
        return float(sum(self.seconds[name]))

    def milliseconds(self, name: str) -> dict[str, float]:
        values = 1e3 * np.asarray(self.seconds[name])
        return {"median_ms": float(np.median(values)), "p95_ms": float(np.quantile(values, 0.95))}


class _Traffic:
    """A batch of worlds that never runs dry."""

    def __init__(self, suite: str, worlds: int, config: SimConfig) -> None:
        from scenarios.suites import load_suite
        from sim.world import WorldBatch

        self._suite = load_suite(suite)
        self._next = worlds
        self.worlds = WorldBatch(self._suite.draw(worlds), config)
        self.actors = float(np.mean([len(s.actors) + 1 for s in self.worlds.scenarios]))

    def refill(self) -> None:
        ended = np.flatnonzero(~self.worlds.running)
        if len(ended):
            self.worlds.load(ended, self._suite.draw(len(ended), start=self._next))
            self._next += len(ended)


def _until(seconds: float, timings: Timings) -> Iterator[int]:
    """Count calls until the time is over; the warm-up is not in ``timings``."""
    for _ in range(WARM_UP_CALLS):
        yield -1
    timings.drop_warm_up()
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < seconds:
        yield calls
        calls += 1


def bench_policy(
    policy: Policy, suite: str, worlds: int, seconds: float, config: SimConfig
) -> dict[str, Any]:
    """A policy that is no network: a batch, and one observation alone."""
    traffic = _Traffic(suite, worlds, config)
    observation = traffic.worlds.observe()
    privileged = traffic.worlds.privileged() if policy.needs_privileged else None
    result: dict[str, Any] = {}
    sizes = [worlds] if policy.needs_privileged else sorted({1, worlds}, reverse=True)
    for size in sizes:
        timings, part = Timings(), observation.take(np.arange(size))
        for call in _until(seconds / len(sizes), timings):
            noise = streams.keys(np.arange(size), 0, call + WARM_UP_CALLS)
            plan = partial(policy.plan, part, noise_keys=noise, privileged=privileged)
            timings.call("plan", plan)
        result[f"decode_batch_{size}"] = {
            **timings.milliseconds("plan"),
            "plans_per_s": size * len(timings.seconds["plan"]) / timings.total("plan"),
        }
    return result


def bench_learning(policy: Any, observation: ObservationBatch, seconds: float) -> dict[str, Any]:
    """Forward and backward of the post-training objective on the whole batch."""
    from alpamayo.config import LearnerConfig
    from alpamayo.learner.speed import learning_step

    rows, timings = len(observation), Timings()
    step = learning_step(policy, observation, streams.keys(np.arange(rows), 0), LearnerConfig())
    for _ in _until(seconds, timings):
        timings.call("learn", step)
    samples_per_s = rows * len(timings.seconds["learn"]) / timings.total("learn")
    return {**timings.milliseconds("learn"), "samples_per_s": samples_per_s}


def bench_loop(
    policy: Policy, suite: str, worlds: int, seconds: float, config: SimConfig
) -> dict[str, Any]:
    """Observe, plan, step: what one rollout worker does, and where its time goes."""
    traffic, timings = _Traffic(suite, worlds, config), Timings()
    for call in _until(seconds, timings):
        observation = timings.call("observe", traffic.worlds.observe)
        noise = streams.keys(np.arange(worlds), 0, call + WARM_UP_CALLS)
        plan = partial(_plan, policy, traffic.worlds, observation, noise)
        actions: FloatArray = timings.call("plan", plan)
        timings.call("step", partial(traffic.worlds.step, actions))
        timings.call("load", traffic.refill)
    parts = {name: timings.total(name) for name in ("observe", "plan", "step", "load")}
    whole = sum(parts.values())
    return {
        "decisions_per_s": worlds * len(timings.seconds["step"]) / whole,
        "share": {name: part / whole for name, part in parts.items()},
        **{name: timings.milliseconds(name) for name in ("observe", "plan", "step")},
    }


def _plan(policy: Policy, worlds: Any, observation: ObservationBatch, noise: Any) -> FloatArray:
    privileged = worlds.privileged() if policy.needs_privileged else None
    return policy.plan(observation, noise_keys=noise, privileged=privileged).as_actions()


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    from alpamayo.run_dir import versions

    known = versions()
    threads = os.environ.get("OMP_NUM_THREADS")
    return {**known, "omp_num_threads": threads, "load_1min": os.getloadavg()[0]}
