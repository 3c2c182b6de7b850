"""Small helpers on weights that worker processes need too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

DOWN, UP = ".lora_down", ".lora_up"  # after the name of the layer that they adapt


def load_tensors(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    base: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Copy ``tensors`` into the parameters and buffers of the same names; unknown names are an
    error. Adapters become part of the weight they belong to, on top of what it is in ``base``.
    """
    own: dict[str, Any] = dict(module.named_parameters()) | dict(module.named_buffers())
    adapted = adapted_names(tensors)
    plain = [name for name in tensors if not name.endswith((DOWN, UP))]
    unknown = sorted({*plain, *adapted} - set(own))
    if unknown:
        raise ValueError(f"weights for unknown tensors: {', '.join(unknown[:3])}")
    with torch.no_grad():
        for name in plain:
            own[name].copy_(tensors[name])
        for name in adapted:
            if base is None:
                raise ValueError(f"an adapter of {name} without what it adapts")
            stem = name.removesuffix(".weight")
            where = base[name].device
            down, up = (tensors[stem + part].to(where) for part in (DOWN, UP))
            own[name].copy_(merged(base[name], down, up))


def adapted_names(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The weights that ``tensors`` has adapters of."""
    return [name.removesuffix(DOWN) + ".weight" for name in tensors if name.endswith(DOWN)]


def merged(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """``weight`` + ``up`` @ ``down``, summed in float32, in the dtype of ``weight``."""
    return torch.addmm(weight.float(), up.float(), down.float()).to(weight.dtype)


def cpu_copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies that stay as they are when the originals are trained on; dtypes are kept, bfloat16
    too.
    """
    return {name: t.detach().to("cpu", copy=True) for name, t in tensors.items()}


def use_threads(count: int) -> None:
    """How many threads torch uses in this process."""
    torch.set_num_threads(count)
