"""A pool of road maps with look-ups vectorised over worlds that drive on different maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import RequestError, RoadSpec
from sim.roads.build import NEAREST_CELL_M, build_road_map, circle_frame
from sim.roads.maps import CELL_M, RoadMap

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Floats = Any  # an array or a number
Ints = Any

SEARCH_M = 12


class _Arena:
    """A flat array that grows by doubling; maps lie in it one after the other."""

    def __init__(self, columns: int, dtype: type[np.generic]) -> None:
        self._store = np.empty((1024, columns) if columns else (1024,), dtype=dtype)
        self.used = 0
        self.data = self._store[:0]

    def append(self, rows: npt.NDArray[Any]) -> int:
        """Store ``rows``; returns the index of the first."""
        start, end = self.used, self.used + len(rows)
        if end > len(self._store):
            grown = np.empty(
                (max(end, 2 * len(self._store)), *self._store.shape[1:]), self._store.dtype
            )
            grown[:start] = self._store[:start]
            self._store = grown
        self._store[start:end] = rows
        self.used = end
        self.data = self._store[:end]
        return start


class MapAtlas:
    """Road maps by number; in every look-up all arguments broadcast against each other.

    Samples, tables and rasters of all maps lie flat in shared arrays: one gather serves all worlds.
    """

    def __init__(self) -> None:
        self._ids: dict[RoadSpec, int] = {}
        self._maps: dict[int, RoadMap] = {}
        # Per map: where it starts in the arenas, N, P, and the raster shapes; see ``_store``.
        self._layout = np.empty((0, 10), dtype=np.int64)
        self._origin = np.empty((0, 2))
        self._clear()

    def _clear(self) -> None:
        self._samples = _Arena(6, np.float64)  # x, y, heading, curvature, cos, sin
        self._tables = _Arena(3, np.float32)  # s, d, heading difference
        self._sdf = _Arena(0, np.float16)  # within 4 mm of the map's raster
        self._nearest = _Arena(0, np.int32)

    def __len__(self) -> int:
        return len(self._maps)

    def add(self, spec: RoadSpec) -> int:
        """The number of the map of ``spec``; builds and stores it the first time."""
        known = self._ids.get(spec)
        if known is not None:
            return known
        road = build_road_map(spec)
        number = len(self._layout)
        self._layout = np.concatenate([self._layout, self._store(road)[None]])
        self._origin = np.concatenate([self._origin, [road.origin_xy]])
        self._maps[number] = road
        self._ids[spec] = number
        self._split()
        return number

    def _store(self, road: RoadMap) -> I64:
        """Copy a map into the arenas; returns its row of ``_layout``."""
        paths, count = road.heading.shape
        samples = np.empty((paths * count, 6))
        samples[:, 0:2] = road.xy.reshape(-1, 2)
        samples[:, 2] = road.heading.reshape(-1)
        samples[:, 3] = road.curvature.reshape(-1)
        samples[:, 4] = np.cos(samples[:, 2])
        samples[:, 5] = np.sin(samples[:, 2])
        tables = np.stack([t.reshape(-1) for t in (road.table_s, road.table_d, road.table_h)], -1)
        start = self._samples.append(samples)
        row = [
            start, count, paths, self._tables.append(tables),
            self._sdf.append(np.maximum(road.sdf, -16.0).reshape(-1)), *road.sdf.shape,
            self._nearest.append(road.nearest.reshape(-1) + start),
            *road.nearest.shape,
        ]  # fmt: skip
        return np.array(row, dtype=np.int64)

    def _split(self) -> None:
        columns = np.ascontiguousarray(self._layout.T)
        self._sample_start, self._samples_per_path, self._paths, self._table_start = columns[:4]

    def prune(self, keep: Ints, limit: int = 64) -> None:
        """If there are more than ``limit`` maps, forget all but ``keep`` and the newest half.

        Numbers of the kept maps stay valid; a forgotten road gets a new number when added again.
        """
        if len(self._maps) <= limit:
            return
        wanted = {int(i) for i in np.unique(np.asarray(keep))} | set(
            list(self._maps)[-limit // 2 :]
        )
        self._maps = {i: road for i, road in self._maps.items() if i in wanted}
        self._ids = {spec: i for spec, i in self._ids.items() if i in wanted}
        self._clear()
        for i, road in self._maps.items():
            self._layout[i] = self._store(road)
        self._split()

    def map(self, map_id: int) -> RoadMap:
        """The map itself, for what needs no batching."""
        return self._maps[int(map_id)]

    def path_index(self, map_id: int, name: str) -> int:
        names = self._maps[int(map_id)].names
        if name not in names:
            raise RequestError(f"path: {name}: expected one of {', '.join(names)}")
        return names.index(name)

    def pose(self, map_id: Ints, path: Ints, s_m: Floats, d_m: Floats) -> tuple[F64, F64, F64, F64]:
        """World pose ``d_m`` left of ``path`` at ``s_m``: x, y, path heading, path curvature.

        Linear between samples plus the height of the arc over its chord; straight beyond the ends.
        """
        count = self._samples_per_path[map_id]
        s = np.asarray(s_m, dtype=np.float64)
        n = np.minimum(np.maximum(s, 0.0).astype(np.int64), count - 2)
        index = self._sample_start[map_id] + path * count + n
        first, second = self._samples.data[index], self._samples.data[index + 1]
        f = s - n
        mixed = first + f[..., None] * (second - first)
        x, y, heading, curvature = (mixed[..., i] for i in range(4))
        left = d_m - 0.5 * curvature * f * (1.0 - f)
        return x - left * np.sin(heading), y + left * np.cos(heading), heading, curvature

    def between(
        self, map_id: Ints, p: Ints, q: Ints, s_q: Floats, d_q: Floats
    ) -> tuple[F64, F64, F64]:
        """The point (``s_q``, ``d_q``) of path ``q`` in the frame of path ``p``.

        Returns s, d and the heading of q minus that of p.

        d is hundreds of metres (``FAR_M``) where the point of q is not beside p.
        """
        count, paths = self._samples_per_path[map_id], self._paths[map_id]
        s = np.asarray(s_q, dtype=np.float64)
        n = np.minimum(np.maximum(s, 0.0).astype(np.int64), count - 2)
        index = self._table_start[map_id] + (p * paths + q) * count + n
        first, second = self._tables.data[index], self._tables.data[index + 1]
        mixed = first + (s - n)[..., None] * (second - first)
        turn = mixed[..., 2]
        return mixed[..., 0] - d_q * np.sin(turn), mixed[..., 1] + d_q * np.cos(turn), turn

    def project(
        self, map_id: Ints, path: Ints, x: Floats, y: Floats, s_hint: Floats
    ) -> tuple[F64, F64]:
        """Path coordinates (s, d) of world points, searched within 12 m of ``s_hint``."""
        count = self._samples_per_path[map_id]
        middle = np.rint(s_hint).astype(np.int64)
        window = np.arange(-SEARCH_M, SEARCH_M + 1)
        n = np.clip(middle[..., None] + window, 0, (count - 1)[..., None])
        return self._foot(self._sample_start[map_id] + path * count, n, x, y)

    def locate(self, map_id: Ints, path: Ints, x: Floats, y: Floats) -> tuple[F64, F64]:
        """Like ``project`` but searches the whole path: for resets, not for every tick."""
        count = self._samples_per_path[map_id]
        n = np.minimum(np.arange(int(np.max(count))), (count - 1)[..., None])
        return self._foot(self._sample_start[map_id] + path * count, n, x, y)

    def _foot(self, start: Any, n: I64, x: Floats, y: Floats) -> tuple[F64, F64]:
        """Foot point on the circle through the nearest of the candidate samples ``n`` [..., w]."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        index = start[..., None] + n
        away = (self._samples.data[:, 0][index] - x[..., None]) ** 2
        away += (self._samples.data[:, 1][index] - y[..., None]) ** 2
        best = np.argmin(away, axis=-1)[..., None]
        shape = (*away.shape[:-1], 1)
        n = np.take_along_axis(np.broadcast_to(n, away.shape), best.reshape(shape), -1)[..., 0]
        ds, d, _ = self._beside(start + n, x, y)
        return n + ds, d

    def _beside(self, index: I64, x: Floats, y: Floats) -> tuple[F64, F64, F64]:
        """Arc length from sample ``index``, left offset, and heading at the foot point."""
        sample = self._samples.data[index]
        dx, dy = x - sample[..., 0], y - sample[..., 1]
        cos, sin = sample[..., 4], sample[..., 5]
        ds, d, turn = circle_frame(cos * dx + sin * dy, cos * dy - sin * dx, sample[..., 3])
        return ds, d, sample[..., 2] + turn

    def clearance(self, map_id: Ints, x: Floats, y: Floats) -> F64:
        """Signed distance to the edge of the drivable area, positive inside; bilinear.

        Beyond the raster: the value at its border minus the distance to it, always negative.
        """
        row = self._layout[map_id]
        origin = self._origin[map_id]
        u = (x - origin[..., 0]) * (1.0 / CELL_M)
        v = (y - origin[..., 1]) * (1.0 / CELL_M)
        inside_u = np.clip(u, 0.0, row[..., 6] - 1.000001)
        inside_v = np.clip(v, 0.0, row[..., 5] - 1.000001)
        col, line = inside_u.astype(np.int64), inside_v.astype(np.int64)
        index = row[..., 4] + line * row[..., 6] + col
        fu, fv = inside_u - col, inside_v - line
        data = self._sdf.data
        below, above = index, index + row[..., 6]
        corners = np.stack([below, below + 1, above, above + 1])
        value = data[corners].astype(np.float64)
        value = value[::2] + fu * (value[1::2] - value[::2])
        inside = value[0] + fv * (value[1] - value[0])
        return inside - CELL_M * np.hypot(u - inside_u, v - inside_v)

    def nearest_lane(self, map_id: Ints, x: Floats, y: Floats) -> tuple[F64, F64]:
        """Distance to the nearest lane centre line of any path, and that lane's heading there."""
        row = self._layout[map_id]
        origin = self._origin[map_id]
        col = np.rint((x - origin[..., 0]) * (1.0 / NEAREST_CELL_M)).astype(np.int64)
        line = np.rint((y - origin[..., 1]) * (1.0 / NEAREST_CELL_M)).astype(np.int64)
        col = np.minimum(np.maximum(col, 0), row[..., 9] - 1)
        line = np.minimum(np.maximum(line, 0), row[..., 8] - 1)
        index = self._nearest.data[row[..., 7] + line * row[..., 9] + col]
        _, d, heading = self._beside(index, np.asarray(x), np.asarray(y))
        return np.abs(d), heading
