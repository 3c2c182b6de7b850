"""Top view of a replay as images, and a VP9 video of it. For pages use ``alpamayo.replay.html``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.replay.format import Replay
from alpamayo.types import EGO_SIZE_M, RequestError

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


def write_video(path: str | Path, replay: Replay, fps: int = 20, size_px: int = 560) -> Path:
    """Top view and front camera side by side as VP9 in WebM, which browsers play; RequestError if
    OpenCV cannot.
    """
    import cv2

    file = Path(path)
    if file.suffix != ".webm":
        raise RequestError(f"{file}: expected a name that ends with .webm (VP9)")
    part = file.with_name(f".part-{file.name}")  # OpenCV chooses the container by the suffix
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise RequestError(f"{file}: expected a writable place ({error.strerror})") from None
    top = TopDown(replay, size_px)
    times = replay.columns["ego"][:, 4]
    width = size_px * 2 if "jpeg" in replay.columns else size_px
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"VP90"), fps, (width, size_px))
    try:
        if not writer.isOpened():
            raise RequestError(f"{file}: this OpenCV build has no VP9 encoder; use --html instead")
        for time_s in np.arange(times[0], times[-1] + 1e-9, 1.0 / fps):
            writer.write(
                np.ascontiguousarray(_compose(replay, top, float(time_s), width)[..., ::-1])
            )
        writer.release()
        os.replace(part, file)
    finally:
        writer.release()
        part.unlink(missing_ok=True)
    return file


def _compose(replay: Replay, top: TopDown, time_s: float, width: int) -> Image:
    import cv2

    image = top.draw(time_s)
    k, _ = locate(replay.columns["ego"][:, 4], time_s)
    speed = replay.columns["ego"][k, 3] * 3.6
    label = (
        f"{replay.header.scenario.id}  {replay.header.policy}  {time_s:4.1f} s  {speed:3.0f} km/h"
    )
    cv2.putText(
        image, label, (10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (20, 24, 32), 1, cv2.LINE_AA
    )
    jpeg = replay.image(k)
    if width == image.shape[1] or jpeg is None:
        return image
    camera = np.zeros_like(image)
    decoded = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR)
    if decoded is not None:
        height = round(image.shape[1] * decoded.shape[0] / decoded.shape[1])
        height = min(height, image.shape[0])
        start = (image.shape[0] - height) // 2
        resized = cv2.resize(
            decoded[..., ::-1], (image.shape[1], height), interpolation=cv2.INTER_CUBIC
        )
        camera[start : start + height] = resized
    return np.concatenate([image, camera], axis=1)
