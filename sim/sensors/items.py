"""All of one picture that is not flat on the ground, gathered and sorted from far to near."""

from __future__ import annotations

import math

import numpy as np

from sim.kernels import kernel
from sim.sensors import ground, models, relief
from sim.sensors.ground import STANDS

BOX_RANGE_M = 160.0
_TALL_RANGE_M = 350.0  # buildings and trees
_PITCH_SLACK = 1.2  # the pitched view is a little wider on the ground than straight ahead
_ASIDE = 1.2  # share of the range to which things are drawn to the sides
_TERRAIN_RANGE_M = 150.0

# A box, or with ``cell`` >= 0 a cell of the terrain. ``seat_x, seat_y``: the camera in the frame of
# the box; ``distance`` to the box's nearest point; ``rank``: order among equally far ones. When it
# is drawn: ``clear``, what comes through the fog, the ``light`` on it and its ``label`` (-1:
# colours).
ITEM = np.dtype(
    [(name, "f8") for name in (
        "x", "y", "heading", "length", "width", "height", "base", "cos", "sin", "seat_x", "seat_y",
        "distance", "clear", "light",
    )]
    + [("color", "f8", (3,)), ("kind", "i8"), ("group", "i8"), ("value", "i8"), ("rank", "i8"),
       ("cell", "i8"), ("label", "i8"), ("braking", "?"), ("reversing", "?"), ("indicator", "i8")],
    align=True,
)  # fmt: skip


@kernel
def gather(items, eye, actors, i, scenes, scene):  # type: ignore[no-untyped-def]
    """Fill ``items`` ITEM with what camera ``eye`` may see in row ``i``; returns how many.
    ``actors``: ``rig_view.Actors``."""
    count = np.int64(0)
    reach = ground.reach_of(eye, BOX_RANGE_M)
    for a in range(actors.valid.shape[1]):
        if actors.valid[i, a]:
            item = items[count]
            _set_box(item, actors.boxes[i, a])
            item["cos"], item["sin"] = actors.cos[i, a], actors.sin[i, a]
            if not _within_view(eye, item, reach):
                continue
            for k in range(3):
                item.color[k] = actors.color[i, a, k]
            item["kind"], item["group"], item["value"] = actors.kind[i, a], -1, 0
            item["rank"], item["cell"] = count, -1
            item["braking"], item["reversing"] = actors.braking[i, a], actors.reversing[i, a]
            item["indicator"] = actors.indicator[i, a]
            _seat(item, eye)
            count += 1
    count = _gather_stands(items, count, eye, scenes, scene, reach)
    if scene.relief:
        count = _gather_terrain(items, count, eye, scenes, scene)
    return count


@kernel
def _set_box(item, box):  # type: ignore[no-untyped-def]
    item["x"], item["y"], item["heading"] = box[0], box[1], box[2]
    item["length"], item["width"], item["height"], item["base"] = box[3], box[4], box[5], box[6]


@kernel
def _seat(item, eye):  # type: ignore[no-untyped-def]
    """Where the camera is as the box sees it, and how far its nearest point is: long boxes would
    overlap wrongly if sorted by their middles."""
    dx, dy = eye.x - item.x, eye.y - item.y
    item["seat_x"] = item.cos * dx + item.sin * dy
    item["seat_y"] = item.cos * dy - item.sin * dx
    gap_x = max(abs(item.seat_x) - 0.5 * item.length, 0.0)
    gap_y = max(abs(item.seat_y) - 0.5 * item.width, 0.0)
    item["distance"] = math.sqrt(gap_x**2 + gap_y**2)


@kernel
def _within_view(eye, item, reach):  # type: ignore[no-untyped-def]
    """Whether a box may show: range and the horizontal angle of view."""
    dx, dy = item.x - eye.x, item.y - eye.y
    ahead = eye.look_x * dx + eye.look_y * dy
    beside = abs(eye.look_x * dy - eye.look_y * dx)
    size = 0.5 * (item.length + item.width) + 0.3
    if dx * dx + dy * dy > (_ASIDE * reach + size) ** 2:
        return False
    return eye.wedge == np.inf or (
        ahead > -size
        and ahead < reach
        and beside < size + eye.wedge * max(ahead + size, 0.0) * _PITCH_SLACK
    )


