"""What traffic decides in a tick: how hard to accelerate or brake, and whether to change lanes."""

from __future__ import annotations

import math
from typing import Any

from sim.actors.bodies import gather
from sim.actors.idm import acceleration, brake_scale, interaction
from sim.actors.leaders import merge_point, strongest
from sim.actors.mobil import consider, room_to_end
from sim.actors.priority import STOP_LINE_SLACK_M, count_waiting, room_to_stop
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.meetings import HAS_END, HAS_TURN
from sim.state import IDM

BEND_BRAKE_MPS2 = 1.5
INDICATE_M, INDICATE_S = 30.0, 3.0  # before a turn


@kernel
def decide(
    w: Any, a: Any, accel: Any, bodies: Any, maps: Any, p: Any, shown_a: int, shown_b: int
) -> None:
    """Write the acceleration (m/s2) of every present IDM actor into ``accel`` [A], and begin lane
    changes. ``bodies`` (of ``bodies.scratch``) is scratch; ``shown_a``, ``shown_b``: states of the
    two signal groups."""
    if not _any_driver(w, a):
        return
    gather(w, a, maps, bodies)
    for k in range(1, bodies.count[0]):
        i = bodies.slot[k]
        if a[i].behaviour == IDM:
            accel[i] = wish(w, a, k, maps, bodies, shown_a, shown_b)
            a[i].turn_lamp = _turn_ahead(w, a, k, maps, bodies)
    for k in range(1, bodies.count[0]):
        i = bodies.slot[k]
        if a[i].behaviour != IDM:
            continue
        count_waiting(a, k, bodies, p.tick_s)
        if a[i].changes_lanes:
            consider(w, a, k, maps, bodies, p.tick_s)


@kernel
def _any_driver(w: Any, a: Any) -> bool:
    drivers = 0
    for i in range(w.actor_count):
        drivers += a[i].present and a[i].behaviour == IDM
    return drivers > 0


@kernel
def wish(w: Any, a: Any, k: int, maps: Any, bodies: Any, shown_a: int, shown_b: int) -> float:
    """Acceleration of the actor in row ``k``."""
    i = bodies.slot[k]
    v, headway, min_gap = a[i].v, a[i].headway, a[i].min_gap
    scale = brake_scale(a[i].max_accel, a[i].comfort_brake)
    pressing = strongest(w, a, k, maps, bodies)
    stop = room_to_stop(w, a, k, maps, bodies, shown_a, shown_b)
    if not math.isinf(stop):
        halted = interaction(v, stop + STOP_LINE_SLACK_M, v, headway, min_gap, scale)
        pressing = max(pressing, halted)
    end = math.inf
    if bodies.features[k] & HAS_END:
        end = room_to_end(w, maps, bodies.way[k], bodies.starts[k], bodies.links[k], a[i].s)
    # A lane whose line runs on into the next one is left there, giving way; else it is a wall.
    if not math.isinf(end) and math.isinf(merge_point(w, k, maps, bodies)):
        room = max(end - 0.5 * a[i].length, 0.0)
        pressing = max(pressing, interaction(v, room, v, headway, min_gap, scale))
    desired = _bend_speed(w, k, maps, bodies, a[i].s, a[i].desired)
    return acceleration(v, desired, pressing, a[i].max_accel)


@kernel
def _turn_ahead(w: Any, a: Any, k: int, maps: Any, bodies: Any) -> int:
    """The side (1 left, -1 right, 0 none) to which the actor in row ``k`` is about to turn off, or
    is turning."""
    if bodies.features[k] & HAS_TURN == 0:
        return 0
    i = bodies.slot[k]
    sight = max(INDICATE_M, INDICATE_S * a[i].v)
    for link in range(bodies.links[k]):
        lane = maps.lanes[lookup.lane(maps, w.map_id, bodies.way[k, link])]
        start = bodies.starts[k, link] - a[i].s
        if start > sight:
            break
        if lane.turn != 0 and start + lane.turn_from < sight and start + lane.turn_to > 0.0:
            return lane.turn
    return 0


@kernel
def _bend_speed(w: Any, k: int, maps: Any, bodies: Any, s: float, desired: float) -> float:
    """``desired`` speed, or less if that is comfortable in the bends of this lane and the next
    ones."""
    speed = min(desired, lookup.bend_speed(maps, w.map_id, bodies.way[k, 0], s))
    for link in range(1, bodies.links[k]):
        braked = 2.0 * BEND_BRAKE_MPS2 * max(bodies.starts[k, link] - s, 0.0)
        if braked >= speed * speed:
            break  # no bend is so narrow that braking for it would have to begin here
        entry = lookup.bend_speed(maps, w.map_id, bodies.way[k, link], 0.0)
        speed = min(speed, math.sqrt(entry * entry + braked))
    return speed
