"""One sample: a batch of complete episodes, driven by a policy backend in a batch of worlds.

Knows no Ray. Worlds of a group share scenario and seed; they differ only in the noise of the
policy's sampling.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from alpamayo import streams
from alpamayo.metrics import EpisodeTracker, failed_result
from alpamayo.rollout.backend import PolicyBackend
from alpamayo.rollout.columns import ColumnWriter, RolloutBatch
from alpamayo.types import (
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    BoolArray,
    EpisodeResult,
    FloatArray,
    IntArray,
    ObservationBatch,
    Scenario,
    StepSignals,
)
from sim.config import SimConfig


class Worlds(Protocol):
    """What is used of ``sim.world.WorldBatch``."""

    @property
    def running(self) -> BoolArray: ...

    @property
    def route_length_m(self) -> FloatArray: ...

    def load(self, rows: IntArray, scenarios: Sequence[Scenario]) -> None: ...

    def observe(self, rows: IntArray | None = None) -> ObservationBatch: ...

    def step(self, actions: FloatArray) -> StepSignals: ...


@dataclass(frozen=True)
class Draw:
    """Which episodes a sample drives: ``group_size`` worlds per scenario.

    ``iteration`` and ``worker`` (0-based) make ``group`` ids and noise unique within a run of
    ``seed``.
    """

    seed: int
    iteration: int
    worker: int
    workers: int
    worlds: int
    group_size: int

    @property
    def groups(self) -> int:
        return self.worlds // self.group_size

    @property
    def first(self) -> int:
        """Index of the first scenario in the suite's endless sequence."""
        return (self.iteration * self.workers + self.worker) * self.groups

    def group_ids(self) -> IntArray:
        """[B], unique across workers and iterations."""
        return self.first + np.arange(self.worlds) // self.group_size

    def noise_keys(self, decision: int) -> streams.Keys:
        """[B] keys of one decision. Groups are numbered through the run, so a key never repeats
        within it.
        """
        member = np.arange(self.worlds) % self.group_size
        counter = (self.group_ids() * self.group_size + member) * 4096 + decision
        return streams.keys(self.seed, streams.STREAM_DECODE, counter)


@dataclass(frozen=True)
class Rollout:
    """What a worker hands back.

    ``batch`` is None if nothing could be driven; then ``error`` says why.
    ``seconds``: wall time by part (observe, plan, step, pull, total).
    """

    batch: RolloutBatch | None
    episodes: list[EpisodeResult]
    worker: int
    iteration: int
    weights_version: int
    seconds: dict[str, float] = field(default_factory=dict)
    error: str = ""


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._mark = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._mark
        self._mark = now


def collect(
    worlds: Worlds,
    backend: PolicyBackend,
    scenarios: Sequence[Scenario],
    draw: Draw,
    sim: SimConfig,
    *,
    keep_final: bool,
) -> Rollout:
    """Drive ``scenarios`` (one per group) to their ends; ``keep_final`` keeps what truncated
    episodes saw last.
    """
    from sim.rewards import reward_terms, total_reward

    started = time.perf_counter()
    each = [s for s in scenarios for _ in range(draw.group_size)]
    every = np.arange(draw.worlds)
    worlds.load(every, each)
    clock = _Clock()
    max_steps = math.ceil(max(s.duration_s for s in each) / sim.decision_s - 1e-9)
    columns = ColumnWriter(max_steps, draw.worlds)
    tracker = EpisodeTracker(draw.worlds, sim.decision_s)
    plan_ms = np.zeros(draw.worlds, dtype=np.float32)
    actions = np.zeros((draw.worlds, sim.plan_steps, 2), dtype=np.float32)
    for step in range(max_steps):
        rows = np.flatnonzero(worlds.running)
        if not len(rows):
            break
        observation = worlds.observe(rows)
        clock.lap("observe")
        plan = backend.plan(observation, draw.noise_keys(step)[rows])
        clock.lap("plan")
        columns.append(step, rows, backend.inputs(observation), plan.trace)
        actions[rows] = plan.as_actions()
        if plan.decode_ms is not None:
            plan_ms[rows] = plan.decode_ms
        signals = worlds.step(actions)
        terms = reward_terms(signals, sim.reward)
        columns.outcome(step, rows, total_reward(terms), terms, signals.end)
        tracker.update(signals, terms, plan_ms=plan_ms)
        clock.lap("step")
        if keep_final:
            cut = rows[_truncated(signals.end[rows], last=step + 1 == max_steps)]
            if len(cut):
                columns.final(cut, backend.inputs(worlds.observe(cut)))
            clock.lap("observe")
    batch = columns.finish(
        group=draw.group_ids(),
        seed=np.array([s.seed for s in each]),
        scenario_id=[s.id for s in each],
        weights_version=backend.version,
    )
    episodes = [
        tracker.result(
            row,
            scenario,
            route_m=float(worlds.route_length_m[row]),
            weights_version=backend.version,
        )
        for row, scenario in enumerate(each)
    ]
    clock.seconds["total"] = time.perf_counter() - started
    return Rollout(batch, episodes, draw.worker, draw.iteration, backend.version, clock.seconds)


def _truncated(end: IntArray, *, last: bool) -> BoolArray:
    cut = (end == END_TIMEOUT) | (end == END_ROUTE_DONE)
    return cut | (end == END_RUNNING) if last else cut


def failed_rollout(scenarios: Sequence[Scenario], draw: Draw, version: int, error: Any) -> Rollout:
    """Rows that say what went wrong, in place of a sample that could not be driven."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    rows = [failed_result(s, text, version) for s in scenarios for _ in range(draw.group_size)]
    return Rollout(None, rows, draw.worker, draw.iteration, version, error=text)
