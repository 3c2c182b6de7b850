"""Advantages against hand-computed cases and the textbook definitions."""

import numpy as np
import pytest

from alpamayo.learner.advantages import compute_advantages, returns_to_go


def test_returns_to_go_discount_and_stop_at_the_end_of_the_episode() -> None:
    reward = np.array([[1.0, 1.0], [2.0, 5.0], [4.0, 7.0]])
    valid = np.array([[True, True], [True, True], [True, False]])
    expected = np.array([[1 + 0.5 * (2 + 0.5 * 4), 1 + 0.5 * 5], [4.0, 5.0], [4.0, 0.0]])
    np.testing.assert_allclose(returns_to_go(reward, valid, 0.5), expected)


def test_group_baseline_is_the_mean_of_the_other_members_still_driving() -> None:
    reward = np.array([[1.0, 2.0, 6.0], [1.0, 0.0, 3.0]])
    valid = np.array([[True, True, True], [True, False, True]])
    group = np.zeros(3, int)
    advantage, returns = compute_advantages(
        reward, valid, np.array([False, True, False]), group, gamma=1.0
    )
    np.testing.assert_allclose(returns[0], [2.0, 2.0, 9.0])
    np.testing.assert_allclose(advantage[0], [2 - 5.5, 2 - 5.5, 9 - 2.0])
    np.testing.assert_allclose(advantage[1], [1 - 3.0, 0.0, 3 - 1.0])


def test_group_advantages_do_not_mix_groups_and_a_lonely_episode_gets_none() -> None:
    reward = np.array([[1.0, 3.0, 50.0]])
    advantage, _ = compute_advantages(
        reward, np.ones((1, 3), bool), np.zeros(3, bool), np.array([7, 7, 9]), gamma=0.9
    )
    np.testing.assert_allclose(advantage, [[-2.0, 2.0, 0.0]])


def test_gae_equals_its_definition_and_bootstraps_only_truncated_episodes() -> None:
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=(4, 2)), rng.normal(size=(5, 2))
    valid = np.array([[True, True], [True, True], [True, True], [True, False]])
    gamma, lam = 0.9, 0.8
    advantage, target = compute_advantages(
        reward,
        valid,
        np.array([False, True]),
        np.arange(2),
        gamma=gamma,
        gae_lambda=lam,
        value=value,
        mode="gae",
    )
    for column, steps, terminal in ((0, 4, False), (1, 3, True)):
        for t in range(steps):
            total = 0.0
            for j in range(t, steps):
                following = 0.0 if terminal and j == steps - 1 else value[j + 1, column]
                delta = reward[j, column] + gamma * following - value[j, column]
                total += (gamma * lam) ** (j - t) * delta
            assert advantage[t, column] == pytest.approx(total, rel=1e-5)
            assert target[t, column] == pytest.approx(total + value[t, column], rel=1e-5)
    assert advantage[3, 1] == 0.0


def test_a_crash_and_a_time_out_with_the_same_rewards_differ_by_the_bootstrap() -> None:
    reward, value = np.zeros((1, 2)), np.array([[0.0, 0.0], [10.0, 10.0]])
    advantage, _ = compute_advantages(
        reward,
        np.ones((1, 2), bool),
        np.array([True, False]),
        np.arange(2),
        gamma=0.5,
        value=value,
        mode="gae",
    )
    np.testing.assert_allclose(advantage, [[0.0, 5.0]])


def test_unknown_modes_and_wrong_shapes_are_refused() -> None:
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match="do not agree"):
        compute_advantages(ones, ones > 0, ones[0] > 0, np.arange(4), gamma=1.0)
    with pytest.raises(ValueError, match="value"):
        compute_advantages(ones, ones > 0, ones[0] > 0, np.arange(3), gamma=1.0, mode="gae")
