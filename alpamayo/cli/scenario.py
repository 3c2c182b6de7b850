"""``alpamayo scenario``: check, look at, draw from, and play scenario files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.types import CheckFailed, RequestError, Weather

if TYPE_CHECKING:
    from scenarios.schema import ScenarioDocument
    from scenarios.yaml_tree import LocatedProblem

HELP = "check, list, show, draw from and play scenario files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="scenario_command", metavar="COMMAND", required=True)

    def command(name: str, help_text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=help_text)
        sub.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        return sub

    lint = command("lint", "check scenario and suite files, print every error with its place")
    lint.add_argument("paths", nargs="+", metavar="PATH", help="file, folder or library id")

    listing = command("list", "list the scenario library and the suites")
    listing.add_argument("--tag", help="only scenarios with this tag")

    show = command("show", "show one scenario: parameters, actors, events, one draw")
    _add_file_and_seed(show)
    show.add_argument("--png", metavar="OUT", help="write a storyboard (top view at key times)")

    draw = command("sample", "draw scenarios and print their parameters")
    _add_file_and_seed(draw)
    draw.add_argument("-n", "--count", type=int, default=5, help="how many (default 5)")

    schema = command("schema", "print the JSON Schema of scenario files, for editors")
    schema.add_argument(
        "--check", action="store_true", help="check that the shipped schema file is current"
    )
    schema.add_argument("--write", metavar="OUT", help="write it to a file")

    new = command("new", "write a commented starter file")
    new.add_argument("family", metavar="FAMILY", help="name: small letters, digits and _")
    new.add_argument("--out", metavar="FILE", help="where (default: FAMILY.yaml here)")

    play = command("play", "let a policy drive a scenario and print what happened")
    _add_file_and_seed(play)
    play.add_argument(
        "--policy",
        default="expert",
        help="expert, idle, constant_speed, shipped or a checkpoint folder",
    )
    play.add_argument("-n", "--count", type=int, default=4, help="how many seeds (default 4)")


def _add_file_and_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="scenario file or library id")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default 0)")


def run(args: argparse.Namespace) -> int:
    runners = {
        "lint": _lint,
        "list": _list,
        "show": _show,
        "sample": _sample,
        "schema": _schema,
        "new": _new,
        "play": _play,
    }
    return runners[args.scenario_command](args)


def _print_json(value: Any) -> None:
    from alpamayo.replay.codec import to_plain

    print(json.dumps(to_plain(value), indent=2, default=str, allow_nan=False))


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", header_style="bold", box=None)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != columns[-1])
    return table


def _count(args: argparse.Namespace) -> int:
    if not 1 <= args.count <= 100_000:
        raise RequestError(
            f"command line: -n: expected a number from 1 to 100000, got {args.count}"
        )
    return int(args.count)


# --------------------------------------------------------------------------------------
# lint, schema, new
# --------------------------------------------------------------------------------------
def _lint(args: argparse.Namespace) -> int:
    files = _files(args.paths)
    problems: list[LocatedProblem] = []
    for file in files:
        problems += _problems_of(file)
    if args.json:
        _print_json({"files": len(files), "problems": [problem.as_dict() for problem in problems]})
    else:
        for problem in problems:
            print(problem)
        word = "file" if len(files) == 1 else "files"
        print(f"{len(files)} {word}, {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


def _files(paths: list[str]) -> list[Path]:
    from scenarios.catalog import resolve

    files: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml"))
            if not found:
                raise RequestError(f"{text}: no YAML files in this folder")
            files += found
        else:
            files.append(resolve(text))
    return files


def _problems_of(file: Path) -> list[LocatedProblem]:
    from scenarios.load import load_file
    from scenarios.suites import load_suite
    from scenarios.yaml_tree import ScenarioFileError, read_tree

    try:
        value = read_tree(file).value
        if isinstance(value, dict) and "scenarios" in value and "road" not in value:
            load_suite(file)
        else:
            load_file(file)
    except ScenarioFileError as error:
        return list(error.problems)
    return []


def _schema(args: argparse.Namespace) -> int:
    import scenarios.schema

    text = json.dumps(scenarios.schema.json_schema(), indent=2) + "\n"
    if args.check:
        shipped = Path(scenarios.schema.__file__).parent / "scenario.schema.json"
        if not shipped.is_file() or shipped.read_text(encoding="utf-8") != text:
            raise CheckFailed(
                f"{shipped}: out of date; run alpamayo scenario schema --write {shipped}"
            )
        print(json.dumps({"current": True}) if args.json else f"{shipped}: current")
    elif args.write:
        _write_text(Path(args.write), text)
        print(json.dumps({"written": args.write}) if args.json else f"wrote {args.write}")
    else:
        print(text, end="")
    return 0


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: cannot be written ({error.strerror})") from None


def _new(args: argparse.Namespace) -> int:
    import re

    from scenarios.catalog import library_files
    from scenarios.starter import starter

    family = args.family
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", family):
        raise RequestError(
            f"command line: {family}: expected a name of small letters, digits and _"
        )
    if family in library_files():
        raise RequestError(
            f"command line: {family}: the library has this scenario; take another name"
        )
    path = Path(args.out) if args.out else Path(f"{family}.yaml")
    if path.stem != family:
        raise RequestError(f"{path}: expected a file name that equals the id, {family}.yaml")
    if path.exists():
        raise RequestError(f"{path}: exists; remove it or take another name")
    _write_text(path, starter(family))
    if args.json:
        _print_json({"written": str(path)})
    else:
        print(f"wrote {path}\nnext: alpamayo scenario show {path}")
    return 0


# --------------------------------------------------------------------------------------
# list, show, sample
# --------------------------------------------------------------------------------------
def _list(args: argparse.Namespace) -> int:
    from scenarios.catalog import list_documents
    from scenarios.suites import list_suites, load_suite

    documents = [d for d in list_documents() if args.tag is None or args.tag in d.tags]
    suites = [load_suite(name) for name in list_suites()]
    if args.json:
        _print_json(
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
    console = _console()
    table = _table(f"{len(documents)} scenarios", "id", "family", "kind", "severity", "description")
    for d in documents:
        kind = "danger" if not d.nominal else "twin" if d.extends else "ordinary"
        table.add_row(d.id, d.family, kind, d.severity, d.description)
    console.print(table)
    table = _table(f"\n{len(suites)} suites", "id", "split", "seeds", "scenarios", "description")
    for s in suites:
        seeds = s.document.seeds
        span = f"{seeds.start}..{seeds.start + seeds.count - 1}"
        table.add_row(s.id, s.document.split, span, str(len(s.shares)), s.document.description)
    console.print(table)
    console.print("\nnext: alpamayo scenario show cut_in", markup=False)
    return 0


def _load(name: str) -> ScenarioDocument:
    from scenarios.load import load_document

    return load_document(name)


def _show(args: argparse.Namespace) -> int:
    from scenarios.sample import sample

    document = _load(args.file)
    scenario = sample(document, args.seed)
    if args.png:
        from alpamayo.cli.storyboard import write_storyboard

        write_storyboard(scenario, Path(args.png))
    if args.json:
        _print_json(
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
    console = _console()
    kind = "nominal" if document.nominal else f"danger, severity {document.severity}"
    console.print(f"{document.id}  ({document.family}; {kind})", style="bold", markup=False)
    console.print(document.description, markup=False)
    for label, words in (("sources", document.sources), ("tags", document.tags)):
        if words:
            console.print(f"{label}: {', '.join(words)}", markup=False, style="dim")
    road = ", ".join(f"{k} {_text(v)}" for k, v in vars(scenario.road).items())
    console.print(f"\nroad: {road}", markup=False)
    ego = ", ".join(f"{k} {_text(v)}" for k, v in vars(scenario.ego).items())
    console.print(f"ego: {ego}", markup=False)
    for name in ("signals", "traffic", "weather"):
        part = getattr(scenario, name)
        if part is not None and part != Weather():
            told = ", ".join(f"{k} {_text(v)}" for k, v in vars(part).items())
            console.print(f"{name}: {told}", markup=False)
    for fault in scenario.faults:
        told = ", ".join(f"{k} {_text(v)}" for k, v in vars(fault).items())
        console.print(f"fault: {told}", markup=False)
    table = _table("\nparameters", "name", "distribution", f"seed {scenario.seed}")
    for name, spec in document.parameters.items():
        table.add_row(name, _distribution(spec), _text(scenario.parameters[name]))
    console.print(table)
    table = _table(
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
        table.add_row(a.id, a.kind, a.path, s, _text(a.d_m), _text(a.speed_mps), a.behaviour)
    console.print(table)
    if scenario.events:
        table = _table(f"\nevents (seed {scenario.seed})", "actor", "when", "does")
        for e in scenario.events:
            does = "; ".join(_action(action) for action in e.actions)
            when = f"{e.trigger.kind} {_text(e.trigger.value)}"
            if e.trigger.kind == "after":
                when = f"{when} s of event {e.trigger.event}"
            table.add_row(e.actor or "(world)", when, does)
        console.print(table)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _distribution(spec: Any) -> str:
    if isinstance(spec, int | float | str):
        return f"= {spec}"
    parts = spec.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value}" for name, value in parts.items())


def _action(action: Any) -> str:
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
    }
    values = ", ".join(f"{n} {_text(getattr(action, n))}" for n in fields.get(action.kind, ()))
    return f"{action.kind} {values}".strip()


def _sample(args: argparse.Namespace) -> int:
    from scenarios.sample import sample

    document = _load(args.file)
    drawn = [sample(document, args.seed + i) for i in range(_count(args))]
    if args.json:
        _print_json(drawn)
        return 0
    table = _table(f"{document.id}: {len(drawn)} draws", "seed", *document.parameters, "actors")
    for scenario in drawn:
        values = [_text(value) for value in scenario.parameters.values()]
        table.add_row(str(scenario.seed), *values, " ".join(a.id for a in scenario.actors))
    _console().print(table)
    return 0


# --------------------------------------------------------------------------------------
# play
# --------------------------------------------------------------------------------------
def _play(args: argparse.Namespace) -> int:
    from alpamayo.evaluation.runner import run_episodes
    from alpamayo.paths import resolve_policy
    from policies.registry import load_policy
    from scenarios.sample import sample
    from sim.config import SimConfig

    document = _load(args.file)
    drawn = [sample(document, args.seed + i) for i in range(_count(args))]
    policy = load_policy(resolve_policy(args.policy))
    results = run_episodes(policy, drawn, SimConfig())
    if args.json:
        _print_json(results)
        return 0
    table = _table(
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
    _console().print(table)
    for r in results:
        if r.error:
            print(f"seed {r.seed}: {r.error}")
    print(f"next: alpamayo scenario show {args.file} --seed {args.seed} --png storyboard.png")
    return 0
