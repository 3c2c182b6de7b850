"""The closed loop learns by each algorithm that it offers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from alpamayo.training import train
from tests.alpamayo import small_run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600.0)]


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    from alpamayo.rollout.ray_session import ray_session

    folder = tmp_path_factory.mktemp("algorithms")
    config = small_run.small_config(folder, folder)
    with ray_session(config, object_store_memory=200 << 20):
        yield small_run.save_small_policy(folder / "policy")


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "rft", "scored_rounds": 2},
        {"algorithm": "dagger", "scored_rounds": 2, "reference_every": 1},
        {"clip_per": "token", "importance_cap": 2.0, "epochs": 2, "reference_every": 2},
        {"expert_weight": 0.5, "joint_weight": 0.1, "importance_cap": 2.0, "reference_every": 2},
    ],
)
def test_an_iteration_learns_something(
    init: Path, tmp_path: Path, settings: dict[str, object]
) -> None:
    from alpamayo.learner import checkpoint
    from alpamayo.run_dir import RunDir

    config = small_run.small_config(tmp_path, init, iterations=1, **settings)
    with RunDir.create("train", config) as run:
        result = train(config, run)
    (row,) = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    assert row["losses/skipped"] == 0.0 and row["losses/grad_norm"] > 0.0
    assert row["losses/decisions_trained"] > 0
    state = checkpoint.load(result.checkpoint)
    start = small_run.start_of(init)
    moved = [not torch.equal(state.learned[name], tensor) for name, tensor in start.items()]
    assert sum(moved) > len(moved) // 2
    kept = {n.removeprefix("reference.") for n in state.learned if n.startswith("reference.")}
    if "reference_every" in settings:
        # The reference is part of the checkpoint: the start, or after one update what was learned.
        expected = state.learned if settings["reference_every"] == 1 else start
        assert kept
        for name in kept:
            reference = state.learned[f"reference.{name}"]
            torch.testing.assert_close(reference, expected[f"policy.{name}"])
    else:
        assert not kept
    if settings.get("algorithm") in ("rft", "dagger"):
        assert row["losses/imitation_loss"] > 0.0 and "losses/policy_loss" not in row
    else:
        # The learner's own likelihoods are those of the rollouts it has just made.
        assert row["losses/importance_weight"] == pytest.approx(1.0, abs=1e-3)
        assert (
            ("losses/expert_loss" in row)
            == ("losses/joint_ar" in row)
            == ("expert_weight" in settings)
        )
