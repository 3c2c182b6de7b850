"""The decode loop: draw, commit, ask for the next proposal."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from policies.vlm.config import MASK_ID
from policies.vlm.decode.draw import Pick, choose
from policies.vlm.decode.modes import Proposal
from policies.vlm.decode.state import Decoded, Places, Tokens, put


def run(
    tokens: Tokens, out: Decoded, proposals: Iterator[Proposal], pick: Pick, record: bool = False
) -> Decoded:
    """Commit what ``proposals`` offer, one after the other, into ``out``."""
    for round_index, proposal in enumerate(proposals):
        _commit(tokens, out, proposal, round_index, pick)
        if record:
            _record(out, proposal.logits, proposal.at)
    return out


def _commit(tokens: Tokens, out: Decoded, proposal: Proposal, round_index: int, pick: Pick) -> None:
    at, logits = proposal.at, proposal.logits
    noise = pick.noise(round_index, at)
    choice, values, scored = choose(tokens, logits, at, pick, noise)
    ids = tokens.ids(choice, at)
    commit: Tensor | None = None
    active: Tensor | int = 1  # who commits everything is not done yet
    if proposal.accept is not None:
        commit = proposal.accept(ids, choice)
        active = (out.tokens == MASK_ID).any(-1)
    out.forwards += active * proposal.forwards
    this_round = out.rounds.unsqueeze(1).expand_as(choice)
    out.commit_round = put(out.commit_round, at, this_round, commit)
    out.rounds += active if commit is None else commit.any(-1)
    out.choice = put(out.choice, at, choice, commit)
    out.values = put(out.values, at, values, commit)
    out.log_prob = put(out.log_prob, at, scored, commit)
    out.tokens = put(out.tokens, at, ids, commit)


def _record(out: Decoded, logits: Tensor, at: Places) -> None:
    blank = torch.full_like(out.log_prob, float("nan"))
    commit = None if not isinstance(at, Tensor) else at < blank.shape[1]
    out.states.append((out.tokens.clone(), put(blank, at, logits.softmax(-1).amax(-1), commit)))
