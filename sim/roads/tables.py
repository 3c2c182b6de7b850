"""What paths know of each other: lateral tables, crossings, who gives way where; bend speeds.

Only paths that come within 30 m beside each other have a pair; bounding boxes find the candidates
and bounding circles of short pieces the nearest sample.
"""
# The kernels are typed by numba, which reads no annotations.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sim.kernels import kernel
from sim.roads.lookup import circle_frame
from sim.roads.maps import F32, F64, FAR_M, I32, I64, PAIR, Records

BESIDE_M = 30.0
REACH_M = 32.0  # nothing is looked for farther off than this
CONFLICT_D_M = 1.5
CROSSING_TURN_RAD = 0.5
PARALLEL_RAD = 0.05
JOINED_M = 0.3
BEND_ACCEL_MPS2 = 2.5
BEND_BRAKE_MPS2 = 1.5
FASTEST_MPS = 60.0
_JUMP_M = 5.0  # more between two samples means that the nearest part of p is another one
_PIECE = 16
_SLACK_M = 1e-6
_SEAM_M = 1.0
_TAU = 2.0 * math.pi


class _Lines(NamedTuple):
    """Samples [*, 7] of all paths, where each path's lie, and what finds the nearest of them.

    Path p has ``used`` samples up to its end (``counts`` with those beyond), is beside what lies
    between arc lengths ``start`` and ``end``, has a bounding box (low x, low y, high x, high y) of
    all, and from ``piece_first`` on bounding circles (x, y, radius) of every ``_PIECE`` used ones.
    """

    samples: F64
    first: I64
    counts: I64
    used: I64
    start: F64
    end: F64
    boxes: F64
    piece_first: I64
    circles: F64


@dataclass(frozen=True)
class PairTables:
    """Pairs sorted by (p, q): ``paths`` int32 [n, 2], ``records`` PAIR [n], ``tables`` [*, 3]."""

    paths: I32
    records: Records
    tables: F32

    @cached_property
    def _keys(self) -> I64:
        return self.paths[:, 0].astype(np.int64) * 2**32 + self.paths[:, 1]

    def find(self, p: int, q: int) -> int:
        """Row of the pair; -1: there is none."""
        key = p * 2**32 + q
        row = int(np.searchsorted(self._keys, key))
        return row if row < len(self._keys) and self._keys[row] == key else -1

    def rows(self, row: int) -> F32:
        """s, d and heading difference [m, 3] of the samples of q that lie in the table."""
        first = self.records["table_first"][row]
        return self.tables[first : first + self.records["sample_count"][row]]


def pair_tables(
    samples: F64,
    lanes: Records,
    p_range: tuple[int, int] | None = None,
    q_range: tuple[int, int] | None = None,
) -> PairTables:
    """Tables of all pairs of paths p, q (of a range each) that come beside each other."""
    everyone = (0, len(lanes))
    lines = _lines_of(samples, lanes)
    ints, floats, tables = _pairs(lines, p_range or everyone, q_range or everyone)
    records = np.zeros(len(ints), dtype=PAIR)
    records["sample_first"], records["sample_count"] = ints[:, 2], ints[:, 3]
    records["table_first"] = np.cumsum(ints[:, 3]) - ints[:, 3]
    records["last"] = lines.counts[ints[:, 1]] - 2
    records["apart_m"], records["cross_s"] = floats[:, 0], floats[:, 1]
    records["conflict_s_p"] = records["conflict_s_q"] = np.inf
    return PairTables(ints[:, :2].astype(np.int32), records, tables)


