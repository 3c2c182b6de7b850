"""One learning step to measure: forward and backward of the post-training objective on what a
policy just decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from alpamayo.types import ObservationBatch

if TYPE_CHECKING:
    from alpamayo.config import LearnerConfig


def learning_step(
    policy: Any,
    observation: ObservationBatch,
    noise_keys: npt.NDArray[np.uint64],
    settings: LearnerConfig,
) -> Callable[[], float]:
    """A call that does one forward and backward over all rows of ``observation``; returns the loss.

    ``policy`` is a VLMPolicy with a schedule that has exact likelihoods. No critic and no
    reference: what is measured is the policy's own share.
    """
    from alpamayo.learner.objective import policy_loss
    from policies.vlm.schedule import CAUSAL_MODES

    model = policy.model
    prompt = policy.encoder(observation)
    trace = policy.plan(observation, noise_keys=noise_keys).trace
    rows = len(observation)
    batch = {
        "prompt_ids": prompt.ids,
        "frames": prompt.frames,
        "tokens": torch.from_numpy(trace.tokens),
        "commit_round": torch.from_numpy(trace.commit_round),
        "log_prob": torch.from_numpy(trace.log_prob),
        "advantage": torch.linspace(-1.0, 1.0, rows),
        "return_": torch.zeros(rows),
    }
    decode = policy.decode
    module = SimpleNamespace(
        policy=model,
        reference=None,
        critic=None,
        temperature=decode.temperature,
        causal=decode.mode in CAUSAL_MODES,
    )

    def step() -> float:
        model.zero_grad(set_to_none=True)
        loss, _ = policy_loss(module, batch, settings)
        loss.backward()
        return float(loss.detach())

    return step
