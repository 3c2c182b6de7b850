"""``alpamayo scenario list``: the library and the suites."""

from __future__ import annotations

import argparse

from alpamayo.cli.scenario.common import new_console, new_table, print_json

HELP = "list the scenario library and the suites"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tag", help="only scenarios with this tag")


def run(args: argparse.Namespace) -> int:
    from scenarios.catalog import list_documents
    from scenarios.suites import list_suites, load_suite

    documents = [d for d in list_documents() if args.tag is None or args.tag in d.tags]
    suites = [load_suite(name) for name in list_suites()]
    if args.json:
        print_json(
            {
                "scenarios": [
                    d.model_dump(
                        include={"id", "family", "nominal", "severity", "tags", "description"}
                    )
                    for d in documents
                ],
                "suites": [s.document.model_dump() for s in suites],
            }
        )
        return 0
    console = new_console()
    table = new_table(
        f"{len(documents)} scenarios", "id", "family", "kind", "severity", "description"
    )
    for d in documents:
        kind = "danger" if not d.nominal else "twin" if d.extends else "ordinary"
        table.add_row(d.id, d.family, kind, d.severity, d.description)
    console.print(table)
    table = new_table(f"\n{len(suites)} suites", "id", "split", "seeds", "scenarios", "description")
    for s in suites:
        seeds = s.document.seeds
        span = f"{seeds.start}..{seeds.start + seeds.count - 1}"
        table.add_row(s.id, s.document.split, span, str(len(s.shares)), s.document.description)
    console.print(table)
    console.print("\nnext: alpamayo scenario show cut_in", markup=False)
    return 0
