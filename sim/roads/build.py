"""From a road specification to a ``RoadMap``."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from alpamayo.types import RequestError, RoadSpec
from sim.roads.layouts import Layout, junction, merge, straight_or_curve
from sim.roads.maps import CELL_M, FAR_M, SPACING_M, RoadMap

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

BESIDE_M = 30.0
MARGIN_M = 8.0
NEAREST_CELL_M = 0.5
_EXTRA_SAMPLES = 32  # straight samples after the longest path
_RUN_OUT_SAMPLES = 30  # of these, how many count as lane for ``nearest``
_LAYOUTS = {
    "straight": straight_or_curve,
    "curve": straight_or_curve,
    "junction": junction,
    "merge": merge,
}


@lru_cache(maxsize=16)
def build_road_map(spec: RoadSpec) -> RoadMap:
    """Sample, tabulate and rasterise the road of ``spec``. Cached; the arrays are read-only."""
    _check(spec)
    layout = _LAYOUTS[spec.kind](spec)
    length = np.array([line.length_m for line in layout.lines])
    count = int(np.ceil(length.max() / SPACING_M)) + _EXTRA_SAMPLES
    s = np.arange(count) * SPACING_M
    sampled = [line.at(s) for line in layout.lines]
    xy = np.stack([part[0] for part in sampled])
    heading = np.stack([part[1] for part in sampled])
    curvature = np.stack([part[2] for part in sampled])
    table_s, table_d, table_h = _tables(xy, heading, curvature, length)
    sdf, origin = _rasterise(layout)
    nearest = _nearest_samples(xy, length, sdf.shape, origin)
    road = RoadMap(
        spec=spec,
        names=tuple(layout.names),
        xy=xy,
        heading=heading,
        curvature=curvature,
        length_m=length,
        table_s=table_s,
        table_d=table_d,
        table_h=table_h,
        left_lanes=np.array(layout.left_lanes, dtype=np.int64),
        right_lanes=np.array(layout.right_lanes, dtype=np.int64),
        stop_s_m=np.array(layout.stop_s_m, dtype=np.float64),
        signal_group=np.array(layout.signal_group, dtype=np.int64),
        sdf=sdf,
        nearest=nearest,
        origin_xy=origin,
        surfaces=tuple(layout.surfaces),
        markings=tuple(layout.markings),
        signal_heads=np.array(layout.signal_heads, dtype=np.float64).reshape(-1, 4),
    )
    for value in vars(road).values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return road


def _check(spec: RoadSpec) -> None:
    if spec.kind not in _LAYOUTS:
        raise RequestError(f"road: kind: expected one of {', '.join(_LAYOUTS)}, got {spec.kind!r}")
    if spec.lanes < 1 or spec.oncoming_lanes < 0:
        raise RequestError(
            f"road: lanes: expected lanes >= 1 and oncoming_lanes >= 0, got {spec.lanes} "
            f"and {spec.oncoming_lanes}"
        )
    if not 2.0 <= spec.lane_width_m <= 6.0:
        raise RequestError(f"road: lane_width_m: expected 2 to 6 m, got {spec.lane_width_m:g}")
    if not 0.0 <= spec.shoulder_m <= 6.0:
        raise RequestError(f"road: shoulder_m: expected 0 to 6 m, got {spec.shoulder_m:g}")
    if not 60.0 <= spec.length_m <= 2000.0:
        raise RequestError(f"road: length_m: expected 60 to 2000 m, got {spec.length_m:g}")


def circle_frame(
    along: F64, left: F64, curvature: npt.NDArray[np.floating]
) -> tuple[F64, F64, F64]:
    """Path coordinates of a point near a path sample, on the sample's osculating circle.

    ``along`` and ``left`` are the point's coordinates in the sample's tangent frame. Returns the
    arc length from the sample, the offset to the left, and the heading change from sample to foot
    point.
    """
    side = 1.0 - curvature * left
    turned = curvature * along
    root = np.sqrt(side * side + turned * turned)
    d = (2.0 * left - curvature * (along * along + left * left)) / (1.0 + root)
    angle = np.arctan2(turned, side)
    # angle / curvature, without dividing by a vanishing curvature
    straight = np.abs(curvature) < 1e-9
    s = np.where(straight, along, angle / np.where(straight, 1.0, curvature))
    return s, d, angle


def _tables(xy: F64, heading: F64, curvature: F64, length: F64) -> tuple[F32, F32, F32]:
    """``table_s``, ``table_d``, ``table_h`` [P, P, N]; see ``RoadMap``."""
    paths, count = heading.shape
    flat = xy.reshape(-1, 2)
    flat_heading = heading.reshape(-1)
    table = np.empty((3, paths, paths, count), dtype=np.float32)
    for p in range(paths):
        used = int(np.ceil(length[p] / SPACING_M)) + 1
        own = xy[p, :used]
        near = np.argmin((own * own).sum(-1) - 2.0 * flat @ own.T, axis=1)
        delta = flat - own[near]
        cos, sin = np.cos(heading[p, near]), np.sin(heading[p, near])
        along = cos * delta[:, 0] + sin * delta[:, 1]
        left = cos * delta[:, 1] - sin * delta[:, 0]
        ds, d, turn = circle_frame(along, left, curvature[p, near])
        s = near * SPACING_M + ds
        difference = flat_heading - heading[p, near] - turn
        difference = np.arctan2(np.sin(difference), np.cos(difference)).reshape(paths, count)
        off = (np.abs(d) > BESIDE_M) | (s < -1e-6) | (s > length[p] + 1e-6)
        table[0, p] = s.reshape(paths, count)
        table[1, p] = np.where(off, FAR_M, d).reshape(paths, count)
        # Unwrapped along q, so that interpolation never crosses the cut at pi.
        table[2, p] = np.unwrap(difference, axis=1)
    return table[0], table[1], table[2]


def _rasterise(layout: Layout) -> tuple[F32, tuple[float, float]]:
    """Signed distance [rows, cols] to the edge of all surfaces together; centre of cell (0, 0)."""
    corners = np.concatenate(layout.surfaces)
    low = np.floor(corners.min(axis=0)) - MARGIN_M
    high = np.ceil(corners.max(axis=0)) + MARGIN_M
    cols, rows = (int(n) + 1 for n in np.round((high - low) / CELL_M))
    fine = 2  # drawn on half cells, so that the distance is good to an eighth of a metre and better
    inside = np.zeros((rows * fine, cols * fine), dtype=np.uint8)
    shift = 8
    for surface in layout.surfaces:
        pixels = ((surface - low) / CELL_M + 0.5) * fine - 0.5
        corner = np.round(pixels * (1 << shift)).astype(np.int32)
        cv2.fillPoly(inside, [corner], 255, lineType=cv2.LINE_8, shift=shift)
    signed = cv2.subtract(
        cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
        cv2.distanceTransform(255 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE),
    )
    # Distances run between pixel centres and the edge lies half a pixel from either: half a pixel
    # less on both sides. OpenCV also fills the pixels that the outline touches: another half less
    # inside. Cell centres lie in the middle of 2 x 2 pixels, whose mean they take.
    share = cv2.resize(inside, (cols, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
    mean = cv2.resize(signed, (cols, rows), interpolation=cv2.INTER_AREA)
    mean = (mean - (share / 255.0 - 0.5) - 0.5) * (CELL_M / fine)
    return np.ascontiguousarray(mean, dtype=np.float32), (float(low[0]), float(low[1]))


def _nearest_samples(
    xy: F64, length: F64, sdf_shape: tuple[int, int], origin: tuple[float, float]
) -> npt.NDArray[np.int32]:
    """Index path * N + n of the lane sample nearest to every cell centre of a half-metre grid."""
    stride = round(NEAREST_CELL_M / CELL_M)
    rows, cols = ((n - 1) // stride + 1 for n in sdf_shape)
    count = xy.shape[1]
    used = np.arange(count)[None] <= np.ceil(length / SPACING_M)[:, None] + _RUN_OUT_SAMPLES
    index = np.flatnonzero(used.reshape(-1))
    return _grow(xy.reshape(-1, 2)[index], index, rows, cols, origin)


def _grow(
    points: F64, index: npt.NDArray[np.int64], rows: int, cols: int, origin: tuple[float, float]
) -> npt.NDArray[np.int32]:
    """Nearest of ``points`` [m, 2] for each cell, by tiles: only nearby points are compared."""
    result = np.empty((rows, cols), dtype=np.int32)
    tile = 32
    for row in range(0, rows, tile):
        for col in range(0, cols, tile):
            ys = origin[1] + NEAREST_CELL_M * np.arange(row, min(row + tile, rows))
            xs = origin[0] + NEAREST_CELL_M * np.arange(col, min(col + tile, cols))
            middle = np.array([xs.mean(), ys.mean()])
            reach = 0.5 * np.hypot(xs[-1] - xs[0], ys[-1] - ys[0])
            away = np.hypot(*(points - middle).T)
            if away.min() > 40.0:  # nobody drives here: one answer for the tile
                result[row : row + len(ys), col : col + len(xs)] = index[np.argmin(away)]
                continue
            # The nearest to any cell of this tile is within min + 2 reach of the middle.
            chosen = np.flatnonzero(away <= away.min() + 2.0 * reach + 1e-6)
            near = points[chosen] - middle
            grid_x, grid_y = np.meshgrid(xs - middle[0], ys - middle[1])
            cells = np.stack([grid_x.ravel(), grid_y.ravel()], axis=-1)
            best = np.argmin((near * near).sum(-1) - 2.0 * cells @ near.T, axis=1)
            result[row : row + len(ys), col : col + len(xs)] = index[chosen[best]].reshape(
                grid_x.shape
            )
    return result
