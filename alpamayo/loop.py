"""The RLlib Algorithm: sample with published weights, learn, publish. One call of ``train`` is one
iteration.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from ray.exceptions import RayError
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from alpamayo.config import RunConfig
from alpamayo.curriculum import Curriculum, UniformCurriculum, make_curriculum
from alpamayo.learner.faults import LearnerLost
from alpamayo.learner.learner import PostTrainLearner
from alpamayo.learner.module import PostTrainModule
from alpamayo.metrics import is_failure
from alpamayo.placement import custom, learner_resources, worker_resources
from alpamayo.rollout.branching import BranchEpisode
from alpamayo.rollout.collect import Rollout
from alpamayo.rollout.columns import RolloutBatch, merge, split_groups, summary
from alpamayo.rollout.ledger import FAILED, Ledger
from alpamayo.rollout.pool import Pool, pool_names
from alpamayo.rollout.runner import RolloutRunner, runner_spaces
from alpamayo.rollout.sampling import make_sampler
from alpamayo.rollout.stream import SampleStream
from alpamayo.rollout.transport import ObjectStoreTransport, WeightsHandle
from alpamayo.types import CheckFailed, EpisodeResult, IntArray
from policies.vlm.schedule import CAUSAL_MODES

logger = logging.getLogger(__name__)

PROBE_S = 1.0  # how long an iteration waits for a dead worker that may be back
RESTART_S = 120.0  # how long it waits when no worker is left at all
COUNTS = ("decisions_trained", "decisions_left_out")


class PostTrainConfig(AlgorithmConfig):
    """``PostTrainConfig.of(run, init)`` translates a RunConfig into what RLlib needs."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or PostTrain)

    @classmethod
    def of(cls, run: RunConfig, init: str) -> PostTrainConfig:
        """``init`` is a checkpoint directory that the learner can read; workers never do."""
        from policies.vlm.checkpoint import load_config

        place = run.placement
        architecture = load_config(init)
        observation, action = runner_spaces(run)
        config = cls()
        config.environment(
            observation_space=observation,
            action_space=action,
            env_config={"run": run, "architecture": architecture, "pool": pool_names(run)},
        )
        config.env_runners(
            env_runner_cls=RolloutRunner,
            num_env_runners=run.rollout.workers,
            num_cpus_per_env_runner=place.worker_cpus,
            custom_resources_per_env_runner=custom(worker_resources(place)),
            # RLlib's local runner would hold one more model and simulator in this process.
            create_local_env_runner=False,
            sample_timeout_s=run.rollout.timeout_s,
        )
        config.fault_tolerance(
            restart_failed_env_runners=True,
            env_runner_health_probe_timeout_s=PROBE_S,
        )
        config.learners(
            learner_class=PostTrainLearner,
            num_learners=place.learners,
            num_cpus_per_learner=place.learner_cpus,
            num_gpus_per_learner=place.learner_gpus,
            custom_resources_per_learner=custom(learner_resources(place)),
        )
        config.rl_module(
            model_config={
                "init": init,
                "learner": run.learner,
                "temperature": run.policy.decode.temperature,
                "causal": run.policy.decode.mode in CAUSAL_MODES,
            }
        )
        config.debugging(seed=run.seed, log_level="CRITICAL")
        # Weights and states are pulled by version at the start of every sample.
        config._dont_auto_sync_env_runner_states = True
        return config

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=PostTrainModule)


