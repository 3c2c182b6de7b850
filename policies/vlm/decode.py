"""Decoding: one loop for every mode.

A mode is a generator of ``Proposal``: which positions the network has just judged, and how sure it
is. The loop draws tokens, commits them and asks the generator for the next proposal. Every token is
drawn by inverse CDF from what its position allows, with a uniform number that the caller supplies,
so a row's plan depends on its own numbers only. Its log-probability is recorded given exactly what
was visible when it was committed; ``replay`` recomputes the same number in one packed forward.

Shapes: B rows, L tokens to decode, M positions of a proposal, W widest set of bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.vlm.action_tokens import ActionTokenizer
from policies.vlm.config import MASK_ID
from policies.vlm.schedule import FROZEN, CommitSchedule, DecodeConfig
from policies.vlm.text import Adapter, KVCache

Places = tuple[int, ...] | Tensor  # positions, the same in every row, or int64 [B, M]


# --------------------------------------------------------------------------------------
# What decoding needs of a network, and of the tokens it writes
# --------------------------------------------------------------------------------------
class Network(Protocol):
    """``NLDModel``, or an engine that runs the same weights."""

    actions: ActionTokenizer

    def denoise(
        self,
        block_ids: Tensor,
        cache: KVCache,
        keep: Tensor | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor: ...

    def forward_causal(self, ids: Tensor, cache: KVCache) -> Tensor: ...

    def action_logits(
        self, hidden: Tensor, positions: Tensor | tuple[int, ...] | None = None
    ) -> Tensor: ...

    def text_logits(self, hidden: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class PlanTokens:
    """Action tokens: the candidates of a position are the bins of its kind."""

    network: Network

    def logits(self, hidden: Tensor, at: Places) -> Tensor:
        return self.network.action_logits(hidden, at)

    def ids(self, choice: Tensor, at: Tensor) -> Tensor:
        return self.network.actions.ids_of(choice, at)

    def values(self, choice: Tensor, at: Tensor) -> Tensor:
        table = self.network.actions.values_at(at)
        return table.expand(*choice.shape, -1).gather(-1, choice.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class TextTokens:
    """Ordinary text: every id of the vocabulary, without a physical value."""

    network: Network

    def logits(self, hidden: Tensor, at: Places) -> Tensor:
        return self.network.text_logits(hidden)

    def ids(self, choice: Tensor, at: Tensor) -> Tensor:
        return choice

    def values(self, choice: Tensor, at: Tensor) -> Tensor:
        return torch.zeros(choice.shape, device=choice.device)


Tokens = PlanTokens | TextTokens


# --------------------------------------------------------------------------------------
# State
# --------------------------------------------------------------------------------------
@dataclass
class Decoded:
    """One decode. All [B, L] unless said otherwise.

    ``tokens`` int64 ids, ``choice`` int64 bins, ``values`` float32 physical values to drive (with
    ``expected`` not those of the bins), ``commit_round`` int64 (``FROZEN`` where given),
    ``log_prob`` float32 (0 where given), ``rounds`` int64 [B] in which tokens were committed,
    ``forwards`` int64 [B] network forwards after the prefill. ``states``, if asked for: per round
    (ids int64 [B, L] after it, highest probability float32 [B, L] in it; nan where not computed).
    """

    tokens: Tensor
    choice: Tensor
    values: Tensor
    commit_round: Tensor
    log_prob: Tensor
    rounds: Tensor
    forwards: Tensor
    states: list[tuple[Tensor, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Frozen:
    """Leading tokens that are given: the motion during which the planner still computes.

    ``tokens`` int64 [B, L], masks where the decoder decides; ``counts`` [B]: how many are given.
    """

    tokens: Tensor
    counts: tuple[int, ...]

    @staticmethod
    def of(tokens: Tensor) -> Frozen:
        """Raises ``ValueError`` if what is given does not lead."""
        given = tokens != MASK_ID
        if bool((given[:, 1:] & ~given[:, :-1]).any()):
            raise ValueError("frozen tokens must lead their row")
        return Frozen(tokens, tuple(given.sum(1).tolist()))


@dataclass(frozen=True)
class Pick:
    """How tokens are chosen from logits. ``uniforms`` [B, L] in (0, 1), or [B, rounds, L] where a
    token that is drawn again must not reuse the number that kept it back."""

    select: str = "sample"
    temperature: float = 1.0
    uniforms: Tensor | None = None

    def noise(self, round_index: int, at: Places) -> Tensor | None:
        """[B, M] numbers for the positions ``at``."""
        if self.uniforms is None:
            return None
        uniforms = self.uniforms[:, round_index] if self.uniforms.dim() == 3 else self.uniforms
        if isinstance(at, Tensor):
            return uniforms.gather(1, at.clamp(max=uniforms.shape[1] - 1))
        return uniforms[:, _index(at, str(uniforms.device))]


@dataclass
class Proposal:
    """What the network says about positions ``at``: ``logits`` float32 [B, M, W].

    ``accept(ids [B, M], choice [B, M])`` bool [B, M] says which of the drawn tokens stay (None: all
    of them); ``forwards`` is what it cost.
    """

    at: Places
    logits: Tensor
    forwards: int = 1
    accept: Callable[[Tensor, Tensor], Tensor] | None = None


def new_decoded(
    tokens: Tokens, batch: int, length: int, device: torch.device, frozen: Frozen | None = None
) -> Decoded:
    ids = torch.full((batch, length), MASK_ID, dtype=torch.long, device=device)
    blank = torch.zeros(batch, length, device=device)
    none = torch.zeros(batch, dtype=torch.long, device=device)
    out = Decoded(
        ids,
        torch.zeros_like(ids),
        blank.clone(),
        torch.full_like(ids, FROZEN),
        blank.clone(),
        none,
        none.clone(),
    )
    if frozen is not None:
        every = torch.arange(length, device=device)
        out.tokens = frozen.tokens.to(device, copy=True)
        given = out.tokens != MASK_ID
        choice = tokens.network.actions.choice_of(out.tokens, every)
        out.choice = torch.where(given, choice, 0)
        out.values = torch.where(given, tokens.values(out.choice, every), 0.0)
    return out


@lru_cache(maxsize=256)
def _index(at: tuple[int, ...], device: str) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(at, dtype=torch.long, device=device)


def _places(at: Places, device: torch.device) -> Tensor:
    return at if isinstance(at, Tensor) else _index(at, str(device))


# --------------------------------------------------------------------------------------
# Choosing and committing
# --------------------------------------------------------------------------------------
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


def choose(
    tokens: Tokens, logits: Tensor, at: Tensor, pick: Pick, uniform: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(bins, values to drive, log-probabilities), each [B, M], from ``logits`` [B, M, W]."""
    scored = log_probs(logits, pick.temperature)
    if pick.select == "expected":
        actions = tokens.network.actions
        values = actions.expected(logits, at)
        choice = actions.nearest_choice(values, at)
    else:
        if pick.select == "greedy" or pick.temperature == 0.0:
            choice = logits.argmax(-1)
        else:
            if uniform is None:
                raise ValueError("sampling needs uniform numbers")
            choice = draw(scored, uniform)
        values = tokens.values(choice, at)
    return choice, values, scored.gather(-1, choice.unsqueeze(-1)).squeeze(-1)


