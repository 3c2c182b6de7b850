"""``alpamayo scenario show``: one scenario, one draw of it, and a picture."""

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
from alpamayo.types import Weather

if TYPE_CHECKING:
    from scenarios.schema import ScenarioDocument

HELP = "show one scenario: parameters, actors, events, one draw"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_file_and_seed(parser)
    parser.add_argument("--png", metavar="OUT", help="write a storyboard (top view at key times)")


def run(args: argparse.Namespace) -> int:
    from scenarios.sample import sample

    document = load(args.file)
    scenario = sample(document, args.seed)
    if args.png:
        from alpamayo.cli.storyboard import write_storyboard

        write_storyboard(scenario, Path(args.png))
    if args.json:
        print_json(
            {
                "document": document.model_dump(exclude_defaults=True),
                "sample": scenario,
                "png": args.png,
            }
        )
        return 0
    _print_document(document, scenario)
    if args.png:
        print(f"wrote {args.png}")
    print(f"next: alpamayo scenario play {args.file} --policy expert")
    return 0


def _print_document(document: ScenarioDocument, scenario: Any) -> None:
    console = new_console()
    kind = "nominal" if document.nominal else f"danger, severity {document.severity}"
    console.print(f"{document.id}  ({document.family}; {kind})", style="bold", markup=False)
    console.print(document.description, markup=False)
    for label, words in (("sources", document.sources), ("tags", document.tags)):
        if words:
            console.print(f"{label}: {', '.join(words)}", markup=False, style="dim")
    road = ", ".join(f"{k} {as_text(v)}" for k, v in vars(scenario.road).items())
    console.print(f"\nroad: {road}", markup=False)
    ego = ", ".join(f"{k} {as_text(v)}" for k, v in vars(scenario.ego).items())
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
    table = new_table(
        f"\nactors (seed {scenario.seed})",
        "id",
        "kind",
        "path",
        "s_m",
        "d_m",
        "speed_mps",
        "behaviour",
    )
    for a in scenario.actors:
        s = f"ego {a.s_m:+.1f}" if a.s_from_ego else f"{a.s_m:.1f}"
        table.add_row(a.id, a.kind, a.path, s, as_text(a.d_m), as_text(a.speed_mps), a.behaviour)
    console.print(table)
    if scenario.events:
        table = new_table(f"\nevents (seed {scenario.seed})", "actor", "when", "does")
        for e in scenario.events:
            does = "; ".join(_action(action) for action in e.actions)
            table.add_row(e.actor or "(world)", _when(e.trigger), does)
        console.print(table)


def _distribution(spec: Any) -> str:
    if isinstance(spec, int | float | str):
        return f"= {spec}"
    parts = spec.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value}" for name, value in parts.items())


def _when(trigger: Any, whole: int = -1) -> str:
    """A trigger, or the part number ``whole`` of it, in words."""
    one = trigger if whole < 0 else trigger.parts[whole]
    if one.kind in ("all", "any"):
        parts = [_when(trigger, n) for n, part in enumerate(trigger.parts) if part.whole == whole]
        return f"{one.kind} of ({'; '.join(parts)})"
    when = f"{one.kind} {as_text(one.value)}"
    if one.kind == "after":
        return f"{when} s of event {one.event}"
    about = getattr(one, "actor", "")
    return f"{when} ({about})" if about else when


def _action(action: Any) -> str:
    if action.kind == "weather":
        changes = vars(action.weather).items()
        told = ", ".join(f"{name} {as_text(v)}" for name, v in changes if v is not None)
        return f"weather {told}"
    if action.kind == "speed" and action.in_s > 0.0:
        return f"speed {as_text(action.speed_mps)} in {as_text(action.in_s)} s"
    fields = {
        "speed": ("speed_mps", "accel_mps2"),
        "offset": ("d_m", "lateral_mps"),
        "react": ("speed_mps",),
        "open_door": ("value", "lateral_mps"),
        "signal": ("mode",),
        "lane_change": ("value", "lateral_mps"),
        "friction": ("value",),
        "indicator": ("value",),
        "stand": ("speed_mps",),
        "follow": ("path", "lateral_mps"),
        "patch": ("patch",),
    }
    values = ", ".join(f"{n} {as_text(getattr(action, n))}" for n in fields.get(action.kind, ()))
    return f"{action.kind} {values}".strip()
