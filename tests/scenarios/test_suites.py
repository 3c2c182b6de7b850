"""Suites: deterministic, in proportion, and training seeds never meet held-out ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import RequestError
from scenarios.suites import HELD_OUT_FROM, list_suites, load_suite
from scenarios.yaml_tree import ScenarioFileError


@pytest.mark.parametrize("name", list_suites())
def test_a_draw_depends_only_on_its_number(name: str) -> None:
    suite = load_suite(name)

    @settings(deadline=None, max_examples=30)
    @given(start=st.integers(0, 3000), count=st.integers(0, 40))
    def check(start: int, count: int) -> None:
        assert suite.pairs(count, start) == suite.pairs(start + count)[start:]

    check()


def test_the_shipped_suites_have_the_stated_mix() -> None:
    from scenarios.load import load_document

    for name, danger_share in (
        ("train", 0.5),
        ("heldout", 0.7),
        ("realistic", 0.08),
        ("realistic_heldout", 0.08),
    ):
        shares = load_suite(name).shares
        assert sum(shares.values()) == pytest.approx(1.0)
        found = sum(share for key, share in shares.items() if not load_document(key).nominal)
        assert found == pytest.approx(danger_share, abs=0.005)


def test_random_order_follows_the_weights() -> None:
    suite = load_suite("train")
    counts = Counter(name for name, _ in suite.pairs(20_000))
    for name, share in suite.shares.items():
        assert counts[name] / 20_000 == pytest.approx(share, abs=4 * (share / 20_000) ** 0.5)


def test_even_order_covers_every_scenario_in_proportion_in_any_stretch() -> None:
    suite = load_suite("heldout")
    for start in (0, 37, 640):
        counts = Counter(name for name, _ in suite.pairs(320, start))
        for name, share in suite.shares.items():
            assert abs(counts[name] - 320 * share) < 3.5


def test_seeds_of_the_shipped_suites_do_not_meet() -> None:
    spans = {}
    for name in list_suites():
        document = load_suite(name).document
        spans[name] = (document.seeds.start, document.seeds.start + document.seeds.count)
        assert (document.seeds.start >= HELD_OUT_FROM) == (document.split == "heldout")
    ordered = sorted(spans.values())
    assert all(end <= start for (_, end), (start, _) in pairwise(ordered))


def test_draw_gives_the_scenarios_of_pairs() -> None:
    suite = load_suite("heldout")
    assert [(s.id, s.seed) for s in suite.draw(20, start=5)] == suite.pairs(20, start=5)


TEXT = """\
schema_version: 1
id: mine
description: x
split: train
seeds: {start: 0, count: 10}
scenarios:
  - {id: cut_in, weight: 1.0}
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("start: 0", "start: 999995", "5:1: seeds: training seeds stay below 1000000"),
        ("split: train", "split: heldout", "5:9: seeds.start: held-out seeds start at 1000000"),
        (
            "id: cut_in",
            "id: cut_inn",
            "7:6: scenarios.0.id: unknown scenario cut_inn; did you mean cut_in?",
        ),
        ("weight: 1.0", "weight: 0.0", "7:18: scenarios.0.weight: expected greater than 0"),
        ("weight: 1.0", "wait: 1.0", "7:18: scenarios.0.wait: unknown key; did you mean weight?"),
        (
            "{id: cut_in, weight: 1.0}",
            "{id: cut_in}\n  - {id: cut_in}",
            "8:6: scenarios.1.id: duplicate scenario",
        ),
        ("seeds: {start: 0, count: 10}\n", "", "1:1: seeds: missing"),
    ],
)
def test_mistakes_in_a_suite_are_named_with_their_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(ScenarioFileError) as caught:
        load_suite(path)
    assert any(f"mine.yaml:{expected}" in str(p) for p in caught.value.problems), str(caught.value)


def test_a_suite_of_ones_own_may_name_files_beside_it(tmp_path: Path) -> None:
    from scenarios.starter import starter

    (tmp_path / "own.yaml").write_text(starter("own"), encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("id: cut_in", "id: own.yaml"), encoding="utf-8")
    assert {s.id for s in load_suite(path).draw(3)} == {"own"}


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="heldoutt: no such suite; did you mean heldout"):
        load_suite("heldoutt")


# Digests of what the suites draw. Weights were trained and results published on these draws: a
# scenario that is added to the library must not change them.
DRAWS = {
    "train": "da5888810b2d0a48",
    "realistic": "d906cfb90101561e",
    "heldout": "388f8139ae3fa64f",
    "realistic_heldout": "5c9a56e524be4d37",
}


@pytest.mark.parametrize("name", list(DRAWS))
def test_a_shipped_suite_draws_what_it_has_always_drawn(name: str) -> None:
    suite = load_suite(name)
    digest = hashlib.sha256(repr(suite.pairs(2000)).encode())
    for scenario in suite.draw(60, start=7):
        digest.update(repr(sorted(scenario.parameters.items())).encode())
        digest.update(repr([(a.id, a.path, a.s_m, a.speed_mps) for a in scenario.actors]).encode())
    assert digest.hexdigest()[:16] == DRAWS[name]