def _put(old: Tensor, at: Places, new: Tensor, commit: Tensor | None) -> Tensor:
    """``old`` [B, L] with ``new`` [B, M] at positions ``at``, where ``commit`` [B, M] (None:
    everywhere)."""
    if isinstance(at, Tensor):
        length = old.shape[1]
        at = at if commit is None else torch.where(commit, at, length)
        return F.pad(old, (0, 1)).scatter_(1, at, new.to(old.dtype))[:, :length]
    index = _index(at, str(old.device))
    if commit is not None:
        new = torch.where(commit, new, old[:, index])
    old[:, index] = new
    return old


def _commit(tokens: Tokens, out: Decoded, proposal: Proposal, round_index: int, pick: Pick) -> None:
    at, logits = proposal.at, proposal.logits
    places = _places(at, logits.device)
    noise = pick.noise(round_index, at)
    choice, values, scored = choose(tokens, logits, places, pick, noise)
    ids = tokens.ids(choice, places)
    commit = proposal.accept(ids, choice) if proposal.accept is not None else None
    active = (out.tokens == MASK_ID).any(-1)
    out.forwards += active * proposal.forwards
    this_round = out.rounds.unsqueeze(1).expand_as(choice)
    out.commit_round = _put(out.commit_round, at, this_round, commit)
    out.rounds += active if commit is None else commit.any(-1)
    out.choice = _put(out.choice, at, choice, commit)
    out.values = _put(out.values, at, values, commit)
    out.log_prob = _put(out.log_prob, at, scored, commit)
    out.tokens = _put(out.tokens, at, ids, commit)


