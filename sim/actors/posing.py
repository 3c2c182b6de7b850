"""World poses of actors, from their path coordinates."""

from __future__ import annotations

import math
from typing import Any

from sim.kernels import kernel
from sim.roads import lookup

LOST_M = 0.5  # a projection that ends up farther off than this has found the wrong place
ASTRAY_M = 12.0  # whoever is farther beside its path than this looks for a nearer one


@kernel
def wrapped(angle: float) -> float:
    """The same angle between -pi and pi."""
    return math.atan2(math.sin(angle), math.cos(angle))


@kernel
def set_pose(a: Any, i: int, x: float, y: float, heading: float) -> None:
    a[i].ax = x
    a[i].ay = y
    a[i].aheading = heading
    a[i].cos_h = math.cos(heading)
    a[i].sin_h = math.sin(heading)


@kernel
def pose_on_path(w: Any, a: Any, i: int, maps: Any) -> None:
    """The pose that follows from ``path``, ``s``, ``d`` and ``turn``."""
    x, y, heading, _ = lookup.pose(maps, w.map_id, a[i].path, a[i].s, a[i].d)
    set_pose(a, i, x, y, heading + a[i].turn)
    a[i].base_z = lookup.elevation(maps, w.map_id, a[i].path, a[i].s)


@kernel
def settle_on_path(w: Any, a: Any, i: int, maps: Any, s_hint: float) -> None:
    """Path coordinates (``s``, ``d``, ``turn``, ``base_z``) of an actor whose world pose is known:
    on its path if it is near ``s_hint`` there, else on the nearest lane."""
    path, hint = a[i].path, s_hint
    s, d = lookup.project(maps, w.map_id, path, a[i].ax, a[i].ay, hint)
    x, y, heading, _ = lookup.pose(maps, w.map_id, path, s, d)
    lane = maps.lanes[lookup.lane(maps, w.map_id, path)]
    lost = math.hypot(x - a[i].ax, y - a[i].ay) > LOST_M
    if lost or abs(d) > ASTRAY_M or s < 0.0 or s > lane.length_m:
        _, _, path, hint = lookup.nearest_lane(maps, w.map_id, a[i].ax, a[i].ay)
        s, d = lookup.project(maps, w.map_id, path, a[i].ax, a[i].ay, hint)
        _, _, heading, _ = lookup.pose(maps, w.map_id, path, s, d)
    a[i].path = path
    a[i].s = s
    a[i].d = d
    a[i].turn = wrapped(a[i].aheading - heading)
    a[i].base_z = lookup.elevation(maps, w.map_id, path, s)
