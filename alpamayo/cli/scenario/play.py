"""``alpamayo scenario play``: a policy drives a few draws of one scenario."""

from __future__ import annotations

import argparse

from alpamayo.cli.scenario.common import (
    add_file_and_seed,
    count,
    load,
    new_console,
    new_table,
    print_json,
)

HELP = "let a policy drive a scenario and print what happened"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_file_and_seed(parser)
    parser.add_argument(
        "--policy",
        default="expert",
        help="expert, idle, constant_speed, shipped or a checkpoint folder",
    )
    parser.add_argument("-n", "--count", type=int, default=4, help="how many seeds (default 4)")


def run(args: argparse.Namespace) -> int:
    from alpamayo.evaluation.runner import run_episodes
    from alpamayo.paths import resolve_policy
    from policies.registry import load_policy
    from scenarios.sample import sample
    from sim.config import SimConfig

    document = load(args.file)
    drawn = [sample(document, args.seed + i) for i in range(count(args))]
    policy = load_policy(resolve_policy(args.policy))
    results = run_episodes(policy, drawn, SimConfig())
    if args.json:
        print_json(results)
        return 0
    table = new_table(
        f"{document.id} driven by {args.policy}",
        "seed",
        "end",
        "at fault",
        "hit",
        "time s",
        "progress m",
        "mean m/s",
        "min TTC s",
    )
    for r in results:
        fault = "yes" if r.at_fault else "no"
        seconds, metres = f"{r.duration_s:.1f}", f"{r.progress_m:.0f}"
        rest = (seconds, metres, f"{r.mean_speed_mps:.1f}", f"{r.min_ttc_s:.1f}")
        table.add_row(str(r.seed), r.end, fault, r.collision_actor, *rest)
    new_console().print(table)
    for r in results:
        if r.error:
            print(f"seed {r.seed}: {r.error}")
    print(f"next: alpamayo scenario show {args.file} --seed {args.seed}")
    return 0
