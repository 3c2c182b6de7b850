"""Named reward terms: pure functions of the judge's signals, each returned with its weight
applied."""

from __future__ import annotations

import numpy as np

from alpamayo.types import (
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    FAULT_EGO,
    FloatArray,
    StepSignals,
)
from sim.config import RewardConfig

TERMS = (
    "progress", "at_fault_collision", "other_collision", "off_road", "red_light", "stop_line",
    "ttc", "comfort", "lane_offset", "over_speed", "wrong_way",
)  # fmt: skip
SAFE_TTC_S = 3.0
COMFORT_ACCEL_MPS2 = 3.0
COMFORT_JERK_MPS3 = 10.0
COMFORT_CAP = 4.0


def reward_terms(
    signals: StepSignals, reward: RewardConfig, decision_s: float = 0.4
) -> dict[str, FloatArray]:
    """Weighted terms [B] by name; zero for worlds that were not active.

    ``progress``: route metres gained, those above the speed limit not counted. Crash terms: once,
    when the episode ends that way. ``stop_line``: per stop sign passed without having stood.
    ``ttc``: linear below 3 s. ``comfort``: squares of what exceeds 3 m/s2 along and across (each
    over 3 m/s2) and of jerk over 10 m/s3, each capped at 4. ``lane_offset`` and ``over_speed``: per
    metre and per m/s. ``wrong_way``: per decision.
    """
    active = signals.active.astype(np.float64)
    collided = (signals.end == END_COLLISION) * active
    at_fault = signals.fault == FAULT_EGO
    credited = signals.progress_m - signals.over_speed_mps * decision_s
    ttc_short = np.clip(1.0 - signals.min_ttc_s / SAFE_TTC_S, 0.0, 1.0)
    discomfort = (
        _excess(signals.accel_mps2) + _excess(signals.lateral_accel_mps2)
        + np.minimum((signals.jerk_mps3 / COMFORT_JERK_MPS3) ** 2, COMFORT_CAP)
    )  # fmt: skip
    hardness = np.clip(signals.speed_mps / reward.crash_full_mps, 0.0, 1.0)
    severity = reward.crash_least + (1.0 - reward.crash_least) * hardness
    return {
        "progress": reward.progress_per_m * credited * active,
        "at_fault_collision": -reward.at_fault_collision * severity * collided * at_fault,
        "other_collision": -reward.other_collision * collided * ~at_fault,
        "off_road": -reward.off_road * active * (signals.end == END_OFF_ROAD),
        "red_light": -reward.red_light * active * (signals.end == END_RED_LIGHT),
        "stop_line": -reward.stop_line * active * signals.stop_line,
        "ttc": -reward.ttc * active * ttc_short,
        "comfort": -reward.comfort * active * discomfort,
        "lane_offset": -reward.lane_offset * active * signals.lane_offset_m,
        "over_speed": -reward.over_speed * active * signals.over_speed_mps,
        "wrong_way": -reward.wrong_way * active * signals.wrong_way,
    }


def total_reward(terms: dict[str, FloatArray]) -> FloatArray:
    """[B] sum of the terms, in their fixed order."""
    total = np.zeros_like(next(iter(terms.values())))
    for name in TERMS:
        total = total + terms[name]
    return total


def _excess(value: FloatArray) -> FloatArray:
    over = np.maximum(np.abs(value) - COMFORT_ACCEL_MPS2, 0.0) / COMFORT_ACCEL_MPS2
    return np.minimum(over * over, COMFORT_CAP)
