"""Third-party OpenDRIVE maps: what comes out of them, against their XML read another way."""

from __future__ import annotations

import time
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pytest
from shapely.geometry import LineString, Polygon
from shapely.ops import unary_union

from sim.roads.layout import Layout
from sim.roads.opendrive import read_opendrive
from tests.sim.xodr import by_name, third_party

TOWN = "carla/Town01.xodr"
CROSSING = "esmini/simple_4way_intersection.xodr"
CITY = "esmini/multi_intersections.xodr"
LIGHTS = "esmini/fabriksgatan_traffic_lights.xodr"
USER = "road/lanes/laneSection/{}/lane/userData"
HEIGHT = "road/lanes/laneSection/{}/lane/height"


def styled(left: int, center: int, right: int) -> dict[str, int]:
    counts = {"left": left, "center": center, "right": right}
    return {USER.format(side): count for side, count in counts.items()}


# Per map: driving lanes, lanes in which the map ends or a lane closes, and what is skipped.
MAPS: dict[str, tuple[int, int, dict[str, int]]] = {
    TOWN: (124, 0, styled(150, 122, 150) | {
        "controller": 36, "header/geoReference": 1, "header/userData": 1, "junction/controller": 36,
        "junction/userData": 12, "road/userData": 24, "road/signals/signal/userData": 36,
        "road/signals/signalReference/userData": 72,
        # Sidewalks, which have no direction in the file.
        "lane/link (against the direction of travel)": 48,
    }),
    "esmini/curves.xodr": (2, 2, styled(3, 1, 3) | {"lane (type border)": 4}),
    "esmini/curves_elevation.xodr": (2, 2, styled(3, 1, 3) | {"lane (type border)": 4}),
    "esmini/e6mini.xodr": (6, 6, styled(7, 1, 7) | {
        "header/geoReference": 1, "lane (type border)": 6, "road/objects/object (rail-pole)": 2,
        "road/objects/object (railing)": 2,
    }),
    LIGHTS: (20, 4, styled(12, 16, 32) | {
        HEIGHT.format("left"): 8, HEIGHT.format("right"): 24,
        "road/signals/signal (dynamic type 1000002)": 2,
    }),
    "esmini/highway_exit.xodr": (24, 5, {}),
    CITY: (86, 2, styled(84, 63, 158) | {
        "controller": 23, "junction/controller": 23, "lane (type none)": 38,
        HEIGHT.format("left"): 63, HEIGHT.format("right"): 153,
        "road/signals/signal (dynamic type 1000002)": 34, "road/signals/signal (type -1)": 4,
        "road/signals/signal/userData": 24,
    }),
    CROSSING: (20, 4, {}),
    "esmini/soderleden.xodr": (11, 3, styled(10, 7, 23) | {
        "gap (link dropped)": 1, "header/geoReference": 1, HEIGHT.format("left"): 10,
        HEIGHT.format("right"): 14,
    }),
    "esmini/straight_500m.xodr": (2, 2, styled(3, 1, 3) | {
        "header/geoReference": 1, "lane (type border)": 2,
    }),
    "esmini/two_plus_one.xodr": (17, 5, {}),
}  # fmt: skip


@cache
def layout_of(name: str) -> Layout:
    return read_opendrive(third_party(name))


def xml(name: str) -> ElementTree.Element:
    return ElementTree.parse(third_party(name)).getroot()


@pytest.mark.parametrize("name", MAPS)
def test_every_map_imports_quickly_and_skips_what_it_should(name):
    path = third_party(name)
    started = time.process_time()
    layout = read_opendrive(path)
    assert time.process_time() - started < 4.0
    driving, ends, skipped = MAPS[name]
    assert sum(lane.kind == "driving" for lane in layout.lanes) == driving
    assert sum(lane.kind == "driving" and not lane.successors for lane in layout.lanes) == ends
    assert layout.skipped == skipped
    before = len(layout.skipped)
    layout.link()  # raises for names that do not exist and neighbours that contradict
    assert len(layout.skipped) == before


@pytest.mark.parametrize("name", MAPS)
def test_linked_lanes_meet_and_only_the_rim_of_a_map_is_a_dead_end(name):
    layout = layout_of(name)
    lanes = by_name(layout)
    for own in layout.lanes:
        for after in own.successors:
            start = lanes[after].line
            assert np.hypot(*(own.line.xy[-1] - start.xy[0])) < 0.05
            assert abs(np.sin(0.5 * (own.line.heading[-1] - start.heading[0]))) < 0.01
    linked = {road.get("id"): road for road in xml(name).iter("road")}
    for own in layout.lanes:
        if own.kind == "driving" and not own.successors and own.ends_m == np.inf:
            road_id, _, lane_id = own.name.removeprefix("road").rsplit("_", 2)
            side = "successor" if int(lane_id[1:]) < 0 else "predecessor"
            assert linked[road_id].find(f"link/{side}") is None, own.name


@pytest.mark.parametrize("name", MAPS)
def test_lines_are_smooth_and_as_long_as_they_say(name):
    for lane in layout_of(name).lanes:
        line = lane.line
        step = np.diff(line.xy, axis=0)
        chord = np.hypot(*step.T)
        np.testing.assert_allclose(np.diff(line.s_m), chord, rtol=2e-3, atol=1e-6)
        # Heading, place and curvature tell the same line.
        middle = 0.5 * (line.heading[1:] + line.heading[:-1])
        aside = np.cos(middle) * step[:, 1] - np.sin(middle) * step[:, 0]
        assert np.abs(aside).max() < 2e-3, lane.name
        bent = 0.5 * (line.curvature[1:] + line.curvature[:-1]) * np.diff(line.s_m)
        off = np.abs(np.cumsum(bent) - (line.heading[1:] - line.heading[0]))
        assert off.max() < 0.08, lane.name  # at steps of curvature, half a sample of it


