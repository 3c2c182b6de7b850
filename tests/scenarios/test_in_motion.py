"""What scenario files say happens in the simulator: places and times worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alpamayo.types import END_TIMEOUT
from scenarios.load import load_file
from scenarios.sample import sample
from sim.config import SimConfig
from sim.signals import MODES
from sim.world import WorldBatch
from tests.scenarios.conftest import RICH, Write
from tests.sim.xodr import crossing, document

HEAD = """\
schema_version: 1
id: m
family: m
description: x
road: {kind: straight, lanes: 2, oncoming_lanes: 1, speed_limit_mps: 14}
ego: {lane: 0, s_m: 20, speed_mps: 0}
"""


class Drive:
    """One world in which ego keeps its speed; actors by id."""

    def __init__(self, write: Write, text: str, head: str = HEAD) -> None:
        self.scenario = sample(load_file(write("m", head + text)), 0)
        self.worlds = WorldBatch([self.scenario], SimConfig(rig=None))
        self.slots = {actor.id: slot for slot, actor in enumerate(self.scenario.actors)}

    def until(self, time_s: float) -> None:
        steps = round((time_s - float(self.worlds.time_s[0])) / 0.4)
        for _ in range(steps):
            self.worlds.step(np.zeros((1, 8, 2)))
        assert self.worlds.time_s[0] == pytest.approx(time_s) and self.worlds.running[0]

    def actor(self, name: str, field: str) -> float:
        return float(getattr(self.worlds.state, field)[0, self.slots[name]])

    def path(self, name: str) -> str:
        road = self.worlds.atlas.map(int(self.worlds.state.map_id[0]))
        return road.names[int(self.actor(name, "path"))]


def test_a_door_opens_around_its_hinge(write: Write) -> None:
    drive = Drive(
        write,
        "actors:\n"
        "  - {id: van, kind: van, lane: 1, s_m: 80, behaviour: static}\n"
        "  - {id: door, kind: door, parent: van, hinge_m: [1.1, 1.05]}\n"
        "events:\n"
        "  - {actor: door, trigger: {time_s: 0.4}, actions: [open_door: {angle_rad: 1.2}]}\n",
    )
    # Shut: half of its 1.1 m behind the hinge, at the van's left side, whose middle is at y = 3.5.
    assert drive.actor("door", "ax") == pytest.approx(80 + 1.1 - 0.55)
    assert drive.actor("door", "ay") == pytest.approx(3.5 + 1.05)
    drive.until(2.4)
    assert drive.actor("door", "ax") == pytest.approx(80 + 1.1 - 0.55 * np.cos(1.2))
    assert drive.actor("door", "ay") == pytest.approx(3.5 + 1.05 + 0.55 * np.sin(1.2))


def test_a_recording_is_replayed_from_its_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text(
        "time_s,x_m,y_m,heading_rad,speed_mps\n0,50,3.5,0,5\n1,55,3.5,0,5\n5,75,4.5,0,5\n"
    )
    cars = "actors: [{id: car, log: drive.csv, lane: 1}, {id: other, log: drive.csv}]\n"
    drive = Drive(write, cars)
    drive.until(2.0)
    # A quarter of the way from (55, 3.5) to (75, 4.5).
    assert drive.actor("car", "ax") == pytest.approx(60.0)
    assert drive.actor("car", "ay") == pytest.approx(3.75)
    assert drive.path("car") == "lane1" and drive.actor("car", "d") == pytest.approx(0.25)
    # Without a lane of its own it counts from ego's.
    assert drive.path("other") == "lane0" and drive.actor("other", "d") == pytest.approx(3.75)


def test_a_walker_goes_to_its_goal_and_may_wait(write: Write) -> None:
    drive = Drive(
        write,
        "actors:\n"
        "  - {id: walker, kind: pedestrian, lane: 0, s_m: 100, d_m: -3, goal_d_m: 3}\n"
        "  - {id: waits, kind: pedestrian, lane: 0, s_m: 140, d_m: -3, goal_d_m: 3,"
        " desired_speed_mps: 0}\n"
        "events: [{actor: waits, trigger: {time_s: 2}, actions: [stand: {speed_mps: 1}]}]\n",
    )
    drive.until(2.0)
    # 1.34 m/s after a start from standing that costs about half a second.
    assert drive.actor("walker", "d") == pytest.approx(-3 + 1.34 * 1.5, abs=0.2)
    assert drive.actor("waits", "d") == pytest.approx(-3, abs=0.05)
    drive.until(8.0)
    assert drive.actor("walker", "d") == pytest.approx(3, abs=0.35)
    assert drive.actor("waits", "d") == pytest.approx(-3 + 5.5, abs=0.3)


def test_reversing_is_not_driving_the_wrong_way(write: Write) -> None:
    drive = Drive(
        write,
        "actors:\n"
        "  - {id: back, lane: 1, s_m: 100, speed_mps: -3, reversing: true}\n"
        "  - {id: wrong, lane: 1, s_m: 200, speed_mps: -3, behaviour: scripted}\n"
        "  - {id: parked, oncoming: 0, s_m: 100, behaviour: scripted}\n"
        "events: [{actor: parked, trigger: {time_s: 0}, actions: [speed: {speed_mps: -2}]}]\n",
    )
    drive.until(2.0)
    assert drive.actor("back", "s") == pytest.approx(94.0)
    assert np.cos(drive.actor("back", "aheading")) == pytest.approx(1.0)
    assert np.cos(drive.actor("wrong", "aheading")) == pytest.approx(-1.0)
    # The other direction of the road: it backs towards higher x, and faces lower x.
    assert drive.actor("parked", "v") == pytest.approx(-2.0)
    assert np.cos(drive.actor("parked", "aheading")) == pytest.approx(-1.0)


def test_events_follow_each_other(write: Write) -> None:
    drive = Drive(
        write,
        "actors:\n"
        "  - {id: car, lane: 1, s_m: 100, speed_mps: 5, behaviour: scripted}\n"
        "  - {id: late, lane: 0, s_m: 250, behaviour: static}\n"
        "events:\n"
        "  - {trigger: {after: {event: go, delay_s: 1}}, actions: [friction: 0.3]}\n"
        "  - {id: go, actor: car, trigger: {time_s: 0.8}, actions:"
        " [{lane_change: {to: right}}, {indicator: right}]}\n"
        "  - {actor: late, trigger: {time_s: 0}, actions: [vanish: true]}\n"
        "  - {actor: late, trigger: {after: {event: go, delay_s: 2}}, actions: [appear: true]}\n",
    )
    drive.until(0.8)
    state = drive.worlds.state
    assert drive.path("car") == "lane1" and state.friction[0] == 1.0
    assert not drive.actor("late", "present")
    drive.until(1.6)
    assert drive.path("car") == "lane0" and drive.actor("car", "indicator") == -1
    assert state.friction[0] == 1.0
    drive.until(2.0)
    assert state.friction[0] == 0.3 and not drive.actor("late", "present")
    drive.until(3.2)
    assert drive.actor("late", "present")


def test_triggers_look_at_ego_and_at_the_actor(write: Write) -> None:
    """Ego drives 10 m/s from 20 m; the car's rear stands at 97.7 m, ego's front 2.4 m ahead of ego:
    one second behind it at 85.3 m, after 6.53 s.
    """
    drive = Drive(
        write,
        "actors: [{id: car, lane: 0, s_m: 100, behaviour: scripted}]\n"
        "events:\n"
        "  - {actor: car, trigger: {headway_s: 1}, actions: [speed: {speed_mps: 8}]}\n"
        "  - {actor: car, trigger: {actor_speed_mps: 2.5}, actions: [indicator: hazard]}\n"
        "  - {trigger: {ego_speed_mps: 9}, actions: [friction: 0.5]}\n"
        "  - {trigger: {ego_speed_mps: 11}, actions: [friction: 0.1]}\n",
        HEAD.replace("speed_mps: 0}", "speed_mps: 10}"),
    )
    drive.until(6.4)
    assert drive.actor("car", "v") == 0.0 and drive.worlds.state.friction[0] == 0.5
    drive.until(7.2)
    # 3 m/s2 from 6.6 s on.
    assert drive.actor("car", "v") == pytest.approx(1.8) and drive.actor("car", "indicator") == 0
    drive.until(7.6)
    assert drive.actor("car", "indicator") == 2


def test_signals_fail_from_the_start_or_later(write: Write) -> None:
    head = HEAD.split("road:")[0] + "road: {kind: junction}\nego: {path: south_north}\n"
    drive = Drive(
        write,
        "signals: {mode: flashing}\nevents: [{trigger: {time_s: 1}, actions: [signal: dark]}]\n",
        head,
    )
    assert MODES[drive.worlds.state.signal_mode[0]] == "flashing"
    drive.until(1.2)
    assert MODES[drive.worlds.state.signal_mode[0]] == "dark"


def test_traffic_drivers_and_weather_reach_the_world(write: Write) -> None:
    drive = Drive(
        write,
        "actors: [{id: car, lane: 1, s_m: 60, speed_mps: 5, driver: {headway_s: 2.5}}]\n"
        "traffic: {vehicles: 5, pedestrians: 2, styles: [aggressive], kinds: [bus], clear_m: 8}\n"
        "weather: {fog_m: 80, friction: 0.7, patches: [{from_m: 30, to_m: 50, friction: 0.2}]}\n"
        "environment: {light: 0.5}\n",
    )
    state = drive.worlds.state
    assert state.actor_count[0] == 8 and state.present[0, :8].all()
    assert state.headway[0, 0] == 2.5 and bool(state.changes_lanes[0, 0])
    assert (state.headway[0, 1:6] == 0.7).all() and (state.length[0, 1:6] == 12.0).all()
    assert (state.fog_m[0], state.friction[0], state.light[0]) == (80.0, 0.7, 0.5)
    assert tuple(state.patches[0, 0]) == (30.0, 50.0, 0.2)
    drive.until(4.0)
    assert (state.v[0, 1:6] > 0.0).any()


def test_ego_drives_a_route_over_the_lanes_of_a_map(write: Write, tmp_path: Path) -> None:
    (tmp_path / "map.xodr").write_text(document(*crossing()), encoding="utf-8")
    head = HEAD.split("road:")[0] + (
        "road: {kind: opendrive, file: map.xodr}\n"
        "ego: {route: [roadE_s0_l1, roadES_s0_l-1, roadS_s0_l-1], s_m: 5, speed_mps: 8}\n"
    )
    drive = Drive(write, "tags: []\n", head)
    state = drive.worlds.state
    # The arm reaches 52 m to the east; right-hand traffic comes in on its northern side.
    assert (state.x[0], state.y[0]) == pytest.approx((47.0, 1.75))
    # Both arms are 40 m long. The left turn follows a middle line of radius 12 m on its right.
    turn_m = 0.5 * np.pi * (12.0 + 1.75)
    assert drive.worlds.route_length_m[0] == pytest.approx(80.0 + turn_m - 10.0, abs=0.5)
    drive.until(2.0)
    assert state.x[0] == pytest.approx(47.0 - 16.0, abs=0.3)


def test_a_file_that_uses_everything_runs_to_its_end(write: Write) -> None:
    worlds = WorldBatch(
        [sample(load_file(write("rich", RICH)), seed) for seed in range(8)], SimConfig(rig=None)
    )
    # Half of the draws lack the van, its door, and the two events that begin with the door.
    counts = {(int(w["actor_count"]), int(w["event_count"])) for w in worlds.state.worlds}
    assert counts == {(10, 2), (12, 4)}
    while worlds.running.any():
        observed = worlds.observe()
        assert np.isfinite(observed.history).all() and np.isfinite(worlds.state.ax).all()
        worlds.step(np.zeros((8, 8, 2)))
    assert (worlds.state.end == END_TIMEOUT).all()
    assert np.allclose(worlds.time_s, 9.0)
