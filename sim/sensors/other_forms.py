"""The full form of riders, walkers, animals, objects, signs and scenery."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sim.sensors.forms import (
    BLACK,
    BODY_GRAY,
    CHROME,
    DARK,
    FRONT,
    GLASS,
    HAIR,
    HELMET,
    JACKET,
    NUMBER,
    PLATE,
    REAR,
    RED,
    SIDE,
    SIGN_BACK,
    SIGNALS,
    SKIN,
    TROUSERS,
    TRUNK,
    TYRE,
    WHITE,
    WINDOWS,
    Block,
    Patch,
    Rgb,
    both,
    lamps,
    on_all,
    wheels,
)


def rider_forms() -> dict[str, tuple[Block, ...]]:
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
                *wheels((0.14, 0.86), 0.2, low, 1.5 / (2.2 * 0.9)),
                *both((0.1, 0.9), (-0.55, 0.3), TYRE), *lamps(0.2, 0.8, 0.45, 0.95)
            ),
        ),
        *rider(HELMET, JACKET, 0.5),
    )  # fmt: skip
    low = (0.34, 0.46)
    cyclist = (
        Block(
            along=(0.14, 0.86), across=(0.45, 0.55), up=low,
            patches=(
                *wheels((0.03, 0.97), 0.2, low, 1.7 / (1.8 * 0.72)),
                *both((-0.2, 1.2), (-2.8, 0.3), TYRE),
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


def other_forms() -> dict[str, tuple[Block, ...]]:
    cone = (
        Block(up=(0.0, 0.07), color=DARK),
        Block(
            along=(0.14, 0.86), across=(0.14, 0.86), top_along=(0.43, 0.57),
            top_across=(0.43, 0.57), up=(0.07, 1.0), level=1,
            patches=(
                *on_all((0.0, 1.0), (0.32, 0.52), WHITE), *on_all((0.0, 1.0), (0.68, 0.82), WHITE),
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
        "signal": signal, "pole": (Block(color=BODY_GRAY),), **_pictures(), **_signs(),
        **_scenery(),
    }  # fmt: skip


def _pictures() -> dict[str, tuple[Block, ...]]:
    """Flat boards with a life-size picture on both sides; what it shows has the thing's colour."""
    far: dict[str, Any] = {"reach": 4.0}
    sky, street, front = (150, 185, 220), (120, 120, 118), (-0.04, 1.04)
    car = (
        Block(color=WHITE, patches=(
            *both((0.03, 0.97), (0.4, 0.97), sky, **far),
            *both((0.03, 0.97), (0.03, 0.4), street, **far),
        )),
        Block(along=front, across=(0.14, 0.86), up=(0.17, 0.5), level=1, patches=(
            *both((0.0, 1.0), (0.0, 0.2), CHROME, **far),
            *both((0.06, 0.22), (-0.35, 0.0), TYRE, **far),
            *both((0.78, 0.94), (-0.35, 0.0), TYRE, **far),
            *both((0.02, 0.24), (0.55, 0.9), RED, **far),
            *both((0.76, 0.98), (0.55, 0.9), RED, **far),
            *both((0.38, 0.62), (0.4, 0.65), PLATE),
        )),
        Block(along=front, across=(0.2, 0.8), up=(0.5, 0.78), top_across=(0.26, 0.74), level=1,
              patches=both((0.08, 0.92), (0.12, 0.88), GLASS, **far)),
    )  # fmt: skip
    person = (
        Block(color=WHITE, patches=(
            *both((0.04, 0.96), (0.3, 0.97), sky, **far),
            *both((0.04, 0.96), (0.03, 0.3), street, **far),
        )),
        Block(along=front, across=(0.34, 0.66), up=(0.44, 0.74), top_across=(0.3, 0.7), level=1,
              patches=(
                  *both((0.05, 0.45), (-1.2, 0.0), TROUSERS, **far),
                  *both((0.55, 0.95), (-1.2, 0.0), TROUSERS, **far),
                  *both((0.3, 0.7), (1.02, 1.5), SKIN, corners=12, **far),
              )),
    )  # fmt: skip
    return {"car_picture": car, "person_picture": person}


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
        Block(along=(0.35, 0.95), across=(0.1, 0.7), up=(0.3, 0.8), color=crown, ball=True,
              level=1),
        Block(along=(0.2, 0.8), across=(0.2, 0.8), up=(0.45, 1.0), color=crown, ball=True, level=2,
              tone=1.15),
    )  # fmt: skip
    return {"building": building, "tree": tree}
