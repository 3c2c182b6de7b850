"""Columns of a rollout: preallocated arrays that a worker fills and ships, never Python objects per
decision.

Rows of the observation and of the decode trace are appended for running worlds only, so what leaves
the worker holds no padding: ``N`` valid decisions in the order (decision, world). Small per-
decision numbers stay ``[T, B]``, because returns and baselines run along time and across the
members of a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from alpamayo.types import (
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    BoolArray,
    DecodeTrace,
    FloatArray,
    IntArray,
)

TRACE_KEYS = ("tokens", "commit_round", "log_prob")
_TRUNCATED = (END_RUNNING, END_TIMEOUT, END_ROUTE_DONE)


@dataclass(frozen=True)
class RolloutBatch:
    """Complete episodes of B worlds, at most T decisions each, N valid decisions in all.

    ``flat``: name -> [N, ...], the policy's inputs (``backend.INPUT_KEYS``) and TRACE_KEYS;
    ``step`` and ``world`` int32 [N] say which decision of which world a row is. ``reward`` float32,
    ``valid`` bool [T, B]; ``terms`` name -> float32 [T, B]; ``end`` int8 [B] END_* codes;
    ``group``, ``seed`` int64 [B]; ``scenario_id`` [B]; ``weights_version`` int64 [B], the weights
    that drove it. ``success`` bool [B]: no failure and no red light run. ``fork`` int32 [B]: the
    decision at which the episode branched off another one, -1 where it started a scenario; members
    of a branching group share it, and their decisions count from there. ``final``: the policy's
    inputs -> [M, ...], what was seen after the last decision of the M worlds ``final_world`` [M],
    kept for truncated episodes when a critic needs a bootstrap value; else M = 0.
    """

    flat: dict[str, np.ndarray]
    step: IntArray
    world: IntArray
    reward: FloatArray
    valid: BoolArray
    terms: dict[str, FloatArray]
    end: IntArray
    group: IntArray
    seed: IntArray
    scenario_id: tuple[str, ...]
    weights_version: IntArray
    success: BoolArray
    fork: IntArray
    final: dict[str, np.ndarray] = field(default_factory=dict)
    final_world: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    @property
    def num_decisions(self) -> int:
        return len(self.step)

    @property
    def num_worlds(self) -> int:
        return len(self.end)

    @property
    def terminated(self) -> BoolArray:
        """[B] True where the episode ended by a terminal event: nothing follows, no bootstrap."""
        return ~np.isin(self.end, _TRUNCATED)

    def grid(self, values: FloatArray) -> FloatArray:
        """Per-row ``values`` [N] as [T, B], zero where not valid."""
        out = np.zeros(self.valid.shape, dtype=values.dtype)
        out[self.step, self.world] = values
        return out

    def rows(self, values: FloatArray) -> FloatArray:
        """Inverse of ``grid``: [T, B] to [N]."""
        return values[self.step, self.world]

    def value_grid(self, value: FloatArray, final_value: FloatArray) -> FloatArray:
        """[T + 1, B] from the critic's ``value`` [N] and ``final_value`` [M] after the last
        decision.
        """
        out = np.zeros((len(self.valid) + 1, self.num_worlds), dtype=np.float32)
        out[self.step, self.world] = value
        length = self.valid.sum(axis=0)
        out[length[self.final_world], self.final_world] = final_value
        return out

    def nbytes(self) -> int:
        arrays = [*self.flat.values(), *self.final.values(), *self.terms.values(), self.reward]
        return int(sum(a.nbytes for a in arrays))


class ColumnWriter:
    """Fills the columns of one sample; arrays are made on the first write, when shapes and dtypes
    are known.

    ``max_steps`` T bounds the decisions of an episode, ``num_worlds`` is B.
    """

    def __init__(self, max_steps: int, num_worlds: int) -> None:
        self.max_steps, self.num_worlds = max_steps, num_worlds
        self._flat: dict[str, np.ndarray] = {}
        self._final: list[tuple[IntArray, Mapping[str, np.ndarray]]] = []
        capacity = max_steps * num_worlds
        self._step = np.empty(capacity, dtype=np.int32)
        self._world = np.empty(capacity, dtype=np.int32)
        self._count = 0
        self._last_step = -1
        shape = (max_steps, num_worlds)
        self._reward = np.zeros(shape, dtype=np.float32)
        self._valid = np.zeros(shape, dtype=bool)
        self._terms: dict[str, FloatArray] = {}
        self._end = np.full(num_worlds, END_RUNNING, dtype=np.int8)

    def append(
        self, step: int, rows: IntArray, inputs: Mapping[str, np.ndarray], trace: DecodeTrace | None
    ) -> None:
        """Decision ``step`` of worlds ``rows`` [n]: what they saw and how the plan was decoded."""
        n = len(rows)
        columns = dict(inputs)
        if trace is not None:
            columns |= {"tokens": trace.tokens, "commit_round": trace.commit_round}
            columns["log_prob"] = trace.log_prob
        part = slice(self._count, self._count + n)
        for key, values in columns.items():
            if key not in self._flat:
                capacity = self.max_steps * self.num_worlds
                self._flat[key] = np.empty((capacity, *values.shape[1:]), dtype=values.dtype)
            self._flat[key][part] = values
        self._step[part] = step
        self._world[part] = rows
        self._valid[step, rows] = True
        self._count += n
        self._last_step = max(self._last_step, step)

    def outcome(
        self,
        step: int,
        rows: IntArray,
        reward: FloatArray,
        terms: Mapping[str, FloatArray],
        end: IntArray,
    ) -> None:
        """What followed decision ``step`` of worlds ``rows``; ``reward``, ``terms`` and ``end`` are
        [B].
        """
        self._reward[step, rows] = reward[rows]
        for name, values in terms.items():
            if name not in self._terms:
                self._terms[name] = np.zeros(self._reward.shape, dtype=np.float32)
            self._terms[name][step, rows] = values[rows]
        self._end[rows] = end[rows]

    def final(self, rows: IntArray, inputs: Mapping[str, np.ndarray]) -> None:
        """The policy's inputs in worlds ``rows`` after their last decision."""
        if len(rows):
            self._final.append((np.asarray(rows, dtype=np.int32), inputs))

    def finish(
        self,
        *,
        group: IntArray,
        seed: IntArray,
        scenario_id: Sequence[str],
        weights_version: int,
        success: BoolArray,
        fork: IntArray,
    ) -> RolloutBatch:
        """The columns written so far. Views, not copies: the writer must not be used again."""
        steps, n = self._last_step + 1, self._count
        final: dict[str, np.ndarray] = {}
        final_world = np.zeros(0, dtype=np.int32)
        if self._final:
            final_world = np.concatenate([rows for rows, _ in self._final])
            parts = [inputs for _, inputs in self._final]
            final = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
        return RolloutBatch(
            flat={key: values[:n] for key, values in self._flat.items()},
            step=self._step[:n],
            world=self._world[:n],
            reward=self._reward[:steps],
            valid=self._valid[:steps],
            terms={name: values[:steps] for name, values in self._terms.items()},
            end=self._end,
            group=np.asarray(group, dtype=np.int64),
            seed=np.asarray(seed, dtype=np.int64),
            scenario_id=tuple(scenario_id),
            weights_version=np.full(self.num_worlds, weights_version, dtype=np.int64),
            success=np.asarray(success, dtype=bool),
            fork=np.asarray(fork, dtype=np.int32),
            final=final,
            final_world=final_world,
        )


