"""Metrics: hand-computed episodes, known intervals, and statistics against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alpamayo import metrics, stats
from alpamayo.metrics import EpisodeTracker, failed_result
from alpamayo.types import (
    END_COLLISION,
    END_RUNNING,
    END_TIMEOUT,
    FAULT_EGO,
    FAULT_OTHER,
    ActorSpec,
    EgoSpec,
    EpisodeResult,
    RoadSpec,
    Scenario,
    StepSignals,
)


def _scenario(**changes: object) -> Scenario:
    values = {
        "id": "cut_in",
        "family": "cut_in",
        "nominal": False,
        "seed": 7,
        "road": RoadSpec(speed_limit_mps=10.0),
        "ego": EgoSpec(),
        "actors": (
            ActorSpec("lead", "car", "lane0", 20.0),
            ActorSpec("thief", "car", "lane1", 5.0),
        ),
        "duration_s": 12.0,
        "parameters": {"gap_m": 8.0},
    }
    return Scenario(**{**values, **changes})  # type: ignore[arg-type]


def _signals(count: int = 1, **changes: object) -> StepSignals:
    zeros = np.zeros(count)
    values = {
        "end": np.full(count, END_RUNNING),
        "fault": np.zeros(count, dtype=int),
        "collision_actor": np.full(count, -1),
        "progress_m": np.full(count, 4.0),
        "min_ttc_s": np.full(count, np.inf),
        "min_gap_m": np.full(count, np.inf),
        "accel_mps2": zeros,
        "jerk_mps3": zeros,
        "lateral_accel_mps2": zeros,
        "yaw_rate_radps": zeros,
        "yaw_accel_radps2": zeros,
        "lane_offset_m": zeros,
        "wrong_way": np.zeros(count, dtype=bool),
        "over_speed_mps": zeros,
        "speed_mps": np.full(count, 10.0),
        "active": np.ones(count, dtype=bool),
    }
    arrays = {k: np.asarray(v) for k, v in {**values, **changes}.items()}
    return StepSignals(**arrays)  # type: ignore[arg-type]


def _result(**changes: object) -> EpisodeResult:
    tracker = EpisodeTracker(1, 0.4)
    tracker.update(_signals(end=[END_TIMEOUT]), {})
    from dataclasses import replace

    return replace(tracker.result(0, _scenario(), route_m=200.0), **changes)  # type: ignore[arg-type]


# ---- per decision ----
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("accel_mps2", 2.40, True),
        ("accel_mps2", 2.41, False),
        ("accel_mps2", -4.05, True),
        ("accel_mps2", -4.06, False),
        ("jerk_mps3", -4.14, False),
        ("lateral_accel_mps2", -4.90, False),
        ("lateral_accel_mps2", 4.89, True),
        ("yaw_rate_radps", 0.96, False),
        ("yaw_accel_radps2", -1.94, False),
    ],
)
def test_a_decision_is_comfortable_while_every_bound_holds(
    name: str, value: float, expected: bool
) -> None:
    assert metrics.comfortable(_signals(**{name: [value]}))[0] == expected


def test_waypoints_of_a_straight_braking_plan() -> None:
    actions = np.zeros((1, 3, 2))
    actions[0, :, 0] = -5.0
    points = metrics.plan_waypoints(actions, np.array([4.0]), 0.4)
    # 4 m/s -> 2 -> 0 -> 0: 1.2 m, 0.4 m, then it stands.
    np.testing.assert_allclose(points[0, :, 0], [1.2, 1.6, 1.6])
    np.testing.assert_allclose(points[0, :, 1], 0.0)


def test_waypoints_of_constant_curvature_lie_on_the_circle() -> None:
    actions = np.zeros((1, 5, 2))
    actions[0, :, 1] = 0.1
    points = metrics.plan_waypoints(actions, np.array([2.0]), 0.1)
    radius = np.hypot(points[0, :, 0], points[0, :, 1] - 10.0)
    np.testing.assert_allclose(radius, 10.0, atol=1e-3)


def test_a_plan_carried_out_and_kept_does_not_deviate() -> None:
    speed, step_s = np.array([8.0]), 0.4
    actions = np.zeros((1, 6, 2))
    actions[..., 1] = 0.02
    first = metrics.plan_waypoints(actions, speed, step_s)
    turn = 0.02 * 8.0 * step_s
    x, y = first[0, 0]
    # The earlier pose in the frame of the pose after one step.
    cos, sin = np.cos(-turn), np.sin(-turn)
    back = np.array([[-(cos * x - sin * y), -(sin * x + cos * y), -turn]])
    second = metrics.plan_waypoints(actions, speed, step_s)
    np.testing.assert_allclose(metrics.plan_deviation(first, back, second), 0.0, atol=1e-9)


def test_plan_deviation_is_the_weighted_mean_distance() -> None:
    previous = np.zeros((1, 3, 2))
    current = np.zeros((1, 3, 2))
    current[0, 0] = [0.0, 1.0]
    current[0, 1] = [3.0, 0.0]
    weight = math.exp(-0.1)
    expected = (1.0 + weight * 3.0) / (1.0 + weight)
    assert metrics.plan_deviation(previous, np.zeros((1, 3)), current)[0] == pytest.approx(expected)


# ---- per episode ----
def test_the_tracker_adds_up_an_episode() -> None:
    tracker = EpisodeTracker(2, 0.4)
    tracker.update(
        _signals(2, min_ttc_s=[3.0, 1.0], accel_mps2=[3.0, 0.0], wrong_way=[True, False]),
        {"progress": np.array([0.4, 0.1]), "ttc": np.array([-0.1, 0.0])},
        plan_ms=np.array([10.0, 10.0]),
        deviation_m=np.array([0.0, 0.0]),
    )
    tracker.update(
        _signals(
            2, end=[END_COLLISION, END_RUNNING], fault=[FAULT_EGO, 0], collision_actor=[1, -1],
            min_ttc_s=[0.2, 9.0], min_gap_m=[0.0, 5.0], progress_m=[2.0, 4.0],
            speed_mps=[6.0, 10.0], lane_offset_m=[0.7, 0.0],
        ),
        {"progress": np.array([0.2, 0.1]), "ttc": np.array([-0.4, 0.0])},
        plan_ms=np.array([30.0, 30.0]),
        deviation_m=np.array([0.5, 0.0]),
    )  # fmt: skip
    assert tracker.ended().tolist() == [True, False]
    result = tracker.result(0, _scenario(), route_m=100.0, weights_version=3, state_hash="h")
    assert (result.end, result.at_fault, result.collision, result.collision_actor) == (
        "collision",
        True,
        True,
        "thief",
    )
    assert result.progress_m == 6.0 and result.duration_s == pytest.approx(0.8)
    assert result.mean_speed_mps == 8.0 and result.min_ttc_s == 0.2 and result.min_gap_m == 0.0
    assert result.comfort == 0.5 and result.ttc_share == 0.5 and result.lane_share == 0.0
    assert result.wrong_way_s == pytest.approx(0.4) and result.plan_ms == 20.0
    assert result.plan_deviation_m == 0.5 and result.decisions == 2 and result.reference_m == 100.0
    assert result.total_reward == pytest.approx(0.1) and result.reward_terms[
        "ttc"
    ] == pytest.approx(-0.5)
    assert (
        result.weights_version == 3
        and result.state_hash == "h"
        and result.parameters == {"gap_m": 8.0}
    )


def test_inactive_worlds_are_left_alone_and_reset_forgets() -> None:
    tracker = EpisodeTracker(1, 0.4)
    tracker.update(_signals(end=[END_TIMEOUT]), {"a": np.ones(1)})
    tracker.update(_signals(active=[False], end=[END_COLLISION]), {"a": np.ones(1)})
    assert tracker.result(0, _scenario(), route_m=10.0).end == "timeout"
    assert tracker.result(0, _scenario(), route_m=10.0).total_reward == 1.0
    tracker.reset(np.array([0]))
    assert not tracker.ended()[0]
    tracker.update(_signals(end=[END_COLLISION], fault=[FAULT_OTHER]), {"a": np.ones(1)})
    again = tracker.result(0, _scenario(), route_m=10.0)
    assert (
        again.collision
        and not again.at_fault
        and again.decisions == 1
        and again.total_reward == 1.0
    )


def test_driving_score_is_gates_times_weighted_mean() -> None:
    good = _result(progress_m=60.0, reference_m=120.0, ttc_share=0.8, lane_share=1.0, comfort=0.5)
    expected = (5 * 0.5 + 5 * 0.8 + 2 * 1.0 + 2 * 0.5) / 14
    assert metrics.driving_score(good) == pytest.approx(expected)
    assert metrics.driving_score(good, expert_progress_m=60.0) == pytest.approx(
        expected + 5 * 0.5 / 14
    )
    for gate in ({"at_fault": True}, {"off_road": True}, {"red_light": True}, {"end": "failed"}):
        assert metrics.driving_score(_result(**gate)) == 0.0
    assert metrics.driving_score(_result(collision=True)) > 0.0  # hit by another


def test_scene_score_is_full_from_80_percent_of_the_path() -> None:
    assert metrics.scene_score(_result(progress_m=48.0, reference_m=120.0)) == pytest.approx(0.5)
    assert metrics.scene_score(_result(progress_m=96.0, reference_m=120.0)) == 1.0
    assert metrics.scene_score(_result(progress_m=0.0, reference_m=4.9)) == 1.0
    assert metrics.scene_score(_result(at_fault=True)) == 0.0


def test_a_failed_episode_is_a_failure_with_score_zero() -> None:
    row = failed_result(_scenario(), "boom")
    assert row.end == "failed" and row.error == "boom" and metrics.is_failure(row)
    assert metrics.driving_score(row) == 0.0 and metrics.scene_score(row) == 0.0


# ---- statistics ----
@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_equal_the_published_ones(
    successes: int, count: int, low: float, high: float
) -> None:
    interval = stats.wilson_interval(successes, count)
    assert interval.low == pytest.approx(low, abs=5e-5) and interval.high == pytest.approx(
        high, abs=5e-5
    )


def test_pairing_removes_what_both_policies_share() -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(0.0, 10.0, size=100)
    interval = stats.paired_bootstrap([shared, shared + 1.0], resamples=500)
    assert interval.value == pytest.approx(1.0)
    assert interval.low == pytest.approx(1.0) and interval.high == pytest.approx(1.0)


def test_the_bootstrap_is_seeded() -> None:
    values = np.arange(30.0)
    a, b = (stats.paired_bootstrap([values], seed=4, resamples=300) for _ in range(2))
    assert a == b


def test_mcnemar_is_the_exact_binomial_of_the_discordant_pairs() -> None:
    before = np.array([1] * 9 + [0] * 1 + [1] * 5 + [0] * 5)
    after = np.array([0] * 9 + [1] * 1 + [1] * 5 + [0] * 5)
    # 9 against 1 of 10: 2 * (1 + 10) / 1024
    assert stats.mcnemar(before, after) == pytest.approx(22 / 1024)
    assert stats.mcnemar(before, before) == 1.0
    big_before, big_after = np.repeat([1, 0], [900, 800]), np.repeat([0, 1], [900, 800])
    z = 99 / math.sqrt(1700)
    assert stats.mcnemar(big_before, big_after) == pytest.approx(math.erfc(z / math.sqrt(2)))
