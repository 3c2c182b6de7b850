"""Branching groups: forks are exact, start where they should, and compare only with each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo import streams
from alpamayo.config import BranchingConfig, RolloutConfig, load_config
from alpamayo.learner.advantages import compute_advantages
from alpamayo.metrics import is_failure
from alpamayo.rollout.branching import BranchPoint, Trail, choose_points
from alpamayo.rollout.collect import Draw, Rollout, collect
from alpamayo.types import DecodeTrace, ObservationBatch, PlanBatch, RequestError, Scenario
from scenarios.load import load_document
from scenarios.sample import sample
from sim.config import SimConfig
from sim.world import WorldBatch

SIM = SimConfig(rig=None)


# Where to fork ------------------------------------------------------------------------------------
def points(failed: list[int], length: list[int], group: list[int], count: int, **more: Any) -> Any:
    branching = BranchingConfig(**{"min_back_s": 0.8, "max_back_s": 0.8, **more})
    flags, lengths, groups = np.array(failed) > 0, np.array(length), np.array(group)
    rng = np.random.default_rng(0)
    return choose_points(flags, lengths, groups, count, branching, 0.4, rng)


def test_forks_lie_the_wanted_time_before_the_failure() -> None:
    # 0.8 s are two decisions; an episode of one decision is forked at its start.
    found = points([1, 0, 1], [10, 20, 1], [0, 1, 2], 2, random_share=0.0)
    assert sorted((p.parent, p.decision) for p in found) == [(0, 8), (2, 0)]
    assert {p.reason for p in found} == {"failure"}


def test_every_group_has_its_failure_forked_before_a_second_one_of_any() -> None:
    failed, group = [1, 1, 1, 1, 1, 0], [0, 0, 0, 1, 2, 2]
    found = points(failed, [9] * 6, group, 3, random_share=0.0)
    assert sorted(group[p.parent] for p in found) == [0, 1, 2]
    assert len({p.parent for p in points(failed, [9] * 6, group, 5, random_share=0.0)}) == 5


def test_what_failures_do_not_fill_starts_anywhere() -> None:
    found = points([0, 1], [3, 4], [0, 1], 40, random_share=0.5)
    assert [p.reason for p in found].count("failure") == 1
    random = {(p.parent, p.decision) for p in found if p.reason == "random"}
    assert random == {(0, d) for d in range(3)} | {(1, d) for d in range(4)}
    assert {p.reason for p in points([0], [3], [0], 2)} == {"random"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 30)), min_size=1), st.integers(1, 9))
def test_every_fork_is_at_a_decision_that_was_made(
    episodes: list[tuple[bool, int]], count: int
) -> None:
    failed, length = np.array([f for f, _ in episodes]), np.array([n for _, n in episodes])
    group = np.arange(len(failed)) // 3
    rng = np.random.default_rng(1)
    found = choose_points(failed, length, group, count, BranchingConfig(), 0.4, rng)
    assert len(found) == count
    assert all(0 <= p.decision < length[p.parent] for p in found)
    assert all(failed[p.parent] for p in found if p.reason == "failure")


# Forked worlds ------------------------------------------------------------------------------------
def scenarios(count: int) -> list[Scenario]:
    document = load_document("hard_lead_brake")
    return [sample(document, seed) for seed in range(1, count + 1)]


class Reckless:
    """Plans that speed up by what the noise says, 0 to 3 m/s2: soon in the lead's back."""

    version = 3

    def plan(self, observation: ObservationBatch, noise_keys: np.ndarray) -> PlanBatch:
        n = len(observation)
        first = 3.0 * streams.uniform(noise_keys, 1).astype(np.float32)
        accel = np.repeat(first, 8, axis=1)
        trace = DecodeTrace(
            np.zeros((n, 16), np.int32), np.zeros((n, 16), np.int8),
            np.zeros((n, 16), np.float32), np.ones(n, np.int8),
        )  # fmt: skip
        return PlanBatch(accel, 0 * accel, trace, np.full(n, 2.5, np.float32))

    def inputs(self, observation: ObservationBatch) -> dict[str, np.ndarray]:
        return {"speed_mps": observation.speed_mps.copy(), "prompt_ids": observation.speed_mps}

    def pull(self, weights: Any) -> None: ...


