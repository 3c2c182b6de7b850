"""Typed settings of every run; the one place where their defaults live.

A YAML file of ``configs/`` overrides them and ``key=value`` words of the command line override
both. Each class is frozen; ``load_config`` returns a resolved object whose every value was checked.
Ranges stand beside the default they limit; relations between settings are in ``relations``. The
simulator's own settings keep their defaults in ``sim.config``; only their ranges are here.

Imports neither torch nor ray.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from alpamayo.config_load import Bounds, number, read_config, to_yaml
from sim.config import SimConfig

__all__ = [
    "CONFIG_KINDS",
    "BranchingConfig",
    "CheckpointConfig",
    "CurriculumConfig",
    "DecodeConfig",
    "DemoConfig",
    "EvalConfig",
    "ExpertConfig",
    "InLoopEvalConfig",
    "LearnerConfig",
    "PlacementConfig",
    "PolicyConfig",
    "ReportConfig",
    "RolloutConfig",
    "RunConfig",
    "WarmstartConfig",
    "decode_options",
    "load_config",
    "policy_options",
    "relations",
    "to_yaml",
]


@dataclass(frozen=True)
class DecodeConfig:
    """How plans are decoded, see ``policies.vlm.decode``.

    ``mode``: ``executed_first`` (block diffusion; the step that will be driven in round 1, the rest
    in ``rounds - 1`` more), ``sequential`` (a token per round), ``threshold`` (whatever is surer
    than ``threshold``; all that is left in round ``max_rounds``, 0 = never), ``ar``, or
    ``self_speculation`` (drafts of ``block_size`` tokens; the plans of ``ar``). ``select``:
    ``sample`` at ``temperature``, ``greedy``, or ``expected`` (the mean over the bins).

    ``frozen = latency``: the steps that the last plan drives during ``sim.latency_s`` are given.
    ``think_every``: text of up to ``think_tokens`` before the plan of every so many decisions (0 =
    never; a network whose prompts are words).
    """

    mode: Literal["executed_first", "sequential", "threshold", "ar", "self_speculation"] = (
        "executed_first"
    )
    rounds: int = number(2, ge=1, le=64)
    temperature: float = number(1.0, ge=0.0, le=10.0)
    select: Literal["sample", "greedy", "expected"] = "sample"
    threshold: float = number(0.9, gt=0.0, le=1.0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    block_size: int = number(32, ge=1, le=64)
    max_rounds: int = number(0, ge=0, le=64)
    frozen: Literal["none", "latency"] = "none"
    think_every: int = number(0, ge=0)
    think_tokens: int = number(32, ge=1, le=4096)


@dataclass(frozen=True)
class PolicyConfig:
    """``init``: a checkpoint directory, or ``shipped`` for the weights that come along.

    ``device``: where `eval` and `bench` run it, on ``cuda`` by the captured engine, and where the
    pool of a training does, there without it. ``weights``:
    ``int8`` has a quarter of the bytes, for inference only. ``adapter``: the directory of a LoRA
    adapter that drafts for ``self_speculation``; empty = none.
    """

    init: str = "shipped"
    device: Literal["cpu", "cuda"] = "cpu"
    weights: Literal["full", "int8"] = "full"
    adapter: str = ""
    decode: DecodeConfig = field(default_factory=DecodeConfig)


@dataclass(frozen=True)
class BranchingConfig:
    """Groups that fork from a driven episode instead of starting a scenario.

    ``share`` of a worker's worlds (whole groups of ``group_size``, rounded down) go on from copies
    of its other worlds: ``random_share`` of these groups from any decision, the others from
    ``min_back_s`` to ``max_back_s`` before a failure, as long as there are failures.
    """

    share: float = number(0.0, ge=0.0, lt=1.0)
    group_size: int = number(8, ge=2, le=1024)
    min_back_s: float = number(1.2, ge=0.0)
    max_back_s: float = number(4.0, gt=0.0)
    random_share: float = number(0.25, ge=0.0, le=1.0)


@dataclass(frozen=True)
class RolloutConfig:
    """Worker processes and what each steps; ``group_size`` worlds share a scenario start.

    ``mode``: ``synchronous`` workers drive between updates. ``asynchronous`` ones drive all the
    time; an update learns from ``samples_per_update`` workers' samples (0: as many as there are
    workers), the weights that drove them at most ``max_staleness`` versions old.

    ``backend``: where plans are made, in each worker (``local``) or by ``pool_actors`` processes
    that hold the policy for all of them (``pool``). A pool actor decodes together what comes
    within ``pool_window_ms``, at most ``pool_batch`` worlds.
    """

    mode: Literal["synchronous", "asynchronous"] = "synchronous"
    max_staleness: int = number(2, ge=0, le=1000)
    samples_per_update: int = number(0, ge=0, le=4096)
    workers: int = number(2, ge=1, le=4096)
    worlds_per_worker: int = number(64, ge=1, le=65536)
    group_size: int = number(8, ge=1, le=1024)
    suite: str = "train"
    timeout_s: float = number(300.0, gt=0.0)
    backend: Literal["local", "pool"] = "local"
    pool_actors: int = number(1, ge=1, le=4096)
    pool_batch: int = number(256, ge=1)
    pool_window_ms: float = number(2.0, ge=0.0, le=1000.0)
    branching: BranchingConfig = field(default_factory=BranchingConfig)

    @property
    def update_samples(self) -> int:
        """Samples of an update, if all of them can be driven."""
        return self.samples_per_update or self.workers

    @property
    def branch_groups(self) -> int:
        """Branching groups of one worker's sample."""
        branching = self.branching
        return int(self.worlds_per_worker * branching.share / branching.group_size + 1e-9)

    @property
    def root_worlds(self) -> int:
        """Worlds of one worker that start a scenario; the others branch from them."""
        return self.worlds_per_worker - self.branch_groups * self.branching.group_size


