"""Which scenario an environment drives next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.types import RequestError, Scenario, TrafficSpec

EPISODE_SEEDS = 1_000_000  # seeds below this are for training

ScenarioChoice = str | Path | Scenario | Sequence[str | Path | Scenario]


class ScenarioSource:
    """Draws scenarios from library ids, files or ready-made ``Scenario`` objects.

    ``traffic`` (or a number of vehicles) replaces the scenarios' own background traffic.
    """

    def __init__(self, choice: ScenarioChoice, traffic: TrafficSpec | int | None = None) -> None:
        single = isinstance(choice, (str, Path, Scenario))
        entries = [choice] if single else list(choice)  # type: ignore[arg-type, list-item]
        if not entries:
            raise RequestError("scenario: expected a library id, a path or a list of them, got []")
        self._traffic = _traffic(traffic)
        self._entries = [self._entry(entry) for entry in entries]

    def _entry(self, entry: Any) -> Any:
        if isinstance(entry, Scenario):
            return self._with_traffic(entry)
        if isinstance(entry, (str, Path)):
            from scenarios.load import load_document

            return load_document(str(entry))
        raise RequestError(
            f"scenario: expected a library id, a path or a list of them, got {type(entry).__name__}"
        )

    def _with_traffic(self, scenario: Scenario) -> Scenario:
        return scenario if self._traffic is None else replace(scenario, traffic=self._traffic)

    def draw(self, rng: np.random.Generator, seed: int | None) -> Scenario:
        """The next scenario; ``seed`` fixes its parameters (ready-made scenarios have none to
        draw)."""
        entry = self._entries[int(rng.integers(len(self._entries)))]
        fresh = int(rng.integers(EPISODE_SEEDS))
        if isinstance(entry, Scenario):
            return entry
        from scenarios.sample import sample

        return self._with_traffic(sample(entry, fresh if seed is None else seed))


def _traffic(traffic: TrafficSpec | int | None) -> TrafficSpec | None:
    if traffic is None or isinstance(traffic, TrafficSpec):
        return traffic
    if isinstance(traffic, int) and not isinstance(traffic, bool) and traffic >= 0:
        return TrafficSpec(vehicles=traffic)
    raise RequestError(
        f"traffic: expected a TrafficSpec or a number of vehicles >= 0, got {traffic!r}"
    )
