"""Choosing tokens from logits, by numbers that come from outside."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.vlm.decode.state import Places, Tokens, index_of, places


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
        return uniforms[:, index_of(at, str(uniforms.device))]


def log_probs(logits: Tensor, temperature: float) -> Tensor:
    """Log-softmax of float32 ``logits`` over the bins; temperature 0 is scored as 1 (a mode has no
    density)."""
    if temperature not in (0.0, 1.0):
        logits = logits / temperature
    return torch.log_softmax(logits, dim=-1)


def draw(log_prob: Tensor, uniform: Tensor) -> Tensor:
    """Bins [...] by inverse CDF of ``log_prob`` [..., W] at ``uniform`` [...] in (0, 1)."""
    cdf = log_prob.double().exp().cumsum(-1)
    target = uniform.to(cdf).unsqueeze(-1) * cdf[..., -1:]
    # How many sums are at or below the target = the first bin beyond it: never an impossible one.
    return (cdf <= target).sum(-1).clamp_(max=cdf.shape[-1] - 1)


def choose(
    tokens: Tokens, logits: Tensor, at: Places, pick: Pick, uniform: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(bins, values to drive, log-probabilities), each [B, M], from ``logits`` [B, M, W]."""
    scored = log_probs(logits, pick.temperature)
    if pick.select == "expected":
        actions = tokens.network.actions
        where = places(at, logits.device)
        values = actions.expected(logits, where)
        choice = actions.nearest_choice(values, where)
    else:
        if pick.select == "greedy" or pick.temperature == 0.0:
            choice = logits.argmax(-1)
        else:
            if uniform is None:
                raise ValueError("sampling needs uniform numbers")
            choice = draw(scored, uniform)
        values = tokens.values(choice, at)
    return choice, values, scored.gather(-1, choice.unsqueeze(-1)).squeeze(-1)
