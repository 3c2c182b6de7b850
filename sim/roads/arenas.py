"""Where the arrays of many maps lie one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import RoadSpec
from sim.roads.maps import (
    I16,
    I32,
    I64,
    LANE,
    NEAREST_CELLS,
    PAIR,
    STOP,
    TILE_CELLS,
    RoadMap,
)
from sim.roads.meetings import COLUMNS
from sim.roads.routes import Route

_FIRST_ROUTES = 16

# Row shape and type of each array of ``MapArrays`` but ``maps`` and the rasters of tiles.
ARENAS: dict[str, tuple[tuple[int, ...], Any]] = {
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
}


class Arena:
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
            self._store = _grown(self._store, start, end)
        self._store[start:end] = rows
        self.used = end
        return start


def _grown(store: npt.NDArray[Any], used: int, needed: int) -> npt.NDArray[Any]:
    """A copy with room for ``needed`` rows: exactly as large as it must be where one map fills it,
    doubled where many do."""
    size = max(needed, 2 * len(store)) if used else needed
    grown = np.zeros((size, *store.shape[1:]), store.dtype)
    grown[:used] = store[:used]
    return grown


class TilePool:
    """The rasters of tiles. A map's tiles may lie in any rows, so that those of forgotten maps
    serve again and nothing else has to move."""

    def __init__(self) -> None:
        self._sdf: I16 = np.zeros((0, TILE_CELLS + 1, TILE_CELLS + 1), dtype=np.int16)
        self._nearest: I32 = np.zeros((0, NEAREST_CELLS, NEAREST_CELLS), dtype=np.int32)
        self._free: I64 = np.zeros(0, dtype=np.int64)  # sorted, all below ``_top``
        self._top = 0

    @property
    def sdf(self) -> I16:
        return self._sdf[: self._top]

    @property
    def nearest(self) -> I32:
        return self._nearest[: self._top]

    @property
    def nbytes(self) -> int:
        """Size of the tiles in use."""
        one = (TILE_CELLS + 1) ** 2 * self._sdf.itemsize + NEAREST_CELLS**2 * self._nearest.itemsize
        return (self._top - len(self._free)) * one

    def take(self, sdf: I16, nearest: I32) -> I64:
        """Store ``sdf`` and ``nearest`` of some tiles; returns their rows."""
        new = max(len(sdf) - len(self._free), 0)
        top = self._top + new
        if top > len(self._sdf):
            self._sdf = _grown(self._sdf, self._top, top)
            self._nearest = _grown(self._nearest, self._top, top)
        rows = np.concatenate([self._free[: len(sdf) - new], np.arange(self._top, top)])
        self._free, self._top = self._free[len(sdf) - new :], top
        self._sdf[rows], self._nearest[rows] = sdf, nearest
        return rows

    def give_back(self, rows: I64) -> None:
        """These tiles are not needed any more."""
        self._free = np.sort(np.concatenate([self._free, rows]))

    def shift(self, rows: I64, by: int) -> None:
        """The samples that the tiles name lie ``by`` farther back now."""
        self._nearest[rows] += np.int32(by)


@dataclass
class StoredMap:
    """A road and the routes on it: the k-th is path ``len(road.lanes) + k``."""

    spec: RoadSpec
    road: RoadMap
    routes: list[Route] = field(default_factory=list)
    paths: dict[tuple[str, ...], int] = field(default_factory=dict)
    onwards: dict[tuple[str, float], tuple[str, ...]] = field(default_factory=dict)
    room: int = 0  # paths for which the arenas have room
    sample: int = 0  # where its samples lie
    tiles: I64 | None = None  # rows of its rasters in the pool

    @property
    def packed_bytes(self) -> int:
        """About the memory it takes, without what lies in the arenas."""
        arrays = [*vars(self.road).values(), *self.road.surfaces, *self.road.pavements]
        arrays += [m.points for m in self.road.markings]
        for route in self.routes:
            arrays += [route.samples, route.ahead.tables, route.back.tables]
        return sum(a.nbytes for a in arrays if hasattr(a, "nbytes"))


def route_room(road: RoadMap, routes: int) -> int:
    """For how many routes to keep room: a power of two times ``_FIRST_ROUTES``, more than there
    are, if lanes are linked at all."""
    if not len(road.successors):
        return 0
    room = _FIRST_ROUTES
    while room <= routes:
        room *= 2
    return room
