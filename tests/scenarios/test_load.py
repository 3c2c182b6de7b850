"""Loading: every error with its place, all at once; ``extends`` merges as documented."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from alpamayo.types import DRIVERS, RequestError
from scenarios.load import load_document, load_file
from scenarios.sample import sample
from scenarios.yaml_tree import ScenarioFileError
from tests.scenarios.conftest import BASE, RICH, Write, problems


def test_a_good_file_loads(write: Write) -> None:
    document = load_file(write())
    assert document.actors[1].kind == "van"
    assert document.events[1].actions[1].run_light is True


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "speed_mps: $speed}\n  - {id: van",
            "sped_mps: $speed}\n  - {id: van",
            "11:40: actors.0.sped_mps: unknown key; did you mean speed_mps?",
        ),
        (
            "trigger: {time_s: 2}",
            "trigger: {times: 2}",
            "15:15: events.0.trigger.times: unknown key; did you mean time_s?",
        ),
        ("kind: straight", "kind: straigt", "8:8: road.kind: expected 'straight', 'curve',"),
        ("lanes: 2", "lanes: 2.5", "8:24: road.lanes: expected a whole number, got 2.5"),
        ("lanes: 2", "lanes: yes", "8:24: road.lanes:"),
        ("kind: van", "kind: vann", "12:15: actors.1.kind: expected one of car, van"),
        (
            "path: lane1",
            "path: lane3",
            "12:26: actors.1.path: the road has no path lane3; did you mean lane",
        ),
        (
            "ego: {lane: 0",
            "ego: {lane: 2",
            "9:7: ego.lane: the road has no lane 2; its paths: lane0, lane1",
        ),
        (
            "actor: lead",
            "actor: laed",
            "14:5: events.0.actor: unknown actor laed; did you mean lead?",
        ),
        ("id: van", "id: lead", "12:6: actors.1.id: duplicate actor id: lead is also actors.0"),
        (
            "speed_mps: 0",
            "speed_mps: 90",
            "17:17: events.0.actions.0.speed.speed_mps: expected a number",
        ),
        (
            "speed_mps: 0",
            "speed_mps: .nan",
            "17:17: events.0.actions.0.speed.speed_mps: expected a finite number",
        ),
        (
            "ahead_m: -20",
            "ahead_m: -$gapp",
            "12:39: actors.1.ahead_m: unknown parameter $gapp; did you mean gap?",
        ),
        (
            "ahead_m: -20",
            "ahead_m: -20, s_m: 3",
            "12:5: actors.1: expected exactly one of ahead_m, s_m, got",
        ),
        ("trigger: {time_s: 2}", "trigger: {}", "15:5: events.0.trigger: expected exactly one of"),
        (
            "[10, 12]",
            "[12, 10]",
            "6:3: parameters.speed: expected uniform: [low, high] with low <= high",
        ),
        (
            "{uniform: [10, 12]}",
            "{uniform: [10, 62]}",
            "9:16: ego.speed_mps: expected a number of at least 0 and at most 60 m/s, got 6",
        ),
        (
            "{uniform: [10, 12]}",
            "$speed + 1",
            "6:3: parameters.speed: parameters refer to each other in a loop",
        ),
        (
            "choice: [20, 30]",
            "choice: [2, 30]",
            "11:25: actors.0.ahead_m: lead starts inside ego (2.0 m",
        ),
        ("schema_version: 1", "schema_version: 2", "1:1: schema_version: expected 1, got 2"),
        ("description: A car ahead.\n", "", "1:1: description: missing"),
        (
            "family: base",
            "family: base\nfamily: again",
            "4:1: family: duplicate key; first given on line 3",
        ),
        (
            "run_light: true",
            "run_light: on",
            "22:9: events.1.actions.1.run_light: expected true, got on",
        ),
        (
            "kind: straight, lanes: 2",
            "kind: curve, radius_m: 10",
            "8:21: road.radius_m: a curve needs at least 12 m either way, got 10 m",
        ),
        ("id: base", "id: other", "2:1: id: expected the file's name, "),
    ],
)
def test_each_mistake_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in BASE
    path = tmp_path / "base.yaml"
    path.write_text(BASE.replace(old, new, 1), encoding="utf-8")
    found = problems(path)
    assert any(p.startswith(expected) for p in found), found


def test_all_mistakes_come_at_once_in_the_order_of_the_file(write: Write) -> None:
    path = write(
        **{"kind: van": "kind: vann", "actor: lead": "actor: laed", "lanes: 2": "lanes: 0"}
    )
    lines = [int(p.split(":")[0]) for p in problems(path)]
    assert lines == sorted(lines) == [8, 12, 14] or len(lines) >= 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        "just text",
        "a: [1",
        "a: &x [*x]",
        "? [a]\n: 1",
        "a: !!python/name:os.system x",
    ],
)
def test_files_that_are_no_scenario_end_with_a_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScenarioFileError, match=r"odd\.yaml:\d+:\d+: "):
        load_file(path)


def test_many_aliases_do_not_blow_up(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    ]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(ScenarioFileError, match="too large"):
        load_file(path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(alphabet="abc:-[]{}&*!'\"#|> \n\t019.$", max_size=80))
def test_no_text_makes_the_loader_fail_in_another_way(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError):
        load_file(path)


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="cut_inn: no such scenario or file; did you mean cut_in"
    ):
        load_document("cut_inn")
    with pytest.raises(RequestError, match="found a directory"):
        load_document(tmp_path)
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"id: \xe9\n")
    with pytest.raises(RequestError, match="UTF-8"):
        load_file(path)


TWIN = """\
schema_version: 1
id: twin
extends: base
nominal: true
"""


def test_extends_merges_mappings_actors_by_id_and_replaces_other_lists(write: Write) -> None:
    write()
    path = write(
        "twin",
        TWIN
        + "road: {lanes: 3}\nevents: []\n"
        + "actors: [{id: lead, speed_mps: 5}, {id: new, lane: 2, ahead_m: 9}]\n",
    )
    document = load_file(path)
    assert document.nominal and document.family == "base"
    assert (document.road.kind, document.road.lanes) == ("straight", 3)
    assert [a.id for a in document.actors] == ["lead", "van", "new"]
    assert document.actors[0].speed_mps == 5 and document.actors[0].ahead_m == "$gap"
    assert document.events == []


def test_without_leaves_actors_out_with_their_events(write: Write) -> None:
    write()
    document = load_file(write("twin", TWIN + "without: [lead]\n"))
    assert [a.id for a in document.actors] == ["van"]
    assert [e.actor for e in document.events] == ["van"]


def test_null_removes_an_inherited_key(write: Write) -> None:
    write()
    document = load_file(write("twin", TWIN + "actors: [{id: van, path: null, lane: 0}]\n"))
    assert (document.actors[1].path, document.actors[1].lane) == (None, 0)


def test_mistakes_are_placed_in_the_file_that_made_them(write: Write) -> None:
    base = write(**{"kind: van": "kind: vann"})
    twin = write("twin", TWIN + "actors: [{id: lead, d_mm: 5}]\nwithout: [lid]\n")
    with pytest.raises(ScenarioFileError) as caught:
        load_file(twin)
    places = {(Path(p.mark.file).name, p.mark.line, p.key_path) for p in caught.value.problems}
    assert (base.name, 12, "actors.1.kind") in places
    assert (twin.name, 5, "actors.0.d_mm") in places
    assert (twin.name, 6, "without.0") in places


def test_files_that_extend_each_other_are_refused(write: Write) -> None:
    path = write("twin", TWIN.replace("extends: base", "extends: other"))
    write("other", TWIN.replace("id: twin", "id: other").replace("extends: base", "extends: twin"))
    with pytest.raises(ScenarioFileError, match="loop"):
        load_file(path)


def test_errors_of_a_draw_survive_pickling(write: Write) -> None:
    import pickle

    path = write(**{"lanes: 2": "lanes: 0"})
    with pytest.raises(ScenarioFileError) as caught:
        load_file(path)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_changed_file_is_read_again(write: Write) -> None:
    import os

    path = write()
    assert sample(load_document(path), 0).road.lanes == 2
    write(**{"lanes: 2": "lanes: 3"})
    os.utime(path, ns=(1, 1))
    assert sample(load_document(path), 0).road.lanes == 3


# --------------------------------------------------------------------------------------
# A file that uses every part of the language
# --------------------------------------------------------------------------------------
JUNK = [
    None, True, -1, 1e9, 3.7, float("nan"), "", "$p", "$nobody", "1 +", "x", "lane0", "door",
    "walk", "log", "opendrive", "no.csv", "no.xodr", [], {}, [1], [[1, 2]], {"a": 1}, ["timid"],
]  # fmt: skip


def _places(value: Any, loc: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if loc:
        yield loc
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _places(item, (*loc, key))


RICH_PLACES = list(_places(YAML(typ="safe", pure=True).load(RICH)))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.sampled_from(RICH_PLACES), junk=st.sampled_from(JUNK))
def test_no_value_anywhere_makes_the_loader_fail_in_another_way(
    tmp_path: Path, place: tuple[str | int, ...], junk: Any
) -> None:
    yaml = YAML(typ="safe", pure=True)
    value = at = yaml.load(RICH)
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = junk
    path = tmp_path / "rich.yaml"
    with path.open("w") as stream:
        yaml.dump(value, stream)
    try:
        assert sample(load_file(path), 1).id == "rich"
    except ScenarioFileError as error:
        assert all("rich.yaml:" in line for line in str(error).splitlines())


def test_a_twin_changes_single_settings_of_every_part(write: Write) -> None:
    write("rich", RICH)
    changes = """\
schema_version: 1
id: calm
extends: rich
nominal: true
without: [van, door, walker]
actors: [{id: car, driver: timid}, {id: taped, log: [[0, 0, 0, 0, 0], [9, 0, 0, 0, 0]]}]
traffic: {pedestrians: null, styles: [normal]}
weather: {patches: []}
faults: []
events: []
signals: null
"""
    twin = sample(load_file(write("calm", changes)), 0)
    assert [a.id for a in twin.actors] == ["car", "taped", "back"]
    assert twin.actors[0].driver == DRIVERS["timid"] and twin.actors[1].log[1][0] == 9.0
    assert twin.traffic is not None
    assert (twin.traffic.vehicles, twin.traffic.pedestrians) == (4, 0)
    assert twin.traffic.styles == ("normal",) and twin.traffic.kinds == ("bus", "car")
    assert (twin.weather.fog_m, twin.weather.patches) == (50.0, ())
    assert (twin.faults, twin.events, twin.signals) == ((), (), None)
