"""Samplers against workers made up here: who is asked when, what is learned, what is dropped."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from alpamayo.config import RolloutConfig, RunConfig
from alpamayo.rollout.collect import Rollout
from alpamayo.rollout.ledger import Ledger
from alpamayo.rollout.sampling import Asynchronous, Synchronous
from alpamayo.rollout.stream import SampleStream
from alpamayo.training import advice
from alpamayo.types import CheckFailed

BATCH: Any = object()  # the samplers never look into a batch


class MadeUpWorkers:
    """RLlib's side: one request per worker, each ready after some looks; workers may die."""

    def __init__(self, count: int, looks: Callable[[int], int]) -> None:
        self.alive = set(range(1, count + 1))
        self.looks, self.time = looks, 0
        self.requests: dict[int, tuple[int, Callable[[Any], Rollout]]] = {}
        self.doomed: set[int] = set()  # answer their request with an error

    def healthy_worker_ids(self) -> list[int]:
        return sorted(self.alive)

    def foreach_env_runner_async(
        self, func: Callable[[Any], Any], tag: str, *, remote_worker_ids: list[int]
    ) -> int:
        (worker,) = remote_worker_ids
        assert worker in self.alive and worker not in self.requests
        self.requests[worker] = (self.time + self.looks(worker), func)
        return 1

    def fetch_ready_async_reqs(
        self, *, tags: str, timeout_seconds: float
    ) -> list[tuple[int, Rollout]]:
        self.time += 1
        ready = [w for w, (due, _) in self.requests.items() if due <= self.time]
        answers = [(w, self.requests.pop(w)[1](None)) for w in ready]
        self.alive -= self.doomed.intersection(ready)
        return [(w, rollout) for w, rollout in answers if w in self.alive]


class Loop:
    """The loop's side: versions, and what was learned when."""

    def __init__(self, workers: MadeUpWorkers, **settings: Any) -> None:
        self.workers, self.ledger = workers, Ledger()
        self.stream = SampleStream(workers, self.ledger)
        self.settings = RolloutConfig(workers=len(workers.alive), **settings)
        self.version = 0
        self.asked: list[int] = []  # weights versions, in the order of requests
        self.broken: set[int] = set()  # samples that fail
        self.woken = 0

    def request(self, number: int) -> Callable[[Any], Rollout]:
        version = self.version
        self.asked.append(version)
        batch = None if number in self.broken else BATCH
        return lambda _: Rollout(batch, [], number, version, error="" if batch else "broken")

    def should_stop(self) -> bool:
        return False

    def wake_workers(self) -> None:
        self.woken += 1
        self.workers.alive |= self.workers.doomed
        self.workers.doomed.clear()

    def update(self, sampler: Any, iteration: int, learn_looks: int = 0) -> list[Rollout]:
        """One iteration; learning takes as long as workers are looked at ``learn_looks`` times."""
        self.stream.step = iteration + 1
        rollouts = sampler.gather(iteration)
        until = self.workers.time + learn_looks
        good = [r for r in rollouts if r.batch is not None]
        for rollout in rollouts:
            if rollout.batch is None:
                self.ledger.dropped(self.stream.step, rollout.number, "failed")
        sampler.while_learning(lambda: self._learn(until))
        for rollout in good:
            counts = {"weights_version": rollout.weights_version, "groups": 1}
            self.ledger.trained(self.stream.step, rollout.number, self.version, **counts)
        self.version += 1
        return good

    def _learn(self, until: int) -> None:
        while self.workers.time < until:
            time.sleep(0.0005)


def test_synchronous_samples_are_those_of_every_worker_in_order_by_the_same_weights() -> None:
    loop = Loop(MadeUpWorkers(3, lambda worker: 4 - worker))  # the last worker answers first
    sampler = Synchronous(loop.settings, loop)
    for iteration in range(3):
        rollouts = loop.update(sampler, iteration)
        assert [r.number for r in rollouts] == [3 * iteration + w for w in range(3)]
        assert {r.weights_version for r in rollouts} == {iteration}
    assert loop.ledger.totals() == {"trained": 9}


def test_a_synchronous_answer_that_comes_too_late_is_dropped_and_nobody_waits_for_it() -> None:
    looks = {1: 1, 2: 10**9}
    loop = Loop(MadeUpWorkers(2, lambda worker: looks[worker]), timeout_s=0.05)
    sampler = Synchronous(loop.settings, loop)
    assert [r.number for r in loop.update(sampler, 0)] == [0]
    assert loop.ledger.totals() == {"trained": 1, "dropped (late)": 1}
    before = time.monotonic()
    assert [r.number for r in loop.update(sampler, 1)] == [2]  # worker 2 is not asked again
    assert time.monotonic() - before < 0.05
    _, request = loop.workers.requests[2]
    loop.workers.requests[2] = (0, request)
    assert [r.number for r in loop.update(sampler, 2)] == [4]
    looks[2] = 1
    assert [r.number for r in loop.update(sampler, 3)] == [6, 7]
    assert sum(loop.ledger.totals().values()) == 6  # 0, 1, 2, 4, 6, 7


def test_nothing_within_the_limit_ends_the_run() -> None:
    for kind, mode in ((Synchronous, "synchronous"), (Asynchronous, "asynchronous")):
        loop = Loop(MadeUpWorkers(2, lambda _: 10**9), timeout_s=0.05, mode=mode)
        with pytest.raises(CheckFailed, match=r"no rollout worker answered within 0\.05 s"):
            kind(loop.settings, loop).gather(0)


