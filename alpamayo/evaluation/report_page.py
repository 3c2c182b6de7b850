"""The page of a report: what was driven, what came out, what went wrong and with which parameters.

No network: style, script and drawings are inline, links are relative.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from alpamayo.evaluation.charts import histogram, interval_mark, line_chart, stacked_bars
from alpamayo.evaluation.compare import (
    Comparison,
    GroupRow,
    aligned_experts,
    episode_key,
)
from alpamayo.evaluation.measures import expert_progress_m
from alpamayo.evaluation.page import (
    Cell,
    card,
    cell,
    document,
    folded,
    interval_cell,
    link,
    number,
    section,
    table,
    text,
    tone_of,
)
from alpamayo.evaluation.report import Curve, ReportInput
from alpamayo.evaluation.runs import flatten
from alpamayo.evaluation.text import format_interval, format_p, format_value, headline
from alpamayo.judged import EXTENDED_WEIGHTS
from alpamayo.metrics import SCORE_WEIGHTS, driving_score, is_failure
from alpamayo.replay.codec import to_plain
from alpamayo.replay.html import outcome
from alpamayo.types import EpisodeResult

_MAX_FAILURE_ROWS = 2000
_MOST_OPEN_ROWS = 60  # of families or tags; more are behind a line that opens them
# What became of an episode: (words, css class), in the order of a bar.
_ENDS = (
    ("failed to run", "none"), ("collision, at fault", "bad"), ("off-road", "bad"),
    ("red light run", "warn"), ("collision, other at fault", "warn"), ("went well", "good"),
)  # fmt: skip


def render_report(report: ReportInput) -> str:
    """The page's text."""
    comparison = report.comparison
    paired = bool(report.after)
    return document(
        report.title,
        headline(comparison),
        [
            section("", _cards(report)),
            section("Gates", _gates(report)),
            section("Expected and evaluated", _coverage(report)),
            section("Before and after" if paired else "Results", _metrics_table(comparison)),
            section("What became of the episodes", _plots(report)),
            section("Learning curve", _curves(report.curves)),
            section("Regressions", _regressions(report)),
            section("By family", _groups_table(comparison, comparison.families, "family")),
            section("By tag", _groups_table(comparison, comparison.tags, "tag")),
            section("Episodes that went wrong", _failures(report)),
            section("How it was decoded", text(report.decoding)),
            section("How the numbers are made", _method(comparison)),
            section("Settings", _settings(report)),
        ],
    )


def _cards(report: ReportInput) -> str:
    names = ("failure", "at_fault", "off_road", "driving_score", "progress")
    cards = []
    for row in (report.comparison.row(n) for n in names):
        now = row.after or row.before
        was = (
            f"was {format_value(row.before.value, row.kind)}"
            if row.after
            else (f"{format_value(now.low, row.kind)} to {format_value(now.high, row.kind)}")
        )
        cards.append(card(row.label, format_value(now.value, row.kind), was, tone_of(row)))
    return f"<div class='cards'>{''.join(cards)}</div>"


def _gates(report: ReportInput) -> str:
    return "".join(
        f"<p class='gate{' tripped' if v.tripped else ''}'>"
        f"<b>{'fails' if v.tripped else 'passes'}</b>: fail if {text(v.gate)} "
        f"<small>({text(v.reason)})</small></p>"
        for v in report.verdicts
    )


def _coverage(report: ReportInput) -> str:
    head = ["policy", "expected", "ran", "failed to run", "missing", "errors"]
    rows = []
    for one in report.coverage:
        errors = "; ".join(f"{n} x {words}" for n, words in one.errors[:5])
        tone = "" if one.complete else "bad"
        rows.append([
            cell(one.name), number(str(one.expected), one.expected),
            number(str(one.ran), one.ran, tone), number(str(one.failed), one.failed),
            number(str(one.missing), one.missing), cell(errors, tone="soft"),
        ])  # fmt: skip
    return table(head, rows) + "".join(f"<p>{text(note)}</p>" for note in report.notes)


