"""Searches without driving: failures are boxes in the cube whose volume is known, so that the
failure rate is. ``python -m tests.alpamayo.search_cases`` prints how often the interval of
``alpamayo.authoring.rate`` holds it.
"""

from __future__ import annotations

import math

import numpy as np

from alpamayo.authoring.proposal import Proposal
from alpamayo.authoring.rate import Round, bet_wins, failure_rate
from alpamayo.stats import wilson_interval
from alpamayo.types import FloatArray

DIMENSIONS, CELLS, ROUNDS = 6, 6, 6
_OF_A_BOX = 3  # dimensions that it bounds


class Boxes:
    """``count`` boxes apart from each other, of volume ``rate`` together."""

    def __init__(self, rate: float, count: int, rng: np.random.Generator) -> None:
        self._side = (rate / count) ** (1 / _OF_A_BOX)
        self._low = rng.random((count, _OF_A_BOX)) * (1.0 - self._side)
        free = max(0.0, 1.0 - count * self._side)
        self._low[:, 0] = np.sort(rng.random(count) * free) + self._side * np.arange(count)

    def distance(self, points: FloatArray) -> FloatArray:
        """[n] from the nearest box; 0 inside."""
        inner = points[:, None, :_OF_A_BOX]
        beyond = np.maximum(self._low - inner, inner - self._low - self._side)
        return np.maximum(beyond, 0.0).max(axis=2).min(axis=1)


def one_search(episodes: int, boxes: Boxes, rng: np.random.Generator) -> list[Round]:
    """As ``alpamayo.authoring.search`` goes about it."""
    proposal = Proposal.uniform((np.linspace(0.0, 1.0, CELLS + 1),) * DIMENSIONS)
    rounds: list[Round] = []
    points = np.zeros((0, DIMENSIONS))
    weights, away = np.zeros(0), np.zeros(0)
    for number in range(ROUNDS):
        count = episodes * (number + 1) // ROUNDS - episodes * number // ROUNDS
        of_hits = of_misses = 0.0
        if number:
            squares, hit = weights / weights.mean() / proposal.density(points), away <= 0.0
            of_hits, of_misses = float(np.mean(squares * hit)), float(np.mean(squares * ~hit))
        drawn = proposal.draw(count, rng)
        own, distance = 1.0 / proposal.density(drawn), boxes.distance(drawn)
        most = 1.0 / proposal.defensive
        rounds.append(Round(own, distance <= 0.0, most, len(points), of_hits, of_misses))
        points, weights = np.concatenate([points, drawn]), np.concatenate([weights, own])
        away = np.concatenate([away, distance])
        failed = np.flatnonzero(away <= 0.0)
        wanted = max(2, math.ceil(0.2 * len(points)))
        elite = failed if len(failed) >= wanted else np.argsort(away, kind="stable")[:wanted]
        proposal = proposal.towards(points[elite], weights[elite])
    return rounds


def missed(episodes: int, rate: float, boxes: int, searches: int, seed: int = 0) -> int:
    """How many of ``searches`` intervals do not hold the truth."""
    rng = np.random.default_rng([seed, episodes, boxes, round(1000 * rate)])
    found = [one_search(episodes, Boxes(rate, boxes, rng), rng) for _ in range(searches)]
    together = [
        Round(
            np.stack([r.weights for r in same], axis=1),
            np.stack([r.hits for r in same], axis=1),
            same[0].most_weight,
            same[0].past,
            np.array([r.of_hits for r in same]),
            np.array([r.of_misses for r in same]),
        )
        for same in zip(*found, strict=True)
    ]
    truth = np.full(searches, rate)
    out = bet_wins(together, truth, 1, 0.025) | bet_wins(together, truth, -1, 0.025)
    return int(out.sum())


def main() -> None:
    print("episodes  rate  boxes  holds the truth   width  of as many plain draws (Wilson)")
    for episodes in (100, 240, 480, 1000, 2000):
        for rate, boxes in ((0.01, 1), (0.01, 4), (0.02, 1), (0.05, 1), (0.05, 4), (0.5, 1)):
            searches = 600 if episodes <= 480 else 240
            held = 1.0 - missed(episodes, rate, boxes, searches) / searches
            rng = np.random.default_rng(1)
            found = [
                failure_rate(one_search(episodes, Boxes(rate, boxes, rng), rng)) for _ in range(15)
            ]
            width = float(np.median([f.high - f.low for f in found]))
            plain = wilson_interval(round(rate * episodes), episodes)
            print(
                f"{episodes:8}  {rate:4.0%}  {boxes:5}  {held:14.1%}  {width:7.4f}  "
                f"{plain.high - plain.low:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
