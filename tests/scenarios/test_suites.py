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
from scenarios.families import FAMILIES, NOMINAL_TWINS, family_of
from scenarios.load import load_document
from scenarios.splits import HELD_OUT_FAMILIES, SEEDS, SPLITS, holds, split_of_seed
from scenarios.suites import (
    list_suites,
    load_selection_suite,
    load_suite,
    load_training_suite,
)
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


def test_every_family_is_as_frequent_as_the_other_in_the_long_tail() -> None:
    suite, found = load_suite("test_longtail"), dict[str, float]()
    for name, share in suite.shares.items():
        document = load_document(name)
        family = family_of(document.family)
        assert document.nominal or family is not None
        key = "twins" if document.nominal or family is None else family.id
        found[key] = found.get(key, 0.0) + share
    assert set(found) == {f.id for f in FAMILIES if f.id != NOMINAL_TWINS} | {"twins"}
    assert all(s == pytest.approx(1 / 60) for name, s in found.items() if name != "twins")
    assert found["twins"] == pytest.approx(15 / 60)


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
        assert split_of_seed(document.seeds.start) == document.split
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
        (
            "start: 0",
            "start: 999995",
            "5:1: seeds: seeds of split train are 0 to 999999, got 999995 to 1000004",
        ),
        (
            "split: train",
            "split: heldout",
            "5:1: seeds: seeds of split heldout are 1000000 to 2999999, got 0 to 9",
        ),
        (
            "split: train",
            "split: validation",
            "mine.yaml:2:1: id: expected a name that holds validation, the split, got mine",
        ),
        ("id: cut_in", "id: roundabout", "7:6: scenarios.0.id: family roundabout is held out"),
        (
            "weight: 1.0",
            "parameters: {closing_mps: 9}",
            "7:31: scenarios.0.parameters.closing_mps: expected 3 to 6, got 9",
        ),
        (
            "weight: 1.0",
            "parameters: {closin: 4}",
            "closin: cut_in has no such parameter; did you mean closing_mps?",
        ),
        (
            "weight: 1.0",
            "parameters: {ego_mps: 9}",
            "scenarios.0.parameters.ego_mps: follows from other parameters; fix those",
        ),
        (
            "weight: 1.0",
            "parameters: {cutter_kind: tank}",
            "cutter_kind: expected one of car, van, motorcycle, got tank",
        ),
        (
            "weight: 1.0",
            "seed: 1000000",
            "7:18: scenarios.0.seed: seeds of split train are 0 to 999999, got 1000000",
        ),
        (
            "scenarios:\n  - {id: cut_in, weight: 1.0}",
            "select:\n  - {tags: [pedestrain]}",
            "select.0.tags.0: no scenario has tag pedestrain; did you mean pedestrian?",
        ),
        (
            "scenarios:\n  - {id: cut_in, weight: 1.0}",
            "select:\n  - {families: [roundabout]}",
            "select.0: only held-out families match, and train may not hold them: roundabout",
        ),
        ("scenarios:\n  - {id: cut_in, weight: 1.0}\n", "", "expected scenarios or select"),
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
    assert any(expected in str(p) for p in caught.value.problems), str(caught.value)


def test_a_suite_of_ones_own_may_name_files_beside_it(tmp_path: Path) -> None:
    from scenarios.starter import starter

    (tmp_path / "own.yaml").write_text(starter("own"), encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT.replace("id: cut_in", "id: own.yaml"), encoding="utf-8")
    assert {s.id for s in load_suite(path).draw(3)} == {"own"}


def test_an_unknown_suite_is_named_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="heldoutt: no such suite; did you mean heldout"):
        load_suite("heldoutt")


@pytest.mark.parametrize("name", ["heldout", "validation", "test", "tag:lead@heldout"])
def test_training_refuses_every_split_but_its_own(name: str) -> None:
    with pytest.raises(RequestError, match="training takes suites of split train only"):
        load_training_suite(name)


def test_training_words_stay_below_held_out_seeds_and_families() -> None:
    suite = load_training_suite("kind:danger,kind:ordinary")
    assert suite.split == "train"
    for name, seed in suite.pairs(500, start=999_900):
        assert seed in SEEDS["train"] and load_document(name).family not in HELD_OUT_FAMILIES
    with pytest.raises(RequestError, match="only held-out families match"):
        load_training_suite("family:roundabout")