# --------------------------------------------------------------------------------------
# Tables
# --------------------------------------------------------------------------------------
def _metrics_table(comparison: Comparison) -> str:
    paired = comparison.after_name is not None
    head = ["metric", comparison.before_name]
    if comparison.after_name is not None:
        head += [comparison.after_name, "change", "p (Holm)", "before and after"]
    else:
        head += ["interval"]
    # Rates, and shares, on one scale each: else the longest bar is that of the rarest event.
    tops: dict[str, float] = {}
    for row in comparison.rows:
        if row.kind in ("rate", "share"):
            ends = [i.high for i in (row.before, row.after) if i and math.isfinite(i.high)]
            tops[row.kind] = max(tops.get(row.kind, 0.0), *ends, 0.0)
    rows = []
    for row in comparison.rows:
        unit = f" [{row.kind}]" if row.kind not in ("rate", "share") else ""
        fewer = "" if row.episodes == comparison.episodes else f" in {row.episodes} episodes"
        name = Cell(f"{text(row.label + unit)}<small>{text(fewer)}</small>", row.label)
        line = [name, interval_cell(row.before, row.kind)]
        mark = interval_mark(row.before, row.after, high=tops.get(row.kind))
        if paired:
            change = format_interval(row.difference, row.kind, signed=True)
            value = row.difference.value if row.difference else float("nan")
            p_value = row.p_adjusted
            line += [
                interval_cell(row.after, row.kind),
                number(change, value, tone_of(row)),
                number(format_p(p_value), float("nan") if p_value is None else p_value),
            ]
        rows.append([*line, Cell(mark, row.before.value)])
    note = ""
    if comparison.reduction is not None:
        note = (
            "<p>Relative reduction of at-fault collisions + off-road: "
            f"<b>{text(format_interval(comparison.reduction, 'rate'))}</b></p>"
        )
    return table(head, rows) + note


def _groups_table(comparison: Comparison, groups: Sequence[GroupRow], what: str) -> str:
    if not groups:
        return ""
    paired = comparison.after_name is not None
    before, after = comparison.before_name, comparison.after_name
    head = [what, "episodes", "failed to run", f"failures, {before}"]
    head += [f"failures, {after}", "p (Holm)"] if paired else []
    head += ["failure rate", f"score, {before}", *([f"score, {after}"] if paired else [])]
    rows = []
    for row in groups:
        twin = " <small>nominal twin</small>" if row.nominal else ""
        line = [
            Cell(text(row.family) + twin, f"{row.family} {int(row.nominal)}"),
            number(str(row.episodes), row.episodes),
            number(str(row.failed), row.failed, "bad" if row.failed else ""),
            _count_cell(row.failures_before, row.failure_before),
        ]
        if row.failures_after is not None:
            p_value = row.p_adjusted
            line += [
                _count_cell(row.failures_after, row.failure_after),
                number(format_p(p_value), float("nan") if p_value is None else p_value),
            ]
        mark = interval_mark(row.failure_before, row.failure_after, high=1.0, width=130)
        line += [
            Cell(mark, (row.failure_after or row.failure_before).value),
            number(f"{row.score_before:.3f}", row.score_before),
        ]
        if row.score_after is not None:
            line.append(number(f"{row.score_after:.3f}", row.score_after))
        rows.append(line)
    body = table(head, rows)
    return body if len(rows) <= _MOST_OPEN_ROWS else folded(f"{len(rows)} rows", body)


def _count_cell(count: int, interval: Any) -> Cell:
    words = f"{count} <small>{text(format_interval(interval, 'rate'))}</small>"
    return Cell(words, interval.value, "num")


