"""How much of each role a training needs: rates, memory and traffic from measured figures, and which
role will wait for which.

The figures stand in ``FIGURES`` with where they come from; docs/sizing.md shows the arithmetic. Rates
are decisions per second. Estimates for planning, good to a factor of two: what a run really does is in
its ``time/`` metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alpamayo.config import RunConfig

Source = Literal["measured", "derived"]
STARVED = 0.5  # a role that idles more than this is told of


@dataclass(frozen=True)
class Figure:
    """One number, and whether it was measured or follows from others."""

    value: float
    source: Source
    what: str


# One core of a server CPU, one H200. Seconds per decision or per sample; parameters as a count.
FIGURES: dict[str, Figure] = {
    "simulate_s": Figure(0.22e-3, "measured", "drive, judge and draw 168 x 56, one core"),
    "pixel_s": Figure(4.5e-9, "measured", "each pixel of larger images, one core (448 x 252 x 4)"),
    "plan_cpu_s": Figure(1.2e-3, "measured", "tiny, 2 rounds, batches of 64, one core"),
    "learn_cpu_s": Figure(1.85e-3, "measured", "tiny, forward and backward, one core"),
    "plan_gpu_s": Figure(19e-3, "derived", "8B, 3 x 448 x 252, 2 rounds, batches of 8, one H200"),
    "learn_gpu_s": Figure(95e-3, "derived", "8B, forward and backward at 40 % of the matrix rate"),
    "worker_bytes": Figure(1.1e9, "measured", "resident size of a worker, 64 worlds, tiny"),
    "tiny": Figure(1_049_152, "measured", "parameters of tiny"),
    "8b": Figure(8.9e9, "measured", "parameters of nld-vlm-8b"),
}
SMALL_PX = 2 * 168 * 56  # the images that ``simulate_s`` was measured with
NETWORK_BYTES_PER_S = 1.2e9  # ten gigabit
SAMPLED_TOKENS = 120  # of a decision, besides pictures: prompt, plan, trace


@dataclass(frozen=True)
class Estimate:
    """Of one training with a policy of ``parameters``.

    ``sampled_per_s`` what all workers make while they sample, ``learned_per_s`` what all learners
    go through while they learn (all decisions of an iteration, also those left out). Idle shares
    are those of the slower circle: synchronous roles take turns. ``rollout_bytes`` travel to the
    learner per iteration, ``weights_bytes`` to every worker; ``learner_bytes`` of each learner.
    """

    decisions: float
    sampled_per_s: float
    learned_per_s: float
    worker_idle: float
    learner_idle: float
    rollout_bytes: float
    weights_bytes: float
    weights_s: float
    learner_bytes: float
    worker_bytes: float

    @property
    def cores_per_gpu(self) -> float:
        """Simulator cores that make as much as one learner takes."""
        return self.learned_per_s / self.sampled_per_s


def estimate(config: RunConfig, parameters: float, *, episode_s: float = 10.0) -> Estimate:
    """For a run of ``config`` whose policy has ``parameters``; ``episode_s``: mean length of an
    episode.
    """
    rollout, learner, place = config.rollout, config.learner, config.placement
    worlds = rollout.workers * rollout.worlds_per_worker
    decisions = worlds * episode_s / config.sim.decision_s
    sampled = rollout.workers / (simulate_s(config) + plan_s(parameters))
    passes = learner.epochs * learner.keep_fraction
    learned = max(place.learners, 1) * learner.threads_used / (learn_s(parameters) * passes)
    sample_s, learn_time_s = decisions / sampled, decisions / learned
    weights = parameters * (4 if parameters < 1e8 else 2)
    sent = weights * rollout.workers / NETWORK_BYTES_PER_S
    whole = sample_s + learn_time_s + sent
    return Estimate(
        decisions=decisions,
        sampled_per_s=sampled,
        learned_per_s=learned,
        worker_idle=1 - sample_s / whole,
        learner_idle=1 - learn_time_s / whole,
        rollout_bytes=decisions * decision_bytes(config),
        weights_bytes=weights,
        weights_s=sent,
        learner_bytes=learner_bytes(parameters, max(place.learners, 1)),
        worker_bytes=FIGURES["worker_bytes"].value + weights,
    )
