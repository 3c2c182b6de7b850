"""One sample of a worker, with a stand-in for the simulator behind the same seam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from alpamayo.learner.weights import load_tensors
from alpamayo.rollout.collect import Draw, Rollout, collect, failed_rollout
from alpamayo.rollout.transport import ObjectStoreTransport, WeightsHandle
from alpamayo.types import (
    END_COLLISION,
    END_RUNNING,
    END_TIMEOUT,
    DecodeTrace,
    EgoSpec,
    ObservationBatch,
    PlanBatch,
    RoadSpec,
    Scenario,
    StepSignals,
)
from sim.config import SimConfig

SIM = SimConfig(rig=None)


def scenario(seed: int, duration_s: float = 2.0) -> Scenario:
    return Scenario("still", "still", False, seed, RoadSpec(), EgoSpec(), duration_s=duration_s)


class StandIn:
    """Worlds that crash at decision ``seed`` (if > 0) or time out; progress of a decision is the
    first action.
    """

    def __init__(self, num_worlds: int) -> None:
        self.num_worlds = num_worlds
        self.route_length_m = np.full(num_worlds, 100.0)
        self.observed: list[int] = []

    def load(self, rows: np.ndarray, scenarios: Sequence[Scenario]) -> None:
        assert rows.tolist() == list(range(self.num_worlds))
        self.scenarios = list(scenarios)
        self.running = np.ones(self.num_worlds, dtype=bool)
        self.decision = np.zeros(self.num_worlds, dtype=int)
        seeds = np.array([s.seed for s in scenarios])
        self.limit = np.ceil([s.duration_s / SIM.decision_s for s in scenarios]).astype(int)
        self.crash = np.where(seeds > 0, seeds, 10**6)

    def observe(self, rows: np.ndarray | None = None) -> ObservationBatch:
        assert rows is not None
        self.observed.append(len(rows))
        n = len(rows)
        return ObservationBatch(
            np.zeros((n, 0, 0, 0, 3), np.uint8),
            np.zeros((n, 16, 3), np.float32),
            self.decision[rows].astype(np.float32),
            np.zeros(n, np.int8),
            np.full(n, 14, np.float32),
        )

    def step(self, actions: np.ndarray) -> StepSignals:
        active = self.running.copy()
        self.decision += active
        crashed = active & (self.decision >= self.crash)
        late = active & ~crashed & (self.decision >= self.limit)
        end = np.select([crashed, late], [END_COLLISION, END_TIMEOUT], END_RUNNING)
        self.running &= ~(crashed | late)
        zero, none = np.zeros(self.num_worlds), np.zeros(self.num_worlds, int)
        return StepSignals(
            end=end, fault=none, collision_actor=none - 1, progress_m=actions[:, 0,
            0].astype(float), min_ttc_s=zero + 9, min_gap_m=zero + 9, accel_mps2=zero,
            jerk_mps3=zero, lateral_accel_mps2=zero, yaw_rate_radps=zero, yaw_accel_radps2=zero,
            lane_offset_m=zero, wrong_way=zero > 1, over_speed_mps=zero, speed_mps=zero + 5,
            active=active,
        )  # fmt: skip


class Echo:
    """Plans whose first acceleration is the world's noise: rewards tell which key was used."""

    version = 3

    def __init__(self) -> None:
        self.keys: list[int] = []

    def plan(self, observation: ObservationBatch, noise_keys: np.ndarray) -> PlanBatch:
        self.keys += noise_keys.tolist()
        n = len(observation)
        first = (noise_keys % np.uint64(1000)).astype(np.float32)
        accel = np.repeat(first[:, None], 8, axis=1)
        trace = DecodeTrace(
            np.zeros((n, 16), np.int32), np.zeros((n, 16), np.int8),
            np.zeros((n, 16), np.float32), np.ones(n, np.int8),
        )  # fmt: skip
        return PlanBatch(accel, 0 * accel, trace, np.full(n, 2.5, np.float32))

    def inputs(self, observation: ObservationBatch) -> dict[str, np.ndarray]:
        return observation.as_dict()

    def pull(self, weights: WeightsHandle) -> None: ...


@pytest.fixture(autouse=True)
def plain_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reward = progress, whatever the simulator's terms are."""
    rewards: Any = pytest.importorskip("sim.rewards")
    monkeypatch.setattr(rewards, "reward_terms", lambda s, config: {"progress": s.progress_m})
    monkeypatch.setattr(rewards, "total_reward", lambda terms: terms["progress"])


def drive(seeds: list[int], *, group_size: int = 2, iteration: int = 0, worker: int = 0) -> Rollout:
    draw = Draw(5, iteration, worker, 2, len(seeds) * group_size, group_size)
    starts = [scenario(seed) for seed in seeds]
    return collect(StandIn(draw.worlds), Echo(), starts, draw, SIM, keep_final=True)