# --------------------------------------------------------------------------------------
# Plots
# --------------------------------------------------------------------------------------
def _plots(report: ReportInput) -> str:
    comparison = report.comparison
    sides = [(comparison.before_name, report.before)]
    if report.after:
        sides.append((str(comparison.after_name), report.after))
    experts = aligned_experts(report.before, report.expert or None)
    progress = {
        episode_key(b): expert_progress_m(e) for b, e in zip(report.before, experts, strict=True)
    }
    bars = stacked_bars([(name, _ends(rows)) for name, rows in sides])
    scores = [
        (name, [driving_score(r, progress[episode_key(r)]) for r in rows]) for name, rows in sides
    ]
    shares = [
        (name, [driven / reference for driven, reference in _progress(rows, progress)])
        for name, rows in sides
    ]
    key = "".join(
        f"<span class='key {tone}'></span>{text(name)}"
        for tone, (name, _) in zip(("before", "after"), sides, strict=False)
    )
    return (
        f"{bars}<p><small>{key}</small></p><div class='charts'>"
        f"<figure><figcaption>driving score, share of episodes</figcaption>{histogram(scores)}"
        "</figure><figure><figcaption>progress over the reference's, share of episodes"
        f"</figcaption>{histogram(shares)}</figure></div>"
    )


def _progress(
    rows: Sequence[EpisodeResult], expert: dict[tuple[str, int], float | None]
) -> Iterable[tuple[float, float]]:
    for row in rows:
        reference = expert[episode_key(row)]
        reference = row.reference_m if reference is None else reference
        if reference > 0:
            yield row.progress_m, reference


def _ends(rows: Sequence[EpisodeResult]) -> list[tuple[str, str, int]]:
    counts = Counter(_end(r) for r in rows)
    return [(words, tone, counts[words]) for words, tone in _ENDS]


def _end(result: EpisodeResult) -> str:
    if result.end == "failed":
        return "failed to run"
    if result.collision:
        return f"collision, {'at fault' if result.at_fault else 'other at fault'}"
    if result.off_road:
        return "off-road"
    return "red light run" if result.red_light else "went well"


def _curves(curves: Sequence[Curve]) -> str:
    if not curves:
        return ""
    charts = [
        f"<figure><figcaption>{text(c.name)}</figcaption>{line_chart(c.points)}</figure>"
        for c in curves
    ]
    return f"<div class='charts'>{''.join(charts)}</div>"


# --------------------------------------------------------------------------------------
# Failures
# --------------------------------------------------------------------------------------
def _regressions(report: ReportInput) -> str:
    """Episodes that went well before and fail now."""
    if not report.after:
        return ""
    after = {episode_key(r): r for r in report.after}
    worse = set(report.comparison.regressions)
    rows = [b for b in report.before if episode_key(b) in worse]
    if not rows:
        return "<p>None: whatever went well before still does.</p>"
    lines = [_failure_line(report, b, after[episode_key(b)]) for b in rows]
    return f"<p>{len(rows)} of {len(report.before)} episodes.</p>" + table(_head(report), lines)


def _head(report: ReportInput) -> list[str]:
    names = report.comparison.before_name, report.comparison.after_name
    both = [str(names[1]), "change"] if report.after else []
    return ["scenario", "seed", names[0], *both, "replay", "parameters"]


def _failures(report: ReportInput) -> str:
    """Everything that went wrong under either policy: what failed to run first, then what got
    worse.
    """
    after = {episode_key(r): r for r in report.after}
    rows = []
    for before in report.before:
        now = after.get(episode_key(before))
        if any(_wrong(r) for r in (before, now) if r is not None):
            rows.append((_rank(before, now), before, now))
    if not rows:
        return "<p>None.</p>"
    rows.sort(key=lambda r: (r[0], r[1].family, r[1].nominal, r[1].seed))
    lines = [_failure_line(report, before, now) for _, before, now in rows[:_MAX_FAILURE_ROWS]]
    more = len(rows) - _MAX_FAILURE_ROWS
    note = f" {more} more in episodes.csv." if more > 0 else ""
    unseen = sum(1 for _, b, _ in rows if not report.replays.get(episode_key(b)))
    if unseen:
        note += f" {unseen} have no replay; <code>--replays failures</code> records all of them."
    return f"<p>{len(rows)} of {len(report.before)} episodes.{note}</p>" + table(
        _head(report), lines, name="failures"
    )


def _wrong(result: EpisodeResult) -> bool:
    return is_failure(result) or result.collision or result.red_light


