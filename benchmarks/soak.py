"""Endurance and repeatability of the simulator.

.venv/bin/python benchmarks/soak.py --hours 24         simulated hours of driving, any action
.venv/bin/python benchmarks/soak.py --episodes 1000    one hash of that many episodes; run it twice

Prints one JSON document; exit code 1 if something was not as it must be.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import hashlib
import itertools
import json
import multiprocessing
import resource
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo import streams
from alpamayo.types import (
    EgoSpec,
    Fault,
    RoadSpec,
    Scenario,
    SignalPlan,
    TrafficSpec,
    Weather,
)
from scenarios.splits import SEEDS, Split
from sim.config import RigConfig, SimConfig
from sim.env import DrivingVectorEnv
from sim.rewards import reward_terms, total_reward
from sim.roads.atlas import shared_roads
from sim.roads.maps import DRIVING
from sim.world import WorldBatch

SMALL_RIG = RigConfig(96, 48, frames=2, supersample=1)
CAMERA_WORLDS = 4
CHECK_EVERY = 50  # batch steps between looks at the whole state and the memory
WARM_UP_SHARE = 0.25  # memory may grow until this share of the way: caches fill
GENTLE_DECISIONS, GENTLE_SHARE = 60, (0.2, 0.01)
ACTION_STREAM = 900
EVERYTHING: Split = "test"  # the split that holds every family
PICTURE_EVERY = 5  # decisions between images that go into the hash


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=1.0, help="simulated hours (default: 1)")
    parser.add_argument("--episodes", type=int, help="instead: the hash of this many episodes")
    parser.add_argument("--worlds", type=int, default=64, help="worlds in a batch (default: 64)")
    parser.add_argument("--workers", type=int, default=1, help="--episodes: processes (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="--hours: of the actions (default: 0)")
    parser.add_argument(
        "--max-growth-mb", type=float, default=30.0, help="memory after the warm-up (default: 30)"
    )
    args = parser.parse_args()
    if args.episodes is not None:
        document = sweep(args.episodes, args.worlds, args.workers)
    else:
        document = soak(args.hours, args.worlds, args.seed, args.max_growth_mb)
    print(json.dumps(document, indent=2))
    return 0 if document["ok"] else 1


# Endurance -----------------------------------------------------------------------------------
def busy_scenarios() -> list[str | Scenario]:
    """The whole library, and every kind of procedural road with traffic, weather and faults."""
    from scenarios.catalog import library_files

    kinds: tuple[Any, ...] = (
        "straight", "curve", "junction", "merge", "s_curve", "exit", "t_junction", "roundabout",
        "lane_drop", "parking_street", "crest",
    )  # fmt: skip
    made: list[str | Scenario] = [str(path) for path in library_files()]
    for seed, kind in enumerate(kinds):
        road = _road(kind)
        made.append(
            Scenario(
                f"soak_{kind}", "soak", True, SEEDS[EVERYTHING].start + seed, road,
                EgoSpec(path=_lane(road), s_m=15.0),
                signals=SignalPlan() if kind == "junction" else None,
                weather=Weather(fog_m=80.0, rain=0.5, friction=0.6) if seed % 2 else Weather(),
                faults=(Fault("speed_noise", amount=0.3), Fault("latency", amount=0.1)),
                traffic=TrafficSpec(vehicles=10, pedestrians=2), duration_s=30.0,
            )
        )  # fmt: skip
    return made


def _road(kind: Any) -> RoadSpec:
    road = RoadSpec(kind=kind)
    if kind in ("curve", "s_curve"):
        return replace(road, radius_m=150.0)
    if kind in ("junction", "t_junction", "roundabout"):
        return replace(road, lanes=1, oncoming_lanes=1)
    return replace(road, rise_m=4.0) if kind == "crest" else road


def _lane(road: RoadSpec) -> str:
    """The first lane that one drives on."""
    atlas = shared_roads()
    layout = atlas.map(atlas.add(road))
    return str(layout.names[int(np.argmax(layout.lanes["kind"] == DRIVING))])


def actions(envs: DrivingVectorEnv, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Stretches of gentle, random, bang-bang and wild driving."""
    low, high = envs.single_action_space.low, envs.single_action_space.high
    shape = envs.action_space.shape
    absurd = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-300])
    for style in itertools.cycle(("wild", "gentle", "random", "gentle", "bang", "gentle")):
        for _ in range(GENTLE_DECISIONS if style == "gentle" else 10):
            drawn = rng.uniform(low, high, shape)
            if style == "gentle":
                drawn = (drawn - 0.5 * (low + high)) * GENTLE_SHARE
            elif style == "bang":
                drawn = np.where(drawn > 0.5 * (low + high), high, low)
            elif style == "wild":
                drawn = np.where(rng.random(shape) < 0.05, rng.choice(absurd, shape), drawn)
            yield drawn.astype(np.float32)


