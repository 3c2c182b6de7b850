"""``alpamayo demo``: the whole closed loop on the embedded default, in minutes."""

from __future__ import annotations

import argparse
import json
import sys

HELP = "Evaluate the shipped policy, post-train it in closed loop, evaluate again, write a report."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="YAML settings (default: configs/demo.yaml)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to override")


def run(args: argparse.Namespace) -> int:
    from alpamayo.config import load_config
    from alpamayo.demo import run_demo, summary
    from alpamayo.evaluation.text import format_table
    from alpamayo.paths import find_config, resolve_policy
    from alpamayo.run_dir import RunDir
    from alpamayo.training import check_request
    from scenarios.suites import load_suite

    config = load_config(
        "demo", str(find_config(args.config or "configs/demo.yaml")), args.overrides
    )
    check_request(config, resolve_policy(config.policy.init))
    load_suite(config.report.suite)
    run_dir = RunDir.create("demo", config)

    def say(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    say(f"run directory: {run_dir.path}")
    with run_dir:
        result = run_demo(config, run_dir, say=say, quiet=args.json)
    if args.json:
        print(json.dumps({"run_dir": str(run_dir.path), **summary(result)}, allow_nan=False))
        return 0
    print(format_table(result.comparison))
    stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    print(f"time: {stages}")
    print(f"report: {result.report}")
    if result.replay is not None:
        print(f"replay: {result.replay}")
    print(f"next: alpamayo replay {run_dir.path} --verify")
    return 0
