"""Triggers and actions of one world: event records ``e`` [E] and action records ``m`` [M]. Every
event fires at most once. Behind the events lie the parts of triggers that combine several."""

from __future__ import annotations

import math
from typing import Any

from alpamayo.types import EGO_SIZE_M
from sim.actors.lanes import change_lane, switch_lane
from sim.actors.shift import begin_shift
from sim.encounters import speed_ahead
from sim.kernels import kernel
from sim.params import Params
from sim.roads import lookup
from sim.state import ATTACHED, IDM, PATCHES, SCRIPTED, STATIC, WALK

TRIGGERS = (
    "time", "distance", "ttc", "ego_position", "arrival",
    "headway", "ego_speed", "actor_speed", "after", "actor_position",
    "ego_at_most", "actor_at_most", "all", "any",
)  # fmt: skip
(
    TIME, DISTANCE, TTC, EGO_POSITION, ARRIVAL, HEADWAY, EGO_SPEED, ACTOR_SPEED, AFTER,
    ACTOR_POSITION, EGO_AT_MOST, ACTOR_AT_MOST, ALL, ANY,
) = range(14)  # fmt: skip
ACTIONS = (
    "speed", "offset", "run_light", "react", "lane_change", "open_door", "signal", "friction",
    "appear", "vanish", "indicator", "stand", "follow", "fall", "patch", "weather",
)  # fmt: skip
(
    SPEED, OFFSET, RUN_LIGHT, REACT, LANE_CHANGE, OPEN_DOOR, SIGNAL, FRICTION,
    APPEAR, VANISH, INDICATOR, STAND, FOLLOW, FALL, PATCH, WEATHER,
) = range(16)  # fmt: skip
SLIDE_MPS2 = 5.0  # of who has fallen: bodies and machines on asphalt, friction about 0.5
BESIDE_M = 40.0  # farther to the side of the route than this means "not beside it"
_HALF_EGO_M = 0.5 * EGO_SIZE_M[0]
_ROUNDING = 1e-9  # 3 ticks of 0.1 s are 0.30000000000000004 s


@kernel
def fire(w: Any, a: Any, e: Any, m: Any, maps: Any, p: Params, time_s: float) -> None:
    """Fire the events whose trigger holds now and apply their actions, in place, in their order in
    the list: of two alike the later one wins."""
    if not _check(w, a, e, maps, time_s):
        return
    # An event that fires now has a time but is not marked yet.
    for j in range(len(m)):
        k = m[j].action_event
        if m[j].action_kind >= 0 and not e[k].fired and e[k].fired_s == time_s:
            _act(w, a, e[k].event_actor, m[j], maps, time_s)
    for k in range(w.event_count):
        if e[k].fired_s == time_s:
            e[k].fired = True


# Triggers --------------------------------------------------------------------------------
@kernel
def _check(w: Any, a: Any, e: Any, maps: Any, time_s: float) -> bool:
    """Give the events whose trigger holds now their time; False: there are none."""
    count = w.event_count + w.part_count
    for k in range(count):
        e[k].met = 0
    found = False
    for back in range(count):  # parts before their wholes
        k = count - 1 - back
        root = e[k].root if e[k].root >= 0 else k
        if e[root].fired or not _holds(w, a, e, k, maps, time_s):
            continue
        if k >= w.event_count:
            e[e[k].whole].met += 1
        else:
            e[k].fired_s = time_s
            found = True
    return found


@kernel
def _holds(w: Any, a: Any, e: Any, k: int, maps: Any, time_s: float) -> bool:
    """Whether trigger or part ``k`` holds; its own parts have been counted."""
    kind, value = e[k].trigger, e[k].trigger_value
    slack = 2.0 * _ROUNDING
    if kind == ALL:
        return e[k].met == e[k].parts
    if kind == ANY:
        return e[k].met > 0
    if kind == TIME:
        return time_s + slack >= value + _ROUNDING
    if kind == EGO_POSITION:
        return w.route_s - w.start_s + slack >= value + _ROUNDING
    if kind == EGO_SPEED:
        return w.speed + slack >= value + _ROUNDING
    if kind == EGO_AT_MOST:
        return w.speed <= value + _ROUNDING
    if kind == AFTER:
        other = e[k].after_event
        known = 0 <= other < w.event_count
        return known and e[other].fired and time_s + _ROUNDING >= e[other].fired_s + value
    i = e[k].event_actor
    if i < 0 or not a[i].present:
        return False
    if kind == ACTOR_SPEED:
        return abs(speed_ahead(a[i])) + slack >= value + _ROUNDING
    if kind == ACTOR_AT_MOST:
        return abs(speed_ahead(a[i])) <= value + _ROUNDING
    if kind == ACTOR_POSITION:
        return a[i].s + slack >= value + _ROUNDING
    return _holds_relative(w, a[i], kind, value + _ROUNDING, maps)


