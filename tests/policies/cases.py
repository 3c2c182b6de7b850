"""Small models and observations for the policy tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from alpamayo.types import ObservationBatch
from policies.vlm.config import ActionConfig, VisionConfig, VLMConfig
from policies.vlm.model import NLDModel


def toy_config(bins: int = 5, **changes: object) -> VLMConfig:
    """Two narrow layers; ``bins`` of each kind."""
    base = VLMConfig(
        vocab_size=1024,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.3,
        vision=VisionConfig(24, 32, 2, 2),
        action=ActionConfig(steps=2, accel_bins=bins, curvature_bins=bins),
    )
    return replace(base, **changes)


def toy_model(config: VLMConfig | None = None, seed: int = 3) -> NLDModel:
    """Random weights, norms included, strong enough that every part matters."""
    model = NLDModel(config or toy_config()).init_weights(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
        model.diffusion_head.weight.mul_(3.0)
    return model.eval()


def random_prefix(model: NLDModel, rows: int, length: int = 7, seed: int = 0) -> Tensor:
    """Embeddings [rows, length, H]."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(22, 90, (rows, length), generator=generator)
    return model.embed_tokens(ids).detach()


def random_tokens(model: NLDModel, rows: int, length: int, seed: int = 1) -> Tensor:
    """Valid action ids [rows, length]."""
    generator = torch.Generator().manual_seed(seed)
    bins = torch.tensor([model.actions.bins[i % 2] for i in range(length)])
    choice = (torch.rand(rows, length, generator=generator) * bins).long()
    return model.actions.ids_of(choice)


def observation(
    rows: int, frames: int = 2, size_px: tuple[int, int] = (56, 84)
) -> ObservationBatch:
    """Different in every row."""
    rng = np.random.default_rng(5)
    speed = rng.uniform(0, 30, rows).astype(np.float32)
    back = np.arange(-15, 1) * 0.1
    history = np.zeros((rows, 16, 3), np.float32)
    history[..., 0] = speed[:, None] * back
    return ObservationBatch(
        rng.integers(0, 256, (rows, frames, *size_px, 3), dtype=np.uint8),
        history,
        speed,
        (np.arange(rows) % 4).astype(np.int8),
        rng.uniform(5, 30, rows).astype(np.float32),
    )
