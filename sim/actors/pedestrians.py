"""Walkers: the social force model.

Helbing & Molnar, "Social force model for pedestrian dynamics", Phys. Rev. E 51 (1995): attraction
to a goal (eq. 2), repulsion from other walkers with elliptical equipotentials (eq. 3, 4), from
obstacles (eq. 5) and a limited angle of sight (eq. 8), with the parameters of its section III.
Vehicles are obstacles that reach as far ahead as they drive within a moment. Distances between
walkers count from a body's radius, and repulsion is turned a little to the right, as people walk,
so that two who meet head-on do not stand in front of each other.
"""

from __future__ import annotations

import math
from typing import Any

from alpamayo.types import ACTOR_KINDS, EGO_SIZE_M
from sim.actors.posing import set_pose, settle_on_path
from sim.kernels import kernel
from sim.roads import lookup
from sim.state import STATIC, WALK

RELAX_S = 0.5
WALKER_POTENTIAL = 2.1  # m2/s2
WALKER_RANGE_M = 0.3
STEP_S = 2.0  # the space that a walker needs for its next steps
OBSTACLE_POTENTIAL = 10.0  # m2/s2
OBSTACLE_RANGE_M = 0.2
SIGHT_COS = math.cos(math.radians(100.0))  # half the angle of sight
BEHIND_WEIGHT = 0.5
FASTEST = 1.3  # times the desired speed
# Not in the paper: numerical bounds, and what vehicles and meeting head-on need.
HARDEST_MPS2 = 8.0
LEAST_B_M = 0.05
KEEP_RIGHT_RAD = 0.35
VEHICLE_AHEAD_S = 1.5
AROUND_RANGE_M = 1.0
STANDING_MPS = 0.5
NEAR_M = 25.0
ARRIVED_M = 0.3
AIM_M = 12.0  # walkers along a pavement aim at points this far on
NEXT_AIM_M = 4.0
TURN_MPS = 0.2
EGO_LENGTH_M, EGO_WIDTH_M = EGO_SIZE_M[0], EGO_SIZE_M[1]
BALL = ACTOR_KINDS.index("ball")


@kernel
def walk(w: Any, a: Any, i: int, maps: Any, tick_s: float) -> None:
    """Advance walker ``i`` by one tick."""
    if a[i].respawns:
        _aim_on(w, a, i, maps)
    fx, fy = _drive(a[i])
    for j in range(w.actor_count):
        if j == i or not a[j].present:
            continue
        dx, dy = a[i].ax - a[j].ax, a[i].ay - a[j].ay
        if dx * dx + dy * dy > NEAR_M * NEAR_M:
            continue
        gx, gy = _from_actor(a, i, j)
        fx += gx
        fy += gy
    gx, gy = _from_box(
        a[i], w.x, w.y, math.cos(w.heading), math.sin(w.heading), EGO_LENGTH_M, EGO_WIDTH_M, w.speed
    )
    _advance(w, a, i, maps, fx + gx, fy + gy, tick_s)


@kernel
def _drive(me: Any) -> tuple[float, float]:
    """Acceleration towards the goal; at the goal, towards standing still."""
    dx, dy = me.goal_x - me.ax, me.goal_y - me.ay
    away = math.hypot(dx, dy)
    # Slows down over the last step, so that it comes to stand at the goal.
    speed = me.desired * min(away / (me.desired * RELAX_S + 1e-9), 1.0)
    if away < ARRIVED_M:
        speed = 0.0
    wanted_x = speed * dx / away if away > 0.0 else 0.0
    wanted_y = speed * dy / away if away > 0.0 else 0.0
    return (wanted_x - me.walk_vx) / RELAX_S, (wanted_y - me.walk_vy) / RELAX_S


