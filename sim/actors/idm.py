"""Intelligent Driver Model: Treiber, Hennecke, Helbing, "Congested traffic states in empirical
observations and microscopic simulations", Phys. Rev. E 62 (2000), with a bound on braking and
leaders found in path coordinates.

The ego is one more participant: column 0 of the arrays of ``Neighbours``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alpamayo.types import EGO_SIZE_M, BoolArray, FloatArray, IntArray
from sim.actors.paths import YIELD_BACK_M, PathFacts
from sim.roads.atlas import MapAtlas
from sim.signals import GREEN, YELLOW
from sim.state import IDM, WorldState

MAX_ACCEL_MPS2 = 1.5
COMFORT_BRAKE_MPS2 = 2.0
HARDEST_BRAKE_MPS2 = 8.0
MIN_GAP_M = 2.0
CORRIDOR_MARGIN_M = 0.3
MERGE_LOOK_M = 60.0
MERGE_CORRIDOR_M = 4.0
STOP_LINE_SLACK_M = 1.0
YELLOW_BRAKE_MPS2 = 4.0
GIVE_WAY_S = 5.0
BEHIND_M = 6.0
_BRAKE_SCALE = 2.0 * np.sqrt(MAX_ACCEL_MPS2 * COMFORT_BRAKE_MPS2)


@dataclass(frozen=True)
class Neighbours:
    """Everyone who may stand in the way, [B, A + 1]; column 0 is the ego on its route."""

    x: FloatArray
    y: FloatArray
    path: IntArray
    s: FloatArray
    d: FloatArray
    turn: FloatArray
    speed: FloatArray
    length: FloatArray
    width: FloatArray
    present: BoolArray

    @staticmethod
    def of(state: WorldState) -> Neighbours:
        def join(ego: Any, actors: Any) -> Any:
            both = np.empty((actors.shape[0], actors.shape[1] + 1), dtype=actors.dtype)
            both[:, 0] = ego
            both[:, 1:] = actors
            return both

        return Neighbours(
            x=join(state.x, state.ax),
            y=join(state.y, state.ay),
            path=join(state.route, state.path),
            s=join(state.route_s, state.s),
            d=join(state.route_d, state.d),
            turn=join(state.heading - state.route_heading, state.turn),
            speed=join(state.speed, np.hypot(state.v, state.vd)),
            length=join(EGO_SIZE_M[0], state.length),
            width=join(EGO_SIZE_M[1], state.width),
            present=join(True, state.present),
        )


def interaction(
    speed: FloatArray, gap: FloatArray, closing: FloatArray, headway: FloatArray
) -> FloatArray:
    """(desired gap / gap) squared, for gaps bumper to bumper."""
    wanted = MIN_GAP_M + np.maximum(speed * headway + speed * closing / _BRAKE_SCALE, 0.0)
    ratio = wanted / np.maximum(gap, 0.1)
    return ratio * ratio


def acceleration(speed: FloatArray, desired: FloatArray, pressing: FloatArray) -> FloatArray:
    """IDM acceleration with the interaction term ``pressing``, bounded."""
    ratio = speed / np.maximum(desired, 0.1)
    ratio = ratio * ratio
    free = MAX_ACCEL_MPS2 * (1.0 - ratio * ratio - pressing)
    return np.clip(free, -HARDEST_BRAKE_MPS2, MAX_ACCEL_MPS2)


def idm_accelerations(
    state: WorldState,
    atlas: MapAtlas,
    facts: PathFacts,
    signals: IntArray,
    running: BoolArray,
) -> tuple[tuple[IntArray, IntArray], FloatArray]:
    """((worlds, actors), accelerations) of all present IDM actors of running worlds."""
    b, a = np.nonzero((state.behaviour == IDM) & state.present & running[:, None])
    index = (b, a)
    if not len(b):
        return index, np.zeros(0)
    speed, path, s = state.v[index], state.path[index], state.s[index]
    map_id, headway = state.map_id[b], state.headway[index]
    front = s + 0.5 * state.length[index]
    near = Neighbours.of(state)
    pressing = _leaders(state, near, atlas, facts, b, a, speed, headway)
    stop = _stop_gap(state, signals, b, index, front, speed)
    left = state.gives_way[index]
    if left.any():
        stop[left] = np.minimum(stop[left], _give_way_gap(state, near, facts, b[left], a[left]))
    halted = interaction(speed, stop + STOP_LINE_SLACK_M, speed, headway)
    pressing = np.maximum(pressing, np.where(np.isfinite(stop), halted, 0.0))
    desired = np.minimum(state.desired[index], facts.bend_speed(map_id, path, s))
    return index, acceleration(speed, desired, pressing)


def _leaders(
    state: WorldState,
    near: Neighbours,
    atlas: MapAtlas,
    facts: PathFacts,
    b: IntArray,
    a: IntArray,
    speed: FloatArray,
    headway: FloatArray,
) -> FloatArray:
    """[n] strongest interaction of each actor (b, a) with anyone ahead in its corridor."""
    i, j = _candidates(state, near, facts, b, a)
    world, actor = b[i], a[i]
    s, d = state.s[world, actor], state.d[world, actor]
    their_s, their_d, turn = atlas.between(
        state.map_id[world], state.path[world, actor],
        near.path[world, j], near.s[world, j], near.d[world, j],
    )  # fmt: skip
    turn = turn + near.turn[world, j]
    cos_t = np.cos(turn)
    along, across = np.abs(cos_t), np.abs(np.sin(turn))
    their_length, their_width = near.length[world, j], near.width[world, j]
    ahead = their_s - s
    gap = ahead - 0.5 * (state.length[world, actor] + their_length * along + their_width * across)
    reach = 0.5 * (state.width[world, actor] + their_length * across + their_width * along)
    merge_s = state.merge_s[world, actor]
    merging = (s < merge_s) & (s > merge_s - MERGE_LOOK_M) & (cos_t > 0.8)
    reach = np.where(merging, MERGE_CORRIDOR_M, reach + CORRIDOR_MARGIN_M)
    blocking = (ahead > 0.0) & (np.abs(their_d - d) < reach)
    v = speed[i]
    pressing = interaction(v, gap, v - near.speed[world, j] * cos_t, headway[i])
    by_pair = np.zeros((len(b), near.s.shape[1]))
    by_pair[i, j] = np.where(blocking, pressing, 0.0)
    return by_pair.max(axis=1)


def _candidates(
    state: WorldState, near: Neighbours, facts: PathFacts, b: IntArray, a: IntArray
) -> tuple[IntArray, IntArray]:
    """Pairs (index into the actors, column of ``near``) worth a closer look: present, not plainly
    behind, and not kept out of the corridor by parallel paths."""
    heading = state.aheading[b, a]
    dx, dy = near.x[b] - state.ax[b, a][:, None], near.y[b] - state.ay[b, a][:, None]
    ahead = dx * np.cos(heading)[:, None] + dy * np.sin(heading)[:, None]
    apart = facts.apart_m[state.map_id[b][:, None], state.path[b, a][:, None], near.path[b]]
    spread = np.abs(near.d) + 0.5 * (near.width + near.length * np.abs(np.sin(near.turn)))
    own = np.abs(state.d[b, a]) + 0.5 * state.width[b, a] + 2.0 * CORRIDOR_MARGIN_M
    wanted = near.present[b] & (ahead > -BEHIND_M) & (apart < spread[b] + own[:, None])
    wanted[np.arange(len(b)), a + 1] = False
    i, j = np.nonzero(wanted)
    return i, j


def _stop_gap(
    state: WorldState,
    signals: IntArray,
    b: IntArray,
    index: tuple[IntArray, IntArray],
    front: FloatArray,
    speed: FloatArray,
) -> FloatArray:
    """[n] distance from the front bumper to a stop line that must be obeyed now (inf: none)."""
    room = state.actor_stop_s[index] - front
    shown = signals[b, np.maximum(state.actor_group[index], 0)]
    can_stop = speed * speed < 2.0 * YELLOW_BRAKE_MPS2 * np.maximum(room, 0.0)
    obeys = (shown != GREEN) & ((shown != YELLOW) | can_stop) & (room > -STOP_LINE_SLACK_M)
    obeys &= (state.actor_group[index] >= 0) & ~state.runs_light[index]
    return np.where(obeys, np.maximum(room, 0.0), np.inf)


def _give_way_gap(
    state: WorldState, near: Neighbours, facts: PathFacts, b: IntArray, a: IntArray
) -> FloatArray:
    """[n] distance to the yield point of left-turning actors while oncoming traffic is too close
    (inf: free)."""
    map_id, path = state.map_id[b][:, None], state.path[b, a][:, None]
    on_ours = facts.conflict_s_p[map_id, path, near.path[b]]
    on_theirs = facts.conflict_s_q[map_id, path, near.path[b]]
    conflicting = np.isfinite(on_ours) & near.present[b]
    room = np.where(conflicting, on_ours, 1e6) - YIELD_BACK_M
    room = room - (state.s[b, a] + 0.5 * state.length[b, a])[:, None]
    to_go = np.where(conflicting, on_theirs, 1e6) - near.s[b]
    coming = (to_go > -near.length[b]) & (to_go < GIVE_WAY_S * np.maximum(near.speed[b], 0.1))
    waits = conflicting & coming & (room > -STOP_LINE_SLACK_M) & ~state.runs_light[b, a][:, None]
    return np.where(waits, np.maximum(room, 0.0), np.inf).min(axis=1)
