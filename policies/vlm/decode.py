"""Decoding a plan: commit schedules, block diffusion, autoregression, and the exact likelihood of a
trace.

Every token is drawn by inverse CDF from the bins its position allows, with a uniform number that
the caller supplies, so a row's plan depends on its own numbers only. Its log-probability is
recorded given exactly what was visible when it was committed; ``trace_log_prob`` recomputes the
same number in one packed forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from alpamayo.types import RequestError
from policies.vlm.action_tokens import KINDS
from policies.vlm.config import MASK_ID
from policies.vlm.model import NLDModel
from policies.vlm.text import KVCache

Select = Literal["sample", "greedy", "expected"]
MODES = ("executed_first", "sequential", "threshold", "ar")
SELECTS = ("sample", "greedy", "expected")


@dataclass(frozen=True)
class DecodeConfig:
    """How plans are decoded.

    ``mode``: ``executed_first`` (the step that will be driven in round 1, the rest in ``rounds -
    1`` more; 1 = all at once), ``sequential`` (a token per round), ``threshold`` (confidence, as
    published) or ``ar``. ``select``: ``sample`` at ``temperature``, ``greedy``, or ``expected``
    (the plan is the mean of the bins; the trace holds the nearest bins).
    """

    mode: str = "executed_first"
    rounds: int = 2
    temperature: float = 1.0
    select: str = "sample"
    threshold: float = 0.9
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for key, allowed in (
            ("mode", MODES),
            ("select", SELECTS),
            ("dtype", ("float32", "bfloat16")),
        ):
            if getattr(self, key) not in allowed:
                raise RequestError(
                    f"decode.{key}: expected {', '.join(allowed)}, got {getattr(self, key)!r}"
                )
        if self.rounds < 1:
            raise RequestError(f"decode.rounds: expected at least 1, got {self.rounds}")
        if not self.temperature >= 0.0:
            raise RequestError(f"decode.temperature: expected 0 or more, got {self.temperature}")
        if not 0.0 < self.threshold <= 1.0:
            raise RequestError(f"decode.threshold: expected 0..1, got {self.threshold}")


@dataclass(frozen=True)
class CommitSchedule:
    """``commit_round`` [L]: the round in which each position is committed; 0, 1, ... without gaps.

    It depends on nothing but the position, so a trace's likelihood has no term for the order.
    """

    commit_round: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(set(self.commit_round)) != list(range(self.rounds)):
            raise ValueError(f"rounds must be 0, 1, ... without gaps: {self.commit_round}")

    @property
    def rounds(self) -> int:
        return max(self.commit_round) + 1

    def group(self, round_index: int) -> list[int]:
        """Positions committed in that round."""
        return [i for i, r in enumerate(self.commit_round) if r == round_index]

    @staticmethod
    def executed_first(length: int, rounds: int, executed: int = KINDS) -> CommitSchedule:
        """Round 0: the ``executed`` first tokens. The others, step by step, spread evenly over the
        rounds after it."""
        if rounds == 1:
            return CommitSchedule((0,) * length)
        steps = -(-(length - executed) // KINDS)
        later = min(rounds - 1, steps)
        order = [1 + (i // KINDS) * later // steps for i in range(length - executed)]
        return CommitSchedule((0,) * executed + tuple(order))

    @staticmethod
    def sequential(length: int) -> CommitSchedule:
        return CommitSchedule(tuple(range(length)))

    @staticmethod
    def of(config: DecodeConfig, length: int) -> CommitSchedule | None:
        """The fixed schedule of ``config``; None for modes whose order depends on the model
        (threshold)."""
        if config.mode == "executed_first":
            return CommitSchedule.executed_first(length, config.rounds)
        if config.mode in ("sequential", "ar"):
            return CommitSchedule.sequential(length)
        return None


@dataclass
class Decoded:
    """One decode. All [B, L] unless said otherwise.

    ``tokens`` int64 ids, ``choice`` int64 bins, ``values`` float32 physical values to drive (with
    ``expected`` not those of the bins), ``commit_round`` int64, ``log_prob`` float32, ``rounds``
    int64 [B]. ``states``, if asked for: per round (ids int64 [B, L] after it, highest probability
    float32 [B, L] in it; nan where not computed).
    """

    tokens: Tensor
    choice: Tensor
    values: Tensor
    commit_round: Tensor
    log_prob: Tensor
    rounds: Tensor
    states: list[tuple[Tensor, Tensor]]


def new_decoded(model: NLDModel, batch: int, length: int) -> Decoded:
    tokens = model.masked_block(batch, length)
    blank = torch.zeros(batch, length, device=tokens.device)
    return Decoded(
        tokens,
        torch.zeros_like(tokens),
        blank.clone(),
        torch.full_like(tokens, -1),
        blank.clone(),
        torch.zeros_like(tokens[:, 0]),
        [],
    )


def log_probs(logits: Tensor, temperature: float) -> Tensor:
    """Log-softmax of float32 ``logits`` over the bins; temperature 0 is scored as 1 (a mode has no
    density)."""
    return torch.log_softmax(logits / (temperature or 1.0), dim=-1)


def draw(log_prob: Tensor, uniform: Tensor) -> Tensor:
    """Bins [...] by inverse CDF of ``log_prob`` [..., W] at ``uniform`` [...] in (0, 1)."""
    cdf = log_prob.double().exp().cumsum(-1)
    target = uniform.to(cdf).unsqueeze(-1) * cdf[..., -1:]
    # How many sums are at or below the target = the first bin beyond it: never an impossible one.
    return (cdf <= target).sum(-1).clamp_(max=cdf.shape[-1] - 1)


def _choose(
    model: NLDModel,
    logits: Tensor,
    positions: Tensor,
    select: str,
    temperature: float,
    uniform: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """(bins, values to drive, log-probabilities), each [B, M], from ``logits`` [B, M, W] at
    ``positions`` [M]."""
    actions = model.actions
    scored = log_probs(logits, temperature)
    table = actions.values_at(positions)
    if select == "expected":
        values = actions.expected(logits, positions)
        choice = actions.nearest_choice(values, positions)
    else:
        if select == "greedy" or temperature == 0.0:
            choice = logits.argmax(-1)
        else:
            if uniform is None:
                raise ValueError("sampling needs uniform numbers")
            choice = draw(scored, uniform)
        values = table.expand(*choice.shape, -1).gather(-1, choice.unsqueeze(-1)).squeeze(-1)
    return choice, values, scored.gather(-1, choice.unsqueeze(-1)).squeeze(-1)


def _commit(
    model: NLDModel,
    out: Decoded,
    round_index: int,
    at: Tensor,
    chosen: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Write the choices for positions ``at`` [M] into ``out``."""
    choice, values, scored = chosen
    out.choice[:, at] = choice
    out.values[:, at] = values
    out.log_prob[:, at] = scored
    out.tokens[:, at] = model.actions.ids_of(choice, at)
    out.commit_round[:, at] = round_index


