"""Who stops, who waits and who goes: signs, gaps, signals that failed, and lanes in a row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alpamayo.types import DRIVERS, RoadSpec
from sim.actors.lanes import choose_next
from sim.actors.priority import STAND_S, critical_gap_s
from sim.roads.layout import Lane
from sim.roads.lines import line_from_curvature
from sim.signals import DARK, FLASHING, GREEN, RED
from sim.state import SCRIPTED, STATIC
from tests.sim.actor_cases import ATLAS, Stage, add_layout, idm, overlaps, straight

T_JUNCTION = RoadSpec(kind="t_junction", lanes=1, oncoming_lanes=1)
JUNCTION = RoadSpec(kind="junction", lanes=1, oncoming_lanes=1)
ROUNDABOUT = RoadSpec(kind="roundabout", lanes=1, oncoming_lanes=1)


def line_of(stage: Stage, path: str) -> float:
    return float(stage.road.lanes["stop_s"][stage.road.index[path]])


def test_a_stop_sign_is_obeyed_on_an_empty_road() -> None:
    stage = Stage(T_JUNCTION, 1)
    line = line_of(stage, "south_east")
    me = stage.add("south_east", line - 60.0, 12.0, desired=12.0)
    stood = 0.0
    for _ in range(400):
        stage.run(0.1)
        front = stage.a["s"][me] + 2.3
        if abs(stage.a["v"][me]) < 0.1 and -0.1 < line - front < 4.0:
            stood += 0.1
        assert front < line or stood >= STAND_S - 0.1, "over the line without having stood"
    assert STAND_S - 0.1 <= stood < STAND_S + 2.0
    assert stage.a["s"][me] > line + 40.0


def test_the_side_road_waits_for_a_gap_that_suits_the_driver() -> None:
    went = {}
    for style in ("timid", "normal", "aggressive"):
        stage = Stage(T_JUNCTION, 12)
        line = line_of(stage, "south_east")
        me = stage.add("south_east", line - 8.0, 3.0, style=style, desired=10.0)
        # Cars at 10 m/s every 55 m, 5.5 s: less than the timid driver's gap.
        for k in range(6):
            stage.add("west_east", 110.0 - 55.0 * k, 10.0, behaviour=SCRIPTED, target_v=10.0)
        went[style] = np.inf
        for n in range(450):
            stage.run(0.1)
            assert not overlaps(stage)
            if stage.a["s"][me] > line + 6.0:
                went[style] = n * 0.1
                break
    assert went["aggressive"] < went["normal"] <= went["timid"] < 45.0


def test_critical_gaps() -> None:
    gaps = {s: critical_gap_s(DRIVERS[s].max_accel_mps2) for s in DRIVERS}
    assert gaps["normal"] == 5.0
    assert gaps["timid"] == pytest.approx(5.0 * math.sqrt(1.5))
    assert gaps["aggressive"] == pytest.approx(5.0 * math.sqrt(0.6))


def test_who_enters_a_roundabout_lets_the_circle_go_first() -> None:
    entered = []
    for busy in (False, True):
        stage = Stage(ROUNDABOUT, 3)
        line = line_of(stage, "south_north")
        me = stage.add("south_north", line - 25.0, 7.0, desired=10.0)
        if busy:
            stage.add("west_south", line_of(stage, "west_south") + 2.0, 6.0, desired=6.0)
            stage.add("west_north", line_of(stage, "west_north") - 4.0, 5.0, desired=6.0)
        for n in range(300):
            stage.run(0.1)
            assert not overlaps(stage)
            if stage.a["s"][me] > line + 3.0:
                entered.append(n * 0.1)
                break
    assert len(entered) == 2 and entered[1] > entered[0] + 1.0


def test_who_has_waited_long_still_lets_the_circle_go_first() -> None:
    stage = Stage(RoadSpec(kind="roundabout", lanes=1, oncoming_lanes=1), 2)
    waits = stage.add("south_west", 124.9, 0.0, waited_s=30.0)
    comes = stage.add("west_east", 143.0, 5.9, desired=6.0)  # the place is 13 m on
    while stage.a["s"][comes] < 156.0:
        stage.run(0.1)
        assert not overlaps(stage)
        assert stage.a["s"][waits] < 127.0 and stage.a["v"][comes] > 5.0
    stage.run(4.0)
    assert stage.a["s"][waits] > 130.0 and not overlaps(stage)


@pytest.mark.parametrize("ahead_m", [2.0, 7.0])
def test_traffic_makes_room_for_who_comes_down_a_ramp(ahead_m: float) -> None:
    stage = Stage(RoadSpec(kind="merge", lanes=1), 2)
    stays = stage.add("lane0", 150.0, 12.0)
    truck = stage.add("ramp", 150.0 + ahead_m, 12.0, kind="truck")
    hardest = 0.0
    for _ in range(60):
        stage.run(0.1)
        hardest = min(hardest, float(stage.a["actor_accel"][stays]))
        assert not overlaps(stage)
    assert -4.0 < hardest < -0.5 and stage.a["s"][truck] > stage.a["s"][stays] + 8.0


def test_at_dark_signals_everybody_stops_and_goes_in_turn() -> None:
    stage = Stage(JUNCTION, 4)
    stage.w["has_signals"], stage.shown = True, (DARK, DARK)
    arms = ("south_north", "west_east", "north_south", "east_west")
    line = line_of(stage, arms[0])
    order = [stage.add(p, line - 30.0 - 6.0 * k, 9.0, desired=10.0) for k, p in enumerate(arms)]
    stood, crossed = np.zeros(4), np.full(4, np.inf)
    for n in range(600):
        stage.run(0.1)
        assert not overlaps(stage)
        front = stage.a["s"] + 2.3
        stood += (np.abs(stage.a["v"]) < 0.1) * 0.1
        crossed = np.where((front > line) & np.isinf(crossed), n * 0.1, crossed)
        assert (stood[np.isfinite(crossed)] >= STAND_S - 0.1).all()
    assert np.isfinite(crossed).all()
    # The first to arrive is the first to go, before both who cross its way.
    assert crossed[order[0]] < min(crossed[1], crossed[3])


@pytest.mark.parametrize("shown", [DARK, FLASHING])
def test_failed_signals_do_not_block_or_crash_a_busy_junction(shown: int) -> None:
    stage = Stage(JUNCTION, 12)
    stage.w["has_signals"], stage.shown = True, (shown, shown)
    moves = {"south": "north west east", "west": "east north south",
             "north": "south east west", "east": "west south north"}  # fmt: skip
    for arm, goals in moves.items():
        for k, goal in enumerate(goals.split()):
            stage.add(f"{arm}_{goal}", 90.0 - 14.0 * k, 8.0, desired=10.0)
    for _ in range(180):
        stage.run(0.5)
        assert not overlaps(stage)
    assert not (stage.a["present"] & (stage.a["s"] < 125.0)).any()


def test_a_flashing_signal_stops_nobody_on_an_empty_road() -> None:
    stage = Stage(JUNCTION, 1)
    stage.w["has_signals"], stage.shown = True, (FLASHING, FLASHING)
    stage.add("south_north", 40.0, 10.0, desired=10.0)
    stage.run(12.0)
    assert stage.a["s"][0] == pytest.approx(160.0, abs=1.0)


def test_who_all_wait_for_each_other_take_turns() -> None:
    # Right before left at a crossing of four: each waits for the one on its right.
    names = ("east", "north", "west", "south")
    lanes = []
    for k, name in enumerate(names):
        turn = 0.5 * np.pi * k
        start = (
            -60.0 * np.cos(turn) + 2.0 * np.sin(turn),
            -60.0 * np.sin(turn) - 2.0 * np.cos(turn),
        )
        line = line_from_curvature([(0.0, 0.0), (120.0, 0.0)], start, turn)
        right = names[(k + 1) % 4]
        lanes.append(Lane(name, line, yields_to=(right,), speed_limit_mps=10.0))
    stage = Stage(add_layout(*lanes), 4)
    for name in names:
        stage.add(name, 25.0, 8.0, desired=8.0)
    for _ in range(120):
        stage.run(0.5)
        assert not overlaps(stage)
    assert not stage.a["present"].any(), "everybody has left"


# Lanes in a row ------------------------------------------------------------------------------
def chain() -> RoadSpec:
    """``first`` (60 m) goes on as ``second`` (40 m), and that as ``left`` or ``right``."""
    left = line_from_curvature([(0.0, 0.0), (5.0, 0.05), (35.0, 0.05)], (100.0, 0.0))
    right = line_from_curvature([(0.0, 0.0), (5.0, -0.05), (35.0, -0.05)], (100.0, 0.0))
    return add_layout(
        Lane("first", straight(0.0, 60.0), successors=("second",), speed_limit_mps=14.0),
        Lane("second", straight(60.0, 100.0), successors=("left", "right"), speed_limit_mps=14.0),
        Lane("left", left, speed_limit_mps=7.0),
        Lane("right", right, speed_limit_mps=7.0),
    )


def test_a_vehicle_goes_on_to_the_next_lane_without_a_jump() -> None:
    stage = Stage(chain(), 1)
    me = stage.add("first", 55.0, 10.0, behaviour=SCRIPTED, target_v=10.0, d=0.3)
    stage.run(0.1)
    x = stage.a["ax"][me]
    for _ in range(9):
        stage.run(0.1)
        assert stage.a["ax"][me] == pytest.approx(x + 1.0)
        x = stage.a["ax"][me]
    assert stage.a["path"][me] == stage.road.index["second"]
    assert stage.a["s"][me] == pytest.approx(5.0) and stage.a["hops"][me] == 1
    ahead = choose_next(stage.w, me, 1, stage.road.index["second"], ATLAS.arrays)
    assert stage.a["next_path"][me] == ahead, "known ahead of time"
    stage.run(4.0)
    assert stage.a["path"][me] == ahead
    stage.run(5.0)
    assert not stage.a["present"][me], "nothing follows"


def test_both_ways_on_are_taken_and_by_the_seed() -> None:
    taken = []
    for seed in range(20):
        stage = Stage(chain(), 1, seed=seed)
        stage.add("second", 38.0, 5.0, behaviour=SCRIPTED, target_v=5.0)
        stage.run(1.0)
        taken.append(int(stage.a["path"][0]))
    assert set(taken) == {stage.road.index["left"], stage.road.index["right"]}


def test_a_leader_on_a_later_lane_counts_with_the_whole_way_to_it() -> None:
    stage = Stage(chain(), 2, seed=3)
    me = stage.add("first", 30.0, 10.0, desired=12.0)
    ahead = choose_next(stage.w, me, 1, stage.road.index["second"], ATLAS.arrays)
    stage.add(stage.road.names[ahead], 10.0, 2.0, desired=2.0)
    # 30 m to the end, 40 m of the second lane, 10 m of the third.
    alone = Stage(chain(), 1, seed=3)
    alone.add("first", 30.0, 10.0, desired=12.0)
    free = float(alone.decide()[0])
    interacting = free - float(stage.decide()[me])
    wanted = 2.0 + 15.0 + 10.0 * (10.0 - 2.0) / (2.0 * math.sqrt(3.0))
    assert interacting == pytest.approx(1.5 * (wanted / (80.0 - 4.6)) ** 2, rel=1e-3)


def test_a_bend_on_a_later_lane_is_approached_slowly() -> None:
    stage = Stage(chain(), 1)
    me = stage.add("first", 5.0, 14.0, desired=14.0)
    bend = math.sqrt(2.5 / 0.05)  # comfortable at 2.5 m/s2 on a radius of 20 m
    entered = False
    for _ in range(200):
        stage.run(0.1)
        on_bend = stage.a["path"][me] in (stage.road.index["left"], stage.road.index["right"])
        if on_bend and stage.a["present"][me] and stage.a["s"][me] > 12.0:
            entered = True
            assert stage.a["v"][me] < bend + 1.0
    assert entered


def test_a_signal_on_a_later_lane_stops() -> None:
    road = add_layout(
        Lane("first", straight(0.0, 50.0), successors=("second",), speed_limit_mps=14.0),
        Lane(
            "second", straight(50.0, 150.0), speed_limit_mps=14.0, stop_s_m=20.0,
            stop_kind="signal", signal_group=1,
        ),
    )  # fmt: skip
    stage = Stage(road, 1)
    stage.w["has_signals"], stage.shown = True, (GREEN, RED)
    stage.add("first", 10.0, 10.0, desired=10.0)
    stage.run(20.0)
    assert stage.a["path"][0] == stage.road.index["second"]
    assert 0.5 < 20.0 - (stage.a["s"][0] + 2.3) < 2.0


def test_traffic_keeps_behind_and_gives_way_to_an_ego_on_its_route() -> None:
    stage = Stage(chain(), 1)
    route = ATLAS.add_route(stage.map_id, ("first", "second", "left"))
    x, y, heading, _ = ATLAS.pose(stage.map_id, route, 80.0, 0.0)
    w = stage.w
    w["route"], w["route_s"], w["x"], w["y"], w["heading"] = route, 80.0, x, y, heading
    stage.add("first", 5.0, 10.0, desired=10.0)
    stage.run(20.0)
    assert stage.a["path"][0] == stage.road.index["second"]
    assert stage.a["s"][0] + 60.0 + 2.3 == pytest.approx(80.0 - 2.4 - 2.0, abs=0.3)


# Platoons --------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", ["timid", "normal", "hurried", "aggressive"])
def test_the_equilibrium_of_each_style(style: str) -> None:
    stage = Stage(RoadSpec(length_m=3000.0, lanes=1), 2)
    stage.add("lane0", 200.0, 9.0, behaviour=SCRIPTED, target_v=9.0)
    stage.add("lane0", 160.0, 9.0, style=style, desired=16.0)
    stage.run(150.0)
    d = DRIVERS[style]
    expected = (d.min_gap_m + 9.0 * d.headway_s) / math.sqrt(1.0 - (9.0 / 16.0) ** 4)
    assert stage.gap(0, 1) == pytest.approx(expected, rel=0.01)
    assert idm(9.0, 16.0, stage.gap(0, 1), 9.0, style) == pytest.approx(0.0, abs=0.01)


def test_a_braking_wave_dies_out_along_a_platoon() -> None:
    stage = Stage(RoadSpec(length_m=5000.0, lanes=1), 11)
    gap = (2.0 + 12.0 * 1.5) / math.sqrt(1.0 - (12.0 / 16.0) ** 4) + 4.6
    stage.add("lane0", 1000.0, 12.0, behaviour=SCRIPTED, target_v=12.0)
    for k in range(1, 11):
        stage.add("lane0", 1000.0 - gap * k, 12.0, desired=16.0)
    slowest = np.full(11, 12.0)
    for n in range(900):
        if n == 10:
            stage.a["target_v"][0] = 7.0
        if n == 40:
            stage.a["target_v"][0] = 12.0
        stage.run(0.1)
        slowest = np.minimum(slowest, stage.a["v"])
    dips = 12.0 - slowest
    assert dips[0] == pytest.approx(5.0)
    assert (np.diff(dips) < 0.0).all(), "each follower slows down less than the one before"
    assert dips[10] < 0.5 * dips[0]
    np.testing.assert_allclose(stage.a["v"], 12.0, atol=0.3)


def test_nobody_drives_into_a_standing_queue() -> None:
    stage = Stage(RoadSpec(length_m=1000.0, lanes=1), 3)
    stage.add("lane0", 300.0, 0.0, behaviour=STATIC)
    for k, style in enumerate(("aggressive", "timid")):
        stage.add("lane0", 150.0 - 40.0 * k, 14.0, style=style, desired=18.0)
    for _ in range(80):
        stage.run(0.5)
        assert not overlaps(stage)
    assert np.abs(stage.a["v"]).max() < 0.1
