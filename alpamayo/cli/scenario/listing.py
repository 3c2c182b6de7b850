"""``alpamayo scenario list``: the library and the suites."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from alpamayo.cli.scenario.common import new_console, new_table, print_json

if TYPE_CHECKING:
    from scenarios.proofs import Proof

HELP = "list the scenario library and the suites"


_TOLD = ("id", "family", "nominal", "severity", "tags", "description")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tag", help="only scenarios with this tag")


def run(args: argparse.Namespace) -> int:
    from scenarios.catalog import list_documents
    from scenarios.proofs import load_proof
    from scenarios.suites import list_suites, load_suite

    documents = [d for d in list_documents() if args.tag is None or args.tag in d.tags]
    suites = [load_suite(name) for name in list_suites()]
    proofs = {d.id: proof for d in documents if (proof := load_proof(d.id)) is not None}
    if args.json:
        print_json(
            {
                "scenarios": [
                    {**d.model_dump(include=set(_TOLD)), "proof": _figures(proofs.get(d.id))}
                    for d in documents
                ],
                "suites": [s.document.model_dump() for s in suites],
            }
        )
        return 0
    console = new_console()
    columns = ("id", "family", "kind", "", "proof %", "description")
    table = new_table(f"{len(documents)} scenarios", *columns)
    for d in documents:
        kind = "danger" if not d.nominal else "twin" if d.extends else "ordinary"
        shares = (_figures(proofs.get(d.id)) or {}).values()
        told = "/".join(f"{100 * share:.0f}" for share in shares)
        table.add_row(d.id, d.family, kind, d.severity, told, d.description)
    console.print(table)
    told = "proof: % of draws in which keeping lane and speed fails / expert fine / twin uneventful"
    console.print(told, style="dim")
    table = new_table(f"\n{len(suites)} suites", "id", "split", "seeds", "scenarios", "description")
    for s in suites:
        seeds = s.document.seeds
        span = f"{seeds.start}..{seeds.start + seeds.count - 1}"
        table.add_row(s.id, s.document.split, span, str(len(s.shares)), s.document.description)
    console.print(table)
    console.print("\nnext: alpamayo scenario show cut_in", markup=False)
    return 0


def _figures(proof: Proof | None) -> dict[str, Any] | None:
    """The shares of a proof that readers compare."""
    if proof is None:
        return None
    return {
        "keeper": proof.share("keeper"),
        "expert": proof.share("expert"),
        "twin": min(proof.share(drive) for drive in proof.required if drive.startswith("twin")),
    }
