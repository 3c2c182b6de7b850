"""What ``alpamayo eval`` does, step by step: check, drive, record, report."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alpamayo.evaluation.compare import Comparison, Key, compare, episode_key, summarise
from alpamayo.evaluation.gates import Gate, Verdict, check_gates, group_name, judge
from alpamayo.evaluation.parallel import evaluate
from alpamayo.evaluation.report import ReportFiles, ReportInput, write_report
from alpamayo.evaluation.runner import EpisodeLog
from alpamayo.evaluation.runs import EvaluatedRun, load_run, unlike
from alpamayo.log import Progress
from alpamayo.metrics import is_failure
from alpamayo.replay.codec import to_plain
from alpamayo.run_dir import RunDir
from alpamayo.types import EpisodeResult, RequestError, Scenario
from sim.config import SimConfig

EVERY_FAILURE = -1  # as a number of replays


@dataclass(frozen=True)
class Baseline:
    """An earlier evaluation: its rows of the scenarios to drive, in their order, and those of the
    expert if it knows all.
    """

    name: str
    run: EvaluatedRun
    results: list[EpisodeResult]
    expert: list[EpisodeResult]


@dataclass(frozen=True)
class EvalRequest:
    """A checked request: everything that can be wrong was looked at before anything is written."""

    config: Any  # alpamayo.config.EvalConfig
    policy_spec: str
    decode: dict[str, Any]
    sim: SimConfig  # without a camera where nobody looks
    scenarios: tuple[Scenario, ...]
    processes: int
    expert_reference: bool
    baseline: Baseline | None
    tags: dict[str, tuple[str, ...]]  # of each scenario
    gates: tuple[Gate, ...] = ()

    @classmethod
    def prepare(
        cls,
        config: Any,
        *,
        processes: int,
        expert_reference: bool,
        baseline: str | None,
        gates: Sequence[str] = (),
    ) -> EvalRequest:
        from alpamayo.config import policy_options
        from alpamayo.paths import resolve_policy
        from policies.registry import check_rig, is_network, load_policy, needs_images
        from scenarios.suites import load_suite

        spec = resolve_policy(config.policy.init)
        decode = policy_options(config.policy, config.sim) if is_network(spec) else {}
        # A bad checkpoint, class or image size shows here, in one line, not in a worker.
        policy = load_policy(spec, **decode)
        check_rig(policy, config.sim.rig)
        sim = config.sim if needs_images(spec, policy) else without_camera(config.sim)
        suite = load_suite(config.suite)
        scenarios = tuple(suite.draw(config.episodes))
        repeated = len(scenarios) - len({(s.id, s.seed) for s in scenarios})
        if repeated:
            raise RequestError(
                f"suite {config.suite}: {config.episodes} episodes repeat {repeated} of its seeds; "
                f"expected at most {config.episodes - repeated} episodes"
            )
        before = None if baseline is None else _load_baseline(baseline, scenarios)
        documents = [suite.load(name) for name in dict(suite.pairs(config.episodes))]
        tags = {document.id: tuple(document.tags) for document in documents}
        groups = {group_name(s.family, s.nominal) for s in scenarios}
        groups |= {tag for of_one in tags.values() for tag in of_one}
        checked = check_gates(gates, paired=before is not None, groups=groups)
        return cls(
            config, spec, decode, sim, scenarios, processes, expert_reference, before, tags,
            tuple(checked),
        )  # fmt: skip

    @property
    def drives_expert(self) -> bool:
        """Whether the expert has to be driven for reference (not if it is the policy or the
        baseline knows it).
        """
        known = self.baseline is not None and bool(self.baseline.expert)
        return self.expert_reference and self.policy_spec != "expert" and not known

    @property
    def total(self) -> int:
        return len(self.scenarios) * (2 if self.drives_expert else 1)


@dataclass(frozen=True)
class EvalOutcome:
    comparison: Comparison
    files: ReportFiles
    replays: tuple[Path, ...]
    results: tuple[EpisodeResult, ...]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def all_failed(self) -> bool:
        return all(r.end == "failed" for r in self.results)

    @property
    def first_error(self) -> str:
        return next((r.error for r in self.results if r.error), "")


def _load_baseline(path: str, scenarios: Sequence[Scenario]) -> Baseline:
    run = load_run(path)
    table = {episode_key(r): r for r in run.results}
    missing = [s for s in scenarios if (s.id, s.seed) not in table]
    if missing:
        raise RequestError(
            f"{path}: expected an evaluation of the same episodes; it lacks {len(missing)}, "
            f"first {missing[0].id} seed {missing[0].seed}"
        )
    experts = {episode_key(r): r for r in run.expert}
    expert = [experts[k] for s in scenarios if (k := (s.id, s.seed)) in experts]
    name = Path(path).name.removesuffix(".json")
    ordered = [table[(s.id, s.seed)] for s in scenarios]
    return Baseline(name, run, ordered, expert if len(expert) == len(scenarios) else [])


def run_eval(request: EvalRequest, run_dir: RunDir, progress: Progress) -> EvalOutcome:
    """Drive, record replays, write the report into ``run_dir``."""
    config = request.config
    logs: dict[int, EpisodeLog] = {}
    results = evaluate(
        request.policy_spec,
        request.scenarios,
        request.sim,
        decode=request.decode,
        processes=request.processes,
        batch=config.batch,
        seed=config.seed,
        progress=lambda done, _: progress.update(done),
        on_replay=logs.__setitem__ if config.replays else None,
    )
    expert = request.baseline.expert if request.baseline else []
    if request.policy_spec == "expert":
        expert = results
    elif request.drives_expert:
        progress.say("driving the privileged expert on the same episodes")
        expert = evaluate(
            "expert",
            request.scenarios,
            without_camera(config.sim),
            processes=request.processes,
            batch=config.batch,
            progress=lambda done, _: progress.update(len(results) + done),
        )
    name = policy_name(config.policy.init)
    links, files = record_replays(
        run_dir.replays_dir,
        logs,
        results,
        config.replays,
        config.sim,
        policy=name,
        decode=request.decode,
    )
    if request.baseline is not None:
        before, after = request.baseline.results, results
        comparison = compare(
            before,
            after,
            expert=expert or None,
            names=(request.baseline.name, name),
            tags=request.tags,
        )
    else:
        before, after = results, []
        comparison = summarise(results, name=name, expert=expert or None, tags=request.tags)
    if request.baseline is not None:
        for key, shown in request.baseline.run.viewers("before", run_dir.path).items():
            links[key] = [*shown, *links.get(key, [])]
    verdicts = tuple(judge(gate, comparison) for gate in request.gates)
    report = ReportInput(
        title=f"{name} on {config.suite}",
        comparison=comparison,
        before=before,
        after=after,
        expert=expert,
        settings=_settings(request),
        decoding=describe_decoding(request.decode),
        replays=links,
        commands=[_command(request)],
        tags=request.tags,
        verdicts=verdicts,
        notes=_notes(request, results),
    )
    written = write_report(run_dir.path, report)
    return EvalOutcome(comparison, written, tuple(files), tuple(results), verdicts)


def without_camera(config: SimConfig) -> SimConfig:
    """Drivers that see the state need no images."""
    return replace(config, rig=None)


def policy_name(spec: str) -> str:
    """``shipped`` and the names stay; a checkpoint is called by its last folders."""
    parts = [p for p in Path(spec).parts if p not in ("/", "..", ".", "checkpoints", "runs")]
    return "/".join(parts[-2:]) if len(parts) > 1 else spec


def record_replays(
    folder: Path,
    logs: Mapping[int, EpisodeLog],
    results: Sequence[EpisodeResult],
    count: int,
    sim_config: SimConfig,
    *,
    policy: str,
    decode: Mapping[str, Any],
) -> tuple[dict[Key, list[tuple[str, str]]], list[Path]]:
    """Record ``count`` episodes, failures first, as replay and page (``EVERY_FAILURE``: those and
    no others); (report links, replay files).
    """
    from alpamayo.replay.format import SUFFIX, write_replay
    from alpamayo.replay.html import write_html
    from alpamayo.replay.record import record_episode

    order = sorted(logs, key=lambda n: (not is_failure(results[n]), not results[n].collision, n))
    if count == EVERY_FAILURE:
        count = sum(is_failure(results[n]) for n in logs)
    links: dict[Key, list[tuple[str, str]]] = {}
    files = []
    for index in order[:count]:
        result = results[index]
        replay = record_episode(logs[index], sim_config, policy=policy, decode=decode)
        stem = replay_stem(result)
        files.append(write_replay(folder / f"{stem}{SUFFIX}", replay))
        write_html(folder / f"{stem}.html", [replay])
        links[episode_key(result)] = [
            ("view", f"{folder.name}/{stem}.html"),
            ("file", f"{folder.name}/{stem}{SUFFIX}"),
        ]
    return links, files


def replay_stem(result: EpisodeResult, role: str = "") -> str:
    """File name of an episode's replay, safe whatever the scenario is called."""
    return safe_name(result.scenario_id, result.seed) + (f"-{role}" if role else "")


