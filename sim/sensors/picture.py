"""From views to pictures: list the shapes of every picture, then draw them."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from sim.kernels import kernel
from sim.sensors import backdrop, bodies, ground, items, pen, weather
from sim.sensors.listing import WEATHER

# Words of two pixels, and pixels, every other byte of them.
_LANES, _PIXEL, _HALF = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x00FF00FF), np.uint64(0x00020002)
_2, _8, _16, _24, _32 = (np.uint64(bits) for bits in (2, 8, 16, 24, 32))

# ``items`` ITEM, ``order`` and ``spare`` as long.
Sorting = namedtuple("Sorting", "items order spare")


def new_sorting(most_items: int) -> Sorting:
    return Sorting(
        np.zeros(most_items, dtype=items.ITEM),
        np.zeros(most_items, dtype=np.int64),
        np.zeros(most_items, dtype=np.int64),
    )


# ``steps`` int64 [256], ``weights`` int64 [256, 4], ``row`` uint32 [W], ``glow`` [1024].
Scratch = namedtuple("Scratch", "steps weights row glow")


def new_scratch(width: int) -> Scratch:
    return Scratch(
        np.zeros(256, dtype=np.int64),
        np.zeros((256, 4), dtype=np.int64),
        np.zeros(width, dtype=np.uint32),
        np.zeros(1024),
    )


@kernel
def list_pictures(shapes, ends, eyes, looks, actors, slots, scenes, tables, sorting, full):  # type: ignore[no-untyped-def]
    """List the shapes of all pictures: EYE [n, C], LOOK [n], ``rig_view.Actors``, maps ``slots``
    [n]. Picture k owns shapes ``ends[k]`` to ``ends[k + 1]``; ``ends`` int64 [n C + 1]."""
    shapes.used[0] = shapes.used[1] = 0
    ends[0] = 0
    cameras = eyes.shape[1]
    for i in range(len(eyes)):
        scene = scenes.scenes[slots[i]]
        for c in range(cameras):
            _list_picture(
                shapes, eyes[i, c], looks[i], actors, i, scenes, scene, tables, sorting, full
            )
            ends[i * cameras + c + 1] = shapes.used[0]


@kernel
def _list_picture(shapes, eye, look, actors, i, scenes, scene, tables, sorting, full):  # type: ignore[no-untyped-def]
    if full:
        ground.list_horizon(shapes, eye, look)
    if not scene.relief:
        ground.list_ground(shapes, eye, look, scenes, scene)
    count = items.gather(sorting.items, eye, actors, i, scenes, scene)
    items.sort(sorting.items, count, sorting.order, sorting.spare)
    for k in range(count):
        item = sorting.items[sorting.order[k]]
        if item.cell >= 0:
            ground.list_cell(shapes, eye, look, scenes, scene, item)
        else:
            bodies.list_item(shapes, eye, look, item, tables, full)


@kernel
def draw_pictures(  # type: ignore[no-untyped-def]
    out, rows, places, shapes, ends, eyes, looks, faults, maps, banks, drawing, scratch, labels
):
    """Draw the listed shapes: picture c of view i goes to ``out[rows[i], places[c]]`` uint8 [H, W,
    3], or with ``labels``, as classes, [H, W, 1]. ``faults``: ``weather.Faults`` of the views."""
    canvas, cameras = drawing.canvas, eyes.shape[1]
    for i in range(len(eyes)):
        for c in range(cameras):
            eye = eyes[i, c]
            backdrop.draw_backdrop(canvas, eye, looks[i], maps, scratch.steps)
            for k in range(ends[i * cameras + c], ends[i * cameras + c + 1]):
                shape = shapes.shapes[k]
                if shape.what == WEATHER:
                    backdrop.weather_ground(canvas, eye, looks[i], maps, scratch.weights)
                    continue
                corners = shapes.corners[shape.first : shape.first + shape.count]
                pen.draw(drawing, eye, shape, corners)
            image = out[rows[i], places[c]]
            if labels:
                _pick_labels(canvas, image)
            else:
                _to_bytes(canvas, image, scratch.row)
                weather.finish(image, eye, looks[i], faults, i, maps, banks, scratch.glow)


@kernel
def _pick_labels(canvas, out):  # type: ignore[no-untyped-def]
    scale = len(canvas) // len(out)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x, 0] = canvas[scale * y + scale // 2, scale * x + scale // 2]


@kernel
def _to_bytes(canvas, out, row):  # type: ignore[no-untyped-def]
    """A canvas as RGB, averaged down to the size of ``out`` [H, W, 3]."""
    height, width = out.shape[0], out.shape[1]
    scale = canvas.shape[0] // height
    flat = out.reshape(height, 3 * width)
    for y in range(height):
        averaged = row
        if scale == 1:
            averaged = canvas[y]
        elif scale == 2:
            _halve(canvas[2 * y].view(np.uint64), canvas[2 * y + 1].view(np.uint64), row)
        else:
            _average(canvas, scale, y, row)
        if width % 4 == 0:
            _pack_words(averaged, flat[y].view(np.uint32))
        else:
            for x in range(width):
                color = averaged[x]
                out[y, x, 0], out[y, x, 1] = color & 255, color >> 8 & 255
                out[y, x, 2] = color >> 16 & 255


@kernel
def _halve(upper, lower, row):  # type: ignore[no-untyped-def]
    """Mean of 2 x 2 pixels, rounded half up; a word of ``upper`` and ``lower`` is two pixels."""
    for x in range(len(row)):
        even = (upper[x] & _LANES) + (lower[x] & _LANES)
        odd = (upper[x] >> _8 & _LANES) + (lower[x] >> _8 & _LANES)
        even = (even + (even >> _32) + _HALF) >> _2 & _PIXEL
        odd = (odd + (odd >> _32) + _HALF) >> _2 & _PIXEL
        row[x] = even | odd << _8


@kernel
def _average(canvas, scale, y, row):  # type: ignore[no-untyped-def]
    area = scale * scale
    for x in range(len(row)):
        red = green = blue = area // 2
        for j in range(scale * y, scale * y + scale):
            for i in range(scale * x, scale * x + scale):
                color = np.int64(canvas[j, i])
                red += color & 255
                green += color >> 8 & 255
                blue += color >> 16 & 255
        row[x] = red // area | (green // area) << 8 | (blue // area) << 16


@kernel
def _pack_words(row, words):  # type: ignore[no-untyped-def]
    """Four pixels of four bytes into three words of RGB each."""
    for k in range(len(words) // 3):
        a, b = np.uint64(row[4 * k]), np.uint64(row[4 * k + 1])
        c, d = np.uint64(row[4 * k + 2]), np.uint64(row[4 * k + 3])
        words[3 * k] = a | b << _24
        words[3 * k + 1] = b >> _8 | c << _16
        words[3 * k + 2] = c >> _16 | d << _8
