"""Intervals and tests against published figures, exact distributions and enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as oracle

from alpamayo import stats


def yes(count: int, total: int) -> np.ndarray:
    return np.arange(total) < count


def pairs(both: int, lost: int, gained: int, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Yes before in ``both`` and ``lost``, yes after in ``both`` and ``gained``."""
    before = np.zeros(total, dtype=bool)
    after = np.zeros(total, dtype=bool)
    before[: both + lost] = True
    after[:both] = True
    after[both + lost : both + lost + gained] = True
    return before, after


# ---- rates ----
def test_one_event_in_many_may_be_as_rare_as_poisson_says() -> None:
    interval = stats.rate_interval(1, 100)
    assert interval.low == pytest.approx(-math.log(0.95) / 100, abs=1e-7)
    assert interval.high == stats.wilson_interval(1, 100).high
    mirrored = stats.rate_interval(99, 100)
    assert mirrored.high == pytest.approx(1 + math.log(0.95) / 100, abs=1e-7)


def test_with_more_events_the_interval_is_wilsons() -> None:
    for count, events in ((50, 3), (100, 4), (100, 0), (320, 58), (4, 2), (0, 0)):
        modified, plain = stats.rate_interval(events, count), stats.wilson_interval(events, count)
        assert (modified.low, modified.high) == (plain.low, plain.high)


@given(st.integers(1, 400), st.data())
def test_rate_intervals_are_symmetric_and_hold_the_estimate(
    count: int, data: st.DataObject
) -> None:
    events = data.draw(st.integers(0, count))
    one, other = stats.rate_interval(events, count), stats.rate_interval(count - events, count)
    assert 0.0 <= one.low <= one.value <= one.high <= 1.0
    assert one.low == pytest.approx(1.0 - other.high, abs=1e-12)


def test_a_change_of_rates_by_hand() -> None:
    # 12 lost, 2 gained of 48: (3 - 13) / 50 = -0.2; sqrt((0.26 + 0.06 - 0.04) / 50) = 0.074833
    interval = stats.rate_difference(*pairs(5, 12, 2, 48))
    assert interval.value == pytest.approx(-10 / 48)
    assert interval.low == pytest.approx(-0.2 - 1.959964 * 0.0748331, abs=1e-6)
    assert interval.high == pytest.approx(-0.2 + 1.959964 * 0.0748331, abs=1e-6)


def test_no_change_at_all_still_leaves_room_for_some() -> None:
    interval = stats.rate_difference(*pairs(3, 0, 0, 30))
    assert interval.value == 0.0 and interval.high == -interval.low
    assert interval.high == pytest.approx(1.959964 * math.sqrt(2 / 32 / 32), abs=1e-6)


def test_a_reduction_has_the_ratio_of_the_rates_and_an_interval_around_it() -> None:
    # 40 of 100 before, 10 after, 8 of them both; the interval by the steps of the paper.
    interval = stats.rate_reduction(*pairs(8, 32, 2, 100))
    assert interval.value == pytest.approx(0.75)
    a = math.sqrt(36 / (41 * 11))
    b, c = math.sqrt((1 - 41 / 44) / 41), math.sqrt((1 - 11 / 44) / 11)
    z = 1.959964 * a / (b + c)

    def wilson(x: int) -> tuple[float, float]:
        share, half = x / 42, z * math.sqrt(z * z + 4 * x * (1 - x / 42)) / (2 * (42 + z * z))
        return (
            (share + z * z / 84) / (1 + z * z / 42) - half,
            (share + z * z / 84) / (1 + z * z / 42) + half,
        )

    (old_low, old_high), (new_low, new_high) = wilson(40), wilson(10)
    assert interval.low == pytest.approx(1 - new_high / old_low, abs=1e-6)
    assert interval.high == pytest.approx(1 - new_low / old_high, abs=1e-6)
    assert 0.5 < interval.low < 0.75 < interval.high < 0.9


