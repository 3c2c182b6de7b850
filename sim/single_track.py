"""A car with tyres: the dynamic single-track (bicycle) model with brush tyres on a friction circle.

States: longitudinal and lateral speed of the centre of mass in the frame of the body, yaw rate,
pose; the centre of mass is the middle of the ego box. Equations: Rajamani, "Vehicle Dynamics and
Control" (2nd ed. 2012), section 2.3, here with exact steering geometry and with the longitudinal
speed as a state. Lateral tyre force over slip: Fiala's brush model (Rajamani, chapter 13, for a
parabolic pressure distribution; Pacejka, "Tire and Vehicle Dynamics", ch. 3). Load transfer,
aligning moments and drag are left out.
"""

from __future__ import annotations

import math
from typing import Any

from sim.kernels import kernel
from sim.params import GRAVITY_MPS2, Params

# Steering goes no further than to this share of the lateral grip: beyond it slip grows without
# bound and the force hardly any more.
GRIP_SHARE = 0.95
# Slip angles of a wheel that rolls slower than this are taken as if it rolled at this speed.
_SLOWEST_ROLL_MPS = 0.1
_TINY = 1e-12


@kernel
def axle_grips(friction: float, p: Params) -> tuple[float, float]:
    """Largest horizontal force (N) of the front and the rear axle."""
    weight = friction * p.mass_kg * GRAVITY_MPS2 / p.wheelbase_m
    return weight * p.rear_m, weight * p.front_m


@kernel
def slip_resistance(sideways: float, rolling: float, stiffness: float, grip: float) -> float:
    """Lateral force of a brush tyre over its sideways speed (N s/m), so that force = - resistance *
    ``sideways``; ``rolling`` is its speed ahead, ``grip`` its largest force."""
    rolling = max(abs(rolling), _SLOWEST_ROLL_MPS)
    slip = abs(sideways) / rolling
    full_slip = 3.0 * grip / stiffness
    if slip >= full_slip:
        return grip / max(abs(sideways), _TINY)
    z = slip / full_slip
    return stiffness / rolling * (1.0 - z + z * z / 3.0)


@kernel
def _slip_for(share: float, stiffness: float, grip: float) -> float:
    """Tangent of the slip angle at which a brush tyre gives ``share`` of its grip: the inverse of
    ``slip_resistance``."""
    return 3.0 * grip / stiffness * (1.0 - (1.0 - share) ** (1.0 / 3.0))


@kernel
def steady_turn(
    curvature: float, speed: float, friction: float, p: Params
) -> tuple[float, float, float]:
    """(steering angle, lateral speed, yaw rate) of a steady turn of the centre of mass along
    ``curvature``.

    The steering makes up for the slip of both axles, so that the car neither under- nor oversteers:
    Kapania and Gerdes, "Design of a feedback-feedforward steering controller for accurate path
    tracking and stability at the limits of handling", Vehicle System Dynamics 53 (2015).
    """
    front_grip, rear_grip = axle_grips(friction, p)
    side, lateral = math.copysign(1.0, curvature), abs(curvature) * speed * speed
    share = min(lateral / max(friction * GRAVITY_MPS2, _TINY), GRIP_SHARE)
    front_slip = side * _slip_for(share, p.front_stiffness_n, front_grip)
    rear_slip = side * _slip_for(share, p.rear_stiffness_n, rear_grip)
    # Yaw rate over speed is the curvature of the way, which the middle drives sideslipping.
    turn = curvature
    for _ in range(2):
        sideslip = p.rear_m * turn - rear_slip
        turn = curvature * math.sqrt(1.0 + sideslip * sideslip)
    steer = math.atan(sideslip + p.front_m * turn) + math.atan(front_slip)
    return steer, sideslip * speed, turn * speed


@kernel
def steer_for(curvature: float, speed: float, friction: float, p: Params) -> float:
    """Steering angle that drives along ``curvature`` in a steady turn."""
    return steady_turn(curvature, speed, friction, p)[0]


@kernel
def on_circle(ahead: float, sideways: float, grip: float) -> float:
    """Factor that brings a force demanded of a tyre back onto its friction circle. Both parts
    shrink alike, as with an anti-lock brake: the wheels stay steerable."""
    demanded = math.sqrt(ahead * ahead + sideways * sideways)
    return 1.0 if demanded <= grip else grip / demanded


@kernel
def step_single_track(
    w: Any, accel: float, steer: float, friction: float, p: Params
) -> tuple[float, float]:
    """Move the ego by one tick; the distance driven and the mean lateral acceleration.

    ``accel`` is what the drive train makes of the longitudinal speed as long as the tyres hold.
    """
    h = p.tick_s / p.substeps
    cos_d, sin_d = math.cos(steer), math.sin(steer)
    vx, vy, yaw_rate = w.speed, w.lateral_speed, w.yaw_rate
    x, y, heading = w.x, w.y, w.heading
    distance, lateral_sum = 0.0, 0.0
    for _ in range(p.substeps):
        new_vx, new_vy, new_rate, lateral = substep(
            vx, vy, yaw_rate, accel, cos_d, sin_d, friction, h, p
        )
        ahead, left = 0.5 * (vx + new_vx) * h, 0.5 * (vy + new_vy) * h
        middle = heading + 0.25 * (yaw_rate + new_rate) * h
        cos_m, sin_m = math.cos(middle), math.sin(middle)
        x += ahead * cos_m - left * sin_m
        y += ahead * sin_m + left * cos_m
        heading += 0.5 * (yaw_rate + new_rate) * h
        distance += math.sqrt(ahead * ahead + left * left)
        lateral_sum += lateral
        vx, vy, yaw_rate = new_vx, new_vy, new_rate
    w.x, w.y, w.heading = x, y, heading
    w.speed, w.lateral_speed, w.yaw_rate = vx, vy, yaw_rate
    return distance, lateral_sum / p.substeps


