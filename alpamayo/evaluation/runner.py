"""Runs a policy through scenarios, always on a full batch of worlds.

A slot whose episode has ended is refilled with the next scenario, so that decoding runs on full
batches until the queue is empty. A scenario that cannot be loaded, or that raises while it runs,
becomes a result with ``end = "failed"`` and the error's text; never a missing row. Every random
number comes from (scenario seed, stream, decision), so the results do not depend on the slot or on
the batch.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alpamayo import streams
from alpamayo.evaluation.plan_watch import PlanWatch
from alpamayo.judged import JudgedEpisode, JudgedTracker, plain_result, side_hit
from alpamayo.metrics import EpisodeTracker, failed_result
from alpamayo.types import (
    DecodeTrace,
    EpisodeResult,
    FloatArray,
    IntArray,
    PlanBatch,
    Policy,
    RequestError,
    Scenario,
    StepSignals,
)
from policies.plan_memory import LastPlans
from sim.config import SimConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpisodeLog:
    """What is needed to re-simulate one episode and to show how it was decided. T decisions.

    ``actions`` float32 [T, K, 2]; ``rewards`` name -> float32 [T]; ``decode_ms`` float32 [T]
    (zeros if not measured); ``trace`` columns int32/int8/float32 [T, L] and ``rounds`` [T], or
    None.
    """

    scenario: Scenario
    result: EpisodeResult  # its plain columns, as a replay keeps them
    actions: FloatArray
    rewards: dict[str, FloatArray]
    decode_ms: FloatArray
    trace: DecodeTrace | None = None


@dataclass
class _Draft:
    """The log of a running episode, one list entry per decision."""

    actions: list[FloatArray] = field(default_factory=list)
    rewards: list[dict[str, float]] = field(default_factory=list)
    decode_ms: list[float] = field(default_factory=list)
    traces: list[tuple[Any, Any, Any, Any]] = field(default_factory=list)

    def finish(self, scenario: Scenario, result: EpisodeResult) -> EpisodeLog:
        trace = None
        if self.traces:
            tokens, commit, log_prob, rounds = zip(*self.traces, strict=True)
            trace = DecodeTrace(
                np.stack(tokens).astype(np.int32),
                np.stack(commit).astype(np.int8),
                np.stack(log_prob).astype(np.float32),
                np.asarray(rounds, dtype=np.int8),
            )
        names = list(self.rewards[0]) if self.rewards else []
        return EpisodeLog(
            scenario,
            plain_result(result),
            np.stack(self.actions).astype(np.float32),
            {n: np.asarray([r[n] for r in self.rewards], dtype=np.float32) for n in names},
            np.asarray(self.decode_ms, dtype=np.float32),
            trace,
        )


OnEpisode = Callable[[int, EpisodeLog], None]
Progress = Callable[[int, int], None]


def run_episodes(
    policy: Policy,
    scenarios: Sequence[Scenario],
    sim_config: SimConfig,
    *,
    batch: int = 64,
    seed: int = 0,
    on_replay: OnEpisode | None = None,
    progress: Progress | None = None,
    weights_version: int = -1,
) -> list[EpisodeResult]:
    """Drive every scenario once; results in the order of ``scenarios``, as ``JudgedEpisode``.

    ``seed`` varies only the policy's sampling noise (0: the noise of the scenario's own seed).
    ``on_replay(index, log)`` gets the log of every finished episode, failed ones excepted;
    ``progress(done, total)`` is called after each decision that finished episodes.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    job = _Job(policy, list(scenarios), sim_config, seed, on_replay, progress, weights_version)
    waiting = deque(range(len(job.scenarios)))
    while waiting:
        run = _BatchRun(job, waiting, batch)
        job.flush()
        while run.busy():
            try:
                run.decide()
            except RequestError:
                raise
            except Exception as error:
                # Which of the worlds raised cannot be told from a batched step, so each of them
                # runs again alone (same numbers: results do not depend on the batch) and only the
                # culprits fail.
                logger.warning(
                    "a batch of worlds raised (%s); running its episodes one by one", _text(error)
                )
                for index in run.unfinished():
                    _run_alone(job, index)
                break
            finally:
                job.flush()
    results = [r for r in job.results if r is not None]
    if len(results) != len(job.scenarios):
        raise RuntimeError(
            f"{len(job.scenarios)} episodes went in, {len(results)} results came out"
        )
    return results


