"""A road map drawn from above, for people to look at."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from alpamayo.types import RequestError
from sim.roads.lines import F64
from sim.roads.maps import (
    BIKE,
    DRIVING,
    PARKING,
    ROUTE,
    SHOULDER,
    SIDEWALK,
    STOP_AT_SIGNAL,
    STOP_SIGN,
    YIELD_SIGN,
    Marking,
    RoadMap,
    Scenery,
)

U8 = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

MARGIN_M = 6.0
LARGEST_PX = 16000  # along one side
DASH_M, GAP_M = 3.0, 6.0
STRIPE_M = 0.5  # of a crossing; the gaps are as wide
ARROW_EVERY_M = 25.0
FLAT_M = 0.5  # less difference in height than this is not shown
LIGHTER = 50  # how much lighter the highest surface is than the lowest
_GROUND, _PAVEMENT, _ASPHALT = (104, 126, 88), (168, 164, 158), (72, 74, 78)
_LANE_COLORS: dict[int, Color] = {
    DRIVING: (90, 200, 255), PARKING: (150, 140, 220), BIKE: (240, 150, 60),
    SIDEWALK: (225, 120, 160), SHOULDER: (120, 120, 120), ROUTE: (255, 255, 80),
}  # fmt: skip
_STOP_COLORS: dict[int, Color] = {
    STOP_AT_SIGNAL: (60, 220, 90), STOP_SIGN: (230, 40, 40), YIELD_SIGN: (250, 160, 30),
}  # fmt: skip
_SIGN_COLORS: dict[str, Color] = {
    "stop": (210, 30, 30), "yield": (250, 160, 30), "warning": (250, 220, 40),
}  # fmt: skip
_OTHER_SIGN: Color = (245, 245, 245)
_SUBPIXEL = 4  # bits


class _Canvas:
    """An image [H, W, 3], twice as fine as asked for, with world coordinates (y up)."""

    def __init__(self, low: F64, high: F64, px_per_m: float) -> None:
        size = np.maximum(np.ceil((high - low) * px_per_m).astype(int), 1)
        if size.max() > LARGEST_PX:
            most = LARGEST_PX / float((high - low).max())
            raise RequestError(
                f"picture: px_per_m: expected at most {most:.3g} for a map this large, "
                f"got {px_per_m:g}"
            )
        self.size = (int(size[0]), int(size[1]))
        self._low, self._high, self._scale = low, high, 2.0 * px_per_m
        self.image: U8 = np.empty((2 * self.size[1], 2 * self.size[0], 3), dtype=np.uint8)
        self.image[:] = _GROUND

    def _pixels(self, points: F64) -> npt.NDArray[np.int32]:
        away = np.stack([points[:, 0] - self._low[0], self._high[1] - points[:, 1]], axis=-1)
        return np.round((away * self._scale - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)

    def polygon(self, points: F64, color: Color) -> None:
        cv2.fillPoly(self.image, [self._pixels(points)], color, cv2.LINE_8, _SUBPIXEL)

    def line(self, points: F64, color: Color, width_m: float) -> None:
        width = max(1, round(width_m * self._scale))
        pixels = [self._pixels(points)]
        cv2.polylines(self.image, pixels, False, color, width, cv2.LINE_8, _SUBPIXEL)

    def finished(self) -> U8:
        return np.asarray(cv2.resize(self.image, self.size, interpolation=cv2.INTER_AREA), np.uint8)


def top_view(
    road: RoadMap, px_per_m: float = 4.0, boxes: F64 | None = None, colors: Any = ()
) -> U8:
    """The map from above, north up: uint8 [H, W, 3] RGB.

    Surfaces (the higher, the lighter), pavements, paint and scenery as the camera knows them. On
    top the centre lines of the lanes, coloured by kind, with arrow heads; the stop lines that
    traffic obeys; signal heads and signs, with ticks that point where they face. ``boxes`` [n, 5+]
    (x, y, heading, length, width) with ``colors`` [n, 3] stand on the road.

    Raises ``RequestError`` if the image would be too large.
    """
    if not px_per_m > 0.0:
        raise RequestError(f"picture: px_per_m: expected above 0, got {px_per_m:g}")
    low, high = _bounds(road)
    canvas = _Canvas(low, high, px_per_m)
    for pavement in road.pavements:
        canvas.polygon(pavement[:, :2], _PAVEMENT)
    _draw_surfaces(canvas, road.surfaces)
    for marking in road.markings:
        _draw_marking(canvas, marking)
    for item in road.scenery:
        _draw_scenery(canvas, item)
    for path in range(len(road.names)):
        _draw_lane(canvas, road, path)
    for x, y, facing, _ in road.signal_heads:
        _draw_post(canvas, x, y, facing, _STOP_COLORS[STOP_AT_SIGNAL])
    for x, y, facing, kind in road.signs:
        _draw_post(canvas, x, y, facing, _SIGN_COLORS.get(kind, _OTHER_SIGN))
    for box, color in zip(boxes if boxes is not None else (), colors, strict=True):
        red, green, blue = (int(c) for c in color)
        canvas.polygon(_corners(*(float(v) for v in box[:5])), (red, green, blue))
    return canvas.finished()


def _bounds(road: RoadMap) -> tuple[F64, F64]:
    """Lower left and upper right corner [2] of everything, with a margin."""
    parts = [p[:, :2] for p in (*road.surfaces, *road.pavements)]
    parts += [road.samples[:, :2], *(_box(item) for item in road.scenery)]
    points = np.concatenate(parts)
    return points.min(axis=0) - MARGIN_M, points.max(axis=0) + MARGIN_M


def _box(item: Scenery) -> F64:
    """Corners [4, 2] of a piece of scenery."""
    return _corners(item.x, item.y, item.heading, item.length, item.width)


def _corners(x: float, y: float, heading: float, length: float, width: float) -> F64:
    half = 0.5 * np.array([length, width])
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    cos, sin = np.cos(heading), np.sin(heading)
    turned: F64 = corners @ np.array([[cos, sin], [-sin, cos]]) + [x, y]
    return turned


def _draw_surfaces(canvas: _Canvas, surfaces: tuple[F64, ...]) -> None:
    """Lowest first, so that a bridge covers what it crosses."""
    heights = [float(s[:, 2].mean()) if s.shape[1] == 3 else 0.0 for s in surfaces]
    low, high = min(heights), max(heights)
    for height, surface in sorted(zip(heights, surfaces, strict=True), key=lambda pair: pair[0]):
        lift = round(LIGHTER * (height - low) / (high - low)) if high - low > FLAT_M else 0
        canvas.polygon(surface[:, :2], (_ASPHALT[0] + lift, _ASPHALT[1] + lift, _ASPHALT[2] + lift))


def _draw_marking(canvas: _Canvas, marking: Marking) -> None:
    points = marking.points[:, :2]
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    if marking.kind == "crossing":
        count = max(1, int((s[-1] + STRIPE_M) / (2.0 * STRIPE_M)))
        margin = 0.5 * (s[-1] - (2 * count - 1) * STRIPE_M)
        firsts = margin + 2.0 * STRIPE_M * np.arange(count)
        for first in firsts:
            canvas.polygon(_stripe(points, s, first, marking.width_m), marking.color)
    elif marking.kind == "dashed":
        for first in np.arange(0.0, s[-1] - 0.5, DASH_M + GAP_M):
            last = min(first + DASH_M, s[-1])
            inner = s[(s > first) & (s < last)]
            dash = _at(points, s, np.concatenate([[first], inner, [last]]))
            canvas.line(dash, marking.color, marking.width_m)
    else:
        canvas.line(points, marking.color, marking.width_m)


def _at(points: F64, s: F64, at: F64) -> F64:
    return np.stack([np.interp(at, s, points[:, i]) for i in (0, 1)], axis=-1)


def _stripe(points: F64, s: F64, first: float, width_m: float) -> F64:
    """One stripe [4, 2] of a crossing: ``STRIPE_M`` along the way people walk, as long as that way
    is wide."""
    ends = _at(points, s, np.array([first, min(first + STRIPE_M, s[-1])]))
    along = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
    across = 0.5 * width_m * np.array([-along[1], along[0]])
    return np.stack([ends[0] - across, ends[1] - across, ends[1] + across, ends[0] + across])


def _draw_scenery(canvas: _Canvas, item: Scenery) -> None:
    if item.kind == "tree":
        angles = np.linspace(0.0, 2.0 * np.pi, 17)[:-1]
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        canvas.polygon(0.5 * item.width * circle + [item.x, item.y], item.color)
        return
    corners = _box(item)
    canvas.polygon(corners, item.color)
    canvas.line(np.concatenate([corners, corners[:1]]), (60, 50, 45), 0.2)


def _draw_lane(canvas: _Canvas, road: RoadMap, path: int) -> None:
    lane, rows = road.lanes[path], road.path_samples(path)
    length = float(lane["length_m"])
    s = np.unique(np.append(np.arange(np.floor(length) + 1.0), length))
    xy = _at(rows[:, :2], np.arange(len(rows), dtype=np.float64), s)
    color = _LANE_COLORS[int(lane["kind"])]
    canvas.line(xy, color, 0.12)
    if lane["kind"] != SIDEWALK:
        for at in np.arange(0.5 * min(ARROW_EVERY_M, length), length, ARROW_EVERY_M):
            row = rows[int(at)]
            canvas.polygon(_pointed(row[0], row[1], row[2], 1.8, 0.6), color)
    if int(lane["stop_kind"]) in _STOP_COLORS and lane["stop_s"] <= length:
        row = rows[int(lane["stop_s"])]
        aside = 0.35 * float(lane["width_m"]) * np.array([-row[5], row[4]])
        middle = row[:2] + (lane["stop_s"] - int(lane["stop_s"])) * row[4:6]
        ends = np.stack([middle - aside, middle + aside])
        canvas.line(ends, _STOP_COLORS[int(lane["stop_kind"])], 0.25)


def _pointed(x: float, y: float, heading: float, length: float, half_width: float) -> F64:
    """Triangle [3, 2] with its tip ahead of (x, y)."""
    corners = np.array(
        [[0.5 * length, 0.0], [-0.5 * length, half_width], [-0.5 * length, -half_width]]
    )
    cos, sin = np.cos(heading), np.sin(heading)
    return corners @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def _draw_post(canvas: _Canvas, x: float, y: float, facing: float, color: Color) -> None:
    """A signal head or sign: a square with a tick towards those who read it."""
    foot = np.array([x, y])
    tick = 1.6 * np.array([np.cos(facing), np.sin(facing)])
    canvas.line(np.stack([foot, foot + tick]), color, 0.25)
    square = 0.6 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    canvas.polygon(foot + square, color)
