"""Draw the pictures of docs/simulator.md again.

.venv/bin/python docs/make_pictures.py [--maps FOLDER]    FOLDER holds OpenDRIVE files (*.xodr)
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from alpamayo.types import EgoSpec, RoadSpec, Scenario, SignalPlan, TrafficSpec
from sim.config import RigConfig, SimConfig
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


def titled(image: Any, title: str, width: int, height: int | None = None) -> Any:
    """``image`` shrunk to fit, on white, with a line above."""
    scale = min(1.0, width / image.shape[1], (height or 10**6) / image.shape[0])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.full(((height or small.shape[0]) + TITLE_PX, width, 3), 255, dtype=np.uint8)
    tile[TITLE_PX : TITLE_PX + small.shape[0], : small.shape[1]] = small
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(tile, title, (4, 20), font, 0.55, (20, 20, 20), 1, cv2.LINE_AA)
    return tile


def save(name: str, image: Any) -> None:
    path = IMAGES / name
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=Path, help="folder with OpenDRIVE files")
    args = parser.parse_args()
    save("roads.png", roads())
    save("sensors.png", sensors())
    if args.maps:
        save("opendrive.png", opendrive(sorted(args.maps.rglob("*.xodr"))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