def _lines_of(samples: F64, lanes: Records) -> _Lines:
    used = np.ceil(lanes["length_m"]).astype(np.int64) + 1
    pieces = -(-used // _PIECE)
    lines = _Lines(
        samples=np.ascontiguousarray(samples),
        first=lanes["first"].copy(),
        counts=lanes["count"].copy(),
        used=used,
        # Where lanes are linked, both know the sample interval across the seam.
        start=np.where(lanes["predecessor_count"] > 0, -_SEAM_M, -_SLACK_M),
        end=lanes["length_m"] + np.where(lanes["successor_count"] > 0, _SEAM_M, _SLACK_M),
        boxes=np.empty((len(lanes), 4)),
        piece_first=np.cumsum(pieces) - pieces,
        circles=np.empty((int(pieces.sum()), 3)),
    )
    _bound(lines)
    return lines


def _pairs(lines: _Lines, p_range: tuple[int, int], q_range: tuple[int, int]) -> tuple[Any, ...]:
    """Ints (p, q, first sample of q, samples) [n, 4], floats (apart, crossing) [n, 2], tables."""
    ints, floats = np.empty((256, 4), dtype=np.int64), np.empty((256, 2))
    tables = np.empty((8192, 3), dtype=np.float32)
    rows = np.empty((int(lines.counts.max()), 3), dtype=np.float32)
    p, q, pairs, used = p_range[0], q_range[0], 0, 0
    while True:
        p, q, pairs, used = _fill_pairs(
            lines, p_range[1], q_range, p, q, pairs, used, ints, floats, tables, rows
        )
        if p == p_range[1]:
            return ints[:pairs], floats[:pairs], tables[:used]
        if pairs == len(ints):
            ints, floats = _doubled(ints), _doubled(floats)
        else:
            tables = _doubled(tables)


def _doubled(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A copy with room for as many rows again."""
    return np.concatenate([array, np.empty_like(array)])


def first_conflict(rows: F32, first: int) -> tuple[float, float] | None:
    """Where a vehicle on p first meets the line of q, crossing or joining: s on p, s on q.

    ``rows`` are those of the table, from sample ``first`` of q on. Of the stretches of q that lie
    within ``CONFLICT_D_M`` of p it is the one that p comes to first, and of that the place where q
    comes upon p. A common approach that both leave does not count.
    """
    near = np.flatnonzero(np.abs(rows[:, 1]) < CONFLICT_D_M)
    jumps = np.abs(np.diff(rows[near, 0])) > _JUMP_M
    stretches = np.split(near, np.flatnonzero((np.diff(near) > 1) | jumps) + 1)
    if len(near) and first + near[0] == 0 and abs(math.sin(rows[0, 2])) < CROSSING_TURN_RAD:
        stretches = stretches[1:]
    if not sum(map(len, stretches)):
        return None
    n = min(stretches, key=lambda stretch: float(rows[stretch, 0].min()))[0]
    return float(rows[n, 0]), float(first + n)


def joined_s(rows: F32, first: int) -> float:
    """Arc length on q at which it has come upon p (-inf: it never does)."""
    hits = np.flatnonzero(np.abs(rows[:, 1]) < JOINED_M)
    return float(first + hits[0]) if len(hits) else -math.inf


def bend_speeds(samples: F64, lanes: Records, successors: I32) -> F64:
    """[*] speed at each sample, limited by lateral acceleration here and by braking for what
    follows, on the path and on the first of its successors (backward pass, repeated until it
    settles)."""
    squared = BEND_ACCEL_MPS2 / np.maximum(np.abs(samples[:, 3]), BEND_ACCEL_MPS2 / FASTEST_MPS**2)
    follows = np.full(len(lanes), -1, dtype=np.int64)
    linked = lanes["successor_count"] > 0
    follows[linked] = successors[lanes["successor_first"][linked]]
    first, count = lanes["first"].copy(), lanes["count"].copy()
    _brake_ahead(squared, first, count, lanes["length_m"].copy(), follows)
    return np.sqrt(squared)


@kernel
def _brake_ahead(squared, first, count, length, follows):
    changed = True
    while changed:
        changed = False
        for p in range(len(first)):
            last = first[p] + count[p] - 1
            end = first[p] + int(length[p])  # the last sample that lies on the path
            ahead = squared[first[follows[p]]] if follows[p] >= 0 else math.inf
            for i in range(last, first[p] - 1, -1):
                bound = squared[i + 1] + 2.0 * BEND_BRAKE_MPS2 if i < last else math.inf
                if i <= end:
                    rest = length[p] - (i - first[p])
                    bound = min(bound, ahead + 2.0 * BEND_BRAKE_MPS2 * rest)
                if bound < squared[i]:
                    squared[i] = bound
                    changed = True


@kernel
def _box(samples, first, count, box):
    """Bounding box (low x, low y, high x, high y) of some samples."""
    box[0] = box[1] = math.inf
    box[2] = box[3] = -math.inf
    for i in range(first, first + count):
        for k in range(2):
            box[k] = min(box[k], samples[i, k])
            box[2 + k] = max(box[2 + k], samples[i, k])


@kernel
def _bound(lines):
    """Fill in the boxes and circles."""
    box = lines.boxes[0]  # scratch until the first box is made, last
    for p in range(len(lines.first) - 1, -1, -1):
        first, used = lines.first[p], lines.used[p]
        for k in range((used + _PIECE - 1) // _PIECE):
            _box(lines.samples, first + k * _PIECE, min(_PIECE, used - k * _PIECE), box)
            circle = lines.circles[lines.piece_first[p] + k]
            circle[0], circle[1] = 0.5 * (box[0] + box[2]), 0.5 * (box[1] + box[3])
            circle[2] = 0.5 * math.hypot(box[2] - box[0], box[3] - box[1])
        _box(lines.samples, first, lines.counts[p], lines.boxes[p])


@kernel
def _nearest(lines, p, guess, x, y):
    """First of the samples of path p that is nearest to a point; -1: none within ``REACH_M``."""
    first, used = lines.first[p], lines.used[p]
    best_n = -1
    bound = REACH_M
    if guess >= 0:  # a little more than the guess's distance, so that an equal one before it wins
        own = lines.samples[first + guess]
        bound = min(bound, math.hypot(own[0] - x, own[1] - y) + 1e-9)
    best = bound * bound
    for k in range((used + _PIECE - 1) // _PIECE):
        circle = lines.circles[lines.piece_first[p] + k]
        reach = bound + circle[2]
        dx, dy = circle[0] - x, circle[1] - y
        if dx * dx + dy * dy > reach * reach:
            continue
        for n in range(k * _PIECE, min((k + 1) * _PIECE, used)):
            dx, dy = lines.samples[first + n, 0] - x, lines.samples[first + n, 1] - y
            away = dx * dx + dy * dy
            if away < best:
                best, best_n = away, n
                bound = math.sqrt(best)
    return best_n


@kernel
def _table(lines, p, q, rows):
    """Fill ``rows`` [count of q, 3] with the samples of q in the frame of p; returns the first and
    the last that is beside p (first > last: none)."""
    low, high, guess = lines.counts[q], -1, -1
    s = turn = 0.0
    for n in range(lines.counts[q]):
        point = lines.samples[lines.first[q] + n]
        guess = _nearest(lines, p, guess, point[0], point[1])
        d = FAR_M
        if guess >= 0:
            own = lines.samples[lines.first[p] + guess]
            dx, dy = point[0] - own[0], point[1] - own[1]
            ds, d, turned = circle_frame(
                own[4] * dx + own[5] * dy, own[4] * dy - own[5] * dx, own[3]
            )
            s = guess + ds
            # Unwrapped along q, so that interpolation never crosses the cut at pi.
            difference = point[2] - own[2] - turned
            turn = difference + _TAU * np.rint((turn - difference) / _TAU)
            if abs(d) > BESIDE_M or s < lines.start[p] or s > lines.end[p]:
                d = FAR_M
        if d != FAR_M:
            low, high = min(low, n), n
        rows[n, 0], rows[n, 1], rows[n, 2] = s, d, turn
    return low, high


@kernel
def _facts(rows, low, high):
    """``apart_m`` and ``cross_s`` of ``PAIR``."""
    nearest, turned, crossing = math.inf, 0.0, math.inf
    for n in range(low, high + 1):
        d = abs(rows[n, 1])
        if d < BESIDE_M + 1.0:
            turned = max(turned, abs(math.sin(rows[n, 2])))
        if d < nearest:
            nearest = d
            turn = rows[n, 2] - _TAU * np.rint(rows[n, 2] / _TAU)
            crosses = abs(turn) > CROSSING_TURN_RAD
            crossing = rows[n, 0] if d < CONFLICT_D_M and crosses else math.inf
    return nearest if turned < PARALLEL_RAD else 0.0, crossing


@kernel
def _apart(a, b):
    """Whether two boxes are farther apart than ``REACH_M``."""
    return (
        a[0] > b[2] + REACH_M
        or b[0] > a[2] + REACH_M
        or a[1] > b[3] + REACH_M
        or b[1] > a[3] + REACH_M
    )


@kernel
def _fill_pairs(lines, p_end, q_range, p, q, pairs, used, ints, floats, tables, rows):
    """Go on at pair (p, q) with ``pairs`` pairs and ``used`` table rows, until all is done
    (p = ``p_end``) or the room is used up; returns the same four numbers."""
    while p < p_end:
        while q < q_range[1]:
            if not _apart(lines.boxes[p], lines.boxes[q]):
                if pairs == len(ints):
                    return p, q, pairs, used
                low, high = _table(lines, p, q, rows)
                # One more on either side, so that interpolation fades to far as beyond p's end.
                size = min(high + 1, lines.counts[q] - 1) + 1 - max(low - 1, 0)
                if low <= high and used + size > len(tables):
                    return p, q, pairs, used
                if low <= high:
                    low = max(low - 1, 0)
                    ints[pairs, 0], ints[pairs, 1] = p, q
                    ints[pairs, 2], ints[pairs, 3] = low, size
                    floats[pairs, 0], floats[pairs, 1] = _facts(rows, low, low + size - 1)
                    for n in range(size):
                        for k in range(3):
                            tables[used + n, k] = rows[low + n, k]
                    pairs, used = pairs + 1, used + size
            q += 1
        p, q = p + 1, q_range[0]
    return p, q, pairs, used