def _record(out: Decoded, logits: Tensor, at: Tensor) -> None:
    top = torch.full_like(out.log_prob, float("nan"))
    top[:, at] = logits.softmax(-1).amax(-1)
    out.states.append((out.tokens.clone(), top))


# --------------------------------------------------------------------------------------
# Decoders
# --------------------------------------------------------------------------------------
def decode_diffusion(
    model: NLDModel,
    cache: KVCache,
    schedule: CommitSchedule,
    *,
    select: str = "sample",
    temperature: float = 1.0,
    uniforms: Tensor | None = None,
    record: bool = False,
) -> Decoded:
    """Denoise one block by a fixed ``schedule``; ``uniforms`` [B, L] in (0, 1)."""
    batch, length = cache.keys.shape[1], len(schedule.commit_round)
    out = new_decoded(model, batch, length)
    for round_index in range(schedule.rounds):
        at = torch.tensor(schedule.group(round_index), device=out.tokens.device)
        logits = model.action_logits(model.denoise(out.tokens, cache, keep=at), at)
        noise = uniforms[:, at] if uniforms is not None else None
        chosen = _choose(model, logits, at, select, temperature, noise)
        _commit(model, out, round_index, at, chosen)
        if record:
            _record(out, logits, at)
    out.rounds.fill_(schedule.rounds)
    return out


def decode_threshold(
    model: NLDModel,
    cache: KVCache,
    length: int,
    *,
    threshold: float = 0.9,
    select: str = "sample",
    temperature: float = 1.0,
    uniforms: Tensor | None = None,
    record: bool = False,
) -> Decoded:
    """The published schedule: each round commits the most confident masked position, and all at or
    above ``threshold``.

    Confidence is the untempered probability of the chosen bin. ``uniforms`` [B, L, L]: fresh
    numbers every round (a token that is drawn again must not reuse the number that kept it back).
    ``log_prob`` is that of the tokens in the order that happened; the order itself, which depends
    on the model, has no term.
    """
    batch = cache.keys.shape[1]
    out = new_decoded(model, batch, length)
    every = torch.arange(length, device=out.tokens.device)
    for round_index in range(length):
        masked = out.tokens == MASK_ID
        if not bool(masked.any()):
            break
        logits = model.action_logits(model.denoise(out.tokens, cache))
        noise = uniforms[:, round_index] if uniforms is not None else None
        choice, values, scored = _choose(model, logits, every, select, temperature, noise)
        confidence = logits.softmax(-1).gather(-1, choice.unsqueeze(-1)).squeeze(-1)
        confidence = confidence.masked_fill(~masked, -1.0)
        first = torch.nn.functional.one_hot(confidence.argmax(-1), length).bool()
        commit = masked & ((confidence >= threshold) | first)
        out.choice = torch.where(commit, choice, out.choice)
        out.values = torch.where(commit, values, out.values)
        out.log_prob = torch.where(commit, scored, out.log_prob)
        out.tokens = torch.where(commit, model.actions.ids_of(choice), out.tokens)
        out.commit_round[commit] = round_index
        out.rounds += masked.any(-1)
        if record:
            _record(out, logits, every)
    return out


