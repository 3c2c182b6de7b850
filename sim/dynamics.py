"""Ego motion. ``kinematic``: a unicycle at the middle of the ego box, integrated exactly along arcs
(plans and the car use the same integration, so a plan that the actuators can follow is followed
without error). ``dynamic``: the single-track model of ``sim.single_track``. In reverse gear, where
a car is slow and its tyres hardly slip, the former drives in either case; the box is the same from
both ends, so all that differs is a top speed.

Friction is the tyre-road coefficient under the car: it limits what both models can do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alpamayo.types import REVERSE_TOP_MPS, FloatArray
from sim.kernels import kernel
from sim.params import DYNAMIC, GRAVITY_MPS2, Params
from sim.single_track import steer_for, step_single_track
from sim.state import PATCHES

# No car gets near this acceleration or curvature; numbers beyond it would only overflow.
_ABSURD = 1e3
# Below this speed the course of a slipping car is no longer told from its slow sideways motion.
_COURSE_SPEED_MPS = 0.5


@kernel
def advance(
    x: float, y: float, heading: float, distance_m: float, curvature: float
) -> tuple[float, float, float]:
    """Pose after ``distance_m`` along an arc of ``curvature``: exact for constant curvature."""
    half_turn = 0.5 * distance_m * curvature
    chord = distance_m if half_turn == 0.0 else distance_m * (math.sin(half_turn) / half_turn)
    middle = heading + half_turn
    return (
        x + chord * math.cos(middle),
        y + chord * math.sin(middle),
        heading + 2.0 * half_turn,
    )


@kernel
def integrate_plan(
    x: float,
    y: float,
    heading: float,
    speed: float,
    plan: FloatArray,
    reference: FloatArray,
    p: Params,
) -> None:
    """Write the poses of ``plan`` [K, 2], driven from the given pose on, to ``reference`` [N, 4]
    (x, y, heading, speed); N = K * ``p.ticks_per_step`` + 1.

    Speeds do not go below zero: with S the unclamped speeds, the clamped recursion max(0, v + dv)
    equals S - min(0, running minimum of S).
    """
    free, lowest = speed, min(speed, 0.0)
    _put(reference, 0, x, y, heading, speed)
    for i in range(1, len(reference)):
        step = (i - 1) // p.ticks_per_step
        accel = min(max(plan[step, 0], -_ABSURD), _ABSURD)
        curvature = min(max(plan[step, 1], -_ABSURD), _ABSURD)
        free += accel * p.tick_s
        lowest = min(lowest, free)
        new_speed = free - lowest
        distance = 0.5 * (speed + new_speed) * p.tick_s
        x, y, heading = advance(x, y, heading, distance, curvature)
        speed = new_speed
        _put(reference, i, x, y, heading, speed)


@kernel
def _put(reference: FloatArray, i: int, x: float, y: float, heading: float, speed: float) -> None:
    reference[i, 0] = x
    reference[i, 1] = y
    reference[i, 2] = heading
    reference[i, 3] = speed


@kernel
def speed_step(speed: float, accel: float, tick_s: float) -> tuple[float, float]:
    """New speed (not below zero) and distance of one tick."""
    new_speed = max(speed + accel * tick_s, 0.0)
    return new_speed, 0.5 * (speed + new_speed) * tick_s


@kernel
def surface_friction(w: Any) -> float:
    """The coefficient where the ego is: of the last patch of its route that it is on, else the
    world's."""
    friction = w.friction
    driven = w.route_s - w.start_s
    for i in range(PATCHES):
        if w.patches[i, 0] <= driven <= w.patches[i, 1]:
            friction = w.patches[i, 2]
    return max(friction, 0.0)


@kernel
def curvature_bound(speed: float, friction: float, p: Params) -> float:
    """Largest curvature that steering and tyres allow at ``speed``."""
    lateral = min(p.max_lateral_accel, friction * GRAVITY_MPS2)
    return min(p.max_curvature, lateral / max(speed * speed, 1e-6))


@kernel
def actuate(
    accel: float,
    curvature: float,
    accel_command: float,
    curvature_command: float,
    speed: float,
    friction: float,
    p: Params,
) -> tuple[float, float]:
    """Acceleration and curvature after one tick of first-order lag (``p.blend``), within the limits
    of the car and of the surface."""
    bound = curvature_bound(speed, friction, p)
    brake = min(p.max_brake, friction * GRAVITY_MPS2)
    drive = min(p.max_accel, friction * GRAVITY_MPS2)
    accel_command = min(max(accel_command, -brake), drive)
    curvature_command = min(max(curvature_command, -bound), bound)
    new_accel = accel + (accel_command - accel) * p.blend
    new_curvature = curvature + (curvature_command - curvature) * p.blend
    return min(max(new_accel, -brake), drive), min(max(new_curvature, -bound), bound)


@kernel
def delayed(w: Any, accel: float, curvature: float, p: Params) -> tuple[float, float]:
    """The command that reaches the actuators in this tick, and keep the given one on its way.

    ``w.pending`` holds the commands of the last ``p.delay_ticks`` base ticks. A tick of several
    base ticks gets their mean. Until the first command arrives, the actuators stay as they are.
    """
    waiting = p.delay_ticks
    if waiting == 0:
        return accel, curvature
    accel_sum, curvature_sum = 0.0, 0.0
    for j in range(p.stride):
        if w.tick + j < waiting:
            accel_sum += w.accel
            curvature_sum += w.curvature
        elif j < waiting:
            accel_sum += w.pending[j, 0]
            curvature_sum += w.pending[j, 1]
        else:
            accel_sum += accel
            curvature_sum += curvature
    for j in range(waiting):
        later = j + p.stride
        w.pending[j, 0] = w.pending[later, 0] if later < waiting else accel
        w.pending[j, 1] = w.pending[later, 1] if later < waiting else curvature
    return accel_sum / p.stride, curvature_sum / p.stride


@kernel
def slips(w: Any, p: Params) -> bool:
    """Whether the ego moves by its tyres' slip."""
    return p.ego_model == DYNAMIC and not w.reversing


@kernel
def course(w: Any, p: Params) -> tuple[float, float]:
    """Direction and speed in which the middle of the ego moves: heading and speed unless the car
    slips."""
    if not slips(w, p):
        return w.heading, w.speed
    slip = math.atan2(w.lateral_speed, max(w.speed, _COURSE_SPEED_MPS))
    return w.heading + slip, math.hypot(w.speed, w.lateral_speed)


def course_heading(worlds: np.ndarray) -> FloatArray:
    """[B] directions in which the egos of world records ``worlds`` [B] move: see ``course``."""
    sideways, ahead = worlds["lateral_speed"], np.maximum(worlds["speed"], _COURSE_SPEED_MPS)
    direction: FloatArray = worlds["heading"] + np.arctan2(sideways, ahead)
    return direction


@kernel
def drive(w: Any, friction: float, p: Params) -> tuple[float, float]:
    """Move the ego by one tick with its present acceleration and curvature; the distance driven
    and the mean lateral acceleration."""
    if w.reversing:
        w.accel = min(w.accel, (REVERSE_TOP_MPS - w.speed) / p.tick_s)
    if slips(w, p):
        steer = steer_for(w.curvature, w.speed, friction, p)
        return step_single_track(w, w.accel, steer, friction, p)
    speed, distance = speed_step(w.speed, w.accel, p.tick_s)
    w.x, w.y, w.heading = advance(w.x, w.y, w.heading, distance, w.curvature)
    w.speed = speed
    w.yaw_rate = speed * w.curvature
    return distance, speed * w.yaw_rate
