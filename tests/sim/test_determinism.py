"""The same scenario, seed and plans give the same states and pixels: whatever the batch, the place
in it, what the world drove before, forks, processes and workers."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo import streams
from alpamayo.types import Fault, Scenario, TrafficSpec, Weather
from sim.config import CameraConfig, RigConfig, SimConfig
from sim.world import WorldBatch

ROOT = Path(__file__).resolve().parents[2]
RIG = RigConfig(
    48, 28, frames=2, supersample=1,
    cameras=(CameraConfig("front"), CameraConfig("left", 100.0, yaw_deg=60.0, lens="f_theta")),
)  # fmt: skip
CONFIG = SimConfig(rig=RIG, latency_jitter_s=0.1)
DECISIONS = 8
FORK_AT = 3


def scenes() -> list[Scenario]:
    """Seven unlike each other."""
    from scenarios.load import load_document
    from scenarios.sample import sample

    names = (
        "cut_in", "occluded_pedestrian", "red_light_runner", "ramp_merge", "follow_traffic",
        "cruise_curve", "hard_lead_brake",
    )  # fmt: skip
    drawn = [sample(load_document(name), seed) for seed, name in enumerate(names)]
    drawn[4] = replace(drawn[4], traffic=TrafficSpec(vehicles=8))
    drawn[5] = replace(
        drawn[5], weather=Weather(fog_m=60.0, rain=0.7, friction=0.5),
        faults=(Fault("speed_noise", amount=0.5), Fault("dirty", amount=0.2),
                Fault("drop", amount=0.5), Fault("latency", amount=0.1)),
    )  # fmt: skip
    return drawn


def plans(which: Sequence[int], decision: int) -> np.ndarray:
    """[B, K, 2], fixed by scene and decision."""
    keys = streams.keys(np.array(which), 901, decision)
    u = streams.uniform(keys, 2 * CONFIG.plan_steps).reshape(len(which), -1, 2)
    return (u - 0.5) * (6.0, 0.02)


class Drive:
    """A batch of scenes, and the digest of each world's images, observations and signals."""

    def __init__(self, worlds: WorldBatch, which: Sequence[int]) -> None:
        self.worlds, self.which = worlds, list(which)
        self.seen = [hashlib.sha256() for _ in which]

    def go(self, first: int, last: int) -> Drive:
        for decision in range(first, last):
            observed = self.worlds.observe()
            signals = self.worlds.step(plans(self.which, decision))
            for row, digest in enumerate(self.seen):
                digest.update(observed.frames[row].tobytes())
                digest.update(observed.history[row].tobytes())
                digest.update(observed.speed_mps[row].tobytes())
                digest.update(signals.progress_m[row].tobytes())
                digest.update(signals.min_gap_m[row].tobytes())
        return self

    def digests(self) -> list[str]:
        seen = [digest.hexdigest()[:16] for digest in self.seen]
        return [f"{s}{h[:16]}" for s, h in zip(seen, self.worlds.state_hash(), strict=True)]


def driven(which: Sequence[int]) -> list[str]:
    known = scenes()
    worlds = WorldBatch([known[k] for k in which], CONFIG)
    return Drive(worlds, which).go(0, DECISIONS).digests()


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """Each scene in a batch of its own."""
    return [driven([k])[0] for k in range(len(scenes()))]


def test_scenes_are_unlike_each_other(alone) -> None:
    assert len(set(alone)) == len(alone) == 7


@pytest.mark.parametrize("size", [1, 7, 64])
def test_neither_the_batch_nor_the_place_in_it_matters(alone, size: int) -> None:
    which = [(5 * i + 3) % 7 for i in range(size)]
    assert driven(which) == [alone[k] for k in which]


def test_what_a_world_drove_before_does_not_matter(alone) -> None:
    known = scenes()
    worlds = WorldBatch([known[k] for k in (6, 0, 5)], CONFIG)
    Drive(worlds, [6, 0, 5]).go(0, 3)
    worlds.load([0, 2], [known[4], known[2]])
    assert Drive(worlds, [4, 1, 2]).go(0, DECISIONS).digests()[::2] == [alone[4], alone[2]]


def test_forks_go_on_like_the_original() -> None:
    known = scenes()
    original = Drive(WorldBatch(known, CONFIG), range(7)).go(0, FORK_AT)
    rows = [6, 2, 2, 0, 4]
    fork = Drive(original.worlds.fork(rows), rows)
    original.seen = [hashlib.sha256() for _ in range(7)]
    expected = original.go(FORK_AT, DECISIONS).digests()
    assert fork.go(FORK_AT, DECISIONS).digests() == [expected[k] for k in rows]


def test_a_restored_world_drives_the_same_again() -> None:
    known = scenes()
    drive = Drive(WorldBatch(known, CONFIG), range(7)).go(0, FORK_AT)
    kept = drive.worlds.snapshot()
    first = drive.go(FORK_AT, DECISIONS).worlds.state_hash()
    images = drive.worlds.observe().frames
    drive.worlds.restore(kept)
    again = drive.go(FORK_AT, DECISIONS).worlds.state_hash()
    assert first == again
    np.testing.assert_array_equal(images, drive.worlds.observe().frames)


def test_another_process_drives_the_same(alone) -> None:
    code = "import test_determinism as t, json; print(json.dumps(t.driven([3, 1, 5])))"
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "77"},
    )  # fmt: skip
    assert json.loads(done.stdout) == [alone[k] for k in (3, 1, 5)]


def test_a_sweep_has_one_hash_for_any_batch_and_any_workers() -> None:
    def swept(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--episodes", "6", *words],
            check=True, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return str(json.loads(done.stdout)["hash"])

    assert swept("--worlds", "2") == swept("--worlds", "4", "--workers", "2")
