"""What things look like: each kind is a few blocks with patches of colour on their faces.

A block is a frustum in fractions of the thing's box: along it from its rear (0) to its front (1),
across from right (0) to left (1), and up. A patch is a rectangle or a regular polygon on one of its
faces. There is a plain form of every kind, for small pictures and far things, and a full one.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import ACTOR_KINDS

Rgb = tuple[int, int, int]
Records = npt.NDArray[Any]

# Kinds besides those of actors.
_FIXED = (
    "signal", "pole", "sign_stop", "sign_yield", "sign_speed", "sign_warning", "building", "tree",
)  # fmt: skip
KINDS = (*ACTOR_KINDS, *_FIXED)
SIGNAL, POLE = KINDS.index("signal"), KINDS.index("pole")
SIGN_SPEED, BUILDING, TREE = (KINDS.index(k) for k in ("sign_speed", "building", "tree"))

# Faces of a block, and what a patch is for.
SIDE, REAR, FRONT, TOP = range(4)
(
    PLAIN, LAMP_LEFT, LAMP_RIGHT, LAMP_MIDDLE, TURN_LEFT, TURN_RIGHT, REVERSE, SIGNALS, NUMBER,
    WINDOWS, OWN,
) = range(11)  # fmt: skip

# Segmentation classes, by name.
CLASSES = (
    "sky", "ground", "road", "pavement", "marking", "vehicle", "two_wheeler", "pedestrian",
    "animal", "object", "signal", "sign", "pole", "building", "vegetation",
)  # fmt: skip
_CLASS_OF = {
    **dict.fromkeys(("car", "van", "truck", "bus", "door"), "vehicle"),
    **dict.fromkeys(("motorcycle", "cyclist"), "two_wheeler"),
    **dict.fromkeys(("cone", "barrier", "debris", "ball"), "object"),
    **dict.fromkeys((k for k in _FIXED if k.startswith("sign_")), "sign"),
    "pedestrian": "pedestrian", "animal": "animal", "signal": "signal", "pole": "pole",
    "building": "building", "tree": "vegetation",
}  # fmt: skip

GLASS, TYRE, SKIN, PALE = (38, 46, 58), (22, 22, 24), (226, 178, 148), (235, 235, 230)
TROUSERS, DARK, RIM, BODY_GRAY = (34, 36, 66), (25, 25, 25), (150, 152, 156), (92, 96, 100)
CHROME, PLATE, ORANGE, RED = (70, 74, 80), (225, 222, 200), (240, 110, 20), (200, 30, 32)
YELLOW, WHITE, BLACK, TRUNK = (245, 200, 40), (244, 244, 240), (18, 18, 18), (84, 66, 48)
HAIR, HELMET, JACKET, SIGN_BACK = (52, 38, 28), (200, 200, 205), (44, 46, 52), (120, 122, 124)
DETAIL_M = 45.0  # patches are drawn up to here by a camera of ``DETAIL_FOCAL_PX``
DETAIL_FOCAL_PX = 165.0


@dataclass(frozen=True)
class Patch:
    """``across`` and ``up`` (from, to) in fractions of the face; ``corners`` 4: that rectangle, else
    a regular polygon inside, turned by ``turn_deg``. ``reach``: share of the detail range."""

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
    ``bare``: only its patches are drawn. ``ball``: a sphere of the block's height. Blocks of a lower
    ``level`` are drawn first, within a level far ones before near ones."""

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


PATCH = np.dtype(
    [("face", "i8"), ("u0", "f8"), ("u1", "f8"), ("v0", "f8"), ("v1", "f8"), ("color", "f8", (3,)),
     ("role", "i8"), ("corners", "i8"), ("turn", "f8"), ("reach", "f8")],
    align=True,
)  # fmt: skip
BLOCK = np.dtype(
    [(name, "f8") for name in (
        "x0", "x1", "tx0", "tx1", "y0", "y1", "ty0", "ty1", "z0", "z1", "tone",
    )]
    + [("painted", "?"), ("bare", "?"), ("ball", "?"), ("level", "i8"), ("color", "f8", (3,)),
       ("patch_first", "i8"), ("patch_count", "i8")],
    align=True,
)  # fmt: skip
MODEL = np.dtype(
    [("first", "i8"), ("count", "i8"), ("levels", "i8"), ("label", "i8"), ("shadow", "?")],
    align=True,
)

