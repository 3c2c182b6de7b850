"""``alpamayo scenario sample``: what the distributions of a scenario draw, as table and picture."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alpamayo.cli.scenario.common import (
    add_file_and_seed,
    as_text,
    count,
    load,
    new_console,
    new_table,
    print_json,
)
from alpamayo.types import RequestError, Scenario

if TYPE_CHECKING:
    from scenarios.schema import ScenarioDocument

HELP = "draw scenarios: their parameters as a table, and as a contact sheet"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_file_and_seed(parser)
    parser.add_argument("-n", "--count", type=int, default=5, help="how many (default 5)")
    parser.add_argument("--png", metavar="OUT", help="write a contact sheet of at most 64 draws")
    parser.add_argument(
        "--policy",
        default="constant_speed",
        help="who drives in the contact sheet (default: constant_speed)",
    )


def run(args: argparse.Namespace) -> int:
    from scenarios.sample import sample

    document = load(args.file)
    drawn = [sample(document, args.seed + i) for i in range(count(args))]
    if args.png:
        from alpamayo.authoring.canvas import check_png
        from alpamayo.authoring.contact import MOST, draw_contact_sheet
        from alpamayo.authoring.trace import trace_all

        check_png(Path(args.png))
        if len(drawn) > MOST:
            raise RequestError(
                f"command line: -n: expected at most {MOST} draws for a contact sheet, "
                f"got {len(drawn)}"
            )
        draw_contact_sheet(document, trace_all(drawn, args.policy)).save(Path(args.png))
    if args.json:
        print_json(drawn)
        return 0
    _print(document, drawn)
    if args.png:
        print(f"wrote {args.png} (driven by {args.policy})")
    else:
        print(f"next: alpamayo scenario sample {args.file} -n 16 --png draws.png")
    return 0


def _print(document: ScenarioDocument, drawn: Sequence[Scenario]) -> None:
    """A row per parameter, so that names stay readable however many there are."""
    console = new_console()
    console.print(f"{document.id}: {len(drawn)} draws", markup=False)
    names = max(len(name) for name in (*document.parameters, "seed"))
    abreast = max((console.width - names - 3) // 9, 1)
    for first in range(0, len(drawn), abreast):
        part = drawn[first : first + abreast]
        table = new_table("", "seed", *(str(scenario.seed) for scenario in part))
        for name in document.parameters:
            table.add_row(name, *(as_text(scenario.parameters[name]) for scenario in part))
        for actor in dict.fromkeys(a.id for scenario in part for a in scenario.actors):
            there = ("there" if any(a.id == actor for a in s.actors) else "-" for s in part)
            table.add_row(f"actor {actor}", *there)
        console.print(table)