def test_reductions_at_the_edges() -> None:
    nothing = stats.rate_reduction(np.zeros(5), np.zeros(5))
    assert (nothing.value, nothing.low, nothing.high) == (0.0, -math.inf, 1.0)
    assert stats.rate_reduction(np.zeros(5), np.ones(5)).value == -math.inf
    all_gone = stats.rate_reduction(np.ones(50), np.zeros(50))
    assert all_gone.value == all_gone.high == 1.0 and 0.85 < all_gone.low < 1.0
    same = stats.rate_reduction(*pairs(20, 0, 0, 50))
    assert same.value == 0.0 and same.low < 0.0 < same.high
    with pytest.raises(ValueError, match="expected pairs"):
        stats.rate_reduction(np.zeros(5), np.zeros(4))


# ---- bootstrap ----
@pytest.mark.parametrize("count", [8, 16, 64, 1000])
def test_the_expanded_tail_is_that_of_students_distribution(count: int) -> None:
    t = oracle.t.ppf(0.975, count - 1)
    expected = oracle.norm.cdf(-t * math.sqrt(count / (count - 1)))
    assert stats._expanded_tail(0.025, count) == pytest.approx(expected, rel=0.01)


def test_the_bootstrap_of_a_normal_sample_is_students_interval() -> None:
    sample = oracle.norm.ppf((np.arange(40) + 0.5) / 40)
    interval = stats.paired_bootstrap([sample], resamples=20_000)
    half = oracle.t.ppf(0.975, 39) * sample.std(ddof=1) / math.sqrt(40)
    assert interval.high == pytest.approx(half, rel=0.03)
    assert interval.low == pytest.approx(-half, rel=0.03)


def test_pseudo_episodes_widen_the_interval_and_leave_the_estimate() -> None:
    perfect = np.full(30, 0.9)
    plain = stats.paired_bootstrap([perfect], resamples=500)
    honest = stats.paired_bootstrap([perfect], ends=[[0.0], [1.0]], resamples=2000)
    assert plain.low == pytest.approx(0.9) and honest.value == pytest.approx(0.9)
    assert 0.75 < honest.low < 0.85 and 0.9 < honest.high < 0.92


def test_the_mean_of_yes_and_no_with_pseudo_episodes_is_about_agrestis() -> None:
    # One success and one failure more: the plus-two version of the adjusted Wald interval.
    interval = stats.paired_bootstrap(
        [yes(20, 98).astype(float)], ends=[[0.0], [1.0]], resamples=20_000
    )
    half = 1.96 * math.sqrt(0.21 * 0.79 / 100)
    assert interval.low == pytest.approx(0.21 - half, abs=0.011)
    assert interval.high == pytest.approx(0.21 + half, abs=0.011)


# ---- tests ----
def enumerated_p(change: np.ndarray) -> float:
    sums = [abs(sum(s * c for s, c in zip(signs, change, strict=True)))
            for signs in itertools.product((-1, 1), repeat=len(change))]  # fmt: skip
    return float(np.mean([s >= abs(change.sum()) - 1e-12 for s in sums]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_paired_test_equals_the_enumeration_of_all_exchanges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = rng.normal(size=10)
    after = before + rng.normal(0.4, 1.0, size=10)
    p_value = stats.sign_flip_test(before, after, resamples=40_000)
    assert p_value == pytest.approx(enumerated_p(after - before), abs=0.01)


def test_the_paired_test_knows_ties_and_the_least_p_value() -> None:
    same = np.arange(6.0)
    assert stats.sign_flip_test(same, same) == 1.0
    # All seven differences of one sign: 2 of 128 arrangements are as far out.
    assert stats.sign_flip_test(np.zeros(7), np.full(7, 0.1), resamples=40_000) == pytest.approx(
        2 / 128, abs=0.003
    )
    assert stats.sign_flip_test(np.zeros(99), np.ones(99), resamples=999) == 1 / 1000


def test_holm_by_hand() -> None:
    # Holm (1979): smallest times 4, next times 3 ... never falling.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.6, 0.9]) == [1.0, 1.0] and stats.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    adjusted = stats.holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= 1.0 and a <= min(1.0, len(p_values) * max(p, min(p_values))) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert list(np.asarray(adjusted)[order]) == sorted(adjusted)
