"""An ego route: one long path laid over lanes that follow one another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from alpamayo.types import RequestError
from sim.roads.maps import F64, I32, LANE, ROUTE, SPACING_M, STOP, Records, RoadMap
from sim.roads.tables import PairTables, bend_speeds, pair_tables

_TAU = 2.0 * np.pi
_EXTRA_SAMPLES = 2


@dataclass(frozen=True)
class Route:
    """A path that would be number ``P`` of its road; see ``RoadMap`` for the arrays.

    ``members``: the paths under it; ``starts_m`` [len(members)]: where each begins. ``ahead``:
    pairs (P, q), ``back``: pairs (p, P). Indices into samples and stops count from its own first.
    """

    members: tuple[int, ...]
    starts_m: F64
    record: Records
    samples: F64
    sample_lane: I32
    bend: F64
    stops: Records
    ahead: PairTables
    back: PairTables


def route_of(road: RoadMap, names: tuple[str, ...]) -> Route:
    """The route over lanes ``names``.

    Raises ``RequestError`` for unknown names, a lane twice, and lanes that do not follow.
    """
    members = _members(road, names)
    lengths = road.lanes["length_m"][list(members)]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    samples = _resample(*_nodes(road, members, starts), float(ends[-1]))
    s = np.arange(len(samples)) * SPACING_M
    under = np.minimum(np.searchsorted(ends, s, side="right"), len(members) - 1)
    record = _record(road, members, starts, len(samples))
    stops = _stops(road, members, starts)
    record["stops_count"] = len(stops)
    if len(stops):
        record["stop_s"], record["stop_kind"], record["signal_group"] = stops[0]
    ahead, back = _pairs(road, samples, record)
    _inherit_priority(road, members, starts, ahead, back)
    record["gives_way"] = ahead.records["yields"].any()
    record["conflict_s"] = ahead.records["conflict_s_p"].min(initial=np.inf)
    unlinked = record.copy()
    unlinked["successor_count"] = 0
    return Route(
        members=members,
        starts_m=starts,
        record=record,
        samples=samples,
        sample_lane=np.array(members, dtype=np.int32)[under],
        bend=bend_speeds(samples, unlinked, road.successors),
        stops=stops,
        ahead=ahead,
        back=back,
    )


def _members(road: RoadMap, names: tuple[str, ...]) -> tuple[int, ...]:
    for i, name in enumerate(names):
        if name not in road.index:
            raise RequestError(f"route: {name}: expected the name of a lane of this road")
        if name in names[:i]:
            raise RequestError(f"route: {name}: expected every lane once, got it twice")
    members = tuple(road.index[name] for name in names)
    for p, q in pairwise(members):
        if q not in road.successors_of(p):
            follow = [road.names[k] for k in road.successors_of(p)]
            raise RequestError(
                f"route: {road.names[q]}: expected a lane that follows {road.names[p]} "
                f"({', '.join(follow) or 'none does'})"
            )
    return members


def _nodes(road: RoadMap, members: tuple[int, ...], starts: F64) -> tuple[F64, F64]:
    """Arc lengths [m] and samples [m, 7] at all samples of the members, and at the end.

    Where a lane ends the next one's first sample stands; headings are unwrapped along the route.
    """
    s: list[F64] = []
    rows: list[F64] = []
    for path, start in zip(members, starts, strict=True):
        length = float(road.lanes["length_m"][path])
        own = road.path_samples(path)[: max(int(np.ceil(length - 0.05)), 1)].copy()
        if rows:
            own[:, 2] += _TAU * np.round((rows[-1][-1, 2] - own[0, 2]) / _TAU)
        s.append(start + np.arange(len(own)) * SPACING_M)
        rows.append(own)
    last = road.path_samples(members[-1])[-1].copy()
    # The samples beyond a lane's end go straight back to it.
    beyond = len(road.path_samples(members[-1])) - 1 - length
    last[:2] -= beyond * last[4:6]
    last[2] += _TAU * np.round((rows[-1][-1, 2] - last[2]) / _TAU)
    last[3] = rows[-1][-1, 3]
    return np.concatenate([*s, [start + length]]), np.concatenate([*rows, last[None]])


def _resample(s: F64, nodes: F64, length: float) -> F64:
    """Samples every metre and straight beyond the end: cubic Hermite through the nodes (an arc of
    radius R is met within h^4 / (384 R^3) at node spacing h)."""
    at = np.arange(int(np.ceil(length / SPACING_M)) + 1 + _EXTRA_SAMPLES) * SPACING_M
    inside = np.minimum(at, length)
    k = np.clip(np.searchsorted(s, inside, side="right") - 1, 0, len(s) - 2)
    step = (s[k + 1] - s[k])[:, None]
    u = (inside - s[k])[:, None] / step
    a, b = nodes[k], nodes[k + 1]
    mixed = a + u * (b - a)
    chord = b[:, :2] - a[:, :2]
    skew = (1.0 - u) * (step * a[:, 4:6] - chord) - u * (step * b[:, 4:6] - chord)
    mixed[:, :2] += u * (1.0 - u) * skew
    beyond = at > length
    cos, sin = np.cos(mixed[:, 2]), np.sin(mixed[:, 2])
    mixed[:, 4], mixed[:, 5] = cos, sin
    mixed[:, 0] += (at - inside) * cos
    mixed[:, 1] += (at - inside) * sin
    mixed[beyond, 3] = 0.0
    return mixed


def _record(road: RoadMap, members: tuple[int, ...], starts: F64, count: int) -> Records:
    """LANE [1] of the route: at its ends what its first and last lanes are."""
    first, last = road.lanes[members[0]], road.lanes[members[-1]]
    record = np.zeros(1, dtype=LANE)
    record["count"], record["length_m"] = count, starts[-1] + last["length_m"]
    record["left"] = record["right"] = -1
    for key in ("left_lanes", "right_lanes", "speed_limit", "width_m", "predecessor_count"):
        record[key] = first[key]
    record["successor_first"] = last["successor_first"]
    record["successor_count"] = last["successor_count"]
    record["stop_s"], record["signal_group"] = np.inf, -1
    record["merge_s"] = (starts + road.lanes["merge_s"][list(members)]).max()
    record["junction"], record["kind"] = -1, ROUTE
    record["ends_m"] = last["ends_m"] + starts[-1]
    return record


def _stops(road: RoadMap, members: tuple[int, ...], starts: F64) -> Records:
    """STOP [n] of all stop lines on the way, in order."""
    found = []
    for path, start in zip(members, starts, strict=True):
        lane = road.lanes[path]
        if np.isfinite(lane["stop_s"]):
            found.append((start + lane["stop_s"], lane["stop_kind"], lane["signal_group"]))
    return np.array(found, dtype=STOP)


def _pairs(road: RoadMap, samples: F64, record: Records) -> tuple[PairTables, PairTables]:
    count = len(road.lanes)
    everything = np.concatenate([road.samples, samples])
    own = record.copy()
    own["first"] = len(road.samples)
    lanes = np.concatenate([road.lanes, own])
    ahead = pair_tables(everything, lanes, (count, count + 1), (0, count + 1))
    back = pair_tables(everything, lanes, (0, count), (count, count + 1))
    return ahead, back


def _inherit_priority(
    road: RoadMap, members: tuple[int, ...], starts: F64, ahead: PairTables, back: PairTables
) -> None:
    """A route gives way as the lanes under it do, and lanes give way to it as to those."""
    route = len(road.lanes)
    start_of = dict(zip(members, starts, strict=True))
    for row in np.flatnonzero(road.pairs["yields"]):
        p, q = (int(path) for path in road.pair_paths[row])
        known = road.pairs[row]
        if p in start_of and q not in start_of:
            found, shift_p, shift_q = (ahead, ahead.find(route, q)), start_of[p], 0.0
        elif q in start_of and p not in start_of:
            found, shift_p, shift_q = (back, back.find(p, route)), 0.0, start_of[q]
        else:
            continue
        tables, place = found
        if place < 0:
            continue
        record = tables.records[place]
        s_p, s_q = known["conflict_s_p"] + shift_p, known["conflict_s_q"] + shift_q
        if s_p + s_q < record["conflict_s_p"] + record["conflict_s_q"]:
            record["yields"] = True
            record["conflict_s_p"], record["conflict_s_q"] = s_p, s_q