class _Job:
    """What all batches of one call share; ``results`` fill up in any order."""

    def __init__(
        self,
        policy: Policy,
        scenarios: list[Scenario],
        sim_config: SimConfig,
        seed: int,
        on_replay: OnEpisode | None,
        progress: Progress | None,
        weights_version: int,
    ) -> None:
        self.policy, self.scenarios, self.sim_config, self.seed = (
            policy,
            scenarios,
            sim_config,
            seed,
        )
        self.logging, self.weights_version = on_replay is not None, weights_version
        self.needs_memory = getattr(policy, "needs_memory", False)
        self.results: list[EpisodeResult | None] = [None] * len(scenarios)
        self._on_replay, self._progress, self._done = on_replay, progress, 0
        self._finished: list[tuple[int, _Draft | None]] = []

    def fail(self, index: int, error: Exception) -> None:
        failed = failed_result(self.scenarios[index], _text(error), self.weights_version)
        self.results[index] = JudgedEpisode(**vars(failed))
        self._finished.append((index, None))

    def finish(self, index: int, result: EpisodeResult, draft: _Draft) -> None:
        self.results[index] = result
        self._finished.append((index, draft))

    def flush(self) -> None:
        """Call the callbacks of what finished; outside of every ``except``, so that their errors
        are the caller's.
        """
        finished, self._finished = self._finished, []
        for index, draft in finished:
            result = self.results[index]
            if self._on_replay is not None and draft is not None and result is not None:
                self._on_replay(index, draft.finish(self.scenarios[index], result))
        self._done += len(finished)
        if finished and self._progress is not None:
            self._progress(self._done, len(self.scenarios))


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _run_alone(job: _Job, index: int) -> None:
    scenario = job.scenarios[index]
    run = _BatchRun(job, deque([index]), 1)
    try:
        while run.busy():
            run.decide()
    except RequestError:
        raise
    except Exception as error:
        logger.warning("episode %s seed %d failed", scenario.id, scenario.seed, exc_info=True)
        job.fail(index, error)


