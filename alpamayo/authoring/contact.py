"""A contact sheet: many draws of one scenario, each driven once, with the values drawn."""

from __future__ import annotations

from collections.abc import Sequence

from alpamayo.authoring.canvas import (
    BAD,
    INK,
    LINE,
    SOFT,
    Canvas,
    shortened,
    text_width,
    wrapped,
)
from alpamayo.authoring.describe import as_text
from alpamayo.authoring.overview import Overview
from alpamayo.authoring.space import dimensions
from alpamayo.authoring.trace import Trace
from alpamayo.replay.html import outcome
from scenarios.schema import ScenarioDocument

MOST = 64  # a picture of more is not looked at
_COLUMNS, _TILE_PX, _VIEW_PX, _GAP, _LINE_PX = 3, 396, 132, 12, 19


def draw_contact_sheet(document: ScenarioDocument, traces: Sequence[Trace]) -> Canvas:
    """One tile per trace, in their order; the parameters that are drawn are listed."""
    names = [d.name for d in dimensions(document, 1)]
    lines = -(-len(names) // 2)
    tile_px = 28 + _VIEW_PX + 8 + lines * _LINE_PX + _GAP
    rows = -(-len(traces) // _COLUMNS)
    width = 2 * 10 + _COLUMNS * _TILE_PX + (_COLUMNS - 1) * _GAP // 2
    canvas = Canvas(width, 84 + rows * tile_px)
    _head(canvas, document, traces)
    for n, trace in enumerate(traces):
        x = 10 + (n % _COLUMNS) * (_TILE_PX + _GAP // 2)
        y = 84 + (n // _COLUMNS) * tile_px
        _tile(canvas, trace, names, x, y)
    return canvas


def _head(canvas: Canvas, document: ScenarioDocument, traces: Sequence[Trace]) -> None:
    policy = traces[0].replay.header.policy
    failed = sum(outcome(t.replay.header.result)[1] == "bad" for t in traces)
    title = f"{document.id}: {len(traces)} draws"
    canvas.bold(10, 24, title, 26)
    told = f"driven by {policy}, {failed} of {len(traces)} fail"
    canvas.text(10 + text_width(title, 26) + 18, 25, told, 21, BAD if failed else INK)
    line = wrapped(document.description, 17, canvas.image.width - 20, 1)[0]
    canvas.text(10, 56, line, 17, SOFT)


def _tile(canvas: Canvas, trace: Trace, names: Sequence[str], x: int, y: int) -> None:
    scenario, result = trace.scenario, trace.replay.header.result
    words, badge = outcome(result)
    seed = f"seed {scenario.seed}"
    canvas.bold(x, y + 13, seed, 17)
    left = text_width(seed, 17) + 12
    told = shortened(f"{words}, {result.duration_s:.1f} s", 16, _TILE_PX - left)
    canvas.text(x + left, y + 13, told, 16, BAD if badge else INK)
    Overview(trace, _TILE_PX, _VIEW_PX).draw(canvas, x, y + 28, [], names=False)
    half = _TILE_PX // 2
    lines = -(-len(names) // 2)
    for i, name in enumerate(names):
        u, v = x + (i // lines) * half, y + 28 + _VIEW_PX + 16 + (i % lines) * _LINE_PX
        value = as_text(_short(scenario.parameters[name]))
        width = text_width(value, 15)
        canvas.text(u, v, shortened(name, 15, half - 22 - width), 15, SOFT)
        canvas.text(u + half - 14, v, value, 15, INK, "rm")
    bottom = y + 28 + _VIEW_PX + 8 + lines * _LINE_PX + _GAP // 2
    canvas.draw.line([(x, bottom), (x + _TILE_PX, bottom)], fill=LINE, width=1)


def _short(value: object) -> object:
    return float(f"{value:.3g}") if isinstance(value, float) else value
