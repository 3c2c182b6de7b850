"""The privileged expert: tries candidate plans in forks of the world and takes the best.

It sees everything (hidden pedestrians, scripted intentions, signal cycles), because
``PrivilegedView.forecast`` simulates the true future under each candidate. Two stages keep it
cheap: one preferred plan first, and the full lattice (lane x longitudinal profile) only for the
rows in which that plan is not clearly fine. Who would have to stand also tries ways past: a nudge
within the lane, over its edges, the oncoming lane.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alpamayo.types import (
    FloatArray,
    Forecast,
    IntArray,
    ObservationBatch,
    PlanBatch,
    PlanSpec,
    PrivilegedView,
)
from policies.route_tracking import RouteState, track_route

HORIZON_STEPS = 12
COMFORT_ACCEL_MPS2 = 1.5
COMFORT_LATERAL_MPS2 = 2.5
# Longitudinal profiles of the lattice: constant accelerations, mild to emergency.
PROFILES_MPS2 = (1.5, 0.0, -1.0, -2.0, -3.0, -4.5, -6.0, -8.0)

# Costs, in "metres of progress"; a metre forgone over the horizon costs PROGRESS_PER_M.
PROGRESS_PER_M = 0.4
COLLISION_COST = 1000.0
COLLISION_SOONER_PER_S = 60.0
RED_LIGHT_COST = 500.0
ACCEL_COST_PER_MPS4 = 0.18
TTC_MARGIN_S = 2.5
TTC_COST_PER_S = 6.0
# Below this speed a short time to collision counts for less: one step on the brake stands still.
TTC_FULL_COST_MPS = 8.0
GAP_MARGIN_M = 1.0
GAP_COST_PER_M = 12.0
LANE_CHANGE_COST = 3.0
ROUTE_LANE_COST_PER_LANE = 1.0
OFFSET_COST_PER_M = 0.5

# Ways past what blocks the lane, tried by who would have to stand: lateral shifts in lane widths.
# Who is still fast stops first: what it brakes for may move on.
STANDING_MPS, CRAWLING_MPS = 2.0, 5.0
PASSING_GAP_M = 0.5
PASSING_PROFILES_MPS2 = (1.5, 0.0, -2.0, -4.5, -8.0)
NUDGE, STRADDLE = 0.25, 0.5
NUDGE_COST, ONCOMING_COST = 1.0, 5.0


class ExpertPolicy:
    """Forked-world lattice planner; deterministic."""

    needs_privileged = True
    name = "expert"

    def __init__(self, spec: PlanSpec | None = None) -> None:
        self.spec = spec or PlanSpec()
        self._long = PlanSpec(steps=max(HORIZON_STEPS, self.spec.steps), step_s=self.spec.step_s)

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
    ) -> PlanBatch:
        if privileged is None:
            raise ValueError("ExpertPolicy needs the privileged view")
        state = RouteState.from_view(privileged)
        rows = np.arange(len(observation))
        preferred = self._preferred(state, privileged)
        forecast = privileged.forecast(preferred, rows)
        best = preferred[:, 0].copy()
        doubtful = rows[~clearly_fine(forecast)[:, 0]]
        if len(doubtful):
            best[doubtful] = self._search(state, privileged, doubtful)
        best = best[:, : self.spec.steps].astype(np.float32)
        return PlanBatch(best[..., 0], best[..., 1])

    def _preferred(self, state: RouteState, view: PrivilegedView) -> FloatArray:
        """[N, 1, K', 2]: hold the route's lane, ease towards the speed limit and
        slow for curves.
        """
        shape = (len(state.d_m), 1, self._long.steps)
        accel = np.full(shape, COMFORT_ACCEL_MPS2)
        accel = np.minimum(accel, self._curve_accel(state, view)[:, None, None])
        return track_route(state, view, accel, np.zeros(shape[:2]), self._long)

    def _curve_accel(self, state: RouteState, view: PrivilegedView) -> FloatArray:
        """[N] largest acceleration that still meets the comfortable speed of the curves ahead."""
        distance = np.arange(1.0, 60.0, 3.0)
        curvature = np.abs(view.route_ahead(distance))
        allowed = np.sqrt(COMFORT_LATERAL_MPS2 / np.maximum(curvature, 1e-4))
        needed = (allowed**2 - state.speed_mps[:, None] ** 2) / (2.0 * distance)
        return np.clip(needed.min(axis=1), -4.0, COMFORT_ACCEL_MPS2)

    def _search(self, state: RouteState, view: PrivilegedView, rows: IntArray) -> FloatArray:
        """[n, K', 2]: cheapest of the lattice for ``rows``; where that is to stand or to crash,
        also ways past whatever is there.
        """
        targets, cost = (x[rows] for x in lateral_targets(state))
        best, total, stuck = self._cheapest(state, view, rows, targets, cost, PROFILES_MPS2)
        n = np.flatnonzero(stuck)
        if len(n):
            targets, cost = (x[rows[n]] for x in ways_past(state))
            past, price, _ = self._cheapest(
                state, view, rows[n], targets, cost, PASSING_PROFILES_MPS2, PASSING_GAP_M
            )
            better = price < total[n]
            best[n[better]] = past[better]
        return best

    def _cheapest(
        self,
        state: RouteState,
        view: PrivilegedView,
        rows: IntArray,
        targets: FloatArray,
        lane_cost: FloatArray,
        profiles: tuple[float, ...],
        least_gap_m: float = 0.0,
    ) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
        """Of every profile at every lateral target [n, T] of ``rows``: the cheapest plan
        [n, K', 2], its cost [n], and whether it ends in a crash or crawls to a stop. Nearer than
        ``least_gap_m`` to somebody counts as a crash would.
        """
        steps, count = self._long.steps, len(profiles)
        curve = self._curve_accel(state, view)[:, None]
        accel = np.minimum(np.asarray(profiles)[None], curve)  # [N, P]
        accel = np.tile(accel, (1, targets.shape[1]))
        every = np.zeros((len(state.d_m), targets.shape[1]))
        every[rows] = targets
        target = np.repeat(every, count, axis=1)
        cost = np.repeat(lane_cost, count, axis=1)
        accel_steps = np.repeat(accel[:, :, None], steps, axis=2)
        plans = track_route(state, view, accel_steps, target, self._long)[rows]
        keep = np.isfinite(cost).any(axis=0)
        plans, cost = plans[:, keep], cost[:, keep]
        forecast = view.forecast(plans, rows)
        urgency = np.clip(state.speed_mps[rows] / TTC_FULL_COST_MPS, 0.0, 1.0)[:, None]
        total = plan_cost(forecast, plans, urgency) + np.where(np.isfinite(cost), cost, 1e9)
        total = total + COLLISION_COST * (forecast.min_gap_m < least_gap_m)
        n, best = np.arange(len(rows)), total.argmin(axis=1)
        ends = np.isfinite(np.minimum(forecast.collision_s, forecast.off_road_s))[n, best]
        stops = forecast.end_speed_mps[n, best] < STANDING_MPS
        stuck = ends | (stops & (state.speed_mps[rows] < CRAWLING_MPS))
        return plans[n, best], total[n, best], stuck


def clearly_fine(forecast: Forecast) -> npt.NDArray[np.bool_]:
    """[N, C]: nothing near, nothing broken, so no alternative is worth simulating."""
    return (
        np.isinf(forecast.collision_s)
        & np.isinf(forecast.off_road_s)
        & ~forecast.red_light
        & (forecast.min_ttc_s > 4.0)
        & (forecast.min_gap_m > GAP_MARGIN_M)
        & (forecast.lateral_m < 0.6)
    )


def lateral_targets(state: RouteState) -> tuple[FloatArray, FloatArray]:
    """Lateral targets [N, 3] (route lane, one left, one right) and their cost (inf where no such
    lane).
    """
    width = state.lane_width_m
    lanes = np.stack([np.zeros_like(width), np.ones_like(width), -np.ones_like(width)], axis=1)
    exists = np.stack(
        [np.ones_like(width, bool), state.left_lanes > 0, state.right_lanes > 0], axis=1
    )
    current = np.round(state.d_m / width)[:, None]
    exists |= lanes == current  # beside an exit it may have to stay, for now, where no lane leads
    cost = LANE_CHANGE_COST * (lanes != current) + ROUTE_LANE_COST_PER_LANE * np.abs(lanes)
    return lanes * width[:, None], np.where(exists, cost, np.inf)


def ways_past(state: RouteState) -> tuple[FloatArray, FloatArray]:
    """Lateral targets [N, 7] of who is stuck and their cost: beside the middle of the lane it is
    on, over its edges, two lanes from the route's, and the oncoming lane (inf where a lane of the
    route's direction lies there).
    """
    width, middle = state.lane_width_m, np.round(state.d_m / state.lane_width_m)
    shift = np.array([NUDGE, -NUDGE, STRADDLE, -STRADDLE])
    beside = (middle[:, None] + shift) * width[:, None]
    cost = np.tile(NUDGE_COST + ROUTE_LANE_COST_PER_LANE * np.abs(shift), (len(width), 1))
    far = np.stack([2.0 * width, -2.0 * width, width], axis=1)
    exists = np.stack([state.left_lanes > 1, state.right_lanes > 1, state.left_lanes == 0], axis=1)
    price = np.array([2.0 * LANE_CHANGE_COST, 2.0 * LANE_CHANGE_COST, ONCOMING_COST])
    far_cost = np.where(exists, price, np.inf)
    return np.concatenate([beside, far], axis=1), np.concatenate([cost, far_cost], axis=1)


def plan_cost(
    forecast: Forecast, plans: FloatArray, ttc_weight: FloatArray | float = 1.0
) -> FloatArray:
    """[N, C] cost of the forecast outcomes of ``plans`` [N, C, K', 2]; lower is better.

    ``ttc_weight`` [N, 1]: how much a short time to collision counts, from 0 to 1.
    """
    first = np.minimum(forecast.collision_s, forecast.off_road_s)
    crash = np.where(np.isfinite(first), COLLISION_COST - COLLISION_SOONER_PER_S * first, 0.0)
    ttc_short = np.clip(TTC_MARGIN_S - forecast.min_ttc_s, 0.0, None)
    gap_short = np.clip(GAP_MARGIN_M - forecast.min_gap_m, 0.0, None)
    return (
        crash
        + RED_LIGHT_COST * forecast.red_light
        - PROGRESS_PER_M * forecast.progress_m
        + ACCEL_COST_PER_MPS4 * (plans[..., 0] ** 2).mean(axis=-1)
        + TTC_COST_PER_S * ttc_weight * ttc_short
        + GAP_COST_PER_M * gap_short
        + OFFSET_COST_PER_M * forecast.lateral_m
    )