def _record(out: Decoded, logits: Tensor, at: Places) -> None:
    blank = torch.full_like(out.log_prob, float("nan"))
    commit = None if not isinstance(at, Tensor) else at < blank.shape[1]
    out.states.append((out.tokens.clone(), _put(blank, at, logits.softmax(-1).amax(-1), commit)))


def run(
    tokens: Tokens, out: Decoded, proposals: Iterator[Proposal], pick: Pick, record: bool = False
) -> Decoded:
    """The decode loop."""
    for round_index, proposal in enumerate(proposals):
        _commit(tokens, out, proposal, round_index, pick)
        if record:
            _record(out, proposal.logits, proposal.at)
    return out


# --------------------------------------------------------------------------------------
# Modes
# --------------------------------------------------------------------------------------
def fixed_rounds(
    tokens: Tokens, cache: KVCache, out: Decoded, schedules: list[CommitSchedule]
) -> Iterator[Proposal]:
    """Block diffusion by fixed schedules: one for all rows, or one per row."""
    device = out.tokens.device
    order = torch.tensor([schedule.commit_round for schedule in schedules], device="cpu")
    alike = len(schedules) == 1
    for index in range(max(schedule.rounds for schedule in schedules)):
        at = tuple(sorted({i for schedule in schedules for i in schedule.group(index)}))
        keep = _index(at, str(device))
        logits = tokens.logits(tokens.network.denoise(out.tokens, cache, keep=keep), at)
        commit = None if alike else (order[:, list(at)] == index).to(device)
        yield Proposal(at, logits, accept=None if commit is None else _always(commit))


def threshold_rounds(
    tokens: Tokens,
    cache: KVCache,
    out: Decoded,
    threshold: float,
    limit: int,
    ask: bool = True,
) -> Iterator[Proposal]:
    """The published schedule: each round commits the most confident masked position, and all at or
    above ``threshold``; round ``limit`` commits the rest.

    Confidence is the untempered probability of the chosen bin. The order depends on the model and
    has no term in ``log_prob``. Without ``ask``, ``limit`` rounds are run, whatever they find left
    to do, and the host waits for none of them.
    """
    every = tuple(range(out.tokens.shape[1]))
    for index in range(limit):
        masked = out.tokens == MASK_ID
        if ask and not bool(masked.any()):
            break
        logits = tokens.logits(tokens.network.denoise(out.tokens, cache), every)
        accept = _confident(logits, masked, threshold) if index + 1 < limit else _always(masked)
        yield Proposal(every, logits, accept=accept)


