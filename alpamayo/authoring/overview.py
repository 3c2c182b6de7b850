"""The whole episode from above on one picture: roads, ways, triggers, ego at key times."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.authoring.canvas import EGO, INK, LINE, Canvas, Color, text_width
from alpamayo.authoring.trace import Trace
from alpamayo.types import EGO_SIZE_M

_GROUND, _ROAD, _MARK = (223, 229, 219), (158, 163, 171), (247, 247, 242)
_EDGE: Color = (72, 78, 88)  # around a way, so that a grey actor shows on a grey road
EVENT: Color = (176, 72, 155)
_NEAR_M = 60.0  # an actor's way counts for the frame where it comes so near to ego
_MOST_PX_PER_M = 9.0
_FINE = 2  # drawn twice as large, then halved: smooth edges


class Overview:
    """Fits ego's way into ``width`` x ``height``; ego starts towards the right."""

    def __init__(self, trace: Trace, width: int, height: int) -> None:
        self.trace, self.width, self.height = trace, width, height
        ego = trace.ticks.columns["ego"]
        heading = float(ego[0, 2])
        way = ego[-1, :2] - ego[0, :2]
        if np.hypot(*way) > 20.0:
            heading = float(np.arctan2(way[1], way[0]))
        self._turn = np.array(
            [[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]]
        )
        points = self._framed() @ self._turn.T
        low, high = points.min(axis=0) - 9.0, points.max(axis=0) + 9.0
        self._middle = (low + high) / 2
        span = high - low
        self.scale = float(min(width / span[0], height / span[1], _MOST_PX_PER_M))

    def _framed(self) -> npt.NDArray[Any]:
        """World points that must be in the picture."""
        ego, boxes = self.trace.ticks.columns["ego"], self.trace.ticks.columns["boxes"]
        points = [ego[:, :2]]
        for a in range(boxes.shape[1]):
            way = boxes[:, a, :2]
            near = np.hypot(*(way - ego[:, :2]).T) < _NEAR_M
            points.append(way[near & np.isfinite(way).all(axis=1)])
        return np.concatenate(points).astype(np.float64)

    def _place(self, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """World points [n, 2] to pixels of the picture."""
        turned = np.asarray(points, dtype=np.float64)[:, :2] @ self._turn.T - self._middle
        pixels = turned * self.scale * np.array([1.0, -1.0])
        return np.clip(pixels + np.array([self.width / 2, self.height / 2]), -1e5, 1e5)

    def draw(self, canvas: Canvas, x: int, y: int, times: list[float], names: bool = True) -> None:
        """Onto ``canvas`` with the left top corner at (x, y); ``times`` are the panels'; ``names``:
        of the actors.
        """
        from PIL import Image

        picture = Canvas(self.width * _FINE, self.height * _FINE, _GROUND)
        self._roads(picture)
        self._ways(picture)
        self._cars(picture, times)
        small = picture.image.resize((self.width, self.height), Image.Resampling.LANCZOS)
        canvas.image.paste(small, (x, y))
        self._marks(canvas, x, y, times, names)
        box = (x, y, x + self.width - 1, y + self.height - 1)
        canvas.draw.rectangle(box, outline=LINE, width=1)

    def _roads(self, picture: Canvas) -> None:
        from sim.roads import build_road_map

        road: Any = build_road_map(self.trace.scenario.road)
        for surface in road.surfaces:
            picture.draw.polygon(self._fine(np.asarray(surface)), fill=_ROAD)
        for mark in road.markings:
            width = max(2, round(mark.width_m * self.scale * _FINE))
            picture.draw.line(self._fine(np.asarray(mark.points)), fill=_MARK, width=width)

    def _fine(self, points: npt.NDArray[Any]) -> list[tuple[float, float]]:
        return [(float(u) * _FINE, float(v) * _FINE) for u, v in self._place(points)]

    def _ways(self, picture: Canvas) -> None:
        columns, header = self.trace.ticks.columns, self.trace.ticks.header
        for a, color in enumerate(header.actor_colors):
            way = columns["boxes"][:, a, :2]
            self._way(picture, way[np.isfinite(way).all(axis=1)], color)
        self._way(picture, columns["ego"][:, :2], EGO, wide=True)

    def _way(
        self, picture: Canvas, way: npt.NDArray[Any], color: Color, wide: bool = False
    ) -> None:
        if len(way) < 2 or np.ptp(way, axis=0).max() < 0.5:
            return
        points = self._fine(way)
        width = 4 * _FINE if wide else 3 * _FINE
        picture.draw.line(points, fill=_EDGE, width=width + 2 * _FINE, joint="curve")
        picture.draw.line(points, fill=color, width=width, joint="curve")
        (u0, v0), (u, v) = points[max(len(points) - 6, 0)], points[-1]
        angle = np.arctan2(v - v0, u - u0)
        size = 9 * _FINE
        tip = [
            (u + size * np.cos(angle + turn), v + size * np.sin(angle + turn))
            for turn in (0.0, 2.5, -2.5)
        ]
        picture.draw.polygon(tip, fill=color, outline=_EDGE, width=_FINE)

    def _cars(self, picture: Canvas, times: list[float]) -> None:
        """Boxes at the start (pale) and at the end."""
        columns, header = self.trace.ticks.columns, self.trace.ticks.header
        for k in (0, len(columns["ego"]) - 1):
            for a, color in enumerate(header.actor_colors):
                box = columns["boxes"][k, a]
                if np.isfinite(box).all():
                    self._box(picture, box[:5], color)
            ego = columns["ego"][k]
            self._box(picture, np.array([*ego[:3], *EGO_SIZE_M[:2]]), EGO)

    def _box(self, picture: Canvas, box: npt.NDArray[Any], color: Color) -> None:
        x, y, heading, length, width = (float(v) for v in box)
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * (length / 2, width / 2)
        cos, sin = np.cos(heading), np.sin(heading)
        world = corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
        picture.draw.polygon(self._fine(world), fill=color, outline=INK, width=_FINE)

    def _marks(self, canvas: Canvas, x: int, y: int, times: list[float], names: bool) -> None:
        ego, boxes = self.trace.ticks.columns["ego"], self.trace.ticks.columns["boxes"]
        ids = self.trace.ticks.header.actor_ids
        taken: list[tuple[float, float]] = []
        if names:
            self._names(canvas, x, y, taken)
        for n, time_s in enumerate(times):
            k = int(np.argmin(np.abs(ego[:, 4] - time_s)))
            u, v = self._free(self._place(ego[k : k + 1, :2])[0], -24.0, taken)
            canvas.badge(x + u, y + v, str(n + 1), INK, 14)
        for fired in self.trace.fired:
            k = int(np.argmin(np.abs(ego[:, 4] - fired.time_s)))
            place = ego[k, :2]
            if fired.actor in ids and np.isfinite(boxes[k, ids.index(fired.actor), :2]).all():
                place = boxes[k, ids.index(fired.actor), :2]
            u, v = self._free(self._place(place[None])[0], 24.0, taken)
            canvas.diamond(x + u, y + v, fired.letter, EVENT, 14)

    def _names(self, canvas: Canvas, x: int, y: int, taken: list[tuple[float, float]]) -> None:
        """Who starts where."""
        columns, header = self.trace.ticks.columns, self.trace.ticks.header
        for a, name in enumerate(header.actor_ids):
            there = np.flatnonzero(np.isfinite(columns["boxes"][:, a, 0]))
            if name.startswith("traffic") or not len(there):
                continue
            spot = self._place(columns["boxes"][there[0], a : a + 1, :2])[0]
            if 0 < spot[0] < self.width and 0 < spot[1] < self.height:
                half = text_width(name, 14) / 2
                u, v = self._free(spot, 15.0, taken, near=half + 18.0)
                taken += [(u - half, v), (u + half, v)]
                canvas.plate(x + u - half, y + v, name, 14)

    def _free(
        self,
        spot: npt.NDArray[Any],
        side: float,
        taken: list[tuple[float, float]],
        near: float = 25.0,
    ) -> tuple[float, float]:
        """A place beside ``spot`` that no other mark holds, inside the picture."""
        u = float(np.clip(spot[0], 16, self.width - 16))
        best = None
        for step in range(5):
            for sign in (1.0, -1.0):
                v = float(np.clip(spot[1] + sign * side * (1 + step), 16, self.height - 16))
                if all(np.hypot(u - a, v - b) >= near for a, b in taken):
                    taken.append((u, v))
                    return u, v
                best = best or (u, v)
        assert best is not None
        return best
