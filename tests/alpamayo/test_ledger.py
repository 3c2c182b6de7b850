"""Every sample has one fate, whatever ends the run."""

from __future__ import annotations

import json
from pathlib import Path

from alpamayo.rollout.ledger import FAILED, LEARNER, PROCESS, STALE, WORKER, Ledger


def written(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def filled(file: Path | None = None) -> Ledger:
    """Six samples: 0 trained in step 1, 1 in step 2, 2 stale, 3 with a dead worker, 4 failed, 5
    under way."""
    ledger = Ledger(file)
    for sample in range(6):
        ledger.requested(1, sample, worker=sample % 2, version=0)
    ledger.trained(1, 0, 0, weights_version=0, groups=4, episodes=16, decisions=100)
    ledger.trained(2, 1, 1, weights_version=0, groups=4, episodes=16, decisions=90)
    ledger.dropped(2, 2, STALE, staleness=3)
    ledger.lost(2, 3, WORKER)
    ledger.dropped(2, 4, FAILED, error="ZeroDivisionError: division by zero")
    return ledger


def test_fates_add_up_to_what_was_requested_and_each_is_written(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    ledger = filled(file)
    assert ledger.totals() == {
        "trained": 2, "dropped (stale)": 1, "lost (worker died)": 1, "dropped (failed)": 1,
        "requested": 1,
    }  # fmt: skip
    ledger.settle(2)
    totals = ledger.totals()
    assert "requested" not in totals and sum(totals.values()) == 6 == ledger.next_sample
    rows = written(file)
    assert len(rows) == 12 and rows[6]["staleness"] == 0 and rows[7]["staleness"] == 1
    assert rows[-1] == {"step": 2, "sample": 5, "event": "dropped", "reason": "unfinished"}


def test_recent_counts_start_anew_after_each_look() -> None:
    ledger = filled()
    assert ledger.recent() == {
        "samples_trained": 2, "samples_lost": 1, "samples_dropped_stale": 1,
        "samples_dropped_late": 0, "samples_dropped_failed": 1,
    }  # fmt: skip
    assert set(ledger.recent().values()) == {0.0}


def test_a_resumed_run_writes_down_what_its_end_undid(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    filled(file)
    with file.open("a") as out:
        out.write('{"step": 3, "samp')  # the process was killed while it wrote
    resumed = Ledger.open(file, done=1)  # the update of step 2 was in no checkpoint
    assert resumed.next_sample == 6
    assert resumed.totals() == {
        "trained": 1, "dropped (stale)": 1, "lost (worker died)": 1, "dropped (failed)": 1,
        f"lost ({PROCESS})": 1, f"lost ({PROCESS} after the update)": 1,
    }  # fmt: skip
    # Driven again under the same number, as synchronous runs do: the last fate counts.
    resumed.requested(2, 1, worker=1, version=1)
    resumed.trained(2, 1, 1, weights_version=1, groups=4, episodes=16, decisions=90)
    assert resumed.totals()["trained"] == 2 and sum(resumed.totals().values()) == 6
    assert Ledger.open(file, done=2).totals() == resumed.totals()


def test_a_learner_lost_between_checkpoints_undoes_its_updates() -> None:
    ledger = filled()
    ledger.undo_after(0, LEARNER)
    totals = ledger.totals()
    assert totals[f"lost ({LEARNER} after the update)"] == 2 and totals[f"lost ({LEARNER})"] == 1
    assert "trained" not in totals


def test_without_a_file_of_its_own_a_run_starts_at_sample_zero(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "none.jsonl", done=0)
    assert ledger.next_sample == 0 and not ledger.totals()
    assert not (tmp_path / "none.jsonl").exists()
