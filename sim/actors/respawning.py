"""Background vehicles that have left the map enter it again elsewhere.

Those that are stuck in a gridlock leave where the ego does not see it, as vehicles do that SUMO
teleports (sumo.dlr.de, "Why Vehicles are teleporting").

Now and then one draws a few lanes; it enters at the start of the first where there is room, and
stays absent if there is none. Starts without a lane before them are the edge of the map. Where
there is no such lane, it appears out of nowhere, so only far from the ego.
"""

from __future__ import annotations

import math
from typing import Any

from sim.actors.lanes import choose_next, draw
from sim.actors.posing import pose_on_path
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.maps import DRIVING
from sim.state import IDM

TRIES = 4
LOOK_EVERY_S = 1.0
STUCK_S = 45.0
ENTRY_CLEAR_M = 25.0  # to the middle of anyone
OUT_OF_SIGHT_M = 100.0
FOLLOW_M = 60.0  # enters no faster than whoever is this close ahead


@kernel
def is_stuck(w: Any, actor: Any) -> bool:
    """Whether a background vehicle has stood too long away from any line, out of sight."""
    if not actor.respawns or actor.waited_s > -STUCK_S:
        return False
    return math.hypot(w.x - actor.ax, w.y - actor.ay) > OUT_OF_SIGHT_M


@kernel
def enter(w: Any, a: Any, i: int, maps: Any, tick_s: float) -> None:
    """Let absent vehicle ``i`` enter the map if there is room; it looks every ``LOOK_EVERY_S``."""
    a[i].change_cooldown_s -= tick_s
    if a[i].change_cooldown_s > 0.0:
        return
    a[i].change_cooldown_s = LOOK_EVERY_S
    lanes = maps.maps[w.map_id].lane_count
    for _ in range(TRIES):
        path = min(int(draw(w, i, a[i].hops) * lanes), lanes - 1)
        a[i].hops += 1
        lane = maps.lanes[lookup.lane(maps, w.map_id, path)]
        inside = lane.junction >= 0 and lane.predecessor_count > 0
        if lane.kind != DRIVING or inside or lane.ends_m < lane.length_m:
            continue
        if lane.length_m < a[i].length:
            continue
        s = 0.5 * a[i].length
        x, y, _, _ = lookup.pose(maps, w.map_id, path, s, 0.0)
        far = OUT_OF_SIGHT_M if lane.predecessor_count > 0 else ENTRY_CLEAR_M
        if math.hypot(w.x - x, w.y - y) < far:
            continue
        speed = _entry_speed(w, a, i, x, y)
        if speed >= 0.0:
            desired = a[i].desired
            speed = min(min(speed, desired), lookup.bend_speed(maps, w.map_id, path, s))
            _appear(w, a, i, path, s, speed, maps)
            return


@kernel
def _entry_speed(w: Any, a: Any, i: int, x: float, y: float) -> float:
    """The speed at which one can enter at (x, y) without running into those around (-1: there is
    no room)."""
    speed = math.inf
    if math.hypot(w.x - x, w.y - y) < FOLLOW_M:
        speed = w.speed
    for j in range(w.actor_count):
        if j == i or not a[j].present:
            continue
        away = math.hypot(a[j].ax - x, a[j].ay - y)
        if away < ENTRY_CLEAR_M:
            return -1.0
        if away < FOLLOW_M:
            speed = min(speed, math.hypot(a[j].v, a[j].vd))
    return speed


@kernel
def _appear(w: Any, a: Any, i: int, path: int, s: float, speed: float, maps: Any) -> None:
    a[i].present = True
    a[i].behaviour = IDM
    a[i].path = path
    a[i].next_path = choose_next(w, i, a[i].hops, path, maps)
    a[i].s, a[i].d, a[i].v, a[i].vd, a[i].turn = s, 0.0, speed, 0.0, 0.0
    a[i].actor_accel = 0.0
    a[i].shift_s, a[i].shift_clock, a[i].shift_to = 0.0, 0.0, 0.0
    a[i].indicator, a[i].waited_s, a[i].change_cooldown_s = 0, 0.0, 0.0
    pose_on_path(w, a, i, maps)
