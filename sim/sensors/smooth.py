"""Anti-aliased fills: every pixel takes the colour by the share of its area that is covered.

Signed areas of all sides are accumulated first and summed along each row when the colour is laid
down, as font rasterisers do. Sides that two polygons of one fill share therefore cancel exactly,
and polygons may have any shape. Coordinates are pixels, pixel (i, j) covers [i, i + 1) x [j, j +
1); a canvas is uint32 [H, W], one packed colour per pixel.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from sim.kernels import kernel

_SHIFT = 3  # the pixels of a row are marked as touched in blocks of this power of two
BLOCK = 1 << _SHIFT
_RB, _G = 0xFF00FF, 0x00FF00
SOLID = 256  # opacity of a colour that hides what is below
# Covers fully from half coverage on: next to each other, polygons of different fills leave no seam.
SEAMLESS = 512

# ``area`` float32 [H, W]: what to add to the coverage from a pixel on. ``touched`` uint8 [H,
# blocks]: where in ``area`` anything lies. ``bounds`` int64 [4]: first and last block, first and
# last row of all that. Everything is zero (the bounds empty) between fills.
Cover = namedtuple("Cover", "area touched bounds")


def new_cover(height: int, width: int) -> Cover:
    """Scratch for canvases [height, width]."""
    blocks = width // BLOCK + 1
    return Cover(
        np.zeros((height, blocks * BLOCK), dtype=np.float32),
        np.zeros((height, blocks), dtype=np.uint8),
        np.array([blocks, -1, height, -1], dtype=np.int64),
    )


@kernel
def blend(under, over, share):  # type: ignore[no-untyped-def]
    """Mix two packed colours; ``share`` of ``over`` in 256ths."""
    keep = 256 - share
    red_blue = ((under & _RB) * keep + (over & _RB) * share) >> 8
    green = ((under & _G) * keep + (over & _G) * share) >> 8
    return (red_blue & _RB) | (green & _G)


@kernel
def add_polygon(cover, points, count, width, height):  # type: ignore[no-untyped-def]
    """Accumulate the polygon ``points`` [>= count, 2]."""
    area, touched, bounds = cover.area, cover.touched, cover.bounds
    leftmost, rightmost = float(width), -1.0
    top, bottom = bounds[2], bounds[3]
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        x0, y0, x1, y1, sign = points[i, 0], points[i, 1], points[j, 0], points[j, 1], 1.0
        if y0 > y1:
            x0, y0, x1, y1, sign = x1, y1, x0, y0, -1.0
        if y1 <= 0.0 or y0 >= height or y0 == y1:
            continue
        slope = (x1 - x0) / (y1 - y0)
        if y0 < 0.0:
            x0, y0 = x0 - y0 * slope, 0.0
        if y1 > height:
            x1, y1 = x0 + (height - y0) * slope, float(height)
        leftmost, rightmost = min(leftmost, x0, x1), max(rightmost, x0, x1)
        first, last = int(y0), int(y1) if y1 == int(y1) else int(y1) + 1
        top, bottom = min(top, first), max(bottom, last - 1)
        low, high = min(x0, x1), max(x0, x1)
        x = x0
        for y in range(first, last):
            depth = min(y1, y + 1.0) - max(y0, float(y))
            # Clamped: the last step must not leave the side's own range by a rounding error.
            to = min(max(x + depth * slope, low), high)
            a, b = min(x, to), max(x, to)
            x = to
            left = int(a)
            if a >= 0.0 and b <= left + 1 and left + 1 < width:
                spill = depth * (0.5 * (a + b) - left) * sign
                area[y, left] += depth * sign - spill
                area[y, left + 1] += spill
                touched[y, left >> _SHIFT] = 1
                touched[y, (left + 1) >> _SHIFT] = 1
            elif a < width:
                _add_wide(area, touched, y, a, b, depth * sign, width)
    bounds[2], bounds[3] = top, bottom
    bounds[0] = min(bounds[0], max(int(leftmost), 0) >> _SHIFT)
    bounds[1] = max(bounds[1], min(int(rightmost) + 1, width) >> _SHIFT)


@kernel
def _add_wide(area, touched, y, a, b, depth, width):  # type: ignore[no-untyped-def]
    """The part of a side within row ``y``, from ``a`` to ``b`` (``a`` < ``width``), over any number
    of pixels."""
    if a < 0.0:
        # Left of the picture a side covers whole rows.
        outside = depth if b <= 0.0 else depth * (-a / (b - a))
        area[y, 0] += outside
        touched[y, 0] = 1
        depth -= outside
        a = 0.0
    if b > width:
        depth *= (width - a) / (b - a)
        b = float(width)
    if b <= a:
        if depth != 0.0 and a < width:
            area[y, int(a)] += depth
            touched[y, int(a) >> _SHIFT] = 1
        return
    per_pixel = depth / (b - a)
    left = int(a)
    reached = 0.0  # the coverage that what has been added gives so far
    for x in range(left, min(int(b) + 1, width)):
        # The covered area of this pixel is that right of the side.
        start, end = max(a, float(x)), min(b, x + 1.0)
        crossed = (end - start) * per_pixel
        covered = (start - a) * per_pixel + crossed * (x + 1.0 - 0.5 * (start + end))
        area[y, x] += covered - reached
        reached = covered
        touched[y, x >> _SHIFT] = 1
    x = min(int(b) + 1, width)
    if x < width:
        area[y, x] += depth - reached
        touched[y, x >> _SHIFT] = 1


@kernel
def lay_down(canvas, cover, color, opacity):  # type: ignore[no-untyped-def]
    """Fill what has been accumulated with ``color`` and forget it.

    ``opacity`` in 256ths (``SOLID``: all); 0 sets every pixel that is covered by half or more.
    """
    area, touched, bounds = cover.area, cover.touched, cover.bounds
    width = canvas.shape[1]
    first, last = bounds[0], min(bounds[1], touched.shape[1] - 1)
    for y in range(bounds[2], bounds[3] + 1):
        covered, block = 0.0, first
        while block <= last:
            start = block << _SHIFT
            if touched[y, block]:
                touched[y, block] = 0
                block += 1
                for x in range(start, min(start + BLOCK, width)):
                    covered += area[y, x]
                    area[y, x] = 0.0
                    share = _share(covered, opacity)
                    if share >= SOLID:
                        canvas[y, x] = color
                    elif share > 0:
                        canvas[y, x] = blend(canvas[y, x], color, share)
                continue
            while block <= last and touched[y, block] == 0:
                block += 1
            share = _share(covered, opacity)
            if share >= SOLID:
                canvas[y, start : min(block << _SHIFT, width)] = color
            elif share > 0:
                for x in range(start, min(block << _SHIFT, width)):
                    canvas[y, x] = blend(canvas[y, x], color, share)
    bounds[0], bounds[1] = touched.shape[1], -1
    bounds[2], bounds[3] = len(area), -1


@kernel
def _share(covered, opacity):  # type: ignore[no-untyped-def]
    """How much of a colour a pixel takes, in 256ths."""
    share = int(min(abs(covered), 1.0) * 256.0 + 0.5)
    if opacity == 0:
        return SOLID if share >= 128 else 0
    return share * opacity >> 8
