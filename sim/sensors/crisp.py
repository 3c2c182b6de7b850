"""Fills without anti-aliasing, pixel for pixel those of OpenCV's 8-connected fills.

For supersampled pictures, which smooth the steps when they are averaged down. Written out here so
that a picture depends on no library's version and a whole batch is drawn without leaving compiled
code. Points are fixed-point pixel coordinates with ``SHIFT`` fractional bits; a pixel's centre is a
whole number. A canvas is uint32 [H, W], one packed colour per pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.kernels import kernel

SHIFT: Any = np.int64(4)
_FINEST: Any = np.int64(16)
_ONE = 1 << 16  # lines and edges are traced with 16 fractional bits
_HALF = 1 << 15
_UP = 16 - SHIFT
_ROUND = 1 << (SHIFT - 1)

# One edge of a polygon: rows [top, bottom), x at the top and per row with 16 fractional bits.
EDGE = np.dtype([("top", "i8"), ("bottom", "i8"), ("x", "i8"), ("slope", "i8")], align=True)


@kernel
def _divide(a, b):  # type: ignore[no-untyped-def]
    """Integer division that rounds towards zero."""
    q = abs(a) // abs(b)
    return q if (a >= 0) == (b >= 0) else -q


@kernel
def _outside(x, y, right, bottom):  # type: ignore[no-untyped-def]
    """Bits for left, right, above and below the picture."""
    code = 0
    if x < 0:
        code += 1
    if x > right:
        code += 2
    if y < 0:
        code += 4
    if y > bottom:
        code += 8
    return code


@kernel
def _cut(at, from_, other, value, other_value):  # type: ignore[no-untyped-def]
    """How far ``value`` moves when its end of a line is cut from ``from_`` to ``at``."""
    return int(float(at - from_) * (other_value - value) / (other - from_))


@kernel
def clip_line(width, height, x1, y1, x2, y2):  # type: ignore[no-untyped-def]
    """(whether any of it is inside, x1, y1, x2, y2): a line cut to [0, width) x [0, height)."""
    right, bottom = width - 1, height - 1
    c1, c2 = _outside(x1, y1, right, bottom), _outside(x2, y2, right, bottom)
    if (c1 & c2) == 0 and (c1 | c2) != 0:
        if c1 & 12:
            at = 0 if c1 < 8 else bottom
            x1 += _cut(at, y1, y2, x1, x2)
            y1 = at
            c1 = _outside(x1, 0, right, bottom)
        if c2 & 12:
            at = 0 if c2 < 8 else bottom
            x2 += _cut(at, y2, y1, x2, x1)
            y2 = at
            c2 = _outside(x2, 0, right, bottom)
        if (c1 & c2) == 0 and (c1 | c2) != 0:
            if c1:
                at = 0 if c1 == 1 else right
                y1 += _cut(at, x1, x2, y1, y2)
                x1 = at
                c1 = 0
            if c2:
                at = 0 if c2 == 1 else right
                y2 += _cut(at, x2, x1, y2, y1)
                x2 = at
                c2 = 0
    return (c1 | c2) == 0, x1, y1, x2, y2


@kernel
def _dot(canvas, x, y, color):  # type: ignore[no-untyped-def]
    if 0 <= y < canvas.shape[0] and 0 <= x < canvas.shape[1]:
        canvas[y, x] = color


@kernel
def _outline(canvas, x1, y1, x2, y2, color):  # type: ignore[no-untyped-def]
    """A line one pixel wide between points with 16 fractional bits."""
    height, width = canvas.shape
    seen, x1, y1, x2, y2 = clip_line(width << 16, height << 16, x1, y1, x2, y2)
    if not seen:
        return
    dx, dy = x2 - x1, y2 - y1
    flat = abs(dx) > abs(dy)
    if (flat and dx < 0) or (not flat and dy < 0):
        x1, y1, x2, y2, dx, dy = x2, y2, x1, y1, -dx, -dy
    _dot(canvas, (x2 + _HALF) >> 16, (y2 + _HALF) >> 16, color)
    if flat:
        step = _divide(dy * _ONE, dx | 1)
        x, y = (x1 + _HALF) >> 16, y1 + _HALF
        for _ in range((dx >> 16) + 1):
            _dot(canvas, x, y >> 16, color)
            x += 1
            y += step
    else:
        step = _divide(dx * _ONE, dy | 1)
        x, y = x1 + _HALF, (y1 + _HALF) >> 16
        for _ in range((dy >> 16) + 1):
            _dot(canvas, x >> 16, y, color)
            x += step
            y += 1


@kernel
def _row(canvas, y, x1, x2, color):  # type: ignore[no-untyped-def]
    """Fill pixels ``x1`` to ``x2``, both inclusive."""
    width = canvas.shape[1]
    if x2 >= 0 and x1 < width:
        for x in range(max(x1, 0), min(x2, width - 1) + 1):
            canvas[y, x] = color


@kernel
def fill_convex(canvas, points, count, shift, color):  # type: ignore[no-untyped-def]
    """Fill the convex polygon ``points`` int64 [>= count, 2] with ``shift`` fractional bits."""
    up, half = 16 - shift, (1 << shift) >> 1
    low_x = high_x = points[0, 0]
    low_y = high_y = points[0, 1]
    first: Any = np.int64(0)
    for i in range(count):
        x, y = points[i, 0], points[i, 1]
        if y < low_y:
            low_y, first = y, i
        high_y, low_x, high_x = max(high_y, y), min(low_x, x), max(high_x, x)
        j = i - 1 if i else count - 1
        _outline(canvas, points[j, 0] << up, points[j, 1] << up, x << up, y << up, color)
    low_x, high_x = (low_x + half) >> shift, (high_x + half) >> shift
    low_y, high_y = (low_y + half) >> shift, (high_y + half) >> shift
    height, width = canvas.shape
    if count < 3 or high_x < 0 or high_y < 0 or low_x >= width or low_y >= height:
        return
    _fill_between(canvas, points, count, shift, color, first, low_y, min(high_y, height - 1))


@kernel
def _fill_between(canvas, points, count, shift, color, first, low, high):  # type: ignore[no-untyped-def]
    """The rows ``low`` to ``high`` of a convex polygon, between its two chains from corner
    ``first``."""
    up, half = 16 - shift, (1 << shift) >> 1
    at_a = at_b = first
    until_a = until_b = low
    x_a = x_b = np.int64(-_ONE)
    slope_a = slope_b = np.int64(0)
    left, ahead, back = count, np.int64(1), count - 1
    for y in range(low, high + 1):
        if y >= until_a:
            left, at_a, until_a, x_a, slope_a = _next_side(
                points, count, ahead, at_a, until_a, x_a, slope_a, y, left, shift, up, half
            )
        if y >= until_b:
            left, at_b, until_b, x_b, slope_b = _next_side(
                points, count, back, at_b, until_b, x_b, slope_b, y, left, shift, up, half
            )
        if left < 0:
            return
        if y >= 0:
            _row(canvas, y, (min(x_a, x_b) + _HALF) >> 16, (max(x_a, x_b) + _HALF) >> 16, color)
        x_a += slope_a
        x_b += slope_b


@kernel
def _next_side(  # type: ignore[no-untyped-def]
    points, count, step, at, until, x, slope, y, left, shift, up, half
):
    """Walk a chain to its next side that reaches below row ``y``; ``left`` sides are unused."""
    from_, to = at, (at + step) % count
    while left > 0:
        left -= 1
        bottom = (points[to, 1] + half) >> shift
        if bottom > y:
            start, end = points[from_, 0] << up, points[to, 0] << up
            rows = bottom - y
            return left, to, bottom, start, _divide((end - start) * 2 + rows, 2 * rows)
        from_, to = to, (to + step) % count
    return left - 1, at, until, x, slope


@kernel
def _cell_line(canvas, x1, y1, x2, y2, color):  # type: ignore[no-untyped-def]
    """Bresenham's line between whole pixels."""
    height, width = canvas.shape
    seen, x1, y1, x2, y2 = clip_line(width, height, x1, y1, x2, y2)
    if not seen:
        return
    if x2 < x1:
        x1, y1, x2, y2 = x2, y2, x1, y1
    dx, dy, down = x2 - x1, abs(y2 - y1), 1 if y2 >= y1 else -1
    steep = dy > dx
    if steep:
        dx, dy = dy, dx
    error, x, y = dx - 2 * dy, x1, y1
    for _ in range(dx + 1):
        canvas[y, x] = color
        aside = error < 0
        error += -2 * dy + (2 * dx if aside else 0)
        if steep or aside:
            y += down
        if not steep or aside:
            x += 1


