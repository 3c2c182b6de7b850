"""What ``alpamayo bench`` prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

SWEEPS = {"worlds": "worlds in the batch", "agents": "agents per world", "road_m": "metres of road"}


def show(document: Mapping[str, Any]) -> None:
    tables = {"sim": _show_simulator, "realtime": _show_realtime}
    show_one = tables.get(document["bench"], _show_plain)
    if "batches" in document["result"]:
        show_one = _show_network
    show_one(document, _console())


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


_NETWORK_COLUMNS = (
    "decoded", "forwards", "tok/fwd", "rounds ms", "p99", "fwd ms", "x floor", "plan ms", "p99",
    "plans/s", "x AR",
)  # fmt: skip


def _show_network(document: Mapping[str, Any], console: Console) -> None:
    result = document["result"]
    console.print(
        f"{result['parameters']:,} parameters, {result['weights_bytes'] / 1e6:,.1f} MB of "
        f"{result['dtype']} on {result['device']}; this machine reads "
        f"{result['bytes_per_s'] / 1e9:,.1f} GB/s and multiplies "
        f"{result['flop_per_s'] / 1e9:,.1f} GFLOP/s"
    )
    for measured in result["batches"].values():
        parts = ", ".join(
            f"{name} {number(measured[f'{name}_ms']['p50'])} ms (p99 "
            f"{number(measured[f'{name}_ms']['p99'])})"
            for name in ("vision", "prefill")
            if f"{name}_ms" in measured
        )
        table = Table(
            title=f"batch {measured['batch']}: {measured['prompt_tokens']} prompt and "
            f"{result['plan_tokens']} plan tokens; {parts}; {measured['repetitions']} repetitions",
        )
        for index, name in enumerate(_NETWORK_COLUMNS):
            table.add_column(name, justify="right" if index else "left", no_wrap=True)
        for row in measured["ways"].values():
            table.add_row(row["title"], *map(number, _network_row(row)))
        console.print(table)
    console.print(
        "forwards: after the prefill, per plan; tok/fwd: tokens that they decide, each; floor: the "
        "forward's weights and keys read, or its products made, at the rates above; plan: whole, "
        "with images seen before not encoded again; x AR: how many times faster",
        style="dim",
    )
    console.print(f"peak memory {result['peak_memory_bytes'] / 1e6:,.0f} MB")
    if "learn" in result:
        console.print(f"learning: {result['learn']['samples_per_s']:,.0f} samples/s")


def _network_row(row: Mapping[str, Any]) -> tuple[float, ...]:
    decode, plan = row["decode_ms"], row["plan_ms"]
    return (
        row["forwards_per_plan"], row["tokens_per_forward"], decode["p50"], decode["p99"],
        row["forward_ms"], row["times_floor"], plan["p50"], plan["p99"], row["plans_per_s"],
        row["times_faster_than_ar"],
    )  # fmt: skip


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