def test_without_a_living_worker_one_is_waited_for() -> None:
    for kind in (Synchronous, Asynchronous):
        loop = Loop(MadeUpWorkers(1, lambda _: 1))
        loop.workers.alive.clear()
        loop.workers.doomed.add(1)
        assert len(kind(loop.settings, loop).gather(0)) == 1 and loop.woken == 1


def test_asynchronous_workers_drive_while_the_learner_updates() -> None:
    loop = Loop(MadeUpWorkers(2, lambda _: 2), mode="asynchronous", max_staleness=2)
    sampler = Asynchronous(loop.settings, loop)
    loop.update(sampler, 0, learn_looks=20)
    # (2 + 1) updates' samples of 2, less the two that were just learned from.
    assert len(sampler.arrived) == 4 and not loop.workers.requests
    assert loop.asked == [0] * 6
    rollouts = loop.update(sampler, 1, learn_looks=20)
    assert [r.number for r in rollouts] == [2, 3] and {r.weights_version for r in rollouts} == {0}
    assert loop.asked[6:] == [1] * 2  # two places became free; asked with the newest weights
    rollouts = loop.update(sampler, 2, learn_looks=20)
    assert [r.weights_version for r in rollouts] == [0, 0]  # exactly as old as allowed
    assert "dropped (stale)" not in loop.ledger.totals()


def test_bound_zero_is_never_ahead_of_the_learner() -> None:
    loop = Loop(MadeUpWorkers(2, lambda _: 1), mode="asynchronous", max_staleness=0)
    sampler = Asynchronous(loop.settings, loop)
    for iteration in range(4):
        rollouts = loop.update(sampler, iteration, learn_looks=5)
        assert {r.weights_version for r in rollouts} == {iteration}
    assert loop.ledger.totals() == {"trained": 8}


def test_a_sample_overtaken_by_too_many_updates_is_dropped_with_its_staleness() -> None:
    looks = {1: 1, 2: 30, 3: 1}
    loop = Loop(
        MadeUpWorkers(3, lambda worker: looks[worker]),
        mode="asynchronous", max_staleness=1, samples_per_update=2,
    )  # fmt: skip
    sampler = Asynchronous(loop.settings, loop)
    for iteration in range(12):
        loop.update(sampler, iteration, learn_looks=4)
    totals = loop.ledger.totals()
    assert totals["dropped (stale)"] >= 1 and totals["trained"] == 24
    dropped = [r for r in loop.ledger._last.values() if r.get("reason") == "stale"]
    assert all(row["staleness"] > 1 for row in dropped)


def test_failed_samples_are_handed_on_and_do_not_count_as_samples() -> None:
    loop = Loop(MadeUpWorkers(2, lambda _: 1), mode="asynchronous", samples_per_update=2)
    loop.broken = {0, 3}
    sampler = Asynchronous(loop.settings, loop)
    rollouts = sampler.gather(0)
    assert sorted(r.number for r in rollouts if r.batch is not None) == [1, 2]
    assert [r.number for r in rollouts if r.batch is None][:1] == [0]
    loop = Loop(MadeUpWorkers(2, lambda _: 1), mode="asynchronous")
    loop.broken = set(range(1000))
    rollouts = Asynchronous(loop.settings, loop).gather(0)  # the loop ends the run
    assert rollouts and all(r.batch is None for r in rollouts)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_every_sample_has_one_fate_and_none_is_staler_than_allowed(
    seed: int,
) -> None:
    rng = random.Random(seed)
    workers = MadeUpWorkers(rng.randint(1, 4), lambda _: rng.choice([1, 2, 3, 25]))
    bound, each = rng.randint(0, 3), rng.choice([0, 1, 2])
    loop = Loop(workers, mode="asynchronous", max_staleness=bound, samples_per_update=each)
    loop.broken = {rng.randrange(60) for _ in range(6)}
    sampler = Asynchronous(loop.settings, loop)
    learned: list[int] = []
    for iteration in range(15):
        if rng.random() < 0.3:
            workers.doomed.add(rng.choice(sorted(workers.alive or {1})))
        rollouts = loop.update(sampler, iteration, learn_looks=rng.randint(0, 6))
        now = loop.version - 1
        assert all(0 <= now - r.weights_version <= bound for r in rollouts)
        assert len(rollouts) in (0, loop.settings.update_samples)
        learned += [r.number for r in rollouts]
        loop.wake_workers()
    assert loop.asked == sorted(loop.asked)  # weights versions never go back
    assert len(set(learned)) == len(learned)
    loop.ledger.settle(16)
    totals = loop.ledger.totals()
    assert totals["trained"] == len(learned) and "requested" not in totals
    assert sum(totals.values()) == len(loop.asked) == loop.ledger.next_sample


def test_advice_is_given_where_settings_ask_for_it() -> None:
    def run(cap: float, **rollout: Any) -> RunConfig:
        from alpamayo.config import LearnerConfig

        return RunConfig(
            rollout=RolloutConfig(**rollout), learner=LearnerConfig(importance_cap=cap)
        )

    assert advice(run(0.0)) == []
    assert advice(run(2.0, mode="asynchronous")) == []
    (said,) = advice(run(0.0, mode="asynchronous"))
    assert "learner.importance_cap = 0" in said
    assert advice(run(0.0, mode="asynchronous", max_staleness=0)) == []
    (said,) = advice(
        run(2.0, mode="asynchronous", max_staleness=1, samples_per_update=1, workers=4)
    )
    assert "at most 2 of 4 workers" in said