def drive(*, keep_final: bool = False, iteration: int = 0) -> Rollout:
    draw = Draw(5, iteration, 1, 2, 6, 2, branch_groups=2, branch_size=4)
    worlds = WorldBatch([s for s in scenarios(3) for _ in range(2)], SIM)
    branching = BranchingConfig(share=0.5, group_size=4, random_share=0.5)
    starts = scenarios(3)
    return collect(
        worlds, Reckless(), starts, draw, SIM, keep_final=keep_final, branching=branching
    )


def test_a_fork_is_the_parent_as_it_was_before_that_decision() -> None:
    worlds = WorldBatch(scenarios(3), SIM)
    trail: Trail[WorldBatch] = Trail()
    plans = np.zeros((3, SIM.plan_steps, 2))
    plans[:, :, 0] = [[1.0], [-2.0], [0.5]]
    hashes, ends = [], []
    for _ in range(6):
        hashes.append(worlds.state_hash())
        trail.keep(worlds, np.flatnonzero(worlds.running))
        ends.append(worlds.step(plans))
    made = [BranchPoint(2, 4, "random"), BranchPoint(0, 1, "failure"), BranchPoint(2, 1, "random")]
    forks = trail.branch(worlds, made, 2)
    assert forks.state_hash() == [hashes[p.decision][p.parent] for p in made for _ in range(2)]
    assert [s.seed for s in forks.scenarios] == [3, 3, 1, 1, 3, 3]
    # With the parent's plans they drive as it drove, bit by bit.
    again = forks.step(plans[[2, 2, 0, 0, 2, 2]])
    expected = [ends[p.decision].progress_m[p.parent] for p in made for _ in range(2)]
    assert again.progress_m.tolist() == expected


def test_a_sample_with_branches_holds_whole_groups_and_says_where_each_began() -> None:
    rollout = drive()
    batch = rollout.batch
    assert batch is not None
    assert batch.num_worlds == 6 + 8 and len(rollout.episodes) == 6 and len(rollout.branches) == 8
    # The sample is number 1 of the run: five groups each, three that start and two that fork.
    assert batch.group.tolist() == [5, 5, 6, 6, 7, 7] + [8] * 4 + [9] * 4
    assert batch.fork[:6].tolist() == [-1] * 6
    for branch, fork, group, seed in zip(
        rollout.branches, batch.fork[6:], batch.group[6:], batch.seed[6:], strict=True
    ):
        parent = branch.point.parent
        assert (branch.group, branch.point.decision) == (group, fork)
        assert branch.parent_group == batch.group[parent]
        assert branch.parent_member == parent % 2
        assert branch.result.seed == seed == batch.seed[parent]
    first = rollout.branches[0].point
    assert first.reason == "failure" and is_failure(rollout.episodes[first.parent])
    length = batch.valid.sum(axis=0)
    assert 3 <= length[first.parent] - first.decision <= 10  # 1.2 to 4 s of 0.4 s decisions
    assert rollout.branches[4].point.reason == "random"
    assert [b.result.decisions for b in rollout.branches] == length[6:].tolist()
    expected = [not (is_failure(e) or e.red_light) for e in rollout.episodes]
    assert batch.success[:6].tolist() == expected


def test_members_of_a_branch_see_the_same_first_and_differ_in_noise() -> None:
    rollout = drive()
    batch = rollout.batch
    assert batch is not None
    speed = batch.grid(batch.flat["speed_mps"])
    for first in (6, 10):
        members = slice(first, first + 4)
        point = rollout.branches[first - 6].point
        assert set(speed[0, members].tolist()) == {float(speed[point.decision, point.parent])}
        assert len(set(batch.reward[0, members].tolist())) > 1