@dataclass
class Watch:
    """What went wrong, and what happened."""

    problems: list[str] = field(default_factory=list)
    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    rss_mb: list[float] = field(default_factory=list)
    simulated_s: float = 0.0
    decisions: int = 0
    invalid: int = 0

    def complain(self, text: str) -> None:
        if len(self.problems) < 20:
            self.problems.append(text)

    def look(self, envs: DrivingVectorEnv, step: tuple[Any, ...], number: int) -> None:
        """Check what a step returned, and now and then the whole state."""
        observation, reward, terminated, truncated, info = step
        done, active = terminated | truncated, info["_end"]
        self.decisions += int(active.sum())
        self.simulated_s += envs.config.decision_s * int(active.sum())
        self.invalid += int(info["invalid_action"].sum())
        self.ends.update(info["end"][done])
        for name, values in {"reward": reward, **observation, **info}.items():
            if values.dtype.kind == "f" and np.isnan(values).any():
                self.complain(f"step {number}: {name}: nan")
        if not np.isfinite(reward).all():
            self.complain(f"step {number}: reward: {reward[~np.isfinite(reward)]}")
        if number % CHECK_EVERY == 0:
            self._look_closely(envs, observation, number)
            self.rss_mb.append(rss_mb())

    def _look_closely(self, envs: DrivingVectorEnv, observation: Any, number: int) -> None:
        if observation not in envs.observation_space:
            self.complain(f"step {number}: observation outside its space")
        for records in (envs.worlds.state.worlds, envs.worlds.state.actors):
            for name in records.dtype.names or ():
                values = records[name]
                if values.dtype.kind == "f" and np.isnan(values).any():
                    self.complain(f"step {number}: state {name}: nan")


