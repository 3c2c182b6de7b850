"""Everyone who may stand in the way, as a compact table that a tick's decisions read.

Row 0 is the ego on its route, the others are the actors that are present; ``slot`` says which.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import numpy as np

from alpamayo.types import EGO_SIZE_M
from sim.actors.lanes import LINKS, follows_lanes, look_ahead
from sim.actors.shift import is_shifting
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.meetings import (
    ANY_LANE,
    CROSSING_LOOK_M,
    FEATURES,
    LANE_SLACK_M,
    NEAR,
    SLIM_M,
    bit,
)

EGO_LENGTH_M, EGO_WIDTH_M = EGO_SIZE_M[0], EGO_SIZE_M[1]
EGO = -1
# Columns of ``rows``. GOAL_D: where a lateral move ends. SPREAD: how far the body may reach to
# either side of its path. COS, SIN: of its heading in the world. AT_LINE: 1 where it stands, or is
# about to, at a line or giving way.
X, Y, COS, SIN, S, D, GOAL_D, TURN, SPEED, LENGTH, WIDTH, SPREAD, AT_LINE = range(13)
COLUMNS = 13

# With n = A + 2: ``rows`` f8 [n, COLUMNS], ``slot`` i8 [n], ``way`` i8 [n, LINKS], ``starts`` f8
# [n, LINKS] (arc length of each lane's start, from the start of the first), ``links`` i8 [n]: lanes
# of each way. ``count`` i8 [1]: rows in use; the last row serves for what might be. ``most`` f8
# [2]: the highest speed and the greatest length plus width of anyone.
# ``order`` i8 [n]: rows sorted along the axis (``axis`` i8 [1]: X or Y) on which they spread most;
# ``rank`` i8 [n]: place of each row in it; ``place`` f8 [n, 3]: coordinate on that axis, x, y, in
# that order; ``wide`` f8 [1]: how far they spread on the other axis.
# ``at`` and ``on`` i8 [n]: sets (see ``sim.roads.meetings``) of the lane a body is on and of all of
# its way; ``soon`` i8 [n]: of those it comes to within ``CROSSING_LOOK_M``; ``near`` i8 [n]: of the
# lanes on which somebody may be in its way. ``features`` i8 [n]: what there is to look at anywhere
# on its way.
Bodies = namedtuple(
    "Bodies",
    "rows slot way starts links count most order rank axis place wide at on soon near features",
)


def scratch(actors: int) -> Bodies:
    """A table for worlds of at most ``actors`` actors."""
    size = actors + 2
    return Bodies(
        rows=np.zeros((size, COLUMNS)),
        slot=np.zeros(size, dtype=np.int64),
        way=np.zeros((size, LINKS), dtype=np.int64),
        starts=np.zeros((size, LINKS)),
        links=np.zeros(size, dtype=np.int64),
        count=np.zeros(1, dtype=np.int64),
        most=np.zeros(2),
        order=np.arange(size),
        rank=np.zeros(size, dtype=np.int64),
        axis=np.zeros(1, dtype=np.int64),
        place=np.zeros((size, 3)),
        wide=np.zeros(1),
        at=np.zeros(size, dtype=np.int64),
        on=np.zeros(size, dtype=np.int64),
        soon=np.zeros(size, dtype=np.int64),
        near=np.zeros(size, dtype=np.int64),
        features=np.zeros(size, dtype=np.int64),
    )


@kernel
def gather(w: Any, a: Any, maps: Any, bodies: Any) -> None:
    """Fill ``bodies`` with everyone in the world."""
    _put_ego(w, bodies.rows[0])
    bodies.slot[0] = EGO
    bodies.way[0, 0] = w.route
    bodies.starts[0, 0] = 0.0
    bodies.links[0] = 1
    bodies.at[0] = bodies.on[0] = bodies.soon[0] = ANY_LANE  # routes are in no set
    k = 1
    for i in range(w.actor_count):
        if a[i].present:
            put(w, a, i, k, maps, bodies)
            k += 1
    if bodies.count[0] != k:
        bodies.count[0] = k
        for r in range(k):
            bodies.order[r] = r
    _sort(bodies)
    longest = 0.0
    for j in range(k):
        longest = max(longest, bodies.rows[j, LENGTH] + bodies.rows[j, WIDTH])
    bodies.most[1] = longest
    _note_fastest(bodies)


@kernel
def note_speeds(a: Any, bodies: Any) -> None:
    """What ``gather`` would change if nothing but speeds had changed since."""
    for k in range(1, bodies.count[0]):
        bodies.rows[k, SPEED] = _speed(a[bodies.slot[k]])
    _note_fastest(bodies)


@kernel
def _note_fastest(bodies: Any) -> None:
    fastest = 0.0
    for j in range(bodies.count[0]):
        fastest = max(fastest, bodies.rows[j, SPEED])
    bodies.most[0] = fastest


@kernel
def _speed(actor: Any) -> float:
    return math.sqrt(actor.v * actor.v + actor.vd * actor.vd)


@kernel
def _sort(bodies: Any) -> None:
    """Fill ``order`` to ``wide``. Insertion sort: the order hardly changes from tick to tick."""
    rows, order, count = bodies.rows, bodies.order, bodies.count[0]
    low_x, high_x, low_y, high_y = math.inf, -math.inf, math.inf, -math.inf
    for j in range(count):
        low_x, high_x = min(low_x, rows[j, X]), max(high_x, rows[j, X])
        low_y, high_y = min(low_y, rows[j, Y]), max(high_y, rows[j, Y])
    axis = X if high_x - low_x >= high_y - low_y else Y
    bodies.axis[0] = axis
    bodies.wide[0] = min(high_x - low_x, high_y - low_y)
    for r in range(count):
        j, at = order[r], r
        while at > 0 and rows[order[at - 1], axis] > rows[j, axis]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = j
    for r in range(count):
        j = order[r]
        bodies.rank[j] = r
        bodies.place[r, 0] = rows[j, axis]
        bodies.place[r, 1] = rows[j, X]
        bodies.place[r, 2] = rows[j, Y]


@kernel
def _put_ego(w: Any, row: Any) -> None:
    turn = w.heading - w.route_heading
    row[X] = w.x
    row[Y] = w.y
    row[COS] = math.cos(w.heading)
    row[SIN] = math.sin(w.heading)
    row[S] = w.route_s
    row[D] = w.route_d
    row[GOAL_D] = w.route_d
    row[TURN] = turn
    row[SPEED] = w.speed
    row[LENGTH] = EGO_LENGTH_M
    row[WIDTH] = EGO_WIDTH_M
    row[SPREAD] = abs(w.route_d) + 0.5 * (EGO_WIDTH_M + EGO_LENGTH_M * abs(math.sin(turn)))


@kernel
def put(w: Any, a: Any, i: int, k: int, maps: Any, bodies: Any) -> None:
    """Write actor ``i`` into row ``k``."""
    row = bodies.rows[k]
    row[X] = a[i].ax
    row[Y] = a[i].ay
    row[COS] = a[i].cos_h
    row[SIN] = a[i].sin_h
    row[S] = a[i].s
    row[D] = a[i].d
    row[GOAL_D] = a[i].shift_to if is_shifting(a[i]) else a[i].d
    row[TURN] = a[i].turn
    row[SPEED] = _speed(a[i])
    row[LENGTH] = a[i].length
    row[WIDTH] = a[i].width
    across = abs(math.sin(a[i].turn)) if a[i].turn != 0.0 else 0.0
    row[SPREAD] = abs(a[i].d) + 0.5 * (a[i].width + a[i].length * across)
    bodies.slot[k] = i
    bodies.links[k] = 1
    bodies.way[k, 0] = a[i].path
    bodies.starts[k, 0] = 0.0
    if follows_lanes(a[i]):
        bodies.links[k] = look_ahead(
            w, i, a[i].hops, a[i].path, a[i].next_path, a[i].s, maps, bodies.way[k],
            bodies.starts[k],
        )  # fmt: skip
    _put_sets(w, k, maps, bodies)


@kernel
def _put_sets(w: Any, k: int, maps: Any, bodies: Any) -> None:
    """Fill in ``at`` to ``features`` of row ``k``."""
    first = maps.maps[w.map_id].lane_first
    on, soon, near, features = 0, 0, 0, 0
    seen = bodies.rows[k, S] + CROSSING_LOOK_M + LANE_SLACK_M
    for link in range(bodies.links[k]):
        path = bodies.way[k, link]
        on |= bit(path)
        if bodies.starts[k, link] <= seen:
            soon |= bit(path)
        near |= maps.bits[first + path, NEAR]
        features |= maps.bits[first + path, FEATURES]
    bodies.at[k] = ANY_LANE if bodies.rows[k, SPREAD] > SLIM_M else bit(bodies.way[k, 0])
    bodies.on[k] = on
    bodies.soon[k] = soon
    bodies.near[k] = near
    bodies.features[k] = features


@kernel
def in_frame(
    maps: Any, map_id: int, path: int, other: int, s: float, d: float
) -> tuple[float, float, float]:
    """The point (``s``, ``d``) of lane ``other`` in the frame of ``path``: s, d, heading of
    ``other`` minus that of ``path``; d is huge where they are not beside each other."""
    if path == other:
        return s, d, 0.0
    return lookup.between(maps, map_id, path, other, s, d)
