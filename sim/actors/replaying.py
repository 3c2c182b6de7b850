"""Recorded actors: they replay their log, and turn to car following once the ego comes close to
where they are about to drive.

Rows of the log arena: time (s), x, y (m), heading (rad), speed (m/s).
"""

from __future__ import annotations

import math
from typing import Any

from sim.actors.lanes import choose_next
from sim.actors.posing import set_pose, settle_on_path, wrapped
from sim.actors.shift import begin_shift
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.maps import DRIVING
from sim.state import IDM

TIME, LOG_X, LOG_Y, LOG_HEADING, LOG_SPEED = range(5)
ROUNDING_S = 1e-9
RESTING_MPS = 0.1  # whoever is slower at the end of its log is parked and stays
REACT_AHEAD_S = 3.0  # this much of the recorded way ahead counts as its corridor
REACT_SPEED_MPS = 0.5  # who never drives faster from now on does not react: it is parked
TURN_COST_M = 8.0  # metres beside a lane that a radian of wrong heading is worth
CENTRE_RATE_MPS = 0.5


@kernel
def replay(w: Any, a: Any, i: int, maps: Any, logs: Any, time_s: float, tick_s: float) -> None:
    """Put recorded actor ``i`` where its log has it at ``time_s``, the end of a tick. It appears
    with the first row and vanishes after the last one unless it stands there."""
    first, last = a[i].log_first, a[i].log_first + a[i].log_count - 1
    if time_s < logs[first, TIME] - ROUNDING_S:
        a[i].present = False
        return
    if time_s > logs[last, TIME] + ROUNDING_S:
        a[i].present = a[i].present and abs(logs[last, LOG_SPEED]) < RESTING_MPS
        a[i].v = 0.0
        a[i].vd = 0.0
        a[i].actor_accel = 0.0
        return
    if time_s - tick_s < logs[first, TIME] - ROUNDING_S:
        a[i].present = True
    row = row_at(logs, first, last, time_s)
    span = logs[row + 1, TIME] - logs[row, TIME]
    f = min(max((time_s - logs[row, TIME]) / span, 0.0), 1.0)
    x = logs[row, LOG_X] + f * (logs[row + 1, LOG_X] - logs[row, LOG_X])
    y = logs[row, LOG_Y] + f * (logs[row + 1, LOG_Y] - logs[row, LOG_Y])
    turned = wrapped(logs[row + 1, LOG_HEADING] - logs[row, LOG_HEADING])
    change = logs[row + 1, LOG_SPEED] - logs[row, LOG_SPEED]
    speed = logs[row, LOG_SPEED] + f * change
    moved = math.hypot(x - a[i].ax, y - a[i].ay)
    set_pose(a, i, x, y, logs[row, LOG_HEADING] + f * turned)
    settle_on_path(w, a, i, maps, a[i].s + math.copysign(moved, math.cos(a[i].turn)))
    a[i].v = speed * math.cos(a[i].turn)
    a[i].vd = speed * math.sin(a[i].turn)
    a[i].actor_accel = change / span
    if a[i].reacts_within_m > 0.0:
        _react(w, a, i, maps, logs, row, last, time_s, speed)


@kernel
def row_at(logs: Any, first: int, last: int, time_s: float) -> int:
    """The row of ``first`` ... ``last`` that begins the interval of ``time_s`` (bisection)."""
    low, high = first, last - 1
    while low < high:
        middle = (low + high + 1) // 2
        if logs[middle, TIME] <= time_s:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def _react(
    w: Any, a: Any, i: int, maps: Any, logs: Any, row: int, last: int, time_s: float, speed: float
) -> None:
    """Hand actor ``i`` over to car following if the ego is near its recorded corridor."""
    if not _ego_is_near(w, a[i], logs, row, last, time_s):
        return
    desired = speed
    for r in range(row, last + 1):
        desired = max(desired, logs[r, LOG_SPEED])
    if desired < REACT_SPEED_MPS:
        return
    path, s, d = lane_for(w, maps, a[i].ax, a[i].ay, a[i].aheading)
    _, _, heading, _ = lookup.pose(maps, w.map_id, path, s, d)
    turn = wrapped(a[i].aheading - heading)
    if math.cos(turn) <= 0.0:
        return  # no lane leads where it is heading
    a[i].behaviour = IDM
    a[i].path, a[i].s, a[i].d, a[i].turn = path, s, d, turn
    a[i].next_path = choose_next(w, i, a[i].hops, path, maps)
    a[i].v, a[i].vd = max(speed, 0.0), 0.0
    a[i].desired = desired
    begin_shift(a, i, 0.0, CENTRE_RATE_MPS)


@kernel
def _ego_is_near(w: Any, me: Any, logs: Any, row: int, last: int, time_s: float) -> bool:
    """Whether the ego is within ``reacts_within_m`` of the recorded way of the next seconds."""
    x, y = me.ax, me.ay
    limit = me.reacts_within_m * me.reacts_within_m
    if (w.x - x) ** 2 + (w.y - y) ** 2 <= limit:
        return True
    for r in range(row + 1, last + 1):
        to_x, to_y = logs[r, LOG_X], logs[r, LOG_Y]
        if away_squared(w.x, w.y, x, y, to_x, to_y) <= limit:
            return True
        if logs[r, TIME] > time_s + REACT_AHEAD_S:
            return False
        x, y = to_x, to_y
    return False


@kernel
def away_squared(
    x: float, y: float, from_x: float, from_y: float, to_x: float, to_y: float
) -> float:
    """Squared distance of a point from a stretch."""
    along_x, along_y = to_x - from_x, to_y - from_y
    length = along_x * along_x + along_y * along_y
    f = 0.0
    if length > 0.0:
        f = ((x - from_x) * along_x + (y - from_y) * along_y) / length
        f = min(max(f, 0.0), 1.0)
    return (from_x + f * along_x - x) ** 2 + (from_y + f * along_y - y) ** 2


@kernel
def lane_for(w: Any, maps: Any, x: float, y: float, heading: float) -> tuple[int, float, float]:
    """The driving lane that suits a vehicle at (x, y) with ``heading`` best, by how far it is
    beside it and turned away from it: path, s, d."""
    _, _, near, hint = lookup.nearest_lane(maps, w.map_id, x, y)
    near_s, near_d = lookup.project(maps, w.map_id, near, x, y, hint)
    _, _, along, _ = lookup.pose(maps, w.map_id, near, near_s, near_d)
    best_path, best_s, best_d = near, near_s, near_d
    best = abs(near_d) + TURN_COST_M * abs(wrapped(heading - along))
    for path in range(maps.maps[w.map_id].lane_count):
        if path == near or maps.lanes[lookup.lane(maps, w.map_id, path)].kind != DRIVING:
            continue
        s, d, turn = lookup.between(maps, w.map_id, path, near, near_s, near_d)
        cost = abs(d) + TURN_COST_M * abs(wrapped(heading - along + turn))
        if cost < best:
            best, best_path, best_s, best_d = cost, path, s, d
    return best_path, best_s, best_d