def causal_rounds(
    tokens: Tokens, hidden: Tensor, cache: KVCache, out: Decoded, frozen: tuple[int, ...] = (0,)
) -> Iterator[Proposal]:
    """Token after token from the last prefix state [B, H] and its cache, which grows."""
    length, start, paid = out.tokens.shape[1], min(frozen), 0
    hidden = hidden.unsqueeze(1)
    if start:
        hidden = tokens.network.forward_causal(out.tokens[:, :start], cache)[:, -1:]
        paid = 1
    for index in range(start, length):
        at = (index,)
        ragged = index < max(frozen)
        masked = out.tokens[:, index : index + 1] == MASK_ID if ragged else None
        accept = None if masked is None else _always(masked)
        yield Proposal(at, tokens.logits(hidden, at), forwards=paid, accept=accept)
        if index + 1 < length:
            hidden = tokens.network.forward_causal(out.tokens[:, index : index + 1], cache)
            paid = 1


def speculative_rounds(
    tokens: Tokens,
    hidden: Tensor,
    cache: KVCache,
    out: Decoded,
    pick: Pick,
    block: int,
    adapter: Adapter | None = None,
    frozen: tuple[int, ...] = (0,),
    stop_id: int | None = None,
) -> Iterator[Proposal]:
    """Linear self-speculation: draft a block in both directions, verify it causally, keep what
    agrees and one token more.

    The verifier draws every position with that position's own number, so the tokens are those of
    ``causal_rounds`` whatever the drafts are worth; drafts use the same numbers, which makes them
    agree more often. Invariant: the cache holds the prefix and all committed tokens but the last,
    which seeds the next block. After ``stop_id`` a row repeats it and is done.
    """
    network, length = tokens.network, out.tokens.shape[1]
    bound = cache.length
    base = cache.lengths
    if base is None:
        base = torch.full_like(out.rounds, bound)
    cache.crop(base, bound)
    paid = 0
    if max(frozen) > 1:
        network.forward_causal(out.tokens[:, : max(frozen) - 1], cache)
        paid = 1
    if min(frozen) == 0:
        first = out.tokens[:, :1] == MASK_ID
        logits = tokens.logits(hidden.unsqueeze(1), (0,))
        yield Proposal((0,), logits, forwards=paid, accept=_always(first))
        paid = 0
    while True:
        if stop_id is not None:
            out.tokens = _filled_after(out.tokens, stop_id)
        masked = out.tokens == MASK_ID
        if not bool(masked.any()):
            break
        count = (~masked).long().cumprod(1).sum(1, keepdim=True)  # [B, 1] committed
        window = count - 1 + torch.arange(block, device=count.device)  # [B, block] in the plan
        cache.crop(base + count[:, 0] - 1, bound + length - 1)
        ids = F.pad(out.tokens, (0, block), value=MASK_ID).gather(1, window)
        if block > 1:
            judged = network.denoise(ids, cache, adapter=adapter)
            later = window[:, 1:]
            logits = tokens.logits(judged[:, 1:], later)
            drafts, _, _ = choose(tokens, logits, later, pick, pick.noise(0, later))
            drafted = tokens.ids(drafts, later)
            ids = torch.cat([ids[:, :1], torch.where(later < length, drafted, MASK_ID)], dim=1)
        verified = network.forward_causal(ids, cache)
        logits = tokens.logits(verified, window + 1)
        cost = paid + (2 if block > 1 else 1)
        yield Proposal(window + 1, logits, cost, _matching(ids, window + 1 < length))
        paid = 0