def test_checkpoints_are_not_chosen_on_the_test_split() -> None:
    assert load_selection_suite("validation").split == "validation"
    assert load_selection_suite("tag:lead").split == "validation"
    with pytest.raises(RequestError, match="which is for the final figure"):
        load_selection_suite("test_families")


def test_a_training_run_refuses_what_it_must_not_see() -> None:
    from dataclasses import replace

    from alpamayo.config import InLoopEvalConfig, RolloutConfig, RunConfig
    from alpamayo.paths import resolve_policy
    from alpamayo.training import check_request

    config, init = RunConfig(), resolve_policy("shipped")
    check_request(config, init)
    with pytest.raises(RequestError, match="suite heldout: its split is heldout; training takes"):
        check_request(replace(config, rollout=RolloutConfig(suite="heldout")), init)
    with pytest.raises(RequestError, match="suite test: its split is test"):
        check_request(replace(config, eval=InLoopEvalConfig(suite="test")), init)


def test_held_out_families_are_in_no_suite_that_is_trained_or_chosen_on() -> None:
    for name in list_suites():
        suite = load_suite(name)
        families = {load_document(entry.id).family for entry in suite.entries}
        assert all(holds(suite.split, family) for family in families)
    known = {load_document(entry.id).family for entry in load_suite("test_families").entries}
    assert known == set(HELD_OUT_FAMILIES)
    assert [holds(split, "roundabout") for split in SPLITS] == [False, False, False, True]


def test_words_choose_by_tag_family_kind_and_seeds() -> None:
    both = load_suite("tag:lead+tag:braking,id:cut_in@4000010..4000012")
    assert both.split == "test" and both.pairs(4)[3][1] == 4_000_010
    assert both.shares["cut_in"] == pytest.approx(0.5)
    assert {"hard_lead_brake", "hard_lead_brake_nominal", "cut_in"} <= set(both.shares)
    dangers = load_suite("kind:danger")
    assert dangers.split == "heldout" and "cut_in_nominal" not in dangers.shares


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tag:pedestrain", "no scenario has tag pedestrain; did you mean pedestrian"),
        ("tag:lead+roof:x", "'roof:x': expected one of tag:NAME"),
        ("kind:danger@tset", "@tset: expected a split"),
        ("kind:danger@999999..1000000", "expected seeds of one split"),
        ("kind:danger@7..5", "expected seeds of one split"),
        ("kind:dager", "dager: expected one of danger, twin, ordinary"),
        ("tag:lead+kind:danger+tag:roundabout", "no scenario of the library meets all of this"),
    ],
)
def test_wrong_words_are_named(words: str, expected: str) -> None:
    with pytest.raises(RequestError, match=expected):
        load_suite(words)


def test_a_pinned_case_is_the_same_whenever_it_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    entries = "{id: cut_in, seed: 7, parameters: {closing_mps: 6.0, cutter_kind: van}}"
    entries += "\n  - {id: cut_in, parameters: {closing_mps: 3}}\n  - {id: cut_in}"
    text = TEXT.replace("{id: cut_in, weight: 1.0}", entries).replace(
        "seeds:", "order: listed\nseeds:"
    )
    path.write_text(text, encoding="utf-8")
    suite = load_suite(path)
    first, second, third, again = suite.draw(4)
    assert suite.pairs(4) == [("cut_in", 7), ("cut_in", 1), ("cut_in", 2), ("cut_in", 7)]
    assert (first.parameters["closing_mps"], first.parameters["cutter_kind"]) == (6.0, "van")
    assert first.parameters["cutter_mps"] == first.parameters["ego_mps"] - 6.0
    assert second.parameters["closing_mps"] == 3.0 and first == again
    from scenarios.sample import sample

    assert third == sample(load_document("cut_in"), 2)
    drawn = sample(load_document("cut_in"), 7).parameters
    assert all(
        first.parameters[name] == drawn[name] for name in ("limit_mps", "gap_m", "from_left")
    )


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
