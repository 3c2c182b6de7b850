"""Watch a job to its end: print what it prints, outlive a lost connection, and submit it again if
its head node was lost (it goes on from its last checkpoint).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from alpamayo.cluster.client import Cluster, JobState, Unreachable
from alpamayo.cluster.records import FOLDER, Record, remember
from alpamayo.types import RequestError

POLL_S = 2.0
PATIENCE_S = 900.0  # how long a head node may be away


class _Printer:
    """Prints the part of a growing text that it has not printed yet."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show, self._shown = show, 0

    def print(self, text: str) -> None:
        end = text.rfind("\n") + 1  # whole lines only
        if end > self._shown:
            self._show(text[self._shown : end])
            self._shown = end

    def again(self) -> None:
        self._shown = 0


def follow(
    record: Record,
    *,
    show: Callable[[str], None],
    say: Callable[[str], None],
    retries: int,
    connect: Callable[[str], Cluster] = Cluster,
    sleep: Callable[[float], None] = time.sleep,
    patience_s: float = PATIENCE_S,
    folder: Path = FOLDER,
) -> tuple[Record, JobState]:
    """(the record, with the ids of jobs submitted again; how it ended). ``show`` gets what the job
    prints, ``say`` what there is to say about it.

    Raises ``Unreachable`` when nobody has answered for ``patience_s``.
    """
    printer, cluster, away_s = _Printer(show), None, 0.0
    while True:
        try:
            cluster = cluster or connect(record.job.address)
            state = _look(cluster, record, printer)
            if state.lost and retries > 0:
                retries -= 1
                record = _again(cluster, record, say, folder)
                printer.again()
            elif state.ended:
                return record, state
            away_s = 0.0
        except Unreachable as error:
            if away_s == 0.0:
                say(f"{error}; waiting for it (the job may well go on)")
            cluster, away_s = None, away_s + POLL_S
            if away_s > patience_s:
                raise
        sleep(POLL_S)


def _look(cluster: Cluster, record: Record, printer: _Printer) -> JobState:
    """A head node that came back anew knows nothing of the job: it was lost with the old one."""
    try:
        state = cluster.state(record.job_id)
        printer.print(cluster.logs(record.job_id) + ("\n" if state.ended else ""))
    except Unreachable:
        raise
    except RequestError as error:
        return JobState("FAILED", str(error), None)
    return state


def _again(cluster: Cluster, record: Record, say: Callable[[str], None], folder: Path) -> Record:
    job_id = cluster.submit(record.job)
    say(f"{record.job_id} was lost with its node; submitted again as {job_id}")
    return remember(record.job, (*record.ids, job_id), folder)