@kernel
def _holds_relative(w: Any, actor: Any, kind: int, value: float, maps: Any) -> bool:
    """Whether a trigger holds that relates the ego to an actor ahead on its route."""
    ahead, reach, along = ahead_on_route(w, actor, maps)
    if not (ahead > 0.0 and math.isfinite(ahead)):
        return False
    gap = max(ahead - reach - _HALF_EGO_M, 0.0)
    speed = w.speed * math.cos(w.heading - w.route_heading)
    if kind == DISTANCE:
        return gap <= value
    if kind == TTC:
        return speed > along and gap <= value * (speed - along)
    if kind == ARRIVAL:
        return ahead <= value * speed
    return kind == HEADWAY and speed > 0.0 and gap <= value * speed


@kernel
def ahead_on_route(w: Any, actor: Any, maps: Any) -> tuple[float, float, float]:
    """Where an actor is on the ego's route: distance of its centre ahead of the ego's, half extent
    along the route, and speed along the route. An actor too far beside the route counts at the
    point where its path crosses it (inf: it does not)."""
    s, d, turn = actor.s, actor.d, 0.0
    if actor.path != w.route:
        s, d, turn = lookup.between(maps, w.map_id, w.route, actor.path, actor.s, actor.d)
    turn += actor.turn
    cos_t = math.cos(turn)
    reach = 0.5 * (actor.length * abs(cos_t) + actor.width * abs(math.sin(turn)))
    if abs(d) < BESIDE_M:
        return s - w.route_s, reach, speed_ahead(actor) * cos_t
    facts = lookup.pair(maps, w.map_id, w.route, actor.path)
    crossing = maps.pairs[facts].cross_s if facts >= 0 else math.inf
    return crossing - w.route_s, reach, 0.0


# Actions ---------------------------------------------------------------------------------
@kernel
def _act(w: Any, a: Any, i: int, action: Any, maps: Any, time_s: float) -> None:
    """Apply ``action`` to the world or to actor ``i``. What never moves can only come and go and
    blink."""
    kind = action.action_kind
    if kind == SIGNAL:
        w.signal_mode = int(action.value)
    elif kind == FRICTION:
        w.friction = action.value
    elif kind == PATCH:
        _lay(w, action)
    elif kind == WEATHER:
        return  # follows from when the event fired: sim.looks
    elif i < 0:
        return
    elif kind in (APPEAR, VANISH):
        a[i].present = kind == APPEAR
    elif kind == INDICATOR:
        a[i].indicator = int(action.value)
    elif kind == OPEN_DOOR:
        _open(a, i, action, time_s)
    elif a[i].behaviour != STATIC and a[i].behaviour != ATTACHED:
        _drive(w, a, i, action, maps)


@kernel
def _lay(w: Any, action: Any) -> None:
    """A patch of another friction; the last of the places if all are taken."""
    n = 0
    while n < PATCHES - 1 and w.patches[n, 0] <= w.patches[n, 1]:
        n += 1
    for k in range(3):
        w.patches[n, k] = action.patch[k]


@kernel
def _open(a: Any, i: int, action: Any, time_s: float) -> None:
    """Swing the part to an angle, its edge at ``lateral_mps``."""
    if a[i].behaviour == ATTACHED:
        a[i].angle_to = action.value
        a[i].angle_rate = abs(action.lateral_mps) / max(a[i].length, 0.1)
        a[i].opened_s = time_s


@kernel
def _drive(w: Any, a: Any, i: int, action: Any, maps: Any) -> None:
    """Tell an actor that moves what to do from now on."""
    kind = action.action_kind
    if kind == SPEED:
        a[i].behaviour = SCRIPTED
        a[i].target_v = action.speed_mps
        a[i].target_accel = abs(action.accel_mps2)
        if action.in_s > 0.0:
            a[i].target_accel = abs(action.speed_mps - a[i].v) / action.in_s
    elif kind == OFFSET:
        begin_shift(a, i, action.d_m, action.lateral_mps)
    elif kind == RUN_LIGHT:
        a[i].runs_light = True
    elif kind == REACT:
        a[i].behaviour = IDM
        a[i].desired = action.speed_mps
    elif kind == LANE_CHANGE:
        change_lane(w, a, i, 1 if action.value > 0.0 else -1, maps, action.lateral_mps)
    elif kind == STAND and a[i].behaviour == WALK:
        a[i].desired = action.speed_mps
    elif kind == FOLLOW:
        switch_lane(w, a, i, int(action.value), action.lateral_mps, maps)
    elif kind == FALL and a[i].height > a[i].width:
        _fall(a, i)


@kernel
def _fall(a: Any, i: int) -> None:
    """Lie down, as wide as it was high, and slide to a halt."""
    a[i].width, a[i].height = a[i].height, a[i].width
    if a[i].behaviour == WALK:
        a[i].desired = 0.0
        return
    a[i].behaviour = SCRIPTED
    a[i].target_v = 0.0
    a[i].target_accel = SLIDE_MPS2
    a[i].shift_s = a[i].shift_clock
