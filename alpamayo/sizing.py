"""How much of each role a training needs, and which role will wait for which: rates, memory and
traffic of a run, from measured figures.

``FIGURES`` says where each number comes from; docs/sizing.md shows the arithmetic. Good to a factor
of two, for planning: what a run really does is in its ``time/`` metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alpamayo.config import RunConfig


@dataclass(frozen=True)
class Figure:
    """One number, and whether it was measured or follows from measured ones."""

    value: float
    source: Literal["measured", "derived"]
    what: str


# A core of a server CPU with nothing else to do; one H200.
FIGURES: dict[str, Figure] = {
    "simulate_s": Figure(0.05e-3, "measured", "s per decision: traffic, physics, judge; one core"),
    "pixel_s": Figure(4.5e-9, "measured", "s per drawn pixel; one core"),
    "plan_cpu_s": Figure(1.2e-3, "measured", "s per plan of tiny, 2 rounds, 64 at once; one core"),
    "plan_gpu_s": Figure(19e-3, "derived", "s per plan of nld-vlm-8b, 2 rounds, 8 at once; H200"),
    "learn_cpu_s": Figure(1.85e-3, "measured", "s per sample of tiny, both ways; one core"),
    "learn_gpu_s": Figure(
        95e-3, "derived", "s per sample of nld-vlm-8b at 40 % of the H200's peak"
    ),
    "launch_s": Figure(0.1e-3, "derived", "s per plan or sample of a small policy on a GPU"),
    "worker_bytes": Figure(1.1e9, "measured", "resident size of a worker with 128 worlds"),
    "features_bytes": Figure(12.6e3, "measured", "per decision, image tokens instead of pictures"),
    "network_bytes_per_s": Figure(1.2e9, "derived", "ten gigabit"),
}
TINY, LARGE = 1.05e6, 8.9e9  # parameters that the figures of policies belong to
EPISODE_S = 10.0  # mean length of an episode
FLOAT32 = 4


@dataclass(frozen=True)
class Estimate:
    """``simulate_per_s`` and ``plan_per_s``: decisions per second that all workers simulate and
    that all places of inference plan; ``sample_per_s`` both after each other where they share a
    core, else the slower. ``learn_per_s``: decisions that all learners get through, those left out
    included. ``worker_idle`` and ``learner_idle``: shares of an iteration. Bytes: of one worker, of
    one learner, of an iteration's rollouts, and of the weights sent to each place of inference.
    """

    simulate_per_s: float
    plan_per_s: float
    sample_per_s: float
    learn_per_s: float
    worker_idle: float
    learner_idle: float
    worker_bytes: float
    learner_bytes: float
    rollout_bytes: float
    weights_bytes: float
    sync_s: float


def estimate(config: RunConfig, parameters: float) -> Estimate:
    """For a run of ``config`` whose policy has ``parameters``, all of them trained."""
    rollout, place = config.rollout, config.placement
    each_s, plan_s = simulate_s(config), on(bool(place.pool_gpus), "plan", parameters)
    simulated = rollout.workers / each_s
    if rollout.backend == "pool":
        planned = rollout.pool_actors / plan_s
        sampled, places = min(simulated, planned), rollout.pool_actors
    else:
        planned = rollout.workers / plan_s
        sampled, places = rollout.workers / (each_s + plan_s), rollout.workers
    passes = config.learner.epochs * config.learner.keep_fraction
    learners = max(place.learners, 1) * (1 if place.learner_gpus else config.learner.threads)
    learned = learners / (passes * on(bool(place.learner_gpus), "learn", parameters))
    decisions = rollout.workers * rollout.worlds_per_worker * EPISODE_S / config.sim.decision_s
    weights = FLOAT32 * parameters
    sync_s = weights * places / FIGURES["network_bytes_per_s"].value
    sampling_s, learning_s = decisions / sampled, decisions / learned
    whole_s = sampling_s + learning_s + sync_s
    if rollout.mode == "asynchronous":
        whole_s = max(sampling_s, learning_s + sync_s)
    return Estimate(
        simulate_per_s=simulated,
        plan_per_s=planned,
        sample_per_s=sampled,
        learn_per_s=learned,
        worker_idle=1.0 - sampling_s / whole_s,
        learner_idle=1.0 - learning_s / whole_s,
        worker_bytes=FIGURES["worker_bytes"].value + (weights if rollout.backend == "local" else 0),
        learner_bytes=learner_bytes(config, parameters),
        rollout_bytes=decisions * decision_bytes(config),
        weights_bytes=weights,
        sync_s=sync_s,
    )


def simulate_s(config: RunConfig) -> float:
    """One core, one decision of one world."""
    rig = config.sim.rig
    pixels = 0
    if rig is not None:
        pixels = rig.width_px * rig.height_px * len(rig.cameras) * rig.supersample**2
    return FIGURES["simulate_s"].value + FIGURES["pixel_s"].value * pixels


def on(gpu: bool, what: Literal["plan", "learn"], parameters: float) -> float:
    """Seconds of ``what``, in proportion to the parameters from the size that was measured; on a
    GPU at least what starting the kernels takes.
    """
    place, size = ("gpu", LARGE) if gpu else ("cpu", TINY)
    in_proportion = FIGURES[f"{what}_{place}_s"].value * parameters / size
    return max(in_proportion, FIGURES["launch_s"].value) if gpu else in_proportion


def learner_bytes(config: RunConfig, parameters: float) -> float:
    """float32 weights, gradients, Adam's two moments and, with a KL term, the reference; without
    activations. Sharded learners hold a part each.
    """
    copies = 4 + (config.learner.kl_weight > 0)
    return FLOAT32 * copies * parameters


def decision_bytes(config: RunConfig) -> float:
    """What one decision sends to the learner."""
    rig = config.sim.rig
    if rig is None or config.learner.freeze_vision:
        return FIGURES["features_bytes"].value
    return 3.0 * rig.width_px * rig.height_px * rig.frames * len(rig.cameras) + 1e3


def waits(config: RunConfig, parameters: float) -> list[str]:
    """One line for each role that will mostly wait, and what would change it."""
    found, lines = estimate(config, parameters), []
    pooled = config.rollout.backend == "pool"
    if pooled and found.simulate_per_s < 0.5 * found.plan_per_s:
        lines.append(
            f"inference actors will wait: {found.plan_per_s:,.0f} plans/s for simulators of "
            f"{found.simulate_per_s:,.0f} decisions/s; more rollout.workers or fewer pool_actors"
        )
    if pooled and found.plan_per_s < 0.1 * found.simulate_per_s:
        lines.append(
            f"simulators will wait: {found.simulate_per_s:,.0f} decisions/s for inference of "
            f"{found.plan_per_s:,.0f} plans/s; more rollout.pool_actors or fewer workers"
        )
    gpus = config.placement.learner_gpus > 0
    if gpus and found.learner_idle > 0.5:
        lines.append(
            f"learners will be idle {found.learner_idle:.0%} of the time: {found.learn_per_s:,.0f} "
            f"decisions/s for rollouts of {found.sample_per_s:,.0f}; more rollout.workers or "
            "pool_actors, fewer placement.learners, or rollout.mode=asynchronous"
        )
    return lines


def parameters_of(init: str) -> int | None:
    """Of the policy in checkpoint directory ``init``; None if it is not here."""
    from policies.vlm.checkpoint import count_parameters

    return count_parameters(init) if (Path(init) / "config.json").is_file() else None
