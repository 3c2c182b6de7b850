"""``alpamayo bench sim``: the simulator against its targets and against highway-env.

Every case is measured several times, in turns with all others, on one core; what is reported is the
median of the rounds. Targets are those of one core of a server (see docs/results.md).
"""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from alpamayo import bench_cases as cases
from alpamayo.bench_cases import Drive, Runner, Sample
from sim.config import SimConfig

HIGHWAY, STATE, STATE_WIDE, STATE_PEER = "highway_env", "state_16", "state_64", "state_21"
DECISIONS, THREE_CAMERAS = "decisions", "cameras_3"
FLASHING_TOWN = "town01_flashing"
LIGHTS = {"night": "at night", "low_sun": "in low sun"}
ONE_CAMERA, HISTORY, NO_HISTORY, TOWN = "camera_1", "cameras_4_history", "cameras_4", "town01"


@dataclass(frozen=True)
class Scale:
    """How much is measured: ``rounds`` turns of ``case_s`` CPU-seconds per case (``sweep_s`` per
    point of a sweep); where two cases are nearly alike, ``pairs`` times ``pair_s`` of each."""

    worlds: int
    rounds: int
    case_s: float
    sweep_s: float
    pairs: int
    pair_s: float
    camera_worlds: int
    resets: int
    sweep_worlds: tuple[int, ...]
    sweep_agents: tuple[int, ...]
    sweep_road_m: tuple[float, ...]


def full_scale(worlds: int, seconds: float) -> Scale:
    return Scale(
        worlds, 3, seconds, 0.25 * seconds, 24, 0.25 * seconds, 16, 200,
        (1, 4, 16, 64, 256), (4, 8, 16, 32, 64, 128), (300.0, 600.0, 1250.0, 2500.0, 5000.0),
    )  # fmt: skip


QUICK = Scale(4, 1, 0.02, 0.01, 2, 0.01, 2, 5, (1, 4), (4, 16), (1000.0, 2000.0))


@dataclass(frozen=True)
class Row:
    """A line of the table. ``must`` and ``aim`` are targets for ``value``: at least them if
    ``more_is_better``, else at most. ``skipped`` says why there is no value."""

    name: str
    title: str
    value: float | None
    unit: str
    must: float | None = None
    aim: float | None = None
    more_is_better: bool = True
    spread: tuple[float, float] | None = None
    skipped: str = ""

    @property
    def met(self) -> bool | None:
        if self.value is None or self.must is None:
            return None
        return self.value >= self.must if self.more_is_better else self.value <= self.must

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


class Rounds:
    """Samples of several runners, taken in turns."""

    def __init__(self, runners: Mapping[str, Runner], rounds: int, cpu_s: float) -> None:
        self.samples: dict[str, list[Sample]] = {name: [] for name in runners}
        for _ in range(rounds):
            for name, runner in runners.items():
                self.samples[name].append(runner.run(cpu_s))

    def __contains__(self, name: str) -> bool:
        return name in self.samples

    def per_s(self, name: str) -> float:
        """Steps of one world per CPU-second."""
        return statistics.median(s.per_s for s in self.samples[name])

    def spread(self, name: str, scale: float = 1.0) -> tuple[float, float]:
        rates = [scale * s.per_s for s in self.samples[name]]
        return min(rates), max(rates)

    def resets_per_1000(self, name: str) -> float:
        samples = self.samples[name]
        return 1e3 * sum(s.episodes for s in samples) / sum(s.steps for s in samples)

    def ratio(self, above: str, below: str) -> float:
        """Rate of one over that of the other, round by round."""
        pairs = zip(self.samples[above], self.samples[below], strict=True)
        return statistics.median(a.per_s / b.per_s for a, b in pairs)


class Paired:
    """How many times as long a step of ``slow`` takes as one of ``fast``: measured one right after
    the other, many times, so that what else the machine does cancels out."""

    def __init__(self, slow: Runner, fast: Runner, pairs: int, cpu_s: float) -> None:
        ratios = []
        for n in range(pairs):
            order = (slow, fast) if n % 2 else (fast, slow)
            rates = {runner: runner.run(cpu_s).per_s for runner in order}
            ratios.append(rates[fast] / rates[slow])
        ratios.sort()
        self.median = statistics.median(ratios)
        # Limits of the median that hold in 95 of 100 cases, by the binomial distribution.
        aside = round(0.98 * math.sqrt(pairs))
        middle = pairs // 2
        self.spread = ratios[max(middle - aside, 0)], ratios[min(middle + aside, pairs - 1)]


