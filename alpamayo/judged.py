"""What an evaluation tells of an episode besides ``EpisodeResult``, and a score made of it.

``JudgedEpisode`` is a result with more columns; ``JudgedTracker`` sums them up from the judge's
signals as ``alpamayo.metrics.EpisodeTracker`` does. A column is None where it was not measured: in
an episode that failed to run, in a report older than the column, or (decode rounds) with a policy
that decodes nothing. docs/evaluation.md defines every column and says where it comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from alpamayo.metrics import progress_share
from alpamayo.types import (
    EGO_SIZE_M,
    BoolArray,
    EpisodeResult,
    FloatArray,
    Scenario,
    StepSignals,
)

ONCOMING_WINDOW_S = 1.0  # NAVSIM and nuPlan: driving direction is judged within one second
ONCOMING_FINE_M, ONCOMING_WRONG_M = 2.0, 6.0  # driven against it: below, fine; from there, wrong
STEADY_ACCEL_MPS2 = 0.7  # NAVSIM v2, extended comfort: RMS change between consecutive plans
STEADY_YAW_RATE_RADPS = 0.1
THINGS = ("cone", "barrier", "debris")  # no road users: hitting one counts half, as in NAVSIM
_HIT_REACH_M = (0.0, 0.3, 1.0, 3.0, 6.0)

# NAVSIM v2 (EPDMS): weights of the averaged terms.
EXTENDED_WEIGHTS: dict[str, float] = {
    "progress": 5.0,
    "ttc": 5.0,
    "lane": 2.0,
    "comfort": 2.0,
    "steady": 2.0,
}


@dataclass(frozen=True)
class JudgedEpisode(EpisodeResult):
    """An episode of an evaluation.

    ``distance_m`` driven; ``close_s`` time in decisions that came within ``sim.judge.CLOSE_M`` of
    somebody without a touch; ``oncoming_m`` most metres driven against the lane's direction within
    ``ONCOMING_WINDOW_S``; ``off_lane_s`` outside every lane of the own direction;
    ``over_speed_mps`` mean excess over the limit; ``stop_signs_run``; ``blocked_s`` stood with a
    free road; ``route_offset_m`` farthest from the route; ``steady_share`` of decisions whose plan
    agrees with the one before. ``latency_s`` mean simulated time until a plan drove;
    ``deadlines_missed`` decisions whose plan came after the next observation; ``decode_rounds``
    mean denoising rounds per plan. ``hit_kind`` kind of the actor hit; ``hit_side`` of the ego:
    front, rear, left, right ("" unless something was hit).
    """

    distance_m: float | None = None
    close_s: float | None = None
    oncoming_m: float | None = None
    off_lane_s: float | None = None
    over_speed_mps: float | None = None
    stop_signs_run: int | None = None
    blocked_s: float | None = None
    route_offset_m: float | None = None
    steady_share: float | None = None
    latency_s: float | None = None
    deadlines_missed: int | None = None
    decode_rounds: float | None = None
    hit_kind: str = ""
    hit_side: str = ""


_PLAIN = tuple(f.name for f in fields(EpisodeResult))


def plain_result(result: EpisodeResult) -> EpisodeResult:
    """Only the columns of ``EpisodeResult``: what a replay's header holds."""
    return EpisodeResult(**{name: getattr(result, name) for name in _PLAIN})


# --------------------------------------------------------------------------------------
# Per decision
# --------------------------------------------------------------------------------------
def plans_agree(
    previous: FloatArray,
    previous_speed_mps: FloatArray,
    current: FloatArray,
    current_speed_mps: FloatArray,
    step_s: float,
) -> BoolArray:
    """[B] True where two consecutive plans [B, K, 2] differ little at the times both cover.

    NAVSIM's extended comfort with the two of its four bounds that piecewise constant controls have:
    the RMS difference of acceleration and of yaw rate (curvature times planned speed). One decision
    is one plan step, so step k + 1 of the earlier plan meets step k of the later one.
    """
    if current.shape[1] < 2:
        return np.ones(len(current), dtype=bool)
    old_yaw = previous[..., 1] * _planned_speed(previous, previous_speed_mps, step_s)
    new_yaw = current[..., 1] * _planned_speed(current, current_speed_mps, step_s)
    accel = previous[:, 1:, 0].astype(np.float64) - current[:, :-1, 0]
    yaw = old_yaw[:, 1:] - new_yaw[:, :-1]
    return (np.sqrt((accel**2).mean(axis=1)) <= STEADY_ACCEL_MPS2) & (
        np.sqrt((yaw**2).mean(axis=1)) <= STEADY_YAW_RATE_RADPS
    )


