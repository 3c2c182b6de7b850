"""Both ways to fill polygons against independent ones: OpenCV's fills and exact areas."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Polygon, box

from sim.sensors import crisp, smooth

HEIGHT, WIDTH = 24, 40
COLOR = 0x030507


def fixed(points):
    return np.rint(np.clip(points, -30000, 30000) * (1 << crisp.SHIFT)).astype(np.int64)


def star(rng, corners, center, radius, flat=1.0):
    """Corners in order of angle: simple, and convex if the radius is one number."""
    angle = np.sort(rng.uniform(0.0, 2.0 * np.pi, corners))
    around = np.stack([np.cos(angle), flat * np.sin(angle)], axis=-1)
    return np.asarray(center) + np.asarray(radius).reshape(-1, 1) * around


def opencv(fill):
    canvas = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    fill(canvas)
    return canvas[..., 0] > 0


@pytest.mark.parametrize("seed", range(4))
def test_convex_fills_are_opencvs(seed):
    rng = np.random.default_rng(seed)
    wrong = 0
    for _ in range(150):
        center = rng.uniform([-20, -15], [WIDTH + 20, HEIGHT + 15])
        radius, flat = 10 ** rng.uniform(0, 2.5), rng.uniform(0.02, 1)
        points = star(rng, rng.integers(3, 8), center, radius, flat)
        corners = fixed(points)[:: 1 if rng.random() < 0.5 else -1]
        corners = np.ascontiguousarray(corners)
        canvas = np.zeros((HEIGHT, WIDTH), dtype=np.uint32)
        crisp.fill_convex(canvas, corners, len(corners), crisp.SHIFT, COLOR)
        want = opencv(
            lambda c, q=corners: cv2.fillConvexPoly(
                c, q.astype(np.int32), (9, 9, 9), cv2.LINE_8, int(crisp.SHIFT)
            )
        )
        assert set(np.unique(canvas)) <= {0, COLOR}
        wrong += int(((canvas == COLOR) != want).sum())
    # OpenCV's own last digit has changed between versions.
    assert wrong <= 2


@pytest.mark.parametrize("seed", range(4))
def test_fills_of_several_polygons_of_any_shape_are_opencvs(seed):
    rng = np.random.default_rng(seed)
    edges, lists = np.zeros(200, dtype=crisp.EDGE), np.zeros((4, 200), dtype=np.int64)
    wrong = total = 0
    for _ in range(100):
        polygons = [
            fixed(
                rng.uniform([-20, -15], [WIDTH + 20, HEIGHT + 15])
                + 10 ** rng.uniform(0, 2.5) * rng.normal(size=(rng.integers(3, 12), 2))
            )
            for _ in range(rng.integers(1, 5))
        ]
        canvas, used = np.zeros((HEIGHT, WIDTH), dtype=np.uint32), 0
        for polygon in polygons:
            used = crisp.collect_edges(canvas, polygon, len(polygon), COLOR, edges, used)
        crisp.fill_edges(canvas, edges, used, lists, COLOR)
        shapes = [polygon.astype(np.int32) for polygon in polygons]
        want = opencv(
            lambda c, q=shapes: cv2.fillPoly(c, q, (9, 9, 9), cv2.LINE_8, int(crisp.SHIFT))
        )
        wrong += int(((canvas == COLOR) != want).sum())
        total += int(want.sum())
    assert total > 10_000 and wrong < 0.001 * total


def test_discs_are_opencvs():
    rng = np.random.default_rng(0)
    scratch = np.zeros((96, 2), dtype=np.int64)
    for _ in range(150):
        x, y = fixed(rng.uniform([-5, -5], [WIDTH + 5, HEIGHT + 5]))
        radius = int(16 * rng.uniform(1.8, 30.0))
        canvas = np.zeros((HEIGHT, WIDTH), dtype=np.uint32)
        crisp.fill_disc(canvas, x, y, radius, COLOR, scratch)
        want = opencv(
            lambda c, p=(int(x), int(y)), r=radius: cv2.circle(
                c, p, r, (9, 9, 9), -1, cv2.LINE_8, int(crisp.SHIFT)
            )
        )
        np.testing.assert_array_equal(canvas == COLOR, want)


def coverage(polygons, opacity=smooth.SOLID):
    """Share of each pixel that a smooth fill covers, from a white fill on black."""
    cover = smooth.new_cover(HEIGHT, WIDTH)
    canvas = np.zeros((HEIGHT, WIDTH), dtype=np.uint32)
    for points in polygons:
        points = np.ascontiguousarray(points, dtype=np.float64)
        smooth.add_polygon(cover, points, len(points), WIDTH, HEIGHT)
    smooth.lay_down(canvas, cover, 0xFFFFFF, opacity)
    assert not cover.area.any() and not cover.touched.any()
    assert ((canvas & 255) == (canvas >> 16)).all()
    return (canvas & 255) / 255.0


def areas(polygon):
    """Exact share of each pixel inside a shapely polygon."""
    return np.array(
        [
            [polygon.intersection(box(x, y, x + 1, y + 1)).area for x in range(WIDTH)]
            for y in range(HEIGHT)
        ]
    )


@pytest.mark.parametrize("seed", range(20))
def test_smooth_fills_cover_the_exact_areas(seed):
    rng = np.random.default_rng(seed)
    corners = int(rng.integers(3, 10))
    center = rng.uniform([-10, -8], [WIDTH + 10, HEIGHT + 8])
    points = star(rng, corners, center, rng.uniform(2, 60) * rng.uniform(0.3, 1, corners))
    if seed % 3 == 0:
        points = np.rint(points)  # sides on pixel borders
    polygon = Polygon(points)
    if not polygon.is_valid:
        polygon = polygon.convex_hull
        points = np.array(polygon.exterior.coords[:-1])
    np.testing.assert_allclose(coverage([points]), areas(polygon), atol=0.01)
    np.testing.assert_allclose(coverage([points[::-1]]), areas(polygon), atol=0.01)


finite = st.floats(-200.0, 200.0)


@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=3), finite, finite)
def test_two_halves_of_a_triangle_in_one_fill_leave_no_seam(triangle, u, v):
    a, b, c = (np.array(p) for p in triangle)
    share = (u + 200.0) / 400.0
    middle = a + share * (b - a)
    whole = coverage([[a, b, c]])
    halves = coverage([[a, middle, c], [middle, b, c]])
    np.testing.assert_allclose(halves, whole, atol=0.012)


def test_opacity_mixes_with_what_is_below_and_zero_means_hard_edges():
    square = [[(4.0, 3.0), (20.0, 3.0), (20.0, 15.0), (4.0, 15.0)]]
    half = coverage(square, 128)
    assert half[8, 10] == pytest.approx(0.5, abs=0.01) and half[20, 10] == 0.0
    shifted = [[(4.4, 3.0), (20.4, 3.0), (20.4, 15.0), (4.4, 15.0)]]
    hard = coverage(shifted, 0)
    assert set(np.unique(hard)) == {0.0, 1.0}
    assert hard[8, 4] == 1.0 and hard[8, 20] == 0.0
    seamless = coverage(shifted, smooth.SEAMLESS)
    assert seamless[8, 4] == 1.0 and seamless[8, 20] == pytest.approx(0.8, abs=0.02)
