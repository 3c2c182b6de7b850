"""The kinematic ego, its actuators and the integration of plans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import FloatArray, RequestError
from sim.config import SimConfig
from sim.dynamics import (
    actuate,
    advance,
    course,
    course_heading,
    curvature_bound,
    delayed,
    drive,
    integrate_plan,
    speed_step,
    surface_friction,
)
from sim.params import Params, lag_blend, params_of, whole_ticks
from sim.state import DELAY_TICKS, Sizes, WorldState, allocate

CONFIG = SimConfig(rig=None)
FINITE = st.floats(-1e6, 1e6)
UNHURRIED = settings(deadline=None, max_examples=60)  # the first call compiles


def params(config: SimConfig = CONFIG, stride: int = 1) -> Params:
    return params_of(config, stride * config.tick_s, stride)


def worlds(count: int = 1) -> WorldState:
    return allocate(count, Sizes(1, 1, 1, 8, 3, 33, 0))


def reference_of(plan: FloatArray, speed: float, p: Params) -> FloatArray:
    reference = np.zeros((len(plan) * p.ticks_per_step + 1, 4))
    integrate_plan(0.0, 0.0, 0.0, speed, plan, reference, p)
    return reference


# Arcs and plans ----------------------------------------------------------------------------
def test_constant_curvature_closes_a_circle_exactly() -> None:
    radius, steps = 20.0, 50
    x, y, heading = 3.0, -2.0, 0.7
    arc = 2 * np.pi * radius / steps
    middle = (x - radius * np.sin(heading), y + radius * np.cos(heading))
    for _ in range(steps):
        x, y, heading = advance(x, y, heading, arc, 1 / radius)
        assert np.hypot(x - middle[0], y - middle[1]) == pytest.approx(radius, abs=1e-9)
    np.testing.assert_allclose([x, y, heading], [3.0, -2.0, 0.7 + 2 * np.pi], atol=1e-9)


@pytest.mark.parametrize("curvature", [0.0, 1e-300, 1e-12])
def test_the_straight_limit_of_an_arc_is_a_straight(curvature: float) -> None:
    x, y, heading = advance(1.0, 2.0, 0.0, 5.0, curvature)
    np.testing.assert_allclose([x, y, heading], [6.0, 2.0, 0.0], atol=1e-10)


def test_plan_integration_matches_the_closed_forms() -> None:
    t = np.arange(33) * 0.1
    straight = reference_of(np.array([[-2.0, 0.0]] * 8), 10.0, params())
    np.testing.assert_allclose(straight[:, 0], 10 * t - t**2, atol=1e-9)
    np.testing.assert_allclose(straight[:, 3], 10 - 2 * t, atol=1e-9)
    circle = reference_of(np.array([[0.0, 0.1]] * 8), 5.0, params())
    angle = 5 * t * 0.1
    np.testing.assert_allclose(circle[:, 0], 10 * np.sin(angle), atol=1e-9)
    np.testing.assert_allclose(circle[:, 1], 10 * (1 - np.cos(angle)), atol=1e-9)
    np.testing.assert_allclose(circle[:, 2], angle, atol=1e-9)


def test_a_plan_never_drives_backwards_and_may_start_again_after_standing() -> None:
    plan = np.array([[-8.0, 0.0], [-8.0, 0.0], [2.0, 0.0], [2.0, 0.0]])
    speed = reference_of(plan, 4.0, params())[:, 3]
    expected = [4.0]
    for k in range(16):
        expected.append(max(0.0, expected[-1] + plan[k // 4, 0] * 0.1))
    np.testing.assert_allclose(speed, expected, atol=1e-9)
    assert speed.min() == 0.0 and speed[-1] == pytest.approx(1.6)


@UNHURRIED
@given(
    st.lists(st.tuples(st.floats(-9, 5), st.floats(-0.2, 0.2)), min_size=1, max_size=8),
    st.floats(0, 40),
)
def test_plan_integration_equals_a_vectorised_one(
    rows: list[tuple[float, float]], speed: float
) -> None:
    plan = np.array(rows)
    accel, curvature = np.repeat(plan, 4, axis=0).T
    free = np.cumsum(np.concatenate([[speed], accel * 0.1]))
    speeds = free - np.minimum(np.minimum.accumulate(free), 0.0)
    distance = 0.5 * (speeds[:-1] + speeds[1:]) * 0.1
    half_turn = 0.5 * distance * curvature
    heading = np.concatenate([[0.0], np.cumsum(2.0 * half_turn)])
    chord = distance * np.sinc(half_turn / np.pi)
    x = np.concatenate([[0.0], np.cumsum(chord * np.cos(heading[:-1] + half_turn))])
    y = np.concatenate([[0.0], np.cumsum(chord * np.sin(heading[:-1] + half_turn))])
    expected = np.stack([x, y, heading, speeds], axis=-1)
    np.testing.assert_allclose(reference_of(plan, speed, params()), expected, atol=1e-11)


@UNHURRIED
@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=1))
def test_no_plan_however_absurd_integrates_to_nan(rows: list[tuple[float, float]]) -> None:
    assert np.isfinite(reference_of(np.array(rows), 10.0, params())).all()


# Actuators ---------------------------------------------------------------------------------
def test_actuators_lag_and_saturate() -> None:
    p = params()
    blend = 1 - np.exp(-1)
    assert p.blend == lag_blend(0.1, 0.1) == pytest.approx(blend)
    assert lag_blend(0.1, 0.0) == 1.0
    slow = actuate(0.0, 0.0, -20.0, 1.0, 1.0, 1.0, p)
    fast = actuate(0.0, 0.0, 20.0, -1.0, 20.0, 1.0, p)
    np.testing.assert_allclose(slow, [-8.0 * blend, 0.2 * blend])
    np.testing.assert_allclose(fast, [4.0 * blend, -7.0 / 400.0 * blend])
    assert curvature_bound(0.0, 1.0, p) == 0.2
    assert curvature_bound(20.0, 1.0, p) == pytest.approx(7.0 / 400.0)


def test_a_slippery_road_takes_grip_from_brake_drive_and_steering() -> None:
    p = params(replace(CONFIG, actuator_lag_s=0.0))
    grip = 0.2 * 9.81
    for command, expected in ((-9.0, -grip), (9.0, grip)):
        accel, curvature = actuate(0.0, 0.0, command, command, 10.0, 0.2, p)
        assert accel == pytest.approx(expected)
        assert curvature == pytest.approx(expected / 100.0)
    # Driving onto ice, what the actuators did before is cut down at once.
    accel, _ = actuate(-8.0, 0.0, -8.0, 0.0, 10.0, 0.1, params())
    assert accel == pytest.approx(-0.981)
    assert actuate(0.0, 0.0, -8.0, 0.1, 10.0, 0.0, p) == (0.0, 0.0)


def test_the_surface_is_the_last_patch_that_contains_the_ego() -> None:
    state = worlds()
    w = state.worlds[0]
    w["friction"], w["start_s"] = 0.9, 100.0
    w["patches"][0], w["patches"][1] = (20.0, 50.0, 0.3), (40.0, 60.0, 0.1)
    for s, expected in ((110.0, 0.9), (120.0, 0.3), (141.0, 0.1), (160.0, 0.1), (160.1, 0.9)):
        w["route_s"] = s
        assert surface_friction(w) == expected


@pytest.mark.parametrize("delay_ticks", [0, 1, 3, DELAY_TICKS])
def test_commands_reach_the_actuators_after_the_delay(delay_ticks: int) -> None:
    p = params(replace(CONFIG, actuator_delay_s=delay_ticks * 0.1))
    w = worlds().worlds[0]
    w["accel"], w["curvature"] = 0.5, 0.01
    for tick in range(20):
        w["tick"] = tick
        reached = delayed(w, float(tick), -float(tick), p)
        sent = tick - delay_ticks
        assert reached == ((0.5, 0.01) if sent < 0 else (sent, -sent))


def test_coarse_ticks_get_the_mean_of_the_commands_that_arrive_in_them() -> None:
    config = replace(CONFIG, actuator_delay_s=0.3)
    w = worlds().worlds[0]
    for tick in range(4):  # commands 0, 1, 2, 3 at base ticks
        w["tick"] = tick
        delayed(w, float(tick), 0.0, params(config))
    w["tick"] = 4
    assert delayed(w, 10.0, 0.0, params(config, 2))[0] == pytest.approx((1.0 + 2.0) / 2)
    w["tick"] = 6
    assert delayed(w, 20.0, 0.0, params(config, 2))[0] == pytest.approx((3.0 + 10.0) / 2)
    w["tick"] = 8
    assert delayed(w, 30.0, 0.0, params(config, 4))[0] == pytest.approx((10 + 20 + 20 + 30) / 4)


def test_a_delay_must_fit_the_tick_and_the_queue() -> None:
    with pytest.raises(RequestError, match=r"actuator_delay_s: expected a multiple of tick_s=0\.1"):
        params(replace(CONFIG, actuator_delay_s=0.15))
    with pytest.raises(RequestError, match=f"actuator_delay_s: expected at most {DELAY_TICKS}"):
        params(replace(CONFIG, actuator_delay_s=0.1 * (DELAY_TICKS + 1)))


def test_whole_ticks_refuses_what_is_no_multiple() -> None:
    assert whole_ticks("x", 0.3, 0.1) == 3 and whole_ticks("x", 0.0, 0.1) == 0
    for value in (0.15, -0.1, float("inf"), float("nan")):
        with pytest.raises(RequestError, match=r"x: expected a multiple of tick_s=0\.1"):
            whole_ticks("x", value, 0.1)


def test_an_unknown_model_or_action_is_refused() -> None:
    with pytest.raises(RequestError, match="ego_model: expected one of kinematic, dynamic"):
        params(replace(CONFIG, ego_model="flying"))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="action: expected one of plan, controls"):
        params(replace(CONFIG, action="wish"))  # type: ignore[arg-type]


def test_the_course_is_the_heading_unless_the_car_slips() -> None:
    state = worlds(3)
    state.heading, state.speed, state.lateral_speed = 0.3, [10.0, 12.0, 0.0], [0.0, -1.0, 0.0]
    np.testing.assert_allclose(course_heading(state.worlds), [0.3, 0.3 - np.arctan(1 / 12), 0.3])
    slipping = params(replace(CONFIG, ego_model="dynamic"))
    for row, speed in enumerate((10.0, np.hypot(12.0, 1.0), 0.0)):
        assert course(state.worlds[row], slipping) == pytest.approx(
            (course_heading(state.worlds)[row], speed)
        )
    assert course(state.worlds[0], params()) == (0.3, 10.0)


# Driving -----------------------------------------------------------------------------------
def drive_with(
    state: WorldState, accel: float, curvature: float, friction: float, p: Params
) -> tuple[float, float]:
    w = state.worlds[0]
    w["accel"], w["curvature"] = actuate(
        w["accel"], w["curvature"], accel, curvature, w["speed"], friction, p
    )
    distance, lateral = drive(w, friction, p)
    return distance, lateral


@pytest.mark.parametrize("friction", [1.0, 0.7, 0.3, 0.1])
@pytest.mark.parametrize("speed", [5.0, 13.0, 30.0])
def test_full_braking_takes_the_distance_of_the_closed_form(friction: float, speed: float) -> None:
    p = params(replace(CONFIG, actuator_lag_s=0.0, max_brake_mps2=100.0))
    state = worlds()
    state.speed = speed
    driven, ticks = 0.0, 0
    while state.speed[0] > 0.0:
        driven += drive_with(state, -100.0, 0.0, friction, p)[0]
        ticks += 1
    brake = friction * 9.81
    # The last tick ends with the car standing: it counts as slowing evenly over the whole tick.
    assert driven == pytest.approx(speed**2 / (2 * brake), abs=brake * 0.1**2 / 8 + 1e-9)
    assert ticks == int(np.ceil(speed / brake / 0.1 - 1e-9))
    assert state.x[0] == pytest.approx(driven) and state.y[0] == 0.0


def test_a_standing_car_stays_and_speed_never_goes_below_zero() -> None:
    assert speed_step(0.3, -8.0, 0.1) == (0.0, pytest.approx(0.015))
    state = worlds()
    for _ in range(5):
        assert drive_with(state, -8.0, 0.2, 1.0, params()) == (0.0, 0.0)
    assert (state.x[0], state.y[0], state.heading[0]) == (0.0, 0.0, 0.0)


@UNHURRIED
@given(
    st.lists(st.tuples(FINITE, FINITE, st.floats(0.0, 1.5)), min_size=1, max_size=20),
    st.floats(0.0, 60.0),
)
def test_the_kinematic_car_never_exceeds_what_road_and_car_allow(
    commands: list[tuple[float, float, float]], speed: float
) -> None:
    p, state = params(), worlds()
    state.speed = speed
    for accel, curvature, friction in commands:
        before = float(state.speed[0])
        drive_with(state, accel, curvature, friction, p)
        grip, now = friction * 9.81, float(state.speed[0])
        assert -min(8.0, grip) - 1e-9 <= (now - before) / 0.1 <= min(4.0, grip) + 1e-9
        assert before**2 * abs(state.curvature[0]) <= min(7.0, grip) + 1e-9
        assert abs(state.curvature[0]) <= 0.2 and now >= 0.0
        assert np.isfinite([state.x[0], state.y[0], state.heading[0]]).all()
