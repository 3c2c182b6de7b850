"""How actors move along and across their paths."""

from __future__ import annotations

import numpy as np

from alpamayo.types import BoolArray, FloatArray, IntArray
from sim.roads.atlas import MapAtlas
from sim.state import STATIC, WorldState

SHIFT_RAMP_S = 0.5  # a lateral move reaches its rate, and comes to rest again, within this time
MAX_SIDESLIP = 0.6  # lateral per longitudinal speed of anything on wheels that is not agile
MOVING_MPS = 0.05


def move(
    state: WorldState,
    idm: tuple[tuple[IntArray, IntArray], FloatArray],
    running: BoolArray,
    tick_s: float,
) -> None:
    """Advance all actors of running worlds by one tick, in place."""
    active = state.present & running[:, None] & (state.behaviour != STATIC)
    ramp = state.target_accel * tick_s
    change = np.minimum(np.maximum(state.target_v - state.v, -ramp), ramp)
    index, accel = idm
    change[index] = np.maximum(accel * tick_s, -state.v[index])
    v = np.where(active, state.v + change, state.v)
    state.actor_accel = np.where(active, (v - state.v) / tick_s, state.actor_accel)
    state.s = np.where(active, state.s + 0.5 * (state.v + v) * tick_s, state.s)
    state.v = v
    _shift(state, active, tick_s)
    moving = active & (np.maximum(np.abs(v), np.abs(state.vd)) > MOVING_MPS)
    state.turn = np.where(moving, np.arctan2(state.vd, v), state.turn)
    gone = ((v > 0.0) & (state.s > state.path_end)) | ((v < 0.0) & (state.s < 0.0))
    state.present &= ~gone


def _shift(state: WorldState, active: BoolArray, tick_s: float) -> None:
    """Lateral moves: a trapezoid of lateral speed on a clock that slows with a wheeled actor's own
    speed."""
    shifting = active & (state.shift_clock < state.shift_s)
    if not shifting.any():
        state.vd = np.where(active, 0.0, state.vd)
        return
    pace = MAX_SIDESLIP * np.abs(state.v) / np.maximum(np.abs(state.shift_rate), 1e-9)
    pace = np.where(state.agile, 1.0, np.minimum(pace, 1.0))
    clock = state.shift_clock + np.where(shifting, pace * tick_s, 0.0)
    d = np.where(shifting, shift_profile(state, clock), state.d)
    state.vd = np.where(active, (d - state.d) / tick_s, state.vd)
    state.shift_clock, state.d = clock, d


def shift_profile(state: WorldState, clock: FloatArray) -> FloatArray:
    """Lateral position after ``clock`` seconds of the present move."""
    total = state.shift_s
    rise = np.maximum(clock, 0.0)
    level = np.maximum(clock - SHIFT_RAMP_S, 0.0)
    fall = np.maximum(clock - (total - SHIFT_RAMP_S), 0.0)
    moved = (rise * rise - level * level - fall * fall) * (0.5 / SHIFT_RAMP_S)
    done = clock >= total
    return np.where(done, state.shift_to, state.shift_from + state.shift_rate * moved)


def begin_shift(
    state: WorldState, index: tuple[IntArray, IntArray], d_m: FloatArray, rate_mps: FloatArray
) -> None:
    """Start moving actors ``index`` to ``d_m`` at a plateau speed of ``rate_mps`` (less if the way
    is short)."""
    way = d_m - state.d[index]
    rate = np.minimum(np.maximum(np.abs(rate_mps), 1e-3), np.abs(way) / SHIFT_RAMP_S)
    rate = np.maximum(rate, 1e-9)
    state.shift_from[index], state.shift_to[index] = state.d[index], d_m
    state.shift_rate[index] = np.copysign(rate, way)
    state.shift_s[index] = np.abs(way) / rate + SHIFT_RAMP_S
    state.shift_clock[index] = 0.0


def pose_actors(state: WorldState, atlas: MapAtlas) -> None:
    """Update the world poses of all actors from their path coordinates."""
    x, y, heading, _ = atlas.pose(state.map_id[:, None], state.path, state.s, state.d)
    state.ax, state.ay, state.aheading = x, y, heading + state.turn


def braking(state: WorldState) -> BoolArray:
    """[B, A] brake lamps: slowing down, or standing in traffic."""
    slowing = state.actor_accel * np.sign(state.v) < -0.6
    standing = (np.abs(state.v) < 0.1) & (state.behaviour != STATIC)
    return state.present & ~state.agile & (slowing | standing)