# ``models`` MODEL [2 (plain, full), kinds], ``blocks`` BLOCK, ``patches`` PATCH.
Models = namedtuple("Models", "models blocks patches")


def _both(across: tuple[float, float], up: tuple[float, float], color: Rgb, **more: Any) -> Any:
    """The same patch on the rear and the front."""
    return (Patch(REAR, across, up, color, **more), Patch(FRONT, across, up, color, **more))


def _all(across: tuple[float, float], up: tuple[float, float], color: Rgb, **more: Any) -> Any:
    return (Patch(SIDE, across, up, color, **more), *_both(across, up, color, **more))


def _lamps(low: float, high: float, bottom: float, top: float) -> tuple[Patch, ...]:
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


def _middle(low: float, high: float, bottom: float, top: float) -> tuple[Patch, ...]:
    return (Patch(REAR, (low, high), (bottom, top), role=LAMP_MIDDLE, reach=np.inf),)


def _wheels(at: Sequence[float], radius: float, up: tuple[float, float], per_length: float) -> Any:
    """Wheels on both sides at fractions ``at`` of the block's length. ``radius`` in fractions of the
    box's height, ``per_length``: height of the box over the length of the block, ``up``: the block's.
    """
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


def _plain() -> dict[str, tuple[Block, ...]]:
    """One block each."""
    ground = {"car": 0.16, "van": 0.12, "truck": 0.18, "bus": 0.12}
    glass: dict[str, Any] = {
        "car": ((0.18, 0.84, 0.56, 0.93), (0.12, 0.88, 0.6, 0.93), (0.06, 0.94, 0.56, 0.95)),
        "van": ((0.55, 0.97, 0.52, 0.85), (0.14, 0.86, 0.6, 0.86), (0.05, 0.95, 0.5, 0.88)),
        "truck": ((0.84, 0.98, 0.45, 0.72), (0.49, 0.51, 0.2, 0.97), (0.06, 0.94, 0.45, 0.72)),
        "bus": ((0.03, 0.97, 0.45, 0.82), (0.15, 0.85, 0.55, 0.85), (0.05, 0.95, 0.35, 0.85)),
    }
    foot = {
        "car": (0.16, 0.16, 0.16), "van": (0.12, 0.12, 0.12), "truck": (0.18, 0.1, 0.12),
        "bus": (0.12, 0.1, 0.1),
    }  # fmt: skip
    lamps = {
        "car": (0.03, 0.27, 0.36, 0.56), "van": (0.03, 0.22, 0.26, 0.42),
        "truck": (0.03, 0.2, 0.14, 0.32), "bus": (0.03, 0.18, 0.12, 0.26),
        "motorcycle": (0.2, 0.8, 0.42, 0.6),
    }  # fmt: skip
    middle = {"car": (0.3, 0.7, 0.93, 1.0), "van": (0.3, 0.7, 0.88, 0.96)}
    forms: dict[str, tuple[Block, ...]] = {}
    for kind in ground:
        patches = []
        for face in (SIDE, REAR, FRONT):
            a0, a1, u0, u1 = glass[kind][face]
            color = TYRE if kind == "truck" and face == REAR else GLASS
            patches.append(Patch(face, (a0, a1), (u0, u1), color))
            patches.append(Patch(face, (0.0, 1.0), (0.0, foot[kind][face]), TYRE))
        tail = _lamps(*lamps[kind]) + (_middle(*middle[kind]) if kind in middle else ())
        forms[kind] = (Block(patches=(*patches, *tail)),)
    riders = {"motorcycle": ((0.35, 0.6), 0.82, PALE), "cyclist": ((0.4, 0.65), 0.85, SKIN)}
    for kind, (head, up, color) in riders.items():
        patches = list(_all((0.0, 1.0), (0.0, 0.4), TYRE))
        patches.append(Patch(SIDE, head, (up, 1.0), color))
        patches += _both((0.25, 0.75), (up, 1.0), color)
        forms[kind] = (Block(patches=(*patches, *(_lamps(*lamps[kind]) if kind in lamps else ()))),)
    forms["pedestrian"] = (
        Block(
            patches=(
                *_all((0.0, 1.0), (0.0, 0.46), TROUSERS), *_all((0.0, 1.0), (0.84, 1.0), SKIN)
            )
        ),
    )  # fmt: skip
    forms["cone"] = (Block(patches=_all((0.0, 1.0), (0.45, 0.72), PALE)),)
    forms["barrier"] = (Block(patches=_all((0.0, 1.0), (0.36, 0.66), PALE)),)
    forms["debris"] = (Block(),)
    forms["animal"] = (
        Block(along=(0.0, 0.8), up=(0.45, 0.8)),
        Block(along=(0.78, 1.0), across=(0.2, 0.8), up=(0.6, 1.0)),
        Block(along=(0.05, 0.25), up=(0.0, 0.45), tone=0.8),
        Block(along=(0.55, 0.75), up=(0.0, 0.45), tone=0.8),
    )
    forms["ball"] = (Block(ball=True),)
    forms["door"] = (Block(patches=(Patch(SIDE, (0.1, 0.9), (0.55, 0.93), GLASS),)),)
    forms["pole"] = (Block(),)
    return forms


