"""Bad sight, faults and who drives behind: what makes these families hard is there, and who looks
gets through with what can be seen. The expert sees through fog and broken cameras; these drivers
do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from alpamayo.types import ACTOR_SIZES_M, END_COLLISION, FAULT_OTHER, Scenario
from scenarios.catalog import list_documents
from scenarios.load import load_document
from scenarios.sample import sample
from sim.config import SimConfig
from sim.world import WorldBatch

FIRST_SEED = 31_000_000  # of no suite
DRAWS = 24
GRAVITY = 9.81
REACTION_S = 1.0
CAMERA_M = 1.5
MADE_FOR = {
    "evasive_neighbour", "vehicle_failure", "tailgater", "bad_weather", "low_friction",
    "short_detection_range", "camera_fault", "ego_state_fault", "compute_latency",
    "odd_appearance", "blocked_route",
}  # fmt: skip


def draws(name: str) -> list[Scenario]:
    document = load_document(name)
    return [sample(document, FIRST_SEED + i) for i in range(DRAWS)]


def actor(scenario: Scenario, name: str) -> Any:
    return next(a for a in scenario.actors if a.id == name)


def follow(worlds: WorldBatch, accel: Callable[[float], np.ndarray], until_s: float) -> Any:
    """Keep the lane of a straight road at ``accel(time_s)`` [B] m/s2; (end [B], fault [B])."""
    fault = np.zeros(worlds.num_worlds, dtype=np.int64)
    time_s = 0.0
    while time_s < until_s and worlds.running.any():
        plans = np.zeros((worlds.num_worlds, worlds.config.plan_steps, 2))
        plans[..., 0] = accel(time_s)[:, None]
        signals = worlds.step(plans)
        fault = np.maximum(fault, signals.fault)
        time_s += worlds.config.decision_s
    return worlds.state.end.copy(), fault


def braking_m(speed_mps: float, to_mps: float, friction: float) -> float:
    """Way to slow down with three quarters of what the road gives, with time to react."""
    hardest = 0.75 * min(8.0, GRAVITY * friction)
    return speed_mps * REACTION_S + max(speed_mps**2 - to_mps**2, 0.0) / (2.0 * hardest)


def test_every_danger_has_its_nominal_twin() -> None:
    documents = {d.id: d for d in list_documents()}
    dangers = [d for d in documents.values() if not d.nominal]
    assert {d.family for d in dangers} >= MADE_FOR
    for danger in dangers:
        twin = documents[f"{danger.id}_nominal"]
        assert twin.nominal and twin.family == danger.family and twin.extends == danger.id
        assert len(danger.parameters) >= 3


def test_bad_weather_leaves_room_to_stop_within_sight() -> None:
    for scenario in draws("bad_weather"):
        stopped, weather = actor(scenario, "stopped"), scenario.weather
        gap = stopped.s_m - 0.5 * (ACTOR_SIZES_M[stopped.kind][0] + 4.8)
        sight = min(weather.fog_m, gap)
        room = sight + stopped.speed_mps * REACTION_S
        assert braking_m(scenario.ego.speed_mps, stopped.speed_mps, weather.friction) < room


@pytest.mark.parametrize("name", ["low_friction_stop", "ego_state_fault_queue"])
def test_a_queue_is_far_enough_to_stop_before_it(name: str) -> None:
    for scenario in draws(name):
        last = actor(scenario, "last")
        gap = last.s_m - 0.5 * (ACTOR_SIZES_M[last.kind][0] + 4.8)
        assert braking_m(scenario.ego.speed_mps, 0.0, scenario.weather.friction) < gap


def test_the_crest_hides_what_is_behind_it_until_there_is_just_room_to_stop() -> None:
    for scenario in draws("short_detection_range"):
        hidden, road, ego = actor(scenario, "hidden"), scenario.road, scenario.ego
        length, _, height = ACTOR_SIZES_M[hidden.kind]
        seen_m = []
        for driven in np.arange(0.0, 200.0, 1.0):
            rear = ego.s_m + hidden.s_m + hidden.speed_mps * driven / ego.speed_mps - 0.5 * length
            eye = ego.s_m + driven
            if rear - eye < 3.0:
                break
            if over_the_hill(eye, rear, 0.75 * height, road.length_m, road.rise_m):
                seen_m.append(rear - eye - 2.4)
        assert seen_m[0] < hidden.s_m - 10.0  # not from the start
        assert braking_m(ego.speed_mps, hidden.speed_mps, 1.0) < seen_m[0]


def over_the_hill(
    eye_m: float, there_m: float, height_m: float, length: float, rise: float
) -> bool:
    """Whether a straight line from the camera to a point at ``height_m`` clears the cosine bell in
    the middle 60 % of the road."""

    def hill(x: Any) -> Any:
        u = np.clip((x - 0.2 * length) / (0.6 * length), 0.0, 1.0)
        return 0.5 * rise * (1.0 - np.cos(2.0 * math.pi * u))

    x = np.linspace(eye_m, there_m, 200)
    line = np.linspace(hill(eye_m) + CAMERA_M, hill(there_m) + height_m, 200)
    return bool((line >= hill(x)).all())


def test_who_brakes_hard_before_a_tailgater_is_hit_from_behind_and_who_brakes_gently_is_not() -> (
    None
):
    scenarios = draws("tailgater")
    config = SimConfig(rig=None)
    late_s = np.array([s.parameters["meet_s"] - 2.2 for s in scenarios])

    def late(time_s: float) -> np.ndarray:
        return np.where(time_s >= late_s, -8.0, 0.0)

    end, fault = follow(WorldBatch(scenarios, config), late, 12.0)
    hit = (end == END_COLLISION) & (fault == FAULT_OTHER)
    assert hit.mean() >= 0.7

    speed = np.array([s.ego.speed_mps for s in scenarios])
    slow = np.array([actor(s, "slow").speed_mps for s in scenarios])
    meet_s = np.array([s.parameters["meet_s"] for s in scenarios])
    gentle_mps2 = (speed - slow) / (2.0 * meet_s) * 1.2 + 0.2

    def early(time_s: float) -> np.ndarray:
        return -gentle_mps2

    end, _ = follow(WorldBatch(scenarios, config), early, 5.0)
    assert (end != END_COLLISION).mean() >= 0.9


def test_who_is_blind_can_still_stop_when_the_cameras_see_again() -> None:
    scenarios = draws("camera_fault")
    sees_s = np.array([
        max((f.end_s for f in s.faults if math.isfinite(f.end_s) and f.start_s < 100.0
             and (f.kind != "drop" or f.amount > 0.0)), default=s.parameters["from_s"])
        for s in scenarios
    ])  # fmt: skip

    def blind(time_s: float) -> np.ndarray:
        return np.where(time_s >= sees_s, -6.0, 0.0)

    end, fault = follow(WorldBatch(scenarios, SimConfig(rig=None)), blind, 12.0)
    assert not ((end == END_COLLISION) & (fault != FAULT_OTHER)).any()


def test_the_speedometer_shows_what_the_bend_allows_but_the_positions_tell_the_truth() -> None:
    scenarios = draws("ego_state_fault")
    worlds = WorldBatch(scenarios, SimConfig(rig=None))
    for _ in range(3):
        worlds.step(np.zeros((DRAWS, 8, 2)))
    observation = worlds.observe()
    limit = np.array([s.road.speed_limit_mps for s in scenarios])
    np.testing.assert_allclose(observation.speed_mps, limit, rtol=0.02)
    moved = np.hypot(observation.history[:, 3, 0], observation.history[:, 3, 1])  # in 1.2 s
    assert (moved / 1.2 > 1.15 * observation.speed_mps).all()


def test_plans_are_late_by_what_the_scenario_says() -> None:
    scenarios = draws("compute_latency")
    ticks = WorldBatch(scenarios, SimConfig(rig=None)).expected_latency_ticks()
    extra_s = np.array([s.parameters["latency_s"] for s in scenarios])
    assert (0.1 * ticks >= 0.1 + extra_s - 1e-9).all() and (0.1 * ticks < 0.2 + extra_s).all()
