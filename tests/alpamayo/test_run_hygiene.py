"""A run that is interrupted, gets worse, or meets numbers that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alpamayo import loop, training
from alpamayo.cli.main import main
from alpamayo.config import CurriculumConfig, RunConfig, to_yaml
from alpamayo.learner import checkpoint
from alpamayo.run_dir import RunDir
from alpamayo.types import RequestError
from tests.alpamayo import small_run


@pytest.mark.parametrize(
    ("scores", "patience", "enough"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # equal is not better
        ([0.5, 0.6, 0.4], 2, False),
        ([0.5, 0.6, 0.4, 0.6], 2, True),
        ([0.5, 0.6, 0.4, 0.7], 2, False),
        ([0.5, 0.4, 0.3, 0.2], 0, False),
    ],
)
def test_patience_ends_when_so_many_evaluations_brought_nothing_better(
    scores: list[float], patience: int, enough: bool
) -> None:
    assert training._enough(scores, patience) is enough


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from alpamayo.rollout.ray_session import ray_session

    folder = tmp_path_factory.mktemp("hygiene")
    config = small_run.small_config(folder, folder)
    with ray_session(config, object_store_memory=200 << 20):
        yield small_run.save_small_policy(folder / "policy")


def rows(run: RunDir) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.metrics_file.read_text().splitlines()]


def start(config: RunConfig) -> RunDir:
    with RunDir.create("train", config) as run:
        training.train(config, run)
    return run


# Resuming ---------------------------------------------------------------------------------------
def _curve(row: dict[str, Any]) -> dict[str, Any]:
    """Without what depends on the clock, and on what was lost with the crash."""
    apart = ("time", "charts/SPS", "rollout/samples_lost")
    return {k: v for k, v in row.items() if not k.startswith(apart)}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_a_resumed_run_has_the_curve_of_one_without_interruption(
    init: Path, tmp_path: Path
) -> None:
    config = small_run.small_config(
        tmp_path / "runs", init, iterations=3, minibatch=100, epochs=2, lr_end=0.1,
        importance_cap=2.0, keep_fraction=0.5, expert_weight=0.5, expert_until=0.9,
        reference_every=2,
    )  # fmt: skip
    config = replace(config, curriculum=CurriculumConfig(kind="potential"))
    run = start(config)
    # As a crash in the second iteration would leave it: a checkpoint of the first, and rows of
    # more.
    crashed = RunDir.open(shutil.copytree(run.path, tmp_path / "crashed", symlinks=True))
    for name in ("iter_0002", "iter_0003"):
        shutil.rmtree(crashed.checkpoints_dir / name)
    (crashed.checkpoints_dir / "latest").unlink()
    with crashed.resume() as resumed:
        training.train(config, resumed, resume=True)

    before, after = rows(run), rows(crashed)
    assert [r["step"] for r in before] == [r["step"] for r in after] == [1, 2, 3]
    # The schedules moved on, so that going on from a wrong place would show.
    assert [r["losses/expert_weight"] for r in before] == pytest.approx(
        [0.5, 0.5 * 17 / 27, 7 / 54]
    )
    assert [r["charts/learning_rate"] for r in before] == pytest.approx([1e-3, 5.5e-4, 1e-4])
    assert before[2]["losses/kl_reference"] != before[1]["losses/kl_reference"]
    for one, other in zip(before, after, strict=True):
        assert _curve(one) == _curve(other)
    wanted = {"SPS", "global_step", "learning_rate", "episodic_return", "episodic_length"}
    assert {f"charts/{name}" for name in wanted} <= before[0].keys()
    wanted = {"policy_loss", "value_loss", "entropy", "approx_kl", "clipfrac", "explained_variance"}
    assert {f"losses/{name}" for name in wanted} <= before[0].keys()

    one, other = (checkpoint.load(r.checkpoints_dir / "iter_0003") for r in (run, crashed))
    assert one.counters == other.counters and one.curriculum == other.curriculum
    assert any(name.startswith("reference.") for name in one.learned)
    for ours, theirs in ((one.learned, other.learned), (one.moments, other.moments)):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


# Early stop -------------------------------------------------------------------------------------
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_a_run_that_gets_no_better_ends_and_names_its_best_checkpoint(
    init: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.4, 0.4, 0.3, 0.9])

    def evaluate(_: Any) -> dict[str, float]:
        told = {"failure_rate": 0.5, "broken": 0.0, "episodes": 4.0, "driving_score": next(scores)}
        return {f"eval/{name}": value for name, value in told.items()}

    monkeypatch.setattr(training._Run, "_evaluate", evaluate)
    config = small_run.small_config(tmp_path / "runs", init, iterations=5)
    config = replace(config, eval=replace(config.eval, every=1, patience=2))
    with RunDir.create("train", config) as run:
        result = training.train(config, run)
    assert result.stopped_early and result.iterations == 4
    status = run.status
    assert (status["status"], status["stopped_early"]) == ("finished", 4)
    assert status["best_checkpoint"] == "iter_0002" and status["best_score"] == 0.4
    assert (run.checkpoints_dir / "iter_0002" / "config.json").is_file()
    with pytest.raises(RequestError, match="has stopped early, after 2 evaluations without"):
        training.train(config, RunDir.open(run.path), resume=True)


# Numbers that are none --------------------------------------------------------------------------
@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_a_bad_minibatch_is_skipped_and_many_in_a_row_end_the_run(
    init: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    merged: list[Any] = []

    def merge(batches: Any) -> Any:
        batch = original(batches)
        merged.append(batch)
        if len(merged) == 1:
            batch.flat["log_prob"][3] = float("nan")  # one decision: one minibatch
        else:
            batch.reward[0, 0] = float("nan")  # through the normalisation: all advantages
        return batch

    original = loop.merge
    monkeypatch.setattr(loop, "merge", merge)
    config = small_run.small_config(
        tmp_path / "runs", init, iterations=4, minibatch=100, max_skipped=2
    )
    (tmp_path / "train.yaml").write_text(to_yaml(config))
    assert main(["train", "--config", str(tmp_path / "train.yaml")]) == 1
    said = capsys.readouterr()
    complaint = "iteration 2: loss or gradient of 2 minibatches in a row was not finite"
    assert complaint in said.err and "Traceback" not in said.err
    assert sum(complaint in line for line in said.err.splitlines()) == 1

    run = RunDir.open(said.out.split("run directory: ")[1].splitlines()[0])
    assert run.status["status"] == "failed"
    (row,) = rows(run)
    assert row["losses/skipped"] == 1 and row["losses/skipped_in_a_row"] == 0
    assert row["losses/steps"] > 3 and row["losses/grad_norm"] > 0
    newest = checkpoint.latest(run.checkpoints_dir)
    assert newest is not None and newest.name == "iter_0001"
    state = checkpoint.load(newest)
    assert state.counters["iteration"] == state.counters["updates"] == 1
    for tensors in (state.learned, state.moments):
        assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    assert any(
        not torch.equal(state.learned[name], tensor)
        for name, tensor in small_run.start_of(init).items()
    )
