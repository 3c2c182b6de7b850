"""The controller's choice at every tick, with times worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpamayo.types import PlanSpec, RequestError
from policies.plan_keeper import (
    SOURCE_PLAN,
    SOURCE_REMAINDER,
    SOURCE_STOP,
    PlanKeeper,
    RealtimeConfig,
    plan_problem,
)

SPEC = PlanSpec(steps=4, step_s=0.4)
CONFIG = RealtimeConfig(planner_hz=10.0, deadline_s=0.08, latency_s=0.1, max_missed=3)
RISING = np.array([[0.1, 0.01], [0.2, 0.02], [0.3, 0.03], [0.4, 0.04]])


def keeper_with_plan() -> PlanKeeper:
    keeper = PlanKeeper(CONFIG, SPEC)
    keeper.offer(RISING, 0, observed_s=0.0, ready_s=0.05)
    return keeper


def test_a_plan_in_time_drives_from_its_first_control() -> None:
    keeper = keeper_with_plan()
    # Early: its first control belongs to 0.1 .. 0.5 s and is not held back until then.
    assert keeper.command(0.06, 10.0) == (0.1, 0.01)
    assert keeper.source == SOURCE_PLAN and keeper.cycle == 0


def test_a_late_planner_drives_the_rest_of_its_last_plan_shifted_in_time() -> None:
    keeper = keeper_with_plan()
    keeper.command(0.1, 10.0)
    # Deadlines of cycles 1 and 2 fall at 0.18 and 0.28 s; the second control starts at 0.5 s.
    assert keeper.command(0.29, 10.0) == (0.1, 0.01)
    assert (keeper.source, keeper.missed) == (SOURCE_REMAINDER, 2)
    patient = PlanKeeper(RealtimeConfig(deadline_s=0.08, max_missed=99), SPEC)
    patient.offer(RISING, 0, 0.0, 0.05)
    for now_s, step in ((0.49, 0), (0.5, 1), (0.91, 2), (1.3, 3), (1.69, 3)):
        assert patient.command(now_s, 10.0) == tuple(RISING[step])
        assert patient.source == SOURCE_REMAINDER
    patient.command(1.7, 10.0)  # 0.1 + 4 * 0.4 s: nothing is left of the plan
    assert patient.source == SOURCE_STOP


def test_missed_deadlines_in_a_row_end_in_a_stop_along_the_way_and_a_plan_in_time_ends_that() -> (
    None
):
    keeper = keeper_with_plan()
    keeper.command(0.37, 10.0)
    assert keeper.source == SOURCE_REMAINDER
    accel, curvature = keeper.command(0.38, 10.0)  # third missed deadline: cycle 3, 0.38 s
    assert keeper.source == SOURCE_STOP and curvature == 0.01
    # Not pushing any more, and 20 m/s3 for the 0.01 s since the last command.
    assert accel == pytest.approx(-0.2)
    for tick in range(1, 60):
        accel, _ = keeper.command(0.38 + 0.01 * tick, 10.0)
    assert accel == -4.0
    keeper.offer(RISING, 9, observed_s=0.9, ready_s=0.97)
    assert keeper.command(0.98, 5.0) == (0.1, 0.01)
    assert (keeper.source, keeper.missed) == (SOURCE_PLAN, 0)
    assert keeper.deadlines == 10 and keeper.deadlines_missed == 8


def test_a_plan_that_comes_late_drives_but_its_deadline_stays_missed() -> None:
    keeper = keeper_with_plan()
    keeper.offer(RISING + 0.5, 1, observed_s=0.1, ready_s=0.19)  # due at 0.18 s
    assert keeper.command(0.2, 10.0) == (0.6, 0.51)
    assert (keeper.source, keeper.missed, keeper.cycle) == (SOURCE_REMAINDER, 1, 1)
    # One that is overtaken does not drive.
    keeper.offer(RISING - 0.5, 0, observed_s=0.05, ready_s=0.2)
    assert keeper.command(0.21, 10.0) == (0.6, 0.51)


def test_a_stop_ends_standing_and_never_reverses() -> None:
    keeper, speed_mps = PlanKeeper(CONFIG, SPEC), 3.0
    for tick in range(200):
        accel, _ = keeper.command(tick * 0.01, speed_mps)
        assert accel <= 0.0
        speed_mps += accel * 0.01
        assert speed_mps >= -1e-12
    assert speed_mps == pytest.approx(0.0, abs=1e-12)
    assert keeper.command(2.0, 0.0)[0] == 0.0


def test_a_stop_that_follows_hard_braking_eases_to_its_own() -> None:
    keeper = PlanKeeper(CONFIG, SPEC)
    hard = np.tile([-8.0, 0.0], (4, 1))
    keeper.offer(hard, 0, 0.0, 0.05)
    assert keeper.command(0.1, 20.0)[0] == -8.0
    keeper.missed = 3
    assert keeper.command(0.11, 20.0)[0] == pytest.approx(-7.8)
    assert keeper.command(0.21, 20.0)[0] == pytest.approx(-5.8)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 0.3), st.floats(0.0, 0.5), st.booleans()), min_size=1, max_size=40
    )
)
def test_whatever_arrives_whenever_the_command_is_finite_and_within_limits(
    arrivals: list[tuple[float, float, bool]],
) -> None:
    keeper, now_s, speed_mps = PlanKeeper(CONFIG, SPEC), 0.0, 12.0
    for wait_s, latency_s, hard in arrivals:
        now_s += wait_s
        plan = np.tile([-8.0 if hard else 4.0, 0.2 if hard else -0.2], (4, 1))
        observed_s = max(now_s - latency_s, 0.0)
        keeper.offer(plan, int(observed_s * CONFIG.planner_hz), observed_s, now_s)
        accel, curvature = keeper.command(now_s, speed_mps)
        assert -8.0 <= accel <= 4.0 and abs(curvature) <= 0.2
        speed_mps = max(speed_mps + 0.01 * accel, 0.0)
        assert (keeper.source == SOURCE_STOP) or keeper.missed < CONFIG.max_missed


@pytest.mark.parametrize(
    ("actions", "problem"),
    [
        (RISING, ""),
        (RISING[:3], "expected (4, 2) controls, got (3, 2)"),
        (RISING * np.nan, "finite"),
        (RISING + np.array([5.0, 0.0]), "accelerations of -8..4"),
        (RISING - np.array([9.0, 0.0]), "accelerations of -8..4"),
        (RISING + np.array([0.0, 0.3]), "curvatures within 0.2"),
    ],
    ids=["good", "short", "nan", "too fast", "too hard", "too sharp"],
)
def test_what_is_no_plan_is_told(actions: np.ndarray, problem: str) -> None:
    told = plan_problem(actions, SPEC, CONFIG)
    assert problem in told and bool(told) == bool(problem)


@pytest.mark.parametrize(
    "wrong",
    [
        {"planner_hz": 0.0},
        {"deadline_s": float("nan")},
        {"latency_s": -0.1},
        {"max_missed": 0},
        {"controller_hz": 5.0},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict) -> None:
    (key,) = wrong
    with pytest.raises(RequestError, match=f"realtime.{key}: expected"):
        RealtimeConfig(**wrong)
