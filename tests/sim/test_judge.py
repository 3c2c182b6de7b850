from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import (
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    FAULT_EGO,
    FAULT_OTHER,
    Action,
    ActorSpec,
    EgoSpec,
    EventSpec,
    RoadSpec,
    SignalPlan,
    StepSignals,
    Trigger,
)
from sim.roads import lookup
from sim.roads.atlas import shared_roads
from sim.roads.maps import STOP_SIGN
from sim.world import WorldBatch

JUNCTION = RoadSpec(kind="junction", lanes=1, oncoming_lanes=1)


def drive(worlds: WorldBatch, accel: float = 0.0, curvature: float = 0.0) -> list[StepSignals]:
    """Step until every world has ended."""
    actions = np.zeros((worlds.num_worlds, 8, 2))
    actions[..., 0], actions[..., 1] = accel, curvature
    signals = []
    while worlds.running.any():
        signals.append(worlds.step(actions))
    return signals


def last_fault(worlds: WorldBatch, **controls: float) -> int:
    signals = drive(worlds, **controls)[-1]
    assert signals.end[0] == END_COLLISION
    assert signals.collision_actor[0] == 0
    assert signals.min_gap_m[0] == 0.0 and signals.min_ttc_s[0] == 0.0
    return int(signals.fault[0])


def crossing_s(worlds: WorldBatch, path: str, other: str) -> float:
    """Arc length on ``path`` where ``other`` crosses it."""
    map_id = int(worlds.state.map_id[0])
    index, maps = worlds.atlas.map(map_id).index, worlds.atlas.arrays
    return float(maps.pairs[lookup.pair(maps, map_id, index[path], index[other])]["cross_s"])


def test_running_into_a_stopped_car_is_the_egos_fault(scenario, blind) -> None:
    parked = ActorSpec("p", "car", "lane0", 40.0, behaviour="static")
    assert last_fault(WorldBatch([scenario(parked)], blind)) == FAULT_EGO


def test_running_into_a_stopped_car_with_little_overlap_is_still_frontal(scenario, blind) -> None:
    # 0.15 m of overlap across, 2 m along in one tick: the shallow axis is not the axis of contact
    parked = ActorSpec("p", "car", "lane0", 41.3, d_m=1.8, behaviour="static")
    ego = EgoSpec(speed_mps=20.0)
    assert last_fault(WorldBatch([scenario(parked, ego=ego)], blind)) == FAULT_EGO


def test_being_struck_from_behind_is_the_others_fault(scenario, blind) -> None:
    rammer = ActorSpec("r", "car", "lane0", -30.0, speed_mps=18.0, behaviour="scripted")
    assert last_fault(WorldBatch([scenario(rammer)], blind)) == FAULT_OTHER


def test_being_hit_while_standing_is_the_others_fault(scenario, blind) -> None:
    ghost = ActorSpec("g", "car", "lane0", 60.0, speed_mps=-10.0, behaviour="scripted")
    standing = WorldBatch([scenario(ghost, ego=EgoSpec(speed_mps=0.0))], blind)
    assert last_fault(standing) == FAULT_OTHER
    assert last_fault(WorldBatch([scenario(ghost)], blind)) == FAULT_EGO


def test_a_neighbour_that_swerves_into_the_ego_is_at_fault(scenario, blind) -> None:
    neighbour = ActorSpec("n", "car", "lane1", 0.0, speed_mps=10.0, behaviour="scripted")
    swerve = EventSpec("n", Trigger("time", 0.4), (Action("offset", d_m=-3.5, lateral_mps=1.5),))
    assert last_fault(WorldBatch([scenario(neighbour, events=(swerve,))], blind)) == FAULT_OTHER


def test_a_lane_change_into_a_neighbour_is_the_egos_fault(scenario, blind) -> None:
    neighbour = ActorSpec("n", "car", "lane1", 0.0, speed_mps=10.0, behaviour="scripted")
    assert last_fault(WorldBatch([scenario(neighbour)], blind), curvature=0.01) == FAULT_EGO


def test_a_red_light_runner_into_the_side_is_at_fault_but_not_when_the_ego_hits_it(
    scenario, blind
) -> None:
    ego = EgoSpec(path="south_north", s_m=80.0, speed_mps=10.0)
    settings = {"road": JUNCTION, "ego": ego, "signals": SignalPlan(green_s=40.0)}
    worlds = WorldBatch([scenario(**settings)], blind)
    own_s = crossing_s(worlds, "south_north", "west_east")
    their_s = crossing_s(worlds, "west_east", "south_north")
    to_cross = (own_s - 80.0) / 10.0  # the ego reaches the crossing after this time

    def runner(seconds_later: float) -> ActorSpec:
        s_m = their_s - 10.0 * (to_cross + seconds_later)
        return ActorSpec(
            "x", "car", "west_east", s_m, speed_mps=10.0, behaviour="scripted", s_from_ego=False
        )

    # The ego's box passes the crossing point within +-0.24 s of its centre.
    late, early = runner(0.15), runner(-0.35)
    assert last_fault(WorldBatch([scenario(late, **settings)], blind)) == FAULT_OTHER
    assert last_fault(WorldBatch([scenario(early, **settings)], blind)) == FAULT_EGO


