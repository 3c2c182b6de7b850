"""Requests to rollout workers and their answers, each under a number that the ledger knows.

RLlib drops requests to a worker that has one already and forgets those of a worker that died; here
every worker has one request at most, and each of them ends in the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from alpamayo.rollout import ledger as fates
from alpamayo.rollout.collect import Rollout
from alpamayo.rollout.ledger import Ledger

SAMPLE = "sample"


class Workers(Protocol):
    """What is used of RLlib's ``EnvRunnerGroup``."""

    def healthy_worker_ids(self) -> list[int]: ...

    def foreach_env_runner_async(
        self, func: Callable[[Any], Any], tag: str, *, remote_worker_ids: list[int]
    ) -> int: ...

    def fetch_ready_async_reqs(
        self, *, tags: str, timeout_seconds: float
    ) -> list[tuple[int, Any]]: ...


@dataclass(frozen=True)
class Ticket:
    """Sample ``number``, asked for at ``since_s`` (monotonic)."""

    number: int
    since_s: float


class SampleStream:
    """The samples under way. ``step``: the iteration the ledger notes, set by its owner."""

    def __init__(self, workers: Workers, ledger: Ledger) -> None:
        self.workers, self.ledger, self.step = workers, ledger, 0
        self._asked: dict[int, Ticket] = {}  # by worker
        self._late: set[int] = set()  # workers whose answer nobody waits for any more

    @property
    def under_way(self) -> int:
        return len(self._asked)

    @property
    def late(self) -> int:
        return len(self._late)

    def idle(self) -> list[int]:
        """Living workers that have nothing to do, 1-based as RLlib counts."""
        busy = self._asked.keys() | self._late
        return [w for w in self.workers.healthy_worker_ids() if w not in busy]

    def ask(
        self, worker: int, number: int, version: int, request: Callable[[Any], Rollout]
    ) -> None:
        sent = self.workers.foreach_env_runner_async(
            request, tag=SAMPLE, remote_worker_ids=[worker]
        )
        if sent:
            self._asked[worker] = Ticket(number, time.monotonic())
            self.ledger.requested(self.step, number, worker - 1, version)

    def fetch(self, timeout_s: float) -> list[Rollout]:
        """What arrived, waiting up to ``timeout_s`` for all that are under way; samples of workers
        that died are written off."""
        arrived = []
        ready = self.workers.fetch_ready_async_reqs(tags=SAMPLE, timeout_seconds=timeout_s)
        for worker, rollout in ready:
            if worker in self._late:
                self._late.remove(worker)
            else:
                del self._asked[worker]
                arrived.append(rollout)
        healthy = set(self.workers.healthy_worker_ids())
        self._late &= healthy
        for worker in [w for w in self._asked if w not in healthy]:
            self.ledger.lost(self.step, self._asked.pop(worker).number, fates.WORKER)
        return arrived

    def give_up(self, older_than_s: float) -> None:
        """No longer wait for samples asked for that long ago."""
        now = time.monotonic()
        for worker, ticket in list(self._asked.items()):
            if now - ticket.since_s >= older_than_s:
                self.ledger.dropped(self.step, self._asked.pop(worker).number, fates.LATE)
                self._late.add(worker)
