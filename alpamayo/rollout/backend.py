"""What answers a worker's observations with plans, and takes new weights.

``local``: the policy lives in the worker's own process. ``rollout.pool`` asks actors that hold it
for many workers.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alpamayo.config import DecodeConfig
from alpamayo.rollout.transport import WeightsHandle
from alpamayo.types import FloatArray, IntArray, ObservationBatch, PlanBatch

# What the learner needs of an observation to score a plan of it again; one of the last two is
# there.
INPUT_KEYS = ("prompt_ids", "frames", "features")


class PolicyBackend(Protocol):
    """Plans for observations, with the weights of ``version`` (-1 before the first pull).

    ``retries``: plans asked for again because what makes them had died.
    """

    version: int
    retries: int

    def plan(
        self, observation: ObservationBatch, noise_keys: npt.NDArray[np.uint64]
    ) -> PlanBatch: ...

    def inputs(self, observation: ObservationBatch) -> dict[str, np.ndarray]:
        """INPUT_KEYS of ``observation``, [N, ...] each."""
        ...

    def pull(self, weights: WeightsHandle) -> None: ...

    def encode(self, plans: FloatArray) -> IntArray:
        """Action tokens [N, L] of ``plans`` [N, K, 2]."""
        ...


class LocalBackend:
    """The policy in this process, an ``architecture`` (VLMConfig) whose weights arrive later.

    With ``freeze_vision`` the learner gets image tokens instead of pictures: they cannot change any
    more, and here they are known already.
    """

    def __init__(
        self, architecture: Any, decode: DecodeConfig, *, freeze_vision: bool, device: str = "cpu"
    ) -> None:
        from policies.vlm import NLDModel

        self.model = NLDModel(architecture).eval().to(device)
        # These weights change in place after every update, which the engine would have to be told.
        self.policy = make_policy(self.model, decode, engine=False)
        self.freeze_vision = freeze_vision
        self.version, self.retries = -1, 0

    def sends_features(self, observation: ObservationBatch) -> bool:
        """Whether ``inputs`` are image tokens."""
        return self.freeze_vision and observation.frames.shape[1] > 0

    def plan(self, observation: ObservationBatch, noise_keys: npt.NDArray[np.uint64]) -> PlanBatch:
        return self.policy.plan(observation, noise_keys=noise_keys)

    def inputs(self, observation: ObservationBatch) -> dict[str, np.ndarray]:
        prompt = self.policy.encoder(observation)
        columns = {"prompt_ids": prompt.ids.numpy().astype(np.int32)}
        if not self.sends_features(observation):
            return columns | {"frames": prompt.frames.numpy()}
        features = self.policy.encode_images(prompt.frames)
        return columns | {"features": features.float().cpu().numpy()}

    def pull(self, weights: WeightsHandle) -> None:
        self.version = weights.pull(self.model, self.version)

    def encode(self, plans: FloatArray) -> IntArray:
        return self.model.actions.encode(plans)


def make_policy(model: Any, decode: DecodeConfig, *, engine: bool | None = None) -> Any:
    """A VLMPolicy that decodes as ``decode`` says."""
    from alpamayo.config import decode_options
    from policies.vlm import VLMPolicy
    from sim.config import SimConfig

    return VLMPolicy(model, engine=engine, **decode_options(decode, SimConfig()))
