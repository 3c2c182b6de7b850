"""The plain form of each kind, for small pictures and far things: mostly one block."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.sensors.forms import (
    DARK,
    FRONT,
    GLASS,
    PALE,
    REAR,
    SIDE,
    SKIN,
    TROUSERS,
    TYRE,
    Block,
    Patch,
    both,
    lamps,
    middle_lamp,
    on_all,
)


def plain_forms() -> dict[str, tuple[Block, ...]]:
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
    lamp_of = {
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
        tail = lamps(*lamp_of[kind]) + (middle_lamp(*middle[kind]) if kind in middle else ())
        forms[kind] = (Block(patches=(*patches, *tail)),)
    riders = {"motorcycle": ((0.35, 0.6), 0.82, PALE), "cyclist": ((0.4, 0.65), 0.85, SKIN)}
    for kind, (head, up, color) in riders.items():
        patches = list(on_all((0.0, 1.0), (0.0, 0.4), TYRE))
        patches.append(Patch(SIDE, head, (up, 1.0), color))
        patches += both((0.25, 0.75), (up, 1.0), color)
        forms[kind] = (
            Block(patches=(*patches, *(lamps(*lamp_of[kind]) if kind in lamp_of else ()))),
        )
    forms["pedestrian"] = (
        Block(
            patches=(
                *on_all((0.0, 1.0), (0.0, 0.46), TROUSERS), *on_all((0.0, 1.0), (0.84, 1.0), SKIN)
            )
        ),
    )  # fmt: skip
    forms["cone"] = (Block(patches=on_all((0.0, 1.0), (0.45, 0.72), PALE)),)
    forms["barrier"] = (Block(patches=on_all((0.0, 1.0), (0.36, 0.66), PALE)),)
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
    # A small picture shows the whole housing and one large lamp.
    forms["signal"] = (Block(patches=both((0.0, 1.0), (0.0, 1.0), DARK, reach=np.inf)),)
    return forms
