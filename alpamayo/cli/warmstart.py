"""``alpamayo warmstart``: the expert drives, then a policy is trained on what it did."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

HELP = "Let the expert drive, then train a policy on it with the joint AR + diffusion objective."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="YAML settings, e.g. configs/train/warmstart.yaml"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to override")


def run(args: argparse.Namespace) -> int:
    from alpamayo.config import load_config
    from alpamayo.paths import find_config
    from alpamayo.run_dir import RunDir
    from alpamayo.warmstart import warmstart
    from scenarios.suites import load_training_suite

    file = str(find_config(args.config)) if args.config else None
    config = load_config("warmstart", file, args.overrides)
    # Refuse what cannot work before a run directory exists.
    load_training_suite(config.suite)
    if config.init:
        from policies.vlm.checkpoint import load_config as load_architecture

        load_architecture(config.init)
    run_dir = RunDir.create("warmstart", config)

    def say(text: str) -> None:
        print(text, file=sys.stderr if args.json else sys.stdout, flush=True)

    say(f"run directory: {run_dir.path}")
    with run_dir:
        result = warmstart(config, run_dir, say)
    follow = f"alpamayo eval --policy {result.policy} --suite heldout"
    if args.json:
        document = {"run_dir": str(run_dir.path), **asdict(result), "next": follow}
        json.dump(document, sys.stdout, indent=2, default=str)
        print()
        return 0
    print(f"policy: {result.policy}")
    print(f"next: {follow}")
    return 0
