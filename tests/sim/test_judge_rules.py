"""Lines, lanes, edges and standing: the judge's rules on constructed worlds."""

from __future__ import annotations

import numpy as np
import pytest

from alpamayo.types import (
    END_OFF_ROAD,
    END_RED_LIGHT,
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    RoadSpec,
)
from sim.collision import corners
from sim.judge import BLOCKED_S, OFF_ROAD_M, TALLY, note_motion
from sim.signals import DARK, FLASHING, GREEN, RED, YELLOW
from tests.sim.records import ATLAS, Scene

ONCOMING = RoadSpec(lanes=1, oncoming_lanes=1)


# Lines -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("shown", "group", "end"),
    [
        ((RED, GREEN), 0, END_RED_LIGHT),
        ((RED, GREEN), 1, END_RUNNING),
        ((GREEN, RED), 1, END_RED_LIGHT),
        ((YELLOW, YELLOW), 0, END_RUNNING),
        ((DARK, DARK), 0, END_RUNNING),
        ((FLASHING, FLASHING), 1, END_RUNNING),
    ],
)
def test_only_red_forbids_to_cross_the_line(shown, group, end) -> None:
    scene = Scene()
    scene.stop_line(70.0, "signal", group)
    scene.shown = shown
    assert scene.tick(20) == end
    if end == END_RED_LIGHT:
        assert scene.world["tick"] == 8, "the bumper, 2.4 m ahead, is at 69.4 m after 7 ticks"
    assert not scene.signals().stop_line[0]


def passes_stop_sign(*phases: tuple[float, int], kind: str = "stop") -> bool:
    """Drive ``phases`` (speed, ticks) towards a line 10 m ahead of the front bumper."""
    scene = Scene()
    scene.stop_line(72.4, kind)
    for speed, ticks in phases:
        scene.world["speed"] = speed
        scene.tick(ticks)
    assert scene.world["end"] == END_RUNNING and scene.world["route_s"] + 2.4 > 72.4
    return bool(scene.signals().stop_line[0])


def test_a_stop_sign_wants_a_standing_car_close_to_the_line() -> None:
    assert passes_stop_sign((10.0, 20)), "drove through"
    assert not passes_stop_sign((10.0, 8), (0.0, 3), (5.0, 10)), "stood 2 m before the line"
    assert not passes_stop_sign((6.0, 10), (0.09, 1), (5.0, 10)), "stood 4 m before it"
    assert passes_stop_sign((5.0, 11), (0.0, 9), (5.0, 20)), "stood 4.5 m before it"
    assert passes_stop_sign((10.0, 8), (0.11, 3), (5.0, 10)), "rolled"
    assert not passes_stop_sign((10.0, 20), kind="yield"), "needs no standing"


def test_standing_beyond_the_line_does_not_undo_it_and_one_interval_reports_it() -> None:
    scene = Scene()
    scene.stop_line(65.0, "stop")
    scene.tick(4)
    assert scene.signals().stop_line[0]
    scene.restart()
    scene.world["speed"] = 0.0
    scene.tick(4)
    assert not scene.signals().stop_line[0]


# Edges and ends --------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["straight", "curve", "junction", "merge"])
def test_off_the_road_is_what_the_worst_corner_says(kind) -> None:
    lanes = 1 if kind == "junction" else 2
    road = RoadSpec(
        kind=kind, lanes=lanes, oncoming_lanes=lanes - (kind != "junction"), radius_m=60.0
    )
    name = "south_north" if kind == "junction" else "lane0"
    rng = np.random.default_rng(8)
    outcomes = []
    scene = Scene(road, name)
    for _ in range(800):
        w = scene.world
        w["end"], w["route_s"], w["route_d"] = 0, rng.uniform(20, 150), rng.uniform(-4.5, 4.5)
        w["speed"] = 0.0
        scene.pose()
        scene.pose = lambda: None  # the heading is set here
        w["heading"] += rng.uniform(-np.pi, np.pi)
        x, y = corners(w["x"], w["y"], w["heading"], 4.8, 2.0)
        worst = float(np.min(ATLAS.clearance(scene.map_id, x, y)))
        outcomes.append(scene.tick() == END_OFF_ROAD)
        assert outcomes[-1] == (worst < OFF_ROAD_M), worst
        del scene.pose
    assert 20 < sum(outcomes) < 780, "the draw must exercise both outcomes"


def test_the_end_of_time_and_route_and_what_counts_more() -> None:
    assert Scene(duration_s=0.5).tick(9) == END_TIMEOUT
    done = Scene(end_s=62.0, duration_s=0.2)
    assert done.tick(9) == END_ROUTE_DONE and done.world["tick"] == 2
    late = Scene(duration_s=0.3)
    late.tick(3)
    assert late.world["end"] == END_TIMEOUT and late.world["tick"] == 3


