"""RLlib EnvRunner around the batched simulator: one ``sample`` is a batch of complete episodes.

RLlib places, restarts and watches the actor; what it returns are our columns. Simulator errors are
caught here and become failed episodes, because an exception that leaves an RLlib runner ends its
process.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.utils.checkpoints import Checkpointable

from alpamayo.config import RunConfig
from alpamayo.learner.weights import use_threads
from alpamayo.rollout.backend import LocalBackend, PolicyBackend
from alpamayo.rollout.collect import Draw, Rollout, Worlds, collect, failed_rollout
from alpamayo.rollout.labels import ExpertLabels
from alpamayo.rollout.pool import PoolBackend
from alpamayo.rollout.transport import WeightsHandle
from alpamayo.types import Scenario

logger = logging.getLogger(__name__)


def runner_spaces(run: RunConfig) -> tuple[gym.Space, gym.Space]:
    """(observation, action) of one world, because RLlib asks; no data passes through them."""
    observation = gym.spaces.Dict(
        {"speed_mps": gym.spaces.Box(0.0, np.inf, (), np.float32)},
    )
    action = gym.spaces.Box(-np.inf, np.inf, (run.sim.plan_steps, 2), np.float32)
    return observation, action


class RolloutRunner(EnvRunner, Checkpointable):
    """Steps ``rollout.worlds_per_worker`` worlds; holds a policy backend whose weights are pulled
    by version.

    Its settings arrive as ``env_config = {"run": RunConfig, "architecture": VLMConfig, "pool":
    names of inference actors}``.
    """

    def __init__(self, *, config: Any, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        # One thread per worker: RLlib runs many of them on a machine, threads would only fight each
        # other.
        use_threads(1)
        self.run: RunConfig = self.config.env_config["run"]
        self.worlds: Worlds | None = None
        self.module: PolicyBackend = self.make_module()
        labelled = self.run.learner.needs_expert
        self.label = ExpertLabels(self.run.sim, self.module) if labelled else None
        self.suite = self._load_suite()
        self._metrics: dict[str, float] = {}
        self._ended = 0.0  # when the last sample was driven (perf_counter)

    # What the loop calls ---------------------------------------------------------------
    def sample(  # type: ignore[override]
        self,
        *,
        number: int = 0,
        weights: WeightsHandle | None = None,
        shares: Mapping[str, float] | None = None,
        **_: Any,
    ) -> Rollout:
        """Pull ``weights`` if they are newer, then drive sample ``number`` of the run: one batch of
        episodes, of scenarios drawn in ``shares`` (None: the suite's own).
        """
        draw = Draw.of(self.run.rollout, seed=self.run.seed, number=number)
        started = time.perf_counter()
        wait_s = started - self._ended if self._ended else 0.0
        retried = self.module.retries
        if weights is not None:
            self.module.pull(weights)
        pull_s = time.perf_counter() - started
        scenarios: list[Scenario] = self.suite.draw(draw.groups, start=draw.first, shares=shares)
        try:
            rollout = self._drive(scenarios, draw)
        except Exception as error:
            logger.error(
                "a sample failed and counts as failed episodes:\n%s", traceback.format_exc()
            )
            self.worlds = None  # its state cannot be trusted any more
            rollout = failed_rollout(scenarios, draw, self.module.version, error)
        rollout = replace(rollout, retries=self.module.retries - retried)
        rollout.seconds.update(pull=pull_s, wait=wait_s)
        self._metrics = dict(rollout.seconds)
        self._ended = time.perf_counter()
        return rollout

    def pid(self) -> int:
        return os.getpid()

    def log_probs(self, observation: Any, noise_keys: Any) -> np.ndarray:
        """Log-probabilities [B, L] of the plan this worker would decode: shows which weights it
        really holds.
        """
        trace = self.module.plan(observation, noise_keys).trace
        assert trace is not None
        return trace.log_prob

    # What RLlib calls ------------------------------------------------------------------
    def make_env(self, scenarios: list[Scenario] | None = None) -> None:
        if scenarios is not None:
            from sim.world import WorldBatch

            self.worlds = WorldBatch(scenarios, self.run.sim)

    def make_module(self) -> PolicyBackend:
        architecture = self.config.env_config["architecture"]
        pool = self.config.env_config["pool"]
        if pool:
            first = max((self.worker_index or 0) - 1, 0)
            patience_s = self.run.rollout.timeout_s
            return PoolBackend(
                architecture,
                pool,
                first,
                freeze_vision=self.run.learner.freeze_vision,
                patience_s=patience_s,
            )
        return LocalBackend(
            architecture,
            self.run.policy.decode,
            freeze_vision=self.run.learner.freeze_vision,
        )

    def get_spaces(self) -> dict[str, tuple[gym.Space, gym.Space]]:
        spaces = runner_spaces(self.run)
        return {
            INPUT_ENV_SPACES: spaces,
            INPUT_ENV_SINGLE_SPACES: spaces,
            DEFAULT_MODULE_ID: spaces,
        }

    def get_metrics(self) -> dict[str, float]:
        return self._metrics

    def assert_healthy(self) -> None:
        assert self.module is not None

    def get_state(self, *_: Any, **__: Any) -> dict[str, Any]:
        # Weights are pulled with every sample and episodes never span samples: nothing else is
        # kept.
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        pass

    def get_ctor_args_and_kwargs(self) -> tuple[tuple, dict[str, Any]]:
        return (), {"config": self.config}

    # -------------------------------------------------------------------------------------
    def _load_suite(self) -> Any:
        from scenarios.suites import load_training_suite

        return load_training_suite(self.run.rollout.suite)

    def _drive(self, scenarios: list[Scenario], draw: Draw) -> Rollout:
        if self.worlds is None:
            self.make_env([s for s in scenarios for _ in range(draw.group_size)])
        assert self.worlds is not None
        return collect(
            self.worlds,
            self.module,
            scenarios,
            draw,
            self.run.sim,
            keep_final=self.run.learner.has_critic,
            branching=self.run.rollout.branching,
            label=self.label,
        )
