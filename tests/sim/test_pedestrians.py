"""The social force model: closed forms, gradients, and people who meet."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import RoadSpec
from sim.actors.pedestrians import (
    FASTEST,
    RELAX_S,
    STEP_S,
    WALKER_POTENTIAL,
    WALKER_RANGE_M,
    from_walker,
)
from sim.state import STATIC, WALK
from tests.sim.actor_cases import ATLAS, TICK_S, Stage

ROAD = RoadSpec(length_m=400.0, lanes=2)
SPEED = 1.34


def walker(
    stage: Stage, start: tuple[float, float], goal: tuple[float, float], speed: float = SPEED
) -> int:
    """On the straight road, whose first lane is the x axis."""
    return stage.add(
        "lane0", start[0], kind="pedestrian", behaviour=WALK, d=start[1], goal_x=goal[0],
        goal_y=goal[1], desired=speed, agile=True,
    )  # fmt: skip


def velocity(stage: Stage, i: int) -> np.ndarray:
    return np.array([stage.a["walk_vx"][i], stage.a["walk_vy"][i]])


def test_a_walker_relaxes_to_its_desired_speed() -> None:
    stage = Stage(ROAD, 1)
    i = walker(stage, (100.0, -6.0), (100.0, 60.0))
    for n in range(1, 30):
        stage.run(TICK_S)
        # Each tick goes dt / tau of the way to the desired velocity.
        expected = SPEED * (1.0 - (1.0 - TICK_S / RELAX_S) ** n)
        np.testing.assert_allclose(velocity(stage, i), [0.0, expected], atol=1e-12)
    assert stage.a["aheading"][i] == pytest.approx(np.pi / 2)


def test_path_coordinates_and_speeds_follow_the_walker() -> None:
    stage = Stage(ROAD, 1)
    i = walker(stage, (100.0, -6.0), (130.0, 24.0))
    stage.run(8.0)
    a = stage.a[i]
    assert (a["s"], a["d"]) == pytest.approx((a["ax"], a["ay"]))
    assert (a["v"], a["vd"]) == pytest.approx((a["walk_vx"], a["walk_vy"]))
    assert math.hypot(a["v"], a["vd"]) == pytest.approx(SPEED, abs=1e-3)


def test_a_walker_stops_at_its_goal() -> None:
    stage = Stage(ROAD, 1)
    i = walker(stage, (100.0, -6.0), (100.0, 2.0))
    stage.run(20.0)
    assert math.hypot(stage.a["ax"][i] - 100.0, stage.a["ay"][i] - 2.0) < 0.4
    assert np.abs(velocity(stage, i)).max() < 0.01


def test_repulsion_is_the_gradient_of_the_elliptical_potential() -> None:
    stage = Stage(ROAD, 2)
    me = walker(stage, (100.0, 0.0), (100.0, 0.0))
    other = walker(stage, (103.0, 1.0), (90.0, 0.0))
    stage.a["width"][:] = 0.0
    stage.a["walk_vx"][other], stage.a["walk_vy"][other] = -1.2, 0.3
    stage.pose()

    def potential(x: float, y: float) -> float:
        r = np.array([x - 103.0, y - 1.0])
        step = STEP_S * np.array([-1.2, 0.3])
        sum_m = np.linalg.norm(r) + np.linalg.norm(r - step)
        b = 0.5 * np.sqrt(sum_m**2 - step @ step)
        return float(WALKER_POTENTIAL * np.exp(-b / WALKER_RANGE_M))

    h = 1e-5
    slope_x = (potential(100.0 + h, 0.0) - potential(100.0 - h, 0.0)) / (2 * h)
    slope_y = (potential(100.0, h) - potential(100.0, -h)) / (2 * h)
    # At its goal a walker looks nowhere: the plain force.
    force = from_walker(stage.a[me], stage.a[other])
    np.testing.assert_allclose(force, [-slope_x, -slope_y], rtol=1e-6)


def test_what_is_behind_counts_half() -> None:
    stage = Stage(ROAD, 2)
    me = walker(stage, (100.0, 0.0), (100.0, 0.0))
    other = walker(stage, (100.0, -1.0), (100.0, -1.0))
    stage.pose()
    plain = np.array(from_walker(stage.a[me], stage.a[other]))
    stage.a["goal_y"][me] = 20.0
    np.testing.assert_allclose(from_walker(stage.a[me], stage.a[other]), 0.5 * plain)


@settings(max_examples=25, deadline=None)
@given(st.floats(-0.4, 0.4), st.floats(0.8, 1.8), st.floats(0.8, 1.8), st.floats(0.0, 6.28))
def test_two_walkers_head_on_pass_without_touching(
    aside: float, fast: float, slow: float, course: float
) -> None:
    stage = Stage(ROAD, 2)
    ahead = np.array([math.cos(course), math.sin(course)])
    left = np.array([-ahead[1], ahead[0]])
    middle = np.array([200.0, -30.0])
    start, end = middle - 8.0 * ahead, middle + 8.0 * ahead
    walker(stage, tuple(start), tuple(end), fast)
    walker(stage, tuple(end + aside * left), tuple(start + aside * left), slow)
    nearest = np.inf
    for _ in range(300):
        stage.run(TICK_S)
        a = stage.a
        nearest = min(nearest, math.hypot(a["ax"][0] - a["ax"][1], a["ay"][0] - a["ay"][1]))
    assert nearest > 0.6, "two bodies of 0.6 m"
    assert math.hypot(*(end - [stage.a["ax"][0], stage.a["ay"][0]])) < 1.0
    assert math.hypot(*(start + aside * left - [stage.a["ax"][1], stage.a["ay"][1]])) < 1.0


def test_nobody_walks_faster_than_the_bound() -> None:
    stage = Stage(ROAD, 12)
    rng = np.random.default_rng(3)
    for _ in range(12):
        start, goal = rng.uniform([196.0, -34.0], [204.0, -26.0], (2, 2))
        walker(stage, tuple(start), tuple(goal))
    for _ in range(100):
        stage.run(TICK_S)
        speed = np.hypot(stage.a["walk_vx"], stage.a["walk_vy"])
        assert (speed <= FASTEST * SPEED + 1e-9).all()


def test_a_walker_goes_around_a_parked_car() -> None:
    stage = Stage(ROAD, 2)
    i = walker(stage, (100.0, -30.0), (120.0, -30.1))
    stage.add("lane0", 110.0, d=-30.0, behaviour=STATIC)
    for _ in range(400):
        stage.run(TICK_S)
        x, y = stage.a["ax"][i], stage.a["ay"][i]
        beside = max(abs(x - 110.0) - 2.3, abs(y + 30.0) - 0.95)
        assert beside > 0.25, "keeps its body off the car"
    assert stage.a["ax"][i] > 118.0


@pytest.mark.parametrize("ego", [True, False])
def test_a_walker_lets_a_car_pass(ego: bool) -> None:
    stage = Stage(ROAD, 2)
    i = walker(stage, (100.0, -6.0), (100.0, 9.0))
    if ego:
        stage.put_ego("lane0", 70.0, speed=12.0)
    else:
        stage.add("lane0", 70.0, 12.0, behaviour=1, target_v=12.0)
    stage.pose()
    for n in range(60):
        if ego:  # drives past at 12 m/s
            stage.put_ego("lane0", 70.0 + 1.2 * n, speed=12.0)
        stage.run(TICK_S)
        car_x = stage.w["x"] if ego else stage.a["ax"][1]
        x, y = stage.a["ax"][i], stage.a["ay"][i]
        assert abs(x - car_x) > 2.4 + 0.3 or abs(y) > 1.0 + 0.2
    if ego:
        stage.put_ego("lane0", 390.0)
    stage.run(15.0)
    assert stage.a["ay"][i] > 8.0, "and then crosses"


def test_people_along_the_road_stay_beside_it_and_turn_back_at_its_end() -> None:
    road = RoadSpec(kind="curve", radius_m=60.0, lanes=1, length_m=160.0)
    stage = Stage(road, 1)
    x, y, _, _ = ATLAS.pose(stage.map_id, 0, 112.0, -4.0)
    i = stage.add(
        "lane0", 100.0, kind="pedestrian", behaviour=WALK, d=-4.0, goal_x=x, goal_y=y,
        desired=SPEED, agile=True, respawns=True,
    )  # fmt: skip
    furthest, path = 0.0, []
    for _ in range(150):
        stage.run(1.0)
        furthest = max(furthest, stage.a["s"][i])
        path.append(stage.a["s"][i])
        assert -5.5 < stage.a["d"][i] < -2.5
    assert furthest > 140.0
    assert path[-1] < furthest - 20.0
