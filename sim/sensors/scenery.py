"""What stands still on a map, cut into pieces and put into cells, so that a picture touches only
what is near its camera."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sim.sensors import models
from sim.sensors.relief import NO_TERRAIN, POLYGON, TERRAIN, terrain_of

if TYPE_CHECKING:
    from sim.roads.maps import Marking, RoadMap

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

CELL_M = 32.0
SMALL_M = 48.0  # larger things are in no cell but looked at in every picture
DASH_M, GAP_M = 3.0, 6.0
BAR_M, BAR_GAP_M = 0.5, 0.5  # of a zebra crossing
PIECE_M = 12.0
_DENSE_M, _BENT_M = 2.5, 0.02  # lines with closer points lose those that bend them by less
# Length (along the direction it shines), width, height and base of a signal head; its pole reaches
# up to it.
HEAD_SIZE_M = (0.4, 1.3, 1.5)
HEAD_BASE_M = 2.7
PAST_STOP_M = 1.0  # how far past the stop line a camera still sees the light
POLE_WIDTH_M = 0.22
POLE_COLOR = (90, 90, 90)
_OWN_STOP_M = 15.0  # a stop line farther beside a head is not meant by it
SIGN_SIZE_M = (0.1, 0.75, 2.7)
MAX_SCENES = 256
_FLAT_M = 0.05

SURFACE, PAVEMENT, PAINT = (
    np.int64(i) for i in range(3)
)  # a polygon's kind; PAINT + i is paint of colour i

# Something that stands there. ``group``: of signals, -1 none. ``beyond``: how far in front of it
# the approach ends that it is meant for (-inf: for all). ``rank``: order among equally far ones.
STAND = np.dtype(
    [("box", "f8", (7,)), ("cos", "f8"), ("sin", "f8"), ("kind", "i8"), ("color", "f8", (3,)),
     ("group", "i8"), ("beyond", "f8"), ("value", "i8"), ("rank", "i8")],
    align=True,
)  # fmt: skip
# Where a map lies in the arenas. Cell c of its ``cols`` x ``rows`` grid (the last, one more, holds
# what is large) owns rows ``index[cell_first + c]`` to ``index[cell_first + c + 1]`` of the
# polygons, paint quads and stands.
SCENE = np.dtype(
    [("cell_first", "i8"), ("cols", "i8"), ("rows", "i8"), ("origin_x", "f8"), ("origin_y", "f8"),
     ("color_first", "i8"), ("color_count", "i8"), ("ground_z", "f8"), ("relief", "?"),
     ("terrain_first", "i8"), ("terrain_cols", "i8"), ("terrain_rows", "i8"),
     ("terrain_x", "f8"), ("terrain_y", "f8")],
    align=True,
)  # fmt: skip

# ``paint`` [*, 4, 3] quads of colour ``paint_color`` (counted from the scene's first in ``colors``
# [*, 3]); ``corners`` [*, 3] of polygons; ``pieces`` POLYGON and ``terrain`` TERRAIN of maps with
# relief.
Scenes = namedtuple(
    "Scenes", "scenes index polygons corners paint paint_color colors stands terrain pieces"
)


@dataclass(frozen=True)
class Scene:
    """One map, prepared; indices count from its own first rows."""

    road: RoadMap
    row: Records
    index: I64
    polygons: Records
    corners: F64
    paint: F64
    paint_color: I64
    colors: F64
    stands: Records
    terrain: Records
    pieces: Records


def scene_of(road: RoadMap) -> Scene:
    """Prepare a map for drawing."""
    height = _height_of(road)
    polygons, corners = _polygons(road)
    paint, paint_color, colors = _paint(road.markings)
    stands = _stands(road, height)
    row = np.zeros(1, dtype=SCENE)
    heights = corners[:, 2] if len(corners) else np.zeros(1)
    terrain = NO_TERRAIN
    if np.ptp(heights) > _FLAT_M:
        terrain = terrain_of(road, polygons, corners, paint, paint_color)
        polygons, paint, paint_color = polygons[:0], paint[:0], paint_color[:0]
        corners = terrain.corners
        row["relief"] = True
    row["ground_z"], row["color_count"] = np.median(heights), len(colors)
    for name in ("terrain_cols", "terrain_rows", "terrain_x", "terrain_y"):
        row[name] = getattr(terrain, name.removeprefix("terrain_"))
    middle = np.stack(
        [polygons["low_x"] + polygons["high_x"], polygons["low_y"] + polygons["high_y"]], axis=-1
    )
    size = np.stack(
        [polygons["high_x"] - polygons["low_x"], polygons["high_y"] - polygons["low_y"]], axis=-1
    )
    kinds = [
        (0.5 * middle, size.max(axis=1, initial=0.0)),
        (paint[:, :, :2].mean(axis=1), np.ptp(paint[:, :, :2], axis=1).max(axis=1, initial=0.0)),
        (stands["box"][:, :2], stands["box"][:, 3:5].max(axis=1, initial=0.0)),
    ]
    index, orders = _cells(row, kinds)
    return Scene(
        road, row, index, polygons[orders[0]], corners, paint[orders[1]], paint_color[orders[1]],
        colors, stands[orders[2]], terrain.cells, terrain.pieces,
    )  # fmt: skip


def _cells(row: Records, kinds: list[tuple[F64, F64]]) -> tuple[I64, list[I64]]:
    """Sort things (middle [n, 2], extent [n]) into cells: the first of each kind in every cell
    [cells + 2, kinds] and the order of each kind."""
    everything = np.concatenate([middle for middle, _ in kinds] + [np.zeros((1, 2))])
    origin = CELL_M * np.floor(everything.min(axis=0) / CELL_M)
    shape = ((everything.max(axis=0) - origin) // CELL_M).astype(np.int64) + 1
    row["origin_x"], row["origin_y"] = origin
    row["cols"], row["rows"] = shape
    count = int(shape[0] * shape[1])
    index = np.zeros((count + 2, len(kinds)), dtype=np.int64)
    orders = []
    for k, (middle, extent) in enumerate(kinds):
        cell = ((middle - origin) // CELL_M).astype(np.int64)
        number = np.where(extent > SMALL_M, count, cell[:, 1] * shape[0] + cell[:, 0])
        order = np.argsort(number, kind="stable")
        orders.append(order)
        index[:, k] = np.searchsorted(number[order], np.arange(count + 2))
    return index, orders


def _with_height(points: F64) -> F64:
    if points.shape[1] == 3:
        return points
    return np.concatenate([points, np.zeros((len(points), 1))], axis=1)


def _counterclockwise(points: F64) -> F64:
    """A polygon with heights. All go round the same way: a smooth fill takes away where two that go
    round differently overlap."""
    x, y = points[:, 0], points[:, 1]
    area = x @ np.roll(y, -1) - y @ np.roll(x, -1)
    return _with_height(points if area >= 0.0 else points[::-1])


def _polygons(road: RoadMap) -> tuple[Records, F64]:
    parts = [(_counterclockwise(p), SURFACE) for p in road.surfaces]
    parts += [(_counterclockwise(p), PAVEMENT) for p in road.pavements]
    rows = np.zeros(len(parts), dtype=POLYGON)
    first = 0
    for i, (points, kind) in enumerate(parts):
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        rows[i] = (first, len(points), kind, *low, *high)
        first += len(points)
    return rows, np.concatenate([p for p, _ in parts]) if parts else np.zeros((0, 3))


def _paint(markings: tuple[Marking, ...]) -> tuple[F64, I64, F64]:
    """Quads [q, 4, 3] of all markings, the colour of each and the colours [c, 3]."""
    quads, color_of, colors = [np.zeros((0, 4, 3))], [np.zeros(0, dtype=np.int64)], []
    for marking in markings:
        if marking.color not in colors:
            colors.append(marking.color)
        pieces = _paint_quads(marking)
        quads.append(pieces)
        color_of.append(np.full(len(pieces), colors.index(marking.color), dtype=np.int64))
    return (
        np.concatenate(quads),
        np.concatenate(color_of),
        np.array(colors, dtype=np.float64).reshape(-1, 3),
    )


def _paint_quads(marking: Marking) -> F64:
    """Quads [q, 4, 3] along a marking; dashes and the bars of a crossing leave gaps."""
    points = marking.points
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    if marking.kind in ("dashed", "crossing"):
        bar, gap = (DASH_M, GAP_M) if marking.kind == "dashed" else (BAR_M, BAR_GAP_M)
        start = np.arange(0.0, s[-1] - 0.5 * min(bar, 1.0), bar + gap)
        ends = np.stack([start, np.minimum(start + bar, s[-1])], axis=1)
    else:
        cuts = _cuts(points, s)
        ends = np.stack([cuts[:-1], cuts[1:]], axis=1)
    ends = ends[ends[:, 1] - ends[:, 0] > 1e-6]
    at = np.stack([np.interp(ends, s, points[:, i]) for i in range(points.shape[1])], axis=-1)
    along = at[:, 1, :2] - at[:, 0, :2]
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    side = 0.5 * marking.width_m * np.stack([-along[:, 1], along[:, 0]], axis=-1)
    quads = np.zeros((len(ends), 4, 3))
    for k, (end, sign) in enumerate(((0, -1.0), (1, -1.0), (1, 1.0), (0, 1.0))):
        quads[:, k, : at.shape[2]] = at[:, end]
        quads[:, k, :2] += sign * side
    return quads


def _cuts(points: F64, s: F64) -> F64:
    """Arc lengths that cut a line with arc lengths ``s`` of its ``points`` into pieces to paint."""
    if len(s) == 2:
        return np.linspace(0.0, s[-1], max(1, int(np.ceil(s[-1] / PIECE_M))) + 1)
    if np.median(np.diff(s)) > _DENSE_M:
        return s
    kept = [0]
    for i in range(2, len(s)):
        start = points[kept[-1]]
        chord = points[i] - start
        length = np.hypot(*chord[:2])
        between = points[kept[-1] + 1 : i] - start
        aside = np.abs(chord[0] * between[:, 1] - chord[1] * between[:, 0]).max()
        if aside > _BENT_M * length or s[i] - s[kept[-1]] > PIECE_M:
            kept.append(i - 1)
    return s[[*kept, len(s) - 1]]


def _height_of(road: RoadMap) -> Callable[[float, float], float]:
    """The road's height where it is nearest to (x, y)."""
    samples = road.samples

    def height(x: float, y: float) -> float:
        if not len(samples):
            return 0.0
        distance = (samples[:, 0] - x) ** 2 + (samples[:, 1] - y) ** 2
        return float(samples[np.argmin(distance), 6])

    return height