# What adapters may stand beside, in every text layer.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LearnerConfig:
    """How the policy learns from its own driving, always on the exact trace likelihood.

    ``algorithm``: ``ppo`` is the clipped policy gradient; ``rft`` fits the policy to those of its
    own rollouts that went well; ``dagger`` fits it to what the expert would have done where the
    policy went. The learning rate falls linearly to ``lr_end`` times ``lr`` at the last iteration.

    Of ppo alone: ``advantage``: ``gae`` uses the value head, ``group`` compares the members of a
    group. ``clip_per``: the ratio of a whole plan, or of each of its tokens, is clipped.
    ``importance_cap`` > 0: ratios start from the learner's own weights instead of the recorded
    log-probabilities, and what lies between (older weights, other kernels) is a weight of at most
    this. ``expert_weight`` x the negative log-likelihood per token of what the expert would have
    driven is added in the rows learned from, ``expert_share`` of which are chosen for it (half by
    lot, half from failed episodes), the others by their advantage; the weight falls linearly to 0
    at ``expert_until`` of the iterations (0: it stays). In ``joint_fraction`` of them
    ``joint_weight`` x (AR + ``joint_diffusion`` x diffusion loss) of the expert's whole plan, as in
    the warm start.

    ``kl_weight`` ties the policy to the weights it started from or, with ``reference_every``
    > 0, to those of that many updates ago at most.

    ``strategy``: several learners (``placement.learners``) hold the weights each and add up their
    gradients (``ddp``, with one learner the same as ``local``), or hold a part of weights,
    gradients and optimizer state each (``fsdp2``). A minibatch is learned from in ``accumulate``
    parts whose gradients add up: the memory of one part. A minibatch whose loss or gradient is not
    finite is skipped; ``max_skipped`` in a row end the run.

    ``lora_rank`` > 0: all weights stay, and low-rank adapters of that rank, times ``lora_alpha`` /
    rank, are learned beside ``lora_targets`` of the text layers; the reference is the policy
    without them.
    """

    algorithm: Literal["ppo", "rft", "dagger"] = "ppo"

    iterations: int = number(30, ge=1)
    epochs: int = number(2, ge=1, le=64)
    minibatch: int = number(640, ge=1)
    lr: float = number(1.5e-4, gt=0.0, le=1.0)
    lr_end: float = number(1.0, gt=0.0, le=1.0)
    clip: float = number(0.2, gt=0.0, lt=1.0)
    clip_per: Literal["plan", "token"] = "plan"
    importance_cap: float = number(0.0, ge=0.0)
    gamma: float = number(0.97, gt=0.0, le=1.0)
    gae_lambda: float = number(0.95, ge=0.0, le=1.0)
    advantage: Literal["group", "gae"] = "gae"
    kl_weight: float = number(0.005, ge=0.0)
    kl_fraction: float = number(0.25, gt=0.0, le=1.0)
    reference_every: int = number(0, ge=0)
    scored_rounds: int = number(1, ge=1, le=64)
    keep_fraction: float = number(1.0, gt=0.0, le=1.0)
    value_weight: float = number(0.5, ge=0.0)
    value_lr: float = number(1e-3, gt=0.0, le=1.0)
    entropy_weight: float = number(0.0, ge=0.0)
    expert_weight: float = number(0.0, ge=0.0)
    expert_share: float = number(0.4, ge=0.0, le=1.0)
    expert_until: float = number(0.0, ge=0.0, le=1.0)
    joint_weight: float = number(0.0, ge=0.0)
    joint_fraction: float = number(0.25, gt=0.0, le=1.0)
    joint_diffusion: float = number(0.3, ge=0.0)
    max_grad_norm: float = number(1.0, gt=0.0)
    max_skipped: int = number(10, ge=1)
    strategy: Literal["local", "ddp", "fsdp2"] = "ddp"
    accumulate: int = number(1, ge=1, le=1024)
    lora_rank: int = number(0, ge=0, le=4096)
    lora_alpha: float = number(16.0, gt=0.0)
    lora_targets: tuple[str, ...] = LORA_TARGETS[:4]
    threads: int = number(2, ge=1, le=1024)
    dtype: Literal["float32", "bfloat16"] = "float32"
    freeze_vision: bool = False

    @property
    def has_critic(self) -> bool:
        return self.algorithm == "ppo" and self.advantage == "gae"

    @property
    def needs_expert(self) -> bool:
        """Whether rollouts are labelled with what the expert would do."""
        guided = self.algorithm == "ppo" and max(self.expert_weight, self.joint_weight) > 0
        return guided or self.algorithm == "dagger"


