"""``alpamayo train``: post-train a policy in closed loop."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

HELP = "Post-train a policy in closed loop: workers drive, the learner learns, weights flow back."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="YAML settings, e.g. configs/train/cpu.yaml"
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with an interrupted run directory, with its settings"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to override")


def run(args: argparse.Namespace) -> int:
    from alpamayo.log import Progress
    from alpamayo.training import train

    config, run_dir = _open(args)
    resumed = args.resume is not None
    if not args.json:
        print(f"run directory: {run_dir.path}", flush=True)
    total = config.learner.iterations
    with run_dir, Progress("train", total, quiet=args.json) as progress:
        result = train(config, run_dir, resume=resumed, progress=progress)
    follow = f"alpamayo eval --policy {result.checkpoint} --suite {config.eval.suite}"
    if args.json:
        document = {
            "run_dir": str(run_dir.path),
            "checkpoint": str(result.checkpoint),
            "iterations": result.iterations,
            "metrics": result.metrics,
            "stopped_early": result.stopped_early,
            "next": follow,
        }
        json.dump(document, sys.stdout, indent=2, default=float)
        print()
        return 0
    print(f"checkpoint: {result.checkpoint}")
    print(f"next: {follow}")
    return 0


def _open(args: argparse.Namespace) -> tuple[Any, Any]:
    """(RunConfig, RunDir) of a new run, or of the one to resume."""
    from alpamayo.config import load_config
    from alpamayo.paths import find_config
    from alpamayo.run_dir import RunDir
    from alpamayo.types import RequestError

    if args.resume is None:
        file = str(find_config(args.config)) if args.config else None
        config = load_config("train", file, args.overrides)
        _check(config)
        return config, RunDir.create("train", config)
    if args.config is not None:
        raise RequestError("--resume: a resumed run keeps its own settings; leave --config out")
    run_dir = RunDir.open(args.resume)
    if run_dir.kind != "train":
        raise RequestError(f"{args.resume}: expected a train run, found a {run_dir.kind} run")
    # Overrides apply on top of the frozen settings, e.g. to train longer.
    config = load_config("train", str(run_dir.config_file), args.overrides)
    _check(config)
    if args.overrides:
        from alpamayo.config import to_yaml

        run_dir.write_text(
            "config.yaml", f"# Settings of an `alpamayo train` run, resolved.\n{to_yaml(config)}"
        )
    return config, run_dir.resume()


def _check(config: Any) -> None:
    """Refuse what cannot work before a run directory exists."""
    from alpamayo.paths import resolve_policy
    from alpamayo.training import check_request

    check_request(config, resolve_policy(config.policy.init))
