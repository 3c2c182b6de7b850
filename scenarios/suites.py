"""Suites: which scenarios with which weights and seeds. Training and held-out seeds never meet.

``draw(count, start)`` is a pure function of its numbers: draw i of a suite is the same whoever
asks for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
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
from scenarios.pins import complaint, pinned
from scenarios.quantities import Strict, Word, near
from scenarios.sample import sample
from scenarios.schema import ScenarioDocument
from scenarios.selectors import Selector, is_words, parse, select, unknown_words
from scenarios.splits import HELD_OUT_FAMILIES, SEEDS, Split, holds
from scenarios.yaml_tree import Problem, ScenarioFileError, Tree, read_tree

_GOLDEN_RATIO = 0.6180339887498949


class SuiteEntry(Strict):
    id: str
    """Library id, or path of a scenario file relative to the suite's."""
    weight: Annotated[float, Field(gt=0.0)] = 1.0
    parameters: dict[str, float | str] = Field(default_factory=dict)
    """Parameters at fixed values; the others are drawn."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """With it, and all parameters fixed, this is one exact case."""


class Seeds(Strict):
    start: Annotated[int, Field(ge=0)]
    count: Annotated[int, Field(ge=1)]


class SuiteDocument(Strict):
    """One suite file."""

    schema_version: Literal[1]
    id: str
    description: str
    split: Split
    order: Literal["random", "even", "listed"] = "random"
    """even: any stretch of draws holds the scenarios in proportion to their weights. listed: one
    after the other, weights do not matter.
    """
    scenarios: list[SuiteEntry] = Field(default_factory=list)
    select: list[Selector] = Field(default_factory=list)
    """Scenarios of the library by tag, family and kind: whatever it holds now."""
    seeds: Seeds


class _SuiteFile(SuiteDocument):
    id: Word


@dataclass(frozen=True)
class Suite:
    """A suite, ready to draw from."""

    document: SuiteDocument
    file: Path

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def split(self) -> Split:
        return self.document.split

    @cached_property
    def entries(self) -> tuple[SuiteEntry, ...]:
        """What is listed, then what is selected."""
        chosen = select(self.document.select, self.split) if self.document.select else {}
        listed = {entry.id for entry in self.document.scenarios}
        more = (SuiteEntry(id=n, weight=w) for n, w in chosen.items() if n not in listed)
        return (*self.document.scenarios, *more)

    @cached_property
    def shares(self) -> dict[str, float]:
        """Scenario id -> its share of the draws; sums to 1."""
        weights = [1.0 if self.document.order == "listed" else e.weight for e in self.entries]
        total, shares = sum(weights), dict[str, float]()
        for entry, weight in zip(self.entries, weights, strict=True):
            shares[entry.id] = shares.get(entry.id, 0.0) + weight / total
        return shares

    def pairs(self, count: int, start: int = 0) -> list[tuple[str, int]]:
        """(scenario id, seed) of the draws ``start`` .. ``start + count - 1``."""
        return [(entry.id, seed) for entry, seed in self._cases(count, start)]

    def draw(
        self, count: int, start: int = 0, shares: Mapping[str, float] | None = None
    ) -> list[types.Scenario]:
        """The scenarios of ``pairs``; with ``shares`` (by scenario id, of every one) drawn in these
        instead of the suite's own.
        """
        return [
            sample(pinned(self.load(entry.id), entry.parameters), seed)
            for entry, seed in self._cases(count, start, shares)
        ]

    def load(self, name: str) -> ScenarioDocument:
        """The document of an entry's id."""
        return _load(name, self.file.parent)

    def _cases(
        self, count: int, start: int, shares: Mapping[str, float] | None = None
    ) -> list[tuple[SuiteEntry, int]]:
        if count < 0 or start < 0:
            raise RequestError(f"suite {self.id}: expected count and start of at least 0")
        index = np.arange(start, start + count)
        which, seeds = self._which(index, shares), self.document.seeds
        cases = []
        for w, i in zip(which, index, strict=True):
            entry = self.entries[w]
            drawn = int(seeds.start + i % seeds.count)
            cases.append((entry, drawn if entry.seed is None else entry.seed))
        return cases

    def _which(
        self, index: types.IntArray, shares: Mapping[str, float] | None = None
    ) -> Sequence[int]:
        """Entry of each draw; ``shares`` see ``draw``."""
        order = self.document.order
        weights = [1.0 if order == "listed" else entry.weight for entry in self.entries]
        if shares is not None:
            # Entries of one scenario keep their proportions.
            factors = [shares[e.id] / self.shares[e.id] for e in self.entries]
            weights = [w * f for w, f in zip(weights, factors, strict=True)]
        elif order == "listed":
            return [int(i) for i in index % len(self.entries)]
        if order in ("even", "listed"):
            u = ((index + 0.5) * _GOLDEN_RATIO) % 1.0
        else:
            keys = streams.keys(self.document.seeds.start, streams.STREAM_SUITE, index)
            u = streams.uniform(keys, 1)[:, 0]
        total = sum(weights)
        bounds = np.cumsum([weight / total for weight in weights])
        found = np.minimum(np.searchsorted(bounds, u, side="right"), len(bounds) - 1)
        return [int(w) for w in found]


