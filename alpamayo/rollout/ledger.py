"""What became of every sample of a run: trained, dropped with a reason, or lost.

``ledger.jsonl`` is only ever appended to. A sample has a row when a worker is asked for it, and one
for its fate; its last row counts. A run that is resumed first writes down what its end undid.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REQUESTED, TRAINED, DROPPED, LOST = "requested", "trained", "dropped", "lost"

STALE = "stale"  # driven by weights older than rollout.max_staleness allows
LATE = "late"  # not there within rollout.timeout_s
FAILED = "failed"  # could not be driven; its episodes say why
UNFINISHED = "unfinished"  # the run ended first
WORKER = "worker died"
PROCESS = "the process that drove the run died"
LEARNER = "learner died"


@dataclass
class Ledger:
    """``file``: where rows go (None: nowhere). ``step`` is the iteration a row belongs to."""

    file: Path | None = None
    _last: dict[int, dict[str, Any]] = field(default_factory=dict)  # sample -> its last row
    _recent: Counter[str] = field(default_factory=Counter)
    next_sample: int = 0  # the first number that no sample had yet

    @classmethod
    def open(cls, file: Path, done: int) -> Ledger:
        """The ledger of a run that goes on after its iteration ``done``."""
        last = {int(row["sample"]): row for row in _whole_rows(file)}
        ledger = cls(file, last, next_sample=max(last, default=-1) + 1)
        ledger.undo_after(done, PROCESS)
        return ledger

    def requested(self, step: int, sample: int, worker: int, version: int) -> None:
        self._write(REQUESTED, step, sample, worker=worker, weights_version=version)

    def trained(self, step: int, sample: int, learner_version: int, **counts: int) -> None:
        """``counts``: weights_version, groups, episodes, decisions."""
        staleness = learner_version - counts["weights_version"]
        more = {"learner_version": learner_version, "staleness": staleness, **counts}
        self._write(TRAINED, step, sample, **more)

    def dropped(self, step: int, sample: int, reason: str, **more: Any) -> None:
        self._write(DROPPED, step, sample, reason=reason, **more)

    def lost(self, step: int, sample: int, reason: str) -> None:
        self._write(LOST, step, sample, reason=reason)

    def settle(self, step: int) -> None:
        """The run ends: samples that are under way, or were never learned from, are dropped."""
        for sample in self._open():
            self.dropped(step, sample, UNFINISHED)

    def undo_after(self, done: int, reason: str) -> None:
        """Training goes on after iteration ``done``: what was under way is lost, and so is what
        later updates learned."""
        for sample in self._open():
            self.lost(done, sample, reason)
        for sample, row in list(self._last.items()):
            if row["event"] == TRAINED and row["step"] > done:
                self.lost(done, sample, f"{reason} after the update")

    def totals(self) -> dict[str, int]:
        """How many samples have each fate: trained, ``dropped (stale)``, ``lost (...)`` ...; those
        without one yet are ``requested``."""
        return dict(Counter(_fate(row) for row in self._last.values()))

    def recent(self) -> dict[str, float]:
        """Samples by event and reason since the last call: ``samples_dropped_stale`` ..."""
        names = [TRAINED, LOST, *(f"{DROPPED}_{why}" for why in (STALE, LATE, FAILED))]
        counts, self._recent = self._recent, Counter()
        return {f"samples_{name}": float(counts[name]) for name in names}

    def _open(self) -> list[int]:
        return [n for n, row in self._last.items() if row["event"] == REQUESTED]

    def _write(self, event: str, step: int, sample: int, **more: Any) -> None:
        row = {"step": step, "sample": sample, "event": event, **more}
        self._last[sample] = row
        self.next_sample = max(self.next_sample, sample + 1)
        self._recent[f"{event}_{more['reason']}" if event == DROPPED else event] += 1
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _fate(row: dict[str, Any]) -> str:
    return f"{row['event']} ({row['reason']})" if "reason" in row else str(row["event"])


def _whole_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of ``file``; what a killed process wrote of its last one is cut off."""
    if not file.is_file():
        return []
    text = file.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with file.open("r+b") as out:
            out.truncate(len(whole))
    return [json.loads(line) for line in whole.splitlines()]
