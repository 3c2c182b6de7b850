"""Objects beside and on the road: crossings, signs, and scenery that hides what is behind it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import cv2
import numpy as np

from sim.roads.layout import Layout, Scenery
from sim.roads.lines import F64
from sim.roads.maps import Marking, SceneryKind
from sim.roads.opendrive.model import Network, Road
from sim.roads.opendrive.signals import place
from sim.roads.opendrive.source import Node

# By words of the object's type or name: kind, size (length, width, height) where the file tells
# none, colour.
SCENERY: tuple[tuple[str, SceneryKind, tuple[float, float, float], tuple[int, int, int]], ...] = (
    (r"building|house|wall|gantry", "building", (10.0, 10.0, 8.0), (150, 140, 128)),
    (r"tree|vegetation|bush|hedge", "tree", (3.0, 3.0, 6.0), (62, 98, 54)),
    (r"\bpole|streetlamp|post\b|lamp", "building", (0.2, 0.2, 5.0), (120, 120, 122)),
    (r"^car|^van|^bus|^truck|^trailer|vehicle", "parked", (4.6, 1.9, 1.5), (110, 115, 125)),
)
LOW_M = 1.0  # what is lower hides nothing
MAX_REPEATS = 10_000


def add_objects(layout: Layout, network: Network, skipped: Counter[str]) -> None:
    """Crossings to the markings, signs to the signs, scenery to the scenery."""
    for road in network.roads.values():
        for node in road.node.all("objects", "object"):
            words = f"{node.text('type', 'none')} {node.text('name', '')}"
            if "crosswalk" in words.lower():
                layout.markings.append(_crosswalk(road, node))
            elif speed := re.search(r"speed[_ ]?(?:limit[_ ]?)?(\d{1,3})", words, re.I):
                x, y, heading = place(road, node.number("s"), node.number("t"))
                if node.text("orientation", "none") != "-":
                    heading += np.pi
                facing = float(np.angle(np.exp(1j * heading)))
                layout.signs.append((x, y, facing, f"speed_{int(speed[1])}"))
            else:
                boxes = [*_scenery(road, node, words)]
                layout.scenery += boxes
                if not boxes:
                    skipped[f"road/objects/object ({node.text('type', 'none')[:40]})"] += 1


def _frame(road: Road, node: Node, s_m: float, t_m: float) -> tuple[F64, float]:
    """Place [3] and heading of an object."""
    x, y, heading = place(road, s_m, t_m)
    z = float(road.elevation.at(np.array([s_m]))[0][0])
    return np.array([x, y, z + node.number("zOffset", 0.0)]), heading + node.number("hdg", 0.0)


def _outline(road: Road, node: Node) -> tuple[F64, float] | None:
    """Corners [n, 2] of an object's outline and its height; None without an outline."""
    outline = node.first("outline") or node.first("outlines", "outline")
    if outline is None:
        return None
    origin, heading = _frame(road, node, node.number("s"), node.number("t"))
    cos, sin = np.cos(heading), np.sin(heading)
    corners, height_m = [], 0.0
    for corner in outline.children:
        if corner.tag == "cornerLocal":
            u, v = corner.number("u"), corner.number("v")
            corners.append((origin[0] + cos * u - sin * v, origin[1] + sin * u + cos * v))
        elif corner.tag == "cornerRoad":
            corners.append(place(road, corner.number("s"), corner.number("t"))[:2])
        height_m = max(height_m, corner.number("height", 0.0))
    if len(corners) < 2:
        return None
    return np.array(corners), height_m


def _rectangle(corners: F64) -> tuple[F64, float, float, float]:
    """Centre [2], heading, length and width of the smallest rectangle around corners [n, 2]."""
    middle = corners.mean(axis=0)  # float32 inside OpenCV: keep the numbers small
    (x, y), (length_m, width_m), degrees = cv2.minAreaRect((corners - middle).astype(np.float32))
    return middle + np.array([x, y]), float(np.radians(degrees)), float(length_m), float(width_m)


