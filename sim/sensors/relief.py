"""Ground that is not flat: a grid of grass, with the road's pieces in each of its cells.

The cells are drawn from far to near together with everything that stands on them, so a crest hides
what is behind it.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sim.roads.maps import RoadMap

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

TERRAIN_M = 8.0
_MARGIN_CELLS = 8  # grass beyond the road on all sides
GRASS_LAP_M = 0.2  # cells overlap their neighbours, so that no seams show; the road's pieces more
_LAP_M = 0.3
_BELOW_M = 0.05  # grass lies this much lower than the road
_SUN = (0.5, 0.35)  # slopes towards the sun are brighter

# One cell: heights of its corners (south-west, south-east, north-east, north-west), brightness and
# which pieces (POLYGON rows) of the road lie in it.
TERRAIN = np.dtype(
    [("x", "f8"), ("y", "f8"), ("z", "f8", (4,)), ("tone", "f8"), ("piece_first", "i8"),
     ("piece_count", "i8")],
    align=True,
)  # fmt: skip
# A polygon on the ground. ``first``/``count``: its corners; the rest: the rectangle around it.
POLYGON = np.dtype(
    [("first", "i8"), ("count", "i8"), ("kind", "i8"), ("low_x", "f8"), ("low_y", "f8"),
     ("high_x", "f8"), ("high_y", "f8")],
    align=True,
)  # fmt: skip

# ``cells`` TERRAIN [rows * cols] from the corner (x, y); ``pieces`` with their ``corners`` [*, 3].
Terrain = namedtuple("Terrain", "cells pieces corners cols rows x y")
NO_TERRAIN = Terrain(np.zeros(0, TERRAIN), np.zeros(0, POLYGON), np.zeros((0, 3)), 0, 0, 0.0, 0.0)


def terrain_of(
    road: RoadMap, polygons: Records, corners: F64, paint: F64, paint_color: I64
) -> Terrain:
    """Cut the road's ``polygons`` (rows of ``corners`` [*, 3]) and ``paint`` quads into cells and
    lay grass around them. Paint of colour c becomes pieces of kind 2 + c."""
    shapes = [(corners[p["first"] : p["first"] + p["count"]], int(p["kind"])) for p in polygons]
    shapes += [(quad, 2 + int(c)) for quad, c in zip(paint, paint_color, strict=True)]
    everything = np.concatenate([shape for shape, _ in shapes])
    low = np.floor(everything[:, :2].min(axis=0) / TERRAIN_M) - _MARGIN_CELLS
    high = np.ceil(everything[:, :2].max(axis=0) / TERRAIN_M) + _MARGIN_CELLS
    cols, rows = (high - low).astype(np.int64)
    known = np.concatenate([everything, road.samples[:, [0, 1, 6]]])
    heights = _heights(known, low * TERRAIN_M, int(cols), int(rows))
    cells = _grass(heights, low * TERRAIN_M)
    found: list[tuple[int, int, F64]] = []  # cell, kind, corners
    for shape, kind in shapes:
        found += [(j * int(cols) + i, kind, part) for i, j, part in _cut(shape, low)]
    found.sort(key=lambda entry: entry[:2])
    pieces = np.zeros(len(found), dtype=POLYGON)
    first = 0
    for k, (cell, kind, part) in enumerate(found):
        pieces[k] = (first, len(part), kind, *part[:, :2].min(axis=0), *part[:, :2].max(axis=0))
        first += len(part)
        cells["piece_count"][cell] += 1
    cells["piece_first"] = np.cumsum(cells["piece_count"]) - cells["piece_count"]
    parts = np.concatenate([part for _, _, part in found])
    return Terrain(cells, pieces, parts, int(cols), int(rows), *(low * TERRAIN_M))


def _heights(known: F64, origin: F64, cols: int, rows: int) -> F64:
    """Heights [rows + 1, cols + 1] of the grid's nodes: the mean of what is ``known`` [*, 3] near a
    node, spread outwards and smoothed where nothing is."""
    node = np.rint((known[:, :2] - origin) / TERRAIN_M).astype(np.int64)
    flat = node[:, 1] * (cols + 1) + node[:, 0]
    size = (rows + 1) * (cols + 1)
    weight = np.bincount(flat, minlength=size).astype(np.float64)
    total = np.bincount(flat, weights=known[:, 2], minlength=size)
    fixed = (weight > 0).reshape(rows + 1, cols + 1)
    heights = np.where(fixed, (total / np.maximum(weight, 1.0)).reshape(fixed.shape), np.nan)
    heights = _spread(heights)
    for _ in range(24):
        padded = np.pad(heights, 1, mode="edge")
        mean = 0.25 * (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:])
        heights = np.where(fixed, heights, mean)
    return heights - _BELOW_M


def _spread(heights: F64) -> F64:
    """Fill unknown (nan) nodes from known neighbours, ring by ring."""
    while np.isnan(heights).any():
        padded = np.pad(heights, 1, constant_values=np.nan)
        around = np.stack(
            [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        )
        known = ~np.isnan(around)
        mean = np.where(known, around, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        mean[~known.any(axis=0)] = np.nan
        heights = np.where(np.isnan(heights), mean, heights)
    return heights


def _grass(heights: F64, origin: F64) -> Records:
    rows, cols = heights.shape[0] - 1, heights.shape[1] - 1
    cells = np.zeros((rows, cols), dtype=TERRAIN)
    cells["x"] = origin[0] + TERRAIN_M * np.arange(cols)
    cells["y"] = origin[1] + TERRAIN_M * np.arange(rows)[:, None]
    corners = [heights[:-1, :-1], heights[:-1, 1:], heights[1:, 1:], heights[1:, :-1]]
    cells["z"] = np.stack(corners, axis=-1)
    slope_x = (corners[1] + corners[2] - corners[0] - corners[3]) / (2.0 * TERRAIN_M)
    slope_y = (corners[2] + corners[3] - corners[0] - corners[1]) / (2.0 * TERRAIN_M)
    cells["tone"] = np.clip(1.0 - _SUN[0] * slope_x - _SUN[1] * slope_y, 0.7, 1.3)
    return cells.ravel()


def _cut(shape: F64, low: F64) -> list[tuple[int, int, F64]]:
    """The parts (column, row, corners) of a polygon [n, 3] in the cells of the grid."""
    parts = []
    for i, strip in _slices(shape, 0, low[0]):
        parts += [(i, j, part) for j, part in _slices(strip, 1, low[1])]
    return parts


def _slices(shape: F64, axis: int, low: float) -> list[tuple[int, F64]]:
    """Cut a polygon by the grid's lines across ``axis``."""
    first = int(np.floor(shape[:, axis].min() / TERRAIN_M))
    last = int(np.ceil(shape[:, axis].max() / TERRAIN_M))
    parts = []
    for k in range(first, max(last, first + 1)):
        part = _half(shape, axis, k * TERRAIN_M - _LAP_M, 1.0)
        part = _half(part, axis, (k + 1) * TERRAIN_M + _LAP_M, -1.0)
        if len(part) >= 3:
            parts.append((k - int(low), part))
    return parts


def _half(shape: F64, axis: int, at: float, side: float) -> F64:
    """The part of a polygon on one side of a line, heights interpolated along its sides."""
    if not len(shape):
        return shape
    value = side * (shape[:, axis] - at)
    following = np.roll(shape, -1, axis=0)
    after = np.roll(value, -1)
    inside, crosses = value >= 0.0, (value >= 0.0) != (after >= 0.0)
    share = np.where(crosses, value / np.where(crosses, value - after, 1.0), 0.0)
    cut = shape + share[:, None] * (following - shape)
    both = np.stack([shape, cut], axis=1)
    return both[np.stack([inside, crosses], axis=1)]