def merge(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """Batches side by side: worlds are renumbered, shorter ones padded along time with invalid
    decisions.

    ``group`` must already be unique across the batches.
    """
    if not batches:
        raise ValueError("nothing to merge")
    if len(batches) == 1:
        return batches[0]
    steps = max(len(b.valid) for b in batches)
    offsets = np.cumsum([0] + [b.num_worlds for b in batches[:-1]])

    def grids(arrays: Sequence[np.ndarray]) -> np.ndarray:
        width = sum(a.shape[1] for a in arrays)
        out = np.zeros((steps, width), dtype=arrays[0].dtype)
        for offset, array in zip(offsets, arrays, strict=True):
            out[: len(array), offset : offset + array.shape[1]] = array
        return out

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(b, name) for b in batches])

    def shifted(name: str) -> np.ndarray:
        parts = zip(batches, offsets, strict=True)
        return np.concatenate([getattr(b, name) + np.int32(offset) for b, offset in parts])

    finals = [b for b in batches if b.final]
    return RolloutBatch(
        flat={k: np.concatenate([b.flat[k] for b in batches]) for k in batches[0].flat},
        step=joined("step"),
        world=shifted("world"),
        reward=grids([b.reward for b in batches]),
        valid=grids([b.valid for b in batches]),
        terms={
            name: grids([b.terms.get(name, np.zeros_like(b.reward)) for b in batches])
            for name in dict.fromkeys(name for b in batches for name in b.terms)
        },
        end=joined("end"),
        group=joined("group"),
        seed=joined("seed"),
        scenario_id=tuple(i for b in batches for i in b.scenario_id),
        weights_version=joined("weights_version"),
        success=joined("success"),
        fork=joined("fork"),
        final={k: np.concatenate([b.final[k] for b in finals]) for k in finals[0].final}
        if finals
        else {},
        final_world=shifted("final_world").astype(np.int32),
    )


