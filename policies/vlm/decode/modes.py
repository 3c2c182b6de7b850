"""The ways of decoding: generators of ``Proposal`` for the loop that commits tokens.

Shapes: B rows, L tokens to decode, M positions of a proposal, W widest set of bins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.vlm.config import MASK_ID
from policies.vlm.decode.draw import Pick, choose
from policies.vlm.decode.state import Decoded, Places, Tokens, index_of
from policies.vlm.schedule import CommitSchedule
from policies.vlm.text import Adapter, KVCache


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


def fixed_rounds(
    tokens: Tokens,
    cache: KVCache,
    out: Decoded,
    schedules: list[CommitSchedule],
    first: Tensor | None = None,
) -> Iterator[Proposal]:
    """Block diffusion by fixed schedules: one for all rows, or one per row. ``first`` [B, M, H]:
    what the first round's forward has given already."""
    device = str(out.tokens.device)
    for index in range(max(schedule.rounds for schedule in schedules)):
        at = places_in_round(schedules, index)
        if index == 0 and first is not None:
            hidden = first
        else:
            hidden = tokens.network.denoise(out.tokens, cache, keep=index_of(at, device))
        accept = None
        if len(schedules) > 1:
            order = torch.tensor([[s.commit_round[i] for i in at] for s in schedules])
            accept = _always((order == index).to(device))
        yield Proposal(at, tokens.logits(hidden, at), accept=accept)


def places_in_round(schedules: list[CommitSchedule], index: int) -> tuple[int, ...]:
    """Positions that any of ``schedules`` commits in that round."""
    return tuple(sorted({i for schedule in schedules for i in schedule.group(index)}))


def threshold_rounds(
    tokens: Tokens,
    cache: KVCache,
    out: Decoded,
    threshold: float,
    limit: int,
    ask: bool = True,
    first: Tensor | None = None,
) -> Iterator[Proposal]:
    """The published schedule: each round commits the most confident masked position, and all at or
    above ``threshold``; round ``limit`` commits the rest.

    Confidence is the untempered probability of the chosen bin. The order depends on the model and
    has no term in ``log_prob``. Without ``ask``, ``limit`` rounds are run, whatever they find left
    to do, and the host waits for none of them. ``first`` [B, L, H] as in ``fixed_rounds``.
    """
    every = tuple(range(out.tokens.shape[1]))
    for index in range(limit):
        masked = out.tokens == MASK_ID
        if ask and not bool(masked.any()):
            break
        if index == 0 and first is not None:
            hidden = first
        else:
            hidden = tokens.network.denoise(out.tokens, cache)
        logits = tokens.logits(hidden, every)
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
            out.tokens = filled_after(out.tokens, stop_id)
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


def filled_after(ids: Tensor, stop_id: int) -> Tensor:
    """``ids`` [B, L] with everything behind the first ``stop_id`` replaced by it."""
    stopped = (ids == stop_id).long().cumsum(1) > 0
    return torch.where(stopped, stop_id, ids)
