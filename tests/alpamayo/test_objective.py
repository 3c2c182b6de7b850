"""The post-training objective against hand-computed cases."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from alpamayo import streams
from alpamayo.config import LearnerConfig
from alpamayo.learner.critic import Critic
from alpamayo.learner.objective import (
    _taken,
    clipped_loss,
    kl_divergence,
    policy_loss,
    scored_views,
    state_value,
)
from alpamayo.types import ObservationBatch
from policies.vlm import NLDModel, VLMConfig, VLMPolicy
from policies.vlm.schedule import CAUSAL_MODES


def test_views_show_exactly_the_tokens_committed_in_earlier_rounds() -> None:
    tokens = torch.tensor([[5, 6, 7, 8]])
    commit = torch.tensor([[0, 0, 1, 2]])
    views = scored_views(tokens, commit, 100, 3)
    expected = [[100, 100, 100, 100], [5, 6, 100, 100], [5, 6, 7, 100]]
    assert views.tolist() == [expected]


def test_the_joint_takes_each_token_from_the_round_that_committed_it() -> None:
    probs = torch.tensor(
        [[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1], [0.6, 0.4]]]
    )  # 2 rounds x 2 places
    choice, commit = torch.tensor([[0, 1]]), torch.tensor([[0, 1]])
    both, scored = _taken(probs.log(), choice, commit, torch.arange(4))
    torch.testing.assert_close(both.sum(1).exp(), torch.tensor([0.5 * 0.4]))
    assert scored.tolist() == [[True, False, False, True]]
    first, _ = _taken(probs[:, :1].log(), choice, commit, torch.tensor([0]))
    torch.testing.assert_close(first.sum(1).exp(), torch.tensor([0.5]))


def test_clipping_stops_the_gain_but_never_the_loss() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.0])
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    loss, clipped = clipped_loss(ratio.log(), advantage, 0.2)
    torch.testing.assert_close(loss, torch.tensor([-1.2, 1.5, -0.5, 0.8, -2.0]))
    assert clipped.tolist() == [True, True, True, True, False]


def test_kl_is_zero_for_equal_laws_and_matches_the_closed_form() -> None:
    p, q = torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75])
    assert kl_divergence(p.log(), p.log()).item() == 0.0
    expected = 0.5 * torch.log(torch.tensor(2.0)) + 0.5 * torch.log(torch.tensor(2.0 / 3.0))
    torch.testing.assert_close(kl_divergence(p.log(), q.log()), expected)


def _rollout(
    temperature: float, rounds: int = 2, mode: str = "executed_first"
) -> tuple[SimpleNamespace, dict]:
    """A module at the weights that drove, and the batch its decode left behind."""
    model = NLDModel(VLMConfig.preset("tiny")).init_weights(0)
    rng, n = np.random.default_rng(0), 6
    observation = ObservationBatch(
        rng.integers(0, 255, (n, 2, 28, 56, 3), dtype=np.uint8),
        np.zeros((n, 16, 3), np.float32),
        rng.uniform(0, 14, n).astype(np.float32),
        np.zeros(n, np.int8),
        np.full(n, 14.0, np.float32),
    )
    policy = VLMPolicy(model, temperature=temperature, rounds=rounds, mode=mode, block_size=4)
    trace = policy.plan(observation, noise_keys=streams.keys(np.arange(n), 4)).trace
    assert trace is not None
    batch = {
        "prompt_ids": policy.encoder(observation).ids.int(),
        "frames": torch.from_numpy(observation.frames),
        "tokens": torch.from_numpy(trace.tokens),
        "commit_round": torch.from_numpy(trace.commit_round),
        "log_prob": torch.from_numpy(trace.log_prob),
        "advantage": torch.linspace(-1.0, 1.0, n),
        "return_": torch.ones(n),
    }
    causal = mode in CAUSAL_MODES
    module = SimpleNamespace(
        policy=model, reference=None, critic=None, temperature=temperature, causal=causal
    )
    return module, batch


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("scored_rounds", [1, 2])
@pytest.mark.parametrize("mode", ["executed_first", "sequential", "ar", "self_speculation"])
def test_at_unchanged_weights_the_ratio_is_one(
    temperature: float, scored_rounds: int, mode: str
) -> None:
    module, batch = _rollout(temperature, mode=mode)
    settings = replace(LearnerConfig(), scored_rounds=scored_rounds)
    loss, metrics = policy_loss(module, batch, settings)
    assert metrics["ratio"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6) and metrics["clipfrac"] == 0.0
    loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in module.policy.parameters())


def test_the_temperature_of_the_rollout_is_part_of_its_likelihood() -> None:
    module, batch = _rollout(0.6)
    module.temperature = 1.0
    _, metrics = policy_loss(module, batch, LearnerConfig())
    assert abs(metrics["ratio"] - 1.0) > 1e-3


def test_recorded_image_tokens_score_as_the_pictures_do() -> None:
    module, batch = _rollout(1.0)
    with_frames, _ = policy_loss(module, batch, LearnerConfig())
    with torch.no_grad():
        features = module.policy.encode_images(batch["frames"])
    frozen = {name: column for name, column in batch.items() if name != "frames"}
    with_features, _ = policy_loss(module, frozen | {"features": features}, LearnerConfig())
    torch.testing.assert_close(with_features, with_frames)


def test_one_step_along_the_gradient_makes_good_actions_likelier_and_bad_ones_rarer() -> None:
    module, batch = _rollout(1.0)
    settings = replace(LearnerConfig(), clip=0.9)
    optimizer = torch.optim.SGD(module.policy.parameters(), lr=0.05)
    before, _ = policy_loss(module, batch, settings)
    before.backward()
    optimizer.step()
    after, _ = policy_loss(module, batch, settings)
    assert after < before


def test_the_reference_term_is_zero_at_the_start_and_grows_away_from_it() -> None:
    module, batch = _rollout(1.0)
    module.reference = copy.deepcopy(module.policy)
    settings = replace(LearnerConfig(), kl_weight=0.1, kl_fraction=0.5)
    _, metrics = policy_loss(module, batch, settings)
    assert metrics["kl_reference"] == pytest.approx(0.0, abs=1e-6)
    with torch.no_grad():
        module.policy.diffusion_head.weight.mul_(1.5)
    _, moved = policy_loss(module, batch, settings)
    assert moved["kl_reference"] > 1e-3


def test_the_critic_starts_at_zero_and_its_error_does_not_reach_the_policy() -> None:
    module, batch = _rollout(1.0)
    module.critic = Critic(module.policy.config)
    assert not state_value(module, batch).any()
    batch["advantage"] = torch.zeros(6)
    loss, metrics = policy_loss(module, batch, replace(LearnerConfig(), kl_weight=0.0))
    assert metrics["value_loss"] == pytest.approx(1.0)
    loss.backward()
    assert module.critic.out.bias.grad.abs() > 0
    assert all(p.grad is None or not p.grad.any() for p in module.policy.parameters())
