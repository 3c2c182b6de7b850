from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import ActorSpec, EgoSpec, Fault, RoadSpec, SignalPlan
from sim.world import WorldBatch


def constant(accel: float, curvature: float = 0.0, steps: int = 12) -> np.ndarray:
    return np.tile([accel, curvature], (steps, 1))


def test_forecast_tells_when_and_whether_a_plan_crashes(scenario, blind) -> None:
    parked = ActorSpec("p", "car", "lane0", 34.7, behaviour="static")  # 30 m bumper to bumper
    config = replace(blind, actuator_lag_s=0.0)
    worlds = WorldBatch([scenario(), scenario(parked)], config)
    plans = np.stack([constant(0.0), constant(-2.0), constant(0.0, -0.02)])[None].repeat(2, 0)
    forecast = worlds.privileged().forecast(plans, np.array([0, 1]))
    assert np.isinf(forecast.collision_s[0]).all() and np.isinf(forecast.min_gap_m[0]).all()
    assert forecast.collision_s[1, 0] == pytest.approx(3.1)  # 3.0 s, on the grid 0.1 + 0.2 n
    assert np.isinf(forecast.collision_s[1, 1])  # 1 m, then 10 * 4.8 - 4.8^2 = 24.96 m
    assert forecast.min_gap_m[1, 1] == pytest.approx(4.04)
    assert forecast.end_speed_mps[1, 1] == pytest.approx(0.4, abs=0.01)  # 10 - 2 * 4.8
    assert np.isfinite(forecast.off_road_s[:, 2]).all()
    assert forecast.progress_m[0, 0] == pytest.approx(48.0)
    assert forecast.min_ttc_s[1, 0] == 0.0 and not forecast.red_light.any()


def test_forecast_agrees_with_driving_the_plan(scenario, blind) -> None:
    traffic = (
        ActorSpec("a", "car", "lane0", 25.0, speed_mps=8.0),
        ActorSpec("b", "car", "lane1", 5.0, speed_mps=12.0),
    )
    worlds = WorldBatch([scenario(*traffic)], replace(blind, plan_steps=12))
    plan = constant(-0.5, 0.001)
    forecast = worlds.privileged().forecast(plan[None, None], np.array([0]))
    start = worlds.fork([0])
    long = WorldBatch([scenario(*traffic)], replace(blind, plan_steps=12, decision_s=4.9))
    signals = long.step(plan[None])  # one decision as long as the latency and the plan
    assert start.running.all() and np.isinf(forecast.collision_s[0, 0])
    assert forecast.end_speed_mps[0, 0] == pytest.approx(signals.speed_mps[0], abs=0.05)
    assert forecast.progress_m[0, 0] == pytest.approx(signals.progress_m[0] - 1.0, abs=0.3)
    assert forecast.min_gap_m[0, 0] == pytest.approx(signals.min_gap_m[0], abs=0.3)


def test_forecast_sees_a_red_light(scenario, blind) -> None:
    worlds = WorldBatch(
        [
            scenario(
                road=RoadSpec(kind="junction", lanes=1, oncoming_lanes=1),
                ego=EgoSpec("south_north", s_m=90.0, speed_mps=10.0),
                signals=SignalPlan(green_s=20.0, offset_s=25.0),
            )
        ],
        blind,
    )
    plans = np.stack([constant(0.0), constant(-5.0)])[None]
    assert worlds.privileged().forecast(plans, np.array([0])).red_light.tolist() == [[True, False]]


def test_the_old_plan_drives_until_the_new_one_takes_effect(scenario, blind) -> None:
    worlds = WorldBatch([scenario()], replace(blind, latency_s=0.3, actuator_lag_s=0.0))
    worlds.step(np.tile(constant(2.0, steps=8), (1, 1, 1)))
    view = worlds.privileged()
    state = view.ego_route_state()
    # 2 m/s2 since 0.3 s: 10.2 m/s now (0.4 s) and 10.8 at 0.7 s
    assert worlds.state.speed[0] == pytest.approx(10.2)
    assert state["speed_mps"][0] == pytest.approx(10.8)
    assert state["s_m"][0] == pytest.approx(30.0 + 7.0 + 0.4**2)
    forecast = view.forecast(constant(0.0)[None, None], np.array([0]))
    assert forecast.end_speed_mps[0, 0] == pytest.approx(10.8, abs=1e-6)


def test_latency_that_a_fault_adds_is_waited_for_in_its_own_world_only(scenario, blind) -> None:
    """Two decisions of 2 m/s2 from 10 m/s, latency 0.1 s and in the second world 0.25 s more (0.4
    s in whole ticks): after 0.8 s the third plan takes effect at 0.9 s and at 1.2 s."""
    slow = replace(scenario(), faults=(Fault("latency", amount=0.25, start_s=0.3),))
    worlds = WorldBatch([scenario(), slow], replace(blind, actuator_lag_s=0.0))
    for _ in range(2):
        worlds.step(np.tile(constant(2.0, steps=8), (2, 1, 1)))
    view = worlds.privileged()
    assert worlds.state.speed.tolist() == pytest.approx([11.4, 11.4])
    assert view.ego_route_state()["speed_mps"].tolist() == pytest.approx([11.6, 12.2])
    forecast = view.forecast(constant(0.0)[None, None].repeat(2, 0), np.arange(2))
    assert forecast.end_speed_mps[:, 0].tolist() == pytest.approx([11.6, 12.2])
    assert forecast.progress_m[:, 0].tolist() == pytest.approx([11.6 * 4.8, 12.2 * 4.8])


def test_route_state_and_route_ahead_describe_the_bend(scenario, blind) -> None:
    road = RoadSpec(kind="curve", radius_m=70.0, lanes=3)
    ego = EgoSpec("lane1", s_m=40.0, d_m=0.5, speed_mps=10.0)
    worlds = WorldBatch([scenario(road=road, ego=ego), scenario()], blind)
    view = worlds.privileged(np.array([0]))
    state = view.ego_route_state()
    assert {name: len(value) for name, value in state.items()} == dict.fromkeys(
        (
            "s_m", "d_m", "heading_error_rad", "speed_mps", "curvature_per_m", "speed_limit_mps",
            "left_lanes", "right_lanes", "lane_width_m", "accel_mps2",
        ),
        1,
    )  # fmt: skip
    assert (state["left_lanes"][0], state["right_lanes"][0]) == (1, 1)
    assert state["d_m"][0] == pytest.approx(0.5, abs=0.02)
    ahead = view.route_ahead(np.arange(0.0, 200.0, 2.0))
    assert ahead.shape == (1, 100)
    assert np.abs(ahead).max() == pytest.approx(1 / 70.0, rel=0.15)


def test_rows_and_candidates_are_independent(scenario, blind) -> None:
    parked = ActorSpec("p", "car", "lane0", 40.0, behaviour="static")
    mover = ActorSpec("m", "car", "lane0", 25.0, speed_mps=8.0)
    worlds = WorldBatch([scenario(), scenario(parked), scenario(mover, parked)], blind)
    plans = np.stack([constant(a) for a in (1.0, -1.0, -6.0)])[None].repeat(3, 0)
    view = worlds.privileged()
    together = view.forecast(plans, np.array([2, 0, 1]))
    for place, row in enumerate((2, 0, 1)):
        single = worlds.privileged(np.array([row]))
        for c in range(3):
            alone = single.forecast(plans[:1, c : c + 1], np.array([0]))
            for name in ("collision_s", "progress_m", "min_gap_m", "min_ttc_s", "end_speed_mps"):
                assert getattr(alone, name)[0, 0] == getattr(together, name)[place, c]
