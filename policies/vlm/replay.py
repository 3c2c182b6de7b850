"""The exact likelihood of what was decoded, recomputed in one packed forward."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.vlm.config import MASK_ID
from policies.vlm.decode import log_probs
from policies.vlm.model import NLDModel
from policies.vlm.schedule import FROZEN, CommitSchedule


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
    lengths: Tensor | None = None,
) -> Tensor:
    """Log-probability [B, L] of every token of a diffusion trace, given what was visible when it
    was committed; 0 for tokens that were given. One forward.

    ``commit_round`` is a fixed schedule or int [B, L] (orders that differ between rows, as
    ``threshold`` makes them). ``lengths`` [B]: valid positions of a padded prefix.
    """
    if isinstance(commit_round, CommitSchedule) and lengths is None:
        logits, positions = replay_logits(model, prefix, tokens, commit_round)
        scored = token_log_prob(model, logits, tokens, positions, temperature)
        given = [i for i, r in enumerate(commit_round.commit_round) if r == FROZEN]
        if given:
            positions = torch.cat([positions, positions.new_tensor(given)])
            scored = F.pad(scored, (0, len(given)))
        return scored[:, positions.argsort()]
    if isinstance(commit_round, CommitSchedule):
        commit_round = torch.tensor(commit_round.commit_round, device=tokens.device)
    order = commit_round.long().expand_as(tokens)
    views = replay_views(tokens, order, tuple(range(int(order.max()) + 1)))
    logits = model.packed_views(prefix, views, lengths=lengths)
    wanted = order.clamp(min=0)[:, None, :, None].expand(-1, 1, -1, logits.shape[-1])
    every = torch.arange(tokens.shape[1], device=tokens.device)
    scored = token_log_prob(model, logits.gather(1, wanted).squeeze(1), tokens, every, temperature)
    return scored.masked_fill(order == FROZEN, 0.0)


def ar_log_prob(
    model: NLDModel,
    prefix: Tensor,
    tokens: Tensor,
    temperature: float = 1.0,
    lengths: Tensor | None = None,
    commit_round: Tensor | None = None,
) -> Tensor:
    """Log-probability [B, L] of ``tokens`` under the AR head, teacher-forced in one forward: the
    law of ``CAUSAL_MODES``. With the trace's ``commit_round`` [B, L], 0 where a token was given."""
    every = torch.arange(tokens.shape[1], device=tokens.device)
    logits = model.causal_logits(prefix, tokens, lengths)
    scored = token_log_prob(model, logits, tokens, every, temperature)
    return scored if commit_round is None else scored.masked_fill(commit_round == FROZEN, 0.0)
