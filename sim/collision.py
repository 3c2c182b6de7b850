"""Oriented boxes: overlap by the separating-axis theorem and exact clearance, for any number of
pairs at once.

A box is (x, y, heading, length, width); all arguments broadcast.
"""

from __future__ import annotations

import numpy as np

from alpamayo.types import FloatArray

_SIGNS = np.array([(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)])


def axis_separations(first: FloatArray, second: FloatArray) -> FloatArray:
    """Signed separation [..., 4] of boxes [..., 5] along the axes of the first (long, cross) and
    the second.

    Positive on any axis: apart. All negative: they overlap, by that much on each axis.
    """
    dx, dy = second[..., 0] - first[..., 0], second[..., 1] - first[..., 1]
    cos_a, sin_a = np.cos(first[..., 2]), np.sin(first[..., 2])
    cos_b, sin_b = np.cos(second[..., 2]), np.sin(second[..., 2])
    cos_ab = np.abs(cos_a * cos_b + sin_a * sin_b)
    sin_ab = np.abs(sin_b * cos_a - cos_b * sin_a)
    la, wa, lb, wb = first[..., 3], first[..., 4], second[..., 3], second[..., 4]
    separation = np.empty((*dx.shape, 4))
    separation[..., 0] = np.abs(dx * cos_a + dy * sin_a) - 0.5 * (la + lb * cos_ab + wb * sin_ab)
    separation[..., 1] = np.abs(dy * cos_a - dx * sin_a) - 0.5 * (wa + lb * sin_ab + wb * cos_ab)
    separation[..., 2] = np.abs(dx * cos_b + dy * sin_b) - 0.5 * (lb + la * cos_ab + wa * sin_ab)
    separation[..., 3] = np.abs(dy * cos_b - dx * sin_b) - 0.5 * (wb + la * sin_ab + wa * cos_ab)
    return separation


def clearance(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(distance, separation): distance between boxes [..., 5] (0 when they overlap) and the largest
    axis separation.

    Two disjoint convex shapes are nearest at a corner of one of them: eight corner-to-box distances
    are exact.
    """
    separation = axis_separations(first, second).max(axis=-1)
    nearest = np.minimum(_corner_distance(first, second), _corner_distance(second, first))
    return np.where(separation > 0.0, nearest, 0.0), separation


def _corner_distance(box: FloatArray, other: FloatArray) -> FloatArray:
    """Smallest distance from the corners of ``other`` to ``box``."""
    cos_b, sin_b = np.cos(box[..., 2]), np.sin(box[..., 2])
    dx, dy = other[..., 0] - box[..., 0], other[..., 1] - box[..., 1]
    local_x, local_y = dx * cos_b + dy * sin_b, dy * cos_b - dx * sin_b
    turn = other[..., 2] - box[..., 2]
    cos_t, sin_t = np.cos(turn)[..., None], np.sin(turn)[..., None]
    half_l = 0.5 * other[..., 3, None] * _SIGNS[:, 0]
    half_w = 0.5 * other[..., 4, None] * _SIGNS[:, 1]
    px = np.abs(local_x[..., None] + half_l * cos_t - half_w * sin_t) - 0.5 * box[..., 3, None]
    py = np.abs(local_y[..., None] + half_l * sin_t + half_w * cos_t) - 0.5 * box[..., 4, None]
    return np.hypot(np.maximum(px, 0.0), np.maximum(py, 0.0)).min(axis=-1)


def corners(
    x: FloatArray, y: FloatArray, heading: FloatArray, length: float, width: float
) -> tuple[FloatArray, FloatArray]:
    """World corners ([..., 4], [..., 4]) of boxes of one size."""
    cos_h, sin_h = np.cos(heading)[..., None], np.sin(heading)[..., None]
    px, py = 0.5 * length * _SIGNS[:, 0], 0.5 * width * _SIGNS[:, 1]
    return x[..., None] + px * cos_h - py * sin_h, y[..., None] + px * sin_h + py * cos_h
