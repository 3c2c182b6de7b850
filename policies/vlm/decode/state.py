"""What decoding needs of a network and of the tokens it writes, and what it has written so far.

Shapes: B rows, L tokens to decode, M positions of a proposal, W widest set of bins.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.vlm.action_tokens import ActionTokenizer
from policies.vlm.config import MASK_ID
from policies.vlm.schedule import FROZEN
from policies.vlm.text import Adapter, KVCache

Places = tuple[int, ...] | Tensor  # positions, the same in every row, or int64 [B, M]


# --------------------------------------------------------------------------------------
# Positions
# --------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def index_of(at: tuple[int, ...], device: str) -> Tensor:
    """int64 [M]; made once, so that decoding never waits for the host."""
    with torch.inference_mode(False):
        return torch.tensor(at, dtype=torch.long, device=device)


def places(at: Places, device: torch.device) -> Tensor:
    return at if isinstance(at, Tensor) else index_of(at, str(device))


@lru_cache(maxsize=256)
def _span(at: tuple[int, ...]) -> slice | None:
    """``at`` as a slice, if it is a run without gaps."""
    run = tuple(range(at[0], at[0] + len(at)))
    return slice(at[0], at[0] + len(at)) if at == run else None


def put(old: Tensor, at: Places, new: Tensor, commit: Tensor | None) -> Tensor:
    """``old`` [B, L] with ``new`` [B, M] at positions ``at``, where ``commit`` [B, M] (None:
    everywhere)."""
    if isinstance(at, Tensor):
        length = old.shape[1]
        at = at if commit is None else torch.where(commit, at, length)
        return F.pad(old, (0, 1)).scatter_(1, at, new.to(old.dtype))[:, :length]
    where: slice | Tensor | None = _span(at)
    if where is None:
        where = index_of(at, str(old.device))
    if commit is not None:
        new = torch.where(commit, new, old[:, where])
    old[:, where] = new
    return old


# --------------------------------------------------------------------------------------
# Networks and tokens
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

    def ids(self, choice: Tensor, at: Places) -> Tensor:
        if isinstance(at, Tensor):
            return self.network.actions.ids_of(choice, at)
        return choice + self.network.actions.tables_of(at, choice.device)[0]

    def values(self, choice: Tensor, at: Places) -> Tensor:
        actions = self.network.actions
        if isinstance(at, Tensor):
            table = actions.values_at(at)
        else:
            table = actions.tables_of(at, choice.device)[1]
        return table.expand(*choice.shape, -1).gather(-1, choice.unsqueeze(-1)).squeeze(-1)


@dataclass(frozen=True)
class TextTokens:
    """Ordinary text: every id of the vocabulary, without a physical value."""

    network: Network

    def logits(self, hidden: Tensor, at: Places) -> Tensor:
        return self.network.text_logits(hidden)

    def ids(self, choice: Tensor, at: Places) -> Tensor:
        return choice

    def values(self, choice: Tensor, at: Places) -> Tensor:
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


def new_decoded(
    tokens: Tokens, batch: int, length: int, device: torch.device, frozen: Frozen | None = None
) -> Decoded:
    whole = torch.zeros(2, batch, length + 1, dtype=torch.long, device=device)
    real = torch.zeros(2, batch, length, device=device)
    ids = torch.full((2, batch, length), MASK_ID, dtype=torch.long, device=device)
    ids[1] = FROZEN
    out = Decoded(
        tokens=ids[0],
        choice=whole[0, :, :length],
        values=real[0],
        commit_round=ids[1],
        log_prob=real[1],
        rounds=whole[0, :, length],
        forwards=whole[1, :, length],
    )
    if frozen is not None:
        every = torch.arange(length, device=device)
        out.tokens = frozen.tokens.to(device, copy=True)
        given = out.tokens != MASK_ID
        choice = tokens.network.actions.choice_of(out.tokens, every)
        out.choice = torch.where(given, choice, 0)
        out.values = torch.where(given, tokens.values(out.choice, every), 0.0)
    return out
