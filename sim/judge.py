"""What went well and what went wrong, tick by tick.

Fault of a collision (``attribute_fault``), first rule that applies:

1. the ego (nearly) stood, < 0.5 m/s, and the other moved faster than it: the other's fault;
2. contact at the ego's rear: the other's;
3. contact at the ego's front: the ego's;
4. contact at the ego's side while the ego changed lanes (it moved towards the other at > 0.3 m/s,
   or its box lay across the edge of the nearest lane): the ego's;
5. contact at the ego's side with something that stood (< 0.5 m/s): the ego's;
6. otherwise (its side was hit while it kept its lane, for example by a red-light runner): the
   other's.

Which side was hit follows from the last tick before contact: the axis of the ego's box on which the
two boxes came to overlap last is the one they hit each other along.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alpamayo.types import (
    EGO_SIZE_M,
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    FAULT_EGO,
    FAULT_NONE,
    FAULT_OTHER,
    BoolArray,
    FloatArray,
    IntArray,
    StepSignals,
)
from sim.collision import axis_separations, clearance, corners
from sim.roads.atlas import MapAtlas
from sim.signals import RED
from sim.state import WorldState

EGO_LENGTH_M, EGO_WIDTH_M, _ = EGO_SIZE_M
NEAR_M = 10.0  # clearances beyond this are reported as inf
TTC_HORIZON_S = 10.0  # times to collision beyond this are reported as inf
TTC_MARGIN_M = 0.1
OFF_ROAD_M = -0.3
STANDING_MPS = 0.5
DRIFTING_MPS = 0.3
LANE_EDGE_M = 0.1


@dataclass
class Before:
    """Poses before a tick, [B] and [B, A]: needed to see how a contact came about."""

    x: FloatArray
    y: FloatArray
    heading: FloatArray
    route_s: FloatArray
    ax: FloatArray
    ay: FloatArray
    aheading: FloatArray

    @staticmethod
    def of(state: WorldState) -> Before:
        return Before(
            state.x, state.y, state.heading, state.route_s, state.ax, state.ay, state.aheading
        )


@dataclass
class Tally:
    """Running minima, extremes and sums of one decision interval, [B]."""

    active: BoolArray
    start_s: FloatArray
    fault: IntArray = field(init=False)
    actor: IntArray = field(init=False)
    min_ttc_s: FloatArray = field(init=False)
    min_gap_m: FloatArray = field(init=False)
    extremes: FloatArray = field(init=False)
    over_speed: FloatArray = field(init=False)
    ticks: IntArray = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.active)
        self.fault = np.full(count, FAULT_NONE)
        self.actor = np.full(count, -1)
        self.min_ttc_s = np.full(count, np.inf)
        self.min_gap_m = np.full(count, np.inf)
        # acceleration, jerk, lateral acceleration, yaw rate, yaw acceleration
        self.extremes = np.zeros((count, 5))
        self.over_speed = np.zeros(count)
        self.ticks = np.zeros(count, dtype=np.int64)

    def motion(self, running: BoolArray, values: FloatArray, over_speed: FloatArray) -> None:
        """Take in ``values`` [B, 5] in the order of ``extremes``."""
        larger = running[:, None] & (np.abs(values) > np.abs(self.extremes))
        self.extremes = np.where(larger, values, self.extremes)
        self.over_speed += np.where(running, over_speed, 0.0)
        self.ticks += running


def judge_tick(
    state: WorldState,
    atlas: MapAtlas,
    before: Before,
    signals: IntArray,
    running: BoolArray,
    time_s: FloatArray,
    tally: Tally,
    time_limit: bool = True,
) -> None:
    """Look at the state after a tick; sets ``state.end`` of worlds that end and updates
    ``tally``."""
    end = np.full(len(running), END_RUNNING)
    if time_limit:
        end[time_s >= state.duration_s - 1e-9] = END_TIMEOUT
    end[state.route_s >= state.end_s] = END_ROUTE_DONE
    end[_crossed_on_red(state, before, signals)] = END_RED_LIGHT
    end[edge_clearance(state, atlas) < OFF_ROAD_M] = END_OFF_ROAD
    gap, hit = _contacts(state, running)
    end[hit >= 0] = END_COLLISION
    tally.min_gap_m = np.where(running, np.minimum(tally.min_gap_m, gap), tally.min_gap_m)
    ttc = np.where(hit >= 0, 0.0, time_to_collision(state))
    tally.min_ttc_s = np.where(running, np.minimum(tally.min_ttc_s, ttc), tally.min_ttc_s)
    rows = np.flatnonzero(hit >= 0)
    if len(rows):
        tally.actor[rows] = hit[rows]
        tally.fault[rows] = attribute_fault(state, atlas, before, rows, hit[rows])
    state.end = np.where(running, end, state.end)


def _crossed_on_red(state: WorldState, before: Before, signals: IntArray) -> BoolArray:
    line = state.stop_s - 0.5 * EGO_LENGTH_M
    crossed = (before.route_s <= line) & (state.route_s > line) & (state.signal_group >= 0)
    if not crossed.any():
        return crossed
    shown = signals[np.arange(len(line)), np.maximum(state.signal_group, 0)]
    return crossed & (shown == RED)


def edge_clearance(state: WorldState, atlas: MapAtlas) -> FloatArray:
    """[B] clearance of the ego's worst corner to the edge of the drivable area."""
    x, y = corners(state.x, state.y, state.heading, EGO_LENGTH_M, EGO_WIDTH_M)
    return atlas.clearance(state.map_id[:, None], x, y).min(axis=1)


