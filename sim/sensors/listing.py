"""Lists of shapes: between what is in a picture and how it is drawn.

Shapes lie in the camera frame, in drawing order. A list that is full counts on without storing, so
that its owner knows how long it must be.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from sim.kernels import kernel
from sim.sensors.smooth import SOLID

# Typed: numba would compile the functions that take them once per plain number.
# What to do: fill a convex polygon, take one (of any shape, if large) into the next LAY, fill all
# taken, fill a disc, let the weather work on the ground so far.
FILL, TAKE, TAKE_LARGE, LAY, DISC, WEATHER = (np.int64(i) for i in range(6))
NONE, ONE, QUAD = np.int64(0), np.int64(1), np.int64(4)

# ``first``/``count``: corners. A disc has its middle in pixels of the picture in one corner, with
# ``radius`` pixels times ``grow``. ``opacity`` in 256ths; 0: no smooth edges.
SHAPE = np.dtype(
    [("what", "i8"), ("first", "i8"), ("count", "i8"), ("color", "i8"), ("opacity", "i8"),
     ("radius", "f8"), ("grow", "f8")],
    align=True,
)  # fmt: skip

# ``shapes`` SHAPE, ``corners`` [*, 3], ``used`` [2]: how many shapes and corners there are.
Listing = namedtuple("Listing", "shapes corners used")


def new_listing(shapes: int, corners: int) -> Listing:
    return Listing(
        np.zeros(shapes, dtype=SHAPE), np.zeros((corners, 3)), np.zeros(2, dtype=np.int64)
    )


@kernel
def put(listing, k, corner):  # type: ignore[no-untyped-def]
    """Corner ``k`` of the next shape."""
    at = listing.used[1] + k
    if at < len(listing.corners):
        listing.corners[at, 0] = corner[0]
        listing.corners[at, 1] = corner[1]
        listing.corners[at, 2] = corner[2]


@kernel
def close(listing, what, count, color, labels):  # type: ignore[no-untyped-def]
    """End a shape of ``count`` corners; ``labels``: the colour is a class."""
    _close(listing, what, count, color, 0 if labels else SOLID, 0.0, 0.0)


@kernel
def close_with(listing, what, count, color, opacity):  # type: ignore[no-untyped-def]
    """End a shape with an opacity of its own."""
    _close(listing, what, count, color, opacity, 0.0, 0.0)


@kernel
def add_disc(listing, i, j, radius, grow, color, opacity):  # type: ignore[no-untyped-def]
    """A disc in pixels of the picture."""
    put(listing, NONE, (i, j, 0.0))
    _close(listing, DISC, ONE, color, opacity, radius, grow)


@kernel
def _close(listing, what, count, color, opacity, radius, grow):  # type: ignore[no-untyped-def]
    number = listing.used[0]
    if number < len(listing.shapes):
        shape = listing.shapes[number]
        shape["what"], shape["first"], shape["count"] = what, listing.used[1], count
        shape["color"], shape["opacity"] = color, opacity
        shape["radius"], shape["grow"] = radius, grow
    listing.used[0] = number + 1
    listing.used[1] += count
