"""The drafter's LoRA adapter: low-rank changes of the attention outputs, on for drafts only.

Layout of the published ``linear_spec_lora`` folder: ``adapter_config.json`` beside
``adapter_model.safetensors``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from alpamayo.types import RequestError
from policies.vlm.checkpoint import check_names, read_header, read_json, read_tensors, write_whole
from policies.vlm.config import VLMConfig

CONFIG_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
TARGET = "o_proj"


@dataclass(frozen=True)
class LoraAdapter:
    """Per layer ``down`` [rank, heads * D] and ``up`` [H, rank]; the LoRA scale is part of
    ``up``."""

    down: list[Tensor]
    up: list[Tensor]

    def __call__(self, layer: int, mixed: Tensor) -> Tensor:
        return F.linear(F.linear(mixed, self.down[layer]), self.up[layer])

    @torch.no_grad()
    def copy_(self, other: LoraAdapter) -> None:
        """Take over the other's numbers, in place: whatever was captured with this adapter uses
        them from its next run on."""
        for mine, theirs in zip([*self.down, *self.up], [*other.down, *other.up], strict=True):
            mine.copy_(theirs)


def new_adapter(config: VLMConfig, rank: int, like: Tensor, seed: int = 0) -> LoraAdapter:
    """Fresh weights that change nothing yet: random ``down``, zero ``up``."""
    inner = config.num_attention_heads * config.head_dim
    generator = torch.Generator(like.device).manual_seed(seed)
    down, up = [], []
    for _ in range(config.num_hidden_layers):
        start = torch.randn(rank, inner, generator=generator, device=like.device) * inner**-0.5
        down.append(start.to(like.dtype))
        up.append(like.new_zeros(config.hidden_size, rank))
    return LoraAdapter(down, up)


def _names(layer: int) -> tuple[str, str]:
    base = f"base_model.model.encoder.layers.{layer}.self_attn.{TARGET}."
    return base + "lora_A.weight", base + "lora_B.weight"


def load_adapter(directory: str | Path, config: VLMConfig, like: Tensor) -> LoraAdapter:
    """The adapter in ``directory``, on the device and in the dtype of ``like``."""
    place, weights = Path(directory) / CONFIG_NAME, Path(directory) / WEIGHTS_NAME
    settings = read_json(place)
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise RequestError(f"{place}: expected a positive integer r and a number lora_alpha")
    if list(settings.get("target_modules", [])) != [TARGET]:
        raise RequestError(f"{place}: target_modules: expected [{TARGET!r}]")
    inner = config.num_attention_heads * config.head_dim
    wanted: dict[str, tuple[int, ...]] = {}
    for layer in range(config.num_hidden_layers):
        a, b = _names(layer)
        wanted |= {a: (rank, inner), b: (config.hidden_size, rank)}
    check_names(weights, CONFIG_NAME, wanted, read_header(weights))
    scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
    down: list[Tensor] = []
    up: list[Tensor] = []
    tensors = dict(read_tensors(weights, {n: n for n in wanted}, str(like.device), torch.float32))
    for layer in range(config.num_hidden_layers):
        a, b = _names(layer)
        down.append(tensors[a].to(like.dtype))
        up.append((tensors[b] * scale).to(like.dtype))
    return LoraAdapter(down, up)


def save_adapter(adapter: LoraAdapter, directory: str | Path) -> Path:
    """Write ``adapter`` in the published layout, at scale 1."""
    from safetensors.torch import save_file

    rank = adapter.down[0].shape[0]
    tensors: dict[str, Tensor] = {}
    for layer, (down, up) in enumerate(zip(adapter.down, adapter.up, strict=True)):
        a, b = _names(layer)
        tensors |= {a: down.detach().cpu().contiguous(), b: up.detach().cpu().contiguous()}
    settings = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": [TARGET],
        "bias": "none",
        "lora_dropout": 0.0,
    }

    def write(staging: Path) -> None:
        save_file(tensors, staging / WEIGHTS_NAME, metadata={"format": "pt"})
        (staging / CONFIG_NAME).write_text(json.dumps(settings, indent=2) + "\n", "utf-8")

    return write_whole(Path(directory), write)
