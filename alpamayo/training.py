"""Drives a training run: Ray, the loop, metrics, checkpoints, evaluation on the way, Ctrl-C and
resuming.

Ctrl-C (or SIGTERM) while workers drive ends at once, while the learner updates it ends after the
update; either way the last finished iteration is saved and the run can go on exactly from there. A
second Ctrl-C saves nothing more.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from alpamayo.config import RunConfig
from alpamayo.curriculum_plot import write_plot
from alpamayo.learner.faults import LearnerLost
from alpamayo.log import MetricsWriter, Progress
from alpamayo.paths import resolve_policy
from alpamayo.replay.files import write_whole
from alpamayo.rollout.ledger import LEARNER, Ledger
from alpamayo.run_dir import RunDir
from alpamayo.types import RequestError

if TYPE_CHECKING:
    from alpamayo.loop import PostTrain

logger = logging.getLogger(__name__)

LOSSES = 3  # learners that die in a row after the same checkpoint end the run
SECTIONS = ("charts", "curriculum", "losses", "rollout", "time")
EPISODES, BRANCHES, LEDGER = "episodes.jsonl", "branches.jsonl", "ledger.jsonl"
NO_SCORE = -1.0  # below every driving score


@dataclass(frozen=True)
class TrainResult:
    """``checkpoint``: the last one; ``metrics``: of the last iteration this call ran, by name;
    ``stopped_early``: before its last iteration, see ``eval.patience``.
    """

    run_dir: Path
    checkpoint: Path
    iterations: int
    metrics: dict[str, float]
    stopped_early: bool = False


class StopSignal:
    """Turns the first SIGINT or SIGTERM into a request that the loop honours at the next safe
    point.

    Outside ``deferred`` (start-up, shut-down) and on the second signal it is KeyboardInterrupt at
    once.
    """

    def __init__(self) -> None:
        self.requested = False
        self.on_request: Callable[[], None] | None = None
        self._deferred = False

    def __call__(self, *_: Any) -> bool:
        return self.requested

    @contextlib.contextmanager
    def installed(self) -> Iterator[StopSignal]:
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if again or not self._deferred:
            raise KeyboardInterrupt
        if self.on_request is not None:
            self.on_request()


def train(
    config: RunConfig,
    run: RunDir,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Run ``config.learner.iterations`` iterations in all; with ``resume`` go on from the run's
    last checkpoint.

    Raises KeyboardInterrupt after a clean stop; the run directory is then ready to resume.
    """
    from alpamayo.learner import checkpoint
    from alpamayo.learner.lora import check_same

    # Everything that can be wrong with the request is found out before Ray starts.
    init = resolve_policy(config.policy.init)
    check_request(config, init)
    newest = checkpoint.latest(run.checkpoints_dir) if resume else None
    state = checkpoint.load(newest) if newest else None  # stopped before the first: from the start
    if state is not None and state.counters["iteration"] >= config.learner.iterations:
        raise RequestError(
            f"{run.path}: the run has finished its {config.learner.iterations} iterations; "
            "raise learner.iterations to go on"
        )
    if state is not None:
        check_same(str(newest), state.learned, config.learner)
    patience = config.eval.patience
    if state is not None and _enough(evaluations(run, state.counters["iteration"]), patience):
        raise RequestError(
            f"{run.path}: the run has stopped early, after {patience} evaluations without a better "
            "score; raise eval.patience to go on"
        )
    from alpamayo.loop import PostTrainConfig
    from alpamayo.rollout.ray_session import quiet_stderr, ray_session

    progress = progress or Progress("train", config.learner.iterations, quiet=True)
    for said in advice(config):
        progress.say(said)
    stop = StopSignal()
    stop.on_request = lambda: progress.say(
        "stopping after the current update; Ctrl-C again: at once"
    )
    # Installed again inside, because Ray sets its own SIGTERM handler while it starts.
    with stop.installed(), ray_session(config), stop.installed():
        losses, reached = 0, -1
        while True:
            with quiet_stderr():
                algorithm: PostTrain = PostTrainConfig.of(config, init).build_algo()
            try:
                algorithm.should_stop = stop
                if state is not None:
                    algorithm.load_training_state(state.learned, state.moments, state.counters)
                    algorithm.curriculum.load_state(state.curriculum)
                return _Run(config, run, algorithm, progress, stop).go()
            except LearnerLost:
                newest = checkpoint.latest(run.checkpoints_dir)
                state = checkpoint.load(newest) if newest else None
                done = state.counters["iteration"] if state else 0
                losses, reached = losses + 1 if done == reached else 1, done
                if losses == LOSSES:
                    raise
                progress.say(f"a learner process died; going on after iteration {done}")
            finally:
                with stop.deferred():
                    algorithm.stop()


