"""The drivable area and the nearest lanes as rasters, in tiles of 32 m that lie near the road."""
# The kernels are typed by numba, which reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from alpamayo.types import RequestError
from sim.kernels import kernel
from sim.roads.lookup import FAR_TILE_M
from sim.roads.maps import (
    CELL_M,
    F64,
    I16,
    I32,
    NEAREST_CELL_M,
    NEAREST_CELLS,
    TILE_CELLS,
    TILE_M,
)

U8 = npt.NDArray[np.uint8]

MARGIN_M = FAR_TILE_M
WIDEST_TILES = 2000  # 64 km: beyond that something is wrong with the file
RUN_OUT_SAMPLES = 28  # straight samples after a path's own that still count as lane
_FINE = 2  # drawn on half cells, so that the distance is good to an eighth of a metre and better
_COARSE_M = 2.0
_SHIFT = 8
_LONGEST_RUN = 16
_MOST_PIXELS = 1 << 26
_PIECE_M = 4.0
_BLOCK = 8  # cells along one side of the blocks that share candidates


@dataclass(frozen=True)
class Area:
    """``tiles`` int32 [rows, cols] (-1: nothing near), ``sdf`` int16 [t, 129, 129] in mm, and the
    world corner of tile (0, 0)."""

    tiles: I32
    sdf: I16
    origin_xy: tuple[float, float]


def rasterise(surfaces: list[F64]) -> Area:
    """Signed distance to the edge of all ``surfaces`` (polygons [n, 2]) together, up to 8 m."""
    corners = np.concatenate(surfaces)
    low = np.floor(corners.min(axis=0)) - MARGIN_M
    cols, rows = np.ceil((np.ceil(corners.max(axis=0)) + MARGIN_M - low) / TILE_M).astype(int)
    if max(cols, rows) > WIDEST_TILES:
        raise RequestError(
            f"road: surfaces: expected them within {WIDEST_TILES * TILE_M / 1000:.0f} km, got "
            f"{max(cols, rows) * TILE_M / 1000:.0f} km"
        )
    wanted = _near_tiles(surfaces, low, int(rows), int(cols))
    tiles = np.full(wanted.shape, -1, dtype=np.int32)
    tiles[wanted] = np.arange(np.count_nonzero(wanted))
    sdf = np.empty((int(wanted.sum()), TILE_CELLS + 1, TILE_CELLS + 1), dtype=np.int16)
    paint = _painter(surfaces, low, int(rows), int(cols))
    for row, col, high, wide in _runs(wanted):
        distance = _distance(paint(row, col, high, wide))
        for r in range(high):
            for c in range(wide):
                y, x = r * TILE_CELLS, c * TILE_CELLS
                block = distance[y : y + TILE_CELLS + 1, x : x + TILE_CELLS + 1]
                sdf[tiles[row + r, col + c]] = block
    return Area(tiles, sdf, (float(low[0]), float(low[1])))


