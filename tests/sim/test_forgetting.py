"""A batch that lives long forgets the roads that no world is on any more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import EgoSpec, RoadSpec, Scenario, TrafficSpec
from sim.config import RigConfig, SimConfig
from sim.roads.atlas import MapAtlas
from sim.world import WorldBatch

CONFIG = SimConfig(rig=RigConfig(48, 24, frames=1, supersample=1))
SHORT = Scenario(
    "short", "short", True, 1, RoadSpec(length_m=80.0, lanes=2), EgoSpec(s_m=10.0),
    traffic=TrafficSpec(vehicles=2, within_m=60.0),
)  # fmt: skip
WORLDS, ROUNDS = 3, 100


def scenario(i: int) -> Scenario:
    """Roads that are all different, save that the first three come again and again."""
    i = i % 3 if i % 10 == 9 else i
    return replace(SHORT, seed=i, road=replace(SHORT.road, length_m=80.0 + 0.25 * i))


def batch(atlas: MapAtlas, monkeypatch: pytest.MonkeyPatch) -> WorldBatch:
    monkeypatch.setattr("sim.world.shared_roads", lambda: atlas)
    return WorldBatch([scenario(i) for i in range(WORLDS)], CONFIG)


def go(worlds: WorldBatch, decisions: int = 2) -> tuple[list[str], bytes]:
    for _ in range(decisions):
        worlds.step(np.full((worlds.num_worlds, CONFIG.plan_steps, 2), [0.5, 0.0]))
    return worlds.state_hash(), worlds.observe().frames.tobytes()


@pytest.mark.slow
def test_hundreds_of_roads_pass_through_a_batch_in_bounded_memory_and_change_nothing(monkeypatch):
    small, large = MapAtlas(most_maps=8, most_packed_bytes=100_000), MapAtlas()
    one, other = batch(small, monkeypatch), batch(large, monkeypatch)
    most = 0
    for n in range(1, ROUNDS + 1):
        rows = np.arange(WORLDS)[: 1 + n % WORLDS]
        drawn = [scenario(WORLDS * n + int(row)) for row in rows]
        for worlds in (one, other):
            worlds.load(rows, drawn)
        assert go(one) == go(other)
        most = max(most, small.nbytes)
        assert len(small) <= 8 + WORLDS
    assert len(large) > 150
    assert most < 16 * large.nbytes / len(large)
    arrays = [*small.arrays]
    assert sum(len(array.base if array.base is not None else array) for array in arrays) < sum(
        len(array) for array in large.arrays
    )


def test_a_snapshot_can_be_restored_after_many_other_roads(monkeypatch):
    worlds = batch(MapAtlas(most_maps=4, most_packed_bytes=1), monkeypatch)
    go(worlds)
    kept, fork = worlds.snapshot(), worlds.fork([2, 0])
    expected = go(worlds)
    for n in range(2, 10):
        worlds.load([0, 1, 2], [scenario(100 * n + i) for i in range(WORLDS)])
        go(worlds, 1)
    assert len(worlds.atlas) <= 2 * 6 + WORLDS
    worlds.restore(kept)
    assert go(worlds) == expected
    assert go(fork)[0] == [expected[0][2], expected[0][0]]
    before = len(worlds.atlas)
    del kept, fork
    for n in range(12, 20):
        worlds.load([0, 1, 2], [scenario(100 * n + i) for i in range(WORLDS)])
    assert len(worlds.atlas) <= before


def test_the_snapshot_of_another_batch_is_refused(monkeypatch):
    one, other = (batch(MapAtlas(), monkeypatch) for _ in range(2))
    with pytest.raises(ValueError, match="snapshot of this batch"):
        one.restore(other.snapshot())
