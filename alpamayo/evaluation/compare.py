"""Before against after on the same episodes: every number with a 95 % interval.

Episodes are paired by (scenario id, seed). An episode that failed to run counts as a failure and
scores 0 in every table, and the number of such rows is stated, so that nothing can look better by
not running.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alpamayo.metrics import driving_score, is_failure, scene_score
from alpamayo.stats import (
    Interval,
    mcnemar,
    paired_bootstrap,
    ratio_of_means,
    relative_reduction,
    wilson_interval,
)
from alpamayo.types import EpisodeResult, FloatArray

Key = tuple[str, int]


@dataclass(frozen=True)
class MetricRow:
    """One line of a table. ``difference`` is after - before; ``p_value`` (McNemar) only for paired
    rates.

    ``kind`` is ``rate`` (share of episodes), ``share``, or a unit; ``better`` is ``lower`` or
    ``higher``.
    """

    name: str
    label: str
    kind: str
    better: str
    before: Interval
    after: Interval | None = None
    difference: Interval | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class FamilyRow:
    """Failures and mean driving score of one scenario family; nominal twins are a row of their
    own.
    """

    family: str
    nominal: bool
    episodes: int
    failures_before: int
    failure_before: Interval
    score_before: float
    failures_after: int | None = None
    failure_after: Interval | None = None
    score_after: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything a report shows. With one policy only, the ``after`` columns are None."""

    before_name: str
    after_name: str | None
    episodes: int
    failed_before: int
    failed_after: int
    has_expert: bool
    rows: tuple[MetricRow, ...]
    families: tuple[FamilyRow, ...]
    reduction: Interval | None

    def row(self, name: str) -> MetricRow:
        return next(r for r in self.rows if r.name == name)

    def as_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "before": self.before_name,
            "after": self.after_name,
            "episodes": self.episodes,
            "failed_to_run": {"before": self.failed_before, "after": self.failed_after},
            "expert_reference": self.has_expert,
            "failure_reduction": None if self.reduction is None else self.reduction.as_dict(),
            "metrics": {r.name: _row_dict(r) for r in self.rows},
            "families": [_family_dict(f) for f in self.families],
        }


def episode_key(result: EpisodeResult) -> Key:
    return result.scenario_id, result.seed


