"""The report of an evaluation: ``report.html`` (self-contained), ``report.json`` (everything),
``episodes.csv`` and ``metrics.csv``.

Failed episodes are rows like any other. The JSON holds every episode, and which were expected, so
that a later evaluation can be compared with this one on the same seeds (``alpamayo.evaluation
.runs``). The page is made in ``alpamayo.evaluation.report_page``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from alpamayo.evaluation.compare import Comparison, Key, aligned_experts, episode_key
from alpamayo.evaluation.coverage import Coverage, coverage
from alpamayo.evaluation.gates import Verdict
from alpamayo.evaluation.measures import MEASURES
from alpamayo.evaluation.runs import ROLES, SCHEMA_VERSION
from alpamayo.judged import JudgedEpisode
from alpamayo.replay.codec import to_plain
from alpamayo.replay.files import write_whole
from alpamayo.stats import Interval
from alpamayo.types import EpisodeResult, RequestError

# Scores of an episode that its columns do not hold.
_SCORES = ("driving_score", "extended_score", "scene_score")


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
    were decoded; ``commands`` are the commands that made the numbers; ``tags``: scenario id -> its
    tags; ``verdicts``: what became of the gates; ``notes``: what a reader must know of the
    episodes.
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
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = ()

    @property
    def coverage(self) -> list[Coverage]:
        """Of each policy, the expert included."""
        names = (self.comparison.before_name, self.comparison.after_name, "expert (reference)")
        roles = zip(names, (self.before, self.after, self.expert), strict=True)
        return [coverage(str(name), rows) for name, rows in roles if rows]


@dataclass(frozen=True)
class ReportFiles:
    html: Path
    json: Path
    csv: Path
    metrics: Path


def write_report(folder: str | Path, report: ReportInput) -> ReportFiles:
    """Write the files into ``folder``, each atomically."""
    from alpamayo.evaluation.report_page import render_report

    root = Path(folder)
    return ReportFiles(
        html=write_whole(root / "report.html", render_report(report)),
        json=write_whole(
            root / "report.json", json.dumps(report_document(report), indent=1, allow_nan=False)
        ),
        csv=write_whole(root / "episodes.csv", episodes_csv(report)),
        metrics=write_whole(root / "metrics.csv", metrics_csv(report.comparison)),
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
        "coverage": [c.as_dict() for c in report.coverage],
        "notes": list(report.notes),
        "gates": [to_plain(v) for v in report.verdicts],
        "expected": [list(episode_key(r)) for r in report.before],
        "tags": {name: list(tags) for name, tags in report.tags.items()},
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
    for role, rows in zip(ROLES, (report.before, report.after, report.expert), strict=True):
        if rows:
            yield role, rows


def episodes_csv(report: ReportInput) -> str:
    """One line per episode and policy; parameters and reward terms as JSON in a cell, what was not
    measured empty.
    """
    names = [f.name for f in fields(JudgedEpisode)]
    scores = [m for m in MEASURES if m.name in _SCORES]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["role", *names, *_SCORES])
    for role, rows in _episodes(report):
        for row, expert in zip(rows, aligned_experts(rows, report.expert or None), strict=True):
            plain = to_plain(row)
            cells = [plain.get(n) for n in names]
            told = [m.value(row, expert) for m in scores]
            writer.writerow([
                role,
                *(json.dumps(v) if isinstance(v, dict) else v for v in cells),
                *("" if v is None else f"{v:.6f}" for v in told),
            ])  # fmt: skip
    return text.getvalue()


def metrics_csv(comparison: Comparison) -> str:
    """One line per metric, and per family and tag for failures; ends of intervals in columns of
    their own.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sides = [
        f"{side}{end}" for side in ("before", "after", "change") for end in ("", "_low", "_high")
    ]
    writer.writerow(["metric", "group", "unit", "better", "episodes", *sides, "p", "p_holm"])
    for row in comparison.rows:
        ends = [e for i in (row.before, row.after, row.difference) for e in _ends(i)]
        writer.writerow([
            row.name, "", row.kind, row.better, row.episodes, *ends,
            _number(row.p_value), _number(row.p_adjusted),
        ])  # fmt: skip
    for kind, groups in (("family", comparison.families), ("tag", comparison.tags)):
        for group in groups:
            name = f"{kind}:{group.family}" + (" (nominal twin)" if group.nominal else "")
            ends = [e for i in (group.failure_before, group.failure_after, None) for e in _ends(i)]
            writer.writerow([
                "failure", name, "rate", "lower", group.episodes, *ends,
                _number(group.p_value), _number(group.p_adjusted),
            ])  # fmt: skip
    return text.getvalue()


def _ends(interval: Interval | None) -> list[str]:
    if interval is None:
        return ["", "", ""]
    return [_number(v) for v in (interval.value, interval.low, interval.high)]


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.6g}"
