"""The full form of motor vehicles."""

from __future__ import annotations

from sim.sensors.forms import (
    CHROME,
    DARK,
    FRONT,
    GLASS,
    ORANGE,
    PALE,
    PLATE,
    REAR,
    SIDE,
    TYRE,
    Block,
    Patch,
    both,
    lamps,
    middle_lamp,
    wheels,
)


def vehicle_forms() -> dict[str, tuple[Block, ...]]:
    low = (0.14, 0.62)
    car = (
        Block(
            up=low, top_along=(0.01, 0.98), top_across=(0.04, 0.96),
            patches=(
                Patch(SIDE, (0.0, 1.0), (0.0, 0.14), TYRE),
                *wheels((0.19, 0.81), 0.215, low, 1.5 / 4.6),
                *both((0.04, 0.16), (-0.29, 0.0), TYRE), *both((0.84, 0.96), (-0.29, 0.0), TYRE),
                *both((0.0, 1.0), (0.0, 0.28), CHROME),
                Patch(FRONT, (0.28, 0.72), (0.3, 0.62), DARK),
                Patch(REAR, (0.38, 0.62), (0.34, 0.56), PLATE, reach=0.7),
                *lamps(0.03, 0.25, 0.52, 0.86),
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
                *middle_lamp(0.36, 0.64, 0.9, 1.0),
            ),
        ),
    )  # fmt: skip
    low = (0.1, 0.48)
    van = (
        Block(
            up=low,
            patches=(
                Patch(SIDE, (0.0, 1.0), (0.0, 0.16), TYRE),
                *wheels((0.18, 0.83), 0.15, low, 2.3 / 5.4),
                *both((0.04, 0.15), (-0.26, 0.0), TYRE), *both((0.85, 0.96), (-0.26, 0.0), TYRE),
                *both((0.0, 1.0), (0.0, 0.24), CHROME),
                Patch(FRONT, (0.25, 0.75), (0.3, 0.55), DARK),
                *lamps(0.02, 0.2, 0.42, 0.86),
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
                *middle_lamp(0.38, 0.62, 0.9, 0.98),
            ),
        ),
    )  # fmt: skip
    low = (0.12, 0.3)
    truck = (
        Block(
            across=(0.06, 0.94), up=low, color=(40, 42, 46),
            patches=(
                *wheels((0.08, 0.2, 0.86), 0.145, low, 3.4 / 9.0),
                *both((0.0, 0.2), (-0.66, 0.1), TYRE), *both((0.8, 1.0), (-0.66, 0.1), TYRE),
                *lamps(0.0, 0.2, 0.2, 0.95),
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
                *wheels((0.2, 0.78), 0.15, low, 3.2 / 12.0),
                *panes,
                Patch(REAR, (0.12, 0.88), (0.52, 0.82), GLASS),
                Patch(FRONT, (0.04, 0.96), (0.3, 0.82), GLASS),
                *both((0.2, 0.8), (0.86, 0.96), DARK),
                Patch(FRONT, (0.3, 0.7), (0.885, 0.935), ORANGE, reach=0.7),
                *both((0.03, 0.16), (-0.11, 0.0), TYRE), *both((0.84, 0.97), (-0.11, 0.0), TYRE),
                *both((0.0, 1.0), (0.0, 0.06), CHROME),
                *lamps(0.03, 0.17, 0.09, 0.2),
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
