"""The report of an evaluation: ``report.html`` (self-contained), ``report.json`` (everything) and
``episodes.csv``.

Failed episodes are rows like any other. The JSON holds every episode, so that a later evaluation
can be compared with this one on the same seeds (``load_report``).
"""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from alpamayo.evaluation.charts import interval_mark, line_chart
from alpamayo.evaluation.compare import (
    Comparison,
    Key,
    MetricRow,
    episode_key,
    expert_progress,
    format_interval,
    format_value,
    headline,
)
from alpamayo.metrics import SCORE_WEIGHTS, driving_score, is_failure, scene_score
from alpamayo.replay.codec import from_plain, to_plain
from alpamayo.replay.files import write_whole
from alpamayo.replay.html import outcome
from alpamayo.types import EpisodeResult, RequestError

SCHEMA_VERSION = 1
_STYLE = Path(__file__).with_name("report.css")
_ROLES = ("before", "after", "expert")
_MAX_FAILURE_ROWS = 400


@dataclass(frozen=True)
class Curve:
    """One line of the learning curve: (step, value) points, e.g. iterations of training."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ReportInput:
    """What a report tells. ``after`` and ``expert`` may be empty; ``replays`` links an episode to
    pages or replay files.

    ``settings`` is any nested mapping of the exact settings; ``decoding`` says in words how plans
    were decoded; ``commands`` are the commands that made the numbers.
    """

    title: str
    comparison: Comparison
    before: Sequence[EpisodeResult]
    after: Sequence[EpisodeResult] = ()
    expert: Sequence[EpisodeResult] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    decoding: str = ""
    curves: Sequence[Curve] = ()
    replays: Mapping[Key, Sequence[tuple[str, str]]] = field(default_factory=dict)
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class ReportFiles:
    html: Path
    json: Path
    csv: Path


def write_report(folder: str | Path, report: ReportInput) -> ReportFiles:
    """Write the three files into ``folder``, each atomically."""
    root = Path(folder)
    return ReportFiles(
        html=write_whole(root / "report.html", render_report(report)),
        json=write_whole(
            root / "report.json", json.dumps(report_document(report), indent=1, allow_nan=False)
        ),
        csv=write_whole(root / "episodes.csv", episodes_csv(report)),
    )


def curves_from_metrics(file: str | Path, names: Mapping[str, str]) -> list[Curve]:
    """Learning curves from a run's ``metrics.jsonl``; ``names`` maps a metric to its title."""
    points: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RequestError(f"{file}: expected a readable metrics file ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines):
                break  # a run that was killed may leave half a last line
            raise RequestError(f"{file}:{number}: expected a JSON object") from None
        for name in names:
            value = record.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                points[name].append((float(record["step"]), float(value)))
    return [Curve(title, tuple(points[name])) for name, title in names.items() if points[name]]


# --------------------------------------------------------------------------------------
# JSON and CSV
# --------------------------------------------------------------------------------------
def report_document(report: ReportInput) -> dict[str, Any]:
    """The JSON document, every number of the page and every episode."""
    return {
        "schema_version": SCHEMA_VERSION,
        "title": report.title,
        "comparison": report.comparison.as_dict(),
        "decoding": report.decoding,
        "settings": to_plain(report.settings),
        "commands": list(report.commands),
        "curves": {c.name: to_plain(c.points) for c in report.curves},
        "replays": [
            {"scenario_id": key[0], "seed": key[1], "links": to_plain(links)}
            for key, links in report.replays.items()
        ],
        "episodes": {role: [to_plain(r) for r in rows] for role, rows in _episodes(report)},
    }


def _episodes(report: ReportInput) -> Iterable[tuple[str, Sequence[EpisodeResult]]]:
    for role, rows in zip(_ROLES, (report.before, report.after, report.expert), strict=True):
        if rows:
            yield role, rows


def load_report(path: str | Path) -> dict[str, list[EpisodeResult]]:
    """Role -> episodes of a ``report.json`` (or of the run directory that holds one)."""
    file = Path(path)
    if file.is_dir():
        file = file / "report.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{file}: expected a readable report ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{file}: expected valid JSON ({error})") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise RequestError(
            f"{file}: schema_version: expected {SCHEMA_VERSION}, got {version!r:.40}"
        )
    episodes = document.get("episodes")
    if not isinstance(episodes, dict) or not all(isinstance(v, list) for v in episodes.values()):
        raise RequestError(f"{file}: episodes: expected an object of lists")
    return {
        role: [
            from_plain(EpisodeResult, row, f"{file}: episodes.{role}[{n}]")
            for n, row in enumerate(rows)
        ]
        for role, rows in episodes.items()
        if role in _ROLES
    }


