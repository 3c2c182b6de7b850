"""Weights as int8 with one scale per row, for inference: a quarter of the bytes of float32.

Activations and sums keep their dtype. In bfloat16 the products are torch's own
(``_weight_int8pack_mm``); its float32 kernel is a plain loop, so there the weights are widened for
each product. Norms, embeddings, the head and the image input stay as they are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.vlm.layers import Attention, GatedMLP
from policies.vlm.model import NLDModel

LEVELS = 127


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 [out, in], scale [out] in the weight's dtype): in float32 no value is off by more than
    half a scale, in bfloat16 the largest of a row by up to three quarters."""
    scale = (weight.float().abs().amax(1).clamp(min=1e-12) / LEVELS).to(weight.dtype)
    levels = (weight.float() / scale.float()[:, None]).round().clamp(-LEVELS, LEVELS)
    return levels.to(torch.int8), scale


class Int8Linear(nn.Module):
    """``nn.Linear`` without bias on int8 weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        values, scale = quantised(linear.weight.detach())
        self.weight = nn.Parameter(values, requires_grad=False)
        self.scale = nn.Parameter(scale, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale.dtype == torch.float32:
            x = x.to(torch.float32)
            return F.linear(x, self.weight.to(torch.float32)).mul_(self.scale)
        rows = x.reshape(-1, x.shape[-1]).to(self.scale.dtype)
        return torch._weight_int8pack_mm(rows, self.weight, self.scale).view(*x.shape[:-1], -1)


def to_int8(model: NLDModel) -> NLDModel:
    """``model`` with the products of its blocks, in both towers, on int8 weights; changed in place,
    for inference only."""
    for block in list(model.modules()):
        if not isinstance(block, Attention | GatedMLP):
            continue
        block.join = False  # each product has its own scales
        for name, layer in list(block.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(block, name, Int8Linear(layer))
    return model.eval()


def is_int8(model: NLDModel) -> bool:
    return any(isinstance(module, Int8Linear) for module in model.modules())
