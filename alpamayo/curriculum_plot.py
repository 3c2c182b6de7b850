"""A run's curriculum as one SVG: for every scenario its share of the draws and its failure rate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from alpamayo.types import RequestError

SHARE, FAILURES = "curriculum/share_", "curriculum/failures_"
COLUMNS, PANEL_W, PANEL_H = 4, 250, 128
LEFT, RIGHT, TOP, BOTTOM, HEAD = 38, 14, 26, 20, 30
INK, GREY, GRID, PAPER = "#222", "#767676", "#e2e2e2", "#fff"
SHARE_COLOUR, FAILURE_COLOUR = "#0b6bcb", "#c2410c"

Points = Sequence[tuple[float, float]]


def write_plot(metrics_file: Path, file: Path) -> Path | None:
    """Draw ``metrics.jsonl`` of a run into ``file``; None if it holds no curriculum."""
    rows = [json.loads(line) for line in metrics_file.read_text(encoding="utf-8").splitlines()]
    names = sorted({k.removeprefix(SHARE) for row in rows for k in row if k.startswith(SHARE)})
    if not names:
        return None
    try:
        file.write_text(draw(rows, names), encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"{file}: expected a writable run directory ({error.strerror})"
        ) from None
    return file


def draw(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """SVG with a panel for each of ``names``."""
    steps = [float(row["step"]) for row in rows]
    top = max(row.get(SHARE + name) or 0.0 for row in rows for name in names)
    lines = -(-len(names) // COLUMNS)
    width, height = COLUMNS * PANEL_W, HEAD + lines * PANEL_H
    panels = []
    for i, name in enumerate(names):
        x, y = i % COLUMNS * PANEL_W, HEAD + i // COLUMNS * PANEL_H
        share = [
            (s, (row.get(SHARE + name) or 0.0) / top) for s, row in zip(steps, rows, strict=True)
        ]
        failures = [
            (s, row.get(FAILURES + name) or 0.0) for s, row in zip(steps, rows, strict=True)
        ]
        panels.append(f'<g transform="translate({x},{y})">{_panel(name, share, failures, top)}</g>')
    legend = (
        _text(LEFT, 18, f"share of the draws (full height {top:.1%})", SHARE_COLOUR)
        + _text(LEFT + 290, 18, "failure rate as remembered (full height 100 %)", FAILURE_COLOUR)
        + _text(width - RIGHT, 18, "over iterations", GREY, "end")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="11">\n<rect width="100%" height="100%" fill="{PAPER}"/>\n'
        + legend
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def _panel(title: str, share: Points, failures: Points, top: float) -> str:
    """Both lines on 0..1 over the iterations."""
    first, last = share[0][0], share[-1][0]
    right, bottom = PANEL_W - RIGHT, PANEL_H - BOTTOM

    def at(x: float, y: float) -> str:
        across = LEFT + (x - first) / max(last - first, 1.0) * (right - LEFT)
        return f"{across:.1f},{bottom - y * (bottom - TOP):.1f}"

    parts = [_text(LEFT, TOP - 8, title, INK)]
    for share_of in (0.0, 0.5, 1.0):
        y = bottom - share_of * (bottom - TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="{GRID}"/>')
    parts.append(_text(LEFT - 5, TOP + 4, f"{top:.0%}", SHARE_COLOUR, "end"))
    parts.append(_text(LEFT - 5, bottom + 4, "0", GREY, "end"))
    parts.append(_text(LEFT, bottom + 14, f"{first:g}", GREY))
    parts.append(_text(right, bottom + 14, f"{last:g}", GREY, "end"))
    for points, colour in ((failures, FAILURE_COLOUR), (share, SHARE_COLOUR)):
        line = " ".join(at(x, y) for x, y in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        )
    return "".join(parts)


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}"'
    return f"<text {place}>{escape(text)}</text>"
