from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import EgoSpec
from sim.config import SimConfig
from sim.control import track
from sim.dynamics import actuate, advance, curvature_bound, integrate_plan, lag_blend
from sim.latency import LatencySchedule, whole_ticks
from sim.world import WorldBatch


def test_constant_curvature_closes_a_circle_exactly() -> None:
    radius, steps = 20.0, 50
    x, y, heading = np.array([3.0]), np.array([-2.0]), np.array([0.7])
    arc = np.array([2 * np.pi * radius / steps])
    middle = (x - radius * np.sin(heading), y + radius * np.cos(heading))
    for _ in range(steps):
        x, y, heading = advance(x, y, heading, arc, np.array([1 / radius]))
        np.testing.assert_allclose(np.hypot(x - middle[0], y - middle[1]), radius, atol=1e-9)
    np.testing.assert_allclose([x[0], y[0], heading[0]], [3.0, -2.0, 0.7 + 2 * np.pi], atol=1e-9)


def test_plan_integration_matches_the_closed_forms() -> None:
    zero = np.zeros(1)
    straight = integrate_plan(
        zero, zero, zero, np.array([10.0]), np.array([[[-2.0, 0.0]] * 8]), 4, 0.1
    )
    t = np.arange(33) * 0.1
    np.testing.assert_allclose(straight[0, :, 0], 10 * t - t**2, atol=1e-9)
    np.testing.assert_allclose(straight[0, :, 3], 10 - 2 * t, atol=1e-9)
    circle = integrate_plan(zero, zero, zero, np.array([5.0]), np.array([[[0.0, 0.1]] * 8]), 4, 0.1)
    angle = 5 * t * 0.1
    np.testing.assert_allclose(circle[0, :, 0], 10 * np.sin(angle), atol=1e-9)
    np.testing.assert_allclose(circle[0, :, 1], 10 * (1 - np.cos(angle)), atol=1e-9)
    np.testing.assert_allclose(circle[0, :, 2], angle, atol=1e-9)


def test_a_plan_never_drives_backwards_and_may_start_again_after_standing() -> None:
    zero = np.zeros(1)
    plan = np.array([[[-8.0, 0.0], [-8.0, 0.0], [2.0, 0.0], [2.0, 0.0]]])
    speed = integrate_plan(zero, zero, zero, np.array([4.0]), plan, 4, 0.1)[0, :, 3]
    expected = [4.0]
    for k in range(16):
        expected.append(max(0.0, expected[-1] + plan[0, k // 4, 0] * 0.1))
    np.testing.assert_allclose(speed, expected, atol=1e-9)
    assert speed.min() == 0.0 and speed[-1] == pytest.approx(1.6)


def test_actuators_lag_and_saturate() -> None:
    config = SimConfig()
    blend = lag_blend(0.1, 0.1)
    assert blend == pytest.approx(1 - np.exp(-1))
    assert lag_blend(0.1, 0.0) == 1.0
    accel, curvature = actuate(
        np.zeros(2), np.zeros(2), np.array([-20.0, 20.0]), np.array([1.0, -1.0]),
        np.array([1.0, 20.0]), blend, config,
    )  # fmt: skip
    np.testing.assert_allclose(accel, [-8.0 * blend, 4.0 * blend])
    np.testing.assert_allclose(curvature, [0.2 * blend, -7.0 / 400.0 * blend])
    np.testing.assert_allclose(curvature_bound(np.array([0.0, 20.0]), config), [0.2, 0.0175])


def test_the_controller_brings_the_car_back_to_its_reference() -> None:
    # A reference straight along x at 10 m/s; the car starts 1 m beside it, turned, too slow and
    # behind.
    x, y, heading = np.array([-2.0]), np.array([1.0]), np.array([0.1])
    speed, tick = np.array([8.0]), 0.1
    distances = []
    for k in range(120):
        reference = np.array([[10.0 * k * tick, 0.0, 0.0, 10.0]])
        distances.append(abs(float(y[0])))
        accel, curvature = track(x, y, heading, speed, reference, np.zeros(1), np.zeros(1))
        new_speed = speed + accel * tick
        x, y, heading = advance(x, y, heading, 0.5 * (speed + new_speed) * tick, curvature)
        speed = new_speed
    assert distances[-1] < 0.01 and max(distances) < 1.5
    assert x[0] == pytest.approx(120.0, abs=0.05) and speed[0] == pytest.approx(10.0, abs=0.02)


@pytest.mark.parametrize("latency_s", [0.0, 0.1, 0.3, 0.4, 0.9])
def test_a_brake_plan_starts_to_slow_the_car_exactly_one_latency_later(
    scenario, blind, latency_s
) -> None:
    worlds = WorldBatch([scenario()], replace(blind, latency_s=latency_s, actuator_lag_s=0.0))
    brake = np.zeros((1, 8, 2))
    brake[..., 0] = -5.0
    for _ in range(4):
        worlds.step(brake)
    # Position at 10 Hz: constant speed until the latency is over, then 5 m/s2 less.
    t = np.arange(17) * 0.1
    slowed = np.maximum(t - latency_s, 0.0)
    expected = 30.0 + 10.0 * t - 2.5 * slowed**2
    np.testing.assert_allclose(worlds.state.history[0, :, 0], expected[1:], atol=1e-6)


def test_until_the_first_plan_the_car_follows_the_bend_it_starts_in(scenario, blind) -> None:
    from alpamayo.types import RoadSpec

    road = RoadSpec(kind="curve", radius_m=80.0)
    worlds = WorldBatch(
        [scenario(road=road, ego=EgoSpec(path="lane0", s_m=60.0, speed_mps=10.0))],
        replace(blind, latency_s=1.2),
    )
    for _ in range(3):
        worlds.step(np.zeros((1, 8, 2)))
    assert abs(worlds.state.route_d[0]) < 0.05


def test_schedule_splits_latency_into_decisions_and_ticks() -> None:
    assert LatencySchedule.from_config(SimConfig(latency_s=0.1)) == LatencySchedule(1, 0)
    assert LatencySchedule.from_config(SimConfig(latency_s=0.9)) == LatencySchedule(1, 2)
    with pytest.raises(Exception, match="latency_s: expected a multiple of tick_s"):
        whole_ticks("latency_s", 0.15, 0.1)