@dataclass(frozen=True)
class CurriculumConfig:
    """Which scenarios the rollouts start: ``uniform`` in the suite's shares, ``potential`` by what
    can be learned, see ``alpamayo.curriculum``.

    Every scenario keeps ``floor`` times its share of the suite, nominal twins together
    ``nominal_share`` times theirs. What was seen ``half_life`` iterations ago counts half.
    """

    kind: Literal["uniform", "potential"] = "uniform"
    floor: float = number(0.25, ge=0.0, le=1.0)
    nominal_share: float = number(0.8, ge=0.0, le=1.0)
    half_life: float = number(8.0, gt=0.0)
    failure_weight: float = number(0.1, ge=0.0)
    novelty_weight: float = number(0.5, ge=0.0)


@dataclass(frozen=True)
class PlacementConfig:
    """Which processes there are, and what each asks of the cluster.

    ``learners`` = 0: the learner lives in the process that drives the run. Where
    ``worker_resource``, ``learner_resource`` or ``pool_resource`` is set, its processes run only on
    nodes that have that custom resource of Ray (each takes a thousandth).
    """

    learners: int = number(0, ge=0, le=1024)
    learner_cpus: float = number(1.0, gt=0.0)
    learner_gpus: float = number(0.0, ge=0.0, le=1.0)
    learner_resource: str = ""
    worker_cpus: float = number(1.0, gt=0.0)
    worker_resource: str = ""
    pool_cpus: float = number(1.0, gt=0.0)
    pool_gpus: float = number(0.0, ge=0.0, le=1.0)
    pool_resource: str = ""


