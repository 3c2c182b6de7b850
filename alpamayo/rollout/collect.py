"""One sample: a batch of complete episodes, driven by a policy backend in a batch of worlds.

Knows no Ray. Worlds of a group share scenario and seed; they differ only in the noise of the
policy's sampling. With branching, a second leg goes on from forks of the first one's worlds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from alpamayo import streams
from alpamayo.config import BranchingConfig, RolloutConfig
from alpamayo.metrics import EpisodeTracker, failed_result, is_failure
from alpamayo.rollout.backend import PolicyBackend
from alpamayo.rollout.branching import BranchEpisode, Trail, choose_points
from alpamayo.rollout.columns import ColumnWriter, RolloutBatch, merge
from alpamayo.rollout.labels import ExpertLabels
from alpamayo.types import (
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    BoolArray,
    EpisodeResult,
    FloatArray,
    IntArray,
    ObservationBatch,
    PrivilegedView,
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

    def fork(self, rows: IntArray) -> Self: ...

    def restore(self, snapshot: Self, rows: IntArray) -> None: ...

    def privileged(self, rows: IntArray) -> PrivilegedView: ...


@dataclass(frozen=True)
class Draw:
    """Which episodes a sample drives: ``group_size`` worlds per scenario, and ``branch_groups`` of
    ``branch_size`` that fork from them.

    ``iteration`` and ``worker`` (0-based; its turn, where samples are not driven in step) make
    ``group`` ids and noise unique within a run of ``seed``. ``worlds`` are those that start a
    scenario.
    """

    seed: int
    iteration: int
    worker: int
    workers: int
    worlds: int
    group_size: int
    branch_groups: int = 0
    branch_size: int = 0

    @classmethod
    def of(cls, rollout: RolloutConfig, *, seed: int, number: int) -> Draw:
        """Of sample ``number``, whoever drives it."""
        iteration, worker = divmod(number, rollout.workers)
        return cls(
            seed=seed,
            iteration=iteration,
            worker=worker,
            workers=rollout.workers,
            worlds=rollout.root_worlds,
            group_size=rollout.group_size,
            branch_groups=rollout.branch_groups,
            branch_size=rollout.branching.group_size if rollout.branch_groups else 0,
        )

    @property
    def groups(self) -> int:
        """Groups that start a scenario."""
        return self.worlds // self.group_size

    @property
    def number(self) -> int:
        """Of this sample, counted through the run."""
        return self.iteration * self.workers + self.worker

    @property
    def first(self) -> int:
        """Index of the first scenario in the suite's endless sequence."""
        return self.number * self.groups

    def group_ids(self) -> IntArray:
        """[B], unique across workers and iterations."""
        return self._first_group + np.arange(self.worlds) // self.group_size

    def branch_group_ids(self) -> IntArray:
        """[branch_groups * branch_size], unique among themselves and among ``group_ids``."""
        members = np.arange(self.branch_groups * self.branch_size)
        return self._first_group + self.groups + members // max(self.branch_size, 1)

    def noise_keys(self, decision: int) -> streams.Keys:
        """[B] keys of one decision. Groups are numbered through the run, so a key never repeats
        within it.
        """
        member = np.arange(self.worlds) % self.group_size
        return self._keys(self.group_ids(), member, decision)

    def branch_noise_keys(self, decision: int) -> streams.Keys:
        """The same for the forks; ``decision`` counts from the fork on."""
        member = np.arange(self.branch_groups * self.branch_size) % max(self.branch_size, 1)
        return self._keys(self.branch_group_ids(), member, decision)

    @property
    def _first_group(self) -> int:
        return self.number * (self.groups + self.branch_groups)

    def _keys(self, group: IntArray, member: IntArray, decision: int) -> streams.Keys:
        counter = (group * max(self.group_size, self.branch_size) + member) * 4096 + decision
        return streams.keys(self.seed, streams.STREAM_DECODE, counter)