@kernel
def _from_actor(a: Any, i: int, j: int) -> tuple[float, float]:
    """Acceleration of walker ``i`` away from actor ``j``."""
    if a[j].behaviour == WALK:
        return from_walker(a[i], a[j])
    speed = 0.0 if a[j].behaviour == STATIC else math.hypot(a[j].v, a[j].vd)
    if a[j].v < 0.0 and math.cos(a[j].turn) > 0.0:
        speed = -speed  # backing
    return _from_box(a[i], a[j].ax, a[j].ay, a[j].cos_h, a[j].sin_h, a[j].length, a[j].width, speed)


@kernel
def from_walker(me: Any, other: Any) -> tuple[float, float]:
    """Elliptical repulsion: the gradient of V(b) = V0 exp(-b / sigma), where 2 b is the minor axis
    of the ellipse around where the other is and where its next step takes it."""
    rx, ry = me.ax - other.ax, me.ay - other.ay
    distance = math.hypot(rx, ry)
    if distance < 1e-6:
        return 0.0, 0.0
    radii = 0.5 * (me.width + other.width)
    shrunk = max(distance - radii, LEAST_B_M) / distance
    rx, ry = rx * shrunk, ry * shrunk
    step_x, step_y = STEP_S * other.walk_vx, STEP_S * other.walk_vy
    qx, qy = rx - step_x, ry - step_y
    r, q = math.hypot(rx, ry), max(math.hypot(qx, qy), 1e-6)
    step = step_x * step_x + step_y * step_y
    b = max(0.5 * math.sqrt(max((r + q) * (r + q) - step, 0.0)), LEAST_B_M)
    size = WALKER_POTENTIAL / WALKER_RANGE_M * math.exp(-b / WALKER_RANGE_M) * (r + q) / (4.0 * b)
    gx, gy = size * (rx / r + qx / q), size * (ry / r + qy / q)
    return _weighed(me, gx, gy, rx, ry)


@kernel
def _from_box(
    me: Any, x: float, y: float, cos_h: float, sin_h: float, length: float, width: float,
    speed: float,
) -> tuple[float, float]:  # fmt: skip
    """Repulsion from the nearest point of a box that stretches ahead by what it drives in
    ``VEHICLE_AHEAD_S`` (behind, if ``speed`` is negative)."""
    dx, dy = me.ax - x, me.ay - y
    if dx * dx + dy * dy > 4.0 * NEAR_M * NEAR_M:
        return 0.0, 0.0
    along, left = cos_h * dx + sin_h * dy, cos_h * dy - sin_h * dx
    front = 0.5 * length + max(speed, 0.0) * VEHICLE_AHEAD_S
    rear = -0.5 * length + min(speed, 0.0) * VEHICLE_AHEAD_S
    ex = along - min(max(along, rear), front)
    ey = left - min(max(left, -0.5 * width), 0.5 * width)
    away = math.hypot(ex, ey)
    if away < 1e-6:  # in it: out to the nearer side
        ex, ey, away = 0.0, math.copysign(1.0, left), 1.0
        gap = 0.0
    else:
        gap = max(away - 0.5 * me.width, 0.0)
    size = OBSTACLE_POTENTIAL / OBSTACLE_RANGE_M * math.exp(-gap / OBSTACLE_RANGE_M)
    ex, ey = ex / away, ey / away
    ex, ey = cos_h * ex - sin_h * ey, sin_h * ex + cos_h * ey
    along_x, along_y = _around(me, ex, ey, dx, dy, gap) if abs(speed) < STANDING_MPS else (0.0, 0.0)
    return size * ex + along_x, size * ey + along_y


