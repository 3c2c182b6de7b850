"""The car with tyres, against closed forms and an independent integrator."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from sim.config import SimConfig, VehicleConfig
from sim.dynamics import actuate, drive
from sim.params import Params, params_of
from sim.single_track import (
    axle_grips,
    slip_resistance,
    steady_turn,
    step_single_track,
    substep,
)
from sim.state import Sizes, allocate

CONFIG = SimConfig(rig=None, ego_model="dynamic")
CAR = CONFIG.vehicle
LENGTH_M = CAR.front_m + CAR.rear_m


def params(config: SimConfig = CONFIG, **vehicle: float) -> Params:
    return params_of(replace(config, vehicle=replace(config.vehicle, **vehicle)), config.tick_s)


def ego(speed: float = 0.0, lateral_speed: float = 0.0, yaw_rate: float = 0.0) -> Any:
    w = allocate(1, Sizes(1, 1, 1, 8, 3, 33, 0)).worlds[0]
    w["speed"], w["lateral_speed"], w["yaw_rate"] = speed, lateral_speed, yaw_rate
    return w


# Tyres -------------------------------------------------------------------------------------
def fiala_n(slip: float, stiffness: float, grip: float) -> float:
    """Lateral force of the brush tyre as a polynomial in the tangent of the slip angle
    (Rajamani, chapter 13, parabolic pressure distribution)."""
    if abs(slip) >= 3.0 * grip / stiffness:
        return -math.copysign(grip, slip)
    square = stiffness**2 / (3.0 * grip) * abs(slip) * slip
    cube = stiffness**3 / (27.0 * grip**2) * slip**3
    return -stiffness * slip + square - cube


@pytest.mark.parametrize("slip", [-0.5, -0.1, -0.01, 1e-4, 0.03, 0.1, 0.13, 2.0])
@pytest.mark.parametrize("grip", [8000.0, 800.0])
def test_tyre_force_is_the_brush_model(slip: float, grip: float) -> None:
    speed = 12.0
    force = -slip_resistance(slip * speed, speed, 120e3, grip) * slip * speed
    assert force == pytest.approx(fiala_n(slip, 120e3, grip), rel=1e-9)
    assert abs(force) <= grip * (1 + 1e-12)


def test_axles_carry_what_their_distance_from_the_centre_gives_them() -> None:
    front, rear = axle_grips(0.5, params())
    assert front + rear == pytest.approx(0.5 * CAR.mass_kg * 9.81)
    assert front * CAR.front_m == pytest.approx(rear * CAR.rear_m)


# Against an independent integrator -----------------------------------------------------------
def integrated(
    start: list[float], accel: float, steer: float, friction: float, time_s: float
) -> list[float]:
    """(x, y, heading, vx, vy, yaw rate) after ``time_s`` by an adaptive Runge-Kutta method."""
    m, lf, lr = CAR.mass_kg, CAR.front_m, CAR.rear_m
    front_grip = friction * m * 9.81 * lr / LENGTH_M
    rear_grip = friction * m * 9.81 * lf / LENGTH_M
    cos_d, sin_d = math.cos(steer), math.sin(steer)

    def scaled(x: float, y: float, grip: float) -> tuple[float, float]:
        shrink = min(1.0, grip / max(math.hypot(x, y), 1e-9))
        return x * shrink, y * shrink

    def slope(_: float, s: Any) -> list[float]:
        _, _, heading, vx, vy, rate = s
        front_angle = math.atan2(vy + lf * rate, vx) - steer
        rear_angle = math.atan2(vy - lr * rate, vx)
        front = fiala_n(math.tan(front_angle), CAR.front_stiffness_n, front_grip)
        rear = fiala_n(math.tan(rear_angle), CAR.rear_stiffness_n, rear_grip)
        pull = (m * (accel - vy * rate) + front * sin_d) / (lr * cos_d + lf)
        front_x, front_y = scaled(pull * lr, front, front_grip)
        rear_x, rear_y = scaled(pull * lf, rear, rear_grip)
        body_y = front_y * cos_d + front_x * sin_d
        return [
            vx * math.cos(heading) - vy * math.sin(heading),
            vx * math.sin(heading) + vy * math.cos(heading),
            rate,
            (front_x * cos_d - front_y * sin_d + rear_x) / m + vy * rate,
            (body_y + rear_y) / m - vx * rate,
            (lf * body_y - lr * rear_y) / CAR.yaw_inertia_kgm2,
        ]

    solution = solve_ivp(slope, (0.0, time_s), start, rtol=1e-8, atol=1e-9)
    return list(solution.y[:, -1])


MANOEUVRES: dict[str, tuple[float, Callable[[float], float], float, float]] = {
    "slalom": (30.0, lambda t: 0.02 * math.sin(2 * t), 0.0, 1.0),
    "wet turn, slowing": (12.0, lambda t: 0.1, -1.0, 0.6),
    "braking in a turn on snow": (20.0, lambda t: 0.05, -4.0, 0.4),
    "tight turn, pulling away": (4.0, lambda t: 0.4, 0.5, 0.9),
}


@pytest.mark.parametrize("name", MANOEUVRES)
def test_the_car_moves_as_an_independent_integrator_says(name: str) -> None:
    speed, steer, accel, friction = MANOEUVRES[name]
    errors = []
    for substep_s in (0.005, 0.0025):
        p, w = params(substep_s=substep_s), ego(speed)
        truth = [0.0, 0.0, 0.0, speed, 0.0, 0.0]
        worst, largest = 0.0, 0.0
        for i in range(30):
            truth = integrated(truth, accel, steer(0.1 * i), friction, 0.1)
            step_single_track(w, accel, steer(0.1 * i), friction, p)
            worst = max(worst, abs(w["yaw_rate"] - truth[5]))
            largest = max(largest, abs(truth[5]))
        assert math.hypot(w["x"] - truth[0], w["y"] - truth[1]) < 0.08
        assert w["heading"] == pytest.approx(truth[2], abs=0.02)
        np.testing.assert_allclose(
            [w["speed"], w["lateral_speed"]], [truth[3], truth[4]], atol=0.06
        )
        errors.append(worst / largest)
    # The error is small and shrinks with the step: the same differential equation.
    assert errors[0] < 0.02 and errors[1] < 0.6 * errors[0]


# Closed forms --------------------------------------------------------------------------------
@pytest.mark.parametrize("speed", [5.0, 12.0, 20.0, 30.0, 40.0])
@pytest.mark.parametrize("balance", ["understeering", "neutral"])
def test_the_yaw_gain_of_the_linear_range_is_the_closed_form(speed: float, balance: str) -> None:
    # Rajamani, section 3.3: yaw rate = v / (L + K v^2) * steering angle.
    rear = CAR.rear_stiffness_n
    if balance == "neutral":
        rear = CAR.front_m * CAR.front_stiffness_n / CAR.rear_m
    p, w, steer = params(rear_stiffness_n=rear), ego(speed), 1e-4
    for _ in range(60):
        step_single_track(w, 0.0, steer, 1.0, p)
    front = CAR.front_stiffness_n
    understeer = CAR.mass_kg * (CAR.rear_m * rear - CAR.front_m * front) / (LENGTH_M * front * rear)
    assert (understeer > 1e-3) == (balance == "understeering")
    expected = speed / (LENGTH_M + understeer * speed**2) * steer
    assert w["yaw_rate"] == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize(
    ("speed", "radius"), [(2.0, 8.0), (5.0, 10.0), (10.0, 30.0), (20.0, 80.0), (35.0, 300.0)]
)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_steady_turn_has_the_radius_that_was_asked_for(
    speed: float, radius: float, side: float
) -> None:
    p = params()
    steer, lateral_speed, rate = steady_turn(side / radius, speed, 1.0, p)
    w = ego(speed, lateral_speed, rate)
    w["heading"] = -math.atan2(lateral_speed, speed)  # it moves along x at first
    for _ in range(60):
        step_single_track(w, 0.0, steer, 1.0, p)
        assert math.hypot(w["x"], w["y"] - side * radius) == pytest.approx(radius, rel=0.015)


@pytest.mark.parametrize("friction", [1.0, 0.5, 0.1])
def test_full_braking_takes_the_distance_of_the_closed_form(friction: float) -> None:
    p = params(replace(CONFIG, actuator_lag_s=0.0, max_brake_mps2=100.0))
    w, driven = ego(25.0), 0.0
    for _ in range(400):
        w["accel"], w["curvature"] = actuate(
            w["accel"], w["curvature"], -100.0, 0.0, w["speed"], friction, p
        )
        driven += drive(w, friction, p)[0]
    assert w["speed"] == 0.0
    assert driven == pytest.approx(25.0**2 / (2 * friction * 9.81), rel=1e-4)
    assert w["x"] == pytest.approx(driven)


@pytest.mark.parametrize("friction", [1.0, 0.3, 0.1])
def test_cornering_saturates_at_the_grip_of_the_road(friction: float) -> None:
    w, p = ego(20.0), params()
    lateral = [step_single_track(w, 0.0, 0.3, friction, p)[1] for _ in range(40)]
    limit = friction * 9.81
    assert max(np.abs(lateral)) <= limit * (1 + 1e-9)
    assert max(np.abs(lateral)) > 0.9 * limit


def test_without_friction_the_car_slides_straight_on_while_it_turns() -> None:
    w, p = ego(10.0, 2.0, 0.5), params()
    for _ in range(20):
        step_single_track(w, -8.0, 0.3, 0.0, p)
    assert w["heading"] == pytest.approx(0.5 * 2.0) and w["yaw_rate"] == 0.5
    np.testing.assert_allclose([w["x"], w["y"]], [20.0, 4.0], atol=0.02)
    assert math.hypot(w["speed"], w["lateral_speed"]) == pytest.approx(math.hypot(10.0, 2.0), 1e-3)


@pytest.mark.parametrize("speed", [0.2, 1.0, 3.0])
def test_at_walking_pace_wheels_roll_where_they_point(speed: float) -> None:
    w, p, steer = ego(speed), params(), 0.3
    for _ in range(30):
        step_single_track(w, 0.0, steer, 1.0, p)
    rate = w["speed"] * math.tan(steer) / LENGTH_M
    assert w["yaw_rate"] == pytest.approx(rate, rel=0.02)
    assert w["lateral_speed"] == pytest.approx(CAR.rear_m * rate, rel=0.05)


def test_a_standing_car_stays_whatever_its_wheels_do() -> None:
    w, p = ego(), params()
    for steer in (0.5, -0.5, 0.0):
        step_single_track(w, -8.0, steer, 1.0, p)
    assert [w[k] for k in ("x", "y", "heading", "speed", "lateral_speed", "yaw_rate")] == [0.0] * 6


@pytest.mark.parametrize("speed", [0.0, 0.05, 0.5, 2.0, 5.0, 10.0, 20.0, 30.0, 40.0])
@pytest.mark.parametrize("tick_s", [0.05, 0.1, 0.2])
def test_disturbances_die_out_at_every_speed(speed: float, tick_s: float) -> None:
    p = params(replace(CONFIG, tick_s=tick_s))
    w = ego(speed, lateral_speed=0.5, yaw_rate=0.2)
    sizes = []
    for _ in range(round(4.0 / tick_s)):
        step_single_track(w, 0.0, 0.0, 1.0, p)
        sizes.append(abs(w["lateral_speed"]) + abs(w["yaw_rate"]))
    assert sizes[-1] < 1e-3
    second = round(1.0 / tick_s)
    assert max(sizes[second:]) < 0.5 * 0.7 and max(sizes[3 * second :]) < 0.02


# Whatever happens ------------------------------------------------------------------------------
SPEED, SPIN = st.floats(0.0, 70.0), st.floats(-5.0, 5.0)
ANY = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(SPEED, st.floats(-30.0, 30.0), SPIN, ANY, st.floats(-1.2, 1.2), st.floats(0.0, 1.5))
def test_forces_never_exceed_the_friction_circle(
    vx: float, vy: float, rate: float, accel: float, steer: float, friction: float
) -> None:
    h, p = 0.005, params()
    new_vx, new_vy, new_rate, lateral = substep(
        vx, vy, rate, accel, math.cos(steer), math.sin(steer), friction, h, p
    )
    assert np.isfinite([new_vx, new_vy, new_rate, lateral]).all() and new_vx >= 0.0
    assert abs(lateral) <= friction * 9.81 + 1e-6
    if new_vx > 0.0:
        # Turned back with the body, what is left of the change of velocity came from the tyres.
        turned = 2.0 * math.atan(0.5 * h * new_rate)
        ahead = (new_vx * math.cos(turned) - new_vy * math.sin(turned) - vx) / h
        assert math.hypot(ahead, lateral) <= friction * 9.81 * (1 + 1e-6) + 1e-6


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(ANY, ANY, st.floats(0.0, 1.5)), min_size=1, max_size=25),
    SPEED, st.floats(-10.0, 10.0), SPIN,
)  # fmt: skip
def test_no_commands_make_the_car_go_wild(
    commands: list[tuple[float, float, float]], vx: float, vy: float, rate: float
) -> None:
    p, w = params(), ego(vx, vy, rate)
    energy = w["speed"] ** 2 + w["lateral_speed"] ** 2
    for accel, curvature, friction in commands:
        w["accel"], w["curvature"] = actuate(
            w["accel"], w["curvature"], accel, curvature, w["speed"], friction, p
        )
        _, lateral = drive(w, friction, p)
        values = [w[k] for k in ("x", "y", "heading", "speed", "lateral_speed", "yaw_rate")]
        assert np.isfinite(values).all() and w["speed"] >= 0.0
        assert abs(lateral) <= friction * 9.81 * (1 + 1e-9)
        before, energy = energy, w["speed"] ** 2 + w["lateral_speed"] ** 2
        gained = math.sqrt(energy) - math.sqrt(before)
        assert gained <= friction * 9.81 * 0.1 + 1e-6
    assert abs(w["yaw_rate"]) <= 8.0


def test_the_default_car_understeers_by_about_a_degree_per_g() -> None:
    front, rear = CAR.front_stiffness_n, CAR.rear_stiffness_n
    gradient = CAR.mass_kg * (CAR.rear_m / front - CAR.front_m / rear) / LENGTH_M
    assert math.degrees(gradient * 9.81) == pytest.approx(1.0, abs=0.2)
    assert VehicleConfig() == CAR