def take_worlds(batch: RolloutBatch, worlds: IntArray) -> RolloutBatch:
    """The episodes of ``worlds`` (distinct indices), renumbered 0.. in the order given."""
    number = np.full(batch.num_worlds, -1, dtype=np.int32)
    number[worlds] = np.arange(len(worlds), dtype=np.int32)
    rows = np.flatnonzero(number[batch.world] >= 0)
    last = np.flatnonzero(number[batch.final_world] >= 0)
    return RolloutBatch(
        flat={k: v[rows] for k, v in batch.flat.items()},
        step=batch.step[rows],
        world=number[batch.world[rows]],
        reward=batch.reward[:, worlds],
        valid=batch.valid[:, worlds],
        terms={k: v[:, worlds] for k, v in batch.terms.items()},
        end=batch.end[worlds],
        group=batch.group[worlds],
        seed=batch.seed[worlds],
        scenario_id=tuple(batch.scenario_id[w] for w in worlds),
        weights_version=batch.weights_version[worlds],
        success=batch.success[worlds],
        fork=batch.fork[worlds],
        final={k: v[last] for k, v in batch.final.items()},
        final_world=number[batch.final_world[last]],
    )


def split_groups(batch: RolloutBatch, parts: int) -> list[RolloutBatch]:
    """``parts`` shards of whole groups, as equal in decisions as whole groups allow."""
    if parts == 1:
        return [batch]
    groups, member = np.unique(batch.group, return_inverse=True)
    if len(groups) < parts:
        raise ValueError(f"{len(groups)} groups cannot be split over {parts} learners")
    size = np.bincount(member, weights=batch.valid.sum(axis=0))
    load, owner = np.zeros(parts), np.zeros(len(groups), dtype=np.int64)
    for g in np.argsort(-size, kind="stable"):
        owner[g] = int(load.argmin())
        # An empty group still takes a place, so that no shard stays empty.
        load[owner[g]] += size[g] + 1e-3
    return [take_worlds(batch, np.flatnonzero(owner[member] == p)) for p in range(parts)]


def summary(batch: RolloutBatch) -> dict[str, float]:
    """Mean episode reward, length, and reward per term, of the episodes that started a scenario."""
    roots = batch.fork < 0
    worlds = max(int(roots.sum()), 1)
    out = {
        "reward": float(batch.reward[:, roots].sum()) / worlds,
        "episode_decisions": float(batch.valid[:, roots].sum()) / worlds,
    }
    for name, values in batch.terms.items():
        out[f"reward_{name}"] = float(values[:, roots].sum()) / worlds
    return out
