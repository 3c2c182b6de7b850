"""Look-ups for many places at once: loops over the kernels of ``sim.roads.lookup``."""
# The kernels are typed by numba, which reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from sim.kernels import kernel
from sim.roads import lookup


@kernel
def poses(maps, map_id, path, s, d, out):
    for i in range(len(map_id)):
        out[0, i], out[1, i], out[2, i], out[3, i] = lookup.pose(
            maps, map_id[i], path[i], s[i], d[i]
        )


@kernel
def elevations(maps, map_id, path, s, out):
    for i in range(len(map_id)):
        out[0, i] = lookup.elevation(maps, map_id[i], path[i], s[i])


@kernel
def betweens(maps, map_id, p, q, s_q, d_q, out):
    for i in range(len(map_id)):
        out[0, i], out[1, i], out[2, i] = lookup.between(
            maps, map_id[i], p[i], q[i], s_q[i], d_q[i]
        )


@kernel
def projections(maps, map_id, path, x, y, s_hint, out):
    for i in range(len(map_id)):
        out[0, i], out[1, i] = lookup.project(maps, map_id[i], path[i], x[i], y[i], s_hint[i])


@kernel
def locations(maps, map_id, path, x, y, out):
    for i in range(len(map_id)):
        out[0, i], out[1, i] = lookup.locate(maps, map_id[i], path[i], x[i], y[i])


@kernel
def clearances(maps, map_id, x, y, out):
    for i in range(len(map_id)):
        out[0, i] = lookup.clearance(maps, map_id[i], x[i], y[i])


@kernel
def nearest_lanes(maps, map_id, x, y, out):
    for i in range(len(map_id)):
        out[0, i], out[1, i], out[2, i], out[3, i] = lookup.nearest_lane(
            maps, map_id[i], x[i], y[i]
        )


@kernel
def bend_speeds(maps, map_id, path, s, out):
    for i in range(len(map_id)):
        out[0, i] = lookup.bend_speed(maps, map_id[i], path[i], s[i])


@kernel
def lanes_beside(maps, map_id, path, s, out):
    for i in range(len(map_id)):
        below = lookup.under(maps, map_id[i], path[i], s[i])
        record = maps.lanes[lookup.lane(maps, map_id[i], below)]
        out[0, i], out[1, i] = record.left_lanes, record.right_lanes