def test_a_sample_holds_complete_episodes_of_every_world() -> None:
    rollout = drive([0, 3])
    batch = rollout.batch
    assert batch is not None
    assert batch.valid.sum(axis=0).tolist() == [5, 5, 3, 3]
    assert batch.end.tolist() == [END_TIMEOUT, END_TIMEOUT, END_COLLISION, END_COLLISION]
    assert batch.terminated.tolist() == [False, False, True, True]
    # Truncated episodes alone keep what they saw last, for the bootstrap.
    assert sorted(batch.final_world.tolist()) == [0, 1]
    assert batch.final["speed_mps"].tolist() == [5.0, 5.0]
    assert [e.end for e in rollout.episodes] == ["timeout", "timeout", "collision", "collision"]
    assert {e.weights_version for e in rollout.episodes} == {3}
    assert rollout.episodes[0].total_reward == pytest.approx(batch.reward[:, 0].sum())
    assert rollout.episodes[0].plan_ms == pytest.approx(2.5)


def test_worlds_that_ended_are_neither_drawn_nor_decoded() -> None:
    worlds, backend = StandIn(4), Echo()
    collect(
        worlds, backend, [scenario(1), scenario(0)], Draw(0, 0, 0, 1, 4, 2), SIM, keep_final=False
    )
    assert worlds.observed == [4, 2, 2, 2, 2]
    assert len(backend.keys) == 12


def test_a_group_shares_its_scenario_and_differs_in_noise() -> None:
    batch = drive([0, 0]).batch
    assert batch is not None
    assert batch.group.tolist() == [0, 0, 1, 1] and batch.seed.tolist() == [0, 0, 0, 0]
    assert len({tuple(column) for column in batch.reward.T.tolist()}) == 4


def test_noise_never_repeats_within_a_run_and_repeats_exactly_when_asked_again() -> None:
    draws = [Draw(1, i, w, 2, 8, 4) for i in range(3) for w in range(2)]
    keys = np.concatenate([d.noise_keys(t) for d in draws for t in range(40)])
    assert len(np.unique(keys)) == len(keys)
    np.testing.assert_array_equal(draws[3].noise_keys(7), replace(draws[3]).noise_keys(7))
    assert not np.isin(keys, replace(draws[0], seed=2).noise_keys(0)).any()


def test_scenarios_follow_each_other_across_workers_and_iterations() -> None:
    firsts = [Draw(0, i, w, 3, 16, 4).first for i in range(2) for w in range(3)]
    assert firsts == [0, 4, 8, 12, 16, 20]


def test_a_sample_that_could_not_be_driven_leaves_a_row_for_every_episode() -> None:
    draw = Draw(0, 0, 1, 2, 4, 2)
    rollout = failed_rollout([scenario(8), scenario(9)], draw, 6, ValueError("no road"))
    assert rollout.batch is None and rollout.error == "ValueError: no road"
    assert [(e.seed, e.end, e.error, e.weights_version) for e in rollout.episodes] == [
        (seed, "failed", "ValueError: no road", 6) for seed in (8, 8, 9, 9)
    ]


def test_weights_are_pulled_by_version_and_keep_their_dtype() -> None:
    def module(fill: float) -> torch.nn.Module:
        made = torch.nn.Linear(2, 2).to(torch.bfloat16)
        return load(made, fill)

    def load(made: torch.nn.Module, fill: float) -> torch.nn.Module:
        load_tensors(made, {n: torch.full_like(p, fill) for n, p in made.named_parameters()})
        return made

    source, target = module(1.5), module(0.0)
    transport = ObjectStoreTransport(dict(source.named_parameters()))
    first = transport.publish(0, {"weight": source.weight})
    load(source, 2.5)
    second = transport.publish(1, {"weight": source.weight})

    assert first.pull(target, -1) == 0
    assert target.weight.flatten().tolist() == [1.5] * 4 and target.bias.tolist() == [1.5] * 2
    assert second.pull(target, 0) == 1
    # Only what is trained travels again.
    assert target.weight.flatten().tolist() == [2.5] * 4 and target.bias.tolist() == [1.5] * 2
    assert target.weight.dtype == torch.bfloat16
    load(target, 0.0)
    assert second.pull(target, 1) == 1 and target.weight.sum() == 0  # nothing newer, nothing loaded
    assert second.pull(target, -1) == 1  # a restarted worker gets both from the newest handle
    assert target.weight.flatten().tolist() == [2.5] * 4 and target.bias.tolist() == [1.5] * 2


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown tensors: other"):
        load_tensors(torch.nn.Linear(2, 2), {"other": torch.zeros(1)})
