"""Triggers and actions, each by hand. The ego is at 60 m of lane0 at 10 m/s unless a test says
otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alpamayo.types import (
    END_COLLISION,
    END_RED_LIGHT,
    END_RUNNING,
    FAULT_EGO,
    FAULT_OTHER,
    Action,
    ActorSpec,
    EgoSpec,
    EventSpec,
    RoadSpec,
    SignalPlan,
    Trigger,
)
from sim.events import ahead_on_route
from sim.signals import MODES, signal_state
from sim.state import ATTACHED, IDM, SCRIPTED, STATIC, WALK
from sim.world import WorldBatch
from tests.sim.records import ATLAS, Scene

JUNCTION = RoadSpec(kind="junction", lanes=1, oncoming_lanes=1)
BRAKE = ("speed", {"speed_mps": 0.0, "accel_mps2": 6.0})


def holds(scene: Scene, trigger: str, value: float, time_s: float = 0.0, **event: int) -> bool:
    number = scene.event(trigger, value, **event)
    return scene.fire(time_s)[number]


def test_time_holds_from_the_tick_it_names() -> None:
    scene = Scene()
    scene.event("time", 0.3)
    assert scene.fire(0.2) == [False]
    assert scene.fire(3 * 0.1) == [True], "0.30000000000000004 is 0.3"
    assert Scene().fire() == []
    early = Scene()
    early.event("time", 0.1 + 0.2)
    assert early.fire(0.3) == [True]


def test_ego_position_counts_from_the_start() -> None:
    scene = Scene()
    scene.event("ego_position", 12.0)
    assert scene.fire() == [False]
    scene.world["route_s"] = 71.9
    assert scene.fire() == [False]
    scene.world["route_s"] = 72.0
    assert scene.fire() == [True]


@pytest.mark.parametrize(
    ("trigger", "at", "below"),
    [
        # bumper to bumper 20 m; closing at 10 - 4 m/s; centre 24.7 m ahead
        ("distance", 20.0, 19.9),
        ("ttc", 20.0 / 6.0, 3.3),
        ("arrival", 2.47, 2.46),
        ("headway", 2.0, 1.99),
    ],
)
def test_triggers_that_relate_the_ego_to_an_actor_ahead(trigger, at, below) -> None:
    def scene() -> Scene:
        made = Scene()
        made.ahead(20.0, v=4.0)
        return made

    assert holds(scene(), trigger, at)
    assert not holds(scene(), trigger, below)
    assert not holds(scene(), trigger, below, actor=-1)
    gone = scene()
    gone.actors["present"] = False
    assert not holds(gone, trigger, 1e3)
    behind = Scene()
    behind.add(s=30.0, v=4.0)
    assert not holds(behind, trigger, 1e3)


def test_nothing_closes_in_on_who_is_faster_and_nothing_arrives_that_stands() -> None:
    faster, standing = Scene(), Scene(speed=0.0)
    faster.ahead(5.0, v=12.0)
    standing.ahead(5.0)
    assert not holds(faster, "ttc", 1e3)
    assert holds(faster, "headway", 0.5) and not holds(faster, "headway", 0.49)
    assert not holds(standing, "headway", 1e3) and not holds(standing, "ttc", 1e3)
    assert holds(standing, "distance", 5.0)


def test_someone_who_backs_up_comes_closer() -> None:
    scene = Scene(speed=2.0)
    slot = scene.ahead(20.0, v=-3.0)
    scene.actors[slot]["turn"] = 0.0  # it still looks ahead
    assert holds(scene, "ttc", 4.0) and not holds(scene, "ttc", 3.9)


def test_only_the_part_of_the_speed_along_the_route_counts() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, v=3.0, vd=4.0, length=2.0, width=2.0)
    # turned by atan2(4, 3): half extent along the route 0.5 (2 * 0.6 + 2 * 0.8) = 1.4
    ahead, reach, along = ahead_on_route(scene.world, scene.actors[slot], scene.maps)
    assert ahead == pytest.approx(20.0 + 2.4 + 2.3)
    assert reach == pytest.approx(1.4) and along == pytest.approx(3.0)


def test_an_actor_on_a_crossing_road_counts_where_its_path_crosses() -> None:
    scene = Scene(JUNCTION, "south_north", route_s=40.0)
    slot = scene.add(path="west_east", s=5.0, v=10.0)
    pair = scene.maps.pair_index
    m = scene.maps.maps[scene.map_id]
    own, other = scene.road.index["south_north"], scene.road.index["west_east"]
    cross_s = scene.maps.pairs[pair[m["pair_first"] + own * m["pair_stride"] + other]]["cross_s"]
    ahead, _, along = ahead_on_route(scene.world, scene.actors[slot], scene.maps)
    assert ahead == pytest.approx(cross_s - 40.0) and along == 0.0
    # the crossing seen independently: where the two lines of lane centres meet
    x, y, _, _ = ATLAS.pose(scene.map_id, own, float(cross_s), 0.0)
    _, d = ATLAS.locate(scene.map_id, other, x, y)
    assert abs(float(d)) < 0.6, "half of the 1 m between samples"


def test_an_actor_on_the_neighbouring_lane_counts_beside_the_route() -> None:
    scene = Scene()
    slot = scene.add(path="lane1", s=80.0, v=5.0)
    ahead, reach, along = ahead_on_route(scene.world, scene.actors[slot], scene.maps)
    assert (ahead, reach, along) == pytest.approx((20.0, 2.3, 5.0))


def test_speeds_of_ego_and_actor() -> None:
    scene = Scene()
    scene.add(s=30.0, v=3.0, vd=4.0)
    assert holds(scene, "ego_speed", 10.0) and not holds(scene, "ego_speed", 10.01)
    assert holds(scene, "actor_speed", 5.0) and not holds(scene, "actor_speed", 5.01)


def test_after_counts_from_the_moment_the_other_event_fired() -> None:
    scene = Scene()
    scene.event("after", 0.3, after=1)  # listed before the event it waits for
    scene.event("time", 0.5)
    scene.event("after", 0.0, after=1)
    fired = {round(0.1 * k, 1): scene.fire(0.1 * k) for k in range(10)}
    assert fired[0.4] == [False, False, False]
    assert fired[0.5] == [False, True, False]
    assert fired[0.6] == [False, True, True], "not in the tick itself, whatever the order"
    assert fired[0.7] == [False, True, True]
    assert fired[0.8] == [True, True, True]
    assert not holds(Scene(), "after", 0.0, time_s=9.0, after=7), "there is no such event"


def test_an_event_fires_once() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, v=5.0)
    scene.event("time", 0.0, BRAKE)
    scene.fire(0.0)
    scene.actors[slot]["target_v"] = 7.0
    scene.fire(0.1)
    assert scene.actors[slot]["target_v"] == 7.0
    assert scene.state.fired_s[0, 0] == 0.0


def act(scene: Scene, *actions: tuple[str, dict[str, float]], actor: int = 0) -> None:
    scene.event("time", 0.0, *actions, actor=actor)
    scene.fire(0.0)


def test_speed_and_react() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, v=5.0, behaviour=IDM)
    a = scene.actors[slot]
    act(scene, ("speed", {"speed_mps": 2.0, "accel_mps2": -4.0}))
    assert a["behaviour"] == SCRIPTED and (a["target_v"], a["target_accel"]) == (2.0, 4.0)
    act(scene, ("react", {"speed_mps": 9.0}))
    assert a["behaviour"] == IDM and a["desired"] == 9.0
    act(scene, ("run_light", {}))
    assert a["runs_light"]


def test_of_two_alike_the_later_one_wins() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, v=5.0)
    act(scene, ("speed", {"speed_mps": 2.0}), ("speed", {"speed_mps": 3.0}))
    assert scene.actors[slot]["target_v"] == 3.0


def test_offset_starts_a_lateral_move() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, v=5.0, d=0.5)
    act(scene, ("offset", {"d_m": 3.5, "lateral_mps": 1.5}))
    a = scene.actors[slot]
    assert (a["shift_from"], a["shift_to"], a["shift_rate"]) == (0.5, 3.5, 1.5)
    assert a["shift_s"] == pytest.approx(3.0 / 1.5 + 0.5) and a["shift_clock"] == 0.0


@pytest.mark.parametrize(
    ("value", "start", "goal"), [(1.0, "lane0", "lane1"), (-1.0, "lane1", "lane0")]
)
def test_lane_change_goes_to_the_neighbouring_lane(value, start, goal) -> None:
    scene = Scene()
    slot = scene.add(path=start, s=90.0, v=8.0)
    a = scene.actors[slot]
    before = (float(a["ax"]), float(a["ay"]))
    act(scene, ("lane_change", {"value": value, "lateral_mps": 1.2}))
    assert scene.road.names[int(a["path"])] == goal
    assert a["d"] == pytest.approx(-3.5 * value, abs=1e-4) and a["shift_to"] == 0.0
    assert abs(a["shift_rate"]) == pytest.approx(1.2)
    scene.pose()
    np.testing.assert_allclose((a["ax"], a["ay"]), before, atol=1e-4)


def test_without_a_neighbouring_lane_nothing_changes() -> None:
    scene = Scene()
    slot = scene.add(path="lane0", s=90.0, v=8.0)
    act(scene, ("lane_change", {"value": -1.0}))
    assert scene.road.names[int(scene.actors[slot]["path"])] == "lane0"
    assert scene.actors[slot]["d"] == 0.0


def test_a_door_opens_and_tells_when() -> None:
    scene = Scene()
    parked = scene.add(s=90.0, d=-2.5)
    door = scene.door(parked, 0.0)
    scene.event("time", 1.0, ("open_door", {"value": 1.2, "lateral_mps": 2.2}), actor=door)
    scene.event("time", 1.0, ("open_door", {"value": 1.2}), actor=parked)
    scene.fire(1.0)
    a = scene.actors[door]
    assert a["behaviour"] == ATTACHED and (a["angle_to"], a["opened_s"]) == (1.2, 1.0)
    assert a["angle_rate"] == pytest.approx(2.0), "edge at 2.2 m/s, 1.1 m from the hinge"
    assert scene.actors[parked]["angle_to"] == 0.0, "a car is no door"


def test_the_world_can_change_without_an_actor() -> None:
    scene = Scene(has_signals=True)
    act(
        scene,
        ("signal", {"value": float(MODES.index("dark"))}),
        ("friction", {"value": 0.3}),
        ("vanish", {}),
        actor=-1,
    )
    assert signal_state(scene.state, 0.0).tolist() == [[3, 3]]
    assert scene.world["friction"] == 0.3


def test_what_stands_can_come_go_and_blink_but_not_drive() -> None:
    scene = Scene()
    slot = scene.ahead(20.0)
    a = scene.actors[slot]
    act(scene, ("vanish", {}), ("indicator", {"value": 2.0}), BRAKE, ("offset", {"d_m": 2.0}))
    assert not a["present"] and a["indicator"] == 2
    assert a["behaviour"] == STATIC and a["shift_to"] == 0.0
    act(scene, ("appear", {}), ("indicator", {"value": -1.0}))
    assert a["present"] and a["indicator"] == -1


def test_a_walker_stands_and_goes_on() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, "pedestrian", behaviour=WALK, desired=1.4)
    act(scene, ("stand", {"speed_mps": 0.0}))
    assert scene.actors[slot]["desired"] == 0.0 and scene.actors[slot]["behaviour"] == WALK
    act(scene, ("stand", {"speed_mps": 1.1}))
    assert scene.actors[slot]["desired"] == 1.1


def test_distance_needs_the_bumpers_not_the_centres_of_what_stands_across() -> None:
    scene = Scene()
    slot = scene.ahead(20.0, turn=math.pi / 2)
    assert scene.actors[slot]["length"] == pytest.approx(4.6)
    # across the road only half its width reaches towards the ego: 2.3 - 0.95 m more room
    assert not holds(scene, "distance", 21.3) and holds(scene, "distance", 21.36)


# In whole worlds ---------------------------------------------------------------------------
def drive(worlds: WorldBatch, decisions: int) -> None:
    for _ in range(decisions):
        worlds.step(np.zeros((worlds.num_worlds, 8, 2)))


def test_signals_that_go_dark_forbid_nothing(scenario, blind) -> None:
    ego = EgoSpec(path="south_north", s_m=90.0, speed_mps=10.0)
    red = {"road": JUNCTION, "ego": ego, "signals": SignalPlan(green_s=40.0, offset_s=50.0)}
    dark = EventSpec("", Trigger("ego_position", 2.0), (Action("signal", mode="dark"),))
    worlds = WorldBatch([scenario(**red), scenario(events=(dark,), **red)], blind)
    drive(worlds, 12)
    assert worlds.state.end.tolist() == [END_RED_LIGHT, END_RUNNING]
    assert worlds.state.signal_mode.tolist() == [0, MODES.index("dark")]


def test_a_door_that_opens_in_front_of_the_ego_and_one_that_has_long_been_open(
    scenario, blind
) -> None:
    parked = ActorSpec("p", "car", "lane0", 40.0, d_m=-2.2, behaviour="static")
    door = ActorSpec("d", "door", "lane0", 0.0, parent="p", hinge_m=(0.8, 1.0))

    def opens(headway_s: float) -> tuple[EventSpec, ...]:
        action = Action("open_door", value=1.2, lateral_mps=4.0)
        return (EventSpec("d", Trigger("headway", headway_s), (action,)),)

    worlds = WorldBatch([scenario(parked, door, events=opens(s)) for s in (0.7, 2.5)], blind)
    fault = np.zeros(2, dtype=np.int64)
    for _ in range(12):
        fault = np.maximum(fault, worlds.step(np.zeros((2, 8, 2))).fault)
    assert worlds.state.end.tolist() == [END_COLLISION, END_COLLISION]
    assert fault.tolist() == [FAULT_OTHER, FAULT_EGO]


def test_a_commanded_lane_change_ends_in_the_middle_of_the_neighbouring_lane(
    scenario, blind
) -> None:
    car = ActorSpec("c", "car", "lane0", 40.0, speed_mps=10.0, behaviour="scripted")
    change = EventSpec("c", Trigger("time", 0.4), (Action("lane_change", value=1.0),))
    gone = EventSpec("c", Trigger("after", 5.0, event=0), (Action("vanish"),))
    worlds = WorldBatch([scenario(car, events=(change, gone))], blind)
    drive(worlds, 12)
    state = worlds.state
    assert worlds.atlas.map(int(state.map_id[0])).names[state.path[0, 0]] == "lane1"
    # 0.4 s + 3.5 m at 1 m/s + 0.5 s of ramps
    assert state.d[0, 0] == pytest.approx(0.0, abs=1e-9) and state.present[0, 0]
    drive(worlds, 2)
    assert not state.present[0, 0] and state.fired_s[0].tolist()[:2] == pytest.approx([0.4, 5.4])
