"""Run directories, the metrics file and the progress lines."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from alpamayo import run_dir
from alpamayo.config import load_config
from alpamayo.log import MetricsWriter, Progress
from alpamayo.run_dir import RunDir, read_json
from alpamayo.types import RequestError


def make(folder: Path, kind: str = "train", *words: str) -> RunDir:
    return RunDir.create(kind, load_config(kind, None, [f"run_root={folder}", *words]))


def test_the_frozen_config_reads_back_equal(tmp_path: Path) -> None:
    run = make(tmp_path, "train", "learner.lr=3e-4")
    assert RunDir.open(run.path).config == run.config
    assert "lr: 0.0003" in run.config_file.read_text()


def test_runs_of_the_same_second_get_different_directories(tmp_path: Path) -> None:
    assert len({make(tmp_path, "train", "name=x").path for _ in range(4)}) == 4


def test_versions_name_python_and_the_packages(tmp_path: Path) -> None:
    versions = read_json(make(tmp_path).path / "versions.json")
    assert versions["alpamayo"] and versions["python"]
    assert versions["packages"]["numpy"] == np.__version__


def test_status_ends_finished_interrupted_or_failed(tmp_path: Path) -> None:
    with make(tmp_path) as run:
        assert run.status["status"] == "running"
    assert run.status["status"] == "finished"

    with pytest.raises(KeyboardInterrupt), make(tmp_path) as run:
        raise KeyboardInterrupt
    assert run.status["status"] == "interrupted"

    with pytest.raises(ZeroDivisionError), make(tmp_path) as run:
        _ = 1 / 0
    assert run.status["status"] == "failed"
    assert "ZeroDivisionError" in run.status["error"]


def test_status_keeps_what_was_added_and_the_start(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.set_status("running", best_checkpoint="000002")
    started = run.status["started"]
    run.set_status("finished")
    assert run.status["best_checkpoint"] == "000002"
    assert run.status["started"] == started
    assert run.status["kind"] == "train"


def test_a_resumed_run_is_the_current_one(tmp_path: Path) -> None:
    first, second = make(tmp_path), make(tmp_path)
    assert run_dir.current() is second
    again = RunDir.open(first.path).resume()
    assert run_dir.current() is again
    assert again.status["status"] == "running" and again.status["resumed"]


def test_a_run_root_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/alpamayo-runs")):
        with pytest.raises(RequestError, match=f"{root}.*: expected a "):
            make(root)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_run_that_cannot_be_frozen_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("alpamayo.run_dir.os.replace", full)
    with pytest.raises(RequestError, match="No space left on device"):
        make(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, "status.json: expected a readable JSON file"),
        ("{", "status.json: expected valid JSON"),
        ("[]", "status.json: kind: expected train"),
        ('{"kind": "cooking"}', "got 'cooking'"),
    ],
)
def test_a_damaged_run_directory_is_named(
    status: str | None, expected: str, tmp_path: Path
) -> None:
    run = make(tmp_path)
    (run.path / "status.json").unlink()
    if status is not None:
        (run.path / "status.json").write_text(status)
    with pytest.raises(RequestError, match=expected):
        RunDir.open(run.path)


def test_a_missing_run_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="gone: no such run directory"):
        RunDir.open(tmp_path / "gone")


def test_metrics_are_json_lines_without_nan_and_with_plain_numbers(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "metrics.jsonl") as writer:
        writer.write(1, {"train/loss": np.float32(0.5), "n": np.int64(3), "bad": float("nan")})
        writer.write(2, {"list": np.arange(2), "text": "a"})
        lines = (tmp_path / "metrics.jsonl").read_text().splitlines()  # flushed before it is closed
    first, second = map(json.loads, lines)
    assert (first["step"], first["train/loss"], first["n"], first["bad"]) == (1, 0.5, 3, None)
    assert (second["list"], second["text"]) == ([0, 1], "a")


def test_metrics_go_on_in_the_same_file_after_a_resume(tmp_path: Path) -> None:
    for step in (1, 2):
        with MetricsWriter(tmp_path / "metrics.jsonl") as writer:
            writer.write(step, {})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_tensorboard_gets_an_event_file(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard") as writer:
        writer.write(1, {"train/loss": 0.25, "text": "not a scalar"})
    (events,) = (tmp_path / "tensorboard").glob("events.out.tfevents.*")
    assert b"train/loss" in events.read_bytes()


def test_progress_prints_plain_lines_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("train", 3, every_s=1000.0) as progress:
        for done in (1, 2, 3):
            progress.update(done, loss=0.125)
        progress.say("checkpoint written")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "train 1/3",
        "train 3/3",
        "checkpoint written",
    ]
    assert "loss 0.125" in lines[0]


def test_quiet_progress_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("train", 1, quiet=True) as progress:
        progress.update(1)
        progress.say("something")
    assert capsys.readouterr() == ("", "")


def test_progress_is_a_live_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with Progress("train", 2) as progress:
        progress.update(1, loss=0.5)
        progress.say("a line that stays")
    assert "train" in screen.getvalue() and "loss" in screen.getvalue()
    assert "a line that stays" in screen.getvalue()