def decode_ar(
    model: NLDModel,
    last_hidden: Tensor,
    cache: KVCache,
    length: int,
    *,
    select: str = "sample",
    temperature: float = 1.0,
    uniforms: Tensor | None = None,
    record: bool = False,
) -> Decoded:
    """Token after token from the last prefix state [B, H] and its cache (which grows); ``uniforms``
    [B, L]."""
    out = new_decoded(model, len(last_hidden), length)
    hidden = last_hidden.unsqueeze(1)
    for index in range(length):
        at = torch.tensor([index], device=out.tokens.device)
        logits = model.action_logits(hidden, at)
        noise = uniforms[:, at] if uniforms is not None else None
        _commit(model, out, index, at, _choose(model, logits, at, select, temperature, noise))
        if record:
            _record(out, logits, at)
        if index + 1 < length:
            hidden = model.forward_causal(out.tokens[:, index : index + 1], cache)
    out.rounds.fill_(length)
    return out


# --------------------------------------------------------------------------------------
# Exact replay
# --------------------------------------------------------------------------------------
@lru_cache(maxsize=64)
def _scored_positions(
    schedule: CommitSchedule, rounds: tuple[int, ...]
) -> tuple[list[int], list[int]]:
    """(indices into the packed rounds * L positions, positions in the plan) of the tokens of
    ``rounds``."""
    length = len(schedule.commit_round)
    flat, places = [], []
    for view, round_index in enumerate(rounds):
        for position in schedule.group(round_index):
            flat.append(view * length + position)
            places.append(position)
    return flat, places


def replay_views(tokens: Tensor, commit_round: Tensor, rounds: tuple[int, ...]) -> Tensor:
    """ids [B, R, L]: what the block looked like before each of ``rounds`` (tokens committed
    earlier, else masks)."""
    wanted = torch.tensor(rounds, device=tokens.device).view(1, -1, 1)
    seen = commit_round.unsqueeze(1) < wanted
    return torch.where(seen, tokens.unsqueeze(1), MASK_ID)


def replay_logits(
    model: NLDModel,
    prefix: Tensor,
    tokens: Tensor,
    schedule: CommitSchedule,
    rounds: tuple[int, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """(float32 logits [B, M, W], positions [M] in the plan) under which the tokens of ``rounds``
    (default all) were drawn.

    One packed forward of ``prefix`` [B, N, H] embeddings and one view per round. With an
    executed-first schedule ``rounds=(0,)`` scores just the tokens that were driven, at the price of
    one block.
    """
    rounds = tuple(range(schedule.rounds)) if rounds is None else rounds
    flat, places = _scored_positions(schedule, rounds)
    fixed = torch.tensor(schedule.commit_round, device=tokens.device).expand_as(tokens)
    views = replay_views(tokens, fixed, rounds)
    wanted = torch.tensor(flat, device=tokens.device)
    logits = model.packed_views(prefix, views, wanted)
    return logits, torch.tensor(places, device=tokens.device)


def token_log_prob(
    model: NLDModel, logits: Tensor, tokens: Tensor, positions: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probability [B, M] of the tokens at ``positions`` [M] of ``tokens`` [B, L] under
    ``logits`` [B, M, W]."""
    choice = model.actions.choice_of(tokens[:, positions], positions)
    return log_probs(logits, temperature).gather(-1, choice.unsqueeze(-1)).squeeze(-1)


def trace_log_prob(
    model: NLDModel,
    prefix: Tensor,
    tokens: Tensor,
    commit_round: Tensor | CommitSchedule,
    temperature: float = 1.0,
) -> Tensor:
    """Log-probability [B, L] of every token of a trace, given what was visible when it was
    committed; one forward.

    ``commit_round`` is a fixed schedule or int [B, L] (orders that differ between rows, as
    ``threshold`` makes them).
    """
    if isinstance(commit_round, CommitSchedule):
        logits, positions = replay_logits(model, prefix, tokens, commit_round)
        scored = token_log_prob(model, logits, tokens, positions, temperature)
        return scored[:, positions.argsort()]
    order = commit_round.long()
    views = replay_views(tokens, order, tuple(range(int(order.max()) + 1)))
    logits = model.packed_views(prefix, views)
    width = logits.shape[-1]
    own = logits.gather(1, order[:, None, :, None].expand(-1, 1, -1, width)).squeeze(1)
    every = torch.arange(tokens.shape[1], device=tokens.device)
    return token_log_prob(model, own, tokens, every, temperature)


def ar_log_prob(
    model: NLDModel, prefix: Tensor, tokens: Tensor, temperature: float = 1.0
) -> Tensor:
    """Log-probability [B, L] of ``tokens`` under the AR head, teacher-forced in one forward."""
    every = torch.arange(tokens.shape[1], device=tokens.device)
    return token_log_prob(model, model.causal_logits(prefix, tokens), tokens, every, temperature)
