"""Contact sheets: what rigs see of some scenes in all weathers, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import ACTOR_KINDS, ACTOR_SIZES_M, RoadSpec
from sim.config import CameraConfig, RigConfig, alpamayo_rig
from sim.sensors.rig import Rig
from sim.sensors.rig_view import RigView

if TYPE_CHECKING:
    from sim.roads.atlas import MapAtlas

U8 = npt.NDArray[np.uint8]

WEATHERS: dict[str, dict[str, float]] = {
    "clear": {},
    "fog": {"fog_m": 70.0},
    "rain": {"rain": 0.8, "light": 0.75},
    "snow": {"snow": 0.7, "light": 0.9},
    "low sun": {"glare": 0.9, "light": 0.9},
    "dusk": {"light": 0.4},
    "night": {"light": 0.1},
    "night, rain": {"light": 0.1, "rain": 0.9},
    "dirty": {"dirty": 0.25},
}
RIGS: dict[str, RigConfig] = {
    "default": RigConfig(frames=1),
    "three 256 x 144": RigConfig(
        256, 144, 1, 0.4, 1,
        tuple(CameraConfig(name, 60.0, yaw_deg=yaw)
              for name, yaw in (("left", 55.0), ("front", 0.0), ("right", -55.0))),
    ),
    "Alpamayo": alpamayo_rig(frames=1),
    "fisheye": RigConfig(
        448, 252, 1, 0.4, 1,
        (
            CameraConfig("front", 190.0, 2.3, 0.0, 0.8, 0.0, 10.0, "f_theta"),
            CameraConfig("left", 190.0, 0.6, 1.0, 1.0, 90.0, 25.0, "f_theta"),
            CameraConfig("rear", 130.0, -2.3, 0.0, 1.0, 180.0, 10.0, "f_theta"),
        ),
    ),
}  # fmt: skip
_GAP_PX = 3
_TITLE_PX = 16


@dataclass(frozen=True)
class Seen:
    """One actor of a made-up view. ``size_m`` replaces that of its kind."""

    kind: str
    x: float
    y: float
    heading: float = 0.0
    color: tuple[int, int, int] = (150, 30, 30)
    braking: bool = False
    indicator: int = 0
    reversing: bool = False
    base_z: float = 0.0
    size_m: tuple[float, float, float] | None = None


def view_of(
    map_id: int,
    pose: Sequence[float],
    actors: Sequence[Seen] = (),
    *,
    signal: tuple[int, int] = (0, 2),
    seed: int = 0,
    slots: int = 0,
    **more: Any,
) -> RigView:
    """One view with the given actors; ``pose``: x, y, heading and, on hills, z of the ego.
    ``slots`` empty ones are added up to. ``more``: other fields of ``RigView`` for this one row."""
    count = max(len(actors), slots, 1)
    boxes, kind = np.zeros((1, count, 7)), np.zeros((1, count), dtype=np.int64)
    color = np.zeros((1, count, 3), dtype=np.uint8)
    flags = np.zeros((4, 1, count), dtype=np.int64)
    for i, a in enumerate(actors):
        size = a.size_m or ACTOR_SIZES_M[a.kind]
        boxes[0, i] = (a.x, a.y, a.heading, *size, a.base_z)
        kind[0, i], color[0, i] = ACTOR_KINDS.index(a.kind), a.color
        flags[:, 0, i] = (1, a.braking, a.reversing, a.indicator)
    return RigView(
        map_id=np.array([map_id]),
        ego_pose=np.array([[*pose, 0.0][:4]], dtype=np.float64),
        boxes=boxes,
        box_valid=flags[0] > 0,
        box_color=color,
        box_kind=kind,
        signal_state=np.array([signal]),
        texture_seed=np.array([seed]),
        box_braking=flags[1] > 0,
        box_reversing=flags[2] > 0,
        box_indicator=flags[3],
        **{name: np.array([value]) for name, value in more.items()},
    )


def in_weather(view: RigView, weather: Mapping[str, float]) -> RigView:
    """The same view in another weather (fields of ``RigView``)."""
    count = len(view.map_id)
    values: dict[str, Any] = {}
    for name, value in weather.items():
        shape = (count, 1) if name in ("dead", "dirty", "turned_deg") else (count,)
        values[name] = np.full(shape, value)
    return replace(view, **values)


def weather_sheet(
    rig: Rig, views: Mapping[str, RigView], weathers: Mapping[str, Mapping[str, float]] = WEATHERS
) -> U8:
    """uint8 [H, W, 3]: a row for every view (its first row), a column for every weather, of the
    rig's first camera."""
    rows = []
    for view in views.values():
        images = [rig.draw(in_weather(view.rows([0]), w))[0, 0] for w in weathers.values()]
        rows.append(
            [_titled(image, f"{title}") for title, image in zip(weathers, images, strict=True)]
        )
    return _tiled(rows)


