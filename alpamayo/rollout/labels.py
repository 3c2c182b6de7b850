"""What the privileged expert would have planned in the states the policy came to."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from alpamayo.rollout.backend import PolicyBackend
from alpamayo.types import IntArray, ObservationBatch, PlanSpec, PrivilegedView
from sim.config import SimConfig


class Inspectable(Protocol):
    """What is used of ``sim.world.WorldBatch``."""

    def privileged(self, rows: IntArray) -> PrivilegedView: ...


class ExpertLabels:
    """Columns that say what the expert would do; tokens of the policy that drives."""

    def __init__(self, sim: SimConfig, backend: PolicyBackend, expert: Any = None) -> None:
        from policies.expert import ExpertPolicy

        self.expert = expert or ExpertPolicy(PlanSpec(sim.plan_steps, sim.plan_step_s))
        self.backend = backend

    def __call__(
        self, worlds: Inspectable, rows: IntArray, observation: ObservationBatch
    ) -> dict[str, np.ndarray]:
        """``expert_tokens`` int32 [n, L] in worlds ``rows`` [n], where ``observation`` is seen."""
        plan = self.expert.plan(
            observation,
            noise_keys=np.zeros(len(rows), dtype=np.uint64),
            privileged=worlds.privileged(rows),
        )
        return {"expert_tokens": self.backend.encode(plan.as_actions()).astype(np.int32)}
