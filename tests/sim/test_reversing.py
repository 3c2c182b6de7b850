"""The ego in reverse gear: the same drive, tail first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alpamayo.types import (
    END_COLLISION,
    FAULT_EGO,
    REVERSE_TOP_MPS,
    Action,
    ActorSpec,
    EgoSpec,
    EventSpec,
    RoadSpec,
    Trigger,
)
from policies.expert import ExpertPolicy
from sim.config import RigConfig, SimConfig
from sim.world import WorldBatch

AHEAD = EgoSpec(speed_mps=3.0)
BACKWARDS = replace(AHEAD, reversing=True)


def gentle_plans(decision: int, count: int = 1) -> np.ndarray:
    k = np.arange(8) + decision
    plan = np.stack([0.4 * np.sin(k), 0.01 * np.cos(0.5 * k)], axis=-1)
    return np.repeat(plan[None], count, axis=0)


def test_it_moves_and_sees_as_ahead_but_its_nose_points_back(scenario) -> None:
    config = SimConfig(rig=RigConfig(width_px=64, height_px=32))
    lead = ActorSpec("lead", "car", "lane0", 25.0, speed_mps=3.0)
    worlds = WorldBatch([scenario(lead, ego=ego) for ego in (AHEAD, BACKWARDS)], config)
    for decision in range(12):
        seen = worlds.observe()
        np.testing.assert_array_equal(seen.frames[0], seen.frames[1])
        np.testing.assert_array_equal(seen.history[0], seen.history[1])
        worlds.step(gentle_plans(decision, 2))
        for name in ("x", "y", "heading", "speed", "route_s", "end"):
            values = getattr(worlds.state, name)
            assert values[0] == values[1], name
    assert worlds.state.x[0] > 40.0, "it has moved"
    ahead, backwards = (worlds.scene(row).ego_pose for row in range(2))
    np.testing.assert_array_equal(ahead[:2], backwards[:2])
    assert backwards[2] - ahead[2] == pytest.approx(np.pi)


def test_it_gets_no_faster_than_its_gear_allows(scenario, blind) -> None:
    worlds = WorldBatch([scenario(ego=BACKWARDS), scenario(ego=AHEAD)], blind)
    full = np.zeros((2, 8, 2))
    full[:, :, 0] = 2.5
    for _ in range(12):
        worlds.step(full)
    assert worlds.state.speed[0] == pytest.approx(REVERSE_TOP_MPS)
    assert worlds.state.speed[1] > 10.0


def test_with_tyres_it_drives_backwards_as_the_kinematic_car_does(scenario, blind) -> None:
    with_tyres = replace(blind, ego_model="dynamic")
    kinematic, dynamic = (WorldBatch([scenario(ego=BACKWARDS)], c) for c in (blind, with_tyres))
    for decision in range(12):
        kinematic.step(gentle_plans(decision))
        dynamic.step(gentle_plans(decision))
    assert dynamic.state_hash() == kinematic.state_hash()


def test_backing_into_a_person_is_the_egos_fault(scenario, blind) -> None:
    person = ActorSpec("person", "pedestrian", "lane0", 10.0, behaviour="scripted")
    worlds = WorldBatch([scenario(person, ego=BACKWARDS)], blind)
    for _ in range(12):
        signals = worlds.step(np.zeros((1, 8, 2)))
        if signals.end[0]:
            break
    assert signals.end[0] == END_COLLISION
    assert signals.fault[0] == FAULT_EGO
    # 10 m from middle to middle, less half a car (2.4 m) and half a person, at 3 m/s
    assert worlds.time_s[0] == pytest.approx((10.0 - 2.4 - 0.3) / 3.0, abs=0.1)


def test_the_expert_waits_for_who_walks_behind_the_car_and_then_backs_on(scenario, blind) -> None:
    person = ActorSpec("person", "pedestrian", "lane0", 12.0, d_m=-4.0, behaviour="scripted")
    walk = EventSpec("person", Trigger("time", 1.0), (Action("offset", d_m=4.0, lateral_mps=1.4),))
    lane = RoadSpec(lanes=1, speed_limit_mps=3.0)
    # At 3 m/s its tail would be at 12 m when the person is in the middle of the lane.
    drive = scenario(person, events=(walk,), ego=BACKWARDS, road=lane, duration_s=16.0)
    worlds = WorldBatch([drive], blind)
    expert, slowest = ExpertPolicy(), np.inf
    while worlds.running[0]:
        plan = expert.plan(
            worlds.observe(), noise_keys=np.zeros(1, np.uint64), privileged=worlds.privileged()
        )
        signals = worlds.step(np.stack([plan.accel_mps2, plan.curvature_per_m], axis=-1))
        slowest = min(slowest, float(worlds.state.speed[0]))
    assert signals.end[0] != END_COLLISION
    assert slowest < 2.0
    assert worlds.state.route_s[0] > 30.0 + 14.0