def _full() -> dict[str, tuple[Block, ...]]:
    forms = {**_vehicles(), **_riders(), **_others()}
    return forms


def _vehicles() -> dict[str, tuple[Block, ...]]:
    low = (0.14, 0.62)
    car = (
        Block(
            up=low, top_along=(0.01, 0.98), top_across=(0.04, 0.96),
            patches=(
                Patch(SIDE, (0.0, 1.0), (0.0, 0.14), TYRE),
                *_wheels((0.19, 0.81), 0.215, low, 1.5 / 4.6),
                *_both((0.04, 0.16), (-0.29, 0.0), TYRE), *_both((0.84, 0.96), (-0.29, 0.0), TYRE),
                *_both((0.0, 1.0), (0.0, 0.28), CHROME),
                Patch(FRONT, (0.28, 0.72), (0.3, 0.62), DARK),
                Patch(REAR, (0.38, 0.62), (0.34, 0.56), PLATE, reach=0.7),
                *_lamps(0.03, 0.25, 0.52, 0.86),
            ),
        ),
        Block(
            along=(0.1, 0.76), across=(0.04, 0.96), up=(0.62, 1.0), top_along=(0.24, 0.6),
            top_across=(0.14, 0.86), level=1,
            patches=(
                Patch(SIDE, (0.08, 0.48), (0.14, 0.86), GLASS),
                Patch(SIDE, (0.52, 0.92), (0.14, 0.86), GLASS),
                Patch(REAR, (0.08, 0.92), (0.12, 0.88), GLASS),
                Patch(FRONT, (0.06, 0.94), (0.08, 0.92), GLASS),
                *_middle(0.36, 0.64, 0.9, 1.0),
            ),
        ),
    )  # fmt: skip
    low = (0.1, 0.48)
    van = (
        Block(
            up=low,
            patches=(
                Patch(SIDE, (0.0, 1.0), (0.0, 0.16), TYRE),
                *_wheels((0.18, 0.83), 0.15, low, 2.3 / 5.4),
                *_both((0.04, 0.15), (-0.26, 0.0), TYRE), *_both((0.85, 0.96), (-0.26, 0.0), TYRE),
                *_both((0.0, 1.0), (0.0, 0.24), CHROME),
                Patch(FRONT, (0.25, 0.75), (0.3, 0.55), DARK),
                *_lamps(0.02, 0.2, 0.42, 0.86),
            ),
        ),
        Block(
            along=(0.0, 0.97), up=(0.48, 1.0), top_along=(0.01, 0.78), top_across=(0.05, 0.95),
            level=1,
            patches=(
                Patch(SIDE, (0.68, 0.93), (0.1, 0.78), GLASS),
                Patch(REAR, (0.08, 0.47), (0.2, 0.8), GLASS),
                Patch(REAR, (0.53, 0.92), (0.2, 0.8), GLASS),
                Patch(FRONT, (0.05, 0.95), (0.06, 0.84), GLASS),
                *_middle(0.38, 0.62, 0.9, 0.98),
            ),
        ),
    )  # fmt: skip
    low = (0.12, 0.3)
    truck = (
        Block(
            across=(0.06, 0.94), up=low, color=(40, 42, 46),
            patches=(
                *_wheels((0.08, 0.2, 0.86), 0.145, low, 3.4 / 9.0),
                *_both((0.0, 0.2), (-0.66, 0.1), TYRE), *_both((0.8, 1.0), (-0.66, 0.1), TYRE),
                *_lamps(0.0, 0.2, 0.2, 0.95),
            ),
        ),
        Block(
            along=(0.0, 0.76), up=(0.3, 1.0), level=1, tone=1.0,
            patches=(
                Patch(REAR, (0.49, 0.51), (0.03, 0.97), DARK),
                Patch(REAR, (0.0, 1.0), (0.0, 0.05), PALE),
                Patch(SIDE, (0.0, 1.0), (0.0, 0.05), CHROME),
            ),
        ),
        Block(
            along=(0.79, 1.0), up=(0.2, 0.86), top_along=(0.79, 0.97), level=1, tone=0.85,
            patches=(
                Patch(SIDE, (0.25, 0.9), (0.5, 0.82), GLASS),
                Patch(FRONT, (0.05, 0.95), (0.48, 0.86), GLASS),
                Patch(FRONT, (0.15, 0.85), (0.12, 0.38), DARK),
            ),
        ),
    )  # fmt: skip
    low = (0.1, 1.0)
    panes = tuple(
        Patch(SIDE, (0.02 + 0.16 * i, 0.16 + 0.16 * i), (0.42, 0.8), GLASS) for i in range(6)
    )
    bus = (
        Block(
            up=low, top_across=(0.03, 0.97),
            patches=(
                Patch(SIDE, (0.0, 1.0), (0.0, 0.06), TYRE),
                *_wheels((0.2, 0.78), 0.15, low, 3.2 / 12.0),
                *panes,
                Patch(REAR, (0.12, 0.88), (0.52, 0.82), GLASS),
                Patch(FRONT, (0.04, 0.96), (0.3, 0.82), GLASS),
                *_both((0.2, 0.8), (0.86, 0.96), DARK),
                Patch(FRONT, (0.3, 0.7), (0.885, 0.935), ORANGE, reach=0.7),
                *_both((0.03, 0.16), (-0.11, 0.0), TYRE), *_both((0.84, 0.97), (-0.11, 0.0), TYRE),
                *_both((0.0, 1.0), (0.0, 0.06), CHROME),
                *_lamps(0.03, 0.17, 0.09, 0.2),
            ),
        ),
    )  # fmt: skip
    door = (
        Block(
            top_along=(0.1, 0.95),
            patches=(
                Patch(SIDE, (0.08, 0.92), (0.55, 0.94), GLASS),
                Patch(SIDE, (0.75, 0.9), (0.44, 0.48), CHROME, reach=0.5),
            ),
        ),
    )
    return {"car": car, "van": van, "truck": truck, "bus": bus, "door": door}