@kernel
def _gather_stands(items, count, eye, scenes, scene, reach):  # type: ignore[no-untyped-def]
    number = np.int64(0)
    first, end = ground.cell_range(scenes, scene, eye, _ASIDE * _TALL_RANGE_M, number, STANDS)
    while end >= first:
        for k in range(first, end):
            stand, item = scenes.stands[k], items[count]
            kind = stand.kind
            _set_box(item, stand.box)
            item["cos"], item["sin"] = stand.cos, stand.sin
            tall = kind == models.BUILDING or kind == models.TREE
            if not _within_view(eye, item, _TALL_RANGE_M if tall else reach):
                continue
            if stand.beyond != -np.inf and not _shines_at(eye, item, stand.beyond):
                continue
            for c in range(3):
                item.color[c] = stand.color[c]
            item["kind"], item["group"], item["value"] = kind, stand.group, stand.value
            item["rank"], item["cell"] = 1000 + stand.rank, -1
            item["braking"], item["reversing"], item["indicator"] = False, False, 0
            _seat(item, eye)
            count += 1
        number += 1
        first, end = ground.cell_range(scenes, scene, eye, _ASIDE * _TALL_RANGE_M, number, STANDS)
    return count


@kernel
def _shines_at(eye, item, beyond):  # type: ignore[no-untyped-def]
    """Whether a signal head (and its pole) is meant for the camera: only from its own approach.
    Past the stop line, and from the other arms, a light has nothing to say and would mislead."""
    dx, dy = eye.x - item.x, eye.y - item.y
    ahead = item.cos * dx + item.sin * dy
    beside = abs(item.cos * dy - item.sin * dx)
    against = eye.look_x * item.cos + eye.look_y * item.sin < -0.5
    return ahead > beyond and ahead > beside and against


@kernel
def _gather_terrain(items, count, eye, scenes, scene):  # type: ignore[no-untyped-def]
    """Cells in view; each counts as far as its farthest point, so that it is drawn before what
    stands on it."""
    half = 0.5 * relief.TERRAIN_M
    cells = int(_TERRAIN_RANGE_M / relief.TERRAIN_M) + 1
    col = int((eye.x - scene.terrain_x) / relief.TERRAIN_M)
    row = int((eye.y - scene.terrain_y) / relief.TERRAIN_M)
    for j in range(max(row - cells, 0), min(row + cells + 1, scene.terrain_rows)):
        for i in range(max(col - cells, 0), min(col + cells + 1, scene.terrain_cols)):
            number = scene.terrain_first + j * scene.terrain_cols + i
            cell, item = scenes.terrain[number], items[count]
            item["x"], item["y"] = cell.x + half, cell.y + half
            item["length"] = item["width"] = relief.TERRAIN_M
            if not _within_view(eye, item, _TERRAIN_RANGE_M):
                continue
            dx, dy = abs(item.x - eye.x) + half, abs(item.y - eye.y) + half
            item["distance"] = math.sqrt(dx * dx + dy * dy)
            item["rank"], item["cell"] = -1, number
            count += 1
    return count


@kernel
def sort(items, count, order, spare):  # type: ignore[no-untyped-def]
    """Indices of the first ``count`` items from far to near into ``order``; ``spare`` is as long.
    A merge sort: pictures must not depend on how ties are broken."""
    for i in range(count):
        order[i] = i
    width = 1
    while width < count:
        for start in range(0, count, 2 * width):
            middle, end = min(start + width, count), min(start + 2 * width, count)
            i, j = start, middle
            for k in range(start, end):
                take_left = j >= end or (i < middle and not _before(items, order[j], order[i]))
                if take_left:
                    spare[k] = order[i]
                    i += 1
                else:
                    spare[k] = order[j]
                    j += 1
        for k in range(count):
            order[k] = spare[k]
        width *= 2


@kernel
def _before(items, i, j):  # type: ignore[no-untyped-def]
    """Whether item ``i`` is drawn before item ``j``."""
    if items[i].distance != items[j].distance:
        return items[i].distance > items[j].distance
    return items[i].rank < items[j].rank