# Lanes -----------------------------------------------------------------------------------
def test_time_outside_the_lanes_of_its_direction() -> None:
    kept, drifted, oncoming = Scene(ONCOMING), Scene(ONCOMING), Scene(ONCOMING)
    drifted.world["route_d"] = -1.76  # 1 cm beyond the edge, on the shoulder
    oncoming.world["route_d"] = 2.5  # 1 m beside the middle of the oncoming lane
    for scene in (kept, drifted, oncoming):
        scene.pose()
        scene.tick(4)
    signals = [scene.signals() for scene in (kept, drifted, oncoming)]
    np.testing.assert_allclose([s.off_lane_s[0] for s in signals], [0.0, 0.4, 0.4])
    assert [bool(s.wrong_way[0]) for s in signals] == [False, False, True]
    np.testing.assert_allclose([s.lane_offset_m[0] for s in signals], [0.0, 1.76, 1.0], atol=1e-6)
    np.testing.assert_allclose([s.route_offset_m[0] for s in signals], [0.0, 1.76, 2.5])


def test_the_nearest_lane_of_the_same_direction_will_do() -> None:
    scene = Scene(drift=1.0)  # from lane0 towards lane1
    scene.tick(20)
    signals = scene.signals()
    assert signals.off_lane_s[0] == 0.0 and signals.route_offset_m[0] == pytest.approx(2.0)
    assert signals.lane_offset_m[0] == pytest.approx(1.5, abs=1e-6)
    assert scene.road.names[int(scene.world["lane"])] == "lane1"


# Motion ----------------------------------------------------------------------------------
def test_extremes_keep_their_sign_and_the_magnitude_its_change() -> None:
    scene = Scene()
    for accel, lateral in ((-3.0, 0.0), (2.5, 0.0), (0.0, 4.0), (3.0, -4.0)):
        scene.tick(1, accel, lateral)
    signals = scene.signals()
    assert signals.accel_mps2[0] == -3.0
    assert (signals.min_accel_mps2[0], signals.max_accel_mps2[0]) == (-3.0, 3.0)
    assert signals.lateral_accel_mps2[0] == 4.0
    # |a| goes 0, 3, 2.5, 4, 5
    assert signals.mag_jerk_mps3[0] == pytest.approx(30.0)
    scene.restart()
    scene.world["moved_accel"] = 5.0
    scene.restart()
    scene.tick(1, 3.0, 4.0)
    assert scene.signals().mag_jerk_mps3[0] == pytest.approx(0.0, abs=1e-9)
    assert scene.signals().min_accel_mps2[0] == 3.0


def test_what_the_ego_tells_is_summed_up() -> None:
    tally = np.zeros(1, dtype=TALLY)
    for values in ((1.0, -9.0, 0.5, 0.1, 2.0, 1.5), (-2.0, 8.0, -0.7, -0.3, -1.0, 0.5)):
        note_motion(tally[0], *values)
    names = ("accel", "jerk", "lateral", "yaw_rate", "yaw_accel", "over_speed", "ticks")
    assert [tally[0][name] for name in names] == [-2.0, -9.0, -0.7, -0.3, 2.0, 2.0, 2]


# Standing --------------------------------------------------------------------------------
def blocked(scene: Scene, seconds: float = BLOCKED_S + 0.1) -> bool:
    scene.world["speed"] = 0.0
    scene.tick(round(seconds / 0.1))
    return bool(scene.signals().blocked[0])


def test_standing_for_no_reason_is_blocked_after_a_while() -> None:
    assert blocked(Scene())
    assert not blocked(Scene(), BLOCKED_S)
    interrupted = Scene()
    blocked(interrupted, 3.0)
    interrupted.world["speed"] = 0.2
    interrupted.tick(1)
    assert not blocked(interrupted, 3.0)


@pytest.mark.parametrize(
    ("gap", "d", "expected"),
    [
        (10.0, 0.0, False),
        (14.9, 0.0, False),
        (15.1, 0.0, True),
        (5.0, 2.4, False),
        (5.0, 2.5, True),
    ],
)
def test_someone_ahead_is_a_reason(gap, d, expected) -> None:
    scene = Scene()  # beside: half of 2 and 1.9 m, and half a metre
    scene.ahead(gap, d=d)
    assert blocked(scene) == expected


def test_a_red_light_is_a_reason_and_a_dark_one_only_with_traffic() -> None:
    def waits(shown: int, distance: float = 5.0, **traffic) -> bool:
        scene = Scene(RoadSpec(lanes=4))
        scene.stop_line(62.4 + distance, "signal", 0)
        scene.shown = (shown, shown)
        if traffic:
            scene.add(path="lane3", **traffic)
        return blocked(scene)

    assert not waits(RED) and not waits(YELLOW)
    assert waits(RED, distance=15.1) and waits(GREEN) and waits(DARK)
    assert waits(GREEN, s=70.0, vd=0.11) and not waits(DARK, s=70.0, vd=0.11)
    assert waits(DARK, s=102.0, vd=0.11), "more than 40 m away"
    assert waits(DARK, s=70.0), "parked"
