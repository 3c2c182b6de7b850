"""What went well and what went wrong, tick by tick.

``judge`` looks at one world after a tick, decides whether its episode ends, and collects in a
``TALLY`` record what one decision interval showed; ``to_signals`` turns the records into
``StepSignals``. Whose fault a collision was is in ``sim.attribution``.

Stop sign: the front bumper crosses the line although the ego did not stand (< 0.1 m/s) within the
last 4 m before it, the numbers of CARLA's RunningStopTest (scenario_runner, atomic_criteria.py).
Blocked: it has stood for 5 s although nobody was ahead within 15 m, no red light held it, and at a
junction where it has to look for itself nobody drove within 40 m. Close encounter: less than 0.5 m
from an actor without touching it; the bound is ours, AlpaSim's public code has none. Changes of the
acceleration's magnitude are nuPlan's ``ego_jerk`` (nuplan-devkit, metrics/evaluation_metrics/
common), taken from tick to tick, without its smoothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alpamayo.types import (
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    FAULT_NONE,
    FloatArray,
    StepSignals,
)
from sim.attribution import attribute_fault
from sim.collision import relative
from sim.encounters import EGO_LENGTH_M, EGO_WIDTH_M, look_at_actors
from sim.kernels import kernel
from sim.params import Params
from sim.roads import lookup
from sim.roads.maps import STOP_AT_SIGNAL, STOP_SIGN
from sim.signals import GREEN, RED, YELLOW
from sim.state import WorldState

CLOSE_M = 0.5
OFF_ROAD_M = -0.3
# The middle of the ego so far inside the road that no corner can be off it (half a diagonal, less
# what is allowed, and a margin for the raster).
WELL_INSIDE_M = 0.5 * math.hypot(EGO_LENGTH_M, EGO_WIDTH_M) + OFF_ROAD_M + 0.2
STILL_MPS = 0.1
STOP_WITHIN_M = 4.0
BLOCKED_S = 5.0
FREE_AHEAD_M = 15.0
FREE_BESIDE_M = 0.5
CROSS_TRAFFIC_M = 40.0

# ``accel`` to ``yaw_accel`` and ``mag_jerk`` hold the value of largest magnitude, ``over_speed`` a
# sum over ``ticks``; ``size`` and ``last_size`` are magnitudes of the acceleration in the last tick
# and the one before.
TALLY = np.dtype(
    [
        ("active", "?"), ("wrong_way", "?"), ("stop_line", "?"), ("close", "?"),
        ("fault", "i8"), ("actor", "i8"), ("ticks", "i8"),
        ("start_s", "f8"), ("min_ttc_s", "f8"), ("min_gap_m", "f8"),
        ("accel", "f8"), ("jerk", "f8"), ("lateral", "f8"), ("yaw_rate", "f8"),
        ("yaw_accel", "f8"), ("min_accel", "f8"), ("max_accel", "f8"), ("mag_jerk", "f8"),
        ("size", "f8"), ("last_size", "f8"), ("over_speed", "f8"), ("lane_offset", "f8"),
        ("off_lane_s", "f8"), ("route_offset", "f8"),
    ],
    align=True,
)  # fmt: skip


# One interval ----------------------------------------------------------------------------
@kernel
def start_tally(worlds: Any, tally: Any) -> None:
    """Begin an interval: ``tally`` [B] must be zero otherwise."""
    for b in range(len(worlds)):
        w, t = worlds[b], tally[b]
        t.active = w.end == END_RUNNING
        t.start_s = w.route_s
        t.fault = FAULT_NONE
        t.actor = -1
        t.min_ttc_s = math.inf
        t.min_gap_m = math.inf
        t.last_size = math.hypot(w.moved_accel, w.speed * w.yaw_rate)


@kernel
def note_motion(
    tally: Any,
    accel: float,
    jerk: float,
    lateral: float,
    yaw_rate: float,
    yaw_accel: float,
    over_speed: float,
) -> None:
    """Take in how the ego moved in one tick."""
    if abs(accel) > abs(tally.accel):
        tally.accel = accel
    if abs(jerk) > abs(tally.jerk):
        tally.jerk = jerk
    if abs(lateral) > abs(tally.lateral):
        tally.lateral = lateral
    if abs(yaw_rate) > abs(tally.yaw_rate):
        tally.yaw_rate = yaw_rate
    if abs(yaw_accel) > abs(tally.yaw_accel):
        tally.yaw_accel = yaw_accel
    first = tally.ticks == 0
    tally.min_accel = accel if first else min(tally.min_accel, accel)
    tally.max_accel = accel if first else max(tally.max_accel, accel)
    tally.size = math.sqrt(accel * accel + lateral * lateral)
    tally.over_speed += over_speed
    tally.ticks += 1


@kernel
def remember(w: Any, a: Any, before: FloatArray) -> None:
    """Keep the poses before a tick: row 0 of ``before`` is the ego (x, y, heading, route_s), row
    i + 1 actor i."""
    before[0, 0] = w.x
    before[0, 1] = w.y
    before[0, 2] = w.heading
    before[0, 3] = w.route_s
    for i in range(w.actor_count):
        before[i + 1, 0] = a[i].ax
        before[i + 1, 1] = a[i].ay
        before[i + 1, 2] = a[i].aheading


# One tick --------------------------------------------------------------------------------
@kernel
def judge(
    w: Any,
    a: Any,
    before: FloatArray,
    tally: Any,
    maps: Any,
    p: Params,
    shown_a: int,
    shown_b: int,
    time_limit: bool,
) -> None:
    """Look at the state after a tick; sets ``w.end`` if the episode ends and updates ``tally``.

    ``before`` is what ``remember`` kept; ``shown_a`` and ``shown_b`` are what the signals showed.
    """
    cos_h, sin_h = math.cos(w.heading), math.sin(w.heading)
    time_s = w.tick * p.base_tick_s
    end = END_RUNNING
    if time_limit and time_s >= w.duration_s - 1e-9:
        end = END_TIMEOUT
    if w.route_s >= w.end_s:
        end = END_ROUTE_DONE
    if _look_at_stop_line(w, before, tally, maps, shown_a, shown_b):
        end = END_RED_LIGHT
    if _off_road(w, cos_h, sin_h, maps):
        end = END_OFF_ROAD
    offset, lane_heading = _look_at_lane(w, tally, maps, p.tick_s)
    hit, share = look_at_actors(w, a, before, tally, cos_h, sin_h, p.tick_s)
    if hit >= 0:
        end = END_COLLISION
        tally.min_gap_m = 0.0
        tally.min_ttc_s = 0.0
        tally.actor = hit
        tally.fault = attribute_fault(
            w, a[hit], before[0], before[hit + 1], share, offset, lane_heading, time_s, p.tick_s
        )
    elif tally.min_gap_m < CLOSE_M:
        tally.close = True
    _look_at_standing(w, a, cos_h, sin_h, maps, shown_a, shown_b, p.tick_s)
    change = (tally.size - tally.last_size) / p.tick_s
    if abs(change) > abs(tally.mag_jerk):
        tally.mag_jerk = change
    tally.last_size = tally.size
    w.end = end


@kernel
def _look_at_stop_line(
    w: Any, before: FloatArray, tally: Any, maps: Any, shown_a: int, shown_b: int
) -> bool:
    """Whether the front bumper went over a stop line at a red light in this tick; notes when it did
    so at a stop sign without having stood."""
    front = w.route_s + 0.5 * EGO_LENGTH_M
    line, kind, group = lookup.next_stop(maps, w.map_id, w.route, before[0, 3] + 0.5 * EGO_LENGTH_M)
    if front <= line:
        return False
    if kind == STOP_AT_SIGNAL:
        return (shown_b if group == 1 else shown_a) == RED
    if kind == STOP_SIGN and w.stood_s + 0.5 * EGO_LENGTH_M < line - STOP_WITHIN_M:
        tally.stop_line = True
    return False


@kernel
def _off_road(w: Any, cos_h: float, sin_h: float, maps: Any) -> bool:
    """Whether a corner of the ego is farther off the drivable area than allowed."""
    if lookup.clearance(maps, w.map_id, w.x, w.y) > WELL_INSIDE_M:
        return False
    for i in range(4):
        ahead = 0.5 * EGO_LENGTH_M if i < 2 else -0.5 * EGO_LENGTH_M
        left = 0.5 * EGO_WIDTH_M if i % 2 == 0 else -0.5 * EGO_WIDTH_M
        x = w.x + ahead * cos_h - left * sin_h
        y = w.y + ahead * sin_h + left * cos_h
        if lookup.clearance(maps, w.map_id, x, y) < OFF_ROAD_M:
            return True
    return False


@kernel
def _look_at_lane(w: Any, tally: Any, maps: Any, tick_s: float) -> tuple[float, float]:
    """(offset, heading) of the lane nearest to the ego; notes how well it keeps its lane."""
    offset, heading, lane, _ = lookup.nearest_lane(maps, w.map_id, w.x, w.y)
    w.lane = lane
    tally.lane_offset = offset
    tally.wrong_way = math.cos(w.heading - heading) < 0.0
    half_width = 0.5 * maps.lanes[lookup.lane(maps, w.map_id, lane)].width_m
    if tally.wrong_way or offset > half_width:
        tally.off_lane_s += tick_s
    tally.route_offset = max(tally.route_offset, abs(w.route_d))
    return offset, heading


# Standing --------------------------------------------------------------------------------
@kernel
def _look_at_standing(
    w: Any, a: Any, cos_h: float, sin_h: float, maps: Any, shown_a: int, shown_b: int, tick_s: float
) -> None:
    """Notes where the ego stood, and for how long it has stood without a reason."""
    if w.speed >= STILL_MPS:
        w.standstill_s = 0.0
        return
    w.stood_s = w.route_s
    front = w.route_s + 0.5 * EGO_LENGTH_M
    line, kind, group = lookup.next_stop(maps, w.map_id, w.route, front - FREE_BESIDE_M)
    at_line = line - front < FREE_AHEAD_M
    shown = shown_b if group == 1 else shown_a
    lit = kind == STOP_AT_SIGNAL and shown in (RED, YELLOW)
    looks = at_line and not (kind == STOP_AT_SIGNAL and shown == GREEN)
    held = (at_line and lit) or _someone_near(w, a, cos_h, sin_h, looks)
    w.standstill_s = 0.0 if held else w.standstill_s + tick_s


@kernel
def _someone_near(w: Any, a: Any, cos_h: float, sin_h: float, looks: bool) -> bool:
    """Whether an actor lies in front of the ego or, if it ``looks`` for cross traffic, drives
    nearby."""
    for i in range(w.actor_count):
        actor = a[i]
        if not actor.present:
            continue
        px, py, cos_t, sin_t = relative(
            w.x, w.y, cos_h, sin_h, actor.ax, actor.ay, actor.cos_h, actor.sin_h
        )
        long, wide = abs(cos_t), abs(sin_t)
        gap = px - 0.5 * (EGO_LENGTH_M + actor.length * long + actor.width * wide)
        beside = abs(py) - 0.5 * (EGO_WIDTH_M + actor.length * wide + actor.width * long)
        if px > 0.0 and gap < FREE_AHEAD_M and beside < FREE_BESIDE_M:
            return True
        drives = abs(actor.v) > STILL_MPS or abs(actor.vd) > STILL_MPS
        if looks and drives and px * px + py * py < CROSS_TRAFFIC_M * CROSS_TRAFFIC_M:
            return True
    return False


# To the platform -------------------------------------------------------------------------
def to_signals(state: WorldState, tally: np.ndarray) -> StepSignals:
    """The interval's signals [B]; worlds that were not active get neutral values."""
    active = tally["active"].copy()

    def noted(name: str) -> Any:
        return tally[name].copy()

    return StepSignals(
        end=state.end.copy(),
        fault=noted("fault"),
        collision_actor=noted("actor"),
        progress_m=np.where(active, state.route_s - tally["start_s"], 0.0),
        min_ttc_s=noted("min_ttc_s"),
        min_gap_m=noted("min_gap_m"),
        accel_mps2=noted("accel"),
        jerk_mps3=noted("jerk"),
        lateral_accel_mps2=noted("lateral"),
        yaw_rate_radps=noted("yaw_rate"),
        yaw_accel_radps2=noted("yaw_accel"),
        lane_offset_m=noted("lane_offset"),
        wrong_way=noted("wrong_way"),
        over_speed_mps=tally["over_speed"] / np.maximum(tally["ticks"], 1),
        speed_mps=state.speed.copy(),
        active=active,
        min_accel_mps2=noted("min_accel"),
        max_accel_mps2=noted("max_accel"),
        mag_jerk_mps3=noted("mag_jerk"),
        off_lane_s=noted("off_lane_s"),
        route_offset_m=noted("route_offset"),
        close_encounter=noted("close"),
        stop_line=noted("stop_line"),
        blocked=active & (state.standstill_s > BLOCKED_S),
    )
