"""Small helpers on weights that worker processes need too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def load_tensors(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy ``tensors`` into the parameters and buffers of the same names; unknown names are an
    error.
    """
    own: dict[str, Any] = dict(module.named_parameters()) | dict(module.named_buffers())
    unknown = sorted(set(tensors) - set(own))
    if unknown:
        raise ValueError(f"weights for unknown tensors: {', '.join(unknown[:3])}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def cpu_copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies that stay as they are when the originals are trained on; dtypes are kept, bfloat16
    too.
    """
    return {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}


def use_threads(count: int) -> None:
    """How many threads torch uses in this process."""
    torch.set_num_threads(count)
