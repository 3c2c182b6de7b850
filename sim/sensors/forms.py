"""What things are made of: blocks, patches of colour on their faces, and how often-used ones look.

A block is a frustum in fractions of the thing's box: along it from its rear (0) to its front (1),
across from right (0) to left (1), and up. A patch is a rectangle or a regular polygon on one of its
faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Rgb = tuple[int, int, int]

# Faces of a block, and what a patch is for.
SIDE, REAR, FRONT = range(3)
(
    PLAIN, LAMP_LEFT, LAMP_RIGHT, LAMP_MIDDLE, TURN_LEFT, TURN_RIGHT, REVERSE, SIGNALS, NUMBER,
    WINDOWS, OWN,
) = range(11)  # fmt: skip

GLASS, TYRE, SKIN, PALE = (38, 46, 58), (22, 22, 24), (226, 178, 148), (235, 235, 230)
TROUSERS, DARK, RIM, BODY_GRAY = (34, 36, 66), (25, 25, 25), (150, 152, 156), (92, 96, 100)
CHROME, PLATE, ORANGE, RED = (70, 74, 80), (225, 222, 200), (240, 110, 20), (200, 30, 32)
YELLOW, WHITE, BLACK, TRUNK = (245, 200, 40), (244, 244, 240), (18, 18, 18), (84, 66, 48)
HAIR, HELMET, JACKET, SIGN_BACK = (52, 38, 28), (200, 200, 205), (44, 46, 52), (120, 122, 124)


@dataclass(frozen=True)
class Patch:
    """``across`` and ``up`` (from, to) in fractions of the face; ``corners`` 4: that rectangle,
    else a regular polygon inside, turned by ``turn_deg``. ``reach``: share of the detail range."""

    face: int
    across: tuple[float, float]
    up: tuple[float, float]
    color: Rgb = (0, 0, 0)
    role: int = PLAIN
    corners: int = 4
    turn_deg: float = 0.0
    reach: float = 1.0


@dataclass(frozen=True)
class Block:
    """``along``, ``across``, ``up`` (from, to) in fractions of the box, ``top_along`` and
    ``top_across`` where its top differs. ``color`` None: that of the thing, times ``tone``.
    ``bare``: only its patches are drawn. ``ball``: a sphere of the block's height. Blocks of a
    lower ``level`` are drawn first, within a level far ones before near ones."""

    along: tuple[float, float] = (0.0, 1.0)
    across: tuple[float, float] = (0.0, 1.0)
    up: tuple[float, float] = (0.0, 1.0)
    top_along: tuple[float, float] | None = None
    top_across: tuple[float, float] | None = None
    color: Rgb | None = None
    tone: float = 1.0
    level: int = 0
    bare: bool = False
    ball: bool = False
    patches: tuple[Patch, ...] = field(default=())


def both(across: tuple[float, float], up: tuple[float, float], color: Rgb, **more: Any) -> Any:
    """The same patch on the rear and the front."""
    return (Patch(REAR, across, up, color, **more), Patch(FRONT, across, up, color, **more))


def on_all(across: tuple[float, float], up: tuple[float, float], color: Rgb, **more: Any) -> Any:
    return (Patch(SIDE, across, up, color, **more), *both(across, up, color, **more))


def lamps(low: float, high: float, bottom: float, top: float) -> tuple[Patch, ...]:
    """Lamps at both ends, the right one between ``low`` and ``high`` across; with indicators in
    their outer and reversing lights in their inner part."""
    inner, outer = high - 0.35 * (high - low), low + 0.45 * (high - low)
    found: list[Patch] = []
    for face in (REAR, FRONT):
        pairs = [
            (LAMP_LEFT, (1.0 - high, 1.0 - low), (bottom, top)),
            (LAMP_RIGHT, (low, high), (bottom, top)),
            (TURN_LEFT, (1.0 - outer, 1.0 - low), (bottom, top)),
            (TURN_RIGHT, (low, outer), (bottom, top)),
        ]
        if face == REAR:
            pairs += [
                (REVERSE, (1.0 - high, 1.0 - inner), (bottom, top)),
                (REVERSE, (inner, high), (bottom, top)),
            ]
        found += [Patch(face, a, u, role=role, reach=np.inf) for role, a, u in pairs]
    return tuple(found)


def middle_lamp(low: float, high: float, bottom: float, top: float) -> tuple[Patch, ...]:
    return (Patch(REAR, (low, high), (bottom, top), role=LAMP_MIDDLE, reach=np.inf),)


def wheels(at: Sequence[float], radius: float, up: tuple[float, float], per_length: float) -> Any:
    """Wheels on both sides at fractions ``at`` of the block's length. ``radius`` in fractions of
    the box's height, ``per_length``: height of the box over the length of the block, ``up``: the
    block's."""
    rise = up[1] - up[0]
    found = []
    for x in at:
        for share, color in ((1.0, TYRE), (0.55, RIM)):
            r = share * radius
            across = (x - r * per_length, x + r * per_length)
            v = ((radius - r - up[0]) / rise, (radius + r - up[0]) / rise)
            reach = 1.0 if share == 1.0 else 0.5
            found.append(Patch(SIDE, across, v, color, corners=12, reach=reach))
    return tuple(found)
