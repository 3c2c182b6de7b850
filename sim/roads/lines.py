"""Smooth planar lines: made from curvature profiles or graphs y(x), offset, reversed, resampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]

FINE_STEP_M = 0.05


@dataclass(frozen=True)
class Line:
    """A finely sampled line, which goes on straight and level beyond both ends.

    ``s_m`` [n] arc length from 0 in plan view, ``xy`` [n, 2], ``heading`` [n] (unwrapped),
    ``curvature`` [n], ``z_m`` [n] height (None: flat at 0).
    """

    s_m: F64
    xy: F64
    heading: F64
    curvature: F64
    z_m: F64 | None = None

    @property
    def length_m(self) -> float:
        return float(self.s_m[-1])

    def at(self, s_m: npt.ArrayLike, d_m: float = 0.0) -> tuple[F64, F64, F64]:
        """Points [m, 2], headings [m], curvatures [m] at arc lengths ``s_m`` [m], ``d_m`` left."""
        s = np.asarray(s_m, dtype=np.float64)
        inside = np.clip(s, 0.0, self.length_m)
        heading = np.interp(inside, self.s_m, self.heading)
        curvature = np.where(s == inside, np.interp(inside, self.s_m, self.curvature), 0.0)
        tangent = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        normal = np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)
        xy = np.stack([np.interp(inside, self.s_m, self.xy[:, i]) for i in (0, 1)], axis=-1)
        return xy + (s - inside)[..., None] * tangent + d_m * normal, heading, curvature

    def elevation_at(self, s_m: npt.ArrayLike) -> F64:
        """Heights [m] at arc lengths ``s_m`` [m]; beyond the ends, that of the end."""
        s = np.asarray(s_m, dtype=np.float64)
        if self.z_m is None:
            return np.zeros_like(s)
        return np.interp(s, self.s_m, self.z_m)

    def offset(self, d_m: float) -> Line:
        """The parallel line ``d_m`` to the left, with its own arc length."""
        stretch = 1.0 - self.curvature * d_m
        steps = 0.5 * (stretch[1:] + stretch[:-1]) * np.diff(self.s_m)
        normal = np.stack([-np.sin(self.heading), np.cos(self.heading)], axis=-1)
        return Line(
            np.concatenate([[0.0], np.cumsum(steps)]),
            self.xy + d_m * normal,
            self.heading,
            self.curvature / stretch,
            self.z_m,
        )

    def reverse(self) -> Line:
        """The same line driven the other way."""
        turned = self.heading[::-1] + np.pi
        turned = turned - 2 * np.pi * np.round(turned[0] / (2 * np.pi))
        z_m = None if self.z_m is None else self.z_m[::-1]
        s_m = self.length_m - self.s_m[::-1]
        return Line(s_m, self.xy[::-1], turned, -self.curvature[::-1], z_m)


def line_from_curvature(
    knots: Sequence[tuple[float, float]],
    start_xy: tuple[float, float] = (0.0, 0.0),
    start_heading: float = 0.0,
) -> Line:
    """Integrate a piecewise linear curvature profile given as (arc length, curvature) knots.

    Two knots at the same arc length make a jump (a plain arc after a straight).
    """
    knot_s = np.array([k[0] for k in knots], dtype=np.float64)
    knot_k = np.array([k[1] for k in knots], dtype=np.float64)
    count = max(2, round(knot_s[-1] / FINE_STEP_M) + 1)
    s = np.linspace(0.0, knot_s[-1], count)
    middle = 0.5 * (s[1:] + s[:-1])
    step = s[1] - s[0]
    heading = start_heading + np.concatenate(
        [[0.0], np.cumsum(np.interp(middle, knot_s, knot_k)) * step]
    )
    # Chord of a small arc: length step, direction of its middle.
    middle_heading = 0.5 * (heading[1:] + heading[:-1])
    x = start_xy[0] + np.concatenate([[0.0], np.cumsum(np.cos(middle_heading)) * step])
    y = start_xy[1] + np.concatenate([[0.0], np.cumsum(np.sin(middle_heading)) * step])
    return Line(s, np.stack([x, y], axis=-1), heading, np.interp(s, knot_s, knot_k))


def line_from_graph(x: F64, y: F64, dy: F64, ddy: F64) -> Line:
    """A line given as a graph y(x) with its first and second derivatives, all [n]."""
    slope = np.hypot(1.0, dy)
    steps = 0.5 * (slope[1:] + slope[:-1]) * np.diff(x)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    return Line(s, np.stack([x, y], axis=-1), np.arctan(dy), ddy / slope**3)


def eased_turn(
    tangent_m: float, angle_rad: float, ease_m: float = 3.0
) -> tuple[list[tuple[float, float]], float]:
    """Knots of a turn by ``angle_rad`` (left positive) whose legs meet ``tangent_m`` from its ends.

    Curvature rises over ``ease_m``, stays, falls again. Returns (knots from arc length 0, length).
    """
    sign = 1.0 if angle_rad > 0 else -1.0
    angle = abs(angle_rad)
    low, high = 0.5 / tangent_m, angle / ease_m
    for _ in range(50):
        peak = 0.5 * (low + high)
        length = angle / peak + ease_m
        profile = [(0.0, 0.0), (ease_m, peak), (length - ease_m, peak), (length, 0.0)]
        end = line_from_curvature(profile).xy[-1]
        # The legs of a symmetric turn meet at distance x - y / tan(angle) along the first leg.
        leg = end[0] - end[1] / np.tan(angle)
        low, high = (peak, high) if leg > tangent_m else (low, peak)
    return [(s, sign * k) for s, k in profile], length