class _BatchRun:
    """One ``WorldBatch`` and the episodes in its slots. ``slot`` [B] is the scenario index or
    -1.
    """

    def __init__(self, job: _Job, waiting: deque[int], batch: int) -> None:
        self.job, self.waiting = job, waiting
        self.slot: IntArray = np.zeros(0, dtype=np.int64)
        self.world: Any = None
        self._open(min(batch, len(waiting)))

    def unfinished(self) -> list[int]:
        return [int(i) for i in self.slot if i >= 0]

    def busy(self) -> bool:
        return bool((self.slot >= 0).any())

    def _open(self, size: int) -> None:
        """Make the world with the first scenarios that can be loaded."""
        from sim.world import WorldBatch

        job = self.job
        taken = [self.waiting.popleft() for _ in range(size)]
        try:
            self.world = WorldBatch([job.scenarios[i] for i in taken], job.sim_config)
        except RequestError:
            raise
        except Exception:
            good = []
            for index in taken:
                try:
                    WorldBatch([job.scenarios[index]], job.sim_config)
                    good.append(index)
                except Exception as error:
                    job.fail(index, error)
            taken = good
            self.world = (
                WorldBatch([job.scenarios[i] for i in good], job.sim_config) if good else None
            )
        self.slot = np.asarray(taken, dtype=np.int64)
        count = len(taken)
        self.tracker = EpisodeTracker(count, job.sim_config.decision_s)
        self.judged = JudgedTracker(count, job.sim_config.decision_s)
        for row, index in enumerate(taken):
            self.judged.start(row, job.scenarios[index])
        self.drafts = [_Draft() for _ in range(count)]
        self.decision = np.zeros(count, dtype=np.int64)
        self.watch = PlanWatch(count, job.sim_config)
        sim = job.sim_config
        self.last = LastPlans(
            count, sim.plan_steps, sim.plan_step_s, sim.decision_s, sim.expected_latency_s
        )

    def decide(self) -> None:
        """One decision of every occupied slot, then refill the slots whose episode ended."""
        job, world = self.job, self.world
        rows = np.flatnonzero(self.slot >= 0)
        observation = world.observe(rows)
        seeds = np.asarray([job.scenarios[i].seed for i in self.slot[rows]], dtype=np.int64)
        noise_keys = streams.keys(
            seeds + (job.seed << 40), streams.STREAM_DECODE, self.decision[rows]
        )
        view = world.privileged(rows) if job.policy.needs_privileged else None
        recalled = {"memory": self.last.of(rows)} if job.needs_memory else {}
        started = time.perf_counter()
        plan = job.policy.plan(observation, noise_keys=noise_keys, privileged=view, **recalled)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        actions = self._actions(plan, rows)
        plan_ms = (
            np.full(len(rows), elapsed_ms) if plan.decode_ms is None else np.asarray(plan.decode_ms)
        )
        deviation, steady = self.watch.look(
            rows, actions[rows], observation.speed_mps, observation.history,
            self.decision[rows] == 0,
        )  # fmt: skip
        latency_s = self._latency_s(rows)
        signals = world.step(actions)
        terms = _reward_terms(signals, job.sim_config)
        full_ms = self._spread(plan_ms, rows)
        self.tracker.update(signals, terms, plan_ms=full_ms, deviation_m=deviation)
        self.judged.update(
            signals,
            time_s=np.asarray(world.time_s, dtype=np.float64),
            latency_s=latency_s,
            steady=steady,
            rounds=None if plan.trace is None else self._spread(plan.trace.rounds, rows),
        )
        self._log(rows, plan, actions, terms, plan_ms)
        self.decision[rows] += 1
        self.last.put(rows, actions[rows])
        self._settle(rows[self.tracker.ended()[rows]])

    def _actions(self, plan: PlanBatch, rows: IntArray) -> FloatArray:
        """[B, K, 2]: the plans of ``rows``, zeros elsewhere; a plan that is not finite is the
        policy's error.
        """
        if not isinstance(plan, PlanBatch):
            raise TypeError(
                f"policy {self.job.policy.name}: plan: expected a PlanBatch, "
                f"got {type(plan).__name__}"
            )
        planned = plan.as_actions()
        expected = (len(rows), self.job.sim_config.plan_steps, 2)
        if planned.shape != expected:
            raise ValueError(
                f"policy {self.job.policy.name}: expected plans {expected}, got {planned.shape}"
            )
        if not np.isfinite(planned).all():
            raise ValueError(
                f"policy {self.job.policy.name}: a plan has values that are not finite"
            )
        actions = np.zeros((len(self.slot), *expected[1:]), dtype=np.float32)
        actions[rows] = planned
        return actions

    def _latency_s(self, rows: IntArray) -> FloatArray:
        """[B] simulated seconds until this decision's plan drives; 0 in empty slots."""
        from sim.faults import faults_of
        from sim.latency import latency_ticks

        config, world = self.job.sim_config, self.world
        scenarios = [self.job.scenarios[i] for i in self.slot[rows]]
        seeds = np.asarray([s.seed for s in scenarios], dtype=np.int64)
        faults = faults_of(world.state, rows, scenarios, config.tick_s)
        time_s = np.asarray(world.time_s)[rows]
        ticks = latency_ticks(config, seeds, self.decision[rows], faults, time_s)
        return self._spread(ticks * config.tick_s, rows)

    def _spread(self, values: Any, rows: IntArray) -> FloatArray:
        """[B] with ``values`` in ``rows`` and 0 elsewhere."""
        spread = np.zeros(len(self.slot))
        spread[rows] = values
        return spread

    def _log(
        self,
        rows: IntArray,
        plan: PlanBatch,
        actions: FloatArray,
        terms: dict[str, FloatArray],
        plan_ms: FloatArray,
    ) -> None:
        if not self.job.logging:
            return
        trace = plan.trace
        for n, row in enumerate(rows):
            draft = self.drafts[row]
            draft.actions.append(actions[row].copy())
            draft.rewards.append({name: float(values[row]) for name, values in terms.items()})
            draft.decode_ms.append(float(plan_ms[n]))
            if trace is not None:
                draft.traces.append(
                    (trace.tokens[n], trace.commit_round[n], trace.log_prob[n], trace.rounds[n])
                )

    def _settle(self, ended: IntArray) -> None:
        """Write the results of ``ended`` rows and give each slot the next scenario that can be
        loaded.
        """
        if not len(ended):
            return
        job, world = self.job, self.world
        hashes = world.fork(ended).state_hash()  # of these rows only
        for n, row in enumerate(ended):
            index = int(self.slot[row])
            result = self.tracker.result(
                int(row),
                job.scenarios[index],
                route_m=float(world.route_length_m[row]),
                duration_s=float(world.time_s[row]),
                weights_version=job.weights_version,
                state_hash=hashes[n],
            )
            kind, side = self._hit(int(row), result)
            judged = self.judged.judged(int(row), result, hit_kind=kind, hit_side=side)
            self.slot[row] = -1
            job.finish(index, judged, self.drafts[row])
        self._refill(ended)

    def _hit(self, row: int, result: EpisodeResult) -> tuple[str, str]:
        """(kind of the actor, side of the ego) of the collision that ended the episode in
        ``row``.
        """
        if not result.collision:
            return "", ""
        scene = self.world.scene(row)
        if result.collision_actor not in scene.ids:
            return "", ""
        n = list(scene.ids).index(result.collision_actor)
        return scene.kinds[n], side_hit(scene.ego_pose, scene.boxes[n])

    def _refill(self, rows: IntArray) -> None:
        count = min(len(rows), len(self.waiting))
        taken = [self.waiting.popleft() for _ in range(count)]
        for row, index in zip(rows[:count], taken, strict=True):
            while True:
                try:
                    self.world.load(np.asarray([row]), [self.job.scenarios[index]])
                    self.slot[row] = index
                    self.judged.start(int(row), self.job.scenarios[index])
                    break
                except Exception as error:
                    self.job.fail(index, error)
                if not self.waiting:
                    break
                index = self.waiting.popleft()
        self.tracker.reset(rows)
        self.decision[rows] = 0
        self.last.forget(rows)
        for row in rows:
            self.drafts[row] = _Draft()


def _reward_terms(signals: StepSignals, config: SimConfig) -> dict[str, FloatArray]:
    from sim.rewards import reward_terms

    return reward_terms(signals, config.reward, config.decision_s)
