"""Facts about paths that traffic needs: a comfortable speed in bends, who gives way to whom, and
where."""

from __future__ import annotations

import numpy as np

from alpamayo.types import FloatArray, IntArray
from sim.roads.atlas import MapAtlas
from sim.roads.maps import RoadMap

BEND_ACCEL_MPS2 = 2.5
BEND_BRAKE_MPS2 = 1.5
FASTEST_MPS = 60.0
MAX_PATHS = 16
CONFLICT_D_M = 1.5
CROSSING_TURN_RAD = 0.5
YIELD_BACK_M = 5.0
BESIDE_M = 40.0  # table entries farther off than this mean "not beside the path"
PARALLEL_RAD = 0.05

_LEFT_OF = {"south": "west", "north": "east", "west": "north", "east": "south"}
_OPPOSITE = {"south": "north", "north": "south", "west": "east", "east": "west"}


SHARED_MAPS = 64
_shared: list[tuple[MapAtlas, PathFacts]] = []


def shared_roads() -> tuple[MapAtlas, PathFacts]:
    """The process's atlas, so that batches made one after the other build each road once; a fresh
    one after ``SHARED_MAPS`` maps, so that endless new roads do not pile up."""
    if not _shared or len(_shared[0][0]) >= SHARED_MAPS:
        atlas = MapAtlas()
        _shared[:] = [(atlas, PathFacts(atlas))]
    return _shared[0]


class PathFacts:
    """Per map of an atlas, in arrays indexed by map number; ``ensure`` fills in a map."""

    def __init__(self, atlas: MapAtlas) -> None:
        self._atlas = atlas
        self._known = 0
        # Where path q conflicts with a left turn p that must give way to it: s on p, s on q (inf:
        # nowhere).
        self.conflict_s_p = np.empty((0, MAX_PATHS, MAX_PATHS))
        self.conflict_s_q = np.empty((0, MAX_PATHS, MAX_PATHS))
        self.crossing_s = np.empty((0, MAX_PATHS, MAX_PATHS))
        # Distance that two paths keep from each other all along if they are parallel, else 0.
        self.apart_m = np.empty((0, MAX_PATHS, MAX_PATHS))
        self.merge_s = np.empty((0, MAX_PATHS))
        self._bend = np.empty(0)
        self._bend_start = np.empty((0, MAX_PATHS), dtype=np.int64)
        self._bend_last = np.empty(0, dtype=np.int64)

    def ensure(self, map_id: int) -> None:
        """Compute the facts of all maps up to ``map_id``."""
        while self._known <= map_id:
            self._append(self._atlas.map(self._known))
            self._known += 1

    def bend_speed(self, map_id: IntArray, path: IntArray, s_m: FloatArray) -> FloatArray:
        """Speed at ``s_m`` that is comfortable in the bends there and ahead."""
        n = np.clip(s_m, 0.0, self._bend_last[map_id]).astype(np.int64)
        return self._bend[self._bend_start[map_id, path] + n]

    def gives_way(self, map_id: int, path: int) -> bool:
        return bool(np.isfinite(self.conflict_s_p[map_id, path]).any())

    def _append(self, road: RoadMap) -> None:
        conflict_p, conflict_q = _give_way(road)
        self.conflict_s_p = np.concatenate([self.conflict_s_p, conflict_p[None]])
        self.conflict_s_q = np.concatenate([self.conflict_s_q, conflict_q[None]])
        self.crossing_s = np.concatenate([self.crossing_s, _crossings(road)[None]])
        self.apart_m = np.concatenate([self.apart_m, _apart(road)[None]])
        self.merge_s = np.concatenate([self.merge_s, _merge(road)[None]])
        bend = _bend_speeds(road.curvature)
        starts = np.zeros(MAX_PATHS, dtype=np.int64)
        starts[: len(bend)] = len(self._bend) + np.arange(len(bend)) * bend.shape[1]
        self._bend_start = np.concatenate([self._bend_start, starts[None]])
        self._bend_last = np.append(self._bend_last, bend.shape[1] - 1)
        self._bend = np.concatenate([self._bend, bend.reshape(-1)])


def _bend_speeds(curvature: FloatArray) -> FloatArray:
    """[P, N]: speed limited by lateral acceleration here and by braking for what follows (backward
    pass)."""
    squared = BEND_ACCEL_MPS2 / np.maximum(np.abs(curvature), BEND_ACCEL_MPS2 / FASTEST_MPS**2)
    for n in range(squared.shape[1] - 2, -1, -1):
        squared[:, n] = np.minimum(squared[:, n], squared[:, n + 1] + 2.0 * BEND_BRAKE_MPS2)
    return np.sqrt(squared)


def _give_way(road: RoadMap) -> tuple[FloatArray, FloatArray]:
    """Conflict points of left turns with the oncoming traffic that goes straight or turns right."""
    on_p = np.full((MAX_PATHS, MAX_PATHS), np.inf)
    on_q = np.full((MAX_PATHS, MAX_PATHS), np.inf)
    if road.spec.kind != "junction":
        return on_p, on_q
    ends = [tuple(name.split("_")) for name in road.names]
    for p, (start, goal) in enumerate(ends):
        if _LEFT_OF[start] != goal:
            continue
        for q, (other_start, other_goal) in enumerate(ends):
            if other_start != _OPPOSITE[start] or other_goal == _LEFT_OF[other_start]:
                continue
            near = np.flatnonzero(np.abs(road.table_d[p, q]) < CONFLICT_D_M)
            if len(near):
                on_p[p, q] = road.table_s[p, q, near[0]]
                on_q[p, q] = float(near[0])
    return on_p, on_q


def _crossings(road: RoadMap) -> FloatArray:
    """[p, q] -> arc length on p where path q crosses it at an angle (inf: it does not)."""
    result = np.full((MAX_PATHS, MAX_PATHS), np.inf)
    count = len(road.names)
    for p in range(count):
        for q in range(count):
            n = int(np.argmin(np.abs(road.table_d[p, q])))
            crosses = abs(road.table_h[p, q, n]) > CROSSING_TURN_RAD
            if abs(road.table_d[p, q, n]) < CONFLICT_D_M and crosses:
                result[p, q] = road.table_s[p, q, n]
    return result


def _apart(road: RoadMap) -> FloatArray:
    """[p, q] -> distance that parallel paths keep from each other, 0 for paths that meet or turn
    apart."""
    result = np.zeros((MAX_PATHS, MAX_PATHS))
    count = len(road.names)
    beside = np.abs(road.table_d) < BESIDE_M
    turned = np.where(beside, np.abs(np.sin(road.table_h)), 0.0).max(axis=2)
    nearest = np.abs(road.table_d).min(axis=2)
    result[:count, :count] = np.where(turned < PARALLEL_RAD, nearest, 0.0)
    return result


def _merge(road: RoadMap) -> FloatArray:
    """[p] -> arc length at which a ramp has joined lane 0 (-inf: not a ramp)."""
    result = np.full(MAX_PATHS, -np.inf)
    if road.spec.kind == "merge":
        ramp, lane = road.names.index("ramp"), road.names.index("lane0")
        joined = np.flatnonzero(np.abs(road.table_d[lane, ramp]) < 0.3)
        if len(joined):
            result[ramp] = float(joined[0])
    return result
