"""Piecewise cubic profiles along a road: widths, offsets, elevation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sim.roads.lines import F64
from sim.roads.opendrive.source import Node


@dataclass(frozen=True)
class Profile:
    """Cubics a + b ds + c ds^2 + d ds^3, each valid from its start to that of the next.

    ``start_m`` [k] ascending, ``coefficients`` [k, 4]. Zero before the first start.
    """

    start_m: F64
    coefficients: F64

    def at(self, s_m: F64, end_m: float = np.inf) -> tuple[F64, F64, F64]:
        """Value and first two derivatives [n] at ``s_m`` [n]; cubics that start at ``end_m`` or
        later are left out, so that the end of a lane section is seen from within it."""
        kept = int(np.searchsorted(self.start_m, end_m - 1e-9))
        index = np.searchsorted(self.start_m[:kept], s_m + 1e-9, side="right") - 1
        if kept == 0:
            return np.zeros_like(s_m), np.zeros_like(s_m), np.zeros_like(s_m)
        a, b, c, d = np.where(index >= 0, self.coefficients[np.maximum(index, 0)].T, 0.0)
        ds = s_m - self.start_m[np.maximum(index, 0)]
        return (
            a + ds * (b + ds * (c + ds * d)),
            b + ds * (2.0 * c + ds * 3.0 * d),
            2.0 * c + ds * 6.0 * d,
        )

    @property
    def is_zero(self) -> bool:
        return not self.coefficients.any()


NOTHING = Profile(np.empty(0), np.empty((0, 4)))


def read_profile(nodes: Iterable[Node], start: str, origin_m: float = 0.0) -> Profile:
    """A profile from elements with the attributes ``start`` (from ``origin_m``), a, b, c, d."""
    rows: list[tuple[float, ...]] = []
    for node in nodes:
        s_m = origin_m + node.number(start, low=0.0)
        if rows and s_m < rows[-1][0]:
            raise node.error(f"{start} not before that of the element above", node.text(start))
        if rows and s_m == rows[-1][0]:  # of two at one place, the latter holds
            rows.pop()
        rows.append((s_m, *(node.number(name) for name in "abcd")))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Profile(table[:, 0], table[:, 1:])
