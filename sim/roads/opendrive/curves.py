"""Plan views: the curves that a road's reference line is made of.

A shape maps arc lengths ``ds`` [n] to rows [n, 5]: place (u, v) in the frame of the curve's start,
turn from its start (rad), curvature, and curvature per metre. Formulas: ASAM OpenDRIVE 1.7, ch. 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.roads.lines import F64

Shape = Callable[[F64], F64]

# Gauss-Legendre on [0, 1]: eight nodes integrate half a metre of road to rounding.
_GAUSS = np.polynomial.legendre.leggauss(8)
_NODES: F64 = 0.5 + 0.5 * _GAUSS[0]
_WEIGHTS: F64 = 0.5 * _GAUSS[1]
KNOT_M = 0.5
MAX_KNOTS = 200_000
MAX_CURVATURE = 10.0


def straight(ds: F64) -> F64:
    zero = np.zeros_like(ds)
    return np.stack([ds, zero, zero, zero, zero], axis=-1)


def arc(curvature: float) -> Shape:
    def at(ds: F64) -> F64:
        half = 0.5 * curvature * ds
        chord = ds * np.sinc(half / np.pi)
        constant = np.full_like(ds, curvature)
        return np.stack(
            [chord * np.cos(half), chord * np.sin(half), 2.0 * half, constant, np.zeros_like(ds)],
            axis=-1,
        )

    return straight if curvature == 0.0 else at


def spiral(length_m: float, first: float, last: float) -> Shape:
    """Euler spiral: curvature runs linearly from ``first`` to ``last`` over ``length_m``."""
    rate = (last - first) / length_m
    steepest = max(abs(first), abs(last))
    count = int(min(np.ceil(length_m * max(1.0 / KNOT_M, 2.0 * steepest)), MAX_KNOTS))
    step = length_m / count
    knots = step * np.arange(count, dtype=np.float64)

    def leg(start: F64, ds: F64) -> F64:
        s = start[:, None] + ds[:, None] * _NODES
        turn = s * (first + 0.5 * rate * s)
        return ds[:, None] * np.stack([np.cos(turn) @ _WEIGHTS, np.sin(turn) @ _WEIGHTS], axis=-1)

    legs = leg(knots, np.full(count, step))
    places = np.concatenate([np.zeros((1, 2)), np.cumsum(legs, axis=0)[:-1]])

    def at(ds: F64) -> F64:
        k = np.clip((ds / step).astype(np.int64), 0, count - 1)
        place = places[k] + leg(knots[k], ds - knots[k])
        bend = np.stack(
            [ds * (first + 0.5 * rate * ds), first + rate * ds, np.full_like(ds, rate)], axis=-1
        )
        return np.concatenate([place, bend], axis=-1)

    return at


def polynomial(
    length_m: float, u: Sequence[float], v: Sequence[float], range_p: float, fit: bool
) -> tuple[Shape, float, float]:
    """Curve (u(p), v(p)) of two cubics, p from 0 to ``range_p``, walked by arc length.

    With ``fit``, the whole of the curve is stretched over ``length_m`` (paramPoly3, whose p is an
    arc length only by intention); else it ends where its own arc length is ``length_m`` (poly3).
    Returns the shape, the arc length up to ``range_p``, and the least of |d(u, v)/dp| times
    ``range_p``: zero where the curve stands still.
    """
    # Rows: u and v; columns: the cubic and its three derivatives, lowest power first.
    cubics = [np.polynomial.Polynomial(np.asarray(c, dtype=np.float64)) for c in (u, v)]
    rates = [[c.deriv(k) for c in cubics] for k in (1, 2, 3)]

    def speed(p: F64) -> F64:
        return np.hypot(rates[0][0](p), rates[0][1](p))

    count = max(16, int(np.ceil(length_m / KNOT_M)))
    step = range_p / count
    knots = step * np.arange(count + 1)
    inner = knots[:-1, None] + step * _NODES
    arcs = np.concatenate([[0.0], np.cumsum(step * (speed(inner) @ _WEIGHTS))])
    scale = arcs[-1] / length_m if fit else 1.0

    def parameter(ds: F64) -> F64:
        wanted = ds * scale
        k = np.clip(np.searchsorted(arcs, wanted, side="right") - 1, 0, count - 1)
        p = knots[k] + step * (wanted - arcs[k]) / (arcs[k + 1] - arcs[k])
        for _ in range(3):  # Newton on the arc length; the first guess is within a few per cent
            way = p - knots[k]
            gone = arcs[k] + way * (speed(knots[k][:, None] + way[:, None] * _NODES) @ _WEIGHTS)
            p = p - (gone - wanted) / speed(p)
        return p

    def at(ds: F64) -> F64:
        p = parameter(ds)
        (du, dv), (ddu, ddv), (dddu, dddv) = ([part(p) for part in row] for row in rates)
        fast = np.hypot(du, dv)
        turned = du * ddv - dv * ddu
        curvature = turned / fast**3
        bend = (du * dddv - dv * dddu) / fast**3 - 3.0 * curvature * (du * ddu + dv * ddv) / fast**2
        return np.stack(
            [cubics[0](p), cubics[1](p), np.arctan2(dv, du), curvature, bend / fast], axis=-1
        )

    return at, float(arcs[-1]), float(speed(np.append(inner.ravel(), knots)).min() * range_p)


@dataclass(frozen=True)
class Piece:
    """One curve of a plan view, from arc length ``start_m`` of the road."""

    start_m: float
    length_m: float
    x: float
    y: float
    heading: float
    shape: Shape


@dataclass(frozen=True)
class Reference:
    """Samples of a reference line: ``xy`` [n, 2], ``heading``, ``curvature``, and ``bend`` (its
    curvature per metre) [n]."""

    xy: F64
    heading: F64
    curvature: F64
    bend: F64


@dataclass(frozen=True)
class PlanView:
    """The reference line of a road; ``pieces`` in order."""

    pieces: tuple[Piece, ...]

    @property
    def length_m(self) -> float:
        return self.pieces[-1].start_m + self.pieces[-1].length_m

    def at(self, s_m: F64) -> Reference:
        """The line at ascending arc lengths [n]; its end curves go on beyond the ends."""
        starts = np.array([piece.start_m for piece in self.pieces])
        index = np.clip(np.searchsorted(starts, s_m + 1e-9, side="right") - 1, 0, None)
        rows = np.empty((len(s_m), 5))
        for k in np.unique(index):
            mine, piece = index == k, self.pieces[k]
            local = piece.shape(s_m[mine] - piece.start_m)
            cos, sin = np.cos(piece.heading), np.sin(piece.heading)
            rows[mine, 0] = piece.x + cos * local[:, 0] - sin * local[:, 1]
            rows[mine, 1] = piece.y + sin * local[:, 0] + cos * local[:, 1]
            rows[mine, 2] = piece.heading + local[:, 2]
            rows[mine, 3:] = local[:, 3:]
        return Reference(rows[:, :2], np.unwrap(rows[:, 2]), rows[:, 3], rows[:, 4])

    def gaps(self) -> int:
        """How often a curve begins elsewhere (5 cm, 0.02 rad) than the one before it ends."""
        count = 0
        for before, after in zip(self.pieces, self.pieces[1:], strict=False):
            end = PlanView((before,)).at(np.array([before.start_m + before.length_m]))
            away = np.hypot(end.xy[0, 0] - after.x, end.xy[0, 1] - after.y)
            after_turn = after.shape(np.zeros(1))[0, 2]
            turn = end.heading[0] - after.heading - after_turn
            count += bool(away > 0.05 or abs(np.sin(0.5 * turn)) > 0.01)
        return count