def bench_sim(config: SimConfig, scale: Scale, map_file: Path | None) -> dict[str, Any]:
    """Rows of the table, the sweeps, and how it was measured."""
    skipped: dict[str, str] = {}
    with cases.pinned() as core:
        runners = _runners(config, scale, map_file, skipped)
        rounds = Rounds(runners, scale.rounds, scale.case_s)
        rows = [*_state_rows(rounds, skipped), *_camera_rows(rounds)]
        rows += [_history_row(runners, scale), *_map_rows(runners, scale, skipped)]
        rows += [_look_row(config, scale), _reset_row(config, scale)]
        rows += [*_import_rows(scale.rounds), _memory_row(scale)]
        sweeps = _sweeps(config, scale)
    return {
        "rows": [row.as_dict() for row in rows],
        "sweeps": sweeps,
        "resets_per_1000_steps": {n: rounds.resets_per_1000(n) for n in rounds.samples},
        "worlds": scale.worlds,
        "rounds": scale.rounds,
        "cpu_s_per_case": scale.case_s,
        "core": core,
    }


def _runners(
    config: SimConfig, scale: Scale, map_file: Path | None, skipped: dict[str, str]
) -> dict[str, Runner]:
    state = cases.ten_hertz(config, None)
    sixteen, many = cases.traffic_scenarios(16), cases.traffic_scenarios(24)

    def images(rig: Any, worlds: int) -> Drive:
        return Drive(many, worlds, cases.ten_hertz(config, rig))

    runners: dict[str, Runner] = {}
    try:
        runners[HIGHWAY] = cases.HighwayEnv()
    except ImportError as error:
        skipped[HIGHWAY] = f"highway-env 1.12 is not installed ({error})"
    runners[STATE_PEER] = Drive(cases.traffic_scenarios(21), scale.worlds, state)
    runners[STATE] = Drive(sixteen, scale.worlds, state)
    runners[STATE_WIDE] = Drive(cases.traffic_scenarios(64), scale.worlds, state)
    runners[DECISIONS] = Drive(sixteen, scale.worlds, replace(config, rig=None))
    runners[THREE_CAMERAS] = images(cases.three_cameras(), scale.camera_worlds)
    runners[ONE_CAMERA] = images(cases.one_camera(), scale.camera_worlds)
    for name in LIGHTS:
        seen = cases.in_light(many, name)
        runners[name] = Drive(
            seen, scale.camera_worlds, cases.ten_hertz(config, cases.one_camera())
        )
    few = max(1, scale.camera_worlds // 2)
    runners[NO_HISTORY] = images(cases.four_cameras(1), few)
    runners[HISTORY] = images(cases.four_cameras(4), few)
    if map_file is None:
        skipped[TOWN] = "CARLA's Town01.xodr was not found; name an OpenDRIVE file with --map"
    else:
        for name, lights in ((TOWN, True), (FLASHING_TOWN, False)):
            town = cases.map_scenarios(map_file, 16, lights)
            runners[name] = Drive(town, scale.worlds, state)
    return runners


def _state_rows(rounds: Rounds, skipped: Mapping[str, str]) -> list[Row]:
    state, wide = rounds.per_s(STATE), rounds.per_s(STATE_WIDE)
    twenty = f"{cases.HighwayEnv.CARS} cars"
    if HIGHWAY in rounds:
        peer = rounds.per_s(HIGHWAY)
        peers = [
            Row(HIGHWAY, f"highway-env, {twenty}, Kinematics observation", peer, "env-steps/s",
                spread=rounds.spread(HIGHWAY)),
            Row("times_highway_env", f"this simulator, {twenty}, against it",
                rounds.ratio(STATE_PEER, HIGHWAY), "times", 100.0),
        ]  # fmt: skip
        must = 100.0 * peer
    else:
        why = skipped[HIGHWAY]
        peers = [Row(HIGHWAY, f"highway-env, {twenty}", None, "env-steps/s", skipped=why)]
        must = 20e3
    return [
        *peers,
        Row(STATE_PEER, f"state observation, {twenty}", rounds.per_s(STATE_PEER), "env-steps/s",
            spread=rounds.spread(STATE_PEER)),
        Row(STATE, "state observation, 16 agents", state, "env-steps/s", must, 60e3,
            spread=rounds.spread(STATE)),
        Row("agents_16", "state observation, 16 agents", 16 * state, "agent-steps/s", 400e3,
            spread=rounds.spread(STATE, 16)),
        Row("agents_64", "state observation, 64 agents", 64 * wide, "agent-steps/s", 400e3,
            spread=rounds.spread(STATE_WIDE, 64)),
        Row("agent_cost_growth", "cost per agent, 64 against 16 agents",
            rounds.ratio(STATE, STATE_WIDE) / 4.0, "times", 1.5, 1.0, more_is_better=False),
        Row(DECISIONS, "the same with 16 agents, a step of one default decision",
            rounds.per_s(DECISIONS), "env-steps/s", spread=rounds.spread(DECISIONS)),
    ]  # fmt: skip


def _camera_rows(rounds: Rounds) -> list[Row]:
    return [
        Row(THREE_CAMERAS, "3 cameras 256 x 144, 24 agents", rounds.per_s(THREE_CAMERAS),
            "env-steps/s", 300.0, 600.0, spread=rounds.spread(THREE_CAMERAS)),
        Row(ONE_CAMERA, "1 camera 512 x 320, 24 agents", rounds.per_s(ONE_CAMERA), "images/s",
            800.0, 1800.0, spread=rounds.spread(ONE_CAMERA)),
        Row(NO_HISTORY, "4 cameras 448 x 252, one frame each", rounds.per_s(NO_HISTORY),
            "env-steps/s", spread=rounds.spread(NO_HISTORY)),
        Row(HISTORY, "4 cameras 448 x 252, 4 frames each", rounds.per_s(HISTORY), "env-steps/s",
            spread=rounds.spread(HISTORY)),
        *(
            Row(name, f"1 camera 512 x 320, 24 agents, {LIGHTS[name]}", rounds.per_s(name),
                "images/s", 800.0, 1200.0, spread=rounds.spread(name))
            for name in LIGHTS
        ),
    ]  # fmt: skip


def _history_row(runners: Mapping[str, Runner], scale: Scale) -> Row:
    cost = Paired(runners[HISTORY], runners[NO_HISTORY], scale.pairs, scale.pair_s)
    low, high = (100.0 * (ratio - 1.0) for ratio in cost.spread)
    return Row(
        "history_cost", "cost of the 3 past frames", 100.0 * (cost.median - 1.0), "%", 5.0,
        more_is_better=False, spread=(low, high),
    )  # fmt: skip


def _map_rows(runners: Mapping[str, Runner], scale: Scale, skipped: Mapping[str, str]) -> list[Row]:
    title = "Town01 (OpenDRIVE) against a straight road, 16 agents"
    if TOWN not in runners:
        return [Row(TOWN, title, None, "times slower", skipped=skipped[TOWN])]
    lit, flashing = (
        Paired(runners[name], runners[STATE], scale.pairs, scale.pair_s)
        for name in (TOWN, FLASHING_TOWN)
    )
    return [
        Row(TOWN, title, lit.median, "times slower", 1.5, 1.0, more_is_better=False,
            spread=lit.spread),
        Row(FLASHING_TOWN, "the same with all its lights out of order", flashing.median,
            "times slower", more_is_better=False, spread=flashing.spread),
    ]  # fmt: skip


def _look_row(config: SimConfig, scale: Scale) -> Row:
    """The observation alone, of worlds that stand still."""
    from sim.observe import StateObserver, StateView

    worlds = Drive(
        cases.traffic_scenarios(17), scale.worlds, cases.ten_hertz(config, None)
    ).envs.worlds
    observer = StateObserver(scale.worlds, StateView())
    costs = []
    for _ in range(scale.rounds):
        cost_s = _cpu_s(lambda: observer.flat(worlds), scale.resets)
        costs.append(1e6 * cost_s / scale.worlds)
    return Row(
        "look", "state observation alone, 16 actors", statistics.median(costs), "us per world", 5.0,
        more_is_better=False, spread=(min(costs), max(costs)),
    )  # fmt: skip


def _reset_row(config: SimConfig, scale: Scale) -> Row:
    scenarios = cases.traffic_scenarios(16)
    worlds = Drive(scenarios, 1, cases.ten_hertz(config, None)).envs.worlds
    draws = iter(range(10**9))

    def load() -> None:
        worlds.load([0], [scenarios[next(draws) % len(scenarios)]])

    costs = [1e3 * _cpu_s(load, scale.resets) for _ in range(scale.rounds)]
    return Row(
        "reset", "reset of a world from a cached scenario, 16 agents", statistics.median(costs),
        "ms", 1.0, 0.2, more_is_better=False, spread=(min(costs), max(costs)),
    )  # fmt: skip


def _cpu_s(function: Callable[[], Any], times: int) -> float:
    """CPU-seconds of one call, after one that does not count."""
    function()
    started = time.process_time()
    for _ in range(times):
        function()
    return (time.process_time() - started) / times


_CPU_CODE = "import time; t = time.process_time(); {}; print(time.process_time() - t)"
_MEMORY_CODE = """
import resource, sys
def rss_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6
before = rss_mb()
from alpamayo import bench_cases as cases
from sim.config import SimConfig
config = cases.ten_hertz(SimConfig(), cases.three_cameras())
cases.Drive(cases.traffic_scenarios(24), {worlds}, config).run(0.2)
print(rss_mb() - before)
"""


def _in_fresh_process(code: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout.split()[-1])


def _import_rows(rounds: int) -> list[Row]:
    rows = []
    for name, title, must in (
        ("sim", "import sim", 0.5), ("sim.env", "import sim.env", None),
    ):  # fmt: skip
        costs = [_in_fresh_process(_CPU_CODE.format(f"import {name}")) for _ in range(rounds)]
        rows.append(
            Row(f"import_{name}", title, statistics.median(costs), "CPU-s", must,
                more_is_better=False, spread=(min(costs), max(costs)))
        )  # fmt: skip
    return rows


def _memory_row(scale: Scale) -> Row:
    title = f"{scale.worlds} worlds with 3 cameras 256 x 144, above the interpreter"
    if not Path("/proc/self/statm").exists():
        return Row("memory", title, None, "MB", skipped="only Linux tells a process its memory")
    used_mb = _in_fresh_process(_MEMORY_CODE.format(worlds=scale.worlds))
    return Row("memory", title, used_mb, "MB", 250.0, more_is_better=False)


def _sweeps(config: SimConfig, scale: Scale) -> dict[str, list[dict[str, float]]]:
    """CPU microseconds of a step of one world, by number of worlds, of agents, and metres of
    road."""
    state, ego = cases.ten_hertz(config, None), cases.STRAIGHT_EGO
    sixteen = cases.traffic_scenarios(16)

    def of_length(length_m: float) -> Drive:
        road = replace(cases.STRAIGHT, length_m=length_m)
        scenarios = cases.traffic_scenarios(16, road, replace(ego, s_m=0.45 * length_m))
        return Drive(scenarios, scale.worlds, state)

    return {
        "worlds": _sweep(scale, scale.sweep_worlds, lambda n: Drive(sixteen, int(n), state)),
        "agents": _sweep(
            scale, scale.sweep_agents,
            lambda n: Drive(cases.traffic_scenarios(int(n)), scale.worlds, state),
        ),
        "road_m": _sweep(scale, scale.sweep_road_m, of_length),
    }  # fmt: skip


def _sweep(
    scale: Scale, values: Sequence[float], make: Callable[[float], Runner]
) -> list[dict[str, float]]:
    rounds = Rounds({str(v): make(v) for v in values}, scale.rounds, scale.sweep_s)
    return [
        {"at": float(v), "us_per_env_step": 1e6 / rounds.per_s(str(v)),
         "env_steps_per_s": rounds.per_s(str(v))}
        for v in values
    ]  # fmt: skip
