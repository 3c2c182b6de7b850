"""A pool of road maps with look-ups for worlds that drive on different maps."""

from __future__ import annotations

import functools
import heapq
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from alpamayo.types import IntArray, RequestError, RoadSpec
from sim.roads import batch
from sim.roads.arenas import ARENAS, Arena, StoredMap, TilePool, route_room
from sim.roads.build import build_road_map
from sim.roads.maps import F64, I64, LANE, MAP, MapArrays, RoadMap
from sim.roads.meetings import ANY_LANE, COLUMNS, lane_bits, tabulate
from sim.roads.routes import route_of
from sim.roads.tables import PairTables

Floats = Any  # an array or a number
Ints = Any

# Of all maps that one may drive on at once, more only where worlds are on them; and of those that
# are kept compressed (building one again takes 30 times as long as unpacking it).
MOST_MAPS = 1024
MOST_BYTES = 128_000_000
MOST_PACKED_BYTES = 96_000_000


class MapUser(Protocol):
    """Someone who keeps numbers of maps."""

    @property
    def maps_in_use(self) -> IntArray:
        """[n] numbers."""
        ...


class MapAtlas:
    """Road maps by number; in every look-up all arguments broadcast against each other.

    ``arrays`` holds all maps flat, for kernels; ask for it again after ``add``, ``add_route`` and
    ``make_room``. What a map answers depends neither on its number nor on where it lies.
    """

    def __init__(
        self,
        most_maps: int = MOST_MAPS,
        most_bytes: int = MOST_BYTES,
        most_packed_bytes: int = MOST_PACKED_BYTES,
    ) -> None:
        self._limits = most_maps, most_bytes
        self._bounds = self._limits  # beyond them ``make_room`` forgets
        self._most_packed_bytes = most_packed_bytes
        self._ids: dict[RoadSpec, int] = {}
        self._maps: dict[int, StoredMap] = {}  # the one asked for last is last
        self._forgotten: dict[RoadSpec, StoredMap] = {}  # the one forgotten last is last
        self._users: weakref.WeakSet[MapUser] = weakref.WeakSet()
        self._places = np.zeros(8, dtype=MAP)
        self._count = 0
        self._unused: list[int] = []  # numbers below ``_count``, as a heap
        self._tiles = TilePool()
        self._arenas = {name: Arena(*shape) for name, shape in ARENAS.items()}
        self._arrays: Any = None

    def __len__(self) -> int:
        return len(self._maps)

    @property
    def arrays(self) -> Any:
        """The ``MapArrays`` of all maps."""
        if self._arrays is None:
            data = {name: arena.data for name, arena in self._arenas.items()}
            self._arrays = MapArrays(
                maps=self._places[: self._count], sdf=self._tiles.sdf,
                nearest=self._tiles.nearest, **data,
            )  # fmt: skip
        return self._arrays

    @property
    def nbytes(self) -> int:
        """Size of all maps that have a number."""
        maps = self.arrays
        return self._tiles.nbytes + sum(getattr(maps, name).nbytes for name in ARENAS)

    # Maps ----------------------------------------------------------------------------------
    def add(self, spec: RoadSpec) -> int:
        """The number of the map of ``spec``; builds and stores it the first time.

        Good until ``make_room``, and beyond it for as long as a user has it in use.
        """
        known = self._ids.get(spec)
        if known is not None:
            self._maps[known] = self._maps.pop(known)
            return known
        stored = self._forgotten.pop(spec, None) or StoredMap(spec, build_road_map(spec))
        if self._unused:
            number = heapq.heappop(self._unused)
        else:
            number = self._count
            self._count += 1
            if number >= len(self._places):
                self._places = np.concatenate([self._places, np.zeros_like(self._places)])
        self._store(number, stored)
        self._maps[number], self._ids[spec] = stored, number
        return number

    def serve(self, user: MapUser) -> None:
        """Remember the maps that ``user`` has in use for as long as it lives."""
        self._users.add(user)

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

    def make_room(self) -> None:
        """Where maps have become too many or too large, forget those that nobody uses and that were
        not asked for lately, until half of what is allowed is left.

        Numbers of the others stay valid; that of a forgotten one may come to mean another map. So
        much is forgotten at once that moving the rest costs little per map, even where most are in
        use.
        """
        most_maps, most_bytes = self._bounds
        if len(self._maps) <= most_maps and self.nbytes <= most_bytes:
            return
        used = {int(number) for user in self._users for number in user.maps_in_use}
        most_maps, most_bytes = (limit // 2 for limit in self._limits)
        count, size = len(self._maps), self.nbytes
        for number in [n for n in self._maps if n not in used]:
            if count <= most_maps and size <= most_bytes:
                break
            before = self._tiles.nbytes
            self._forget(number)
            count, size = count - 1, size - before + self._tiles.nbytes
        self._repack()
        maps, nbytes = self._limits
        self._bounds = max(maps, 3 * len(self._maps) // 2), max(nbytes, 3 * self.nbytes // 2)
        self._trim_forgotten()

    def _forget(self, number: int) -> None:
        stored = self._maps.pop(number)
        assert stored.tiles is not None
        self._tiles.give_back(stored.tiles)
        stored.tiles = None
        del self._ids[stored.spec]
        self._forgotten[stored.spec] = stored
        heapq.heappush(self._unused, number)

    def _trim_forgotten(self) -> None:
        sizes = {spec: stored.packed_bytes for spec, stored in self._forgotten.items()}
        excess = sum(sizes.values()) - self._most_packed_bytes
        for spec, size in sizes.items():
            if excess <= 0:
                break
            del self._forgotten[spec]
            excess -= size

    def _repack(self) -> None:
        for arena in self._arenas.values():
            arena.used = 0
        for number, stored in self._maps.items():
            self._store(number, stored)

    def _store(self, number: int, stored: StoredMap) -> None:
        """Copy a map and its routes into the arenas."""
        road, into = stored.road, self._arenas
        paths = len(road.lanes)
        stored.room = paths + route_room(road, len(stored.routes))
        sample = into["samples"].append(road.samples)
        for name in ("sample_lane", "bend"):
            into[name].append(getattr(road, name))
        lanes = np.zeros(stored.room, dtype=LANE)
        lanes[:paths] = road.lanes
        lanes["first"] += sample
        lanes["successor_first"] += into["successors"].append(road.successors)
        rows = self._store_tiles(stored, sample)
        into["tile_nearest"].append(road.tile_nearest.reshape(-1) + np.int32(sample))
        tiles = np.where(road.tiles < 0, -1, rows[road.tiles]).astype(np.int32)
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

    def _store_tiles(self, stored: StoredMap, sample: int) -> I64:
        """Rows of the rasters of a map whose samples lie from ``sample`` on."""
        if stored.tiles is None:
            sdf, nearest = stored.road.rasters.unpack()
            stored.tiles = self._tiles.take(sdf, nearest + np.int32(sample))
        else:
            self._tiles.shift(stored.tiles, sample - stored.sample)
        stored.sample = sample
        return stored.tiles

    def _store_route(self, number: int, stored: StoredMap, path: int) -> None:
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
        given: Any = [np.asarray(argument) for argument in (*ints, *floats)]
        shape = given[0].shape
        if any(array.shape != shape for array in given):
            given = np.broadcast_arrays(*given)
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


@functools.cache
def shared_roads() -> MapAtlas:
    """The process's atlas, so that batches made one after the other build each road once."""
    return MapAtlas()