def rig_sheet(atlas: MapAtlas, views: Mapping[str, RigView], rigs: Mapping[str, RigConfig]) -> U8:
    """uint8 [H, W, 3]: a row for every rig and view, its cameras side by side, of one height."""
    rows = []
    height = max(config.height_px for config in rigs.values())
    for title, config in rigs.items():
        rig = Rig(config, atlas)
        for scene, view in views.items():
            images = rig.draw(view.rows([0]))[0]
            rows.append(
                [
                    _titled(_scaled(image, height), f"{title}: {camera.name}, {scene}")
                    for camera, image in zip(config.cameras, images, strict=True)
                ]
            )
    return _tiled(rows)


def _scaled(image: U8, height: int) -> U8:
    import cv2

    size = (round(image.shape[1] * height / image.shape[0]), height)
    scaled: U8 = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    return scaled


def _titled(image: U8, title: str) -> U8:
    import cv2

    bar = np.full((_TITLE_PX, image.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(
        bar, title, (4, _TITLE_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA
    )
    return np.concatenate([bar, image])


def _tiled(rows: Sequence[Sequence[U8]]) -> U8:
    """Pictures in rows on white, each row as high as its highest."""
    lines = []
    for row in rows:
        parts = []
        height = max(image.shape[0] for image in row)
        for image in row:
            low = height - image.shape[0]
            parts.append(np.pad(image, ((0, low), (0, _GAP_PX), (0, 0)), constant_values=255))
        lines.append(np.concatenate(parts, axis=1))
    width = max(line.shape[1] for line in lines)
    return np.concatenate(
        [
            np.pad(line, ((0, _GAP_PX), (0, width - line.shape[1]), (0, 0)), constant_values=255)
            for line in lines
        ]
    )


_COLORS = (
    (150, 30, 30),
    (30, 60, 150),
    (200, 200, 205),
    (40, 40, 44),
    (190, 150, 40),
    (60, 110, 70),
)


def demo_views(atlas: MapAtlas) -> dict[str, RigView]:
    """A few scenes that show most of what can be drawn."""
    return {
        "highway": _highway(atlas),
        "junction": _junction(atlas),
        "street": _street(atlas),
        "crest": _crest(atlas),
    }


def _on_lane(
    atlas: MapAtlas, map_id: int, path: str, s: float, d: float = 0.0
) -> tuple[float, float, float, float]:
    """x, y, heading and z of a point of a path."""
    number = atlas.path_index(map_id, path)
    x, y, heading, _ = (float(v) for v in atlas.pose(map_id, number, s, d))
    return x, y, heading, float(atlas.elevation(map_id, number, s))


def _highway(atlas: MapAtlas) -> RigView:
    map_id = atlas.add(RoadSpec("straight", lanes=3, oncoming_lanes=1))
    actors = [
        Seen("car", 64.0, 3.5, 0.0, _COLORS[0], braking=True, indicator=1),
        Seen("truck", 75.0, 7.0, 0.0, _COLORS[2]),
        Seen("bus", 80.0, 0.0, 0.0, _COLORS[4], indicator=-1),
        Seen("van", 97.0, 3.5, 0.0, _COLORS[1]),
        Seen("car", 70.0, 10.5, np.pi, _COLORS[2]),
        Seen("motorcycle", 60.0, 6.6, 0.0, _COLORS[3]),
        Seen("pedestrian", 66.0, -2.7, 1.5, _COLORS[5]),
        Seen("cone", 60.0, 1.4, 0.0, (240, 110, 20)),
        Seen("barrier", 72.0, -5.0, 0.0, (214, 40, 40)),
        Seen("animal", 78.0, -4.5, 1.2, (124, 86, 52)),
    ]
    return view_of(map_id, (50.0, 3.5, 0.0), actors, seed=5, time_s=2.0)


def _junction(atlas: MapAtlas) -> RigView:
    map_id = atlas.add(RoadSpec("junction", lanes=1, oncoming_lanes=1))
    path = "south_north"
    x, y, heading, _ = _on_lane(atlas, map_id, path, 98.0)
    actors = []
    for kind, way, s, d, color in (
        ("car", "south_north", 112.0, 0.0, _COLORS[1]),
        ("cyclist", "south_north", 106.5, -1.9, _COLORS[4]),
        ("van", "north_south", 100.0, 0.0, _COLORS[2]),
        ("car", "west_east", 128.0, 0.0, _COLORS[0]),
        ("pedestrian", "east_west", 150.0, 6.0, _COLORS[5]),
    ):
        ax, ay, ah, _ = _on_lane(atlas, map_id, way, s, d)
        actors.append(Seen(kind, ax, ay, ah, color, braking=kind == "car"))
    return view_of(map_id, (x, y, heading), actors, signal=(2, 0), seed=2, sun_heading=heading)


def _street(atlas: MapAtlas) -> RigView:
    map_id = atlas.add(RoadSpec("parking_street", lanes=1))
    road = atlas.map(map_id)
    path = road.names[0]
    x, y, heading, _ = _on_lane(atlas, map_id, path, 60.0)
    actors = []
    for kind, s, d, color, more in (
        ("car", 74.0, -2.6, _COLORS[3], {}),
        ("car", 81.0, -2.6, _COLORS[4], {"reversing": True}),
        ("van", 72.0, 2.6, _COLORS[2], {}),
        ("car", 92.0, 0.0, _COLORS[0], {"braking": True}),
        ("pedestrian", 70.0, 1.2, _COLORS[1], {}),
        ("ball", 71.0, -0.8, (240, 220, 40), {}),
    ):
        ax, ay, ah, _ = _on_lane(atlas, map_id, path, s, d)
        turn = -0.5 * np.pi if kind == "pedestrian" else 0.0
        actors.append(Seen(kind, ax, ay, ah + turn, color, **more))  # type: ignore[arg-type]
    return view_of(map_id, (x, y, heading), actors, seed=1)


def _crest(atlas: MapAtlas) -> RigView:
    map_id = atlas.add(RoadSpec("crest", lanes=2, oncoming_lanes=0, length_m=400.0, rise_m=8.0))
    road = atlas.map(map_id)
    path = road.names[0]
    samples = road.path_samples(0)
    top = float(np.argmax(samples[:, 6]))
    at = top - 60.0
    x, y, heading, z = _on_lane(atlas, map_id, path, at)
    ahead = _on_lane(atlas, map_id, path, at + 1.0)[3]
    actors = []
    for kind, s, d, color in (
        ("car", top - 28.0, 0.0, _COLORS[0]),
        ("truck", top + 12.0, 3.5, _COLORS[2]),
        ("car", top + 40.0, 0.0, _COLORS[1]),
    ):
        ax, ay, ah, az = _on_lane(atlas, map_id, path, s, d)
        actors.append(Seen(kind, ax, ay, ah, color, base_z=az))
    pitch = float(np.arctan(ahead - z))
    return view_of(map_id, (x, y, heading, z), actors, seed=9, ego_pitch=pitch)
