"""Oriented boxes: overlap by the separating-axis theorem, exact clearance, and contact while they
move.

Kernels work on one pair. The pair is given in the frame of its first box: ``px, py`` is the middle
of the second, ``cos_t, sin_t`` how much it is turned; then length and width of both. Functions of
arrays take boxes (x, y, heading, length, width) [..., 5] that broadcast.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from alpamayo.types import FloatArray
from sim.kernels import kernel

_SIGNS = np.array([(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)])
# Between the ends of a tick: how far corners may swing in a piece of it, and by how much less than
# touching a sweep looks for.
SWING_M = 0.04
GRAZE_M = 0.02
MOST_PIECES = 16

_Four = tuple[float, float, float, float]


@kernel
def relative(
    x: float, y: float, cos_h: float, sin_h: float,
    other_x: float, other_y: float, other_cos: float, other_sin: float,
) -> _Four:  # fmt: skip
    """(px, py, cos_t, sin_t): the second pose in the frame of the first."""
    dx, dy = other_x - x, other_y - y
    return (
        dx * cos_h + dy * sin_h,
        dy * cos_h - dx * sin_h,
        cos_h * other_cos + sin_h * other_sin,
        other_sin * cos_h - other_cos * sin_h,
    )


@kernel
def separations(
    px: float, py: float, cos_t: float, sin_t: float, la: float, wa: float, lb: float, wb: float
) -> _Four:
    """Signed separation along the long and the cross axis of the first box and of the second.

    Positive on any axis: apart. All negative: they overlap, by that much on each axis.
    """
    along, across = abs(cos_t), abs(sin_t)
    return (
        abs(px) - 0.5 * (la + lb * along + wb * across),
        abs(py) - 0.5 * (wa + lb * across + wb * along),
        abs(px * cos_t + py * sin_t) - 0.5 * (lb + la * along + wa * across),
        abs(py * cos_t - px * sin_t) - 0.5 * (wb + la * across + wa * along),
    )


@kernel
def separation(
    px: float, py: float, cos_t: float, sin_t: float, la: float, wa: float, lb: float, wb: float
) -> float:
    """The largest of the separations: negative exactly where the boxes overlap."""
    first, second, third, fourth = separations(px, py, cos_t, sin_t, la, wa, lb, wb)
    return max(max(first, second), max(third, fourth))


@kernel
def distance(
    px: float, py: float, cos_t: float, sin_t: float, la: float, wa: float, lb: float, wb: float
) -> float:
    """Distance between two boxes that do not overlap.

    Two disjoint convex shapes are nearest at a corner of one of them: eight corner-to-box distances
    are exact.
    """
    nearest = _corners_to_box(px, py, cos_t, sin_t, la, wa, lb, wb)
    back_x, back_y = -px * cos_t - py * sin_t, px * sin_t - py * cos_t
    return math.sqrt(min(nearest, _corners_to_box(back_x, back_y, cos_t, -sin_t, lb, wb, la, wa)))


@kernel
def _corners_to_box(
    px: float, py: float, cos_t: float, sin_t: float, la: float, wa: float, lb: float, wb: float
) -> float:
    """Smallest squared distance from the corners of the second box to the first."""
    lx, ly = 0.5 * lb * cos_t, 0.5 * lb * sin_t
    wx, wy = -0.5 * wb * sin_t, 0.5 * wb * cos_t
    half_l, half_w = 0.5 * la, 0.5 * wa
    nearest = math.inf
    for i in range(4):
        forward = 1.0 if i < 2 else -1.0
        leftward = 1.0 if i % 2 == 0 else -1.0
        x = max(abs(px + forward * lx + leftward * wx) - half_l, 0.0)
        y = max(abs(py + forward * ly + leftward * wy) - half_w, 0.0)
        nearest = min(nearest, x * x + y * y)
    return nearest


@kernel
def wrapped(angle: float) -> float:
    """The same angle within -pi to pi."""
    return angle - 2.0 * math.pi * math.floor((angle + math.pi) / (2.0 * math.pi))


@kernel
def touch_within(
    x: float, y: float, heading: float, to_x: float, to_y: float, to_heading: float,
    la: float, wa: float,
    other_x: float, other_y: float, other_heading: float,
    other_to_x: float, other_to_y: float, other_to_heading: float,
    lb: float, wb: float,
) -> float:  # fmt: skip
    """Share of the tick (0 to 1) after which two moving boxes first touch; -1: they do not.

    The tick is cut into pieces in which no corner swings by more than ``SWING_M``; within a piece
    headings are those of its middle and the sweep is exact. The boxes are ``GRAZE_M`` smaller on
    every side, so that no contact is made up: a brush less deep than that may be missed.
    """
    turn, other_turn = wrapped(to_heading - heading), wrapped(other_to_heading - other_heading)
    swing = 0.5 * (abs(turn) * (la + wa) + abs(other_turn) * (lb + wb))
    pieces = min(1 + int(swing / SWING_M), MOST_PIECES)
    la, wa = max(la - 2.0 * GRAZE_M, 0.0), max(wa - 2.0 * GRAZE_M, 0.0)
    lb, wb = max(lb - 2.0 * GRAZE_M, 0.0), max(wb - 2.0 * GRAZE_M, 0.0)
    gone_x, gone_y = to_x - x, to_y - y
    other_gone_x, other_gone_y = other_to_x - other_x, other_to_y - other_y
    for i in range(pieces):
        start, middle = i / pieces, (i + 0.5) / pieces
        h, other_h = heading + middle * turn, other_heading + middle * other_turn
        cos_h, sin_h = math.cos(h), math.sin(h)
        px, py, cos_t, sin_t = relative(
            x + start * gone_x, y + start * gone_y, cos_h, sin_h, other_x + start * other_gone_x,
            other_y + start * other_gone_y, math.cos(other_h), math.sin(other_h),
        )  # fmt: skip
        moved_x, moved_y = (other_gone_x - gone_x) / pieces, (other_gone_y - gone_y) / pieces
        vx, vy = moved_x * cos_h + moved_y * sin_h, moved_y * cos_h - moved_x * sin_h
        share = _first_touch(px, py, vx, vy, cos_t, sin_t, la, wa, lb, wb)
        if share >= 0.0:
            return start + share / pieces
    return -1.0


@kernel
def _first_touch(
    px: float, py: float, vx: float, vy: float, cos_t: float, sin_t: float,
    la: float, wa: float, lb: float, wb: float,
) -> float:  # fmt: skip
    """Share (0 to 1) of its way (``vx``, ``vy``) after which the second box first overlaps the
    first, both keeping their headings; -1: nowhere. Two boxes overlap while they do so on all four
    axes."""
    along, across = abs(cos_t), abs(sin_t)
    enters, leaves = 0.0, 1.0
    for axis in range(4):
        if axis == 0:
            at, rate, reach = px, vx, la + lb * along + wb * across
        elif axis == 1:
            at, rate, reach = py, vy, wa + lb * across + wb * along
        elif axis == 2:
            at, rate = px * cos_t + py * sin_t, vx * cos_t + vy * sin_t
            reach = lb + la * along + wa * across
        else:
            at, rate = py * cos_t - px * sin_t, vy * cos_t - vx * sin_t
            reach = wb + la * across + wa * along
        reach *= 0.5
        if rate < 0.0:
            at, rate = -at, -rate
        if rate < 1e-12:
            if abs(at) > reach:
                return -1.0
            continue
        enters = max(enters, (-reach - at) / rate)
        leaves = min(leaves, (reach - at) / rate)
        if enters > leaves:
            return -1.0
    return enters


@kernel
def _pair(first: FloatArray, second: FloatArray) -> _Four:
    cos_a, sin_a = math.cos(first[2]), math.sin(first[2])
    cos_b, sin_b = math.cos(second[2]), math.sin(second[2])
    return relative(first[0], first[1], cos_a, sin_a, second[0], second[1], cos_b, sin_b)


@kernel
def _all_separations(first: FloatArray, second: FloatArray, result: Any) -> None:
    for n in range(len(first)):
        px, py, cos_t, sin_t = _pair(first[n], second[n])
        values = separations(
            px, py, cos_t, sin_t, first[n, 3], first[n, 4], second[n, 3], second[n, 4]
        )
        for axis in range(4):
            result[n, axis] = values[axis]


@kernel
def _all_clearances(first: FloatArray, second: FloatArray, result: Any) -> None:
    for n in range(len(first)):
        px, py, cos_t, sin_t = _pair(first[n], second[n])
        la, wa, lb, wb = first[n, 3], first[n, 4], second[n, 3], second[n, 4]
        result[n, 1] = separation(px, py, cos_t, sin_t, la, wa, lb, wb)
        apart = result[n, 1] > 0.0
        result[n, 0] = distance(px, py, cos_t, sin_t, la, wa, lb, wb) if apart else 0.0


def _rows(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    a, b = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
    return np.ascontiguousarray(a).reshape(-1, 5), np.ascontiguousarray(b).reshape(-1, 5)


def _shape(first: FloatArray, second: FloatArray) -> tuple[int, ...]:
    return np.broadcast_shapes(np.shape(first), np.shape(second))[:-1]


def axis_separations(first: FloatArray, second: FloatArray) -> FloatArray:
    """Separations [..., 4] (see ``separations``) of boxes [..., 5]."""
    a, b = _rows(first, second)
    result = np.empty((len(a), 4))
    _all_separations(a, b, result)
    return result.reshape(*_shape(first, second), 4)


def clearance(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(distance, separation): distance between boxes [..., 5] (0 when they overlap) and the largest
    axis separation."""
    a, b = _rows(first, second)
    result = np.empty((len(a), 2))
    _all_clearances(a, b, result)
    shape = _shape(first, second)
    return result[:, 0].reshape(shape), result[:, 1].reshape(shape)


def corners(
    x: FloatArray, y: FloatArray, heading: FloatArray, length: float, width: float
) -> tuple[FloatArray, FloatArray]:
    """World corners ([..., 4], [..., 4]) of boxes of one size."""
    cos_h, sin_h = np.cos(heading)[..., None], np.sin(heading)[..., None]
    px, py = 0.5 * length * _SIGNS[:, 0], 0.5 * width * _SIGNS[:, 1]
    return x[..., None] + px * cos_h - py * sin_h, y[..., None] + px * sin_h + py * cos_h