def _near_tiles(surfaces: list[F64], low: F64, rows: int, cols: int) -> npt.NDArray[np.bool_]:
    """[rows, cols] whether a surface lies within ``MARGIN_M`` of a tile, or a little farther."""
    per_tile = round(TILE_M / _COARSE_M)
    mask = np.zeros((rows * per_tile, cols * per_tile), dtype=np.uint8)
    for surface in surfaces:
        corner = np.round(((surface - low) / _COARSE_M - 0.5) * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(mask, [corner], 1, lineType=cv2.LINE_8, shift=_SHIFT)
    size = 2 * math.ceil(MARGIN_M / _COARSE_M + 0.75) + 1  # a drawn pixel is up to 0.71 off
    mask = cv2.dilate(mask, np.ones((size, size), dtype=np.uint8))
    return mask.reshape(rows, per_tile, cols, per_tile).any(axis=(1, 3))


def _runs(wanted: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
    """Rectangles (row, col, rows, cols) one tile thick that cover the wanted tiles: first along
    rows, then what is left along columns."""
    left = wanted.copy()
    result = []
    for row, col in np.argwhere(wanted):
        wide = _run_length(left[row, col:])
        if wide >= 3:
            left[row, col : col + wide] = False
            result.append((int(row), int(col), 1, wide))
    for row, col in np.argwhere(left):
        high = _run_length(left[row:, col])
        if high:
            left[row : row + high, col] = False
            result.append((int(row), int(col), high, 1))
    return result


def _run_length(flags: npt.NDArray[np.bool_]) -> int:
    """How many of the first flags are set."""
    flags = flags[:_LONGEST_RUN]
    return len(flags) if flags.all() else int(np.argmin(flags))


def _painter(
    surfaces: list[F64], low: F64, rows: int, cols: int
) -> Callable[[int, int, int, int], U8]:
    """A function that gives the picture of some tiles (row, col, rows, cols) and ``MARGIN_M``
    around them, 255 where a surface is.

    The whole map is painted at once if it is small enough. Else edges are cut into short pieces
    first: where OpenCV clips a slanted line, all of it moves by up to a pixel.
    """
    tile = TILE_CELLS * _FINE
    height, width = _picture_shape(rows, cols)
    if height * width <= _MOST_PIXELS:
        whole = _painted(surfaces, low - MARGIN_M, (height, width))

        def cut(row: int, col: int, high: int, wide: int) -> U8:
            height, width = _picture_shape(high, wide)
            part = whole[row * tile : row * tile + height, col * tile : col * tile + width]
            return np.ascontiguousarray(part)

        return cut
    surfaces = [_in_pieces(surface) for surface in surfaces]
    boxes = np.array([[*s.min(axis=0), *s.max(axis=0)] for s in surfaces])

    def paint(row: int, col: int, high: int, wide: int) -> U8:
        corner = low + TILE_M * np.array([col, row]) - MARGIN_M
        far = corner + TILE_M * np.array([wide, high]) + 2 * MARGIN_M
        inside = np.flatnonzero((boxes[:, :2] <= far).all(1) & (boxes[:, 2:] >= corner).all(1))
        return _painted([surfaces[i] for i in inside], corner, _picture_shape(high, wide))

    return paint


def _in_pieces(surface: F64) -> F64:
    """The same polygon with corners at least every ``_PIECE_M``."""
    edges = np.roll(surface, -1, axis=0) - surface
    counts = np.maximum(np.ceil(np.hypot(edges[:, 0], edges[:, 1]) / _PIECE_M), 1).astype(int)
    corner = np.repeat(np.arange(len(surface)), counts)
    within = np.arange(len(corner)) - (np.cumsum(counts) - counts)[corner]
    return surface[corner] + (within / counts[corner])[:, None] * edges[corner]


def _picture_shape(rows: int, cols: int) -> tuple[int, int]:
    """Pixels of the picture of some tiles, with margins: ``_FINE`` for each cell corner."""
    margin = round(MARGIN_M / CELL_M)
    return (
        (rows * TILE_CELLS + 1 + 2 * margin) * _FINE,
        (cols * TILE_CELLS + 1 + 2 * margin) * _FINE,
    )


def _painted(surfaces: list[F64], corner: F64, shape: tuple[int, int]) -> U8:
    """A picture whose first cell corner lies at ``corner``."""
    picture = np.zeros(shape, dtype=np.uint8)
    for surface in surfaces:
        pixels = ((surface - corner) / CELL_M + 0.5) * _FINE - 0.5
        outline = np.round(pixels * (1 << _SHIFT)).astype(np.int32)
        cv2.fillPoly(picture, [outline], 255, lineType=cv2.LINE_8, shift=_SHIFT)
    return picture


def _distance(inside: U8) -> I16:
    """Signed distance in mm at the cell corners [rows * 128 + 1, cols * 128 + 1] of a picture."""
    margin = round(MARGIN_M / CELL_M)
    rows, cols = inside.shape[0] // _FINE, inside.shape[1] // _FINE
    signed = cv2.subtract(
        cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        cv2.distanceTransform(255 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
    )
    # Distances run between pixel centres and the edge lies half a pixel from either: half a pixel
    # less on both sides. OpenCV also fills the pixels that the outline touches: another half less
    # inside. Cell corners lie in the middle of 2 x 2 pixels, whose mean they take.
    share = cv2.resize(inside, (cols, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    mean = cv2.resize(signed, (cols, rows), interpolation=cv2.INTER_AREA)
    mean = (mean - (share / 255.0 - 0.5) - 0.5) * (CELL_M / _FINE)
    near = np.clip(mean[margin:-margin, margin:-margin], -MARGIN_M, MARGIN_M)
    return np.rint(1000.0 * near).astype(np.int16)


def nearest_samples(points: F64, index: I32, area: Area) -> tuple[I32, I32]:
    """Which of ``points`` [m, 2] is nearest: ``index`` of it for each half-metre cell of each tile
    [t, 64, 64], and for the middle of each tile [rows, cols], empty ones too."""
    rows, cols = area.tiles.shape
    origin = np.array(area.origin_xy)
    place = np.clip(((points - origin) // TILE_M).astype(np.int64), 0, [cols - 1, rows - 1])
    tile = place[:, 1] * cols + place[:, 0]
    order = np.argsort(tile, kind="stable")
    start = np.searchsorted(tile[order], np.arange(rows * cols + 1))
    cells = np.empty((len(area.sdf), NEAREST_CELLS, NEAREST_CELLS), dtype=np.int32)
    middles = np.empty((rows, cols), dtype=np.int32)
    scratch = np.empty((2, len(points)), dtype=np.int64)
    away = np.empty(len(points))
    _nearest_of_all(
        points[order] - origin, index[order], start, area.tiles, cells, middles, scratch, away
    )
    return cells, middles


@kernel
def _nearest_of_all(points, index, start, tiles, cells, middles, scratch, away):
    """Fill ``cells`` and ``middles``; ``scratch`` [2, m] and ``away`` [m] are for it to use."""
    rows, cols = tiles.shape
    reach = TILE_M * math.sqrt(0.5)
    chosen, near = scratch[0], scratch[1]
    for row in range(rows):
        for col in range(cols):
            x, y = (col + 0.5) * TILE_M, (row + 0.5) * TILE_M
            best = _nearest_by_rings(points, index, start, rows, cols, row, col)
            middles[row, col] = index[best]
            if tiles[row, col] < 0:
                continue
            # The nearest to any cell of this tile is within best + 2 reach of its middle.
            within = math.hypot(points[best, 0] - x, points[best, 1] - y) + 2.0 * reach + 1e-6
            count = _gather(points, start, rows, cols, row, col, within, chosen)
            low_x, low_y = col * TILE_M, row * TILE_M
            own = cells[tiles[row, col]]
            _fill(points, index, chosen[:count], low_x, low_y, own, near, away)


@kernel
def _nearest_by_rings(points, index, start, rows, cols, row, col):
    """The point nearest to the middle of a tile, searched in growing squares of tiles."""
    x, y = (col + 0.5) * TILE_M, (row + 0.5) * TILE_M
    best, best_i = math.inf, -1
    for ring in range(max(rows, cols)):
        # Points of this ring are farther than this from the middle. (Those beyond the raster lie in
        # the tiles at its border, farther still.)
        if (ring - 0.5) * TILE_M > math.sqrt(best):
            break
        for r in range(max(row - ring, 0), min(row + ring, rows - 1) + 1):
            step = 1 if abs(r - row) == ring else max(2 * ring, 1)
            for c in range(col - ring, col + ring + 1, step):
                if c < 0 or c >= cols:
                    continue
                for i in range(start[r * cols + c], start[r * cols + c + 1]):
                    away = (points[i, 0] - x) ** 2 + (points[i, 1] - y) ** 2
                    if away < best or (away == best and index[i] < index[best_i]):
                        best, best_i = away, i
    return best_i


@kernel
def _gather(points, start, rows, cols, row, col, within, chosen):
    """Fill ``chosen`` with the points within a distance of the middle of a tile; their number."""
    x, y = (col + 0.5) * TILE_M, (row + 0.5) * TILE_M
    ring = int(within / TILE_M + 1.5)
    count = 0
    for r in range(max(row - ring, 0), min(row + ring, rows - 1) + 1):
        for c in range(max(col - ring, 0), min(col + ring, cols - 1) + 1):
            for i in range(start[r * cols + c], start[r * cols + c + 1]):
                if (points[i, 0] - x) ** 2 + (points[i, 1] - y) ** 2 <= within * within:
                    chosen[count] = i
                    count += 1
    return count


@kernel
def _fill(points, index, chosen, low_x, low_y, cells, near, away):
    """Nearest of the chosen points for each cell of a tile, by blocks with few candidates each."""
    half = 0.5 * (_BLOCK - 1) * NEAREST_CELL_M
    reach = half * math.sqrt(2.0)
    for row in range(0, NEAREST_CELLS, _BLOCK):
        for col in range(0, NEAREST_CELLS, _BLOCK):
            x = low_x + col * NEAREST_CELL_M + half
            y = low_y + row * NEAREST_CELL_M + half
            best = math.inf
            for k in range(len(chosen)):
                away[k] = math.hypot(points[chosen[k], 0] - x, points[chosen[k], 1] - y)
                best = min(best, away[k])
            count = 0
            for k in range(len(chosen)):
                if away[k] <= best + 2.0 * reach + 1e-6:
                    near[count] = chosen[k]
                    count += 1
            for r in range(row, row + _BLOCK):
                for c in range(col, col + _BLOCK):
                    x, y = low_x + c * NEAREST_CELL_M, low_y + r * NEAREST_CELL_M
                    cells[r, c] = _nearest_index(points, index, near[:count], x, y)


@kernel
def _nearest_index(points, index, near, x, y):
    """``index`` of the nearest point; of several as near, the smallest."""
    best, result = math.inf, 0
    for i in near:
        dx, dy = points[i, 0] - x, points[i, 1] - y
        away = dx * dx + dy * dy
        if away < best or (away == best and index[i] < result):
            best, result = away, index[i]
    return result
