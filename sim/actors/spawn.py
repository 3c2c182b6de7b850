"""Background traffic and passers-by, spread over a map when a world starts."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from alpamayo.streams import STREAM_TRAFFIC
from alpamayo.types import (
    ACTOR_KINDS,
    ACTOR_SIZES_M,
    DRIVERS,
    DriverSpec,
    FloatArray,
    RequestError,
    Scenario,
)
from sim.actors.mobil import RECHECK_S
from sim.actors.pedestrians import AIM_M
from sim.actors.posing import set_pose
from sim.draws import normal, uniform
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.atlas import MapAtlas
from sim.roads.maps import DRIVING, SIDEWALK
from sim.state import IDM, WALK

SPAWN_DRAWS = 1 << 40  # counters from here on belong to this file
DRAWS_PER_SLOT = 4096
TRIES = 60
MARGIN_M = 6.0  # to the ends of a lane
BESIDE_M = 0.8  # sideways, between the bodies of two vehicles
JUNCTION_M = (3.0, 35.0)  # nobody starts this far before ... behind a stop line
BEFORE_DROP_M = 40.0
ARRIVAL_BRAKE_MPS2 = 2.5  # at the start everyone can still brake for a stop line with this
WALK_MPS, WALK_SPREAD_MPS = 1.34, 0.26  # Helbing & Molnar 1995, section III
WALK_LEAST_MPS, WALK_MOST_MPS = 0.7, 2.0
OFF_ROAD_M = 0.5  # passers-by keep this far from the road
ASIDE_STEP_M, ASIDE_STEPS = 0.5, 16
CYCLIST_MPS = 6.0
PEDESTRIAN = ACTOR_KINDS.index("pedestrian")
CYCLIST = ACTOR_KINDS.index("cyclist")
PEDESTRIAN_SIZE_M = ACTOR_SIZES_M["pedestrian"]
AGILE = np.array([kind in ("pedestrian", "cyclist", "animal") for kind in ACTOR_KINDS])
PAINTS = np.array(
    [
        (200, 200, 205), (40, 42, 46), (120, 124, 130), (235, 235, 238), (150, 30, 30),
        (30, 60, 130), (25, 90, 60), (190, 160, 60), (90, 60, 40), (60, 110, 160),
    ],
    dtype=np.uint8,
)  # fmt: skip
_FIELDS = (
    "headway", "min_gap", "max_accel", "comfort_brake", "politeness", "change_threshold",
)  # fmt: skip


def _values(driver: DriverSpec) -> tuple[float, ...]:
    """In the order of ``_FIELDS``."""
    return (
        driver.headway_s, driver.min_gap_m, driver.max_accel_mps2, driver.comfort_brake_mps2,
        driver.politeness, driver.change_threshold_mps2,
    )  # fmt: skip


def driver_fields(actor: Any, driver: DriverSpec) -> None:
    """Write ``driver`` into an actor record."""
    for name, value in zip(_FIELDS, _values(driver), strict=True):
        actor[name] = value
    actor["changes_lanes"] = driver.changes_lanes


@functools.lru_cache(maxsize=256)
def _tables(
    styles: tuple[str, ...], kinds: tuple[str, ...], scenario_id: str
) -> tuple[FloatArray, FloatArray]:
    """Driver parameters [styles, 7] (the last: changes lanes) and kinds [kinds, 4] (number, length,
    width, height)."""
    _check(styles, tuple(DRIVERS), f"scenario {scenario_id}: traffic.styles")
    _check(kinds, tuple(ACTOR_SIZES_M), f"scenario {scenario_id}: traffic.kinds")
    drivers = [(*_values(DRIVERS[s]), float(DRIVERS[s].changes_lanes)) for s in styles]
    bodies = [(float(ACTOR_KINDS.index(k)), *ACTOR_SIZES_M[k]) for k in kinds]
    return np.array(drivers), np.array(bodies)


def _check(names: tuple[str, ...], known: tuple[str, ...], place: str) -> None:
    if not names:
        raise RequestError(f"{place}: expected some of {', '.join(known)}, got none")
    for name in names:
        if name not in known:
            raise RequestError(f"{place}: {name!r}: expected one of {', '.join(known)}")


def populate(
    actors_row: Any,
    first_slot: int,
    scenario: Scenario,
    map_id: int,
    atlas: MapAtlas,
    ego_x: float,
    ego_y: float,
    seed: int,
) -> int:
    """Write the background traffic of ``scenario`` into ``actors_row`` [A] from ``first_slot`` on;
    returns how many actors (fewer than wanted where there is no room).

    The actors before ``first_slot`` must have been posed; those written here are.
    """
    traffic = scenario.traffic
    if traffic is None or traffic.vehicles + traffic.pedestrians == 0:
        return 0
    drivers, bodies = _tables(traffic.styles, traffic.kinds, scenario.id)
    seed_word = np.uint64(seed & 0xFFFFFFFFFFFFFFFF)
    maps = atlas.arrays
    lanes = maps.maps[map_id]["lane_first"] + np.arange(maps.maps[map_id]["lane_count"])
    samples = int(maps.lanes["count"][lanes].sum())
    lane_of, s_of = np.empty(samples, dtype=np.int64), np.empty(samples)
    placed: int = _populate(
        actors_row, first_slot, map_id, maps, lane_of, s_of, ego_x, ego_y, seed_word,
        traffic.vehicles, traffic.pedestrians, drivers, bodies, float(traffic.clear_m),
        float(traffic.within_m), float(traffic.speed_factor[0]), float(traffic.speed_factor[1]),
    )  # fmt: skip
    return placed


@kernel
def _populate(
    a: Any, first: int, map_id: int, maps: Any, lane_of: Any, s_of: Any, ego_x: float,
    ego_y: float, seed: Any,
    vehicles: int, walkers: int, drivers: Any, bodies: Any, clear_m: float, within_m: float,
    slowest: float, fastest: float,
) -> int:  # fmt: skip
    slot = first
    n = _places(map_id, maps, ego_x, ego_y, within_m, DRIVING, lane_of, s_of)
    for _ in range(vehicles if n > 0 else 0):
        _new_vehicle(a, slot, seed, drivers, bodies)
        for attempt in range(TRIES):
            pick = min(int(_draw(seed, slot, 16 + 2 * attempt) * n), n - 1)
            a[slot].path = lane_of[pick]
            a[slot].s = s_of[pick] + _draw(seed, slot, 17 + 2 * attempt)
            _put(a, slot, map_id, maps)
            if _has_room(a, slot, ego_x, ego_y, clear_m, map_id, maps):
                lane = maps.lanes[lookup.lane(maps, map_id, a[slot].path)]
                factor = slowest + (fastest - slowest) * _draw(seed, slot, 2)
                a[slot].desired = max(lane.speed_limit * factor, 1.0)
                if a[slot].kind == CYCLIST:
                    a[slot].desired = min(a[slot].desired, CYCLIST_MPS)
                a[slot].present = True
                slot += 1
                break
    for i in range(first, slot):
        a[i].v = _start_speed(a, i, slot, map_id, maps)
    n = _places(map_id, maps, ego_x, ego_y, within_m, SIDEWALK, lane_of, s_of)
    if n == 0:
        n = _places(map_id, maps, ego_x, ego_y, within_m, -1, lane_of, s_of)
    for _ in range(walkers if n > 0 else 0):
        if _new_walker(a, slot, seed, n, lane_of, s_of, map_id, maps):
            slot += 1
    return slot - first


@kernel
def _draw(seed: Any, slot: int, count: int) -> float:
    return uniform(seed, STREAM_TRAFFIC, SPAWN_DRAWS + slot * DRAWS_PER_SLOT + count)


@kernel
def _places(
    map_id: int, maps: Any, ego_x: float, ego_y: float, within_m: float, kind: int, lane_of: Any,
    s_of: Any,
) -> int:  # fmt: skip
    """Fill ``lane_of`` and ``s_of`` with every sample of lanes of ``kind`` (-1: lanes at the right
    edge of the road) where someone may start; returns how many."""
    m = maps.maps[map_id]
    n = 0
    for path in range(m.lane_count):
        if not _takes(maps, m.lane_first + path, kind):
            continue
        lane = maps.lanes[m.lane_first + path]
        start = maps.samples[lane.first]
        if math.hypot(start[0] - ego_x, start[1] - ego_y) > within_m + lane.length_m:
            continue
        last = min(lane.length_m, lane.ends_m - BEFORE_DROP_M) - MARGIN_M
        for k in range(int(MARGIN_M), int(max(last, 0.0))):
            beyond = k - lane.stop_s
            if -JUNCTION_M[0] < beyond < JUNCTION_M[1]:
                continue
            sample = maps.samples[lane.first + k]
            dx, dy = sample[0] - ego_x, sample[1] - ego_y
            if dx * dx + dy * dy <= within_m * within_m:
                lane_of[n] = path
                s_of[n] = k
                n += 1
    return n


@kernel
def _takes(maps: Any, index: int, kind: int) -> bool:
    lane = maps.lanes[index]
    if lane.junction >= 0 and lane.predecessor_count > 0:
        return False  # in the middle of a junction
    if kind >= 0:
        return lane.kind == kind
    return lane.kind == DRIVING and lane.right_lanes == 0


@kernel
def _new_vehicle(a: Any, slot: int, seed: Any, drivers: Any, bodies: Any) -> None:
    style = min(int(_draw(seed, slot, 0) * len(drivers)), len(drivers) - 1)
    body = min(int(_draw(seed, slot, 1) * len(bodies)), len(bodies) - 1)
    paint = min(int(_draw(seed, slot, 3) * len(PAINTS)), len(PAINTS) - 1)
    a[slot].headway, a[slot].min_gap = drivers[style, 0], drivers[style, 1]
    a[slot].max_accel, a[slot].comfort_brake = drivers[style, 2], drivers[style, 3]
    a[slot].politeness, a[slot].change_threshold = drivers[style, 4], drivers[style, 5]
    a[slot].changes_lanes = drivers[style, 6] > 0.0
    a[slot].kind = int(bodies[body, 0])
    a[slot].length, a[slot].width = bodies[body, 1], bodies[body, 2]
    a[slot].height = bodies[body, 3]
    a[slot].agile = AGILE[a[slot].kind]
    for c in range(3):
        a[slot].color[c] = PAINTS[paint, c]
    a[slot].behaviour = IDM
    a[slot].respawns = True
    # Not everybody thinks about a lane change in the same tick.
    a[slot].change_cooldown_s = RECHECK_S * _draw(seed, slot, 4)


@kernel
def _put(a: Any, slot: int, map_id: int, maps: Any) -> None:
    x, y, heading, _ = lookup.pose(maps, map_id, a[slot].path, a[slot].s, a[slot].d)
    set_pose(a, slot, x, y, heading + a[slot].turn)
    a[slot].base_z = lookup.elevation(maps, map_id, a[slot].path, a[slot].s)


@kernel
def _has_room(
    a: Any, slot: int, ego_x: float, ego_y: float, clear_m: float, map_id: int, maps: Any
) -> bool:
    """Whether vehicle ``slot`` is far enough from the ego and, along its lane, from the others."""
    away = math.hypot(a[slot].ax - ego_x, a[slot].ay - ego_y)
    if away < clear_m + a[slot].length:
        return False
    least = math.inf
    for j in range(slot):
        if a[j].present:
            _, lane_gap = _lane_gap(a[slot], a[j], map_id, maps)
            least = min(least, lane_gap, _gap(a[slot], a[j]))
    return least >= clear_m


@kernel
def _gap(me: Any, other: Any) -> float:
    """Distance along the heading of ``me`` between its body and another, ahead or behind (inf: it
    is beside)."""
    dx, dy = other.ax - me.ax, other.ay - me.ay
    along, left = me.cos_h * dx + me.sin_h * dy, me.cos_h * dy - me.sin_h * dx
    cos_t = abs(me.cos_h * other.cos_h + me.sin_h * other.sin_h)
    sin_t = abs(me.cos_h * other.sin_h - me.sin_h * other.cos_h)
    reach = 0.5 * (me.width + other.length * sin_t + other.width * cos_t) + BESIDE_M
    if abs(left) >= reach:
        return math.inf
    return abs(along) - 0.5 * (me.length + other.length * cos_t + other.width * sin_t)


@kernel
def _lane_gap(me: Any, other: Any, map_id: int, maps: Any) -> tuple[float, float]:
    """How far ahead of ``me`` another is along its lane, bends and all, and the distance between
    the bodies (inf: it is beside the lane)."""
    s, d, turn = other.s, other.d, 0.0
    if other.path != me.path:
        s, d, turn = lookup.between(maps, map_id, me.path, other.path, other.s, other.d)
    cos_t, sin_t = abs(math.cos(turn + other.turn)), abs(math.sin(turn + other.turn))
    reach = 0.5 * (me.width + other.length * sin_t + other.width * cos_t) + BESIDE_M
    if abs(d - me.d) >= reach:
        return 0.0, math.inf
    return s - me.s, abs(s - me.s) - 0.5 * (me.length + other.length * cos_t + other.width * sin_t)


@kernel
def _start_speed(a: Any, i: int, count: int, map_id: int, maps: Any) -> float:
    """The speed that the driver would keep here behind whoever is ahead."""
    path, s = a[i].path, a[i].s
    speed = min(a[i].desired, lookup.bend_speed(maps, map_id, path, s))
    for j in range(count):
        if j != i and a[j].present:
            dx, dy = a[j].ax - a[i].ax, a[j].ay - a[i].ay
            ahead, gap = _lane_gap(a[i], a[j], map_id, maps)
            gap = gap if ahead > 0.0 else math.inf
            if a[i].cos_h * dx + a[i].sin_h * dy > 0.0:
                gap = min(gap, _gap(a[i], a[j]))
            speed = min(speed, max(gap - a[i].min_gap, 0.0) / a[i].headway)
    front = s + 0.5 * a[i].length
    line_s, _, _ = lookup.next_stop(maps, map_id, path, front)
    return min(speed, math.sqrt(2.0 * ARRIVAL_BRAKE_MPS2 * max(line_s - front, 0.0)))


@kernel
def _new_walker(
    a: Any, slot: int, seed: Any, n: int, lane_of: Any, s_of: Any, map_id: int, maps: Any
) -> bool:
    """Place someone on foot beside the road; False if there is no place for them."""
    for attempt in range(TRIES):
        pick = min(int(_draw(seed, slot, 16 + 2 * attempt) * n), n - 1)
        path, s = lane_of[pick], s_of[pick] + _draw(seed, slot, 17 + 2 * attempt)
        d, found = _beside_road(map_id, maps, path, s, _draw(seed, slot, 2))
        if found:
            break
    if not found:
        return False
    paint = min(int(_draw(seed, slot, 3) * len(PAINTS)), len(PAINTS) - 1)
    for c in range(3):
        a[slot].color[c] = PAINTS[paint, c]
    a[slot].kind, a[slot].behaviour = PEDESTRIAN, WALK
    a[slot].length, a[slot].width, a[slot].height = PEDESTRIAN_SIZE_M
    a[slot].present, a[slot].agile, a[slot].respawns = True, True, True
    speed = WALK_MPS + WALK_SPREAD_MPS * normal(
        seed, STREAM_TRAFFIC, SPAWN_DRAWS + slot * DRAWS_PER_SLOT + 1
    )
    a[slot].desired = min(max(speed, WALK_LEAST_MPS), WALK_MOST_MPS)
    onwards = 1.0 if _draw(seed, slot, 0) < 0.5 else -1.0
    a[slot].path, a[slot].s, a[slot].d = path, s, d
    a[slot].turn = 0.0 if onwards > 0.0 else math.pi
    _put(a, slot, map_id, maps)
    a[slot].goal_x, a[slot].goal_y, _, _ = lookup.pose(maps, map_id, path, s + onwards * AIM_M, d)
    a[slot].walk_vx = a[slot].desired * a[slot].cos_h
    a[slot].walk_vy = a[slot].desired * a[slot].sin_h
    a[slot].v = onwards * a[slot].desired
    return True


@kernel
def _beside_road(map_id: int, maps: Any, path: int, s: float, where: float) -> tuple[float, bool]:
    """Left offset of a place for walkers: anywhere across a sidewalk, else just off the road on
    the right of the lane."""
    lane = maps.lanes[lookup.lane(maps, map_id, path)]
    if lane.kind == SIDEWALK:
        return (where - 0.5) * max(lane.width_m - 1.0, 0.0), True
    for step in range(ASIDE_STEPS):
        d = -0.5 * lane.width_m - ASIDE_STEP_M * (step + where)
        x, y, _, _ = lookup.pose(maps, map_id, path, s, d)
        if lookup.clearance(maps, map_id, x, y) < -OFF_ROAD_M:
            return d, True
    return 0.0, False
