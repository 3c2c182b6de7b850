"""``alpamayo scenario search``: which parameters make a policy fail, and how often."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.cli.scenario.common import (
    as_text,
    load,
    new_console,
    new_table,
    print_json,
    write_text,
)
from alpamayo.types import CheckFailed, EpisodeResult, RequestError, Scenario

if TYPE_CHECKING:
    from alpamayo.authoring.search import SearchResult

HELP = "search the parameters with which a policy fails, estimate how often, write the worst cases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", help="scenario file or library id")
    add("--policy", default="shipped", help="policy under test (default: shipped)")
    add("-n", "--episodes", type=int, default=480, help="episodes in all (default 480)")
    add("--rounds", type=int, default=6, help="rounds of the cross-entropy method (default 6)")
    add("--worst", type=int, default=10, metavar="K", help="cases to write (default 10)")
    add("--out", metavar="SUITE", help="suite to write (default: FILE_worst_SPLIT.yaml here)")
    add("--split", default="heldout", help="split of the suite (default heldout)")
    add("--search-seed", type=int, default=0, help="seed of the search itself (default 0)")


def run(args: argparse.Namespace) -> int:
    from alpamayo.authoring.search import search, worst
    from alpamayo.authoring.suite_file import check_suite_path, suite_text
    from alpamayo.evaluation.command import without_camera
    from alpamayo.evaluation.runner import run_episodes
    from alpamayo.log import Progress
    from alpamayo.paths import resolve_policy
    from policies.registry import load_policy, needs_images
    from scenarios.splits import SPLITS, holds
    from sim.config import SimConfig

    document = load(args.file)
    if args.split not in SPLITS:
        raise RequestError(
            f"command line: --split: expected one of {', '.join(SPLITS)}, got {args.split}"
        )
    if not holds(args.split, document.family):
        raise RequestError(
            f"{document.id}: family {document.family} is held out; a suite of split {args.split} "
            "may not hold it: take --split test"
        )
    for name, value in (("-n", args.episodes), ("--rounds", args.rounds), ("--worst", args.worst)):
        if not 1 <= value <= 1_000_000:
            raise RequestError(f"command line: {name}: expected a number >= 1, got {value}")
    out = Path(args.out or f"{document.id}_worst_{args.split}.yaml")
    check_suite_path(out, args.split)
    spec = resolve_policy(args.policy)
    policy = load_policy(spec)
    config = SimConfig() if needs_images(spec, policy) else without_camera(SimConfig())

    def drive(scenarios: Sequence[Scenario]) -> Sequence[EpisodeResult]:
        return run_episodes(policy, scenarios, config)

    with Progress("search", args.episodes, quiet=args.json) as progress:
        result = search(
            document,
            drive,
            episodes=args.episodes,
            rounds=args.rounds,
            split=args.split,
            seed=args.search_seed,
            progress=progress.update,
        )
    cases = worst(result, args.worst)
    if not cases:
        raise CheckFailed(f"no episode could be run; the first error: {_first_error(result)}")
    kind = "failures" if result.failures else "nearest misses"
    described = f"{kind} of {args.policy} in {document.id}, found by search"
    write_text(out, suite_text(cases, out, args.file, described, args.split))
    following = f"alpamayo eval --policy {args.policy} --suite {out} --episodes {len(cases)}"
    if args.json:
        print_json(_document(result, out, len(cases), following))
        return 0
    _print(result, document.id, args.policy)
    print(f"wrote {out}: {len(cases)} {kind}\nnext: {following}")
    return 0


def _first_error(result: SearchResult) -> str:
    return next((case.result.error for case in result.broken), "")


def _document(result: SearchResult, out: Path, count: int, following: str) -> dict[str, Any]:
    from alpamayo.authoring.rate import METHOD

    return {
        "episodes": len(result.cases),
        "failures": result.failures,
        "broken": len(result.broken),
        "rounds": [
            {"episodes": len(r.hits), "failures": k}
            for r, k in zip(result.rounds, result.failed_in_rounds, strict=True)
        ],
        "failure_rate": result.rate,
        "interval": METHOD,
        "first_round": result.plain,
        "parameters": {
            d.name: {"edges": d.edges.tolist(), "labels": d.labels, "mass": mass.tolist()}
            for d, mass in zip(result.dimensions, result.proposal.masses, strict=True)
        },
        "suite": str(out),
        "cases": count,
        "next": following,
    }


def _print(result: SearchResult, name: str, policy: str) -> None:
    from alpamayo.authoring.rate import METHOD

    rate, plain = result.rate, result.plain
    console = new_console()
    table = new_table(f"{name} driven by {policy}", "round", "episodes", "failures", "share")
    for number, failed in enumerate(result.failed_in_rounds, 1):
        count = len(result.rounds[number - 1].hits)
        table.add_row(str(number), str(count), str(failed), f"{failed / count:.0%}")
    console.print(table)
    if result.broken:
        print(f"{len(result.broken)} episodes could not be run: {_first_error(result)}")
    print(
        f"failure rate under the scenario's own distributions: {rate.value:.2%} "
        f"[{rate.low:.2%}, {rate.high:.2%}] (first round alone: "
        f"{plain.value:.2%} [{plain.low:.2%}, {plain.high:.2%}])\n"
        f"95 % {METHOD} intervals: they hold their level for any number of episodes"
    )
    table = new_table("\nwhere it looked last", "parameter", "most in", "share there", "of its own")
    for dimension, mass in zip(result.dimensions, result.proposal.masses, strict=True):
        widths = dimension.edges[1:] - dimension.edges[:-1]
        cell = int((mass / widths).argmax())
        where = (
            dimension.labels[cell]
            if dimension.labels
            else f"quantiles {as_text(float(dimension.edges[cell]))} to "
            f"{as_text(float(dimension.edges[cell + 1]))}"
        )
        table.add_row(dimension.name, where, f"{mass[cell]:.0%}", f"{widths[cell]:.0%}")
    console.print(table)
