"""The warm start: recorded data, the noise of its diffusion term, and that training learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alpamayo import streams
from alpamayo.config import WarmstartConfig
from alpamayo.imitation import (
    VIEWS,
    WarmstartTrainer,
    learning_rate,
    noise_masks,
    published_loss,
)
from alpamayo.imitation_data import COLUMNS, ExpertNoise, ImitationData, record_expert
from alpamayo.types import ObservationBatch
from policies.vlm import NLDModel, VLMConfig, VLMPolicy
from policies.vlm.joint_loss import published_masks
from policies.vlm.replay import ar_log_prob, trace_log_prob
from policies.vlm.schedule import FROZEN
from sim.config import RigConfig, SimConfig

SMALL_RIG = RigConfig(width_px=56, height_px=28, frames=1)


def test_noise_masks_cover_both_rounds_and_estimate_the_mean_loss() -> None:
    rows, length = 20_000, 8
    masked, weight = noise_masks(rows, length, torch.Generator().manual_seed(0))
    assert masked.shape == weight.shape == (rows, VIEWS, length)
    assert masked[:, 0].all() and (weight[:, 0] == 1.0).all()
    # Any fixed loss per token: the weighted masked mean must estimate its plain mean. In view 1 the
    # executed tokens are shown more often than t alone would, so the estimate is exact only where
    # all tokens cost the same.
    estimate = (weight[:, 1] * masked[:, 1]).mean()
    assert estimate.item() == pytest.approx(1.0, abs=0.05)
    late = (masked[:, 1, 2:].all(1)) & ~masked[:, 1, :2].any(1)
    assert 0.28 < late.float().mean().item() < 0.45


def test_learning_rate_warms_up_and_decays_to_a_tenth() -> None:
    assert learning_rate(0, 100, 1.0, 10) == pytest.approx(0.1)
    assert learning_rate(9, 100, 1.0, 10) == pytest.approx(1.0)
    assert learning_rate(10, 100, 1.0, 10) == pytest.approx(1.0)
    assert learning_rate(55, 100, 1.0, 10) == pytest.approx(0.55)
    assert learning_rate(100, 100, 1.0, 10) == pytest.approx(0.1)


def test_expert_noise_changes_only_the_executed_step_and_repeats_for_its_keys() -> None:
    n = 4000
    plan, speed = np.zeros((n, 8, 2)), np.full(n, 10.0)
    keys = streams.keys(np.arange(n), 1)
    noise = ExpertNoise(probability=0.5, accel_mps2=2.0, lateral_accel_mps2=1.0)
    noisy = noise.apply(plan, speed, keys)
    np.testing.assert_array_equal(noisy, noise.apply(plan, speed, keys))
    np.testing.assert_array_equal(noisy[3:5], noise.apply(plan[3:5], speed[3:5], keys[3:5]))
    assert not noisy[:, 1:].any()
    hit = noisy[:, 0].any(axis=1)
    assert hit.mean() == pytest.approx(0.5, abs=0.04)
    assert noisy[hit, 0, 0].std() == pytest.approx(2.0, rel=0.1)
    assert noisy[hit, 0, 1].std() == pytest.approx(1.0 / 10.0**2, rel=0.1)


def _observation(n: int, rng: np.random.Generator) -> ObservationBatch:
    return ObservationBatch(
        rng.integers(0, 255, (n, 1, 28, 56, 3), dtype=np.uint8),
        np.zeros((n, 16, 3), np.float32),
        rng.uniform(0, 14, n).astype(np.float32),
        np.zeros(n, np.int8),
        np.full(n, 14.0, np.float32),
    )


def _write_shard(folder: Path, n: int, seed: int) -> None:
    """Recordings whose plan depends on the speed alone: brake above 7 m/s, else accelerate."""
    folder.mkdir(parents=True)
    observation = _observation(n, np.random.default_rng(seed))
    plan = np.zeros((n, 8, 2), np.float32)
    plan[..., 0] = np.where(observation.speed_mps > 7.0, -2.0, 1.5)[:, None]
    for name, column in {**observation.as_dict(), "plan": plan}.items():
        np.save(folder / f"{name}.npy", column)


def test_samples_of_several_shards_stay_whole_rows(tmp_path: Path) -> None:
    _write_shard(tmp_path / "shard_0", 5, 1)
    _write_shard(tmp_path / "shard_1", 7, 2)
    data = ImitationData(tmp_path)
    assert len(data) == 12
    observation, plan = data.take(np.array([11, 0, 4, 5, 6]))
    assert len(observation) == len(plan) == 5
    np.testing.assert_array_equal(plan[:, 0, 0] < 0, observation.speed_mps > 7.0)


def test_missing_recordings_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="shard"):
        ImitationData(tmp_path)


def test_the_published_objective_of_a_batch_is_its_terms_over_all_its_tokens() -> None:
    model = NLDModel(VLMConfig.preset("tiny")).init_weights(0)
    policy, observation = VLMPolicy(model), _observation(5, np.random.default_rng(3))
    plans = np.random.default_rng(1).uniform(-2, 1, (5, 8, 2)) * [1.0, 0.01]
    with torch.no_grad():
        loss = published_loss(policy, observation, plans, torch.Generator().manual_seed(7), 0.3)
        masked, weight = published_masks(5, 16, torch.Generator().manual_seed(7))
        prompt, tokens = policy.encoder(observation), torch.from_numpy(model.actions.encode(plans))
        prefix = model.embed_prompt(prompt.ids, prompt.frames)
        ar = -ar_log_prob(model, prefix, tokens).sum()
        shown = torch.where(masked, 0, FROZEN)  # visible tokens count as given
        diffusion = -(trace_log_prob(model, prefix, tokens, shown) * weight).sum()
    expected = (ar + 0.3 * diffusion) / (80 + int(masked.sum()))
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("objective", ["two_views", "published"])
def test_the_joint_objective_learns_a_rule_and_keeps_the_best_weights(
    tmp_path: Path, objective: str
) -> None:
    _write_shard(tmp_path / "train" / "shard_0", 256, 1)
    _write_shard(tmp_path / "validation" / "shard_0", 64, 2)
    model = NLDModel(VLMConfig.preset("tiny")).init_weights(0)
    config = replace(
        WarmstartConfig(), epochs=4, batch=32, lr=3e-3, warmup_steps=4, threads=1,
        objective=objective,
    )  # fmt: skip
    bests: list[int] = []
    rows = WarmstartTrainer(VLMPolicy(model), config).run(
        ImitationData(tmp_path / "train"),
        ImitationData(tmp_path / "validation"),
        on_epoch=lambda row: None,
        on_best=lambda row: bests.append(row.epoch),
    )
    assert rows[-1].val_loss < 0.5 * rows[0].val_loss
    # Both ways of decoding stay alive.
    assert rows[-1].val_ar < 0.6 * rows[0].val_ar
    assert rows[-1].val_diffusion < 0.6 * rows[0].val_diffusion
    assert bests[-1] == min(rows, key=lambda row: row.val_loss).epoch
    policy = VLMPolicy(model, select="greedy")
    observation = _observation(32, np.random.default_rng(3))
    plan = policy.plan(observation, noise_keys=streams.keys(np.arange(32), 4))
    agrees = (plan.accel_mps2[:, 0] < 0) == (observation.speed_mps > 7.0)
    assert agrees.mean() > 0.9


def test_recording_is_the_same_for_any_number_of_processes(tmp_path: Path) -> None:
    from scenarios.suites import load_suite

    scenarios = [replace(s, duration_s=1.2) for s in load_suite("realistic").draw(4)]
    sim = replace(SimConfig(), rig=SMALL_RIG)
    noise = ExpertNoise(0.5, 1.0, 1.0)
    columns = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        results = record_expert(scenarios, sim, noise, folder, processes=processes)
        assert [(r.scenario_id, r.seed) for r in results] == [(s.id, s.seed) for s in scenarios]
        parts = [np.load(p / "plan.npy") for p in sorted(folder.glob("shard_*"))]
        assert {p.name for p in (folder / "shard_0").iterdir()} == {f"{c}.npy" for c in COLUMNS}
        joined = np.concatenate(parts).reshape(-1, 16)
        columns.append(joined[np.lexsort(joined.T)])
    np.testing.assert_array_equal(columns[0], columns[1])
