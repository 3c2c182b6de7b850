"""Road maps against closed forms, scipy and shapely."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial import cKDTree
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

from alpamayo.types import RequestError, RoadSpec
from sim.roads import FAR_M, RoadMap, build_road_map
from sim.roads.build import map_of
from sim.roads.layout import Lane, Layout
from sim.roads.lines import Line, line_from_curvature, line_from_graph
from sim.roads.maps import DRIVING, PARKING, STOP_AT_SIGNAL
from sim.roads.raster import rasterise

STRAIGHT = RoadSpec(lanes=3, oncoming_lanes=2)
CURVE = RoadSpec("curve", lanes=2, oncoming_lanes=1, radius_m=120.0, length_m=260.0)
RIGHT_CURVE = RoadSpec("curve", lanes=2, radius_m=-80.0, length_m=200.0)
JUNCTION = RoadSpec("junction", lanes=1, oncoming_lanes=1)
MERGE = RoadSpec("merge", lanes=2)
ALL = [STRAIGHT, CURVE, RIGHT_CURVE, JUNCTION, MERGE]
KINDS = [f"{s.kind}{s.radius_m:+.0f}" for s in ALL]


def rows(road: RoadMap, name: str) -> np.ndarray:
    return road.path_samples(road.index[name])


def table(road: RoadMap, p: str, q: str) -> np.ndarray:
    """s, d, heading difference [n, 3] of all samples of q in the frame of p."""
    index = road.index
    full = np.zeros((road.lanes["count"][index[q]], 3))
    full[:, 1] = FAR_M
    found = np.flatnonzero((road.pair_paths == [index[p], index[q]]).all(axis=1))
    for record in road.pairs[found]:
        first, count = record["sample_first"], record["sample_count"]
        start = record["table_first"]
        full[first : first + count] = road.tables[start : start + count]
    return full


def pair_fact(road: RoadMap, p: str, q: str, key: str) -> float:
    found = (road.pair_paths == [road.index[p], road.index[q]]).all(axis=1)
    (value,) = road.pairs[found][key]
    return float(value)


def wrapped(angle: np.ndarray | float) -> np.ndarray | float:
    return (angle + np.pi) % (2 * np.pi) - np.pi


# --------------------------------------------------------------------------------------
# Lines
# --------------------------------------------------------------------------------------
def test_a_line_from_curvature_matches_an_adaptive_integrator():
    knots = [(0.0, 0.0), (20.0, 0.05), (45.0, 0.05), (60.0, -0.02)]
    line = line_from_curvature(knots, (3.0, -2.0), 0.4)
    knot_s, knot_k = np.array(knots).T

    def slope(s, state):
        return [np.cos(state[2]), np.sin(state[2]), np.interp(s, knot_s, knot_k)]

    s = np.arange(0.0, 60.5, 1.0)
    exact = solve_ivp(slope, (0.0, 60.0), [3.0, -2.0, 0.4], t_eval=s, rtol=1e-10, atol=1e-10)
    xy, heading, curvature = line.at(s)
    np.testing.assert_allclose(xy, exact.y[:2].T, atol=2e-4)
    np.testing.assert_allclose(heading, exact.y[2], atol=1e-5)
    np.testing.assert_allclose(curvature, np.interp(s, knot_s, knot_k), atol=1e-9)


def test_an_offset_line_is_parallel_and_a_reversed_one_runs_back():
    line = line_from_curvature([(0.0, 0.02), (50.0, 0.02)])
    outer = line.offset(-5.0)  # a left bend of radius 50 is 55 m wide on its right
    assert outer.length_m == pytest.approx(50.0 * 55.0 / 50.0, rel=1e-6)
    np.testing.assert_allclose(outer.curvature, 1.0 / 55.0)
    back = outer.reverse()
    assert back.length_m == pytest.approx(outer.length_m)
    xy, heading, curvature = back.at([0.0, 10.0])
    there, towards, _ = outer.at([outer.length_m, outer.length_m - 10.0])
    np.testing.assert_allclose(xy, there, atol=1e-9)
    np.testing.assert_allclose(np.cos(heading), -np.cos(towards))
    np.testing.assert_allclose(curvature, -1.0 / 55.0)


def test_heights_follow_a_line_through_offset_and_reverse():
    flat = line_from_curvature([(0.0, 0.0), (100.0, 0.0)])
    assert (flat.elevation_at([-3.0, 50.0, 120.0]) == 0.0).all()
    hill = dataclasses.replace(flat, z_m=0.05 * flat.s_m)
    np.testing.assert_allclose(hill.elevation_at([-3.0, 50.0, 120.0]), [0.0, 2.5, 5.0])
    np.testing.assert_allclose(hill.offset(3.5).elevation_at([20.0]), [1.0])
    np.testing.assert_allclose(hill.reverse().elevation_at([20.0]), [4.0])


# --------------------------------------------------------------------------------------
# The shapes of procedural roads
# --------------------------------------------------------------------------------------
def test_a_straight_road_starts_at_the_origin_along_x_with_lanes_to_the_left():
    road = build_road_map(STRAIGHT)
    assert road.names == ("lane0", "lane1", "lane2", "oncoming0", "oncoming1")
    for i in range(3):
        own = rows(road, f"lane{i}")
        assert len(own) == 323  # 0 to 320, and two more
        s = np.arange(len(own))
        np.testing.assert_allclose(own[:, :2], np.stack([s, np.full(len(s), 3.5 * i)], -1))
    # Oncoming lanes start at the far end; 0 is next to the divider (left of lane 2).
    np.testing.assert_allclose(rows(road, "oncoming0")[0, :2], [320.0, 10.5], atol=1e-9)
    np.testing.assert_allclose(rows(road, "oncoming1")[20, :2], [300.0, 14.0], atol=1e-9)
    np.testing.assert_allclose(np.abs(rows(road, "oncoming0")[:, 2]), np.pi)
    lanes = road.lanes
    assert lanes["left_lanes"].tolist() == [2, 1, 0, 0, 1]
    assert lanes["right_lanes"].tolist() == [0, 1, 2, 1, 0]
    assert lanes["left"].tolist() == [1, 2, -1, -1, 3]
    assert lanes["right"].tolist() == [-1, 0, 1, 4, -1]
    assert np.isinf(lanes["stop_s"]).all() and (lanes["signal_group"] == -1).all()
    assert (lanes["speed_limit"] == 14.0).all() and (lanes["kind"] == DRIVING).all()
    assert not lanes["gives_way"].any() and np.isneginf(lanes["merge_s"]).all()


@pytest.mark.parametrize(("spec", "radius"), [(CURVE, 120.0), (RIGHT_CURVE, -80.0)])
def test_a_curve_is_a_constant_arc_after_a_straight_lead_in(spec, radius):
    road = build_road_map(spec)
    s = np.arange(30, int(spec.length_m) + 1)
    angle = (s - 30.0) / radius
    own = rows(road, "lane0")[s]
    x = 30.0 + radius * np.sin(angle)
    y = radius * (1.0 - np.cos(angle))
    np.testing.assert_allclose(own[:, :2], np.stack([x, y], -1), atol=2e-3)
    np.testing.assert_allclose(own[:, 2], angle, atol=2e-4)
    np.testing.assert_allclose(own[2:-1, 3], 1.0 / radius)
    # Lane 1 has the same centre; it lies on the left, so a left bend is tighter there.
    left = rows(road, "lane1")
    np.testing.assert_allclose(left[40, 3], 1.0 / (radius - 3.5))
    away = np.hypot(*(left[40:150, :2] - [30.0, radius]).T)
    np.testing.assert_allclose(away, abs(radius - 3.5), atol=2e-3)


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_samples_are_one_metre_apart_and_headings_follow_them(spec):
    road = build_road_map(spec)
    for path in range(len(road.names)):
        own = road.path_samples(path)
        steps = np.diff(own[:, :2], axis=0)
        chord = np.hypot(steps[:, 0], steps[:, 1])
        np.testing.assert_allclose(chord, 1.0, atol=2e-3)  # a chord of a 1 m arc, R >= 7 m
        middle = 0.5 * (own[1:, 2] + own[:-1, 2])
        assert np.abs(wrapped(np.arctan2(steps[:, 1], steps[:, 0]) - middle)).max() < 5e-3
        bend = np.diff(own[:, 2])
        assert np.abs(bend).max() < 0.15  # unwrapped, never jumps
        assert np.abs(bend - 0.5 * (own[1:, 3] + own[:-1, 3])).max() < 0.02
        np.testing.assert_allclose(own[:, 4:6], np.stack([np.cos(own[:, 2]), np.sin(own[:, 2])], 1))
        # Two samples beyond the end, straight on.
        length = road.lanes["length_m"][path]
        assert len(own) == np.ceil(length) + 3
        assert (own[-2:, 3] == 0.0).all()
        np.testing.assert_allclose(steps[-1], own[-1, 4:6], atol=1e-9)


def test_junction_paths_connect_the_arms_with_realistic_turns():
    road = build_road_map(JUNCTION)
    assert road.names == (
        "south_north", "south_west", "south_east", "north_south", "north_east", "north_west",
        "west_east", "west_north", "west_south", "east_west", "east_south", "east_north",
    )  # fmt: skip
    ways = {"south": (0, -1), "north": (0, 1), "west": (-1, 0), "east": (1, 0)}
    for name, lane in zip(road.names, road.lanes, strict=True):
        own = rows(road, name)
        origin, destination = (np.array(ways[a]) for a in name.split("_"))
        end = int(lane["length_m"])
        # Right-hand traffic: 1.75 m to the right of the travel direction on both arms.
        for n, travel in ((0, -origin), (end, destination)):
            right = np.array([travel[1], -travel[0]])
            assert own[n, :2] @ right == pytest.approx(1.75, abs=5e-3)
        assert own[0, :2] @ origin > 120.0 and own[end, :2] @ destination > 120.0
        tightest = np.abs(own[:, 3]).max()
        turn = round(float(own[-1, 2] - own[0, 2]) / (np.pi / 2))
        low, high = {0: (0.0, 1e-9), 1: (1 / 12.5, 1 / 9.5), -1: (1 / 9.0, 1 / 6.0)}[turn]
        assert low <= tightest <= high
        assert lane["signal_group"] == (0 if name.startswith(("south", "north")) else 1)
        # The stop line lies before the turns begin.
        assert (np.abs(own[:119, 3]) < 1e-9).all() and lane["stop_s"] == 119.0
        assert lane["stop_kind"] == STOP_AT_SIGNAL


def test_left_turns_give_way_to_oncoming_traffic_that_does_not_turn_left():
    road = build_road_map(JUNCTION)
    who = {road.names[p] + " to " + road.names[q] for p, q in road.pair_paths[road.pairs["yields"]]}
    assert who == {
        "south_west to north_south", "south_west to north_west",
        "north_east to south_north", "north_east to south_east",
        "west_north to east_west", "west_north to east_north",
        "east_south to west_east", "east_south to west_south",
    }  # fmt: skip
    turns = {road.names[p] for p in np.flatnonzero(road.lanes["gives_way"])}
    assert turns == {"south_west", "north_east", "west_north", "east_south"}
    # The first places less than 1.5 m apart, found by brute force on the samples.
    ours, theirs = rows(road, "south_west"), rows(road, "north_south")
    away, nearest = cKDTree(ours[:, :2]).query(theirs[:, :2])
    first = int(np.argmax(away < 1.5))
    s_q = pair_fact(road, "south_west", "north_south", "conflict_s_q")
    assert abs(s_q - first) <= 1.0
    s_p = pair_fact(road, "south_west", "north_south", "conflict_s_p")
    assert s_p == pytest.approx(nearest[int(s_q)], abs=1.0)


def test_the_ramp_joins_lane_0_and_stays_on_it():
    road = build_road_map(MERGE)
    d = table(road, "lane0", "ramp")[:, 1]
    assert d[0] < -6.0
    assert np.allclose(d[125:160], -3.5, atol=0.05)
    assert np.allclose(d[225:320], 0.0, atol=1e-3)
    steepest = np.abs(np.diff(d[120:230])).max()
    assert steepest < 2.0 * 3.5 / 60.0  # a taper of 60 m
    assert np.abs(rows(road, "ramp")[:, 3]).max() < 1 / 80.0
    merge_s = road.lanes["merge_s"][road.index["ramp"]]
    assert merge_s == np.argmax(np.abs(d) < 0.3)
    assert np.isneginf(road.lanes["merge_s"][:2]).all()


def test_bend_speeds_brake_for_what_follows():
    road = build_road_map(RoadSpec("curve", radius_m=40.0, length_m=120.0))
    lane = road.lanes[road.index["lane0"]]
    speed = road.bend[lane["first"] : lane["first"] + lane["count"]]
    slow = np.sqrt(2.5 * 40.0)  # 2.5 m/s2 sideways
    np.testing.assert_allclose(speed[31:119], slow)
    # The bend begins at 30 m; 1.5 m/s2 of braking before it.
    s = np.arange(0, 30)
    np.testing.assert_allclose(speed[s], np.sqrt(slow**2 + 2 * 1.5 * (30 - s)), rtol=0.02)


# --------------------------------------------------------------------------------------
# Tables and rasters
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_tables_agree_with_shapely_projection(spec):
    road = build_road_map(spec)
    rng = np.random.default_rng(5)
    count = len(road.names)
    own = [road.path_samples(p) for p in range(count)]
    length = road.lanes["length_m"]
    lines = [LineString(own[p][: int(np.ceil(length[p])) + 1, :2]) for p in range(count)]
    tables = {
        (p, q): table(road, road.names[p], road.names[q]) for p, q in np.ndindex(count, count)
    }
    checked = 0
    for _ in range(400):
        p, q = rng.integers(count), rng.integers(count)
        n = rng.integers(len(own[q]))
        point = Point(own[q][n, :2])
        s, d = lines[p].project(point), lines[p].distance(point)
        found_s, found_d, found_turn = tables[p, q][n]
        if found_d >= FAR_M:
            assert s < 0.02 or s > length[p] - 0.02 or d > 29.9
            continue
        checked += 1
        assert abs(found_d) == pytest.approx(d, abs=0.03)
        foot = own[p][int(np.clip(round(found_s), 0, len(own[p]) - 1)), :2]
        assert np.hypot(foot[0] - point.x, foot[1] - point.y) <= d + 0.8
        turn = own[q][n, 2] - np.interp(found_s, np.arange(len(own[p])), own[p][:, 2])
        assert abs(wrapped(found_turn - turn)) < 0.02
    assert checked > 80


def test_pairs_know_what_keeps_apart_and_what_crosses():
    road = build_road_map(STRAIGHT)
    assert pair_fact(road, "lane0", "lane2", "apart_m") == pytest.approx(7.0)
    assert pair_fact(road, "lane2", "oncoming0", "apart_m") == pytest.approx(3.5)
    assert np.isinf(road.pairs["cross_s"]).all()
    road = build_road_map(JUNCTION)
    assert pair_fact(road, "south_north", "south_west", "apart_m") == 0.0
    # South to north runs at x = 1.75, west to east at y = -1.75; the box is 10.75 m.
    assert pair_fact(road, "south_north", "west_east", "cross_s") == pytest.approx(129.0, abs=0.3)
    assert pair_fact(road, "west_east", "south_north", "cross_s") == pytest.approx(132.5, abs=0.3)
    assert np.isinf(pair_fact(road, "south_north", "south_west", "cross_s"))


def sdf_at(road: RoadMap, sdf: np.ndarray, x: float, y: float) -> float:
    """The raster at a multiple of 0.25 m; nan where there is no tile."""
    col, row = round((x - road.origin_xy[0]) * 4), round((y - road.origin_xy[1]) * 4)
    tile = road.tiles[row // 128, col // 128]
    return 0.001 * sdf[tile, row % 128, col % 128] if tile >= 0 else np.nan


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_the_raster_agrees_with_shapely(spec):
    road = build_road_map(spec)
    exact = unary_union([Polygon(s) for s in road.surfaces])
    # Pixels of an eighth of a metre close the tip of the wedge between a ramp and its road.
    closed = exact.buffer(0.13, join_style="mitre").buffer(-0.13, join_style="mitre")
    rng = np.random.default_rng(7)
    rows, cols = road.tiles.shape
    sdf, _ = road.rasters.unpack()
    worst = worst_near = 0.0
    seen = 0
    for _ in range(1500):
        x = road.origin_xy[0] + 0.25 * rng.integers(cols * 128)
        y = road.origin_xy[1] + 0.25 * rng.integers(rows * 128)
        point = Point(x, y)
        got = sdf_at(road, sdf, x, y)
        if np.isnan(got):
            assert exact.distance(point) > 8.0
            continue
        seen += 1
        true = [
            area.boundary.distance(point) * (1.0 if area.contains(point) else -1.0)
            for area in (exact, closed)
        ]
        low, high = np.clip([min(true), max(true)], -8.0, 8.0)
        error = max(low - got, got - high)
        worst = max(worst, error)
        worst_near = max(worst_near, error if abs(true[0]) < 1.0 else 0.0)
    assert seen > 300
    assert worst < 0.13 and worst_near < 0.1


def test_neighbouring_tiles_agree_on_the_cells_they_share():
    road = build_road_map(CURVE)
    sdf, _ = road.rasters.unpack()
    pairs = 0
    for row, col in np.argwhere(road.tiles >= 0):
        tile = sdf[road.tiles[row, col]]
        if col + 1 < road.tiles.shape[1] and road.tiles[row, col + 1] >= 0:
            assert np.array_equal(tile[:, 128], sdf[road.tiles[row, col + 1]][:, 0])
            pairs += 1
        if row + 1 < road.tiles.shape[0] and road.tiles[row + 1, col] >= 0:
            assert np.array_equal(tile[128], sdf[road.tiles[row + 1, col]][0])
            pairs += 1
    assert pairs > 10


@pytest.mark.parametrize("most_pixels", [1 << 26, 1], ids=["at once", "in parts"])
def test_a_slanted_area_is_right_whether_painted_at_once_or_in_parts(most_pixels, monkeypatch):
    monkeypatch.setattr("sim.roads.raster._MOST_PIXELS", most_pixels)
    corners = np.array([[0.0, 0.0], [90.0, 12.0], [70.0, 110.0], [-15.0, 80.0]])
    area = rasterise([corners])
    shape = Polygon(corners)
    rng = np.random.default_rng(2)
    for _ in range(300):
        row, col = rng.integers(4, size=2)
        r, c = rng.integers(129, size=2)
        x = area.origin_xy[0] + 32.0 * col + 0.25 * c
        y = area.origin_xy[1] + 32.0 * row + 0.25 * r
        true = shape.boundary.distance(Point(x, y)) * (1 if shape.contains(Point(x, y)) else -1)
        got = 0.001 * area.sdf[area.tiles[row, col], r, c]
        assert got == pytest.approx(np.clip(true, -8.0, 8.0), abs=0.15)


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_every_lane_centre_is_drivable(spec):
    road = build_road_map(spec)
    area = unary_union([Polygon(s) for s in road.surfaces]).buffer(-1.6)
    for path, name in enumerate(road.names):
        inside = road.path_samples(path)[: int(road.lanes["length_m"][path]) + 1, :2]
        assert area.contains(LineString(inside)), name


def test_the_nearest_sample_is_the_nearest_of_the_lanes_and_their_run_out():
    road = build_road_map(JUNCTION)
    points, index = [], []
    for lane in road.lanes:
        own = road.samples[lane["first"] : lane["first"] + lane["count"]]
        beyond = own[-1, :2] + np.arange(1, 29)[:, None] * own[-1, 4:6]
        points += [own[:, :2], beyond]
        index += [lane["first"] + np.arange(len(own)), np.full(28, lane["first"] + len(own) - 1)]
    tree, index = cKDTree(np.concatenate(points)), np.concatenate(index)
    rng = np.random.default_rng(3)
    shown = np.argwhere(road.tiles >= 0)
    _, nearest = road.rasters.unpack()
    for row, col in shown[rng.integers(len(shown), size=40)]:
        r, c = rng.integers(64, size=2)
        where = np.array(road.origin_xy) + 32.0 * np.array([col, row]) + 0.5 * np.array([c, r])
        best, _ = tree.query(where)
        got = nearest[road.tiles[row, col], r, c]
        away = np.hypot(*(np.concatenate(points)[index == got] - where).T).min()
        assert away == pytest.approx(best, abs=1e-9)


def test_signal_heads_shine_at_the_traffic_of_their_group():
    road = build_road_map(JUNCTION)
    assert len(road.signal_heads) == 8
    for x, y, facing, group in road.signal_heads:
        north_south = abs(np.sin(facing)) > 0.9
        assert group == (0.0 if north_south else 1.0)
        # Heads stand to the right of the traffic that reads them.
        travel = facing + np.pi
        assert np.sin(travel) * x - np.cos(travel) * y > 4.0


def test_maps_are_cached_and_read_only():
    assert build_road_map(STRAIGHT) is build_road_map(RoadSpec(lanes=3, oncoming_lanes=2))
    with pytest.raises(ValueError, match="read-only"):
        build_road_map(STRAIGHT).samples[0, 0] = 1.0


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (RoadSpec(kind="spiral"), "kind"),  # type: ignore[arg-type]
        (RoadSpec(lanes=0), "lanes"),
        (RoadSpec("junction", lanes=2), "lanes"),
        (RoadSpec("curve", radius_m=5.0), "radius_m"),
        (RoadSpec("curve", radius_m=40.0, length_m=900.0), "length_m"),
        (RoadSpec("merge", length_m=100.0), "length_m"),
        (RoadSpec(lane_width_m=0.5), "lane_width_m"),
        (RoadSpec(length_m=10.0), "length_m"),
        (RoadSpec(length_m=float("nan")), "length_m"),
        (RoadSpec(shoulder_m=-1.0), "shoulder_m"),
        (RoadSpec(speed_limit_mps=0.0), "speed_limit_mps"),
    ],
)
def test_impossible_roads_are_refused_by_key(spec, key):
    with pytest.raises(RequestError, match=f"road: {key}: .*got"):
        build_road_map(spec)


# --------------------------------------------------------------------------------------
# Layouts of linked lanes
# --------------------------------------------------------------------------------------
def straight_line(start: tuple[float, float], heading: float, length_m: float) -> Line:
    return line_from_curvature([(0.0, 0.0), (length_m, 0.0)], start, heading)


def slab(low: tuple[float, float], high: tuple[float, float]) -> np.ndarray:
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def layout(*lanes: Lane) -> Layout:
    points = np.concatenate([lane.line.xy for lane in lanes])
    return Layout(list(lanes), [slab(tuple(points.min(0) - 5.0), tuple(points.max(0) + 5.0))])


def test_links_become_mutual_and_lanes_are_counted():
    lanes = [Lane(f"l{i}", straight_line((0.0, 3.5 * i), 0.0, 50.0)) for i in range(3)]
    lanes[0].left, lanes[2].right = "l1", "l1"
    parking = Lane("p", straight_line((0.0, -2.5), 0.0, 50.0), kind="parking", left="l0")
    road = map_of(layout(*lanes, parking), RoadSpec())
    assert road.lanes["left"].tolist() == [1, 2, -1, 0]
    assert road.lanes["right"].tolist() == [3, 0, 1, -1]
    assert road.lanes["left_lanes"][:3].tolist() == [2, 1, 0]
    assert road.lanes["right_lanes"][:3].tolist() == [0, 1, 2]  # the parking lane does not count
    assert road.lanes["kind"].tolist() == [DRIVING, DRIVING, DRIVING, PARKING]


def test_successors_are_kept_where_lanes_meet_and_noted_where_they_do_not():
    first = Lane("a", straight_line((0.0, 0.0), 0.0, 50.4), successors=("b", "c"))
    second = Lane("b", straight_line((50.4, 0.0), 0.0, 30.0), speed_limit_mps=5.0)
    apart = Lane("c", straight_line((53.0, 0.0), 0.0, 30.0))
    road = map_of(layout(first, second, apart), RoadSpec())
    assert road.successors_of(0) == (1,) and road.successors_of(1) == ()
    assert road.lanes["predecessor_count"].tolist() == [0, 1, 0]
    assert road.lanes["speed_limit"].tolist() == [14.0, 5.0, 14.0]
    assert road.skipped == {"link between lanes that do not meet": 1}


def test_straight_on_takes_the_gentlest_way_and_stops_at_a_loop():
    ahead = Lane("ahead", straight_line((40.0, 0.0), 0.0, 40.0), successors=())
    bend = line_from_curvature([(0.0, 0.05), (30.0, 0.05)], (40.0, 0.0), 0.0)
    start = Lane("start", straight_line((0.0, 0.0), 0.0, 40.0), successors=("bend", "ahead"))
    road = map_of(layout(start, Lane("bend", bend), ahead), RoadSpec())
    assert road.straight_on("start", 500.0) == ("start", "ahead")
    assert road.straight_on("start", 40.0) == ("start",)
    radius = 20.0
    half = line_from_curvature([(0.0, 1 / radius), (np.pi * radius, 1 / radius)])
    other = line_from_curvature(
        [(0.0, 1 / radius), (np.pi * radius, 1 / radius)], (0.0, 2 * radius), np.pi
    )
    ring = layout(Lane("n", half, successors=("s",)), Lane("s", other, successors=("n",)))
    assert map_of(ring, RoadSpec()).straight_on("n", 1e4) == ("n", "s")


def test_bend_speeds_look_into_the_next_lane():
    radius = 25.0
    bend = line_from_curvature([(0.0, 1 / radius), (30.0, 1 / radius)], (50.4, 0.0), 0.0)
    first = Lane("a", straight_line((0.0, 0.0), 0.0, 50.4), successors=("b",))
    road = map_of(layout(first, Lane("b", bend)), RoadSpec())
    slow = np.sqrt(2.5 * radius)
    n = np.arange(51)
    np.testing.assert_allclose(road.bend[n], np.sqrt(slow**2 + 2 * 1.5 * (50.4 - n)))


def test_conflicts_are_where_lines_meet_not_where_they_part():
    """From one approach, a goes straight and b turns left; c comes from the right and d joins a."""
    a = Lane("a", straight_line((0.0, 0.0), 0.0, 100.0))
    turn = [(0.0, 0.0), (40.0, 0.0), (45.0, 0.08), (60.0, 0.08), (65.0, 0.0), (90.0, 0.0)]
    b = Lane("b", line_from_curvature(turn), yields_to=("a",))
    c = Lane("c", straight_line((70.0, -40.0), 0.5 * np.pi, 80.0), yields_to=("a",))
    x = np.linspace(0.0, 100.0, 2001)
    u = np.clip(x / 80.0, 0.0, 1.0)
    y = -12.0 * (1 - u) ** 2 * (1 + 2 * u)
    dy = 12.0 * 6 * u * (1 - u) / 80.0
    ddy = np.where(x < 80.0, 12.0 * 6 * (1 - 2 * u) / 80.0**2, 0.0)
    d = Lane("d", line_from_graph(x, y, dy, ddy), yields_to=("a",), joins="a")
    road = map_of(layout(a, b, c, d), RoadSpec())
    assert road.lanes["gives_way"].tolist() == [False, False, True, True]
    assert pair_fact(road, "b", "a", "yields") == 0.0
    # c crosses at x = 70, 40 m from its start; the lines are 1.5 m apart 1.5 m before.
    assert pair_fact(road, "c", "a", "conflict_s_q") == pytest.approx(69.0)
    assert pair_fact(road, "c", "a", "conflict_s_p") == pytest.approx(40.0, abs=1e-3)
    assert pair_fact(road, "c", "a", "cross_s") == pytest.approx(40.0, abs=1e-3)
    # y(u) = -1.5 where (1 - u)^2 (1 + 2 u) = 1/8.
    roots = np.roots([2.0, -3.0, 0.0, 1.0 - 0.125])
    meet = 80.0 * float(next(r.real for r in roots if 0 < r.real < 1))
    assert pair_fact(road, "d", "a", "conflict_s_q") == pytest.approx(np.ceil(meet), abs=1.0)
    joined = road.lanes["merge_s"][3]
    assert np.interp(joined, d.line.s_m, y) == pytest.approx(-0.3, abs=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "b"}, r"lane b: expected one of this name, got two"),
        ({"left": "x"}, r"lane a: left: expected a lane's name, got 'x'"),
        ({"successors": ("x",)}, r"lane a: successors: expected a lane's name, got 'x'"),
        ({"yields_to": ("x",)}, r"lane a: yields_to: expected a lane's name"),
        ({"joins": "x"}, r"lane a: joins: expected a lane's name"),
        ({"left": "c"}, r"lane b: left: expected a lane with nothing else on its right, got c"),
    ],
)
def test_contradicting_layouts_are_refused(change, message):
    lanes = [Lane(n, straight_line((0.0, 3.5 * i), 0.0, 50.0)) for i, n in enumerate("abc")]
    lanes[1].left = "c"
    lanes[0] = dataclasses.replace(lanes[0], **change)
    with pytest.raises(RequestError, match=message):
        layout(*lanes).link()


def test_empty_layouts_are_refused():
    point = Line(np.zeros(2), np.zeros((2, 2)), np.zeros(2), np.zeros(2))
    with pytest.raises(RequestError, match=r"road: lane a: line: expected .* more than 0 m"):
        Layout([Lane("a", point)]).link()
    with pytest.raises(RequestError, match="road: lanes: expected at least one lane, got none"):
        map_of(Layout(), RoadSpec())
    lane = Lane("a", straight_line((0.0, 0.0), 0.0, 50.0))
    with pytest.raises(RequestError, match="road: surfaces: expected a drivable area, got none"):
        map_of(Layout([lane]), RoadSpec())
