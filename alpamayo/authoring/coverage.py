"""What a run has driven, and what not: families, cells of each parameter, pairs of tags.

The cells of a number are equally probable under its own distribution (``space``), so that a run of
its plain draws fills them evenly; a choice has one cell per value.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from alpamayo.authoring.space import Dimension, as_label, dimensions, quantile_of, values_at
from alpamayo.metrics import is_failure
from alpamayo.types import RequestError
from scenarios.schema import ScenarioDocument
from scenarios.selectors import kind_of


@dataclass(frozen=True)
class Row:
    """One episode that was driven."""

    scenario: str
    seed: int
    parameters: Mapping[str, Any]
    failed: bool


@dataclass(frozen=True)
class Cell:
    """``share``: of the scenario's own draws."""

    label: str
    share: float
    episodes: int
    failures: int


@dataclass(frozen=True)
class ParameterCoverage:
    """``outside``: episodes whose value the distribution in the library cannot give."""

    name: str
    cells: tuple[Cell, ...]
    outside: int

    @property
    def missed(self) -> tuple[Cell, ...]:
        return tuple(cell for cell in self.cells if not cell.episodes)


@dataclass(frozen=True)
class ScenarioCoverage:
    id: str
    family: str
    kind: str
    episodes: int
    failures: int
    parameters: tuple[ParameterCoverage, ...]


@dataclass(frozen=True)
class TagPair:
    """Two tags that ``scenarios`` have together, and how many episodes had both."""

    tags: tuple[str, str]
    scenarios: tuple[str, ...]
    episodes: int


@dataclass(frozen=True)
class Coverage:
    """``elsewhere``: driven scenarios that are not among the ones asked for -> episodes."""

    scenarios: tuple[ScenarioCoverage, ...]
    pairs: tuple[TagPair, ...]
    elsewhere: Mapping[str, int]

    @property
    def figures(self) -> dict[str, tuple[int, int]]:
        """Name -> (driven, all there are)."""
        driven = [s for s in self.scenarios if s.episodes]
        cells = [c for s in self.scenarios for p in s.parameters for c in p.cells]
        return {
            "families": (len({s.family for s in driven}), len({s.family for s in self.scenarios})),
            "scenarios": (len(driven), len(self.scenarios)),
            "parameter cells": (sum(c.episodes > 0 for c in cells), len(cells)),
            "tag pairs": (sum(p.episodes > 0 for p in self.pairs), len(self.pairs)),
        }


def cover(documents: Sequence[ScenarioDocument], rows: Iterable[Row], bins: int = 4) -> Coverage:
    """Count ``rows`` into the cells of ``documents``."""
    by_scenario: dict[str, list[Row]] = {document.id: [] for document in documents}
    elsewhere: Counter[str] = Counter()
    for row in rows:
        if row.scenario in by_scenario:
            by_scenario[row.scenario].append(row)
        else:
            elsewhere[row.scenario] += 1
    scenarios = tuple(_scenario(d, by_scenario[d.id], bins) for d in documents)
    counts = {s.id: s.episodes for s in scenarios}
    return Coverage(scenarios, _pairs(documents, counts), dict(elsewhere))


def _scenario(document: ScenarioDocument, rows: list[Row], bins: int) -> ScenarioCoverage:
    parameters = tuple(_parameter(document, d, rows) for d in dimensions(document, bins))
    failures = sum(row.failed for row in rows)
    kind = kind_of(document)
    return ScenarioCoverage(document.id, document.family, kind, len(rows), failures, parameters)


def _parameter(
    document: ScenarioDocument, dimension: Dimension, rows: list[Row]
) -> ParameterCoverage:
    episodes, failures, outside = Counter[str](), Counter[str](), 0
    labels = dimension.labels or _spans(document, dimension)
    for row in rows:
        value = row.parameters.get(dimension.name)
        quantile = quantile_of(dimension.spec, value, row.parameters)
        if quantile is None:
            outside += 1
            continue
        label = as_label(value) if dimension.labels else labels[dimension.cell(quantile)]
        episodes[label] += 1
        failures[label] += row.failed
    shares: dict[str, float] = {}
    for label, low, high in zip(labels, dimension.edges[:-1], dimension.edges[1:], strict=True):
        shares[label] = shares.get(label, 0.0) + float(high - low)
    cells = tuple(Cell(x, share, episodes[x], failures[x]) for x, share in shares.items())
    return ParameterCoverage(dimension.name, cells, outside)


def _spans(document: ScenarioDocument, dimension: Dimension) -> tuple[str, ...]:
    """``3 to 3.75`` for each cell of a number; in quantiles where its bounds are expressions."""
    spec, name = dimension.spec, dimension.name
    bounds = list(spec.uniform or ())
    if spec.normal is not None:
        bounds += [x for x in vars(spec.normal).values() if x is not None]
    edges = dimension.edges.tolist()
    if any(isinstance(bound, str) for bound in bounds):
        ends = [f"{edge:.0%}" for edge in edges]
    else:
        others = {d.name: 0.5 for d in dimensions(document, 1)}
        ends = [f"{values_at(document, others | {name: edge})[name]:.3g}" for edge in edges]
    return tuple(f"{a} to {b}" for a, b in pairwise(ends))


def _pairs(documents: Sequence[ScenarioDocument], counts: Mapping[str, int]) -> tuple[TagPair, ...]:
    having: dict[tuple[str, str], list[str]] = {}
    for document in documents:
        for a, b in combinations(sorted(set(document.tags)), 2):
            having.setdefault((a, b), []).append(document.id)
    return tuple(
        TagPair(tags, tuple(ids), sum(counts[i] for i in ids))
        for tags, ids in sorted(having.items())
    )


# --------------------------------------------------------------------------------------
# What a run recorded
# --------------------------------------------------------------------------------------
def read_rows(run: str | Path) -> list[Row]:
    """The episodes a run directory tells of: ``episodes.jsonl`` of training and warm start, the
    report of an evaluation. An episode that several policies drove counts once.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise RequestError(f"{run}: no such run directory")
    rows: list[Row] = []
    if (folder / "episodes.jsonl").is_file():
        rows += _training_rows(folder / "episodes.jsonl")
    if (folder / "report.json").is_file():
        rows += _evaluation_rows(folder)
    if not rows:
        raise RequestError(
            f"{folder}: expected episodes.jsonl (training) or report.json (evaluation)"
        )
    return rows


def _training_rows(file: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            data = json.loads(line)
            failed = bool(data["at_fault"] or data["off_road"] or data["end"] == "failed")
            parameters = dict(data["parameters"])
            rows.append(Row(str(data["scenario_id"]), int(data["seed"]), parameters, failed))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RequestError(f"{file}:{number}: expected an episode's row ({error!r})") from None
    return rows


def _evaluation_rows(folder: Path) -> list[Row]:
    from alpamayo.evaluation.runs import load_report

    roles = load_report(folder)
    chosen = next((roles[r] for r in ("after", "before", "expert") if roles.get(r)), [])
    return [Row(r.scenario_id, r.seed, r.parameters, is_failure(r)) for r in chosen]
