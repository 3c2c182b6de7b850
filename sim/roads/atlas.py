"""A pool of road maps with look-ups for worlds that drive on different maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import RequestError, RoadSpec
from sim.roads import batch
from sim.roads.build import build_road_map
from sim.roads.maps import (
    F64,
    I64,
    LANE,
    MAP,
    NEAREST_CELLS,
    PAIR,
    STOP,
    TILE_CELLS,
    MapArrays,
    RoadMap,
)
from sim.roads.meetings import ANY_LANE, COLUMNS, lane_bits, tabulate
from sim.roads.routes import Route, route_of
from sim.roads.tables import PairTables

Floats = Any  # an array or a number
Ints = Any

SHARED_MAPS = 64
SHARED_BYTES = 256_000_000
_FIRST_ROUTES = 16
_ARENAS: dict[str, tuple[tuple[int, ...], Any]] = {
    "lanes": ((), LANE),
    "samples": ((7,), np.float64),
    "sample_lane": ((), np.int32),
    "bend": ((), np.float64),
    "pair_index": ((), np.int32),
    "bits": ((COLUMNS,), np.int64),
    "pairs": ((), PAIR),
    "tables": ((3,), np.float32),
    "successors": ((), np.int32),
    "stops": ((), STOP),
    "tiles": ((), np.int32),
    "tile_nearest": ((), np.int32),
    "sdf": ((TILE_CELLS + 1, TILE_CELLS + 1), np.int16),
    "nearest": ((NEAREST_CELLS, NEAREST_CELLS), np.int32),
}


class _Arena:
    """A flat array that grows by doubling; maps lie in it one after the other."""

    def __init__(self, row: tuple[int, ...], dtype: Any) -> None:
        self._store = np.zeros((16, *row), dtype=dtype)
        self.used = 0

    @property
    def data(self) -> npt.NDArray[Any]:
        return self._store[: self.used]

    def append(self, rows: npt.NDArray[Any]) -> int:
        """Store ``rows``; returns the index of the first."""
        start, end = self.used, self.used + len(rows)
        if end > len(self._store):
            # Exactly as large as it must be where one map fills it, doubled where many do.
            size = max(end, 2 * len(self._store)) if start else end
            grown = np.zeros((size, *self._store.shape[1:]), self._store.dtype)
            grown[:start] = self._store[:start]
            self._store = grown
        self._store[start:end] = rows
        self.used = end
        return start


@dataclass
class _Stored:
    """A road and the routes on it: the k-th is path ``len(road.lanes) + k``."""

    road: RoadMap
    routes: list[Route] = field(default_factory=list)
    paths: dict[tuple[str, ...], int] = field(default_factory=dict)
    onwards: dict[tuple[str, float], tuple[str, ...]] = field(default_factory=dict)
    room: int = 0  # paths for which the arenas have room


class MapAtlas:
    """Road maps by number; in every look-up all arguments broadcast against each other.

    ``arrays`` holds all maps flat, for kernels; ask for it again after ``add``, ``add_route`` and
    ``prune``.
    """

    def __init__(self) -> None:
        self._ids: dict[RoadSpec, int] = {}
        self._maps: dict[int, _Stored] = {}
        self._count = 0
        self._clear()

    def _clear(self) -> None:
        self._arenas = {name: _Arena(*shape) for name, shape in _ARENAS.items()}
        self._places = np.zeros(max(self._count, 8), dtype=MAP)
        self._arrays: Any = None

    def __len__(self) -> int:
        return len(self._maps)

    @property
    def arrays(self) -> Any:
        """The ``MapArrays`` of all maps."""
        if self._arrays is None:
            data = {name: arena.data for name, arena in self._arenas.items()}
            self._arrays = MapArrays(maps=self._places[: self._count], **data)
        return self._arrays

    @property
    def nbytes(self) -> int:
        """Size of all arrays."""
        return sum(array.nbytes for array in self.arrays)

    # Maps ----------------------------------------------------------------------------------
    def add(self, spec: RoadSpec) -> int:
        """The number of the map of ``spec``; builds and stores it the first time."""
        known = self._ids.get(spec)
        if known is not None:
            return known
        stored = _Stored(build_road_map(spec))
        number = self._count
        self._count += 1
        if number >= len(self._places):
            self._places = np.concatenate([self._places, np.zeros_like(self._places)])
        self._store(number, stored)
        self._maps[number], self._ids[spec] = stored, number
        return number

    def add_route(self, map_id: int, lanes: tuple[str, ...]) -> int:
        """The path of an ego route over ``lanes``, each of which follows the one before.

        A single lane is its own route. Raises ``RequestError`` for lanes that are not linked.
        """
        stored = self._maps[int(map_id)]
        if len(lanes) == 1:
            return self.path_index(map_id, lanes[0])
        known = stored.paths.get(lanes)
        if known is not None:
            return known
        route = route_of(stored.road, lanes)
        path = len(stored.road.lanes) + len(stored.routes)
        stored.routes.append(route)
        stored.paths[lanes] = path
        if path < stored.room:
            self._store_route(int(map_id), stored, path)
        else:
            self._repack()
        return path

    def prune(self, keep: Ints, limit: int = SHARED_MAPS) -> None:
        """If there are more than ``limit`` maps, forget all but ``keep`` and the newest half.

        Numbers of the kept maps stay valid; a forgotten road gets another when added again.
        """
        if len(self._maps) <= limit:
            return
        wanted = {int(i) for i in np.unique(np.asarray(keep))} | set(
            list(self._maps)[-limit // 2 :]
        )
        self._maps = {i: stored for i, stored in self._maps.items() if i in wanted}
        self._ids = {spec: i for spec, i in self._ids.items() if i in wanted}
        self._repack()

    def _repack(self) -> None:
        self._clear()
        for number, stored in self._maps.items():
            self._store(number, stored)

    def _store(self, number: int, stored: _Stored) -> None:
        """Copy a map and its routes into the arenas."""
        road, into = stored.road, self._arenas
        paths = len(road.lanes)
        stored.room = paths + _route_room(road, len(stored.routes))
        sample = into["samples"].append(road.samples)
        for name in ("sample_lane", "bend"):
            into[name].append(getattr(road, name))
        lanes = np.zeros(stored.room, dtype=LANE)
        lanes[:paths] = road.lanes
        lanes["first"] += sample
        lanes["successor_first"] += into["successors"].append(road.successors)
        raster = into["sdf"].append(road.sdf)
        into["nearest"].append(road.nearest + np.int32(sample))
        into["tile_nearest"].append(road.tile_nearest.reshape(-1) + np.int32(sample))
        tiles = np.where(road.tiles < 0, -1, road.tiles + raster).astype(np.int32)
        place = self._places[number]
        place["tile_first"] = into["tiles"].append(tiles.reshape(-1))
        place["tile_rows"], place["tile_cols"] = tiles.shape
        place["origin_x"], place["origin_y"] = road.origin_xy
        place["lane_first"], place["lane_count"] = into["lanes"].append(lanes), paths
        index = np.full(stored.room**2, -1, dtype=np.int32)
        place["pair_first"], place["pair_stride"] = into["pair_index"].append(index), stored.room
        bits = np.full((stored.room, COLUMNS), ANY_LANE, dtype=np.int64)
        first_bits = into["bits"].append(bits)
        first = self._store_pairs(place, PairTables(road.pair_paths, road.pairs, road.tables))
        self._arrays = None
        tabulate(self.arrays, number, road.pair_paths.astype(np.int64), first)
        into["bits"].data[first_bits : first_bits + paths] = lane_bits(
            road.lanes, road.pair_paths, into["pairs"].data[first : first + len(road.pairs)]
        )
        for k in range(len(stored.routes)):
            self._store_route(number, stored, paths + k)
        self._arrays = None

    def _store_route(self, number: int, stored: _Stored, path: int) -> None:
        route, into = stored.routes[path - len(stored.road.lanes)], self._arenas
        place = self._places[number]
        record = route.record.copy()
        record["first"] = into["samples"].append(route.samples)
        into["sample_lane"].append(route.sample_lane)
        into["bend"].append(route.bend)
        record["stops_first"] = into["stops"].append(route.stops)
        lanes = into["lanes"].data
        last = lanes[place["lane_first"] + route.members[-1]]
        record["successor_first"] = last["successor_first"]
        lanes[place["lane_first"] + path] = record[0]
        place["lane_count"] = path + 1
        rows = []
        for tables in (route.ahead, route.back):
            paths = np.where(tables.paths == len(stored.road.lanes), path, tables.paths)
            pairs = PairTables(paths, tables.records, tables.tables)
            rows.append((paths.astype(np.int64), self._store_pairs(place, pairs)))
        self._arrays = None
        for paths, first in rows:
            tabulate(self.arrays, number, paths, first)

    def _store_pairs(self, place: Any, pairs: PairTables) -> int:
        """Returns the row of the first pair."""
        records = pairs.records.copy()
        records["table_first"] += self._arenas["tables"].append(pairs.tables)
        first = self._arenas["pairs"].append(records)
        p, q = pairs.paths.astype(np.int64).T
        cells = place["pair_first"] + p * place["pair_stride"] + q
        self._arenas["pair_index"].data[cells] = first + np.arange(len(records))
        return first

    # Facts ---------------------------------------------------------------------------------
    def map(self, map_id: int) -> RoadMap:
        """The map itself, for what needs no batching."""
        return self._maps[int(map_id)].road

    def path_index(self, map_id: int, name: str) -> int:
        """The path of a lane. Raises ``RequestError`` for an unknown name."""
        road = self.map(map_id)
        if name not in road.index:
            known = ", ".join(road.names[:12]) + (", ..." if len(road.names) > 12 else "")
            raise RequestError(f"path: {name}: expected one of {known}")
        return road.index[name]

    def straight_on(self, map_id: int, name: str, length_m: float) -> tuple[str, ...]:
        """``RoadMap.straight_on``, remembered."""
        known = self._maps[int(map_id)].onwards
        if (name, length_m) not in known:
            known[name, length_m] = self.map(map_id).straight_on(name, length_m)
        return known[name, length_m]

    def lane_record(self, map_id: int, path: int) -> Any:
        """LANE of a lane or route."""
        maps = self.arrays
        return maps.lanes[maps.maps["lane_first"][map_id] + path]

    def route_names(self, map_id: int, path: int) -> tuple[str, ...]:
        """The lanes under a path: its own name, or those of a route."""
        road = self.map(map_id)
        if path < len(road.names):
            return (road.names[path],)
        route = self._maps[int(map_id)].routes[path - len(road.names)]
        return tuple(road.names[member] for member in route.members)

    # Look-ups ------------------------------------------------------------------------------
    def _ask(
        self, kernel: Callable[..., None], outputs: int, ints: tuple[Ints, ...], *floats: Floats
    ) -> F64:
        """[outputs, ...] answers of a kernel of ``sim.roads.batch``."""
        given = np.broadcast_arrays(*ints, *floats)
        shape = given[0].shape
        kinds = [np.int64] * len(ints) + [np.float64] * len(floats)
        flat = [
            np.ascontiguousarray(array, dtype=kind).reshape(-1)
            for array, kind in zip(given, kinds, strict=True)
        ]
        out = np.empty((outputs, flat[0].size))
        kernel(self.arrays, *flat, out)
        return out.reshape(outputs, *shape)

    def pose(self, map_id: Ints, path: Ints, s_m: Floats, d_m: Floats) -> tuple[F64, F64, F64, F64]:
        """World pose ``d_m`` left of ``path`` at ``s_m``: x, y, path heading, path curvature.

        Linear between samples plus the height of the arc over its chord; straight beyond the ends.
        """
        x, y, heading, curvature = self._ask(batch.poses, 4, (map_id, path), s_m, d_m)
        return x, y, heading, curvature

    def elevation(self, map_id: Ints, path: Ints, s_m: Floats) -> F64:
        """Height of ``path`` at ``s_m``."""
        return self._ask(batch.elevations, 1, (map_id, path), s_m)[0]

    def between(
        self, map_id: Ints, p: Ints, q: Ints, s_q: Floats, d_q: Floats
    ) -> tuple[F64, F64, F64]:
        """The point (``s_q``, ``d_q``) of path ``q`` in the frame of path ``p``.

        Returns s, d and the heading of q minus that of p; d is hundreds of metres (``FAR_M``) where
        the point of q is not beside p.
        """
        s, d, turn = self._ask(batch.betweens, 3, (map_id, p, q), s_q, d_q)
        return s, d, turn

    def project(
        self, map_id: Ints, path: Ints, x: Floats, y: Floats, s_hint: Floats
    ) -> tuple[F64, F64]:
        """Path coordinates (s, d) of world points, searched within 12 m of ``s_hint``."""
        s, d = self._ask(batch.projections, 2, (map_id, path), x, y, s_hint)
        return s, d

    def locate(self, map_id: Ints, path: Ints, x: Floats, y: Floats) -> tuple[F64, F64]:
        """Like ``project`` but searches the whole path: for resets, not for every tick."""
        s, d = self._ask(batch.locations, 2, (map_id, path), x, y)
        return s, d

    def clearance(self, map_id: Ints, x: Floats, y: Floats) -> F64:
        """Signed distance to the edge of the drivable area, positive inside; bilinear.

        Exact up to 8 m either way; beyond, at least 8 m with the right sign.
        """
        return self._ask(batch.clearances, 1, (map_id,), x, y)[0]

    def nearest_lane(self, map_id: Ints, x: Floats, y: Floats) -> tuple[F64, F64]:
        """Distance to the nearest centre line of a driving lane, and that lane's heading there."""
        distance, heading, _, _ = self._ask(batch.nearest_lanes, 4, (map_id,), x, y)
        return distance, heading

    def lane_at(self, map_id: Ints, x: Floats, y: Floats) -> tuple[I64, F64]:
        """Path of the nearest driving lane, and the arc length there."""
        _, _, path, s = self._ask(batch.nearest_lanes, 4, (map_id,), x, y)
        return path.astype(np.int64), s

    def bend_speed(self, map_id: Ints, path: Ints, s_m: Floats) -> F64:
        """Speed at ``s_m`` that is comfortable in the bends there and ahead."""
        return self._ask(batch.bend_speeds, 1, (map_id, path), s_m)[0]

    def lanes_beside(self, map_id: Ints, path: Ints, s_m: Floats) -> tuple[I64, I64]:
        """How many lanes of the same direction lie left and right of a path at ``s_m``."""
        left, right = self._ask(batch.lanes_beside, 2, (map_id, path), s_m)
        return left.astype(np.int64), right.astype(np.int64)


def _route_room(road: RoadMap, routes: int) -> int:
    """For how many routes to keep room: a power of two times ``_FIRST_ROUTES``, more than there
    are, if lanes are linked at all."""
    if not len(road.successors):
        return 0
    room = _FIRST_ROUTES
    while room <= routes:
        room *= 2
    return room


_shared: list[MapAtlas] = []


def shared_roads() -> MapAtlas:
    """The process's atlas, so that batches made one after the other build each road once; a fresh
    one after ``SHARED_MAPS`` maps or ``SHARED_BYTES``, so that endless new roads do not pile up."""
    full = _shared and (len(_shared[0]) >= SHARED_MAPS or _shared[0].nbytes >= SHARED_BYTES)
    if not _shared or full:
        _shared[:] = [MapAtlas()]
    return _shared[0]
