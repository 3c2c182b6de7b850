"""Decoding and the exact likelihood of what was decoded."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from policies.vlm.config import MASK_ID
from policies.vlm.decode import (
    Frozen,
    decode_diffusion,
    decode_plan,
    draw,
    log_probs,
    prefill_plan,
)
from policies.vlm.model import NLDModel
from policies.vlm.replay import ar_log_prob, replay_logits, token_log_prob, trace_log_prob
from policies.vlm.schedule import CommitSchedule, DecodeConfig
from tests.policies.cases import random_prefix, toy_config, toy_model

LENGTH = 6
ROWS = 4
SCHEDULES = {
    "at once": CommitSchedule.executed_first(LENGTH, 1),
    "executed first": CommitSchedule.executed_first(LENGTH, 2),
    "three rounds": CommitSchedule.executed_first(LENGTH, 3),
    "sequential": CommitSchedule.sequential(LENGTH),
}


def uniforms(rows: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=(rows, *shape)))


@pytest.fixture(scope="module")
def model() -> NLDModel:
    return toy_model(toy_config(bins=7))


@torch.no_grad()
def test_schedules_commit_the_driven_step_first_and_every_token_once() -> None:
    assert CommitSchedule.executed_first(8, 3).commit_round == (0, 0, 1, 1, 1, 1, 2, 2)
    assert CommitSchedule.executed_first(4, 1).commit_round == (0, 0, 0, 0)
    assert CommitSchedule.executed_first(4, 9).commit_round == (0, 0, 1, 1)
    assert CommitSchedule.sequential(3).commit_round == (0, 1, 2)
    assert CommitSchedule.executed_first(16, 2).group(0) == [0, 1]
    with pytest.raises(ValueError, match="without gaps"):
        CommitSchedule((0, 2))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=9), st.floats(1e-9, 1 - 1e-9))
def test_a_drawn_bin_is_the_one_whose_cumulative_interval_holds_the_number(
    logits: list[float], number: float
) -> None:
    log_prob = log_probs(torch.tensor([*logits, -1e9]), 1.0)
    index = int(draw(log_prob, torch.tensor(number, dtype=torch.float64)))
    p = log_prob.double().exp().numpy()
    cdf = p.cumsum() / p.sum()
    assert index < len(logits)
    assert (cdf[index - 1] if index else 0.0) <= number + 1e-12
    assert number <= cdf[index] + 1e-12


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_replayed_log_prob_is_the_decoders(model: NLDModel, name: str, temperature: float) -> None:
    schedule, prefix = SCHEDULES[name], random_prefix(model, ROWS)
    _, cache = model.prefill(prefix, reserve=LENGTH)
    out = decode_diffusion(
        model, cache, schedule, temperature=temperature, uniforms=uniforms(ROWS, LENGTH)
    )
    replayed = trace_log_prob(model, prefix, out.tokens, schedule, temperature)
    assert torch.allclose(replayed, out.log_prob, atol=1e-5)
    by_row = trace_log_prob(model, prefix, out.tokens, out.commit_round, temperature)
    assert torch.allclose(by_row, out.log_prob, atol=1e-5)
    ratio = (replayed - out.log_prob).sum(-1).exp()
    assert torch.allclose(ratio, torch.ones(ROWS), atol=1e-4)
    assert out.rounds.tolist() == [schedule.rounds] * ROWS


@torch.no_grad()
def test_scoring_only_the_driven_tokens_gives_the_same_numbers(model: NLDModel) -> None:
    schedule, prefix = SCHEDULES["three rounds"], random_prefix(model, ROWS)
    _, cache = model.prefill(prefix, reserve=LENGTH)
    out = decode_diffusion(model, cache, schedule, uniforms=uniforms(ROWS, LENGTH))
    logits, positions = replay_logits(model, prefix, out.tokens, schedule, rounds=(0,))
    assert positions.tolist() == [0, 1]
    scored = token_log_prob(model, logits, out.tokens, positions)
    assert torch.allclose(scored, out.log_prob[:, :2], atol=1e-5)


def test_tokens_committed_later_leave_no_gradient_in_the_driven_ones(model: NLDModel) -> None:
    """The driven tokens' likelihood is the same whatever was decoded after them."""
    schedule, prefix = SCHEDULES["executed first"], random_prefix(model, 1)
    one = torch.tensor([[312, 363, 310, 361, 311, 360]])
    two = one.clone()
    two[:, 2:] = torch.tensor([313, 360, 314, 364])
    with torch.no_grad():
        a = trace_log_prob(model, prefix, one, schedule)[:, :2]
        b = trace_log_prob(model, prefix, two, schedule)[:, :2]
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    "order", [(0, 0, 0), (0, 0, 1), (0, 1, 2), (2, 0, 1), "ar"], ids=lambda order: str(order)
)
@torch.no_grad()
def test_probabilities_of_all_outcomes_of_a_toy_sum_to_one(order: tuple[int, ...] | str) -> None:
    """5 tokens, 3 positions: 125 plans."""
    model = toy_model(toy_config(bins=5))
    outcomes = torch.tensor(list(itertools.product(range(5), repeat=3)))
    tokens = model.actions.ids_of(outcomes)
    prefix = random_prefix(model, 1).expand(125, -1, -1)
    if order == "ar":
        scored = ar_log_prob(model, prefix, tokens)
    else:
        scored = trace_log_prob(model, prefix, tokens, CommitSchedule(tuple(order)))
    total = scored.double().sum(-1).exp()
    assert float(total.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(total.max()) < 0.9  # not a trivial law


@torch.no_grad()
def test_sampled_frequencies_follow_the_likelihood() -> None:
    model = toy_model(toy_config(bins=3))
    schedule = CommitSchedule((0, 0, 1))
    prefix, rows = random_prefix(model, 1), 20000
    _, cache = model.prefill(prefix.expand(rows, -1, -1), reserve=3)
    out = decode_diffusion(model, cache, schedule, uniforms=uniforms(rows, 3))
    outcomes = torch.tensor(list(itertools.product(range(3), repeat=3)))
    tokens = model.actions.ids_of(outcomes)
    expected = trace_log_prob(model, prefix.expand(27, -1, -1), tokens, schedule).sum(-1).exp()
    code = (out.choice * torch.tensor([9, 3, 1])).sum(-1)
    frequency = torch.bincount(code, minlength=27) / rows
    spread = (expected * (1 - expected) / rows).sqrt()
    assert bool(((frequency - expected).abs() < 5 * spread + 1e-4).all())


@torch.no_grad()
def test_sequential_diffusion_equals_its_definition_without_a_cache(model: NLDModel) -> None:
    prefix, numbers = random_prefix(model, ROWS), uniforms(ROWS, LENGTH)
    _, cache = model.prefill(prefix, reserve=LENGTH)
    out = decode_diffusion(model, cache, SCHEDULES["sequential"], uniforms=numbers)
    block = torch.full((ROWS, LENGTH), MASK_ID)
    for i in range(LENGTH):
        logits = model.packed_views(prefix, block[:, None])[:, 0, i]
        choice = draw(log_probs(logits, 1.0), numbers[:, i])
        block[:, i] = choice + model.actions.first_ids[i % 2]
    assert torch.equal(out.tokens, block)


@torch.no_grad()
def test_ar_decoding_equals_the_teacher_forced_argmax_and_replays(model: NLDModel) -> None:
    prefix = random_prefix(model, ROWS)
    hidden, cache = model.prefill(prefix, reserve=LENGTH)
    out = decode_plan(model, hidden, cache, LENGTH, DecodeConfig("ar", select="greedy"))
    forced = model.causal_logits(prefix, out.tokens).argmax(-1)
    assert torch.equal(out.choice, forced)
    hidden, cache = model.prefill(prefix, reserve=LENGTH)
    numbers = uniforms(ROWS, LENGTH)
    out = decode_plan(model, hidden, cache, LENGTH, DecodeConfig("ar"), uniforms=numbers)
    assert torch.allclose(ar_log_prob(model, prefix, out.tokens), out.log_prob, atol=1e-5)
    assert out.commit_round[0].tolist() == list(range(LENGTH))


@pytest.mark.parametrize("threshold", [0.05, 0.4, 1.0])
@torch.no_grad()
def test_threshold_schedule_keeps_its_promises(model: NLDModel, threshold: float) -> None:
    prefix = random_prefix(model, ROWS)
    hidden, cache = model.prefill(prefix, reserve=LENGTH)
    out = decode_plan(
        model,
        hidden,
        cache,
        LENGTH,
        DecodeConfig("threshold", threshold=threshold),
        uniforms=uniforms(ROWS, LENGTH, LENGTH),
        record=True,
    )
    assert bool((out.tokens != MASK_ID).all())
    for row in range(ROWS):
        order = out.commit_round[row].tolist()
        # Every round commits something, and a row uses as many rounds as its last token says.
        assert sorted(set(order)) == list(range(max(order) + 1))
        assert int(out.rounds[row]) == max(order) + 1
    replayed = trace_log_prob(model, prefix, out.tokens, out.commit_round)
    assert torch.allclose(replayed, out.log_prob, atol=1e-5)
    if threshold == 1.0:
        assert out.rounds.tolist() == [LENGTH] * ROWS
    else:
        confident = replayed.exp() >= threshold
        alone = torch.stack(
            [out.commit_round[r].bincount()[out.commit_round[r]] for r in range(ROWS)]
        )
        # A token below the threshold was the top one of its round: at most one such per round.
        for row in range(ROWS):
            weak = out.commit_round[row][~confident[row] & (alone[row] > 1)].tolist()
            assert len(weak) == len(set(weak))
    # Committed tokens never change.
    for (before, _), (after, _) in itertools.pairwise(out.states):
        kept = before != MASK_ID
        assert torch.equal(before[kept], after[kept])


@torch.no_grad()
def test_expected_selection_drives_the_mean_and_records_the_nearest_bins(model: NLDModel) -> None:
    prefix = random_prefix(model, ROWS)
    _, cache = model.prefill(prefix, reserve=LENGTH)
    out = decode_diffusion(model, cache, SCHEDULES["at once"], select="expected")
    logits = model.packed_views(prefix, model.masked_block(ROWS, LENGTH)[:, None])[:, 0]
    assert torch.allclose(out.values, model.actions.expected(logits), atol=1e-5)
    table = model.actions.values_at(torch.arange(LENGTH))
    distance = (table - out.values[..., None]).abs()
    for i in range(LENGTH):
        distance[:, i, model.actions.bins[i % 2] :] = float("inf")
    assert torch.equal(out.choice, distance.argmin(-1))


@torch.no_grad()
def test_temperature_zero_and_greedy_are_the_mode(model: NLDModel) -> None:
    prefix = random_prefix(model, ROWS)
    _, cache = model.prefill(prefix, reserve=LENGTH)
    cold = decode_diffusion(
        model, cache, SCHEDULES["three rounds"], temperature=0.0, uniforms=uniforms(ROWS, LENGTH)
    )
    greedy = decode_diffusion(model, cache, SCHEDULES["three rounds"], select="greedy")
    assert torch.equal(cold.tokens, greedy.tokens)
    logits, positions = replay_logits(model, prefix, cold.tokens, SCHEDULES["three rounds"])
    assert torch.equal(logits.argmax(-1), cold.choice[:, positions])


@torch.no_grad()
def test_every_decoded_token_is_a_bin_of_its_position() -> None:
    """Unequal numbers of bins: the padded ones are never drawn, even from flat laws."""
    config = toy_config(bins=5)
    config = replace(config, action=replace(config.action, accel_bins=3))
    model = toy_model(config)
    model.diffusion_head.weight.zero_()
    prefix = random_prefix(model, 1).expand(500, -1, -1)
    _, cache = model.prefill(prefix, reserve=4)
    out = decode_diffusion(model, cache, CommitSchedule((0, 0, 1, 1)), uniforms=uniforms(500, 4))
    assert int(out.choice[:, 0::2].max()) == 2
    assert int(out.choice[:, 1::2].max()) == 4
    assert torch.allclose(out.log_prob[0].exp(), torch.tensor([1 / 3, 0.2, 1 / 3, 0.2]))
    model.actions.decode(out.tokens.numpy())


@pytest.mark.parametrize("given", [0, 2])
@pytest.mark.parametrize(
    "config",
    [DecodeConfig(rounds=1), DecodeConfig(rounds=3), DecodeConfig("threshold", threshold=0.3)],
    ids=lambda config: f"{config.mode} {config.rounds}",
)
@torch.no_grad()
def test_a_first_round_that_rides_along_with_the_prompt_changes_nothing(
    model: NLDModel, config: DecodeConfig, given: int
) -> None:
    prefix = random_prefix(model, ROWS)
    shape = (LENGTH, LENGTH) if config.mode == "threshold" else (LENGTH,)
    numbers, frozen = uniforms(ROWS, *shape), None
    if given:
        tokens = model.masked_block(ROWS, LENGTH)
        tokens[:, :given] = torch.tensor([311, 362])
        frozen = Frozen.of(tokens)
    hidden, cache = model.prefill(prefix, config.reserve(LENGTH))
    plain = decode_plan(model, hidden, cache, LENGTH, config, uniforms=numbers, frozen=frozen)
    hidden, cache, first = prefill_plan(model, prefix, LENGTH, config, frozen)
    assert first is not None
    riding = decode_plan(
        model, hidden, cache, LENGTH, config, uniforms=numbers, frozen=frozen, first=first
    )
    assert torch.equal(riding.tokens, plain.tokens)
    assert torch.equal(riding.commit_round, plain.commit_round)
    assert torch.allclose(riding.log_prob, plain.log_prob, atol=1e-5)
    assert torch.equal(riding.forwards, plain.forwards)


@torch.no_grad()
def test_nothing_rides_along_if_tokens_come_one_after_the_other(model: NLDModel) -> None:
    prefix = random_prefix(model, ROWS)
    for mode in ("ar", "self_speculation"):
        assert prefill_plan(model, prefix, LENGTH, DecodeConfig(mode))[2] is None
