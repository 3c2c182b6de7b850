"""Choose scenarios of the library by what they are, in a suite's YAML or in words.

Words, as in ``--suite tag:pedestrian+kind:danger,family:cut_in@test``: ``+`` is and, ``,`` is or,
``@`` names the split or the seeds (``@3000000..3000099``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from alpamayo.types import RequestError
from scenarios.catalog import library_files
from scenarios.quantities import Strict, near
from scenarios.schema import ScenarioDocument
from scenarios.splits import HELD_OUT_FAMILIES, SEEDS, SPLITS, Split, holds, split_of_seed

Kind = Literal["danger", "twin", "ordinary"]
_KINDS = ("danger", "twin", "ordinary")
_SEVERITIES = ("S0", "S1", "S2", "S3")
_FIELDS = {
    "tag": "tags", "family": "families", "id": "ids", "kind": "kinds", "severity": "severities",
}  # fmt: skip


class Selector(Strict):
    """Scenarios of the library that meet every condition given; ``weight`` is shared evenly."""

    tags: list[str] = Field(default_factory=list)
    """All of them."""
    families: list[str] = Field(default_factory=list)
    """One of them, as in the others below."""
    ids: list[str] = Field(default_factory=list)
    kinds: list[Kind] = Field(default_factory=list)
    """danger, twin (the same scene without the danger), ordinary."""
    severities: list[Literal["S0", "S1", "S2", "S3"]] = Field(default_factory=list)
    held_out_families: bool | None = None
    """true: only families that are never trained on; false: only the others."""
    weight: Annotated[float, Field(gt=0.0)] = 1.0

    def matches(self, document: ScenarioDocument) -> bool:
        held_out = document.family in HELD_OUT_FAMILIES
        return (
            set(self.tags) <= set(document.tags)
            and (not self.families or document.family in self.families)
            and (not self.ids or document.id in self.ids)
            and (not self.kinds or kind_of(document) in self.kinds)
            and (not self.severities or document.severity in self.severities)
            and (self.held_out_families in (None, held_out))
        )


@dataclass(frozen=True)
class Words:
    """A suite given in words."""

    selectors: tuple[Selector, ...]
    split: Split | None
    seeds: range | None


def kind_of(document: ScenarioDocument) -> Kind:
    if not document.nominal:
        return "danger"
    return "twin" if document.extends else "ordinary"


@lru_cache(maxsize=1)
def known_words() -> dict[str, tuple[str, ...]]:
    """Field of a selector -> the values that occur in the library."""
    documents = _documents()
    return {
        "tags": tuple(sorted({tag for d in documents for tag in d.tags})),
        "families": tuple(sorted({d.family for d in documents})),
        "ids": tuple(library_files()),
        "kinds": _KINDS,
        "severities": _SEVERITIES,
    }


def unknown_words(selector: Selector) -> list[tuple[str, int, str]]:
    """(field, index, what is wrong) of values that nothing in the library has."""
    problems = []
    for name, known in known_words().items():
        for i, word in enumerate(getattr(selector, name)):
            if word not in known:
                one = next(word for word, field in _FIELDS.items() if field == name)
                hint = near(word, known) or f"; known: {', '.join(known)}"
                problems.append((name, i, f"no scenario has {one} {word}{hint}"))
    return problems


def select(selectors: list[Selector], split: Split) -> dict[str, float]:
    """Library id -> weight, in the library's order; families that ``split`` may not hold are left
    out. A scenario that several selectors choose gets the sum.
    """
    weights: dict[str, float] = {}
    for selector in selectors:
        found = [d.id for d in _documents() if selector.matches(d) and holds(split, d.family)]
        for name in found:
            weights[name] = weights.get(name, 0.0) + selector.weight / len(found)
    return {name: weights[name] for name in library_files() if name in weights}


def is_words(text: str) -> bool:
    """Whether ``text`` chooses scenarios in words instead of naming a suite."""
    return ":" in text and text.split(":", 1)[0] in _FIELDS


def parse(text: str) -> Words:
    """Raises RequestError that names the word that is wrong."""
    choice, at, place = text.partition("@")
    selectors = []
    for part in choice.split(","):
        values: dict[str, list[str]] = {}
        for word in part.split("+"):
            name, colon, value = (piece.strip() for piece in word.partition(":"))
            if not colon or name not in _FIELDS or not value:
                expected = ", ".join(f"{known}:NAME" for known in _FIELDS)
                raise RequestError(f"suite {text}: {word!r}: expected one of {expected}")
            values.setdefault(_FIELDS[name], []).append(value)
        for field in ("kinds", "severities"):
            for value in values.get(field, ()):
                if value not in known_words()[field]:
                    known = ", ".join(known_words()[field])
                    raise RequestError(f"suite {text}: {value}: expected one of {known}")
        selector = Selector.model_validate(values)
        for _, _, message in unknown_words(selector):
            raise RequestError(f"suite {text}: {message}")
        selectors.append(selector)
    split, seeds = _place(text, place) if at else (None, None)
    return Words(tuple(selectors), split, seeds)


def _place(text: str, place: str) -> tuple[Split, range | None]:
    for split in SPLITS:
        if place == split:
            return split, None
    first, dots, last = place.partition("..")
    if not (first.isdecimal() and (last.isdecimal() or not dots)):
        raise RequestError(
            f"suite {text}: @{place}: expected a split ({', '.join(SPLITS)}) or seeds FIRST..LAST"
        )
    seeds = range(int(first), int(last or first) + 1)
    home = split_of_seed(seeds.start)
    if not seeds or home is None or seeds[-1] not in SEEDS[home]:
        spans = ", ".join(f"{s} {r.start}..{r[-1]}" for s, r in SEEDS.items())
        raise RequestError(f"suite {text}: @{place}: expected seeds of one split: {spans}")
    return home, seeds


def _documents() -> list[ScenarioDocument]:
    from scenarios.catalog import list_documents

    return list_documents()