def _planned_speed(actions: FloatArray, speed_mps: FloatArray, step_s: float) -> FloatArray:
    """[B, K] mean speed in each step of ``actions`` [B, K, 2]; it does not fall below zero."""
    speed = np.asarray(speed_mps, dtype=np.float64)
    mean = np.empty(actions.shape[:2])
    for k in range(actions.shape[1]):
        end = np.maximum(speed + actions[:, k, 0].astype(np.float64) * step_s, 0.0)
        mean[:, k] = 0.5 * (speed + end)
        speed = end
    return mean


def side_hit(ego_pose: FloatArray, box: FloatArray) -> str:
    """Side of the ego next to the middle of its overlap with ``box`` (x, y, heading, length, width
    ...); "" if they are farther than ``_HIT_REACH_M`` apart.

    AlpaSim tells front, rear and lateral apart by polygon intersection as well. Of boxes that
    touched within a tick and are apart again at its end, the ego's is made larger until they meet.
    """
    dx, dy = float(box[0] - ego_pose[0]), float(box[1] - ego_pose[1])
    cos, sin = math.cos(ego_pose[2]), math.sin(ego_pose[2])
    x, y, turn = cos * dx + sin * dy, cos * dy - sin * dx, float(box[2] - ego_pose[2])
    along, across = 0.5 * float(box[3]), 0.5 * float(box[4])
    corners = [(along, across), (-along, across), (-along, -across), (along, -across)]
    shape = [
        (
            x + math.cos(turn) * u - math.sin(turn) * v,
            y + math.sin(turn) * u + math.cos(turn) * v,
        )
        for u, v in corners
    ]
    for grown in _HIT_REACH_M:
        length, width = (size + 2.0 * grown for size in EGO_SIZE_M[:2])
        common = shape
        for axis, sign, bound in (
            (0, 1.0, length),
            (0, -1.0, length),
            (1, 1.0, width),
            (1, -1.0, width),
        ):
            common = _cut(common, axis, sign, 0.5 * bound)
        if common:
            return _nearest_side(common, length, width)
    return ""


def _nearest_side(shape: list[tuple[float, float]], length: float, width: float) -> str:
    middle_x = sum(p[0] for p in shape) / len(shape)
    middle_y = sum(p[1] for p in shape) / len(shape)
    room = {
        "front": 0.5 * length - middle_x,
        "rear": 0.5 * length + middle_x,
        "left": 0.5 * width - middle_y,
        "right": 0.5 * width + middle_y,
    }
    return min(room, key=lambda side: room[side])


def _cut(
    shape: list[tuple[float, float]], axis: int, sign: float, bound: float
) -> list[tuple[float, float]]:
    """The part of a convex ``shape`` whose coordinate ``axis`` times ``sign`` is at most
    ``bound``.
    """
    kept: list[tuple[float, float]] = []
    for n, point in enumerate(shape):
        last = shape[n - 1]
        inside, was = sign * point[axis] <= bound, sign * last[axis] <= bound
        if inside != was:
            share = (bound - sign * last[axis]) / (sign * point[axis] - sign * last[axis])
            kept.append(
                (last[0] + share * (point[0] - last[0]), last[1] + share * (point[1] - last[1]))
            )
        if inside:
            kept.append(point)
    return kept


