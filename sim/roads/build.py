"""From a road specification to a ``RoadMap``."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from alpamayo.types import RequestError, RoadSpec
from sim.roads.layout import Layout
from sim.roads.lines import F64, Line
from sim.roads.maps import (
    I32,
    LANE,
    LANE_KINDS,
    SPACING_M,
    STOP_KINDS,
    PackedRasters,
    Records,
    RoadMap,
)
from sim.roads.procedural import lay_out
from sim.roads.raster import RUN_OUT_SAMPLES, nearest_samples, rasterise
from sim.roads.tables import PairTables, bend_speeds, first_conflict, joined_s, pair_tables

TURN_RAD = 0.6  # who turns by more than this in a junction turns off
STRAIGHT_RAD = 0.1  # a turn begins and ends where its heading is this close to before and after
EXTRA_SAMPLES = 2  # straight samples after the last that a path needs


@lru_cache(maxsize=16)
def build_road_map(spec: RoadSpec) -> RoadMap:
    """Sample, tabulate and rasterise the road of ``spec``. Cached; the arrays are read-only.

    Raises ``RequestError`` where the road is impossible or its file cannot be read.
    """
    if spec.kind == "opendrive":
        from sim.roads.opendrive import read_opendrive

        return map_of(read_opendrive(Path(spec.file)), spec)
    return map_of(lay_out(spec), spec)


def map_of(layout: Layout, spec: RoadSpec) -> RoadMap:
    """The map of a layout; ``spec`` gives what its lanes leave open."""
    index = layout.link()
    if not layout.surfaces:
        raise RequestError("road: surfaces: expected a drivable area, got none")
    sampled = [sample_line(lane.line) for lane in layout.lanes]
    samples = np.concatenate(sampled)
    lanes, successors = _lane_records(layout, index, spec, [len(rows) for rows in sampled])
    _note_turns(lanes, samples)
    pairs = pair_tables(samples, lanes)
    _give_way(layout, index, lanes, pairs)
    area = rasterise([surface[:, :2] for surface in layout.surfaces])
    nearest, tile_nearest = nearest_samples(*_lane_points(lanes, samples), area)
    road = RoadMap(
        spec=spec,
        names=tuple(index),
        index=index,
        lanes=lanes,
        samples=samples,
        sample_lane=np.repeat(np.arange(len(lanes), dtype=np.int32), lanes["count"]),
        bend=bend_speeds(samples, lanes, successors),
        pair_paths=pairs.paths,
        pairs=pairs.records,
        tables=pairs.tables,
        successors=successors,
        tiles=area.tiles,
        tile_nearest=tile_nearest,
        rasters=PackedRasters.of(area.sdf, nearest),
        origin_xy=area.origin_xy,
        surfaces=tuple(layout.surfaces),
        pavements=tuple(layout.pavements),
        markings=tuple(layout.markings),
        signal_heads=np.array(layout.signal_heads, dtype=np.float64).reshape(-1, 4),
        signs=tuple(layout.signs),
        scenery=tuple(layout.scenery),
        skipped=dict(layout.skipped),
    )
    for value in vars(road).values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return road


def sample_line(line: Line) -> F64:
    """Rows x, y, heading, curvature, cos, sin, z every metre, and ``EXTRA_SAMPLES`` beyond."""
    s = np.arange(int(np.ceil(line.length_m / SPACING_M)) + 1 + EXTRA_SAMPLES) * SPACING_M
    xy, heading, curvature = line.at(s)
    columns = [xy, heading, curvature, np.cos(heading), np.sin(heading), line.elevation_at(s)]
    return np.column_stack(columns)


def _lane_records(
    layout: Layout, index: dict[str, int], spec: RoadSpec, counts: list[int]
) -> tuple[Records, I32]:
    """LANE [P] but for what the pair tables tell, and the successors."""
    lanes = np.zeros(len(layout.lanes), dtype=LANE)
    lanes["count"] = counts
    lanes["first"] = np.cumsum(lanes["count"]) - lanes["count"]
    lanes["merge_s"], lanes["conflict_s"] = -np.inf, np.inf
    successors: list[int] = []
    for record, lane in zip(lanes, layout.lanes, strict=True):
        limit = lane.speed_limit_mps
        record["length_m"], record["width_m"] = lane.line.length_m, lane.width_m
        record["left"], record["right"] = index.get(lane.left, -1), index.get(lane.right, -1)
        record["left_lanes"], record["right_lanes"] = lane.left_lanes, lane.right_lanes
        record["speed_limit"] = spec.speed_limit_mps if limit is None else limit
        record["stop_s"], record["signal_group"] = lane.stop_s_m, lane.signal_group
        record["stop_kind"] = STOP_KINDS.index(lane.stop_kind)
        record["kind"], record["junction"] = LANE_KINDS.index(lane.kind), lane.junction
        record["ends_m"] = lane.ends_m
        record["closed_left"], record["closed_right"] = lane.closed_left_m, lane.closed_right_m
        record["successor_first"] = len(successors)
        record["successor_count"] = len(lane.successors)
        successors += [index[name] for name in lane.successors]
    after = np.array(successors, dtype=np.int32)
    lanes["predecessor_count"] = np.bincount(after, minlength=len(lanes))
    return lanes, after


def _note_turns(lanes: Records, samples: F64) -> None:
    """Which lanes turn in a junction, and where, into ``lanes``."""
    for p in np.flatnonzero(lanes["junction"] >= 0):
        first, used = int(lanes["first"][p]), int(lanes["length_m"][p]) + 1
        heading = samples[first : first + used, 2]
        turned = heading[-1] - heading[0]
        if abs(turned) < TURN_RAD:
            continue
        bends = np.flatnonzero(
            (np.abs(heading - heading[0]) > STRAIGHT_RAD)
            & (np.abs(heading - heading[-1]) > STRAIGHT_RAD)
        )
        lanes["turn"][p] = int(np.sign(turned))
        lanes["turn_from"][p], lanes["turn_to"][p] = bends.min(initial=used), bends.max(initial=0)


def _give_way(layout: Layout, index: dict[str, int], lanes: Records, pairs: PairTables) -> None:
    """Who gives way to whom and where, and where ramps have joined, into ``lanes`` and pairs."""
    for p, lane in enumerate(layout.lanes):
        for q in (index[name] for name in lane.yields_to):
            row = pairs.find(p, q)
            if row < 0:
                continue
            record = pairs.records[row]
            place = first_conflict(pairs.rows(row), int(record["sample_first"]))
            if place is not None:
                record["yields"], lanes[p]["gives_way"] = True, True
                record["conflict_s_p"], record["conflict_s_q"] = place
                lanes[p]["conflict_s"] = min(lanes[p]["conflict_s"], place[0])
        if lane.joins:
            row = pairs.find(index[lane.joins], p)
            if row >= 0:
                first = int(pairs.records["sample_first"][row])
                lanes[p]["merge_s"] = joined_s(pairs.rows(row), first)


def _lane_points(lanes: Records, samples: F64) -> tuple[F64, I32]:
    """Points [m, 2] of the driving lanes (of all if there are none), and the sample of each.

    A lane that nothing follows goes on for ``RUN_OUT_SAMPLES``, all of which stand for its last
    sample.
    """
    driving = lanes["kind"] == LANE_KINDS.index("driving")
    points, index = [], []
    for lane in lanes[driving] if driving.any() else lanes:
        first, last = int(lane["first"]), int(lane["first"] + lane["count"]) - 1
        end = first + int(lane["length_m"]) if lane["successor_count"] else last
        points.append(samples[first : end + 1, :2])
        index.append(np.arange(first, end + 1, dtype=np.int32))
        if not lane["successor_count"]:
            beyond = np.arange(1, RUN_OUT_SAMPLES + 1)[:, None] * SPACING_M
            points.append(samples[last, :2] + beyond * samples[last, 4:6])
            index.append(np.full(RUN_OUT_SAMPLES, last, dtype=np.int32))
    return np.concatenate(points), np.concatenate(index)
