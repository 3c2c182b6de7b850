"""Backend ``pool``: a few actors hold the policy and make the plans of many simulator workers.

A request names the weights that are to drive it; the actor loads them if it holds others. Plans are
a function of weights, observation and noise keys, so a request whose actor died is simply made
again, of the next actor or of the one that Ray puts in its place.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError

from alpamayo.config import RunConfig
from alpamayo.learner.weights import use_threads
from alpamayo.placement import custom, pool_resources
from alpamayo.rollout.backend import LocalBackend
from alpamayo.rollout.batching import Answer, Batcher
from alpamayo.rollout.transport import WeightsHandle
from alpamayo.streams import Keys
from alpamayo.types import FloatArray, IntArray, ObservationBatch, PlanBatch

RETRY_S = 0.2  # pause before a dead actor is asked again


class InferenceActor:
    """The policy behind a Batcher, in a process of its own. ``architecture`` is a VLMConfig."""

    def __init__(self, run: RunConfig, architecture: Any) -> None:
        use_threads(max(int(run.placement.pool_cpus), 1))
        self.backend = LocalBackend(
            architecture,
            run.policy.decode,
            freeze_vision=run.learner.freeze_vision,
            device=run.policy.device,
        )
        self.batcher = Batcher(
            self._decode,
            max_rows=run.rollout.pool_batch,
            window_s=1e-3 * run.rollout.pool_window_ms,
        )

    async def plan(
        self, weights: WeightsHandle, observation: ObservationBatch, noise_keys: Keys
    ) -> Answer:
        return await self.batcher.plan(weights, observation, noise_keys)

    async def pid(self) -> int:
        return os.getpid()

    async def counts(self) -> dict[str, int]:
        """Batches decoded, requests and rows in them."""
        b = self.batcher
        return {"batches": b.batches, "requests": b.requests, "rows": b.rows}

    def _decode(
        self, weights: WeightsHandle, observation: ObservationBatch, noise_keys: Keys
    ) -> Answer:
        self.backend.pull(weights)
        plan = self.backend.plan(observation, noise_keys)
        if not self.backend.sends_features(observation):
            return Answer(plan)
        return Answer(plan, self.backend.inputs(observation)["features"])


class PoolBackend:
    """A worker's side: asks ``actors`` (names), its own first. ``retries`` counts requests made
    again because an actor was dead."""

    def __init__(
        self,
        architecture: Any,
        actors: tuple[str, ...],
        first: int,
        *,
        freeze_vision: bool,
        patience_s: float,
    ) -> None:
        from policies.vlm.prompt import PromptEncoder

        self.encoder = PromptEncoder(architecture)
        self.actors = [ray.get_actor(name) for name in actors]
        self.turn, self.freeze_vision, self.patience_s = first, freeze_vision, patience_s
        self.weights: WeightsHandle | None = None
        self.version, self.retries = -1, 0
        self._seen: ObservationBatch | None = None  # what the last plan was made for
        self._features: np.ndarray | None = None

    def plan(self, observation: ObservationBatch, noise_keys: Keys) -> PlanBatch:
        started = time.perf_counter()
        answer = self._ask(observation, noise_keys)
        self._seen, self._features = observation, answer.features
        elapsed_ms = (time.perf_counter() - started) * 1e3
        return replace(
            answer.plan, decode_ms=np.full(len(observation), elapsed_ms, dtype=np.float32)
        )

    def inputs(self, observation: ObservationBatch) -> dict[str, np.ndarray]:
        prompt = self.encoder(observation)
        columns = {"prompt_ids": prompt.ids.numpy().astype(np.int32)}
        if not (self.freeze_vision and observation.frames.shape[1]):
            return columns | {"frames": prompt.frames.numpy()}
        if observation is not self._seen:
            # Seen after the last decision: of these plans only the image tokens are wanted.
            self.plan(observation, np.zeros(len(observation), dtype=np.uint64))
        assert self._features is not None
        return columns | {"features": self._features}

    def pull(self, weights: WeightsHandle) -> None:
        """From now on plans are asked of these weights; actors load them when they are asked."""
        self.weights, self.version = weights, weights.version

    def encode(self, plans: FloatArray) -> IntArray:
        return self.encoder.actions.encode(plans)

    def _ask(self, observation: ObservationBatch, noise_keys: Keys) -> Answer:
        deadline = time.monotonic() + self.patience_s
        while True:
            actor = self.actors[self.turn % len(self.actors)]
            try:
                request = actor.plan.remote(self.weights, observation, noise_keys)
                answer: Answer = ray.get(request, timeout=self.patience_s)
                return answer
            except RayActorError:  # dead, or on its way back
                if time.monotonic() > deadline:
                    raise
                self.retries += 1
                self.turn += 1
                time.sleep(RETRY_S)


class Pool:
    """The actors of a run, started here and ended by ``stop``. Ray replaces those that die."""

    def __init__(self, run: RunConfig, architecture: Any, names: tuple[str, ...]) -> None:
        asks = pool_resources(run.placement)
        actor = ray.remote(InferenceActor)
        options = {
            "num_cpus": asks["CPU"],
            "num_gpus": asks.get("GPU", 0.0),
            "resources": custom(asks),
            "max_restarts": -1,
        }
        self.actors = [
            actor.options(name=name, **options).remote(run, architecture) for name in names
        ]

    def ask(self, call: Callable[[Any], Any]) -> list[Any]:
        """``call(actor)`` of every actor, e.g. ``lambda actor: actor.pid.remote()``."""
        return list(ray.get([call(actor) for actor in self.actors]))

    def stop(self) -> None:
        for actor in self.actors:
            ray.kill(actor)


def pool_names(run: RunConfig) -> tuple[str, ...]:
    """Names of a run's actors that no other run has; () where workers hold the policy."""
    if run.rollout.backend == "local":
        return ()
    token = os.urandom(6).hex()
    return tuple(f"alpamayo-plans-{token}-{n}" for n in range(run.rollout.pool_actors))
