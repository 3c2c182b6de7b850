"""The closed loop with branching groups and a curriculum: all episodes counted, exact resume."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from alpamayo.config import BranchingConfig, CurriculumConfig
from alpamayo.training import train
from tests.alpamayo import small_run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600.0)]


def rows(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def driven(run: Path) -> list[dict[str, Any]]:
    """All episodes, without how long their plans took."""
    results = rows(run, "episodes.jsonl") + [b["result"] for b in rows(run, "branches.jsonl")]
    return [{k: v for k, v in row.items() if k != "plan_ms"} for row in results]


def weights(run: Path, iteration: int) -> dict[str, torch.Tensor]:
    from alpamayo.learner import checkpoint

    return checkpoint.load(run / "checkpoints" / f"iter_{iteration:04d}").learned


def test_a_branching_run_counts_every_episode_and_resumes_exactly(tmp_path: Path) -> None:
    from alpamayo.rollout.ray_session import ray_session
    from alpamayo.run_dir import RunDir

    init = small_run.save_small_policy(tmp_path / "policy")
    config = small_run.small_config(tmp_path / "runs", init, advantage="group")
    config = replace(
        config,
        rollout=replace(config.rollout, branching=BranchingConfig(share=0.5, group_size=4)),
        curriculum=CurriculumConfig(kind="potential", half_life=2.0),
    )
    with ray_session(config, object_store_memory=200 << 20):
        with RunDir.create("train", config) as run:
            train(config, run)
        # The same run, as it was after its first iteration.
        stopped = tmp_path / "stopped"
        shutil.copytree(run.path, stopped, symlinks=True)
        shutil.rmtree(stopped / "checkpoints" / "iter_0002")
        train(config, RunDir.open(stopped), resume=True)

    for name, tensor in weights(run.path, 2).items():
        torch.testing.assert_close(weights(stopped, 2)[name], tensor, rtol=1e-6, atol=1e-8)
    assert driven(run.path) == driven(stopped)
    last, again = (rows(path, "metrics.jsonl")[-1] for path in (run.path, stopped))
    shares = {k: v for k, v in last.items() if k.startswith("curriculum/")}
    assert shares and shares == {k: again[k] for k in shares}

    # Per iteration and worker: 8 worlds start a scenario, 8 fork from them in two groups.
    episodes, branches = rows(run.path, "episodes.jsonl"), rows(run.path, "branches.jsonl")
    assert len(episodes) == len(branches) == 2 * 2 * 8
    assert len({b["group"] for b in branches}) == 2 * 2 * 2
    for step, metrics in enumerate(rows(run.path, "metrics.jsonl"), 1):
        assert metrics["rollout/branch_episodes"] == 16 and metrics["rollout/episodes"] == 16
        decisions = sum(b["result"]["decisions"] for b in branches if b["step"] == step)
        decisions += sum(e["decisions"] for e in episodes if e["step"] == step)
        assert metrics["rollout/decisions"] == decisions
        trained, left = (metrics[f"losses/decisions_{k}"] for k in ("trained", "left_out"))
        assert trained + left == decisions
    assert (run.path / "curriculum.svg").is_file()
