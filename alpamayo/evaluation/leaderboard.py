"""Evaluations ranked, one table for each set of episodes.

Runs are comparable only on the same episodes, so runs on other episodes get a table of their own.
Every run given is a row: one that left no report is there with what its status says. Each run is
tested against the first of its table; those that the paired test (Holm-adjusted) cannot tell from
it are marked, for their order may be chance.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpamayo.evaluation.compare import MetricRow, compare, summarise
from alpamayo.evaluation.coverage import Coverage, coverage
from alpamayo.evaluation.measures import MEASURES, RATIOS
from alpamayo.evaluation.runs import EvaluatedRun, differing_settings, load_run
from alpamayo.stats import holm
from alpamayo.types import RequestError

COLUMNS = (
    "failure", "at_fault", "off_road", "driving_score", "extended_score", "scene_score",
    "progress", "comfort", "close_encounter", "km_between_failures", "plan_latency",
)  # fmt: skip
LEVEL = 0.05
_BETTER = {m.name: m.better for m in MEASURES} | {name: better for name, _, _, better in RATIOS}


@dataclass(frozen=True)
class Standing:
    """One run. ``rank`` counts from 1; runs with equal values share it. ``p_value``: against the
    first of the table by the paired test of the metric it is sorted by, Holm-adjusted; None for the
    first itself, and where the metric has no test. ``problem``: why there are no numbers.
    """

    folder: Path
    policy: str
    rank: int
    coverage: Coverage | None
    metrics: dict[str, MetricRow]
    p_value: float | None = None
    problem: str = ""

    @property
    def like_first(self) -> bool:
        """Whether the test cannot tell this run from the first."""
        return self.p_value is not None and self.p_value > LEVEL

    def as_dict(self) -> dict[str, Any]:
        return {
            "run": str(self.folder), "policy": self.policy, "rank": self.rank,
            "problem": self.problem, "p_against_first": self.p_value,
            "coverage": None if self.coverage is None else self.coverage.as_dict(),
            "metrics": {n: r.before.as_dict() for n, r in self.metrics.items()},
        }  # fmt: skip


@dataclass(frozen=True)
class Board:
    """Runs on the same episodes, best first. ``digest`` names the set of (scenario, seed)."""

    suite: str
    episodes: int
    digest: str
    standings: tuple[Standing, ...]
    differ: tuple[str, ...] = ()  # settings that are not the same in all runs, in their order

    @property
    def title(self) -> str:
        if not self.episodes:
            return "without a report"
        return f"{self.suite or 'unnamed suite'}, {self.episodes} episodes ({self.digest})"


@dataclass(frozen=True)
class Leaderboard:
    sort: str
    boards: tuple[Board, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "sort": self.sort, "better": _BETTER[self.sort], "level": LEVEL, "correction": "Holm",
            "boards": [
                {"suite": b.suite, "episodes": b.episodes, "digest": b.digest,
                 "settings_that_differ": list(b.differ),
                 "runs": [s.as_dict() for s in b.standings]}
                for b in self.boards
            ],
        }  # fmt: skip


def check_sort(name: str) -> None:
    if name not in COLUMNS:
        raise RequestError(f"--sort {name}: expected one of {', '.join(COLUMNS)}")


def leaderboard(
    folders: Sequence[Path], *, sort: str = "driving_score", resamples: int = 10_000
) -> Leaderboard:
    """Rank the runs in ``folders`` by ``sort``, one of ``COLUMNS``."""
    check_sort(sort)
    runs: dict[frozenset[Any], list[EvaluatedRun]] = {}
    broken = []
    for folder in folders:
        try:
            run = load_run(folder)
        except RequestError as error:
            broken.append(Standing(folder, "", 0, None, {}, problem=str(error)))
            continue
        runs.setdefault(run.keys, []).append(run)
    boards = [_board(keys, group, sort, resamples) for keys, group in runs.items()]
    boards.sort(key=lambda b: (-len(b.standings), b.suite, -b.episodes))
    if broken:
        boards.append(Board("", 0, "", tuple(broken)))
    return Leaderboard(sort, tuple(boards))


def _board(keys: frozenset[Any], runs: Sequence[EvaluatedRun], sort: str, resamples: int) -> Board:
    # Relative to one expert for all, if any of the runs drove it on these episodes.
    expert = next(
        (r.expert for r in runs if {(e.scenario_id, e.seed) for e in r.expert} == keys), None
    )
    tables = [summarise(r.results, name=r.name, expert=expert, resamples=resamples) for r in runs]
    order = sorted(range(len(runs)), key=lambda n: _badness(tables[n].row(sort)))
    first = runs[order[0]]
    tests = []
    for n in order[1:]:
        pair = compare(first.results, runs[n].results, expert=expert, resamples=resamples)
        tests.append(pair.row(sort).p_value)
    adjusted = iter(holm([p for p in tests if p is not None]))
    p_values = [None, *(None if p is None else next(adjusted) for p in tests)]
    standings: list[Standing] = []
    for place, (n, p_value) in enumerate(zip(order, p_values, strict=True), 1):
        table = tables[n]
        badness = _badness(table.row(sort))
        tied = standings and _badness(standings[-1].metrics[sort]) == badness
        standings.append(
            Standing(
                runs[n].folder, runs[n].name, standings[-1].rank if tied else place,
                coverage(runs[n].name, runs[n].results),
                {name: table.row(name) for name in COLUMNS}, p_value,
            )
        )  # fmt: skip
    digest = hashlib.sha256(repr(sorted(keys)).encode()).hexdigest()[:8]
    suites = sorted({r.suite for r in runs if r.suite})
    differ = differing_settings([runs[n].settings for n in order])
    return Board("/".join(suites), len(keys), digest, tuple(standings), tuple(differ))


def _badness(row: MetricRow) -> float:
    """To sort by: what was not measured comes last."""
    if math.isnan(row.before.value):
        return math.inf
    return row.before.value if row.better == "lower" else -row.before.value