def check_request(config: RunConfig, init: str) -> None:
    """Raise RequestError for a policy or suite that cannot be used.

    Also for a decode whose traces have no exact likelihood.
    """
    from policies.vlm.checkpoint import load_config
    from policies.vlm.image_input import check_sizes
    from scenarios.suites import load_selection_suite, load_training_suite

    decode = config.policy.decode
    if decode.mode == "threshold":
        raise RequestError(
            "policy.decode.mode: training needs executed_first, sequential, ar or "
            f"self_speculation, whose traces have an exact likelihood; got {decode.mode}"
        )
    if decode.select != "sample" or decode.temperature == 0.0:
        raise RequestError(
            "policy.decode: training needs select = sample at a temperature above 0, "
            f"got {decode.select} at {decode.temperature:g}"
        )
    network, rig = load_config(init), config.sim.rig
    if network.prompt.layout == "chat":
        raise RequestError(
            f"{init}: prompt.layout = chat: training needs a network whose prompts are ids "
            "(prompt.layout = ids): workers have no tokenizer"
        )
    if rig is not None:
        images = len(rig.cameras) * rig.frames
        budget = network.prompt.max_image_tokens
        check_sizes(images, rig.height_px, rig.width_px, config=network, budget=budget)
    load_training_suite(config.rollout.suite)
    if config.eval.every:
        load_selection_suite(config.eval.suite)


def advice(config: RunConfig) -> list[str]:
    """What a user of asynchronous sampling should know about these settings; [] if nothing."""
    settings, learner = config.rollout, config.learner
    if settings.mode != "asynchronous":
        return []
    said = []
    if settings.max_staleness and learner.algorithm == "ppo" and not learner.importance_cap:
        said.append(
            "rollout.mode = asynchronous learns from rollouts of older weights, and "
            "learner.importance_cap = 0 leaves their ratios to the clip alone; "
            "2 would truncate their importance weights"
        )
    busy = settings.update_samples * (settings.max_staleness + 1)
    if busy < settings.workers:
        said.append(
            f"rollout.max_staleness = {settings.max_staleness} keeps at most {busy} of "
            f"{settings.workers} workers driving; raise it or rollout.samples_per_update"
        )
    return said


