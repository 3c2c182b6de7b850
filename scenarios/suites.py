"""Suites: which scenarios with which weights and seeds. Training and held-out seeds never meet.

``draw(count, start)`` is a pure function of its numbers: draw i of a suite is the same whoever
asks for it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, ValidationError

from alpamayo import streams, types
from alpamayo.types import RequestError
from scenarios.catalog import SUITES, library_files
from scenarios.load import load_document, ordered, schema_problems
from scenarios.quantities import Strict, Word, near
from scenarios.sample import sample
from scenarios.yaml_tree import Problem, ScenarioFileError, Tree, read_tree

HELD_OUT_FROM = 1_000_000
_GOLDEN_RATIO = 0.6180339887498949


class SuiteEntry(Strict):
    id: str
    """Library id, or path of a scenario file relative to the suite's."""
    weight: Annotated[float, Field(gt=0.0)] = 1.0


class Seeds(Strict):
    start: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=1)]


class SuiteDocument(Strict):
    """One suite file."""

    schema_version: Literal[1]
    id: Word
    description: str
    split: Literal["train", "heldout"]
    order: Literal["random", "even"] = "random"
    """even: any stretch of draws holds the scenarios in proportion to their weights."""
    scenarios: Annotated[list[SuiteEntry], Field(min_length=1)]
    seeds: Seeds


@dataclass(frozen=True)
class Suite:
    """A suite, ready to draw from."""

    document: SuiteDocument
    file: Path

    @property
    def id(self) -> str:
        return self.document.id

    @cached_property
    def shares(self) -> dict[str, float]:
        """Scenario id -> its share of the draws; sums to 1."""
        total = sum(entry.weight for entry in self.document.scenarios)
        return {entry.id: entry.weight / total for entry in self.document.scenarios}

    def pairs(self, count: int, start: int = 0) -> list[tuple[str, int]]:
        """(scenario id, seed) of the draws ``start`` .. ``start + count - 1``."""
        if count < 0 or start < 0:
            raise RequestError(f"suite {self.id}: expected count and start of at least 0")
        index = np.arange(start, start + count)
        if self.document.order == "even":
            u = ((index + 0.5) * _GOLDEN_RATIO) % 1.0
        else:
            keys = streams.keys(self.document.seeds.start, streams.STREAM_SUITE, index)
            u = streams.uniform(keys, 1)[:, 0]
        bounds = np.cumsum(list(self.shares.values()))
        which = np.minimum(np.searchsorted(bounds, u, side="right"), len(bounds) - 1)
        ids = list(self.shares)
        seeds = self.document.seeds
        return [
            (ids[w], int(seeds.start + i % seeds.count)) for w, i in zip(which, index, strict=True)
        ]

    def draw(self, count: int, start: int = 0) -> list[types.Scenario]:
        """The scenarios of ``pairs``."""
        return [sample(self._load(name), seed) for name, seed in self.pairs(count, start)]

    def _load(self, name: str):  # type: ignore[no-untyped-def]
        beside = self.file.parent / name
        return load_document(beside if name not in library_files() and beside.is_file() else name)


def list_suites() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(name: str | Path) -> Suite:
    """A suite by name (``heldout``) or path; raises ScenarioFileError with all its problems."""
    text = str(name)
    shipped = SUITES / f"{text}.yaml"
    path = shipped if shipped.is_file() else Path(text)
    if not path.is_file():
        close = difflib.get_close_matches(text, list_suites(), 1, 0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise RequestError(f"{text}: no such suite{hint}; known: {', '.join(list_suites())}")
    return Suite(_read(path), path)


def _read(path: Path) -> SuiteDocument:
    tree = read_tree(path)
    problems = list(tree.problems)
    document: SuiteDocument | None = None
    try:
        document = SuiteDocument.model_validate(tree.value)
    except ValidationError as error:
        found = schema_problems(error, tree.value, SuiteDocument)
        problems += [tree.locate(problem) for problem in found]
    if document is not None:
        problems += [tree.locate(problem) for problem in _check(document, tree)]
    if problems or document is None:
        raise ScenarioFileError(ordered(problems))
    return document


def _check(document: SuiteDocument, tree: Tree) -> list[Problem]:
    problems = []
    stem = Path(tree.file).stem
    if document.id != stem:
        problems.append(Problem(("id",), f"expected the file's name, {stem}, got {document.id}"))
    first, last = document.seeds.start, document.seeds.start + document.seeds.count - 1
    held_out = document.split == "heldout"
    if held_out and first < HELD_OUT_FROM:
        problems.append(
            Problem(("seeds", "start"), f"held-out seeds start at {HELD_OUT_FROM}, got {first}")
        )
    if not held_out and last >= HELD_OUT_FROM:
        problems.append(
            Problem(("seeds",), f"training seeds stay below {HELD_OUT_FROM}, got up to {last}")
        )
    if ("heldout" in document.id) != held_out:
        problems.append(
            Problem(("split",), "expected heldout for suites named so, and train for the others")
        )
    seen: set[str] = set()
    for i, entry in enumerate(document.scenarios):
        place = ("scenarios", i, "id")
        if entry.id in seen:
            problems.append(Problem(place, f"duplicate scenario {entry.id}; give it one weight"))
        seen.add(entry.id)
        if entry.id not in library_files() and not (Path(tree.file).parent / entry.id).is_file():
            problems.append(
                Problem(place, f"unknown scenario {entry.id}{near(entry.id, library_files())}")
            )
    return problems
