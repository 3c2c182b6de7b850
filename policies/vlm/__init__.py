"""The diffusion vision-language policy: Nemotron-Labs-Diffusion's architecture at any size."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from policies.vlm.action_tokens import ActionTokenizer
    from policies.vlm.checkpoint import from_pretrained, save_pretrained
    from policies.vlm.config import VLMConfig
    from policies.vlm.model import NLDModel
    from policies.vlm.policy import VLMPolicy
    from policies.vlm.prompt import PromptEncoder
    from policies.vlm.schedule import CommitSchedule, DecodeConfig

# Loaded on first use: asking for a config must not import torch.
_HOME = {
    "ActionTokenizer": "action_tokens",
    "CommitSchedule": "schedule",
    "DecodeConfig": "schedule",
    "NLDModel": "model",
    "PromptEncoder": "prompt",
    "VLMConfig": "config",
    "VLMPolicy": "policy",
    "from_pretrained": "checkpoint",
    "save_pretrained": "checkpoint",
}

__all__ = [
    "ActionTokenizer",
    "CommitSchedule",
    "DecodeConfig",
    "NLDModel",
    "PromptEncoder",
    "VLMConfig",
    "VLMPolicy",
    "from_pretrained",
    "save_pretrained",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
