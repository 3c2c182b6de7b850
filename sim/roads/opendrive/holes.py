"""Junction floors: what is left open between the lanes that cross a junction is road too."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sim.roads.layout import Layout
from sim.roads.lines import F64
from sim.roads.opendrive.lanes import Draft

CELL_M = 0.05
GROWN_CELLS = 2  # so that no seam is left around what is filled
MAX_CELLS = 2000
SEAM_M2 = 0.05  # smaller ones come of the raster
HOLE_M2 = 40.0  # larger ones are islands, as in a roundabout
MARGIN_M = 3.0
FAR_PIXEL = 1 << 20
OUTLINE_M = 0.05


def fill_holes(layout: Layout, inside: list[Draft]) -> None:
    """Add surfaces for the small areas that the roads and pavements around the lanes ``inside`` a
    junction enclose."""
    corners = np.concatenate([draft.line.xy for draft in inside])
    low, high = corners.min(axis=0) - MARGIN_M, corners.max(axis=0) + MARGIN_M
    cell_m = max(CELL_M, float((high - low).max()) / MAX_CELLS)
    cols, rows = (int(n) + 1 for n in np.ceil((high - low) / cell_m))
    covered = np.zeros((rows, cols), dtype=np.uint8)
    for polygon in [*layout.surfaces, *layout.pavements]:
        xy = polygon[:, :2]
        if (xy.max(axis=0) >= low).all() and (xy.min(axis=0) <= high).all():
            pixels = np.round((xy - low) / cell_m * 16.0)
            pixels = np.clip(pixels, -FAR_PIXEL, FAR_PIXEL).astype(np.int32)
            cv2.fillPoly(covered, [pixels], 255, lineType=cv2.LINE_8, shift=4)
    count, label, stats, _ = cv2.connectedComponentsWithStats(255 - covered, connectivity=4)
    for k in range(1, count):
        x, y, wide, tall, cells = stats[k]
        at_rim = x == 0 or y == 0 or x + wide == cols or y + tall == rows
        if not at_rim and SEAM_M2 <= cells * cell_m**2 <= HOLE_M2:
            mask = label[y : y + tall, x : x + wide] == k
            corner = low + cell_m * np.array([x, y])
            outlines = _outlines(mask, cell_m)
            layout.surfaces += [_raised(corner + points, inside) for points in outlines]


def _outlines(mask: npt.NDArray[np.bool_], cell_m: float) -> list[F64]:
    """Outlines [n, 2] of a hole, somewhat larger than it, from the middle of its first cell."""
    margin = GROWN_CELLS + 1
    kernel = np.ones((2 * GROWN_CELLS + 1, 2 * GROWN_CELLS + 1), dtype=np.uint8)
    grown = cv2.dilate(np.pad(mask.astype(np.uint8), margin), kernel)
    found, _ = cv2.findContours(grown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = [cv2.approxPolyDP(c, OUTLINE_M / cell_m, True)[:, 0] for c in found]
    return [(o - float(margin)) * cell_m for o in outlines if len(o) >= 3]


def _raised(outline: F64, inside: list[Draft]) -> F64:
    """The outline at the height of the nearest lane; as it is where the junction is flat."""
    if all(draft.line.z_m is None for draft in inside):
        return outline
    lines = [draft.line for draft in inside]
    xy = np.concatenate([line.xy for line in lines])
    z_m = np.concatenate([line.elevation_at(line.s_m) for line in lines])
    away = ((outline[:, None] - xy[None]) ** 2).sum(axis=2)
    return np.column_stack([outline, z_m[np.argmin(away, axis=1)]])
