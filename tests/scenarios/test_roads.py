"""Roads in scenario files: every kind, the names of its paths, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import RequestError, RoadSpec
from scenarios.evaluate import Evaluator
from scenarios.load import load_file
from scenarios.map_names import lane_names
from scenarios.roads import build_road, path_names
from scenarios.sample import sample
from scenarios.schema import Road
from sim.roads import build_road_map
from sim.roads.procedural import lay_out
from tests.scenarios.conftest import Write, problems
from tests.sim.xodr import crossing, document, line, road, section, third_party
from tests.sim.xodr import lane as xodr_lane

HEAD = "schema_version: 1\nid: r\nfamily: r\ndescription: x\n"
PROCEDURAL = [
    RoadSpec("straight", 3, 1, length_m=80.0),
    RoadSpec("curve", 2, 1, length_m=120.0, radius_m=-80.0),
    RoadSpec("s_curve", 2, 1, length_m=200.0, radius_m=80.0),
    RoadSpec("merge", 2, 0, length_m=200.0),
    RoadSpec("exit", 2, 1, length_m=200.0),
    RoadSpec("lane_drop", 3, 1, length_m=200.0),
    RoadSpec("crest", 1, 1, length_m=200.0, rise_m=2.0),
    RoadSpec("parking_street", 2, 0, length_m=120.0),
    RoadSpec("junction", 1, 1),
    RoadSpec("t_junction", 1, 1),
    RoadSpec("roundabout", 1, 1),
]


def write_road(write: Write, road: str, ego: str = "path: lane0", more: str = "") -> Path:
    return write("r", f"{HEAD}road: {{{road}}}\nego: {{{ego}}}\n{more}")


@pytest.mark.parametrize("spec", PROCEDURAL, ids=lambda spec: spec.kind)
def test_path_names_are_those_of_the_simulator(spec: RoadSpec) -> None:
    names = path_names(spec.kind, spec.lanes, spec.oncoming_lanes)
    assert sorted(names) == sorted(build_road_map(spec).names)


@pytest.mark.parametrize(
    ("road", "ego", "expected"),
    [
        ("kind: s_curve, lanes: 1, radius_m: 70", "lane: 0", ("s_curve", 1, 0)),
        ("kind: exit", "path: exit", ("exit", 2, 0)),
        ("kind: t_junction", "path: south_west", ("t_junction", 1, 1)),
        ("kind: roundabout, radius_m: 20", "path: west_south", ("roundabout", 1, 1)),
        ("kind: lane_drop, lanes: 3", "lane: 0", ("lane_drop", 3, 0)),
        ("kind: parking_street, lanes: 1", "lane: 0", ("parking_street", 1, 0)),
        ("kind: crest, oncoming_lanes: 1, rise_m: 4", "oncoming: 0", ("crest", 2, 1)),
    ],
)
def test_each_kind_of_road_is_drawn_and_built(
    write: Write, road: str, ego: str, expected: tuple[str, int, int]
) -> None:
    drawn = sample(load_file(write_road(write, road, ego)), 0)
    assert (drawn.road.kind, drawn.road.lanes, drawn.road.oncoming_lanes) == expected
    assert drawn.ego.path in build_road_map(drawn.road).names
    assert drawn.signals is None


@pytest.mark.parametrize(
    ("road", "ego", "expected"),
    [
        ("kind: crest", "lane: 0", "5:1: road.rise_m: expected above 0 to 9.17 m for this length"),
        ("kind: exit, rise_m: 2", "lane: 0", "5:20: road.rise_m: only a crest rises; kind is exit"),
        (
            "kind: exit, length_m: 150",
            "lane: 0",
            "5:20: road.length_m: an exit needs at least 200 m, got 150 m",
        ),
        (
            "kind: lane_drop, lanes: 1",
            "lane: 0",
            "5:25: road.lanes: a lane drop needs at least 2, got 1",
        ),
        (
            "kind: parking_street, oncoming_lanes: 1",
            "lane: 0",
            "5:30: road.oncoming_lanes: a parking street is one-way, got 1",
        ),
        (
            "kind: s_curve, radius_m: 60, length_m: 150",
            "lane: 0",
            "5:37: road.length_m: an s-curve of this radius needs at least 180 m, got 150 m",
        ),
        (
            "kind: curve, radius_m: 40",
            "lane: 0",
            "5:1: road.length_m: a curve of this radius closes its circle beyond 244 m, got 320 m",
        ),
        (
            "kind: roundabout, radius_m: 12",
            "path: south_north",
            "5:26: road.radius_m: expected 14 to 60 m for a roundabout, got 12 m",
        ),
        (
            "kind: t_junction, lanes: 2",
            "path: south_west",
            "5:26: road.lanes: a t-junction has 1, got 2",
        ),
        (
            "kind: t_junction",
            "path: south_north",
            "6:7: ego.path: the road has no path south_north; did you mean",
        ),
        (
            "kind: roundabout",
            "lane: 0",
            "6:7: ego.lane: the road has no lane 0; its paths: south_north",
        ),
        (
            "kind: straight",
            "oncoming: 0",
            "6:7: ego.oncoming: the road has no oncoming lane 0; its paths: lane0, lane1",
        ),
        (
            "kind: parking_street",
            "path: sidewalk_left",
            "6:7: ego.path: ego drives; sidewalk_left is not for driving",
        ),
        ("kind: exit", "path: ramp", "6:7: ego.path: the road has no path ramp; "),
        ("kind: roundabuot", "lane: 0", "5:8: road.kind: expected 'straight', "),
        ("kind: straight, file: x.xodr", "lane: 0", "5:24: road.file: only kind opendrive has a"),
        ("kind: straight", "lane: 0, path: lane1", "6:1: ego: expected exactly one of lane,"),
        (
            "kind: straight",
            "lane: 0, route: [lane0]",
            "6:16: ego.route: only an OpenDRIVE map has linked lanes; kind is straight",
        ),
    ],
)
def test_what_a_road_cannot_be_is_named_with_its_place(
    write: Write, road: str, ego: str, expected: str
) -> None:
    found = problems(write_road(write, road, ego))
    assert any(p.startswith(expected) for p in found), found


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from([spec.kind for spec in PROCEDURAL]),
    lanes=st.integers(1, 3),
    oncoming=st.integers(0, 1),
    length_m=st.sampled_from([100.0, 159.0, 160.0, 180.0, 199.0, 200.0, 400.0]),
    radius_m=st.sampled_from([0.0, 10.0, 14.0, 15.0, -22.0, 40.0, 61.0, -90.0]),
    rise_m=st.sampled_from([0.0, 0.5, 4.0, 20.0]),
)
def test_the_language_refuses_what_the_builder_refuses(
    kind: str, lanes: int, oncoming: int, length_m: float, radius_m: float, rise_m: float
) -> None:
    """Radius and rise apart, which the builder ignores where they mean nothing."""
    radius_m = radius_m if kind in ("curve", "s_curve", "roundabout") else 0.0
    rise_m = rise_m if kind == "crest" else 0.0
    model = Road(
        kind=kind, lanes=lanes, oncoming_lanes=oncoming, length_m=length_m,
        radius_m=radius_m, rise_m=rise_m,
    )  # type: ignore[arg-type]  # fmt: skip
    ev = Evaluator({})
    spec, _ = build_road(model, ev)
    try:
        lay_out(spec)
        built = True
    except RequestError:
        built = False
    crossing = kind in ("junction", "t_junction", "roundabout")
    if crossing and (lanes, oncoming) != (1, 1):
        assert ev.problems
    else:
        assert built == (not ev.problems), ev.problems


# --------------------------------------------------------------------------------------
# OpenDRIVE
# --------------------------------------------------------------------------------------
@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder beside the scenario file, with a crossing in it."""
    folder = tmp_path / "maps"
    folder.mkdir()
    (folder / "crossing.xodr").write_text(document(*crossing()), encoding="utf-8")
    return folder