def soak(hours: float, worlds: int, seed: int, max_growth_mb: float) -> dict[str, Any]:
    """Drive ``hours`` in all; every sixteenth stretch with a camera."""
    rng, watch, started = np.random.default_rng(seed), Watch(), time.process_time()
    scenarios = busy_scenarios()
    blind = DrivingVectorEnv(worlds, scenarios, rig=None, invalid="brake", split=EVERYTHING)
    seeing = DrivingVectorEnv(
        CAMERA_WORLDS, scenarios, rig=SMALL_RIG, invalid="brake", split=EVERYTHING
    )
    sources = [(envs, actions(envs, rng)) for envs in (blind, seeing)]
    for envs, _ in sources:
        envs.reset(seed=SEEDS[EVERYTHING].start + seed)
    try:
        for number in itertools.count():
            if watch.simulated_s >= 3600.0 * hours:
                break
            envs, source = sources[number // CHECK_EVERY % 16 == 15]
            watch.look(envs, envs.step(next(source)), number)
    except Exception:
        watch.complain(traceback.format_exc())
    kept = watch.rss_mb[round(WARM_UP_SHARE * len(watch.rss_mb)) :] or [rss_mb()]
    growth_mb = kept[-1] - kept[0]
    if growth_mb > max_growth_mb:
        watch.complain(f"memory grew by {growth_mb:.0f} MB after the warm-up")
    return {
        "ok": not watch.problems,
        "problems": watch.problems,
        "simulated_h": watch.simulated_s / 3600.0,
        "decisions": watch.decisions,
        "episodes": sum(watch.ends.values()),
        "ends": dict(watch.ends),
        "invalid_actions": watch.invalid,
        "rss_mb": {"after_warm_up": kept[0], "end": kept[-1], "most": max(kept)},
        "growth_mb": growth_mb,
        "cpu_s": time.process_time() - started,
        "worlds": worlds,
        "seed": seed,
    }


def rss_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# Repeatability -------------------------------------------------------------------------------
def sweep(episodes: int, worlds: int, workers: int) -> dict[str, Any]:
    """The hash of episodes 0 .. of the held-out suite, driven in batches by ``workers``
    processes."""
    started = time.perf_counter()
    shares = [range(k, episodes, workers) for k in range(workers)]
    if workers == 1:
        parts = [drive(list(shares[0]), worlds)]
    else:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
            parts = list(pool.map(drive, map(list, shares), [worlds] * workers))
    digests = {k: v for part in parts for k, v in part.items()}
    whole = hashlib.sha256("".join(digests[k] for k in range(episodes)).encode())
    return {
        "ok": len(digests) == episodes,
        "hash": whole.hexdigest(),
        "episodes": episodes,
        "worlds": worlds,
        "workers": workers,
        "wall_s": time.perf_counter() - started,
    }


def drive(episodes: list[int], worlds: int) -> dict[int, str]:
    """Digest of each of ``episodes``: its states, rewards, ends and some of its images."""
    from scenarios.suites import load_suite

    suite = load_suite("heldout")
    config = SimConfig(rig=SMALL_RIG)
    waiting = collections.deque(episodes)
    rows = [waiting.popleft() for _ in range(min(worlds, len(episodes)))]
    batch = WorldBatch([suite.draw(1, start=k)[0] for k in rows], config)
    digests = {k: hashlib.sha256() for k in rows}
    driving = np.ones(len(rows), dtype=bool)
    done: dict[int, str] = {}
    while driving.any():
        _note_images(batch, rows, driving, digests)
        signals = batch.step(_plans(rows, batch.decision, config))
        rewards = total_reward(reward_terms(signals, config.reward, config.decision_s))
        ended = np.flatnonzero(driving & ~batch.running)
        for row in np.flatnonzero(driving):
            digests[rows[row]].update(np.float64(rewards[row]).tobytes())
        hashes = batch.state_hash() if len(ended) else []
        for row in ended:
            digest = digests.pop(rows[row])
            digest.update(f"{hashes[row]} {signals.end[row]} {signals.fault[row]}".encode())
            done[rows[row]] = digest.hexdigest()
            if waiting:
                rows[row] = waiting.popleft()
                digests[rows[row]] = hashlib.sha256()
                batch.load([int(row)], suite.draw(1, start=rows[row]))
            else:
                driving[row] = False
    return done


def _note_images(batch: WorldBatch, rows: list[int], driving: np.ndarray, digests: Any) -> None:
    due = np.flatnonzero(driving & (batch.decision % PICTURE_EVERY == 0))
    if len(due):
        observed = batch.observe(due)
        for i, row in enumerate(due):
            digests[rows[row]].update(observed.frames[i].tobytes())
            digests[rows[row]].update(observed.history[i].tobytes())


def _plans(rows: list[int], decision: np.ndarray, config: SimConfig) -> np.ndarray:
    """Random plans [B, K, 2] that depend on the episode and the decision alone."""
    keys = streams.keys(np.array(rows), ACTION_STREAM, decision)
    u = streams.uniform(keys, 2 * config.plan_steps).reshape(len(rows), -1, 2)
    return (u - (0.6, 0.5)) * (5.0, 0.02)


if __name__ == "__main__":
    sys.exit(main())
