"""The state observation against hand-computed numbers and a numpy oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alpamayo.types import (
    EGO_SIZE_M,
    ActorSpec,
    EgoSpec,
    Fault,
    RequestError,
    RoadSpec,
    SignalPlan,
    TrafficSpec,
)
from sim.config import SimConfig
from sim.observe import RANGE_M, STOP_M, StateObserver, StateView, flat_space, state_space
from sim.world import WorldBatch

BLIND = SimConfig(rig=None)
VIEW = StateView()


def look(worlds: WorldBatch, view: StateView = VIEW) -> dict[str, np.ndarray]:
    return StateObserver(worlds.num_worlds, view).observe(worlds)


def test_actors_are_seen_in_the_ego_frame_nearest_first(scenario) -> None:
    lead = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0)
    oncoming = ActorSpec("near", "truck", "lane1", 12.0, speed_mps=7.0)
    worlds = WorldBatch([scenario(lead, oncoming)], BLIND)
    actors = look(worlds)["actors"][0]
    truck, car = actors[0], actors[1]
    lane_m = worlds.state.lane_width[0]
    assert truck[:3] == pytest.approx([1.0, 12.0, lane_m], abs=1e-5)
    assert car[:7] == pytest.approx([1.0, 30.0, 0.0, 1.0, 0.0, -1.0, 0.0], abs=1e-5)
    assert car[7:] == pytest.approx([worlds.state.length[0, 0], worlds.state.width[0, 0]])
    assert truck[5] == pytest.approx(-3.0)
    assert not actors[2:].any()


def test_who_walks_across_has_a_velocity_across(scenario) -> None:
    crossing = ActorSpec(
        "p", "pedestrian", "lane0", 20.0, d_m=-6.0, behaviour="walk", desired_speed_mps=1.4,
        goal_d_m=6.0,
    )  # fmt: skip
    worlds = WorldBatch([scenario(crossing)], BLIND)
    before = look(worlds)["actors"][0, 0]
    for _ in range(5):
        worlds.step(np.zeros((1, 8, 2)))
    now, time_s = look(worlds)["actors"][0, 0], worlds.time_s[0]
    assert before[2] < now[2], "it walks to the left"
    assert now[6] == pytest.approx(1.4, abs=0.4)
    assert now[2] - before[2] == pytest.approx(1.4 * time_s, rel=0.4)


def test_actors_agree_with_a_sort_of_everyone(scenario) -> None:
    curve = RoadSpec(kind="curve", lanes=3, radius_m=150.0)
    busy = [
        scenario(road=curve, traffic=TrafficSpec(vehicles=20), seed=seed, ego=EgoSpec(d_m=0.4))
        for seed in range(3)
    ]
    worlds = WorldBatch(busy, BLIND)
    for _ in range(4):
        worlds.step(np.zeros((3, 8, 2)))
    seen, state = look(worlds)["actors"], worlds.state
    for row in range(3):
        offset = np.stack([state.ax[row] - state.x[row], state.ay[row] - state.y[row]])
        away = np.hypot(*offset)
        order = np.argsort(away, kind="stable")
        order = order[state.present[row][order] & (away[order] <= RANGE_M)][: VIEW.actors]
        turn = -state.heading[row]
        rotate = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        np.testing.assert_allclose(
            seen[row, : len(order), 1:3], (rotate @ offset[:, order]).T, atol=1e-4
        )
        assert (seen[row, : len(order), 0] == 1.0).all()
        assert not seen[row, len(order) :].any()


def test_only_the_nearest_fit(scenario) -> None:
    worlds = WorldBatch([scenario(traffic=TrafficSpec(vehicles=12))], BLIND)
    everyone, few = look(worlds), look(worlds, StateView(actors=3, road_m=(0.0, 10.0)))
    np.testing.assert_array_equal(few["actors"][0], everyone["actors"][0, :3])
    np.testing.assert_array_equal(few["road"][0], everyone["road"][0, [0, 2]])


def test_the_route_ahead_of_a_curve_bends_like_it(scenario) -> None:
    ego = EgoSpec(d_m=0.5, speed_mps=10.0, s_m=60.0)
    road = RoadSpec(kind="curve", lanes=2, radius_m=120.0)
    worlds = WorldBatch([scenario(road=road, ego=ego)], BLIND)
    seen = look(worlds)
    state, atlas = worlds.state, worlds.atlas
    s = state.route_s[:, None] + np.array(VIEW.road_m)
    x, y, _, curvature = atlas.pose(state.map_id[:, None], state.route[:, None], s, 0.0)
    dx, dy = x - state.x[:, None], y - state.y[:, None]
    cos, sin = np.cos(state.heading[:, None]), np.sin(state.heading[:, None])
    np.testing.assert_allclose(seen["road"][..., 0], dx * cos + dy * sin, atol=1e-4)
    np.testing.assert_allclose(seen["road"][..., 1], dy * cos - dx * sin, atol=1e-4)
    np.testing.assert_allclose(seen["road"][..., 2], curvature, atol=1e-6)
    clearance = atlas.clearance(state.map_id[:, None], x, y)
    np.testing.assert_allclose(seen["road"][..., 3], np.clip(clearance, -20, 20), atol=1e-3)
    assert seen["road"][0, 0, :2] == pytest.approx([0.0, -0.5], abs=1e-5)
    assert seen["route_offset_m"][0] == pytest.approx(0.5)
    assert np.abs(seen["road"][0, :, 2]).max() == pytest.approx(1.0 / 120.0, rel=0.1)


def test_the_heading_error_is_that_of_the_drive(scenario) -> None:
    worlds = WorldBatch([scenario()], BLIND)
    plan = np.full((1, 8, 2), [0.0, 0.02])
    for _ in range(3):
        worlds.step(plan)
    error = look(worlds)["heading_error_rad"][0]
    assert error == pytest.approx(worlds.state.heading[0] - worlds.state.route_heading[0])
    assert error > 0.05


@pytest.mark.parametrize(("offset_s", "shown"), [(0.0, 0), (20.5, 1), (25.0, 2)])
def test_the_signal_ahead_is_shown_with_its_distance(scenario, offset_s: float, shown: int) -> None:
    crossing = scenario(
        road=RoadSpec(kind="junction", lanes=1, oncoming_lanes=1),
        ego=EgoSpec(path="south_north", s_m=30.0),
        signals=SignalPlan(offset_s=offset_s),
    )
    worlds = WorldBatch([crossing], BLIND)
    signal = look(worlds)["signal"][0]
    assert signal[:5].tolist() == [float(i == shown) for i in range(5)]
    assert signal[5] == pytest.approx(worlds.state.stop_s[0] - 30.0 - 0.5 * EGO_SIZE_M[0])
    without = look(WorldBatch([scenario()], BLIND))["signal"][0]
    assert without.tolist() == [0.0] * 5 + [STOP_M]


def test_the_speed_goes_through_the_sensor_faults(scenario) -> None:
    wrong = Fault("speed_scale", amount=0.1)
    worlds = WorldBatch([scenario(), scenario(faults=(wrong,))], BLIND)
    assert look(worlds)["speed_mps"] == pytest.approx([10.0, 11.0])


def test_numbers_stay_within_the_space_whatever_the_state(scenario) -> None:
    lead = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0)
    worlds = WorldBatch([scenario(lead)] * 3, BLIND)
    state, space = worlds.state, state_space(VIEW)
    state.speed[0], state.v[0, 0], state.heading[0] = 1e5, -1e5, 1e4
    state.x[1], state.y[1], state.route_d[1] = 1e7, -1e7, 300.0
    state.speed[2] = state.route_d[2] = state.ax[2, 0] = state.heading[2] = np.nan
    observer = StateObserver(3, VIEW)
    columns = observer.observe(worlds)
    for row in range(3):
        one = {name: values[row] for name, values in columns.items()}
        for name, values in one.items():
            assert np.isfinite(values).all(), name
            assert np.asarray(values) in space[name], (name, values)
    flat = observer.flat(worlds)
    assert np.isfinite(flat).all() and np.abs(flat).max() <= 1.0


def test_the_flat_row_holds_every_value_over_its_bound(scenario) -> None:
    lead = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0)
    turning = scenario(lead, road=RoadSpec(), ego=EgoSpec(speed_mps=10.0, command="right"))
    worlds = WorldBatch([turning], BLIND)
    observer = StateObserver(1, VIEW)
    named, flat = observer.observe(worlds), observer.flat(worlds)
    assert flat.shape == (1, *flat_space(VIEW).shape)
    assert flat[0, :3] == pytest.approx([1.0, 30.0 / RANGE_M, 0.0], abs=1e-6)
    assert flat[0, -4:].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert flat[0, -8] == pytest.approx(named["speed_mps"][0] / 100.0)
    assert named["command"].tolist() == [3]


def test_without_a_copy_the_next_look_overwrites_the_last(scenario) -> None:
    worlds = WorldBatch([scenario()], BLIND)
    observer = StateObserver(1, VIEW)
    kept, shared = observer.observe(worlds), observer.observe(worlds, copy=False)
    worlds.state.speed[:] = 3.0
    observer.observe(worlds)
    assert kept["speed_mps"][0] == 10.0 and shared["speed_mps"][0] == 3.0


def test_a_view_of_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="at least one actor"):
        state_space(StateView(actors=0))
