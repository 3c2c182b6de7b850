"""A run's curriculum as one SVG: for every scenario its share of the draws and its failure rate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpamayo.replay.files import write_whole
from alpamayo.svg import BLUE, GREY, GRID, ORANGE, document, panel, text

SHARE, FAILURES = "curriculum/share_", "curriculum/failures_"
COLUMNS, PANEL_W, PANEL_H = 4, 250, 128
LEFT, RIGHT, TOP, BOTTOM, HEAD = 38, 14, 26, 20, 30
SHARE_COLOUR, FAILURE_COLOUR = BLUE, ORANGE

Points = Sequence[tuple[float, float]]


def write_plot(metrics_file: Path, file: Path) -> Path | None:
    """Draw ``metrics.jsonl`` of a run into ``file``; None if it holds no curriculum."""
    rows = [json.loads(line) for line in metrics_file.read_text(encoding="utf-8").splitlines()]
    names = sorted({k.removeprefix(SHARE) for row in rows for k in row if k.startswith(SHARE)})
    if not names:
        return None
    return write_whole(file, draw(rows, names))


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
        panels.append(panel(x, y, _panel(name, share, failures, top)))
    legend = (
        text(LEFT, 18, f"share of the draws (full height {top:.1%})", color=SHARE_COLOUR)
        + text(
            LEFT + 290, 18, "failure rate as remembered (full height 100 %)", color=FAILURE_COLOUR
        )
        + text(width - RIGHT, 18, "over iterations", "end", GREY)
    )
    return document(width, height, legend + "\n".join(panels))


def _panel(title: str, share: Points, failures: Points, top: float) -> str:
    """Both lines on 0..1 over the iterations."""
    first, last = share[0][0], share[-1][0]
    right, bottom = PANEL_W - RIGHT, PANEL_H - BOTTOM

    def at(x: float, y: float) -> str:
        across = LEFT + (x - first) / max(last - first, 1.0) * (right - LEFT)
        return f"{across:.1f},{bottom - y * (bottom - TOP):.1f}"

    parts = [text(LEFT, TOP - 8, title)]
    for share_of in (0.0, 0.5, 1.0):
        y = bottom - share_of * (bottom - TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="{GRID}"/>')
    parts.append(text(LEFT - 5, TOP + 4, f"{top:.0%}", "end", SHARE_COLOUR))
    parts.append(text(LEFT - 5, bottom + 4, "0", "end", GREY))
    parts.append(text(LEFT, bottom + 14, f"{first:g}", color=GREY))
    parts.append(text(right, bottom + 14, f"{last:g}", "end", GREY))
    for points, colour in ((failures, FAILURE_COLOUR), (share, SHARE_COLOUR)):
        line = " ".join(at(x, y) for x, y in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        )
    return "".join(parts)
