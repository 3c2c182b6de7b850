"""The things that stand in a picture, as shapes: block by block and patch by patch."""

from __future__ import annotations

import math

import numpy as np

from sim.kernels import kernel
from sim.sensors import facades, faces, forms, lamps, listing, models, palette
from sim.sensors.backdrop import beam_at
from sim.sensors.forms import FRONT, REAR, SIDE
from sim.sensors.listing import FILL, QUAD
from sim.sensors.smooth import SOLID

_FULL_PX = 11.0  # smaller things are drawn in their plain form
_SHADOW_M, _SHADOW_SHARE = 0.15, np.int64(170)


@kernel
def list_item(shapes, eye, look, item, tables, full):  # type: ignore[no-untyped-def]
    """List one box. ``full``: with all details if it is large enough."""
    size = item.height * eye.focal / max(item.distance, 1.0)
    model = tables.models[1 if full and size > _FULL_PX else 0, item.kind]
    reach = models.DETAIL_M
    if full:
        reach *= max(eye.focal / models.DETAIL_FOCAL_PX, 1.0)
    item["clear"] = palette.clearness(look, item.distance)
    item["light"] = look.light
    if look.night > 0.0:
        item["light"] += look.night * _headlight(eye, item)
    item["label"] = model.label if look.labels else -1
    if model.shadow and item.distance < reach and item.label < 0:
        _list_shadow(shapes, eye, look, item, full)
    for level in range(model.levels):
        _list_level(shapes, eye, look, item, tables, model, level, reach)
    if item.group >= 0 and item.seat_x > 0.5 * item.length:
        lamps.list_signal(shapes, eye, look, item, full)


@kernel
def _headlight(eye, item):  # type: ignore[no-untyped-def]
    """How much the ego's headlights light a box; they shine along the ego's heading."""
    dx, dy = item.x - eye.x, item.y - eye.y
    ahead = eye.cos * dx + eye.sin * dy
    return beam_at(max(ahead - 0.5 * item.length, 0.0), eye.cos * dy - eye.sin * dx)


@kernel
def _list_shadow(shapes, eye, look, item, full):  # type: ignore[no-untyped-def]
    """A dark rectangle; in large pictures the ground shows through."""
    length, width = 0.5 * item.length + _SHADOW_M, 0.5 * item.width + _SHADOW_M
    for k in range(4):
        along = length if 0 < k < 3 else -length
        faces.put(shapes, eye, item, k, along, width if k > 1 else -width, item.base)
    color = faces.tone(look, item, 38.0, 38.0, 38.0, look.light)
    if full:
        listing.close_with(shapes, FILL, QUAD, color, _SHADOW_SHARE)
    else:
        faces.fill(shapes, item, QUAD, color)


@kernel
def _list_level(shapes, eye, look, item, tables, model, level, reach):  # type: ignore[no-untyped-def]
    """The blocks of one level, from far to near."""
    done = 0
    for _ in range(model.count):
        best, farthest = -1, -1.0
        for b in range(model.count):
            block = tables.blocks[model.first + b]
            if block.level != level or done >> b & 1:
                continue
            along = (0.5 * (block.x0 + block.x1) - 0.5) * item.length - item.seat_x
            across = (0.5 * (block.y0 + block.y1) - 0.5) * item.width - item.seat_y
            distance = along * along + across * across
            if distance > farthest:
                best, farthest = b, distance
        if best < 0:
            return
        done |= 1 << best
        block = tables.blocks[model.first + best]
        if block.ball:
            _list_ball(shapes, eye, look, item, block)
        else:
            _list_block(shapes, eye, look, item, tables, block, reach)


@kernel
def _list_ball(shapes, eye, look, item, block):  # type: ignore[no-untyped-def]
    """A sphere, as a lit disc with its shaded lower part behind."""
    along = (0.5 * (block.x0 + block.x1) - 0.5) * item.length
    across = (0.5 * (block.y0 + block.y1) - 0.5) * item.width
    ahead, i, j, per_m = faces.on_picture(
        eye,
        item.x + item.cos * along - item.sin * across,
        item.y + item.sin * along + item.cos * across,
        item.base + 0.5 * (block.z0 + block.z1) * item.height,
    )
    radius = 0.5 * (block.z1 - block.z0) * item.height * per_m
    if not ahead or not faces.is_within(eye, i, j, radius):
        return
    r, g, b = item.color[0], item.color[1], item.color[2]
    if not block.painted:
        # Scenery varies from one thing to the next.
        vary = 0.85 + 0.3 * ((item.rank * 37) % 16) / 16.0
        r, g, b = block.color[0] * vary, block.color[1] * vary, block.color[2] * vary
    for part in range(2):
        shade = block.tone * (0.72 if part == 0 else 0.95)
        r_, g_, b_ = _snowed(r * shade, g * shade, b * shade, 0.6 * look.snow * part)
        color = faces.tone(look, item, r_, g_, b_, item.light)
        lift = 0.22 * radius * part
        opacity = SOLID if item.label < 0 else 0
        listing.add_disc(shapes, i, j - lift, radius, 1.0 - 0.22 * part, color, opacity)


