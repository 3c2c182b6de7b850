"""Road users in scenario files: kinds, places, drivers, walkers, doors, recordings, reversing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alpamayo.types import DRIVERS, ActorSpec, DriverSpec, Scenario
from scenarios.load import load_file
from scenarios.sample import sample
from tests.scenarios.conftest import Write, problems

HEAD = """\
schema_version: 1
id: a
family: a
description: x
parameters: {p: {choice: [4]}, word: {choice: [hurried]}}
road: {kind: straight, lanes: 2, oncoming_lanes: 1, speed_limit_mps: 11}
ego: {lane: 0}
"""


def text(*actors: str, more: str = "") -> str:
    return HEAD + "actors:\n" + "".join(f"  - {{{actor}}}\n" for actor in actors) + more


def draw(write: Write, *actors: str, more: str = "", seed: int = 0) -> Scenario:
    return sample(load_file(write("a", text(*actors, more=more))), seed)


def one(write: Write, actor: str) -> ActorSpec:
    return draw(write, f"id: one, {actor}").actors[0]


@pytest.mark.parametrize(
    ("kind", "behaviour"),
    [
        ("bus", "idm"),
        ("cyclist", "idm"),
        ("pedestrian", "scripted"),
        ("animal", "scripted"),
        ("ball", "scripted"),
        ("debris", "static"),
    ],
)
def test_what_each_kind_does_by_itself(write: Write, kind: str, behaviour: str) -> None:
    actor = one(write, f"kind: {kind}, lane: 1, ahead_m: 20")
    assert (actor.kind, actor.behaviour) == (kind, behaviour)


def test_an_actor_may_drive_on_an_oncoming_lane_and_have_a_size(write: Write) -> None:
    actor = one(write, "kind: bus, oncoming: 0, ahead_m: 60, size_m: [18, 2.5, $p - 1]")
    assert (actor.path, actor.size_m) == ("oncoming0", (18.0, 2.5, 3.0))
    assert one(write, "lane: 1, ahead_m: 60").size_m is None


def test_a_long_actor_needs_more_room(write: Write) -> None:
    path = write("a", text("id: bus, kind: bus, lane: 0, ahead_m: 11, size_m: [18, 2.5, 3]"))
    assert problems(path) == ["9:35: actors.0.ahead_m: bus starts inside ego (11.0 m ahead of it) "
                              "for some draws"]  # fmt: skip
    assert draw(write, "id: bus, kind: bus, lane: 0, ahead_m: 11").actors


# --------------------------------------------------------------------------------------
# Drivers
# --------------------------------------------------------------------------------------
def test_a_driver_is_a_style_or_its_settings(write: Write) -> None:
    place = "lane: 1, ahead_m: 20"
    assert one(write, place).driver is None
    assert one(write, f"{place}, driver: timid").driver == DRIVERS["timid"]
    assert one(write, f"{place}, driver: $word").driver == DRIVERS["hurried"]
    mixed = "driver: {headway_s: $p / 2, politeness: 1, changes_lanes: false}"
    expected = DriverSpec(headway_s=2.0, politeness=1.0, changes_lanes=False)
    assert one(write, f"{place}, {mixed}").driver == expected


# --------------------------------------------------------------------------------------
# Walkers, doors, reversing
# --------------------------------------------------------------------------------------
def test_a_goal_makes_a_pedestrian_walk_at_walking_speed(write: Write) -> None:
    walker = "kind: pedestrian, lane: 0, ahead_m: 30, d_m: -4"
    one_with_goal = one(write, f"{walker}, goal_d_m: $p + 1")
    assert (one_with_goal.behaviour, one_with_goal.goal_d_m) == ("walk", 5.0)
    assert one_with_goal.desired_speed_mps == 1.34
    assert one(write, f"{walker}, behaviour: walk, desired_speed_mps: 0").desired_speed_mps == 0.0


CAR = "id: car, kind: van, lane: 1, s_m: 80, d_m: 0.5, behaviour: static, color: red"


def test_a_door_hangs_where_its_parent_stands(write: Write) -> None:
    car, door = draw(write, CAR, "id: door, kind: door, parent: car").actors
    assert (door.path, door.s_m, door.s_from_ego) == ("lane1", 80.0, False)
    # A van is 5.4 m long and 2.1 m wide.
    assert door.parent == "car" and door.hinge_m == pytest.approx((1.08, 1.05))
    assert door.color == car.color
    first, second = draw(write, "id: door, kind: door, parent: car, hinge_m: [1, -1]", CAR).actors
    assert (first.id, first.hinge_m, second.id) == ("door", (1.0, -1.0), "car")


def test_a_door_is_there_only_with_its_parent(write: Write) -> None:
    events = "events:\n  - {actor: door, trigger: {time_s: 1}, actions: [{open_door: {}}]}\n"
    car = f"{CAR}, probability: 0.5"
    for seed in range(20):
        drawn = draw(write, car, "id: door, kind: door, parent: car", more=events, seed=seed)
        ids = [actor.id for actor in drawn.actors]
        assert ids in ([], ["car", "door"]) and len(drawn.events) == len(ids) / 2


def test_who_reverses_faces_along_its_path(write: Write) -> None:
    """The simulator turns who starts with a negative speed by pi: a wrong-way driver."""
    wrong_way = one(write, "lane: 1, ahead_m: 50, speed_mps: -3, behaviour: scripted")
    reversing = one(write, "lane: 1, ahead_m: 50, speed_mps: -3, reversing: true")
    assert (reversing.behaviour, reversing.speed_mps) == ("scripted", -3.0)
    assert wrong_way.yaw_rad == 0.0 and reversing.yaw_rad + math.pi == 0.0


# --------------------------------------------------------------------------------------
# Recordings
# --------------------------------------------------------------------------------------
ROWS = "[[0, 50, 3.5, 0, 5], [1, $p + 51, 3.5, 0, 5], [2.5, 62, 3.5, 0.1, 4]]"
EXPECTED = ((0.0, 50.0, 3.5, 0.0, 5.0), (1.0, 55.0, 3.5, 0.0, 5.0), (2.5, 62.0, 3.5, 0.1, 4.0))
CSV = "time_s,x_m,y_m,heading_rad,speed_mps\n0,50,3.5,0,5\n1,55,3.5,0,5\n2.5,62,3.5,0.1,4\n"


def test_ego_itself_may_drive_in_reverse_gear_as_fast_as_that_goes(write: Write) -> None:
    backs = HEAD.replace("{lane: 0}", "{lane: 0, reversing: true, speed_mps: 2}")
    ego = sample(load_file(write("a", backs)), 0).ego
    assert (ego.reversing, ego.speed_mps, ego.path) == (True, 2.0, "lane0")
    assert not sample(load_file(write("a", HEAD)), 0).ego.reversing
    too_fast = backs.replace("speed_mps: 2", "speed_mps: $p + 3")
    [problem] = problems(write("a", too_fast))
    assert "ego.speed_mps: expected at most 6 m/s in reverse gear, got 7 m/s" in problem


def test_a_recording_is_given_in_line_or_as_a_csv_file(write: Write, tmp_path: Path) -> None:
    inline = one(write, f"log: {ROWS}, reacts_within_m: 8")
    assert inline.log == EXPECTED and inline.behaviour == "log" and inline.reacts_within_m == 8.0
    assert (inline.path, inline.s_m, inline.s_from_ego) == ("lane0", 0.0, False)
    (tmp_path / "drive.csv").write_text(CSV)
    read = one(write, "log: drive.csv, lane: 1, s_m: 50")
    assert read.log == EXPECTED and (read.path, read.s_m) == ("lane1", 50.0)


def test_columns_of_a_recording_may_come_in_any_order(write: Write, tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_text(
        "x_m,time_s,speed_mps,y_m,heading_rad\r\n50,0,5,3.5,0\r\n55,1,5,3.5,0\r\n\r\n"
    )
    assert one(write, "log: drive.csv").log == EXPECTED[:2]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1,55", "0,55", "row 2: time_s: expected growing times, got 0 after 0"),
        ("62", "far", "drive.csv:4: x_m: expected a number, got 'far'"),
        ("0.1,4", "0.1", "drive.csv:4: expected 5 numbers, got 4"),
        ("62", "nan", "drive.csv:4: x_m: expected a number, got 'nan'"),
        ("x_m", "x", "drive.csv:1: unknown column 'x'; did you mean x_m?"),
        (
            ",speed_mps",
            "",
            "drive.csv:1: expected the columns time_s,x_m,y_m,heading_rad,speed_mps",
        ),
        ("1,55,3.5,0,5\n2.5,62,3.5,0.1,4\n", "", "drive.csv: expected 2 to 10000 rows, got 1"),
        (CSV, "", "drive.csv:1: expected the columns"),
        ("62", '"62', "drive.csv: expected CSV in UTF-8: "),
    ],
)
def test_mistakes_in_a_recording_are_named_with_their_line(
    write: Write, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    (tmp_path / "drive.csv").write_text(CSV.replace(old, new, 1))
    (found,) = problems(write("a", text("id: one, log: drive.csv")))
    assert found.startswith("9:15: actors.0.log: ") and expected in found


def test_a_recording_that_is_no_text_is_refused(write: Write, tmp_path: Path) -> None:
    (tmp_path / "drive.csv").write_bytes(b"\xff\xfe\x00")
    (found,) = problems(write("a", text("id: one, log: drive.csv")))
    assert "drive.csv: expected CSV in UTF-8" in found


# --------------------------------------------------------------------------------------
# Mistakes
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (
            "lane: 1, ahead_m: 9, driver: timit",
            "36: actors.0.driver: expected one of timid, normal",
        ),
        (
            "lane: 1, ahead_m: 9, driver: {headway: 1}",
            "45: actors.0.driver.headway: unknown key; did you mean headway_s?",
        ),
        (
            "lane: 1, ahead_m: 9, driver: {headway_s: 20}",
            "45: actors.0.driver.headway_s: expected a number of at least 0.1 and at most 10",
        ),
        (
            "lane: 1, ahead_m: 9, driver: {headway_s: 4 * $p}",
            "45: actors.0.driver.headway_s: expected a number of at least 0.1 and at most 10",
        ),
        (
            "lane: 1, ahead_m: 9, driver: timid, headway_s: 1",
            "51: actors.0.headway_s: expected driver or headway_s, got both",
        ),
        ("lane: 1, ahead_m: 9, kind: bird", "36: actors.0.kind: expected one of car, van"),
        ("lane: 1, ahead_m: 9, size_m: [1, 2]", "36: actors.0.size_m: expected at least 3 items"),
        (
            "lane: 1, ahead_m: 9, size_m: [1, 2, 0]",
            "51: actors.0.size_m.2: expected a number of at least 0.05 and at most 30 m, got 0 m",
        ),
        ("oncoming: 1, ahead_m: 9", "15: actors.0.oncoming: the road has no oncoming lane 1"),
        ("lane: 1, oncoming: 0, ahead_m: 9", "5: actors.0: expected exactly one of lane, oncoming"),
        ("ahead_m: 9", "5: actors.0: expected exactly one of lane, oncoming, path, got none"),
        ("lane: 1, ahead_m: 9, goal_d_m: 2", "36: actors.0.goal_d_m: only a pedestrian walks"),
        (
            "kind: pedestrian, lane: 1, ahead_m: 9, goal_d_m: 2, behaviour: scripted",
            "54: actors.0.goal_d_m: only behaviour walk has a goal; behaviour is scripted",
        ),
        ("kind: door", "5: actors.0.parent: missing; a door hangs on another actor"),
        (
            "kind: door, parent: nobody",
            "27: actors.0.parent: unknown actor nobody; actors: one",
        ),
        (
            "kind: door, parent: one, lane: 1",
            "5: actors.0: expected parent and hinge_m to place a door, got lane",
        ),
        ("kind: door, parent: one", "27: actors.0.parent: expected a car, van, truck or bus, got"),
        ("parent: one", "15: actors.0.parent: only a door has a parent; kind is car"),
        ("log: [[0, 0, 0, 0, 0]]", "15: actors.0.log: expected at least 2 items, got 1"),
        (
            "log: [[0, 0, 0, 0, 0], [1, 0, 0, 0]]",
            "38: actors.0.log.1: expected at least 5 items, got 4",
        ),
        (
            "log: [[0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]",
            "38: actors.0.log.1: time_s: expected growing times, got 0 after 0",
        ),
        (
            "log: [[0, 0, 0, 0, 0], [1, $q, 0, 0, 0]]",
            "42: actors.0.log.1.1: unknown parameter $q",
        ),
        ("log: drive.csw", "15: actors.0.log: expected the path of a .csv file, got drive.csw"),
        ("log: drive.csv", "15: actors.0.log: no such file: drive.csv"),
        ("behaviour: log", "5: actors.0.log: missing; behaviour log needs rows or a CSV file"),
        (
            f"log: {ROWS}, behaviour: idm, lane: 1, s_m: 1",
            "15: actors.0.log: only behaviour log replays one; behaviour is idm",
        ),
        (
            "lane: 1, ahead_m: 9, reacts_within_m: 3",
            "36: actors.0.reacts_within_m: only behaviour log reacts; behaviour is idm",
        ),
        (
            "lane: 1, ahead_m: 9, reversing: true, speed_mps: 2",
            "36: actors.0.reversing: needs speed_mps below 0 m/s, got 2 m/s",
        ),
        (
            "lane: 1, ahead_m: 9, reversing: true, speed_mps: -2, behaviour: idm",
            "36: actors.0.reversing: needs behaviour scripted, got idm",
        ),
        (
            "lane: 1, ahead_m: 9, reversing: true, speed_mps: -2, kind: cyclist",
            "36: actors.0.reversing: a cyclist does not reverse",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(write: Write, actor: str, expected: str) -> None:
    found = problems(write("a", text(f"id: one, {actor}")))
    assert any(p.startswith(f"9:{expected}") for p in found), found