# --------------------------------------------------------------------------------------
# Per episode
# --------------------------------------------------------------------------------------
class JudgedTracker:
    """Sums up decision intervals of ``num_worlds`` worlds, beside an ``EpisodeTracker``."""

    _SUMS = (
        "distance", "close", "off_lane", "over_speed", "blocked", "steady", "latency", "rounds",
        "stop_signs", "missed", "count",
    )  # fmt: skip

    def __init__(self, num_worlds: int, decision_s: float) -> None:
        self.decision_s = decision_s
        window = max(1, math.ceil(ONCOMING_WINDOW_S / decision_s - 1e-9))
        self._sum = {name: np.zeros(num_worlds) for name in self._SUMS}
        self._oncoming = np.zeros((window, num_worlds))  # metres, of the last decisions
        self._most_oncoming = np.zeros(num_worlds)
        self._offset = np.zeros(num_worlds)
        self._time_s = np.zeros(num_worlds)
        self._speed = np.zeros(num_worlds)
        self._decoded = np.zeros(num_worlds, dtype=bool)

    def start(self, row: int, scenario: Scenario) -> None:
        """Begin the episode of ``scenario`` in ``row``."""
        for values in self._sum.values():
            values[row] = 0.0
        self._oncoming[:, row] = 0.0
        self._most_oncoming[row] = self._offset[row] = self._time_s[row] = 0.0
        self._speed[row] = scenario.ego.speed_mps
        self._decoded[row] = False

    def update(
        self,
        signals: StepSignals,
        *,
        time_s: FloatArray,
        latency_s: FloatArray,
        steady: BoolArray,
        rounds: FloatArray | None = None,
    ) -> None:
        """Add one decision interval that ended at ``time_s``; all arrays are [B]. ``rounds`` is nan
        where nothing was decoded.
        """
        active = np.asarray(signals.active, dtype=bool)
        speed = np.asarray(signals.speed_mps, dtype=np.float64)
        elapsed = np.asarray(time_s) - self._time_s
        add = {
            "distance": 0.5 * (self._speed + speed) * elapsed,
            "close": signals.close_encounter * elapsed,
            "off_lane": signals.off_lane_s,
            "over_speed": signals.over_speed_mps * elapsed,
            "blocked": signals.blocked * elapsed,
            "steady": steady,
            "latency": latency_s,
            "stop_signs": signals.stop_line,
            "missed": latency_s > self.decision_s + 1e-9,
            "count": np.ones(len(active)),
        }
        if rounds is not None:
            known = active & np.isfinite(rounds)
            self._sum["rounds"][known] += rounds[known]
            self._decoded |= known
        for name, values in add.items():
            self._sum[name][active] += np.asarray(values, dtype=np.float64)[active]
        self._oncoming[:-1] = self._oncoming[1:]
        self._oncoming[-1] = np.where(signals.wrong_way, np.maximum(signals.progress_m, 0.0), 0.0)
        most = np.maximum(self._most_oncoming, self._oncoming.sum(axis=0))
        self._most_oncoming = np.where(active, most, self._most_oncoming)
        self._offset[active] = np.maximum(self._offset, signals.route_offset_m)[active]
        self._time_s[active] = np.asarray(time_s)[active]
        self._speed[active] = speed[active]

    def judged(
        self, row: int, result: EpisodeResult, *, hit_kind: str = "", hit_side: str = ""
    ) -> JudgedEpisode:
        """``result`` of ``row`` with the columns summed up for it."""
        total = {name: float(values[row]) for name, values in self._sum.items()}
        count, seconds = max(total["count"], 1.0), float(self._time_s[row])
        return JudgedEpisode(
            **{name: getattr(result, name) for name in _PLAIN},
            distance_m=total["distance"],
            close_s=total["close"],
            oncoming_m=float(self._most_oncoming[row]),
            off_lane_s=total["off_lane"],
            over_speed_mps=total["over_speed"] / seconds if seconds > 0 else 0.0,
            stop_signs_run=int(total["stop_signs"]),
            blocked_s=total["blocked"],
            route_offset_m=float(self._offset[row]),
            steady_share=total["steady"] / count,
            latency_s=round(total["latency"] / count, 9),  # equal ones stay equal
            deadlines_missed=int(total["missed"]),
            decode_rounds=total["rounds"] / count if self._decoded[row] else None,
            hit_kind=hit_kind,
            hit_side=hit_side,
        )


# --------------------------------------------------------------------------------------
# Score
# --------------------------------------------------------------------------------------
def extended_terms(
    result: JudgedEpisode, expert: JudgedEpisode | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """(gates, averaged terms) of ``extended_score``, all in [0, 1], before the expert's filter."""
    collision = 1.0
    if result.at_fault:
        collision = 0.5 if result.hit_kind in THINGS else 0.0
    oncoming = result.oncoming_m or 0.0
    direction = 1.0 if oncoming < ONCOMING_FINE_M else 0.5 if oncoming < ONCOMING_WRONG_M else 0.0
    gates = {
        "collision": collision,
        "road": 0.0 if result.off_road else 1.0,
        "direction": direction,
        "lights": 0.0 if result.red_light else 1.0,
    }
    against = None if expert is None or expert.end == "failed" else expert.progress_m
    terms = {
        "progress": progress_share(result, against),
        "ttc": result.ttc_share,
        "lane": result.lane_share,
        "comfort": result.comfort,
        "steady": 0.0 if result.steady_share is None else result.steady_share,
    }
    return gates, terms


def extended_score(result: EpisodeResult, expert: EpisodeResult | None = None) -> float | None:
    """Score in [0, 1] in the shape of NAVSIM v2's EPDMS (gates times a weighted mean), **not
    comparable with it**; None if the episode's columns were not measured.

    A gate or term in which the expert itself gets 0 on the same seed is not held against the
    policy, as EPDMS does with the human's. An episode that failed to run scores 0.
    """
    if result.end == "failed":
        return 0.0
    if not isinstance(result, JudgedEpisode) or result.steady_share is None:
        return None
    known = expert if isinstance(expert, JudgedEpisode) and expert.end != "failed" else None
    gates, terms = extended_terms(result, known)
    if known is not None and known.steady_share is not None:
        for ours, theirs in zip((gates, terms), extended_terms(known, known), strict=True):
            ours.update({name: 1.0 for name, value in theirs.items() if value == 0.0})
    mean = sum(EXTENDED_WEIGHTS[n] * v for n, v in terms.items()) / sum(EXTENDED_WEIGHTS.values())
    return math.prod(gates.values()) * mean
