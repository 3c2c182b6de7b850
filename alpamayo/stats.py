"""Intervals and tests over episodes: pure functions, numpy only, seeded.

Which interval is used where, and how often each one covers what it should, is in docs/evaluation.md
and tests/alpamayo/test_interval_coverage.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import FloatArray

Z_95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval (or another level, as asked)."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float | None]:
        """JSON-safe: numbers that are not finite become None."""
        pairs = {"value": self.value, "low": self.low, "high": self.high}
        return {k: (v if math.isfinite(v) else None) for k, v in pairs.items()}


def wilson_interval(successes: int, count: int, z: float = Z_95) -> Interval:
    """Wilson's score interval of a proportion; [0, 1] when there is nothing to count."""
    if not 0 <= successes <= count:
        raise ValueError(f"successes must be in 0..{count}, got {successes}")
    if count == 0:
        return Interval(math.nan, 0.0, 1.0)
    share = successes / count
    scale = 1.0 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # Rounding must not put an end of 0 or 1 beside the share.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


# Of -log(0.95) and the like: the Poisson mean with P(X >= x) = 5 %, for x = 1, 2, 3.
_POISSON_5 = (0.051293, 0.355362, 0.817691)


def rate_interval(successes: int, count: int) -> Interval:
    """Wilson's 95 % interval with the small-count end of Brown, Cai & DasGupta ("Interval
    estimation for a binomial proportion", Statistical Science 2001, section 4.1.1).

    Wilson's lower end lies too high when one to three events were seen, so that for rates near
    0.2 / n it covers in 84 % of the cases instead of 95 %; the modified one in 91.6 % at worst.
    """
    plain = wilson_interval(successes, count)
    low, high = plain.low, plain.high
    known = 2 if count <= 50 else 3
    if 1 <= successes <= known and 2 * successes < count:
        low = min(low, _POISSON_5[successes - 1] / count)
    if 1 <= count - successes <= known and 2 * (count - successes) < count:
        high = max(high, 1.0 - _POISSON_5[count - successes - 1] / count)
    return Interval(plain.value, low, high)