def _crosswalk(road: Road, node: Node) -> Marking:
    """The way across the road, as wide as the crossing is along it."""
    s_m, t_m = node.number("s"), node.number("t")
    outline = _outline(road, node)
    origin, heading = _frame(road, node, s_m, t_m)
    if outline is not None:
        middle, heading, length_m, width_m = _rectangle(outline[0])
    else:
        middle = origin[:2]
        length_m, width_m = _size(node, (4.0, 7.0, 0.0))[:2]
    beside = place(road, s_m, t_m)[2] + 0.5 * np.pi
    if abs(np.cos(heading - beside)) < np.sqrt(0.5):  # the other side runs across
        heading, length_m, width_m = heading + 0.5 * np.pi, width_m, length_m
    z_m = float(origin[2]) if len(road.elevation.start_m) else None
    return crossing(middle, heading, length_m, width_m, z_m)


def crossing(
    middle: F64, heading: float, length_m: float, width_m: float, z_m: float | None
) -> Marking:
    """A crossing that people walk in the direction ``heading``; ``z_m`` None on a flat road."""
    half = 0.5 * length_m * np.array([np.cos(heading), np.sin(heading)])
    points = np.stack([middle - half, middle + half])
    if z_m is not None:
        points = np.column_stack([points, np.full(2, z_m)])
    return Marking(points, "crossing", width_m)


def _size(node: Node, usual: tuple[float, float, float]) -> tuple[float, float, float]:
    """Length, width, height of an object; ``usual`` where it tells none."""
    radius = node.number("radius", 0.0, low=0.0, high=1e4)
    names = ("length", "width", "height")
    said = [node.number(name, 0.0, low=0.0, high=1e4) for name in names]
    said = [said[0] or 2.0 * radius, said[1] or 2.0 * radius, said[2]]
    length_m, width_m, height_m = (a or b for a, b in zip(said, usual, strict=True))
    return length_m, width_m, height_m


def _scenery(road: Road, node: Node, words: str) -> Iterator[Scenery]:
    """Boxes of an object, one for each repetition; none if it hides nothing."""
    found = [entry for entry in SCENERY if re.search(entry[0], words, re.I)]
    if not found:
        return
    _, kind, usual, color = found[0]
    size = _size(node, usual)
    outline = _outline(road, node)
    repeats = [*_repeats(node)]
    if outline is not None and not repeats:
        middle, heading, length_m, width_m = _rectangle(outline[0])
        z_m = float(_frame(road, node, node.number("s"), node.number("t"))[0][2])
        size = (max(length_m, 0.1), max(width_m, 0.1), outline[1] or size[2])
        if size[2] >= LOW_M:
            x, y = map(float, middle)
            yield Scenery(kind, x, y, heading, *size, z_m, color)
        return
    for s_m, t_m, height_m in repeats or [(node.number("s"), node.number("t"), 0.0)]:
        origin, heading = _frame(road, node, s_m, t_m)
        tall = height_m or size[2]
        if tall >= LOW_M:
            x, y, z = map(float, origin)
            yield Scenery(kind, x, y, heading, size[0], size[1], tall, z, color)


def _repeats(node: Node) -> Iterator[tuple[float, float, float]]:
    """(s, t, height or 0) of each copy. A distance of 0 draws one body out, which is left out."""
    for repeat in node.all("repeat"):
        start_m, length_m = repeat.number("s"), repeat.number("length", low=0.0)
        step_m = repeat.number("distance", low=0.0)
        if step_m == 0.0:
            continue
        if length_m / step_m > MAX_REPEATS:
            raise repeat.error(f"at most {MAX_REPEATS} copies", f"{length_m / step_m:.0f}")
        for i in range(int(length_m / step_m) + 1):
            share = i * step_m / length_m if length_m > 0.0 else 0.0
            t, height = (
                (1.0 - share) * repeat.number(f"{name}Start", 0.0)
                + share * repeat.number(f"{name}End", 0.0)
                for name in ("t", "height")
            )
            yield start_m + i * step_m, t, height
