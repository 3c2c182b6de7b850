"""Background traffic: where it starts, how it differs, and how it comes back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import (
    ACTOR_KINDS,
    DRIVERS,
    EgoSpec,
    RequestError,
    RoadSpec,
    Scenario,
    TrafficSpec,
)
from sim.actors import spawn
from sim.config import SimConfig
from sim.state import IDM, SCRIPTED, STATIC, WALK
from sim.world import WorldBatch
from tests.sim.actor_cases import ATLAS, Stage, overlaps

ROADS = (
    RoadSpec(length_m=600.0, lanes=3, oncoming_lanes=1),
    RoadSpec(kind="curve", radius_m=-80.0, lanes=2),
    RoadSpec(kind="merge", lanes=2),
    RoadSpec(kind="junction", lanes=1, oncoming_lanes=1),
    RoadSpec(kind="roundabout", lanes=1, oncoming_lanes=1),
    RoadSpec(kind="parking_street", lanes=1),
)


def populated(
    road: RoadSpec, traffic: TrafficSpec, seed: int = 1, stage: Stage | None = None
) -> tuple[Stage, np.ndarray]:
    """The stage and the records of the actors that were added to it."""
    stage = stage or Stage(road, traffic.vehicles + traffic.pedestrians, seed=seed)
    stage.pose()
    first = int(stage.w["actor_count"])
    scenario = Scenario("crowd", "test", True, seed, road, EgoSpec(), traffic=traffic)
    count = spawn.populate(
        stage.a, first, scenario, stage.map_id, ATLAS, stage.w["x"], stage.w["y"], seed
    )
    stage.w["actor_count"] = first + count
    return stage, stage.a[first : first + count]


def on_road(road: RoadSpec, seed: int, **traffic: float) -> tuple[Stage, np.ndarray]:
    """Populated around an ego in the middle of the first lane."""
    spec = TrafficSpec(**{"vehicles": 12, "within_m": 250.0, **traffic})
    stage = Stage(road, spec.vehicles + spec.pedestrians + 1, seed=seed)
    name = stage.road.names[0]
    stage.put_ego(name, 0.4 * float(stage.road.lanes["length_m"][0]))
    return populated(road, spec, seed, stage)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(ROADS), st.integers(0, 2**40))
def test_vehicles_start_apart_on_lanes_near_the_ego(road: RoadSpec, seed: int) -> None:
    stage, actors = on_road(road, seed)
    assert len(actors) >= 6
    away = np.hypot(actors["ax"] - stage.w["x"], actors["ay"] - stage.w["y"])
    assert (away <= 252.0).all() and (away >= 12.0).all()
    assert not overlaps(stage)
    for k, a in enumerate(actors):
        lane = stage.road.lanes[a["path"]]
        assert lane["kind"] == 0 and 0.0 < a["s"] < lane["length_m"]
        assert 0.8 * lane["speed_limit"] <= a["desired"] <= 1.15 * lane["speed_limit"]
        same = (actors["path"] == a["path"]) & (np.arange(len(actors)) != k)
        gaps = np.abs(actors["s"][same] - a["s"])
        gaps -= 0.5 * (actors["length"][same] + a["length"])
        assert (gaps > 11.0).all(), "12 m along the lane, less where it bends"
        assert 0.0 <= a["v"] <= a["desired"]
    assert actors["present"].all() and actors["respawns"].all()
    assert (actors["behaviour"] == IDM).all()


def test_the_seed_decides_and_nothing_else() -> None:
    first = on_road(ROADS[0], 5)[1].copy()
    again = on_road(ROADS[0], 5)[1]
    other = on_road(ROADS[0], 6)[1]
    assert (first == again).all()
    assert not np.array_equal(first["s"], other["s"])


def test_styles_and_kinds_are_drawn_from_those_asked_for() -> None:
    _, actors = populated(
        ROADS[0],
        TrafficSpec(40, styles=("timid", "aggressive"), kinds=("bus", "car"), within_m=1e4),
    )
    styles = {DRIVERS[s].headway_s for s in ("timid", "aggressive")}
    assert set(actors["headway"]) == styles
    assert {ACTOR_KINDS[k] for k in actors["kind"]} == {"bus", "car"}
    for a in actors:
        driver = next(d for d in DRIVERS.values() if d.headway_s == a["headway"])
        assert a["min_gap"] == driver.min_gap_m and a["politeness"] == driver.politeness
        assert a["changes_lanes"] and a["max_accel"] == driver.max_accel_mps2


def test_where_there_is_no_room_there_are_fewer() -> None:
    road = RoadSpec(length_m=200.0, lanes=1)
    _, actors = populated(road, TrafficSpec(60, within_m=1e4))
    assert 4 <= len(actors) <= 12


def test_listed_actors_are_kept_clear_of() -> None:
    stage = Stage(RoadSpec(length_m=300.0, lanes=1), 9)
    stage.add("lane0", 150.0, behaviour=STATIC)
    _, actors = populated(stage.road.spec, TrafficSpec(8, within_m=1e4), stage=stage)
    gaps = np.abs(actors["s"] - 150.0) - 0.5 * (actors["length"] + 4.6)
    assert len(actors) >= 4 and (gaps > 11.9).all()


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(ROADS), st.integers(0, 1000))
def test_passers_by_walk_off_the_road(road: RoadSpec, seed: int) -> None:
    stage, people = on_road(road, seed, vehicles=0, pedestrians=10)
    assert len(people) == 10
    assert (people["behaviour"] == WALK).all() and people["agile"].all()
    clear = ATLAS.clearance(stage.map_id, people["ax"], people["ay"])
    assert (clear < -0.4).all()
    assert ((people["desired"] >= 0.7) & (people["desired"] <= 2.0)).all()
    start = people[["ax", "ay"]].copy()
    stage.run(20.0)
    moved = np.hypot(people["ax"] - start["ax"], people["ay"] - start["ay"])
    assert np.median(moved) > 8.0


def test_unknown_styles_and_kinds_are_refused() -> None:
    with pytest.raises(
        RequestError, match=r"crowd: traffic\.styles: 'angry': expected one of timid"
    ):
        populated(ROADS[0], TrafficSpec(2, styles=("angry",)))
    with pytest.raises(RequestError, match=r"crowd: traffic\.kinds: 'tank': expected one of car"):
        populated(ROADS[0], TrafficSpec(2, kinds=("tank",)))


def test_no_traffic_is_nobody() -> None:
    stage, actors = populated(ROADS[0], TrafficSpec())
    assert not len(actors) and not stage.w["actor_count"]


# Coming back -----------------------------------------------------------------------------------
def leaving(**fields: float) -> tuple[Stage, int]:
    stage = Stage(RoadSpec(length_m=200.0, lanes=1), 2)
    i = stage.add("lane0", 199.0, 12.0, desired=12.0, **fields)
    return stage, i


def test_a_background_vehicle_that_leaves_the_map_enters_it_again() -> None:
    stage, i = leaving(respawns=True)
    stage.run(1.0)
    a = stage.a[i]
    assert a["present"] and a["s"] < 20.0 and a["v"] == pytest.approx(12.0)
    assert not leaving()[0].a["respawns"].any()


def test_others_leave_for_good() -> None:
    stage, i = leaving()
    stage.run(20.0)
    assert not stage.a["present"][i]


def test_it_waits_until_there_is_room_and_enters_no_faster_than_the_one_ahead() -> None:
    stage, i = leaving(respawns=True)
    slow = stage.add("lane0", 8.0, 2.0, behaviour=SCRIPTED, target_v=2.0)
    stage.run(5.0)
    assert not stage.a["present"][i]
    while not stage.a["present"][i]:
        assert stage.a["s"][slow] < 40.0
        stage.run(0.1)
    assert stage.a["s"][slow] - stage.a["s"][i] > 20.0 and stage.a["v"][i] == pytest.approx(2.0)


def test_it_does_not_appear_where_the_ego_is() -> None:
    stage, i = leaving(respawns=True)
    stage.put_ego("lane0", 10.0)
    stage.run(10.0)
    assert not stage.a["present"][i]


def test_who_is_stuck_leaves_where_nobody_sees_it() -> None:
    for ego_s, gone in ((-5000.0, True), (140.0, False)):
        stage = Stage(RoadSpec(length_m=400.0, lanes=1), 2, ego=("lane0", ego_s))
        i = stage.add("lane0", 200.0, 0.0, respawns=True, desired=12.0)
        stage.add("lane0", 208.0, 0.0, behaviour=STATIC)
        stage.run(40.0)
        assert stage.a["s"][i] < 205.0
        stage.run(10.0)
        assert (stage.a["s"][i] < 60.0) == gone


def test_a_crowded_road_stays_sound_for_long() -> None:
    road = replace(ROADS[0], length_m=400.0)
    stage, actors = populated(road, TrafficSpec(30, pedestrians=4, within_m=1e4), seed=9)
    for _ in range(60):
        stage.run(2.0)
        assert np.isfinite(actors["ax"]).all() and np.isfinite(actors["v"]).all()
        assert not overlaps(stage)
    assert actors["present"].sum() >= 15


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.kind)
def test_nobody_begins_by_braking_harder_than_comfortably(road: RoadSpec) -> None:
    braking = total = 0
    for seed in range(12):
        traffic = TrafficSpec(vehicles=16, within_m=200.0, clear_m=8.0)
        ego = EgoSpec(path=Stage(road, 1).road.names[0], s_m=60.0, speed_mps=8.0)
        scenario = Scenario("crowd", "test", True, seed, road, ego, traffic=traffic)
        worlds = WorldBatch([scenario], SimConfig(rig=None, decision_s=0.1))
        assert (worlds.state.v[0] >= 0.0).all()
        worlds.step(np.zeros((1, worlds.config.plan_steps, 2)))
        state = worlds.state
        there = state.present[0] & state.respawns[0] & (state.v[0] > 0.0)
        accel, comfort = state.actor_accel[0][there], state.comfort_brake[0][there]
        assert (accel >= -comfort - 1e-9).all()
        total += int(there.sum())
        braking += int((accel < -0.5).sum())
    assert total > 60 and braking > 0, "the draw must exercise braking"
