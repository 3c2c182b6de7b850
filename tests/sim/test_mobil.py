"""Lane changes, with accelerations computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import RoadSpec
from sim.actors import bodies
from sim.actors.mobil import CLEAR_M, COOLDOWN_S, INDICATE_S, NEVER, SAFE_BRAKE_MPS2, incentives
from sim.actors.shift import is_shifting
from sim.roads.layout import Lane
from sim.state import STATIC
from tests.sim.actor_cases import ATLAS, Stage, add_layout, idm, overlaps, straight

ROAD = RoadSpec(length_m=2000.0, lanes=2)
CAR_M = 4.6


def wishes(stage: Stage, i: int) -> tuple[float, float]:
    """Incentives to change left and right of actor ``i``."""
    stage.pose()
    bodies.gather(stage.w, stage.a, ATLAS.arrays, stage.bodies)
    left, right, _ = incentives(stage.w, stage.a, i + 1, ATLAS.arrays, stage.bodies)
    return left, right


def slow_ahead(**fields: float) -> tuple[Stage, int]:
    """A car at 15 m/s that would like 20 m/s, 25.4 m behind one at 8 m/s."""
    stage = Stage(ROAD, 6)
    me = stage.add("lane0", 100.0, 15.0, style="normal", desired=20.0, politeness=0.0, **fields)
    stage.add("lane0", 130.0, 8.0, desired=8.0)
    return stage, me


def test_the_gain_is_the_own_acceleration_there_less_that_here() -> None:
    stage, me = slow_ahead()
    # Here: desired gap 2 + 22.5 + 15 * 7 / 3.4641 = 54.81 m at 25.4 m; there: a free road.
    here = 1.5 * (1 - 0.75**4 - (54.8109 / 25.4) ** 2)
    there = 1.5 * (1 - 0.75**4)
    left, right = wishes(stage, me)
    assert left == pytest.approx(there - here, abs=1e-3)
    assert right == NEVER, "there is no lane to the right"


def test_nobody_crosses_a_line_that_must_not_be_crossed() -> None:
    right = Lane("right", straight(0.0, 600.0), left="left", closed_left_m=(90.0, 110.0))
    left = Lane("left", straight(0.0, 600.0, 3.5), right="right", closed_right_m=(0.0, 50.0))
    road = add_layout(right, left)
    for s, allowed in ((80.0, True), (100.0, False), (110.0, True)):
        stage = Stage(road, 2)
        me = stage.add("right", s, 15.0, style="normal", desired=20.0)
        stage.add("right", s + 30.0, 8.0, desired=8.0)
        assert (wishes(stage, me)[0] > 0.0) == allowed


def test_a_leader_on_the_other_lane_lessens_the_gain() -> None:
    stage, me = slow_ahead()
    stage.add("lane1", 150.0, 12.0)
    left, _ = wishes(stage, me)
    expected = idm(15.0, 20.0, 50.0 - CAR_M, 12.0) - idm(15.0, 20.0, 30.0 - CAR_M, 8.0)
    assert left == pytest.approx(expected)


@pytest.mark.parametrize("politeness", [0.0, 0.5, 1.0])
def test_politeness_weighs_what_the_followers_gain_and_lose(politeness: float) -> None:
    stage, me = slow_ahead()
    stage.a["politeness"][me] = politeness
    stage.add("lane1", 160.0, 14.0)
    stage.add("lane1", 70.0, 16.0, desired=18.0)
    stage.add("lane0", 80.0, 15.0, desired=18.0)
    own = idm(15.0, 20.0, 60.0 - CAR_M, 14.0) - idm(15.0, 20.0, 30.0 - CAR_M, 8.0)
    new = idm(16.0, 18.0, 30.0 - CAR_M, 15.0) - idm(16.0, 18.0, 90.0 - CAR_M, 14.0)
    old = idm(15.0, 18.0, 50.0 - CAR_M, 8.0) - idm(15.0, 18.0, 20.0 - CAR_M, 15.0)
    left, _ = wishes(stage, me)
    assert left == pytest.approx(own + politeness * (new + old))


@pytest.mark.parametrize(("speed", "safe"), [(16.0, True), (25.0, False)])
def test_a_change_must_be_safe_for_the_new_follower(speed: float, safe: bool) -> None:
    stage, me = slow_ahead()
    stage.add("lane1", 70.0, speed, desired=30.0)
    braking = idm(speed, 30.0, 30.0 - CAR_M, 15.0)
    assert (braking > -SAFE_BRAKE_MPS2) == safe
    assert (wishes(stage, me)[0] > 0.0) == safe


@pytest.mark.parametrize("s", [101.0, 104.0, 96.0])
def test_nobody_changes_into_who_is_beside_it(s: float) -> None:
    stage, me = slow_ahead()
    stage.add("lane1", s, 15.0)
    assert wishes(stage, me)[0] == NEVER


def test_a_car_on_its_way_into_the_lane_from_the_other_side_counts() -> None:
    stage = Stage(RoadSpec(length_m=2000.0, lanes=3), 3)
    me = stage.add("lane0", 100.0, 15.0, style="normal", desired=20.0)
    stage.add("lane0", 130.0, 8.0)
    other = stage.add("lane1", 101.0, 15.0, d=3.0)
    stage.a["shift_s"][other], stage.a["shift_to"][other] = 4.0, 0.0
    assert wishes(stage, me)[0] == NEVER


def test_the_ego_counts_as_a_follower_that_must_be_safe() -> None:
    stage, me = slow_ahead()
    stage.put_ego("lane1", 85.0, speed=25.0)
    assert wishes(stage, me)[0] == NEVER
    stage.put_ego("lane1", 85.0, speed=12.0)
    assert wishes(stage, me)[0] > 0.0


def test_who_has_a_free_road_does_not_want_anything() -> None:
    stage = Stage(ROAD, 1)
    me = stage.add("lane0", 100.0, 15.0, style="normal", desired=20.0)
    assert wishes(stage, me) == (NEVER, NEVER)


def test_a_change_is_indicated_before_and_during_it_and_rests_afterwards() -> None:
    stage, me = slow_ahead()
    a = stage.a[me]
    left_lane = stage.road.index["lane1"]
    stage.run(0.1)
    assert a["indicator"] == 1 and a["path"] != left_lane
    stage.run(INDICATE_S - 0.2)
    assert a["indicator"] == 1 and a["path"] != left_lane
    stage.run(0.2)
    assert a["path"] == left_lane and a["d"] == pytest.approx(-3.5, abs=0.1)
    assert a["ay"] == pytest.approx(0.0, abs=0.1), "it has not jumped"
    changing = 0
    while is_shifting(stage.a[me]):
        assert a["indicator"] == 1
        stage.run(0.1)
        changing += 1
    assert 20 < changing < 60
    assert a["d"] == 0.0
    stage.run(0.1)
    assert a["indicator"] == 0
    assert a["change_cooldown_s"] == pytest.approx(COOLDOWN_S - 0.1)


def test_drivers_that_do_not_change_lanes_do_not() -> None:
    stage, me = slow_ahead(changes_lanes=False)
    stage.run(10.0)
    assert stage.a["path"][me] == stage.road.index["lane0"]
    assert stage.a["v"][me] < 9.0


def drive_dense_lanes(seed: int) -> int:
    """Lane changes within 25 s of 18 drivers on three lanes; none may be into an occupied gap."""
    rng = np.random.default_rng(seed)
    stage = Stage(RoadSpec(length_m=2000.0, lanes=3), 18, seed=seed)
    for lane in range(3):
        s = 50.0 + np.cumsum(rng.uniform(9.0, 35.0, 6))
        for k in range(6):
            stage.add(
                f"lane{lane}", s[k], rng.uniform(5.0, 9.0), desired=rng.uniform(6.0, 18.0),
                style=rng.choice(["timid", "normal", "hurried", "aggressive"]),
            )  # fmt: skip
    changes = 0
    for _ in range(250):
        before = stage.a["path"].copy()
        stage.run(0.1)
        a = stage.a
        for i in np.flatnonzero(a["path"] != before):
            changes += 1
            others = (a["path"] == a["path"][i]) & (np.arange(18) != i)
            away = np.abs(a["s"][others] - a["s"][i])
            # Of this tick's motion, 0.1 s, up to 2 m may have gone.
            assert (away > CAR_M + CLEAR_M - 0.5).all()
        assert not overlaps(stage)
    return changes


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_no_change_into_an_occupied_gap(seed: int) -> None:
    drive_dense_lanes(seed)


def test_drivers_change_lanes_in_dense_traffic() -> None:
    assert sum(drive_dense_lanes(seed) for seed in range(5)) >= 5


# Where a lane ends ---------------------------------------------------------------------------
def ending(**fields: float) -> RoadSpec:
    """A lane that ends at 250 m beside one that goes on."""
    return add_layout(
        Lane("ends", straight(0.0, 600.0), left="stays", ends_m=250.0, speed_limit_mps=15.0),
        Lane("stays", straight(0.0, 600.0, 3.5), speed_limit_mps=15.0),
    )


def test_everybody_has_left_a_lane_before_it_ends() -> None:
    stage = Stage(ending(), 6)
    for k in range(3):
        stage.add("ends", 20.0 + 25.0 * k, 10.0, style="normal", desired=14.0)
        stage.add("stays", 30.0 + 25.0 * k, 10.0, style="normal", desired=14.0)
    for _ in range(80):
        stage.run(0.5)
        there = stage.a["present"] & (stage.a["path"] == stage.road.index["ends"])
        assert (stage.a["s"][there] < 250.0).all()
        assert not overlaps(stage)
    assert (stage.a["s"][:6] > 300.0).all()


def test_who_does_not_change_lanes_stops_where_its_lane_ends() -> None:
    stage = Stage(ending(), 1)
    me = stage.add("ends", 20.0, 14.0, desired=14.0)
    stage.run(60.0)
    assert stage.a["v"][me] == pytest.approx(0.0, abs=0.05)
    assert 1.0 < 250.0 - (stage.a["s"][me] + 2.3) < 4.0


def test_who_finds_no_gap_waits_at_the_end_for_one() -> None:
    stage = Stage(ending(), 12)
    me = stage.add("ends", 200.0, 10.0, style="normal", desired=14.0)
    for k in range(11):
        stage.add("stays", 20.0 + 18.0 * k, 10.0, desired=10.0, changes_lanes=False)
    gone = []
    for _ in range(70):
        stage.run(1.0)
        gone.append(stage.a["path"][me] == stage.road.index["stays"])
        assert not overlaps(stage)
    assert not gone[5], "a platoon passes first"
    assert gone[-1]


def test_nobody_changes_into_a_lane_that_ends_sooner() -> None:
    stage = Stage(ending(), 2)
    me = stage.add("stays", 120.0, 14.0, style="aggressive", desired=20.0)
    stage.add("stays", 150.0, 8.0, desired=8.0)
    assert wishes(stage, me)[1] == NEVER


def test_a_lane_without_a_successor_is_left_for_one_that_goes_on() -> None:
    road = add_layout(
        Lane("dead_end", straight(0.0, 200.0), left="through", speed_limit_mps=15.0),
        Lane("through", straight(0.0, 200.0, 3.5), successors=("on",), speed_limit_mps=15.0),
        Lane("on", straight(200.0, 500.0, 3.5), speed_limit_mps=15.0),
    )
    stage = Stage(road, 1)
    me = stage.add("dead_end", 20.0, 12.0, style="normal", desired=14.0)
    stage.run(8.0)
    assert stage.a["path"][me] == road_index(stage, "through")
    stage.run(12.0)
    assert stage.a["path"][me] == road_index(stage, "on")


def road_index(stage: Stage, name: str) -> int:
    return stage.road.index[name]


def test_a_parked_car_is_passed() -> None:
    stage = Stage(ROAD, 2)
    me = stage.add("lane0", 60.0, 12.0, style="normal", desired=12.0)
    stage.add("lane0", 200.0, 0.0, behaviour=STATIC)
    stage.run(20.0)
    assert stage.a["s"][me] > 230.0 and stage.a["path"][me] == stage.road.index["lane1"]
