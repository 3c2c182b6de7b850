"""Low-rank adapters (Hu et al. 2021): beside a frozen matrix W, ``up @ down`` times alpha / rank
is learned.

In the learner the product stays beside the matrix, so that nothing of W's size is kept for the
backward pass. Workers and checkpoints hold W + up @ down, see
``alpamayo.learner.weights.load_tensors``: they decode as fast as without, and anyone can load them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alpamayo.config import LearnerConfig
from alpamayo.learner.weights import DOWN, UP, merged
from alpamayo.types import RequestError
from policies.vlm.layers import Attention, GatedMLP

POLICY, ADAPTERS = "policy.", "adapters."  # names of tensors in a checkpoint
SCALE = ADAPTERS + "scale"


class LoraLinear(nn.Module):
    """In place of a linear layer: ``x W' + (x down') up' * scale``; ``down`` [rank, in] starts
    random, ``up`` [out, rank] at zero.
    """

    def __init__(self, of: nn.Linear, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = of.weight.shape
        self.weight, self.scale, self.enabled = of.weight, scale, True
        start = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
        self.lora_down = nn.Parameter(start.to(of.weight.device))
        self.lora_up = nn.Parameter(torch.zeros(outputs, rank, device=of.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight)
        if not self.enabled:
            return y
        return y + F.linear(F.linear(x, self.lora_down), self.lora_up) * self.scale


def add_adapters(policy: Any, settings: LearnerConfig, seed: int = 0) -> None:
    """Freeze ``policy`` (NLDModel) and put adapters beside ``lora_targets`` of its text layers; the
    same in every learner.
    """
    policy.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    scale = settings.lora_alpha / settings.lora_rank
    for block in policy.encoder.layers.modules():
        if not isinstance(block, Attention | GatedMLP):
            continue
        for name, layer in list(block.named_children()):
            if name in settings.lora_targets and isinstance(layer, nn.Linear):
                adapted = LoraLinear(layer, settings.lora_rank, scale, generator)
                setattr(block, name, adapted)
                block.join = False  # each projection by itself


class WithoutAdapters:
    """``policy`` as it was before its adapters learned, without a copy: what the objective asks of
    a reference.
    """

    def __init__(self, policy: Any) -> None:
        self.policy = policy
        self.adapted = [m for m in policy.modules() if isinstance(m, LoraLinear)]

    def embed_prompt(self, *args: Any, **more: Any) -> Tensor:
        return self.policy.embed_prompt(*args, **more)

    def action_logits(self, *args: Any, **more: Any) -> Tensor:
        return self.policy.action_logits(*args, **more)

    def packed(self, *args: Any, **more: Any) -> Tensor:
        for layer in self.adapted:
            layer.enabled = False
        try:
            return self.policy.packed(*args, **more)
        finally:
            for layer in self.adapted:
                layer.enabled = True


def travelling(policy: Any) -> dict[str, Tensor]:
    """The adapters of ``policy`` as workers take them, the scale in ``up``."""
    out: dict[str, Tensor] = {}
    for name, layer in policy.named_modules():
        if isinstance(layer, LoraLinear):
            out[name + DOWN] = layer.lora_down.detach()
            out[name + UP] = layer.lora_up.detach() * layer.scale
    return out


def for_checkpoint(learned: dict[str, Tensor], settings: LearnerConfig) -> dict[str, Tensor]:
    """Whole tensors of a learner's module as a checkpoint holds them: the policy merged, and the
    adapters apart.
    """
    if not settings.lora_rank:
        return learned
    scale = settings.lora_alpha / settings.lora_rank
    out = {name: t for name, t in learned.items() if not name.endswith((DOWN, UP))}
    for name, down in learned.items():
        if not name.endswith(DOWN):
            continue
        stem = name.removesuffix(DOWN)
        up = learned[stem + UP]
        out[stem + ".weight"] = merged(learned[stem + ".weight"], down, up * scale)
        own = ADAPTERS + stem.removeprefix(POLICY)
        out |= {own + DOWN: down, own + UP: up}
    out[SCALE] = torch.tensor(scale, dtype=torch.float64)
    return out


def from_checkpoint(learned: dict[str, Tensor], settings: LearnerConfig) -> dict[str, Tensor]:
    """Tensors of a learner's module: the frozen ones stay as they are, those of the start."""
    if not settings.lora_rank:
        return learned
    out = {name: t for name, t in learned.items() if not name.startswith(POLICY)}
    for name in [n for n in out if n.startswith(ADAPTERS)]:
        tensor = out.pop(name)
        if name != SCALE:
            out[POLICY + name.removeprefix(ADAPTERS)] = tensor
    return out


def check_same(place: str, learned: dict[str, Tensor], settings: LearnerConfig) -> None:
    """Raise RequestError unless a run with ``settings`` can go on from the checkpoint ``place``."""
    downs = {n: t for n, t in learned.items() if n.startswith(ADAPTERS) and n.endswith(DOWN)}
    ranks = {int(tensor.shape[0]) for tensor in downs.values()} or {0}
    targets = {name.removesuffix(DOWN).rpartition(".")[2] for name in downs}
    held: dict[str, Any] = {"lora_rank": ranks.pop()}
    given: dict[str, Any] = {"lora_rank": settings.lora_rank}
    if settings.lora_rank and downs:
        held |= {"lora_targets": targets, "scale": float(learned[SCALE])}
        given |= {"lora_targets": set(settings.lora_targets)}
        given |= {"scale": settings.lora_alpha / settings.lora_rank}
    for name, value in held.items():
        if given[name] != value:
            key = "lora_alpha" if name == "scale" else name
            raise RequestError(
                f"{place}: learner.{key} is not as in this checkpoint; to change adapters start a "
                "new run with policy.init set to it"
            )
