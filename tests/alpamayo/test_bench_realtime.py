"""`alpamayo bench realtime` and the latency profiles that the simulator replays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alpamayo.bench_realtime import Faults, FaultyPolicy, summary
from alpamayo.cli import main as cli
from alpamayo.latency_profile import read_profile, write_profile
from alpamayo.types import PlanBatch, RequestError
from policies.plan_board import CYCLE, TICK
from policies.plan_keeper import RealtimeConfig, plan_problem
from policies.realtime import Record
from sim.latency import latency_ticks
from tests.policies.test_realtime import SPEC, observe


class Constant:
    needs_privileged, name = False, "constant"

    def plan(self, observation, **options) -> PlanBatch:
        return PlanBatch(np.ones((1, 4)), np.zeros((1, 4)))


def test_faults_come_in_their_shares_and_are_what_they_say() -> None:
    config, seen = RealtimeConfig(), {"RuntimeError": 0, "finite": 0, "curvatures": 0}
    policy = FaultyPolicy(Constant(), Faults(stall_s=0.0, raise_=0.1, nan=0.1, out_of_range=0.1))
    for _ in range(500):
        try:
            plan = policy.plan(observe(np.zeros(4)))
        except RuntimeError:
            seen["RuntimeError"] += 1
            continue
        problem = plan_problem(plan.as_actions()[0], SPEC, config)
        for name in seen:
            seen[name] += name in problem
    injected = policy.injected
    assert list(seen.values()) == [injected[n] for n in ("raise_", "nan", "out_of_range")]
    for name in ("raise_", "nan", "out_of_range"):
        assert 30 <= injected[name] <= 70  # 50 expected, standard deviation 6.7
    assert 2 <= injected["stall"] <= 25


def test_the_summary_counts_what_the_log_says() -> None:
    ticks = np.zeros(5, TICK)
    ticks["due_s"] = [0.0, 0.01, 0.02, 0.04, 0.05]
    ticks["begun_s"] = ticks["due_s"] + 0.001
    ticks["ended_s"] = ticks["due_s"] + [0.002, 0.002, 0.002, 0.002, 0.012]
    ticks["source"] = [2, 0, 1, 2, 2]
    ticks["accel_mps2"] = [0.0, np.nan, 4.1, -8.0, 4.0]
    cycles = np.zeros(3, CYCLE)
    cycles["outcome"], cycles["ended_s"] = [0, 1, 2], [0.03, 9.0, 9.0]
    record = Record(ticks, cycles, {"x": 1}, 3, 2, "thread", False)
    told = summary(record, RealtimeConfig())
    assert (told["ticks"], told["skipped_ticks"], told["invalid_ticks"]) == (5, 1, 2)
    assert told["source"] == {"plan": 1, "remainder": 1, "stop": 3} and told["stops"] == 2
    assert told["tick_ms"]["p50"] == pytest.approx(2.0)
    assert told["tick_ms"]["max"] == pytest.approx(12.0)
    assert told["cycles"] == {"plan": 1, "raised": 1, "invalid": 1}
    assert told["plan_ms"]["max"] == pytest.approx(30.0)


def test_a_profile_reads_back_and_the_simulator_draws_from_it(tmp_path: Path) -> None:
    from sim.config import SimConfig

    write_profile(tmp_path / "p.json", [0.02, 0.31], {"policy": "x"})
    samples = read_profile(tmp_path / "p.json")
    assert samples == (0.02, 0.31)
    config = SimConfig(latency_samples_s=samples)
    seeds = np.arange(64)
    ticks = latency_ticks(config, seeds, seeds * 0, [()] * 64, seeds * 0.0)
    assert set(ticks.tolist()) == {1, 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected a latency profile"),
        ("[]", "latency_profile: expected version 1"),
        ('{"latency_profile": 1, "samples_s": []}', "samples_s: expected 1 to"),
        ('{"latency_profile": 1, "samples_s": [0.1, -1]}', r"samples_s\[1\]: expected seconds"),
        ('{"latency_profile": 1, "samples_s": [true]}', r"samples_s\[0\]: expected seconds"),
        ('{"latency_profile": 1, "samples_s": [NaN]}', r"samples_s\[0\]: expected seconds"),
    ],
)
def test_a_broken_profile_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "p.json"
    file.write_text(text)
    with pytest.raises(RequestError, match=message):
        read_profile(file)
    with pytest.raises(RequestError, match="expected a latency profile"):
        read_profile(tmp_path)
    with pytest.raises(RequestError, match="expected a writable file"):
        write_profile(tmp_path / "no" / "p.json", [0.1], {})


@pytest.mark.slow
def test_bench_realtime_tells_and_records(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    profile = tmp_path / "p.json"
    words = ["bench", "realtime", "--policy", "idle", "--seconds", "1", "--json", "--faults"]
    assert cli.main([*words, "--latency-profile", str(profile)]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["invalid_ticks"] == 0 and 60 <= result["ticks"] <= 111
    assert len(read_profile(profile)) == result["cycles"]["plan"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["realtime", "--policy", "expert"], "expected one that drives by observations"),
        (["realtime", "--policy", "idle", "--planner-hz", "0"], "--planner-hz 0: expected"),
        (["realtime", "--policy", "idle", "--deadline-ms", "0"], "realtime.deadline_s: expected"),
        (["loop", "--policy", "idle", "--latency-profile", "x"], "--latency-profile: expected"),
    ],
)
def test_wrong_words_of_bench_realtime_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", *words]) == 2
    assert message in capsys.readouterr().err


def test_eval_refuses_a_profile_that_is_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["eval", "--policy", "idle", "--out", str(tmp_path / "runs")]
    assert cli.main([*words, "--latency-profile", str(tmp_path)]) == 2
    assert "expected a latency profile" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
