"""Open-loop plans that follow a route at a lateral target, made by integrating a unicycle in the
route's frame.

Pure pursuit (Coulter, CMU-RI-TR-92-01) with a look-ahead that grows with speed; used by the
privileged drivers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpamayo.types import FloatArray, PlanSpec, PrivilegedView

MAX_CURVATURE_PER_M = 0.2
MAX_LATERAL_ACCEL_MPS2 = 5.0
MIN_LOOKAHEAD_M = 5.0
LOOKAHEAD_S = 1.1
SUBSTEPS = 2
ROUTE_SAMPLE_M = 2.0
ROUTE_SAMPLES = 60


@dataclass(frozen=True)
class RouteState:
    """[N] ego state in the route frame at the moment the next plan takes effect
    (``PrivilegedView``).
    """

    d_m: FloatArray
    heading_error_rad: FloatArray
    speed_mps: FloatArray
    accel_mps2: FloatArray
    speed_limit_mps: FloatArray
    left_lanes: FloatArray
    right_lanes: FloatArray
    lane_width_m: FloatArray

    @staticmethod
    def from_view(view: PrivilegedView) -> RouteState:
        state = view.ego_route_state()
        names = RouteState.__dataclass_fields__
        return RouteState(**{name: np.asarray(state[name], np.float64) for name in names})


def track_route(
    state: RouteState,
    view: PrivilegedView,
    accel_mps2: FloatArray,
    target_d_m: FloatArray,
    spec: PlanSpec,
    pace: float = 1.0,
) -> FloatArray:
    """Plans [N, C, K', 2] for commanded accelerations [N, C, K'] and lateral targets [N, C].

    ``pace`` below 1 shortens the look-ahead: a quicker, harder lane change. Speeds are kept within
    [0, speed limit] (an acceleration never pushes past the limit), curvature within tyre limits.
    """
    n, c, steps = accel_mps2.shape
    distance = np.arange(ROUTE_SAMPLES) * ROUTE_SAMPLE_M
    route_curvature = view.route_ahead(distance)  # [N, M]
    rows = np.arange(n)[:, None]
    s = np.zeros((n, c))
    d = np.repeat(state.d_m[:, None], c, axis=1)
    psi = np.repeat(state.heading_error_rad[:, None], c, axis=1)
    v = np.repeat(state.speed_mps[:, None], c, axis=1)
    limit = state.speed_limit_mps[:, None]
    dt = spec.step_s / SUBSTEPS
    plans = np.zeros((n, c, steps, 2))
    for k in range(steps):
        headroom = np.maximum(limit - v, 0.0) / spec.step_s
        a = np.minimum(accel_mps2[:, :, k], np.where(accel_mps2[:, :, k] > 0.0, headroom, np.inf))
        a = np.maximum(a, -v / spec.step_s)
        lookahead = np.maximum(MIN_LOOKAHEAD_M, LOOKAHEAD_S * pace * v)
        middle = s + 0.5 * v * spec.step_s
        index = np.minimum(middle / ROUTE_SAMPLE_M, ROUTE_SAMPLES - 1).astype(int)
        along_route = route_curvature[rows, index]
        error = target_d_m - d - lookahead * np.sin(psi)
        curvature = along_route + 2.0 * error / lookahead**2
        bound = np.minimum(MAX_CURVATURE_PER_M, MAX_LATERAL_ACCEL_MPS2 / np.maximum(v, 2.0) ** 2)
        curvature = np.clip(curvature, -bound, bound)
        plans[:, :, k, 0] = a
        plans[:, :, k, 1] = curvature
        for _ in range(SUBSTEPS):
            step = np.maximum(v + 0.5 * a * dt, 0.0) * dt
            d = d + step * np.sin(psi)
            s = s + step * np.cos(psi)
            psi = psi + step * (curvature - along_route)
            v = np.maximum(v + a * dt, 0.0)
    return plans
