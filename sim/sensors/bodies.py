"""The things that stand in a picture, as shapes: block by block and patch by patch."""

from __future__ import annotations

import math

import numpy as np

from sim.kernels import kernel
from sim.sensors import lens, listing, models, palette
from sim.sensors.backdrop import beam_at
from sim.sensors.listing import FILL, NONE, QUAD
from sim.sensors.models import FRONT, REAR, SIDE
from sim.sensors.smooth import SOLID

_FULL_PX = 11.0  # smaller things are drawn in their plain form
_SHADOW_M, _SHADOW_SHARE = 0.15, np.int64(170)
_MIRROR_SHARE = 110  # opacity of what a wet road mirrors of a lamp, in 256ths
_LAMP_RADIUS_M = 0.5
_MIN_LAMP_PX = 1.8  # a signal lamp never gets smaller, so that its colour can be read
_LAMP_SHARE = 0.15  # radius of each of three lamps, of the housing's height
SIGNAL_COLORS = np.array([[40, 255, 90], [255, 205, 30], [255, 40, 30]], dtype=np.float64)
_GREEN, _YELLOW, _RED, _OFF, _FLASHING = range(5)
LAMP_OFF, LAMP_BRAKE, LAMP_FRONT = (105.0, 12.0, 16.0), (255.0, 36.0, 28.0), (255.0, 250.0, 222.0)
_LAMP_REVERSE, _LAMP_TURN = (250.0, 250.0, 240.0), (255.0, 160.0, 10.0)
_UNLIT = 48.0
_GLOW_SHARE = 60  # opacity of the inner of two rings of glow at night, in 256ths
_WINDOW_M, _STOREY_M, _PANE_M = 3.4, 3.2, 1.5
_LIT_WINDOW = (255.0, 214.0, 140.0)

# Glyphs of 3 x 5 cells, row by row from the top left, as bits from the highest: digits, S T O P.
_GLYPHS = np.array(
    [
        0b111101101101111, 0b010110010010111, 0b111001111100111, 0b111001111001111,
        0b101101111001001, 0b111100111001111, 0b111100111101111, 0b111001010010010,
        0b111101111101111, 0b111101111001111, 0b111100111001111, 0b111010010010010,
        0b111101101101111, 0b111101111100100,
    ]
)  # fmt: skip
_STOP_WORD = 10


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
        _list_signal(shapes, eye, look, item, full)


@kernel
def _headlight(eye, item):  # type: ignore[no-untyped-def]
    """How much the ego's headlights light a box; they shine along the ego's heading."""
    dx, dy = item.x - eye.x, item.y - eye.y
    ahead = eye.cos * dx + eye.sin * dy
    return beam_at(max(ahead - 0.5 * item.length, 0.0), eye.cos * dy - eye.sin * dx)


@kernel
def _tone(look, item, red, green, blue, light):  # type: ignore[no-untyped-def]
    """Packed colour of something lit by ``light``, seen through the fog; or its label."""
    if item.label >= 0:
        return item.label
    return palette.through_fog(look, item.clear, red * light, green * light, blue * light)


@kernel
def _fill(shapes, item, count, color):  # type: ignore[no-untyped-def]
    listing.close(shapes, FILL, count, color, item.label >= 0)


@kernel
def _put(shapes, eye, item, k, along, across, z):  # type: ignore[no-untyped-def]
    """Corner ``k`` of the next polygon, in the frame of the box."""
    x = item.x + item.cos * along - item.sin * across
    y = item.y + item.sin * along + item.cos * across
    listing.put(shapes, k, lens.to_camera(eye, x, y, z))


@kernel
def _list_shadow(shapes, eye, look, item, full):  # type: ignore[no-untyped-def]
    """A dark rectangle; in large pictures the ground shows through."""
    length, width = 0.5 * item.length + _SHADOW_M, 0.5 * item.width + _SHADOW_M
    for k in range(4):
        along = length if 0 < k < 3 else -length
        _put(shapes, eye, item, k, along, width if k > 1 else -width, item.base)
    color = _tone(look, item, 38.0, 38.0, 38.0, look.light)
    if full:
        listing.close_with(shapes, FILL, QUAD, color, _SHADOW_SHARE)
    else:
        _fill(shapes, item, QUAD, color)


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
    ahead, i, j, per_m = _on_picture(
        eye,
        item.x + item.cos * along - item.sin * across,
        item.y + item.sin * along + item.cos * across,
        item.base + 0.5 * (block.z0 + block.z1) * item.height,
    )
    radius = 0.5 * (block.z1 - block.z0) * item.height * per_m
    if not ahead or not _within(eye, i, j, radius):
        return
    r, g, b = item.color[0], item.color[1], item.color[2]
    if not block.painted:
        # Scenery varies from one thing to the next.
        vary = 0.85 + 0.3 * ((item.rank * 37) % 16) / 16.0
        r, g, b = block.color[0] * vary, block.color[1] * vary, block.color[2] * vary
    for part in range(2):
        shade = block.tone * (0.72 if part == 0 else 0.95)
        r_, g_, b_ = _snowed(r * shade, g * shade, b * shade, 0.6 * look.snow * part)
        color = _tone(look, item, r_, g_, b_, item.light)
        lift = 0.22 * radius * part
        opacity = SOLID if item.label < 0 else 0
        listing.add_disc(shapes, i, j - lift, radius, 1.0 - 0.22 * part, color, opacity)


