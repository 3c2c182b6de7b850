"""Where lanes meet, tabulated once per map, and which lanes are worth a look-up at all.

Traffic asks of many pairs of lanes, every tick, whether they are near each other, meet, or give
way. Most pairs do not. ``MapArrays.bits`` of a lane hold, for each of these questions (``NEAR``,
``MEETS``, ``YIELDS``), a set of lanes hashed into 64 bits (lane q is bit q mod 64): where the bit
is not set the answer is no, without a look at the pair. Their last column says what there is on
the lane itself to be looked at (``HAS_STOP`` to ``HAS_TURN``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.maps import I32, I64, Records

NEAR, MEETS, YIELDS, FEATURES = range(4)
COLUMNS = 4
HAS_STOP, GIVES_WAY, HAS_MERGE, HAS_END, HAS_TURN = 1, 2, 4, 8, 16
ANY_LANE = -1  # the set of all lanes, and what stands for a path that is in no set

ON_M, ON_RAD = 1.5, 0.5  # closer than this, one lane lies on another
STRIDE_M = 4.0  # on each other for less than this does not count
CROSSING_LOOK_M = 60.0  # crossings farther behind the line belong to another junction
LANE_SLACK_M = 2.0  # lanes are known this far before their start
# Lanes that keep at least this distance all along are not near each other: a body that reaches
# no farther than ``SLIM_M`` to the side of its lane cannot be in the way of one that needs less
# than the rest.
APART_M = 3.4
SLIM_M = 1.5


@kernel
def bit(path: int) -> int:
    """The bit of a lane."""
    return 1 << (path & 63)


@kernel
def tabulate(maps: Any, map_id: int, paths: Any, first: int) -> None:
    """Fill in ``meet_s_p`` and ``meet_s_q`` of the pairs ``paths`` [n, 2], which lie from row
    ``first`` of ``maps.pairs`` on."""
    for n in range(len(paths)):
        s_p, s_q = _meeting(maps, map_id, paths[n, 0], paths[n, 1])
        maps.pairs[first + n].meet_s_p = s_p
        maps.pairs[first + n].meet_s_q = s_q


@kernel
def _meeting(maps: Any, map_id: int, p: int, q: int) -> tuple[float, float]:
    """Arc lengths on lanes ``p`` and ``q`` where they cross, or where q has joined p (inf: they do
    neither, or come from the same place)."""
    pair, back = lookup.pair(maps, map_id, p, q), lookup.pair(maps, map_id, q, p)
    if p == q or pair < 0 or back < 0:
        return math.inf, math.inf
    on_p, on_q = maps.pairs[pair].cross_s, maps.pairs[back].cross_s
    if not (math.isinf(on_p) or math.isinf(on_q)):
        return on_p, on_q
    lane = maps.lanes[lookup.lane(maps, map_id, q)]
    apart, end = 0.0, lane.length_m
    if not math.isinf(lane.stop_s):
        apart, end = lane.stop_s, min(lane.stop_s + CROSSING_LOOK_M, lane.length_m)
    if _is_on(maps, map_id, p, q, apart):
        return math.inf, math.inf
    first = maps.pairs[pair].sample_first  # before that, q is not beside p
    together = max(apart, first - 1.0)
    while not _is_on(maps, map_id, p, q, together):
        if together >= end:
            return math.inf, math.inf
        apart = together
        together = min(together + STRIDE_M, end)
    while together - apart > 1.0:
        middle = 0.5 * (apart + together)
        if _is_on(maps, map_id, p, q, middle):
            together = middle
        else:
            apart = middle
    s, _, _ = lookup.between(maps, map_id, p, q, together, 0.0)
    return s, together


@kernel
def _is_on(maps: Any, map_id: int, p: int, q: int, s: float) -> bool:
    """Whether lane ``q`` lies on lane ``p`` at arc length ``s``."""
    _, d, turn = lookup.between(maps, map_id, p, q, s, 0.0)
    return abs(d) < ON_M and abs(turn) < ON_RAD


def lane_bits(lanes: Records, paths: I32, pairs: Records) -> I64:
    """``MapArrays.bits`` [P, COLUMNS] of LANE [P], from all pairs of them: ``paths`` [n, 2] and
    PAIR [n]."""
    bits = np.zeros((len(lanes), COLUMNS), dtype=np.int64)
    own = np.arange(len(lanes))
    answers = (
        (NEAR, (pairs["apart_m"] < APART_M)),
        (MEETS, np.isfinite(pairs["meet_s_p"])),
        (YIELDS, pairs["yields"]),
    )
    for question, known in answers:
        p, q = paths[known].astype(np.int64).T
        np.bitwise_or.at(bits[:, question], p, np.left_shift(np.int64(1), q & 63))
    bits[:, NEAR] |= np.left_shift(np.int64(1), own & 63)
    # A lane that stops while a neighbour goes on has an end too.
    goes_on = np.append(lanes["successor_count"] > 0, False)
    stops = ~goes_on[:-1] & (goes_on[lanes["left"]] | goes_on[lanes["right"]])
    for feature, there in (
        (HAS_STOP, np.isfinite(lanes["stop_s"])),
        (GIVES_WAY, lanes["gives_way"]),
        (HAS_MERGE, lanes["merge_s"] > -np.inf),
        (HAS_END, np.isfinite(lanes["ends_m"]) | stops),
        (HAS_TURN, lanes["turn"] != 0),
    ):
        bits[:, FEATURES] |= np.where(there, feature, 0)
    return bits
