"""Warm start: fine-tune a policy on recorded expert driving with NLD's joint objective, L = L_AR +
w L_diff (w = 0.3).

One forward of [prefix | noisy block | clean block] gives both terms (tech report arXiv 2607.05722,
sec. "joint objective"). Deviation: a single action block is decoded in few rounds from all masks,
so each plan is noised twice over one shared prefix: all masked (round 1), and either the executed
step visible (round 2) or t ~ U(0, 1) with the 1/p weight. ``objective = published`` is the report's
own: one view, see ``policies.vlm.joint_loss``.

Run: ``alpamayo warmstart --config configs/train/warmstart.yaml``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from alpamayo.imitation_data import ImitationData
from alpamayo.types import CheckFailed, FloatArray, ObservationBatch
from policies.vlm import joint_loss as published
from policies.vlm.config import MASK_ID

if TYPE_CHECKING:
    from alpamayo.config import WarmstartConfig
    from policies.vlm.policy import VLMPolicy

VIEWS = 2
EXECUTED_VISIBLE_SHARE = 0.3
MIN_MASK_PROBABILITY = 1e-3
EXECUTED_TOKENS = 2


@dataclass(frozen=True)
class EpochRow:
    """One line of the warm start's curve; losses in nats per token."""

    epoch: int
    train_loss: float
    val_loss: float
    val_ar: float
    val_diffusion: float
    val_executed: float
    lr: float
    seconds: float


