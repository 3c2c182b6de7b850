"""Advantages from dense per-decision rewards; pure numpy.

Two estimators, both with a separate treatment of termination (a crash: nothing follows) and
truncation (a time-out: life goes on, we only stop watching):

* ``group``: discounted return-to-go minus the mean return-to-go of the *other* members of the group
  at the same
  decision (leave-one-out, as in RLOO, Ahmadian et al. 2024; the group of GRPO, Shao et al. 2024,
  sec. 4.1).
* ``gae``: generalised advantage estimation (Schulman et al. 2016) with a critic's values,
  bootstrapped at truncation.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from alpamayo.types import BoolArray, FloatArray, IntArray

AdvantageMode = Literal["group", "gae"]


def returns_to_go(reward: FloatArray, valid: BoolArray, gamma: float) -> FloatArray:
    """Discounted sums [T, B] of the rewards from each decision on; zero where not ``valid``."""
    out = np.zeros_like(reward, dtype=np.float64)
    running = np.zeros(reward.shape[1])
    for t in range(len(reward) - 1, -1, -1):
        running = np.where(valid[t], reward[t] + gamma * running, 0.0)
        out[t] = running
    return out


def group_advantages(
    reward: FloatArray, valid: BoolArray, group: IntArray, gamma: float
) -> tuple[FloatArray, FloatArray]:
    """Leave-one-out group advantages and returns-to-go, both [T, B].

    The baseline at a decision is the mean over the other members still driving then: whether they
    are does not depend on this episode's actions, so the estimate stays unbiased, and they are in
    the most comparable state. ``group`` is [B]. A member with nobody left to compare with has
    advantage 0.
    """
    returns = returns_to_go(reward, valid, gamma)
    _, member = np.unique(group, return_inverse=True)
    of_group = member[:, None] == np.arange(member.max() + 1)  # [B, groups]
    sums, alive = returns @ of_group, valid @ of_group.astype(np.float64)
    others = alive[:, member] - valid
    baseline = (sums[:, member] - returns) / np.maximum(others, 1)
    return np.where(valid & (others > 0), returns - baseline, 0.0), returns


def gae_advantages(
    reward: FloatArray,
    valid: BoolArray,
    terminated: BoolArray,
    value: FloatArray,
    gamma: float,
    gae_lambda: float,
) -> tuple[FloatArray, FloatArray]:
    """GAE advantages and value targets, both [T, B].

    ``value`` is [T + 1, B]: the critic at every decision and, in the row after an episode's last
    decision, at its final observation. ``terminated`` [B] is True where the episode ended by a
    terminal event (no bootstrap).
    """
    steps = len(reward)
    length = valid.sum(axis=0)
    advantage = np.zeros(reward.shape, dtype=np.float64)
    carry = np.zeros(reward.shape[1])
    for t in range(steps - 1, -1, -1):
        last = length == t + 1
        keep = np.where(last & terminated, 0.0, 1.0)
        delta = reward[t] + gamma * value[t + 1] * keep - value[t]
        carry = np.where(last, 0.0, carry)
        carry = np.where(valid[t], delta + gamma * gae_lambda * keep * carry, 0.0)
        advantage[t] = carry
    return advantage, np.where(valid, advantage + value[:-1], 0.0)


def compute_advantages(
    reward: FloatArray,
    valid: BoolArray,
    terminated: BoolArray,
    group: IntArray,
    *,
    gamma: float,
    gae_lambda: float = 0.95,
    value: FloatArray | None = None,
    mode: AdvantageMode = "group",
) -> tuple[FloatArray, FloatArray]:
    """(advantage [T, B], return [T, B]), float32, not normalised; see the module for the modes."""
    if reward.shape != valid.shape or reward.shape[1:] != group.shape:
        raise ValueError(
            f"reward {reward.shape}, valid {valid.shape} and group {group.shape} do not agree"
        )
    if mode == "group":
        advantage, target = group_advantages(reward, valid, group, gamma)
    elif mode == "gae":
        if value is None or value.shape != (len(reward) + 1, reward.shape[1]):
            raise ValueError("gae needs value [T + 1, B]")
        advantage, target = gae_advantages(reward, valid, terminated, value, gamma, gae_lambda)
    else:
        raise ValueError(f"advantage mode must be 'group' or 'gae', got {mode!r}")
    return advantage.astype(np.float32), target.astype(np.float32)
