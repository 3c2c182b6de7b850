"""Windows of buildings and what is written on signs."""

from __future__ import annotations

import numpy as np

from sim.kernels import kernel
from sim.sensors import faces, palette
from sim.sensors.forms import SIDE
from sim.sensors.listing import NONE

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
def list_windows(shapes, eye, look, item, block, face, side):  # type: ignore[no-untyped-def]
    """Rows of windows: single panes where they are large enough, else a band per storey."""
    span = item.length if face == SIDE else item.width
    storeys, columns = int(item.height / _STOREY_M), int(span / _WINDOW_M)
    per_m = eye.focal / max(item.distance, 1.0)
    if storeys < 1 or columns < 1 or per_m * _PANE_M < 2.0:
        return
    panes = columns if per_m * _PANE_M > 5.0 else 1
    glass = faces.tone(look, item, 62.0, 72.0, 86.0, item.light)
    lit = palette.through_fog(look, item.clear, _LIT_WINDOW[0], _LIT_WINDOW[1], _LIT_WINDOW[2])
    for storey in range(storeys):
        v0, v1 = (storey + 0.3) / storeys, (storey + 0.78) / storeys
        for column in range(panes):
            u0, u1 = (column + 0.22) / panes, (column + 0.78) / panes
            if panes == 1:
                u0, u1 = 0.06, 0.94
            chance = ((storey * 7919 + column * 104729 + item.rank * 1299709) >> 3) % 5
            color = lit if look.night > 0.3 and chance < 2 and panes > 1 else glass
            faces.list_rectangle(shapes, eye, item, block, face, side, u0, u1, v0, v1, color)


@kernel
def list_number(shapes, eye, look, item, block, patch):  # type: ignore[no-untyped-def]
    """A number, or STOP where there is none, in glyphs of small rectangles."""
    value, letters = item.value, 4
    if value > 0:
        letters = 1 if value < 10 else 2 if value < 100 else 3
    color = faces.tone(look, item, patch.color[0], patch.color[1], patch.color[2], item.light)
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
                faces.list_rectangle(
                    shapes, eye, item, block, face, NONE, u0, u0 + cell_u, v1 - cell_v, v1, color
                )
