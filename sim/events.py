"""Triggers and actions over event slots [B, E] and action slots [B, M]. Every event fires at most
once."""

from __future__ import annotations

import numpy as np

from alpamayo.types import EGO_SIZE_M, BoolArray, FloatArray, IntArray
from sim.actors.motion import begin_shift
from sim.actors.paths import BESIDE_M
from sim.roads.atlas import MapAtlas
from sim.state import IDM, SCRIPTED, STATIC, WorldState

TRIGGERS = ("time", "distance", "ttc", "ego_position", "arrival")
TIME, DISTANCE, TTC, EGO_POSITION, ARRIVAL = range(5)
ACTIONS = ("speed", "offset", "run_light", "react")
SPEED, OFFSET, RUN_LIGHT, REACT = range(4)
# Columns of ``action_values``.
SPEED_MPS, ACCEL_MPS2, D_M, LATERAL_MPS = range(4)
_ROUNDING = 1e-9  # 3 ticks of 0.1 s are 0.30000000000000004 s


def fire(state: WorldState, atlas: MapAtlas, time_s: FloatArray, running: BoolArray) -> None:
    """Fire the events of running worlds whose trigger holds now and apply their actions, in
    place."""
    waiting = ~state.fired & running[:, None]
    if not waiting.any():
        return
    kind, value = state.trigger, state.trigger_value + _ROUNDING
    driven = (state.route_s - state.start_s)[:, None]
    now = (kind == TIME) & (time_s[:, None] + 2 * _ROUNDING >= value)
    now |= (kind == EGO_POSITION) & (driven + 2 * _ROUNDING >= value)
    now &= waiting
    relative = np.nonzero(waiting & ((kind == DISTANCE) | (kind == TTC) | (kind == ARRIVAL)))
    if len(relative[0]):
        now[relative] = _relative(state, atlas, *relative)
    if now.any():
        state.fired |= now
        _apply(state, now)


def _relative(state: WorldState, atlas: MapAtlas, b: IntArray, e: IntArray) -> BoolArray:
    """[n] whether events (b, e), whose triggers relate the ego to an actor, hold now."""
    a = state.event_actor[b, e]
    kind, value = state.trigger[b, e], state.trigger_value[b, e] + _ROUNDING
    ahead, reach, along = ahead_on_route(state, atlas, b, a)
    gap = np.maximum(ahead - reach - 0.5 * EGO_SIZE_M[0], 0.0)
    speed = state.speed[b] * np.cos(state.heading[b] - state.route_heading[b])
    closing = speed - along
    near = (kind == DISTANCE) & (gap <= value)
    near |= (kind == TTC) & (closing > 0.0) & (gap <= value * closing)
    near |= (kind == ARRIVAL) & (ahead <= value * speed)
    return near & (ahead > 0.0) & np.isfinite(ahead) & state.present[b, a]


def ahead_on_route(
    state: WorldState, atlas: MapAtlas, b: IntArray, a: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """[n] for actors (b, a): distance of the centre ahead of the ego's along its route, half extent
    along the route, and speed along the route. An actor too far beside the route counts at the
    point where its path crosses it (inf: it does not)."""
    s, d, turn = atlas.between(
        state.map_id[b], state.route[b], state.path[b, a], state.s[b, a], state.d[b, a]
    )
    turn = turn + state.turn[b, a]
    beside = np.abs(d) < BESIDE_M
    s = np.where(beside, s, state.cross_s[b, a])
    cos_t = np.cos(turn)
    reach = 0.5 * (state.length[b, a] * np.abs(cos_t) + state.width[b, a] * np.abs(np.sin(turn)))
    along = np.hypot(state.v[b, a], state.vd[b, a]) * cos_t
    return s - state.route_s[b], reach, np.where(beside, along, 0.0)


def _apply(state: WorldState, now: BoolArray) -> None:
    """Apply the actions of the events that fire ``now`` [B, E]; of two alike the later one in the
    list wins."""
    acting = np.take_along_axis(now, state.action_event, axis=1) & (state.action_kind >= 0)
    b, m = np.nonzero(acting)
    a = state.event_actor[b, state.action_event[b, m]]
    movable = state.behaviour[b, a] != STATIC
    b, m, a = b[movable], m[movable], a[movable]
    kind, values = state.action_kind[b, m], state.action_values[b, m]

    pick = kind == SPEED
    index = (b[pick], a[pick])
    state.behaviour[index] = SCRIPTED
    state.target_v[index] = values[pick, SPEED_MPS]
    state.target_accel[index] = np.abs(values[pick, ACCEL_MPS2])

    pick = kind == OFFSET
    if pick.any():
        begin_shift(state, (b[pick], a[pick]), values[pick, D_M], values[pick, LATERAL_MPS])

    pick = kind == RUN_LIGHT
    state.runs_light[b[pick], a[pick]] = True

    pick = kind == REACT
    index = (b[pick], a[pick])
    state.behaviour[index] = IDM
    state.desired[index] = values[pick, SPEED_MPS]
