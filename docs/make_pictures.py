"""Draw the pictures of docs/simulator.md again.

.venv/bin/python docs/make_pictures.py [--families] [--maps FOLDER]    FOLDER holds *.xodr files
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alpamayo.types import EgoSpec, RoadSpec, Scenario, SignalPlan, TrafficSpec, Weather
from scenarios.catalog import list_documents
from scenarios.families import FAMILIES, family_of
from scenarios.sample import sample
from scenarios.schema import ScenarioDocument
from sim.config import RigConfig, SimConfig, alpamayo_rig
from sim.roads.atlas import shared_roads
from sim.roads.picture import top_view
from sim.sensors import sheet
from sim.world import WorldBatch

IMAGES = Path(__file__).parent / "images"
ROADS = (
    (RoadSpec("s_curve", lanes=2, oncoming_lanes=1, length_m=320.0, radius_m=80.0), 3.0),
    (RoadSpec("exit", lanes=2, length_m=320.0), 3.5),
    (RoadSpec("lane_drop", lanes=3, oncoming_lanes=1, length_m=320.0), 3.5),
    (RoadSpec("parking_street", lanes=1, length_m=200.0), 5.0),
    (RoadSpec("crest", lanes=2, oncoming_lanes=2, length_m=320.0, rise_m=5.0), 3.5),
    (RoadSpec("t_junction", lanes=1, oncoming_lanes=1), 6.0),
    (RoadSpec("roundabout", lanes=1, oncoming_lanes=1), 6.0),
)
SQUARE = ("t_junction", "roundabout")
WIDTH_PX, TILE_PX, TITLE_PX = 1400, 690, 28
TRAFFIC_S, VEHICLES = 60.0, 30
CELL_PX = (128, 72)
BEFORE_END_S, LONGEST_S = 1.6, 16.0  # when to look: shortly before it ends for who just drives on


def titled(
    image: Any, title: str, width: int, height: int | None = None, small: bool = False
) -> Any:
    """``image`` shrunk to fit, on white, with a line above."""
    title_px, size = (14, 0.33) if small else (TITLE_PX, 0.55)
    scale = min(1.0, width / image.shape[1], (height or 10**6) / image.shape[0])
    shrunk = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full(((height or shrunk.shape[0]) + title_px, width, 3), 255, dtype=np.uint8)
    tile[title_px : title_px + shrunk.shape[0], : shrunk.shape[1]] = shrunk
    font, baseline = cv2.FONT_HERSHEY_SIMPLEX, round(0.71 * title_px)
    cv2.putText(tile, title, (2, baseline), font, size, (20, 20, 20), 1, cv2.LINE_AA)
    return tile


def save(name: str, image: Any) -> None:
    path = IMAGES / name
    png = path.suffix == ".png"
    options = [cv2.IMWRITE_PNG_COMPRESSION, 9] if png else [cv2.IMWRITE_JPEG_QUALITY, 78]
    cv2.imwrite(str(path), image[..., ::-1], options)
    print(f"{path}  {image.shape[1]} x {image.shape[0]}")


def roads() -> Any:
    atlas, rows, squares = shared_roads(), [], []
    for spec, px_per_m in ROADS:
        image = top_view(atlas.map(atlas.add(spec)), px_per_m)
        if spec.kind in SQUARE:
            y, x, half = image.shape[0] // 2, image.shape[1] // 2, 345
            y = 345 if spec.kind == "t_junction" else y
            image = image[max(y - half, 0) : y + half, max(x - half, 0) : x + half]
            squares.append(titled(image, spec.kind, TILE_PX, TILE_PX))
        else:
            rows.append(titled(image, spec.kind, WIDTH_PX))
    gap = np.full((len(squares[0]), WIDTH_PX - 2 * TILE_PX, 3), 255, dtype=np.uint8)
    rows.append(np.concatenate([squares[0], gap, squares[1]], axis=1))
    return np.concatenate(rows)


def after_traffic(file: Path) -> Any:
    """The map from above with its vehicles after ``TRAFFIC_S`` of traffic."""
    atlas, spec = shared_roads(), RoadSpec("opendrive", file=str(file))
    road = atlas.map(atlas.add(spec))
    driving = np.flatnonzero(road.lanes["kind"] == 0)
    lane = int(driving[np.argmax(road.lanes["length_m"][driving])])
    scenario = Scenario(
        file.stem, "traffic", True, 1, spec,
        EgoSpec(road.names[lane], s_m=1.0, speed_mps=8.0),
        signals=SignalPlan(),
        duration_s=1e6,
        traffic=TrafficSpec(VEHICLES, within_m=2000.0),
    )  # fmt: skip
    worlds = WorldBatch([scenario], SimConfig(rig=None))
    for _ in range(round(TRAFFIC_S / worlds.config.decision_s)):
        worlds.step(np.zeros((1, worlds.config.plan_steps, 2)))
    corners = np.concatenate([surface[:, :2] for surface in road.surfaces])
    px_per_m = min(6.0, 2.0 * TILE_PX / float(np.ptp(corners, axis=0).max()))
    scene = worlds.scene(0)
    boxes = scene.boxes.copy()
    boxes[:, 3:5] *= max(1.0, 3.0 / px_per_m)  # else they vanish on a large map
    return top_view(road, px_per_m, boxes, np.full((len(boxes), 3), (255, 60, 40)))


def opendrive(files: list[Path]) -> Any:
    tiles = [titled(after_traffic(f), f.stem, TILE_PX, TILE_PX // 2) for f in files]
    if len(tiles) % 2:
        tiles.append(np.full_like(tiles[0], 255))
    gap = np.full((len(tiles[0]), WIDTH_PX - 2 * TILE_PX, 3), 255, dtype=np.uint8)
    pairs = zip(tiles[::2], tiles[1::2], strict=True)
    return np.concatenate([np.concatenate([a, gap, b], axis=1) for a, b in pairs])


def sensors() -> Any:
    """Some scenes in every weather, then the cameras of every rig in one of them."""
    atlas = shared_roads()
    views = sheet.demo_views(atlas)
    front = sheet.Rig(RigConfig(256, 144, frames=1, supersample=1), atlas)
    first = next(iter(views))
    parts = [
        sheet.weather_sheet(front, views),
        sheet.rig_sheet(atlas, {first: views[first]}, sheet.RIGS),
    ]
    return np.concatenate([titled(part, "", WIDTH_PX)[TITLE_PX:] for part in parts])


def family_dangers() -> list[ScenarioDocument]:
    """One danger of every family, in the order of the table."""
    dangers = [d for d in list_documents() if not d.nominal]
    found = []
    for family in FAMILIES:
        own = [d for d in dangers if family_of(d.family) == family]
        own.sort(key=lambda d: (d.id != family.id, d.id))
        found += own[:1]
    return found


def in_weather(scenario: Scenario, looks: dict[str, float]) -> Scenario:
    """The scene in another weather, on the same ground; only faults of all cameras stay."""
    air = {name: looks[name] for name in ("fog_m", "rain", "snow", "glare") if name in looks}
    ground = {"friction": scenario.weather.friction, "patches": scenario.weather.patches}
    faults = tuple(f for f in scenario.faults if f.camera == "all")
    light = looks.get("light", 1.0)
    return replace(scenario, weather=Weather(**air, **ground), light=light, faults=faults)


def drive_on(worlds: WorldBatch, decisions: int) -> int:
    """Keep speed and lane for at most ``decisions``, or until the first world has ended; returns
    how many it were."""
    for done in range(decisions):
        if not worlds.running[0]:
            return done
        worlds.step(np.zeros((worlds.num_worlds, worlds.config.plan_steps, 2)))
    return decisions


def family_row(document: ScenarioDocument, number: int) -> list[Any]:
    """Front-wide camera in every weather, then the other cameras in one of them (in turn)."""
    scenario = sample(document, 0)
    plain = SimConfig(rig=None)
    length = drive_on(WorldBatch([scenario], plain), round(LONGEST_S / plain.decision_s))
    looks = {name: w for name, w in sheet.WEATHERS.items() if "dirty" not in w}
    config = SimConfig(rig=alpamayo_rig(*CELL_PX, frames=1))
    worlds = WorldBatch([in_weather(scenario, w) for w in looks.values()], config)
    drive_on(worlds, max(0, length - round(BEFORE_END_S / config.decision_s)))
    frames = worlds.observe().frames  # [weathers, cameras, H, W, 3]
    names = [camera.name for camera in config.rig.cameras]
    front, turn = names.index("front_wide"), number % len(looks)
    cells = [
        titled(f[front], w if i else document.id, CELL_PX[0], small=True)
        for i, (w, f) in enumerate(zip(looks, frames, strict=True))
    ]
    weather = list(looks)[turn]
    for camera, name in enumerate(names):
        if camera != front:
            title = f"{name}, {weather}"
            cells.append(titled(frames[turn, camera], title, CELL_PX[0], small=True))
    return cells


def families() -> Any:
    """Families (rows) by weather and camera (columns)."""
    rows = [family_row(document, i) for i, document in enumerate(family_dangers())]
    gap = np.full((len(rows[0][0]), 3, 3), 255, dtype=np.uint8)
    lines = [np.concatenate([part for cell in row for part in (cell, gap)], axis=1) for row in rows]
    return np.concatenate(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=Path, help="folder with OpenDRIVE files")
    parser.add_argument("--families", action="store_true", help="only the sheet of families")
    args = parser.parse_args()
    save("families.jpg", families())
    if args.families:
        return 0
    save("roads.png", roads())
    save("sensors.png", sensors())
    if args.maps:
        save("opendrive.png", opendrive(sorted(args.maps.rglob("*.xodr"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