def _riders() -> dict[str, tuple[Block, ...]]:
    def rider(head: Rgb, body: Rgb | None, seat: float) -> tuple[Block, ...]:
        return (
            Block(along=(0.34, 0.56), across=(0.2, 0.8), up=(0.25, seat), color=TROUSERS, level=1),
            Block(
                along=(0.32, 0.54), top_along=(0.42, 0.66), across=(0.1, 0.9), up=(seat, 0.84),
                color=body, level=2,
            ),
            Block(
                along=(0.42, 0.68), across=(0.2, 0.8), up=(0.84, 1.0), color=head, ball=True,
                level=3,
            ),
        )  # fmt: skip

    low = (0.22, 0.58)
    motorcycle = (
        Block(
            along=(0.05, 0.95), top_along=(0.1, 0.8), across=(0.3, 0.7), up=low,
            patches=(
                *_wheels((0.14, 0.86), 0.2, low, 1.5 / (2.2 * 0.9)),
                *_both((0.1, 0.9), (-0.55, 0.3), TYRE), *_lamps(0.2, 0.8, 0.45, 0.95)
            ),
        ),
        *rider(HELMET, JACKET, 0.5),
    )  # fmt: skip
    low = (0.34, 0.46)
    cyclist = (
        Block(
            along=(0.14, 0.86), across=(0.45, 0.55), up=low,
            patches=(
                *_wheels((0.03, 0.97), 0.2, low, 1.7 / (1.8 * 0.72)),
                *_both((-0.2, 1.2), (-2.8, 0.3), TYRE),
            ),
        ),
        Block(
            along=(0.78, 0.84), across=(0.1, 0.9), up=(0.58, 0.62), color=DARK, level=1
        ),
        *rider(HELMET, None, 0.54),
    )  # fmt: skip
    leg: dict[str, Any] = {"along": (0.3, 0.7), "up": (0.0, 0.48), "color": TROUSERS}
    pedestrian = (
        Block(across=(0.16, 0.46), **leg),
        Block(across=(0.54, 0.84), **leg),
        Block(
            along=(0.28, 0.72), across=(0.18, 0.82), top_across=(0.06, 0.94), up=(0.46, 0.83),
            level=1,
        ),
        Block(along=(0.36, 0.64), across=(0.0, 0.13), up=(0.44, 0.8), level=1, tone=0.8),
        Block(along=(0.36, 0.64), across=(0.87, 1.0), up=(0.44, 0.8), level=1, tone=0.8),
        Block(
            along=(0.3, 0.7), across=(0.3, 0.7), up=(0.85, 1.0), color=HAIR, ball=True, level=2,
        ),
        Block(
            along=(0.45, 0.72), across=(0.34, 0.66), up=(0.84, 0.96), color=SKIN, ball=True,
            level=2,
        ),
    )  # fmt: skip
    legs = tuple(
        Block(along=along, across=across, up=(0.0, 0.5), tone=0.7)
        for along in ((0.1, 0.18), (0.66, 0.74))
        for across in ((0.1, 0.35), (0.65, 0.9))
    )
    animal = (
        *legs,
        Block(along=(0.04, 0.8), across=(0.05, 0.95), top_across=(0.2, 0.8), up=(0.45, 0.78),
              level=1),
        Block(along=(0.7, 0.84), top_along=(0.8, 0.92), across=(0.3, 0.7), up=(0.66, 0.92),
              level=2, tone=0.95),
        Block(along=(0.8, 1.0), across=(0.28, 0.72), up=(0.82, 0.97), level=3),
    )  # fmt: skip
    return {
        "motorcycle": motorcycle, "cyclist": cyclist, "pedestrian": pedestrian, "animal": animal,
    }  # fmt: skip


