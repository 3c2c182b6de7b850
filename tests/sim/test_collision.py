from __future__ import annotations

import numpy as np
import shapely
from shapely import affinity

from sim.collision import axis_separations, clearance, corners


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
