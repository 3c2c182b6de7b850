"""``alpamayo bench``: measure speed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HELP = "Measure the speed of the simulator, the policy, or the loop of both, in one process."
EPILOG = """\
sim     steps per CPU-second of one core with state and camera observations, against targets and
        (if installed) highway-env; reset, import, memory; how cost grows with worlds, agents, maps
policy  time to decode a batch and a single observation; for a checkpoint also a learning step
loop    decisions/s of observe + plan + step, and the share of each
"""
SIM_S, OTHER_S = 2.0, 10.0
SWEEPS = {"worlds": "worlds in the batch", "agents": "agents per world", "road_m": "metres of road"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "what", choices=("sim", "policy", "loop"), help="what to measure, see below"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, such as sim.ego_model=dynamic"
    )
    parser.add_argument(
        "--policy",
        default="shipped",
        metavar="PATH|NAME",
        help="policy, loop: checkpoint, expert, idle (default: shipped)",
    )
    parser.add_argument(
        "--suite",
        default="heldout",
        metavar="NAME",
        help="policy, loop: scenarios to drive (default: heldout)",
    )
    parser.add_argument(
        "--worlds", type=int, default=64, metavar="N", help="worlds stepped together (default: 64)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        metavar="S",
        help=f"time to measure (default: {OTHER_S:g}; sim: CPU time of a case in each of three "
        f"rounds, default {SIM_S:g})",
    )
    parser.add_argument("--map", metavar="FILE", help="sim: the OpenDRIVE map to compare with")
    parser.add_argument("--quick", action="store_true", help="sim: see that it works; no verdicts")
    parser.add_argument("--plot", metavar="FILE.svg", help="sim: draw how cost grows")
    parser.add_argument("--out", metavar="FILE", help="write the JSON document here as well")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from alpamayo.types import RequestError

    if args.worlds < 1:
        raise RequestError(f"--worlds {args.worlds}: expected a number >= 1")
    seconds = args.seconds
    if seconds is None:
        seconds = SIM_S if args.what == "sim" else OTHER_S
    if not 0 < seconds < 1e6:
        raise RequestError(f"--seconds {seconds:g}: expected a number > 0")
    from alpamayo import bench
    from alpamayo.config import load_config

    config = load_config("eval", None, args.overrides)
    document: dict[str, Any] = {"bench": args.what}
    if args.what == "sim":
        document["quick"] = args.quick
        document["result"] = _simulator(args, seconds, config.sim)
    else:
        policy = _policy(args.policy, config)
        measure = bench.bench_policy if args.what == "policy" else bench.bench_loop
        document |= {"suite": args.suite, "worlds": args.worlds, "policy": args.policy}
        document["result"] = measure(policy, args.suite, args.worlds, seconds, config.sim)
    document["machine"] = bench.machine()
    if args.out:
        _write(Path(args.out), document)
    if args.json:
        print(json.dumps(document))
    elif args.what == "sim":
        _show_simulator(document)
    else:
        _show(document)
    return 0


def _simulator(args: argparse.Namespace, seconds: float, config: Any) -> dict[str, Any]:
    from alpamayo.bench_cases import find_map
    from alpamayo.bench_plot import check_plot_file, plot_sweeps
    from alpamayo.bench_sim import QUICK, bench_sim, full_scale

    plot = None if args.plot is None else check_plot_file(Path(args.plot))
    scale = QUICK if args.quick else full_scale(args.worlds, seconds)
    result = bench_sim(config, scale, find_map(args.map))
    if plot is not None:
        plot_sweeps(result, plot)
    return result


def _policy(spec: str, config: Any) -> Any:
    from alpamayo.config import decode_options
    from alpamayo.paths import resolve_policy
    from policies.registry import load_policy

    if spec in ("expert", "idle", "constant_speed"):
        return load_policy(spec)
    return load_policy(resolve_policy(spec), **decode_options(config.policy.decode))


def _write(file: Path, document: Mapping[str, Any]) -> None:
    from alpamayo.types import RequestError

    try:
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out {file}: expected a writable file ({error.strerror})") from None


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"bench {document['bench']}: {document['worlds']} worlds of {document['suite']}"
    table = Table(title=title, show_header=False)
    for name, value in _flat(document["result"], ""):
        table.add_row(name, _number(value))
    Console().print(table)


def _show_simulator(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    result, console = document["result"], Console()
    if not console.is_terminal:
        console = Console(width=120)
    title = f"bench sim: {result['worlds']} worlds, one core, per CPU-second"
    table = Table("case", "unit", title=title)
    for name in ("measured", "must reach", "aim", ""):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        verdict = "" if document["quick"] or row["met"] is None else ("no", "yes")[row["met"]]
        measured = "skipped" if row["skipped"] else _number(row["value"])
        table.add_row(
            row["title"], row["unit"], measured, _target(row, "must"), _target(row, "aim"), verdict
        )
    console.print(table)
    for row in result["rows"]:
        if row["skipped"]:
            console.print(f"{row['title']}: skipped: {row['skipped']}", style="yellow")
    for name, points in result["sweeps"].items():
        sweep = Table(SWEEPS[name], *(f"{point['at']:,.0f}" for point in points))
        sweep.add_row("CPU-us per env-step", *(_number(p["us_per_env_step"]) for p in points))
        sweep.add_row("env-steps/s", *(_number(p["env_steps_per_s"]) for p in points))
        console.print(sweep)


def _target(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    return f"{'>=' if row['more_is_better'] else '<='} {_number(row[name])}"


def _number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", float(value)
