"""``benchmarks/soak.py``: a short run finds nothing wrong, and it would find it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sim.env import DrivingVectorEnv

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_any_action_on_any_road_is_survived(soak) -> None:
    document = soak.soak(hours=0.2, worlds=16, seed=1, max_growth_mb=100.0)
    assert document["problems"] == [] and document["ok"]
    assert document["simulated_h"] >= 0.2 and document["decisions"] >= 1800
    assert document["invalid_actions"] > 0
    assert sum(document["ends"].values()) == document["episodes"] > 20


def test_what_is_not_finite_is_found(soak, scenario) -> None:
    envs = DrivingVectorEnv(2, scenario(), rig=None, invalid="brake")
    envs.reset(seed=0)

    def problems(spoil) -> str:
        watch = soak.Watch()
        step = envs.step(np.zeros((2, 8, 2), np.float32))
        spoil(step)
        watch.look(envs, step, 0)
        return " ".join(watch.problems)

    def reward(step) -> None:
        step[1][1] = np.inf

    def observation(step) -> None:
        step[0]["road"][0, 0, 0] = np.nan

    def space(step) -> None:
        step[0]["speed_mps"][1] = -1.0

    def state(step) -> None:
        envs.worlds.state.friction[0] = np.nan

    assert problems(lambda step: None) == ""
    assert "reward: [inf]" in problems(reward)
    assert "road: nan" in problems(observation)
    assert "outside its space" in problems(space)
    assert "state friction: nan" in problems(state)


def test_an_exception_ends_the_soak_with_its_traceback(soak, monkeypatch) -> None:
    def fail(self, actions):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(DrivingVectorEnv, "step", fail)
    document = soak.soak(hours=1.0, worlds=2, seed=0, max_growth_mb=100.0)
    assert not document["ok"] and "on purpose" in document["problems"][0]
