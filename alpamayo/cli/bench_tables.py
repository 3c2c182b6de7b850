"""What ``alpamayo bench`` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

SWEEPS = {"worlds": "worlds in the batch", "agents": "agents per world", "road_m": "metres of road"}


def show(document: Mapping[str, Any]) -> None:
    tables = {"sim": _show_simulator, "realtime": _show_realtime}
    tables.get(document["bench"], _show_plain)(document, _console())


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=120)


def _show_plain(document: Mapping[str, Any], console: Console) -> None:
    title = f"bench {document['bench']}: {document['worlds']} worlds of {document['suite']}"
    table = Table(title=title, show_header=False)
    for name, value in _flat(document["result"], ""):
        table.add_row(name, number(value))
    console.print(table)


def _show_simulator(document: Mapping[str, Any], console: Console) -> None:
    result = document["result"]
    title = f"bench sim: {result['worlds']} worlds, one core, per CPU-second"
    table = Table("case", "unit", title=title)
    for name in ("measured", "must reach", "aim", ""):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        verdict = "" if document["quick"] or row["met"] is None else ("no", "yes")[row["met"]]
        measured = "skipped" if row["skipped"] else number(row["value"])
        table.add_row(
            row["title"], row["unit"], measured, _target(row, "must"), _target(row, "aim"), verdict
        )
    console.print(table)
    for row in result["rows"]:
        if row["skipped"]:
            console.print(f"{row['title']}: skipped: {row['skipped']}", style="yellow")
    for name, points in result["sweeps"].items():
        sweep = Table(SWEEPS[name], *(f"{point['at']:,.0f}" for point in points))
        sweep.add_row("CPU-us per env-step", *(number(p["us_per_env_step"]) for p in points))
        sweep.add_row("env-steps/s", *(number(p["env_steps_per_s"]) for p in points))
        console.print(sweep)


def _show_realtime(document: Mapping[str, Any], console: Console) -> None:
    result = document["result"]
    quantiles = ("p50", "p99", "p99.9", "max")
    config = result["config"]
    table = Table(
        "milliseconds",
        title=f"bench realtime: controller {config['controller_hz']:g} Hz in a "
        f"{result['controller']}, planner {config['planner_hz']:g} Hz",
    )
    for name in quantiles:
        table.add_column(name, justify="right")
    for name, title in (
        ("tick_ms", "tick: command due until given"),
        ("late_ms", "  of it: waking up late"),
        ("work_ms", "  of it: choosing and acting"),
        ("plan_ms", "plan: observation until published"),
    ):
        row = result[name]
        table.add_row(title, *(number(row[q]) if row else "-" for q in quantiles))
    console.print(table)
    source, cycles = result["source"], result["cycles"]
    share = {name: count / max(result["ticks"], 1) for name, count in source.items()}
    console.print(
        f"{result['ticks']:,} ticks, {result['invalid_ticks']} without a valid command, "
        f"{result['skipped_ticks']} skipped; driven by a plan in time {share['plan']:.1%}, "
        f"the rest of the last one {share['remainder']:.1%}, a stop {share['stop']:.1%} "
        f"({result['stops']} stops)"
    )
    console.print(
        f"{result['deadlines']:,} deadlines, {result['deadlines_missed']} missed; planning cycles: "
        + ", ".join(f"{name} {count}" for name, count in cycles.items())
    )
    if "injected" in result:
        injected = ", ".join(f"{k.rstrip('_')} {n}" for k, n in result["injected"].items())
        console.print(f"injected: {injected}")
    if not result["priority"]:
        console.print(
            "the controller ran without priority: other processes may hold it up", style="yellow"
        )


def _target(row: Mapping[str, Any], name: str) -> str:
    if row[name] is None:
        return ""
    return f"{'>=' if row['more_is_better'] else '<='} {number(row[name])}"


def number(value: float) -> str:
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", float(value)
