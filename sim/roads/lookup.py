"""Map look-ups as kernels: scalar, on the arenas of ``MapArrays``.

``maps`` is a ``MapArrays``, ``map_id`` the number of a map and ``path`` one of its paths. Every
answer is defined for points and arc lengths anywhere, however far off the map.
"""
# The kernels are typed by numba, which reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

from sim.kernels import kernel
from sim.roads.maps import CELL_M, FAR_M, NEAREST_CELL_M, NEAREST_CELLS, TILE_CELLS

SEARCH_M = 12
FAR_TILE_M = 8.0  # a tile without a raster has no drivable area within this distance
RUN_OUT_M = 40.0  # a lane counts as going straight on for this long
_PER_CELL = 1.0 / CELL_M
_PER_NEAREST = 1.0 / NEAREST_CELL_M


@kernel
def lane(maps, map_id, path):
    """Index of a path in ``maps.lanes``."""
    return maps.maps[map_id].lane_first + path


@kernel
def pair(maps, map_id, p, q):
    """Index of what path ``p`` knows of path ``q`` in ``maps.pairs``; -1: they are never near."""
    m = maps.maps[map_id]
    return maps.pair_index[m.pair_first + p * m.pair_stride + q]


@kernel
def successor(maps, map_id, path, k):
    """The ``k``-th path that goes on where ``path`` ends."""
    return maps.successors[maps.lanes[lane(maps, map_id, path)].successor_first + k]


@kernel
def interval(s, last):
    """Index of the sample before ``s``, between 0 and ``last``; 0 for nan."""
    if s >= last:
        return last
    return int(s) if s > 0.0 else 0


@kernel
def pose(maps, map_id, path, s, d):
    """World pose ``d`` left of a path at ``s``: x, y, path heading, path curvature.

    Linear between samples plus the height of the arc over its chord; straight beyond the ends.
    """
    record = maps.lanes[lane(maps, map_id, path)]
    n = interval(s, record.count - 2)
    i = record.first + n
    f = s - n
    a, b = maps.samples[i], maps.samples[i + 1]
    heading = a[2] + f * (b[2] - a[2])
    curvature = a[3] + f * (b[3] - a[3])
    left = d - 0.5 * curvature * f * (1.0 - f)
    x = a[0] + f * (b[0] - a[0]) - left * math.sin(heading)
    y = a[1] + f * (b[1] - a[1]) + left * math.cos(heading)
    return x, y, heading, curvature


@kernel
def elevation(maps, map_id, path, s):
    """Height of a path at ``s``; beyond its ends, that of the end."""
    record = maps.lanes[lane(maps, map_id, path)]
    n = interval(s, record.count - 2)
    i = record.first + n
    f = min(max(s - n, 0.0), 1.0)
    low = maps.samples[i, 6]
    return low + f * (maps.samples[i + 1, 6] - low)


@kernel
def between(maps, map_id, p, q, s_q, d_q):
    """The point (``s_q``, ``d_q``) of path ``q`` in the frame of path ``p``.

    Returns s, d and the heading of q minus that of p; d is hundreds of metres (``FAR_M``) where the
    point is not beside p.
    """
    index = pair(maps, map_id, p, q)
    if index < 0:
        return 0.0, FAR_M, 0.0
    facts = maps.pairs[index]
    n = interval(s_q, facts.last)
    row = n - facts.sample_first
    if row < 0 or row + 1 >= facts.sample_count:
        return 0.0, FAR_M, 0.0
    a, b = maps.tables[facts.table_first + row], maps.tables[facts.table_first + row + 1]
    f = s_q - n
    s = a[0] + f * (b[0] - a[0])
    d = a[1] + f * (b[1] - a[1])
    turn = a[2] + f * (b[2] - a[2])
    if d_q != 0.0:
        s -= d_q * math.sin(turn)
        d += d_q * math.cos(turn)
    return s, d, turn


@kernel
def circle_frame(along, left, curvature):
    """Path coordinates of a point near a path sample, on the sample's osculating circle.

    ``along`` and ``left`` are the point's coordinates in the sample's tangent frame. Returns the
    arc length from the sample, the offset to the left, and the heading change from sample to foot
    point.
    """
    side = 1.0 - curvature * left
    turned = curvature * along
    root = math.sqrt(side * side + turned * turned)
    d = (2.0 * left - curvature * (along * along + left * left)) / (1.0 + root)
    if abs(curvature) < 1e-9:  # angle / curvature, without dividing by a vanishing curvature
        return along, d, turned
    angle = math.atan2(turned, side)
    return angle / curvature, d, angle


@kernel
def beside(maps, index, x, y):
    """Arc length from sample ``index``, left offset, and heading at the foot point."""
    a = maps.samples[index]
    dx, dy = x - a[0], y - a[1]
    ds, d, turn = circle_frame(a[4] * dx + a[5] * dy, a[4] * dy - a[5] * dx, a[3])
    return ds, d, a[2] + turn


@kernel
def foot(maps, first, low, high, x, y):
    """Path coordinates on the circle through the nearest of samples ``low`` to ``high``."""
    best, best_n = math.inf, low
    for n in range(low, high + 1):
        dx, dy = maps.samples[first + n, 0] - x, maps.samples[first + n, 1] - y
        away = dx * dx + dy * dy
        if away < best:
            best, best_n = away, n
    ds, d, _ = beside(maps, first + best_n, x, y)
    return best_n + ds, d