def episodes_csv(report: ReportInput) -> str:
    """One line per episode and policy; parameters and reward terms as JSON in a cell."""
    names = [f.name for f in fields(EpisodeResult)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["role", *names, "driving_score", "scene_score"])
    for role, rows in _episodes(report):
        reference = expert_progress(rows, report.expert or None)
        for row, expert_m in zip(rows, reference, strict=True):
            plain = to_plain(row)
            cells = [json.dumps(v) if isinstance(v, dict) else v for v in (plain[n] for n in names)]
            scores = [f"{score(row, expert_m):.6f}" for score in (driving_score, scene_score)]
            writer.writerow([role, *cells, *scores])
    return text.getvalue()


# --------------------------------------------------------------------------------------
# HTML
# --------------------------------------------------------------------------------------
_esc = html.escape


def render_report(report: ReportInput) -> str:
    """The page's text; no script, no network."""
    parts = [
        _section("", _cards(report)),
        _section(
            "Before and after" if report.after else "Results", _metrics_table(report.comparison)
        ),
        _section("By family", _families_table(report.comparison)),
        _section("Learning curve", _curves(report.curves)) if report.curves else "",
        _section("Episodes that went wrong", _failures(report)),
        _section("How it was decoded", f"<p>{_esc(report.decoding)}</p>")
        if report.decoding
        else "",
        _section("How the numbers are made", _method(report.comparison)),
        _section("Settings", _settings(report)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_esc(report.title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><h1>{_esc(report.title)}</h1>"
        f"<p class='lead'>{_esc(headline(report.comparison))}</p>"
        + "".join(parts)
        + "</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    heading = f"<h2>{_esc(title)}</h2>" if title else ""
    return f"<section>{heading}{body}</section>"


def _cards(report: ReportInput) -> str:
    names = ("failure", "at_fault", "off_road", "driving_score", "progress")
    cards = []
    for row in (report.comparison.row(n) for n in names):
        now = row.after or row.before
        was = (
            f"<small>was {format_value(row.before.value, row.kind)}</small>"
            if row.after
            else "<small>&nbsp;</small>"
        )
        cards.append(
            f"<div class='card'><span>{_esc(row.label)}</span>"
            f"<b class='{_tone(row)}'>{format_value(now.value, row.kind)}</b>{was}</div>"
        )
    return f"<div class='cards'>{''.join(cards)}</div>"


def _tone(row: MetricRow) -> str:
    """Whether the whole interval of the change lies on the better or on the worse side."""
    if row.difference is None or row.name in ("mean_speed", "plan_ms"):
        return ""
    sign = 1 if row.better == "higher" else -1
    low, high = sorted((sign * row.difference.low, sign * row.difference.high))
    return "good" if low > 0 else "bad" if high < 0 else ""


def _metrics_table(comparison: Comparison) -> str:
    paired = comparison.after_name is not None
    head = ["", comparison.before_name, *([comparison.after_name, "change", ""] if paired else [])]
    lines = []
    for row in comparison.rows:
        unit = f" <small>[{_esc(row.kind)}]</small>" if row.kind not in ("rate", "share") else ""
        cells = [f"<td>{_esc(row.label)}{unit}</td>", _interval_cell(row.before, row.kind)]
        if paired:
            tone = _tone(row)
            p_value = f" title='McNemar p = {row.p_value:.3g}'" if row.p_value is not None else ""
            change = format_interval(row.difference, row.kind, signed=True)
            cells += [
                _interval_cell(row.after, row.kind),
                f"<td class='num {tone}'{p_value}>{_esc(change)}</td>",
                f"<td>{interval_mark(row.before, row.after)}</td>",
            ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    note = ""
    if comparison.reduction is not None:
        note = (
            "<p>Relative reduction of at-fault collisions + off-road: "
            f"<b>{_esc(format_interval(comparison.reduction, 'rate'))}</b></p>"
        )
    return _table(head, lines) + note


def _interval_cell(interval: Any, kind: str) -> str:
    return f"<td class='num'>{_esc(format_interval(interval, kind))}</td>"


def _table(head: Sequence[str | None], lines: Sequence[str]) -> str:
    cells = "".join(f"<th>{_esc(h or '')}</th>" for h in head)
    body = f"<thead><tr>{cells}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f"<div class='wide'><table>{body}</table></div>"


def _families_table(comparison: Comparison) -> str:
    paired = comparison.after_name is not None
    before, after = comparison.before_name, comparison.after_name
    head = [
        "family",
        "episodes",
        f"failures {before}",
        *([f"failures {after}", ""] if paired else []),
    ]
    head += [f"score {before}", *([f"score {after}"] if paired else [])]
    lines = []
    for row in comparison.families:
        name = _esc(row.family) + (" <small>nominal twin</small>" if row.nominal else "")
        cells = [
            f"<td>{name}</td><td class='num'>{row.episodes}</td>",
            _count_cell(row.failures_before, row.failure_before),
        ]
        if row.failures_after is not None:
            cells.append(_count_cell(row.failures_after, row.failure_after))
            cells.append(
                f"<td>{interval_mark(row.failure_before, row.failure_after, high=1.0)}</td>"
            )
        cells.append(f"<td class='num'>{row.score_before:.3f}</td>")
        if row.score_after is not None:
            cells.append(f"<td class='num'>{row.score_after:.3f}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return _table(head, lines)


def _count_cell(count: int, interval: Any) -> str:
    return f"<td class='num'>{count} <small>{_esc(format_interval(interval, 'rate'))}</small></td>"


def _curves(curves: Sequence[Curve]) -> str:
    charts = [
        f"<figure><figcaption>{_esc(c.name)}</figcaption>{line_chart(c.points)}</figure>"
        for c in curves
    ]
    return f"<div class='charts'>{''.join(charts)}</div>"


def _failures(report: ReportInput) -> str:
    """Everything that went wrong under either policy: what failed to run first, then what got
    worse.
    """
    after = {episode_key(r): r for r in report.after}
    rows = []
    for before in report.before:
        now = after.get(episode_key(before))
        wrong = [
            r
            for r in (before, now)
            if r is not None and (is_failure(r) or r.collision or r.red_light)
        ]
        if wrong:
            rows.append((_rank(before, now), before, now))
    if not rows:
        return "<p>None.</p>"
    rows.sort(key=lambda r: (r[0], r[1].family, r[1].nominal, r[1].seed))
    paired = bool(report.after)
    names = report.comparison.before_name, report.comparison.after_name
    head = ["scenario", "seed", names[0], *([names[1]] if paired else []), "replay", "parameters"]
    lines = [_failure_line(report, before, now) for _, before, now in rows[:_MAX_FAILURE_ROWS]]
    more = len(rows) - _MAX_FAILURE_ROWS
    note = f"<p>{more} more in episodes.csv.</p>" if more > 0 else ""
    return f"<p>{len(rows)} of {len(report.before)} episodes.</p>" + _table(head, lines) + note


def _rank(before: EpisodeResult, after: EpisodeResult | None) -> int:
    if "failed" in (before.end, after.end if after else ""):
        return 0
    if after is None:
        return 1
    return 1 if is_failure(after) and not is_failure(before) else 2 if is_failure(after) else 3


def _failure_line(report: ReportInput, before: EpisodeResult, after: EpisodeResult | None) -> str:
    links = " ".join(
        f"<a href='{_esc(target, quote=True)}'>{_esc(label)}</a>"
        for label, target in report.replays.get(episode_key(before), ())
    )
    parameters = ", ".join(f"{k} {_short(v)}" for k, v in before.parameters.items())
    cells = [
        f"<td>{_esc(before.scenario_id)}</td><td class='num'>{before.seed}</td>",
        _outcome_cell(before),
    ]
    if after is not None:
        cells.append(_outcome_cell(after))
    elif report.after:
        cells.append("<td></td>")
    return f"<tr>{''.join(cells)}<td>{links}</td><td class='soft'>{_esc(parameters)}</td></tr>"


def _outcome_cell(result: EpisodeResult) -> str:
    words, tone = outcome(result)
    detail = result.error or f"{result.duration_s:.1f} s, {result.progress_m:.0f} m"
    return f"<td><span class='badge {tone}'>{_esc(words)}</span> <small>{_esc(detail)}</small></td>"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _method(comparison: Comparison) -> str:
    weights = ", ".join(f"{name} {weight:g}" for name, weight in SCORE_WEIGHTS.items())
    reference = (
        "the privileged expert on the same seed"
        if comparison.has_expert
        else "driving at the speed limit"
    )
    return (
        "<p>Rates: Wilson 95 % intervals. Changes and ratios: paired bootstrap over episodes, "
        "10,000 resamples, 95 %. "
        "An episode that failed to run counts as a failure and scores 0. "
        "Driving score, PDMS-style, <b>not comparable with NAVSIM</b>: 0 after an at-fault "
        f"collision, off-road or a red light run, else the weighted mean of "
        f"({_esc(weights)}), progress relative to {reference}. "
        "Scene score as AlpaSim defines it. Comfort bounds as nuPlan's closed-loop metrics.</p>"
    )


def _settings(report: ReportInput) -> str:
    commands = "".join(f"<pre>{_esc(c)}</pre>" for c in report.commands)
    lines = [
        f"<tr><td>{_esc(name)}</td><td>{_esc(_short(value))}</td></tr>"
        for name, value in _flat(to_plain(report.settings), "")
    ]
    return commands + (_table(["setting", "value"], lines) if lines else "")


def _flat(value: Any, prefix: str) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value
