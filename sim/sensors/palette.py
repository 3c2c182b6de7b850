"""Colours: scenery by texture seed, boxes by what they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.sensors.shapes import (
    END,
    END_A,
    END_B,
    HEAD_COLOR,
    HEAD_KIND,
    LAMP_BRAKE,
    LAMP_DARK,
    LAMP_FRONT,
    LAMP_LEFT,
    LAMP_MIDDLE,
    PATCH_COLOR,
    SHADOW,
    SIDE,
    SIDE_A,
    SIDE_B,
    SLOTS,
    TOP,
)

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

GROUNDS = np.array(
    [[88, 118, 62], [110, 124, 70], [126, 112, 78], [74, 104, 66], [140, 130, 104], [100, 108, 92]]
)
SKIES = np.array([[132, 176, 226], [166, 188, 208], [118, 160, 214], [188, 192, 196]])
ASPHALT = np.array([72, 78, 84, 92])


def look(seed: npt.NDArray[Any]) -> tuple[I64, I64, I64]:
    """Palette indices of sky, ground and asphalt from a texture seed (a multiplicative hash)."""
    mixed = seed.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = (mixed >> np.uint64(40)).astype(np.int64)
    return bits % len(SKIES), (bits // 7) % len(GROUNDS), (bits // 61) % len(ASPHALT)


def box_colors(
    kinds: I64, paint: npt.NDArray[Any], brake: Bool, end: I64, heading: F64, light: F64
) -> npt.NDArray[np.int64]:
    """Colours [m, SLOTS, 3] of the quads of boxes; lamps glow, all else scales with the light."""
    rgb = np.zeros((len(kinds), SLOTS, 3))
    rgb[:, SHADOW] = 38.0
    # A fixed sun: sides and ends are told apart whatever the heading.
    tilt = 0.08 * np.cos(heading - 0.6)
    rgb[:, SIDE] = paint * (0.72 + tilt)[:, None]
    rgb[:, END] = paint * (0.92 - tilt)[:, None]
    rgb[kinds == HEAD_KIND, END] = HEAD_COLOR
    rgb[:, TOP] = np.minimum(paint * 1.1 + 14.0, 255.0)
    rgb[:, SIDE_A : SIDE_B + 1] = PATCH_COLOR[kinds, 0]
    rgb[:, END_A : END_B + 1] = PATCH_COLOR[kinds, end]
    rgb *= light[:, None, None]
    rear = np.where(brake[:, None], LAMP_BRAKE, np.array(LAMP_DARK) * light[:, None])
    lamp = np.where((end == 2)[:, None], LAMP_FRONT, rear)
    rgb[:, LAMP_LEFT : LAMP_MIDDLE + 1] = lamp[:, None]
    return np.rint(rgb).astype(np.int64)