def _stands(road: RoadMap, height: Callable[[float, float], float]) -> Records:
    """Signal heads, then their poles, then signs and scenery."""
    heads = road.signal_heads
    rows: list[tuple[Any, ...]] = []
    beyond = _approach_ends(road)
    for (x, y, heading, group), end in zip(heads, beyond, strict=True):
        box = (x, y, heading, *HEAD_SIZE_M, height(x, y) + HEAD_BASE_M)
        rows.append((box, models.SIGNAL, POLE_COLOR, int(group), end, 0))
    for (x, y, heading, _), end in zip(heads, beyond, strict=True):
        box = (x, y, heading, POLE_WIDTH_M, POLE_WIDTH_M, HEAD_BASE_M, height(x, y))
        rows.append((box, models.POLE, POLE_COLOR, -1, end, 0))
    for x, y, heading, name in road.signs:
        kind, _, value = name.partition("_")
        box = (x, y, heading, *SIGN_SIZE_M, height(x, y))
        number = int(value) if kind == "speed" else 0
        rows.append((box, models.KINDS.index(f"sign_{kind}"), POLE_COLOR, -1, -np.inf, number))
    for thing in road.scenery:
        kind = thing.kind
        if kind == "parked":
            kind = "van" if thing.height > 1.9 else "car"
        size = (thing.length, thing.width, thing.height)
        box = (thing.x, thing.y, thing.heading, *size, thing.base_z)
        rows.append((box, models.KINDS.index(kind), thing.color, -1, -np.inf, 0))
    stands = np.zeros(len(rows), dtype=STAND)
    for i, (box, number, color, group, end, value) in enumerate(rows):
        stands[i] = (box, 0.0, 0.0, number, color, group, end, value, i)
    stands["cos"], stands["sin"] = np.cos(stands["box"][:, 2]), np.sin(stands["box"][:, 2])
    return stands