@kernel
def substep(
    vx: float,
    vy: float,
    yaw_rate: float,
    accel: float,
    cos_d: float,
    sin_d: float,
    friction: float,
    h: float,
    p: Params,
) -> tuple[float, float, float, float]:
    """(vx, vy, yaw rate) after ``h`` seconds and the lateral acceleration meanwhile; ``cos_d`` and
    ``sin_d`` are those of the steering angle.

    Tyre forces grow with 1 / vx: at walking pace they are stiff and turn into the rule that wheels
    roll and do not slide. So the step is implicit in the lateral motion (backward Euler with the
    tyres' secant slopes): stable at any speed, and the kinematic bicycle at low ones.
    """
    front_grip, rear_grip = axle_grips(friction, p)
    # A brake stops the car, it does not push it back.
    front_x, front_k, rear_x, rear_k = _demands(
        vx, vy, yaw_rate, max(accel, -vx / h), cos_d, sin_d, front_grip, rear_grip, p
    )
    vy_end, rate_end = _lateral_end(vx, vy, yaw_rate, front_x, front_k, rear_k, cos_d, sin_d, h, p)
    front_sideways = (vy_end + p.front_m * rate_end) * cos_d - vx * sin_d
    front_y = _held(-front_k * front_sideways, front_x, front_grip)
    rear_y = _held(-rear_k * (vy_end - p.rear_m * rate_end), rear_x, rear_grip)
    front_left = front_y * cos_d + front_x * sin_d
    lateral = (front_left + rear_y) / p.mass_kg
    ahead = (front_x * cos_d - front_y * sin_d + rear_x) / p.mass_kg
    new_rate = yaw_rate + h * (p.front_m * front_left - p.rear_m * rear_y) / p.yaw_inertia_kgm2
    # Meanwhile the body turns away from its velocity: a rotation that keeps its length.
    turned = 0.5 * h * new_rate
    cos_t = (1.0 - turned * turned) / (1.0 + turned * turned)
    sin_t = 2.0 * turned / (1.0 + turned * turned)
    vx += h * ahead
    vy += h * lateral
    return max(vx * cos_t + vy * sin_t, 0.0), vy * cos_t - vx * sin_t, new_rate, lateral


@kernel
def _demands(
    vx: float,
    vy: float,
    yaw_rate: float,
    accel: float,
    cos_d: float,
    sin_d: float,
    front_grip: float,
    rear_grip: float,
    p: Params,
) -> tuple[float, float, float, float]:
    """Longitudinal force and slip resistance of the front and the rear axle, on their friction
    circles."""
    m, lf, lr = p.mass_kg, p.front_m, p.rear_m
    front_left = vy + lf * yaw_rate
    front_sideways = front_left * cos_d - vx * sin_d
    rear_sideways = vy - lr * yaw_rate
    front_k = slip_resistance(
        front_sideways, vx * cos_d + front_left * sin_d, p.front_stiffness_n, front_grip
    )
    rear_k = slip_resistance(rear_sideways, vx, p.rear_stiffness_n, rear_grip)
    # The force that keeps to ``accel`` while the body turns and the steered wheels drag, shared
    # between the axles as the weight is.
    wanted = m * (accel - vy * yaw_rate) - front_k * front_sideways * sin_d
    part = wanted / (lr * cos_d + lf)
    front_x, rear_x = part * lr, part * lf
    front_part = on_circle(front_x, front_k * front_sideways, front_grip)
    rear_part = on_circle(rear_x, rear_k * rear_sideways, rear_grip)
    return front_x * front_part, front_k * front_part, rear_x * rear_part, rear_k * rear_part


@kernel
def _lateral_end(
    vx: float,
    vy: float,
    yaw_rate: float,
    front_x: float,
    front_k: float,
    rear_k: float,
    cos_d: float,
    sin_d: float,
    h: float,
    p: Params,
) -> tuple[float, float]:
    """Lateral speed and yaw rate at the end of the step: two linear equations with two unknowns."""
    lf, lr = p.front_m, p.rear_m
    m_h, inertia_h = p.mass_kg / h, p.yaw_inertia_kgm2 / h
    across = front_k * cos_d * cos_d
    pushed = (front_k * cos_d * vx + front_x) * sin_d
    cross = across * lf - rear_k * lr
    a11, a12 = m_h + across + rear_k, p.mass_kg * vx + cross
    a21, a22 = cross, inertia_h + across * lf * lf + rear_k * lr * lr
    b1, b2 = m_h * vy + pushed, inertia_h * yaw_rate + lf * pushed
    scale = 1.0 / (a11 * a22 - a12 * a21)
    return (b1 * a22 - b2 * a12) * scale, (b2 * a11 - b1 * a21) * scale


@kernel
def _held(sideways: float, ahead: float, grip: float) -> float:
    """The lateral force that the friction circle leaves beside ``ahead``."""
    left = math.sqrt(max(grip * grip - ahead * ahead, 0.0))
    return min(max(sideways, -left), left)
