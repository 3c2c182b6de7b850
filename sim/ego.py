"""One tick of the ego: plan, controller, actuators, motion, place on its route."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alpamayo.types import FloatArray
from sim.control import track
from sim.dynamics import (
    actuate,
    course,
    curvature_bound,
    delayed,
    drive,
    slips,
    surface_friction,
)
from sim.judge import note_motion
from sim.kernels import kernel
from sim.params import CONTROLS, Params
from sim.roads.lookup import lane, pose, project, under
from sim.single_track import steady_turn

# A slipping car answers its steering this much later, as far as the controller is concerned.
TYRE_DELAY_S = 0.1


@kernel
def command(w: Any, plan: FloatArray, reference: FloatArray, p: Params) -> tuple[float, float]:
    """What the controller asks for (acceleration, curvature); past the end of its plan the car
    holds speed and curvature. With direct controls: the first row of ``plan`` [K, 2]."""
    if p.action_kind == CONTROLS:
        return plan[0, 0], plan[0, 1]
    last = len(reference) - 1
    now = min(w.plan_tick, last - 1)
    step = now // p.ticks_per_step
    if w.plan_tick >= last:
        return 0.0, plan[step, 1]
    heading, speed = course(w, p)
    delay_s = p.delay_ticks * p.base_tick_s
    if slips(w, p):
        delay_s += TYRE_DELAY_S
    return track(w.x, w.y, heading, speed, reference[now], plan[step, 0], plan[step, 1], delay_s)


@kernel
def move(w: Any, plan: FloatArray, reference: FloatArray, tally: Any, maps: Any, p: Params) -> None:
    """Advance the ego of world ``w`` by one tick and tell ``tally`` how it moved."""
    friction = surface_friction(w)
    accel_command, curvature_command = command(w, plan, reference, p)
    accel_command, curvature_command = delayed(w, accel_command, curvature_command, p)
    w.accel, w.curvature = actuate(
        w.accel, w.curvature, accel_command, curvature_command, w.speed, friction, p
    )
    speed_before, rate_before = w.speed, w.yaw_rate
    distance, lateral = drive(w, friction, p)
    moved_accel = (w.speed - speed_before) / p.tick_s
    note_motion(
        tally,
        moved_accel,
        (moved_accel - w.moved_accel) / p.tick_s,
        lateral,
        w.yaw_rate,
        (w.yaw_rate - rate_before) / p.tick_s,
        max(w.speed - w.speed_limit, 0.0),
    )
    w.moved_accel = moved_accel
    w.plan_tick += 1
    w.route_s, w.route_d = project(maps, w.map_id, w.route, w.x, w.y, w.route_s + distance)
    w.route_heading = pose(maps, w.map_id, w.route, w.route_s, 0.0)[2]
    below = under(maps, w.map_id, w.route, w.route_s)
    w.speed_limit = maps.lanes[lane(maps, w.map_id, below)].speed_limit


@kernel
def start_all(worlds: np.ndarray, p: Params) -> None:
    """Start every world's ego in a steady turn of its ``curvature`` (as far as it can be driven) at
    its ``speed``; ``heading`` comes as the direction it moves in and becomes that of the body."""
    for b in range(len(worlds)):
        w = worlds[b]
        friction = surface_friction(w)
        bound = curvature_bound(w.speed, friction, p)
        w.curvature = min(max(w.curvature, -bound), bound)
        w.yaw_rate = w.speed * w.curvature
        if slips(w, p):
            _, w.lateral_speed, w.yaw_rate = steady_turn(w.curvature, w.speed, friction, p)
            w.heading -= math.atan2(w.lateral_speed, w.speed) if w.speed > 0.0 else 0.0