def noise_masks(
    rows: int, length: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """(masked bool, weight float32) [rows, VIEWS, length] of the diffusion term.

    View 0 is all masks. The weighted sum over masked positions divided by ``length`` estimates the
    mean loss per token of a view.
    """
    draws = [torch.rand(rows, width, generator=generator) for width in (1, 1, length)]
    return masks_of(torch.cat(draws, dim=1))


def masks_of(uniform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``noise_masks`` as a function of its draws [rows, 2 + length] from [0, 1)."""
    t, late, each = uniform[:, :1], uniform[:, 1:2] < EXECUTED_VISIBLE_SHARE, uniform[:, 2:]
    rows, length = each.shape
    p = (1.0 - MIN_MASK_PROBABILITY) * t + MIN_MASK_PROBABILITY
    hidden_late = torch.arange(length, device=each.device) >= EXECUTED_TOKENS
    masked = torch.where(late, hidden_late, each < p)
    weight = torch.where(late, length / (length - EXECUTED_TOKENS), 1.0 / p).expand(rows, length)
    ones = torch.ones_like(each)
    return torch.stack([ones.bool(), masked], dim=1), torch.stack([ones, weight], dim=1)


def learning_rate(step: int, total: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then cosine to a tenth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min((step - warmup) / max(total - warmup, 1), 1.0)
    return peak * (0.1 + 0.45 * (1.0 + math.cos(math.pi * share)))


def batches(count: int, batch: int, rng: np.random.Generator | None) -> Iterator[np.ndarray]:
    """Index batches over ``count`` samples, shuffled if ``rng``; the last may be short."""
    order = np.arange(count) if rng is None else rng.permutation(count)
    for start in range(0, count, batch):
        yield np.sort(order[start : start + batch])


@dataclass(frozen=True)
class JointLoss:
    """Terms of one batch, nats per token, with gradient in ``total`` only."""

    total: torch.Tensor
    ar: float
    diffusion: float
    executed: float


def joint_loss(
    policy: VLMPolicy,
    observation: ObservationBatch,
    plans: FloatArray,
    generator: torch.Generator,
    diffusion_weight: float,
) -> JointLoss:
    """L_AR + w L_diff of the action block for expert ``plans`` [n, K, 2].

    ``executed`` is the mean loss of the executed step's tokens where the whole block was masked:
    what round 1 of the deployed decoder will meet.
    """
    model = policy.model
    prompt = policy.encoder(observation)
    tokens = torch.from_numpy(model.actions.encode(plans))
    masks = noise_masks(len(tokens), tokens.shape[1], generator)
    prefix = model.embed_prompt(prompt.ids, frames=prompt.frames)
    return two_view_loss(model, prefix, tokens, masks, diffusion_weight)


def two_view_loss(
    model: Any,
    prefix: torch.Tensor,
    tokens: torch.Tensor,
    masks: tuple[torch.Tensor, torch.Tensor],
    diffusion_weight: float,
) -> JointLoss:
    """``joint_loss`` of ``tokens`` [n, L] after ``prefix`` [n, N, H], ``masks`` of
    ``noise_masks``.
    """
    masked, weight = masks
    choice = model.actions.choice_of(tokens)
    noisy = torch.where(masked, MASK_ID, tokens[:, None])
    diffusion_logits, ar_logits = model.joint_forward(prefix, noisy, tokens)
    ar = _cross_entropy(ar_logits, choice).mean()
    token_loss = _cross_entropy(diffusion_logits, choice[:, None].expand(-1, VIEWS, -1))
    diffusion = (token_loss * weight * masked).mean()
    executed = token_loss[:, 0, :EXECUTED_TOKENS].detach().mean()
    return JointLoss(
        ar + diffusion_weight * diffusion,
        float(ar.detach()),
        float(diffusion.detach()),
        float(executed),
    )


def published_loss(
    policy: VLMPolicy,
    observation: ObservationBatch,
    plans: FloatArray,
    generator: torch.Generator,
    diffusion_weight: float,
) -> torch.Tensor:
    """The published joint objective for expert ``plans`` [n, K, 2], with gradient."""
    model = policy.model
    prompt = policy.encoder(observation)
    tokens = torch.from_numpy(model.actions.encode(plans))
    rows, length = tokens.shape
    masked, weight = published.published_masks(rows, length, generator)
    prefix = model.embed_prompt(prompt.ids, frames=prompt.frames)
    sums = published.joint_sums(model, prefix, tokens, masked, weight)
    total = published.step_tokens([sums], 1.0)
    return published.joint_loss(sums, total, diffusion_weight=diffusion_weight)


def _cross_entropy(logits: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
    loss = F.cross_entropy(logits.flatten(0, -2), choice.flatten(), reduction="none")
    return loss.view(choice.shape)


class WarmstartTrainer:
    """Epochs of joint fine-tuning with early stopping on the validation loss; keeps the best
    weights.
    """

    def __init__(self, policy: VLMPolicy, config: WarmstartConfig) -> None:
        self.policy, self.config = policy, config
        decayed = [p for p in policy.model.parameters() if p.dim() > 1]
        plain = [p for p in policy.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": config.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=config.lr,
            betas=(0.9, 0.95),
        )
        self.step = 0

    def run(
        self,
        train: ImitationData,
        validation: ImitationData,
        on_epoch: Callable[[EpochRow], None],
        on_best: Callable[[EpochRow], None],
    ) -> list[EpochRow]:
        """Train until the validation loss has not fallen for ``patience`` epochs, or ``epochs`` are
        done.

        ``on_best`` is called whenever the validation loss is the lowest so far, with the weights
        that made it.
        """
        config = self.config
        torch.set_num_threads(config.threads)
        rng = np.random.default_rng(config.seed)
        generator = torch.Generator().manual_seed(config.seed)
        total = config.epochs * math.ceil(len(train) / config.batch)
        rows: list[EpochRow] = []
        best, waited = math.inf, 0
        for epoch in range(1, config.epochs + 1):
            started = time.perf_counter()
            loss = self._epoch(train, rng, generator, total)
            ar, diffusion, executed = self.validate(validation)
            row = EpochRow(
                epoch,
                loss,
                ar + config.diffusion_weight * diffusion,
                ar,
                diffusion,
                executed,
                self.optimizer.param_groups[0]["lr"],
                time.perf_counter() - started,
            )
            rows.append(row)
            on_epoch(row)
            if row.val_loss < best:
                best, waited = row.val_loss, 0
                on_best(row)
            else:
                waited += 1
                if waited >= config.patience:
                    break
        return rows

    def _epoch(
        self, data: ImitationData, rng: np.random.Generator, generator: torch.Generator, total: int
    ) -> float:
        config, losses = self.config, []
        self.policy.model.train()
        for index in batches(len(data), config.batch, rng):
            lr = learning_rate(self.step, total, config.lr, config.warmup_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            batch = (self.policy, *data.take(index), generator, config.diffusion_weight)
            if config.objective == "published":
                loss = published_loss(*batch)
            else:
                loss = joint_loss(*batch).total
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(
                self.policy.model.parameters(), config.max_grad_norm
            )
            if not torch.isfinite(norm):
                raise CheckFailed(f"warm start: the gradient is not finite at step {self.step}")
            self.optimizer.step()
            self.step += 1
            losses.append(float(loss.detach()))
        return float(np.mean(losses))

    @torch.no_grad()
    def validate(self, data: ImitationData) -> tuple[float, float, float]:
        """(AR, diffusion, executed) mean losses with the same masks at every call."""
        generator = torch.Generator().manual_seed(12345)
        self.policy.model.eval()
        sums, count = np.zeros(3), 0
        for index in batches(len(data), 512, None):
            loss = joint_loss(
                self.policy, *data.take(index), generator, self.config.diffusion_weight
            )
            sums += len(index) * np.array([loss.ar, loss.diffusion, loss.executed])
            count += len(index)
        ar, diffusion, executed = sums / count
        return float(ar), float(diffusion), float(executed)
