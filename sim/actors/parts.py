"""Parts that hang on another actor: doors.

A door hangs with its front edge at the hinge. Shut, it lies along the side of its parent; opening
by ``angle`` swings its rear edge out to the side on which the hinge is.
"""

from __future__ import annotations

import math
from typing import Any

from sim.actors.posing import set_pose
from sim.kernels import kernel
from sim.roads import lookup


@kernel
def swing(a: Any, i: int, tick_s: float) -> None:
    """Move the angle of part ``i`` towards ``angle_to`` at ``angle_rate``."""
    step = abs(a[i].angle_rate) * tick_s
    a[i].angle += min(max(a[i].angle_to - a[i].angle, -step), step)


@kernel
def hang(w: Any, a: Any, i: int, maps: Any) -> None:
    """Pose, path coordinates and speed of part ``i``, from those of its parent."""
    parent = a[i].parent
    if parent < 0:
        return
    a[i].present = a[i].present and a[parent].present
    cos_h, sin_h = a[parent].cos_h, a[parent].sin_h
    hinge_x = a[parent].ax + cos_h * a[i].hinge_x - sin_h * a[i].hinge_y
    hinge_y = a[parent].ay + sin_h * a[i].hinge_x + cos_h * a[i].hinge_y
    heading = a[parent].aheading - math.copysign(a[i].angle, a[i].hinge_y)
    x = hinge_x - 0.5 * a[i].length * math.cos(heading)
    y = hinge_y - 0.5 * a[i].length * math.sin(heading)
    set_pose(a, i, x, y, heading)
    a[i].path = a[parent].path
    a[i].s, a[i].d = lookup.project(maps, w.map_id, a[i].path, x, y, a[parent].s)
    a[i].turn = a[parent].turn + heading - a[parent].aheading
    a[i].v = a[parent].v
    a[i].vd = a[parent].vd
    a[i].base_z = a[parent].base_z