@dataclass(frozen=True)
class InLoopEvalConfig:
    """Evaluation on the way: ``episodes`` of ``suite`` every ``every`` iterations (0 = never),
    decoded as deployed. After ``patience`` evaluations without a better score the run ends (0: it
    does not).
    """

    suite: str = "heldout"
    episodes: int = number(64, ge=1)
    every: int = number(10, ge=0)
    patience: int = number(0, ge=0)
    decode: DecodeConfig = field(default_factory=lambda: DecodeConfig(select="greedy"))


@dataclass(frozen=True)
class CheckpointConfig:
    """A checkpoint after every ``every`` iterations; the last iteration always makes one."""

    every: int = number(5, ge=1)


@dataclass(frozen=True)
class RunConfig:
    """``alpamayo train``."""

    name: str = "train"
    seed: int = number(0, ge=0, lt=1_000_000)
    run_root: str = "runs"
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    sim: SimConfig = field(default_factory=SimConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    curriculum: CurriculumConfig = field(default_factory=CurriculumConfig)
    eval: InLoopEvalConfig = field(default_factory=InLoopEvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    placement: PlacementConfig = field(default_factory=PlacementConfig)


@dataclass(frozen=True)
class ReportConfig:
    """The demo's before/after comparison: paired episodes, ``batch`` worlds stepped together."""

    suite: str = "heldout"
    episodes: int = number(320, ge=2)
    batch: int = number(64, ge=1)
    decode: DecodeConfig = field(default_factory=DecodeConfig)


@dataclass(frozen=True)
class DemoConfig(RunConfig):
    """``alpamayo demo``: everything of a training run, and the report around it."""

    name: str = "demo"
    report: ReportConfig = field(default_factory=ReportConfig)


@dataclass(frozen=True)
class ExpertConfig:
    """Disturbances while the expert drives, so that the recordings hold recoveries too.

    In ``probability`` of the decisions, normal noise of ``accel_mps2`` and ``lateral_accel_mps2``
    is added to what is executed; what is learned stays the expert's own plan.
    """

    probability: float = number(0.4, ge=0.0, le=1.0)
    accel_mps2: float = number(1.2, ge=0.0, le=8.0)
    lateral_accel_mps2: float = number(1.0, ge=0.0, le=7.0)


@dataclass(frozen=True)
class WarmstartConfig:
    """``alpamayo warmstart``: the expert drives, then joint AR + ``diffusion_weight`` x diffusion
    fine-tuning.

    ``objective``: ``two_views`` of each plan (all masked, and partly), or ``published``: one view,
    each token masked with its row's probability, averaged over all tokens of the step.
    ``init``: a checkpoint directory to go on from; empty = fresh weights of ``size``.
    ``recordings``: a folder that keeps the recorded driving (gigabytes) and is read instead of
    driving again if it already holds any; empty = inside the run directory, deleted at the end.
    """

    name: str = "warmstart"
    seed: int = number(0, ge=0, lt=1_000_000)
    run_root: str = "runs"
    size: str = "tiny"
    init: str = ""
    suite: str = "realistic"
    episodes: int = number(2000, ge=1)
    validation_episodes: int = number(200, ge=1)
    recordings: str = ""
    epochs: int = number(20, ge=1)
    batch: int = number(128, ge=1)
    lr: float = number(1e-3, gt=0.0, le=1.0)
    weight_decay: float = number(0.01, ge=0.0, le=1.0)
    warmup_steps: int = number(100, ge=0)
    patience: int = number(2, ge=1)
    diffusion_weight: float = number(0.3, ge=0.0)
    objective: Literal["two_views", "published"] = "two_views"
    max_grad_norm: float = number(1.0, gt=0.0)
    max_skipped: int = number(10, ge=1)
    strategy: Literal["local", "ddp", "fsdp2"] = "ddp"
    accumulate: int = number(1, ge=1, le=1024)
    threads: int = number(2, ge=1, le=1024)
    dtype: Literal["float32", "bfloat16"] = "float32"
    expert: ExpertConfig = field(default_factory=ExpertConfig)
    sim: SimConfig = field(default_factory=SimConfig)


@dataclass(frozen=True)
class EvalConfig:
    """``alpamayo eval``: ``episodes`` of ``suite``; ``replays`` of them are recorded, failures
    first (0 = none, -1 = every failure).
    """

    name: str = "eval"
    seed: int = number(0, ge=0, lt=1_000_000)
    run_root: str = "runs"
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    suite: str = "heldout"
    episodes: int = number(320, ge=1)
    batch: int = number(64, ge=1)
    replays: int = number(4, ge=-1)
    threads: int = number(2, ge=1, le=1024)
    sim: SimConfig = field(default_factory=SimConfig)


CONFIG_KINDS: dict[str, type] = {
    "train": RunConfig,
    "demo": DemoConfig,
    "warmstart": WarmstartConfig,
    "eval": EvalConfig,
}

# Ranges of the simulator's settings, (class, field) -> bounds. Weights of reward terms are never
# negative.
SIM_BOUNDS: dict[tuple[str, str], Bounds] = {
    ("SimConfig", "tick_s"): Bounds(gt=0.0, le=0.5),
    ("SimConfig", "decision_s"): Bounds(gt=0.0, le=5.0),
    ("SimConfig", "latency_s"): Bounds(ge=0.0, le=5.0),
    ("SimConfig", "latency_jitter_s"): Bounds(ge=0.0, le=5.0),
    ("SimConfig", "actuator_delay_s"): Bounds(ge=0.0, le=0.8),
    ("SimConfig", "plan_steps"): Bounds(ge=1, le=64),
    ("SimConfig", "plan_step_s"): Bounds(gt=0.0, le=5.0),
    ("SimConfig", "max_actors"): Bounds(ge=1, le=256),
    ("SimConfig", "max_accel_mps2"): Bounds(gt=0.0, le=20.0),
    ("SimConfig", "max_brake_mps2"): Bounds(gt=0.0, le=20.0),
    ("SimConfig", "max_curvature_per_m"): Bounds(gt=0.0, le=1.0),
    ("SimConfig", "max_lateral_accel_mps2"): Bounds(gt=0.0, le=20.0),
    ("SimConfig", "actuator_lag_s"): Bounds(ge=0.0, le=5.0),
    ("RigConfig", "width_px"): Bounds(ge=14, le=4096),
    ("RigConfig", "height_px"): Bounds(ge=14, le=4096),
    ("RigConfig", "frames"): Bounds(ge=1, le=16),
    ("RigConfig", "frame_gap_s"): Bounds(gt=0.0, le=5.0),
    ("RigConfig", "supersample"): Bounds(ge=1, le=4),
    ("CameraConfig", "hfov_deg"): Bounds(gt=1.0, le=190.0),
    ("CameraConfig", "mount_height_m"): Bounds(gt=0.0, le=10.0),
    ("CameraConfig", "mount_x_m"): Bounds(ge=-5.0, le=5.0),
    ("CameraConfig", "mount_y_m"): Bounds(ge=-5.0, le=5.0),
    ("CameraConfig", "yaw_deg"): Bounds(ge=-180.0, le=180.0),
    ("CameraConfig", "pitch_down_deg"): Bounds(ge=-45.0, le=45.0),
    ("VehicleConfig", "*"): Bounds(gt=0.0),
    ("RewardConfig", "crash_least"): Bounds(ge=0.0, le=1.0),
    ("RewardConfig", "crash_full_mps"): Bounds(gt=0.0),
    ("RewardConfig", "*"): Bounds(ge=0.0),
}


def relations(config: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """(keys, what was expected of the first) for every relation between settings that does not
    hold.
    """
    sim: SimConfig = config.sim
    ticks = sim.decision_s / sim.tick_s
    if abs(ticks - round(ticks)) > 1e-6 or round(ticks) < 1:
        yield (
            ("sim.decision_s", "sim.tick_s"),
            f"expected a multiple of sim.tick_s = {sim.tick_s:g}, got {sim.decision_s:g}",
        )
    if sim.latency_s > sim.decision_s:
        yield (
            ("sim.latency_s", "sim.decision_s"),
            f"expected at most sim.decision_s = {sim.decision_s:g}, got {sim.latency_s:g}",
        )
    horizon_s = sim.plan_steps * sim.plan_step_s
    if horizon_s < sim.decision_s + sim.latency_s:
        yield (
            ("sim.plan_steps", "sim.plan_step_s", "sim.decision_s", "sim.latency_s"),
            f"expected a plan of at least decision + latency, got {horizon_s:g} s",
        )
    for key, decode in _decodes(config):
        if decode.max_rounds > 2 * sim.plan_steps:
            yield (
                (f"{key}.max_rounds", "sim.plan_steps"),
                f"expected at most the {2 * sim.plan_steps} tokens of a plan, "
                f"got {decode.max_rounds}",
            )
        frozen_s = decode_options(decode, sim)["frozen_s"]
        if frozen_s + sim.decision_s > horizon_s:
            yield (
                (f"{key}.frozen", "sim.plan_steps", "sim.latency_s"),
                f"expected a plan of at least latency + decision, got {horizon_s:g} s",
            )
        if decode.rounds > 2 * sim.plan_steps:
            yield (
                (f"{key}.rounds", "sim.plan_steps"),
                f"expected at most the {2 * sim.plan_steps} tokens of a plan, got {decode.rounds}",
            )
    if isinstance(config, RunConfig):
        rollout = config.rollout
        yield from _branching_relations(rollout)
        if rollout.samples_per_update and rollout.mode == "synchronous":
            yield (
                ("rollout.samples_per_update", "rollout.mode"),
                "expected 0 with rollout.mode = synchronous (an update learns from every worker's "
                f"sample), got {rollout.samples_per_update}",
            )
        if rollout.worlds_per_worker % rollout.group_size:
            yield (
                ("rollout.worlds_per_worker", "rollout.group_size"),
                f"expected a multiple of rollout.group_size = {rollout.group_size}, "
                f"got {rollout.worlds_per_worker}",
            )
        yield from _training_relations(config)
        if config.learner.advantage == "group" and rollout.group_size < 2:
            yield (
                ("rollout.group_size", "learner.advantage"),
                "expected at least 2 with learner.advantage = group, got 1",
            )


def _branching_relations(rollout: RolloutConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    branching = rollout.branching
    if branching.max_back_s < branching.min_back_s:
        yield (
            ("rollout.branching.max_back_s", "rollout.branching.min_back_s"),
            f"expected at least rollout.branching.min_back_s = {branching.min_back_s:g}, "
            f"got {branching.max_back_s:g}",
        )
    if branching.share == 0.0:
        return
    keys = ("rollout.branching.share", "rollout.worlds_per_worker", "rollout.branching.group_size")
    if not rollout.branch_groups:
        yield (
            keys,
            (
                f"expected room for a group of {branching.group_size} "
                f"(rollout.branching.group_size), got {branching.share:g} of "
                f"{rollout.worlds_per_worker} worlds"
            ),
        )
    elif rollout.root_worlds % rollout.group_size or not rollout.root_worlds:
        yield (
            keys,
            (
                f"expected to leave a multiple of rollout.group_size = {rollout.group_size}, "
                f"got {rollout.root_worlds} beside {rollout.branch_groups} branching groups"
            ),
        )


def _training_relations(config: RunConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    """Settings of the policy that only evaluation knows, and of the learner for some policies."""
    decode = config.policy.decode
    if config.learner.expert_weight > 0 and decode.mode in ("ar", "self_speculation"):
        yield (
            ("learner.expert_weight", "policy.decode.mode"),
            f"expected 0 with policy.decode.mode = {decode.mode}, whose second token is given the "
            "policy's first; learner.joint_weight has an AR term",
        )
    for key, wanted in (("weights", "full"), ("adapter", "")):
        if getattr(config.policy, key) != wanted:
            yield (f"policy.{key}",), f"expected {wanted or 'none'} while training"
    place = config.placement
    yield from _pool_relations(config)
    if not place.learners and (place.learner_gpus or place.learner_resource):
        yield (
            ("placement.learners", "placement.learner_gpus", "placement.learner_resource"),
            "expected at least 1 where learners ask for GPUs or a resource, got 0",
        )
    yield from _adapter_relations(config.learner)
    strategy = config.learner.strategy
    if (strategy == "local" and place.learners > 1) or (strategy == "fsdp2" and place.learners < 2):
        wanted = "at most 1" if strategy == "local" else "at least 2"
        yield (
            ("placement.learners", "learner.strategy"),
            f"expected {wanted} with learner.strategy = {strategy}, got {place.learners}",
        )
    if config.eval.patience and not config.eval.every:
        yield (
            ("eval.patience", "eval.every"),
            f"expected 0 without evaluations (eval.every = 0), got {config.eval.patience}",
        )
    if decode.frozen != "none" or decode.think_every:
        key = "frozen" if decode.frozen != "none" else "think_every"
        wanted = "none" if key == "frozen" else "0"
        yield (
            (f"policy.decode.{key}",),
            f"expected {wanted} while training: rollouts remember no decision before",
        )


def _pool_relations(config: RunConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    place, pooled = config.placement, config.rollout.backend == "pool"
    if config.policy.device == "cuda" and not (pooled and place.pool_gpus):
        yield (
            ("policy.device", "rollout.backend", "placement.pool_gpus"),
            "expected cpu while training, unless rollout.backend = pool and "
            "placement.pool_gpus is above 0",
        )
    if not pooled and (place.pool_gpus or place.pool_resource):
        yield (
            ("rollout.backend", "placement.pool_gpus", "placement.pool_resource"),
            "expected pool where its actors ask for GPUs or a resource, got local",
        )


def _adapter_relations(learner: LearnerConfig) -> Iterator[tuple[tuple[str, ...], str]]:
    if not learner.lora_rank:
        return
    unknown = [name for name in learner.lora_targets if name not in LORA_TARGETS]
    if unknown or not learner.lora_targets:
        got = ", ".join(unknown) or "none"
        yield ("learner.lora_targets",), f"expected some of {', '.join(LORA_TARGETS)}, got {got}"
    if learner.reference_every:
        yield (
            ("learner.reference_every", "learner.lora_rank"),
            "expected 0 with adapters, whose reference is the start, "
            f"got {learner.reference_every}",
        )


def _decodes(config: Any) -> Iterator[tuple[str, DecodeConfig]]:
    if hasattr(config, "policy"):
        yield "policy.decode", config.policy.decode
    if isinstance(config, RunConfig):
        yield "eval.decode", config.eval.decode
    if hasattr(config, "report"):
        yield "report.decode", config.report.decode


def load_config(
    kind: str, path: str | None = None, dotlist: list[str] | tuple[str, ...] = ()
) -> Any:
    """Defaults, then the YAML file at ``path`` if any, then ``key=value`` words; checked, resolved
    and frozen.

    ``kind`` is a key of CONFIG_KINDS. Raises RequestError naming file and line, or the word of the
    command line.
    """
    return read_config(
        CONFIG_KINDS[kind], path, dotlist, extra_bounds=SIM_BOUNDS, relations=relations
    )


def decode_options(decode: DecodeConfig, sim: SimConfig) -> dict[str, Any]:
    """The fields of ``policies.vlm.DecodeConfig``: options of ``policies.registry.load_policy`` and
    of ``policies.vlm.VLMPolicy``."""
    options = asdict(decode)
    frozen = options.pop("frozen") == "latency"
    return {**options, "frozen_s": sim.expected_latency_s if frozen else 0.0}


def policy_options(policy: PolicyConfig, sim: SimConfig) -> dict[str, Any]:
    """Everything that ``policies.registry.load_policy`` takes besides the policy's name."""
    place = {"device": policy.device, "weights": policy.weights, "adapter": policy.adapter}
    return {**decode_options(policy.decode, sim), **place}
