"""A leaderboard as text, page, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

from alpamayo.evaluation.charts import interval_mark
from alpamayo.evaluation.leaderboard import COLUMNS, Board, Leaderboard, Standing
from alpamayo.evaluation.page import (
    Cell,
    cell,
    document,
    interval_cell,
    link,
    number,
    section,
    table,
    text,
)
from alpamayo.evaluation.text import columns, format_interval, format_p
from alpamayo.replay.files import write_whole

_TEXT = ("failure", "driving_score", "progress", "comfort")
METHOD = (
    "Ranked by {sort}. Runs are comparable only on the same episodes (scenario and seed), so other "
    "episodes make another table. p: paired test against the first of the table, adjusted by "
    "Holm's procedure; above 0.05 (=) the order may be chance. An episode that failed to run, or "
    "is missing from a report, counts as a failure and scores 0."
)


def write_leaderboard(folder: Path, board: Leaderboard) -> Path:
    """``leaderboard.html``, ``.json`` and ``.csv`` in ``folder``; the page's path."""
    plain = json.dumps(board.as_dict(), indent=1, allow_nan=False)
    write_whole(folder / "leaderboard.json", plain)
    write_whole(folder / "leaderboard.csv", leaderboard_csv(board))
    return write_whole(folder / "leaderboard.html", render(board, folder))


def format_leaderboard(board: Leaderboard) -> str:
    """For a terminal."""
    parts = []
    for one in board.boards:
        lines = [["", "policy", *_TEXT, "p", "run"]]
        for s in one.standings:
            told = [format_interval(s.metrics[n].before, s.metrics[n].kind) if s.metrics else ""
                    for n in _TEXT]  # fmt: skip
            rank = f"{s.rank}{'=' if s.like_first else ''}" if s.metrics else "-"
            lines.append([rank, s.policy, *told, format_p(s.p_value), _where(s)])
        parts += [one.title, *columns(lines), ""]
    return "\n".join([*parts, "= not told apart from the first by the paired test (Holm, 5 %)"])


def _where(standing: Standing) -> str:
    seen = standing.coverage
    short = ""
    if seen is not None and not seen.complete:
        short = f"{seen.failed} failed to run, {seen.missing} missing of {seen.expected}"
    return str(standing.folder) + (
        f"  {standing.problem or short}" if standing.problem or short else ""
    )


def leaderboard_csv(board: Leaderboard) -> str:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    ends = [f"{name}{end}" for name in COLUMNS for end in ("", "_low", "_high")]
    writer.writerow([
        "suite", "digest", "rank", "policy", "run", "expected", "ran", "failed", "missing",
        "p_against_first", "problem", *ends,
    ])  # fmt: skip
    for one in board.boards:
        for s in one.standings:
            seen = s.coverage
            told = ["", "", "", ""] if seen is None else [
                seen.expected, seen.ran, seen.failed, seen.missing,
            ]  # fmt: skip
            values = [
                f"{v:.6g}" if v == v else ""
                for name in COLUMNS
                if s.metrics
                for i in [s.metrics[name].before]
                for v in (i.value, i.low, i.high)
            ]
            writer.writerow([
                one.suite, one.digest, s.rank or "", s.policy, s.folder, *told,
                "" if s.p_value is None else f"{s.p_value:.6g}", s.problem, *values,
            ])  # fmt: skip
    return lines.getvalue()


def render(board: Leaderboard, folder: Path) -> str:
    """The page; links are as seen from ``folder``."""
    count = sum(len(b.standings) for b in board.boards)
    sections = [section(b.title, _table(b, board.sort, folder)) for b in board.boards]
    method = section("How the numbers are made", f"<p>{METHOD.format(sort=board.sort)}</p>")
    return document("Leaderboard", f"{count} runs, 95 % intervals", [*sections, method])


def _table(board: Board, sort: str, folder: Path) -> str:
    if not board.episodes:
        rows = [[cell(s.folder), cell(s.problem)] for s in board.standings]
        return table(["run", "what is known"], rows)
    labels = {name: row.label for name, row in board.standings[0].metrics.items()}
    head = ["rank", "policy", "ran", sort.replace("_", " "), "p", *labels.values(), "run"]
    tops = [s.metrics[sort].before.high for s in board.standings]
    rows = []
    for s in board.standings:
        seen = s.coverage
        assert seen is not None
        mark = interval_mark(None, s.metrics[sort].before, high=max(tops), width=130)
        report = Path(os.path.relpath(s.folder / "report.html", folder)).as_posix()
        rows.append([
            number(f"{s.rank}{' =' if s.like_first else ''}", s.rank), cell(s.policy),
            number(f"{seen.ran} of {seen.expected}", seen.ran, "" if seen.complete else "bad"),
            Cell(mark, s.metrics[sort].before.value),
            number(format_p(s.p_value), float("nan") if s.p_value is None else s.p_value),
            *(interval_cell(s.metrics[n].before, s.metrics[n].kind) for n in COLUMNS),
            Cell(link(s.folder.name, report), s.folder.name, "run"),
        ])  # fmt: skip
    differ = "; ".join(board.differ)
    note = f"<p>Settings that differ, by rank: {text(differ)}.</p>" if differ else ""
    return table(head, rows) + note
