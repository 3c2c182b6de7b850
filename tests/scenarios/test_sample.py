"""Sampling: reproducible, one stream per parameter, distributions as stated."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import Scenario
from scenarios.catalog import list_documents, list_ids, twin_id
from scenarios.load import load_document, load_file
from scenarios.sample import sample
from scenarios.schema import Distribution
from scenarios.yaml_tree import ScenarioFileError

Write = Callable[..., Path]
ROAD_AND_EGO = "road: {kind: straight}\nego: {lane: 0}\n"


def _document(write: Write, parameters: str):  # type: ignore[no-untyped-def]
    head = "schema_version: 1\nid: p\nfamily: p\ndescription: x\n"
    return load_file(write("p", f"{head}{ROAD_AND_EGO}parameters: {parameters}\n"))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**40))
def test_the_same_seed_gives_the_same_scenario_and_pickles(seed: int) -> None:
    document = load_document("cut_in")
    first = sample(document, seed)
    assert first == sample(document, seed)
    assert pickle.loads(pickle.dumps(first)) == first


def test_another_process_draws_the_same() -> None:
    code = (
        "from scenarios.load import load_document as load; "
        "from scenarios.sample import sample; print(sample(load('cut_in'), 7))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2], env={"PYTHONHASHSEED": "123", "PYTHONPATH": "."},
    )  # fmt: skip
    assert out.stdout.strip() == str(sample(load_document("cut_in"), 7))


def test_a_new_parameter_leaves_the_others_as_they_were(write: Write) -> None:
    few = _document(write, "{a: {uniform: [0, 1]}, b: {choice: [1, 2, 3]}}")
    more = _document(write, "{z: {uniform: [0, 9]}, b: {choice: [1, 2, 3]}, a: {uniform: [0, 1]}}")
    for seed in range(50):
        x, y = sample(few, seed).parameters, sample(more, seed).parameters
        assert (x["a"], x["b"]) == (y["a"], y["b"])


def test_parameters_are_independent_of_each_other_and_of_the_seed_before(write: Write) -> None:
    document = _document(write, "{a: {uniform: [0, 1]}, b: {uniform: [0, 1]}}")
    draws = [sample(document, seed).parameters for seed in range(4000)]
    a, b = np.array([d["a"] for d in draws]), np.array([d["b"] for d in draws])
    for x, y in ((a, b), (a[1:], a[:-1])):
        assert abs(np.corrcoef(x, y)[0, 1]) < 4 / np.sqrt(len(x))


def test_distributions_have_their_stated_moments(write: Write) -> None:
    document = _document(
        write,
        "{u: {uniform: [2, 6]}, n: {normal: {mean: 5, std: 2}},"
        " t: {normal: {mean: 0, std: 1, min: 1, max: 2}},"
        " c: {choice: [1, car, 3], weights: [1, 0, 3]},"
        " twice: 2 * $u, s: {select: [a, b], by: $k}, k: {choice: [0, 1]}}",
    )
    draws = [sample(document, seed).parameters for seed in range(4000)]
    u, n, t = (np.array([d[name] for d in draws]) for name in "unt")
    assert u.min() >= 2 and u.max() <= 6
    assert u.mean() == pytest.approx(4.0, abs=4 * 1.155 / np.sqrt(4000))
    assert n.mean() == pytest.approx(5.0, abs=4 * 2 / np.sqrt(4000)) and n.std() == pytest.approx(
        2.0, rel=0.06
    )
    shape = NormalDist()
    mass = shape.cdf(2) - shape.cdf(1)
    assert t.min() >= 1 and t.max() <= 2
    assert t.mean() == pytest.approx((shape.pdf(1) - shape.pdf(2)) / mass, abs=0.02)
    counts = Counter(d["c"] for d in draws)
    assert counts["car"] == 0 and counts[3] / 4000 == pytest.approx(0.75, abs=0.03)
    assert all(d["twice"] == 2 * d["u"] and d["s"] == "ab"[d["k"]] for d in draws)


@pytest.mark.parametrize(
    "parameters",
    [
        "{a: {uniform: [0, 1], choice: [1]}}",
        "{a: {choice: [1, 2], weights: [1]}}",
        "{a: {choice: [1, 2], weights: [0, 0]}}",
        "{a: {normal: {mean: 0, std: 1, min: 3, max: 2}}}",
        "{a: {normal: {mean: 0, std: 0}}}",
        "{a: {select: [1, 2], by: 2}}",
        "{a: {select: [1, 2]}}",
        "{a: 1 / $b, b: 0}",
        "{a: $b + 1, b: {choice: [car]}}",
        "{a: $b, b: $a}",
    ],
)
def test_distributions_without_sense_are_refused_when_loading(
    write: Write, parameters: str
) -> None:
    with pytest.raises(ScenarioFileError, match=r"parameters\.[ab]"):
        _document(write, parameters)


def test_probability_and_defaults_of_actors(write: Write) -> None:
    text = """\
