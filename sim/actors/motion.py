"""How everybody but the ego moves: along and across paths, on foot, as recorded, as a part of
another."""

from __future__ import annotations

import math
from typing import Any

from sim.actors.lanes import pass_on
from sim.actors.parts import hang, swing
from sim.actors.pedestrians import walk
from sim.actors.posing import pose_on_path
from sim.actors.replaying import replay
from sim.actors.respawning import enter, is_stuck
from sim.actors.rolling import roll, rolls
from sim.actors.shift import advance_shift, begin_shift
from sim.kernels import kernel
from sim.state import ATTACHED, IDM, LOG, STATIC, WALK

__all__ = ["begin_shift", "move", "pose_all"]

MOVING_MPS = 0.05


@kernel
def move(w: Any, a: Any, accel: Any, maps: Any, logs: Any, p: Any) -> None:
    """Advance all actors of a world by one tick. ``accel`` [A]: accelerations of IDM actors;
    ``logs`` [R, 5]: rows of recorded actors."""
    time_s = (w.tick + p.stride) * p.base_tick_s
    for i in range(w.actor_count):
        behaviour = a[i].behaviour
        if behaviour == LOG:
            replay(w, a, i, maps, logs, time_s, p.tick_s)
        elif not a[i].present:
            if a[i].respawns:
                enter(w, a, i, maps, p.tick_s)
        elif behaviour == WALK:
            walk(w, a, i, maps, p.tick_s)
        elif behaviour == ATTACHED:
            swing(a, i, p.tick_s)
        elif is_stuck(w, a[i]):
            a[i].present = False
        elif behaviour != STATIC:
            _drive_on(w, a, i, accel[i], maps, p.tick_s)
    for i in range(w.actor_count):  # their parents have moved
        if a[i].behaviour == ATTACHED:
            hang(w, a, i, maps)


@kernel
def _drive_on(w: Any, a: Any, i: int, accel: float, maps: Any, tick_s: float) -> None:
    """Advance a driving or scripted actor along and across its path."""
    if rolls(a[i]):
        roll(a, i, tick_s)
    else:
        v = a[i].v
        if a[i].behaviour == IDM:
            change = max(accel * tick_s, -v)
        else:
            ramp = a[i].target_accel * tick_s
            change = min(max(a[i].target_v - v, -ramp), ramp)
        a[i].v = v + change
        a[i].actor_accel = (a[i].v - v) / tick_s
        a[i].s += 0.5 * (v + a[i].v) * tick_s
        advance_shift(a, i, tick_s)
    _face(a, i)
    a[i].present = pass_on(w, a, i, maps)
    pose_on_path(w, a, i, maps)


@kernel
def _face(a: Any, i: int) -> None:
    """Turn an actor where it moves. A vehicle that faces along its path and moves against it is
    backing; one that faces against the path is a wrong-way driver."""
    v, vd = a[i].v, a[i].vd
    if max(abs(v), abs(vd)) > MOVING_MPS:
        if v < 0.0 and not a[i].agile and math.cos(a[i].turn) > 0.0:
            a[i].turn = math.atan2(-vd, -v)
        else:
            a[i].turn = math.atan2(vd, v)


@kernel
def pose_all(worlds: Any, actors: Any, maps: Any, logs: Any) -> None:
    """Pose all actors of all worlds [B] where they are now, recorded ones where their log starts
    them."""
    for b in range(len(worlds)):
        w, a = worlds[b], actors[b]
        for i in range(w.actor_count):
            if a[i].behaviour == LOG:
                replay(w, a, i, maps, logs, 0.0, 0.0)
            elif a[i].behaviour != ATTACHED:
                pose_on_path(w, a, i, maps)
        for i in range(w.actor_count):
            if a[i].behaviour == ATTACHED:
                hang(w, a, i, maps)