def summarise(
    results: Sequence[EpisodeResult],
    *,
    name: str = "policy",
    expert: Sequence[EpisodeResult] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> Comparison:
    """The tables of one policy's episodes."""
    return _compare(results, None, expert, (name, None), seed, resamples)


def compare(
    before: Sequence[EpisodeResult],
    after: Sequence[EpisodeResult],
    *,
    expert: Sequence[EpisodeResult] | None = None,
    names: tuple[str, str] = ("before", "after"),
    seed: int = 0,
    resamples: int = 10_000,
) -> Comparison:
    """The tables of two policies on the same episodes.

    ``expert``: its results on the same episodes; progress is then relative to it, else to the
    speed-limit reference.
    """
    after_by_key = _by_key(after, "after")
    if set(after_by_key) != set(_by_key(before, "before")):
        raise ValueError("before and after must hold the same (scenario id, seed) episodes")
    ordered = [after_by_key[episode_key(b)] for b in before]
    return _compare(before, ordered, expert, names, seed, resamples)


def _by_key(results: Sequence[EpisodeResult], what: str) -> dict[Key, EpisodeResult]:
    table = {episode_key(r): r for r in results}
    if len(table) != len(results):
        raise ValueError(f"{what}: an episode (scenario id, seed) appears more than once")
    return table


def expert_progress(
    results: Sequence[EpisodeResult], expert: Sequence[EpisodeResult] | None
) -> list[float | None]:
    """The expert's progress on each episode; None without an expert or where it failed to run."""
    if expert is None:
        return [None] * len(results)
    table = {episode_key(e): e for e in expert}
    missing = [episode_key(r) for r in results if episode_key(r) not in table]
    if missing:
        raise ValueError(f"the expert's results lack {len(missing)} episodes, first {missing[0]}")
    found = [table[episode_key(r)] for r in results]
    return [None if e.end == "failed" else e.progress_m for e in found]


def _reference_m(result: EpisodeResult, expert_m: float | None) -> float:
    return result.reference_m if expert_m is None else expert_m


Column = Callable[[EpisodeResult, float | None], float]

# name, label, kind, better, value of one episode given the expert's progress.
_RATES: tuple[tuple[str, str, Column], ...] = (
    ("failure", "at-fault collision or off-road", lambda r, _: is_failure(r)),
    ("at_fault", "at-fault collision", lambda r, _: r.at_fault),
    ("off_road", "off-road", lambda r, _: r.off_road),
    ("red_light", "red light run", lambda r, _: r.red_light),
    ("other_collision", "collision, other at fault", lambda r, _: r.collision and not r.at_fault),
)
_MEANS: tuple[tuple[str, str, str, str, Column], ...] = (
    ("driving_score", "driving score", "share", "higher", driving_score),
    ("scene_score", "scene score (AlpaSim)", "share", "higher", scene_score),
    ("comfort", "comfortable decisions", "share", "higher", lambda r, _: r.comfort),
    ("ttc_share", "decisions with TTC >= 0.95 s", "share", "higher", lambda r, _: r.ttc_share),
    ("mean_speed", "mean speed", "m/s", "higher", lambda r, _: r.mean_speed_mps),
    ("plan_deviation", "plan deviation", "m", "lower", lambda r, _: r.plan_deviation_m),
    ("plan_ms", "plan latency per batch", "ms", "lower", lambda r, _: r.plan_ms),
)


def _compare(
    before: Sequence[EpisodeResult],
    after: Sequence[EpisodeResult] | None,
    expert: Sequence[EpisodeResult] | None,
    names: tuple[str, str | None],
    seed: int,
    resamples: int,
) -> Comparison:
    if not before:
        raise ValueError("no episodes to compare")
    reference = expert_progress(before, expert)
    options: dict[str, Any] = {"seed": seed, "resamples": resamples}

    def column(results: Sequence[EpisodeResult], value: Column) -> FloatArray:
        pairs = zip(results, reference, strict=True)
        return np.asarray([float(value(r, e)) for r, e in pairs])

    rows: list[MetricRow] = []
    for name, label, value in _RATES:
        b = column(before, value)
        a = None if after is None else column(after, value)
        rows.append(
            MetricRow(
                name, label, "rate", "lower",
                wilson_interval(int(b.sum()), len(b)),
                None if a is None else wilson_interval(int(a.sum()), len(a)),
                None if a is None else paired_bootstrap([b, a], **options),
                None if a is None else mcnemar(b, a),
            )
        )  # fmt: skip
    rows.append(_progress_row(before, after, reference, expert is not None, options))
    for name, label, kind, better, value in _MEANS:
        b = column(before, value)
        a = None if after is None else column(after, value)
        rows.append(
            MetricRow(
                name, label, kind, better,
                paired_bootstrap([b], **options),
                None if a is None else paired_bootstrap([a], **options),
                None if a is None else paired_bootstrap([b, a], **options),
            )
        )  # fmt: skip
    failures = [column(r, lambda e, _: is_failure(e)) for r in (before, after) if r is not None]
    return Comparison(
        before_name=names[0],
        after_name=names[1],
        episodes=len(before),
        failed_before=sum(r.end == "failed" for r in before),
        failed_after=sum(r.end == "failed" for r in after or ()),
        has_expert=expert is not None,
        rows=tuple(rows),
        families=tuple(_families(before, after, reference)),
        reduction=relative_reduction(*failures, **options) if len(failures) == 2 else None,
    )


def _progress_row(
    before: Sequence[EpisodeResult],
    after: Sequence[EpisodeResult] | None,
    reference: Sequence[float | None],
    has_expert: bool,
    options: dict[str, Any],
) -> MetricRow:
    """Total progress over the total progress of the reference: a ratio of sums, so long episodes
    count as such.
    """
    # An episode that could not be loaded has no route of its own: take the other policy's.
    pairs = zip(before, after or before, reference, strict=True)
    against = np.asarray([max(_reference_m(b, e), _reference_m(a, e)) for b, a, e in pairs])
    driven_b = np.asarray([r.progress_m for r in before])
    label = "progress / expert's" if has_expert else "progress / speed-limit reference"
    ratio_before = ratio_of_means(driven_b, against, **options)
    if after is None:
        return MetricRow("progress", label, "share", "higher", ratio_before)
    driven_a = np.asarray([r.progress_m for r in after])

    def change(means: FloatArray) -> FloatArray:
        safe = np.where(means[2] > 0, means[2], 1.0)
        return np.where(means[2] > 0, (means[1] - means[0]) / safe, np.nan)

    return MetricRow(
        "progress",
        label,
        "share",
        "higher",
        ratio_before,
        ratio_of_means(driven_a, against, **options),
        paired_bootstrap([driven_b, driven_a, against], change, **options),
    )


def _families(
    before: Sequence[EpisodeResult],
    after: Sequence[EpisodeResult] | None,
    reference: Sequence[float | None],
) -> list[FamilyRow]:
    groups: dict[tuple[bool, str], list[int]] = {}
    for n, result in enumerate(before):
        groups.setdefault((result.nominal, result.family), []).append(n)
    rows = []
    for (nominal, family), index in sorted(groups.items()):
        count = len(index)
        failures, score = _family_numbers([before[n] for n in index], [reference[n] for n in index])
        row = FamilyRow(family, nominal, count, failures, wilson_interval(failures, count), score)
        if after is not None:
            failures_a, score_a = _family_numbers(
                [after[n] for n in index], [reference[n] for n in index]
            )
            row = FamilyRow(
                family, nominal, count, failures, row.failure_before, score,
                failures_a, wilson_interval(failures_a, count), score_a,
            )  # fmt: skip
        rows.append(row)
    return rows


def _family_numbers(
    results: Sequence[EpisodeResult], reference: Sequence[float | None]
) -> tuple[int, float]:
    scores = [driving_score(r, e) for r, e in zip(results, reference, strict=True)]
    return sum(is_failure(r) for r in results), float(np.mean(scores))


# --------------------------------------------------------------------------------------
# Text
# --------------------------------------------------------------------------------------
def format_value(value: float, kind: str) -> str:
    """A number as people read it: percent for rates, two digits for shares, the unit's own
    precision else.
    """
    if not math.isfinite(value):
        return "-"
    if kind == "rate":
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if kind == "share" else f"{value:.2f}"


def format_interval(interval: Interval | None, kind: str, signed: bool = False) -> str:
    """``value [low, high]``; a difference carries its sign."""
    if interval is None:
        return ""
    scale = 100.0 if kind == "rate" else 1.0
    digits = {"rate": 1, "share": 3}.get(kind, 2)
    unit = " %" if kind == "rate" else ""
    sign = "+" if signed else ""

    def number(value: float) -> str:
        return format(value * scale, f"{sign}.{digits}f") if math.isfinite(value) else "-"

    return f"{number(interval.value)}{unit} [{number(interval.low)}, {number(interval.high)}]"


def format_table(comparison: Comparison) -> str:
    """The before/after table as plain text, 95 % intervals in brackets."""
    paired = comparison.after_name is not None
    header = ["", comparison.before_name]
    if comparison.after_name is not None:
        header += [comparison.after_name, "change"]
    lines = [header]
    for row in comparison.rows:
        unit = f" [{row.kind}]" if row.kind not in ("rate", "share") else ""
        cells = [row.label + unit, format_interval(row.before, row.kind)]
        if paired:
            cells += [
                format_interval(row.after, row.kind),
                format_interval(row.difference, row.kind, signed=True),
            ]
        lines.append(cells)
    widths = [max(len(line[c]) for line in lines) for c in range(len(header))]
    text = [
        "  ".join(
            cell.ljust(w) if c == 0 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    text.insert(1, "-" * len(text[0]))
    text += ["", headline(comparison)]
    return "\n".join(text)


def headline(comparison: Comparison) -> str:
    """One sentence with the number that matters."""
    failed = comparison.failed_before + comparison.failed_after
    note = f"; {failed} episodes failed to run and count as failures" if failed else ""
    if comparison.reduction is None:
        return f"{comparison.episodes} episodes, 95 % intervals{note}"
    reduction = comparison.reduction
    p_value = comparison.row("failure").p_value
    return (
        f"{comparison.episodes} paired episodes: at-fault collision + off-road rate reduced by "
        f"{format_interval(reduction, 'rate')} relative (McNemar p = {p_value:.2g}){note}"
    )


def _row_dict(row: MetricRow) -> dict[str, Any]:
    return {
        "label": row.label,
        "kind": row.kind,
        "better": row.better,
        "before": row.before.as_dict(),
        "after": None if row.after is None else row.after.as_dict(),
        "difference": None if row.difference is None else row.difference.as_dict(),
        "p_value": row.p_value,
    }


def _family_dict(row: FamilyRow) -> dict[str, Any]:
    after = row.failure_after
    return {
        "family": row.family,
        "nominal": row.nominal,
        "episodes": row.episodes,
        "failures_before": row.failures_before,
        "failures_after": row.failures_after,
        "failure_before": row.failure_before.as_dict(),
        "failure_after": None if after is None else after.as_dict(),
        "score_before": row.score_before,
        "score_after": row.score_after,
    }
