"""Top view of a replay as images. For pages use ``alpamayo.replay.html``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.replay.format import Replay
from alpamayo.types import EGO_SIZE_M

Image = npt.NDArray[np.uint8]

_GROUND, _ROAD, _MARK = (223, 229, 219), (140, 146, 155), (247, 247, 242)
_EGO, _PLAN = (37, 99, 201), (255, 255, 255)
_SIGNALS = ((34, 197, 94), (245, 197, 24), (239, 68, 68))
_SUBPIXEL_BITS = 4


class TopDown:
    """Draws moments of one replay, the ego's heading up. Colours are RGB."""

    def __init__(self, replay: Replay, size_px: int = 560, scale_px_per_m: float = 7.0) -> None:
        from sim.roads import build_road_map

        self.replay, self.size, self.scale = replay, size_px, scale_px_per_m
        self.road: Any = build_road_map(replay.header.scenario.road)

    def draw(self, time_s: float) -> Image:
        """[size, size, 3] at ``time_s``, between recorded moments by linear interpolation."""
        import cv2

        columns = self.replay.columns
        k, f = locate(columns["ego"][:, 4], time_s)
        ego = _between(columns["ego"][k], columns["ego"][k + 1], f)
        image = np.full((self.size, self.size, 3), _GROUND, dtype=np.uint8)
        for surface in self.road.surfaces:
            self._fill(image, self._place(np.asarray(surface), ego), _ROAD)
        for mark in self.road.markings:
            points = [self._place(np.asarray(mark.points), ego)]
            width = max(1, round(mark.width_m * self.scale))
            cv2.polylines(image, points, False, _MARK, width, cv2.LINE_AA, _SUBPIXEL_BITS)
        self._draw_signals(image, ego, k)
        plan = self._place(columns["waypoints"][k].astype(np.float64), ego)
        if len(plan):
            cv2.polylines(image, [plan], False, _PLAN, 2, cv2.LINE_AA, _SUBPIXEL_BITS)
        for a, color in enumerate(self.replay.header.actor_colors):
            box, following = columns["boxes"][k, a], columns["boxes"][k + 1, a]
            if np.isfinite(box).all():
                moved = _between(box, following, f) if np.isfinite(following).all() else box
                self._draw_box(image, ego, moved[:5], color)
        self._draw_box(image, ego, np.array([*ego[:3], *EGO_SIZE_M[:2]]), _EGO)
        return image

    def _place(self, points: npt.NDArray[Any], ego: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """World points [n, 2] to fixed-point pixels; the ego drives up from the lower third."""
        offset = points[:, :2] - ego[:2]
        cos, sin = np.cos(ego[2]), np.sin(ego[2])
        ahead = cos * offset[:, 0] + sin * offset[:, 1]
        left = -sin * offset[:, 0] + cos * offset[:, 1]
        pixels = np.stack(
            [self.size / 2 - left * self.scale, self.size * 0.72 - ahead * self.scale], 1
        )
        return np.round(np.clip(pixels, -1e5, 1e5) * 2**_SUBPIXEL_BITS).astype(np.int32)

    def _fill(
        self, image: Image, points: npt.NDArray[np.int32], color: tuple[int, int, int]
    ) -> None:
        import cv2

        cv2.fillPoly(image, [points], color, cv2.LINE_AA, _SUBPIXEL_BITS)

    def _draw_box(
        self,
        image: Image,
        ego: npt.NDArray[Any],
        box: npt.NDArray[Any],
        color: tuple[int, int, int],
    ) -> None:
        x, y, heading, length, width = (float(v) for v in box)
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (length / 2, width / 2)
        cos, sin = np.cos(heading), np.sin(heading)
        world = corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
        self._fill(image, self._place(world, ego), color)

    def _draw_signals(self, image: Image, ego: npt.NDArray[Any], k: int) -> None:
        import cv2

        if self.replay.header.scenario.signals is None:
            return
        for x, y, _, group in self.road.signal_heads:
            state = int(self.replay.columns["signals"][k, int(group)])
            centre = self._place(np.array([[x, y]]), ego)[0]
            radius = round(0.8 * self.scale * 2**_SUBPIXEL_BITS)
            color = _SIGNALS[state] if 0 <= state < 3 else (120, 120, 120)
            cv2.circle(
                image,
                (int(centre[0]), int(centre[1])),
                radius,
                color,
                -1,
                cv2.LINE_AA,
                _SUBPIXEL_BITS,
            )


def locate(times: npt.NDArray[Any], time_s: float) -> tuple[int, float]:
    """Index of the recorded moment before ``time_s`` and the fraction of the way to the next."""
    k = int(np.clip(np.searchsorted(times, time_s, side="right") - 1, 0, len(times) - 2))
    span = float(times[k + 1] - times[k])
    return k, float(np.clip((time_s - times[k]) / span, 0.0, 1.0)) if span > 0 else 1.0


def _between(a: npt.NDArray[Any], b: npt.NDArray[Any], f: float) -> npt.NDArray[np.float64]:
    """Interpolate rows whose third value is an angle."""
    start, end = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    mixed = start + (end - start) * f
    turn = np.arctan2(np.sin(end[2] - start[2]), np.cos(end[2] - start[2]))
    mixed[2] = start[2] + turn * f
    return mixed
