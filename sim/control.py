"""Plan tracking: the plan's own controls as feed-forward plus feedback on the reference it
integrates to."""

from __future__ import annotations

import math

from alpamayo.types import FloatArray
from sim.kernels import kernel

SPEED_GAIN_PER_S = 1.0
POSITION_GAIN_PER_S2 = 0.5
MIN_LENGTH_M = 4.0
LENGTH_S = 0.8
# A delay between command and motion makes the controller calmer: with these, both ego models
# stay well damped from 0 to 40 m/s for delays up to 0.8 s.
LENGTH_PER_DELAY = 2.0
CALM_PER_DELAY_S = 1.0


@kernel
def track(
    x: float,
    y: float,
    heading: float,
    speed: float,
    reference: FloatArray,
    accel_ff: float,
    curvature_ff: float,
    delay_s: float,
) -> tuple[float, float]:
    """Commands (acceleration, curvature) for the present reference pose [4] (x, y, heading, speed).

    ``heading`` and ``speed`` are those of the motion: for a car that slips, its course.

    Laterally critically damped in distance: e'' + (2 / L) e' + (1 / L^2) e = 0 with L growing with
    speed. Longitudinally e'' + e' + e / 2 = 0 in time. Both become slower with ``delay_s``, the
    pure delay between command and motion.
    """
    dx, dy = x - reference[0], y - reference[1]
    cos_ref, sin_ref = math.cos(reference[2]), math.sin(reference[2])
    ahead = dx * cos_ref + dy * sin_ref
    left = dy * cos_ref - dx * sin_ref
    turned = heading - reference[2]
    calm = 1.0 + CALM_PER_DELAY_S * delay_s
    speed_gain, position_gain = SPEED_GAIN_PER_S / calm, POSITION_GAIN_PER_S2 / (calm * calm)
    accel = accel_ff + speed_gain * (reference[3] - speed) - position_gain * ahead
    length = max(MIN_LENGTH_M, (LENGTH_S + LENGTH_PER_DELAY * delay_s) * speed)
    curvature = curvature_ff - (2.0 * turned + left / length) / length
    return accel, curvature
