"""Self-speculation, ragged prefixes, frozen leading tokens, capped rounds and text."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from policies.vlm.config import MASK_ID
from policies.vlm.decode import (
    Decoded,
    Frozen,
    Pick,
    PlanTokens,
    decode_plan,
    decode_text,
    new_decoded,
    run,
    threshold_rounds,
)
from policies.vlm.model import NLDModel
from policies.vlm.replay import ar_log_prob, trace_log_prob
from policies.vlm.schedule import CAUSAL_MODES, FROZEN, CommitSchedule, DecodeConfig
from tests.policies.cases import random_prefix, random_tokens, toy_config, toy_model

LENGTH = 6
ROWS = 5
MODES = {
    "executed first": DecodeConfig(rounds=2),
    "three rounds": DecodeConfig(rounds=3, temperature=0.8),
    "sequential": DecodeConfig("sequential"),
    "threshold": DecodeConfig("threshold", threshold=0.3),
    "ar": DecodeConfig("ar"),
    "self-speculation": DecodeConfig("self_speculation", block_size=4),
}


def numbers(config: DecodeConfig, rows: int, length: int = LENGTH, seed: int = 0) -> Tensor:
    shape = (rows, length, length) if config.mode == "threshold" else (rows, length)
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape))


def decode(
    model: NLDModel,
    prefix: Tensor,
    config: DecodeConfig,
    *,
    uniforms: Tensor | None = None,
    lengths: Tensor | None = None,
    frozen: Frozen | None = None,
    length: int = LENGTH,
) -> Decoded:
    hidden, cache = model.prefill(prefix, config.reserve(length), lengths)
    if uniforms is None:
        uniforms = numbers(config, len(prefix), length)
    return decode_plan(model, hidden, cache, length, config, uniforms=uniforms, frozen=frozen)


def replayed(
    model: NLDModel,
    prefix: Tensor,
    out: Decoded,
    config: DecodeConfig,
    lengths: Tensor | None = None,
) -> Tensor:
    args = model, prefix, out.tokens
    if config.mode in CAUSAL_MODES:
        return ar_log_prob(*args, config.temperature, lengths, out.commit_round)
    return trace_log_prob(*args, out.commit_round, config.temperature, lengths)


@pytest.fixture(scope="module")
def model() -> NLDModel:
    return toy_model(toy_config(bins=7))


# ---- self-speculation ----------------------------------------------------------------
@pytest.mark.parametrize("block", [1, 2, 3, 4, 6, 9])
@pytest.mark.parametrize("select", ["greedy", "sample"])
@torch.no_grad()
def test_self_speculation_gives_the_tokens_of_ar_for_every_block_size(
    model: NLDModel, block: int, select: str
) -> None:
    """Not only in law: the verifier draws each position with the number that AR would use."""
    prefix = random_prefix(model, 40)
    expected = decode(model, prefix, DecodeConfig("ar", select=select))
    config = DecodeConfig("self_speculation", select=select, block_size=block)
    out = decode(model, prefix, config)
    assert torch.equal(out.tokens, expected.tokens)
    assert torch.equal(out.values, expected.values)
    assert torch.allclose(out.log_prob, expected.log_prob, atol=1e-5)
    # Forwards are counted as they happen: a draft and a verification, or one if nothing is drafted.
    cycles = out.rounds - 1
    assert torch.equal(out.forwards, cycles * (2 if block > 1 else 1))
    assert expected.forwards.tolist() == [LENGTH - 1] * 40
    if block == 1:
        assert cycles.tolist() == [LENGTH - 1] * 40
    else:
        assert int(cycles.min()) < LENGTH - 1  # some drafts were good


@torch.no_grad()
def test_a_perfect_drafter_needs_one_cycle_and_the_cache_keeps_what_was_accepted(
    model: NLDModel,
) -> None:
    """Blind to its input, the network drafts what it verifies."""
    blind = toy_model(toy_config(bins=7))
    for layer in blind.encoder.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    blind.encoder.embed_tokens.weight[:] = blind.encoder.embed_tokens.weight[0]
    config = DecodeConfig("self_speculation", block_size=LENGTH)
    prefix = random_prefix(blind, 3)
    hidden, cache = blind.prefill(prefix, config.reserve(LENGTH))
    uniforms = numbers(config, 3)
    out = decode_plan(blind, hidden, cache, LENGTH, config, uniforms=uniforms)
    assert out.rounds.tolist() == [2, 2, 2] and out.forwards.tolist() == [2, 2, 2]
    assert torch.equal(out.tokens, decode(blind, prefix, DecodeConfig("ar")).tokens)


@torch.no_grad()
def test_sampled_self_speculation_follows_the_ar_law() -> None:
    model = toy_model(toy_config(bins=3))
    rows = 20000
    prefix = random_prefix(model, 1)
    config = DecodeConfig("self_speculation", block_size=3, temperature=1.3)
    out = decode(model, prefix.expand(rows, -1, -1), config, length=3)
    outcomes = torch.tensor(list(itertools.product(range(3), repeat=3)))
    tokens = model.actions.ids_of(outcomes)
    law = ar_log_prob(model, prefix.expand(27, -1, -1), tokens, 1.3).double().sum(-1).exp()
    code = (out.choice * torch.tensor([9, 3, 1])).sum(-1)
    counts = torch.bincount(code, minlength=27).numpy()
    expected = (law / law.sum()).numpy() * rows
    assert float(law.max()) < 0.9
    many = expected > 5
    observed = np.append(counts[many], counts[~many].sum())
    wanted = np.append(expected[many], max(expected[~many].sum(), 1e-9))
    keep = wanted > 1
    result = stats.chisquare(
        observed[keep], wanted[keep] * observed[keep].sum() / wanted[keep].sum()
    )
    assert result.pvalue > 1e-3
    # The same numbers draw draft and verified token, so drafts agree more often than by chance.
    assert float(out.rounds.double().mean()) < 3.0


# ---- batches of unequal prefixes -----------------------------------------------------
@pytest.mark.parametrize("name", MODES)
@torch.no_grad()
def test_rows_with_unequal_prefixes_decode_as_they_would_alone(model: NLDModel, name: str) -> None:
    config = MODES[name]
    lengths = torch.tensor([4, 9, 1, 7, 9])
    prefix = random_prefix(model, ROWS, 9)
    uniforms = numbers(config, ROWS)
    whole = decode(model, prefix, config, uniforms=uniforms, lengths=lengths)
    for row, count in enumerate(lengths.tolist()):
        alone = decode(
            model, prefix[row : row + 1, :count], config, uniforms=uniforms[row : row + 1]
        )
        assert torch.equal(whole.tokens[row], alone.tokens[0])
        assert torch.equal(whole.commit_round[row], alone.commit_round[0])
        assert torch.allclose(whole.log_prob[row], alone.log_prob[0], atol=1e-5)
        assert int(whole.forwards[row]) == int(alone.forwards[0])
    again = replayed(model, prefix, whole, config, lengths)
    assert torch.allclose(again, whole.log_prob, atol=1e-5)


@torch.no_grad()
def test_what_stands_in_the_padding_changes_nothing(model: NLDModel) -> None:
    lengths = torch.tensor([3, 5])
    prefix = random_prefix(model, 2, 5)
    other = prefix.clone()
    other[0, 3:] = 7.0
    config = MODES["executed first"]
    a = decode(model, prefix, config, lengths=lengths)
    b = decode(model, other, config, lengths=lengths)
    assert torch.equal(a.tokens, b.tokens) and torch.equal(a.log_prob, b.log_prob)


@torch.no_grad()
def test_a_prefix_extended_in_two_steps_equals_one_prefill(model: NLDModel) -> None:
    prefix = random_prefix(model, 3, 9)
    hidden, cache = model.prefill(prefix, reserve=2)
    _, short = model.prefill(prefix[:, :4], reserve=7)
    again = model.extend(prefix[:, 4:], short)
    assert short.length == 9
    assert torch.allclose(hidden, again, atol=1e-5)
    assert torch.allclose(cache.keys[..., :9, :], short.keys[..., :9, :], atol=1e-5)


# ---- frozen leading tokens -----------------------------------------------------------
@pytest.mark.parametrize("counts", [(2, 2, 2, 2, 2), (0, 2, 4, 1, 6), (6, 6, 6, 6, 6)], ids=str)
@pytest.mark.parametrize("name", MODES)
@torch.no_grad()
def test_frozen_tokens_stay_condition_the_rest_and_score_nothing(
    model: NLDModel, name: str, counts: tuple[int, ...]
) -> None:
    config = MODES[name]
    prefix = random_prefix(model, ROWS)
    previous = random_tokens(model, ROWS, LENGTH)
    every = torch.arange(LENGTH)
    given = every < torch.tensor(counts)[:, None]
    frozen = Frozen.of(torch.where(given, previous, MASK_ID))
    assert frozen.counts == counts
    out = decode(model, prefix, config, frozen=frozen)
    assert torch.equal(out.tokens[given], previous[given])
    assert bool((out.tokens != MASK_ID).all())
    assert bool((out.commit_round[given] == FROZEN).all())
    assert bool((out.commit_round[~given] >= 0).all())
    assert bool((out.log_prob[given] == 0).all()) and bool((out.log_prob[~given] < 0).all())
    values = model.actions.values_at(every).expand(ROWS, -1, -1)
    expected = values.gather(-1, model.actions.choice_of(out.tokens)[..., None]).squeeze(-1)
    assert torch.equal(out.values, expected)
    if max(counts) < LENGTH:
        again = replayed(model, prefix, out, config)
        assert torch.allclose(again, out.log_prob, atol=1e-5)
    for row in range(ROWS):
        alone = decode(
            model,
            prefix[row : row + 1],
            config,
            uniforms=numbers(config, ROWS)[row : row + 1],
            frozen=Frozen.of(frozen.tokens[row : row + 1]),
        )
        assert torch.equal(alone.tokens[0], out.tokens[row])
        assert torch.equal(alone.commit_round[0], out.commit_round[row])


@torch.no_grad()
def test_after_frozen_tokens_the_step_driven_next_comes_first(model: NLDModel) -> None:
    assert CommitSchedule.executed_first(8, 2, frozen=2).commit_round == (-1, -1, 0, 0, 1, 1, 1, 1)
    assert CommitSchedule.sequential(4, frozen=3).commit_round == (-1, -1, -1, 0)
    previous = random_tokens(model, 1, LENGTH)
    holes = previous.clone()
    holes[0, 1] = MASK_ID
    with pytest.raises(ValueError, match="must lead"):
        Frozen.of(holes)


@torch.no_grad()
def test_likelihoods_given_frozen_tokens_sum_to_one() -> None:
    """5 bins, 1 given of 3 positions: 25 plans."""
    model = toy_model(toy_config(bins=5))
    outcomes = torch.tensor([(2, *rest) for rest in itertools.product(range(5), repeat=2)])
    tokens = model.actions.ids_of(outcomes)
    prefix = random_prefix(model, 1).expand(25, -1, -1)
    schedule = CommitSchedule((FROZEN, 0, 1))
    total = trace_log_prob(model, prefix, tokens, schedule).double().sum(-1).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-5)
    commit = torch.tensor(schedule.commit_round).expand(25, -1)
    total = ar_log_prob(model, prefix, tokens, commit_round=commit).double().sum(-1).exp().sum()
    assert float(total) == pytest.approx(1.0, abs=1e-5)


# ---- rounds, heads, text -------------------------------------------------------------
@torch.no_grad()
def test_a_capped_confidence_schedule_commits_the_rest_in_its_last_round(model: NLDModel) -> None:
    prefix = random_prefix(model, ROWS)
    config = DecodeConfig("threshold", threshold=1.0, max_rounds=3)
    out = decode(model, prefix, config)
    assert out.rounds.tolist() == [3] * ROWS
    assert (out.commit_round == 2).sum(1).tolist() == [LENGTH - 2] * ROWS
    assert torch.allclose(replayed(model, prefix, out, config), out.log_prob, atol=1e-5)


@torch.no_grad()
def test_the_confidence_schedule_without_asking_the_device_gives_the_same(model: NLDModel) -> None:
    prefix, config = random_prefix(model, ROWS), MODES["threshold"]
    asked = decode(model, prefix, config)
    hidden, cache = model.prefill(prefix, LENGTH)
    blind = decode_plan(
        model, hidden, cache, LENGTH, config, uniforms=numbers(config, ROWS), ask=False
    )
    assert torch.equal(asked.tokens, blind.tokens)
    assert torch.equal(asked.rounds, blind.rounds)
    assert torch.equal(asked.forwards, blind.forwards)
    tokens = PlanTokens(model)
    out = new_decoded(tokens, ROWS, LENGTH, prefix.device)
    proposals = threshold_rounds(tokens, cache, out, 0.3, LENGTH)
    run(tokens, out, proposals, Pick(uniforms=numbers(config, ROWS)))
    assert torch.equal(out.tokens, asked.tokens)


@torch.no_grad()
def test_the_candidate_only_head_equals_the_whole_one_on_its_columns(model: NLDModel) -> None:
    hidden = torch.randn(3, LENGTH, model.config.hidden_size)
    whole = model.text_logits(hidden)
    candidates = model.action_logits(hidden)
    rows = torch.arange(3)[:, None].expand(-1, LENGTH)
    some = torch.tensor([[0, 3, 1], [5, 2, 2], [1, 4, 0]])
    by_row = model.action_logits(hidden.gather(1, some[..., None].expand(-1, -1, 32)), some)
    assert torch.allclose(by_row, candidates[rows[:, :3], some], atol=1e-5)
    for i in range(LENGTH):
        first, bins = model.actions.first_ids[i % 2], model.actions.bins[i % 2]
        assert torch.allclose(candidates[:, i, :bins], whole[:, i, first : first + bins], atol=1e-5)
        # Over the candidates alone, both heads choose the same token.
        masked = torch.full_like(whole[:, i], -torch.inf)
        masked[:, first : first + bins] = whole[:, i, first : first + bins]
        assert torch.equal(masked.argmax(-1) - first, candidates[:, i].argmax(-1))


@pytest.mark.parametrize("block", [1, 4])
@torch.no_grad()
def test_text_is_the_ar_argmax_up_to_the_stop(model: NLDModel, block: int) -> None:
    prefix, count = random_prefix(model, 3, 5), 6
    ids = torch.zeros(3, 0, dtype=torch.long)
    for _ in range(count):
        x = torch.cat([prefix, model.embed_tokens(ids)], 1)
        hidden, _ = model.prefill(x)
        ids = torch.cat([ids, model.text_logits(hidden).argmax(-1, keepdim=True)], 1)
    stop = int(ids[1, 3])  # what row 1 says fourth
    hidden, cache = model.prefill(prefix, reserve=count + block)
    text, lengths = decode_text(model, hidden, cache, count, stop, block=block)
    for row in range(3):
        said = ids[row].tolist()
        end = said.index(stop) if stop in said else count
        assert int(lengths[row]) == end
        assert text[row, :end].tolist() == said[:end]
        assert bool((text[row, end:] == stop).all())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"block_size": 0}, "block_size"), ({"max_rounds": -1}, "max_rounds")],
)
def test_wrong_settings_are_refused(changes: dict, message: str) -> None:
    from alpamayo.types import RequestError

    with pytest.raises(RequestError, match=message):
        replace(DecodeConfig(), **changes)