CROSSING = "kind: opendrive, file: maps/crossing.xodr, speed_limit_mps: 9"


def test_a_map_is_found_beside_the_scenario_file(write: Write, maps: Path) -> None:
    route = "[roadE_s0_l1, roadEW_s0_l-1, roadW_s0_l-1]"
    path = write_road(write, CROSSING, f"path: roadE_s0_l1, route: {route}, s_m: 5")
    drawn = sample(load_file(path), 3)
    assert drawn.road == RoadSpec(
        "opendrive", speed_limit_mps=9.0, file=str(maps / "crossing.xodr")
    )
    assert drawn.ego.path == drawn.ego.route[0] == "roadE_s0_l1" and len(drawn.ego.route) == 3
    assert drawn.signals is not None
    assert set(build_road_map(drawn.road).names) == set(lane_names(drawn.road.file))


def test_a_route_alone_says_where_ego_starts(write: Write, maps: Path) -> None:
    drawn = sample(load_file(write_road(write, CROSSING, "route: [roadE_s0_l1]")), 0)
    assert (drawn.ego.path, drawn.ego.route) == ("roadE_s0_l1", ("roadE_s0_l1",))


def test_a_map_may_be_a_parameter_and_is_relative_to_the_file_that_says_so(
    write: Write, maps: Path, tmp_path: Path
) -> None:
    text = "parameters: {map: {choice: [maps/crossing.xodr]}}\n"
    write_road(write, "kind: opendrive, file: $map", "path: roadE_s0_l1", text)
    twin = tmp_path / "elsewhere" / "twin.yaml"
    twin.parent.mkdir()
    twin.write_text("schema_version: 1\nid: twin\nextends: ../r.yaml\nnominal: true\n")
    assert sample(load_file(twin), 0).road.file == str(maps / "crossing.xodr")


