"""The controller brings the car back to its plan, for both ego models and at every speed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import FloatArray
from sim.config import SimConfig
from sim.control import track
from sim.dynamics import actuate, advance, course, delayed, drive, integrate_plan
from sim.ego import command, start_all
from sim.params import params_of
from sim.state import Sizes, allocate

CONFIG = SimConfig(rig=None)
Model = Literal["kinematic", "dynamic"]
MODELS: tuple[Model, ...] = ("kinematic", "dynamic")


def test_feedback_is_the_closed_form() -> None:
    # 2 m behind, 1 m left of a reference that heads north, 0.1 rad turned left, 3 m/s too slow.
    reference = np.array([10.0, 20.0, math.pi / 2, 13.0])
    accel, curvature = track(9.0, 18.0, math.pi / 2 + 0.1, 10.0, reference, 0.5, 0.02, 0.0)
    assert accel == pytest.approx(0.5 + 1.0 * 3.0 + 0.5 * 2.0)
    length = 8.0
    assert curvature == pytest.approx(0.02 - 2 * 0.1 / length - 1.0 / length**2)
    slow = track(9.0, 18.0, math.pi / 2, 1.0, reference, 0.0, 0.0, 0.0)[1]
    assert slow == pytest.approx(-1.0 / 4.0**2)


def test_the_controller_brings_the_car_back_to_its_reference() -> None:
    # A reference straight along x at 10 m/s; the car starts 1 m beside it, turned, too slow and
    # behind.
    x, y, heading, speed, tick = -2.0, 1.0, 0.1, 8.0, 0.1
    distances = []
    for k in range(120):
        reference = np.array([10.0 * k * tick, 0.0, 0.0, 10.0])
        distances.append(abs(y))
        accel, curvature = track(x, y, heading, speed, reference, 0.0, 0.0, 0.0)
        new_speed = speed + accel * tick
        x, y, heading = advance(x, y, heading, 0.5 * (speed + new_speed) * tick, curvature)
        speed = new_speed
    assert distances[-1] < 0.01 and max(distances) < 1.5
    assert x == pytest.approx(120.0, abs=0.05) and speed == pytest.approx(10.0, abs=0.02)


def errors_of(
    config: SimConfig, plan: FloatArray, speed: float, start: tuple[float, float, float, float]
) -> FloatArray:
    """Drive ``plan`` [K, 2] from ``start`` (ahead, left, turned, faster) beside its first pose:
    [ticks, 4] errors (ahead, left, turned, speed) against it."""
    p = params_of(config, config.tick_s)
    state = allocate(1, Sizes(1, 1, 1, 8, 3, 33, 0))
    w: Any = state.worlds[0]
    w["curvature"], w["speed"] = plan[0, 1], speed
    reference = np.zeros((len(plan) * p.ticks_per_step + 1, 4))
    integrate_plan(0.0, 0.0, 0.0, speed, plan, reference, p)
    start_all(state.worlds, p)
    w["x"], w["y"] = start[0], start[1]
    w["heading"] += start[2]
    w["speed"] = max(w["speed"] + start[3], 0.0)
    errors = np.zeros((len(reference) - 1, 4))
    for tick in range(len(errors)):
        asked = delayed(w, *command(w, plan, reference, p), p)
        w["accel"], w["curvature"] = actuate(w["accel"], w["curvature"], *asked, w["speed"], 1.0, p)
        drive(w, 1.0, p)
        w["plan_tick"] += 1
        w["tick"] += 1
        errors[tick] = _error(w, reference[tick + 1], p)
    return errors


def _error(w: Any, pose: FloatArray, p: Any) -> tuple[float, float, float, float]:
    dx, dy, cos_h, sin_h = w["x"] - pose[0], w["y"] - pose[1], np.cos(pose[2]), np.sin(pose[2])
    heading, speed = course(w, p)
    return (
        dx * cos_h + dy * sin_h,
        dy * cos_h - dx * sin_h,
        heading - pose[2],
        speed - pose[3],
    )


def crossings(error: FloatArray, band: float) -> int:
    """How often ``error`` goes from one side of +-``band`` to the other."""
    sides = np.sign(error[np.abs(error) > band])
    return int((np.diff(sides) != 0).sum())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tick_s", [0.05, 0.1, 0.2])
@settings(deadline=None, max_examples=40)
@given(
    speed=st.floats(3.0, 40.0),
    lateral_accel=st.floats(-2.5, 2.5),
    pull=st.floats(-0.2, 0.1),
    ahead=st.floats(-2.0, 2.0),
    left=st.floats(-1.0, 1.0),
    turned=st.floats(-0.06, 0.06),
    faster=st.floats(-2.0, 2.0),
)
def test_errors_decay_and_nothing_oscillates(
    model: Model, tick_s: float, speed: float, lateral_accel: float, pull: float,
    ahead: float, left: float, turned: float, faster: float,
) -> None:  # fmt: skip
    config = replace(CONFIG, tick_s=tick_s, ego_model=model)
    plan = np.zeros((50, 2))
    plan[:5, 0] = pull * min(speed, 10.0)  # for two seconds; the car keeps moving
    plan[:, 1] = np.clip(lateral_accel / (1.2 * speed) ** 2, -0.1, 0.1)
    errors = errors_of(config, plan, speed, (ahead, left, turned, faster))
    size = np.abs(errors)
    largest = max(abs(ahead), abs(left), abs(faster), 20.0 * abs(turned), 0.3)
    assert np.isfinite(errors).all()
    assert size[:, 1].max() < 3.0 * largest
    late = size[3 * len(errors) // 4 :]
    assert late[:, :2].max() < 0.08 and late[:, 2].max() < 0.02 and late[:, 3].max() < 0.08
    assert crossings(errors[:, 0], 0.05) <= 3 and crossings(errors[:, 1], 0.05) <= 3


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("speed", [3.0, 10.0, 25.0, 40.0])
@pytest.mark.parametrize("delay_s", [0.1, 0.3, 0.5, 0.8])
def test_a_delay_of_the_actuators_does_not_upset_the_controller(
    model: Model, speed: float, delay_s: float
) -> None:
    config = replace(CONFIG, ego_model=model, actuator_delay_s=delay_s)
    errors = errors_of(config, np.zeros((60, 2)), speed, (-1.0, 0.8, 0.0, 1.0))
    assert np.abs(errors[-40:, :2]).max() < 0.06
    assert errors[:, 1].min() > -0.1  # no more than a little beyond the reference
    assert crossings(errors[:, 0], 0.05) <= 2


@pytest.mark.parametrize("model", MODELS)
def test_a_plan_from_standstill_and_back_is_followed(model: Model) -> None:
    plan = np.zeros((20, 2))
    plan[:5, 0], plan[10:15, 0], plan[:, 1] = 1.5, -1.5, 0.05
    errors = errors_of(replace(CONFIG, ego_model=model), plan, 0.0, (0.0, 0.0, 0.0, 0.0))
    assert np.abs(errors[:, :2]).max() < 0.45 and abs(errors[-1, 3]) < 0.05


@pytest.mark.parametrize("model", MODELS)
def test_a_standing_plan_keeps_the_car_standing(model: Model) -> None:
    config = replace(CONFIG, ego_model=model)
    errors = errors_of(config, np.zeros((8, 2)), 0.0, (0.5, 0.3, 0.0, 0.0))
    np.testing.assert_allclose(errors, [[0.5, 0.3, 0.0, 0.0]] * len(errors))


def test_a_feasible_plan_is_followed_without_error_by_the_kinematic_car() -> None:
    # Without lag, the car and the plan integrate alike.
    plan = np.tile([[0.5, 0.01], [-2.0, -0.02], [0.0, 0.03], [1.0, 0.0]], (4, 1))
    errors = errors_of(replace(CONFIG, actuator_lag_s=0.0), plan, 12.0, (0.0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(errors, 0.0, atol=1e-9)