@kernel
def _snowed(red, green, blue, share):  # type: ignore[no-untyped-def]
    """A colour of which snow covers a share."""
    if share == 0.0:
        return red, green, blue
    return red + (230.0 - red) * share, green + (232.0 - green) * share, blue + (236.0 - blue) * share


@kernel
def _on_picture(eye, x, y, z):  # type: ignore[no-untyped-def]
    """(whether it lies ahead, i, j, pixels per metre) of a point of the world."""
    cx, cy, cz = lens.to_camera(eye, x, y, z)
    if cz <= eye.near:
        return False, 0.0, 0.0, 0.0
    i, j = lens.to_picture(eye, cx, cy, cz)
    return True, i, j, eye.focal / math.sqrt(cx * cx + cy * cy + cz * cz)


@kernel
def _within(eye, i, j, radius):  # type: ignore[no-untyped-def]
    return -radius < i < 2.0 * eye.middle_x + radius and -radius < j < 2.0 * eye.middle_y + radius


@kernel
def _span(block, v):  # type: ignore[no-untyped-def]
    """(rear, front, right, left) of a block at the share ``v`` of its height, in fractions of the
    box."""
    return (
        block.x0 + v * (block.tx0 - block.x0),
        block.x1 + v * (block.tx1 - block.x1),
        block.y0 + v * (block.ty0 - block.y0),
        block.y1 + v * (block.ty1 - block.y1),
    )


@kernel
def _list_block(shapes, eye, look, item, tables, block, reach):  # type: ignore[no-untyped-def]
    low, high = item.base + block.z0 * item.height, item.base + block.z1 * item.height
    # The camera against each face's plane, at the camera's own height.
    rear, front, right, left = _span(block, (eye.z - low) / (high - low))
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
            color = _tone(look, item, r * shade, g * shade, b * shade, item.light)
            _list_rectangle(shapes, eye, item, block, face, side, 0.0, 1.0, 0.0, 1.0, color)
        _list_patches(shapes, eye, look, item, tables, block, face, side, reach)
    if eye.z > high and not block.bare:
        r, g, b = min(r * 1.1 + 14.0, 255.0), min(g * 1.1 + 14.0, 255.0), min(b * 1.1 + 14.0, 255.0)
        r, g, b = _snowed(r, g, b, 0.7 * look.snow)
        _list_top(shapes, eye, item, block, high, _tone(look, item, r, g, b, item.light))


@kernel
def _list_top(shapes, eye, item, block, z, color):  # type: ignore[no-untyped-def]
    rear, front, right, left = _span(block, 1.0)
    for k in range(4):
        along = (front if 0 < k < 3 else rear) - 0.5
        across = (left if k > 1 else right) - 0.5
        _put(shapes, eye, item, k, along * item.length, across * item.width, z)
    _fill(shapes, item, QUAD, color)


@kernel
def _on_face(item, block, face, side, u, v):  # type: ignore[no-untyped-def]
    """(along, across, z) in the frame of the box of the shares (u, v) across and up a face."""
    rear, front, right, left = _span(block, v)
    if face == SIDE:
        along = rear + u * (front - rear)
        across = left if side > 0 else right
    else:
        along = rear if face == REAR else front
        across = right + u * (left - right)
    up = block.z0 + v * (block.z1 - block.z0)
    return (along - 0.5) * item.length, (across - 0.5) * item.width, item.base + up * item.height


@kernel
def _list_rectangle(shapes, eye, item, block, face, side, u0, u1, v0, v1, color):  # type: ignore[no-untyped-def]
    for k in range(4):
        u, v = u1 if 0 < k < 3 else u0, v1 if k > 1 else v0
        along, across, z = _on_face(item, block, face, side, u, v)
        _put(shapes, eye, item, k, along, across, z)
    _fill(shapes, item, QUAD, color)


