from __future__ import annotations

import numpy as np
import pytest

from alpamayo.types import (
    Action,
    ActorSpec,
    EgoSpec,
    EventSpec,
    RequestError,
    RoadSpec,
    Scenario,
    SignalPlan,
    Trigger,
)
from sim.config import RigConfig, SimConfig
from sim.world import WorldBatch

RIG = RigConfig(width_px=64, height_px=32)


@pytest.fixture
def busy(scenario) -> list[Scenario]:
    """Seven unlike scenarios: every road kind, numbers of actors and events, and kinds of
    behaviour."""
    a = [
        ActorSpec("lead", "car", "lane0", 35.0, speed_mps=9.0),
        ActorSpec("side", "van", "lane1", 12.0, speed_mps=11.0, color=(10, 200, 30)),
        ActorSpec("walker", "pedestrian", "lane1", 70.0, d_m=3.0, behaviour="scripted"),
        ActorSpec("cone", "cone", "lane1", 50.0, behaviour="static"),
    ]
    events = (
        EventSpec("lead", Trigger("ttc", 6.0), (Action("speed", 3.0, 4.0),)),
        EventSpec(
            "walker", Trigger("arrival", 5.0), (Action("offset", d_m=-8.0, lateral_mps=1.3),)
        ),
        EventSpec(
            "side", Trigger("distance", 9.0), (Action("offset", d_m=-3.5), Action("react", 7.0))
        ),
    )
    curve = RoadSpec(kind="curve", radius_m=90.0)
    right = RoadSpec(kind="curve", radius_m=-120.0, lanes=3)
    merge = RoadSpec(kind="merge")
    junction = RoadSpec(kind="junction", lanes=1, oncoming_lanes=1)
    cross = [
        ActorSpec("c1", "car", "west_east", 60.0, speed_mps=9.0, s_from_ego=False),
        ActorSpec("c2", "truck", "north_east", 70.0, speed_mps=7.0, s_from_ego=False),
        ActorSpec("c3", "car", "north_south", 40.0, speed_mps=10.0, s_from_ego=False),
    ]
    on_ramp = ActorSpec("r", "car", "ramp", 20.0, speed_mps=10.0, s_from_ego=False)
    signals = SignalPlan(green_s=5.0, offset_s=2.0)
    south = EgoSpec("south_north", s_m=60.0, speed_mps=9.0)
    return [
        scenario(*a, events=events, seed=11),
        scenario(*a[:2], events=events[:1], road=curve, seed=12, light=0.5),
        scenario(seed=13),
        scenario(*cross, road=junction, ego=south, signals=signals, seed=14),
        scenario(a[0], road=right, seed=15),
        scenario(a[0], a[1], on_ramp, road=merge, seed=16),
        scenario(a[0], a[3], events=events[:1], seed=17, duration_s=3.0),
    ]


def plans(batch: list[Scenario], decision: int) -> np.ndarray:
    """Plans that depend on the scenario and the decision only."""
    return np.stack(
        [
            np.stack(
                [
                    np.sin(np.arange(8) + s.seed + decision),
                    0.003 * np.cos(np.arange(8) * 0.5 + s.seed + decision),
                ],
                axis=-1,
            )
            for s in batch
        ]
    )


def drive(worlds: WorldBatch, decisions: int, start: int = 0) -> list[list[str]]:
    trail = []
    for k in range(start, start + decisions):
        worlds.step(plans(worlds.scenarios, k))
        trail.append(worlds.state_hash())
    return trail


def test_a_world_is_the_same_alone_in_any_batch_after_a_load_and_after_a_fork(
    busy, scenario
) -> None:
    config = SimConfig(rig=RIG)
    together = WorldBatch(busy, config)
    reversed_batch = WorldBatch(busy[::-1], config)
    used = WorldBatch([scenario(seed=k) for k in range(7)], config)
    used.observe()
    drive(used, 4)
    used.load([3, 0, 1, 2, 6, 4, 5], busy)
    where = {int(s.seed): row for row, s in enumerate(used.scenarios)}
    alone = [WorldBatch([s], config) for s in busy]
    forked = together.fork(np.arange(7))
    for k in range(12):
        if k == 5:
            forked = forked.fork([6, 5, 4, 3, 2, 1, 0]).fork([6, 5, 4, 3, 2, 1, 0])
        frames = together.observe().frames
        hashes = together.state_hash()
        assert len(set(hashes)) == 7
        assert reversed_batch.state_hash()[::-1] == hashes
        assert [used.state_hash()[where[s.seed]] for s in busy] == hashes
        assert [w.state_hash()[0] for w in alone] == hashes
        assert forked.state_hash() == hashes
        np.testing.assert_array_equal(reversed_batch.observe().frames[::-1], frames)
        np.testing.assert_array_equal(used.observe().frames[[where[s.seed] for s in busy]], frames)
        for row, single in enumerate(alone):
            np.testing.assert_array_equal(single.observe().frames[0], frames[row])
        if k in (0, 1, 6, 11):  # asked for only now and then: the past frame is drawn afterwards
            np.testing.assert_array_equal(forked.observe().frames, frames)
        for worlds in (together, reversed_batch, used, forked, *alone):
            worlds.step(plans(worlds.scenarios, k))


