"""`alpamayo bench`: the figures add up, and --json is one document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from alpamayo import bench_cases
from alpamayo.bench import Timings
from alpamayo.bench_cases import Drive, Sample, find_map, pinned, ten_hertz, traffic_scenarios
from alpamayo.bench_plot import _round_up, plot_sweeps
from alpamayo.bench_sim import Rounds, Row
from alpamayo.cli import main as cli
from alpamayo.latency_profile import read_profile
from alpamayo.types import RequestError
from sim.config import SimConfig


def test_timings_know_totals_and_quantiles() -> None:
    timings = Timings({"step": [0.001, 0.003, 0.002]})
    assert timings.total("step") == pytest.approx(0.006)
    assert timings.milliseconds("step") == pytest.approx({"median_ms": 2.0, "p95_ms": 2.9})
    assert timings.call("step", lambda: 7) == 7
    assert len(timings.seconds["step"]) == 4


class Steady:
    """A runner whose rates are known."""

    def __init__(self, name: str, rates: list[float], log: list[str]) -> None:
        self.name, self.rates, self.log = name, iter(rates), log

    def run(self, cpu_s: float) -> Sample:
        self.log.append(self.name)
        return Sample(round(next(self.rates) * cpu_s), cpu_s, 4)


def test_rounds_take_turns_and_report_medians() -> None:
    log: list[str] = []
    runners = {"a": Steady("a", [100.0, 300.0, 200.0], log), "b": Steady("b", [50.0] * 3, log)}
    rounds = Rounds(runners, 3, 2.0)
    assert "".join(log) == "ababab"
    assert rounds.per_s("a") == 200.0 and rounds.spread("a", 16) == (1600.0, 4800.0)
    assert rounds.ratio("a", "b") == 4.0
    assert rounds.resets_per_1000("b") == pytest.approx(1e3 * 12 / 300)


def test_a_row_knows_whether_its_target_is_met() -> None:
    assert Row("r", "rate", 5.0, "1/s", 4.0).met is True
    assert Row("r", "rate", 3.0, "1/s", 4.0).met is False
    assert Row("c", "cost", 3.0, "ms", 4.0, more_is_better=False).met is True
    assert Row("c", "cost", 5.0, "ms", 4.0, more_is_better=False).met is False
    assert Row("r", "rate", 5.0, "1/s").met is None
    assert Row("r", "rate", None, "1/s", 4.0, skipped="absent").met is None


@pytest.mark.parametrize("agents", [4, 16])
def test_traffic_has_as_many_agents_as_asked_for(agents: int) -> None:
    envs = Drive(traffic_scenarios(agents), 8, ten_hertz(SimConfig(), None)).envs
    present = 1 + envs.worlds.state.present.sum(axis=1)
    assert present.min() >= agents - 1 and np.median(present) == agents
    assert envs.config.decision_s == envs.config.tick_s == 0.1


def test_a_drive_counts_steps_of_worlds_and_episodes() -> None:
    short = traffic_scenarios(4)[:1]  # 4 s, 40 decisions
    sample = Drive(short, 3, ten_hertz(SimConfig(), None)).run(0.05)
    assert sample.steps % 3 == 0 and sample.cpu_s >= 0.05
    assert sample.per_s == sample.steps / sample.cpu_s
    assert sample.episodes <= sample.steps / 20


def test_too_few_agents_are_refused() -> None:
    with pytest.raises(RequestError, match="at least 2 agents"):
        traffic_scenarios(1)


def test_pinning_is_undone() -> None:
    before = os.sched_getaffinity(0)
    with pinned() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


def test_a_map_is_given_or_found_or_absent(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bench_cases.Path, "cwd", lambda: tmp_path / "deep" / "er")
    assert find_map(None) is None
    file = tmp_path / "shared" / "data" / "opendrive" / "carla" / "Town01.xodr"
    file.parent.mkdir(parents=True)
    file.touch()
    assert find_map(None) == file == find_map(str(file))
    with pytest.raises(RequestError, match="--map /nowhere"):
        find_map("/nowhere")


@pytest.mark.parametrize(
    ("value", "axis"),
    [(1.0, (1.0, 0.2)), (23.0, (25.0, 5.0)), (61.0, (80.0, 20.0)), (0.5, (0.5, 0.1))],
)
def test_axes_end_at_round_numbers(value: float, axis: tuple[float, float]) -> None:
    assert _round_up(value) == pytest.approx(axis)


def points(*at: float) -> list[dict[str, float]]:
    return [{"at": a, "us_per_env_step": 10.0 + a, "env_steps_per_s": 1e5 / a} for a in at]


def test_the_plot_is_an_svg_with_a_line_per_sweep(tmp_path: Path) -> None:
    sweeps = {"worlds": points(1, 64), "agents": points(4, 16, 64), "road_m": points(500, 8000)}
    plot_sweeps({"sweeps": sweeps}, tmp_path / "new" / "plot.svg")
    root = ElementTree.parse(tmp_path / "new" / "plot.svg").getroot()
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert [len(line.get("points", "").split()) for line in lines] == [2, 3, 2]
    for line in lines:
        places = [tuple(map(float, p.split(","))) for p in line.get("points", "").split()]
        assert all(0 < x < 330 and 0 < y < 250 for x, y in places)
        assert [x for x, _ in places] == sorted(x for x, _ in places)


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert cli.main(["bench", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_bench_sim_measures_every_case(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plot, out = tmp_path / "plot.svg", tmp_path / "bench.json"
    made = document(capsys, "sim", "--quick", "--plot", str(plot), "--out", str(out))
    assert json.loads(out.read_text()) == made and plot.is_file()
    rows = {row["name"]: row for row in made["result"]["rows"]}
    assert len(rows) == len(made["result"]["rows"])
    for name, row in rows.items():
        assert (row["value"] is None) == bool(row["skipped"]), name
    assert rows["agents_16"]["value"] == pytest.approx(16 * rows["state_16"]["value"])
    for name in ("state_16", "cameras_3", "camera_1", "cameras_4_history", "look", "reset"):
        assert rows[name]["value"] > 0.0, name
    assert 0.0 < rows["import_sim"]["value"] < rows["import_sim.env"]["value"]
    for name in ("worlds", "agents", "road_m"):
        for point in made["result"]["sweeps"][name]:
            rate = 1e6 / point["us_per_env_step"]
            assert point["env_steps_per_s"] == pytest.approx(rate)
    assert made["machine"]["packages"]["numpy"]


def test_wrong_words_are_refused_before_anything_is_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, message in (
        (["--plot", "plot.png"], "expected a name that ends in .svg"),
        (["--map", "/nowhere.xodr"], "expected an OpenDRIVE file"),
        (["--seconds", "-1"], "expected a number > 0"),
        (["--worlds", "0"], "expected a number >= 1"),
    ):
        assert cli.main(["bench", "sim", "--quick", *words]) == 2
        assert message in capsys.readouterr().err


def test_the_help_comes_at_once() -> None:
    code = (
        "import time, contextlib, io\n"
        "from alpamayo.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): main.main(['bench', '--help'])\n"
        "assert time.process_time() < 0.5, time.process_time()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SMALL = ("--worlds", "4", "--seconds", "0.2")


def test_bench_loop_divides_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    result = document(capsys, "loop", "--policy", "idle", *SMALL)["result"]
    assert sum(result["share"].values()) == pytest.approx(1.0)
    assert result["decisions_per_s"] > 0


def test_bench_policy_times_a_batch_and_a_single_observation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = document(capsys, "policy", "--policy", "idle", *SMALL)["result"]
    assert set(result) == {"decode_batch_4", "decode_batch_1"}


@pytest.mark.slow
def test_bench_policy_compares_every_way_of_decoding(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--size", "tiny", "--random-weights", "--images", "1x56x28", "--seconds", "0.1"]
    profile = tmp_path / "p.json"
    made = document(
        capsys, "policy", *words, "--batch", "1,3", "--rounds", "1,2",
        "--latency-profile", str(profile),
    )["result"]  # fmt: skip
    assert made["parameters"] == 1_049_152 and made["plan_tokens"] == 16
    assert made["bytes_per_s"] > 1e8 and made["flop_per_s"] > 1e8
    assert list(made["batches"]) == ["batch_1", "batch_3"]
    for batch in made["batches"].values():
        ways = batch["ways"]
        # 56 x 28 px are two cells: start, two pads, end; 7 more tokens, and a message's three.
        assert batch["prompt_tokens"] == 12
        assert ways["ar"]["forwards_per_plan"] == 15 and ways["ar"]["tokens_per_forward"] == 1.0
        assert ways["diffusion_1"]["tokens_per_forward"] == 16.0
        assert ways["diffusion_2"]["forwards_per_plan"] == 2.0
        # Random drafts are seldom right: each draft and each verification is a forward.
        assert 2.0 <= ways["self_speculation"]["forwards_per_plan"] <= 30.0
        for way in ways.values():
            assert way["times_floor"] == pytest.approx(way["forward_ms"] / way["floor_ms"])
            assert 0.0 < way["decode_ms"]["p50"] <= way["decode_ms"]["p99"]
            assert way["plan_ms"]["p50"] > 0.0
        assert ways["ar"]["times_faster_than_ar"] == 1.0
    assert len(read_profile(profile)) >= 1


def test_the_floor_of_a_forward_is_its_bytes_or_its_products() -> None:
    from policies.vlm.speed import Machine, floor_s, sizes
    from tests.policies.cases import toy_model

    model = toy_model()
    # Two layers: q 32 x 32, k and v 16 x 32, o 32 x 32, three of 48 x 32, two norms of 32; the last
    # norm, and ten rows of the head.
    stack = 2 * (3 * 1024 + 3 * 48 * 32 + 64) + 32
    assert sizes(model)["forward_parameters"] == stack + 10 * 32
    read = 4 * (stack + 320) + 5 * 7 * (2 * 2 * 2 * 8) * 4
    flop = 5 * 4 * (2 * (stack + 320) + 4 * 2 * 4 * 8 * 11)
    slow_memory, slow_core = Machine(1.0, 1e18), Machine(1e18, 1.0)
    assert floor_s(model, slow_memory, batch=5, tokens=4, prefix=7) == (read, "memory")
    assert floor_s(model, slow_core, batch=5, tokens=4, prefix=7) == (flop, "compute")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "tiny"], "--size: expected --random-weights"),
        (["--size", "huge", "--random-weights"], "preset 'huge': expected one of tiny"),
        (["--size", "nld-14b", "--random-weights"], "54.0 GB of weights do not fit"),
        (["--random-weights"], "--size, --random-weights: expected together"),
        (["--images", "3x448"], "--images 3x448: expected COUNTxWIDTHxHEIGHT"),
        (["--images", "1x0x28"], "--images 1x0x28: expected 1 or more images of 1..4096"),
        (["--batch", "0"], "--batch 0: expected numbers of 1 to 4096"),
        (["--rounds", "17"], "--rounds 17: expected 1 to the 16 tokens of a plan"),
        (["--size", "tiny", "--random-weights", "--device", "tpu"], "device tpu: expected cpu"),
    ],
    ids=" ".join,
)
def test_wrong_words_of_bench_policy_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bench", "policy", *words]) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_a_policy_that_is_not_there_is_a_wrong_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "loop", "--policy", "/nowhere"]) == 2
    assert "/nowhere" in capsys.readouterr().err
