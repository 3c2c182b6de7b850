"""Road maps against closed forms and shapely."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

from alpamayo.types import RequestError, RoadSpec
from sim.roads import FAR_M, RoadMap, build_road_map

STRAIGHT = RoadSpec(lanes=3, oncoming_lanes=2)
CURVE = RoadSpec("curve", lanes=2, oncoming_lanes=1, radius_m=120.0, length_m=260.0)
RIGHT_CURVE = RoadSpec("curve", lanes=2, radius_m=-80.0, length_m=200.0)
JUNCTION = RoadSpec("junction", lanes=1, oncoming_lanes=1)
MERGE = RoadSpec("merge", lanes=2)
ALL = [STRAIGHT, CURVE, RIGHT_CURVE, JUNCTION, MERGE]
KINDS = [f"{s.kind}{s.radius_m:+.0f}" for s in ALL]


def index(road: RoadMap, name: str) -> int:
    return road.names.index(name)


def test_a_straight_road_starts_at_the_origin_along_x_with_lanes_to_the_left():
    road = build_road_map(STRAIGHT)
    assert road.names == ("lane0", "lane1", "lane2", "oncoming0", "oncoming1")
    s = np.arange(road.xy.shape[1])
    for i in range(3):
        np.testing.assert_allclose(
            road.xy[i], np.stack([s, np.full(len(s), 3.5 * i)], -1), atol=1e-9
        )
    # Oncoming lanes start at the far end; 0 is next to the divider (left of lane 2).
    np.testing.assert_allclose(road.xy[3, 0], [320.0, 10.5], atol=1e-9)
    np.testing.assert_allclose(road.xy[4, 20], [300.0, 14.0], atol=1e-9)
    np.testing.assert_allclose(np.abs(road.heading[3:]), np.pi)
    assert road.left_lanes.tolist() == [2, 1, 0, 0, 1]
    assert road.right_lanes.tolist() == [0, 1, 2, 1, 0]
    assert np.isinf(road.stop_s_m).all() and (road.signal_group == -1).all()


@pytest.mark.parametrize(("spec", "radius"), [(CURVE, 120.0), (RIGHT_CURVE, -80.0)])
def test_a_curve_is_a_constant_arc_after_a_straight_lead_in(spec, radius):
    road = build_road_map(spec)
    lane0 = index(road, "lane0")
    s = np.arange(30, int(spec.length_m) + 1)
    angle = (s - 30.0) / radius
    x = 30.0 + radius * np.sin(angle)
    y = radius * (1.0 - np.cos(angle))
    np.testing.assert_allclose(road.xy[lane0, s], np.stack([x, y], -1), atol=2e-3)
    np.testing.assert_allclose(road.heading[lane0, s], angle, atol=2e-4)
    np.testing.assert_allclose(road.curvature[lane0, 32 : int(spec.length_m)], 1.0 / radius)
    # Lane 1 has the same centre; it lies on the left, so a left bend is tighter there.
    lane1 = index(road, "lane1")
    np.testing.assert_allclose(road.curvature[lane1, 40], 1.0 / (radius - 3.5))
    away = np.hypot(*(road.xy[lane1, 40:150] - [30.0, radius]).T)
    np.testing.assert_allclose(away, abs(radius - 3.5), atol=2e-3)


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_samples_are_one_metre_apart_and_headings_follow_them(spec):
    road = build_road_map(spec)
    steps = np.diff(road.xy, axis=1)
    chord = np.hypot(steps[..., 0], steps[..., 1])
    np.testing.assert_allclose(chord, 1.0, atol=2e-3)  # a chord of a 1 m arc, R >= 7 m
    middle = 0.5 * (road.heading[:, 1:] + road.heading[:, :-1])
    direction = np.arctan2(steps[..., 1], steps[..., 0])
    wrapped = (direction - middle + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(wrapped).max() < 5e-3
    assert np.abs(np.diff(road.heading, axis=1)).max() < 0.15  # unwrapped, never jumps
    bend = np.diff(road.heading, axis=1)
    mean = 0.5 * (road.curvature[:, 1:] + road.curvature[:, :-1])
    assert np.abs(bend - mean).max() < 0.02


def test_junction_paths_connect_the_arms_with_realistic_turns():
    road = build_road_map(JUNCTION)
    assert road.names == (
        "south_north", "south_west", "south_east", "north_south", "north_east", "north_west",
        "west_east", "west_north", "west_south", "east_west", "east_south", "east_north",
    )  # fmt: skip
    ways = {"south": (0, -1), "north": (0, 1), "west": (-1, 0), "east": (1, 0)}
    for p, name in enumerate(road.names):
        origin, destination = (np.array(ways[a]) for a in name.split("_"))
        end = int(road.length_m[p])
        # Right-hand traffic: 1.75 m to the right of the travel direction on both arms.
        for n, travel in ((0, -origin), (end, destination)):
            right = np.array([travel[1], -travel[0]])
            assert road.xy[p, n] @ right == pytest.approx(1.75, abs=5e-3)
        assert road.xy[p, 0] @ origin > 120.0 and road.xy[p, end] @ destination > 120.0
        tightest = np.abs(road.curvature[p]).max()
        turn = round(float(road.heading[p, -1] - road.heading[p, 0]) / (np.pi / 2))
        low, high = {0: (0.0, 1e-9), 1: (1 / 12.5, 1 / 9.5), -1: (1 / 9.0, 1 / 6.0)}[turn]
        assert low <= tightest <= high
        assert road.signal_group[p] == (0 if name.startswith(("south", "north")) else 1)
    # The stop line lies before the turns begin.
    assert (np.abs(road.curvature[:, :119]) < 1e-9).all() and (road.stop_s_m == 119.0).all()


def test_the_ramp_joins_lane_0_and_stays_on_it():
    road = build_road_map(MERGE)
    ramp, lane0 = index(road, "ramp"), index(road, "lane0")
    d = road.table_d[lane0, ramp]
    assert d[0] < -6.0
    assert np.allclose(d[125:160], -3.5, atol=0.05)
    assert np.allclose(d[225:320], 0.0, atol=1e-3)
    steepest = np.abs(np.diff(d[120:230])).max()
    assert steepest < 2.0 * 3.5 / 60.0  # a taper of 60 m
    assert np.abs(road.curvature[ramp]).max() < 1 / 80.0


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_tables_agree_with_shapely_projection(spec):
    road = build_road_map(spec)
    rng = np.random.default_rng(5)
    paths, count = road.heading.shape
    lines = [LineString(road.xy[p, : int(np.ceil(road.length_m[p])) + 1]) for p in range(paths)]
    checked = 0
    for _ in range(400):
        p, q, n = rng.integers(paths), rng.integers(paths), rng.integers(count)
        point = Point(road.xy[q, n])
        s, d = lines[p].project(point), lines[p].distance(point)
        if road.table_d[p, q, n] >= FAR_M:
            ends = s < 0.02 or s > road.length_m[p] - 0.02
            assert ends or d > 29.9
            continue
        checked += 1
        assert abs(float(road.table_d[p, q, n])) == pytest.approx(d, abs=0.03)
        x, y = road.xy[p, :, 0], road.xy[p, :, 1]
        foot = int(np.clip(round(float(road.table_s[p, q, n])), 0, count - 1))
        assert np.hypot(x[foot] - point.x, y[foot] - point.y) <= d + 0.8
        turn = road.heading[q, n] - np.interp(
            road.table_s[p, q, n], np.arange(count), road.heading[p]
        )
        difference = float(road.table_h[p, q, n]) - turn
        assert abs((difference + np.pi) % (2 * np.pi) - np.pi) < 0.02
    assert checked > 80


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_the_raster_agrees_with_shapely(spec):
    road = build_road_map(spec)
    area = unary_union([Polygon(s) for s in road.surfaces])
    rng = np.random.default_rng(7)
    rows, cols = road.sdf.shape
    worst = worst_near = 0.0
    for _ in range(500):
        r, c = rng.integers(rows), rng.integers(cols)
        point = Point(road.origin_xy[0] + 0.25 * c, road.origin_xy[1] + 0.25 * r)
        true = area.boundary.distance(point) * (1.0 if area.contains(point) else -1.0)
        error = abs(true - float(road.sdf[r, c]))
        worst = max(worst, error)
        worst_near = max(worst_near, error if abs(true) < 1.0 else 0.0)
    assert worst < 0.13 and worst_near < 0.1


@pytest.mark.parametrize("spec", ALL, ids=KINDS)
def test_every_lane_centre_is_drivable(spec):
    road = build_road_map(spec)
    area = unary_union([Polygon(s) for s in road.surfaces]).buffer(-1.6)
    for p in range(len(road.names)):
        inside = LineString(road.xy[p, : int(road.length_m[p]) + 1])
        assert area.contains(inside), road.names[p]


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
        build_road_map(STRAIGHT).xy[0, 0, 0] = 1.0


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (RoadSpec(kind="roundabout"), "kind"),  # type: ignore[arg-type]
        (RoadSpec(lanes=0), "lanes"),
        (RoadSpec("junction", lanes=2), "lanes"),
        (RoadSpec("curve", radius_m=5.0), "radius_m"),
        (RoadSpec("curve", radius_m=40.0, length_m=900.0), "length_m"),
        (RoadSpec("merge", length_m=100.0), "length_m"),
        (RoadSpec(lane_width_m=0.5), "lane_width_m"),
        (RoadSpec(length_m=10.0), "length_m"),
        (RoadSpec(shoulder_m=-1.0), "shoulder_m"),
    ],
)
def test_impossible_roads_are_refused_by_key(spec, key):
    with pytest.raises(RequestError, match=f"road: {key}: .*got"):
        build_road_map(spec)
