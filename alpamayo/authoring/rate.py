"""How often a policy fails, from episodes that were drawn more often where it fails: an estimate
and an interval that holds its level whatever the failures look like.

The interval is found by betting (Waudby-Smith & Ramdas, "Estimating means of bounded random
variables by betting", JRSS B 2024). For a supposed rate r, each episode pays w (h - r): w its
importance weight, h whether it failed. If r is the truth that is worth nothing on average, given
all that was known when the episode was drawn, whatever the proposal; so the wealth of somebody
who bets on it, never more than there is, reaches 1 / a with probability a at most (Ville 1939).
Rates against which a bet on either side won that much (a = 2.5 % each) are left out. Nothing is
asymptotic and no variance is trusted: weights are bounded by the defensive share of the proposal,
and rare failures where the search has not looked widen the interval as they must. How much is
bet only decides the width: after every episode just enough to win in what is left, by the
variance that the episodes of earlier rounds let expect (Voracek & Orabona, "STaR-Bets", 2025).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alpamayo.stats import Interval
from alpamayo.types import BoolArray, FloatArray

METHOD = "betting"
_PRIOR = 4.0  # episodes of weight 1 that stand behind the expected variance
_MOST = 0.95  # of the wealth, at stake in the worst case
_SMALL = np.geomspace(1e-5, 0.02, 250)
_GRID = np.concatenate([_SMALL, np.linspace(0.02, 0.98, 961)[1:-1], 1.0 - _SMALL[::-1]])


@dataclass(frozen=True)
class Round:
    """Episodes drawn from one proposal, in order.

    ``weights`` [n] are own density over the proposal's, at most ``most_weight``; ``hits`` [n]. What
    ``past`` episodes of earlier rounds let expect of this one: the mean of the squared weights of
    hits and of misses (0 without a past).
    """

    weights: FloatArray
    hits: BoolArray
    most_weight: float
    past: int = 0
    of_hits: float | FloatArray = 0.0
    of_misses: float | FloatArray = 0.0


def failure_rate(rounds: Sequence[Round], level: float = 0.95) -> Interval:
    """Weighted share of hits, with the interval of the rates that no bet wins against."""
    weights = np.concatenate([r.weights for r in rounds])
    hits = np.concatenate([r.hits for r in rounds])
    value = float((weights * hits).sum() / weights.sum())
    above = bet_wins(rounds, _GRID, 1, (1.0 - level) / 2)
    below = bet_wins(rounds, _GRID, -1, (1.0 - level) / 2)
    first, last = int(np.argmin(above)), len(_GRID) - 1 - int(np.argmin(below[::-1]))
    low = 0.0 if first == 0 else float(_GRID[first - 1])
    high = 1.0 if last == len(_GRID) - 1 else float(_GRID[last + 1])
    return Interval(value, min(low, value), max(high, value))


def bet_wins(rounds: Sequence[Round], rates: FloatArray, side: int, risk: float) -> BoolArray:
    """For each supposed rate in ``rates`` [R] whether a bet that the truth is above (``side`` 1) or
    below (-1) makes 1 / ``risk`` of its stake. ``weights`` and ``hits`` may be [n, R]: a
    series of episodes for each rate.
    """
    goal = -math.log(risk)
    wealth = np.zeros(len(rates))  # logarithm
    won = np.zeros(len(rates), dtype=bool)
    left = sum(len(r.weights) for r in rounds)
    for r in rounds:
        share = r.past + _PRIOR
        of_hits = (r.past * r.of_hits + _PRIOR * rates) / share
        of_misses = (r.past * r.of_misses + _PRIOR * (1.0 - rates)) / share
        variance = of_hits * (1.0 - rates) ** 2 + of_misses * rates**2
        most = _MOST / (r.most_weight * (rates if side > 0 else 1.0 - rates))
        for weight, hit in zip(r.weights, r.hits, strict=True):
            stake = np.sqrt(2.0 * np.maximum(goal - wealth, 0.0) / (variance * left))
            gain = np.log1p(side * np.minimum(stake, most) * weight * (hit - rates))
            wealth = np.where(won, wealth, wealth + gain)
            won |= wealth >= goal
            left -= 1
    return won
