"""Pieces of a self-contained page: style and script inline, tables that sort without a network.

Text of any origin is escaped here, in ``cell`` and by the callers of ``text``.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alpamayo.evaluation.compare import MetricRow
from alpamayo.evaluation.text import format_interval
from alpamayo.stats import Interval

_STYLE = Path(__file__).with_name("report.css")
_SCRIPT = Path(__file__).with_name("report.js")
LEVEL = 0.05
NEUTRAL = ("mean_speed", "plan_ms", "decode_rounds", "collision_front", "collision_lateral")


@dataclass(frozen=True)
class Cell:
    """``body`` is HTML. ``value`` is what the column is sorted by; without one, its text is."""

    body: str
    value: float | str | None = None
    tone: str = ""


def text(words: object) -> str:
    """Escaped."""
    return html.escape(str(words))


def cell(words: object, *, value: float | str | None = None, tone: str = "") -> Cell:
    return Cell(text(words), value, tone)


def number(words: str, value: float, tone: str = "") -> Cell:
    """A cell that sorts as a number."""
    return Cell(text(words), value, f"num {tone}".strip())


def interval_cell(interval: Interval | None, kind: str, tone: str = "") -> Cell:
    if interval is None:
        return Cell("", "")
    return number(format_interval(interval, kind), interval.value, tone)


def document(title: str, lead: str, sections: Sequence[str]) -> str:
    """A whole page; ``lead`` and ``title`` are plain text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><h1>{text(title)}</h1><p class='lead'>{text(lead)}</p>"
        + "".join(sections)
        + f"<script>{_SCRIPT.read_text(encoding='utf-8')}</script></body></html>\n"
    )


def section(title: str, body: str) -> str:
    if not body:
        return ""
    if not title:
        return f"<section class='plain'>{body}</section>"
    return f"<section><h2>{text(title)}</h2>{body}</section>"


def folded(words: str, body: str) -> str:
    """``body`` behind a line that opens it."""
    return f"<details><summary>{text(words)}</summary>{body}</details>"


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], *, name: str = "") -> str:
    """A table that sorts by its headings; with a ``name``, a field above it filters the rows."""
    cells = "".join(f"<th>{text(h)}</th>" for h in head)
    lines = "".join(f"<tr>{''.join(_cell(c) for c in row)}</tr>" for row in rows)
    identity = f" id='{text(name)}'" if name else ""
    body = f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody>"
    filtering = (
        f"<p class='tools'><input class='filter' type='search' placeholder='filter rows by words' "
        f"aria-label='filter rows' data-table='{text(name)}' />"
        f"<small id='{text(name)}-shown'>{len(rows)} rows</small></p>"
        if name
        else ""
    )
    return f"{filtering}<div class='wide'><table class='sortable'{identity}>{body}</table></div>"


def _cell(one: Cell) -> str:
    tone = f" class='{one.tone}'" if one.tone else ""
    value = one.value
    if isinstance(value, float | int):
        # What was not measured sorts last, like an empty cell.
        value = "" if math.isnan(value) else f"{value:.9g}".replace("inf", "1e300")
    sort_by = "" if value is None else f" data-v='{html.escape(value, quote=True)}'"
    return f"<td{tone}{sort_by}>{one.body}</td>"


def card(label: str, value: str, small: str, tone: str = "") -> str:
    small = text(small) or "&nbsp;"
    return (
        f"<div class='card'><span>{text(label)}</span><b class='{tone}'>{text(value)}</b>"
        f"<small>{small}</small></div>"
    )


def link(label: str, target: str) -> str:
    return f"<a href='{html.escape(target, quote=True)}'>{text(label)}</a>"


def tone_of(row: MetricRow) -> str:
    """Whether the whole interval of the change lies on the better or on the worse side, and the
    test, corrected for the length of the table, agrees.
    """
    if row.difference is None or row.name in NEUTRAL:
        return ""
    if row.p_adjusted is not None and row.p_adjusted > LEVEL:
        return ""
    sign = 1 if row.better == "higher" else -1
    low, high = sorted((sign * row.difference.low, sign * row.difference.high))
    return "good" if low > 0 else "bad" if high < 0 else ""
