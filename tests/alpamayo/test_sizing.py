"""The arithmetic of docs/sizing.md, by hand and against what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alpamayo.config import RunConfig, load_config
from alpamayo.paths import configs_dir, resolve_policy
from alpamayo.sizing import FIGURES, LARGE, TINY, decision_bytes, estimate, parameters_of, waits
from sim.config import alpamayo_rig


def shipped(name: str, *words: str) -> RunConfig:
    config = load_config("train", str(configs_dir() / name), words)
    assert isinstance(config, RunConfig)
    return config


def test_the_demos_rates_are_within_a_factor_of_two_of_the_measured_ones() -> None:
    """docs/results.md: 1,164 rollout decisions/s, 986 learner samples/s of 0.7 per decision, 42 MB
    of 3,343 decisions."""
    found = estimate(shipped("train/cpu.yaml"), TINY)
    assert 0.5 < found.sample_per_s / 1164 < 2.0
    assert 0.5 < found.learn_per_s / (986 / 0.7) < 2.0
    assert 0.5 < found.rollout_bytes / 42e6 < 2.0
    assert found.worker_idle + found.learner_idle == pytest.approx(1.0, abs=0.01)  # they take turns


def test_one_core_simulates_for_several_gpus_of_the_large_policy() -> None:
    config = shipped("cluster/node_8gpu.yaml", "rollout.workers=1", "rollout.pool_actors=1")
    config = replace(config, sim=replace(config.sim, rig=alpamayo_rig()))
    found = estimate(config, LARGE)
    # 4 x 448 x 252 pixels at 4.5 ns and 0.05 ms; 19 ms a plan.
    assert found.simulate_per_s == pytest.approx(1 / (0.05e-3 + 4.5e-9 * 4 * 448 * 252), rel=1e-6)
    assert found.plan_per_s == pytest.approx(1 / 19e-3)
    assert 8 < found.simulate_per_s / found.plan_per_s < 10
    assert found.weights_bytes == pytest.approx(35.6e9)
    assert found.sync_s == pytest.approx(29.7, 0.01)
    assert found.learner_bytes == pytest.approx(178e9)  # weights, gradients, two moments, reference
    assert decision_bytes(config) == 3 * 448 * 252 * 4 * 4 + 1000


def test_roles_that_would_wait_are_named_with_what_to_change() -> None:
    (line,) = waits(shipped("cluster/node_8gpu.yaml"), LARGE)
    assert line.startswith("simulators will wait") and "pool_actors" in line
    lines = waits(shipped("cluster/node_8gpu.yaml", "rollout.workers=1"), TINY)
    assert [line.split(" will")[0] for line in lines] == ["inference actors", "learners"]
    assert waits(shipped("train/cpu.yaml"), TINY) == []


def test_asynchronous_roles_do_not_take_turns() -> None:
    words = ("rollout.mode=asynchronous", "learner.importance_cap=2")
    both = estimate(shipped("train/cpu.yaml", *words), TINY)
    turns = estimate(shipped("train/cpu.yaml"), TINY)
    assert min(both.worker_idle, both.learner_idle) == pytest.approx(0.0, abs=0.01)
    assert both.worker_idle < turns.worker_idle and both.learner_idle < turns.learner_idle


def test_parameters_are_counted_without_the_weights(tmp_path: Path) -> None:
    assert parameters_of(resolve_policy("shipped")) == pytest.approx(TINY, rel=0.01)
    assert parameters_of(str(tmp_path)) is None


def test_the_page_shows_every_figure() -> None:
    page = (configs_dir().parent / "docs" / "sizing.md").read_text()
    for name, figure in FIGURES.items():
        assert f"| `{name}` | {figure.value:.3g} | {figure.source} |" in page, name
