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


def sweep(first, first_end, second, second_end) -> float:
    """Share of the tick after which the boxes touch, or -1."""
    return touch_within(
        *first[:3], *first_end[:3], *first[3:], *second[:3], *second_end[:3], *second[3:]
    )


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
    """Shares of the tick, densely sampled, at which the boxes overlap (which agrees with shapely,
    see above)."""
    shares = np.linspace(0.0, 1.0, 301)
    poses = [
        np.concatenate(
            [box[:3] + shares[:, None] * (end - box)[:3], np.tile(box[3:], (301, 1))], axis=1
        )
        for box, end in ((first, first_end), (second, second_end))
    ]
    return shares[clearance(*poses)[1] <= 0.0]


def shrunk(box: np.ndarray, by: float) -> np.ndarray:
    return np.concatenate([box[:3], np.maximum(box[3:] - 2.0 * by, 0.01)])


def test_nothing_passes_through_another_not_even_a_corner() -> None:
    """Dense sampling against shapely: what overlaps between the ends of a tick by more than 4 cm on
    every side is seen, when it happens; what stays apart never is."""
    rng = np.random.default_rng(11)
    touches = misses = brief = 0
    for way in (1.5, 10.0):
        for boxes in zip(*random_motions(rng, 600, way), strict=True):
            first, first_end, second, second_end = boxes
            gap = min(clearance(first, second)[0], clearance(first_end, second_end)[0])
            if gap <= 0.0:
                continue
            touched = sweep(*boxes)
            if gap > 3.0 * way:
                assert touched == -1.0
                continue
            overlap = oracle_overlap(*boxes)
            deep = oracle_overlap(*(shrunk(box, 0.04) for box in boxes))
            if overlap.size == 0:
                # Between the samples of the oracle corners may touch, but not deeply.
                if touched >= 0.0:
                    at = [moved(a, b, touched) for a, b in (boxes[:2], boxes[2:])]
                    assert clearance(*at)[1] < 0.02
                misses += touched < 0.0
            elif deep.size:
                touches += 1
                brief += np.ptp(deep) < 0.1
                assert overlap.min() - 0.01 <= touched <= deep.min() + 0.01
    assert min(touches, misses) > 40 and brief > 5, "the draw must exercise all outcomes"


def test_crossing_at_forty_metres_per_second_is_seen_at_the_moment_of_contact() -> None:
    # A forecast tick of 0.2 s: 8 m. The ego (4.8 x 2) passes right through a barrier 0.8 m long.
    ego, ego_end = np.array([0.0, 0, 0, 4.8, 2]), np.array([8.0, 0, 0, 4.8, 2])
    barrier = np.array([4.0, 0.0, 0.0, 0.8, 3.0])
    # the front bumper at 2.4 reaches 3.6 after 1.2 m of 8; each side counts 2 cm less
    assert sweep(ego, ego_end, barrier, barrier) == pytest.approx((1.2 + 0.04) / 8)
    assert sweep(ego_end, ego, barrier, barrier) == pytest.approx((1.2 + 0.04) / 8)


def test_a_brush_of_corners_within_a_tick_is_seen() -> None:
    # The middle of a box of 1 m cuts the corner (2.9, 1.5) of the ego grown by half that box.
    ego, box = np.array([0.0, 0, 0, 4.8, 2]), np.array([3.1, 1.0, 0, 1, 1])
    end = np.array([2.4, 1.7, 0, 1, 1])
    assert min(clearance(ego, box)[0], clearance(ego, end)[0]) > 0.0
    # each side counts 2 cm less: x falls from 3.1 to 2.86 after 0.24 of 0.7 m
    assert sweep(ego, ego, box, end) == pytest.approx(0.24 / 0.7)
    # 0.4 m farther out it passes the corner by
    aside = np.array([0.0, 0.4, 0, 0, 0])
    assert sweep(ego, ego, box + aside, end + aside) == -1.0


def test_turning_boxes_are_followed_the_short_way_round() -> None:
    first = np.array([0.0, 0.0, np.pi - 0.01, 4.8, 2.0])
    first_end = np.array([-12.0, 0.0, -np.pi + 0.01, 4.8, 2.0])
    beside = np.array([-6.0, 2.0, 0.0, 1.0, 1.0])  # 0.5 m off if the heading stays near pi
    assert sweep(first, first_end, beside, beside) == -1.0
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
