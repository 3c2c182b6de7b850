"""Procedural roads against closed forms, scipy and shapely."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import cumulative_simpson
from scipy.special import fresnel
from shapely.geometry import LineString, Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.ops import unary_union

from alpamayo.types import EGO_SIZE_M, RequestError, RoadSpec
from sim.roads import build_road_map
from sim.roads.layout import Lane, Layout
from sim.roads.lines import Line
from sim.roads.picture import top_view
from sim.roads.procedural import lay_out
from sim.roads.procedural.scenery import CLEAR_M, MOST

S_CURVE = RoadSpec("s_curve", lanes=2, oncoming_lanes=1, radius_m=120.0)
EXIT = RoadSpec("exit", lanes=2, oncoming_lanes=1)
T_JUNCTION = RoadSpec("t_junction", lanes=1, oncoming_lanes=1)
ROUNDABOUT = RoadSpec("roundabout", lanes=1)
LANE_DROP = RoadSpec("lane_drop", lanes=3, oncoming_lanes=1)
STREET = RoadSpec("parking_street", lanes=2)
CREST = RoadSpec("crest", lanes=2, oncoming_lanes=1, rise_m=5.0)
ALL = [S_CURVE, EXIT, T_JUNCTION, ROUNDABOUT, LANE_DROP, STREET, CREST]
TIGHT = [
    RoadSpec("s_curve", lanes=1, radius_m=-20.0, length_m=120.0, lane_width_m=3.0),
    RoadSpec("exit", lanes=1, length_m=200.0, shoulder_m=0.2),
    RoadSpec("t_junction", lanes=1, lane_width_m=6.0, shoulder_m=6.0),
    RoadSpec("roundabout", lanes=1, radius_m=13.5, lane_width_m=3.0, shoulder_m=0.2),
    RoadSpec("roundabout", lanes=1, radius_m=16.5, lane_width_m=6.0, shoulder_m=6.0),
    RoadSpec("roundabout", lanes=1, radius_m=60.0),
    RoadSpec("lane_drop", lanes=2, length_m=160.0),
    RoadSpec("parking_street", lanes=1, length_m=60.0, lane_width_m=2.8),
    RoadSpec("crest", lanes=1, length_m=100.0, rise_m=2.0),
]
WAYS = {"south": (0.0, -1.0), "north": (0.0, 1.0), "west": (-1.0, 0.0), "east": (1.0, 0.0)}


@cache
def laid(spec: RoadSpec) -> Layout:
    layout = lay_out(spec)
    layout.link()
    return layout


def label(spec: RoadSpec) -> str:
    return f"{spec.kind}-{spec.lanes}-{spec.lane_width_m:g}-{spec.radius_m:g}-{spec.length_m:g}"


every_road = pytest.mark.parametrize("spec", ALL + TIGHT, ids=label)


def lane(layout: Layout, name: str) -> Lane:
    return next(found for found in layout.lanes if found.name == name)


def driven(layout: Layout) -> list[Lane]:
    return [found for found in layout.lanes if found.kind in ("driving", "parking")]


def movements(layout: Layout) -> list[Lane]:
    return [found for found in layout.lanes if found.kind == "driving"]


def area(polygons: list[np.ndarray]) -> BaseGeometry:
    """Union of polygons; slivers of less than a hair between neighbours are closed."""
    return unary_union([Polygon(p[:, :2]).buffer(1e-6) for p in polygons])


def drawn(line: Line) -> LineString:
    return LineString(line.xy[::8])


def wrapped(angle: np.ndarray | float) -> np.ndarray:
    return (np.asarray(angle) + np.pi) % (2.0 * np.pi) - np.pi


# --------------------------------------------------------------------------------------
# All kinds
# --------------------------------------------------------------------------------------
@every_road
def test_lanes_keep_half_a_vehicle_from_the_edge_of_the_surface(spec):
    layout = laid(spec)
    clear = area(layout.surfaces).buffer(-0.5 * EGO_SIZE_M[1])
    for one in driven(layout):
        assert clear.contains(drawn(one.line)), one.name


@every_road
def test_headings_and_places_are_integrals_of_the_curvature(spec):
    for one in laid(spec).lanes:
        if one.kind == "sidewalk":
            continue  # corners of pavements are arcs: their curvature jumps
        line = one.line
        assert line.s_m[0] == 0.0 and (np.diff(line.s_m) > 0.0).all()
        heading = line.heading[0] + cumulative_simpson(line.curvature, x=line.s_m, initial=0.0)
        np.testing.assert_allclose(line.heading, heading, atol=2e-4)
        for i, rate in enumerate((np.cos(line.heading), np.sin(line.heading))):
            place = line.xy[0, i] + cumulative_simpson(rate, x=line.s_m, initial=0.0)
            np.testing.assert_allclose(line.xy[:, i], place, atol=5e-3)


@every_road
def test_curvature_is_continuous_and_can_be_steered(spec):
    for one in laid(spec).lanes:
        if one.kind != "sidewalk":
            slope = np.diff(one.line.curvature) / np.diff(one.line.s_m)
            assert np.abs(slope).max() < 0.06, one.name  # 1/7 m reached within 3 m
            assert np.abs(one.line.curvature).max() < 0.2, one.name


@every_road
def test_neighbours_run_side_by_side(spec):
    layout = laid(spec)
    for one in layout.lanes:
        if not one.left:
            continue
        other = lane(layout, one.left).line
        for s in np.linspace(0.0, min(one.line.length_m, one.ends_m), 9):
            (xy,), (heading,), _ = one.line.at([s])
            there = other.s_m[np.argmin(np.hypot(*(other.xy - xy).T))]
            (beside,), (their_heading,), _ = other.at([there])
            left = np.array([-np.sin(heading), np.cos(heading)])
            assert (beside - xy) @ left == pytest.approx(spec.lane_width_m, abs=1e-3)
            assert abs(wrapped(their_heading - heading)) < 2e-3


@every_road
def test_scenery_stands_off_the_road_and_apart(spec):
    layout = laid(spec)
    taken = area([*layout.surfaces, *layout.pavements])
    boxes = []
    for item in layout.scenery:
        half = 0.5 * np.array([item.length, item.width])
        corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        cos, sin = np.cos(item.heading), np.sin(item.heading)
        box = Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + [item.x, item.y])
        assert taken.distance(box) > CLEAR_M - 0.02
        assert all(box.disjoint(other) for other in boxes)
        boxes.append(box)
    assert len(boxes) <= MOST


def test_there_is_scenery_and_it_follows_from_the_numbers_of_the_road():
    for spec in ALL:
        items = laid(spec).scenery
        assert len(items) >= 5
        assert items == lay_out(spec).scenery
        assert len({item.height for item in items}) > 3
    longer = dataclasses.replace(STREET, length_m=340.0)
    assert laid(longer).scenery != laid(STREET).scenery


@every_road
def test_pavements_touch_the_surface_without_lying_on_it(spec):
    layout = laid(spec)
    surface = area(layout.surfaces)
    for pavement in layout.pavements:
        walk = Polygon(pavement).buffer(0.0)
        assert surface.distance(walk) < 0.01
        # Polygons stand for curves to within a centimetre each.
        assert surface.intersection(walk).area < 0.02 * walk.length


@every_road
def test_signs_face_the_traffic_on_their_left(spec):
    layout = laid(spec)
    surface = area(layout.surfaces)
    lines = [(one.line, drawn(one.line)) for one in movements(layout)]
    for x, y, facing, _ in layout.signs:
        assert not surface.contains(Point(x, y))
        line, _ = min(lines, key=lambda pair: pair[1].distance(Point(x, y)))
        nearest = int(np.argmin(np.hypot(*(line.xy - [x, y]).T)))
        heading = line.heading[nearest]
        assert abs(wrapped(facing - heading - np.pi)) < 0.02
        dx, dy = [x, y] - line.xy[nearest]
        assert np.sin(heading) * dx - np.cos(heading) * dy > 1.0


@every_road
def test_the_map_holds_the_lanes_of_the_layout(spec):
    layout, road = laid(spec), build_road_map(spec)
    assert road.names == tuple(one.name for one in layout.lanes)
    for p, one in enumerate(layout.lanes):
        s = np.arange(int(one.line.length_m) + 1)
        xy, heading, _ = one.line.at(s)
        rows = road.path_samples(p)[: len(s)]
        np.testing.assert_allclose(rows[:, :2], xy, atol=1e-9)
        np.testing.assert_allclose(rows[:, 2], heading, atol=1e-9)
        np.testing.assert_allclose(rows[:, 6], one.line.elevation_at(s), atol=1e-9)


# --------------------------------------------------------------------------------------
# S-curve
# --------------------------------------------------------------------------------------
def test_an_s_curve_starts_with_a_clothoid_by_fresnel_integrals():
    line = lane(laid(S_CURVE), "lane0").line
    scale = np.sqrt(np.pi * 120.0 * 30.0)  # curvature rises to 1/120 within 30 m
    for s in (10.0, 20.0, 30.0):
        sine, cosine = fresnel(s / scale)
        expected = [30.0 + scale * cosine, scale * sine]
        np.testing.assert_allclose(line.at([30.0 + s])[0][0], expected, atol=1e-4)
        assert line.at([30.0 + s])[1][0] == pytest.approx(s * s / (2 * 120.0 * 30.0), abs=1e-6)


@pytest.mark.parametrize("radius", [120.0, -60.0])
def test_an_s_curve_bends_one_way_then_the_other_by_its_radius(radius):
    spec = dataclasses.replace(S_CURVE, radius_m=radius)
    layout = laid(spec)
    line = lane(layout, "lane0").line
    bend = 1.0 / radius
    turning = line.s_m[np.isclose(line.curvature, bend, rtol=1e-6)]
    back = line.s_m[np.isclose(line.curvature, -bend, rtol=1e-6)]
    assert turning.max() < back.min()
    assert np.ptp(turning) == pytest.approx(np.ptp(back), abs=0.11)
    assert np.abs(line.curvature).max() == pytest.approx(abs(bend))
    assert line.length_m == pytest.approx(320.0)
    assert line.heading[0] == 0.0 and line.heading[-1] == pytest.approx(0.0, abs=1e-6)
    # Point symmetric about its middle.
    middle, end = line.at([0.5 * _bends_until(line)])[0][0], line.at([_bends_until(line)])[0][0]
    np.testing.assert_allclose(2.0 * middle, end, atol=1e-3)
    # Lane 1 and the oncoming lane lie to the left, each with its own radius.
    assert lane(layout, "lane1").line.curvature.max() == pytest.approx(
        max(bend / (1 - 3.5 * bend), -bend / (1 + 3.5 * bend)), rel=1e-3
    )
    np.testing.assert_allclose(lane(layout, "oncoming0").line.xy[-1], [0.0, 7.0], atol=1e-9)


def _bends_until(line: Line) -> float:
    """Arc length where the S is over, if it began after a lead-in and ended with as much."""
    curved = line.s_m[np.abs(line.curvature) > 1e-9]
    return float(curved[0] + curved[-1])


# --------------------------------------------------------------------------------------
# Exit, lane drop, parking street
# --------------------------------------------------------------------------------------
def test_the_exit_leaves_lane_0_over_a_deceleration_lane():
    layout = laid(EXIT)
    line = lane(layout, "exit").line
    x, y = line.xy.T
    assert (y[x < 100.0] == 0.0).all()
    np.testing.assert_allclose(y[(x > 160.0) & (x < 200.0)], -3.5, atol=1e-9)
    assert (np.diff(y) <= 0.0).all()
    # 16 m within 156 m (of which 120 m are there) after the deceleration lane.
    u = 120.0 / 156.0
    assert y[-1] == pytest.approx(-3.5 - 16.0 * u**3 * (10 - 15 * u + 6 * u * u))
    for at in (100.0, 160.0, 200.0):  # tangent to lane 0 and to the lane beside it
        assert np.interp(at, x, line.heading) == pytest.approx(0.0, abs=1e-9)
    assert not lane(layout, "exit").yields_to


def test_lines_open_and_close_at_the_exit():
    layout = laid(EXIT)
    crossed = [
        drawn(lane(layout, "exit").line).crosses(LineString(m.points))
        for m in layout.markings
        if m.kind in ("solid", "edge")
    ]
    assert len(crossed) > 5 and not any(crossed)
    dashed = [m.points for m in layout.markings if m.kind == "dashed"]
    opening = min(dashed, key=lambda points: np.abs(points[:, 1] + 1.75).max())
    np.testing.assert_allclose(opening[:, 1], -1.75)
    gore_x = opening[1, 0]
    edges = [m.points for m in layout.markings if m.kind == "edge"]
    closing = next(e for e in edges if np.allclose(e[0], [gore_x, -1.75]))
    assert closing[-1] == pytest.approx([360.0, -1.75])
    # The paved gore leaves no hole between the road and the ramp.
    surface = area(layout.surfaces)
    for x in np.arange(100.0, gore_x + 15.0, 5.0):
        ramp_y = np.interp(x, *lane(layout, "exit").line.xy.T)
        assert surface.contains(LineString([(x, 0.0), (x, ramp_y)]))


def test_a_dropped_lane_tapers_away_and_its_neighbours_go_on():
    layout = laid(LANE_DROP)
    ends = [one.ends_m for one in layout.lanes]
    assert ends == [192.0, np.inf, np.inf, np.inf]  # 0.6 of 320 m
    first = layout.lanes[0]
    assert first.joins == "lane1" and first.yields_to == ("lane1",)
    assert (first.line.xy[first.line.s_m <= 192.0, 1] == 0.0).all()
    np.testing.assert_allclose(first.line.xy[-1], [320.0, 3.5], atol=1e-9)
    surface = area(layout.surfaces)

    def width(x: float) -> float:
        return surface.intersection(LineString([(x, -50.0), (x, 50.0)])).length

    assert width(100.0) == pytest.approx(4 * 3.5 + 2.0, abs=1e-3)
    assert width(192.0) == pytest.approx(4 * 3.5 + 2.0, abs=1e-3)
    assert width(222.0) == pytest.approx(3.5 * 3.5 + 2.0, abs=0.03)  # half way
    assert width(300.0) == pytest.approx(3 * 3.5 + 2.0, abs=1e-3)


def test_a_parking_street_has_bays_between_lanes_and_kerbs():
    layout = laid(STREET)
    offsets = {one.name: one.line.xy[0, 1] for one in layout.lanes}
    assert offsets == pytest.approx(
        {
            "lane0": 0.0, "lane1": 3.5, "parking_right": -1.75 - 1.1, "parking_left": 5.25 + 1.1,
            "sidewalk_right": -1.75 - 2.2 - 1.0, "sidewalk_left": 5.25 + 2.2 + 1.0,
        }
    )  # fmt: skip
    kinds = {one.name.split("_")[0].rstrip("01"): one.kind for one in layout.lanes}
    assert kinds == {"lane": "driving", "parking": "parking", "sidewalk": "sidewalk"}
    assert lane(layout, "lane0").right_lanes == 0 and lane(layout, "lane1").left_lanes == 0
    kerbs = sorted(float(m.points[0, 1]) for m in layout.markings if m.kind == "edge")
    assert kerbs == pytest.approx([-3.95, 7.45])
    across = [m.points for m in layout.markings if m.points[0, 0] == m.points[1, 0]]
    for inner, outer in ((-1.75, -3.95), (5.25, 7.45)):
        xs = np.array([p[0, 0] for p in across if p[0, 1] == inner])
        assert all(p[1, 1] == pytest.approx(outer) for p in across if p[0, 1] == inner)
        assert len(xs) >= 35 and set(np.round(np.diff(xs), 9)) == {6.0}


# --------------------------------------------------------------------------------------
# Junctions
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("spec", [T_JUNCTION, ROUNDABOUT, *TIGHT[2:6]], ids=label)
def test_movements_start_and_end_on_their_arms(spec):
    paths = movements(laid(spec))
    arms = {name for one in paths for name in one.name.split("_")}
    wanted = {f"{a}_{b}" for a, b in itertools.permutations(arms, 2)}
    assert {one.name for one in paths} == wanted
    assert len(wanted) == (6 if spec.kind == "t_junction" else 12)
    for one in paths:
        origin, goal = (np.array(WAYS[arm]) for arm in one.name.split("_"))
        line = one.line
        for n, travel, arm in ((0, -origin, origin), (-1, goal, goal)):
            right = np.array([travel[1], -travel[0]])
            assert line.xy[n] @ right == pytest.approx(0.5 * spec.lane_width_m, abs=5e-3)
            assert line.xy[n] @ arm > 120.0
            direction = np.array([np.cos(line.heading[n]), np.sin(line.heading[n])])
            np.testing.assert_allclose(direction, travel, atol=1e-3)
        assert (line.curvature[line.s_m < 119.9] == 0.0).all()


@pytest.mark.parametrize("spec", [T_JUNCTION, ROUNDABOUT], ids=label)
def test_a_vehicle_turns_without_leaving_the_surface(spec):
    layout = laid(spec)
    surface = area(layout.surfaces)
    half = 0.5 * np.array(EGO_SIZE_M[:2])
    corners = half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    for one in movements(layout):
        bend = one.line.s_m[np.abs(one.line.curvature) > 0.0]
        if not len(bend):
            continue
        for s in np.arange(bend[0], bend[-1], 1.0):
            (xy,), (heading,), _ = one.line.at([s])
            cos, sin = np.cos(heading), np.sin(heading)
            box = Polygon(corners @ np.array([[cos, sin], [-sin, cos]]) + xy)
            assert surface.contains(box), (one.name, s)


@pytest.mark.parametrize("spec", [T_JUNCTION, TIGHT[2]], ids=label)
def test_of_two_movements_that_meet_at_a_t_junction_one_yields(spec):
    paths = {one.name: one for one in movements(laid(spec))}
    yields = {(p, q) for p, one in paths.items() for q in one.yields_to}
    for p, q in itertools.combinations(paths, 2):
        meet = drawn(paths[p].line).distance(drawn(paths[q].line)) < 1.0
        same_arm = p.split("_")[0] == q.split("_")[0]
        count = ((p, q) in yields) + ((q, p) in yields)
        assert count == (1 if meet and not same_arm else 0), (p, q)
    # The side road has no priority over anyone, nobody on the major road waits to go straight.
    assert not any(q.startswith("south") for _, q in yields)
    assert not any(p in ("west_east", "east_west", "west_south") for p, _ in yields)
    for name, one in paths.items():
        minor = name.startswith("south")
        assert one.stop_kind == ("stop" if minor else "")
        assert one.stop_s_m == (115.0 if minor else np.inf)


def test_a_t_junction_has_a_crossing_on_each_arm_behind_the_stop_line():
    layout = laid(T_JUNCTION)
    assert [sign[3] for sign in layout.signs] == ["stop"]
    crossings = [m for m in layout.markings if m.kind == "crossing"]
    assert len(crossings) == 3
    (stop,) = [m.points for m in layout.markings if m.kind == "stop"]
    surface = area(layout.surfaces)
    for crossing in crossings:
        walk = LineString(crossing.points)
        assert walk.length == pytest.approx(2 * 4.5)  # from kerb to kerb
        assert surface.buffer(1e-3).contains(walk)
        assert walk.buffer(0.5 * crossing.width_m).disjoint(LineString(stop).buffer(0.25))
    line = lane(layout, "south_west").line
    # Its far edge is where the front of a vehicle stops.
    assert line.at([115.0])[0][0, 1] == pytest.approx(stop[:, 1].max() + 0.25)


def test_the_roundabout_is_a_circle_that_everybody_follows():
    layout = laid(ROUNDABOUT)
    for one in movements(layout):
        away = np.hypot(*one.line.xy.T)
        on_it = np.isclose(one.line.curvature, 1.0 / 16.0)
        np.testing.assert_allclose(away[on_it], 16.0, atol=2e-3)
        assert away.min() > 16.0 - 2e-3
        assert one.stop_kind == "yield"
        # The yield line keeps clear of the circulating lane and lies before the first conflict.
        assert np.interp(one.stop_s_m, one.line.s_m, away) == pytest.approx(19.25, abs=0.05)
    assert lane(layout, "south_north").line.length_m < lane(layout, "south_west").line.length_m
    # The circulating lane and a metre of shoulder on either side.
    island = Polygon([(13.2 * np.cos(a), 13.2 * np.sin(a)) for a in np.linspace(0, 6.28, 60)])
    surface = area(layout.surfaces)
    assert surface.intersection(island).area < 0.05
    ring = Point(0.0, 0.0).buffer(18.7).difference(Point(0.0, 0.0).buffer(13.4))
    assert surface.contains(ring)


@pytest.mark.parametrize("spec", [ROUNDABOUT, *TIGHT[3:6]], ids=label)
def test_who_enters_the_roundabout_yields_to_who_passes(spec):
    radius = spec.radius_m or 16.0
    paths = movements(laid(spec))
    lines = {one.name: drawn(one.line) for one in paths}
    opposite = {"south": "north", "north": "south", "west": "east", "east": "west"}
    left = {"south": "west", "north": "east", "west": "north", "east": "south"}
    pairs = set()
    for one in paths:
        away = np.hypot(*one.line.xy.T)
        joins = Point(one.line.xy[np.argmax(away < radius + 2e-3)])
        arm = one.name.split("_")[0]
        passing = {
            name
            for name, line in lines.items()
            if not name.startswith(arm) and line.distance(joins) < 0.05
        }
        assert set(one.yields_to) == passing and len(passing) == 3
        pairs |= {(one.name, name) for name in passing}
    for p, q in itertools.combinations(lines, 2):
        meet = lines[p].distance(lines[q]) < 1.0
        arms = p.split("_")[0], q.split("_")[0]
        count = ((p, q) in pairs) + ((q, p) in pairs)
        # Two left turns from opposite arms enter in front of each other.
        both = opposite[arms[0]] == arms[1] and all(
            left[n[0]] == n[1] for n in (p.split("_"), q.split("_"))
        )
        assert count == (0 if arms[0] == arms[1] or not meet else 2 if both else 1), (p, q)


def test_vehicles_wait_for_each_other_where_they_enter_the_roundabout():
    road = build_road_map(ROUNDABOUT)
    yielding = [n for n in range(len(road.pairs)) if road.pairs["yields"][n]]
    assert len(yielding) == 12 * 3
    for n in yielding:
        p, q = road.pair_paths[n]
        own, theirs = (float(road.pairs[n][f"conflict_s_{side}"]) for side in "pq")
        # Just behind the yield line of p, on the circle for q.
        assert 0.0 < own - road.lanes["stop_s"][p] < 12.0, (road.names[p], road.names[q])
        x, y = road.path_samples(q)[round(theirs), :2]
        assert np.hypot(x, y) == pytest.approx(16.0, abs=0.3)
        x_p, y_p = road.path_samples(p)[round(own), :2]
        assert np.hypot(x - x_p, y - y_p) < 2.2


# --------------------------------------------------------------------------------------
# Crest
# --------------------------------------------------------------------------------------
def test_a_crest_is_a_smooth_hill_of_its_rise():
    layout = laid(CREST)
    for one in layout.lanes:
        assert one.line.elevation_at([160.0])[0] == pytest.approx(5.0)
        assert one.line.elevation_at([0.0, 64.0, 256.0, 320.0]) == pytest.approx(0.0)
        z, ds = one.line.z_m, one.line.s_m[1]
        assert z is not None
        slope, bend = np.gradient(z, ds), np.gradient(np.gradient(z, ds), ds)
        assert slope.max() == pytest.approx(np.pi * 5.0 / 192.0, rel=1e-4)
        assert -bend.min() == pytest.approx(2.0 * np.pi**2 * 5.0 / 192.0**2, rel=1e-3)
        assert 14.0**2 * np.abs(bend).max() < 2.5


def test_surface_and_paint_of_a_crest_have_its_heights():
    layout = laid(CREST)
    line = layout.lanes[0].line
    for points in [*layout.surfaces, *(m.points for m in layout.markings)]:
        assert points.shape[1] == 3
        np.testing.assert_allclose(points[:, 2], line.elevation_at(points[:, 0]), atol=1e-9)
        assert np.abs(np.diff(points[:, 0])).max() <= 40.01  # the level run-out is one piece
    on_hill = [p for p in layout.surfaces if 64.0 < p[:, 0].mean() < 256.0]
    assert max(np.ptp(p[:, 0]) for p in on_hill) <= 5.01


@pytest.mark.parametrize(("before", "behind", "seen"), [(60.0, 60.0, False), (20.0, 20.0, True)])
def test_a_crest_hides_what_stands_behind_it(before, behind, seen):
    # Eye and roof 1.5 m above the road: with curvature k at the top they see each other over a
    # distance of 2 sqrt(2 * 1.5 / k), here 67 m.
    line = laid(CREST).lanes[0].line
    ends = np.array([160.0 - before, 160.0 + behind])
    eye, roof = line.elevation_at(ends) + 1.5
    x = np.linspace(*ends, 200)
    sight = np.interp(x, ends, [eye, roof])
    assert bool((sight > line.elevation_at(x)).all()) == seen


# --------------------------------------------------------------------------------------
# Bad requests, and any good one
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (RoadSpec("s_curve"), "radius_m"),
        (RoadSpec("s_curve", lanes=2, radius_m=11.0), "radius_m"),
        (RoadSpec("s_curve", radius_m=200.0, length_m=170.0), "length_m"),
        (RoadSpec("exit", length_m=150.0), "length_m"),
        (RoadSpec("t_junction", lanes=2), "lanes"),
        (RoadSpec("t_junction", lanes=1, oncoming_lanes=2), "lanes"),
        (RoadSpec("roundabout", lanes=2), "lanes"),
        (RoadSpec("roundabout", lanes=1, radius_m=8.0), "radius_m"),
        (RoadSpec("roundabout", lanes=1, radius_m=90.0), "radius_m"),
        (RoadSpec("roundabout", lanes=1, radius_m=-20.0), "radius_m"),
        (RoadSpec("lane_drop", lanes=1), "lanes"),
        (RoadSpec("lane_drop", lanes=2, length_m=100.0), "length_m"),
        (RoadSpec("parking_street", oncoming_lanes=1), "oncoming_lanes"),
        (RoadSpec("crest"), "rise_m"),
        (RoadSpec("crest", rise_m=-2.0), "rise_m"),
        (RoadSpec("crest", rise_m=12.0), "rise_m"),
        (RoadSpec("crest", rise_m=8.0, speed_limit_mps=40.0), "rise_m"),
        (RoadSpec("crest", rise_m=float("nan")), "rise_m"),
        (RoadSpec("s_curve", radius_m=float("nan")), "radius_m"),
        (RoadSpec("roundabout", lanes=1, radius_m=float("nan")), "radius_m"),
    ],
    ids=lambda value: value.kind if isinstance(value, RoadSpec) else value,
)
def test_impossible_roads_are_refused_by_key(spec, key):
    with pytest.raises(RequestError, match=rf"^road: {key}: expected .*, got [^\n]+$"):
        lay_out(spec)


@st.composite
def specs(draw: st.DrawFn) -> RoadSpec:
    kind = draw(st.sampled_from([spec.kind for spec in ALL]))
    width = draw(st.floats(2.6, 6.0))
    single = kind in ("t_junction", "roundabout")
    lanes = 1 if single else draw(st.integers(2, 4))
    oncoming = 0 if kind == "parking_street" else draw(st.integers(0, 1 if single else 3))
    span = (lanes + oncoming) * width + 5.0
    radius = {
        "s_curve": draw(st.floats(span, 400.0)) * draw(st.sampled_from([1.0, -1.0])),
        "roundabout": draw(st.floats(10.5 + width, 60.0)),
    }
    return RoadSpec(
        kind=kind,
        lanes=lanes,
        oncoming_lanes=oncoming,
        lane_width_m=width,
        shoulder_m=draw(st.floats(0.0, 6.0)),
        length_m=draw(st.floats(200.0, 600.0)),
        radius_m=radius.get(kind, 0.0),
        rise_m=draw(st.floats(0.1, 5.0)),
    )


@settings(max_examples=25, deadline=None, derandomize=True)
@given(specs())
def test_any_road_in_bounds_has_its_lanes_on_its_surface(spec):
    layout = lay_out(spec)
    layout.link()
    clear = area(layout.surfaces).buffer(-0.5 * EGO_SIZE_M[1])
    for one in driven(layout):
        assert np.isfinite(one.line.xy).all() and np.isfinite(one.line.curvature).all()
        assert clear.contains(drawn(one.line)), one.name


# --------------------------------------------------------------------------------------
# Picture
# --------------------------------------------------------------------------------------
def test_the_picture_shows_surface_lanes_and_ground_where_they_are():
    spec = RoadSpec(lanes=1, lane_width_m=4.0, length_m=60.0)
    image = top_view(build_road_map(spec), px_per_m=10.0)
    # Surface from -40 m to 100 m and 3 m to either side, 6 m of ground around it.
    assert image.shape == (180, 1520, 3) and image.dtype == np.uint8

    def at(x: float, y: float) -> list[int]:
        return image[round((9.0 - y) * 10.0), round((x + 46.0) * 10.0)].tolist()

    assert at(-20.0, 1.0) == [72, 74, 78] == at(30.0, -2.5)
    assert at(30.0, 4.0) == [104, 126, 88] == at(-43.0, 0.0)
    assert at(20.0, 0.0) == [90, 200, 255]  # the lane's centre line, which ends at 60 m
    assert at(61.0, 0.0) == [72, 74, 78]
    assert at(30.0, 2.0) == [235, 235, 230] == at(30.0, -2.0)  # edge lines


@pytest.mark.parametrize("px_per_m", [0.0, float("nan"), 1e4])
def test_a_picture_that_cannot_be_drawn_is_refused(px_per_m):
    with pytest.raises(RequestError, match=r"picture: px_per_m: expected .*, got"):
        top_view(build_road_map(RoadSpec()), px_per_m)
