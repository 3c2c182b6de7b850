"""One policy's episodes, or two policies' on the same episodes: every number with a 95 % interval.

Episodes are paired by (scenario id, seed). An episode that failed to run counts as a failure and
scores 0 in every table, and the number of such rows is stated, so that nothing can look better by
not running. The failure rate is the one question asked in advance; the p-values of the other
metrics, and those of the families and tags among themselves, are adjusted by Holm's procedure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from alpamayo.evaluation.measures import MEASURES, RATIOS, Measure, expert_progress_m
from alpamayo.metrics import driving_score, is_failure
from alpamayo.stats import (
    Interval,
    holm,
    incidents_per_distance,
    mcnemar,
    paired_bootstrap,
    rate_difference,
    rate_interval,
    rate_reduction,
    ratio_of_means,
    sign_flip_test,
)
from alpamayo.types import EpisodeResult, FloatArray

Key = tuple[str, int]
Results = Sequence[EpisodeResult]
Experts = Sequence[EpisodeResult | None]
PRIMARY = "failure"  # the question asked in advance: its p-value is not adjusted


@dataclass(frozen=True)
class MetricRow:
    """One line of a table. ``difference`` is after - before.

    ``kind`` is ``rate`` (share of episodes), ``share``, or a unit; ``better`` is ``lower`` or
    ``higher``. ``episodes`` it was measured in. ``p_value``: McNemar's exact test for rates, the
    paired permutation test for means; ``p_adjusted`` by Holm over the table.
    """

    name: str
    label: str
    kind: str
    better: str
    before: Interval
    after: Interval | None = None
    difference: Interval | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    episodes: int = 0


@dataclass(frozen=True)
class GroupRow:
    """Failures and mean driving score of one scenario family or tag; nominal twins of a family are
    a row of their own. ``failed``: episodes that failed to run, of both policies.
    """

    family: str
    nominal: bool
    episodes: int
    failures_before: int
    failure_before: Interval
    score_before: float
    failed: int = 0
    failures_after: int | None = None
    failure_after: Interval | None = None
    score_after: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Everything a report shows. With one policy only, the ``after`` columns are None.

    ``regressions``: episodes that went well before and failed after; ``fixes``: the opposite.
    """

    before_name: str
    after_name: str | None
    episodes: int
    failed_before: int
    failed_after: int
    has_expert: bool
    rows: tuple[MetricRow, ...]
    families: tuple[GroupRow, ...]
    tags: tuple[GroupRow, ...]
    reduction: Interval | None
    regressions: tuple[Key, ...] = ()
    fixes: tuple[Key, ...] = ()

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
            "failure_reduction": _plain(self.reduction),
            "metrics": {r.name: _row_dict(r) for r in self.rows},
            "families": [_row_dict(f) for f in self.families],
            "tags": [_row_dict(t) for t in self.tags],
            "regressions": [list(key) for key in self.regressions],
            "fixes": [list(key) for key in self.fixes],
            "correction": "Holm",
        }


def episode_key(result: EpisodeResult) -> Key:
    return result.scenario_id, result.seed


