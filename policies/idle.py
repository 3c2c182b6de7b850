"""Two drivers that react to nothing: the floor every scenario is measured against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alpamayo.types import ObservationBatch, PlanBatch, PlanSpec, PrivilegedView


class IdlePolicy:
    """Zero acceleration, zero curvature: hands off."""

    needs_privileged = False
    name = "idle"

    def __init__(self, spec: PlanSpec | None = None) -> None:
        self.spec = spec or PlanSpec()

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
    ) -> PlanBatch:
        zeros = np.zeros((len(observation), self.spec.steps), np.float32)
        return PlanBatch(zeros, zeros.copy())


class ConstantSpeedPolicy:
    """Keeps its lane and its speed whatever happens: on a straight road, the idle driver; on a
    curve, one that does not fail for want of steering. Needs the route, so it is privileged.
    """

    needs_privileged = True
    name = "constant_speed"

    def __init__(self, spec: PlanSpec | None = None) -> None:
        self.spec = spec or PlanSpec()

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
    ) -> PlanBatch:
        if privileged is None:
            raise ValueError("ConstantSpeedPolicy needs the privileged view")
        from policies.route_tracking import RouteState, track_route

        state = RouteState.from_view(privileged)
        shape = (len(observation), 1, self.spec.steps)
        accel = np.zeros(shape)
        plans = track_route(state, privileged, accel, np.zeros((len(observation), 1)), self.spec)
        return PlanBatch(plans[:, 0, :, 0].astype(np.float32), plans[:, 0, :, 1].astype(np.float32))