def test_town01_is_as_large_as_its_file_says():
    root, layout = xml(TOWN), layout_of(TOWN)
    assert len(root.findall("road")) == 122
    assert {lane.junction for lane in layout.lanes} == {-1, *range(12)}
    total = 0.0
    lanes = by_name(layout)
    for road in root.iter("road"):
        length = float(road.get("length", ""))
        straight = all(len(g.findall("line")) for g in road.iter("geometry"))
        for lane in road.iter("lane"):
            if lane.get("type") != "driving":
                continue
            total += length
            even = all(float(w.get(k, "")) == 0.0 for w in lane.iter("width") for k in "bcd")
            if straight and even:
                own = lanes[f"road{road.get('id')}_s0_l{lane.get('id')}"].line
                assert own.length_m == pytest.approx(length, abs=1e-3)
    driving = sum(lane.line.length_m for lane in layout.lanes if lane.kind == "driving")
    assert driving == pytest.approx(total, rel=0.01)
    assert driving == pytest.approx(6_400, rel=0.01)


def test_every_way_into_a_junction_of_town01_has_its_light_and_opposite_ones_share_a_group():
    layout = layout_of(TOWN)
    lanes = by_name(layout)
    assert len(layout.signal_heads) == 36 == len([*xml(TOWN).iter("signal")])
    into: dict[int, list[str]] = {}
    for own in layout.lanes:
        inside = {lanes[name].junction for name in own.successors} - {-1}
        if own.kind == "driving" and own.junction < 0 and inside:
            assert own.stop_kind == "signal" and own.stop_s_m < own.line.length_m
            into.setdefault(inside.pop(), []).append(own.name)
    assert len(into) == 12 and all(len(names) == 3 for names in into.values())
    for names in into.values():
        for one in names:
            for two in names:
                turn = lanes[one].line.heading[-1] - lanes[two].line.heading[-1]
                same = lanes[one].signal_group == lanes[two].signal_group
                assert same == (abs(np.cos(turn)) > 0.7)
    # 25 mph, in the junctions too.
    limits = {lane.speed_limit_mps for lane in layout.lanes if lane.kind == "driving"}
    assert limits == {25 * 0.44704}
    assert sum(kind.startswith("speed_") for *_, kind in layout.signs) == 22


def test_the_city_stops_at_its_painted_lines_and_has_its_crossings():
    layout, root = layout_of(CITY), xml(CITY)
    stops = [lane for lane in layout.lanes if lane.stop_kind == "signal"]
    assert len(stops) == 18
    # Lines lie 4 m before the junctions, on roads that all begin or end there.
    assert all(lane.line.length_m - lane.stop_s_m == pytest.approx(4.0, abs=0.3) for lane in stops)
    crossings = [m for m in layout.markings if m.kind == "crossing"]
    assert len(crossings) == sum(s.get("type") == "1000003" for s in root.iter("signal")) == 17
    assert len(layout.signal_heads) == sum(s.get("type") == "1000001" for s in root.iter("signal"))
    kinds = [kind for *_, kind in layout.signs]
    assert kinds.count("yield") == 7 and kinds.count("speed_50") == kinds.count("speed_70") == 2


def test_heights_are_those_of_the_elevation_profile():
    root, layout = xml("esmini/curves_elevation.xodr"), layout_of("esmini/curves_elevation.xodr")
    flat = by_name(layout_of("esmini/curves.xodr"))
    rows = np.array([[float(e.get(k, "")) for k in "sdcba"] for e in root.iter("elevation")])
    reference = float(root.find("road").get("length"))  # type: ignore[union-attr,arg-type]
    lanes = by_name(layout)
    for lane_id in (-1, 1):
        line = lanes[f"road1_s0_l{lane_id}"].line
        np.testing.assert_allclose(line.xy[[0, -1]], flat[f"road1_s0_l{lane_id}"].line.xy[[0, -1]])
        for s in (0.0, reference):
            row = rows[np.searchsorted(rows[:, 0], s, side="right") - 1]
            at_start = (s == 0.0) == (lane_id < 0)
            assert line.z_m[0 if at_start else -1] == pytest.approx(np.polyval(row[1:], s - row[0]))
        assert np.ptp(line.z_m) > 10.0


@pytest.mark.parametrize("name", [CROSSING, LIGHTS, CITY])
def test_all_lanes_lie_on_their_surfaces_which_have_no_holes(name):
    layout = layout_of(name)
    road = unary_union([Polygon(s[:, :2]).buffer(0.02) for s in layout.surfaces])
    pavement = unary_union([Polygon(p[:, :2]).buffer(0.02) for p in layout.pavements])
    for lane in layout.lanes:
        floor = road if lane.kind == "driving" else pavement
        assert LineString(lane.line.xy).difference(floor.buffer(0.03)).length < 0.01, lane.name
    both = road.union(pavement)
    parts = both.geoms if both.geom_type == "MultiPolygon" else [both]
    holes = [Polygon(ring) for part in parts for ring in part.interiors]
    # Blocks between the streets, and cracks narrower than the cells they were looked for with.
    assert all(hole.area > 40.0 or hole.buffer(-0.06).is_empty for hole in holes)