def test_scraping_a_standing_object_with_the_side_is_the_egos_fault(scenario, blind) -> None:
    ego = EgoSpec(path="lane0", s_m=30.0, speed_mps=8.0)
    parked = ActorSpec("p", "car", "lane0", 2.0, d_m=2.15, behaviour="static")
    # Beside the ego from the start, 0.2 m away: a left turn brings the ego's flank onto it.
    signals = drive(WorldBatch([scenario(parked, ego=ego)], blind), curvature=0.05)[-1]
    assert (signals.end[0], signals.fault[0]) == (END_COLLISION, FAULT_EGO)


def test_leaving_the_road_ends_the_episode_when_a_corner_is_outside(scenario, blind) -> None:
    worlds = WorldBatch([scenario()], blind)
    signals = drive(worlds, curvature=-0.03)
    assert signals[-1].end[0] == END_OFF_ROAD
    # lane0 is 1.75 m from the lane's edge and 1 m of shoulder lies beyond it
    state = worlds.state
    reach = 0.5 * (2.0 * np.cos(state.heading) - 4.8 * np.sin(state.heading))
    outside = reach - (state.route_d + 1.75 + 1.0)
    # 0.3 m, give or take the raster; at 10 m/s a tick takes the corner less than 0.8 m farther
    assert 0.28 < outside[0] < 1.1 and signals[-1].fault[0] == 0


@pytest.mark.parametrize(("offset_s", "end"), [(0.0, END_RUNNING), (50.0, END_RED_LIGHT)])
def test_crossing_the_stop_line_on_red_ends_the_episode(scenario, blind, offset_s, end) -> None:
    signals = SignalPlan(green_s=40.0, offset_s=offset_s)
    ego = EgoSpec(path="south_north", s_m=90.0, speed_mps=10.0)
    worlds = WorldBatch([scenario(road=JUNCTION, ego=ego, signals=signals)], blind)
    line = worlds.state.stop_s[0]
    codes = []
    for _ in range(12):
        codes.append(int(worlds.step(np.zeros((1, 8, 2))).end[0]))
    assert codes[-1] == end
    if end == END_RED_LIGHT:
        front = worlds.state.route_s[0] + 2.4
        assert line < front <= line + 1.0, "ends in the very tick in which the bumper crosses"


def test_a_stop_sign_passed_without_standing_is_noted_and_the_drive_goes_on(
    scenario, blind
) -> None:
    road = RoadSpec(kind="t_junction", lanes=1, oncoming_lanes=1)
    atlas = shared_roads()
    lane = atlas.lane_record(atlas.add(road), atlas.path_index(atlas.add(road), "south_east"))
    line = float(lane["stop_s"])
    assert lane["stop_kind"] == STOP_SIGN
    ego = EgoSpec(path="south_east", s_m=line - 2.4 - 8.0, speed_mps=6.0)
    worlds = WorldBatch([scenario(road=road, ego=ego)] * 2, blind)
    noted = np.zeros(2, dtype=int)
    for decision in range(14):
        actions = np.zeros((2, 8, 2))
        # the second one brakes, stands for a while and starts again
        actions[1, :, 0] = -3.0 if decision < 7 else 2.0
        noted += worlds.step(actions).stop_line
    assert (worlds.state.route_s + 2.4 > line).all(), "both have passed the line"
    assert noted.tolist() == [1, 0]
    assert not (worlds.state.end == END_RED_LIGHT).any()


def test_time_out_and_route_end_are_reported_at_the_right_time(scenario, blind) -> None:
    worlds = WorldBatch([scenario(duration_s=4.0), scenario(road=RoadSpec(length_m=75.0))], blind)
    signals = drive(worlds)
    assert worlds.state.end.tolist() == [END_TIMEOUT, END_ROUTE_DONE]
    np.testing.assert_allclose(worlds.time_s, [4.0, 4.0])  # 75 - 5 - 30 = 40 m at 10 m/s
    np.testing.assert_allclose(worlds.route_length_m[1], 40.0)
    assert sum(s.progress_m[1] for s in signals) == pytest.approx(40.0, abs=1e-6)


def test_gap_and_time_to_collision_to_a_lead_car(scenario, blind) -> None:
    lead = ActorSpec("l", "car", "lane0", 14.7, speed_mps=8.0, behaviour="scripted")
    worlds = WorldBatch([scenario(lead)], blind)
    signals = worlds.step(np.zeros((1, 8, 2)))
    # bumper gap 14.7 - 2.4 - 2.3 = 10 m, closing at 2 m/s for 0.4 s
    assert signals.min_gap_m[0] == pytest.approx(9.2)
    assert signals.min_ttc_s[0] == pytest.approx(4.6)


