"""Small inline SVG drawings for reports: no script, no library, colours from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from alpamayo.stats import Interval


def line_chart(points: Sequence[tuple[float, float]], width: int = 360, height: int = 170) -> str:
    """A line through (x, y) ``points`` with axes and ticks; points that are not finite are left
    out.
    """
    shown = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not shown:
        return "<p>no data</p>"
    left, right, top, bottom = 48, 10, 10, 24
    x_low, x_high = _range([x for x, _ in shown])
    y_low, y_high = _range([y for _, y in shown], margin=0.08)

    def place(x: float, y: float) -> tuple[float, float]:
        u = left + (x - x_low) / (x_high - x_low) * (width - left - right)
        v = top + (1 - (y - y_low) / (y_high - y_low)) * (height - top - bottom)
        return u, v

    parts = [f"<svg viewBox='0 0 {width} {height}' role='img' class='chart'>"]
    for y in ticks(y_low, y_high):
        _, v = place(x_low, y)
        parts.append(
            f"<line class='grid' x1='{left}' x2='{width - right}' y1='{v:.1f}' y2='{v:.1f}'/>"
        )
        parts.append(f"<text x='{left - 6}' y='{v + 3.5:.1f}' text-anchor='end'>{y:g}</text>")
    for x in ticks(x_low, x_high):
        u, _ = place(x, y_low)
        parts.append(f"<text x='{u:.1f}' y='{height - 8}' text-anchor='middle'>{x:g}</text>")
    path = " ".join(f"{u:.1f},{v:.1f}" for u, v in (place(x, y) for x, y in shown))
    parts.append(f"<polyline points='{path}'/>")
    if len(shown) <= 40:
        for u, v in (place(x, y) for x, y in shown):
            parts.append(f"<circle cx='{u:.1f}' cy='{v:.1f}' r='2.4'/>")
    return "".join(parts) + "</svg>"


def interval_mark(
    before: Interval | None, after: Interval | None, *, high: float | None = None, width: int = 170
) -> str:
    """Two dots with whiskers on one scale from 0: before above, after below."""
    shown = [(i, name) for i, name in ((before, "before"), (after, "after")) if i is not None]
    ends = [v for i, _ in shown for v in (i.low, i.high, i.value) if math.isfinite(v)]
    if not ends:
        return ""
    low, top = min(0.0, *ends), high if high is not None else max(ends)
    span = (top - low) or 1.0
    parts = [f"<svg viewBox='0 0 {width} 26' class='marks' width='{width}' height='26'>"]
    for n, (interval, name) in enumerate(shown):
        values = (interval.low, interval.value, interval.high)
        if not all(math.isfinite(v) for v in values):
            continue
        a, m, b = (6 + (v - low) / span * (width - 12) for v in values)
        y = 8 + 11 * n
        parts.append(f"<line class='{name}' x1='{a:.1f}' x2='{b:.1f}' y1='{y}' y2='{y}'/>")
        parts.append(f"<circle class='{name}' cx='{m:.1f}' cy='{y}' r='3.6'/>")
    return "".join(parts) + "</svg>"


def histogram(
    sides: Sequence[tuple[str, Sequence[float]]], *, bins: int = 20, width: int = 420,
    height: int = 190,
) -> str:  # fmt: skip
    """Shares of values from 0 to 1 in ``bins``, the ``sides`` (name, values) beside each other."""
    shares = []
    for _, values in sides:
        counts = [0] * bins
        for value in values:
            counts[min(int(max(value, 0.0) * bins), bins - 1)] += 1
        shares.append([c / max(len(values), 1) for c in counts])
    top = max((s for side in shares for s in side), default=0.0) or 1.0
    left, right, above, below = 44, 8, 10, 24
    wide, high = width - left - right, height - above - below
    parts = [f"<svg viewBox='0 0 {width} {height}' role='img' class='chart'>"]
    for y in ticks(0.0, top):
        v = above + (1 - y / top) * high
        parts.append(
            f"<line class='grid' x1='{left}' x2='{width - right}' y1='{v:.1f}' y2='{v:.1f}'/>"
            f"<text x='{left - 6}' y='{v + 3.5:.1f}' text-anchor='end'>{100 * y:g} %</text>"
        )
    for x in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = "end" if x == 1.0 else "middle"
        parts.append(
            f"<text x='{left + x * wide:.1f}' y='{height - 8}' text-anchor='{anchor}'>{x:g}</text>"
        )
    slot = wide / bins
    bar = (slot - 1.5) / max(len(sides), 1)
    for n, (name, _) in enumerate(sides):
        for k, share in enumerate(shares[n]):
            if share > 0:
                x, tall = left + k * slot + n * bar, share / top * high
                parts.append(
                    f"<rect class='{_SIDES[n]}' x='{x:.1f}' y='{above + high - tall:.1f}' "
                    f"width='{bar:.1f}' height='{tall:.1f}'><title>{html.escape(name)}: "
                    f"{100 * share:.1f} % from {k / bins:g} to {(k + 1) / bins:g}</title></rect>"
                )
    return "".join(parts) + "</svg>"


_SIDES = ("before", "after")


def stacked_bars(
    lines: Sequence[tuple[str, Sequence[tuple[str, str, int]]]], width: int = 900
) -> str:
    """One bar of full width per line: (name, parts), a part being (words, css class, count)."""
    left, tall, step = 150, 20, 30
    height = step * len(lines) + 2
    parts = [f"<svg viewBox='0 0 {width} {height}' role='img' class='bars'>"]
    for n, (name, pieces) in enumerate(lines):
        y, total = 2 + n * step, sum(count for _, _, count in pieces) or 1
        shown = name if len(name) <= 22 else name[:21] + "\u2026"
        parts.append(
            f"<text x='{left - 8}' y='{y + 14}' text-anchor='end'>{html.escape(shown)}</text>"
        )
        x = float(left)
        for words, tone, count in pieces:
            size = count / total * (width - left)
            if count == 0:
                continue
            label = f"{words}: {count}"
            parts.append(
                f"<g class='{tone}'><rect x='{x:.1f}' y='{y}' width='{max(size - 1, 0.5):.1f}' "
                f"height='{tall}'><title>{html.escape(label)}</title></rect>"
            )
            fits = next((w for w in (label, str(count)) if size > 6.0 * len(w) + 8), "")
            parts.append(
                f"<text class='in' x='{x + 6:.1f}' y='{y + 14}'>{html.escape(fits)}</text>"
            )
            parts.append("</g>")
            x += size
    return "".join(parts) + "</svg>"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    found = [
        round(k * step, 10)
        for k in range(first, first + count * 3)
        if k * step <= high + 1e-9 * step
    ]
    return [v + 0.0 for v in found]


def _range(values: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    pad = (high - low) * margin
    return low - pad, high + pad