class PostTrain(Algorithm):
    """The closed loop: ``loop_iteration`` finished iterations, ``version`` published updates."""

    def setup(self, config: AlgorithmConfig) -> None:
        settings = config.env_config
        self.run: RunConfig = settings["run"]
        self.pool = Pool(self.run, settings["architecture"], settings["pool"])
        super().setup(config)
        self.loop_iteration = 0
        self.should_stop: Callable[[], bool] = bool
        self.episodes: list[EpisodeResult] = []  # of the last iteration, also the failed ones
        self.branches: list[BranchEpisode] = []  # what forked from them
        self.curriculum = self._make_curriculum()
        self.decisions = 0
        self.ledger = Ledger()
        self.stream = SampleStream(self.env_runner_group, self.ledger)
        self.sampler = make_sampler(self.run.rollout, self)
        base = self._from_learner(lambda learner: learner.published(trainable_only=False))
        self.transport = ObjectStoreTransport(base)
        self.weights = self._publish()

    @property
    def version(self) -> int:
        return self.weights.version

    # One iteration ----------------------------------------------------------------------------
    def training_step(self) -> None:
        started = time.perf_counter()
        self.stream.step = self.loop_iteration + 1
        rollouts = self.sampler.gather(self.loop_iteration)
        sampled = time.perf_counter()
        batches = [r.batch for r in rollouts if r.batch is not None]
        for failed in (r for r in rollouts if r.batch is None):
            self.ledger.dropped(self.stream.step, failed.number, FAILED, error=failed.error)
        self.episodes = [episode for r in rollouts for episode in r.episodes]
        self.branches = [branch for r in rollouts for branch in r.branches]
        if not batches:
            raise CheckFailed(f"every episode of the iteration failed: {rollouts[0].error}")
        batch = merge(batches)
        merged = time.perf_counter()
        learned = self.sampler.while_learning(partial(self._learn, batch))
        updated = time.perf_counter()
        self._check_learned(learned)
        staleness = self.version - batch.weights_version
        self._note_trained(rollouts)
        self.weights = self._publish()
        self.loop_iteration += 1
        self.decisions += batch.num_decisions
        finished = time.perf_counter()

        rate = learned.pop("learning_rate")
        self._log("losses", {k: v for k, v in learned.items() if "/" not in k})
        self._log("time", {k.partition("/")[2]: v for k, v in learned.items() if "/" in k})
        episodes = summary(batch)
        self._log("rollout", episodes)
        self._log("rollout", rollout_metrics(self.episodes) | branch_metrics(self.branches))
        self._log("curriculum", self.curriculum.observe(self.episodes))
        self._log(
            "rollout",
            {
                "staleness": float(staleness.mean()),
                "staleness_max": float(staleness.max()),
                "weights_version": float(batch.weights_version.mean()),
                **{f"staleness_share_{n}": share for n, share in staleness_shares(staleness)},
                **self.ledger.recent(),
                "workers": float(self._driving(batches)),
                "plans_asked_again": float(sum(r.retries for r in rollouts)),
                "decisions": float(batch.num_decisions),
                "megabytes": batch.nbytes() / 1e6,
                "weights_megabytes": self.weights.nbytes / 1e6,
            },
        )
        seconds = {
            "sample_s": sampled - started,
            "merge_s": merged - sampled,
            "learn_s": updated - merged,
            "publish_s": finished - updated,
            "iteration_s": finished - started,
        }
        for part in ("observe", "plan", "label", "step", "pull"):
            seconds[f"worker_{part}_s"] = float(np.mean([r.seconds.get(part, 0) for r in rollouts]))
        seconds["workers_cpu_s"] = sum(r.seconds.get("cpu", 0.0) for r in rollouts)
        waited = sum(r.seconds.get("wait", 0.0) for r in rollouts)
        busy = sum(r.seconds.get("total", 0.0) + r.seconds.get("pull", 0.0) for r in rollouts)
        seconds["worker_idle_share"] = waited / max(waited + busy, 1e-9)
        seconds["learner_idle_share"] = 1.0 - (updated - merged) / (finished - started)
        self._log("time", seconds)
        self._log(
            "charts",
            {
                "SPS": batch.num_decisions / (finished - started),
                "iteration": float(self.loop_iteration),
                "weights_version": float(self.version),
                "global_step": float(self.decisions),
                "learning_rate": rate,
                "episodic_return": episodes["reward"],
                "episodic_length": episodes["episode_decisions"],
            },
        )

    def _log(self, section: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.metrics.log_value((section, name), value, window=1)

    # What the sampler asks ---------------------------------------------------------------------
    def request(self, number: int) -> Callable[[RolloutRunner], Rollout]:
        """Sample ``number``, to be driven by the newest weights."""
        uniform = isinstance(self.curriculum, UniformCurriculum)
        return partial(
            RolloutRunner.sample,
            number=number,
            weights=self.weights,
            shares=None if uniform else self.curriculum.shares,
        )

    def wake_workers(self) -> None:
        self.env_runner_group.probe_unhealthy_env_runners(timeout_seconds=RESTART_S)

    def keep_ledger(self, ledger: Ledger) -> None:
        """From now on samples are accounted for there."""
        self.ledger = self.stream.ledger = ledger

    def _note_trained(self, rollouts: list[Rollout]) -> None:
        for rollout in rollouts:
            if rollout.batch is not None:
                self.ledger.trained(
                    self.stream.step,
                    rollout.number,
                    self.version,
                    weights_version=rollout.weights_version,
                    groups=len(np.unique(rollout.batch.group)),
                    episodes=rollout.batch.num_worlds,
                    decisions=rollout.batch.num_decisions,
                )

    def _driving(self, batches: list[RolloutBatch]) -> int:
        """Workers that answered or, where they drive all the time, live."""
        if self.run.rollout.mode == "synchronous":
            return len(batches)
        return len(self.env_runner_group.healthy_worker_ids())

    def _make_curriculum(self) -> Curriculum:
        from scenarios.suites import load_training_suite

        suite = load_training_suite(self.run.rollout.suite)
        nominal = frozenset(name for name in suite.shares if suite.load(name).nominal)
        return make_curriculum(suite.shares, nominal, self.run.curriculum)

    def _learn(self, batch: RolloutBatch) -> dict[str, float]:
        with self._learner_watched():
            return self._update(batch)

    @contextlib.contextmanager
    def _learner_watched(self) -> Iterator[None]:
        """Raise LearnerLost for whatever goes wrong because a learner is dead."""
        group = self.learner_group
        try:
            yield
        except (RayError, StopIteration) as error:
            # RLlib asks only living learners, so one that is dead already has no answer.
            if group.is_local or len(group._worker_manager.healthy_actor_ids()) == len(group):
                raise
            raise LearnerLost("a learner process died") from error

    def _update(self, batch: RolloutBatch) -> dict[str, float]:
        learners = max(len(self.learner_group), 1)
        if learners == 1 and self.learner_group.is_local:
            return self.learner_group.update(training_data=TrainingData(batch=batch))[0]
        shards = split_groups(batch, learners)
        results = self.learner_group.update(
            training_data=TrainingData(batches=shards),
            minibatches=self._minibatches(batch.num_decisions),
        )
        if not results:  # RLlib asks only living learners
            raise LearnerLost("every learner process has died")
        # A learner without rows in any minibatch has no losses to tell.
        names = dict.fromkeys(name for r in results for name in r)
        told = {name: [r[name] for r in results if name in r] for name in names}
        return {
            name: float(np.sum(values) if name in COUNTS else np.mean(values))
            for name, values in told.items()
        }

    def _check_learned(self, learned: dict[str, float]) -> None:
        """End a run that learns nothing any more."""
        limit = self.run.learner.max_skipped
        if learned.get("skipped_in_a_row", 0.0) >= limit:
            raise CheckFailed(
                f"iteration {self.loop_iteration + 1}: loss or gradient of {limit} minibatches in "
                "a row was not finite (learner.max_skipped); the checkpoints hold what was "
                "learned before"
            )

    def _minibatches(self, decisions: int) -> int:
        """Of an epoch: as many as one learner would make, and each learner has its part of each."""
        settings = self.run.learner
        return max(1, round(decisions * settings.keep_fraction / settings.minibatch))

    def _publish(self) -> WeightsHandle:
        version = self._from_learner(lambda learner: learner.updates)
        tensors = self._from_learner(lambda learner: learner.published(trainable_only=True))
        return self.transport.publish(version, tensors)

    def _from_learner(self, func: Any) -> Any:
        """``func(learner)`` of the first learner that has an answer; all are asked, because they
        may hold the weights together.
        """
        with self._learner_watched():
            results = list(self.learner_group.foreach_learner(func))
            for result in results:
                if not result.ok:
                    raise result.get()
            return next(r.get() for r in results if r.get() is not None)

    def cleanup(self) -> None:
        super().cleanup()
        self.pool.stop()

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        """Restarted workers need no state from us: the next sample request brings the weights
        along.
        """
        restored = env_runner_group.probe_unhealthy_env_runners()
        for index in restored:
            logger.warning("rollout worker %d is back", index)
        return restored

    # Checkpoints --------------------------------------------------------------------------------
    def training_state(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
        """(learned tensors, optimizer tensors, counters), see PostTrainLearner.training_state."""
        learned, moments, updates = self._from_learner(lambda learner: learner.training_state())
        counters = {
            "iteration": self.loop_iteration,
            "updates": updates,
            "decisions": self.decisions,
        }
        return learned, moments, counters

    def load_training_state(
        self, learned: dict[str, Any], moments: dict[str, Any], counters: dict[str, int]
    ) -> None:
        updates = counters["updates"]
        self.learner_group.foreach_learner(
            lambda learner: learner.load_training_state(learned, moments, updates)
        )
        self.loop_iteration = counters["iteration"]
        self.decisions = counters["decisions"]
        self.weights = self._publish()


def staleness_shares(staleness: IntArray) -> list[tuple[int, float]]:
    """(versions, share of the episodes) for every staleness [B] that occurs."""
    values, counts = np.unique(staleness, return_counts=True)
    return [(int(v), float(n) / len(staleness)) for v, n in zip(values, counts, strict=True)]


def rollout_metrics(episodes: list[EpisodeResult]) -> dict[str, float]:
    """Rates over the driven episodes, and the share of episodes that failed to run."""
    driven = [e for e in episodes if e.end != "failed"]
    count = max(len(driven), 1)
    return {
        "failure_rate": sum(is_failure(e) for e in driven) / count,
        "collision_rate": sum(e.collision for e in driven) / count,
        "at_fault_rate": sum(e.at_fault for e in driven) / count,
        "off_road_rate": sum(e.off_road for e in driven) / count,
        "red_light_rate": sum(e.red_light for e in driven) / count,
        "progress_m": sum(e.progress_m for e in driven) / count,
        "mean_speed_mps": sum(e.mean_speed_mps for e in driven) / count,
        "broken": float(len(episodes) - len(driven)),
        "episodes": float(len(episodes)),
    }


def branch_metrics(branches: list[BranchEpisode]) -> dict[str, float]:
    """How many forks there were and how they ended; they are no part of the rates above, because
    where they start was chosen for the danger."""
    failed = sum(is_failure(b.result) for b in branches)
    return {
        "branch_episodes": float(len(branches)),
        "branch_failure_rate": failed / max(len(branches), 1),
        "branch_groups": float(len({b.group for b in branches})),
        "branch_groups_before_failures": float(
            len({b.group for b in branches if b.point.reason == "failure"})
        ),
    }
