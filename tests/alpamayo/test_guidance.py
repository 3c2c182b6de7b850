"""What the expert's plans add to a policy gradient, against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from alpamayo.config import LearnerConfig, RunConfig, load_config
from alpamayo.imitation import masks_of, two_view_loss
from alpamayo.learner import guidance, objective
from alpamayo.learner.objective import Scored
from alpamayo.types import RequestError
from tests.alpamayo.test_objective import _rollout

PLAIN = replace(LearnerConfig(), kl_weight=0.0)


def test_masks_are_a_function_of_their_draws() -> None:
    """t = 0.5; of the places drawn below p (just above a half) the second view hides three, each
    counting 1 / p; a late row hides all but the executed step."""
    uniform = torch.tensor([[0.5, 0.9, 0.1, 0.6, 0.4, 0.3], [0.5, 0.1, 0.1, 0.6, 0.4, 0.3]])
    masked, weight = masks_of(uniform)
    assert masked[:, 0].all() and (weight[:, 0] == 1.0).all()
    assert masked[:, 1].tolist() == [[True, False, True, True], [False, False, True, True]]
    torch.testing.assert_close(weight[:, 1, 0], torch.tensor([1.0 / (0.999 * 0.5 + 0.001), 2.0]))


def test_the_experts_step_is_scored_in_round_one_only() -> None:
    """Two rounds over three places, the third committed in round 2: its conditional is left out."""
    probs = torch.tensor([[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]] * 2])
    nothing = torch.zeros(0)
    now = Scored(probs.log(), nothing, nothing, torch.arange(6), nothing, nothing)
    choice, commit = torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 1]])
    loss, agree = objective.expert_loss(now, choice, commit)
    assert loss.item() == pytest.approx(-(math.log(0.5) + math.log(0.75)) / 2)
    assert agree.item() == 1.0  # 0.5 is as likely as the other, 0.75 likelier
    assert objective.expert_loss(now, 1 - choice, commit)[1].item() == 0.5


@pytest.mark.parametrize("scored_rounds", [1, 2])
def test_an_expert_who_does_what_was_done_costs_its_recorded_likelihood(scored_rounds: int) -> None:
    module, batch = _rollout(0.8)
    batch["expert_tokens"] = batch["tokens"]
    settings = replace(PLAIN, scored_rounds=scored_rounds)
    plain, _ = objective.policy_loss(module, batch, settings)
    guided = replace(settings, expert_weight=0.3)
    loss, metrics = objective.policy_loss(module, batch, guided)
    first = batch["commit_round"] == 0
    expected = -float(batch["log_prob"][first].mean())
    assert metrics["expert_loss"] == pytest.approx(expected, rel=1e-4)
    assert float(loss - plain) == pytest.approx(0.3 * expected, rel=1e-3)


def test_a_step_makes_the_experts_driving_likelier() -> None:
    module, batch = _rollout(1.0)
    batch |= {"expert_tokens": batch["tokens"].roll(1, 0), "advantage": torch.zeros(6)}
    settings = replace(PLAIN, expert_weight=1.0)
    optimizer = torch.optim.SGD(module.policy.parameters(), lr=0.01)
    loss, before = objective.policy_loss(module, batch, settings)
    loss.backward()
    optimizer.step()
    _, after = objective.policy_loss(module, batch, settings)
    assert after["expert_loss"] < before["expert_loss"]


def test_the_joint_term_is_the_warm_starts_loss_of_every_other_row() -> None:
    module, batch = _rollout(1.0)
    expert = batch["tokens"].roll(2, 0)
    noise = guidance.mask_noise(expert.numpy(), np.array([7, 7, 8]))
    batch |= {"expert_tokens": expert, "mask_noise": torch.from_numpy(noise)}
    plain, _ = objective.policy_loss(module, batch, PLAIN)
    settings = replace(PLAIN, joint_weight=0.2, joint_fraction=0.5)
    loss, metrics = objective.policy_loss(module, batch, settings)
    rows = {name: column[::2] for name, column in batch.items()}
    model = module.policy
    prefix = model.embed_prompt(rows["prompt_ids"].long(), frames=rows["frames"])
    masks = masks_of(rows["mask_noise"])
    expected = two_view_loss(model, prefix, rows["expert_tokens"].long(), masks, 0.3)
    assert float(loss - plain) == pytest.approx(0.2 * float(expected.total), rel=1e-3)
    assert metrics["joint_ar"] == pytest.approx(expected.ar, rel=1e-4)
    assert metrics["joint_diffusion"] == pytest.approx(expected.diffusion, rel=1e-4)


def test_noise_is_the_rollouts_own() -> None:
    tokens, group = np.zeros((50, 16)), np.array([3, 3, 4])
    noise = guidance.mask_noise(tokens, group)
    np.testing.assert_array_equal(noise, guidance.mask_noise(tokens, group))
    assert noise.shape == (50, 18) and 0.0 <= noise.min() < noise.max() < 1.0
    assert not np.array_equal(noise, guidance.mask_noise(tokens, group + 1))


def test_where_the_expert_is_heard_is_half_anywhere_and_half_before_failures() -> None:
    worth = np.linspace(0.0, 1.0, 1000)
    failed = np.arange(1000) < 300
    out = guidance.with_shown(worth, failed, 0.2, np.array([5]))
    shown = out > 1.0
    assert shown.sum() == 200
    np.testing.assert_allclose(out[~shown], worth[~shown], rtol=1e-6)
    # 100 from failures, and of the 100 from anywhere some 30 more.
    assert 110 <= shown[:300].sum() <= 150
    np.testing.assert_array_equal(out, guidance.with_shown(worth, failed, 0.2, np.array([5])))
    nobody = guidance.with_shown(worth, np.zeros(1000, bool), 0.2, np.array([5]))
    assert (nobody > 1.0).sum() == 100


def test_only_the_blocks_first_round_can_hear_the_expert() -> None:
    config: RunConfig = load_config("train", None, ["learner.expert_weight=0.5"])
    assert config.learner.needs_expert
    assert not load_config("train").learner.needs_expert
    words = ["learner.expert_weight=0.5", "policy.decode.mode=ar"]
    with pytest.raises(RequestError, match="expert_weight"):
        load_config("train", None, words)
    assert load_config(
        "train", None, ["learner.joint_weight=0.5", "policy.decode.mode=ar"]
    ).learner.needs_expert


def test_the_expert_is_heard_less_and_less() -> None:
    from alpamayo.learner.learner import scheduled

    settings = replace(PLAIN, iterations=100, expert_weight=0.4, expert_until=0.5)
    weights = [scheduled(settings, updates).expert_weight for updates in (0, 25, 50, 99)]
    assert weights == pytest.approx([0.4, 0.2, 0.0, 0.0])
    assert scheduled(replace(settings, expert_until=0.0), 99).expert_weight == 0.4