def _always(commit: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda ids, choice: commit


def _confident(
    logits: Tensor, masked: Tensor, threshold: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """The commit rule of the confidence schedule, on the device."""

    def accept(ids: Tensor, choice: Tensor) -> Tensor:
        confidence = logits.softmax(-1).gather(-1, choice.unsqueeze(-1)).squeeze(-1)
        confidence = confidence.masked_fill(~masked, -1.0)
        every = torch.arange(masked.shape[1], device=masked.device)
        first = every == confidence.argmax(-1, keepdim=True)
        return masked & ((confidence >= threshold) | first)

    return accept


def _matching(drafted: Tensor, inside: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Commit verified token j [B, block] if every draft before it was what the verifier drew."""

    def accept(ids: Tensor, choice: Tensor) -> Tensor:
        agreed = (ids[:, :-1] == drafted[:, 1:]).long().cumprod(1).bool()
        return F.pad(agreed, (1, 0), value=True) & inside

    return accept


def _filled_after(ids: Tensor, stop_id: int) -> Tensor:
    """``ids`` [B, L] with everything behind the first ``stop_id`` replaced by it."""
    stopped = (ids == stop_id).long().cumsum(1) > 0
    return torch.where(stopped, stop_id, ids)


# --------------------------------------------------------------------------------------
# Plans
# --------------------------------------------------------------------------------------
def decode_plan(
    network: Network,
    hidden: Tensor,
    cache: KVCache,
    length: int,
    config: DecodeConfig,
    *,
    uniforms: Tensor | None = None,
    frozen: Frozen | None = None,
    adapter: Adapter | None = None,
    record: bool = False,
    ask: bool = True,
) -> Decoded:
    """Decode ``length`` action tokens behind a prefix: its last state ``hidden`` [B, H] and cache.

    ``uniforms`` [B, L] in (0, 1) ([B, L, L] for ``threshold``); ``frozen`` leading tokens keep
    their place. The cache needs room for ``config.reserve(length)`` more.
    """
    tokens = PlanTokens(network)
    pick = Pick(config.select, config.temperature, uniforms)
    out = new_decoded(tokens, len(hidden), length, hidden.device, frozen)
    counts = frozen.counts if frozen is not None else (0,)
    if min(counts) == length:
        return out
    if config.mode == "ar":
        proposals = causal_rounds(tokens, hidden, cache, out, counts)
    elif config.mode == "self_speculation":
        proposals = speculative_rounds(
            tokens, hidden, cache, out, pick, config.block_size, adapter, counts
        )
    elif config.mode == "threshold":
        limit = config.max_rounds or length
        proposals = threshold_rounds(tokens, cache, out, config.threshold, limit, ask)
    else:
        counts = counts[:1] if len(set(counts)) == 1 else counts
        schedules = [CommitSchedule.of(config, length, count) for count in counts]
        proposals = fixed_rounds(tokens, cache, out, [s for s in schedules if s is not None])
    return run(tokens, out, proposals, pick, record)


def decode_diffusion(
    network: Network,
    cache: KVCache,
    schedule: CommitSchedule,
    *,
    select: str = "sample",
    temperature: float = 1.0,
    uniforms: Tensor | None = None,
    record: bool = False,
) -> Decoded:
    """Denoise one block by any fixed ``schedule``; ``uniforms`` [B, L] in (0, 1)."""
    tokens = PlanTokens(network)
    batch, device = cache.keys.shape[1], cache.keys.device
    out = new_decoded(tokens, batch, len(schedule.commit_round), device)
    proposals = fixed_rounds(tokens, cache, out, [schedule])
    return run(tokens, out, proposals, Pick(select, temperature, uniforms), record)


def decode_text(
    network: Network,
    hidden: Tensor,
    cache: KVCache,
    length: int,
    stop_id: int,
    *,
    pick: Pick | None = None,
    block: int = 32,
    adapter: Adapter | None = None,
) -> tuple[Tensor, Tensor]:
    """(ids int64 [B, length], tokens int64 [B] before the first ``stop_id``) of text behind a
    prefix, with the law of the AR head. The cache needs room for ``length + block`` more.
    """
    tokens, pick = TextTokens(network), pick or Pick("greedy")
    out = new_decoded(tokens, len(hidden), length, hidden.device)
    proposals = speculative_rounds(
        tokens, hidden, cache, out, pick, block, adapter, stop_id=stop_id
    )
    ids = _filled_after(run(tokens, out, proposals, pick).tokens, stop_id)
    return ids, (ids != stop_id).long().cumprod(1).sum(1)
