"""Episode metrics and scores: pure functions of what the judge recorded.

One decision interval gives one ``StepSignals``; ``EpisodeTracker`` sums them up, per world, to one
``EpisodeResult`` per episode. Scores are functions of one result; intervals over many are in
``alpamayo.stats``.

The driving score is PDMS-style (NAVSIM's Predictive Driver Model Score: product of gates times a
weighted mean) but is **not comparable with NAVSIM**: it judges true closed-loop driving in another
simulator, with other terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from alpamayo.types import (
    END_COLLISION,
    END_FAILED,
    END_NAMES,
    END_OFF_ROAD,
    END_RED_LIGHT,
    FAULT_EGO,
    BoolArray,
    EpisodeResult,
    FloatArray,
    IntArray,
    Scenario,
    StepSignals,
)

# Comfort bounds of nuPlan's closed-loop metrics, as the AlpaGym open-loop recipe uses them (10 Hz
# signals).
MIN_LON_ACCEL_MPS2 = -4.05
MAX_LON_ACCEL_MPS2 = 2.40
MAX_LAT_ACCEL_MPS2 = 4.89
MAX_LON_JERK_MPS3 = 4.13
MAX_MAG_JERK_MPS3 = 8.37
MAX_YAW_RATE_RADPS = 0.95
MAX_YAW_ACCEL_RADPS2 = 1.93

SAFE_TTC_S = 0.95  # NAVSIM and nuPlan: a time to collision below this is a violation
LANE_KEEPING_M = 0.5  # NAVSIM v2 lane keeping: lateral deviation bound
MIN_REFERENCE_M = 5.0  # AlpaSim scene score: shorter reference paths count as driven
SCENE_SCORE_FULL_PROGRESS = 0.8  # AlpaSim scene score: this share of the path earns the full score
PLAN_DEVIATION_DECAY = 0.1  # AlpaSim plan_deviation: weight exp(-0.1 k) of waypoint k

# NAVSIM v2 weights of the averaged terms (its two comfort terms are one here).
SCORE_WEIGHTS: dict[str, float] = {"progress": 5.0, "ttc": 5.0, "lane": 2.0, "comfort": 2.0}


# --------------------------------------------------------------------------------------
# Per decision
# --------------------------------------------------------------------------------------
def comfortable(signals: StepSignals) -> BoolArray:
    """[B] True where nuPlan's six comfort bounds were respected through the whole decision
    interval."""
    return (
        (np.minimum(signals.accel_mps2, signals.min_accel_mps2) >= MIN_LON_ACCEL_MPS2)
        & (np.maximum(signals.accel_mps2, signals.max_accel_mps2) <= MAX_LON_ACCEL_MPS2)
        & (np.abs(signals.mag_jerk_mps3) <= MAX_MAG_JERK_MPS3)
        & (np.abs(signals.lateral_accel_mps2) <= MAX_LAT_ACCEL_MPS2)
        & (np.abs(signals.jerk_mps3) <= MAX_LON_JERK_MPS3)
        & (np.abs(signals.yaw_rate_radps) <= MAX_YAW_RATE_RADPS)
        & (np.abs(signals.yaw_accel_radps2) <= MAX_YAW_ACCEL_RADPS2)
    )


def plan_waypoints(actions: FloatArray, speed_mps: FloatArray, step_s: float) -> FloatArray:
    """Waypoints [B, K, 2] at the step ends of ``actions`` [B, K, 2], in the frame of the pose they
    start from.

    Unicycle, heading by the mean curvature of the step; the speed does not fall below zero.
    """
    accel = np.asarray(actions[..., 0], dtype=np.float64)
    curvature = np.asarray(actions[..., 1], dtype=np.float64)
    count = accel.shape[1]
    speed = np.asarray(speed_mps, dtype=np.float64)
    heading = np.zeros_like(speed)
    x, y = np.zeros_like(speed), np.zeros_like(speed)
    points = np.empty((len(speed), count, 2))
    for k in range(count):
        end_speed = np.maximum(speed + accel[:, k] * step_s, 0.0)
        arc = 0.5 * (speed + end_speed) * step_s
        turn = curvature[:, k] * arc
        x = x + arc * np.cos(heading + 0.5 * turn)
        y = y + arc * np.sin(heading + 0.5 * turn)
        heading, speed = heading + turn, end_speed
        points[:, k, 0], points[:, k, 1] = x, y
    return points


def plan_deviation(
    previous: FloatArray, previous_pose: FloatArray, current: FloatArray
) -> npt.NDArray[np.float64]:
    """[B] weighted mean distance in metres between consecutive plans, at the times both cover.

    ``previous`` and ``current`` [B, K, 2] are waypoints in the frame of their own observation;
    ``previous_pose`` [B, 3] is the earlier observation's pose in the frame of the later one. One
    decision is one plan step, so waypoint k+1 of the earlier plan meets waypoint k of the later.
    """
    if current.shape[1] < 2:
        return np.zeros(len(current))
    cos, sin = np.cos(previous_pose[:, 2:3]), np.sin(previous_pose[:, 2:3])
    old_x = previous_pose[:, 0:1] + cos * previous[:, 1:, 0] - sin * previous[:, 1:, 1]
    old_y = previous_pose[:, 1:2] + sin * previous[:, 1:, 0] + cos * previous[:, 1:, 1]
    distance = np.hypot(old_x - current[:, :-1, 0], old_y - current[:, :-1, 1])
    weight = np.exp(-PLAN_DEVIATION_DECAY * np.arange(distance.shape[1]))
    return (distance * weight).sum(axis=1) / weight.sum()


# --------------------------------------------------------------------------------------
# Per episode
# --------------------------------------------------------------------------------------
class EpisodeTracker:
    """Accumulates decision intervals of ``num_worlds`` worlds; each row becomes one
    ``EpisodeResult`` at a time.
    """

    _SUMS = (
        "progress",
        "comfort",
        "ttc_ok",
        "lane_ok",
        "wrong_way",
        "speed",
        "reward",
        "plan_ms",
        "deviation",
    )

    def __init__(self, num_worlds: int, decision_s: float) -> None:
        self.decision_s = decision_s
        self._sum = {name: np.zeros(num_worlds) for name in self._SUMS}
        self._terms: dict[str, FloatArray] = {}
        self._min_ttc = np.full(num_worlds, np.inf)
        self._min_gap = np.full(num_worlds, np.inf)
        self._count = np.zeros(num_worlds, dtype=np.int64)
        self._timed = np.zeros(num_worlds, dtype=np.int64)
        self._end = np.zeros(num_worlds, dtype=np.int64)
        self._fault = np.zeros(num_worlds, dtype=np.int64)
        self._actor = np.full(num_worlds, -1, dtype=np.int64)

    def reset(self, rows: IntArray) -> None:
        """Forget the episodes of ``rows``."""
        for values in (*self._sum.values(), *self._terms.values()):
            values[rows] = 0.0
        self._min_ttc[rows] = np.inf
        self._min_gap[rows] = np.inf
        for counts in (self._count, self._timed, self._end, self._fault):
            counts[rows] = 0
        self._actor[rows] = -1

    def update(
        self,
        signals: StepSignals,
        reward_terms: Mapping[str, FloatArray],
        *,
        plan_ms: FloatArray | None = None,
        deviation_m: FloatArray | None = None,
    ) -> None:
        """Add one decision interval; rows whose ``active`` is False are left alone. All arrays are
        [B].
        """
        active = np.asarray(signals.active, dtype=bool)
        add = {
            "progress": signals.progress_m,
            "comfort": comfortable(signals),
            "ttc_ok": signals.min_ttc_s >= SAFE_TTC_S,
            "lane_ok": (signals.lane_offset_m <= LANE_KEEPING_M) & ~signals.wrong_way,
            "wrong_way": np.asarray(signals.wrong_way, dtype=bool) * self.decision_s,
            "speed": signals.speed_mps,
        }
        for name, values in add.items():
            self._sum[name][active] += np.asarray(values, dtype=np.float64)[active]
        for name, values in reward_terms.items():
            total = self._terms.setdefault(name, np.zeros(len(active)))
            total[active] += np.asarray(values, dtype=np.float64)[active]
            self._sum["reward"][active] += np.asarray(values, dtype=np.float64)[active]
        if plan_ms is not None:
            self._sum["plan_ms"][active] += plan_ms[active]
            self._timed[active] += 1
        if deviation_m is not None:
            self._sum["deviation"][active] += deviation_m[active]
        self._min_ttc[active] = np.minimum(self._min_ttc, signals.min_ttc_s)[active]
        self._min_gap[active] = np.minimum(self._min_gap, signals.min_gap_m)[active]
        self._count[active] += 1
        self._end[active] = signals.end[active]
        self._fault[active] = np.maximum(self._fault, signals.fault)[active]
        self._actor[active] = np.where(
            signals.collision_actor >= 0, signals.collision_actor, self._actor
        )[active]

    def ended(self) -> BoolArray:
        """[B] True where the last update ended the episode."""
        return self._end != 0

    def result(
        self,
        row: int,
        scenario: Scenario,
        *,
        route_m: float,
        duration_s: float | None = None,
        weights_version: int = -1,
        state_hash: str = "",
    ) -> EpisodeResult:
        """The episode in ``row`` as a result; ``duration_s`` defaults to whole decision
        intervals.
        """
        count = max(int(self._count[row]), 1)
        end, actor = int(self._end[row]), int(self._actor[row])
        mean = {name: float(values[row]) / count for name, values in self._sum.items()}
        return EpisodeResult(
            scenario_id=scenario.id,
            family=scenario.family,
            nominal=scenario.nominal,
            seed=scenario.seed,
            end=END_NAMES[end],
            at_fault=bool(end == END_COLLISION and self._fault[row] == FAULT_EGO),
            collision=end == END_COLLISION,
            off_road=end == END_OFF_ROAD,
            red_light=end == END_RED_LIGHT,
            progress_m=float(self._sum["progress"][row]),
            route_m=float(route_m),
            duration_s=float(
                self._count[row] * self.decision_s if duration_s is None else duration_s
            ),
            mean_speed_mps=mean["speed"],
            min_ttc_s=float(self._min_ttc[row]),
            min_gap_m=float(self._min_gap[row]),
            comfort=mean["comfort"],
            wrong_way_s=float(self._sum["wrong_way"][row]),
            total_reward=float(self._sum["reward"][row]),
            plan_ms=float(self._sum["plan_ms"][row]) / max(int(self._timed[row]), 1),
            plan_deviation_m=float(self._sum["deviation"][row]) / max(count - 1, 1),
            parameters=dict(scenario.parameters),
            weights_version=weights_version,
            collision_actor=scenario.actor_id(actor) if actor >= 0 else "",
            state_hash=state_hash,
            ttc_share=mean["ttc_ok"],
            lane_share=mean["lane_ok"],
            reference_m=reference_progress_m(scenario, route_m),
            decisions=int(self._count[row]),
            reward_terms={name: float(values[row]) for name, values in self._terms.items()},
        )


def reference_progress_m(scenario: Scenario, route_m: float) -> float:
    """Progress of driving at the speed limit for the scenario's duration, at most to the end of
    the route.
    """
    return float(min(route_m, scenario.road.speed_limit_mps * scenario.duration_s))


def failed_result(scenario: Scenario, error: str, weights_version: int = -1) -> EpisodeResult:
    """The row of an episode that could not be run."""
    return EpisodeResult(
        scenario_id=scenario.id,
        family=scenario.family,
        nominal=scenario.nominal,
        seed=scenario.seed,
        end=END_NAMES[END_FAILED],
        at_fault=False,
        collision=False,
        off_road=False,
        red_light=False,
        progress_m=0.0,
        route_m=0.0,
        duration_s=0.0,
        mean_speed_mps=0.0,
        min_ttc_s=math.inf,
        min_gap_m=math.inf,
        comfort=0.0,
        wrong_way_s=0.0,
        total_reward=0.0,
        plan_ms=0.0,
        plan_deviation_m=0.0,
        parameters=dict(scenario.parameters),
        weights_version=weights_version,
        error=error or "unknown error",
        ttc_share=0.0,
        lane_share=0.0,
    )


def is_failure(result: EpisodeResult) -> bool:
    """At-fault collision or off-road; an episode that failed to run counts as one too, so that
    nothing hides.
    """
    return result.at_fault or result.off_road or result.end == "failed"


def progress_share(result: EpisodeResult, expert_progress_m: float | None = None) -> float:
    """Progress in [0, 1] relative to the expert on the same seed, or else to the speed-limit
    reference.
    """
    reference_m = result.reference_m if expert_progress_m is None else expert_progress_m
    if reference_m < MIN_REFERENCE_M:
        return 1.0
    return float(np.clip(result.progress_m / reference_m, 0.0, 1.0))


def driving_score(result: EpisodeResult, expert_progress_m: float | None = None) -> float:
    """PDMS-style score in [0, 1], not comparable with NAVSIM.

    Gates (0 or 1): no at-fault collision, on the road, no red light run. Weighted mean
    (``SCORE_WEIGHTS``) of progress, the share of decisions with a time to collision >= 0.95 s, the
    share within 0.5 m of a lane centre in the right direction, and the share within all comfort
    bounds. An episode that failed to run scores 0.
    """
    if is_failure(result) or result.red_light:
        return 0.0
    terms = {
        "progress": progress_share(result, expert_progress_m),
        "ttc": result.ttc_share,
        "lane": result.lane_share,
        "comfort": result.comfort,
    }
    return sum(SCORE_WEIGHTS[name] * value for name, value in terms.items()) / sum(
        SCORE_WEIGHTS.values()
    )


def scene_score(result: EpisodeResult, expert_progress_m: float | None = None) -> float:
    """AlpaSim's scene score: 0 if at fault or off-road, else progress, full from 80 % of the
    reference path on.
    """
    if is_failure(result):
        return 0.0
    return min(progress_share(result, expert_progress_m) / SCENE_SCORE_FULL_PROGRESS, 1.0)
