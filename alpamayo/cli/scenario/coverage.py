"""``alpamayo scenario coverage``: what a run has driven, and what not."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from alpamayo.cli.scenario.common import new_console, new_table, print_json, write_text
from alpamayo.types import RequestError

if TYPE_CHECKING:
    from alpamayo.authoring.coverage import Coverage, ScenarioCoverage
    from scenarios.schema import ScenarioDocument

HELP = "which families, parameter cells and tag pairs a run has driven, and which not"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directory; several add up")
    parser.add_argument(
        "--suite", metavar="NAME", help="ask for the scenarios of this suite, not the whole library"
    )
    parser.add_argument("--bins", type=int, default=4, help="cells of a number (default 4)")
    parser.add_argument("--html", metavar="OUT", help="write a page with heat maps")


def run(args: argparse.Namespace) -> int:
    from alpamayo.authoring.coverage import cover, read_rows
    from alpamayo.authoring.coverage_page import render_page

    if not 1 <= args.bins <= 100:
        raise RequestError(f"command line: --bins: expected 1 to 100, got {args.bins}")
    rows = [row for name in args.runs for row in read_rows(name)]
    coverage = cover(_documents(args.suite), rows, args.bins)
    if args.html:
        title = f"Coverage of {', '.join(Path(name).name for name in args.runs)}"
        write_text(Path(args.html), render_page(coverage, title))
    if args.json:
        figures = {k: {"driven": n, "of": total} for k, (n, total) in coverage.figures.items()}
        print_json({"episodes": len(rows), "figures": figures, "coverage": coverage})
        return 0
    _print(coverage, len(rows))
    print(
        f"wrote {args.html}"
        if args.html
        else f"next: alpamayo scenario coverage {' '.join(args.runs)} --html coverage.html"
    )
    return 0


def _documents(suite_name: str | None) -> list[ScenarioDocument]:
    from scenarios.catalog import list_documents
    from scenarios.suites import load_suite

    if suite_name is None:
        return list_documents()
    suite = load_suite(suite_name)
    return [suite.load(name) for name in suite.shares]


def _print(coverage: Coverage, episodes: int) -> None:
    console = new_console()
    told = ", ".join(f"{done} of {all_} {name}" for name, (done, all_) in coverage.figures.items())
    console.print(f"{episodes} episodes: {told}", markup=False)
    driven = [s for s in coverage.scenarios if s.episodes]
    columns = ("id", "episodes", "failed", "cells", "never driven")
    table = new_table(f"\n{len(driven)} scenarios driven", *columns)
    for s in driven:
        cells = [cell for p in s.parameters for cell in p.cells]
        count = f"{sum(cell.episodes > 0 for cell in cells)} of {len(cells)}"
        table.add_row(s.id, str(s.episodes), str(s.failures), count, _missed(s))
    console.print(table)
    absent = [s.id for s in coverage.scenarios if not s.episodes]
    if absent:
        console.print(f"\nnot driven: {', '.join(absent)}", markup=False)
    pairs = [" + ".join(p.tags) for p in coverage.pairs if not p.episodes]
    if pairs:
        console.print(f"\ntag pairs not driven: {', '.join(pairs)}", markup=False)
    if coverage.elsewhere:
        names = ", ".join(f"{name} ({n})" for name, n in sorted(coverage.elsewhere.items()))
        console.print(f"\ndriven too, but not asked for: {names}", markup=False)


def _missed(scenario: ScenarioCoverage) -> str:
    parts = [
        f"{p.name} {' | '.join(cell.label for cell in p.missed)}"
        for p in scenario.parameters
        if p.missed
    ]
    outside = sum(p.outside for p in scenario.parameters)
    if outside:
        parts.append(f"({outside} values of another version of the file)")
    return "; ".join(parts)
