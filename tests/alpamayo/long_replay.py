"""A real minute with 32 actors: the expert drives, so that it lasts, and the shipped policy decodes
a block from the same images at each decision, so that there are traces of the usual size.

    python -m tests.alpamayo.long_replay FOLDER    writes both kinds and tells their sizes
"""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.paths import resolve_policy
from alpamayo.replay.format import Replay, write_replay
from alpamayo.replay.record import record_episode
from alpamayo.types import ObservationBatch, PlanBatch, Scenario, TrafficSpec
from policies.registry import load_policy
from scenarios.load import load_document
from scenarios.sample import sample
from sim.config import SimConfig

ACTORS, MINUTE_S = 32, 60.0


class Watched:
    """The expert; keeps what it was shown."""

    name = "expert"
    needs_privileged = True

    def __init__(self) -> None:
        self.drives = load_policy("expert")
        self.seen: list[ObservationBatch] = []
        self.keys: list[Any] = []

    def plan(self, observation: Any, *, noise_keys: Any, privileged: Any = None) -> PlanBatch:
        self.seen.append(observation)
        self.keys.append(noise_keys)
        return self.drives.plan(observation, noise_keys=noise_keys, privileged=privileged)

    def decoded(self) -> PlanBatch:
        """The shipped policy's plans of all decisions, in one batch."""
        names = [f.name for f in fields(ObservationBatch)]
        all_seen = {n: np.concatenate([np.array(getattr(o, n)) for o in self.seen]) for n in names}
        policy = load_policy(resolve_policy("shipped"), mode="executed_first", rounds=2)
        keys = np.concatenate(self.keys)
        return policy.plan(ObservationBatch(**all_seen), noise_keys=keys)


def crowded(name: str = "roundabout", seed: int = 3) -> Scenario:
    one = sample(load_document(name), seed)
    return replace(
        one,
        duration_s=MINUTE_S,
        road=replace(one.road, length_m=2000.0),
        traffic=TrafficSpec(vehicles=ACTORS - len(one.actors)),
    )


def long_replay() -> Replay:
    """60 s, 32 actors, with traces and images."""
    config, policy, logs = SimConfig(), Watched(), list[EpisodeLog]()
    run_episodes(policy, [crowded()], config, on_replay=lambda _, log: logs.append(log))
    log, plans = logs[0], policy.decoded()
    log = replace(log, trace=plans.trace, decode_ms=plans.decode_ms)
    replay = record_episode(log, config, policy="expert", decode={"rounds": 2})
    if replay.header.result.duration_s < MINUTE_S - 0.1 or len(replay.header.actor_ids) != ACTORS:
        raise RuntimeError(f"expected a minute with {ACTORS} actors, got {replay.header.result}")
    return replay


def without_images(replay: Replay) -> Replay:
    columns = {n: c for n, c in replay.columns.items() if n not in ("jpeg", "jpeg_end")}
    return replace(replay, columns=columns)


def main(folder: str) -> None:
    replay = long_replay()
    for name, one in (("with_images", replay), ("without_images", without_images(replay))):
        size = write_replay(Path(folder) / f"{name}.replay", one).stat().st_size
        print(f"{name}: {size} bytes, {one.decisions} decisions, {len(one.columns['ttc_s'])} ticks")


if __name__ == "__main__":
    main(sys.argv[1])
