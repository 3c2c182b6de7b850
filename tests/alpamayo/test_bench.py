"""`alpamayo bench`: the figures add up, and --json is one document."""

from __future__ import annotations

import json

import pytest

from alpamayo.bench import Timings
from alpamayo.cli import main as cli


def test_timings_know_totals_and_quantiles() -> None:
    timings = Timings({"step": [0.001, 0.003, 0.002]})
    assert timings.total("step") == pytest.approx(0.006)
    assert timings.milliseconds("step") == pytest.approx({"median_ms": 2.0, "p95_ms": 2.9})
    assert timings.call("step", lambda: 7) == 7
    assert len(timings.seconds["step"]) == 4


def bench(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    small = ["--worlds", "4", "--seconds", "0.2", "--json"]
    assert cli.main(["bench", *words, *small]) == 0
    return json.loads(capsys.readouterr().out)


def test_bench_sim_relates_its_rates(capsys: pytest.CaptureFixture[str]) -> None:
    document = bench(capsys, "sim")
    result = document["result"]
    assert result["ticks_per_s"] == pytest.approx(4 * result["env_steps_per_s"])
    assert result["agent_steps_per_s"] == pytest.approx(
        result["env_steps_per_s"] * result["actors_per_world"]
    )
    assert result["images_per_s"] > 0
    assert document["machine"]["packages"]["numpy"]


def test_bench_sim_without_a_rig_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "images_per_s" not in bench(capsys, "sim", "sim.rig=null")["result"]


def test_bench_loop_divides_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    result = bench(capsys, "loop", "--policy", "idle")["result"]
    assert sum(result["share"].values()) == pytest.approx(1.0)
    assert result["decisions_per_s"] > 0


def test_bench_policy_times_a_batch_and_a_single_observation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = bench(capsys, "policy", "--policy", "idle")["result"]
    assert set(result) == {"decode_batch_4", "decode_batch_1"}


def test_a_policy_that_is_not_there_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "loop", "--policy", "/nowhere"]) == 2
    assert "/nowhere" in capsys.readouterr().err