def summarise(
    results: Results,
    *,
    name: str = "policy",
    expert: Results | None = None,
    tags: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> Comparison:
    """The tables of one policy's episodes. ``tags``: scenario id -> its tags."""
    return _compare(results, None, expert, (name, None), tags or {}, seed, resamples)


def compare(
    before: Results,
    after: Results,
    *,
    expert: Results | None = None,
    names: tuple[str, str] = ("before", "after"),
    tags: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> Comparison:
    """The tables of two policies on the same episodes.

    ``expert``: its results on the same episodes; progress is then relative to it, else to the
    speed-limit reference.
    """
    after_by_key = by_key(after, "after")
    if set(after_by_key) != set(by_key(before, "before")):
        raise ValueError("before and after must hold the same (scenario id, seed) episodes")
    ordered = [after_by_key[episode_key(b)] for b in before]
    return _compare(before, ordered, expert, names, tags or {}, seed, resamples)


def by_key(results: Results, what: str) -> dict[Key, EpisodeResult]:
    table = {episode_key(r): r for r in results}
    if len(table) != len(results):
        raise ValueError(f"{what}: an episode (scenario id, seed) appears more than once")
    return table


def aligned_experts(results: Results, expert: Results | None) -> list[EpisodeResult | None]:
    """The expert's episode for each result, None without an expert."""
    if expert is None:
        return [None] * len(results)
    table = {episode_key(e): e for e in expert}
    missing = [episode_key(r) for r in results if episode_key(r) not in table]
    if missing:
        raise ValueError(f"the expert's results lack {len(missing)} episodes, first {missing[0]}")
    return [table[episode_key(r)] for r in results]


# --------------------------------------------------------------------------------------
# Rows
# --------------------------------------------------------------------------------------
def _compare(
    before: Results,
    after: Results | None,
    expert: Results | None,
    names: tuple[str, str | None],
    tags: Mapping[str, Sequence[str]],
    seed: int,
    resamples: int,
) -> Comparison:
    if not before:
        raise ValueError("no episodes to compare")
    experts = aligned_experts(before, expert)
    options: dict[str, Any] = {"seed": seed, "resamples": resamples}
    rows = [_measure_row(m, before, after, experts, options) for m in MEASURES]
    at = 1 + max(n for n, m in enumerate(MEASURES) if m.kind == "rate")
    rows[at:at] = [
        _progress_row(before, after, experts, expert is not None, options),
        *_distance_rows(before, after, options),
    ]
    wrong = [[is_failure(r) for r in rs] for rs in (before, after) if rs is not None]
    pairs = list(zip(before, after, strict=True)) if after is not None else []
    return Comparison(
        before_name=names[0],
        after_name=names[1],
        episodes=len(before),
        failed_before=sum(r.end == "failed" for r in before),
        failed_after=sum(r.end == "failed" for r in after or ()),
        has_expert=expert is not None,
        rows=tuple(_adjusted(rows, lambda r: r.name != PRIMARY)),
        families=tuple(_families(before, after, experts)),
        tags=tuple(_tag_rows(before, after, experts, tags)),
        reduction=rate_reduction(*wrong) if len(wrong) == 2 else None,
        regressions=tuple(
            episode_key(b) for b, a in pairs if is_failure(a) and not is_failure(b)
        ),
        fixes=tuple(episode_key(b) for b, a in pairs if is_failure(b) and not is_failure(a)),
    )  # fmt: skip


def _measure_row(
    measure: Measure,
    before: Results,
    after: Results | None,
    experts: Experts,
    options: Mapping[str, Any],
) -> MetricRow:
    sides = [before] if after is None else [before, after]
    told = [[measure.value(r, e) for r, e in zip(s, experts, strict=True)] for s in sides]
    known = [n for n in range(len(before)) if all(values[n] is not None for values in told)]
    columns = [np.asarray([values[n] for n in known], dtype=np.float64) for values in told]
    head = measure.name, measure.label, measure.kind, measure.better
    if not known:
        nothing = Interval(math.nan, math.nan, math.nan)
        return MetricRow(*head, nothing, None if after is None else nothing)
    if measure.kind == "rate":
        single = [rate_interval(int(c.sum()), len(c)) for c in columns]
        change = rate_difference(*columns) if after is not None else None
        p_value = mcnemar(*columns) if after is not None else None
    else:
        unit = measure.kind == "share"
        single = [paired_bootstrap([c], ends=[[0.0], [1.0]] if unit else (), **options)
                  for c in columns]  # fmt: skip
        change = p_value = None
        if after is not None:
            both = [[1.0, 0.0], [0.0, 1.0]] if unit else ()
            change = paired_bootstrap(columns, ends=both, **options)
            p_value = sign_flip_test(*columns, **options)
    return MetricRow(
        *head, single[0], single[1] if after is not None else None, change, p_value,
        episodes=len(known),
    )  # fmt: skip


def _progress_row(
    before: Results,
    after: Results | None,
    experts: Experts,
    has_expert: bool,
    options: Mapping[str, Any],
) -> MetricRow:
    """Total progress over the total progress of the reference: a ratio of sums, so long episodes
    count as such.
    """
    # An episode that could not be loaded has no route of its own: take the other policy's.
    pairs = zip(before, after or before, experts, strict=True)
    against = np.asarray([max(_reference_m(b, e), _reference_m(a, e)) for b, a, e in pairs])
    usual = float(against.mean())
    label = "progress / expert's" if has_expert else "progress / speed-limit reference"
    head = "progress", label, "share", "higher"
    driven = [np.asarray([r.progress_m for r in s]) for s in (before, after) if s is not None]
    ends = [[0.0, usual], [usual, usual]]
    single = [ratio_of_means(d, against, ends=ends, **options) for d in driven]
    if after is None:
        return MetricRow(*head, single[0], episodes=len(before))

    def change(means: FloatArray) -> FloatArray:
        safe = np.where(means[2] > 0, means[2], 1.0)
        return np.where(means[2] > 0, (means[1] - means[0]) / safe, np.nan)

    both = [[usual, 0.0, usual], [0.0, usual, usual]]
    return MetricRow(
        *head, single[0], single[1],
        paired_bootstrap([*driven, against], change, ends=both, **options),
        sign_flip_test(*driven, **options), episodes=len(before),
    )  # fmt: skip


def _reference_m(result: EpisodeResult, expert: EpisodeResult | None) -> float:
    expert_m = expert_progress_m(expert)
    return result.reference_m if expert_m is None else expert_m


def _distance_rows(
    before: Results, after: Results | None, options: Mapping[str, Any]
) -> Iterable[MetricRow]:
    """Kilometres driven per incident: inf if there was none, and its interval's low end still a
    number.
    """
    for name, label, kind, better in RATIOS[1:]:
        found = []
        for side in (before, after):
            if side is None:
                continue
            driven = [getattr(r, "distance_m", None) for r in side]
            km = np.asarray([0.0 if d is None else d / 1000.0 for d in driven])
            ran = [r.end != "failed" for r in side]
            if any(d is None and r for d, r in zip(driven, ran, strict=True)) or not km.any():
                found.append(Interval(math.nan, math.nan, math.nan))
                continue
            rate = incidents_per_distance([_incident(name, r) for r in side], km, **options)
            found.append(Interval(*(_inverse(v) for v in (rate.value, rate.high, rate.low))))
        yield MetricRow(
            name, label, kind, better, found[0], found[1] if after is not None else None,
            episodes=len(before),
        )  # fmt: skip


def _incident(name: str, result: EpisodeResult) -> bool:
    if name == "km_between_failures":
        return is_failure(result)
    return result.collision or result.off_road or result.end == "failed"


def _inverse(rate: float) -> float:
    return math.inf if rate == 0.0 else 1.0 / rate


def _adjusted(rows: Sequence[Any], counts: Any = lambda row: True) -> list[Any]:
    """``rows`` with Holm-adjusted p-values; those that do not count keep their own."""
    tested = [n for n, row in enumerate(rows) if row.p_value is not None and counts(row)]
    corrected = dict(zip(tested, holm([rows[n].p_value for n in tested]), strict=True))
    return [replace(row, p_adjusted=corrected.get(n, row.p_value)) for n, row in enumerate(rows)]


# --------------------------------------------------------------------------------------
# Groups
# --------------------------------------------------------------------------------------
def _families(before: Results, after: Results | None, experts: Experts) -> list[GroupRow]:
    groups: dict[tuple[bool, str], list[int]] = {}
    for n, result in enumerate(before):
        groups.setdefault((result.nominal, result.family), []).append(n)
    rows = [
        _group(family, nominal, index, before, after, experts)
        for (nominal, family), index in sorted(groups.items())
    ]
    return _adjusted(rows)


def _tag_rows(
    before: Results,
    after: Results | None,
    experts: Experts,
    tags: Mapping[str, Sequence[str]],
) -> list[GroupRow]:
    """An episode counts in each of its tags; twins count like the others."""
    groups: dict[str, list[int]] = {}
    for n, result in enumerate(before):
        for tag in tags.get(result.scenario_id, ()):
            groups.setdefault(tag, []).append(n)
    rows = [_group(t, False, i, before, after, experts) for t, i in sorted(groups.items())]
    return _adjusted(rows)


def _group(
    name: str,
    nominal: bool,
    index: Sequence[int],
    before: Results,
    after: Results | None,
    experts: Experts,
) -> GroupRow:
    def numbers(side: Results) -> tuple[list[bool], float]:
        scores = [driving_score(side[n], expert_progress_m(experts[n])) for n in index]
        return [is_failure(side[n]) for n in index], float(np.mean(scores))

    sides = [s for s in (before, after) if s is not None]
    failed = sum(s[n].end == "failed" for s in sides for n in index)
    wrong, score = numbers(before)
    row = GroupRow(
        name, nominal, len(index), sum(wrong), rate_interval(sum(wrong), len(index)), score, failed
    )
    if after is None:
        return row
    wrong_after, score_after = numbers(after)
    return replace(
        row,
        failures_after=sum(wrong_after),
        failure_after=rate_interval(sum(wrong_after), len(index)),
        score_after=score_after,
        p_value=mcnemar(wrong, wrong_after),
    )


def _row_dict(row: MetricRow | GroupRow) -> dict[str, Any]:
    return {f.name: _plain(getattr(row, f.name)) for f in fields(row) if f.name != "name"}


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Interval) else value
