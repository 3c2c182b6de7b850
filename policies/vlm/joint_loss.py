"""The published training objective on one forward of [prefix | noisy block | clean block]: AR and
diffusion terms together, averaged over all tokens of a step.

Source: tech report arXiv 2607.05722. Per row t ~ U(0, 1), p = (1 - e) t + e, each token masked with
probability p; a masked token's cross-entropy weighs 1 / p. Sums are divided once, by the number of
masked tokens of the whole step plus the weighted number of AR tokens: small batches and ranks with
few masks then count for what they hold ("global loss averaging").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.vlm.config import MASK_ID
from policies.vlm.model import NLDModel

LEAST_MASKED = 1e-3
RANK_STRIDE = 100  # seeds of data-parallel ranks: every rank masks differently


def mask_generator(seed: int, rank: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed + RANK_STRIDE * rank)


def published_masks(rows: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(masked bool [rows, length], weight float32 [rows, 1])."""
    p = (1 - LEAST_MASKED) * torch.rand(rows, 1, generator=generator) + LEAST_MASKED
    return torch.rand(rows, length, generator=generator) < p, 1 / p


@dataclass(frozen=True)
class JointSums:
    """Summed cross-entropies of a batch, with gradient, and what they were summed over."""

    ar: Tensor
    diffusion: Tensor
    ar_tokens: int
    masked_tokens: int


def joint_sums(
    model: NLDModel, prefix: Tensor, tokens: Tensor, masked: Tensor, weight: Tensor
) -> JointSums:
    """Both terms for plans ``tokens`` int64 [B, L] behind ``prefix`` [B, N, H], in one forward."""
    noisy = torch.where(masked, MASK_ID, tokens)
    diffusion, causal = model.joint_forward(prefix, noisy, tokens)
    choice = model.actions.choice_of(tokens)
    return JointSums(
        _cross_entropy(causal, choice).sum(),
        (_cross_entropy(diffusion, choice) * weight * masked).sum(),
        tokens.numel(),
        int(masked.sum()),
    )


def step_tokens(parts: Iterable[JointSums], ar_weight: float) -> float:
    """What one optimiser step divides by; add up the ranks' numbers before using it."""
    return sum(part.masked_tokens + ar_weight * part.ar_tokens for part in parts)


def joint_loss(
    sums: JointSums, total: float, *, diffusion_weight: float = 0.3, ar_weight: float = 1.0
) -> Tensor:
    """One batch's share of the step's loss; the shares add up, so gradients may be accumulated."""
    return (ar_weight * sums.ar + diffusion_weight * sums.diffusion) / total


def _cross_entropy(logits: Tensor, choice: Tensor) -> Tensor:
    loss = F.cross_entropy(logits.flatten(0, -2), choice.flatten(), reduction="none")
    return loss.view(choice.shape)
