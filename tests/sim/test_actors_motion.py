"""How actors move: shifts, hand-over, doors, logs, balls, backing, and coming back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo import streams
from alpamayo.types import RoadSpec
from sim.actors.lamps import braking, reversing
from sim.actors.lanes import DRAWS_PER_ACTOR
from sim.actors.logs import LogArena
from sim.actors.replaying import row_at
from sim.actors.rolling import ROLL_DECEL_MPS2
from sim.actors.shift import begin_shift
from sim.state import ATTACHED, IDM, LOG, SCRIPTED, STATIC
from tests.sim.actor_cases import Stage

STRAIGHT = RoadSpec(length_m=1500.0, lanes=2)


def test_a_shift_takes_the_way_over_the_rate_plus_the_ramp_and_ends_exactly() -> None:
    stage = Stage(STRAIGHT, 1)
    i = stage.add("lane0", 50.0, 10.0, behaviour=SCRIPTED)
    begin_shift(stage.a, i, 3.5, 1.0)
    fastest = 0.0
    for _ in range(39):
        stage.run(0.1)
        fastest = max(fastest, stage.a["vd"][i])
    assert fastest == pytest.approx(1.0)
    assert stage.a["d"][i] < 3.5
    stage.run(0.1)  # 3.5 m at 1 m/s plus 0.5 s: 4.0 s
    assert stage.a["d"][i] == 3.5
    stage.run(0.1)
    assert stage.a["vd"][i] == 0.0 and stage.a["turn"][i] == 0.0


def test_a_standing_vehicle_does_not_move_sideways() -> None:
    stage = Stage(STRAIGHT, 1)
    i = stage.add("lane0", 50.0, 0.0, behaviour=SCRIPTED)
    begin_shift(stage.a, i, 3.5, 1.0)
    stage.run(2.0)
    assert stage.a["d"][i] == 0.0


def test_backing_keeps_facing_ahead_with_the_lamps_lit() -> None:
    stage = Stage(STRAIGHT, 2)
    i = stage.add("lane0", 50.0, 0.0, behaviour=SCRIPTED, target_v=-2.0)
    ghost = stage.add("lane1", 150.0, -10.0, behaviour=SCRIPTED, target_v=-10.0, turn=np.pi)
    stage.run(5.0)
    # 2/3 s to reach 2 m/s with 3 m/s2, then 4 1/3 s at 2 m/s.
    assert stage.a["s"][i] == pytest.approx(50.0 - 2.0 / 3.0 - 2.0 * (5.0 - 2.0 / 3.0), abs=0.05)
    assert stage.a["turn"][i] == 0.0 and stage.a["aheading"][i] == 0.0
    assert stage.a["s"][ghost] == pytest.approx(100.0)
    assert abs(stage.a["turn"][ghost]) == pytest.approx(np.pi)
    np.testing.assert_array_equal(reversing(stage.state)[0], [True, False])
    assert not braking(stage.state).any()


def test_who_backs_over_the_start_of_its_lane_leaves_the_map() -> None:
    stage = Stage(STRAIGHT, 1)
    i = stage.add("lane0", 3.0, -5.0, behaviour=SCRIPTED, target_v=-5.0)
    stage.run(1.0)
    assert not stage.a["present"][i]


@pytest.mark.parametrize(("v", "vd"), [(4.0, 0.0), (0.0, 3.0), (3.0, -4.0)])
def test_a_ball_rolls_the_distance_that_its_deceleration_allows(v: float, vd: float) -> None:
    stage = Stage(STRAIGHT, 1)
    i = stage.add("lane0", 50.0, v, kind="ball", behaviour=SCRIPTED, target_v=v)
    if vd:
        begin_shift(stage.a, i, math.copysign(50.0, vd), abs(vd))
    stage.run(20.0)
    speed = math.hypot(v, vd)
    way = speed**2 / (2.0 * ROLL_DECEL_MPS2)
    rolled = np.array([stage.a["s"][i] - 50.0, stage.a["d"][i]])
    np.testing.assert_allclose(rolled, way * np.array([v, vd]) / speed, atol=0.01)
    assert stage.a["v"][i] == 0.0 and stage.a["vd"][i] == 0.0


def test_a_kicked_ball_first_takes_on_the_speed() -> None:
    stage = Stage(STRAIGHT, 1)
    i = stage.add("lane0", 50.0, 0.0, kind="ball", behaviour=SCRIPTED, target_v=6.0)
    stage.a["target_accel"][i] = 30.0
    stage.run(0.2)
    assert stage.a["v"][i] == pytest.approx(6.0)
    stage.run(1.0)
    assert stage.a["v"][i] == pytest.approx(6.0 - ROLL_DECEL_MPS2)


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_door_swings_out_about_its_hinge(side: float) -> None:
    stage = Stage(STRAIGHT, 2)
    car = stage.add("lane0", 50.0, 0.0, behaviour=STATIC)
    door = stage.add(
        "lane0", 0.0, kind="door", behaviour=ATTACHED, parent=car, hinge_x=0.9,
        hinge_y=side * 0.95, angle_to=np.pi / 2, angle_rate=1.0,
    )  # fmt: skip
    stage.pose()
    a = stage.a
    # Shut: 1.1 m long, from the hinge back along the side.
    assert a["ax"][door] == pytest.approx(50.9 - 0.55) and a["aheading"][door] == 0.0
    assert a["ay"][door] == pytest.approx(side * 0.95)
    stage.run(1.0)
    angle = 1.0
    assert a["angle"][door] == pytest.approx(angle)
    assert a["ax"][door] == pytest.approx(50.9 - 0.55 * math.cos(angle))
    assert a["ay"][door] == pytest.approx(side * (0.95 + 0.55 * math.sin(angle)))
    stage.run(1.0)
    assert a["angle"][door] == pytest.approx(np.pi / 2)
    assert a["ax"][door] == pytest.approx(50.9)
    assert a["ay"][door] == pytest.approx(side * (0.95 + 0.55))
    assert a["aheading"][door] == pytest.approx(-side * np.pi / 2)
    assert (a["s"][door], a["d"][door]) == pytest.approx((a["ax"][door], a["ay"][door]))


def test_a_door_goes_where_its_car_goes() -> None:
    stage = Stage(RoadSpec(kind="curve", radius_m=60.0, lanes=2), 2)
    car = stage.add("lane0", 20.0, 8.0, behaviour=SCRIPTED, target_v=8.0)
    door = stage.add(
        "lane0", 0.0, kind="door", behaviour=ATTACHED, parent=car, hinge_x=0.9, hinge_y=0.95
    )
    stage.run(6.0)
    a = stage.a
    offset = np.array([0.9 - 0.55, 0.95])
    turned = np.array([[a["cos_h"][car], -a["sin_h"][car]], [a["sin_h"][car], a["cos_h"][car]]])
    expected = np.array([a["ax"][car], a["ay"][car]]) + turned @ offset
    np.testing.assert_allclose([a["ax"][door], a["ay"][door]], expected)
    assert a["v"][door] == 8.0


# Recorded actors ---------------------------------------------------------------------------
def logged(
    rows: list[tuple[float, float, float, float, float]], **fields: float
) -> tuple[Stage, int]:
    arena = LogArena()
    first, count = arena.add(tuple(rows), "test")
    stage = Stage(STRAIGHT, 1, logs=arena.rows)
    i = stage.add("lane0", 0.0, behaviour=LOG, log_first=first, log_count=count, **fields)
    return stage, i


def test_a_recorded_actor_is_interpolated_and_turns_the_short_way() -> None:
    rows = [(0.0, 40.0, 0.5, 3.0, 2.0), (1.0, 42.0, 1.5, -3.0, 4.0), (3.0, 50.0, 3.5, -3.0, 4.0)]
    stage, i = logged(rows)
    stage.pose()
    a = stage.a[i]
    assert (a["ax"], a["ay"], a["aheading"]) == (40.0, 0.5, 3.0)
    stage.run(0.5)
    assert (a["ax"], a["ay"]) == pytest.approx((41.0, 1.0))
    # From 3 to -3 rad by way of pi: 0.283 rad on.
    assert math.cos(a["aheading"]) == pytest.approx(-1.0)
    assert math.hypot(a["v"], a["vd"]) == pytest.approx(3.0)
    assert (a["s"], a["d"]) == pytest.approx((41.0, 1.0))
    stage.run(1.5)
    assert (a["ax"], a["ay"]) == pytest.approx((46.0, 2.5))


def test_a_recorded_actor_is_there_for_the_time_of_its_log() -> None:
    stage, i = logged([(0.5, 40.0, 0.0, 0.0, 5.0), (1.5, 45.0, 0.0, 0.0, 5.0)])
    stage.pose()
    assert not stage.a["present"][i]
    stage.run(0.4)
    assert not stage.a["present"][i]
    stage.run(0.1)
    assert stage.a["present"][i]
    stage.run(1.0)
    assert stage.a["present"][i] and stage.a["ax"][i] == pytest.approx(45.0)
    stage.run(0.1)
    assert not stage.a["present"][i]


def test_a_recorded_actor_that_parks_at_the_end_stays() -> None:
    stage, i = logged([(0.0, 40.0, 0.0, 0.0, 5.0), (1.0, 42.5, 0.0, 0.0, 0.0)])
    stage.run(5.0)
    assert stage.a["present"][i] and stage.a["ax"][i] == 42.5 and stage.a["v"][i] == 0.0


def test_the_row_of_a_time_is_found_by_bisection() -> None:
    times = np.cumsum(np.random.default_rng(2).uniform(0.1, 1.0, 50))
    logs = np.zeros((60, 5))
    logs[10:, 0] = times
    for time_s in np.linspace(times[0], times[-2], 200):
        expected = 10 + int(np.searchsorted(times, time_s, side="right")) - 1
        assert row_at(logs, 10, 59, time_s) == expected


@pytest.mark.parametrize(("ego_s", "reacts"), [(75.0, True), (250.0, False)])
def test_a_recorded_actor_drives_itself_once_the_ego_is_in_its_way(
    ego_s: float, reacts: bool
) -> None:
    # Recorded at 10 m/s in the left lane, straight through where the ego stands.
    rows = [(0.5 * k, 5.0 * k, 3.4, 0.0, 10.0) for k in range(40)]
    stage, i = logged(rows, reacts_within_m=10.0)
    stage.put_ego("lane1", ego_s)
    stage.run(15.0)
    a = stage.a[i]
    assert (a["behaviour"] == IDM) == reacts
    if reacts:
        assert a["path"] == stage.road.index["lane1"]
        assert 0.5 < ego_s - 2.4 - (a["s"] + 2.3) < 4.0 and a["v"] < 0.1
        assert a["d"] == pytest.approx(0.0, abs=0.2)
    else:
        assert a["s"] == pytest.approx(150.0)


def test_a_recorded_actor_takes_over_the_oncoming_lane_if_that_is_its_way() -> None:
    road = RoadSpec(length_m=400.0, lanes=1, oncoming_lanes=1)
    arena = LogArena()
    rows = tuple((0.5 * k, 300.0 - 5.0 * k, 1.6, math.pi, 10.0) for k in range(40))
    first, count = arena.add(rows, "test")
    stage = Stage(road, 1, logs=arena.rows)
    i = stage.add(
        "lane0", 0.0, behaviour=LOG, log_first=first, log_count=count, reacts_within_m=6.0
    )
    stage.put_ego("lane0", 250.0)
    stage.run(6.0)
    assert stage.a["behaviour"][i] == IDM
    assert stage.a["path"][i] == stage.road.index["oncoming0"]
    assert stage.a["v"][i] > 5.0 and math.cos(stage.a["turn"][i]) > 0.99


# Lane to lane ------------------------------------------------------------------------------
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(7.0, 40.0), min_size=3, max_size=10),
    st.lists(st.floats(3.0, 16.0), min_size=10, max_size=10),
    st.sampled_from(["timid", "normal", "hurried", "aggressive"]),
)
def test_the_order_of_vehicles_on_a_lane_is_conserved(
    gaps: list[float], desired: list[float], style: str
) -> None:
    stage = Stage(STRAIGHT, len(gaps))
    s = 20.0
    for k, gap in enumerate(gaps):
        s += gap
        stage.add("lane0", s, 5.0, style=style, desired=desired[k], changes_lanes=False)
    for _ in range(20):
        stage.run(2.0)
        there = stage.a["present"]
        assert (np.diff(stage.a["s"][there]) > 4.6).all()
        assert (stage.a["v"] >= 0.0).all()


def test_successors_are_drawn_by_the_counter_streams() -> None:
    from sim.actors.lanes import draw

    stage = Stage(STRAIGHT, 1, seed=77)
    counters = np.array([3 * DRAWS_PER_ACTOR + k for k in range(5)])
    expected = streams.uniform(streams.keys(77, streams.STREAM_TRAFFIC, counters), 1)[:, 0]
    np.testing.assert_array_equal([draw(stage.w, 3, k) for k in range(5)], expected)
