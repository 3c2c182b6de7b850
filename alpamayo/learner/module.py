"""The RLModule of the learner: the policy, and what only learning needs beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from ray.rllib.core.rl_module.torch import TorchRLModule

from alpamayo.config import LearnerConfig

# With these frozen, image tokens are the same in every epoch and need to be computed once.
IMAGE_TOWER = ("encoder.vision_tower.", "encoder.multi_modal_projector.")

Part = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _all(tensor: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    return tensor


class PostTrainModule(TorchRLModule):
    """``policy`` (NLDModel), ``critic`` (a value head, or None), ``reference`` (frozen copy of the
    start, the policy without its adapters, or None).

    ``model_config``: {"init": checkpoint directory, "learner": LearnerConfig, "temperature" of the
    rollouts, "causal": whether their plans are those of the AR head}. Only ``policy`` is ever sent
    to workers, and only its trainable tensors after the first time.
    """

    def setup(self) -> None:
        from policies.vlm import from_pretrained

        settings: LearnerConfig = self.model_config["learner"]
        self.temperature: float = self.model_config["temperature"]
        self.causal: bool = self.model_config["causal"]
        self.policy = from_pretrained(self.model_config["init"])
        self.reference: Any = None
        if settings.lora_rank:
            from alpamayo.learner.lora import WithoutAdapters, add_adapters

            add_adapters(self.policy, settings)
            if settings.kl_weight > 0:
                self.reference = WithoutAdapters(self.policy)
        elif settings.kl_weight > 0:
            self.reference = copy.deepcopy(self.policy).eval().requires_grad_(False)
        self.keep_reference = settings.reference_every > 0  # it is not the start any more
        self.critic = None
        if settings.has_critic:
            from alpamayo.learner.critic import Critic

            self.critic = Critic(self.policy.config)
        if settings.freeze_vision:
            for name, parameter in self.policy.named_parameters():
                if name.startswith(IMAGE_TOWER):
                    parameter.requires_grad_(False)

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Name -> parameter that the optimizer moves, policy and critic."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def policy_tensors(self, *, trainable_only: bool) -> dict[str, torch.Tensor]:
        """What a worker needs, named as in its own model."""
        from alpamayo.learner.lora import travelling

        adapters = travelling(self.policy)
        if trainable_only and adapters:
            return adapters
        tensors: dict[str, torch.Tensor] = {
            name: p.detach()
            for name, p in self.policy.named_parameters()
            if (p.requires_grad or not trainable_only) and name not in adapters
        }
        if not trainable_only:
            tensors |= {name: b.detach() for name, b in self.policy.named_buffers()}
        return tensors

    def learned_tensors(self) -> dict[str, torch.Tensor]:
        """Everything a checkpoint must hold; a reference that stays is loaded from the start."""
        return {
            name: tensor.detach()
            for name, tensor in self.named_parameters()
            if self.keep_reference or not name.startswith("reference.")
        }

    def refresh_reference(self) -> None:
        """From now on the reference is the policy as it is."""
        if self.reference is not None:
            self.reference.load_state_dict(self.policy.state_dict())

    def load_learned(self, tensors: dict[str, torch.Tensor], part: Part = _all) -> None:
        """Inverse of ``learned_tensors``; ``part(tensor, of)`` is what belongs into ``of``."""
        own = dict(self.named_parameters())
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(part(tensor, own[name]))

    # RLlib's own state is torch tensors: its default converts to numpy, which bfloat16 does not
    # survive.
    def get_state(self, *_: Any, inference_only: bool = False, **__: Any) -> dict[str, Any]:
        if inference_only:  # workers pull weights by version instead
            return {}
        return {name: t.cpu().clone() for name, t in self.learned_tensors().items()}

    def set_state(self, state: dict[str, Any]) -> None:
        self.load_learned(state)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        raise NotImplementedError(
            "the learner calls alpamayo.learner.objective instead of RLlib's forward"
        )
