"""Numbers and tables of a comparison as people read them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alpamayo.evaluation.compare import Comparison
from alpamayo.stats import Interval

# What a terminal shows; the report shows everything.
MAIN = (
    "failure", "at_fault", "off_road", "red_light", "other_collision", "close_encounter",
    "failed_to_run", "progress", "driving_score", "extended_score", "scene_score", "comfort",
    "ttc_share", "mean_speed", "plan_deviation", "plan_latency", "plan_ms",
)  # fmt: skip
_DIGITS = {"rate": 1, "share": 3, "km": 3}


def format_value(value: float, kind: str) -> str:
    """Percent for rates, three digits for shares, the unit's own precision else."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else str(value)
    if kind == "rate":
        return f"{100 * value:.1f} %"
    return f"{value:.{_DIGITS.get(kind, 2)}f}"


def format_interval(interval: Interval | None, kind: str, signed: bool = False) -> str:
    """``value [low, high]``; a difference carries its sign."""
    if interval is None:
        return ""
    if math.isnan(interval.value):
        return "not measured"
    scale = 100.0 if kind == "rate" else 1.0
    digits = _DIGITS.get(kind, 2)
    unit = " %" if kind == "rate" else ""
    sign = "+" if signed else ""

    def number(value: float) -> str:
        return "-" if math.isnan(value) else format(value * scale, f"{sign}.{digits}f")

    return f"{number(interval.value)}{unit} [{number(interval.low)}, {number(interval.high)}]"


def format_p(p_value: float | None) -> str:
    if p_value is None:
        return ""
    return "<1e-4" if p_value < 1e-4 else f"{p_value:.2g}"


def format_table(comparison: Comparison) -> str:
    """The main rows as plain text, 95 % intervals in brackets, then the headline."""
    paired = comparison.after_name is not None
    header = ["", comparison.before_name]
    if comparison.after_name is not None:
        header += [comparison.after_name, "change"]
    lines = [header]
    for row in comparison.rows:
        if row.name not in MAIN or not math.isfinite(row.before.value):
            continue
        unit = f" [{row.kind}]" if row.kind not in ("rate", "share") else ""
        cells = [row.label + unit, format_interval(row.before, row.kind)]
        if paired:
            cells += [
                format_interval(row.after, row.kind),
                format_interval(row.difference, row.kind, signed=True),
            ]
        lines.append(cells)
    return "\n".join([*columns(lines), "", headline(comparison)])


def columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Aligned text, the first line as a header with a rule below."""
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    text = [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return [text[0], rule, *text[1:]]


def headline(comparison: Comparison) -> str:
    """One sentence with the number that matters."""
    failed = comparison.failed_before + comparison.failed_after
    note = f"; {failed} episodes failed to run and count as failures" if failed else ""
    if comparison.reduction is None:
        return f"{comparison.episodes} episodes, 95 % intervals{note}"
    failure = comparison.row("failure")
    change = f"reduced by {format_interval(comparison.reduction, 'rate')} relative"
    if comparison.reduction.value < 0 and failure.after is not None:
        was, now = (format_value(i.value, "rate") for i in (failure.before, failure.after))
        change = f"went up from {was} to {now}"
    return (
        f"{comparison.episodes} paired episodes: at-fault collision + off-road rate {change} "
        f"(McNemar p = {failure.p_value:.2g}); "
        f"{len(comparison.regressions)} episodes got worse, {len(comparison.fixes)} better{note}"
    )
