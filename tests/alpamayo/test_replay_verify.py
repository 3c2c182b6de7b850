"""Replays of real worlds: size, ticks, batches of any size, other processes, files of version 1."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.replay.format import (
    Replay,
    fired_events,
    hash_of,
    read_replay,
    with_columns,
    write_replay,
)
from alpamayo.replay.record import record_episode
from alpamayo.replay.verify import first_difference, verify_all
from alpamayo.types import RequestError, Scenario
from policies.registry import load_policy
from scenarios.load import load_document
from scenarios.sample import sample
from sim.config import SimConfig
from tests.alpamayo.long_replay import long_replay, without_images

CONFIG = SimConfig(rig=None, latency_jitter_s=0.1)
NAMES = ("hard_lead_brake", "follow_traffic", "red_light_runner", "cut_in")


def drive(scenarios: list[Scenario], policy: str, config: SimConfig = CONFIG) -> list[Replay]:
    logs: dict[int, EpisodeLog] = {}
    run_episodes(load_policy(policy), scenarios, config, batch=3, on_replay=logs.__setitem__)
    return [record_episode(logs[n], config, policy=policy) for n in range(len(scenarios))]


def drawn(name: str, seed: int = 5) -> Scenario:
    return sample(load_document(name), seed)


@pytest.fixture(scope="module")
def replays() -> list[Replay]:
    return drive([drawn(name) for name in NAMES], "idle")


@pytest.fixture(scope="module")
def files(replays: list[Replay], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("replays")
    return [write_replay(folder / f"{n}.replay", r) for n, r in zip(NAMES, replays, strict=True)]


def test_columns_of_ticks_agree_with_the_decisions(replays: list[Replay]) -> None:
    for replay in replays:
        columns, ticks = replay.columns, len(replay.columns["tick_hash"])
        assert ticks == round(float(columns["ego"][-1, 4]) / CONFIG.tick_s)
        assert len(columns["ttc_s"]) == len(columns["gap_m"]) == ticks
        # Until the end, the state after a decision's last tick is the state after the decision.
        for decision in range(replay.decisions - 1):
            full = replay.header.state_hashes[decision + 1]
            assert int(columns["tick_hash"][4 * decision + 3]) == int(full[:16], 16)
        assert float(columns["ttc_s"].min()) == pytest.approx(replay.header.result.min_ttc_s)
        assert replay.header.scenario_hash == hash_of(replay.header.scenario)


def test_the_hash_of_a_scenario_does_not_care_how_its_numbers_are_written() -> None:
    one = drawn("hard_lead_brake")
    whole = replace(one, light=1, duration_s=12)  # as a file that says 12 is sampled
    assert hash_of(whole) == hash_of(replace(one, light=1.0, duration_s=12.0))
    assert hash_of(whole) != hash_of(replace(one, light=1.0, duration_s=12.5))


def test_latencies_are_the_drawn_ones(replays: list[Replay]) -> None:
    # 0.1 s and up to 0.1 s more or less, in whole ticks.
    seen = {round(float(v), 6) for r in replays for v in r.columns["latency_s"]}
    assert seen == {0.1, 0.2}


def test_the_events_that_fired_are_told_with_their_time(replays: list[Replay]) -> None:
    replay = replays[1]  # follow_traffic: the first car changes its speed at a drawn time
    times = [e.trigger.value for e in replay.header.scenario.events]
    assert [(round(t, 3), n) for t, n, _ in fired_events(replay)] == [
        (pytest.approx(np.ceil(times[0] * 10 - 1e-6) / 10), 0)
    ]


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_any_batch_size_verifies(files: list[Path], batch: int) -> None:
    told: list[tuple[int, int]] = []
    found = verify_all(files, batch, lambda done, total: told.append((done, total)))
    assert [Path(f.path) for f in found] == files and told[-1] == (4, 4)
    assert all(f.problem is None and f.ticks > 0 for f in found)


def test_another_process_verifies_and_tells_what_differs(
    files: list[Path], replays: list[Replay], tmp_path: Path
) -> None:
    actions = replays[1].columns["actions"].copy()
    actions[3, 2, 1] += 1e-4
    altered = write_replay(tmp_path / "x.replay", with_columns(replays[1], actions=actions))
    command = [sys.executable, "-m", "alpamayo", "replay", *map(str, files), str(altered)]
    done = subprocess.run(
        [*command, "--verify", "--batch", "3", "--json"],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 1, done.stderr
    documents = json.loads(done.stdout)["replays"]
    assert [d["verified"] for d in documents] == [True] * 4 + [False]
    # The plan of decision 3 waits from tick 12 on, and what waits is part of the state.
    assert documents[4]["first_difference"] == {"decision": 3, "tick": 12, "time_s": 1.2}
    assert "decision 3, tick 12 (at 1.20 s)" in done.stderr


def test_the_first_tick_that_differs_is_when_an_altered_event_acts(replays: list[Replay]) -> None:
    replay = replays[1]
    (time_s, number, _) = fired_events(replay)[0]
    event = replay.header.scenario.events[number]
    action = replace(event.actions[0], speed_mps=event.actions[0].speed_mps + 1.0)
    altered = replace(replay.header.scenario, events=(replace(event, actions=(action,)),))
    found = first_difference(replace(replay, header=replace(replay.header, scenario=altered)), "x")
    tick = round(time_s / CONFIG.tick_s)
    assert found is not None and (found.tick, found.decision) == (tick, tick // 4)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_minute_with_32_actors_and_traces_is_small(tmp_path: Path) -> None:
    replay = without_images(long_replay())
    assert len(replay.columns["tick_hash"]) == 600 and replay.columns["tokens"].shape == (150, 16)
    assert write_replay(tmp_path / "long.replay", replay).stat().st_size < 300_000


def test_files_of_version_1_are_read_and_verified(replays: list[Replay], tmp_path: Path) -> None:
    replay = replays[0]
    new = ("latency_s", "tick_hash", "ttc_s", "gap_m", "event_s")
    columns = {n: c for n, c in replay.columns.items() if n not in new}
    header = replace(replay.header, schema_version=1, scenario_hash="")
    file = write_replay(tmp_path / "old.replay", Replay(header, columns))
    assert set(read_replay(file).columns) == set(columns)
    assert verify_all([file])[0].problem is None
    columns["actions"] = columns["actions"] + np.float32(0.01)
    found = verify_all([write_replay(file, Replay(header, columns))])[0].difference
    assert found is not None and (found.decision, found.tick) == (0, None)
    with pytest.raises(RequestError, match="event_s: missing column"):
        read_replay(write_replay(file, Replay(replay.header, columns)))


@pytest.mark.parametrize("batch", [0, -3, 100_000])
def test_batches_of_no_sense_are_refused(files: list[Path], batch: int) -> None:
    with pytest.raises(RequestError, match="batch: expected 1 to 1024 worlds"):
        verify_all(files, batch)
