"""The Intelligent Driver Model with a bound on braking.

Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic
simulations", Phys. Rev. E 62 (2000), eq. 2 and 3 with exponent 4.
"""

from __future__ import annotations

import math

from sim.kernels import kernel

HARDEST_BRAKE_MPS2 = 8.0


@kernel
def brake_scale(max_accel: float, comfort_brake: float) -> float:
    """What the dynamic part of the desired gap is divided by, m/s2."""
    return 2.0 * math.sqrt(max_accel * comfort_brake)


@kernel
def interaction(
    speed: float, gap: float, closing: float, headway: float, min_gap: float, scale: float
) -> float:
    """(desired gap / gap) squared, for a gap in m from bumper to bumper; ``closing`` is the own
    speed minus the leader's, ``scale`` comes from ``brake_scale``."""
    wanted = min_gap + max(speed * headway + speed * closing / scale, 0.0)
    ratio = wanted / max(gap, 0.1)
    return ratio * ratio


@kernel
def acceleration(speed: float, desired: float, pressing: float, max_accel: float) -> float:
    """Acceleration in m/s2 with the interaction term ``pressing``, bounded."""
    ratio = speed / max(desired, 0.1)
    ratio = ratio * ratio
    free = max_accel * (1.0 - ratio * ratio - pressing)
    return min(max(free, -HARDEST_BRAKE_MPS2), max_accel)
