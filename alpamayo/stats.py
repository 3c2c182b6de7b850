"""Intervals and tests over episodes: pure functions, numpy only, seeded."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


Statistic = Callable[[FloatArray], npt.NDArray[Any]]


def paired_bootstrap(
    columns: Sequence[npt.ArrayLike],
    statistic: Statistic | None = None,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap over episodes, all ``columns`` ([N] each) resampled together.

    ``statistic`` maps the column means [C, R] of R resamples to [R] values; the default is the
    first column's mean if there is one column, else the second minus the first.
    """
    data = np.stack([np.asarray(c, dtype=np.float64) for c in columns])
    if data.ndim != 2:
        raise ValueError(f"columns must be [N] each, got {data.shape[1:]}")
    if statistic is None:
        statistic = (lambda m: m[0]) if len(data) == 1 else (lambda m: m[1] - m[0])
    count = data.shape[1]
    if count == 0:
        return Interval(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    values = []
    chunk = max(1, 2_000_000 // count)
    for start in range(0, resamples, chunk):
        index = rng.integers(0, count, size=(min(chunk, resamples - start), count))
        values.append(statistic(np.stack([column[index].mean(axis=1) for column in data])))
    sample = np.concatenate(values)
    # Nearest order statistics instead of interpolation: a resample may be infinite (empty
    # denominator).
    low = float(np.quantile(sample, (1 - level) / 2, method="lower"))
    high = float(np.quantile(sample, (1 + level) / 2, method="higher"))
    return Interval(float(statistic(data.mean(axis=1)[:, None])[0]), low, high)


def _reduction(means: FloatArray) -> npt.NDArray[Any]:
    before, after = means[0], means[1]
    safe = np.where(before > 0, before, 1.0)
    return np.where(before > 0, 1.0 - after / safe, np.where(after > 0, -np.inf, 0.0))


def relative_reduction(
    before: npt.ArrayLike, after: npt.ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> Interval:
    """1 - mean(after) / mean(before) over paired episodes, with its paired bootstrap interval.

    Where a resample has no failure before, it counts as 0 if there is none after either, else as
    -inf: the pessimistic side.
    """
    return paired_bootstrap([before, after], _reduction, seed=seed, resamples=resamples)


def ratio_of_means(
    value: npt.ArrayLike, reference: npt.ArrayLike, *, seed: int = 0, resamples: int = 10_000
) -> Interval:
    """mean(value) / mean(reference) over paired episodes, with its paired bootstrap interval."""

    def ratio(means: FloatArray) -> npt.NDArray[Any]:
        safe = np.where(means[1] > 0, means[1], 1.0)
        return np.where(means[1] > 0, means[0] / safe, np.nan)

    return paired_bootstrap([value, reference], ratio, seed=seed, resamples=resamples)


def mcnemar(before: npt.ArrayLike, after: npt.ArrayLike) -> float:
    """Two-sided p-value that paired binary outcomes changed in both directions equally often.

    Exact binomial up to 1,000 discordant pairs, normal approximation with continuity correction
    above.
    """
    before_b, after_b = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    better = int((before_b & ~after_b).sum())
    worse = int((~before_b & after_b).sum())
    discordant = better + worse
    if discordant == 0:
        return 1.0
    if discordant > 1000:
        z = max(abs(better - worse) - 1, 0) / math.sqrt(discordant)
        return math.erfc(z / math.sqrt(2))
    tail = sum(math.comb(discordant, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**discordant)
