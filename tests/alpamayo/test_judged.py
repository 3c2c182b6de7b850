"""What an evaluation tells of an episode: hand-computed drives, an oracle for the side hit, and the
extended score by hand.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely import geometry

from alpamayo.judged import (
    JudgedEpisode,
    JudgedTracker,
    extended_score,
    plain_result,
    plans_agree,
    side_hit,
)
from alpamayo.metrics import EpisodeTracker, driving_score, failed_result
from alpamayo.types import EGO_SIZE_M, EpisodeResult, StepSignals
from tests.alpamayo.fake_world import scenario


def signals(speed: float, **changes: object) -> StepSignals:
    """One world; nothing special unless said."""
    values: dict[str, object] = {
        "end": 0, "fault": 0, "collision_actor": -1, "progress_m": 4.0, "min_ttc_s": math.inf,
        "min_gap_m": math.inf, "accel_mps2": 0.0, "jerk_mps3": 0.0, "lateral_accel_mps2": 0.0,
        "yaw_rate_radps": 0.0, "yaw_accel_radps2": 0.0, "lane_offset_m": 0.0, "wrong_way": False,
        "over_speed_mps": 0.0, "speed_mps": speed, "active": True,
    }  # fmt: skip
    return StepSignals(**{k: np.array([v]) for k, v in {**values, **changes}.items()})  # type: ignore[arg-type]


def drive(*steps: tuple[StepSignals, float, float, bool, float]) -> JudgedEpisode:
    """Steps of (signals, time at their end, latency, steady, rounds)."""
    tracker, plain = JudgedTracker(1, 0.4), EpisodeTracker(1, 0.4)
    tracker.start(0, scenario(5))  # starts at 10 m/s
    for told, time_s, latency_s, steady, rounds in steps:
        plain.update(told, {})
        tracker.update(
            told,
            time_s=np.array([time_s]),
            latency_s=np.array([latency_s]),
            steady=np.array([steady]),
            rounds=np.array([rounds]),
        )
    return tracker.judged(0, plain.result(0, scenario(5), route_m=100.0))


def test_an_episode_by_hand() -> None:
    row = drive(
        (signals(12.0, over_speed_mps=1.0, route_offset_m=0.3), 0.4, 0.1, True, 2.0),
        (
            signals(8.0, close_encounter=True, off_lane_s=0.2, route_offset_m=0.9),
            0.8,
            0.5,
            True,
            4.0,
        ),
        (signals(8.0, blocked=True, stop_line=True, route_offset_m=0.1), 1.0, 0.4, False, 3.0),
    )
    # 0.4 s at 11, 0.4 s at 10, 0.2 s at 8 m/s
    assert row.distance_m == pytest.approx(4.4 + 4.0 + 1.6)
    assert row.close_s == pytest.approx(0.4) and row.off_lane_s == pytest.approx(0.2)
    assert row.blocked_s == pytest.approx(0.2) and row.stop_signs_run == 1
    assert row.over_speed_mps == pytest.approx(0.4) and row.route_offset_m == pytest.approx(0.9)
    assert row.steady_share == pytest.approx(2 / 3) and row.decode_rounds == pytest.approx(3.0)
    assert row.latency_s == pytest.approx(1.0 / 3)
    assert row.deadlines_missed == 1  # 0.5 s; the one of 0.4 s is just in time
    assert row.oncoming_m == 0.0 and row.decisions == 3


def test_a_policy_that_decodes_nothing_has_no_rounds() -> None:
    assert drive((signals(9.0), 0.4, 0.1, True, math.nan)).decode_rounds is None


def test_driving_against_the_direction_counts_within_a_second() -> None:
    """One second is three decisions of 0.4 s, rounded up."""

    def against(*metres: float) -> float | None:
        return drive(*(
            (signals(9.0, wrong_way=m > 0, progress_m=m or 4.0), 0.4 * (n + 1), 0.1, True, 1.0)
            for n, m in enumerate(metres)
        )).oncoming_m  # fmt: skip

    assert against(1.5) == pytest.approx(1.5)
    assert against(1.5, 1.0, 2.0) == pytest.approx(4.5)
    assert against(1.5, 1.0, 0.0, 2.0, 0.0) == pytest.approx(3.0)  # 1.0, nothing, 2.0
    assert against(3.0, 0.0, 0.0, 0.0) == pytest.approx(3.0)


def test_a_row_is_begun_anew_and_rows_do_not_mix() -> None:
    tracker = JudgedTracker(2, 0.4)
    for row in (0, 1):
        tracker.start(row, scenario(row))
    both = signals(9.0, wrong_way=True)
    both = StepSignals(**{k: np.repeat(v, 2) for k, v in vars(both).items()})
    only_first = replace(both, active=np.array([True, False]))
    for told, time_s in ((both, 0.4), (only_first, 0.8)):
        tracker.update(
            told, time_s=np.full(2, time_s), latency_s=np.zeros(2), steady=np.ones(2, dtype=bool)
        )
    result = failed_result(scenario(0), "x")
    first, second = tracker.judged(0, result), tracker.judged(1, result)
    assert first.oncoming_m == 8.0 and second.oncoming_m == 4.0
    assert second.distance_m == pytest.approx(0.4 * (6 + 9) / 2)
    tracker.start(0, scenario(5))
    assert tracker.judged(0, result).distance_m == 0.0
    assert tracker.judged(1, result).oncoming_m == 4.0


# ---- plans ----
def plan(accel: list[float], curvature: list[float]) -> np.ndarray:
    return np.stack([accel, curvature], axis=-1)[None].astype(np.float32)


def test_plans_are_compared_at_the_same_times() -> None:
    old = plan([0.0, 1.0, 2.0, 3.0], [0.0, 0.01, 0.02, 0.03])
    same = plan([1.0, 2.0, 3.0, 9.0], [0.01, 0.02, 0.03, 0.9])
    # The old plan leaves 10 m/s in its first step, so both see the same speeds later.
    assert plans_agree(old, np.array([10.0]), same, np.array([10.0]), 0.4)[0]


@pytest.mark.parametrize(("off", "agree"), [(0.69, True), (0.71, False)])
def test_the_bound_on_acceleration_is_a_root_mean_square(off: float, agree: bool) -> None:
    old = plan([0.0] * 4, [0.0] * 4)
    new = plan([off, -off, off, 0.0], [0.0] * 4)
    assert plans_agree(old, np.array([10.0]), new, np.array([10.0]), 0.4)[0] == agree


@pytest.mark.parametrize(("curvature", "agree"), [(0.0099, True), (0.0101, False)])
def test_the_bound_on_yaw_rate_grows_with_speed(curvature: float, agree: bool) -> None:
    """At 10 m/s, 0.1 rad/s is a curvature of 0.01 per metre."""
    old, new = plan([0.0] * 3, [0.0] * 3), plan([0.0] * 3, [curvature] * 3)
    assert plans_agree(old, np.array([10.0]), new, np.array([10.0]), 0.4)[0] == agree
    assert plans_agree(old, np.array([5.0]), new, np.array([5.0]), 0.4)[0]


def test_a_plan_of_one_step_always_agrees() -> None:
    assert plans_agree(plan([0.0], [0.0]), np.ones(1), plan([9.0], [1.0]), np.ones(1), 0.4)[0]


# ---- side hit ----
LENGTH, WIDTH = EGO_SIZE_M[:2]


@pytest.mark.parametrize(
    ("x", "y", "side"),
    [(4.5, 0.0, "front"), (-4.5, 0.3, "rear"), (0.0, 1.8, "left"), (0.5, -1.8, "right")],
)
@pytest.mark.parametrize("heading", [0.0, 1.0, -2.5])
def test_the_side_hit_does_not_depend_on_where_ego_points(
    x: float, y: float, side: str, heading: float
) -> None:
    cos, sin = math.cos(heading), math.sin(heading)
    box = np.array([7 + cos * x - sin * y, -3 + sin * x + cos * y, heading, 4.6, 1.9, 1.5, 0.0])
    assert side_hit(np.array([7.0, -3.0, heading]), box) == side


@given(
    st.floats(-6, 6), st.floats(-4, 4), st.floats(-math.pi, math.pi), st.floats(0.3, 9),
    st.floats(0.3, 3),
)  # fmt: skip
def test_the_overlap_is_that_of_polygons(
    x: float, y: float, turn: float, length: float, width: float
) -> None:
    ego = geometry.box(-LENGTH / 2, -WIDTH / 2, LENGTH / 2, WIDTH / 2)
    cos, sin = math.cos(turn), math.sin(turn)
    corners = [(u * length / 2, v * width / 2) for u, v in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    other = geometry.Polygon([(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners])
    common = ego.intersection(other)
    assume(common.area > 1e-3)
    points = np.array(common.exterior.coords)[:-1]
    middle_x, middle_y = points.mean(axis=0)
    room = {
        "front": LENGTH / 2 - middle_x, "rear": LENGTH / 2 + middle_x,
        "left": WIDTH / 2 - middle_y, "right": WIDTH / 2 + middle_y,
    }  # fmt: skip
    nearest = sorted(room.values())
    assume(nearest[1] - nearest[0] > 0.05)  # corners that coincide may be counted twice
    found = side_hit(np.zeros(3), np.array([x, y, turn, length, width, 1.5, 0.0]))
    assert found == min(room, key=lambda side: room[side])


def test_boxes_that_parted_again_within_the_tick_still_have_a_side() -> None:
    ahead = np.array([0.5 * LENGTH + 2.3 + 0.8, 0.2, 0.0, 4.6, 1.9, 1.5, 0.0])
    assert side_hit(np.zeros(3), ahead) == "front"
    far = np.array([40.0, 0.0, 0.0, 4.6, 1.9, 1.5, 0.0])
    assert side_hit(np.zeros(3), far) == ""


# ---- extended score ----
def episode(**changes: object) -> JudgedEpisode:
    base = replace(
        failed_result(scenario(0), "x"), end="timeout", error="", progress_m=80.0,
        reference_m=100.0, comfort=0.75, ttc_share=0.9, lane_share=0.5,
    )  # fmt: skip
    return JudgedEpisode(**{**vars(base), "steady_share": 0.25, "oncoming_m": 0.0, **changes})  # type: ignore[arg-type]


MEAN = (5 * 0.8 + 5 * 0.9 + 2 * 0.5 + 2 * 0.75 + 2 * 0.25) / 16


def test_the_extended_score_by_hand() -> None:
    assert extended_score(episode()) == pytest.approx(MEAN)
    assert extended_score(episode(oncoming_m=2.0)) == pytest.approx(0.5 * MEAN)
    assert extended_score(episode(oncoming_m=6.0)) == 0.0
    assert extended_score(episode(off_road=True)) == extended_score(episode(red_light=True)) == 0.0


def test_hitting_a_thing_counts_half_and_hitting_somebody_all() -> None:
    crash = {"end": "collision", "collision": True, "at_fault": True}
    assert extended_score(episode(**crash, hit_kind="cone")) == pytest.approx(0.5 * MEAN)
    assert extended_score(episode(**crash, hit_kind="pedestrian")) == 0.0
    assert extended_score(episode(**crash)) == 0.0
    assert extended_score(episode(end="collision", collision=True)) == pytest.approx(MEAN)


def test_what_the_expert_cannot_do_either_is_not_held_against_the_policy() -> None:
    """A blocked lane can only be passed in the oncoming one."""
    detour = episode(oncoming_m=9.0, lane_share=0.0)
    expert = episode(oncoming_m=9.0, lane_share=0.0, progress_m=80.0)
    expected = (5 * 1.0 + 5 * 0.9 + 2 * 1.0 + 2 * 0.75 + 2 * 0.25) / 16
    assert extended_score(detour, expert) == pytest.approx(expected)
    assert extended_score(detour, episode()) == 0.0  # the expert stays in its lane
    assert extended_score(detour, replace(expert, end="failed")) == 0.0


def test_what_was_not_measured_has_no_score_and_what_failed_has_zero() -> None:
    assert extended_score(plain_result(episode())) is None
    assert extended_score(failed_result(scenario(0), "x")) == 0.0
    assert extended_score(episode(end="failed")) == 0.0


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 200))
def test_scores_lie_between_zero_and_one(
    comfort: float, ttc: float, lane: float, steady: float, progress: float
) -> None:
    row = episode(
        comfort=comfort, ttc_share=ttc, lane_share=lane, steady_share=steady, progress_m=progress
    )
    score = extended_score(row)
    assert score is not None and 0.0 <= score <= 1.0 + 1e-12
    assert 0.0 <= driving_score(row) <= 1.0 + 1e-12


def test_the_plain_columns_are_those_of_a_result() -> None:
    plain = plain_result(episode())
    assert type(plain) is EpisodeResult and plain.comfort == 0.75
