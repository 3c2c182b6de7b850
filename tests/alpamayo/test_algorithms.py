"""Ways to learn: step-by-step gradients, clipping and weights by hand, what is learned from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from alpamayo.config import LearnerConfig
from alpamayo.learner import objective
from alpamayo.learner.algorithms import ALGORITHMS, went_well
from alpamayo.learner.parallel import largest, moments, sum_over_learners
from alpamayo.types import END_COLLISION, END_TIMEOUT, PlanSpec
from policies.vlm.config import MASK_ID
from tests.alpamayo.test_columns import episodes
from tests.alpamayo.test_objective import _rollout

Batch = dict[str, torch.Tensor]
PLAIN = replace(LearnerConfig(), kl_weight=0.0, advantage="group")


def gradients(module: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    module.policy.zero_grad(set_to_none=True)
    loss.backward()
    named = module.policy.named_parameters()
    return {n: p.grad.clone() for n, p in named if p.grad is not None}


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    largest_one = max(float(g.abs().max()) for g in one.values())
    assert largest_one > 1e-3
    for name, gradient in one.items():
        # float32 sums in another order: against the size of the whole gradient.
        torch.testing.assert_close(gradient, two[name], rtol=1e-3, atol=1e-5 * largest_one)


def step_by_step(module: Any, batch: Batch) -> torch.Tensor:
    """[B] log-probability of the traces, one round and one token at a time: each round is its own
    forward of what the block looked like then.
    """
    policy, tokens, commit = module.policy, batch["tokens"].long(), batch["commit_round"].long()
    total = torch.zeros(len(tokens))
    for k in range(int(commit.max()) + 1):
        block = torch.where(commit < k, tokens, MASK_ID)
        prefix = objective.prefix_embeddings(policy, batch)
        hidden = policy.packed(prefix, [(block, False)])[:, prefix.shape[1] :]
        logits = policy.action_logits(hidden, torch.arange(tokens.shape[1]))
        law = (logits / module.temperature).log_softmax(-1)
        for place in range(tokens.shape[1]):
            choice = policy.actions.choice_of(tokens)[:, place]
            taken = law[:, place].gather(-1, choice[:, None]).squeeze(-1)
            total = total + torch.where(commit[:, place] == k, taken, 0.0)
    return total


@pytest.mark.parametrize("rounds", [2, 4])
def test_the_packed_gradient_over_all_rounds_is_the_step_by_step_one(rounds: int) -> None:
    module, batch = _rollout(0.8, rounds)
    # Weights that have moved since the rollout: ratios differ from one, some beyond the clip.
    with torch.no_grad():
        module.policy.diffusion_head.weight.mul_(1.05)
    settings = replace(PLAIN, scored_rounds=rounds, clip=0.05)
    packed, metrics = objective.policy_loss(module, batch, settings)
    assert 0.0 < metrics["clipfrac"] < 1.0
    log_ratio = step_by_step(module, batch) - batch["log_prob"].sum(1)
    ratio = log_ratio.exp()
    clipped = ratio.clamp(0.95, 1.05)
    advantage = batch["advantage"]
    plain = -torch.minimum(ratio * advantage, clipped * advantage).mean()
    torch.testing.assert_close(packed, plain)
    assert_equal(gradients(module, packed), gradients(module, plain))


def test_before_anything_is_clipped_tokens_and_plans_have_the_same_gradient() -> None:
    module, batch = _rollout(1.0)
    settings = replace(PLAIN, scored_rounds=2)
    by_plan, _ = objective.policy_loss(module, batch, settings)
    by_token, metrics = objective.policy_loss(module, batch, replace(settings, clip_per="token"))
    assert metrics["clipfrac"] == 0.0
    assert_equal(gradients(module, by_plan), gradients(module, by_token))


def test_each_token_is_clipped_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratios 2 and 1/2 of two tokens, clip 0.2: their plan's ratio is 1, nothing is clipped, and
    the loss is -A. By token the gains are min(2, 1.2) + min(1/2, 0.8) for A = 1 (one clipped), and
    max(2, 1.2) + max(1/2, 0.8) for A = -1.
    """
    taken = torch.tensor([[2.0, 0.5], [2.0, 0.5]]).log()
    _stand_in(monkeypatch, taken)
    batch = _batch(torch.zeros(2, 2), torch.tensor([1.0, -1.0]))
    loss, metrics = objective.policy_loss(_module(), batch, PLAIN)
    assert loss.item() == pytest.approx(0.0) and metrics["clipfrac"] == 0.0
    loss, metrics = objective.policy_loss(_module(), batch, replace(PLAIN, clip_per="token"))
    assert loss.item() == pytest.approx((-(1.2 + 0.5) + (2.0 + 0.8)) / 2)
    assert metrics["clipfrac"] == 1.0  # both lie outside, whichever way they count