@kernel
def project(maps, map_id, path, x, y, s_hint):
    """Path coordinates (s, d) of a world point, searched within 12 m of ``s_hint``."""
    record = maps.lanes[lane(maps, map_id, path)]
    last = record.count - 1
    middle = interval(s_hint + 0.5, last + SEARCH_M)
    low, high = min(max(middle - SEARCH_M, 0), last), min(middle + SEARCH_M, last)
    return foot(maps, record.first, low, high, x, y)


@kernel
def locate(maps, map_id, path, x, y):
    """Like ``project`` but searches the whole path: for resets, not for every tick."""
    record = maps.lanes[lane(maps, map_id, path)]
    return foot(maps, record.first, 0, record.count - 1, x, y)


@kernel
def clamped(value, high):
    """``value`` between 0 and ``high``; 0 for nan."""
    if value >= high:
        return high
    return value if value > 0.0 else 0.0


@kernel
def clearance(maps, map_id, x, y):
    """Signed distance to the edge of the drivable area, positive inside; bilinear.

    Exact up to 8 m either way, and beyond that at least 8 m with the right sign.
    """
    m = maps.maps[map_id]
    u, v = (x - m.origin_x) * _PER_CELL, (y - m.origin_y) * _PER_CELL
    inside_u = clamped(u, m.tile_cols * TILE_CELLS - 1e-6)
    inside_v = clamped(v, m.tile_rows * TILE_CELLS - 1e-6)
    col, row = int(inside_u), int(inside_v)
    tile_col, tile_row = col // TILE_CELLS, row // TILE_CELLS
    out = 0.0
    if inside_u != u or inside_v != v:
        out = CELL_M * math.hypot(u - inside_u, v - inside_v)
    tile = maps.tiles[m.tile_first + tile_row * m.tile_cols + tile_col]
    fu, fv = inside_u - tile_col * TILE_CELLS, inside_v - tile_row * TILE_CELLS
    if tile < 0:
        # The distance to the next tile comes on top of what every empty tile has around it.
        rim = CELL_M * min(min(fu, TILE_CELLS - fu), min(fv, TILE_CELLS - fv))
        return -FAR_TILE_M - rim - out
    col, row = col - tile_col * TILE_CELLS, row - tile_row * TILE_CELLS
    fu, fv = fu - col, fv - row
    raster = maps.sdf[tile]
    below = raster[row, col] + fu * (raster[row, col + 1] - raster[row, col])
    above = raster[row + 1, col] + fu * (raster[row + 1, col + 1] - raster[row + 1, col])
    return 0.001 * (below + fv * (above - below)) - out


@kernel
def nearest_lane(maps, map_id, x, y):
    """The driving lane whose centre line is nearest: distance to it, its heading there, its path,
    arc length there.

    Within 0.5 m of right near the road, within a tile (32 m) elsewhere. A lane counts as going
    straight on for 40 m beyond its ends.
    """
    m = maps.maps[map_id]
    u, v = (x - m.origin_x) * _PER_NEAREST + 0.5, (y - m.origin_y) * _PER_NEAREST + 0.5
    col = int(clamped(u, m.tile_cols * NEAREST_CELLS - 0.5))
    row = int(clamped(v, m.tile_rows * NEAREST_CELLS - 0.5))
    tile_col, tile_row = col // NEAREST_CELLS, row // NEAREST_CELLS
    place = m.tile_first + tile_row * m.tile_cols + tile_col
    tile = maps.tiles[place]
    if tile < 0:
        index = maps.tile_nearest[place]
    else:
        index = maps.nearest[tile, row - tile_row * NEAREST_CELLS, col - tile_col * NEAREST_CELLS]
    ds, d, heading = beside(maps, index, x, y)
    beyond = abs(ds) - RUN_OUT_M
    distance = math.hypot(d, beyond) if beyond > 0.0 else abs(d)
    path = maps.sample_lane[index]
    return distance, heading, path, index - maps.lanes[m.lane_first + path].first + ds


@kernel
def bend_speed(maps, map_id, path, s):
    """Speed at ``s`` that is comfortable in the bends there and ahead."""
    record = maps.lanes[lane(maps, map_id, path)]
    return maps.bend[record.first + interval(s, record.count - 1)]


@kernel
def curvature(maps, map_id, path, s):
    """Curvature of a path near ``s``."""
    record = maps.lanes[lane(maps, map_id, path)]
    return maps.samples[record.first + interval(s, record.count - 1), 3]


@kernel
def under(maps, map_id, path, s):
    """The path of the lane that lies under a route at ``s``; any other path lies under itself."""
    record = maps.lanes[lane(maps, map_id, path)]
    return maps.sample_lane[record.first + interval(s, record.count - 1)]


@kernel
def next_stop(maps, map_id, path, s):
    """The first stop line of a path at or after ``s``: arc length (inf: none), kind, group."""
    record = maps.lanes[lane(maps, map_id, path)]
    for i in range(record.stops_first, record.stops_first + record.stops_count):
        if maps.stops[i].s >= s:
            return maps.stops[i].s, maps.stops[i].kind, maps.stops[i].group
    if record.stops_count == 0 and record.stop_s >= s:
        return record.stop_s, record.stop_kind, record.signal_group
    return math.inf, 0, -1
