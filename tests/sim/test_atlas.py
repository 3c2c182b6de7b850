"""Batched map look-ups: inverses of each other, equal to shapely, independent of the batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon
from shapely.ops import unary_union

from alpamayo.types import RequestError, RoadSpec
from sim.roads import MapAtlas
from sim.roads.atlas import shared_roads

SPECS = [
    RoadSpec(lanes=2, oncoming_lanes=1),
    RoadSpec("curve", lanes=2, oncoming_lanes=1, radius_m=120.0, length_m=260.0),
    RoadSpec("curve", lanes=2, radius_m=-80.0, length_m=200.0),
    RoadSpec("junction", lanes=1, oncoming_lanes=1),
    RoadSpec("merge", lanes=2),
]
ATLAS = MapAtlas()
IDS = [ATLAS.add(spec) for spec in SPECS]


def length_m(map_id: int, path: int) -> float:
    return float(ATLAS.lane_record(map_id, path)["length_m"])


def draw(count: int, seed: int = 0, reach: float = 2.5):
    rng = np.random.default_rng(seed)
    map_id = rng.integers(len(SPECS), size=count)
    path = np.array([rng.integers(len(ATLAS.map(i).names)) for i in map_id])
    length = np.array([length_m(i, p) for i, p in zip(map_id, path, strict=True)])
    return (
        map_id,
        path,
        rng.uniform(0.5, 1.0, count) * (length - 1.0),
        rng.uniform(-reach, reach, count),
    )


def test_maps_are_numbered_once():
    assert list(range(len(SPECS))) == IDS
    assert [ATLAS.add(spec) for spec in SPECS] == IDS and len(ATLAS) == len(SPECS)
    assert ATLAS.map(3).spec == SPECS[3]
    assert ATLAS.path_index(3, "north_east") == 4
    with pytest.raises(RequestError, match=r"path: lane7: expected one of lane0"):
        ATLAS.path_index(0, "lane7")


def test_project_and_locate_invert_pose_everywhere():
    map_id, path, s, d = draw(2000)
    x, y, heading, _ = ATLAS.pose(map_id, path, s, d)
    hint = s + np.random.default_rng(1).uniform(-9.0, 9.0, len(s))
    for found_s, found_d in (
        ATLAS.project(map_id, path, x, y, hint),
        ATLAS.locate(map_id, path, x, y),
    ):
        np.testing.assert_allclose(found_s, s, atol=0.04)
        np.testing.assert_allclose(found_d, d, atol=0.01)
    x2, y2, _, _ = ATLAS.pose(map_id, path, s, d + 1.0)
    np.testing.assert_allclose(x2 - x, -np.sin(heading), atol=1e-9)
    np.testing.assert_allclose(y2 - y, np.cos(heading), atol=1e-9)


def test_pose_on_an_arc_matches_its_closed_form():
    s = np.linspace(40.0, 240.0, 333)
    x, y, heading, curvature = ATLAS.pose(1, 0, s, 0.0)
    angle = (s - 30.0) / 120.0
    np.testing.assert_allclose(x, 30.0 + 120.0 * np.sin(angle), atol=2e-3)
    np.testing.assert_allclose(y, 120.0 * (1.0 - np.cos(angle)), atol=2e-3)
    np.testing.assert_allclose(heading, angle, atol=2e-4)
    np.testing.assert_allclose(curvature, 1.0 / 120.0)


def test_paths_go_straight_on_beyond_their_ends():
    x, y, _, curvature = ATLAS.pose(
        np.array([0, 0]), np.array([0, 2]), np.array([-7.5, 400.0]), 1.0
    )
    np.testing.assert_allclose(x, [-7.5, 320.0 - 400.0], atol=1e-9)
    np.testing.assert_allclose(y, [1.0, 7.0 - 1.0], atol=1e-9)
    assert (curvature == 0.0).all()
    s, d = ATLAS.project(
        0, 0, np.array([-7.5, 402.0]), np.array([1.0, -2.0]), np.array([0.0, 400.0])
    )
    np.testing.assert_allclose(s, [-7.5, 402.0])
    np.testing.assert_allclose(d, [1.0, -2.0])


def test_project_on_a_straight_path_is_exact_even_beyond_its_window():
    s, _ = ATLAS.project(3, 0, 1.75, 0.0, np.array([130.0]))
    np.testing.assert_allclose(s, 130.75, atol=1e-6)
    s, _ = ATLAS.project(3, 0, 1.75, 0.0, np.array([60.0]))
    np.testing.assert_allclose(s, 130.75, atol=1e-6)


def test_between_agrees_with_going_through_the_world():
    map_id, q, s_q, d_q = draw(1500, seed=3)
    rng = np.random.default_rng(4)
    p = np.array([rng.integers(len(ATLAS.map(i).names)) for i in map_id])
    s_p, d_p, turn = ATLAS.between(map_id, p, q, s_q, d_q)
    x, y, heading_q, _ = ATLAS.pose(map_id, q, s_q, d_q)
    true_s, true_d = ATLAS.locate(map_id, p, x, y)
    beside = np.abs(d_p) < 25.0
    curved = np.abs(ATLAS.pose(map_id, p, s_p, 0.0)[3]) > 1e-3
    plain = beside & ~curved & (np.abs(true_d) < 25.0)
    assert plain.sum() > 300
    # Exact for straight p except where q itself bends between samples.
    np.testing.assert_allclose(s_p[plain], true_s[plain], atol=0.15)
    np.testing.assert_allclose(d_p[plain], true_d[plain], atol=0.15)
    heading_p = ATLAS.pose(map_id, p, s_p, 0.0)[2]
    wrapped = (turn - (heading_q - heading_p) + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(wrapped[plain]).max() < 0.05


def test_between_of_oncoming_lanes_mirrors_the_offset():
    s, d, turn = ATLAS.between(0, 0, 2, np.array([20.25, 100.0]), np.array([0.5, -1.0]))
    np.testing.assert_allclose(s, [299.75, 220.0], atol=1e-4)
    np.testing.assert_allclose(d, [7.0 - 0.5, 7.0 + 1.0], atol=1e-4)
    np.testing.assert_allclose(np.abs(turn), np.pi, atol=1e-6)


def test_between_says_far_for_places_not_beside_the_path():
    # 100 m down the west arm is not beside the south-north path.
    _, d, _ = ATLAS.between(
        3, 0, ATLAS.path_index(3, "west_east"), np.array([20.0]), np.array([0.0])
    )
    assert d[0] > 900.0


def test_clearance_agrees_with_shapely_inside_and_out():
    rng = np.random.default_rng(9)
    for i, spec in enumerate(SPECS):
        area = unary_union([Polygon(s) for s in ATLAS.map(i).surfaces])
        path = rng.integers(len(ATLAS.map(i).names), size=150)
        x, y, _, _ = ATLAS.pose(i, path, rng.uniform(0.0, 200.0, 150), rng.uniform(-9.0, 9.0, 150))
        got = ATLAS.clearance(i, x, y)
        for k in range(150):
            point = Point(x[k], y[k])
            true = area.boundary.distance(point) * (1.0 if area.contains(point) else -1.0)
            # Bilinear interpolation cuts the ridge in the middle of the road.
            assert got[k] == pytest.approx(true, abs=0.125 if abs(true) < 2.0 else 0.2), spec.kind


def test_clearance_is_negative_and_falling_beyond_the_raster():
    x = np.array([-60.0, -200.0, 1000.0])
    value = ATLAS.clearance(0, x, np.zeros(3))
    assert (value < -5.0).all()
    assert value[1] == pytest.approx(value[0] - 140.0, abs=0.2)


def test_far_off_the_road_clearance_is_at_most_minus_eight_metres_and_never_too_far():
    rng = np.random.default_rng(6)
    area = unary_union([Polygon(s) for s in ATLAS.map(3).surfaces])
    x, y = rng.uniform(-160.0, 160.0, (2, 800))
    got = ATLAS.clearance(3, x, y)
    checked = 0
    for k in range(len(x)):
        true = -area.distance(Point(x[k], y[k]))
        if true < -8.2:
            checked += 1
            assert true - 0.2 <= got[k] <= -7.9
    assert checked > 400


def test_nearest_lane_matches_the_nearest_of_all_samples():
    map_id, path, s, d = draw(600, seed=11, reach=4.0)
    x, y, _, _ = ATLAS.pose(map_id, path, s, d)
    away, heading = ATLAS.nearest_lane(map_id, x, y)
    for k in range(len(x)):
        samples = ATLAS.map(map_id[k]).samples
        distance = np.hypot(samples[:, 0] - x[k], samples[:, 1] - y[k])
        best = distance.min()
        # Samples are 1 m apart, and cell centres up to 0.36 m off: where lanes tie either is right.
        assert np.sqrt(max(best**2 - 0.27, 0.0)) - 0.05 <= away[k] <= best + 0.72
        turn = samples[distance < best + 1.0, 2] - heading[k]
        assert np.abs((turn + np.pi) % (2 * np.pi) - np.pi).min() < 0.15
    away, heading = ATLAS.nearest_lane(0, np.array([50.3, 50.3]), np.array([0.4, 6.1]))
    np.testing.assert_allclose(away, [0.4, 0.9], atol=1e-9)
    np.testing.assert_allclose(np.cos(heading), [1.0, -1.0])


def test_the_lane_at_a_place_and_how_far_along_it():
    x, y, _, _ = ATLAS.pose(0, np.array([0, 1, 2]), np.array([20.3, 100.0, 50.7]), 0.4)
    path, s = ATLAS.lane_at(0, x, y)
    assert path.tolist() == [0, 1, 2]
    np.testing.assert_allclose(s, [20.3, 100.0, 50.7], atol=1e-9)
    # 20 m past its last sample a lane still counts as going straight on; 340 m past it does not.
    away, _ = ATLAS.nearest_lane(0, np.array([342.0, 662.0]), 0.5)
    np.testing.assert_allclose(away, [0.5, np.hypot(0.5, 300.0)])


def test_lanes_beside_and_bend_speeds_by_place():
    left, right = ATLAS.lanes_beside(0, np.array([0, 1, 2]), 10.0)
    assert left.tolist() == [1, 0, 0] and right.tolist() == [0, 1, 0]
    np.testing.assert_allclose(ATLAS.bend_speed(2, 0, np.array([60.0, 60.9])), np.sqrt(2.5 * 80.0))
    assert ATLAS.elevation(0, 0, np.array([10.0, 400.0])).tolist() == [0.0, 0.0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_answers_do_not_depend_on_the_batch(seed, count):
    map_id, path, s, d = draw(count, seed)
    x, y, heading, curvature = ATLAS.pose(map_id, path, s, d)
    row = seed % count
    one = ATLAS.pose(map_id[[row]], path[[row]], s[[row]], d[[row]])
    many = (x, y, heading, curvature)
    assert all(a[0] == b[row] for a, b in zip(one, many, strict=True))
    place = (map_id, path, x, y, s)
    for look_up, arguments in (
        (ATLAS.project, place),
        (ATLAS.locate, place[:4]),
        (ATLAS.clearance, (map_id, x, y)),
        (ATLAS.nearest_lane, (map_id, x, y)),
        (ATLAS.between, (map_id, path, np.zeros_like(path), s, d)),
    ):
        whole = look_up(*arguments)
        single = look_up(*(a[[row]] for a in arguments))
        assert all(
            a[0] == b[row] for a, b in zip(np.atleast_2d(single), np.atleast_2d(whole), strict=True)
        )


def test_look_ups_broadcast_over_leading_shapes():
    map_id = np.array([0, 3])
    s = np.linspace(10.0, 90.0, 5)
    x, _, _, _ = ATLAS.pose(map_id[:, None], 0, s, 0.0)
    assert x.shape == (2, 5)
    assert x[0] == pytest.approx(s)
    assert ATLAS.between(map_id[:, None], 0, 1, s, 0.0)[0].shape == (2, 5)
    assert ATLAS.clearance(map_id[:, None], x, 0.0).shape == (2, 5)
    assert ATLAS.project(map_id[:, None], 0, x, 0.0, s)[0].shape == (2, 5)
    assert ATLAS.clearance(0, 10.0, 0.0).shape == ()


class User:
    def __init__(self, *numbers: int) -> None:
        self.maps_in_use = np.array(numbers, dtype=np.int64)


def test_maps_in_use_keep_their_numbers_and_answers_when_others_are_forgotten():
    atlas = MapAtlas(most_maps=8)
    ids = [atlas.add(RoadSpec(length_m=60.0 + i)) for i in range(8)]
    user = User(ids[1])
    atlas.serve(user)
    before = atlas.clearance(ids[1], 30.0, 0.3), atlas.pose(ids[1], 1, 20.5, 0.2)
    full = atlas.nbytes
    atlas.make_room()
    assert len(atlas) == 8 and atlas.nbytes == full  # not yet
    assert atlas.add(RoadSpec(length_m=62.0)) == ids[2]  # asked for again: not among the oldest
    atlas.add(RoadSpec(length_m=68.0))
    atlas.make_room()
    assert len(atlas) == 4 and atlas.nbytes < 0.6 * full
    assert before == (atlas.clearance(ids[1], 30.0, 0.3), atlas.pose(ids[1], 1, 20.5, 0.2))
    assert [atlas.add(RoadSpec(length_m=60.0 + i)) for i in (1, 2, 7)] == [
        ids[k] for k in (1, 2, 7)
    ]
    assert atlas.add(RoadSpec(length_m=60.0)) == 0  # a number that has become free
    assert atlas.clearance(0, 59.0, 0.0) > 0.0 and len(atlas) == 5
    del user
    for i in range(8):
        atlas.add(RoadSpec(length_m=70.0 + i))
    atlas.make_room()
    assert {stored.spec.length_m for stored in atlas._maps.values()} == {74.0, 75.0, 76.0, 77.0}


def test_more_maps_in_use_than_allowed_stay_and_do_not_move_every_time():
    atlas = MapAtlas(most_maps=4)
    user = User(*(atlas.add(RoadSpec(length_m=60.0 + i)) for i in range(8)))
    atlas.serve(user)
    moved = []
    for i in range(16):
        atlas.add(RoadSpec(length_m=80.0 + i))
        arrays = atlas.arrays
        atlas.make_room()
        moved.append(atlas.arrays is not arrays)
        assert all(atlas.map(k).spec.length_m == 60.0 + k for k in range(8))
        assert len(atlas) <= 13
    assert sum(moved) == 4  # at first, and each time that there were more than 12


def test_a_forgotten_map_comes_back_as_it_was(monkeypatch):
    atlas, spec = MapAtlas(most_maps=2), RoadSpec("curve", length_m=80.0, radius_m=150.0)
    number = atlas.add(spec)
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-10.0, 90.0, 500), rng.uniform(-10.0, 40.0, 500)

    def answers(number: int) -> list[np.ndarray]:
        return [*atlas.nearest_lane(number, x, y), atlas.clearance(number, x, y)]

    before = answers(number)
    for i in range(2):
        atlas.add(RoadSpec(length_m=60.0 + i))
    atlas.make_room()
    assert len(atlas) == 1 and atlas.map(2).spec.length_m == 61.0
    monkeypatch.setattr("sim.roads.atlas.build_road_map", None)  # it need not be built again
    for a, b in zip(before, answers(atlas.add(spec)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_forgotten_maps_do_not_pile_up():
    atlas = MapAtlas(most_maps=2, most_packed_bytes=200_000)
    for i in range(30):
        atlas.add(RoadSpec(length_m=60.0 + i))
        atlas.make_room()
    kept = list(atlas._forgotten.values())
    assert 1 <= len(kept) < 20 and sum(stored.packed_bytes for stored in kept) <= 200_000


def test_a_map_answers_the_same_wherever_it_lies_in_the_arenas():
    alone = MapAtlas()
    alone.add(SPECS[3])
    rng = np.random.default_rng(8)
    path, other = rng.integers(12, size=(2, 300))
    s, d = rng.uniform(0.0, 250.0, 300), rng.uniform(-3.0, 3.0, 300)
    x, y, heading, curvature = ATLAS.pose(3, path, s, d)
    for mine, theirs in (
        ((x, y, heading, curvature), alone.pose(0, path, s, d)),
        (ATLAS.between(3, other, path, s, d), alone.between(0, other, path, s, d)),
        (ATLAS.project(3, path, x, y, s), alone.project(0, path, x, y, s)),
        (ATLAS.nearest_lane(3, x, y), alone.nearest_lane(0, x, y)),
        ((ATLAS.clearance(3, x, y),), (alone.clearance(0, x, y),)),
        ((ATLAS.bend_speed(3, path, s),), (alone.bend_speed(0, path, s),)),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_batches_share_an_atlas():
    assert shared_roads() is shared_roads()
