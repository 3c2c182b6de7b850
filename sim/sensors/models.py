"""What every kind of thing looks like, and what class it is, as tables that kernels draw from.

There is a plain form of every kind, for small pictures and far things, and a full one.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import ACTOR_KINDS
from sim.sensors.forms import Block, Patch
from sim.sensors.other_forms import other_forms, rider_forms
from sim.sensors.plain_forms import plain_forms
from sim.sensors.vehicle_forms import vehicle_forms

Records = npt.NDArray[Any]

# Kinds besides those of actors.
_FIXED = (
    "signal", "pole", "sign_stop", "sign_yield", "sign_speed", "sign_warning", "building", "tree",
)  # fmt: skip
KINDS = (*ACTOR_KINDS, *_FIXED)
SIGNAL, POLE = KINDS.index("signal"), KINDS.index("pole")
SIGN_SPEED, BUILDING, TREE = (KINDS.index(k) for k in ("sign_speed", "building", "tree"))

# Segmentation classes, by name.
CLASSES = (
    "sky", "ground", "road", "pavement", "marking", "vehicle", "two_wheeler", "pedestrian",
    "animal", "object", "signal", "sign", "pole", "building", "vegetation",
)  # fmt: skip
_CLASS_OF = {
    **dict.fromkeys(("car", "van", "truck", "bus", "door"), "vehicle"),
    **dict.fromkeys(("motorcycle", "cyclist"), "two_wheeler"),
    **dict.fromkeys(("cone", "barrier", "debris", "ball"), "object"),
    **dict.fromkeys(("car_picture", "person_picture"), "object"),
    **dict.fromkeys((k for k in _FIXED if k.startswith("sign_")), "sign"),
    "pedestrian": "pedestrian", "animal": "animal", "signal": "signal", "pole": "pole",
    "building": "building", "tree": "vegetation",
}  # fmt: skip

DETAIL_M = 45.0  # patches are drawn up to here by a camera of ``DETAIL_FOCAL_PX``
DETAIL_FOCAL_PX = 165.0


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


@cache
def models() -> Models:
    """The tables that kernels draw from."""
    full = {**vehicle_forms(), **rider_forms(), **other_forms()}
    plain = {**full, **plain_forms()}
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
