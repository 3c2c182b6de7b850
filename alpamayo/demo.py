"""The main job on the embedded default: evaluate, post-train in closed loop, evaluate again on the
same held-out seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.config import decode_options
from alpamayo.evaluation.command import (
    describe_decoding,
    record_replays,
    replay_stem,
    without_camera,
)
from alpamayo.evaluation.compare import Comparison, Key, compare, episode_key
from alpamayo.evaluation.coverage import library_tags
from alpamayo.evaluation.parallel import evaluate
from alpamayo.evaluation.report import ReportInput, curves_from_metrics, write_report
from alpamayo.evaluation.runner import EpisodeLog
from alpamayo.log import Progress
from alpamayo.metrics import is_failure
from alpamayo.paths import resolve_policy
from alpamayo.run_dir import RunDir, versions
from alpamayo.types import CheckFailed, EpisodeResult, Scenario

if TYPE_CHECKING:
    from alpamayo.config import DemoConfig

CURVES = {
    "rollout/failure_rate": "failures while training",
    "rollout/reward": "episode reward",
    "rollout/progress_m": "progress [m]",
    "losses/approx_kl": "approx. KL per update",
}
TRAINING_REPLAYS = 4


@dataclass(frozen=True)
class DemoResult:
    """``seconds`` by stage: expert, before, train, after, report, total."""

    comparison: Comparison
    report: Path
    replay: Path | None
    checkpoint: Path
    seconds: dict[str, float]


def run_demo(
    config: DemoConfig, run: RunDir, *, say: Callable[[str], None], quiet: bool = False
) -> DemoResult:
    """The whole job in ``run``. Raises CheckFailed if an evaluation could not run
    a single episode.
    """
    from alpamayo.training import train
    from scenarios.suites import load_suite

    clock = _Clock()
    start = resolve_policy(config.policy.init)
    scenarios = load_suite(config.report.suite).draw(config.report.episodes)
    job = _Evaluation(config, scenarios, quiet)

    say(f"the privileged expert drives the {len(scenarios)} held-out episodes, for reference")
    expert, _ = job.drive("expert")
    clock.lap("expert")
    say(f"evaluating the policy as it is: {describe_decoding(job.decode)}")
    before, before_logs = job.drive(start)
    clock.lap("before")
    say(f"failures before: {_rate(before)}; post-training in closed loop")
    with Progress("train", config.learner.iterations, quiet=quiet) as progress:
        trained = train(config, run, progress=progress)
    clock.lap("train")
    say("evaluating the post-trained policy on the same episodes")
    after, after_logs = job.drive(str(trained.checkpoint))
    clock.lap("after")

    tags = library_tags(s.id for s in scenarios)
    comparison = compare(before, after, expert=expert, tags=tags)
    links, replay = _replays(config, run, job, (before, after), (before_logs, after_logs))
    clock.lap("report")
    report = write_report(
        run.path,
        ReportInput(
            title="Alpamayo demo: before and after closed-loop post-training",
            comparison=comparison,
            before=before,
            after=after,
            expert=expert,
            settings={
                "config": config,
                "seeds": f"{min(s.seed for s in scenarios)}..{max(s.seed for s in scenarios)}",
                "seconds": dict(clock.seconds),
                "versions": versions(),
            },
            decoding=describe_decoding(job.decode),
            curves=curves_from_metrics(run.metrics_file, CURVES),
            replays=links,
            commands=["alpamayo demo"],
            tags=tags,
        ),
    )
    return DemoResult(comparison, report.html, replay, trained.checkpoint, clock.finish())


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = self._mark = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._mark = now - self._mark, now

    def finish(self) -> dict[str, float]:
        return {**self.seconds, "total": time.perf_counter() - self._start}


class _Evaluation:
    """Held-out episodes, decoded as deployed, for any of the three drivers."""

    def __init__(self, config: DemoConfig, scenarios: Sequence[Scenario], quiet: bool) -> None:
        self.config, self.scenarios, self.quiet = config, scenarios, quiet
        self.decode = decode_options(config.report.decode, config.sim)

    def drive(self, spec: str) -> tuple[list[EpisodeResult], dict[int, EpisodeLog]]:
        """(results in the order of the scenarios, logs to make replays of)."""
        config = self.config
        logs: dict[int, EpisodeLog] = {}
        privileged = spec == "expert"
        with Progress(
            f"drive {Path(spec).name}", len(self.scenarios), quiet=self.quiet
        ) as progress:
            results = evaluate(
                spec,
                self.scenarios,
                without_camera(config.sim) if privileged else config.sim,
                decode={} if privileged else self.decode,
                processes=config.rollout.workers,
                batch=config.report.batch,
                seed=config.seed,
                progress=lambda done, _: progress.update(done),
                on_replay=None if privileged else logs.__setitem__,
            )
        if all(r.end == "failed" for r in results):
            raise CheckFailed(f"no episode could be run with {spec}: {results[0].error}")
        return results, logs


def telling_episode(before: Sequence[EpisodeResult], after: Sequence[EpisodeResult]) -> int | None:
    """Index of an episode that went wrong before and well after: a collision if there is one, the
    longest drive after.
    """
    changed = [
        i
        for i, (b, a) in enumerate(zip(before, after, strict=True))
        if is_failure(b) and not is_failure(a)
    ]
    return max(changed, key=lambda i: (before[i].collision, after[i].progress_m), default=None)


def _replays(
    config: DemoConfig,
    run: RunDir,
    job: _Evaluation,
    results: tuple[list[EpisodeResult], list[EpisodeResult]],
    logs: tuple[dict[int, EpisodeLog], dict[int, EpisodeLog]],
) -> tuple[dict[Key, list[tuple[str, str]]], Path | None]:
    """Replays of the failures that are left, and one page with the telling episode before and
    after.
    """
    from alpamayo.replay.format import SUFFIX, write_replay
    from alpamayo.replay.html import write_html
    from alpamayo.replay.record import record_episode

    links, _ = record_replays(
        run.replays_dir,
        logs[1],
        results[1],
        TRAINING_REPLAYS,
        config.sim,
        policy="after",
        decode=job.decode,
    )
    index = telling_episode(*results)
    if index is None:
        return links, None
    pair = [
        record_episode(side[index], config.sim, policy=name, decode=job.decode)
        for side, name in zip(logs, ("warm start", "post-trained"), strict=True)
    ]
    for replay, role in zip(pair, ("before", "after"), strict=True):
        write_replay(run.replays_dir / f"{replay_stem(results[0][index], role)}{SUFFIX}", replay)
    page = write_html(run.path / "replay.html", pair, ("before", "after"))
    links[episode_key(results[0][index])] = [("before / after", page.name)]
    return links, page


def _rate(results: Sequence[EpisodeResult]) -> str:
    count = sum(is_failure(r) for r in results)
    return f"{count} of {len(results)} episodes ({count / len(results):.1%})"


def summary(result: DemoResult) -> dict[str, Any]:
    """The JSON document of ``alpamayo demo --json``."""
    return {
        "comparison": result.comparison.as_dict(),
        "report": str(result.report),
        "replay": None if result.replay is None else str(result.replay),
        "checkpoint": str(result.checkpoint),
        "seconds": result.seconds,
    }