def _approach_ends(road: RoadMap) -> F64:
    """How far from each head [M], the way it shines, the approach ends that it is meant for."""
    stops = [m.points[:, :2].mean(axis=0) for m in road.markings if m.kind == "stop"]
    ends = np.zeros(len(road.signal_heads))
    if not stops:
        return ends
    for i, (x, y, facing, _) in enumerate(road.signal_heads):
        dx, dy = np.array(stops)[:, 0] - x, np.array(stops)[:, 1] - y
        ahead = np.cos(facing) * dx + np.sin(facing) * dy
        beside = np.abs(np.cos(facing) * dy - np.sin(facing) * dx)
        nearest = np.argmin(np.where(ahead > -5.0, beside, np.inf))
        if beside[nearest] < _OWN_STOP_M:
            ends[i] = ahead[nearest] - PAST_STOP_M
    return ends


class _Arena:
    """Rows of many maps one after the other, in an array that grows by doubling."""

    def __init__(self, empty: npt.NDArray[Any]) -> None:
        self._store, self.used = empty[:0].copy(), 0

    @property
    def rows(self) -> npt.NDArray[Any]:
        return self._store[: self.used]

    def append(self, rows: npt.NDArray[Any]) -> int:
        first, end = self.used, self.used + len(rows)
        if end > len(self._store):
            room = max(end, 2 * len(self._store), 64)
            grown = np.zeros((room, *rows.shape[1:]), dtype=rows.dtype)
            grown[:first] = self._store[:first]
            self._store = grown
        self._store[first:end] = rows
        self.used = end
        return first