@kernel
def _list_patches(shapes, eye, look, item, tables, block, face, side, reach):  # type: ignore[no-untyped-def]
    for p in range(block.patch_first, block.patch_first + block.patch_count):
        patch = tables.patches[p]
        if patch.face != face or not item.distance < reach * patch.reach:
            continue
        if patch.role == models.WINDOWS:
            if item.label < 0:
                _list_windows(shapes, eye, look, item, block, face, side)
        elif patch.role == models.NUMBER:
            if item.label < 0:
                _list_number(shapes, eye, look, item, block, patch)
        else:
            _list_patch(shapes, eye, look, item, block, face, side, patch)


@kernel
def _list_patch(shapes, eye, look, item, block, face, side, patch):  # type: ignore[no-untyped-def]
    """A rectangle or a regular polygon, unless it is a lamp that is dark."""
    shown, r, g, b, own = _lamp(look, item, patch, face)
    if not shown:
        return
    color = _tone(look, item, r, g, b, 1.0 if own else item.light)
    if patch.corners == 4:
        _list_rectangle(
            shapes, eye, item, block, face, side, patch.u0, patch.u1, patch.v0, patch.v1, color
        )
    else:
        for k in range(patch.corners):
            angle = patch.turn + 2.0 * math.pi * k / patch.corners
            u = 0.5 * (patch.u0 + patch.u1) + 0.5 * (patch.u1 - patch.u0) * math.cos(angle)
            v = 0.5 * (patch.v0 + patch.v1) + 0.5 * (patch.v1 - patch.v0) * math.sin(angle)
            along, across, z = _on_face(item, block, face, side, u, v)
            _put(shapes, eye, item, k, along, across, z)
        _fill(shapes, item, patch.corners, color)
    if own and look.rain > 0.0 and item.label < 0 and patch.role != models.LAMP_MIDDLE:
        _list_mirrored(shapes, eye, look, item, block, face, side, patch, color)
    if own and look.night > 0.0 and item.label < 0:
        u, v = 0.5 * (patch.u0 + patch.u1), 0.5 * (patch.v0 + patch.v1)
        along, across, z = _on_face(item, block, face, side, u, v)
        x = item.x + item.cos * along - item.sin * across
        y = item.y + item.sin * along + item.cos * across
        ahead, i, j, per_m = _on_picture(eye, x, y, z)
        if ahead:
            _list_halo(shapes, eye, look, item, i, j, max(0.16 * per_m, 0.7), r, g, b)


@kernel
def _list_mirrored(shapes, eye, look, item, block, face, side, patch, color):  # type: ignore[no-untyped-def]
    """A lamp as a wet road mirrors it: as far below the ground as it is above, drawn out."""
    for k in range(4):
        u, v = patch.u1 if 0 < k < 3 else patch.u0, patch.v1 if k > 1 else patch.v0
        along, across, z = _on_face(item, block, face, side, u, v)
        stretch = 1.6 if k > 1 else 0.4
        _put(shapes, eye, item, k, along, across, item.base - stretch * (z - item.base))
    share = int(_MIRROR_SHARE * look.rain * item.clear)
    listing.close_with(shapes, FILL, QUAD, color, max(share, 1))


@kernel
def _lamp(look, item, patch, face):  # type: ignore[no-untyped-def]
    """(whether the patch shows, red, green, blue, whether it shines by itself)."""
    role = patch.role
    if role == models.PLAIN:
        return True, patch.color[0], patch.color[1], patch.color[2], False
    if role == models.LAMP_LEFT or role == models.LAMP_RIGHT or role == models.LAMP_MIDDLE:
        if face == FRONT:
            return True, LAMP_FRONT[0], LAMP_FRONT[1], LAMP_FRONT[2], True
        if item.braking:
            return True, LAMP_BRAKE[0], LAMP_BRAKE[1], LAMP_BRAKE[2], True
        dark = role != models.LAMP_MIDDLE
        return dark, LAMP_OFF[0], LAMP_OFF[1], LAMP_OFF[2], False
    if role == models.REVERSE:
        return item.reversing, _LAMP_REVERSE[0], _LAMP_REVERSE[1], _LAMP_REVERSE[2], True
    on = look.blink and (
        item.indicator == 2
        or (role == models.TURN_LEFT and item.indicator == 1)
        or (role == models.TURN_RIGHT and item.indicator == -1)
    )
    return on, _LAMP_TURN[0], _LAMP_TURN[1], _LAMP_TURN[2], True


@kernel
def _list_halo(shapes, eye, look, item, i, j, radius, red, green, blue):  # type: ignore[no-untyped-def]
    """Two faint rings of light around a lamp at night."""
    if not _within(eye, i, j, 4.0 * radius):
        return
    color = palette.pack(red, green, blue)
    strength = look.night * math.sqrt(item.clear)
    for ring in range(2):
        share = int(_GLOW_SHARE * strength / (1 + 2 * ring))
        if share > 0:
            listing.add_disc(shapes, i, j, radius, 2.0 + 2.0 * ring, color, share)


