"""A storyboard of one driven scenario: the whole way at a glance, top views at key times, and time
to collision, gap and speed over time with the events marked.

Key times are the start, the end, the closest approach and the events. Numbers in discs are the
panels, letters in diamonds the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.authoring.canvas import (
    BAD,
    EGO,
    INK,
    LINE,
    SOFT,
    Canvas,
    Color,
    shortened,
    text_width,
    wrapped,
)
from alpamayo.authoring.overview import Overview
from alpamayo.authoring.trace import Fired, Trace, key_times
from alpamayo.replay.html import outcome
from alpamayo.replay.topdown import TopDown

PANELS, COLUMNS = 6, 3
WIDTH, PANEL_PX, PANEL_HIGH_PX, PANEL_PX_PER_M, GAP = 1220, 396, 270, 6.0, 12
_MARGIN, _OVERVIEW_PX, _CHART_PX = 10, 250, 170
EVENT: Color = (176, 72, 155)
_TTC_TOP_S, _GAP_TOP_M = 8.0, 30.0


def draw_storyboard(trace: Trace, description: str) -> Canvas:
    """``description``: the document's, under the title."""
    times = key_times(0.0, _end(trace), [f.time_s for f in trace.fired], trace.closest_s, PANELS)
    events = trace.fired[:12]
    columns = 1 if len(events) <= 4 else 2
    legend_px = 24 * -(-len(events) // columns) + (8 if events else 0)
    head_px = 92
    panels_px = (PANELS // COLUMNS) * (PANEL_HIGH_PX + 30 + GAP)
    height = head_px + _OVERVIEW_PX + legend_px + panels_px + _CHART_PX + 2 * _MARGIN
    canvas = Canvas(WIDTH, height)
    _head(canvas, trace, description)
    y = head_px
    Overview(trace, WIDTH - 2 * _MARGIN, _OVERVIEW_PX).draw(canvas, _MARGIN, y, times)
    y += _OVERVIEW_PX + 8
    _legend(canvas, events, y, columns)
    y += legend_px
    _panels(canvas, trace, times, y)
    y += panels_px
    _charts(canvas, trace, times, y)
    return canvas


def _end(trace: Trace) -> float:
    return float(trace.time_s[-1])


def _head(canvas: Canvas, trace: Trace, description: str) -> None:
    header = trace.replay.header
    scenario, (words, badge) = header.scenario, outcome(header.result)
    name = f"{scenario.id}, seed {scenario.seed}"
    canvas.bold(_MARGIN, 24, name, 26)
    told = f"driven by {header.policy}: {words} after {_end(trace):.1f} s"
    x = _MARGIN + text_width(name, 26) + 18
    canvas.text(x, 25, told, 21, BAD if badge else INK)
    for i, line in enumerate(wrapped(description, 17, WIDTH - 2 * _MARGIN, 2)):
        canvas.text(_MARGIN, 54 + 21 * i, line, 17, SOFT)


def _legend(canvas: Canvas, events: tuple[Fired, ...], y: int, columns: int) -> None:
    part = (WIDTH - 2 * _MARGIN) // columns
    for i, event in enumerate(events):
        x, line = _MARGIN + 12 + (i % columns) * part, y + 12 + 24 * (i // columns)
        canvas.diamond(x, line, event.letter, EVENT, 12)
        told = f"{event.time_s:.1f} s  {event.text}"
        canvas.text(x + 20, line, shortened(told, 16, part - 44), 16)


def _panels(canvas: Canvas, trace: Trace, times: list[float], y: int) -> None:
    view = TopDown(trace.ticks, PANEL_PX, PANEL_PX_PER_M)
    for n, time_s in enumerate(times):
        x = _MARGIN + (n % COLUMNS) * (PANEL_PX + GAP // 2)
        top = y + (n // COLUMNS) * (PANEL_HIGH_PX + 30 + GAP)
        canvas.badge(x + 13, top + 14, str(n + 1), INK)
        canvas.text(x + 32, top + 14, shortened(_caption(trace, time_s), 17, PANEL_PX - 36), 17)
        canvas.paste(_towards_the_right(view.draw(time_s)), x, top + 30)
        _scale(canvas, x, top + 30)


def _towards_the_right(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Ego drives to the right, as in the overview; the strip around it."""
    first = (PANEL_PX - PANEL_HIGH_PX) // 2
    return np.rot90(image, -1)[first : first + PANEL_HIGH_PX]


def _scale(canvas: Canvas, x: int, y: int) -> None:
    right, bottom = x + PANEL_PX - 14, y + PANEL_HIGH_PX - 14
    left = right - 10 * PANEL_PX_PER_M
    canvas.draw.line([(left, bottom), (right, bottom)], fill=INK, width=3)
    canvas.text((left + right) / 2, bottom - 12, "10 m", 15, anchor="mm")


def _caption(trace: Trace, time_s: float) -> str:
    """Time, speed and what is special about it."""
    ego = trace.ticks.columns["ego"]
    k = int(np.argmin(np.abs(ego[:, 4] - time_s)))
    parts = [f"{time_s:.1f} s", f"{ego[k, 3] * 3.6:.0f} km/h"]
    now = [f.letter for f in trace.fired if abs(f.time_s - time_s) < 0.06]
    if time_s >= _end(trace) - 1e-6:
        parts.append(outcome(trace.replay.header.result)[0])
    elif trace.closest_s is not None and abs(trace.closest_s - time_s) < 1e-6:
        parts.append(f"closest approach, {trace.gap_m.min():.1f} m")
    elif now:
        parts.append(f"event {', '.join(now)}")
    return "   ".join(parts)


# --------------------------------------------------------------------------------------
# Over time
# --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Curve:
    name: str
    unit: str
    values: npt.NDArray[Any]
    top: float
    color: Color


def _charts(canvas: Canvas, trace: Trace, times: list[float], y: int) -> None:
    """Three curves side by side on the same clock."""
    speed = trace.ticks.columns["ego"][1:, 3]
    curves = (
        _Curve("time to collision", "s", np.minimum(trace.ttc_s, _TTC_TOP_S), _TTC_TOP_S, BAD),
        _Curve("gap", "m", np.minimum(trace.gap_m, _GAP_TOP_M), _GAP_TOP_M, (47, 158, 110)),
        _Curve("speed", "m/s", speed, max(5.0, float(np.ceil(speed.max() / 5.0)) * 5.0), EGO),
    )
    width = (WIDTH - 2 * _MARGIN - 2 * 24) // 3
    for i, curve in enumerate(curves):
        _chart(canvas, trace, times, curve, _MARGIN + i * (width + 24), y, width)


def _chart(
    canvas: Canvas, trace: Trace, times: list[float], curve: _Curve, x: int, y: int, width: int
) -> None:
    end = max(_end(trace), 1e-6)
    left, top, bottom = x + 34, y + 36, y + _CHART_PX - 26

    def at(time_s: float, value: float) -> tuple[float, float]:
        u = left + time_s / end * (x + width - left)
        return u, bottom - value / curve.top * (bottom - top)

    canvas.bold(x, y + 12, f"{curve.name} [{curve.unit}]", 16)
    for value in (0.0, curve.top / 2, curve.top):
        _, v = at(0.0, value)
        canvas.draw.line([(left, v), (x + width, v)], fill=LINE, width=1)
        canvas.text(left - 6, v, f"{value:g}", 14, SOFT, "rm")
    for time_s in np.arange(0.0, end + 1e-6, 2.0 if end > 5.0 else 1.0):
        canvas.text(at(float(time_s), 0.0)[0], bottom + 13, f"{time_s:g}", 14, SOFT, "mm")
    for fired in trace.fired:
        u, _ = at(fired.time_s, 0.0)
        canvas.draw.line([(u, top - 8), (u, bottom)], fill=EVENT, width=1)
        canvas.diamond(u, top - 8, fired.letter, EVENT, 9)
    for time_s in times[1:-1]:
        u, _ = at(time_s, 0.0)
        canvas.draw.line([(u, bottom - 5), (u, bottom + 3)], fill=INK, width=2)
    points = [
        at(float(t), max(float(v), 0.0)) for t, v in zip(trace.time_s, curve.values, strict=True)
    ]
    canvas.draw.line(points, fill=curve.color, width=3, joint="curve")
    canvas.draw.line([(left, top), (left, bottom)], fill=LINE, width=1)
