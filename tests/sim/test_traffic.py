from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import (
    Action,
    ActorSpec,
    DriverSpec,
    EgoSpec,
    EventSpec,
    RequestError,
    RoadSpec,
    SignalPlan,
    Trigger,
)
from sim.actors.idm import acceleration, brake_scale, interaction
from sim.world import WorldBatch

STILL = np.zeros((1, 8, 2))
FAR_EGO = EgoSpec(path="lane1", s_m=10.0, speed_mps=0.0)
JUNCTION = RoadSpec(kind="junction", lanes=1, oncoming_lanes=1)
SCALE = brake_scale(1.5, 2.0)


def car(name: str, path: str, s_m: float, speed: float, **more) -> ActorSpec:
    settings = {"kind": "car", "s_from_ego": False, **more}
    return ActorSpec(id=name, path=path, s_m=s_m, speed_mps=speed, **settings)


def run(worlds: WorldBatch, decisions: int, actions: np.ndarray | None = None) -> None:
    for _ in range(decisions):
        worlds.step(np.zeros((worlds.num_worlds, 8, 2)) if actions is None else actions)


def stop_line(worlds: WorldBatch, slot: int) -> float:
    state = worlds.state
    lane = worlds.atlas.lane_record(int(state.map_id[0]), int(state.path[0, slot]))
    return float(lane["stop_s"])


def test_idm_equilibrium_gap_matches_the_closed_form() -> None:
    speed, desired, headway = 8.0, 15.0, 1.5
    gap = (2.0 + speed * headway) / np.sqrt(1 - (speed / desired) ** 4)
    pressing = interaction(speed, gap, 0.0, headway, 2.0, SCALE)
    assert acceleration(speed, desired, pressing, 1.5) == pytest.approx(0.0, abs=1e-12)


def test_idm_by_hand_while_closing_in() -> None:
    # Desired gap 2 + 10 * 1.5 + 10 * 4 / (2 sqrt(1.5 * 2)) = 28.547 m, at 20 m: squared 2.0374.
    pressing = interaction(10.0, 20.0, 4.0, 1.5, 2.0, SCALE)
    assert pressing == pytest.approx(2.0374, abs=1e-4)
    assert acceleration(10.0, 20.0, pressing, 1.5) == pytest.approx(
        1.5 * (1 - 0.0625 - 2.0374), abs=1e-3
    )


def test_idm_accelerates_freely_at_standstill_and_never_brakes_harder_than_the_bound() -> None:
    assert acceleration(0.0, 1.0, 0.0, 1.5) == 1.5
    assert acceleration(1.0, 1.0, 1e6, 1.5) == -8.0


def test_a_platoon_settles_at_the_equilibrium_gap(scenario, blind) -> None:
    lead = car("lead", "lane0", 60.0, 8.0, behaviour="scripted")
    follower = car("follower", "lane0", 40.0, 8.0, desired_speed_mps=15.0)
    road = RoadSpec(length_m=1500.0)
    worlds = WorldBatch([scenario(lead, follower, road=road, ego=FAR_EGO, duration_s=120.0)], blind)
    run(worlds, 250)
    state = worlds.state
    gap = state.s[0, 0] - state.s[0, 1] - 4.6
    assert gap == pytest.approx((2.0 + 8.0 * 1.5) / np.sqrt(1 - (8.0 / 15.0) ** 4), abs=0.02)
    assert state.v[0, 1] == pytest.approx(8.0, abs=0.01)


