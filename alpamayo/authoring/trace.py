"""Drive a scenario once and keep every tick: poses, time to collision, gap, when events fired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alpamayo.authoring.describe import event_text
from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.replay.format import Replay, fired_events, with_columns
from alpamayo.replay.record import Recorder, record_episode
from alpamayo.replay.ticks import TickWorld
from alpamayo.types import FloatArray, RequestError, Scenario
from sim.config import SimConfig
from sim.world import WorldBatch


@dataclass(frozen=True)
class Fired:
    """Event ``number`` of the scenario fired at ``time_s``; ``letter`` names it in pictures."""

    time_s: float
    number: int
    letter: str
    actor: str
    text: str


@dataclass(frozen=True)
class Trace:
    """One driven episode. ``replay``: as recorded, a row per decision; ``ticks``: the same with a
    row per tick in ``ego``, ``boxes``, ``braking``, ``signals`` and ``waypoints``.

    ``ttc_s``, ``gap_m`` [N]: the judge's, of the tick that ends at ``time_s`` [N] (inf: nobody
    near)."""

    replay: Replay
    ticks: Replay
    time_s: FloatArray
    ttc_s: FloatArray
    gap_m: FloatArray
    fired: tuple[Fired, ...]

    @property
    def scenario(self) -> Scenario:
        return self.replay.header.scenario

    @property
    def closest_s(self) -> float | None:
        """When ego was nearest to somebody; None if nobody ever was near."""
        if not np.isfinite(self.gap_m).any():
            return None
        return float(self.time_s[int(np.argmin(self.gap_m))])


def trace_all(scenarios: Sequence[Scenario], name: str) -> list[Trace]:
    """The policy called ``name`` drives each scenario; RequestError if one cannot be run."""
    from alpamayo.paths import resolve_policy
    from policies.registry import load_policy, needs_images

    spec = resolve_policy(name)
    policy = load_policy(spec)
    config = SimConfig() if needs_images(spec, policy) else SimConfig(rig=None)
    logs: dict[int, EpisodeLog] = {}
    results = run_episodes(policy, scenarios, config, on_replay=logs.__setitem__)
    for scenario, result in zip(scenarios, results, strict=True):
        if result.error:
            raise RequestError(
                f"{scenario.id} seed {scenario.seed}: cannot be simulated: {result.error}"
            )
    return [_trace(logs[n], config, name) for n in range(len(scenarios))]


def _trace(log: EpisodeLog, config: SimConfig, name: str) -> Trace:
    """Simulates the logged plans again, tick by tick."""
    replay = record_episode(log, config, policy=name)
    world, recorder = WorldBatch([log.scenario], config), Recorder(replace(config, rig=None))
    recorder.frame(world)
    driven, times, plan = TickWorld(world), [], []
    for number, action in enumerate(log.actions):
        driven.begin(action)
        for _ in driven.run():
            recorder.frame(world)
            times.append(float(world.time_s[0]))
            plan.append(replay.columns["waypoints"][number])
    columns = recorder.columns()
    frames = ("ego", "boxes", "braking", "signals")
    ticks = with_columns(replay, **{n: columns[n] for n in frames}, waypoints=np.stack(plan))
    if tuple(recorder.slots) != replay.header.actor_ids:
        ticks = _in_order(ticks, tuple(recorder.slots))
    ttc_s, gap_m = (replay.columns[n].astype(np.float64) for n in ("ttc_s", "gap_m"))
    return Trace(replay, ticks, np.array(times), ttc_s, gap_m, _fired(replay))


def _in_order(ticks: Replay, slots: tuple[str, ...]) -> Replay:
    """An actor that was there between two decisions only has no slot in the header: leave it out;
    the others in the header's order."""
    index = [slots.index(name) for name in ticks.header.actor_ids]
    columns = ticks.columns
    return with_columns(
        ticks, boxes=columns["boxes"][:, index], braking=columns["braking"][:, index]
    )


def _fired(replay: Replay) -> tuple[Fired, ...]:
    scenario = replay.header.scenario
    return tuple(
        Fired(time_s, n, letter, scenario.events[n].actor, event_text(scenario, n))
        for time_s, n, letter in fired_events(replay)
    )


def key_times(
    start_s: float, end_s: float, wanted: Sequence[float], closest_s: float | None, count: int
) -> list[float]:
    """``count`` moments worth a picture: start, end, closest approach, then ``wanted`` in their
    order while they are apart from the others; the rest halves the longest gaps.
    """
    apart = (end_s - start_s) / (3.0 * count)
    chosen = [start_s, end_s]
    for time_s in [*([] if closest_s is None else [closest_s]), *wanted]:
        inside = start_s <= time_s <= end_s
        if len(chosen) < count and inside and min(abs(time_s - t) for t in chosen) > apart:
            chosen.append(time_s)
    while len(chosen) < count:
        chosen.sort()
        gaps = np.diff(chosen)
        widest = int(np.argmax(gaps))
        chosen.append(chosen[widest] + float(gaps[widest]) / 2.0)
    return sorted(chosen)