class SceneStore:
    """Prepared maps by number, in arenas that kernels read."""

    def __init__(self, road_of: Callable[[int], RoadMap]) -> None:
        self._road_of = road_of
        self._clear()

    def _clear(self) -> None:
        self._slots: dict[int, int] = {}
        self._roads: list[RoadMap] = []
        empty = {
            "scenes": np.zeros(0, SCENE), "index": np.zeros((0, 3), np.int64),
            "polygons": np.zeros(0, POLYGON), "corners": np.zeros((0, 3)),
            "paint": np.zeros((0, 4, 3)), "paint_color": np.zeros(0, np.int64),
            "colors": np.zeros((0, 3)), "stands": np.zeros(0, STAND),
            "terrain": np.zeros(0, TERRAIN), "pieces": np.zeros(0, POLYGON),
        }  # fmt: skip
        self._arenas = {name: _Arena(rows) for name, rows in empty.items()}
        self.max_corners, self.max_stands, self.max_paint = 8, 0, 0

    def slots(self, map_ids: npt.NDArray[Any]) -> I64:
        """The row in ``arrays.scenes`` of each map; prepares those that are not yet."""
        wanted, inverse = np.unique(map_ids, return_inverse=True)
        missing = [int(m) for m in wanted if not self._has(int(m))]
        if missing and len(self._roads) + len(missing) > MAX_SCENES:
            self._clear()
            missing = [int(m) for m in wanted]
        for number in missing:
            self._add(number)
        return np.array([self._slots[int(m)] for m in wanted], dtype=np.int64)[inverse]

    def _has(self, number: int) -> bool:
        slot = self._slots.get(number)
        return slot is not None and self._roads[slot] is self._road_of(number)

    def _add(self, number: int) -> None:
        road = self._road_of(number)
        scene = scene_of(road)
        arenas = self._arenas
        corner_first = arenas["corners"].append(scene.corners)
        row, index = scene.row.copy(), scene.index.copy()
        for k, name in enumerate(("polygons", "paint", "stands")):
            index[:, k] += arenas[name].used
        polygons, pieces = scene.polygons.copy(), scene.pieces.copy()
        polygons["first"] += corner_first
        pieces["first"] += corner_first
        terrain = scene.terrain.copy()
        terrain["piece_first"] += arenas["pieces"].used
        row["cell_first"] = arenas["index"].append(index)
        row["color_first"] = arenas["colors"].append(scene.colors)
        row["terrain_first"] = arenas["terrain"].append(terrain)
        for name, rows in (
            ("polygons", polygons), ("paint", scene.paint), ("paint_color", scene.paint_color),
            ("stands", scene.stands), ("pieces", pieces),
        ):  # fmt: skip
            arenas[name].append(rows)
        self._slots[number] = arenas["scenes"].append(row)
        self._roads.append(road)
        self.max_corners = max(self.max_corners, int(polygons["count"].max(initial=0)))
        self.max_corners = max(self.max_corners, int(pieces["count"].max(initial=0)))
        self.max_stands = max(self.max_stands, len(scene.stands) + len(terrain))
        self.max_paint = max(self.max_paint, len(scene.paint))

    @property
    def arrays(self) -> Scenes:
        return Scenes(**{name: arena.rows for name, arena in self._arenas.items()})
