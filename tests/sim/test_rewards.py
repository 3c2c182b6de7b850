from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import (
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    END_RUNNING,
    FAULT_EGO,
    FAULT_NONE,
    FAULT_OTHER,
    StepSignals,
)
from sim.config import RewardConfig
from sim.rewards import TERMS, reward_terms, total_reward


def quiet(**changes) -> StepSignals:
    zero = np.zeros(1)
    values = {
        "end": np.array([END_RUNNING]), "fault": np.array([FAULT_NONE]),
        "collision_actor": np.array([-1]), "progress_m": zero,
        "min_ttc_s": np.array([np.inf]), "min_gap_m": np.array([np.inf]),
        "accel_mps2": zero, "jerk_mps3": zero, "lateral_accel_mps2": zero,
        "yaw_rate_radps": zero, "yaw_accel_radps2": zero, "lane_offset_m": zero,
        "wrong_way": np.array([False]), "over_speed_mps": zero, "speed_mps": zero,
        "active": np.array([True]),
    }  # fmt: skip
    values.update({name: np.array([value]) for name, value in changes.items()})
    return StepSignals(**values)


WEIGHTS = RewardConfig(
    progress_per_m=0.1, at_fault_collision=40.0, other_collision=5.0, off_road=30.0, red_light=20.0,
    stop_line=7.0, ttc=0.5, comfort=0.05, lane_offset=0.2, over_speed=0.3, wrong_way=1.5,
)  # fmt: skip
CASES = [
    ({"progress_m": 4.0}, "progress", 0.4),
    ({"progress_m": 8.0, "over_speed_mps": 5.0}, "progress", 0.1 * (8.0 - 5.0 * 0.4)),
    ({"end": END_COLLISION, "fault": FAULT_EGO}, "at_fault_collision", -40.0),
    ({"end": END_COLLISION, "fault": FAULT_OTHER}, "other_collision", -5.0),
    ({"end": END_COLLISION, "fault": FAULT_OTHER}, "at_fault_collision", 0.0),
    ({"end": END_OFF_ROAD}, "off_road", -30.0),
    ({"end": END_RED_LIGHT}, "red_light", -20.0),
    ({"stop_line": True}, "stop_line", -7.0),
    ({"min_ttc_s": 1.2}, "ttc", -0.5 * (1 - 1.2 / 3.0)),
    ({"min_ttc_s": 3.5}, "ttc", 0.0),
    ({"accel_mps2": -4.5}, "comfort", -0.05 * 0.25),
    ({"lateral_accel_mps2": 6.0}, "comfort", -0.05),
    ({"jerk_mps3": -5.0}, "comfort", -0.05 * 0.25),
    ({"jerk_mps3": 80.0}, "comfort", -0.05 * 4.0),
    ({"lane_offset_m": 0.5}, "lane_offset", -0.1),
    ({"over_speed_mps": 2.0}, "over_speed", -0.6),
    ({"wrong_way": True}, "wrong_way", -1.5),
]


@pytest.mark.parametrize(("changes", "name", "expected"), CASES)
def test_each_term_by_hand(changes, name, expected) -> None:
    assert reward_terms(quiet(**changes), WEIGHTS)[name][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("speed_mps", "share"), [(0.0, 0.4), (5.0, 0.4 + 0.6 / 2), (10.0, 1.0), (30.0, 1.0)]
)
def test_a_crash_after_braking_costs_less(speed_mps: float, share: float) -> None:
    weights = replace(WEIGHTS, crash_least=0.4, crash_full_mps=10.0)
    signals = quiet(end=END_COLLISION, fault=FAULT_EGO, speed_mps=speed_mps)
    assert reward_terms(signals, weights)["at_fault_collision"][0] == pytest.approx(-40.0 * share)


def test_the_total_is_the_sum_and_worlds_that_ended_get_nothing() -> None:
    signals = quiet(progress_m=4.0, min_ttc_s=1.5, lane_offset_m=1.0)
    terms = reward_terms(signals, WEIGHTS)
    assert tuple(terms) == TERMS
    assert total_reward(terms)[0] == pytest.approx(0.4 - 0.25 - 0.2)
    ended = quiet(
        active=False, end=END_COLLISION, fault=FAULT_EGO, lane_offset_m=1.0, wrong_way=True
    )
    assert total_reward(reward_terms(ended, WEIGHTS))[0] == 0.0


def test_by_default_an_at_fault_crash_costs_more_than_any_episode_can_still_earn() -> None:
    reward = RewardConfig()
    most_metres = 14.0 * 20.0
    assert reward.at_fault_collision > reward.progress_per_m * most_metres
    assert reward.off_road > reward.progress_per_m * most_metres