@dataclass(frozen=True)
class Rollout:
    """What a worker hands back.

    ``batch`` is None if nothing could be driven; then ``error`` says why. ``episodes`` started a
    scenario, ``branches`` went on from forks of them; the worlds of ``batch`` are in this order.
    ``number``: of the sample, counted through the run. ``seconds``: wall time by part (observe,
    plan, label, step, pull, total), ``wait`` between the sample before and this one, and ``cpu``.
    """

    batch: RolloutBatch | None
    episodes: list[EpisodeResult]
    number: int
    weights_version: int
    seconds: dict[str, float] = field(default_factory=dict)
    error: str = ""
    retries: int = 0  # plans asked for again, see PolicyBackend
    branches: list[BranchEpisode] = field(default_factory=list)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start, self._cpu = time.perf_counter(), time.process_time()
        self._mark = self._start

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._mark
        self._mark = now

    def finish(self) -> dict[str, float]:
        total, cpu = time.perf_counter() - self._start, time.process_time() - self._cpu
        return self.seconds | {"total": total, "cpu": cpu}


class _Leg:
    """Worlds on their way from where they stand to the ends of their episodes."""

    def __init__(
        self,
        worlds: Worlds,
        scenarios: Sequence[Scenario],
        sim: SimConfig,
        *,
        max_steps: int,
        clock: _Clock,
        label: ExpertLabels | None,
    ) -> None:
        self.worlds, self.scenarios, self.sim, self.clock = worlds, scenarios, sim, clock
        self.label = label
        self.max_steps, self.count = max_steps, len(scenarios)
        self.columns = ColumnWriter(max_steps, self.count)
        self.tracker = EpisodeTracker(self.count, sim.decision_s)

    def drive(
        self,
        backend: PolicyBackend,
        noise_keys: Callable[[int], streams.Keys],
        *,
        keep_final: bool,
        trail: Trail[Worlds] | None = None,
    ) -> None:
        """``keep_final`` keeps what truncated episodes saw last, ``trail`` what can be forked."""
        from sim.rewards import reward_terms, total_reward

        worlds, columns, clock = self.worlds, self.columns, self.clock
        plan_ms = np.zeros(self.count, dtype=np.float32)
        actions = np.zeros((self.count, self.sim.plan_steps, 2), dtype=np.float32)
        for step in range(self.max_steps):
            rows = np.flatnonzero(worlds.running)
            if not len(rows):
                break
            if trail is not None:
                trail.keep(worlds, rows)
            observation = worlds.observe(rows)
            clock.lap("observe")
            plan = backend.plan(observation, noise_keys(step)[rows])
            clock.lap("plan")
            seen = backend.inputs(observation)
            if self.label is not None:
                seen |= self.label(worlds, rows, observation)
                clock.lap("label")
            columns.append(step, rows, seen, plan.trace)
            actions[rows] = plan.as_actions()
            if plan.decode_ms is not None:
                plan_ms[rows] = plan.decode_ms
            signals = worlds.step(actions)
            terms = reward_terms(signals, self.sim.reward)
            columns.outcome(step, rows, total_reward(terms), terms, signals.end)
            self.tracker.update(signals, terms, plan_ms=plan_ms)
            clock.lap("step")
            if keep_final:
                last = step + 1 == self.max_steps
                cut = rows[_truncated(signals.end[rows], last=last)]
                if len(cut):
                    columns.final(cut, backend.inputs(worlds.observe(cut)))
                clock.lap("observe")

    def finish(
        self, version: int, group: IntArray, fork: IntArray
    ) -> tuple[RolloutBatch, list[EpisodeResult]]:
        """Columns and episodes; ``group`` and ``fork`` [B] as in RolloutBatch."""
        episodes = [
            self.tracker.result(
                row,
                scenario,
                route_m=float(self.worlds.route_length_m[row]),
                weights_version=version,
            )
            for row, scenario in enumerate(self.scenarios)
        ]
        batch = self.columns.finish(
            group=group,
            seed=np.array([s.seed for s in self.scenarios]),
            scenario_id=[s.id for s in self.scenarios],
            weights_version=version,
            success=np.array([not (is_failure(e) or e.red_light) for e in episodes]),
            fork=fork,
        )
        return batch, episodes


