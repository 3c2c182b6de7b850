"""Plan tracking: the plan's own controls as feed-forward plus feedback on the reference it
integrates to."""

from __future__ import annotations

import numpy as np

from alpamayo.types import FloatArray

SPEED_GAIN_PER_S = 1.0
POSITION_GAIN_PER_S2 = 0.5
MIN_LENGTH_M = 4.0
LENGTH_S = 0.8


def track(
    x: FloatArray,
    y: FloatArray,
    heading: FloatArray,
    speed: FloatArray,
    reference: FloatArray,
    accel_ff: FloatArray,
    curvature_ff: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Commands (acceleration, curvature) [B] for the present reference pose [B, 4] (x, y, heading,
    speed).

    Laterally critically damped in distance: e'' + (2 / L) e' + (1 / L^2) e = 0 with L growing with
    speed.
    """
    ref_heading = reference[:, 2]
    dx, dy = x - reference[:, 0], y - reference[:, 1]
    cos_ref, sin_ref = np.cos(ref_heading), np.sin(ref_heading)
    ahead = dx * cos_ref + dy * sin_ref
    left = dy * cos_ref - dx * sin_ref
    turned = heading - ref_heading
    accel = accel_ff + SPEED_GAIN_PER_S * (reference[:, 3] - speed) - POSITION_GAIN_PER_S2 * ahead
    length = np.maximum(MIN_LENGTH_M, LENGTH_S * speed)
    curvature = curvature_ff - (2.0 * turned + left / length) / length
    return accel, curvature
