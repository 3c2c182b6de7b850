"""Images are a function of the state: after a fork, with faulty cameras, for rigs of several."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from alpamayo.types import ActorSpec, EgoSpec, Fault, RequestError, RoadSpec, TrafficSpec, Weather
from sim.config import CameraConfig, RigConfig, SimConfig
from sim.world import WorldBatch

FRONT_AND_LEFT = (CameraConfig(), CameraConfig("left", yaw_deg=60.0, hfov_deg=100.0))
RIG = RigConfig(48, 24, frames=2, cameras=FRONT_AND_LEFT)
CONFIG = SimConfig(rig=RIG)
LEAD = ActorSpec("lead", "car", "lane0", 25.0, speed_mps=4.0)


def drive(worlds: WorldBatch, decisions: int) -> None:
    for _ in range(decisions):
        worlds.step(np.zeros((worlds.num_worlds, CONFIG.plan_steps, 2)))


def frames(worlds: WorldBatch) -> Any:
    """[B, C, F, H, W, 3]."""
    images = worlds.observe().frames
    return images.reshape(len(images), 2, 2, *images.shape[2:])


def seen(scenario: Any, *faults: Fault, decisions: int = 6) -> list[Any]:
    """[C, F, H, W, 3] of each decision of one world."""
    worlds, found = WorldBatch([scenario(LEAD, faults=faults)], CONFIG), []
    for _ in range(decisions):
        found.append(frames(worlds)[0].copy())
        drive(worlds, 1)
    return found


def test_frames_come_camera_by_camera_oldest_first(scenario: Any) -> None:
    images = seen(scenario)
    for before, after in itertools.pairwise(images):
        np.testing.assert_array_equal(after[:, 0], before[:, 1])
        assert (after[:, 1] != before[:, 1]).any(axis=(1, 2, 3)).all()
    assert (images[0][0] != images[0][1]).any()


def test_a_dead_camera_is_black_and_the_other_is_not(scenario: Any) -> None:
    sound, broken = seen(scenario), seen(scenario, Fault("dead", "left", start_s=0.8))
    for k, (want, got) in enumerate(zip(sound, broken, strict=True)):
        np.testing.assert_array_equal(got[0], want[0])
        if k < 2:
            np.testing.assert_array_equal(got, want)
        else:
            assert not got[1, 1].any()


def test_a_frozen_camera_repeats_the_image_of_the_faults_start(scenario: Any) -> None:
    sound = seen(scenario)
    broken = seen(scenario, Fault("frozen", "front", start_s=0.8, end_s=1.8))
    # decisions are 0.4 s apart: frozen at decisions 2, 3 and 4
    for k, shown in enumerate([0, 1, 2, 2, 2, 5]):
        np.testing.assert_array_equal(broken[k][0, 1], sound[shown][0, 1])
        np.testing.assert_array_equal(broken[k][1], sound[k][1])


def test_a_camera_that_drops_everything_shows_its_first_image(scenario: Any) -> None:
    sound, broken = seen(scenario), seen(scenario, Fault("drop", "left", 1.0))
    for k in range(6):
        np.testing.assert_array_equal(broken[k][1, 1], sound[0][1, 1])
        np.testing.assert_array_equal(broken[k][0], sound[k][0])


@pytest.mark.parametrize(
    "fault",
    [Fault("drop", "all", 0.5), Fault("frozen", "left", start_s=0.8), Fault("dirty", "all", 0.4)],
)
def test_a_fork_that_never_looked_before_sees_the_same(scenario: Any, fault: Fault) -> None:
    worlds = WorldBatch([scenario(LEAD, faults=(fault,)), scenario(LEAD)], CONFIG)
    for _ in range(5):
        worlds.observe()
        drive(worlds, 1)
    fork = worlds.fork([1, 0])
    np.testing.assert_array_equal(frames(fork), frames(worlds)[[1, 0]])
    drive(worlds, 2)
    drive(fork, 2)
    np.testing.assert_array_equal(frames(fork), frames(worlds)[[1, 0]])


def test_a_fork_sees_the_same_over_a_hill_in_the_rain(scenario: Any) -> None:
    road = RoadSpec("crest", lanes=2, length_m=400.0, rise_m=6.0)
    worlds = WorldBatch(
        [
            scenario(
                LEAD, road=road, ego=EgoSpec("lane0", s_m=100.0, speed_mps=15.0), seed=seed,
                weather=Weather(rain=0.5, glare=0.7), traffic=TrafficSpec(6),
                faults=(Fault("drop", "left", 0.4), Fault("miscalibrated", "front", 3.0)),
            )
            for seed in range(3)
        ],
        CONFIG,
    )  # fmt: skip
    for _ in range(6):
        worlds.observe()
        drive(worlds, 1)
        fork = worlds.fork([2, 0, 1])
        np.testing.assert_array_equal(frames(fork), frames(worlds)[[2, 0, 1]])


def test_restored_worlds_see_and_drive_what_they_did(scenario: Any) -> None:
    worlds = WorldBatch([scenario(LEAD, seed=s) for s in range(3)], CONFIG)
    drive(worlds, 2)
    kept = worlds.snapshot()
    drive(worlds, 3)
    later, images = worlds.state_hash(), frames(worlds).copy()
    worlds.restore(kept, [0, 2])
    assert worlds.state_hash()[0] == kept.state_hash()[0]
    assert worlds.state_hash()[1] == later[1]
    drive(worlds, 3)
    assert worlds.state_hash()[::2] == later[::2]
    np.testing.assert_array_equal(frames(worlds)[::2], images[::2])


def test_a_fault_of_a_camera_that_the_rig_has_not_is_refused(scenario: Any) -> None:
    with pytest.raises(RequestError, match="rear"):
        WorldBatch([scenario(faults=(Fault("dead", "rear"),))], CONFIG)


def test_the_hill_hides_what_is_behind_it(scenario: Any) -> None:
    """The same car ahead: seen on the flat road, out of sight behind the crest."""
    rig = RigConfig(192, 96, frames=1, supersample=1)

    def front(kind: str, rise_m: float, *actors: ActorSpec) -> Any:
        road = RoadSpec(kind, lanes=2, length_m=400.0, rise_m=rise_m)  # type: ignore[arg-type]
        one = scenario(*actors, road=road, ego=EgoSpec("lane0", s_m=130.0, speed_mps=10.0))
        return WorldBatch([one], SimConfig(rig=rig)).observe().frames[0, 0]

    behind = ActorSpec("car", "car", "lane0", 130.0, behaviour="static")
    flat = (front("straight", 0.0, behind) != front("straight", 0.0)).any(axis=2).sum()
    hidden = (front("crest", 8.0, behind) != front("crest", 8.0)).any(axis=2).sum()
    assert flat > 4
    assert hidden == 0