def safe_name(scenario_id: str, seed: int) -> str:
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', scenario_id).strip('.') or 'scenario'}-{seed}"


def describe_decoding(decode: Mapping[str, Any]) -> str:
    """One sentence a reader can act on."""
    if not decode:
        return "The policy decodes no tokens."
    settings = ", ".join(f"{k} = {v}" for k, v in decode.items())
    if decode.get("mode") == "ar":
        how = "Autoregressive: one action token at a time"
    elif decode.get("mode") == "self_speculation":
        block = decode.get("block_size")
        how = f"Self-speculation: {block} action tokens drafted at once, verified autoregressively"
    elif decode.get("mode") == "threshold":
        how = f"Block diffusion: each round commits the tokens surer than {decode.get('threshold')}"
    else:
        how = (
            f"Block diffusion: the action block is committed in {decode.get('rounds')} fixed rounds"
        )
    return f"{how}; {decode.get('select', 'sample')} over the bins ({settings})."


def _settings(request: EvalRequest) -> dict[str, Any]:
    from alpamayo.run_dir import versions

    config, seeds = request.config, [s.seed for s in request.scenarios]
    return {
        "policy": request.policy_spec,
        "suite": config.suite,
        "episodes": len(request.scenarios),
        "seeds": f"{min(seeds)}..{max(seeds)}",
        "batch": config.batch,
        "processes": request.processes,
        "noise_seed": config.seed,
        "decode": request.decode,
        "sim": config.sim,
        "versions": versions(),
    }


def _notes(request: EvalRequest, results: Sequence[EpisodeResult]) -> list[str]:
    """In what the baseline was another test."""
    baseline = request.baseline
    if baseline is None:
        return []
    settings = to_plain(_settings(request))
    return unlike(baseline.results, results, baseline.run.settings, settings)


def _command(request: EvalRequest) -> str:
    config = request.config
    words = ["--policy", config.policy.init, "--suite", config.suite]
    words += ["--episodes", str(config.episodes)]
    return shlex.join(["alpamayo", "eval", *words])
