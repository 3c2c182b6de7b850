"""Stress search on a danger whose failure is a known function of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.authoring.proposal import DEFENSIVE, Proposal
from alpamayo.authoring.rate import Round, failure_rate
from alpamayo.authoring.search import danger, search, worst
from alpamayo.authoring.suite_file import check_suite_path, suite_text
from alpamayo.metrics import failed_result
from alpamayo.stats import wilson_interval
from alpamayo.types import EpisodeResult, RequestError, Scenario
from scenarios.load import load_document
from scenarios.suites import load_suite
from tests.alpamayo.search_cases import missed

# cut_in: closing_mps is uniform in [3, 6], gap_m in [9, 14]. Failing above 5.7 and below 9.5 has
# probability 0.1 * 0.1.
RATE = 0.01


def fails_in_a_corner(scenarios: Sequence[Scenario]) -> list[EpisodeResult]:
    results = []
    for scenario in scenarios:
        values = scenario.parameters
        margin = max((5.7 - values["closing_mps"]) / 3, (values["gap_m"] - 9.5) / 5)
        row = replace(failed_result(scenario, "x"), end="timeout", error="")
        if margin < 0:
            row = replace(row, end="collision", collision=True, at_fault=True)
        else:
            row = replace(row, min_ttc_s=10 * margin, min_gap_m=20 * margin)
        results.append(row)
    return results


@pytest.mark.slow
def test_search_finds_failures_several_times_as_often_as_chance_and_estimates_the_rate() -> None:
    document = load_document("cut_in")
    found = [search(document, fails_in_a_corner, episodes=480, seed=seed) for seed in range(12)]
    random = 12 * 480 * RATE
    assert sum(result.failures for result in found) > 3 * random
    values = np.array([result.rate.value for result in found])
    error = values.std(ddof=1) / len(values) ** 0.5
    assert abs(values.mean() - RATE) < 3 * error and error < 0.25 * RATE
    assert sum(r.rate.low <= RATE <= r.rate.high for r in found) >= 9
    # The histogram of both parameters has moved to the corner, the others have not.
    last = found[0]
    mass = dict(zip((d.name for d in last.dimensions), last.proposal.masses, strict=True))
    assert mass["closing_mps"].argmax() == 5 and mass["gap_m"].argmax() == 0
    assert mass["closing_mps"][5] > 0.4 > mass["front_ahead_m"].max()


def test_weights_are_one_over_the_density_and_average_to_one() -> None:
    rng = np.random.default_rng(3)
    uniform = Proposal.uniform((np.linspace(0, 1, 5), np.array([0.0, 0.3, 1.0])))
    points = uniform.draw(1000, rng)
    assert np.allclose(uniform.density(points), 1.0)
    elite = points[(points[:, 0] > 0.75) & (points[:, 1] < 0.3)]
    narrow = uniform.towards(elite, np.ones(len(elite)))
    drawn = narrow.draw(20_000, rng)
    inside = (drawn[:, 0] > 0.75) & (drawn[:, 1] < 0.3)
    assert inside.mean() > 3 * 0.25 * 0.3
    weights = 1.0 / narrow.density(drawn)
    assert weights.max() <= 1.0 / DEFENSIVE
    assert weights.mean() == pytest.approx(1.0, abs=4 * weights.std() / 20_000**0.5)
    assert (weights * inside).mean() == pytest.approx(0.075, abs=0.003)


def plain_round(hits: int, episodes: int) -> Round:
    return Round(np.ones(episodes), np.random.default_rng(2).permutation(episodes) < hits, 1.0)


@pytest.mark.parametrize(("hits", "episodes"), [(0, 200), (1, 60), (30, 200), (500, 1000)])
def test_the_interval_of_plain_draws_is_little_wider_than_wilsons(hits: int, episodes: int) -> None:
    rate, wilson = failure_rate([plain_round(hits, episodes)]), wilson_interval(hits, episodes)
    assert rate.value == pytest.approx(hits / episodes)
    assert rate.low <= rate.value <= rate.high
    ratio = (rate.high - rate.low) / (wilson.high - wilson.low)
    assert 0.9 < ratio < 1.5, (rate, wilson)


def test_without_a_failure_the_interval_tells_how_often_they_may_still_be() -> None:
    """Of plain draws: (1 - r)^n = 2.5 %, as exact as the share of the wealth at stake."""
    rate = failure_rate([plain_round(0, 100)])
    assert rate.low == 0.0 and rate.high == pytest.approx(1 - 0.025 ** (1 / 100), rel=0.1)
    # Episodes where the search looked say little about the rest: at most one in three counts.
    narrow = Round(np.full(100, 0.1), np.zeros(100, dtype=bool), 3.0)
    assert failure_rate([narrow]).high > 3 * rate.high
    assert failure_rate([plain_round(1, 1)]).high == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [100, 480, 2000])
@pytest.mark.parametrize(("rate", "boxes"), [(0.01, 1), (0.01, 4), (0.05, 1), (0.5, 1)])
def test_the_interval_holds_its_level(episodes: int, rate: float, boxes: int) -> None:
    searches = 120 if episodes < 1000 else 40
    out = missed(episodes, rate, boxes, searches)
    # 5 % at most are missed; more than this many happen by chance once in 1000 such tests.
    most = next(k for k in range(searches) if _tail(k, searches, 0.05) < 0.001)
    assert out <= most


def _tail(k: int, n: int, p: float) -> float:
    """Of a binomial variable, to be above ``k``."""
    return 1.0 - sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


def test_nearer_misses_are_more_dangerous_and_failures_most() -> None:
    document = load_document("cut_in")
    from scenarios.sample import sample

    row = replace(failed_result(sample(document, 0), "x"), end="timeout", error="")
    far, near = replace(row, min_ttc_s=4.0, min_gap_m=9.0), replace(row, min_ttc_s=0.5)
    hit = replace(row, end="collision", collision=True, at_fault=True)
    assert danger(far) < danger(near) < danger(hit)
    assert danger(failed_result(sample(document, 0), "x")) == 0.0  # nothing was learned from it


@pytest.mark.parametrize("scenario", ["cut_in", "own.yaml"])
def test_the_worst_cases_come_back_exactly_from_their_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str
) -> None:
    from scenarios.starter import starter

    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(starter("own"), encoding="utf-8")
    drive: Callable[[Sequence[Scenario]], list[EpisodeResult]] = (
        fails_in_a_corner if scenario == "cut_in" else never_fails
    )
    result = search(load_document(scenario), drive, episodes=60, rounds=3)
    cases = worst(result, 5)
    (tmp_path / "suites").mkdir()
    path = tmp_path / "suites" / "mine_heldout.yaml"
    check_suite_path(path, "heldout")
    path.write_text(suite_text(cases, path, scenario, 'with "quotes"', "heldout"))
    drawn = load_suite(path).draw(len(cases))
    assert drawn == [case.scenario for case in cases]


def never_fails(scenarios: Sequence[Scenario]) -> list[EpisodeResult]:
    return [replace(failed_result(s, "x"), end="timeout", error="") for s in scenarios]


def test_episodes_that_could_not_be_run_count_but_are_no_cases() -> None:
    def breaks(scenarios: Sequence[Scenario]) -> list[EpisodeResult]:
        return [failed_result(scenario, "no road") for scenario in scenarios]

    result = search(load_document("cut_in"), breaks, episodes=12, rounds=2)
    assert result.rate.value == pytest.approx(1.0, abs=0.35) and len(result.broken) == 12
    assert result.failures == 0 and worst(result, 3) == []


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("worst.yaml", "heldout", "a name that holds heldout"),
        ("worst_heldout.yaml", "train", "a name without heldout"),
        ("Worst.yaml", "train", "small letters"),
        ("nowhere/worst.yaml", "train", "no such folder"),
    ],
)
def test_a_suite_that_could_not_be_loaded_is_not_written(
    tmp_path: Path, name: str, split: str, expected: str
) -> None:
    with pytest.raises(RequestError, match=expected):
        check_suite_path(tmp_path / name, split)  # type: ignore[arg-type]


CONSTRAINED = """\
schema_version: 1
id: half
family: half
description: A car ahead.
parameters: {a: {uniform: [0, 1]}, b: {uniform: [0, 1]}, g: {grid: [1, 2]}}
constraints: ["$a < $b"]
road: {kind: straight, lanes: 2}
ego: {lane: 0, speed_mps: 10}
actors:
  - {id: lead, lane: 0, ahead_m: 30 + $a, speed_mps: 10 + $b}
"""


@pytest.mark.slow
def test_constraints_hold_in_every_draw_and_the_rate_is_of_those_that_meet_them(
    tmp_path: Path,
) -> None:
    def fails_high(scenarios: Sequence[Scenario]) -> list[EpisodeResult]:
        rows = never_fails(scenarios)
        return [
            replace(r, off_road=True, end="off_road") if r.parameters["a"] > 0.5 else r
            for r in rows
        ]

    path = tmp_path / "half.yaml"
    path.write_text(CONSTRAINED, encoding="utf-8")
    document = load_document(path)
    found = [search(document, fails_high, episodes=240, seed=seed) for seed in range(6)]
    for result in found:
        assert all(c.pins["a"] < c.pins["b"] for c in result.cases)  # type: ignore[operator]
    # P(a > 1/2 | a < b) = (1/8) / (1/2) = 1/4.
    values = np.array([result.rate.value for result in found])
    assert values.mean() == pytest.approx(0.25, abs=0.04)