def test_distance_from_the_rollout_is_a_truncated_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The update started at probability 0.6, the rollout at 0.2 and 0.9; now it is 0.66. Ratio 1.1
    either way, weights min(3, 2) and 2/3.
    """
    now, old = torch.tensor([[0.66], [0.66]]).log(), torch.tensor([[0.6], [0.6]]).log()
    _stand_in(monkeypatch, now)
    batch = _batch(torch.tensor([[0.2], [0.9]]).log(), torch.ones(2)) | {"old_log_prob": old}
    settings = replace(PLAIN, importance_cap=2.0)
    for per in ("plan", "token"):
        loss, metrics = objective.policy_loss(_module(), batch, replace(settings, clip_per=per))
        assert loss.item() == pytest.approx(-(1.1 * 2.0 + 1.1 * 2 / 3) / 2)
        assert metrics["importance_weight"] == pytest.approx((2.0 + 2 / 3) / 2)


def _stand_in(monkeypatch: pytest.MonkeyPatch, taken: torch.Tensor) -> None:
    """A policy that gives the tokens these log-probabilities."""
    scored = torch.ones(taken.shape, dtype=torch.bool)
    laws = torch.zeros(*taken.shape, 1)
    places = torch.arange(taken.shape[1])
    made = objective.Scored(laws, taken, scored, places, torch.zeros(0), torch.zeros(0))
    monkeypatch.setattr(objective, "score", lambda *_: made)


def _batch(log_prob: torch.Tensor, advantage: torch.Tensor) -> Batch:
    return {"tokens": torch.zeros(log_prob.shape), "log_prob": log_prob, "advantage": advantage}


def _module() -> Any:
    return SimpleNamespace(reference=None, critic=None)


def test_known_log_probabilities_are_those_of_the_rollout_at_its_weights() -> None:
    module, batch = _rollout(0.7)
    settings = replace(PLAIN, scored_rounds=2)
    known = objective.trace_log_prob(module, batch, settings)
    torch.testing.assert_close(known, batch["log_prob"], rtol=1e-4, atol=1e-5)
    first = objective.trace_log_prob(module, batch, PLAIN)
    executed = batch["commit_round"] == 0
    torch.testing.assert_close(first, torch.where(executed, known, 0.0))


def test_imitation_is_the_likelihood_of_the_target_and_makes_it_likelier() -> None:
    module, batch = _rollout(1.0)
    settings = replace(PLAIN, scored_rounds=2)
    target = batch["tokens"][torch.tensor([1, 2, 3, 4, 5, 0])]
    loss, metrics = objective.imitation_loss(module, batch | {"target": target}, settings)
    with torch.no_grad():
        likelihood = step_by_step(module, batch | {"tokens": target})
    assert loss.item() == pytest.approx(-float(likelihood.mean()) / target.shape[1], rel=1e-4)
    assert 0.0 <= metrics["accuracy"] <= 1.0
    optimizer = torch.optim.SGD(module.policy.parameters(), lr=0.002)
    loss.backward()
    optimizer.step()
    after, _ = objective.imitation_loss(module, batch | {"target": target}, settings)
    assert after < loss


# What is learned from ---------------------------------------------------------------------------
def test_rollouts_that_went_well_succeeded_and_were_no_worse_than_their_group() -> None:
    """Rewards 1 + 2 + ... + length: groups (6, 1), (3, 3), (6, 6) with failures 0, 0, 1 and 2."""
    ends = [END_TIMEOUT, END_TIMEOUT, END_TIMEOUT, END_COLLISION, END_COLLISION, END_COLLISION]
    rollout = episodes([3, 1, 2, 2, 3, 3], ends)
    assert went_well(rollout).tolist() == [True, False, True, False, False, False]
    prepared = ALGORITHMS["rft"].prepare(rollout, None, PLAIN, sum_over_learners)
    kept = prepared.worth > 0
    assert sorted(set(rollout.world[kept].tolist())) == [0, 2] and kept.sum() == 3 + 2
    np.testing.assert_array_equal(prepared.columns["target"], rollout.flat["tokens"])
    assert prepared.metrics["episodes_kept"] == pytest.approx(2 / 6)
    assert len(largest(prepared.worth, 1.0)) == 5


def test_dagger_learns_the_experts_plans_wherever_the_policy_came_to() -> None:
    rollout = episodes([2, 3], [END_COLLISION, END_TIMEOUT])
    expert = rollout.flat["tokens"] + 1
    rollout = replace(rollout, flat=rollout.flat | {"expert_tokens": expert})
    prepared = ALGORITHMS["dagger"].prepare(rollout, None, PLAIN, sum_over_learners)
    np.testing.assert_array_equal(prepared.columns["target"], expert)
    assert (prepared.worth > 0).all() and "tokens" not in prepared.columns


def test_the_largest_are_kept_and_those_without_worth_never() -> None:
    worth = np.array([0.0, 3.0, 1.0, 2.0, 0.0, 2.0])
    assert largest(worth, 0.5).tolist() == [1, 3, 5]
    assert largest(worth, 0.1).tolist() == [1]
    assert largest(worth, 1.0).tolist() == [1, 3, 5, 2]
    assert moments(np.array([1.0, 2.0, 6.0]), sum_over_learners) == pytest.approx(
        (3.0, np.sqrt(14 / 3))
    )


def test_labels_are_the_experts_plans_in_the_policys_own_tokens() -> None:
    from alpamayo.rollout.labels import ExpertLabels
    from policies.expert import ExpertPolicy
    from policies.vlm import NLDModel, VLMConfig
    from scenarios.load import load_document
    from scenarios.sample import sample
    from sim.config import SimConfig
    from sim.world import WorldBatch

    sim = SimConfig(rig=None)
    worlds = WorldBatch([sample(load_document("hard_lead_brake"), s) for s in (1, 2, 3)], sim)
    actions = NLDModel(VLMConfig.preset("tiny")).actions
    rows = np.array([0, 2])
    observation = worlds.observe(rows)
    before = worlds.state_hash()
    labels = ExpertLabels(sim, SimpleNamespace(encode=actions.encode))  # type: ignore[arg-type]
    columns = labels(worlds, rows, observation)
    expert = ExpertPolicy(PlanSpec(sim.plan_steps, sim.plan_step_s)).plan(
        observation, noise_keys=np.zeros(2, np.uint64), privileged=worlds.privileged(rows)
    )
    assert columns["expert_tokens"].dtype == np.int32
    np.testing.assert_array_equal(columns["expert_tokens"], actions.encode(expert.as_actions()))
    assert worlds.state_hash() == before