def test_a_sample_with_branches_repeats_exactly() -> None:
    one, two, other = drive().batch, drive().batch, drive(iteration=1).batch
    assert one is not None and two is not None and other is not None
    np.testing.assert_array_equal(one.reward, two.reward)
    assert one.fork.tolist() == two.fork.tolist()
    assert one.reward.shape != other.reward.shape or not np.array_equal(one.reward, other.reward)


def test_noise_of_forks_and_of_starts_never_meets() -> None:
    draws = [Draw(1, i, w, 2, 8, 4, 3, 6) for i in range(3) for w in range(2)]
    keys = [k(t) for d in draws for t in range(40) for k in (d.noise_keys, d.branch_noise_keys)]
    flat = np.concatenate(keys)
    assert len(np.unique(flat)) == len(flat) == 3 * 2 * 40 * (8 + 18)
    ids = np.concatenate([np.r_[d.group_ids(), d.branch_group_ids()] for d in draws])
    assert np.unique(ids).tolist() == list(range(6 * 5))


def test_without_branching_noise_and_groups_are_those_of_the_plain_sample() -> None:
    plain, with_none = Draw(5, 2, 1, 2, 8, 4), Draw(5, 2, 1, 2, 8, 4, 0, 0)
    np.testing.assert_array_equal(plain.noise_keys(3), with_none.noise_keys(3))
    assert plain.group_ids().tolist() == [10, 10, 10, 10, 11, 11, 11, 11]
    assert not len(plain.branch_group_ids()) and not len(plain.branch_noise_keys(0))


def test_truncated_forks_keep_what_they_saw_last() -> None:
    batch = drive(keep_final=True).batch
    assert batch is not None
    truncated = np.flatnonzero(~batch.terminated)
    assert sorted(batch.final_world.tolist()) == truncated.tolist()


# Advantages ---------------------------------------------------------------------------------------
def test_members_of_a_branch_are_compared_with_each_other_at_equal_time() -> None:
    """Two starts (group 0) and a branch of three (group 1) whose time counts from the fork; gamma
    1/2. Returns of the branch at its first decision: 1 + 4/2 = 3, 1 - 8/2 = -3, 0; the first's
    baseline is (-3 + 0) / 2 = -1.5. At its second decision the third member is gone.
    """
    reward = np.array([[2.0, 6.0, 1.0, 1.0, 0.0], [0.0, 0.0, 4.0, -8.0, 0.0]])
    valid = np.array([[True] * 5, [False, False, True, True, False]])
    advantage, _ = compute_advantages(
        reward, valid, np.zeros(5, bool), np.array([0, 0, 1, 1, 1]), gamma=0.5
    )
    np.testing.assert_allclose(advantage[0], [-4.0, 4.0, 3 - -1.5, -3 - 1.5, 0.0 - 0.0])
    np.testing.assert_allclose(advantage[1], [0.0, 0.0, 12.0, -12.0, 0.0])


# Settings -----------------------------------------------------------------------------------------
def test_worlds_are_shared_out_in_whole_groups() -> None:
    rollout = RolloutConfig(worlds_per_worker=64, group_size=8)
    assert (rollout.branch_groups, rollout.root_worlds) == (0, 64)
    half = replace(rollout, branching=BranchingConfig(share=0.5))
    assert (half.branch_groups, half.root_worlds) == (4, 32)
    third = replace(rollout, branching=BranchingConfig(share=1 / 3, group_size=8))
    assert (third.branch_groups, third.root_worlds) == (2, 48)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["rollout.branching.share=0.1"], "expected room for a group of 8"),
        (
            ["rollout.branching.share=0.5", "rollout.branching.group_size=10"],
            "expected to leave a multiple of rollout.group_size = 8",
        ),
        (["rollout.branching.max_back_s=1"], "at least rollout.branching.min_back_s = 1.2"),
        (["rollout.branching.share=1"], "expected a number >= 0 and < 1"),
    ],
)
def test_branching_that_leaves_part_of_a_group_is_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint.replace("(", r"\(")):
        load_config("train", None, words)
