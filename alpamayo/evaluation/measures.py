"""What the tables of an evaluation measure: one entry per metric, used by reports, gates,
leaderboards and CSV files alike. docs/evaluation.md defines each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alpamayo.judged import extended_score
from alpamayo.metrics import driving_score, is_failure, scene_score
from alpamayo.types import EpisodeResult

Value = Callable[[EpisodeResult, EpisodeResult | None], float | None]


@dataclass(frozen=True)
class Measure:
    """One metric of an episode.

    ``value(episode, the expert's on the same seed or None)`` is None where it was not measured;
    such episodes are left out of this metric and their number is stated. ``kind``: ``rate`` (yes or
    no: a share of episodes), ``share`` (a number from 0 to 1), or a unit. ``better``: ``lower`` or
    ``higher``.
    """

    name: str
    label: str
    kind: str
    better: str
    value: Value


def _rate(name: str, label: str, value: Callable[[Any], Any], better: str = "lower") -> Measure:
    """Of an episode that failed to run nobody knows whether it happened."""

    def told(result: EpisodeResult, _: EpisodeResult | None) -> float | None:
        answer = None if result.end == "failed" else value(result)
        return None if answer is None else float(bool(answer))

    return Measure(name, label, "rate", better, told)


def _mean(name: str, label: str, kind: str, better: str, value: Callable[[Any], Any]) -> Measure:
    """An episode that failed to run has the worst share, 0, where more is better; of what is better
    if it is less it has none, so that failing looks good nowhere.
    """

    def told(result: EpisodeResult, _: EpisodeResult | None) -> float | None:
        if result.end == "failed":
            return 0.0 if (kind, better) == ("share", "higher") else None
        answer = value(result)
        return None if answer is None else float(answer)

    return Measure(name, label, kind, better, told)


def _of(name: str) -> Callable[[Any], Any]:
    """A column of ``JudgedEpisode`` that older reports lack."""
    return lambda result: getattr(result, name, None)


def _happened(name: str) -> Callable[[Any], Any]:
    def told(result: Any) -> Any:
        value = getattr(result, name, None)
        return None if value is None else value > 0

    return told


def _hit(*sides: str) -> Callable[[Any], Any]:
    def told(result: Any) -> Any:
        if not result.collision:
            return False
        side = getattr(result, "hit_side", "")
        return (side in sides) if side else None

    return told


def expert_progress_m(expert: EpisodeResult | None) -> float | None:
    """The expert's progress; None without one, or where it failed to run."""
    return None if expert is None or expert.end == "failed" else expert.progress_m


def _close_encounter(result: Any) -> Any:
    close_s = getattr(result, "close_s", None)
    return None if close_s is None else close_s > 0 and not result.collision


def _deadlines_missed(result: Any) -> float | None:
    missed = getattr(result, "deadlines_missed", None)
    return None if missed is None else missed / max(result.decisions, 1)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "failure", "at-fault collision or off-road", "rate", "lower",
        lambda r, _: float(is_failure(r)),
    ),
    Measure("failed_to_run", "failed to run", "rate", "lower",
            lambda r, _: float(r.end == "failed")),
    _rate("collision", "collision, whoever is at fault", lambda r: r.collision),
    _rate("at_fault", "at-fault collision", lambda r: r.at_fault),
    _rate("other_collision", "collision, other at fault", lambda r: r.collision and not r.at_fault),
    _rate("collision_front", "collision at ego's front", _hit("front")),
    _rate("collision_lateral", "collision at ego's side", _hit("left", "right")),
    _rate("collision_rear", "collision at ego's rear", _hit("rear")),
    _rate("off_road", "off-road", lambda r: r.off_road),
    _rate("red_light", "red light run", lambda r: r.red_light),
    _rate("wrong_lane", "drove in a lane against its direction", lambda r: r.wrong_way_s > 0),
    _rate("stop_sign", "stop sign run", _happened("stop_signs_run")),
    _rate("blocked", "stood although the road was free", _happened("blocked_s")),
    _rate("close_encounter", "closer than 0.5 m, without a collision", _close_encounter),
    Measure(
        "driving_score", "driving score", "share", "higher",
        lambda r, e: driving_score(r, expert_progress_m(e)),
    ),
    Measure("extended_score", "extended driving score", "share", "higher", extended_score),
    Measure(
        "scene_score", "scene score (AlpaSim)", "share", "higher",
        lambda r, e: scene_score(r, expert_progress_m(e)),
    ),
    _mean("comfort", "comfortable decisions", "share", "higher", lambda r: r.comfort),
    _mean("ttc_share", "decisions with TTC >= 0.95 s", "share", "higher", lambda r: r.ttc_share),
    _mean("lane_share", "decisions in the lane", "share", "higher", lambda r: r.lane_share),
    _mean("steady_share", "decisions true to the plan", "share", "higher", _of("steady_share")),
    _mean("plan_deviation", "plan deviation", "m", "lower", lambda r: r.plan_deviation_m),
    _mean("mean_speed", "mean speed", "m/s", "higher", lambda r: r.mean_speed_mps),
    _mean("over_speed", "mean excess over the limit", "m/s", "lower", _of("over_speed_mps")),
    _mean("off_lane", "time outside its lanes", "s", "lower", _of("off_lane_s")),
    _mean("route_offset", "farthest from the route", "m", "lower", _of("route_offset_m")),
    _mean("plan_latency", "plan latency, simulated", "s", "lower", _of("latency_s")),
    _mean("deadline_misses", "plans later than the next decision", "share", "lower",
          _deadlines_missed),
    _mean("plan_ms", "decode time per batch, measured", "ms", "lower", lambda r: r.plan_ms),
    _mean("decode_rounds", "decode rounds per plan", "rounds", "lower", _of("decode_rounds")),
)  # fmt: skip

# Made of sums over all episodes: name, label, kind, better.
RATIOS: tuple[tuple[str, str, str, str], ...] = (
    ("progress", "progress / expert's", "share", "higher"),
    ("km_between_incidents", "distance between incidents", "km", "higher"),
    ("km_between_failures", "distance between failures", "km", "higher"),
)

NAMES: tuple[str, ...] = (*(m.name for m in MEASURES), *(r[0] for r in RATIOS))
