"""Lamps of vehicles and signals: which are lit, how they glow at night and shine on wet roads."""

from __future__ import annotations

import math

import numpy as np

from sim.kernels import kernel
from sim.sensors import faces, forms, lens, listing, palette
from sim.sensors.forms import FRONT
from sim.sensors.listing import FILL, QUAD
from sim.sensors.smooth import SOLID

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


@kernel
def lamp(look, item, patch, face):  # type: ignore[no-untyped-def]
    """(whether the patch shows, red, green, blue, whether it shines by itself)."""
    role = patch.role
    if role == forms.PLAIN:
        return True, patch.color[0], patch.color[1], patch.color[2], False
    if role == forms.LAMP_LEFT or role == forms.LAMP_RIGHT or role == forms.LAMP_MIDDLE:
        if face == FRONT:
            return True, LAMP_FRONT[0], LAMP_FRONT[1], LAMP_FRONT[2], True
        if item.braking:
            return True, LAMP_BRAKE[0], LAMP_BRAKE[1], LAMP_BRAKE[2], True
        dark = role != forms.LAMP_MIDDLE
        return dark, LAMP_OFF[0], LAMP_OFF[1], LAMP_OFF[2], False
    if role == forms.REVERSE:
        return item.reversing, _LAMP_REVERSE[0], _LAMP_REVERSE[1], _LAMP_REVERSE[2], True
    on = look.blink and (
        item.indicator == 2
        or (role == forms.TURN_LEFT and item.indicator == 1)
        or (role == forms.TURN_RIGHT and item.indicator == -1)
    )
    return on, _LAMP_TURN[0], _LAMP_TURN[1], _LAMP_TURN[2], True


@kernel
def list_halo(shapes, eye, look, item, i, j, radius, red, green, blue):  # type: ignore[no-untyped-def]
    """Two faint rings of light around a lamp at night."""
    if not faces.is_within(eye, i, j, 4.0 * radius):
        return
    color = palette.pack(red, green, blue)
    strength = look.night * math.sqrt(item.clear)
    for ring in range(2):
        share = int(_GLOW_SHARE * strength / (1 + 2 * ring))
        if share > 0:
            listing.add_disc(shapes, i, j, radius, 2.0 + 2.0 * ring, color, share)


@kernel
def list_mirrored(shapes, eye, look, item, block, face, side, patch, color):  # type: ignore[no-untyped-def]
    """A lamp as a wet road mirrors it: as far below the ground as it is above, drawn out."""
    for k in range(4):
        u, v = patch.u1 if 0 < k < 3 else patch.u0, patch.v1 if k > 1 else patch.v0
        along, across, z = faces.on_face(item, block, face, side, u, v)
        stretch = 1.6 if k > 1 else 0.4
        faces.put(shapes, eye, item, k, along, across, item.base - stretch * (z - item.base))
    share = int(_MIRROR_SHARE * look.rain * item.clear)
    listing.close_with(shapes, FILL, QUAD, color, max(share, 1))


@kernel
def list_signal(shapes, eye, look, item, full):  # type: ignore[no-untyped-def]
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
            list_halo(shapes, eye, look, item, i, j, radius, r, g, b)
