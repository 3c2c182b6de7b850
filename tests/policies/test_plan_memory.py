"""What a policy is told of the plan that still drives."""

from __future__ import annotations

import numpy as np
import pytest

from policies.plan_memory import LastPlans, controls_ahead

PLAN = np.array([[[1.0, 0.1], [2.0, 0.2], [3.0, 0.3], [4.0, 0.4]]])


@pytest.mark.parametrize(
    ("since_s", "accel"),
    [
        (0.0, [1, 2, 3, 4]),
        (0.1, [1, 2, 3, 4]),  # the middle of the first step is still the first control
        (0.3, [2, 3, 4, 4]),
        (0.4, [2, 3, 4, 4]),
        (0.8, [3, 4, 4, 4]),
        (9.0, [4, 4, 4, 4]),
    ],
)
def test_what_is_left_of_a_plan_is_cut_into_steps_from_now_on(
    since_s: float, accel: list[float]
) -> None:
    ahead = controls_ahead(PLAN, since_s, 0.4)
    assert ahead[0, :, 0].tolist() == accel
    assert np.allclose(ahead[0, :, 1], np.array(accel) / 10)


def test_each_world_remembers_its_own_last_plan_until_its_episode_ends() -> None:
    last = LastPlans(3, steps=4, step_s=0.4, decision_s=0.4, latency_s=0.4)
    first = last.of(np.arange(3))
    assert np.isnan(first.ahead).all() and first.decision.tolist() == [0, 0, 0]
    last.put(np.array([2, 0]), np.concatenate([PLAN, -PLAN]).astype(np.float32))
    memory = last.of(np.array([0, 1, 2]))
    # With a latency of one decision the last plan starts to drive at this very moment.
    assert memory.ahead[0, :, 0].tolist() == [-1, -2, -3, -4]
    assert np.isnan(memory.ahead[1]).all()
    assert memory.ahead[2, :, 0].tolist() == [1, 2, 3, 4]
    assert memory.decision.tolist() == [1, 0, 1]
    last.forget(np.array([2]))
    assert np.isnan(last.of(np.array([2])).ahead).all()


def test_a_plan_that_is_ready_at_once_has_driven_for_a_whole_decision() -> None:
    last = LastPlans(1, steps=4, step_s=0.4, decision_s=0.8, latency_s=0.0)
    last.put(np.array([0]), PLAN.astype(np.float32))
    assert last.of(np.array([0])).ahead[0, :, 0].tolist() == [3, 4, 4, 4]