def _others() -> dict[str, tuple[Block, ...]]:
    cone = (
        Block(up=(0.0, 0.07), color=DARK),
        Block(
            along=(0.14, 0.86), across=(0.14, 0.86), top_along=(0.43, 0.57),
            top_across=(0.43, 0.57), up=(0.07, 1.0), level=1,
            patches=(
                *_all((0.0, 1.0), (0.32, 0.52), WHITE), *_all((0.0, 1.0), (0.68, 0.82), WHITE),
            ),
        ),
    )  # fmt: skip
    stripes = [Patch(f, (a, a + 0.14), (0.1, 0.9), WHITE)
               for f in (REAR, FRONT) for a in (0.1, 0.38, 0.66)]  # fmt: skip
    barrier = (
        Block(along=(0.1, 0.9), across=(0.06, 0.12), up=(0.0, 1.0), color=BODY_GRAY),
        Block(along=(0.1, 0.9), across=(0.88, 0.94), up=(0.0, 1.0), color=BODY_GRAY),
        Block(along=(0.4, 0.6), up=(0.62, 1.0), level=1, patches=tuple(stripes)),
        Block(along=(0.4, 0.6), up=(0.16, 0.48), level=1,
              patches=tuple(replace(p, across=(p.across[0] + 0.1, p.across[1] + 0.1))
                            for p in stripes)),
    )  # fmt: skip
    debris = (
        Block(along=(0.0, 0.7), across=(0.1, 0.8), top_along=(0.1, 0.5), up=(0.0, 0.7)),
        Block(along=(0.5, 1.0), across=(0.4, 1.0), top_across=(0.5, 0.8), up=(0.0, 0.45), tone=0.7),
        Block(along=(0.2, 0.5), across=(0.3, 0.6), up=(0.6, 1.0), level=1, tone=0.85),
    )
    # The lamps hang in front of their housing, one in each third of its height.
    signal = (
        Block(
            across=(0.3, 0.7), up=(-0.1, 1.05), color=DARK,
            patches=(Patch(FRONT, (0.0, 1.0), (0.0, 1.0), role=SIGNALS, reach=np.inf),),
        ),
    )  # fmt: skip
    return {
        "cone": cone, "barrier": barrier, "debris": debris, "ball": (Block(ball=True),),
        "signal": signal, "pole": (Block(color=BODY_GRAY),), **_signs(), **_scenery(),
    }  # fmt: skip