# --------------------------------------------------------------------------------------
# Finding suites
# --------------------------------------------------------------------------------------
def list_suites() -> list[str]:
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(name: str | Path, split: Split = "heldout") -> Suite:
    """A suite by name (``heldout``), path or words (``tag:pedestrian@test``); raises
    ScenarioFileError with all its problems. ``split``: of words that name none.
    """
    text = str(name)
    if is_words(text):
        return _suite_of_words(text, split)
    shipped = SUITES / f"{text}.yaml"
    path = shipped if shipped.is_file() else Path(text)
    if not path.is_file():
        close = difflib.get_close_matches(text, list_suites(), 1, 0.5)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise RequestError(
            f"{text}: no such suite{hint}; known: {', '.join(list_suites())}, "
            "or words such as tag:pedestrian"
        )
    return Suite(_read(path), path)


def load_training_suite(name: str | Path) -> Suite:
    """A suite that may be trained on; RequestError for one of another split."""
    suite = load_suite(name, split="train")
    if suite.split != "train":
        known = [n for n in list_suites() if load_suite(n).split == "train"]
        raise RequestError(
            f"suite {name}: its split is {suite.split}; training takes suites of split train only, "
            f"such as {', '.join(known)}"
        )
    return suite


def load_selection_suite(name: str | Path) -> Suite:
    """A suite on which checkpoints may be chosen; RequestError for one of split test."""
    suite = load_suite(name, split="validation")
    if suite.split == "test":
        raise RequestError(
            f"suite {name}: its split is test, which is for the final figure; the evaluation on "
            "the way chooses the best checkpoint: take validation or heldout"
        )
    return suite


def _suite_of_words(text: str, split: Split) -> Suite:
    words = parse(text)
    split = words.split or split
    seeds = words.seeds or SEEDS[split]
    document = SuiteDocument(
        schema_version=1,
        id=text,
        description="chosen in words",
        split=split,
        order="even",
        select=list(words.selectors),
        seeds=Seeds(start=seeds.start, count=len(seeds)),
    )
    suite = Suite(document, SUITES / "words.yaml")
    for selector in words.selectors:
        if not select([selector], split):
            raise RequestError(f"suite {text}: {_nothing(selector, split)}")
    return suite


def _nothing(selector: Selector, split: Split) -> str:
    elsewhere = select([selector], "test")
    if elsewhere:
        names = sorted({load_document(name).family for name in elsewhere})
        homes = ", ".join(f"{n} (for {HELD_OUT_FAMILIES[n]})" for n in names)
        return f"only held-out families match, and {split} may not hold them: {homes}"
    return "no scenario of the library meets all of this"


def _load(name: str, folder: Path) -> ScenarioDocument:
    beside = folder / name
    return load_document(beside if name not in library_files() and beside.is_file() else name)


# --------------------------------------------------------------------------------------
# Checks
# --------------------------------------------------------------------------------------
def _read(path: Path) -> SuiteDocument:
    tree = read_tree(path)
    problems = list(tree.problems)
    document: SuiteDocument | None = None
    try:
        document = _SuiteFile.model_validate(tree.value)
    except ValidationError as error:
        found = schema_problems(error, tree.value, _SuiteFile)
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
    problems += _check_split(document)
    if not document.scenarios and not document.select:
        problems.append(Problem((), "expected scenarios or select"))
    seen: set[tuple[str, str]] = set()
    for i, entry in enumerate(document.scenarios):
        place = ("scenarios", i, "id")
        case = (entry.id, repr((sorted(entry.parameters.items()), entry.seed)))
        if case in seen:
            problems.append(Problem(place, f"duplicate scenario {entry.id}; give it one weight"))
        seen.add(case)
        if entry.id not in library_files() and not (Path(tree.file).parent / entry.id).is_file():
            problems.append(
                Problem(place, f"unknown scenario {entry.id}{near(entry.id, library_files())}")
            )
            continue
        problems += _check_entry(entry, i, document.split, Path(tree.file).parent)
    for i, selector in enumerate(document.select):
        wrong = unknown_words(selector)
        problems += [Problem(("select", i, name, n), told) for name, n, told in wrong]
        if not wrong and not select([selector], document.split):
            problems.append(Problem(("select", i), _nothing(selector, document.split)))
    return problems


def _check_split(document: SuiteDocument) -> list[Problem]:
    problems = []
    split, seeds = document.split, SEEDS[document.split]
    first, last = document.seeds.start, document.seeds.start + document.seeds.count - 1
    if first not in seeds or last not in seeds:
        span = f"{seeds.start} to {seeds[-1]}"
        problems.append(
            Problem(("seeds",), f"seeds of split {split} are {span}, got {first} to {last}")
        )
    others = [word for word in ("heldout", "validation", "test") if word in document.id.split("_")]
    if split == "train" and others:
        problems.append(
            Problem(("split",), f"expected another split than train for a suite named {others[0]}")
        )
    if split != "train" and split not in document.id:
        problems.append(
            Problem(("id",), f"expected a name that holds {split}, the split, got {document.id}")
        )
    return problems


def _check_entry(entry: SuiteEntry, i: int, split: Split, folder: Path) -> list[Problem]:
    """What is wrong with one entry of an existing scenario."""
    problems = []
    if entry.seed is not None and entry.seed not in SEEDS[split]:
        seeds = SEEDS[split]
        told = f"seeds of split {split} are {seeds.start} to {seeds[-1]}, got {entry.seed}"
        problems.append(Problem(("scenarios", i, "seed"), told))
    document = _load(entry.id, folder)
    if not holds(split, document.family):
        home = HELD_OUT_FAMILIES[document.family]
        told = f"family {document.family} is held out for {home}; a suite of split {split}"
        problems.append(Problem(("scenarios", i, "id"), f"{told} may not hold it"))
    for name, value in entry.parameters.items():
        told_of = complaint(document, name, value)
        if told_of:
            problems.append(Problem(("scenarios", i, "parameters", name), told_of))
    return problems