def collect(
    worlds: Worlds,
    backend: PolicyBackend,
    scenarios: Sequence[Scenario],
    draw: Draw,
    sim: SimConfig,
    *,
    keep_final: bool,
    branching: BranchingConfig | None = None,
    label: ExpertLabels | None = None,
) -> Rollout:
    """Drive ``scenarios`` (one per group) to their ends, then the forks that ``draw`` asks for;
    ``keep_final`` keeps what truncated episodes saw last, ``label`` adds what the expert would do.
    """
    clock = _Clock()
    each = [s for s in scenarios for _ in range(draw.group_size)]
    worlds.load(np.arange(draw.worlds), each)
    clock.lap("step")
    max_steps = math.ceil(max(s.duration_s for s in each) / sim.decision_s - 1e-9)
    trail: Trail[Worlds] | None = Trail() if draw.branch_groups else None
    leg = _Leg(worlds, each, sim, max_steps=max_steps, clock=clock, label=label)
    leg.drive(backend, draw.noise_keys, keep_final=keep_final, trail=trail)
    fork = np.full(draw.worlds, -1)
    batch, episodes = leg.finish(backend.version, draw.group_ids(), fork)
    branches: list[BranchEpisode] = []
    if trail is not None:
        more, branches = _branch(leg, trail, batch, backend, draw, branching, keep_final)
        batch = merge([batch, more])
    return Rollout(
        batch,
        episodes,
        draw.number,
        backend.version,
        clock.finish(),
        branches=branches,
    )


def _branch(
    roots: _Leg,
    trail: Trail[Worlds],
    driven: RolloutBatch,
    backend: PolicyBackend,
    draw: Draw,
    branching: BranchingConfig | None,
    keep_final: bool,
) -> tuple[RolloutBatch, list[BranchEpisode]]:
    """The second leg: forks of ``roots``, which left ``driven``."""
    sim, length = roots.sim, driven.valid.sum(axis=0)
    key = streams.keys(draw.seed, streams.STREAM_BRANCHING, draw.number)
    points = choose_points(
        ~driven.success,
        length,
        driven.group,
        draw.branch_groups,
        branching or BranchingConfig(),
        sim.decision_s,
        np.random.default_rng(int(key)),
    )
    each = [p for p in points for _ in range(draw.branch_size)]
    leg = _Leg(
        trail.branch(roots.worlds, points, draw.branch_size),
        [roots.scenarios[p.parent] for p in each],
        sim,
        max_steps=roots.max_steps - min(p.decision for p in points),
        clock=roots.clock,
        label=roots.label,
    )
    leg.drive(backend, draw.branch_noise_keys, keep_final=keep_final)
    group = draw.branch_group_ids()
    batch, results = leg.finish(backend.version, group, np.array([p.decision for p in each]))
    return batch, [
        BranchEpisode(
            result, point, int(g), int(driven.group[point.parent]), point.parent % draw.group_size
        )
        for result, point, g in zip(results, each, group, strict=True)
    ]


def _truncated(end: IntArray, *, last: bool) -> BoolArray:
    cut = (end == END_TIMEOUT) | (end == END_ROUTE_DONE)
    return cut | (end == END_RUNNING) if last else cut


def failed_rollout(scenarios: Sequence[Scenario], draw: Draw, version: int, error: Any) -> Rollout:
    """Rows that say what went wrong, in place of a sample that could not be driven."""
    text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else str(error)
    rows = [failed_result(s, text, version) for s in scenarios for _ in range(draw.group_size)]
    return Rollout(None, rows, draw.number, version, error=text)