@kernel
def _around(me: Any, ex: float, ey: float, dx: float, dy: float, gap: float) -> tuple[float, float]:
    """Acceleration along the side of a standing box, which pushes towards (ex, ey) and whose middle
    is at -(dx, dy), past the end of it that is nearer to the way to the goal."""
    to_x, to_y = me.goal_x - me.ax, me.goal_y - me.ay
    goal = math.hypot(to_x, to_y)
    facing = -(to_x * ex + to_y * ey) / goal if goal > ARRIVED_M else 0.0
    if facing <= 0.0:
        return 0.0, 0.0
    middle_is_left = to_x * -dy - to_y * -dx > 0.0
    size = facing * me.desired / RELAX_S * math.exp(-gap / AROUND_RANGE_M)
    # Along the side, away from the middle of the box.
    if middle_is_left:
        return -size * ey, size * ex
    return size * ey, -size * ex


@kernel
def _weighed(me: Any, gx: float, gy: float, rx: float, ry: float) -> tuple[float, float]:
    """A force from something at -(rx, ry), weaker if it is out of sight, turned to the right if it
    is in front."""
    to_goal_x, to_goal_y = me.goal_x - me.ax, me.goal_y - me.ay
    goal, r = math.hypot(to_goal_x, to_goal_y), math.hypot(rx, ry)
    if goal < ARRIVED_M:
        return gx, gy
    facing = -(to_goal_x * rx + to_goal_y * ry) / (goal * r)
    if facing < SIGHT_COS:
        return BEHIND_WEIGHT * gx, BEHIND_WEIGHT * gy
    # Pushed back from in front, to the right of the way is a turn to the left of the push.
    angle = KEEP_RIGHT_RAD * max(facing, 0.0)
    cos_t, sin_t = math.cos(angle), math.sin(angle)
    return cos_t * gx - sin_t * gy, sin_t * gx + cos_t * gy


@kernel
def _advance(w: Any, a: Any, i: int, maps: Any, fx: float, fy: float, tick_s: float) -> None:
    """Integrate the velocity (at most ``FASTEST`` times the desired speed) and the position."""
    hard = math.hypot(fx, fy) / HARDEST_MPS2
    if hard > 1.0:
        fx, fy = fx / hard, fy / hard
    vx, vy = a[i].walk_vx + fx * tick_s, a[i].walk_vy + fy * tick_s
    fast = math.hypot(vx, vy) / (FASTEST * max(a[i].desired, 0.1))
    if fast > 1.0:
        vx, vy = vx / fast, vy / fast
    before = math.hypot(a[i].walk_vx, a[i].walk_vy)
    speed = math.hypot(vx, vy)
    a[i].walk_vx, a[i].walk_vy = vx, vy
    heading = math.atan2(vy, vx) if speed > TURN_MPS else a[i].aheading
    set_pose(a, i, a[i].ax + vx * tick_s, a[i].ay + vy * tick_s, heading)
    settle_on_path(w, a, i, maps, a[i].s)
    # atan2 rather than the heading: someone slow may walk where they do not look.
    course = a[i].turn + (math.atan2(vy, vx) - heading if speed > 0.0 else 0.0)
    a[i].v, a[i].vd = speed * math.cos(course), speed * math.sin(course)
    a[i].actor_accel = (speed - before) / tick_s


@kernel
def _aim_on(w: Any, a: Any, i: int, maps: Any) -> None:
    """Move the goal of someone who walks along a path on to the next point of it; at the end of
    the path, back."""
    if math.hypot(a[i].goal_x - a[i].ax, a[i].goal_y - a[i].ay) > NEXT_AIM_M:
        return
    path = a[i].path
    goal_s, goal_d = lookup.project(maps, w.map_id, path, a[i].goal_x, a[i].goal_y, a[i].s)
    length_m = maps.lanes[lookup.lane(maps, w.map_id, path)].length_m
    onwards = 1.0 if goal_s >= a[i].s else -1.0
    s = goal_s + onwards * (AIM_M - NEXT_AIM_M)
    if s < 0.0 or s > length_m:
        s = goal_s - onwards * AIM_M
    s = min(max(s, 0.0), length_m)
    a[i].goal_x, a[i].goal_y, _, _ = lookup.pose(maps, w.map_id, path, s, goal_d)