def _ego_boxes(x: FloatArray, y: FloatArray, heading: FloatArray) -> FloatArray:
    length, width = np.full_like(x, EGO_LENGTH_M), np.full_like(x, EGO_WIDTH_M)
    return np.stack([x, y, heading, length, width], axis=-1)


def _contacts(state: WorldState, running: BoolArray) -> tuple[FloatArray, IntArray]:
    """[B] smallest clearance to an actor within NEAR_M and the slot of the actor in contact (-1:
    none).

    Of several in contact the deepest counts. Only pairs whose circumscribed circles are near are
    looked at."""
    dx, dy = state.ax - state.x[:, None], state.ay - state.y[:, None]
    reach = NEAR_M + 0.5 * (EGO_LENGTH_M + EGO_WIDTH_M + state.length + state.width)
    near = state.present & running[:, None] & (dx * dx + dy * dy < reach * reach)
    b, a = np.nonzero(near)
    gap = np.full(len(state.x), np.inf)
    hit = np.full(len(state.x), -1)
    if not len(b):
        return gap, hit
    ego = _ego_boxes(state.x[b], state.y[b], state.heading[b])
    distance, separation = clearance(ego, _actor_boxes(state, b, a))
    gaps = np.full(state.ax.shape, np.inf)
    depths = np.full(state.ax.shape, np.inf)
    gaps[b, a] = np.where(distance < NEAR_M, distance, np.inf)
    depths[b, a] = separation
    gap = gaps.min(axis=1)
    deepest = depths.argmin(axis=1)
    return gap, np.where(gap <= 0.0, deepest, -1)


def _actor_boxes(state: WorldState, b: IntArray, a: IntArray) -> FloatArray:
    """[n, 5] boxes of actors (b, a)."""
    return np.stack(
        [
            state.ax[b, a], state.ay[b, a], state.aheading[b, a],
            state.length[b, a], state.width[b, a],
        ],
        axis=-1,
    )  # fmt: skip


def time_to_collision(state: WorldState) -> FloatArray:
    """[B] time until the ego's front reaches an actor at present speeds, the ego going on along its
    present arc.

    An actor counts if, at the moment the gap closes, it lies across the ego's arc: so someone about
    to step into the lane counts and someone about to leave it does not.
    """
    cos_h, sin_h = np.cos(state.heading)[:, None], np.sin(state.heading)[:, None]
    dx, dy = state.ax - state.x[:, None], state.ay - state.y[:, None]
    ahead, left = dx * cos_h + dy * sin_h, dy * cos_h - dx * sin_h
    turn = state.aheading - state.heading[:, None]
    cos_t, sin_t = np.cos(turn), np.sin(turn)
    speed = np.hypot(state.v, state.vd)
    their_vx, their_vy = speed * cos_t, speed * sin_t
    along, across = np.abs(cos_t), np.abs(sin_t)
    gap = ahead - 0.5 * (EGO_LENGTH_M + state.length * along + state.width * across)
    reach = 0.5 * (EGO_WIDTH_M + state.length * across + state.width * along) + TTC_MARGIN_M
    closing = state.speed[:, None] - their_vx
    ttc = np.maximum(gap, 0.0) / np.maximum(closing, 1e-6)
    meet_x, meet_y = ahead + their_vx * ttc, left + their_vy * ttc
    aside = np.abs(meet_y - 0.5 * state.curvature[:, None] * meet_x * meet_x)
    counts = state.present & (ahead > 0.0) & (closing > 1e-6) & (aside < reach)
    counts &= (ttc < TTC_HORIZON_S) & (gap > -0.5 * EGO_LENGTH_M)
    return np.where(counts, ttc, np.inf).min(axis=1, initial=np.inf)


