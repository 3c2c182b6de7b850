"""What a road is made of, as plain arrays; and the same of many roads, as kernels read it."""

from __future__ import annotations

import zlib
from collections import namedtuple
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from alpamayo.types import RoadSpec

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

FAR_M = 1e3  # "not beside this path" in the lateral tables
SPACING_M = 1.0
CELL_M = 0.25
TILE_M = 32.0
TILE_CELLS = 128  # cells of the distance raster along one side of a tile
NEAREST_CELLS = 64  # cells of the nearest-lane raster along one side of a tile
NEAREST_CELL_M = 0.5
MarkingKind = Literal["solid", "dashed", "stop", "edge", "crossing"]
SceneryKind = Literal["building", "tree", "parked"]
_FAST = 1  # level of compression: neighbouring cells are alike, more of it hardly saves more
WHITE = (235, 235, 230)
YELLOW = (230, 180, 40)

DRIVING, PARKING, BIKE, SIDEWALK, SHOULDER, ROUTE = range(6)
LANE_KINDS = ("driving", "parking", "bike", "sidewalk", "shoulder", "route")
NO_STOP, STOP_AT_SIGNAL, STOP_SIGN, YIELD_SIGN = range(4)
STOP_KINDS = ("", "signal", "stop", "yield")

# One lane (a path). ``first``/``count``: its samples. ``left``/``right``: neighbour of the same
# direction (-1: none), ``left_lanes``/``right_lanes``: how many driving lanes lie there.
# ``stop_s``: its stop line (inf: none). ``merge_s``: where a ramp has joined another lane (-inf:
# not a ramp). ``gives_way``: some pair of it yields. ``ends_m``: where it ends by a lane drop (inf:
# nowhere). ``conflict_s``: where it first comes upon a lane that it gives way to (inf: nowhere).
# ``closed_left``, ``closed_right``: from where to where nobody may change to that neighbour.
# ``turn``: in a junction it turns left (1) or right (-1), and bends from ``turn_from`` to
# ``turn_to``.
# ``stops_first``/``stops_count``: the stop lines of a route, in ``MapArrays.stops``.
LANE = np.dtype(
    [
        ("first", "i8"), ("count", "i8"), ("length_m", "f8"), ("left", "i8"), ("right", "i8"),
        ("left_lanes", "i8"), ("right_lanes", "i8"), ("speed_limit", "f8"), ("stop_s", "f8"),
        ("signal_group", "i8"), ("stop_kind", "i8"), ("successor_first", "i8"),
        ("successor_count", "i8"), ("predecessor_count", "i8"), ("merge_s", "f8"),
        ("gives_way", "?"), ("junction", "i8"), ("kind", "i8"), ("width_m", "f8"),
        ("ends_m", "f8"), ("conflict_s", "f8"), ("closed_left", "f8", (2,)),
        ("closed_right", "f8", (2,)), ("turn", "i8"), ("turn_from", "f8"), ("turn_to", "f8"),
        ("stops_first", "i8"), ("stops_count", "i8"),
    ],
    align=True,
)  # fmt: skip

# Path q as seen from path p. ``sample_count`` samples of q from ``sample_first`` on are in the
# table from row ``table_first``; the others are not beside p. ``last``: last interval of q.
# ``apart_m``: distance that they keep all along if they are parallel, else 0. ``yields``: p must
# give way to q; their lines first meet at ``conflict_s_p`` on p, ``conflict_s_q`` on q (inf where p
# does not yield). ``cross_s``: arc length on p where q crosses it at an angle (inf: nowhere).
# ``meet_s_p``, ``meet_s_q``: arc lengths on p and q where they cross or q has joined p (inf: they
# do neither), see ``sim.roads.meetings``.
PAIR = np.dtype(
    [
        ("table_first", "i4"), ("sample_first", "i4"), ("sample_count", "i4"), ("last", "i4"),
        ("apart_m", "f8"), ("conflict_s_p", "f8"), ("conflict_s_q", "f8"), ("cross_s", "f8"),
        ("meet_s_p", "f8"), ("meet_s_q", "f8"), ("yields", "?"),
    ],
    align=True,
)  # fmt: skip

# Where one map lies in the arenas.
MAP = np.dtype(
    [
        ("lane_first", "i8"), ("lane_count", "i8"), ("pair_first", "i8"), ("pair_stride", "i8"),
        ("tile_first", "i8"), ("tile_cols", "i8"), ("tile_rows", "i8"), ("origin_x", "f8"),
        ("origin_y", "f8"),
    ],
    align=True,
)  # fmt: skip

# A stop line of a route: arc length, kind (index into ``STOP_KINDS``), signal group.
STOP = np.dtype([("s", "f8"), ("kind", "i8"), ("group", "i8")], align=True)