@kernel
def collect_edges(canvas, points, count, color, edges, used):  # type: ignore[no-untyped-def]
    """Outline a polygon with ``SHIFT`` fractional bits and append its edges to ``edges`` EDGE;
    returns how many there are then. Edges that do not fit are left out."""
    height, width = canvas.shape
    x0, y0 = points[count - 1, 0] << _UP, (points[count - 1, 1] + _ROUND) >> SHIFT
    for i in range(count):
        x1, y1 = points[i, 0] << _UP, (points[i, 1] + _ROUND) >> SHIFT
        cell_0, cell_1 = (x0 + _HALF) >> 16, (x1 + _HALF) >> 16
        _cell_line(canvas, cell_0, y0, cell_1, y1, color)
        # Edges that leave the picture start from where they enter it.
        ax, ay, bx, by = x0, y0, x1, y1
        inside = 0 <= cell_0 < width and 0 <= cell_1 < width
        if not (inside and 0 <= y0 < height and 0 <= y1 < height):
            _, cx, cy, dx, dy = clip_line(width, height, cell_0, y0, cell_1, y1)
            ax, bx = cx << 16, dx << 16
            if cy != dy:
                ay, by = cy, dy
        if y0 != y1 and used < len(edges):
            slope = _divide(bx - ax, by - ay)
            edge = edges[used]
            used += 1
            edge["slope"] = slope
            if y0 < y1:
                edge["top"], edge["bottom"], edge["x"] = y0, y1, ax + (y0 - ay) * slope
            else:
                edge["top"], edge["bottom"], edge["x"] = y1, y0, bx + (y1 - by) * slope
        x0, y0 = x1, y1
    return used


