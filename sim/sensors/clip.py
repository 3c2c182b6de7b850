"""Polygon clipping in camera coordinates, many polygons at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


def clip_quads(view: F64, near_m: float) -> F64:
    """Cut quads [m, 4, 3] that cross the plane z = ``near_m``.

    Returns [m, 5, 3]: at most five corners are left; where fewer, the last one is repeated.
    """
    z = view[..., 2]
    following = np.roll(view, -1, axis=1)
    inside = z >= near_m
    crosses = inside != np.roll(inside, -1, axis=1)
    rise = following[..., 2] - z
    share = np.where(crosses, (near_m - z) / np.where(crosses, rise, 1.0), 0.0)
    cut = view + share[..., None] * (following - view)
    slots = np.stack([view, cut], axis=2).reshape(len(view), 8, 3)
    used = np.stack([inside, crosses], axis=2).reshape(len(view), 8)
    order = np.argsort(~used, axis=1, kind="stable")
    take = np.minimum(np.arange(5), used.sum(axis=1)[:, None] - 1)
    order = np.take_along_axis(order, take, axis=1)
    return np.take_along_axis(slots, order[..., None], axis=1)


def clip_ragged(view: F64, sizes: I64, plane: tuple[float, float, float]) -> tuple[F64, I64]:
    """The part of polygons with a x + b z >= c, where ``plane`` is (a, b, c).

    ``view`` [V, 3]: their corners one after the other; ``sizes`` [S]: how many each has.
    """
    a, b, c = plane
    starts = np.cumsum(sizes) - sizes
    following = np.arange(1, len(view) + 1)
    filled = sizes > 0
    following[(starts + sizes - 1)[filled]] = starts[filled]
    value = a * view[:, 0] + b * view[:, 2] - c
    inside = value >= 0.0
    crosses = inside != inside[following]
    drop = value - value[following]
    share = np.where(crosses, value / np.where(crosses, drop, 1.0), 0.0)
    cut = view + share[:, None] * (view[following] - view)
    used = np.stack([inside, crosses], axis=1)
    clipped = np.stack([view, cut], axis=1)[used]
    polygon = np.repeat(np.arange(len(sizes)), sizes)
    kept = np.bincount(polygon, weights=used.sum(axis=1), minlength=len(sizes))
    return clipped, kept.astype(np.int64)
