"""``alpamayo scenario sample``: what the distributions of a scenario draw."""

from __future__ import annotations

import argparse

from alpamayo.cli.scenario.common import (
    add_file_and_seed,
    as_text,
    count,
    load,
    new_console,
    new_table,
    print_json,
)

HELP = "draw scenarios and print their parameters"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_file_and_seed(parser)
    parser.add_argument("-n", "--count", type=int, default=5, help="how many (default 5)")


def run(args: argparse.Namespace) -> int:
    from scenarios.sample import sample

    document = load(args.file)
    drawn = [sample(document, args.seed + i) for i in range(count(args))]
    if args.json:
        print_json(drawn)
        return 0
    table = new_table(f"{document.id}: {len(drawn)} draws", "seed", *document.parameters, "actors")
    for scenario in drawn:
        values = [as_text(value) for value in scenario.parameters.values()]
        table.add_row(str(scenario.seed), *values, " ".join(a.id for a in scenario.actors))
    new_console().print(table)
    return 0
