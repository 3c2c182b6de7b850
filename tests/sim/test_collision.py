from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity

from sim.collision import (
    axis_separations,
    clearance,
    corners,
    poses_between,
    touch_within,
    wrapped,
)


def random_boxes(rng: np.random.Generator, count: int, spread: float) -> np.ndarray:
    return np.stack(
        [
            rng.uniform(-spread, spread, count),
            rng.uniform(-spread, spread, count),
            rng.uniform(-7.0, 7.0, count),
            rng.uniform(0.3, 9.0, count),
            rng.uniform(0.3, 3.0, count),
        ],
        axis=-1,
    )


def polygon(box: np.ndarray) -> shapely.Polygon:
    x, y, heading, length, width = box
    flat = shapely.box(-length / 2, -width / 2, length / 2, width / 2)
    return affinity.translate(affinity.rotate(flat, heading, (0, 0), use_radians=True), x, y)


def test_overlap_and_clearance_agree_with_shapely_on_random_boxes() -> None:
    rng = np.random.default_rng(3)
    first, second = random_boxes(rng, 3000, 6.0), random_boxes(rng, 3000, 6.0)
    distance, separation = clearance(first, second)
    oracle = np.array([polygon(a).distance(polygon(b)) for a, b in zip(first, second, strict=True)])
    clear = np.abs(separation) > 1e-9
    assert ((separation > 0.0) == (oracle > 0.0))[clear].all()
    np.testing.assert_allclose(distance, oracle, atol=1e-9)
    assert 500 < (oracle > 0.0).sum() < 2500, "the draw must exercise both outcomes"


def test_separation_on_each_axis_is_the_gap_between_aligned_boxes() -> None:
    first = np.array([0.0, 0.0, 0.0, 4.0, 2.0])
    second = np.array([7.0, 1.0, np.pi / 2, 3.0, 1.0])  # turned: 1 m long along x, 3 m along y
    # along x: 7 - 2 - 0.5; along y: 1 - 1 - 1.5
    np.testing.assert_allclose(axis_separations(first, second), [4.5, -1.5, -1.5, 4.5], atol=1e-12)


def test_clearance_does_not_depend_on_the_order_of_the_boxes() -> None:
    rng = np.random.default_rng(4)
    first, second = random_boxes(rng, 200, 8.0), random_boxes(rng, 200, 8.0)
    np.testing.assert_allclose(clearance(first, second)[0], clearance(second, first)[0], atol=1e-12)


def test_corners_of_a_turned_box() -> None:
    x, y = corners(np.array(1.0), np.array(2.0), np.array(np.pi / 2), 4.0, 2.0)
    found = {(round(float(a), 9), round(float(b), 9)) for a, b in zip(x, y, strict=True)}
    assert found == {(0.0, 4.0), (2.0, 4.0), (0.0, 0.0), (2.0, 0.0)}