def _rank(before: EpisodeResult, after: EpisodeResult | None) -> int:
    if "failed" in (before.end, after.end if after else ""):
        return 0
    if after is None:
        return 1
    return 1 if is_failure(after) and not is_failure(before) else 2 if is_failure(after) else 3


def _change(before: EpisodeResult, after: EpisodeResult | None) -> Cell:
    if after is None:
        return cell("")
    was, now = is_failure(before), is_failure(after)
    words = "worse" if now and not was else "better" if was and not now else "same"
    return cell(words, tone="bad" if now and not was else "good" if was and not now else "")


def _failure_line(
    report: ReportInput, before: EpisodeResult, after: EpisodeResult | None
) -> list[Cell]:
    links = " ".join(link(n, to) for n, to in report.replays.get(episode_key(before), ()))
    parameters = ", ".join(f"{k} {_short(v)}" for k, v in before.parameters.items())
    twin = " <small>nominal twin</small>" if before.nominal else ""
    line = [
        Cell(text(before.scenario_id) + ("" if "nominal" in before.scenario_id else twin)),
        number(str(before.seed), before.seed),
        _outcome_cell(before),
    ]
    if report.after:
        line += [cell("") if after is None else _outcome_cell(after), _change(before, after)]
    return [*line, Cell(links), cell(parameters, tone="soft")]


def _outcome_cell(result: EpisodeResult) -> Cell:
    words, tone = outcome(result)
    detail = result.error or f"{result.duration_s:.1f} s, {result.progress_m:.0f} m"
    kind, side = getattr(result, "hit_kind", ""), getattr(result, "hit_side", "")
    if kind:
        detail += f", {kind}" + (f", {side}" if side else "")
    badge = f"<span class='badge {tone}'>{text(words)}</span>"
    return Cell(f"{badge} <small class='below'>{text(detail)}</small>")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# --------------------------------------------------------------------------------------
# Method and settings
# --------------------------------------------------------------------------------------
def _method(comparison: Comparison) -> str:
    weights, extended = (
        ", ".join(f"{name} {weight:g}" for name, weight in table.items())
        for table in (SCORE_WEIGHTS, EXTENDED_WEIGHTS)
    )
    reference = (
        "the privileged expert on the same seed"
        if comparison.has_expert
        else "driving at the speed limit"
    )
    tests = (
        " Tests on the same seeds: McNemar's exact test for rates, a paired permutation test for "
        "means. The failure rate is the question asked in advance; the p-values of all other "
        "metrics, and those of the families and of the tags among themselves, are adjusted by "
        "Holm's procedure; a change is coloured if interval and adjusted test agree on it."
        if comparison.after_name is not None
        else ""
    )
    return (
        "<p>95 % intervals. Rates: Wilson's, with the small-count end of Brown, Cai and DasGupta; "
        "changes of rates: Bonett and Price's; means and sums: bootstrap over episodes, 10,000 "
        "resamples, with one pseudo-episode at each end of the range where there is one."
        f"{tests} An episode that failed to run counts as a failure and scores 0.</p>"
        "<p>Driving score, PDMS-style, <b>not comparable with NAVSIM</b>: 0 after an at-fault "
        f"collision, off-road or a red light run, else the weighted mean of ({text(weights)}), "
        f"progress relative to {reference}. Extended driving score, EPDMS-style, <b>not comparable "
        f"with NAVSIM either</b>: gates times the weighted mean of ({text(extended)}). Scene score "
        "as AlpaSim defines it. Comfort bounds as nuPlan's closed-loop metrics. Every definition, "
        "its source and where it deviates: docs/evaluation.md.</p>"
    )


def _settings(report: ReportInput) -> str:
    commands = "".join(f"<pre>{text(c)}</pre>" for c in report.commands)
    lines = [
        [cell(name), cell(_short(value))] for name, value in flatten(to_plain(report.settings))
    ]
    if not lines:
        return commands
    body = table(["setting", "value"], lines)
    return commands + folded(f"{len(lines)} settings", body)
