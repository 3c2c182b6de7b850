"""Before/after tables: constructed results with known answers."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from alpamayo.evaluation.compare import compare, summarise
from alpamayo.evaluation.text import format_table, headline
from alpamayo.metrics import failed_result
from alpamayo.types import EpisodeResult
from tests.alpamayo.fake_world import scenario


def episode(seed: int, end: str = "timeout", **changes: object) -> EpisodeResult:
    base = replace(
        failed_result(scenario(seed), "x"), end=end, error="", progress_m=80.0, reference_m=100.0,
        at_fault=end == "collision", collision=end == "collision", off_road=end == "off_road",
        red_light=end == "red_light", comfort=1.0, ttc_share=1.0, lane_share=1.0, plan_ms=5.0,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]


BEFORE = [
    episode(n, "collision" if n < 30 else "off_road" if n < 40 else "timeout") for n in range(100)
]
AFTER = [
    episode(n, "collision" if n < 8 else "off_road" if n < 10 else "timeout") for n in range(100)
]


def test_the_reduction_is_the_constructed_one() -> None:
    result = compare(BEFORE, AFTER, resamples=2000)
    assert result.reduction is not None and result.reduction.value == pytest.approx(0.75)
    assert result.reduction.low > 0.5
    failure = result.row("failure")
    assert (
        failure.before.value == 0.40 and failure.after is not None and failure.after.value == 0.10
    )
    assert failure.difference is not None and failure.difference.value == pytest.approx(-0.30)
    assert failure.p_value == pytest.approx(2 / 2**30)
    assert (
        result.row("at_fault").before.value == 0.30 and result.row("off_road").before.value == 0.10
    )
    assert result.row("driving_score").before.value == pytest.approx(0.6 * (5 * 0.8 + 9) / 14)
    assert "reduced by 75.0 %" in headline(result)


def test_pairs_are_found_by_scenario_and_seed_not_by_position() -> None:
    shuffled = list(AFTER)
    random.Random(3).shuffle(shuffled)
    assert compare(BEFORE, shuffled, resamples=300) == compare(BEFORE, AFTER, resamples=300)


def test_different_episodes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="same"):
        compare(BEFORE, AFTER[1:])
    with pytest.raises(ValueError, match="more than once"):
        compare([*BEFORE, BEFORE[0]], AFTER)


def test_episodes_that_failed_to_run_count_as_failures_and_are_stated() -> None:
    after = [failed_result(scenario(n), "died") if n >= 95 else r for n, r in enumerate(AFTER)]
    result = compare(BEFORE, after, resamples=300)
    assert result.failed_after == 5 and result.failed_before == 0
    assert result.row("failure").after is not None and result.row("failure").after.value == 0.15
    assert "5 episodes failed to run" in headline(result)


def test_progress_is_relative_to_the_expert_on_the_same_seeds() -> None:
    expert = [episode(n, progress_m=90.0 if n % 2 else 110.0) for n in range(100)]
    result = compare(BEFORE, AFTER, expert=expert[::-1], resamples=300)
    row = result.row("progress")
    assert row.before.value == pytest.approx(0.8) and result.has_expert
    assert row.difference is not None and row.difference.value == 0.0
    with pytest.raises(ValueError, match="lack"):
        compare(BEFORE, AFTER, expert=expert[1:])


def test_an_expert_that_failed_to_run_leaves_the_speed_limit_reference() -> None:
    expert = [failed_result(scenario(n), "x") for n in range(100)]
    assert compare(BEFORE, AFTER, expert=expert, resamples=100).row(
        "progress"
    ).before.value == pytest.approx(0.8)


def test_families_and_twins_have_rows_of_their_own() -> None:
    rows = [
        episode(0, "collision", family="cut_in"),
        episode(1, family="cut_in"),
        episode(2, family="cut_in", nominal=True),
        episode(3, family="wrong_way"),
    ]
    families = summarise(rows, resamples=50).families
    assert [(f.family, f.nominal, f.episodes, f.failures_before) for f in families] == [
        ("cut_in", False, 2, 1),
        ("wrong_way", False, 1, 0),
        ("cut_in", True, 1, 0),
    ]
    assert families[0].failures_after is None


def test_the_table_is_readable_and_the_document_is_json() -> None:
    table = format_table(
        compare(BEFORE, AFTER, names=("warm start", "post-trained"), resamples=200)
    )
    assert "warm start" in table and "post-trained" in table and "40.0 % [30.9, 49.8]" in table
    assert len({len(line) for line in table.splitlines()[:3]}) == 1
    document = compare(BEFORE, AFTER, resamples=100).as_dict()
    assert (
        json.loads(json.dumps(document, allow_nan=False))["metrics"]["failure"]["after"]["value"]
        == 0.1
    )
    assert summarise(BEFORE, resamples=100).as_dict()["failure_reduction"] is None