@kernel
def _list_signal(shapes, eye, look, item, full):  # type: ignore[no-untyped-def]
    """The lamps of a head: one large one in small pictures, else all three, of which one is lit."""
    state = look.signal[item.group]
    lit = state
    if state == _OFF or (state == _FLASHING and not look.blink):
        lit = -1
    elif state == _FLASHING:
        lit = _YELLOW
    opacity = SOLID if item.label < 0 else 0
    x = item.x + item.cos * (0.5 * item.length)
    y = item.y + item.sin * (0.5 * item.length)
    for place in range(3 if full else 1):
        # From the top: red, yellow, green.
        on = lit >= 0 and (not full or lit == 2 - place)
        share = (5.0 - 2.0 * place) / 6.0 if full else 0.5
        cx, cy, cz = lens.to_camera(eye, x, y, item.base + share * item.height)
        if cz <= eye.near:
            continue
        i, j = lens.to_picture(eye, cx, cy, cz)
        r, g, b = _UNLIT * item.light, _UNLIT * item.light, _UNLIT * item.light
        if on:
            r, g, b = SIGNAL_COLORS[lit, 0], SIGNAL_COLORS[lit, 1], SIGNAL_COLORS[lit, 2]
        radius = eye.focal * (_LAMP_SHARE * item.height if full else _LAMP_RADIUS_M) / cz
        if on or not full:
            radius = max(radius, _MIN_LAMP_PX)
        if not full:
            rim = item.label if item.label >= 0 else palette.pack(25.0, 25.0, 25.0)
            listing.add_disc(shapes, i, j, radius, 1.4, rim, opacity)
        color = palette.through_fog(look, math.sqrt(item.clear), r, g, b)
        if item.label >= 0:
            color = item.label
        listing.add_disc(shapes, i, j, radius, 1.0, color, opacity)
        if on and look.night > 0.0 and item.label < 0:
            _list_halo(shapes, eye, look, item, i, j, radius, r, g, b)


@kernel
def _list_windows(shapes, eye, look, item, block, face, side):  # type: ignore[no-untyped-def]
    """Rows of windows: single panes where they are large enough, else a band per storey."""
    span = item.length if face == SIDE else item.width
    storeys, columns = int(item.height / _STOREY_M), int(span / _WINDOW_M)
    per_m = eye.focal / max(item.distance, 1.0)
    if storeys < 1 or columns < 1 or per_m * _PANE_M < 2.0:
        return
    panes = columns if per_m * _PANE_M > 5.0 else 1
    glass = _tone(look, item, 62.0, 72.0, 86.0, item.light)
    lit = palette.through_fog(look, item.clear, _LIT_WINDOW[0], _LIT_WINDOW[1], _LIT_WINDOW[2])
    for storey in range(storeys):
        v0, v1 = (storey + 0.3) / storeys, (storey + 0.78) / storeys
        for column in range(panes):
            u0, u1 = (column + 0.22) / panes, (column + 0.78) / panes
            if panes == 1:
                u0, u1 = 0.06, 0.94
            chance = ((storey * 7919 + column * 104729 + item.rank * 1299709) >> 3) % 5
            color = lit if look.night > 0.3 and chance < 2 and panes > 1 else glass
            _list_rectangle(shapes, eye, item, block, face, side, u0, u1, v0, v1, color)


@kernel
def _list_number(shapes, eye, look, item, block, patch):  # type: ignore[no-untyped-def]
    """A number, or STOP where there is none, in glyphs of small rectangles."""
    value, letters = item.value, 4
    if value > 0:
        letters = 1 if value < 10 else 2 if value < 100 else 3
    color = _tone(look, item, patch.color[0], patch.color[1], patch.color[2], item.light)
    face = patch.face
    cell_u = (patch.u1 - patch.u0) / (4 * letters - 1)
    cell_v = (patch.v1 - patch.v0) / 5.0
    for letter in range(letters):
        glyph = _GLYPHS[_STOP_WORD + letter]
        if value > 0:
            glyph = _GLYPHS[value // 10 ** (letters - 1 - letter) % 10]
        for cell in range(15):
            if glyph >> (14 - cell) & 1:
                # Who reads it sees the sign's right side on the left.
                u0 = patch.u0 + (4 * letter + cell % 3) * cell_u
                v1 = patch.v1 - cell // 3 * cell_v
                _list_rectangle(
                    shapes, eye, item, block, face, NONE, u0, u0 + cell_u, v1 - cell_v, v1, color
                )
