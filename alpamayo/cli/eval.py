"""``alpamayo eval``: drive held-out episodes and report how safe they were, or compare two runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpamayo.evaluation.gates import Verdict

HELP = "Drive episodes of a suite with a policy and report how safe they were, with 95 % intervals."
EPILOG = """\
examples:
  alpamayo eval --policy shipped --suite heldout --episodes 320
  alpamayo eval --policy runs/train-.../checkpoints/latest --suite heldout --baseline runs/eval-...
  alpamayo eval --policy my_pkg.my_mod:MyPolicy --fail-if "failure_rate > 10%"
  alpamayo eval --compare runs/eval-A runs/eval-B --fail-if "regressions > 5 and failure.p < 0.05"
"""
_DRIVING = ("config", "policy", "suite", "episodes", "replays", "baseline", "latency_profile")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML settings, e.g. configs/eval/heldout.yaml")
    add(
        "--policy",
        metavar="WHAT",
        help="checkpoint, shipped, expert, idle, constant_speed, or a class as module:Class",
    )
    add("--suite", metavar="NAME", help="scenarios and seeds to drive (default: heldout)")
    add("--episodes", type=int, metavar="N", help="number of episodes (default: 320)")
    add("--processes", type=int, default=2, metavar="N", help="worker processes (default: 2)")
    add(
        "--replays",
        metavar="K|failures|all",
        help="record K episodes, failures first, or every failure, or all (default: 4)",
    )
    add("--out", metavar="DIR", help="where to make the run directory (default: runs)")
    add(
        "--expert-reference",
        action="store_true",
        help="drive the privileged expert too: progress is then relative to its progress",
    )
    add(
        "--baseline", metavar="RUN", help="an earlier evaluation to compare with, on the same seeds"
    )
    add(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="drive nothing: compare two run directories on the episodes they share",
    )
    add(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help='end with exit code 1 if it holds, e.g. "failure_rate.high > 10%%"; may be repeated',
    )
    add(
        "--latency-profile",
        metavar="FILE",
        help="drive with the latencies that `alpamayo bench --latency-profile FILE` recorded",
    )
    add("--json", action="store_true", help="print one JSON document on stdout and nothing else")
    add("overrides", nargs="*", metavar="key=value", help="settings to override")


def run(args: argparse.Namespace) -> int:
    return _compare(args) if args.compare else _drive(args)


def _drive(args: argparse.Namespace) -> int:
    from alpamayo.evaluation.command import EvalRequest, run_eval
    from alpamayo.log import Progress
    from alpamayo.run_dir import RunDir
    from alpamayo.types import CheckFailed, RequestError

    if args.processes < 1:
        raise RequestError(f"--processes {args.processes}: expected a number >= 1")
    request = EvalRequest.prepare(
        _config(args),
        processes=args.processes,
        expert_reference=args.expert_reference,
        baseline=args.baseline,
        gates=args.fail_if,
    )
    run_dir = RunDir.create("eval", request.config)
    if not args.json:
        print(f"run directory: {run_dir.path}", flush=True)
    with run_dir, Progress("eval", request.total, quiet=args.json) as progress:
        outcome = run_eval(request, run_dir, progress)
    following = f"alpamayo replay {run_dir.path} --verify"
    if args.json:
        document = {
            "run_dir": str(run_dir.path),
            "policy": request.config.policy.init,
            "suite": request.config.suite,
            "comparison": outcome.comparison.as_dict(),
            "gates": [_verdict(v) for v in outcome.verdicts],
            "report": str(outcome.files.html),
            "replays": [str(p) for p in outcome.replays],
            "next": following,
        }
        print(json.dumps(document, allow_nan=False))
    else:
        from alpamayo.evaluation.text import format_table

        print(format_table(outcome.comparison))
        print(f"report: {outcome.files.html}")
        print(f"next: {following}")
    if outcome.all_failed:
        raise CheckFailed(f"no episode could be run; the first error: {outcome.first_error}")
    return _pass_gates(outcome.verdicts, quiet=args.json)


def _compare(args: argparse.Namespace) -> int:
    from alpamayo.evaluation.compare_runs import RunPair, compare_runs
    from alpamayo.run_dir import stamped_folder
    from alpamayo.types import RequestError

    other = [f"--{name.replace('_', '-')}" for name in _DRIVING if getattr(args, name) is not None]
    other += args.overrides + (["--expert-reference"] if args.expert_reference else [])
    if other:
        raise RequestError(f"--compare drives nothing: expected it without {', '.join(other)}")
    pair = RunPair.prepare(args.compare[0], args.compare[1], args.fail_if)
    folder = stamped_folder(args.out or "runs", "compare")
    outcome = compare_runs(pair, folder)
    if args.json:
        document = {
            "folder": str(folder),
            "comparison": outcome.comparison.as_dict(),
            "notes": list(outcome.notes),
            "gates": [_verdict(v) for v in outcome.verdicts],
            "report": str(outcome.files.html),
        }
        print(json.dumps(document, allow_nan=False))
    else:
        from alpamayo.evaluation.text import format_table

        for note in outcome.notes:
            print(note)
        print(format_table(outcome.comparison))
        print(f"report: {outcome.files.html}")
    return _pass_gates(outcome.verdicts, quiet=args.json)


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {"fail_if": verdict.gate, "failed": verdict.tripped, "reason": verdict.reason}


def _pass_gates(verdicts: Sequence[Verdict], *, quiet: bool) -> int:
    """0, or CheckFailed (exit code 1) with every gate that was not passed."""
    from alpamayo.types import CheckFailed

    tripped = [v for v in verdicts if v.tripped]
    if tripped:
        raise CheckFailed("; ".join(f"fail if {v.gate}: {v.reason}" for v in tripped))
    if verdicts and not quiet:
        print(f"gates passed: {'; '.join(v.reason for v in verdicts)}")
    return 0


def _config(args: argparse.Namespace) -> Any:
    """EvalConfig from the file, the options and the ``key=value`` words; the words win."""
    from dataclasses import replace

    from alpamayo.config import load_config
    from alpamayo.paths import find_config

    file = str(find_config(args.config)) if args.config else None
    words: list[str] = [] if args.episodes is None else [f"episodes={args.episodes}"]
    if args.replays not in (None, "all"):
        words.append(f"replays={_replays(args.replays)}")
    config = load_config("eval", file, [*words, *args.overrides])
    if args.replays == "all":
        config = replace(config, replays=config.episodes)
    if args.policy is not None:
        config = replace(config, policy=replace(config.policy, init=args.policy))
    if args.suite is not None:
        config = replace(config, suite=args.suite)
    if args.latency_profile is not None:
        from alpamayo.latency_profile import read_profile

        samples_s = read_profile(args.latency_profile)
        config = replace(config, sim=replace(config.sim, latency_samples_s=samples_s))
    return config if args.out is None else replace(config, run_root=args.out)


def _replays(word: str) -> int:
    from alpamayo.evaluation.command import EVERY_FAILURE
    from alpamayo.types import RequestError

    if word == "failures":
        return EVERY_FAILURE
    if not word.isascii() or not word.isdigit():
        raise RequestError(f"--replays {word}: expected a number >= 0, failures or all")
    return int(word)
