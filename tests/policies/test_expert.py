"""The privileged drivers, on a fake view whose forecasts are written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from alpamayo.types import FloatArray, Forecast, IntArray, ObservationBatch, PlanSpec
from policies.expert import ExpertPolicy, clearly_fine, lateral_targets, plan_cost, ways_past
from policies.idle import ConstantSpeedPolicy, IdlePolicy
from policies.route_tracking import RouteState, track_route


class FakeView:
    """A straight or curved road; ``blocked`` lanes (multiples of the lane width) crash after 2 s
    unless the plan has stopped by then.
    """

    def __init__(
        self, speed: list[float], *, curvature: float = 0.0, blocked: tuple[int, ...] = (), **state
    ) -> None:
        n = len(speed)
        self.state = {
            "d_m": np.zeros(n),
            "heading_error_rad": np.zeros(n),
            "speed_mps": np.asarray(speed),
            "accel_mps2": np.zeros(n),
            "speed_limit_mps": np.full(n, 14.0),
            "left_lanes": np.ones(n),
            "right_lanes": np.zeros(n),
            "lane_width_m": np.full(n, 3.5),
        } | {name: np.full(n, value) for name, value in state.items()}
        self.curvature, self.blocked = curvature, blocked
        self.calls: list[tuple[int, int]] = []

    def ego_route_state(self) -> dict[str, FloatArray]:
        return self.state

    def route_ahead(self, distance_m: FloatArray) -> FloatArray:
        return np.full((len(self.state["d_m"]), np.asarray(distance_m).shape[-1]), self.curvature)

    def forecast(self, plans: FloatArray, rows: IntArray, hold_s: float = 0.0) -> Forecast:
        self.calls.append(plans.shape[:2])
        n, c, steps, _ = plans.shape
        v = self.state["speed_mps"][rows][:, None, None] + np.cumsum(plans[..., 0], -1) * 0.4
        v = np.maximum(v, 0.0)
        heading = np.cumsum(v * 0.4 * (plans[..., 1] - self.curvature), -1)
        lateral = np.cumsum(v * 0.4 * np.sin(heading), -1)[..., min(steps, 8) - 1]
        lane = np.round((self.state["d_m"][rows][:, None] + lateral) / 3.5)
        hit = np.isin(lane, self.blocked) & (v[..., 4] > 0.5)
        inf = np.full((n, c), np.inf)
        return Forecast(
            collision_s=np.where(hit, 2.0, np.inf),
            off_road_s=inf,
            red_light=np.zeros((n, c), bool),
            progress_m=v.sum(-1) * 0.4,
            min_gap_m=inf,
            min_ttc_s=np.where(hit, 0.0, np.inf),
            end_speed_mps=v[..., -1],
            lateral_m=np.zeros((n, c)),
        )


def observation(n: int) -> ObservationBatch:
    return ObservationBatch(
        np.zeros((n, 0, 0, 0, 3), np.uint8),
        np.zeros((n, 16, 3), np.float32),
        np.zeros(n, np.float32),
        np.zeros(n, np.int8),
        np.full(n, 14.0, np.float32),
    )


def keys(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.uint64)


def test_idle_plans_nothing() -> None:
    plan = IdlePolicy().plan(observation(3), noise_keys=keys(3))
    assert plan.as_actions().shape == (3, 8, 2) and not plan.as_actions().any()


def test_constant_speed_holds_speed_and_follows_the_curve() -> None:
    view = FakeView([10.0, 5.0], curvature=0.01)
    plan = ConstantSpeedPolicy().plan(observation(2), noise_keys=keys(2), privileged=view)
    assert not plan.accel_mps2.any()
    np.testing.assert_allclose(plan.curvature_per_m, 0.01, atol=2e-3)


def test_privileged_drivers_refuse_to_drive_blind() -> None:
    for policy in (ExpertPolicy(), ConstantSpeedPolicy()):
        with pytest.raises(ValueError, match="privileged"):
            policy.plan(observation(1), noise_keys=keys(1))


def test_a_free_road_costs_one_forecast_and_is_driven_up_to_the_limit() -> None:
    view = FakeView([10.0, 13.9])
    plan = ExpertPolicy().plan(observation(2), noise_keys=keys(2), privileged=view)
    assert view.calls == [(2, 1)]
    assert plan.accel_mps2[0, 0] == pytest.approx(1.5)
    end = np.array([10.0, 13.9]) + plan.accel_mps2.sum(1) * 0.4
    assert (end <= 14.0 + 1e-5).all()


def test_a_blocked_lane_is_left_for_a_free_one_and_only_that_row_is_searched() -> None:
    view = FakeView([12.0, 12.0], blocked=(0,))
    view.state["d_m"][:] = [0.0, 3.5]  # the second car is beside the block already
    view.blocked = (0,)
    plan = ExpertPolicy().plan(observation(2), noise_keys=keys(2), privileged=view)
    assert view.calls[0] == (2, 1)
    assert plan.curvature_per_m[0, 0] > 0.005  # steers left
    assert plan.accel_mps2[0, 0] > -2.0  # and need not brake hard


def test_with_every_lane_blocked_it_stops() -> None:
    view = FakeView([8.0], blocked=(-1, 0, 1), left_lanes=0.0)
    plan = ExpertPolicy().plan(observation(1), noise_keys=keys(1), privileged=view)
    assert plan.accel_mps2[0, 0] <= -4.0


def test_who_would_have_to_stand_passes_by_the_oncoming_lane_if_that_is_free() -> None:
    """Its own lane is blocked, and it has no other: the lattice alone would stop. Who is still fast
    brakes first.
    """
    view = FakeView([4.0, 8.0], blocked=(-1, 0), left_lanes=0.0)
    plan = ExpertPolicy().plan(observation(2), noise_keys=keys(2), privileged=view)
    assert plan.accel_mps2[0, 0] > -0.5
    assert plan.curvature_per_m[0, 0] > 0.005  # steers left
    assert plan.accel_mps2[1, 0] <= -4.0


def test_who_is_stuck_looks_for_ways_past_where_no_lane_of_its_own_direction_lies() -> None:
    view = FakeView([1.0, 1.0])
    view.state["left_lanes"][:] = [0.0, 2.0]
    targets, cost = ways_past(RouteState.from_view(view))
    np.testing.assert_allclose(targets[0], 3.5 * np.array([0.25, -0.25, 0.5, -0.5, 2, -2, 1]))
    assert np.isfinite(cost).tolist() == [
        [True] * 4 + [False, False, True],
        [True] * 5 + [False] * 2,
    ]


def test_a_tight_curve_ahead_is_taken_at_a_comfortable_speed() -> None:
    view = FakeView([12.0], curvature=1 / 30)
    plan = ExpertPolicy().plan(observation(1), noise_keys=keys(1), privileged=view)
    # sqrt(2.5 * 30) = 8.7 m/s is comfortable there.
    assert plan.accel_mps2[0, 0] < -2.0


def test_lateral_targets_exist_only_where_there_are_lanes() -> None:
    state = RouteState.from_view(FakeView([10.0], left_lanes=1.0, right_lanes=0.0))
    targets, cost = lateral_targets(state)
    np.testing.assert_allclose(targets, [[0.0, 3.5, -3.5]])
    assert np.isfinite(cost).tolist() == [[True, True, False]] and cost[0, 0] < cost[0, 1]


def test_where_the_ego_is_it_may_stay_although_no_lane_of_its_route_lies_there() -> None:
    beside_exit = FakeView([10.0], d_m=3.4, left_lanes=0.0)
    _, cost = lateral_targets(RouteState.from_view(beside_exit))
    assert np.isfinite(cost).tolist() == [[True, True, False]]


def test_the_cost_prefers_later_crashes_no_crash_and_progress() -> None:
    def forecast(collision: float, progress: float) -> Forecast:
        one = np.full((1, 1), np.inf)
        return Forecast(
            np.full((1, 1), collision), one, np.zeros((1, 1), bool), np.full((1, 1), progress),
            one, one, one, np.zeros((1, 1)),
        )  # fmt: skip

    plan = np.zeros((1, 1, 8, 2))
    sooner, later = plan_cost(forecast(1.0, 50), plan), plan_cost(forecast(3.0, 50), plan)
    slow, fast = plan_cost(forecast(np.inf, 10), plan), plan_cost(forecast(np.inf, 50), plan)
    assert sooner > later > slow > fast
    hard = plan.copy()
    hard[..., 0] = -6.0
    assert plan_cost(forecast(np.inf, 50), hard) > fast
    assert clearly_fine(forecast(np.inf, 50)).all() and not clearly_fine(forecast(2.0, 50)).any()


def test_a_short_time_to_collision_counts_as_much_as_it_is_weighed() -> None:
    one = np.ones((1, 1))
    near = Forecast(
        one * np.inf, one * np.inf, np.zeros((1, 1), bool), one * 0.0,
        one * 5.0, one * 1.5, one, one * 0.0,
    )  # fmt: skip
    plan = np.zeros((1, 1, 8, 2))
    # One second short of the margin of 2.5 s, at 6 per second.
    assert plan_cost(near, plan) == 6.0
    assert plan_cost(near, plan, one * 0.25) == 1.5


def test_tracked_plans_reach_the_lateral_target() -> None:
    view = FakeView([10.0])
    state = RouteState.from_view(view)
    spec = PlanSpec(steps=16)
    plan = track_route(state, view, np.zeros((1, 1, 16)), np.full((1, 1), 3.5), spec)[0, 0]
    x = y = heading = 0.0
    for _, curvature in plan:
        for _ in range(40):
            x, y = x + 0.1 * np.cos(heading), y + 0.1 * np.sin(heading)
            heading += 0.1 * curvature
    assert y == pytest.approx(3.5, abs=0.3) and abs(heading) < 0.05
    assert np.abs(plan[:, 1]).max() * 10.0**2 <= 5.0 + 1e-9
