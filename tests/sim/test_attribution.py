"""Whose fault: one constructed collision per rule."""

from __future__ import annotations

import math

import pytest

from alpamayo.types import END_COLLISION, FAULT_EGO, FAULT_OTHER, RoadSpec
from tests.sim.records import ATLAS, Scene

WIDE = RoadSpec(lanes=3)


def verdict(scene: Scene, ticks: int = 60) -> int:
    """The fault of the collision with the last actor added."""
    assert scene.tick(ticks) == END_COLLISION
    assert scene.tally["actor"] == scene.world["actor_count"] - 1
    return int(scene.tally["fault"])


def test_running_into_what_stands_or_is_slower_is_the_egos_fault() -> None:
    standing, slower = Scene(), Scene()
    standing.ahead(5.0)
    slower.ahead(5.0, v=4.0)
    assert verdict(standing) == FAULT_EGO
    assert standing.world["tick"] == 5 + 1, "5 m at 10 m/s; touching from bumper to bumper is none"
    assert verdict(slower) == FAULT_EGO


def test_a_frontal_hit_with_little_overlap_across_is_still_frontal() -> None:
    scene = Scene(speed=20.0)
    scene.ahead(8.5, d=1.8)  # 0.15 m across, then 1.5 m along within one tick
    assert verdict(scene) == FAULT_EGO


def test_being_struck_from_behind_is_the_others_fault() -> None:
    scene = Scene()
    scene.add(s=50.0, v=18.0)
    assert verdict(scene) == FAULT_OTHER


@pytest.mark.parametrize(
    ("speed", "fault"), [(0.0, FAULT_OTHER), (0.4, FAULT_OTHER), (3.0, FAULT_EGO)]
)
def test_head_on_the_one_who_stands_is_innocent(speed, fault) -> None:
    scene = Scene(speed=speed)
    scene.add(s=90.0, v=-10.0)
    assert verdict(scene) == fault


def test_standing_is_no_excuse_if_the_other_is_slower_still() -> None:
    scene = Scene(speed=0.4)
    scene.ahead(0.2, v=0.1)
    assert verdict(scene) == FAULT_EGO


def test_a_neighbour_that_swerves_into_the_ego_is_at_fault() -> None:
    scene = Scene()
    scene.add(path="lane1", s=60.0, v=10.0, vd=-1.5)
    assert verdict(scene) == FAULT_OTHER


@pytest.mark.parametrize("side", [1, -1])
def test_drifting_into_a_neighbour_is_the_egos_fault(side) -> None:
    scene = Scene(WIDE, "lane1", drift=0.8 * side)
    scene.add(path=f"lane{1 + side}", s=60.0, v=10.0)
    assert verdict(scene) == FAULT_EGO


@pytest.mark.parametrize(("drift", "fault"), [(0.25, FAULT_OTHER), (0.35, FAULT_EGO)])
@pytest.mark.parametrize("side", [1, -1])
def test_wandering_slowly_within_the_lane_is_no_lane_change(side, drift, fault) -> None:
    scene = Scene(WIDE, "lane1", drift=drift * side)
    scene.add(path=f"lane{1 + side}", s=60.0, d=-1.3 * side, v=10.0)  # 0.25 m beside the ego
    assert verdict(scene) == fault


def test_drifting_away_from_the_one_who_comes_closer_is_not() -> None:
    scene = Scene(WIDE, "lane1", drift=-0.4)
    scene.add(path="lane2", s=60.0, v=10.0, vd=-3.0)
    assert verdict(scene) == FAULT_OTHER


def test_straddling_the_lane_edge_makes_a_side_contact_the_egos_fault() -> None:
    # 0.9 m beside the middle, half of 2 m wide: 0.05 m more than the lane's edge and 0.1 m
    for d, fault in ((0.9, FAULT_EGO), (0.8, FAULT_OTHER)):
        scene = Scene(route_d=d)
        scene.add(path="lane1", s=60.0, v=10.0, vd=-1.0)
        assert verdict(scene) == fault


def test_scraping_along_what_stands_is_the_egos_fault_whoever_drifted() -> None:
    scene = Scene(route_d=-0.2, drift=0.25, speed=5.0)
    scene.add(path="lane0", s=64.0, d=2.0)
    assert verdict(scene) == FAULT_EGO


def test_a_red_light_runner_into_the_side_is_at_fault_but_not_when_the_ego_hits_it() -> None:
    road = RoadSpec(kind="junction", lanes=1, oncoming_lanes=1)
    for later_s, fault in ((0.15, FAULT_OTHER), (-0.35, FAULT_EGO)):
        scene = Scene(road, "south_north", route_s=80.0)
        own, other = scene.road.index["south_north"], scene.road.index["west_east"]
        pairs, index = ATLAS.arrays.pairs, ATLAS.arrays.pair_index
        m = ATLAS.arrays.maps[scene.map_id]

        def cross(p: int, q: int, pairs=pairs, index=index, m=m) -> float:
            return float(pairs[index[m["pair_first"] + p * m["pair_stride"] + q]]["cross_s"])

        # The ego's box passes the crossing point within +-0.24 s of its centre.
        to_cross_s = (cross(own, other) - 80.0) / 10.0
        scene.add(path="west_east", s=cross(other, own) - 10.0 * (to_cross_s + later_s), v=10.0)
        assert verdict(scene, 100) == fault


@pytest.mark.parametrize(("opened_s", "fault"), [(0.2, FAULT_OTHER), (-0.4, FAULT_EGO)])
def test_a_door_is_a_surprise_for_one_second(opened_s, fault) -> None:
    # The car parked to the right has its door across the right half of the ego, which is there
    # after 0.7 s.
    scene = Scene(WIDE, "lane1")
    parked = scene.add(path="lane0", s=68.0, d=0.9)
    scene.door(parked, math.pi / 2, opened_s)
    assert verdict(scene, 10) == fault


def test_a_door_that_opens_into_the_standing_ego_is_never_the_egos_fault() -> None:
    scene = Scene(WIDE, "lane1", speed=0.0)
    parked = scene.add(path="lane0", s=60.0, d=1.2)
    door = scene.door(parked, 0.0)
    scene.actors[door]["angle_to"], scene.actors[door]["angle_rate"] = 1.2, 0.05
    assert verdict(scene, 200) == FAULT_OTHER
    assert scene.world["tick"] > 20, "it opened slower than a second"


def test_of_several_in_contact_the_deepest_overlap_counts() -> None:
    scene = Scene(speed=20.0)
    scene.ahead(1.9, d=1.0)  # 0.1 m deep after a tick
    scene.ahead(1.0)  # 1 m deep
    assert verdict(scene, 1) == FAULT_EGO
