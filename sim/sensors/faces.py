"""Points, polygons and colours on the faces of blocks, for everything that stands in a picture."""

from __future__ import annotations

import math

from sim.kernels import kernel
from sim.sensors import lens, listing, palette
from sim.sensors.forms import REAR, SIDE
from sim.sensors.listing import FILL, QUAD


@kernel
def tone(look, item, red, green, blue, light):  # type: ignore[no-untyped-def]
    """Packed colour of something lit by ``light``, seen through the fog; or its label."""
    if item.label >= 0:
        return item.label
    return palette.through_fog(look, item.clear, red * light, green * light, blue * light)


@kernel
def fill(shapes, item, count, color):  # type: ignore[no-untyped-def]
    listing.close(shapes, FILL, count, color, item.label >= 0)


@kernel
def put(shapes, eye, item, k, along, across, z):  # type: ignore[no-untyped-def]
    """Corner ``k`` of the next polygon, in the frame of the box."""
    x = item.x + item.cos * along - item.sin * across
    y = item.y + item.sin * along + item.cos * across
    listing.put(shapes, k, lens.to_camera(eye, x, y, z))


@kernel
def on_picture(eye, x, y, z):  # type: ignore[no-untyped-def]
    """(whether it lies ahead, i, j, pixels per metre) of a point of the world."""
    cx, cy, cz = lens.to_camera(eye, x, y, z)
    if cz <= eye.near:
        return False, 0.0, 0.0, 0.0
    i, j = lens.to_picture(eye, cx, cy, cz)
    return True, i, j, eye.focal / math.sqrt(cx * cx + cy * cy + cz * cz)


@kernel
def is_within(eye, i, j, radius):  # type: ignore[no-untyped-def]
    return -radius < i < 2.0 * eye.middle_x + radius and -radius < j < 2.0 * eye.middle_y + radius


@kernel
def span(block, v):  # type: ignore[no-untyped-def]
    """(rear, front, right, left) of a block at the share ``v`` of its height, in fractions of the
    box."""
    return (
        block.x0 + v * (block.tx0 - block.x0),
        block.x1 + v * (block.tx1 - block.x1),
        block.y0 + v * (block.ty0 - block.y0),
        block.y1 + v * (block.ty1 - block.y1),
    )


@kernel
def on_face(item, block, face, side, u, v):  # type: ignore[no-untyped-def]
    """(along, across, z) in the frame of the box of the shares (u, v) across and up a face."""
    rear, front, right, left = span(block, v)
    if face == SIDE:
        along = rear + u * (front - rear)
        across = left if side > 0 else right
    else:
        along = rear if face == REAR else front
        across = right + u * (left - right)
    up = block.z0 + v * (block.z1 - block.z0)
    return (along - 0.5) * item.length, (across - 0.5) * item.width, item.base + up * item.height


@kernel
def list_rectangle(shapes, eye, item, block, face, side, u0, u1, v0, v1, color):  # type: ignore[no-untyped-def]
    for k in range(4):
        u, v = u1 if 0 < k < 3 else u0, v1 if k > 1 else v0
        along, across, z = on_face(item, block, face, side, u, v)
        put(shapes, eye, item, k, along, across, z)
    fill(shapes, item, QUAD, color)
