"""A training run that is real in every part, and as small as it can be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.config import (
    CheckpointConfig,
    InLoopEvalConfig,
    LearnerConfig,
    PolicyConfig,
    RolloutConfig,
    RunConfig,
)
from alpamayo.types import ObservationBatch
from policies.vlm.config import VLMConfig
from sim.config import RigConfig, SimConfig


def small_architecture() -> VLMConfig:
    tiny = VLMConfig.preset("tiny")
    assert tiny.vision is not None
    vision = replace(
        tiny.vision,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return replace(
        tiny, hidden_size=32, intermediate_size=64, num_hidden_layers=1, head_dim=8, vision=vision
    )


def save_small_policy(folder: Path) -> Path:
    """A checkpoint with random weights."""
    from policies.vlm import NLDModel, save_pretrained

    return save_pretrained(NLDModel(small_architecture()).init_weights(1), folder)


def start_of(init: Path) -> dict[str, Any]:
    """The policy's tensors before any update, named as in a learner's module."""
    from policies.vlm import from_pretrained

    return {f"policy.{n}": p.detach() for n, p in from_pretrained(init).named_parameters()}


def small_config(root: Path, init: Path, **learner: object) -> RunConfig:
    """2 workers x 16 worlds in groups of 4, two camera cells, one minibatch per update."""
    settings: dict[str, object] = {
        "iterations": 2, "epochs": 1, "minibatch": 100_000, "threads": 1, "lr": 1e-3,
        "advantage": "gae", "kl_weight": 0.01, **learner,
    }  # fmt: skip
    return RunConfig(
        run_root=str(root),
        policy=PolicyConfig(init=str(init)),
        sim=SimConfig(rig=RigConfig(width_px=56, height_px=28, frames=1)),
        rollout=RolloutConfig(workers=2, worlds_per_worker=16, group_size=4, timeout_s=100.0),
        learner=LearnerConfig(**settings),  # type: ignore[arg-type]
        eval=InLoopEvalConfig(every=0),
        checkpoint=CheckpointConfig(every=1),
    )


def fixed_observation() -> tuple[ObservationBatch, np.ndarray]:
    """Three observations as a small policy sees them, and keys of their noise."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (3, 1, 28, 56, 3), dtype=np.uint8)
    history = np.zeros((3, 16, 3), np.float32)
    speed, limit = np.array([3, 8, 13], np.float32), np.full(3, 14, np.float32)
    observation = ObservationBatch(frames, history, speed, np.zeros(3, np.int8), limit)
    return observation, np.arange(3, dtype=np.uint64)