# All maps, flat. ``maps`` MAP [m], ``lanes`` LANE, ``samples`` [*, 7]: x, y, heading (unwrapped),
# curvature, cos, sin, z at 1 m spacing from s = 0 with two straight samples beyond the end;
# ``sample_lane`` [*]: the path of each sample, for a route that of the lane under it; ``bend`` [*]:
# a comfortable speed at each sample; ``pair_index``: maps[m].pair_first + p * pair_stride + q ->
# row of ``pairs`` or -1; ``bits`` [*, 4]: sets of lanes for each lane, see ``sim.roads.meetings``;
# ``pairs`` PAIR; ``tables`` [*, 3]: s, d, heading difference;
# ``successors``: paths; ``stops`` STOP; ``tiles``: raster tile at tile_first + row * tile_cols +
# col or -1; ``tile_nearest``: sample nearest to the middle of each tile; ``sdf`` [t, 129, 129]
# signed distance in mm of the tile's cell corners (the last row and column are the neighbour's
# first); ``nearest`` [t, 64, 64]: sample nearest to each half-metre cell.
MapArrays = namedtuple(
    "MapArrays",
    "maps lanes samples sample_lane bend pair_index bits pairs tables successors stops tiles "
    "tile_nearest sdf nearest",
)


@dataclass(frozen=True)
class Marking:
    """Paint on the road along ``points`` [n, 2] or, with heights, [n, 3]."""

    points: F64
    kind: MarkingKind
    width_m: float = 0.15
    color: tuple[int, int, int] = WHITE


@dataclass(frozen=True)
class Scenery:
    """A box beside the road, seen by the camera only: its middle and size in metres, heading in
    radians, ``base_z`` the height of its foot."""

    kind: SceneryKind
    x: float
    y: float
    heading: float
    length: float
    width: float
    height: float
    base_z: float = 0.0
    color: tuple[int, int, int] = (128, 128, 128)


@dataclass(frozen=True)
class PackedRasters:
    """``sdf`` and ``nearest`` of ``MapArrays``, compressed to about an eighth: roads are kept for
    longer than anybody drives on them."""

    sdf: bytes
    nearest: bytes

    @classmethod
    def of(cls, sdf: I16, nearest: I32) -> PackedRasters:
        return cls(zlib.compress(sdf.tobytes(), _FAST), zlib.compress(nearest.tobytes(), _FAST))

    def unpack(self) -> tuple[I16, I32]:
        """``sdf`` and ``nearest``, read-only."""
        sdf = np.frombuffer(zlib.decompress(self.sdf), dtype=np.int16)
        nearest = np.frombuffer(zlib.decompress(self.nearest), dtype=np.int32)
        return (
            sdf.reshape(-1, TILE_CELLS + 1, TILE_CELLS + 1),
            nearest.reshape(-1, NEAREST_CELLS, NEAREST_CELLS),
        )

    @property
    def nbytes(self) -> int:
        return len(self.sdf) + len(self.nearest)


@dataclass(frozen=True)
class RoadMap:
    """One road, read-only. Path p is ``names[p]`` (``index``: the way back) and row p of ``lanes``.

    ``lanes`` LANE [P], ``samples`` [*, 7], ``sample_lane`` [*], ``bend`` [*], ``pairs`` PAIR [*],
    ``tables`` float32 [*, 3], ``successors`` int32, ``tiles`` and ``tile_nearest`` int32
    [rows, cols] and, packed, the ``rasters`` ``sdf`` and ``nearest`` are what ``MapArrays`` says,
    with indices that count from this road's own first. ``pair_paths`` int32 [*, 2]: p and q of each
    pair. The corner of tile (0, 0) is ``origin_xy``. ``signal_heads`` [M, 4]: x, y, heading it
    shines towards, group. ``signs``: x, y, heading, kind (``stop``, ``yield``, ``speed_<n>``,
    ``warning``). ``skipped``: what an importer did not understand, with counts.
    """

    spec: RoadSpec
    names: tuple[str, ...]
    index: dict[str, int]
    lanes: Records
    samples: F64
    sample_lane: I32
    bend: F64
    pair_paths: I32
    pairs: Records
    tables: F32
    successors: I32
    tiles: I32
    tile_nearest: I32
    rasters: PackedRasters
    origin_xy: tuple[float, float]
    surfaces: tuple[F64, ...]
    pavements: tuple[F64, ...]
    markings: tuple[Marking, ...]
    signal_heads: F64
    signs: tuple[tuple[float, float, float, str], ...]
    scenery: tuple[Scenery, ...]
    skipped: dict[str, int]

    def path_samples(self, path: int) -> F64:
        """Rows [n, 7] of one path."""
        lane = self.lanes[path]
        return self.samples[lane["first"] : lane["first"] + lane["count"]]

    def successors_of(self, path: int) -> tuple[int, ...]:
        """Paths that go on where ``path`` ends."""
        lane = self.lanes[path]
        first = int(lane["successor_first"])
        return tuple(int(q) for q in self.successors[first : first + lane["successor_count"]])

    def straight_on(self, name: str, length_m: float) -> tuple[str, ...]:
        """Lanes from ``name`` on that turn least, until they are ``length_m`` long together,
        nothing follows, or they would close a loop."""
        path = self.index[name]
        route, total = [path], float(self.lanes["length_m"][path])
        while total < length_m:
            choice = [q for q in self.successors_of(route[-1]) if q not in route]
            if not choice:
                break
            headings = [self.path_samples(q)[:, 2] for q in choice]
            turns = [abs(float(h[-1] - h[0])) for h in headings]
            route.append(choice[int(np.argmin(turns))])
            total += float(self.lanes["length_m"][route[-1]])
        return tuple(self.names[p] for p in route)