@kernel
def fill_edges(canvas, edges, used, lists, color):  # type: ignore[no-untyped-def]
    """Fill between every other edge, row by row. ``lists`` int64 [4, longest]: scratch, as long as
    ``edges`` and the canvas is high."""
    if used < 2:
        return
    height = canvas.shape[0]
    starting, following, active, crossings = lists[0], lists[1], lists[2], lists[3]
    # Edges by the first row of the picture that they cross.
    top, bottom = height, np.int64(0)
    for i in range(used):
        if edges[i].bottom > 0 and edges[i].top < height:
            top, bottom = min(top, max(edges[i].top, 0)), max(bottom, min(edges[i].bottom, height))
    for y in range(top, bottom):
        starting[y] = -1
    for i in range(used):
        if edges[i].bottom > 0 and edges[i].top < height:
            y = max(edges[i].top, 0)
            following[i], starting[y] = starting[y], i
    count = np.int64(0)
    for y in range(top, bottom):
        i = starting[y]
        while i >= 0:
            active[count], count, i = i, count + 1, following[i]
        kept = np.int64(0)
        for k in range(count):
            i = active[k]
            if edges[i].bottom <= y:
                continue
            active[kept] = i
            x, at = edges[i].x + (y - edges[i].top) * edges[i].slope, kept
            while at > 0 and crossings[at - 1] > x:
                crossings[at] = crossings[at - 1]
                at -= 1
            crossings[at] = x
            kept += 1
        count = kept
        for k in range(0, count - 1, 2):
            _row(canvas, y, (crossings[k] + _ONE - 1) >> 16, crossings[k + 1] >> 16, color)


_SINES = np.array([np.float32(f"{math.sin(math.radians(a)):.7f}") for a in range(451)])


@kernel
def fill_disc(canvas, x, y, radius, color, corners):  # type: ignore[no-untyped-def]
    """Fill a disc given with ``SHIFT`` fractional bits; ``corners`` int64 [>= 80, 2] is scratch."""
    x, y, radius = x << _UP, y << _UP, radius << _UP
    pixels = (radius + _HALF) >> 16
    step = 90 if pixels < 3 else 30 if pixels < 10 else 18 if pixels < 15 else 5
    count = np.int64(0)
    for i in range(0, 360 + step, step):
        angle = min(i, 360)
        at = (x + radius * float(_SINES[450 - angle]), y + radius * float(_SINES[angle]))
        for k in range(2):
            whole = round(at[k] / _ONE) << 16
            corners[count, k] = whole + round(at[k] - whole)
        if count == 0 or corners[count, 0] != corners[count - 1, 0] or (
            corners[count, 1] != corners[count - 1, 1]
        ):  # fmt: skip
            count += 1
    if count > 1:
        fill_convex(canvas, corners, count, _FINEST, color)
