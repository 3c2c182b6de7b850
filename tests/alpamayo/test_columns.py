"""Rollout columns: what is written comes out where it belongs, without padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.rollout.columns import (
    ColumnWriter,
    RolloutBatch,
    merge,
    split_groups,
    summary,
    take_worlds,
)
from alpamayo.types import (
    END_COLLISION,
    END_RUNNING,
    END_TIMEOUT,
    DecodeTrace,
)


def seen(marks: np.ndarray) -> dict[str, np.ndarray]:
    """Policy inputs whose every column tells which row they are."""
    frames = np.broadcast_to(
        (marks % 251).astype(np.uint8)[:, None, None, None, None], (len(marks), 1, 2, 3, 3)
    )
    return {"frames": frames, "speed_mps": marks.astype(np.float32)}


def decoded(marks: np.ndarray) -> DecodeTrace:
    n = len(marks)
    tokens = (marks[:, None] * 10 + np.arange(4)).astype(np.int32)
    commit = np.zeros((n, 4), np.int8)
    return DecodeTrace(tokens, commit, -tokens.astype(np.float32), np.ones(n, np.int8))


def episodes(
    lengths: list[int], ends: list[int], *, first_group: int = 0, fork: list[int] | None = None
) -> RolloutBatch:
    """World w drives ``lengths[w]`` decisions; decision t of it is marked 100 w + t and earns t +
    1. Who ends in a collision has failed.
    """
    length = np.array(lengths)
    worlds = len(lengths)
    writer = ColumnWriter(max(lengths) + 2, worlds)
    every = np.arange(worlds)
    for step in range(max(lengths)):
        rows = np.flatnonzero(length > step)
        marks = 100 * rows + step
        writer.append(step, rows, seen(marks), decoded(marks))
        reward = np.full(worlds, step + 1.0)
        end = np.where(length == step + 1, ends, END_RUNNING)
        writer.outcome(step, rows, reward, {"progress": reward / 2}, end)
        cut = rows[end[rows] == END_TIMEOUT]
        writer.final(cut, seen(100 * cut + step + 1))
    return writer.finish(
        group=first_group + every // 2, seed=every, scenario_id=["s"] * worlds, weights_version=7,
        success=np.array(ends) != END_COLLISION, fork=np.array(fork or [-1] * worlds),
    )  # fmt: skip


def test_only_running_worlds_leave_rows_and_they_are_in_decision_order() -> None:
    batch = episodes([2, 3, 1], [END_TIMEOUT, END_COLLISION, END_COLLISION])
    assert batch.num_decisions == 6
    assert batch.step.tolist() == [0, 0, 0, 1, 1, 2]
    assert batch.world.tolist() == [0, 1, 2, 0, 1, 1]
    assert batch.flat["speed_mps"].tolist() == [0, 100, 200, 1, 101, 102]
    assert batch.flat["tokens"][3].tolist() == [10, 11, 12, 13]
    assert batch.valid.T.tolist() == [[True, True, False], [True] * 3, [True, False, False]]
    assert batch.reward.T.tolist() == [[1, 2, 0], [1, 2, 3], [1, 0, 0]]
    assert batch.terms["progress"].sum() == batch.reward.sum() / 2
    assert batch.terminated.tolist() == [False, True, True]
    assert set(batch.weights_version.tolist()) == {7}
    assert batch.flat["frames"].dtype == np.uint8


def test_values_stand_at_their_decision_and_after_the_last_one() -> None:
    batch = episodes([2, 3, 1], [END_TIMEOUT, END_COLLISION, END_TIMEOUT])
    assert batch.final_world.tolist() == [2, 0]
    assert batch.final["speed_mps"].tolist() == [201, 2]
    value = batch.value_grid(batch.flat["speed_mps"], batch.final["speed_mps"])
    assert value.T.tolist() == [[0, 1, 2, 0], [100, 101, 102, 0], [200, 201, 0, 0]]


def test_rows_undo_the_grid() -> None:
    batch = episodes([2, 3, 1], [END_COLLISION] * 3)
    numbers = np.arange(6, dtype=np.float32)
    grid = batch.grid(numbers)
    assert grid.T.tolist() == [[0, 3, 0], [1, 4, 5], [2, 0, 0]]
    assert batch.rows(grid).tolist() == numbers.tolist()


def test_merged_batches_keep_every_row_with_its_world() -> None:
    one = episodes([1, 2], [END_TIMEOUT] * 2)
    two = episodes([3, 1], [END_COLLISION, END_TIMEOUT], first_group=5)
    both = merge([one, two])
    assert both.valid.shape == (3, 4) and both.num_decisions == 7
    assert both.valid.sum(axis=0).tolist() == [1, 2, 3, 1]
    assert both.group.tolist() == [0, 0, 5, 5]
    grid = both.grid(both.flat["speed_mps"])
    assert grid[:, 2].tolist() == [0, 1, 2] and grid[:, 3].tolist() == [100, 0, 0]
    assert both.final_world.tolist() == [0, 1, 3]
    assert summary(both)["reward"] == pytest.approx((1 + 3 + 6 + 1) / 4)


def test_forks_and_successes_stay_with_their_worlds_and_forks_leave_the_means_alone() -> None:
    one = episodes([1, 2], [END_TIMEOUT, END_COLLISION])
    two = episodes([3, 3], [END_COLLISION, END_TIMEOUT], first_group=5, fork=[4, 4])
    both = merge([one, two])
    assert both.fork.tolist() == [-1, -1, 4, 4]
    assert both.success.tolist() == [True, False, False, True]
    taken = take_worlds(both, np.array([3, 1]))
    assert taken.fork.tolist() == [4, -1] and taken.success.tolist() == [True, False]
    assert summary(both) == pytest.approx(summary(one))


def test_taking_worlds_is_the_inverse_of_merging() -> None:
    one, two = episodes([1, 2], [END_TIMEOUT] * 2), episodes([2, 1], [END_TIMEOUT] * 2)
    again = take_worlds(merge([one, two]), np.array([2, 3]))
    assert again.step.tolist() == two.step.tolist()
    assert again.world.tolist() == two.world.tolist()
    for key, values in two.flat.items():
        np.testing.assert_array_equal(again.flat[key], values)
    np.testing.assert_array_equal(again.final["speed_mps"], two.final["speed_mps"])
    assert again.final_world.tolist() == two.final_world.tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=6, max_size=12), st.integers(1, 3))
def test_shards_hold_whole_groups_and_every_decision_once(lengths: list[int], parts: int) -> None:
    batch = episodes(lengths, [END_COLLISION] * len(lengths))
    shards = split_groups(batch, parts)
    marks = np.concatenate([shard.flat["speed_mps"] for shard in shards])
    assert sorted(marks) == sorted(batch.flat["speed_mps"])
    groups = [set(shard.group.tolist()) for shard in shards]
    assert all(groups) and sum(map(len, groups)) == len(set(batch.group.tolist()))
    for shard in shards:
        assert shard.valid.sum() == shard.num_decisions
        np.testing.assert_array_equal(shard.grid(np.ones(shard.num_decisions)) > 0, shard.valid)


def test_fewer_groups_than_learners_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 groups cannot be split over 2"):
        split_groups(episodes([1, 1], [END_COLLISION] * 2), 2)
