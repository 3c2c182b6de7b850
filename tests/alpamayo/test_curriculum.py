"""Which scenario next: hand-computed potentials and shares, floors, unbiased rates, exact state."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.config import CurriculumConfig
from alpamayo.curriculum import (
    Memory,
    PotentialCurriculum,
    UniformCurriculum,
    make_curriculum,
    mix,
    stratified_failure_rate,
    weighted_failure_rate,
)
from alpamayo.curriculum_plot import write_plot
from alpamayo.metrics import failed_result
from alpamayo.types import EgoSpec, EpisodeResult, RoadSpec, Scenario
from scenarios.suites import load_training_suite

BASE = {"easy": 0.25, "middling": 0.25, "hard": 0.25, "easy_nominal": 0.25}
TWINS = frozenset({"easy_nominal"})
PLAIN = CurriculumConfig(
    kind="potential", floor=0.2, nominal_share=0.8, half_life=1.0, failure_weight=0.0,
    novelty_weight=0.0,
)  # fmt: skip


def episode(name: str, failed: bool) -> EpisodeResult:
    scenario = Scenario(name, "f", "nominal" in name, 1, RoadSpec(), EgoSpec())
    row = failed_result(scenario, "x")
    return replace(row, end="collision" if failed else "timeout", at_fault=failed, error="")


def episodes(**counts: tuple[int, int]) -> list[EpisodeResult]:
    """name=(failures, successes)."""
    return [
        episode(name, failed)
        for name, (bad, good) in counts.items()
        for failed in [True] * bad + [False] * good
    ]


def test_memory_is_a_beta_posterior_that_fades() -> None:
    memory = Memory().seen(True).seen(True).seen(False)  # Beta(1 + 2, 1 + 1)
    assert memory.failure_rate == pytest.approx(3 / 5)
    assert memory.doubt == pytest.approx(np.sqrt(0.6 * 0.4 / 6))
    faded = memory.faded(0.5)
    assert (faded.episodes, faded.failures) == (1.5, 1.0)
    assert faded.failure_rate == pytest.approx(2 / 3.5)
    assert Memory().failure_rate == 0.5 and Memory().doubt == pytest.approx(np.sqrt(1 / 12))


def test_shares_follow_what_can_be_learned_above_a_floor() -> None:
    """8 of 8, 4 of 8 and 0 of 8 failures: rates 0.9, 0.5, 0.1, potentials 0.09, 0.25, 0.09; the
    twin never seen has 0.25. Twins want 0.25 / 0.68 of the free part, above what they must have.
    """
    curriculum = PotentialCurriculum(BASE, TWINS, PLAIN)
    metrics = curriculum.observe(episodes(hard=(8, 0), middling=(4, 4), easy=(0, 8)))
    assert curriculum.shares == pytest.approx(
        {
            "easy": 0.05 + 0.8 * 0.09 / 0.68,
            "middling": 0.05 + 0.8 * 0.25 / 0.68,
            "hard": 0.05 + 0.8 * 0.09 / 0.68,
            "easy_nominal": 0.05 + 0.8 * 0.25 / 0.68,
        }
    )
    assert metrics["failures_hard"] == pytest.approx(0.9)
    assert metrics["share_hard"] == curriculum.shares["hard"]


def test_failures_and_novelty_add_to_the_potential() -> None:
    config = replace(PLAIN, failure_weight=0.5, novelty_weight=2.0)
    curriculum = PotentialCurriculum(BASE, TWINS, config)
    curriculum.observe(episodes(hard=(2, 0)))  # Beta(3, 1): 0.75
    doubt = np.sqrt(0.75 * 0.25 / 5)
    assert curriculum.potential("hard") == pytest.approx(0.1875 + 0.5 * 0.75 + 2 * doubt)
    assert curriculum.potential("easy") == pytest.approx(0.25 + 0.25 + 2 * np.sqrt(1 / 12))


def test_what_was_seen_a_half_life_ago_counts_half() -> None:
    curriculum = PotentialCurriculum(BASE, TWINS, replace(PLAIN, half_life=2.0))
    curriculum.observe(episodes(hard=(4, 0)))
    for _ in range(2):
        curriculum.observe([])
    assert curriculum.memory["hard"].episodes == pytest.approx(2.0)


def test_twins_keep_their_part_and_the_others_give_it_in_proportion() -> None:
    """Twins want nothing; they must have 0.8 x 0.25 = 0.2, of which the floor gives 0.05, so 0.1875
    of the free 0.8. The others share the rest 1 : 3.
    """
    base = {"a": 0.5, "b": 0.25, "t": 0.25}
    shares = mix(base, {"a": 0.1, "b": 0.6, "t": 0.0}, frozenset({"t"}), 0.2, 0.8)
    assert shares["t"] == pytest.approx(0.2)
    assert shares["a"] == pytest.approx(0.1 + 0.8 * 0.8125 * 0.25)
    assert shares["b"] == pytest.approx(0.05 + 0.8 * 0.8125 * 0.75)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=8
    ),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
)
def test_no_scenario_falls_below_its_floor_nor_the_twins_below_theirs(
    rows: list[tuple[float, float, bool]], floor: float, nominal_share: float
) -> None:
    total = sum(weight for weight, _, _ in rows)
    base = {str(i): weight / total for i, (weight, _, _) in enumerate(rows)}
    potential = {str(i): p for i, (_, p, _) in enumerate(rows)}
    twins = frozenset(str(i) for i, (_, _, twin) in enumerate(rows) if twin)
    shares = mix(base, potential, twins, floor, nominal_share)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(shares[n] >= floor * base[n] - 1e-9 for n in base)
    least = nominal_share * sum(base[n] for n in twins)
    assert sum(shares[n] for n in twins) >= least - 1e-9


def test_the_weighted_failure_rate_undoes_what_was_drawn_more_often() -> None:
    """3 of 4 draws go to ``hard``, which always fails; half would. 3 episodes of weight 2/3 and one
    of weight 2."""
    rows = episodes(hard=(3, 0), easy=(0, 1))
    rate = weighted_failure_rate(rows, {"hard": 0.5, "easy": 0.5}, {"hard": 0.75, "easy": 0.25})
    assert rate == pytest.approx(0.5)
    assert np.isnan(weighted_failure_rate([], BASE, BASE))


def test_the_stratified_failure_rate_is_in_the_suites_shares_whatever_was_drawn() -> None:
    memory = {"hard": Memory(30.0, 30.0), "easy": Memory(2.0, 1.0), "new": Memory()}
    rate = stratified_failure_rate(memory, {"hard": 0.2, "easy": 0.6, "new": 0.2})
    assert rate == pytest.approx((0.2 * 1.0 + 0.6 * 0.5) / 0.8)
    assert np.isnan(stratified_failure_rate({"new": Memory()}, {"new": 1.0}))


def test_episodes_that_failed_to_run_teach_nothing() -> None:
    curriculum = PotentialCurriculum(BASE, TWINS, PLAIN)
    broken = [replace(episode("hard", False), end="failed", error="x")]
    metrics = curriculum.observe(broken)
    assert curriculum.memory["hard"].episodes == 0.0
    assert np.isnan(metrics["failure_rate_weighted"])


def test_the_same_history_gives_the_same_shares_and_the_state_carries_all_of_it() -> None:
    def history() -> PotentialCurriculum:
        made = PotentialCurriculum(BASE, TWINS, replace(PLAIN, half_life=3.0))
        for step in range(5):
            made.observe(episodes(hard=(step, 1), middling=(1, step)))
        return made

    one, two = history(), history()
    assert one.shares == two.shares
    resumed = PotentialCurriculum(BASE, TWINS, replace(PLAIN, half_life=3.0))
    resumed.load_state(json.loads(json.dumps(one.state())))
    assert resumed.memory == one.memory
    more = episodes(easy=(1, 2))
    assert resumed.observe(more) == one.observe(more)


def test_uniform_draws_are_the_suites_own() -> None:
    curriculum = make_curriculum(BASE, TWINS, CurriculumConfig())
    assert isinstance(curriculum, UniformCurriculum)
    assert curriculum.observe(episodes(hard=(1, 0))) == {}
    assert curriculum.shares == BASE and curriculum.state() == {}


def test_a_suite_draws_in_the_shares_it_is_given() -> None:
    suite = load_training_suite("train")
    shares = dict.fromkeys(suite.shares, 0.5 / (len(suite.shares) - 1)) | {"cut_in": 0.5}
    ids = [s.id for s in suite.draw(600, start=40, shares=shares)]
    assert 0.42 < ids.count("cut_in") / 600 < 0.58
    assert set(ids) == set(suite.shares)
    own = [(s.id, s.seed) for s in suite.draw(30, shares=suite.shares)]
    assert own == [(s.id, s.seed) for s in suite.draw(30)]
    # Seeds are those of the draw's place, whatever is drawn there.
    drawn = suite.draw(5, start=7, shares=shares)
    assert [s.seed for s in drawn] == [s.seed for s in suite.draw(5, start=7)]


def test_the_plot_shows_every_scenario(tmp_path: Path) -> None:
    curriculum = PotentialCurriculum(BASE, TWINS, PLAIN)
    metrics = tmp_path / "metrics.jsonl"
    lines = []
    for step in range(1, 4):
        row = curriculum.observe(episodes(hard=(step, 0), easy=(0, 2)))
        lines.append(json.dumps({"step": step} | {f"curriculum/{k}": v for k, v in row.items()}))
    metrics.write_text("\n".join(lines) + "\n")
    file = write_plot(metrics, tmp_path / "curriculum.svg")
    assert file is not None
    drawn = file.read_text()
    assert all(f">{name}<" in drawn for name in BASE)
    assert drawn.count("<polyline") == 2 * len(BASE)
    metrics.write_text('{"step": 1}\n')
    assert write_plot(metrics, tmp_path / "none.svg") is None
    assert not (tmp_path / "none.svg").exists()
