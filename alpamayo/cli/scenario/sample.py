"""``alpamayo scenario sample``: what the distributions of a scenario draw, as table and picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from alpamayo.cli.scenario.common import (
    add_file_and_seed,
    as_text,
    count,
    load,
    new_console,
    new_table,
    print_json,
)
from alpamayo.types import RequestError

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
    table = new_table(f"{document.id}: {len(drawn)} draws", "seed", *document.parameters, "actors")
    for scenario in drawn:
        values = [as_text(value) for value in scenario.parameters.values()]
        table.add_row(str(scenario.seed), *values, " ".join(a.id for a in scenario.actors))
    new_console().print(table)
    if args.png:
        print(f"wrote {args.png} (driven by {args.policy})")
    else:
        print(f"next: alpamayo scenario sample {args.file} -n 16 --png draws.png")
    return 0
