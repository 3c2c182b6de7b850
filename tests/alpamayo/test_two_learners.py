"""Two learners, each with half of the groups, make the update that one makes of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alpamayo.config import BranchingConfig, PlacementConfig, RunConfig
from alpamayo.learner import parallel
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
            parameter.grad = torch.tensor([3.0, 9.0])
        else:
            parameter.grad = torch.tensor([6.0, 0.0])
        parallel.add_gradients([parameter])
        idle = torch.nn.Parameter(torch.zeros(1))  # without rows, without a gradient
        if rank == 0:
            idle.grad = torch.tensor([4.0])
        parallel.add_gradients([idle])
        worth = np.array([5.0, 1.0, 0.0]) if rank == 0 else np.array([4.0, 3.0])
        found = {
            "moments": parallel.moments(values, parallel.sum_over_learners),
            "gradient": parameter.grad.tolist(),
            "most": parallel.largest_of_learners(3 - rank),
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
    assert one["gradient"] == two["gradient"] == [9.0, 9.0]
    assert one["idle"] == two["idle"] == [4.0] and one["most"] == two["most"] == 3
    # Of five rows the three largest: 5 here, 4 and 3 there.
    assert one["largest"] == [0] and two["largest"] == [0, 1]


# The whole update -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Update:
    """What an iteration did: learned tensors and moments as for a checkpoint, metrics, published
    tensors; ``digests`` of the trainable parameters that each learner holds."""

    learned: dict[str, torch.Tensor]
    moments: dict[str, torch.Tensor]
    metrics: dict[str, float]
    published: dict[str, torch.Tensor]
    digests: list[float]


class Setting:
    """A policy and a config; updates are made once per strategy, by real learner processes."""

    def __init__(self, config: RunConfig, init: Path) -> None:
        self.config, self.init = config, init
        self.made: dict[str, Update] = {}

    def algorithm(self, learners: int, **settings: Any) -> Any:
        from alpamayo.loop import PostTrainConfig

        placement = replace(self.config.placement, learners=learners)
        learner = replace(self.config.learner, **settings)
        config = replace(self.config, placement=placement, learner=learner)
        return PostTrainConfig.of(config, str(self.init)).build_algo()

    def update(self, learners: int, **settings: Any) -> Update:
        key = f"{learners} {sorted(settings.items())}"
        if key not in self.made:
            algorithm = self.algorithm(learners, **settings)
            try:
                self.made[key] = _iterate(algorithm)
            finally:
                algorithm.stop()
        return self.made[key]


def _iterate(algorithm: Any) -> Update:
    from alpamayo.training import flatten

    metrics = flatten(algorithm.train())
    learned, moments, _ = algorithm.training_state()
    published = algorithm._from_learner(lambda learner: learner.published(trainable_only=True))
    asked = algorithm.learner_group.foreach_learner(lambda learner: _digest(learner.post))
    return Update(learned, moments, metrics, published, [digest.get() for digest in asked])


def _digest(module: Any) -> float:
    held = (getattr(p, "_local_tensor", p) for p in module.trainable().values())
    return float(sum(p.detach().double().abs().sum() for p in held))


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    from alpamayo.rollout.ray_session import ray_session

    folder = tmp_path_factory.mktemp("learners")
    init = small_run.save_small_policy(folder / "policy")
    config = small_run.small_config(
        folder / "runs",
        init,
        advantage="gae",
        epochs=2,
        keep_fraction=0.7,
        kl_fraction=1.0,
        importance_cap=2.0,
        reference_every=1,
    )
    branching = BranchingConfig(share=0.5, group_size=4)
    config = replace(config, rollout=replace(config.rollout, branching=branching))
    two_learners = replace(config, placement=PlacementConfig(learners=2))
    with ray_session(two_learners, object_store_memory=300 << 20):
        yield Setting(config, init)


def _same_update(setting: Setting, one: Update, other: Update) -> None:
    for name in ("decisions_trained", "decisions_left_out", "grad_norm", "advantage_std"):
        expected = one.metrics[f"losses/{name}"]
        assert other.metrics[f"losses/{name}"] == pytest.approx(expected, rel=1e-3)
    start = small_run.start_of(setting.init)
    assert other.learned.keys() == one.learned.keys() and other.moments.keys() == one.moments.keys()
    for name, tensor in one.learned.items():
        moved = (tensor - start[name]).abs().max() if name in start else tensor.abs().max()
        # Adam divides by the gradient's size: where it is next to nothing, rounding decides.
        close = (other.learned[name] - tensor).abs() <= 0.02 * moved + 1e-7
        assert close.float().mean() > 0.98, name
    for name, tensor in other.published.items():
        kept = "policy." if f"policy.{name}" in other.learned else "adapters."
        scale = 4.0 if name.endswith("lora_up") else 1.0  # alpha 16 at rank 4, exact
        torch.testing.assert_close(tensor, scale * other.learned[kept + name], rtol=0, atol=0)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
@pytest.mark.parametrize(
    ("learners", "settings"),
    [(2, {"strategy": "ddp"}), (2, {"strategy": "fsdp2"}), (0, {"accumulate": 3})],
    ids=["ddp", "fsdp2", "accumulate"],
)
def test_several_learners_or_parts_make_the_update_of_one(
    setting: Setting, learners: int, settings: dict[str, Any]
) -> None:
    one = setting.update(0)
    other = setting.update(learners, **settings)
    _same_update(setting, one, other)
    if settings.get("strategy") == "ddp":
        assert other.digests[0] == other.digests[1] == pytest.approx(one.digests[0], rel=1e-4)
    if settings.get("strategy") == "fsdp2":  # each has its part, and together they have all
        assert 0.3 < other.digests[0] / one.digests[0] < 0.7
        assert sum(other.digests) == pytest.approx(one.digests[0], rel=1e-4)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_with_bfloat16_only_the_computation_is_rounded(setting: Setting) -> None:
    one = setting.update(0)
    other = setting.update(0, dtype="bfloat16")
    start = small_run.start_of(setting.init)
    agree, count = 0, 0
    for name, tensor in other.learned.items():
        assert tensor.dtype == torch.float32, name
        if name in start:
            # Steps finer than bfloat16 can hold reach the weights, mostly in the same direction.
            moved, expected = tensor - start[name], one.learned[name] - start[name]
            assert not torch.equal(tensor, tensor.bfloat16().float()) or not moved.any()
            agree += int((moved.sign() == expected.sign()).sum())
            count += tensor.numel()
    assert agree > 0.9 * count
    floats = [t for name, t in other.moments.items() if name.startswith("exp_avg")]
    assert floats and {t.dtype for t in floats} == {torch.float32}
    assert {t.dtype for t in other.published.values()} == {torch.float32}
    assert other.metrics["losses/ratio"] == pytest.approx(1.0, abs=0.05)
    assert other.metrics["losses/ratio"] != one.metrics["losses/ratio"]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_adapters_are_learned_in_parts_too(setting: Setting) -> None:
    settings = {"lora_rank": 4, "reference_every": 0}
    one = setting.update(0, **settings)
    other = setting.update(2, strategy="fsdp2", **settings)
    assert any(name.startswith("adapters.") for name in one.learned)
    _same_update(setting, one, other)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_a_checkpoint_of_one_learner_goes_on_in_parts_and_back(setting: Setting) -> None:
    one = setting.update(0)
    counters = {"iteration": 1, "updates": 1, "decisions": 0}
    learned, moments = one.learned, one.moments
    after = []
    for learners, settings in ((2, {"strategy": "fsdp2"}), (0, {})):
        algorithm = setting.algorithm(learners, **settings)
        try:
            algorithm.load_training_state(learned, moments, counters)
            loaded, its_moments, its_counters = algorithm.training_state()
            assert its_counters == counters and its_moments.keys() == moments.keys()
            for name, tensor in loaded.items():
                torch.testing.assert_close(tensor, learned[name], rtol=0, atol=0)
            for name, tensor in its_moments.items():
                torch.testing.assert_close(tensor, moments[name], rtol=0, atol=0)
            after.append(_iterate(algorithm))
        finally:
            algorithm.stop()
    _same_update(setting, *after[::-1])