def _changes(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[int, int, int, int]:
    """(both, only before, only after, all) of paired yes/no outcomes."""
    before_b, after_b = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    if before_b.shape != after_b.shape:
        raise ValueError(f"expected pairs, got {before_b.shape} and {after_b.shape}")
    both = int((before_b & after_b).sum())
    return both, int(before_b.sum()) - both, int(after_b.sum()) - both, len(before_b)


def rate_difference(before: npt.ArrayLike, after: npt.ArrayLike) -> Interval:
    """Rate after - rate before over paired yes/no outcomes, with the adjusted Wald interval of
    Bonett & Price (British Journal of Mathematical and Statistical Psychology 65, 2012): one more
    pair that changed, each way. A bootstrap would be of no width where no pair changed.
    """
    _, lost, gained, count = _changes(before, after)
    if count == 0:
        return Interval(math.nan, -1.0, 1.0)
    down, up = (lost + 1) / (count + 2), (gained + 1) / (count + 2)
    centre = up - down
    half = Z_95 * math.sqrt((up + down - centre * centre) / (count + 2))
    return Interval((gained - lost) / count, max(-1.0, centre - half), min(1.0, centre + half))


def rate_reduction(before: npt.ArrayLike, after: npt.ArrayLike) -> Interval:
    """1 - rate after / rate before over paired yes/no outcomes, with the hybrid score interval of
    Bonett & Price ("Confidence intervals for a ratio of binomial proportions based on paired
    data", Statistics in Medicine 25, 2006). Without a case before, the reduction is 0 if there is
    none after either, else -inf.
    """
    both, lost, gained, count = _changes(before, after)
    old, new, either = both + lost, both + gained, both + lost + gained
    value = 1.0 - new / old if old else (-math.inf if new else 0.0)
    if count == 0 or either == 0:
        return Interval(value, -math.inf, 1.0)
    spread = math.sqrt((lost + gained + 2) / ((old + 1) * (new + 1)))
    parts = [math.sqrt((1.0 - (x + 1) / (either + 2)) / (x + 1)) for x in (old, new)]
    z = Z_95 * spread / sum(parts)
    old_rate, new_rate = (wilson_interval(x, either, z) for x in (old, new))
    low = 1.0 - new_rate.high / old_rate.low if old_rate.low > 0 else -math.inf
    return Interval(value, low, 1.0 - new_rate.low / old_rate.high)


Statistic = Callable[[FloatArray], npt.NDArray[Any]]


def paired_bootstrap(
    columns: Sequence[npt.ArrayLike],
    statistic: Statistic | None = None,
    *,
    ends: Sequence[Sequence[float]] = (),
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Bootstrap over episodes, all ``columns`` ([N] each) resampled together.

    ``statistic`` maps the column means [C, R] of R resamples to [R] values; the default is the
    first column's mean if there is one column, else the second minus the first.

    ``ends`` are pseudo-episodes (one value per column) that are resampled with the others but do
    not count in the estimate: for values in a known range, one at each of its ends. They do for
    scores what adding two successes and two failures does for rates (Agresti & Coull 1998): a
    sample that happens to hold no failure still says how many there may be. Without them the
    quantiles are taken a little farther out, as Student's are (Hesterberg, "What teachers should
    know about the bootstrap", The American Statistician 2015, expanded percentile interval).
    """
    data = np.stack([np.asarray(c, dtype=np.float64) for c in columns])
    if data.ndim != 2:
        raise ValueError(f"columns must be [N] each, got {data.shape[1:]}")
    if statistic is None:
        statistic = (lambda m: m[0]) if len(data) == 1 else (lambda m: m[1] - m[0])
    if data.shape[1] == 0:
        return Interval(math.nan, math.nan, math.nan)
    tail = (1 - level) / 2 if ends else _expanded_tail((1 - level) / 2, data.shape[1])
    pool = np.concatenate([data, np.asarray(ends, dtype=np.float64).T], axis=1) if ends else data
    count = pool.shape[1]
    rng = np.random.default_rng(seed)
    values = []
    chunk = max(1, 2_000_000 // count)
    for start in range(0, resamples, chunk):
        index = rng.integers(0, count, size=(min(chunk, resamples - start), count))
        values.append(statistic(np.stack([column[index].mean(axis=1) for column in pool])))
    sample = np.concatenate(values)
    # Nearest order statistics instead of interpolation: a resample may be infinite (empty
    # denominator).
    low = float(np.quantile(sample, tail, method="lower"))
    high = float(np.quantile(sample, 1 - tail, method="higher"))
    return Interval(float(statistic(data.mean(axis=1)[:, None])[0]), low, high)


def _expanded_tail(tail: float, count: int) -> float:
    """The tail at which a percentile interval of ``count`` values is as wide as Student's."""
    free = max(count - 1, 3)  # the expansion is of no use below
    z = -NormalDist().inv_cdf(tail)
    # Student's quantile by its expansion in 1 / degrees of freedom (Abramowitz & Stegun 26.7.5).
    t = (
        z
        + (z**3 + z) / (4 * free)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * free**3)
    )
    return NormalDist().cdf(-t * math.sqrt((free + 1) / free))


def ratio_of_means(
    value: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    ends: Sequence[Sequence[float]] = (),
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """mean(value) / mean(reference) over paired episodes, with its paired bootstrap interval."""

    def ratio(means: FloatArray) -> npt.NDArray[Any]:
        safe = np.where(means[1] > 0, means[1], 1.0)
        return np.where(means[1] > 0, means[0] / safe, np.nan)

    return paired_bootstrap([value, reference], ratio, ends=ends, seed=seed, resamples=resamples)


def incidents_per_distance(
    incident: npt.ArrayLike,
    distance: npt.ArrayLike,
    *,
    seed: int = 0,
    resamples: int = 10_000,
) -> Interval:
    """Incidents per unit of ``distance`` over episodes, with two pseudo-episodes of mean length:
    one with an incident, one without.
    """
    driven = np.asarray(distance, dtype=np.float64)
    usual = float(driven.mean()) if len(driven) else math.nan
    ends = [[1.0, usual], [0.0, usual]]
    return ratio_of_means(incident, driven, ends=ends, seed=seed, resamples=resamples)


def mcnemar(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Two-sided p-value that paired binary outcomes changed in both directions equally often.

    Exact binomial up to 1,000 discordant pairs, normal approximation with continuity correction
    above.
    """
    _, better, worse, _ = _changes(before, after)
    discordant = better + worse
    if discordant == 0:
        return 1.0
    if discordant > 1000:
        z = max(abs(better - worse) - 1, 0) / math.sqrt(discordant)
        return math.erfc(z / math.sqrt(2))
    tail = sum(math.comb(discordant, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def sign_flip_test(
    before: npt.ArrayLike, after: npt.ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> float:
    """Two-sided p-value that which policy got which score of a pair is chance.

    A paired permutation test on the sum of the differences: each pair's two scores are exchanged at
    random, ``resamples`` times; the observed arrangement counts as one of them, so the test never
    rejects more often than its level (Phipson & Smyth 2010).
    """
    change = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    change = change[change != 0.0]
    if not len(change):
        return 1.0
    observed = abs(change.sum())
    least = observed - 1e-9 * np.abs(change).sum()  # equal sums differ by rounding
    rng = np.random.default_rng(seed)
    as_far, chunk = 0, max(1, 2_000_000 // len(change))
    for start in range(0, resamples, chunk):
        signs = rng.integers(0, 2, size=(min(chunk, resamples - start), len(change)), dtype=np.int8)
        as_far += int((np.abs((2.0 * signs - 1.0) @ change) >= least).sum())
    return (1 + as_far) / (1 + resamples)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down procedure (Scandinavian Journal of Statistics 1979):
    whatever the tests have to do with each other, the chance that any true null hypothesis falls
    below 5 % stays below 5 %.
    """
    order = np.argsort(np.asarray(p_values, dtype=np.float64), kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * float(p_values[index])))
        adjusted[int(index)] = highest
    return adjusted
