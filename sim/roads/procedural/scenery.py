"""Buildings and trees beside a road, the same ones every time for the same road."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alpamayo.streams import keys, uniform
from alpamayo.types import RoadSpec
from sim.roads.layout import Layout, Scenery
from sim.roads.lines import F64, Line

CLEAR_M = 1.0  # from any surface or pavement
MOST = 40
_STREAM = 1000  # far from the numbers in ``alpamayo.streams``
_WALLS = ((150, 120, 100), (172, 160, 140), (128, 96, 84), (186, 178, 168), (140, 138, 134))
_LEAVES = ((48, 88, 40), (62, 104, 46), (40, 76, 44), (84, 108, 52))


@dataclass(frozen=True)
class Frontage:
    """Where scenery may stand: along ``line``, its near face ``edge_m`` left of it or farther
    (negative: right)."""

    line: Line
    edge_m: float
    start_m: float
    end_m: float


def road_seed(spec: RoadSpec) -> int:
    """A small hash of the numbers of a road."""
    numbers = (spec.lanes, spec.oncoming_lanes, spec.lane_width_m, spec.length_m, spec.radius_m)
    return zlib.crc32(f"{spec.kind} {' '.join(f'{float(n):.6g}' for n in numbers)}".encode())


def draws(seed: int, place: int) -> F64:
    """Numbers [8] in (0, 1) that look random."""
    return uniform(keys(seed, _STREAM, place), 8)


def add_scenery(
    out: Layout,
    seed: int,
    frontages: Sequence[Frontage],
    every_m: float,
    buildings: float,
    trees: float,
) -> None:
    """Walk along the frontages and put a building, a tree or nothing about every ``every_m``.

    ``buildings`` and ``trees`` are the shares of each. What would stand within ``CLEAR_M`` of a
    surface or a pavement, or in something else, is left out; so is all beyond ``MOST`` items.
    Call it last: it looks at the surfaces that are there.
    """
    place = 0
    for frontage in frontages:
        s = frontage.start_m + every_m * draws(seed, place)[0]
        while s < frontage.end_m and len(out.scenery) < MOST:
            place += 1
            u = draws(seed, place)
            item = _building(frontage, s, u) if u[0] < buildings else _tree(frontage, s, u)
            if u[0] < buildings + trees and _stands_free(item, out):
                out.scenery.append(item)
            s += max(every_m * (0.7 + 0.6 * u[1]), item.length + 2.0)


def _beside(frontage: Frontage, s_m: float, away_m: float) -> tuple[float, float, float, float]:
    """Position, heading and height of the place ``away_m`` behind the frontage."""
    d = frontage.edge_m + np.sign(frontage.edge_m) * away_m
    line = frontage.line
    (xy,), (heading,), _ = line.at([s_m], d)
    return float(xy[0]), float(xy[1]), float(heading), float(line.elevation_at(s_m))


def _building(frontage: Frontage, s_m: float, u: F64) -> Scenery:
    length, depth = round(8.0 + 10.0 * u[2], 1), round(6.0 + 6.0 * u[3], 1)
    height = round(4.0 + 10.0 * u[4] ** 2, 1)
    x, y, heading, z = _beside(frontage, s_m, CLEAR_M + 0.2 + 3.0 * u[5] + 0.5 * depth)
    color = _WALLS[int(len(_WALLS) * u[6])]
    return Scenery("building", x, y, heading, length, depth, height, z, color)


def _tree(frontage: Frontage, s_m: float, u: F64) -> Scenery:
    crown, height = round(2.0 + 2.5 * u[2], 1), round(4.0 + 5.0 * u[3], 1)
    x, y, heading, z = _beside(frontage, s_m, CLEAR_M + 0.2 + 2.0 * u[4] + 0.5 * crown)
    color = _LEAVES[int(len(_LEAVES) * u[5])]
    return Scenery("tree", x, y, heading, crown, crown, height, z, color)


def _stands_free(item: Scenery, out: Layout) -> bool:
    """Whether ``item`` keeps clear of all surfaces, pavements and other items."""
    reach = 0.5 * np.hypot(item.length, item.width)
    for other in out.scenery:
        apart = np.hypot(item.x - other.x, item.y - other.y)
        if apart < reach + 0.5 * np.hypot(other.length, other.width):
            return False
    points = _outline(item)
    return all(
        _distance(points, polygon[:, :2]) >= CLEAR_M for polygon in (*out.surfaces, *out.pavements)
    )


def _outline(item: Scenery) -> F64:
    """Points [n, 2] at most a metre apart around the box of ``item``."""
    half = 0.5 * np.array([item.length, item.width])
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    at = np.linspace(0.0, s[-1], int(np.ceil(s[-1])) + 1)
    local = np.stack([np.interp(at, s, corners[:, i]) for i in (0, 1)], axis=-1)
    cos, sin = np.cos(item.heading), np.sin(item.heading)
    return local @ np.array([[cos, sin], [-sin, cos]]) + [item.x, item.y]


def _distance(points: F64, polygon: F64) -> float:
    """Smallest distance of ``points`` [n, 2] to ``polygon`` [m, 2]; 0 if one lies inside."""
    first, last = polygon, np.roll(polygon, -1, axis=0)
    edge = last - first
    offset = points[:, None] - first[None]
    squared = np.maximum((edge * edge).sum(-1), 1e-12)
    along = np.clip((offset * edge).sum(-1) / squared, 0.0, 1.0)
    away = offset - along[..., None] * edge
    # Crossings of the ray to the right of each point; an odd number means inside.
    above = (first[:, 1] > points[:, 1:]) != (last[:, 1] > points[:, 1:])
    rise = np.where(edge[:, 1] == 0.0, 1.0, edge[:, 1])
    at = first[:, 0] + (points[:, 1:] - first[:, 1]) * edge[:, 0] / rise
    inside = (above & (at > points[:, :1])).sum(axis=1) % 2 == 1
    return 0.0 if inside.any() else float(np.sqrt((away * away).sum(-1).min()))