schema_version: 1
id: p
family: p
description: x
road: {kind: straight, speed_limit_mps: 11}
ego: {lane: 0}
actors:
  - {id: car, lane: 1, ahead_m: 20, probability: 0.25}
  - {id: walker, kind: pedestrian, lane: 1, ahead_m: 9, color: [1, 2, 3]}
  - {id: block, kind: barrier, lane: 1, s_m: 70}
events:
  - {actor: car, trigger: {ego_position_m: 1}, actions: [{react: {speed_mps: 3}}]}
"""
    document = load_file(write("p", text))
    drawn = [sample(document, seed) for seed in range(2000)]
    there = [s for s in drawn if s.actors[0].id == "car"]
    assert len(there) / 2000 == pytest.approx(0.25, abs=0.04)
    assert all(bool(s.events) == (s.actors[0].id == "car") for s in drawn)
    car, walker, block = there[0].actors
    assert (car.behaviour, car.desired_speed_mps, car.s_from_ego) == ("idm", 11.0, True)
    assert (walker.behaviour, walker.color) == ("scripted", (1, 2, 3))
    assert (block.behaviour, block.s_from_ego, block.s_m) == ("static", False, 70.0)
    assert there[0].events[0].trigger.kind == "ego_position"
    assert len({s.actors[0].color for s in there}) > 4


# --------------------------------------------------------------------------------------
# The library
# --------------------------------------------------------------------------------------
DANGERS = [d.id for d in list_documents() if not d.nominal]


def test_the_library_has_eight_dangers_and_each_has_a_nominal_twin_and_three_dimensions() -> None:
    assert len(DANGERS) >= 8
    for name in DANGERS:
        document = load_document(name)
        twin = load_document(twin_id(name) or "")
        assert twin.nominal and twin.family == document.family and twin.extends
        assert sum(not isinstance(p, int | float | str) for p in document.parameters.values()) >= 3
        assert document.sources and document.severity != "S0"


def meaning(scenario: Scenario) -> object:
    return scenario.ego, scenario.actors, scenario.events, scenario.road, scenario.weather


@pytest.mark.parametrize("name", DANGERS)
def test_a_twin_shares_the_draws_of_its_danger(name: str) -> None:
    document = load_document(name)
    inherited = load_document(twin_id(name) or "").parameters
    drawn = [
        key
        for key, spec in document.parameters.items()
        if isinstance(spec, Distribution) and spec.select is None and spec == inherited[key]
    ]
    assert len(drawn) >= 3
    for seed in (0, 1, 1_000_003):
        danger, twin = sample(document, seed), sample(document, seed, nominal=True)
        assert twin.nominal and twin.id == twin_id(name) and twin.ego.path == danger.ego.path
        assert {k: twin.parameters[k] for k in drawn} == {k: danger.parameters[k] for k in drawn}
        assert meaning(twin) != meaning(danger)


@pytest.mark.parametrize("name", list_ids())
def test_draws_of_the_library_keep_the_simulators_limits(name: str) -> None:
    document = load_document(name)
    for seed in range(40):
        scenario = sample(document, seed)
        assert len(scenario.actors) <= 12
        wrong = sum(f.amount for f in scenario.faults if f.kind == "speed_scale" and f.amount < 0)
        shown_mps = scenario.ego.speed_mps * (1.0 + wrong)
        assert shown_mps <= scenario.road.speed_limit_mps + 1e-9 and scenario.ego.speed_mps <= 40
        assert all(dataclasses.is_dataclass(a) for a in scenario.actors)


@pytest.mark.parametrize("name", list_ids())
def test_a_scenario_needs_few_roads(name: str) -> None:
    """Each is built and kept once; a road that every draw makes anew would be neither."""
    document = load_document(name)
    assert len({sample(document, seed).road for seed in range(60)}) <= 24