def attribute_fault(
    state: WorldState, atlas: MapAtlas, before: Before, rows: IntArray, actor: IntArray
) -> IntArray:
    """FAULT_* of the ego's collisions with ``actor`` [n] in worlds ``rows`` [n]; rules in the
    module's docstring."""
    now = axis_separations(
        _ego_boxes(state.x[rows], state.y[rows], state.heading[rows]),
        _actor_boxes(state, rows, actor),
    )
    other = _actor_boxes(state, rows, actor)
    other[:, 0], other[:, 1] = before.ax[rows, actor], before.ay[rows, actor]
    other[:, 2] = before.aheading[rows, actor]
    ego = _ego_boxes(before.x[rows], before.y[rows], before.heading[rows])
    then = axis_separations(ego, other)
    # share of the tick after which each axis came to overlap: the later one is the axis of contact
    since = np.maximum(then, 0.0) / np.maximum(then - now, 1e-9)
    lengthwise = since[:, 0] >= since[:, 1]
    heading = before.heading[rows]
    dx, dy = other[:, 0] - ego[:, 0], other[:, 1] - ego[:, 1]
    ahead = dx * np.cos(heading) + dy * np.sin(heading)
    left = dy * np.cos(heading) - dx * np.sin(heading)

    speed = state.speed[rows]
    their_speed = np.hypot(state.v[rows, actor], state.vd[rows, actor])
    stood = (speed < STANDING_MPS) & (their_speed > speed)
    front, rear = lengthwise & (ahead > 0.0), lengthwise & (ahead <= 0.0)
    fault = np.where(
        _changes_lane(state, atlas, rows, left) | (their_speed < STANDING_MPS),
        FAULT_EGO,
        FAULT_OTHER,
    )
    fault = np.where(front, FAULT_EGO, fault)
    return np.where(stood | rear, FAULT_OTHER, fault)


def _changes_lane(
    state: WorldState, atlas: MapAtlas, rows: IntArray, left: FloatArray
) -> BoolArray:
    """[n] whether the ego drifts towards the other, which is ``left`` metres to its left, or
    straddles a lane edge."""
    offset, lane_heading = atlas.nearest_lane(state.map_id[rows], state.x[rows], state.y[rows])
    turn = state.heading[rows] - lane_heading
    # lanes of the opposite direction count the same way: left of the ego is what matters
    drift = state.speed[rows] * np.sin(turn) * np.where(np.cos(turn) < 0.0, -1.0, 1.0)
    towards = drift * np.sign(left) > DRIFTING_MPS
    extent = 0.5 * (EGO_WIDTH_M * np.abs(np.cos(turn)) + EGO_LENGTH_M * np.abs(np.sin(turn)))
    return towards | (offset + extent > 0.5 * state.lane_width[rows] + LANE_EDGE_M)


def to_signals(state: WorldState, atlas: MapAtlas, tally: Tally) -> StepSignals:
    """The interval's signals; worlds that were not active get neutral values."""
    active = tally.active
    offset, lane_heading = atlas.nearest_lane(state.map_id, state.x, state.y)
    wrong_way = active & (np.cos(state.heading - lane_heading) < 0.0)
    accel, jerk, lateral, yaw_rate, yaw_accel = (tally.extremes[:, i].copy() for i in range(5))
    return StepSignals(
        end=state.end.copy(),
        fault=tally.fault,
        collision_actor=tally.actor,
        progress_m=np.where(active, state.route_s - tally.start_s, 0.0),
        min_ttc_s=tally.min_ttc_s,
        min_gap_m=tally.min_gap_m,
        accel_mps2=accel,
        jerk_mps3=jerk,
        lateral_accel_mps2=lateral,
        yaw_rate_radps=yaw_rate,
        yaw_accel_radps2=yaw_accel,
        lane_offset_m=np.where(active, offset, 0.0),
        wrong_way=wrong_way,
        over_speed_mps=tally.over_speed / np.maximum(tally.ticks, 1),
        speed_mps=state.speed.copy(),
        active=active,
    )