class _Run:
    """The iterations of one call of ``train``."""

    def __init__(
        self,
        config: RunConfig,
        run: RunDir,
        algorithm: PostTrain,
        progress: Progress,
        stop: StopSignal,
    ) -> None:
        self.config, self.run, self.algorithm = config, run, algorithm
        self.progress, self.stop = progress, stop
        self.architecture = algorithm.config.env_config["architecture"]
        self.saved = -1
        self.checkpoint = run.checkpoints_dir
        self.metrics: dict[str, float] = {}
        self.scores: list[float] = []  # of every evaluation

    def go(self) -> TrainResult:
        algorithm, total = self.algorithm, self.config.learner.iterations
        done = algorithm.loop_iteration
        drop_rows_after(self.run.metrics_file, done)
        for name in (EPISODES, BRANCHES):
            drop_rows_after(self.run.path / name, done)
        algorithm.keep_ledger(Ledger.open(self.run.path / LEDGER, done))
        self.saved = done if done else -1
        lost: LearnerLost | None = None
        self.scores = evaluations(self.run, done)
        early = False
        with MetricsWriter(self.run.metrics_file, self.run.tensorboard_dir) as writer:
            try:
                with self.stop.deferred():
                    while algorithm.loop_iteration < total and not self.stop.requested:
                        self._iterate(writer)
                        if early := _enough(self.scores, self.config.eval.patience):
                            break
            except LearnerLost as error:
                # Nothing is left to save; what was learned since the last checkpoint is lost.
                lost = error
                algorithm.ledger.undo_after(max(self.saved, 0), LEARNER)
                raise
            finally:
                with self.stop.deferred():
                    if lost is None:  # also after an error: what was learned is not lost
                        algorithm.ledger.settle(algorithm.loop_iteration)
                        self._save()
        if self.config.curriculum.kind != "uniform":
            write_plot(self.run.metrics_file, self.run.path / "curriculum.svg")
        if self.stop.requested:
            raise KeyboardInterrupt
        done = algorithm.loop_iteration
        if early:
            best = self.run.status.get("best_checkpoint")
            self.run.set_status("running", stopped_early=done)
            self.progress.say(
                f"stopped early after iteration {done}: no better score in "
                f"{self.config.eval.patience} evaluations; the best checkpoint is {best}"
            )
        return TrainResult(self.run.path, self.checkpoint, done, self.metrics, early)

    def _iterate(self, writer: MetricsWriter) -> None:
        algorithm = self.algorithm
        try:
            result = algorithm.train()
        except KeyboardInterrupt:
            # Raised by the loop while it waited for workers: nothing of this iteration was learned.
            self.stop.requested = True
            return
        step = algorithm.loop_iteration
        metrics = flatten(result)
        if self._due(self.config.eval.every):
            started = time.perf_counter()
            metrics |= self._evaluate()
            metrics["time/eval_s"] = time.perf_counter() - started
            self.progress.say(
                f"evaluation after iteration {step}: failures {metrics['eval/failure_rate']:.1%}, "
                f"driving score {metrics['eval/driving_score']:.3f}"
            )
            self._mark_best(evaluation_score(metrics))
        if self._due(self.config.checkpoint.every):
            started = time.perf_counter()
            self._save()
            metrics["time/checkpoint_s"] = time.perf_counter() - started
        writer.write(step, metrics)
        self._append(EPISODES, [{"step": step, **asdict(e)} for e in algorithm.episodes])
        self._append(BRANCHES, [{"step": step, **asdict(b)} for b in algorithm.branches])
        self.metrics = metrics
        broken = [e for e in algorithm.episodes if e.error]
        if broken:
            self.progress.say(
                f"iteration {step}: {len(broken)} episodes failed to run: {broken[0].error}"
            )
        if metrics.get("rollout/workers", 0) < self.config.rollout.workers:
            said = "answered" if self.config.rollout.mode == "synchronous" else "alive"
            self.progress.say(
                f"iteration {step}: {metrics['rollout/workers']:.0f} of "
                f"{self.config.rollout.workers} workers {said}"
            )
        self.progress.update(step, **headline(metrics))

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if rows:
            with (self.run.path / name).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row, default=float) + "\n" for row in rows)

    def _due(self, every: int) -> bool:
        return every > 0 and self.algorithm.loop_iteration % every == 0

    def _save(self) -> None:
        from alpamayo.learner import checkpoint

        if self.saved == self.algorithm.loop_iteration:
            return
        state = checkpoint.TrainingState(
            *self.algorithm.training_state(), self.algorithm.curriculum.state()
        )
        self.checkpoint = checkpoint.save(self.run.checkpoints_dir, state, self.architecture)
        self.saved = self.algorithm.loop_iteration

    def _mark_best(self, score: float) -> None:
        """Keep the checkpoint with the best score so far, and say so in the run's status."""
        better = score > max(self.scores, default=NO_SCORE)
        self.scores.append(score)
        if not better:
            return
        self._save()
        name = self.checkpoint.name
        self.run.set_status("running", best_checkpoint=name, best_score=round(score, 4))

    def _evaluate(self) -> dict[str, float]:
        """Failure rate and score of the policy as it is, on held-out seeds, in this process."""
        from alpamayo.evaluation.runner import run_episodes
        from alpamayo.learner import checkpoint
        from alpamayo.loop import rollout_metrics
        from alpamayo.metrics import driving_score
        from alpamayo.rollout.backend import make_policy
        from scenarios.suites import load_selection_suite

        settings = self.config.eval
        state = checkpoint.TrainingState(*self.algorithm.training_state())
        model = checkpoint.policy_model(self.architecture, state.policy())
        policy = make_policy(model, settings.decode)
        scenarios = load_selection_suite(settings.suite).draw(settings.episodes)
        rows = run_episodes(
            policy,
            scenarios,
            self.config.sim,
            batch=min(settings.episodes, 64),
            weights_version=self.algorithm.version,
        )
        metrics = rollout_metrics(rows)
        metrics["driving_score"] = sum(driving_score(r) for r in rows) / len(rows)
        return {f"eval/{name}": value for name, value in metrics.items()}


def evaluation_score(metrics: Mapping[str, Any]) -> float:
    """The driving score of a row with an evaluation; NO_SCORE where no episode could be driven."""
    driven = metrics["eval/broken"] < metrics["eval/episodes"]
    return float(metrics["eval/driving_score"]) if driven else NO_SCORE


def evaluations(run: RunDir, until: int) -> list[float]:
    """Scores of the run's evaluations on the way, up to iteration ``until``."""
    file = run.metrics_file
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # half a line, another iteration
            row = json.loads(line)
            if row["step"] <= until:
                found.append(evaluation_score(row))
    return found


def _enough(scores: list[float], patience: int) -> bool:
    """Whether the last ``patience`` scores (0: however many) are no better than one before."""
    if not patience or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])


def flatten(result: dict[str, Any]) -> dict[str, float]:
    """``{"losses": {"policy_loss": x}}`` of RLlib's result as ``{"losses/policy_loss": x}``, our
    sections only.
    """
    return {
        f"{section}/{name}": float(value)
        for section in SECTIONS
        for name, value in (result.get(section) or {}).items()
        if isinstance(value, int | float) or hasattr(value, "item")
    }


def headline(metrics: dict[str, float]) -> dict[str, Any]:
    """What the progress display shows."""
    return {
        "failures": f"{metrics.get('rollout/failure_rate', 0.0):.1%}",
        "reward": metrics.get("rollout/reward", 0.0),
        "progress_m": metrics.get("rollout/progress_m", 0.0),
        "kl": metrics.get("losses/approx_kl", 0.0),
        "decisions/s": round(metrics.get("charts/SPS", 0.0)),
    }


def drop_rows_after(file: Path, step: int) -> None:
    """Forget the rows of iterations that will be repeated, and a half-written last line."""
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
    write_whole(file, "".join(kept))
