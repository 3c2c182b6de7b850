"""Two learners, each with half of the groups, make the update that one makes of all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alpamayo.config import BranchingConfig, PlacementConfig, RunConfig
from alpamayo.learner import parallel
from alpamayo.types import FloatArray
from tests.alpamayo import small_run


# The sums, in two processes that talk over gloo -------------------------------------------------
def _sums(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    try:
        values = np.array([1.0, 2.0]) if rank == 0 else np.array([6.0])
        parameter = torch.nn.Parameter(torch.zeros(2))
        if rank == 0:
            parameter.grad = torch.tensor([3.0, 9.0])  # of one row; the other has two
        else:
            parameter.grad = torch.tensor([6.0, 0.0])
        idle = torch.nn.Parameter(torch.zeros(1))  # without rows, without a gradient
        if rank == 0:
            idle.grad = torch.tensor([4.0])
        worth = np.array([5.0, 1.0, 0.0]) if rank == 0 else np.array([4.0, 3.0])
        found = {
            "moments": parallel.moments(values, parallel.sum_over_learners),
            "rows": parallel.average_gradients([parameter], rank + 1),
            "gradient": parameter.grad.tolist(),
            "idle_rows": parallel.average_gradients([idle], 1 - rank),
            "idle": idle.grad.tolist() if idle.grad is not None else None,
            "largest": parallel.largest(worth, 0.6).tolist(),
        }
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_sums_over_two_processes_are_those_of_all_rows(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_sums, (str(tmp_path),), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert one["moments"] == two["moments"] == pytest.approx((3.0, np.sqrt(14 / 3)))
    assert one["rows"] == two["rows"] == 3
    assert one["gradient"] == two["gradient"] == pytest.approx([(3 + 2 * 6) / 3, 9 / 3])
    assert one["idle_rows"] == two["idle_rows"] == 1 and one["idle"] == two["idle"] == [4.0]
    # Of five rows the three largest: 5 here, 4 and 3 there.
    assert one["largest"] == [0] and two["largest"] == [0, 1]


# The whole update -------------------------------------------------------------------------------
def _after_one_update(
    config: RunConfig, init: Path, learners: int
) -> tuple[dict[str, torch.Tensor], dict[str, float], FloatArray]:
    """Learned tensors, metrics, and the published policy's first bias, after an iteration."""
    from alpamayo.loop import PostTrainConfig
    from alpamayo.training import flatten

    config = replace(config, placement=replace(config.placement, learners=learners))
    made: Any = PostTrainConfig.of(config, str(init)).build_algo()
    try:
        metrics = flatten(made.train())
        learned, _, _ = made.training_state()
        states = [r.get() for r in made.learner_group.foreach_learner(lambda x: _digest(x.post))]
        return learned, metrics, np.array(states)
    finally:
        made.stop()


def _digest(module: Any) -> float:
    return float(sum(p.detach().double().abs().sum() for p in module.trainable().values()))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600.0)
def test_two_learners_make_the_update_of_one(tmp_path: Path) -> None:
    from alpamayo.rollout.ray_session import ray_session

    init = small_run.save_small_policy(tmp_path / "policy")
    config = small_run.small_config(
        tmp_path / "runs", init, advantage="gae", epochs=2, keep_fraction=0.7, kl_fraction=1.0
    )
    branching = BranchingConfig(share=0.5, group_size=4)
    config = replace(config, rollout=replace(config.rollout, branching=branching))
    two_learners = replace(config, placement=PlacementConfig(learners=2))
    with ray_session(two_learners, object_store_memory=300 << 20):
        one, alone, _ = _after_one_update(config, init, 0)
        two, together, digests = _after_one_update(config, init, 2)
    assert digests[0] == digests[1]  # both learners hold the same weights, bit by bit
    for name in ("decisions_trained", "decisions_left_out", "grad_norm", "advantage_std"):
        assert together[f"losses/{name}"] == pytest.approx(alone[f"losses/{name}"], rel=1e-3)
    start = small_run.start_of(init)
    for name, tensor in one.items():
        moved = (tensor - start[name]).abs().max() if name in start else tensor.abs().max()
        # Adam divides by the gradient's size: where it is next to nothing, rounding decides.
        close = (two[name] - tensor).abs() <= 0.02 * moved + 1e-7
        assert close.float().mean() > 0.98, name
