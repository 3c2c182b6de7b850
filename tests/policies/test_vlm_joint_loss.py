"""The published objective: masks, weights, and an average over the whole step."""

from __future__ import annotations

import pytest
import torch

from policies.vlm.joint_loss import (
    joint_loss,
    joint_sums,
    mask_generator,
    published_masks,
    step_tokens,
)
from policies.vlm.replay import ar_log_prob, trace_log_prob
from tests.policies.cases import random_prefix, random_tokens, toy_config, toy_model


def test_masks_follow_the_rows_probability_and_weights_invert_it() -> None:
    masked, weight = published_masks(4000, 50, mask_generator(0))
    p = 1 / weight
    assert float(p.min()) >= 1e-3 and float(p.max()) <= 1.0
    assert float(p.mean()) == pytest.approx(0.5005, abs=0.015)
    spread = (p * (1 - p) / 50).sqrt()
    z = (masked.float().mean(1, keepdim=True) - p) / spread.clamp(min=1e-3)
    assert float(z.mean()) == pytest.approx(0.0, abs=0.06)
    # The weighted count is the number of tokens, in the mean: the estimate has no bias.
    middle = (p > 0.2).squeeze(1)
    counted = (masked * weight)[middle].mean()
    assert float(counted) == pytest.approx(1.0, abs=0.02)
    other, _ = published_masks(4000, 50, mask_generator(0, rank=1))
    assert not torch.equal(masked, other)


@torch.no_grad()
def test_terms_are_the_likelihoods_of_replay() -> None:
    model = toy_model(toy_config(bins=7))
    prefix, tokens = random_prefix(model, 3), random_tokens(model, 3, 6)
    masked = torch.tensor([[1, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1]]).bool()
    weight = torch.tensor([[2.0], [3.0], [1.0]])
    sums = joint_sums(model, prefix, tokens, masked, weight)
    assert (sums.ar_tokens, sums.masked_tokens) == (18, 10)
    ar = -ar_log_prob(model, prefix, tokens).sum()
    assert float(sums.ar) == pytest.approx(float(ar), rel=1e-4)
    commit = torch.where(masked, 0, -1)  # visible tokens count as given
    diffusion = -(trace_log_prob(model, prefix, tokens, commit) * weight).sum()
    assert float(sums.diffusion) == pytest.approx(float(diffusion), rel=1e-4)
    total = step_tokens([sums], 1.0)
    assert total == 28
    loss = joint_loss(sums, total)
    assert float(loss) == pytest.approx(float((ar + 0.3 * diffusion) / 28), rel=1e-4)


def test_gradients_of_unequal_batches_add_up_to_that_of_the_whole_step() -> None:
    model = toy_model(toy_config(bins=7))
    prefix, tokens = random_prefix(model, 5), random_tokens(model, 5, 6)
    masked, weight = published_masks(5, 6, mask_generator(3))

    def gradient(slices: list[slice]) -> list[torch.Tensor]:
        model.zero_grad()
        parts = [joint_sums(model, prefix[s], tokens[s], masked[s], weight[s]) for s in slices]
        total = step_tokens(parts, 1.0)
        for part in parts:
            joint_loss(part, total).backward()
        found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        assert len(found) > 10
        return found

    whole = gradient([slice(0, 5)])
    parts = gradient([slice(0, 1), slice(1, 5)])
    for a, b in zip(whole, parts, strict=True):
        assert torch.allclose(a, b, atol=1e-5)
