"""Road, paint and pavements of one picture, as shapes."""

from __future__ import annotations

import math

import numpy as np

from sim.kernels import kernel
from sim.sensors import lens, listing, palette, relief, scenery
from sim.sensors.backdrop import beam_at
from sim.sensors.listing import FILL, LAY, NONE, QUAD, TAKE, TAKE_LARGE, WEATHER
from sim.sensors.models import CLASSES
from sim.sensors.smooth import SEAMLESS

PAINT_RANGE_M = 90.0
_PAINT_BEHIND_M = 15.0  # paint of this length may begin behind the camera
_BESIDE_M = 30.0  # so much farther than ahead, paint is drawn to the sides
_FAR_FOCAL = 0.45  # metres of range per pixel of focal length, where that is more
MOST_RANGE_M = 260.0
KERB_M = 0.12
_KERB_FOCAL = 0.15  # a kerb is seen up to so many metres per pixel of focal length
_HILLS_M, _HILL_STEP, _STRETCH = 700.0, 0.0175, 30
_WIDE_WEDGE = 5.0
_SLACK, _SLACK_M = 1.2, 5.0  # a pitched view is wider on the ground than a level one
POLYGONS, QUADS, STANDS = (np.int64(i) for i in range(3))  # columns of ``Scenes.index``
GROUND, ROAD, PAVED, MARKING = (
    CLASSES.index(name) for name in ("ground", "road", "pavement", "marking")
)


@kernel
def reach_of(eye, base):  # type: ignore[no-untyped-def]
    """How far a camera draws what a wide one draws up to ``base`` metres."""
    return max(base, min(_FAR_FOCAL * eye.focal, MOST_RANGE_M))


@kernel
def near_cells(scene, eye, reach):  # type: ignore[no-untyped-def]
    """(first column, last column, first row, last row) of the cells within ``reach``."""
    reach += scenery.SMALL_M
    left = math.floor((eye.x - reach - scene.origin_x) / scenery.CELL_M)
    right = math.floor((eye.x + reach - scene.origin_x) / scenery.CELL_M)
    low = math.floor((eye.y - reach - scene.origin_y) / scenery.CELL_M)
    high = math.floor((eye.y + reach - scene.origin_y) / scenery.CELL_M)
    return (
        max(left, 0), min(right, scene.cols - 1), max(low, 0), min(high, scene.rows - 1)
    )  # fmt: skip


