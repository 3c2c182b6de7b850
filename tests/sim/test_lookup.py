"""Look-up kernels far off the map, on heights, and on routes over linked lanes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import RequestError, RoadSpec
from sim.roads import FAR_M, MapAtlas, lookup
from sim.roads.build import map_of
from sim.roads.layout import Lane, Layout
from sim.roads.lines import Line, line_from_curvature
from sim.roads.maps import ROUTE, STOP_AT_SIGNAL, STOP_SIGN
from sim.roads.routes import route_of

RADIUS = 30.0
BEND_M = 0.5 * np.pi * RADIUS
SPEC = RoadSpec("opendrive", file="a map of this test")


def straight_line(start: tuple[float, float], heading: float, length_m: float) -> Line:
    return line_from_curvature([(0.0, 0.0), (length_m, 0.0)], start, heading)


def network() -> Layout:
    """In, a bend to the left or straight on, out; a lane that crosses ahead and gives way to it; a
    lane beside the first.

    ``in`` runs 60.3 m along x, ``bend`` turns left around (60.3, 30), ``out`` goes north,
    ``ahead`` on along x, and ``cross`` comes from the south at x = 100.
    """
    arc = [(0.0, 1.0 / RADIUS), (BEND_M, 1.0 / RADIUS)]
    hill = straight_line((60.3 + RADIUS, RADIUS), 0.5 * np.pi, 80.7)
    return Layout(
        lanes=[
            Lane(
                "in", straight_line((0.0, 0.0), 0.0, 60.3), successors=("bend", "ahead"),
                left="beside", stop_s_m=58.0, stop_kind="signal", signal_group=1,
            ),
            Lane(
                "bend", line_from_curvature(arc, (60.3, 0.0)), successors=("out",),
                speed_limit_mps=8.0, yields_to=("beside",),
            ),
            Lane(
                "out", dataclasses.replace(hill, z_m=0.1 * hill.s_m), stop_s_m=40.0,
                stop_kind="stop",
            ),
            Lane("ahead", straight_line((60.3, 0.0), 0.0, 90.0)),
            Lane("cross", straight_line((100.0, -50.0), 0.5 * np.pi, 100.0), yields_to=("ahead",)),
            Lane("beside", straight_line((0.0, 3.5), 0.0, 150.0)),
        ],
        surfaces=[np.array([[-20.0, -60.0], [170.0, -60.0], [170.0, 130.0], [-20.0, 130.0]])],
    )  # fmt: skip


@dataclass(eq=False)
class User:
    maps_in_use: np.ndarray


@pytest.fixture(scope="module")
def atlas():
    """Map 0 is a straight road, map 1 the network."""
    with pytest.MonkeyPatch.context() as patch:
        build = {SPEC: map_of(network(), SPEC)}
        from sim.roads.build import build_road_map

        patch.setattr(
            "sim.roads.atlas.build_road_map", lambda spec: build.get(spec) or build_road_map(spec)
        )
        result = MapAtlas()
        result.add(RoadSpec(lanes=2, oncoming_lanes=1))
        result.add(SPEC)
        yield result


def path_of(atlas: MapAtlas, name: str) -> int:
    return atlas.path_index(1, name)


# --------------------------------------------------------------------------------------
# Anywhere
# --------------------------------------------------------------------------------------
ANY = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e7, max_value=1e7)


@settings(max_examples=200, deadline=None)
@given(ANY, ANY, ANY, ANY, st.integers(0, 1), st.integers(0, 2), st.integers(0, 2))
def test_every_answer_is_finite_everywhere(atlas, x, y, s, d, map_id, p, q):
    maps = atlas.arrays
    assert np.isfinite(lookup.pose(maps, map_id, p, s, d)).all()
    assert np.isfinite(lookup.between(maps, map_id, p, q, s, d)).all()
    assert np.isfinite(lookup.project(maps, map_id, p, x, y, s)).all()
    assert np.isfinite(lookup.locate(maps, map_id, p, x, y)).all()
    assert np.isfinite(lookup.nearest_lane(maps, map_id, x, y)).all()
    assert np.isfinite(lookup.elevation(maps, map_id, p, s))
    assert 0.0 < lookup.bend_speed(maps, map_id, p, s) <= 60.0
    clear = lookup.clearance(maps, map_id, x, y)
    assert np.isfinite(clear)
    if max(abs(x), abs(y)) > 1000.0:
        assert clear < -500.0 and lookup.nearest_lane(maps, map_id, x, y)[0] > 0.0


def test_not_a_number_stays_inside_the_arrays(atlas):
    maps, nan = atlas.arrays, math.nan
    assert np.isnan(lookup.pose(maps, 1, 0, nan, 0.0)[0])
    assert np.isnan(lookup.clearance(maps, 1, nan, 0.0))
    assert np.isnan(lookup.nearest_lane(maps, 1, nan, nan)[0])
    assert np.isnan(lookup.project(maps, 1, 0, nan, 0.0, nan)).all()
    assert np.isnan(lookup.between(maps, 1, 0, 0, nan, 0.0)[0])


def test_clearance_is_continuous_across_tiles_and_the_end_of_the_raster(atlas):
    maps = atlas.arrays
    for heading in np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False):
        away = np.arange(0.0, 400.0, 0.05)
        x, y = 70.0 + away * np.cos(heading), 30.0 + away * np.sin(heading)
        value = atlas.clearance(1, x, y)
        # Twice the step: a bilinear cell may be steeper than 1 across its diagonal.
        assert np.abs(np.diff(value)).max() < 0.1 + 0.03
    assert lookup.clearance(maps, 1, 70.0, 30.0) == 8.0


# --------------------------------------------------------------------------------------
# Linked lanes
# --------------------------------------------------------------------------------------
def test_successors_and_pairs_by_path(atlas):
    maps = atlas.arrays
    inward, bend, ahead = (path_of(atlas, name) for name in ("in", "bend", "ahead"))
    record = maps.lanes[lookup.lane(maps, 1, inward)]
    assert record["successor_count"] == 2 and record["length_m"] == pytest.approx(60.3)
    assert lookup.successor(maps, 1, inward, 0) == bend
    assert lookup.successor(maps, 1, inward, 1) == ahead
    # Path 0 of the other map has no pair with a path 200 m to the side; of this map, all meet.
    assert lookup.pair(maps, 1, inward, bend) >= 0
    assert lookup.pair(maps, 1, path_of(atlas, "cross"), path_of(atlas, "out")) >= 0


def test_lanes_that_are_never_near_have_no_pair():
    layout = Layout(
        [Lane(f"l{i}", straight_line((0.0, 40.0 * i), 0.0, 100.0)) for i in range(2)],
        [np.array([[-5.0, -5.0], [105.0, -5.0], [105.0, 45.0], [-5.0, 45.0]])],
    )
    road = map_of(layout, SPEC)
    assert road.pair_paths.tolist() == [[0, 0], [1, 1]]


def test_both_lanes_know_a_place_at_their_seam(atlas):
    inward, bend = path_of(atlas, "in"), path_of(atlas, "bend")
    s, d, _ = atlas.between(1, inward, bend, np.array([0.0, 0.5]), 0.2)
    np.testing.assert_allclose(s, [60.3, 60.8], atol=0.02)
    np.testing.assert_allclose(d, 0.2, atol=0.02)
    s, d, _ = atlas.between(1, bend, inward, np.array([60.1, 60.3]), -0.3)
    np.testing.assert_allclose(s, [-0.2, 0.0], atol=0.02)
    np.testing.assert_allclose(d, -0.3, atol=0.02)
    assert (atlas.between(1, bend, inward, np.array([20.0, 57.0]), 0.0)[1] == FAR_M).all()


def test_heights_along_a_lane(atlas):
    out = path_of(atlas, "out")
    height = atlas.elevation(1, out, np.array([-5.0, 0.0, 40.25, 80.0, 200.0]))
    np.testing.assert_allclose(height, [0.0, 0.0, 4.025, 8.0, 8.07], atol=1e-9)


# --------------------------------------------------------------------------------------
# Routes
# --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def route(atlas) -> int:
    return atlas.add_route(1, ("in", "bend", "out"))


LENGTH_M = 60.3 + BEND_M + 80.7


def test_a_route_is_one_path_over_its_lanes(atlas, route):
    record = atlas.lane_record(1, route)
    assert record["kind"] == ROUTE and record["length_m"] == pytest.approx(LENGTH_M, abs=1e-6)
    assert atlas.route_names(1, route) == ("in", "bend", "out")
    s = np.arange(0.0, LENGTH_M, 0.1)
    x, y, heading, _ = atlas.pose(1, route, s, 0.0)
    angle = np.clip((s - 60.3) / RADIUS, 0.0, 0.5 * np.pi)
    beyond = np.maximum(s - 60.3 - BEND_M, 0.0)
    np.testing.assert_allclose(x, np.minimum(s, 60.3) + RADIUS * np.sin(angle), atol=5e-3)
    np.testing.assert_allclose(y, RADIUS * (1.0 - np.cos(angle)) + beyond, atol=5e-3)
    np.testing.assert_allclose(heading, angle, atol=0.02)
    end = atlas.pose(1, route, LENGTH_M + 20.0, 0.0)
    np.testing.assert_allclose(end[:3], [60.3 + RADIUS, RADIUS + 100.7, 0.5 * np.pi], atol=5e-3)
    np.testing.assert_allclose(
        atlas.elevation(1, route, np.array([50.0, LENGTH_M - 20.0])), [0.0, 6.07], atol=1e-6
    )


def test_places_on_a_route_and_on_its_lanes_are_the_same(atlas, route):
    starts = {"in": 0.0, "bend": 60.3, "out": 60.3 + BEND_M}
    for name, start in starts.items():
        path = path_of(atlas, name)
        s = np.arange(1.0, atlas.lane_record(1, path)["length_m"] - 1.0, 0.37)
        on_route, d, turn = atlas.between(1, route, path, s, 0.7)
        np.testing.assert_allclose(on_route, start + s, atol=0.05)
        np.testing.assert_allclose(d, 0.7, atol=0.01)
        np.testing.assert_allclose(turn, 0.0, atol=0.02)
        back, d, _ = atlas.between(1, path, route, start + s, -0.7)
        np.testing.assert_allclose(back, s, atol=0.05)
        np.testing.assert_allclose(d, -0.7, atol=0.01)
    s = np.arange(0.5, LENGTH_M - 1.0, 0.5)
    same, d, turn = atlas.between(1, route, route, s, 0.0)
    np.testing.assert_allclose(same, s, atol=1e-4)
    np.testing.assert_allclose(d, 0.0, atol=1e-4)


def test_a_route_knows_the_lane_under_it_its_stop_lines_and_neighbours(atlas, route):
    maps = atlas.arrays
    under = [lookup.under(maps, 1, route, s) for s in (0.0, 60.2, 61.0, 110.0, 500.0)]
    assert [atlas.map(1).names[p] for p in under] == ["in", "in", "bend", "out", "out"]
    assert lookup.under(maps, 1, path_of(atlas, "ahead"), 10.0) == path_of(atlas, "ahead")
    assert lookup.next_stop(maps, 1, route, 0.0) == (58.0, STOP_AT_SIGNAL, 1)
    stop_s = 60.3 + BEND_M + 40.0
    s, kind, group = lookup.next_stop(maps, 1, route, 58.01)
    assert s == pytest.approx(stop_s, abs=1e-6) and (kind, group) == (STOP_SIGN, -1)
    assert lookup.next_stop(maps, 1, route, stop_s + 0.1) == (math.inf, 0, -1)
    out = path_of(atlas, "out")
    assert lookup.next_stop(maps, 1, out, 3.0) == (40.0, STOP_SIGN, -1)
    assert lookup.next_stop(maps, 1, out, 41.0)[0] == math.inf
    record = atlas.lane_record(1, route)
    assert (record["stop_s"], record["stop_kind"], record["signal_group"]) == (58.0, 1, 1)
    left, right = atlas.lanes_beside(1, route, np.array([10.0, 70.0]))
    assert left.tolist() == [1, 0] and right.tolist() == [0, 0]


def test_a_route_brakes_for_its_bends(atlas, route):
    slow = math.sqrt(2.5 * RADIUS)
    assert atlas.bend_speed(1, route, 80.0) == pytest.approx(slow)
    n = np.arange(0, 60)
    np.testing.assert_allclose(
        atlas.bend_speed(1, route, n), np.sqrt(slow**2 + 2 * 1.5 * (61.0 - n)), rtol=0.02
    )


def test_a_route_gives_way_and_is_given_way_as_its_lanes(atlas, route):
    ahead = atlas.add_route(1, ("in", "ahead"))
    maps = atlas.arrays
    cross, lane = path_of(atlas, "cross"), path_of(atlas, "ahead")
    known = maps.pairs[lookup.pair(maps, 1, cross, lane)]
    facts = maps.pairs[lookup.pair(maps, 1, cross, ahead)]
    assert known["yields"] and facts["yields"]
    # The lines cross at x = 100, 50 m up the crossing lane.
    assert facts["conflict_s_p"] == pytest.approx(50.0, abs=1e-3)
    assert facts["conflict_s_q"] == pytest.approx(60.3 + known["conflict_s_q"])
    assert facts["conflict_s_q"] == pytest.approx(98.5, abs=1.0)
    assert not maps.pairs[lookup.pair(maps, 1, cross, route)]["yields"]
    # The bend crosses the lane beside and gives way to it; so does the route over the bend.
    beside = path_of(atlas, "beside")
    own = maps.pairs[lookup.pair(maps, 1, path_of(atlas, "bend"), beside)]
    facts = maps.pairs[lookup.pair(maps, 1, route, beside)]
    assert own["yields"] and facts["yields"] and atlas.lane_record(1, route)["gives_way"]
    assert facts["conflict_s_p"] == pytest.approx(60.3 + own["conflict_s_p"])
    assert facts["conflict_s_q"] == own["conflict_s_q"]
    assert not atlas.lane_record(1, ahead)["gives_way"]


def test_routes_are_made_once_and_single_lanes_are_their_own(atlas, route):
    assert atlas.add_route(1, ("in", "bend", "out")) == route
    assert atlas.add_route(1, ("out",)) == path_of(atlas, "out")
    assert route >= len(atlas.map(1).names)


def test_answers_survive_many_routes_and_pruning():
    count = 40
    lanes = [
        Lane(
            f"l{i}", straight_line((10.0 * i, 0.0), 0.0, 10.0),
            successors=(f"l{i + 1}",) if i < count - 1 else (),
        )
        for i in range(count)
    ]  # fmt: skip
    surface = np.array([[-5.0, -5.0], [405.0, -5.0], [405.0, 5.0], [-5.0, 5.0]])
    road = map_of(Layout(lanes, [surface]), SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.roads.atlas.build_road_map", lambda spec: road)
        pool = MapAtlas(most_maps=2)
        pool.add(RoadSpec(length_m=60.0))
        number = pool.add(SPEC)
        routes = [
            pool.add_route(number, tuple(f"l{k}" for k in range(i, i + 3))) for i in range(37)
        ]
        assert routes == list(range(count, count + 37))
        x = [float(pool.pose(number, path, 25.0, 0.0)[0]) for path in routes]
        np.testing.assert_allclose(x, 10.0 * np.arange(37) + 25.0)
        s, _, _ = pool.between(number, routes[5], 7, 5.0, 0.0)
        assert s == pytest.approx(25.0)
        user = User(np.array([number]))
        pool.serve(user)
        for kept, length_m in ((True, 61.0), (False, 62.0)):
            pool.add(RoadSpec(length_m=length_m))
            if not kept:  # it comes back with all its routes
                del user
                pool.add(RoadSpec(length_m=63.0))
            pool.make_room()
            assert len(pool) == 1
            number = pool.add(SPEC)
            assert pool.add_route(number, ("l5", "l6", "l7")) == routes[5]
            assert pool.pose(number, routes[5], 25.0, 0.0)[0] == pytest.approx(75.0)
            assert pool.between(number, routes[5], 7, 5.0, 0.0)[0] == pytest.approx(25.0)
            assert pool.lane_record(number, routes[5])["length_m"] == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("lanes", "message"),
    [
        (("in", "nowhere"), r"route: nowhere: expected the name of a lane of this road"),
        (("in", "out"), r"route: out: expected a lane that follows in \(bend, ahead\)"),
        (("out", "in"), r"route: in: expected a lane that follows out \(none does\)"),
        (("in", "in"), r"route: in: expected every lane once, got it twice"),
    ],
)
def test_impossible_routes_are_refused(atlas, lanes, message):
    with pytest.raises(RequestError, match=message):
        route_of(atlas.map(1), lanes)