@pytest.mark.parametrize(("headway_s", "max_accel"), [(2.0, 2.0), (0.5, 0.5)])
def test_a_platoon_damps_or_amplifies_a_dip_as_the_criterion_says(
    headway_s: float, max_accel: float, scenario, blind
) -> None:
    """String stability: v_e'(s) <= (a_l - a_v) / 2 (Treiber and Kesting, Traffic Flow Dynamics,
    2013, section 15.4), with the derivatives of the acceleration by gap, own and leader's speed."""
    speed, desired, cars, scale = 10.0, 20.0, 9, brake_scale(max_accel, 2.0)
    gap = (2.0 + speed * headway_s) / np.sqrt(1 - (speed / desired) ** 4)

    def accel(s: float, v: float, lead: float) -> float:
        return acceleration(
            v, desired, interaction(v, s, v - lead, headway_s, 2.0, scale), max_accel
        )

    step = 1e-4
    by_gap, by_own, by_lead = (
        (accel(*(np.array([gap, speed, speed]) + d)) - accel(*(np.array([gap, speed, speed]) - d)))
        / (2 * step)
        for d in step * np.eye(3)
    )
    stable = -by_gap / (by_own + by_lead) <= 0.5 * (by_lead - by_own)

    driver = DriverSpec(headway_s, max_accel_mps2=max_accel, comfort_brake_mps2=2.0)
    platoon = [
        car(f"c{n}", "lane0", 400.0 - n * (gap + 4.6), speed, desired_speed_mps=desired,
            driver=replace(driver, changes_lanes=False))
        for n in range(1, cars)
    ]  # fmt: skip
    lead = car("lead", "lane0", 400.0, speed, behaviour="scripted")
    dip = (
        # Slow: the criterion is that of long waves.
        EventSpec("lead", Trigger("time", 2.0), (Action("speed", speed - 1.0, 0.1),)),
        EventSpec("lead", Trigger("time", 12.0), (Action("speed", speed, 0.1),)),
    )
    road = RoadSpec(length_m=2500.0)
    drive = scenario(lead, *platoon, events=dip, road=road, ego=FAR_EGO, duration_s=100.0)
    worlds = WorldBatch([drive], blind)
    lowest = np.full(cars, np.inf)
    for _ in range(175):
        run(worlds, 1)
        lowest = np.minimum(lowest, worlds.state.v[0, :cars])
    depth = speed - lowest[1:]
    assert stable == (headway_s > 1.0), "one of each"
    assert (np.diff(depth) < 0.0).all() == stable
    assert (depth[-1] > depth[0]) == (not stable)


def test_a_follower_stops_behind_a_stopped_car(scenario, blind) -> None:
    parked = car("parked", "lane0", 150.0, 0.0, behaviour="static")
    follower = car("follower", "lane0", 40.0, 13.0)
    worlds = WorldBatch([scenario(parked, follower, ego=FAR_EGO, duration_s=60.0)], blind)
    run(worlds, 100)
    gap = worlds.state.s[0, 0] - worlds.state.s[0, 1] - 4.6
    assert worlds.state.v[0, 1] == pytest.approx(0.0, abs=0.05)
    assert 1.5 < gap < 3.0


def test_traffic_brakes_for_the_ego_and_for_a_pedestrian_in_its_lane(scenario, blind) -> None:
    behind = ActorSpec("behind", "car", "lane0", s_m=-30.0, speed_mps=12.0)
    standing_ego = EgoSpec(path="lane0", s_m=80.0, speed_mps=0.0)
    walker = ActorSpec(
        "walker", "pedestrian", "lane1", s_m=40.0, behaviour="scripted", s_from_ego=True
    )
    driver = ActorSpec("driver", "car", "lane1", s_m=-20.0, speed_mps=12.0)
    worlds = WorldBatch(
        [scenario(behind, walker, driver, ego=standing_ego, duration_s=30.0)], blind
    )
    run(worlds, 60)
    state = worlds.state
    assert state.end[0] == 0
    ego_rear = state.x[0] - 2.4
    assert 1.0 < ego_rear - (state.ax[0, 0] + 2.3) < 3.5
    assert 1.0 < (state.ax[0, 1] - 0.3) - (state.ax[0, 2] + 2.3) < 3.5


def test_traffic_in_the_next_lane_is_no_obstacle(scenario, blind) -> None:
    parked = car("parked", "lane1", 150.0, 0.0, behaviour="static")
    driver = car("driver", "lane0", 40.0, 12.0, desired_speed_mps=12.0)
    worlds = WorldBatch([scenario(parked, driver, ego=FAR_EGO, duration_s=60.0)], blind)
    run(worlds, 20)
    assert worlds.state.v[0, 1] > 11.0


@pytest.mark.parametrize("runs", [False, True])
def test_cross_traffic_stops_at_red_unless_it_runs_the_light(scenario, blind, runs) -> None:
    events = (EventSpec("cross", Trigger("time", 0.0), (Action("run_light"),)),) if runs else ()
    cross = car("cross", "west_east", 60.0, 10.0, desired_speed_mps=10.0)
    worlds = WorldBatch(
        [
            scenario(
                cross, events=events, road=JUNCTION, signals=SignalPlan(green_s=40.0),
                ego=EgoSpec(path="south_north", s_m=10.0, speed_mps=0.0), duration_s=20.0,
            )
        ],
        blind,
    )  # fmt: skip
    run(worlds, 45)
    line = stop_line(worlds, 0)
    front = worlds.state.s[0, 0] + 2.3
    if runs:
        assert front > line + 20.0
    else:
        assert line - 3.0 < front < line
        assert worlds.state.v[0, 0] < 0.1


