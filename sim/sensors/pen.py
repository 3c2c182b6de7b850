"""Draws lists of shapes on a canvas: clips them, projects them, fills them."""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from sim.kernels import kernel
from sim.sensors import crisp, lens, smooth
from sim.sensors.listing import DISC, FILL, LAY, TAKE_LARGE
from sim.sensors.smooth import SOLID

_FARTHEST = 30000.0  # pixels; far enough that no clipping error shows
_SIDE = 4.0  # crisp pictures clip large polygons at this slope left and right, well outside them

# ``canvas`` uint32 [fine H, fine W]; ``cut``, ``spare`` [cap, 3] and ``points`` [more, 2] scratch;
# ``fixed`` int64 [cap, 2], ``edges``, ``lists`` and ``used`` [1] of crisp fills.
Pen = namedtuple("Pen", "canvas cover cut spare points fixed edges lists used")


def new_pen(height: int, width: int, corners: int, edges: int, sharp: bool) -> Pen:
    """``corners``: most of one polygon; ``edges``: most of what is laid at once."""
    room = 2 * corners + 96
    return Pen(
        np.zeros((height, width), dtype=np.uint32),
        smooth.new_cover(height, width),
        np.zeros((room, 3)),
        np.zeros((room, 3)),
        np.zeros((room * lens.PIECES, 2)),
        np.zeros((room, 2), dtype=np.int64),
        np.zeros(edges if sharp else 1, dtype=crisp.EDGE),
        np.zeros((4, max(edges, height) if sharp else 1), dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )


@kernel
def draw(pen, eye, shape, corners):  # type: ignore[no-untyped-def]
    """Draw one SHAPE whose corners are ``corners``."""
    what, color, opacity = shape.what, shape.color, shape.opacity
    sharp = eye.sharp and (opacity == 0 or opacity >= SOLID)
    if what == LAY:
        if sharp:
            crisp.fill_edges(pen.canvas, pen.edges, pen.used[0], pen.lists, color)
            pen.used[0] = 0
        else:
            smooth.lay_down(pen.canvas, pen.cover, color, opacity)
    elif what == DISC:
        _draw_disc(pen, eye, shape, corners, sharp)
    elif _sees(eye, corners):
        if sharp:
            _draw_sharp(pen, eye, corners, what, color)
        else:
            _take_smooth(pen, eye, corners)
            if what == FILL:
                smooth.lay_down(pen.canvas, pen.cover, color, opacity)


@kernel
def _sees(eye, corners):  # type: ignore[no-untyped-def]
    """Whether a polygon may reach into the picture: some of it lies ahead, and it is not all on one
    side of the field of view."""
    ahead = behind = left = right = False
    for i in range(len(corners)):
        x, z = corners[i, 0], corners[i, 2]
        if z >= eye.near:
            ahead = True
        else:
            behind = True
        wide = 1.02 * eye.wedge * z
        left |= x < wide
        right |= x > -wide
    return eye.faces > 1 or (ahead and (behind or (left and right)))


@kernel
def _draw_disc(pen, eye, shape, corners, sharp):  # type: ignore[no-untyped-def]
    x, y, scale = corners[0, 0], corners[0, 1], eye.scale
    if sharp:
        radius = int(shape.grow * np.rint(shape.radius * scale * (1 << crisp.SHIFT)))
        crisp.fill_disc(
            pen.canvas, _fixed(x, scale), _fixed(y, scale), radius, shape.color, pen.fixed
        )
        return
    points, radius = pen.points, shape.grow * shape.radius * scale
    count = min(max(8, int(2.0 * math.sqrt(radius)) * 4), 64)
    for k in range(count):
        angle = 2.0 * math.pi * k / count
        points[k, 0] = scale * x + radius * math.cos(angle)
        points[k, 1] = scale * y + radius * math.sin(angle)
    height, width = pen.canvas.shape
    smooth.add_polygon(pen.cover, points, count, width, height)
    smooth.lay_down(pen.canvas, pen.cover, shape.color, shape.opacity)


@kernel
def _take_smooth(pen, eye, corners):  # type: ignore[no-untyped-def]
    height, width = pen.canvas.shape
    points, count, near = pen.points, len(corners), eye.near
    crosses = eye.faces > 1
    for i in range(count):
        crosses |= corners[i, 2] < near
    for number in range(eye.faces):
        cut, total = corners, count
        if crosses:
            total = lens.face(eye, number, corners, count, pen.cut, pen.spare)
            cut = pen.cut
        if total < 3:
            continue
        if eye.bent:
            total = lens.bend(eye, cut, total, points)
        else:
            for i in range(total):
                points[i, 0], points[i, 1] = lens.to_picture(eye, cut[i, 0], cut[i, 1], cut[i, 2])
        if eye.scale != 1.0:
            for i in range(total):
                points[i, 0] *= eye.scale
                points[i, 1] *= eye.scale
        smooth.add_polygon(pen.cover, points, total, width, height)


@kernel
def _draw_sharp(pen, eye, corners, what, color):  # type: ignore[no-untyped-def]
    """Fill a polygon crisply, or outline it and take its edges."""
    count = _to_fixed(pen, eye, corners, what == TAKE_LARGE)
    if count == 0:
        return
    if what == FILL:
        crisp.fill_convex(pen.canvas, pen.fixed, count, crisp.SHIFT, color)
    else:
        pen.used[0] = crisp.collect_edges(
            pen.canvas, pen.fixed, count, color, pen.edges, pen.used[0]
        )


@kernel
def _to_fixed(pen, eye, corners, large):  # type: ignore[no-untyped-def]
    """Project a polygon for a crisp fill into ``pen.fixed``; returns how many corners it has there,
    0 if it is not in the picture."""
    cut, total, near = corners, len(corners), eye.near
    crosses = False
    for i in range(total):
        crosses |= corners[i, 2] < near
    if large:
        total = lens.clip(corners, total, pen.cut, 0.0, 1.0, near)
        total = lens.clip(pen.cut, total, pen.spare, 1.0, _SIDE, 0.0)
        total = lens.clip(pen.spare, total, pen.cut, -1.0, _SIDE, 0.0)
        cut = pen.cut
    elif crosses:
        total = lens.clip(corners, total, pen.cut, 0.0, 1.0, near)
        cut = pen.cut
    if total < 3:
        return 0
    fixed = pen.fixed
    low_i = low_j = 1 << 40
    high_i = high_j = -(1 << 40)
    for k in range(total):
        x, y = lens.to_picture(eye, cut[k, 0], cut[k, 1], cut[k, 2])
        i, j = _fixed(x, eye.scale), _fixed(y, eye.scale)
        fixed[k, 0], fixed[k, 1] = i, j
        low_i, high_i = min(low_i, i), max(high_i, i)
        low_j, high_j = min(low_j, j), max(high_j, j)
    if not large:
        # Quads have five corners, whatever the near plane left of them.
        while total < 5:
            fixed[total, 0], fixed[total, 1] = fixed[total - 1, 0], fixed[total - 1, 1]
            total += 1
    height, width = pen.canvas.shape
    if high_i < 0 or high_j < 0:
        return 0
    if low_i > width << crisp.SHIFT or low_j > height << crisp.SHIFT:
        return 0
    return total


@kernel
def _fixed(pixel, scale):  # type: ignore[no-untyped-def]
    fine = min(max(pixel * scale - 0.5, -_FARTHEST), _FARTHEST)
    return int(np.rint(fine * (1 << crisp.SHIFT)))
