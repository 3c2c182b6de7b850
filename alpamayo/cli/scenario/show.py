"""``alpamayo scenario show``: one scenario, one draw of it, a storyboard and a page that plays."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.cli.scenario.common import (
    add_file_and_seed,
    as_text,
    load,
    new_console,
    new_table,
    print_json,
)
from alpamayo.types import RequestError, Scenario, Weather

if TYPE_CHECKING:
    from scenarios.schema import ScenarioDocument

HELP = "show one scenario: parameters, actors, events; a storyboard and a page that plays"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_file_and_seed(parser)
    add = parser.add_argument
    add("--png", metavar="OUT", help="where the storyboard goes (default: ID-SEED.png here)")
    add("--html", metavar="OUT", help="where the page goes that plays (default: ID-SEED.html here)")
    add("--summary", action="store_true", help="only print; --json does too unless asked for files")
    add(
        "--policy",
        default="constant_speed",
        help="who drives in the pictures (default: constant_speed, which shows the danger)",
    )


def run(args: argparse.Namespace) -> int:
    from scenarios.sample import sample

    document = load(args.file)
    scenario = sample(document, args.seed)
    written = _pictures(args, document, scenario)
    if args.json:
        print_json(
            {
                "document": document.model_dump(exclude_defaults=True),
                "sample": scenario,
                "png": written.get("png"),
                "html": written.get("html"),
                "policy": args.policy if written else None,
            }
        )
        return 0
    _print_document(document, scenario)
    for kind, what in (("png", "storyboard"), ("html", "plays in a browser")):
        if kind in written:
            print(f"wrote {written[kind]} ({what}; driven by {args.policy})")
    print(f"next: alpamayo scenario play {args.file} --policy expert")
    return 0


def _pictures(
    args: argparse.Namespace, document: ScenarioDocument, scenario: Scenario
) -> dict[str, str]:
    """Kind -> file written."""
    asked = args.png or args.html
    if not asked and (args.summary or args.json):
        return {}
    stem = f"{document.id}-{args.seed}"
    png = args.png or (None if asked else f"{stem}.png")
    page = args.html or (None if asked else f"{stem}.html")

    from alpamayo.authoring.canvas import check_png
    from alpamayo.authoring.player import write_player
    from alpamayo.authoring.storyboard import draw_storyboard
    from alpamayo.authoring.trace import trace_all

    if png:
        check_png(Path(png))
    if page and Path(page).suffix != ".html":
        raise RequestError(f"{page}: expected a name that ends with .html")
    (trace,) = trace_all([scenario], args.policy)
    if png:
        draw_storyboard(trace, document.description).save(Path(png))
    if page:
        write_player(trace, Path(page))
    return {kind: out for kind, out in (("png", png), ("html", page)) if out}


def _print_document(document: ScenarioDocument, scenario: Scenario) -> None:
    from alpamayo.authoring.describe import actions_text, trigger_text

    console = new_console()
    kind = "nominal" if document.nominal else f"danger, severity {document.severity}"
    console.print(f"{document.id}  ({document.family}; {kind})", style="bold", markup=False)
    console.print(document.description, markup=False)
    for label, words in (("sources", document.sources), ("tags", document.tags)):
        if words:
            console.print(f"{label}: {', '.join(words)}", markup=False, style="dim")
    road = ", ".join(f"{k} {as_text(v)}" for k, v in vars(scenario.road).items() if v != "")
    console.print(f"\nroad: {road}", markup=False)
    said = {k: v for k, v in vars(scenario.ego).items() if v != () and v is not False}
    ego = ", ".join(f"{k} {as_text(v)}" for k, v in said.items())
    console.print(f"ego: {ego}", markup=False)
    for name in ("signals", "traffic", "weather"):
        part = getattr(scenario, name)
        if part is not None and part != Weather():
            told = ", ".join(f"{k} {as_text(v)}" for k, v in vars(part).items())
            console.print(f"{name}: {told}", markup=False)
    for fault in scenario.faults:
        told = ", ".join(f"{k} {as_text(v)}" for k, v in vars(fault).items())
        console.print(f"fault: {told}", markup=False)
    table = new_table("\nparameters", "name", "distribution", f"seed {scenario.seed}")
    for name, spec in document.parameters.items():
        table.add_row(name, _distribution(spec), as_text(scenario.parameters[name]))
    console.print(table)
    columns = ("id", "kind", "path", "s_m", "d_m", "speed_mps", "behaviour")
    table = new_table(f"\nactors (seed {scenario.seed})", *columns)
    for a in scenario.actors:
        s = f"ego {a.s_m:+.1f}" if a.s_from_ego else f"{a.s_m:.1f}"
        table.add_row(a.id, a.kind, a.path, s, as_text(a.d_m), as_text(a.speed_mps), a.behaviour)
    console.print(table)
    if scenario.events:
        table = new_table(f"\nevents (seed {scenario.seed})", "", "actor", "when", "does")
        for i, e in enumerate(scenario.events):
            table.add_row(str(i), e.actor or "(world)", trigger_text(e), actions_text(e))
        console.print(table)


def _distribution(spec: Any) -> str:
    if isinstance(spec, int | float | str):
        return f"= {spec}"
    parts = spec.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value}" for name, value in parts.items())