def test_fork_does_not_disturb_the_parent_and_copies_diverge_by_their_plans(busy, blind) -> None:
    parent, twin = WorldBatch(busy, blind), WorldBatch(busy, blind)
    drive(parent, 3)
    drive(twin, 3)
    fork = parent.fork([0, 0, 4])
    assert fork.state_hash()[0] == fork.state_hash()[1] == parent.state_hash()[0]
    actions = np.zeros((3, 8, 2))
    actions[1, :, 0] = -4.0
    fork.step(actions)
    assert fork.state_hash()[0] != fork.state_hash()[1]
    fork.load([2], [busy[3]])
    parent.privileged().forecast(np.zeros((7, 2, 5, 2)), np.arange(7))
    assert parent.state_hash() == twin.state_hash()
    assert drive(parent, 4, 3) == drive(twin, 4, 3)
    assert [s.seed for s in parent.scenarios] == [s.seed for s in busy]


def test_a_load_that_fails_changes_nothing(busy, scenario, blind) -> None:
    worlds = WorldBatch(busy, blind)
    before = worlds.state_hash()
    bad = scenario(ActorSpec("a", "car", "nowhere", 1.0))
    with pytest.raises(RequestError, match="nowhere"):
        worlds.load([0, 1], [busy[2], bad])
    assert worlds.state_hash() == before
    drive(worlds, 1)


def test_the_history_holds_past_poses_in_the_present_ego_frame(scenario, blind) -> None:
    road = RoadSpec(kind="curve", radius_m=50.0, length_m=250.0)
    worlds = WorldBatch([scenario(road=road, ego=EgoSpec(s_m=90.0, speed_mps=10.0))], blind)
    assert np.abs(worlds.observe().history).max() == 0.0
    for _ in range(6):
        worlds.step(np.full((1, 8, 2), [0.0, 0.02]))
    history = worlds.observe().history[0]
    ago = np.arange(15, -1, -1) * 0.1 * 10.0 / 50.0  # angle driven since
    np.testing.assert_allclose(history[:, 0], -50.0 * np.sin(ago), atol=0.02)
    np.testing.assert_allclose(history[:, 1], 50.0 * (1 - np.cos(ago)), atol=0.02)
    np.testing.assert_allclose(history[:, 2], -ago, atol=1e-3)


def test_observations_have_the_promised_shapes_and_rows(busy) -> None:
    worlds = WorldBatch(busy, SimConfig(rig=RIG))
    drive(worlds, 2)
    everything = worlds.observe()
    assert everything.frames.shape == (7, 2, 32, 64, 3) and everything.history.shape == (7, 16, 3)
    assert everything.frames.dtype == np.uint8 and everything.command.dtype == np.int8
    some = worlds.observe([5, 2])
    for key, value in some.as_dict().items():
        np.testing.assert_array_equal(value, everything.as_dict()[key][[5, 2]])
    blind_batch = WorldBatch(busy, SimConfig(rig=None)).observe()
    assert blind_batch.frames.shape == (7, 0, 0, 0, 3)


def test_frames_are_the_present_and_the_one_before(busy) -> None:
    worlds = WorldBatch(busy, SimConfig(rig=RIG))
    first = worlds.observe().frames
    np.testing.assert_array_equal(first[:, 0], first[:, 1])
    drive(worlds, 1)
    second = worlds.observe().frames
    np.testing.assert_array_equal(second[:, 0], first[:, 1])
    assert (second[:, 1] != first[:, 1]).any()


def test_bad_actions_are_refused(busy, blind) -> None:
    worlds = WorldBatch(busy, blind)
    with pytest.raises(ValueError, match=r"expected shape \(7, 8, 2\)"):
        worlds.step(np.zeros((7, 4, 2)))
    broken = np.zeros((7, 8, 2))
    broken[3, 2, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        worlds.step(broken)
    with pytest.raises(RequestError, match="frame_gap_s"):
        WorldBatch(busy, SimConfig(rig=RigConfig(frame_gap_s=0.3)))


def test_scene_shows_the_plan_that_drives(scenario, blind) -> None:
    lead = ActorSpec("lead", "car", "lane0", 30.0, speed_mps=9.0, color=(1, 2, 3))
    worlds = WorldBatch([scenario(lead)], blind)
    worlds.step(np.full((1, 8, 2), [-1.0, 0.01]))
    scene = worlds.scene(0)
    assert scene.time_s == pytest.approx(0.4) and scene.plan_waypoints.shape == (32, 2)
    # the waypoint 0.3 s into the plan lies where the ego is now, but for the actuators' lag
    assert np.hypot(*(scene.plan_waypoints[2] - scene.ego_pose[:2])) < 0.03
    assert scene.ids == ("lead",) and scene.kinds == ("car",)
    assert scene.boxes.shape == (1, 7) and scene.colors.tolist() == [[1, 2, 3]]