@kernel
def cell_range(scenes, scene, eye, reach, number, kind):  # type: ignore[no-untyped-def]
    """(first, end) of the things of a ``kind`` in the ``number``-th near cell, the large ones
    first; (0, -1) after the last cell."""
    left, right, low, high = near_cells(scene, eye, reach)
    wide = max(right - left + 1, 0)
    if number > wide * max(high - low + 1, 0):
        return 0, -1
    cell = scene.cols * scene.rows
    if number > 0:
        cell = (low + (number - 1) // wide) * scene.cols + left + (number - 1) % wide
    row = scene.cell_first + cell
    return scenes.index[row, kind], scenes.index[row + 1, kind]


@kernel
def list_ground(shapes, eye, look, scenes, scene):  # type: ignore[no-untyped-def]
    """Road, paint and pavements of a flat map."""
    labels, z = look.labels, scene.ground_z
    road = ROAD if labels else palette.pack(look.road[0], look.road[1], look.road[2])
    _list_polygons(shapes, eye, scenes, scene, scenery.SURFACE, 0.0, MOST_RANGE_M, road, labels)
    for color in range(scene.color_count):
        _list_paint(shapes, eye, look, scenes, scene, color)
    edge = PAVED if labels else palette.pack(look.kerb[0], look.kerb[1], look.kerb[2])
    top = PAVED if labels else palette.pack(
        look.pavement[0], look.pavement[1], look.pavement[2]
    )  # fmt: skip
    # What of the lower polygon the upper one leaves is the kerb's face.
    near = min(_KERB_FOCAL * eye.focal, MOST_RANGE_M)
    _list_polygons(shapes, eye, scenes, scene, scenery.PAVEMENT, 0.0, near, edge, labels)
    lift = KERB_M if eye.z - z > 2.0 * KERB_M else 0.0
    _list_polygons(shapes, eye, scenes, scene, scenery.PAVEMENT, lift, MOST_RANGE_M, top, labels)
    if not labels:
        listing.close(shapes, WEATHER, NONE, NONE, False)


@kernel
def list_horizon(shapes, eye, look):  # type: ignore[no-untyped-def]
    """Two rows of hills so far away that only their direction counts."""
    if look.labels:
        return
    spread = math.pi if eye.wedge > _WIDE_WEDGE else math.atan(eye.wedge) + 0.1
    middle = math.atan2(eye.look_y, eye.look_x)
    count = int(2.0 * spread / _HILL_STEP) + 2
    phase = 0.001 * (look.seed % 6283)
    for layer in range(2):
        far = _HILLS_M * (2.0 - layer)
        clear = palette.clearness(look, 0.6 * far)
        blue = 0.62 - 0.34 * layer
        color = palette.through_fog(
            look,
            clear,
            look.light * (0.55 * look.ground[0] * (1.0 - blue) + 0.86 * look.sky[0] * blue),
            look.light * (0.55 * look.ground[1] * (1.0 - blue) + 0.86 * look.sky[1] * blue),
            look.light * (0.55 * look.ground[2] * (1.0 - blue) + 0.86 * look.sky[2] * blue),
        )
        # In stretches: one that went all around would enclose the sky or the ground.
        for first in range(0, count - 1, _STRETCH):
            steps = min(_STRETCH, count - 1 - first) + 1
            for k in range(2 * steps):
                step = first + (k if k < steps else 2 * steps - 1 - k)
                angle = _HILL_STEP * (math.floor((middle + spread) / _HILL_STEP) + 1 - step)
                rise = -0.003 * far
                if k < steps:
                    rise = far * _hill(angle, phase + 2.0 * layer, layer)
                x, y = eye.x + far * math.cos(angle), eye.y + far * math.sin(angle)
                listing.put(shapes, k, lens.to_camera(eye, x, y, eye.z + rise))
            listing.close(shapes, TAKE_LARGE, 2 * steps, color, False)
        listing.close(shapes, LAY, NONE, color, False)


@kernel
def _hill(angle, phase, layer):  # type: ignore[no-untyped-def]
    """Tangent of the elevation of the hills' top in a direction."""
    wave = math.sin(2.0 * angle + phase) + 0.6 * math.sin(5.0 * angle + 2.3 * phase)
    ripple = math.sin(23.0 * angle + phase) * math.sin(57.0 * angle + 3.1 * phase)
    return 0.0155 - 0.007 * layer + 0.0075 * wave * (1.0 - 0.4 * layer) + 0.0022 * layer * ripple


@kernel
def _list_polygons(shapes, eye, scenes, scene, kind, lift, reach, color, labels):  # type: ignore[no-untyped-def]
    number = NONE
    first, end = cell_range(scenes, scene, eye, reach, number, POLYGONS)
    found = False
    while end >= first:
        for p in range(first, end):
            polygon = scenes.polygons[p]
            if polygon.kind != kind or not _may_show(eye, polygon, reach):
                continue
            found = True
            _list_corners(shapes, eye, scenes, polygon, lift)
            listing.close(shapes, TAKE_LARGE, polygon.count, color, labels)
            if eye.sharp:
                listing.close(shapes, LAY, NONE, color, labels)
        number += 1
        first, end = cell_range(scenes, scene, eye, reach, number, POLYGONS)
    if found and not eye.sharp:
        listing.close(shapes, LAY, NONE, color, labels)


@kernel
def _list_corners(shapes, eye, scenes, polygon, lift):  # type: ignore[no-untyped-def]
    for k in range(polygon.count):
        corner = scenes.corners[polygon.first + k]
        listing.put(shapes, k, lens.to_camera(eye, corner[0], corner[1], corner[2] + lift))


@kernel
def _may_show(eye, polygon, reach):  # type: ignore[no-untyped-def]
    """Whether a rectangle on the ground is near enough and reaches into the field of view."""
    x = min(max(eye.x, polygon.low_x), polygon.high_x) - eye.x
    y = min(max(eye.y, polygon.low_y), polygon.high_y) - eye.y
    if x * x + y * y > reach * reach:
        return False
    if eye.faces > 1:
        return True
    slope = _SLACK * eye.wedge
    return (
        _farthest(eye, polygon, eye.look_x, eye.look_y) > 0.0
        and _farthest(
            eye, polygon, slope * eye.look_x + eye.look_y, slope * eye.look_y - eye.look_x
        ) > -slope * _SLACK_M
        and _farthest(
            eye, polygon, slope * eye.look_x - eye.look_y, slope * eye.look_y + eye.look_x
        ) > -slope * _SLACK_M
    )  # fmt: skip


@kernel
def _farthest(eye, polygon, x, y):  # type: ignore[no-untyped-def]
    """How far a rectangle reaches from the camera in the direction (x, y), in its lengths."""
    across = max((polygon.low_x - eye.x) * x, (polygon.high_x - eye.x) * x)
    return across + max((polygon.low_y - eye.y) * y, (polygon.high_y - eye.y) * y)


@kernel
def _list_paint(shapes, eye, look, scenes, scene, which):  # type: ignore[no-untyped-def]
    """All paint of one colour."""
    rgb = scenes.colors[scene.color_first + which]
    color = MARKING if look.labels else paint_color(look, rgb, look.light, 1.0)
    reach, number = reach_of(eye, PAINT_RANGE_M), NONE
    first, end = cell_range(scenes, scene, eye, reach, number, QUADS)
    while end >= first:
        for q in range(first, end):
            if scenes.paint_color[q] != which:
                continue
            quad = scenes.paint[q]
            dx, dy = quad[0, 0] - eye.x, quad[0, 1] - eye.y
            ahead = eye.look_x * dx + eye.look_y * dy
            if eye.faces > 1:
                ahead = math.sqrt(dx * dx + dy * dy)
            if not (-_PAINT_BEHIND_M < ahead < reach):
                continue
            if dx * dx + dy * dy > (reach + _BESIDE_M) ** 2:
                continue
            beside = abs(eye.look_x * dy - eye.look_y * dx)
            if beside - _PAINT_BEHIND_M > _SLACK * eye.wedge * (ahead + 2.0 * _PAINT_BEHIND_M):
                continue
            for k in range(4):
                listing.put(shapes, k, lens.to_camera(eye, quad[k, 0], quad[k, 1], quad[k, 2]))
            listing.close(shapes, TAKE, QUAD, color, look.labels)
        number += 1
        first, end = cell_range(scenes, scene, eye, reach, number, QUADS)
    listing.close(shapes, LAY, NONE, color, look.labels)


@kernel
def list_cell(shapes, eye, look, scenes, scene, item):  # type: ignore[no-untyped-def]
    """Grass, road and paint of one cell of the terrain."""
    cell, labels = scenes.terrain[item.cell], look.labels
    opacity = 0 if labels else SEAMLESS
    # The item's distance is that of the cell's far corner.
    clear = palette.clearness(look, max(item.distance - 0.7 * relief.TERRAIN_M, 0.0))
    light = look.light
    if look.night > 0.0:
        dx, dy = item.x - eye.x, item.y - eye.y
        ahead, beside = eye.cos * dx + eye.sin * dy, eye.cos * dy - eye.sin * dx
        light += look.night * beam_at(ahead, beside)
    tone = cell.tone * light
    color = GROUND if labels else palette.through_fog(
        look, clear, look.ground[0] * tone, look.ground[1] * tone, look.ground[2] * tone
    )  # fmt: skip
    lap = relief.GRASS_LAP_M
    size = relief.TERRAIN_M + lap
    for k in range(4):
        x = cell.x + (size if 0 < k < 3 else -lap)
        y = cell.y + (size if k > 1 else -lap)
        listing.put(shapes, k, lens.to_camera(eye, x, y, cell.z[k]))
    listing.close_with(shapes, FILL, QUAD, color, opacity)
    for p in range(cell.piece_first, cell.piece_first + cell.piece_count):
        piece = scenes.pieces[p]
        _list_corners(shapes, eye, scenes, piece, 0.0)
        color = _piece_color(look, scenes, scene, piece.kind, clear, light, cell.tone)
        listing.close(shapes, TAKE_LARGE, piece.count, color, labels)
        listing.close_with(shapes, LAY, NONE, color, opacity)


@kernel
def _piece_color(look, scenes, scene, kind, clear, light, tone):  # type: ignore[no-untyped-def]
    if look.labels:
        return ROAD if kind == 0 else PAVED if kind == 1 else MARKING
    if kind >= 2:
        return paint_color(look, scenes.colors[scene.color_first + kind - 2], light, clear)
    gain = tone * light / max(look.light, 1e-6)
    rgb = look.road if kind == 0 else look.pavement
    return palette.through_fog(look, clear, rgb[0] * gain, rgb[1] * gain, rgb[2] * gain)


@kernel
def paint_color(look, rgb, light, clear):  # type: ignore[no-untyped-def]
    """Packed colour of paint; snow covers most of it."""
    cover = 0.75 * look.snow
    r = np.rint(light * rgb[0])
    g = np.rint(light * rgb[1])
    b = np.rint(light * rgb[2])
    if cover > 0.0:
        r += (look.road[0] - r) * cover
        g += (look.road[1] - g) * cover
        b += (look.road[2] - b) * cover
    return palette.through_fog(look, clear, r, g, b)
