"""Ways to learn from a rollout behind one interface: what the rows are worth, and their loss.

``ppo``: clipped policy gradient on advantages. ``rft``: rejection-sampling fine-tuning, supervised
learning on the policy's own rollouts that went well (as RoaD fine-tunes on its own closed-loop
rollouts; here the policy alone drives, no expert guides it). ``dagger``: the expert's plans in the
states the policy came to (Ross et al. 2011), those of the present iteration only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alpamayo.learner import guidance, objective
from alpamayo.learner.advantages import compute_advantages
from alpamayo.learner.parallel import Reduce, moments
from alpamayo.rollout.columns import RolloutBatch
from alpamayo.types import BoolArray, FloatArray

if TYPE_CHECKING:
    from torch import Tensor

    from alpamayo.config import LearnerConfig

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Prepared:
    """``columns`` [N, ...] of all decisions, ``worth`` [N] of learning from each (0: never), and
    what is worth knowing.
    """

    columns: Columns
    worth: FloatArray
    metrics: dict[str, float]


class Algorithm(Protocol):
    """One way to learn. ``reduce`` adds numbers up over all learners."""

    def prepare(
        self,
        rollout: RolloutBatch,
        value: FloatArray | None,
        settings: LearnerConfig,
        reduce: Reduce,
    ) -> Prepared: ...

    def loss(
        self, module: Any, batch: dict[str, Tensor], settings: LearnerConfig
    ) -> tuple[Tensor, dict[str, float]]: ...


class PolicyGradient:
    """``ppo``. ``value`` [T + 1, B] is needed with gae advantages."""

    def prepare(
        self,
        rollout: RolloutBatch,
        value: FloatArray | None,
        settings: LearnerConfig,
        reduce: Reduce,
    ) -> Prepared:
        advantage, target = compute_advantages(
            rollout.reward,
            rollout.valid,
            rollout.terminated,
            rollout.group,
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            value=value,
            mode=settings.advantage,
        )
        flat, returns = rollout.rows(advantage), rollout.rows(target)
        mean, std = moments(flat, reduce)
        metrics = {"advantage_std": std, "return_mean": moments(returns, reduce)[0]}
        if value is not None:
            error = returns - rollout.rows(value[:-1])
            metrics["explained_variance"] = float(1 - error.var() / max(returns.var(), 1e-8))
        normal = ((flat - mean) / (std + 1e-6)).astype(np.float32)
        columns = {**rollout.flat, "advantage": normal, "return_": returns.astype(np.float32)}
        if settings.joint_weight > 0:
            tokens = columns[guidance.EXPERT]
            columns[guidance.NOISE] = guidance.mask_noise(tokens, rollout.group)
        worth = np.abs(normal)
        if settings.expert_weight > 0:
            kept = settings.keep_fraction * settings.expert_share
            worth = guidance.with_shown(worth, ~rollout.success[rollout.world], kept, rollout.group)
        return Prepared(columns, worth, metrics)

    def loss(
        self, module: Any, batch: dict[str, Tensor], settings: LearnerConfig
    ) -> tuple[Tensor, dict[str, float]]:
        return objective.policy_loss(module, batch, settings)


class Imitation:
    """Fits the plans in column ``target`` in the worlds that ``kept`` chooses, equally."""

    def __init__(self, target: str, kept: Callable[[RolloutBatch], BoolArray]) -> None:
        self.target, self.kept = target, kept

    def prepare(
        self,
        rollout: RolloutBatch,
        value: FloatArray | None,
        settings: LearnerConfig,
        reduce: Reduce,
    ) -> Prepared:
        worlds = self.kept(rollout)
        columns = {k: v for k, v in rollout.flat.items() if k not in ("tokens", "log_prob")}
        columns["target"] = rollout.flat[self.target]
        worth = worlds[rollout.world].astype(np.float32)
        # Which of the kept rows are learned from is left to chance, the same in every run.
        chance = np.random.default_rng([len(worth), int(rollout.group[0])]).random(len(worth))
        metrics = {"episodes_kept": moments(worlds.astype(float), reduce)[0]}
        return Prepared(columns, worth * (0.5 + 0.5 * chance), metrics)

    def loss(
        self, module: Any, batch: dict[str, Tensor], settings: LearnerConfig
    ) -> tuple[Tensor, dict[str, float]]:
        return objective.imitation_loss(module, batch, settings)


def went_well(rollout: RolloutBatch) -> BoolArray:
    """[B] True for episodes without a failure that earned at least the mean of their group: where
    all members succeed, the better ones are learned from, and braking for nothing is not.
    """
    earned = rollout.reward.sum(axis=0, dtype=np.float64)
    _, member = np.unique(rollout.group, return_inverse=True)
    mean = np.bincount(member, weights=earned) / np.bincount(member)
    well: BoolArray = rollout.success & (earned >= mean[member] - 1e-9)
    return well


def everywhere(rollout: RolloutBatch) -> BoolArray:
    return np.ones(rollout.num_worlds, dtype=bool)


ALGORITHMS: dict[str, Algorithm] = {
    "ppo": PolicyGradient(),
    "rft": Imitation("tokens", went_well),
    "dagger": Imitation(guidance.EXPERT, everywhere),
}
