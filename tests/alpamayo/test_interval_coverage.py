"""95 % intervals cover, and tests keep to their level: exactly where outcomes can be enumerated, by
seeded simulation within its sampling error elsewhere. docs/evaluation.md quotes these figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats as oracle

from alpamayo import stats

RATES = np.unique(
    np.concatenate([np.linspace(0.0005, 0.9995, 1000), np.geomspace(2e-4, 0.05, 300)])
)


def sampling_error(trials: int, share: float = 0.95) -> float:
    """Three standard errors of a share found in ``trials``."""
    return 3.0 * math.sqrt(share * (1.0 - share) / trials)


# ---- rates: every outcome of a binomial ----
def exact_coverage(interval: Callable[[int, int], stats.Interval], count: int) -> np.ndarray:
    """[len(RATES)] chance that the interval of a binomial sample holds the rate."""
    found = [interval(k, count) for k in range(count + 1)]
    low, high = np.array([i.low for i in found]), np.array([i.high for i in found])
    chance = oracle.binom.pmf(np.arange(count + 1), count, RATES[:, None])
    return (chance * ((low <= RATES[:, None]) & (RATES[:, None] <= high))).sum(axis=1)


@pytest.mark.parametrize("count", [8, 32, 64, 320, 1000])
def test_intervals_of_rates_cover(count: int) -> None:
    modified = exact_coverage(stats.rate_interval, count)
    assert modified.min() > 0.915 and modified.mean() > 0.949


def test_plain_wilson_intervals_would_not_at_small_rates() -> None:
    """Why the reports do not take them: one event in 64 at a rate of 0.3 %."""
    assert exact_coverage(stats.wilson_interval, 64).min() < 0.88


# ---- changes of rates: every outcome of a trinomial ----
def trinomial(count: int) -> tuple[np.ndarray, np.ndarray]:
    """All (lost, gained) of ``count`` pairs."""
    lost, gained = np.meshgrid(np.arange(count + 1), np.arange(count + 1), indexing="ij")
    inside = lost + gained <= count
    return lost[inside], gained[inside]


def outcome(both: int, lost: int, gained: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    before, after = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    before[: both + lost], after[:both] = True, True
    after[both + lost : both + lost + gained] = True
    return before, after


# (share of pairs lost, gained)
CHANGES = [
    (0.0, 0.01), (0.02, 0.02), (0.05, 0.0), (0.1, 0.05), (0.2, 0.02), (0.5, 0.02), (0.3, 0.3),
]  # fmt: skip


@pytest.mark.parametrize("count", [16, 64])
def test_intervals_of_changes_of_rates_cover(count: int) -> None:
    lost, gained = trinomial(count)
    found = [
        stats.rate_difference(*outcome(0, b, c, count)) for b, c in zip(lost, gained, strict=True)
    ]
    low, high = np.array([i.low for i in found]), np.array([i.high for i in found])
    for down, up in CHANGES:
        chance = oracle.multinomial.pmf(
            np.stack([lost, gained, count - lost - gained], axis=1),
            count,
            [down, up, 1 - down - up],
        )
        covered = float((chance * ((low <= up - down) & (up - down <= high))).sum())
        assert covered > 0.935, (down, up, covered)


@pytest.mark.parametrize("count", [32, 128])
@pytest.mark.parametrize(
    ("old", "new"), [(0.7, 0.2), (0.2, 0.1), (0.1, 0.05), (0.05, 0.05), (0.02, 0.01)]
)
def test_intervals_of_reductions_cover(count: int, old: float, new: float) -> None:
    rng = np.random.default_rng(11)
    both = 0.3 * new + 0.7 * old * new
    shares = [both, old - both, new - both, 1 - old - new + both]
    trials = 1500
    covered = 0
    for draw in rng.multinomial(count, shares, size=trials):
        interval = stats.rate_reduction(*outcome(draw[0], draw[1], draw[2], count))
        covered += interval.low <= 1 - new / old <= interval.high
    assert covered / trials > 0.95 - 0.01 - sampling_error(trials)


# ---- means of scores ----
def scores(rng: np.random.Generator, failing: float, count: int) -> np.ndarray:
    """0 in a share ``failing``, else around 0.87: what a driving score looks like."""
    return np.where(rng.random(count) < failing, 0.0, rng.beta(20, 3, size=count))


UNIT_ENDS = [[0.0], [1.0]]


@pytest.mark.parametrize("failing", [0.0, 0.02, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("count", [8, 32, 128])
def test_intervals_of_mean_scores_cover(count: int, failing: float) -> None:
    rng = np.random.default_rng(5)
    truth, trials = (1.0 - failing) * 20 / 23, 400
    covered = 0
    for trial in range(trials):
        sample = scores(rng, failing, count)
        found = stats.paired_bootstrap([sample], ends=UNIT_ENDS, seed=trial, resamples=600)
        covered += found.low <= truth <= found.high
    assert covered / trials > 0.95 - sampling_error(trials)


def test_a_plain_bootstrap_would_not_where_failures_are_rare() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        found = stats.paired_bootstrap([scores(rng, 0.1, 8)], seed=trial, resamples=300)
        covered += found.low <= 0.9 * 20 / 23 <= found.high
    assert covered / 300 < 0.75


@pytest.mark.parametrize(("old", "new"), [(0.02, 0.02), (0.1, 0.05), (0.7, 0.2)])
@pytest.mark.parametrize("count", [8, 32, 128])
def test_intervals_of_changes_of_scores_cover(count: int, old: float, new: float) -> None:
    rng = np.random.default_rng(6)
    trials, covered = 400, 0
    truth = (old - new) * 20 / 23
    for trial in range(trials):
        before, after = scores(rng, old, count), scores(rng, new, count)
        found = stats.paired_bootstrap(
            [before, after], ends=[[1.0, 0.0], [0.0, 1.0]], seed=trial, resamples=600
        )
        covered += found.low <= truth <= found.high
    assert covered / trials > 0.95 - sampling_error(trials)


@pytest.mark.parametrize("crashing", [0.02, 0.3])
@pytest.mark.parametrize("count", [16, 64])
def test_intervals_of_progress_over_the_experts_cover(count: int, crashing: float) -> None:
    """A ratio of sums over episodes of different length."""
    rng = np.random.default_rng(13)
    trials, covered = 400, 0
    truth = 1.0 - 0.5 * crashing  # who crashes has driven half the way on average
    for trial in range(trials):
        expert = rng.uniform(60.0, 200.0, count)
        share = np.where(rng.random(count) < crashing, rng.uniform(0, 1, count), 1.0)
        usual = float(expert.mean())
        found = stats.ratio_of_means(
            share * expert, expert, ends=[[0.0, usual], [usual, usual]], seed=trial, resamples=600
        )
        covered += found.low <= truth <= found.high
    assert covered / trials > 0.95 - sampling_error(trials)


@pytest.mark.parametrize("count", [16, 64])
def test_intervals_of_means_without_bounds_cover_where_the_tails_are_light(count: int) -> None:
    rng = np.random.default_rng(7)
    trials, covered = 600, 0
    for trial in range(trials):
        found = stats.paired_bootstrap(
            [rng.normal(3.0, 2.0, size=count)], seed=trial, resamples=600
        )
        covered += found.low <= 3.0 <= found.high
    assert covered / trials > 0.95 - sampling_error(trials)


@pytest.mark.parametrize(("rate", "count"), [(0.02, 64), (0.1, 64), (0.3, 64), (0.1, 320)])
def test_intervals_of_incidents_per_distance_cover(rate: float, count: int) -> None:
    """Whoever crashes has driven less: distance and incident hang together."""
    rng = np.random.default_rng(8)
    trials, covered = 400, 0
    truth = rate / ((1 - rate) * 150.0 + rate * 75.0)
    for trial in range(trials):
        incident = rng.random(count) < rate
        driven = np.where(incident, rng.uniform(0, 150, count), rng.normal(150, 20, count))
        found = stats.incidents_per_distance(incident, driven, seed=trial, resamples=600)
        covered += found.low <= truth <= found.high
    assert covered / trials > 0.95 - sampling_error(trials)


# ---- tests keep to their level ----
@pytest.mark.parametrize("changing", [0.05, 0.2, 0.6])
@pytest.mark.parametrize("count", [16, 64, 128])
def test_mcnemars_test_keeps_its_level(count: int, changing: float) -> None:
    """Exactly: over how many pairs change, and which way."""
    level = 0.0
    for discordant in range(count + 1):
        p_values = [
            stats.mcnemar(*outcome(0, k, discordant - k, count)) for k in range(discordant + 1)
        ]
        rejected = oracle.binom.pmf(np.arange(discordant + 1), discordant, 0.5) @ (
            np.array(p_values) <= 0.05
        )
        level += oracle.binom.pmf(discordant, count, changing) * rejected
    assert level <= 0.05


@pytest.mark.parametrize("failing", [0.05, 0.3])
def test_the_paired_test_of_scores_keeps_its_level(failing: float) -> None:
    rng = np.random.default_rng(9)
    trials = 800
    rejected = sum(
        stats.sign_flip_test(
            scores(rng, failing, 32), scores(rng, failing, 32), seed=trial, resamples=400
        )
        <= 0.05
        for trial in range(trials)
    )
    assert rejected / trials <= 0.05 + sampling_error(trials, 0.05)


def test_holms_correction_keeps_the_level_of_a_whole_table() -> None:
    """Ten families without any difference: how often does one of them look different?"""
    rng = np.random.default_rng(10)
    trials, plain, adjusted = 1000, 0, 0
    for _ in range(trials):
        p_values = []
        for _ in range(10):
            lost, gained = rng.multinomial(60, [0.2, 0.2, 0.6])[:2]
            p_values.append(stats.mcnemar(*outcome(0, lost, gained, 60)))
        plain += min(p_values) <= 0.05
        adjusted += min(stats.holm(p_values)) <= 0.05
    assert plain / trials > 0.2
    assert adjusted / trials <= 0.05 + sampling_error(trials, 0.05)


def test_the_paired_test_finds_what_is_there() -> None:
    rng = np.random.default_rng(12)
    found = sum(
        stats.sign_flip_test(scores(rng, 0.5, 64), scores(rng, 0.1, 64), seed=t, resamples=400)
        <= 0.05
        for t in range(100)
    )
    assert found > 90
