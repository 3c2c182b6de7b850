"""``alpamayo eval``: drive held-out episodes and report how safe they were."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

HELP = "Drive episodes of a suite with a policy and report how safe they were, with 95 % intervals."
EPILOG = """\
examples:
  alpamayo eval --policy shipped --suite heldout --episodes 320
  alpamayo eval --policy runs/train-.../checkpoints/latest --suite heldout --baseline runs/eval-...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML settings, e.g. configs/eval/heldout.yaml")
    add("--policy", metavar="PATH|NAME", help="checkpoint, shipped, expert, idle or constant_speed")
    add("--suite", metavar="NAME", help="scenarios and seeds to drive (default: heldout)")
    add("--episodes", type=int, metavar="N", help="number of episodes (default: 320)")
    add("--processes", type=int, default=2, metavar="N", help="worker processes (default: 2)")
    add("--replays", type=int, metavar="K", help="record K episodes, failures first (default: 4)")
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
        "--latency-profile",
        metavar="FILE",
        help="drive with the latencies that `alpamayo bench --latency-profile FILE` recorded",
    )
    add("--json", action="store_true", help="print one JSON document on stdout and nothing else")
    add("overrides", nargs="*", metavar="key=value", help="settings to override")


def run(args: argparse.Namespace) -> int:
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
            "report": str(outcome.files.html),
            "replays": [str(p) for p in outcome.replays],
            "next": following,
        }
        print(json.dumps(document, allow_nan=False))
    else:
        from alpamayo.evaluation.compare import format_table

        print(format_table(outcome.comparison))
        print(f"report: {outcome.files.html}")
        print(f"next: {following}")
    if outcome.all_failed:
        raise CheckFailed(f"no episode could be run; the first error: {outcome.first_error}")
    return 0


def _config(args: argparse.Namespace) -> Any:
    """EvalConfig from the file, the options and the ``key=value`` words; the words win."""
    from dataclasses import replace

    from alpamayo.config import load_config
    from alpamayo.paths import find_config

    file = str(find_config(args.config)) if args.config else None
    words: Sequence[str] = [
        *(
            f"{name}={value}"
            for name in ("episodes", "replays")
            if (value := getattr(args, name)) is not None
        ),
        *args.overrides,
    ]
    config = load_config("eval", file, list(words))
    if args.policy is not None:
        config = replace(config, policy=replace(config.policy, init=args.policy))
    if args.suite is not None:
        config = replace(config, suite=args.suite)
    if args.latency_profile is not None:
        from alpamayo.latency_profile import read_profile

        samples_s = read_profile(args.latency_profile)
        config = replace(config, sim=replace(config.sim, latency_samples_s=samples_s))
    return config if args.out is None else replace(config, run_root=args.out)
