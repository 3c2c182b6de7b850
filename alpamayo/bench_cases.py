"""What ``alpamayo bench sim`` drives, and how it counts.

Rates are per CPU-second of this process. Every environment steps whole: plans are checked, worlds
simulated and judged, rewards and metrics computed, observations made and ended worlds started anew.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from alpamayo.types import (
    Action,
    ActorSpec,
    EgoSpec,
    EventSpec,
    RequestError,
    RoadSpec,
    Scenario,
    SignalPlan,
    TrafficSpec,
    Trigger,
    Weather,
)
from sim.config import CameraConfig, RigConfig, SimConfig, alpamayo_rig

STRAIGHT = RoadSpec(kind="straight", lanes=3, length_m=2000.0, speed_limit_mps=15.0)
STRAIGHT_EGO = EgoSpec(path="lane1", s_m=900.0, speed_mps=10.0)
LISTED = 2  # the ego and its leader, which brakes by an event; all others are background traffic
SCENARIOS = 16
# Mean length of an episode; they differ, so that worlds do not all end in the same step.
EPISODE_S = 40.0
WARM_UP_STEPS = 5
NIGHT_LIGHT = 0.15


@dataclass(frozen=True)
class Sample:
    """``steps`` of one world each, in ``cpu_s``; ``episodes`` of them began anew."""

    steps: int
    cpu_s: float
    episodes: int

    @property
    def per_s(self) -> float:
        return self.steps / self.cpu_s


class Runner(Protocol):
    """Something that can be driven for a while, again and again."""

    def run(self, cpu_s: float) -> Sample:
        """Drive for ``cpu_s`` CPU-seconds."""
        ...


def traffic_scenarios(
    agents: int, road: RoadSpec = STRAIGHT, ego: EgoSpec = STRAIGHT_EGO
) -> list[Scenario]:
    """Draws of ``agents`` on ``road``, ego included, about equally dense whatever their number."""
    vehicles = agents - LISTED
    if vehicles < 0:
        raise RequestError(f"bench sim: expected at least {LISTED} agents, got {agents}")
    traffic = TrafficSpec(vehicles=vehicles, within_m=max(150.0, 8.0 * vehicles))
    lead = ActorSpec("lead", "car", ego.path, 35.0, speed_mps=12.0, desired_speed_mps=13.0)
    brake = EventSpec("lead", Trigger("time", 5.0), (Action("speed", 10.5, 2.0),))
    durations_s = np.linspace(0.1, 1.9, SCENARIOS) * EPISODE_S
    return [
        Scenario(
            id="bench", family="bench", nominal=True, seed=seed, road=road, ego=ego,
            actors=(lead,), events=(brake,), traffic=traffic, duration_s=round(float(length), 1),
        )
        for seed, length in enumerate(durations_s)
    ]  # fmt: skip


def in_light(scenarios: list[Scenario], light: str) -> list[Scenario]:
    """The same ``scenarios`` at "night" or in "low_sun"."""
    if light == "night":
        return [replace(scenario, light=NIGHT_LIGHT) for scenario in scenarios]
    weather = Weather(glare=1.0)
    return [replace(scenario, weather=weather) for scenario in scenarios]


def ten_hertz(config: SimConfig, rig: RigConfig | None) -> SimConfig:
    """A decision at every tick of 0.1 s."""
    return replace(config, tick_s=0.1, decision_s=0.1, rig=rig)


class Drive:
    """``worlds`` worlds of a vector environment that never stops; the ego keeps speed and lane."""

    def __init__(self, scenarios: list[Scenario], worlds: int, config: SimConfig) -> None:
        from sim.env import DrivingVectorEnv

        self.envs = DrivingVectorEnv(worlds, scenarios, config=config, copy=False)
        self._actions = np.zeros(self.envs.action_space.shape, np.float32)
        self.envs.reset(seed=0)
        for _ in range(WARM_UP_STEPS):
            self.envs.step(self._actions)

    def run(self, cpu_s: float) -> Sample:
        step, actions = self.envs.step, self._actions
        batches = episodes = 0
        started = time.process_time()
        while not batches or time.process_time() - started < cpu_s:
            _, _, terminated, truncated, _ = step(actions)
            episodes += int(np.count_nonzero(terminated | truncated))
            batches += 1
        return Sample(batches * self.envs.num_envs, time.process_time() - started, episodes)


def three_cameras() -> RigConfig:
    names = (("left", 60.0), ("front", 0.0), ("right", -60.0))
    cameras = tuple(CameraConfig(name, hfov_deg=70.0, yaw_deg=yaw) for name, yaw in names)
    return RigConfig(256, 144, frames=1, supersample=1, cameras=cameras)


def one_camera() -> RigConfig:
    return RigConfig(512, 320, frames=1, supersample=1)


def four_cameras(frames: int) -> RigConfig:
    return alpamayo_rig(448, 252, frames)


def map_scenarios(file: Path, agents: int, lights: bool = True) -> list[Scenario]:
    """Traffic around an ego on the longest lane of an OpenDRIVE map, whose ``lights`` work or all
    flash, so that everybody has to look out at every junction."""
    from sim.roads.atlas import shared_roads

    road = RoadSpec(kind="opendrive", file=str(file))
    atlas = shared_roads()
    layout = atlas.map(atlas.add(road))
    driving = np.flatnonzero(layout.lanes["kind"] == 0)
    longest = int(driving[np.argmax(layout.lanes["length_m"][driving])])
    length_m = float(layout.lanes["length_m"][longest])
    ego = EgoSpec(path=layout.names[longest], s_m=min(10.0, 0.1 * length_m), speed_mps=8.0)
    scenarios = traffic_scenarios(agents, road, ego)
    return [replace(s, signals=SignalPlan()) for s in scenarios] if lights else scenarios


def find_map(given: str | None) -> Path | None:
    """The OpenDRIVE file to compare a straight road with: ``given``, or CARLA's Town01 below a
    folder ``data/opendrive`` of this folder, its parents or a folder ``shared`` of theirs."""
    if given is not None:
        if not Path(given).is_file():
            raise RequestError(f"--map {given}: expected an OpenDRIVE file")
        return Path(given)
    here = Path.cwd()
    for folder in (here, *here.parents):
        for root in (folder / "data" / "opendrive", folder / "shared" / "data" / "opendrive"):
            found = sorted(root.rglob("Town01.xodr")) if root.is_dir() else []
            if found:
                return found[0]
    return None


@contextlib.contextmanager
def pinned() -> Iterator[int | None]:
    """Keep this process on one of its cores; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    core = max(allowed)
    os.sched_setaffinity(0, {core})
    try:
        yield core
    finally:
        os.sched_setaffinity(0, allowed)


class HighwayEnv:
    """highway-env's ``highway-v0`` with 20 cars, physics and policy at 10 Hz; the ego idles."""

    CARS = 20

    def __init__(self) -> None:
        import gymnasium

        importlib.import_module("highway_env")  # registers its environments
        settings = {"vehicles_count": self.CARS, "simulation_frequency": 10, "policy_frequency": 10}
        self._env: Any = gymnasium.make("highway-v0", config=settings)
        self._env.reset(seed=0)
        for _ in range(WARM_UP_STEPS):
            self._step()

    def _step(self) -> bool:
        _, _, terminated, truncated, _ = self._env.step(1)  # IDLE
        if terminated or truncated:
            self._env.reset()
        return bool(terminated or truncated)

    def run(self, cpu_s: float) -> Sample:
        steps = episodes = 0
        started = time.process_time()
        while not steps or time.process_time() - started < cpu_s:
            episodes += self._step()
            steps += 1
        return Sample(steps, time.process_time() - started, episodes)