@pytest.mark.parametrize(
    ("road", "ego", "expected"),
    [
        (
            "kind: opendrive, file: maps/crosing.xodr",
            "path: x",
            "5:25: road.file: no such file: maps/crosing.xodr; did you mean crossing.xodr?",
        ),
        ("kind: opendrive", "path: x", "5:1: road.file: missing; kind opendrive needs the path of"),
        (
            "kind: opendrive, file: a.xml",
            "path: x",
            "5:25: road.file: expected the path of a .xodr",
        ),
        (
            f"{CROSSING}, lanes: 2",
            "path: roadE_s0_l1",
            "5:71: road.lanes: an OpenDRIVE map says this itself; leave it out",
        ),
        (
            CROSSING,
            "path: roadE_s0_l2",
            "6:7: ego.path: the road has no path roadE_s0_l2; did you mean roadE_s0_l",
        ),
        (
            CROSSING,
            "route: [roadE_s0_l1, roadXY_s0_l7]",
            "6:28: ego.route.1: the road has no path roadXY_s0_l7; did you mean road",
        ),
        (
            CROSSING,
            "path: roadE_s0_l1, route: [roadN_s0_l1]",
            "6:34: ego.route.0: expected the route to start with ego's path, roadE_s0_l1",
        ),
        (CROSSING, "lane: 0", "6:7: ego.lane: the road has no path lane0; its paths: roadE_s0_l1"),
    ],
)
def test_mistakes_about_a_map_are_named_with_their_place(
    write: Write, maps: Path, road: str, ego: str, expected: str
) -> None:
    found = problems(write_road(write, road, ego))
    assert any(p.startswith(expected) for p in found), found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<OpenDRIVE>\n<road id='1'>", "crossing.xodr:2: expected an OpenDRIVE file: no element"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>\n<x/>", "crossing.xodr:1: expected an OpenDRIVE file: "),
        ("<OpenDRIVE/>", "crossing.xodr: expected an OpenDRIVE file with lanes, got none"),
    ],
)
def test_what_is_no_map_is_refused(write: Write, maps: Path, text: str, expected: str) -> None:
    (maps / "crossing.xodr").write_text(text)
    found = problems(write_road(write, CROSSING, "path: roadE_s0_l1"))
    assert found and found[0].startswith(f"5:25: road.file: {expected}"), found


def test_lanes_are_numbered_by_section_as_in_the_simulator(tmp_path: Path) -> None:
    sections = section(xodr_lane(1), xodr_lane(-1)) + section(xodr_lane(-1), s=20.0)
    path = tmp_path / "two.xodr"
    path.write_text(document(road("7", line(40.0), sections, 40.0)), encoding="utf-8")
    assert lane_names(str(path)) == ("road7_s0_l1", "road7_s0_l-1", "road7_s1_l-1")
    built = build_road_map(RoadSpec("opendrive", file=str(path)))
    assert set(built.names) == set(lane_names(str(path)))


@pytest.mark.parametrize("name", ["esmini/soderleden.xodr", "esmini/e6mini.xodr"])
def test_every_lane_of_a_third_party_map_is_known(name: str) -> None:
    file = str(third_party(name))
    assert set(build_road_map(RoadSpec("opendrive", file=file)).names) <= set(lane_names(file))