def _signs() -> dict[str, tuple[Block, ...]]:
    def sign(*patches: Patch, back: int = 16) -> tuple[Block, ...]:
        plate = replace(patches[0], face=REAR, color=SIGN_BACK)
        return (
            Block(along=(0.3, 0.7), across=(0.46, 0.54), up=(0.0, 0.98), color=BODY_GRAY),
            Block(along=(0.75, 0.8), up=(0.7, 1.0), bare=True, level=1, patches=(plate, *patches)),
        )

    whole, inner = (0.0, 1.0), (0.07, 0.93)

    def plate(color: Rgb, size: tuple[float, float], corners: int, turn: float) -> Patch:
        return Patch(FRONT, size, size, color, corners=corners, turn_deg=turn, reach=4.0)

    return {
        "sign_stop": sign(
            plate(WHITE, whole, 8, 22.5), plate(RED, inner, 8, 22.5),
            Patch(FRONT, (0.14, 0.86), (0.36, 0.64), WHITE, role=NUMBER, reach=1.0),
        ),
        "sign_yield": sign(
            plate(RED, whole, 3, -90.0), plate(WHITE, (0.2, 0.8), 3, -90.0),
        ),
        "sign_speed": sign(
            plate(RED, whole, 16, 0.0), plate(WHITE, (0.12, 0.88), 16, 0.0),
            Patch(FRONT, (0.2, 0.8), (0.3, 0.7), BLACK, role=NUMBER, reach=1.0),
        ),
        "sign_warning": sign(
            plate(RED, whole, 3, 90.0), plate(WHITE, (0.16, 0.84), 3, 90.0),
            Patch(FRONT, (0.46, 0.54), (0.36, 0.6), BLACK, reach=1.5),
            Patch(FRONT, (0.46, 0.54), (0.26, 0.32), BLACK, reach=1.5),
        ),
    }  # fmt: skip


def _scenery() -> dict[str, tuple[Block, ...]]:
    crown = (62, 96, 48)
    windows = tuple(Patch(f, (0.0, 1.0), (0.0, 1.0), GLASS, role=WINDOWS, reach=8.0)
                    for f in (SIDE, REAR, FRONT))  # fmt: skip
    building = (Block(patches=windows),)
    tree = (
        Block(along=(0.46, 0.54), across=(0.46, 0.54), up=(0.0, 0.5), color=TRUNK),
        Block(along=(0.1, 0.6), across=(0.3, 0.9), up=(0.28, 0.76), color=crown, ball=True, level=1,
              tone=0.85),
        Block(along=(0.35, 0.95), across=(0.1, 0.7), up=(0.3, 0.8), color=crown, ball=True, level=1),
        Block(along=(0.2, 0.8), across=(0.2, 0.8), up=(0.45, 1.0), color=crown, ball=True, level=2,
              tone=1.15),
    )  # fmt: skip
    return {"building": building, "tree": tree}


@cache
def models() -> Models:
    """The tables that kernels draw from."""
    full = _full()
    plain = {**full, **_plain()}
    # A small picture shows the whole housing and one large lamp.
    plain["signal"] = (
        Block(patches=_both((0.0, 1.0), (0.0, 1.0), DARK, reach=np.inf)),
    )
    rows = np.zeros((2, len(KINDS)), dtype=MODEL)
    blocks: list[Any] = []
    patches: list[Any] = []
    for detail, forms in enumerate((plain, full)):
        for k, kind in enumerate(KINDS):
            form = forms[kind]
            label = CLASSES.index(_CLASS_OF[kind])
            shadow = kind not in ("signal", "pole", "tree") and not kind.startswith("sign_")
            levels = 1 + max(block.level for block in form)
            rows[detail, k] = (len(blocks), len(form), levels, label, shadow)
            for block in form:
                blocks.append(_block_row(block, len(patches)))
                patches += [_patch_row(patch) for patch in block.patches]
    return Models(rows, np.array(blocks, dtype=BLOCK), np.array(patches, dtype=PATCH))


def _block_row(block: Block, first: int) -> tuple[Any, ...]:
    along, across = block.top_along or block.along, block.top_across or block.across
    return (
        *block.along, *along, *block.across, *across, *block.up, block.tone, block.color is None,
        block.bare, block.ball, block.level, block.color or (0, 0, 0), first, len(block.patches),
    )  # fmt: skip


def _patch_row(patch: Patch) -> tuple[Any, ...]:
    return (
        patch.face, *patch.across, *patch.up, patch.color, patch.role, patch.corners,
        np.radians(patch.turn_deg), patch.reach,
    )  # fmt: skip
