"""Which scenario an environment drives next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.types import RequestError, Scenario, TrafficSpec
from scenarios.splits import HELD_OUT_FAMILIES, SEEDS, SPLITS, Split, holds, split_of_seed

ScenarioChoice = str | Path | Scenario | Sequence[str | Path | Scenario]


class ScenarioSource:
    """Draws scenarios from library ids, files or ready-made ``Scenario`` objects.

    ``traffic`` (or a number of vehicles) replaces the scenarios' own background traffic. ``split``:
    what it may draw; a family or a seed that another split holds out is refused.
    """

    def __init__(
        self,
        choice: ScenarioChoice,
        traffic: TrafficSpec | int | None = None,
        split: Split = "train",
    ) -> None:
        if split not in SPLITS:
            raise RequestError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
        self._split: Split = split
        single = isinstance(choice, (str, Path, Scenario))
        entries = [choice] if single else list(choice)  # type: ignore[arg-type, list-item]
        if not entries:
            raise RequestError("scenario: expected a library id, a path or a list of them, got []")
        self._traffic = _traffic(traffic)
        self._entries = [self._entry(entry) for entry in entries]

    def _entry(self, entry: Any) -> Any:
        if isinstance(entry, Scenario):
            self._check_family(entry.id, entry.family)
            self._check_seed(f"scenario: {entry.id}", entry.seed)
            return self._with_traffic(entry)
        if isinstance(entry, (str, Path)):
            from scenarios.load import load_document

            document = load_document(str(entry))
            self._check_family(document.id, document.family)
            return document
        raise RequestError(
            f"scenario: expected a library id, a path or a list of them, got {type(entry).__name__}"
        )

    def _check_family(self, name: str, family: str) -> None:
        if not holds(self._split, family):
            raise RequestError(
                f"scenario: {name}: family {family} is held out of split {self._split}; "
                f'to evaluate on it, not to train, pass split="{HELD_OUT_FAMILIES[family]}"'
            )

    def _check_seed(self, place: str, seed: int) -> None:
        """A seed of no split is nobody's, and as good as one of this."""
        home = split_of_seed(seed)
        if home not in (None, self._split):
            own = SEEDS[self._split]
            raise RequestError(
                f"{place}: seed {seed} belongs to split {home}; expected one of {self._split}, "
                f'{own.start}..{own[-1]}, or split="{home}"'
            )

    def _with_traffic(self, scenario: Scenario) -> Scenario:
        return scenario if self._traffic is None else replace(scenario, traffic=self._traffic)

    def draw(self, rng: np.random.Generator, seed: int | None) -> Scenario:
        """The next scenario; ``seed`` fixes its parameters (ready-made scenarios have none to
        draw)."""
        entry = self._entries[int(rng.integers(len(self._entries)))]
        own = SEEDS[self._split]
        fresh = own.start + int(rng.integers(len(own)))
        if isinstance(entry, Scenario):
            return entry
        from scenarios.sample import sample

        if seed is None:
            return self._with_traffic(sample(entry, fresh))
        self._check_seed("reset", seed)
        return self._with_traffic(sample(entry, seed))


def _traffic(traffic: TrafficSpec | int | None) -> TrafficSpec | None:
    if traffic is None or isinstance(traffic, TrafficSpec):
        return traffic
    if isinstance(traffic, int) and not isinstance(traffic, bool) and traffic >= 0:
        return TrafficSpec(vehicles=traffic)
    raise RequestError(
        f"traffic: expected a TrafficSpec or a number of vehicles >= 0, got {traffic!r}"
    )
