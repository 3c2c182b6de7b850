"""When workers drive: between updates, or all the time.

``Synchronous``: one sample of every worker by the same weights, then the update. ``Asynchronous``:
workers go on while the learner updates; what they bring is learned from if its weights are at most
``rollout.max_staleness`` versions old at that moment. No request is made whose sample could only be
learned from later than that, so that a slow learner does not make workers drive in vain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from alpamayo.config import RolloutConfig
from alpamayo.rollout import ledger as fates
from alpamayo.rollout.collect import Rollout
from alpamayo.rollout.stream import SampleStream
from alpamayo.types import CheckFailed

T = TypeVar("T")
POLL_S = 0.5  # how often a wait for all workers looks up, so that Ctrl-C is heard
SHORT_POLL_S = 0.01  # how long a worker may be without work because nobody looked


class Owner(Protocol):
    """What a sampler asks of the loop."""

    stream: SampleStream

    @property
    def version(self) -> int:
        """Of the newest published weights."""
        ...

    def request(self, number: int) -> Callable[[Any], Rollout]:
        """Sample ``number``, to be driven by the newest weights."""
        ...

    def should_stop(self) -> bool: ...

    def wake_workers(self) -> None:
        """Called when no worker lives: wait for one to be back."""
        ...


class Sampler(Protocol):
    def gather(self, iteration: int) -> list[Rollout]:
        """The samples of an iteration (0-based), also those that failed; KeyboardInterrupt if the
        run should stop, CheckFailed if nothing comes."""
        ...

    def while_learning(self, learn: Callable[[], T]) -> T: ...


def make_sampler(settings: RolloutConfig, owner: Owner) -> Sampler:
    kind = Asynchronous if settings.mode == "asynchronous" else Synchronous
    return kind(settings, owner)


class Synchronous:
    def __init__(self, settings: RolloutConfig, owner: Owner) -> None:
        self.settings, self.owner = settings, owner

    def gather(self, iteration: int) -> list[Rollout]:
        """Of every worker that answers in time, ordered by worker; dead ones are left out."""
        stream, limit_s = self.owner.stream, self.settings.timeout_s
        if not stream.workers.healthy_worker_ids():
            self.owner.wake_workers()
        deadline = time.monotonic() + limit_s
        arrived: list[Rollout] = []
        self._ask(iteration)
        while (stream.under_way or (stream.late and not arrived)) and time.monotonic() < deadline:
            if self.owner.should_stop():
                raise KeyboardInterrupt  # nothing was learned yet: only this sample is lost
            # Waits for all at once; a short limit keeps the main thread open to signals.
            arrived += stream.fetch(POLL_S)
            if not (stream.under_way or arrived):
                self._ask(iteration)  # every worker was busy with what came too late
        stream.give_up(0.0)
        if not arrived:
            raise nothing_came(limit_s)
        return sorted(arrived, key=lambda r: r.number)

    def _ask(self, iteration: int) -> None:
        for worker in self.owner.stream.idle():
            number = iteration * self.settings.workers + worker - 1
            request = self.owner.request(number)
            self.owner.stream.ask(worker, number, self.owner.version, request)

    def while_learning(self, learn: Callable[[], T]) -> T:
        return learn()


class Asynchronous:
    def __init__(self, settings: RolloutConfig, owner: Owner) -> None:
        self.settings, self.owner = settings, owner
        self.wanted = settings.update_samples
        self.arrived: list[Rollout] = []  # driven and not learned from yet
        self.failed: list[Rollout] = []

    def gather(self, iteration: int) -> list[Rollout]:
        """``update_samples`` of them, oldest weights first, none staler than allowed."""
        stream, limit_s = self.owner.stream, self.settings.timeout_s
        heard = time.monotonic()
        self._drop_stale()  # the weights are newer than when these arrived
        while len(self.arrived) < self.wanted:
            if self.owner.should_stop():
                raise KeyboardInterrupt
            if not stream.workers.healthy_worker_ids():
                self.owner.wake_workers()
            if self._attend(SHORT_POLL_S, learning=False):
                heard = time.monotonic()
            if time.monotonic() - heard > limit_s:
                raise nothing_came(limit_s)
            if not self.arrived and len(self.failed) >= max(self.wanted, self.settings.workers):
                break  # nothing but failures: the loop says so
        self.arrived.sort(key=lambda r: (r.weights_version, r.number))
        taken, self.arrived = self.arrived[: self.wanted], self.arrived[self.wanted :]
        failed, self.failed = self.failed, []
        return taken + failed

    def while_learning(self, learn: Callable[[], T]) -> T:
        """Run ``learn`` in a thread; meanwhile give idle workers new work."""
        with ThreadPoolExecutor(1, thread_name_prefix="learn") as pool:
            learned = pool.submit(learn)
            while not wait([learned], timeout=SHORT_POLL_S).done:
                self._attend(0.0, learning=True)
            return learned.result()

    def _attend(self, timeout_s: float, *, learning: bool) -> int:
        """Fetch, sort out, ask again; how many arrived."""
        stream = self.owner.stream
        if not stream.under_way and not stream.late:
            time.sleep(timeout_s)
        new = stream.fetch(timeout_s)
        stream.give_up(self.settings.timeout_s)
        self.failed += [r for r in new if r.batch is None]
        self.arrived += [r for r in new if r.batch is not None]
        self._drop_stale()
        for worker in stream.idle():
            if len(self.arrived) + stream.under_way >= self._room(learning):
                break
            number = stream.ledger.next_sample
            stream.ask(worker, number, self.owner.version, self.owner.request(number))
        return len(new)

    def _room(self, learning: bool) -> int:
        """How many samples may wait or be under way: as many as updates take until the present
        weights are ``max_staleness`` versions old."""
        return self.wanted * (self.settings.max_staleness + 1 - learning)

    def _drop_stale(self) -> None:
        oldest = self.owner.version - self.settings.max_staleness
        for rollout in [r for r in self.arrived if r.weights_version < oldest]:
            self.arrived.remove(rollout)
            stream = self.owner.stream
            stream.ledger.dropped(
                stream.step,
                rollout.number,
                fates.STALE,
                staleness=self.owner.version - rollout.weights_version,
            )


def nothing_came(limit_s: float) -> CheckFailed:
    return CheckFailed(f"no rollout worker answered within {limit_s:g} s (rollout.timeout_s)")