def test_a_car_that_cannot_stop_at_yellow_drives_on(scenario, blind) -> None:
    # 12 m/s needs 18 m at the 4 m/s2 a driver accepts at yellow.
    near = car("near", "south_north", 0.0, 12.0, desired_speed_mps=12.0)
    worlds = WorldBatch(
        [
            scenario(
                near, road=JUNCTION, duration_s=20.0,
                signals=SignalPlan(green_s=20.0, yellow_s=3.0, offset_s=20.0),
                ego=EgoSpec(path="west_east", s_m=10.0, speed_mps=0.0),
            )
        ],
        blind,
    )  # fmt: skip
    state, line = worlds.state, stop_line(worlds, 0)
    far = worlds.fork([0])
    state.s[0, 0] = line - 2.3 - 10.0
    far.state.s[0, 0] = line - 2.3 - 30.0
    run(worlds, 10)
    run(far, 10)
    assert state.s[0, 0] > line
    assert far.state.s[0, 0] + 2.3 < line


def test_a_left_turner_waits_for_an_oncoming_car_and_then_goes(scenario, blind) -> None:
    turner = car("turner", "north_east", 90.0, 6.0, desired_speed_mps=8.0)
    oncoming = car("oncoming", "south_north", 60.0, 12.0, desired_speed_mps=12.0)
    signals = SignalPlan(green_s=60.0)
    ego = EgoSpec(path="west_east", s_m=10.0, speed_mps=0.0)
    settings = {"road": JUNCTION, "signals": signals, "ego": ego, "duration_s": 40.0}
    worlds = WorldBatch(
        [scenario(turner, oncoming, **settings), scenario(turner, **settings)], blind
    )
    crossed_at = np.full(2, np.inf)
    for k in range(60):
        run(worlds, 1)
        crossed = worlds.state.s[:, 0] > stop_line(worlds, 0) + 15.0
        crossed_at = np.where(crossed & np.isinf(crossed_at), 0.4 * k, crossed_at)
    assert np.isfinite(crossed_at).all()
    assert crossed_at[0] > crossed_at[1] + 1.0


def test_events_fire_at_the_right_tick_for_each_trigger(scenario, blind) -> None:
    # The ego drives 10 m/s from s = 30; the cyclist stands with its centre 60 m ahead: bumper gap
    # 60 - 2.4 - 0.9.
    gap = 60.0 - 2.4 - 0.9
    cases = {
        ("time", 1.3): 1.3,
        ("ego_position", 14.0): 1.4,
        ("distance", gap - 15.0): 1.5,
        ("ttc", (gap - 17.0) / 10.0): 1.7,
        ("arrival", (60.0 - 18.0) / 10.0): 1.8,
    }
    scenarios = []
    for kind, value in cases:
        other = ActorSpec(
            "other", "cyclist", "lane0", 60.0, d_m=-1.0, behaviour="scripted", speed_mps=0.0
        )
        event = EventSpec("other", Trigger(kind, value), (Action("speed", 5.0, 2.0),))
        scenarios.append(scenario(other, events=(event,)))
    worlds = WorldBatch(scenarios, replace(blind, decision_s=0.1))
    moved_at = np.full(len(cases), np.nan)
    for k in range(30):
        run(worlds, 1)
        fresh = (worlds.state.v[:, 0] > 0.0) & np.isnan(moved_at)
        moved_at[fresh] = k * 0.1  # the start of the tick in which it began to move
        np.testing.assert_array_equal(worlds.state.fired[:, 0], worlds.state.v[:, 0] > 0.0)
    np.testing.assert_allclose(moved_at, list(cases.values()), atol=1e-9)


def test_an_offset_keeps_its_plateau_speed_ends_exactly_and_turns_the_actor(
    scenario, blind
) -> None:
    walker = ActorSpec("w", "pedestrian", "lane1", 60.0, d_m=4.0, behaviour="scripted")
    event = EventSpec("w", Trigger("time", 0.4), (Action("offset", d_m=-4.0, lateral_mps=1.6),))
    worlds = WorldBatch([scenario(walker, events=(event,), ego=FAR_EGO)], blind)
    fastest, heading = 0.0, 0.0
    for _ in range(17):
        run(worlds, 1)
        fastest = max(fastest, abs(worlds.state.vd[0, 0]))
        if abs(worlds.state.vd[0, 0]) > 1.0:
            heading = worlds.state.turn[0, 0]
    assert fastest == pytest.approx(1.6)
    assert heading == pytest.approx(-np.pi / 2)
    assert worlds.state.d[0, 0] == -4.0 and worlds.state.vd[0, 0] == 0.0
    assert worlds.state.turn[0, 0] == pytest.approx(-np.pi / 2), "keeps facing where it walked"