def test_ttc_counts_who_will_be_in_the_way_and_not_who_will_have_left(scenario, blind) -> None:
    def walker(d_m: float) -> ActorSpec:
        return ActorSpec("w", "pedestrian", "lane0", 32.7, d_m=d_m, behaviour="scripted")

    walk = EventSpec("w", Trigger("time", 0.0), (Action("offset", d_m=20.0, lateral_mps=1.5),))
    worlds = WorldBatch(
        [
            scenario(walker(-3.4), events=(walk,)),  # will have come 3.9 m: into the lane
            scenario(walker(0.0), events=(walk,)),  # will have left it
            scenario(walker(-3.4)),  # stands beside the lane
        ],
        blind,
    )
    for _ in range(2):
        signals = worlds.step(np.zeros((3, 8, 2)))
    assert signals.min_ttc_s[0] == pytest.approx(2.2, abs=1e-6)  # (32.7 - 2.4 - 0.3 - 8) / 10
    assert np.isinf(signals.min_ttc_s[1:]).all()


def test_ttc_follows_the_bend(scenario, blind) -> None:
    road = RoadSpec(kind="curve", radius_m=60.0, lanes=1, oncoming_lanes=1)
    ego = EgoSpec(path="lane0", s_m=80.0, speed_mps=10.0)
    oncoming = ActorSpec("o", "car", "oncoming0", 20.0, speed_mps=10.0, behaviour="scripted")
    lead = ActorSpec("l", "car", "lane0", 20.0, behaviour="static")
    worlds = WorldBatch(
        [scenario(oncoming, road=road, ego=ego), scenario(lead, road=road, ego=ego)], blind
    )
    signals = worlds.step(np.full((2, 8, 2), [0.0, 1 / 60.0]))
    assert np.isinf(signals.min_ttc_s[0]), "passes by in its own lane"
    assert signals.min_ttc_s[1] == pytest.approx(1.1, abs=0.05)


def test_motion_signals_of_braking_and_turning(scenario, blind) -> None:
    config = replace(blind, latency_s=0.0, actuator_lag_s=0.0)
    worlds = WorldBatch([scenario(), scenario(), scenario()], config)
    actions = np.zeros((3, 8, 2))
    actions[0, :, 0], actions[1, :, 1] = -3.0, 0.02
    signals = worlds.step(actions)
    np.testing.assert_allclose(signals.accel_mps2, [-3.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(signals.jerk_mps3, [-30.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(signals.lateral_accel_mps2, [0.0, 2.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(signals.yaw_rate_radps, [0.0, 0.2, 0.0], atol=1e-9)
    np.testing.assert_allclose(signals.yaw_accel_radps2, [0.0, 2.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(signals.speed_mps, [8.8, 10.0, 10.0], atol=1e-9)


def test_wrong_way_lane_offset_and_over_speed(scenario, blind) -> None:
    road = RoadSpec(lanes=1, oncoming_lanes=1, speed_limit_mps=8.0)
    worlds = WorldBatch(
        [
            scenario(road=road, ego=EgoSpec(d_m=0.6, speed_mps=10.0)),
            scenario(road=road, ego=EgoSpec(d_m=3.2, speed_mps=7.0)),
        ],
        blind,
    )
    signals = worlds.step(np.zeros((2, 8, 2)))
    assert signals.wrong_way.tolist() == [False, True]
    np.testing.assert_allclose(signals.lane_offset_m, [0.6, 0.3], atol=1e-6)
    np.testing.assert_allclose(signals.over_speed_mps, [2.0, 0.0], atol=1e-6)


def test_ended_worlds_stay_frozen_and_report_nothing(scenario, blind) -> None:
    parked = ActorSpec("p", "car", "lane0", 8.0, behaviour="static")
    mover = ActorSpec("m", "car", "lane1", 30.0, speed_mps=10.0)
    worlds = WorldBatch([scenario(parked, mover), scenario(mover)], blind)
    worlds.step(np.zeros((2, 8, 2)))
    assert worlds.running.tolist() == [False, True]
    before, time_s = worlds.state_hash(), worlds.time_s
    signals = worlds.step(np.full((2, 8, 2), [2.0, 0.05]))
    assert worlds.state_hash()[0] == before[0] and worlds.time_s[0] == time_s[0]
    assert worlds.state_hash()[1] != before[1]
    assert signals.active.tolist() == [False, True]
    assert signals.progress_m[0] == 0.0 and np.isinf(signals.min_gap_m[0])
    assert signals.end[0] == END_COLLISION and signals.fault[0] == 0
