"""Which lanes an actor drives one after the other, and how it changes from one to another.

At the end of a lane it goes on to one of the successors, drawn by a counter-based stream: the way
ahead is known as far as anyone cares to look, without being stored.
"""

from __future__ import annotations

from typing import Any

from alpamayo.streams import STREAM_TRAFFIC
from sim.actors.shift import begin_shift
from sim.draws import uniform
from sim.kernels import kernel
from sim.roads import lookup
from sim.state import IDM, SCRIPTED

LINKS = 8  # lanes of a way
LOOK_M = 150.0  # a way covers at least this, unless it ends or has LINKS lanes
DRAWS_PER_ACTOR = 4096
BESIDE_M = 40.0  # farther off than this, a look-up says "not beside"
PARALLEL_RAD = 0.4


@kernel
def draw(w: Any, slot: int, count: int) -> float:
    """Random number ``count`` of the actor in ``slot``, in (0, 1)."""
    counter = slot * DRAWS_PER_ACTOR + count % DRAWS_PER_ACTOR
    return uniform(w.seed, STREAM_TRAFFIC, counter)


@kernel
def choose_next(w: Any, slot: int, hops: int, path: int, maps: Any) -> int:
    """The lane that follows ``path`` after ``hops`` earlier choices (-1: the way ends)."""
    count = maps.lanes[lookup.lane(maps, w.map_id, path)].successor_count
    if count == 0:
        return -1
    pick = 0
    if count > 1:
        pick = min(int(draw(w, slot, hops) * count), count - 1)
    return lookup.successor(maps, w.map_id, path, pick)


@kernel
def look_ahead(
    w: Any, slot: int, hops: int, path: int, following: int, s: float, maps: Any, way: Any,
    starts: Any,
) -> int:  # fmt: skip
    """Fill ``way`` [LINKS] with the lanes from ``path`` on and ``starts`` [LINKS] with the arc
    length at which each begins, measured from the start of ``path``; returns how many.
    ``following``: the lane after ``path`` (-1: not chosen yet)."""
    way[0] = path
    starts[0] = 0.0
    count = 1
    end = maps.lanes[lookup.lane(maps, w.map_id, path)].length_m
    while count < LINKS and end - s < LOOK_M:
        if count > 1 or following < 0:
            following = choose_next(w, slot, hops + count - 1, path, maps)
        if following < 0:
            break
        path = following
        way[count] = path
        starts[count] = end
        end += maps.lanes[lookup.lane(maps, w.map_id, path)].length_m
        count += 1
    return count


@kernel
def follows_lanes(actor: Any) -> bool:
    """Whether the actor goes on to the next lane at the end of its own."""
    return actor.behaviour == IDM or actor.behaviour == SCRIPTED


@kernel
def pass_on(w: Any, a: Any, i: int, maps: Any) -> bool:
    """Hand actor ``i`` over to the next lane if it has passed the end of its own; False: there is
    none, the actor has left the map. Whoever backs over the start of its lane has left it too."""
    lane = maps.lanes[lookup.lane(maps, w.map_id, a[i].path)]
    if a[i].v < 0.0:
        return a[i].s >= 0.0
    if not (a[i].v > 0.0 and a[i].s > lane.length_m):
        return True
    following = -1
    if follows_lanes(a[i]):
        following = a[i].next_path
        if following < 0:
            following = choose_next(w, i, a[i].hops, a[i].path, maps)
    if following < 0:
        return False
    fresh = maps.lanes[lookup.lane(maps, w.map_id, following)]
    a[i].s -= lane.length_m
    a[i].path = following
    a[i].hops += 1
    a[i].next_path = choose_next(w, i, a[i].hops, following, maps)
    if a[i].respawns and lane.speed_limit > 0.0 and fresh.speed_limit > 0.0:
        a[i].desired *= fresh.speed_limit / lane.speed_limit
    return True


@kernel
def beside(w: Any, a: Any, i: int, target: int, maps: Any) -> tuple[float, float, float]:
    """Actor ``i`` in the frame of the neighbouring lane ``target``: s, d and the heading of its
    lane minus that of ``target``. d is huge where the two do not run side by side."""
    s, d, turn = lookup.between(maps, w.map_id, target, a[i].path, a[i].s, a[i].d)
    length_m = maps.lanes[lookup.lane(maps, w.map_id, target)].length_m
    if abs(turn) > PARALLEL_RAD or s < 0.0 or s > length_m:
        d = 1e3
    return s, d, turn


@kernel
def switch_lane(w: Any, a: Any, i: int, target: int, rate_mps: float, maps: Any) -> bool:
    """Actor ``i`` belongs to lane ``target`` at once and moves over to its middle at
    ``rate_mps``; False (and nothing done) if the lane is not beside it."""
    s, d, turn = beside(w, a, i, target, maps)
    if abs(d) > BESIDE_M:
        return False
    a[i].path = target
    a[i].s = s
    a[i].d = d
    a[i].turn += turn
    a[i].next_path = choose_next(w, i, a[i].hops, target, maps)
    begin_shift(a, i, 0.0, rate_mps)
    return True


@kernel
def neighbour(w: Any, a: Any, i: int, direction: int, maps: Any) -> int:
    """The lane to the left (``direction`` 1) or right (-1) of actor ``i`` (-1: none)."""
    lane = maps.lanes[lookup.lane(maps, w.map_id, a[i].path)]
    return lane.left if direction > 0 else lane.right


@kernel
def change_lane(w: Any, a: Any, i: int, direction: int, maps: Any, rate_mps: float) -> bool:
    """Actor ``i`` changes to the lane on its left (``direction`` 1) or right (-1), whoever is
    there; False if there is none."""
    target = neighbour(w, a, i, direction, maps)
    if target < 0:
        return False
    return switch_lane(w, a, i, target, rate_mps, maps)