def test_a_cut_in_takes_the_way_over_the_rate_plus_the_ramp(scenario, blind) -> None:
    cutter = ActorSpec(
        "c", "car", "lane1", 30.0, speed_mps=10.0, behaviour="scripted", desired_speed_mps=10.0
    )
    event = EventSpec("c", Trigger("time", 0.0), (Action("offset", d_m=-3.5, lateral_mps=1.0),))
    worlds = WorldBatch([scenario(cutter, events=(event,))], blind)
    run(worlds, 9)
    assert worlds.state.d[0, 0] > -3.5
    run(worlds, 1)  # 3.5 m at 1 m/s plus 0.5 s: 4.0 s
    assert worlds.state.d[0, 0] == -3.5


def test_speed_react_and_static_actors(scenario, blind) -> None:
    lead = ActorSpec("lead", "car", "lane1", 30.0, speed_mps=10.0, behaviour="scripted")
    cone = ActorSpec("cone", "cone", "lane1", 80.0, behaviour="idm", speed_mps=3.0)
    events = (
        EventSpec("lead", Trigger("time", 0.0), (Action("speed", 0.0, 5.0),)),
        EventSpec("lead", Trigger("time", 4.0), (Action("react", speed_mps=6.0),)),
        EventSpec("cone", Trigger("time", 0.0), (Action("speed", 5.0, 5.0),)),
    )
    worlds = WorldBatch(
        [scenario(lead, cone, events=events, ego=replace(FAR_EGO, path="lane0"))], blind
    )
    run(worlds, 2)
    assert worlds.state.v[0, 0] == pytest.approx(10.0 - 5.0 * 0.8)
    run(worlds, 5)
    assert worlds.state.v[0, 0] == 0.0
    run(worlds, 5)
    assert 0.5 < worlds.state.v[0, 0] < 6.0
    assert worlds.state.v[0, 1] == 0.0 and worlds.state.s[0, 1] == 90.0


def test_a_wrong_way_driver_faces_backwards(scenario, blind) -> None:
    ghost = ActorSpec("g", "car", "lane1", 150.0, speed_mps=-10.0, behaviour="scripted")
    worlds = WorldBatch([scenario(ghost)], blind)
    assert abs(worlds.scene(0).boxes[0, 2]) == pytest.approx(np.pi)
    before = worlds.state.ax[0, 0]
    run(worlds, 5)
    assert worlds.state.ax[0, 0] == pytest.approx(before - 20.0)
    assert abs(worlds.scene(0).boxes[0, 2]) == pytest.approx(np.pi)


def test_s_from_ego_is_measured_along_the_route_on_a_bend(scenario, blind) -> None:
    road = RoadSpec(kind="curve", radius_m=60.0, lanes=2)
    inner = ActorSpec("inner", "car", "lane1", 40.0, behaviour="static")
    worlds = WorldBatch(
        [scenario(inner, road=road, ego=EgoSpec(path="lane0", s_m=60.0, speed_mps=5.0))], blind
    )
    state = worlds.state
    s, d = worlds.atlas.locate(state.map_id, state.route, state.ax[:, 0], state.ay[:, 0])
    assert s[0] == pytest.approx(100.0, abs=0.02)
    assert d[0] == pytest.approx(3.5, abs=0.02)


def test_bad_scenarios_are_refused_with_the_place_and_the_choices(scenario, blind) -> None:
    with pytest.raises(RequestError, match=r"actor a: path 'lane9': expected one of lane0, lane1"):
        WorldBatch([scenario(car("a", "lane9", 1.0, 1.0))], blind)
    lost = EventSpec("nobody", Trigger("time", 0.0), (Action("speed"),))
    with pytest.raises(RequestError, match=r"events\[0\]: actor 'nobody': expected one of a"):
        WorldBatch([scenario(car("a", "lane0", 1.0, 1.0), events=(lost,))], blind)
    many = [car(f"a{k}", "lane0", 5.0 * k, 0.0) for k in range(13)]
    with pytest.raises(RequestError, match=r"actors: expected at most 12 .*, got 13"):
        WorldBatch([scenario(*many)], replace(blind, max_actors=12))