@kernel
def _snowed(red, green, blue, share):  # type: ignore[no-untyped-def]
    """A colour of which snow covers a share."""
    if share == 0.0:
        return red, green, blue
    return (
        red + (230.0 - red) * share,
        green + (232.0 - green) * share,
        blue + (236.0 - blue) * share,
    )


@kernel
def _list_block(shapes, eye, look, item, tables, block, reach):  # type: ignore[no-untyped-def]
    low, high = item.base + block.z0 * item.height, item.base + block.z1 * item.height
    # The camera against each face's plane, at the camera's own height.
    rear, front, right, left = faces.span(block, (eye.z - low) / (high - low))
    r, g, b = block.color[0], block.color[1], block.color[2]
    if block.painted:
        r, g, b = item.color[0] * block.tone, item.color[1] * block.tone, item.color[2] * block.tone
    side = 0
    if item.seat_y > (left - 0.5) * item.width:
        side = 1
    elif item.seat_y < (right - 0.5) * item.width:
        side = -1
    end = 0
    if item.seat_x < (rear - 0.5) * item.length:
        end = REAR
    elif item.seat_x > (front - 0.5) * item.length:
        end = FRONT
    # A fixed sun: sides and ends are told apart whatever the heading.
    tilt = 0.08 * math.cos(item.heading - 0.6)
    for number in range(2):
        if (number == 0 and side == 0) or (number == 1 and end == 0):
            continue
        face, shade = SIDE, 0.72 + tilt
        if number == 1:
            face, shade = end, 0.92 - tilt
        if not block.bare:
            color = faces.tone(look, item, r * shade, g * shade, b * shade, item.light)
            faces.list_rectangle(shapes, eye, item, block, face, side, 0.0, 1.0, 0.0, 1.0, color)
        _list_patches(shapes, eye, look, item, tables, block, face, side, reach)
    if eye.z > high and not block.bare:
        r, g, b = min(r * 1.1 + 14.0, 255.0), min(g * 1.1 + 14.0, 255.0), min(b * 1.1 + 14.0, 255.0)
        r, g, b = _snowed(r, g, b, 0.7 * look.snow)
        _list_top(shapes, eye, item, block, high, faces.tone(look, item, r, g, b, item.light))


@kernel
def _list_top(shapes, eye, item, block, z, color):  # type: ignore[no-untyped-def]
    rear, front, right, left = faces.span(block, 1.0)
    for k in range(4):
        along = (front if 0 < k < 3 else rear) - 0.5
        across = (left if k > 1 else right) - 0.5
        faces.put(shapes, eye, item, k, along * item.length, across * item.width, z)
    faces.fill(shapes, item, QUAD, color)


@kernel
def _list_patches(shapes, eye, look, item, tables, block, face, side, reach):  # type: ignore[no-untyped-def]
    for p in range(block.patch_first, block.patch_first + block.patch_count):
        patch = tables.patches[p]
        if patch.face != face or not item.distance < reach * patch.reach:
            continue
        if patch.role == forms.WINDOWS:
            if item.label < 0:
                facades.list_windows(shapes, eye, look, item, block, face, side)
        elif patch.role == forms.NUMBER:
            if item.label < 0:
                facades.list_number(shapes, eye, look, item, block, patch)
        else:
            _list_patch(shapes, eye, look, item, block, face, side, patch)


@kernel
def _list_patch(shapes, eye, look, item, block, face, side, patch):  # type: ignore[no-untyped-def]
    """A rectangle or a regular polygon, unless it is a lamp that is dark."""
    shown, r, g, b, own = lamps.lamp(look, item, patch, face)
    if not shown:
        return
    color = faces.tone(look, item, r, g, b, 1.0 if own else item.light)
    if patch.corners == 4:
        faces.list_rectangle(
            shapes, eye, item, block, face, side, patch.u0, patch.u1, patch.v0, patch.v1, color
        )
    else:
        for k in range(patch.corners):
            angle = patch.turn + 2.0 * math.pi * k / patch.corners
            u = 0.5 * (patch.u0 + patch.u1) + 0.5 * (patch.u1 - patch.u0) * math.cos(angle)
            v = 0.5 * (patch.v0 + patch.v1) + 0.5 * (patch.v1 - patch.v0) * math.sin(angle)
            along, across, z = faces.on_face(item, block, face, side, u, v)
            faces.put(shapes, eye, item, k, along, across, z)
        faces.fill(shapes, item, patch.corners, color)
    if own and look.rain > 0.0 and item.label < 0 and patch.role != forms.LAMP_MIDDLE:
        lamps.list_mirrored(shapes, eye, look, item, block, face, side, patch, color)
    if own and look.night > 0.0 and item.label < 0:
        u, v = 0.5 * (patch.u0 + patch.u1), 0.5 * (patch.v0 + patch.v1)
        along, across, z = faces.on_face(item, block, face, side, u, v)
        x = item.x + item.cos * along - item.sin * across
        y = item.y + item.sin * along + item.cos * across
        ahead, i, j, per_m = faces.on_picture(eye, x, y, z)
        if ahead:
            lamps.list_halo(shapes, eye, look, item, i, j, max(0.16 * per_m, 0.7), r, g, b)