def moved(box: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    return np.concatenate([box[:3] + share * (end[:3] - box[:3]), box[3:]])


def sweep(first, first_end, second, second_end) -> tuple[int, float]:
    """(poses looked at, share of the tick at which the boxes were seen to touch or -1)."""
    turn = second_end[2] - first_end[2]
    shift = (second_end[:2] - second[:2]) - (first_end[:2] - first[:2])
    poses = poses_between(
        *shift, np.cos(first_end[2]), np.sin(first_end[2]), np.cos(turn), np.sin(turn),
        *first[3:], *second[3:],
    )  # fmt: skip
    touched = touch_within(
        poses, *first[:3], *first_end[:3], *first[3:], *second[:3], *second_end[:3], *second[3:]
    )
    return poses, touched


def random_motions(rng: np.random.Generator, count: int, way: float) -> tuple[np.ndarray, ...]:
    """Pairs of boxes and where they are after a tick in which each goes up to ``way``."""
    ends = []
    for boxes in (random_boxes(rng, count, 5.0), random_boxes(rng, count, 5.0)):
        end = boxes.copy()
        end[:, :2] += rng.uniform(-way, way, (count, 2))
        end[:, 2] += rng.uniform(-0.05, 0.05, count)
        ends += [boxes, end]
    return tuple(ends)


def oracle_overlap(first, first_end, second, second_end) -> np.ndarray:
    """Shares of the tick, densely sampled, at which shapely sees the boxes intersect."""
    return np.array(
        [
            share
            for share in np.linspace(0.0, 1.0, 151)
            if polygon(moved(first, first_end, share)).intersects(
                polygon(moved(second, second_end, share))
            )
        ]
    )


def width_along(box: np.ndarray, direction: np.ndarray) -> float:
    reached = np.asarray(polygon(box).exterior.coords) @ direction
    return float(reached.max() - reached.min())


def test_nothing_fast_passes_through_another() -> None:
    """Dense sampling finds nothing that the poses in between miss, but for brushing corners."""
    rng = np.random.default_rng(11)
    touches = misses = slow = 0
    for first, first_end, second, second_end in zip(*random_motions(rng, 300, 10.0), strict=True):
        if min(clearance(first, second)[0], clearance(first_end, second_end)[0]) <= 0.0:
            continue
        poses, touched = sweep(first, first_end, second, second_end)
        way = (second_end - second)[:2] - (first_end - first)[:2]
        length = float(np.hypot(*way))
        overlap = oracle_overlap(first, first_end, second, second_end)
        if poses == 0:
            slow += 1
            widths = [width_along(box, way / length) for box in (first_end, second_end)]
            assert length <= 0.5 * sum(widths) + 1e-9
        elif overlap.size == 0:
            misses += 1
            assert touched == -1.0
        elif np.ptp(overlap) * length > 0.5 * min(*first[3:], *second[3:]):
            touches += 1
            assert overlap.min() - 0.01 <= touched <= overlap.max() + 0.01
    assert min(touches, misses, slow) > 20, "the draw must exercise all outcomes"


def test_crossing_at_forty_metres_per_second_is_seen_at_the_moment_of_contact() -> None:
    # A forecast tick of 0.2 s: 8 m. The ego (4.8 x 2) passes right through a barrier 0.8 m long.
    ego, ego_end = np.array([0.0, 0, 0, 4.8, 2]), np.array([8.0, 0, 0, 4.8, 2])
    barrier = np.array([4.0, 0.0, 0.0, 0.8, 3.0])
    poses, touched = sweep(ego, ego_end, barrier, barrier)
    # front bumper at 2.4 reaches 3.6 after 1.2 m of 8; poses are at most 0.4 m apart
    assert poses == 19
    assert 1.2 / 8 <= touched <= (1.2 + 0.4) / 8
    _, back = sweep(ego_end, ego, barrier, barrier)
    assert 1.2 / 8 <= back <= (1.2 + 0.4) / 8


def test_slow_motion_needs_no_poses_in_between() -> None:
    ego, car = np.array([0.0, 0, 0, 4.8, 2]), np.array([9.0, 0, np.pi, 4.6, 1.9])
    # head-on they overlap along 9.4 m: up to 4.7 m a tick there is a pose on the way
    for way, expected in ((2.8, 0), (4.69, 0), (4.71, 4), (8.0, 8)):
        ego_end = ego + np.array([way, 0, 0, 0, 0])
        assert sweep(ego, ego_end, car, car)[0] == expected


def test_turning_boxes_are_followed_the_short_way_round() -> None:
    first = np.array([0.0, 0.0, np.pi - 0.01, 4.8, 2.0])
    first_end = np.array([-12.0, 0.0, -np.pi + 0.01, 4.8, 2.0])
    beside = np.array([-6.0, 2.0, 0.0, 1.0, 1.0])  # 0.5 m off if the heading stays near pi
    assert sweep(first, first_end, beside, beside)[1] == -1.0
    assert wrapped(3 * np.pi + 0.1) == pytest.approx(-np.pi + 0.1)
    assert wrapped(-0.3) == pytest.approx(-0.3)


@settings(deadline=None)  # the first call compiles
@given(box=st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(-7, 7)))
def test_moving_both_boxes_together_changes_nothing(box) -> None:
    ego, other = np.array([0.3, -0.2, 0.4, 4.8, 2.0]), np.array([5.0, 3.0, 1.0, 1.2, 0.7])
    c, s = np.cos(box[2]), np.sin(box[2])
    turned = [
        np.array(
            [box[0] + c * b[0] - s * b[1], box[1] + s * b[0] + c * b[1], b[2] + box[2], *b[3:]]
        )
        for b in (ego, other)
    ]
    here, there = clearance(ego, other), clearance(*turned)
    np.testing.assert_allclose(there, here, atol=1e-9)
