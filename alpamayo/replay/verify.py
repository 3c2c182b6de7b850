"""Do replays re-simulate to the same states? Proof of determinism that a viewer of logs cannot
give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.replay.format import Replay, read_replay
from alpamayo.replay.ticks import TickWorld
from alpamayo.types import CheckFailed, RequestError
from sim.config import SimConfig


@dataclass(frozen=True)
class Difference:
    """The first state that differs: after ``decision`` (-1: the start state) and, where the file
    has hashes of the ticks, after ``tick`` (from 0, of the whole episode)."""

    decision: int
    tick: int | None
    time_s: float


@dataclass(frozen=True)
class Verification:
    """``decisions`` and ``ticks`` that were re-simulated; ``difference`` None: every state hash
    agreed, the last of which is ``final_hash``.
    """

    path: str
    decisions: int
    ticks: int
    final_hash: str
    difference: Difference | None
    recorded_with: str

    @property
    def problem(self) -> str | None:
        """What differs, in one line."""
        found = self.difference
        if found is None:
            return None
        where = "the start state differs: another state"
        if found.decision >= 0:
            at = "" if found.tick is None else f", tick {found.tick}"
            where = (
                f"decision {found.decision}{at} (at {found.time_s:.2f} s) leads to another state"
            )
        return f"{self.path}: {where} than recorded (recorded with alpamayo {self.recorded_with})"


def verify(path: str | Path, batch: int = 1) -> Verification:
    """Verify one file in a batch of ``batch`` copies of its world; CheckFailed names the first tick
    whose outcome differs; RequestError a file that is not a sound replay.
    """
    done = verify_all([path], batch)[0]
    if done.problem is not None:
        raise CheckFailed(done.problem)
    return done


def verify_all(
    paths: Sequence[str | Path],
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Verification]:
    """Rebuild the scenarios ``batch`` at a time, drive the recorded actions, compare the states
    before each decision, at the end and, to place a difference, after each tick.

    Batches are full: too few replays are repeated. ``progress(done, total)`` after each batch.
    """
    if not 1 <= batch <= 1024:
        raise RequestError(f"batch: expected 1 to 1024 worlds, got {batch}")
    replays = [read_replay(path) for path in paths]
    found: dict[int, Difference | None] = {}
    for group in _batches(replays, batch):
        rows = [group[i % len(group)] for i in range(batch)]
        for index, difference in zip(
            rows, _differences([replays[i] for i in rows], [str(paths[i]) for i in rows]),
            strict=True,
        ):  # fmt: skip
            found[index] = found.get(index) or difference
        if progress is not None:
            progress(len(found), len(replays))
    return [
        _verification(str(p), r, found[i])
        for i, (p, r) in enumerate(zip(paths, replays, strict=True))
    ]


def _verification(path: str, replay: Replay, difference: Difference | None) -> Verification:
    header = replay.header
    return Verification(
        path,
        replay.decisions,
        len(replay.columns.get("tick_hash", ())),
        header.state_hashes[-1],
        difference,
        str(header.versions.get("alpamayo")),
    )


def _batches(replays: Sequence[Replay], batch: int) -> list[list[int]]:
    """Indices of replays that can share a batch: those with the same settings."""
    groups: dict[SimConfig, list[int]] = {}
    for index, replay in enumerate(replays):
        groups.setdefault(_config(replay), []).append(index)
    return [g[i : i + batch] for g in groups.values() for i in range(0, len(g), batch)]


def _config(replay: Replay) -> SimConfig:
    """Pixels are not part of the state: no camera makes this quick."""
    return replace(replay.header.sim_config, rig=None)


def first_difference(replay: Replay, path: str) -> Difference | None:
    """The first state of ``replay`` that a world alone does not repeat; None if it repeats all."""
    return _differences([replay], [path])[0]


def _differences(replays: Sequence[Replay], paths: Sequence[str]) -> list[Difference | None]:
    """One batch, a row for each replay, all with the same settings."""
    world = _world(replays, paths)
    found = [
        None if now == r.header.state_hashes[0] else Difference(-1, None, 0.0)
        for r, now in zip(replays, world.state_hash(), strict=True)
    ]
    steps = world.config.plan_steps
    for decision in range(max(r.decisions for r in replays)):
        rows = [i for i, r in enumerate(replays) if decision < r.decisions]
        actions = np.zeros((len(replays), steps, 2), dtype=np.float32)
        for row in rows:
            actions[row] = replays[row].columns["actions"][decision]
        _drive(world, actions, paths)
        hashes = world.fork(rows).state_hash()
        for row, now in zip(rows, hashes, strict=True):
            if found[row] is None and now != replays[row].header.state_hashes[decision + 1]:
                found[row] = _in_ticks(replays[row], paths[row], decision)
    return found


def _in_ticks(replay: Replay, path: str, decision: int) -> Difference:
    """The tick of ``decision`` whose outcome differs, in a world of its own."""
    config, hashes = replay.header.sim_config, replay.columns.get("tick_hash")
    driven, tick = TickWorld(_world([replay], [path])), 0
    for number in range(decision + 1):
        driven.begin(replay.columns["actions"][number])
        for _ in driven.run():
            same = hashes is None or (tick < len(hashes) and driven.short_hash() == hashes[tick])
            if number == decision and not same:
                return Difference(decision, tick, round(tick * config.tick_s, 6))
            tick += 1
    return Difference(decision, None, round(decision * config.decision_s, 6))


def _world(replays: Sequence[Replay], paths: Sequence[str]) -> Any:
    """A batch of the replays' worlds; RequestError names the file of one that cannot be loaded."""
    from sim.world import WorldBatch

    config = _config(replays[0])
    try:
        return WorldBatch([r.header.scenario for r in replays], config)
    except Exception as error:  # a header may ask for anything
        if len(replays) > 1:
            for replay, path in zip(replays, paths, strict=True):
                _world([replay], [path])
        raise RequestError(
            f"{paths[0]}: header.scenario: expected one that can be loaded ({error})"
        ) from error


def _drive(world: Any, actions: np.ndarray, paths: Sequence[str]) -> None:
    try:
        world.step(actions)
    except Exception as error:  # as above
        names = ", ".join(sorted(set(paths)))
        raise RequestError(
            f"{names}: expected an episode that can be simulated ({error})"
        ) from error
