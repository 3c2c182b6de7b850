"""Branching groups: where to fork driven episodes, and the forked worlds.

All members of a branching group go on from one state with different noise, so what they earn from
there, compared at equal time, differs by their own actions alone; the members of an ordinary group
drift apart from the first decision on. The episode that was forked is not a member: it was chosen
for how it ended, and would bias the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, Self, TypeVar

import numpy as np

from alpamayo.config import BranchingConfig
from alpamayo.types import BoolArray, EpisodeResult, IntArray


@dataclass(frozen=True)
class BranchPoint:
    """Before decision ``decision`` of the episode in world ``parent``."""

    parent: int
    decision: int
    reason: Literal["failure", "random"]


@dataclass(frozen=True)
class BranchEpisode:
    """A branching group's member: ``result`` holds what was driven from ``point`` on. ``group`` as
    in the columns; ``parent_group`` and ``parent_member`` name the episode that was forked."""

    result: EpisodeResult
    point: BranchPoint
    group: int
    parent_group: int
    parent_member: int


class Forkable(Protocol):
    """What is used of ``sim.world.WorldBatch``."""

    def fork(self, rows: IntArray) -> Self: ...

    def restore(self, snapshot: Self, rows: IntArray) -> None: ...


def choose_points(
    failed: BoolArray,
    length: IntArray,
    group: IntArray,
    count: int,
    branching: BranchingConfig,
    decision_s: float,
    rng: np.random.Generator,
) -> list[BranchPoint]:
    """``count`` points to fork at. ``failed``, ``length`` (decisions) and ``group`` are [B].

    Failures are taken from as many groups as possible before a second one of any group, each at
    most once; what they do not fill is random over all decisions driven.
    """
    wanted = count - round(branching.random_share * count)
    first = math.ceil(branching.min_back_s / decision_s - 1e-9)
    last = max(math.floor(branching.max_back_s / decision_s + 1e-9), first)
    points = []
    for world in _spread(np.flatnonzero(failed), group, rng)[:wanted]:
        back = int(rng.integers(first, last + 1))
        # A failure is known after the last decision: with ``back`` = 1 only that one is repeated.
        points.append(BranchPoint(int(world), max(int(length[world]) - back, 0), "failure"))
    ends = np.cumsum(length)
    for index in rng.integers(0, int(ends[-1]), count - len(points)):
        world = int(np.searchsorted(ends, index, side="right"))
        decision = int(index - (ends[world] - length[world]))
        points.append(BranchPoint(world, decision, "random"))
    return points


def _spread(worlds: IntArray, group: IntArray, rng: np.random.Generator) -> IntArray:
    """``worlds`` in random order, the first of every group before the second of any."""
    shuffled = rng.permutation(worlds)
    seen: dict[int, int] = {}
    rank = []
    for g in group[shuffled].tolist():
        rank.append(seen.get(g, 0))
        seen[g] = rank[-1] + 1
    order: IntArray = shuffled[np.argsort(np.array(rank, dtype=np.int64), kind="stable")]
    return order


W = TypeVar("W", bound=Forkable)


class Trail(Generic[W]):
    """Copies of the running worlds before each decision (a few kB each), to fork from later."""

    def __init__(self) -> None:
        self._kept: list[tuple[IntArray, W]] = []

    def keep(self, worlds: W, rows: IntArray) -> None:
        """The next decision is about to be made in ``rows`` of ``worlds``."""
        self._kept.append((np.asarray(rows), worlds.fork(rows)))

    def branch(self, worlds: W, points: Sequence[BranchPoint], members: int) -> W:
        """``members`` copies of every point, group after group, out of what was kept of
        ``worlds``."""
        each = [p for p in points for _ in range(members)]
        decision = np.array([p.decision for p in each])
        parent = np.array([p.parent for p in each])
        branches = worlds.fork(parent)
        for at in np.unique(decision):
            rows, kept = self._kept[at]
            mine = np.flatnonzero(decision == at)
            source = np.zeros(len(each), dtype=np.int64)
            source[mine] = np.searchsorted(rows, parent[mine])
            branches.restore(kept.fork(source), mine)
        return branches
