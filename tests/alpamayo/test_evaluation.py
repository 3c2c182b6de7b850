"""Running episodes: order, refilling, failures as rows, any number of processes."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alpamayo.evaluation import parallel, runner
from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.judged import plain_result
from alpamayo.types import DecodeTrace, EpisodeResult, PlanBatch, RequestError, Scenario
from sim.config import SimConfig
from tests.alpamayo.fake_world import FakeWorld, NoisyPolicy, fake_reward_terms, scenario

CONFIG = SimConfig(rig=None)


@pytest.fixture
def fake_sim(monkeypatch: pytest.MonkeyPatch) -> type[FakeWorld]:
    monkeypatch.setitem(
        sys.modules, "sim.world", SimpleNamespace(WorldBatch=FakeWorld, HISTORY_GAP_S=0.1)
    )
    monkeypatch.setattr(runner, "_reward_terms", lambda s, c: fake_reward_terms(s, c.reward))
    FakeWorld.batches.clear()
    return FakeWorld


def _scenarios(count: int) -> list[Scenario]:
    return [scenario(n, decisions=2 + n * 7 % 5) for n in range(count)]


def test_results_come_in_the_order_of_the_scenarios(fake_sim: Any) -> None:
    results = run_episodes(NoisyPolicy(), _scenarios(23), CONFIG, batch=4)
    assert [r.seed for r in results] == list(range(23))
    assert [r.decisions for r in results] == [2 + n * 7 % 5 for n in range(23)]
    assert all(r.end == "timeout" and r.route_m == 100.0 and r.state_hash for r in results)


def test_results_do_not_depend_on_the_batch(fake_sim: Any) -> None:
    alone, together = (run_episodes(NoisyPolicy(), _scenarios(17), CONFIG, batch=b) for b in (1, 6))
    for a, b in zip(alone, together, strict=True):
        assert replace(a, plan_ms=0.0) == replace(b, plan_ms=0.0)


def test_slots_are_refilled_so_that_decoding_stays_on_full_batches(fake_sim: Any) -> None:
    run_episodes(NoisyPolicy(), _scenarios(40), CONFIG, batch=8)
    decisions = sum(2 + n * 7 % 5 for n in range(40))
    assert sum(fake_sim.batches) == decisions
    full = [n for n in fake_sim.batches if n == 8]
    assert len(full) >= decisions // 8 - 4
    assert fake_sim.batches[: len(full)] == full  # only the tail runs short


def test_the_seed_changes_the_noise_and_nothing_else(fake_sim: Any) -> None:
    a, b, c = (run_episodes(NoisyPolicy(), _scenarios(3), CONFIG, seed=s) for s in (0, 1, 1))
    assert [r.progress_m for r in a] != [r.progress_m for r in b]
    assert [r.progress_m for r in b] == [r.progress_m for r in c]


def test_a_scenario_that_cannot_be_loaded_becomes_a_row(fake_sim: Any) -> None:
    scenarios = _scenarios(12)
    for n in (0, 3, 9, 11):  # in the first batch and while refilling, the last one too
        scenarios[n] = scenario(n, bad_load=True)
    results = run_episodes(NoisyPolicy(), scenarios, CONFIG, batch=4, weights_version=5)
    failed = {r.seed: r for r in results if r.end == "failed"}
    assert sorted(failed) == [0, 3, 9, 11] and len(results) == 12
    assert failed[9].error == "ValueError: cannot load seed 9" and failed[9].weights_version == 5


def test_if_no_scenario_can_be_loaded_all_are_rows(fake_sim: Any) -> None:
    results = run_episodes(
        NoisyPolicy(), [scenario(n, bad_load=True) for n in range(5)], CONFIG, batch=2
    )
    assert [r.end for r in results] == ["failed"] * 5


def test_a_world_that_raises_fails_alone_and_its_batch_goes_on(fake_sim: Any) -> None:
    healthy = run_episodes(NoisyPolicy(), _scenarios(12), CONFIG, batch=4)
    scenarios = _scenarios(12)
    scenarios[2] = scenario(2, decisions=6, bad_step=1)
    scenarios[7] = scenario(7, decisions=6, bad_step=0)
    seen: list[tuple[int, int]] = []
    results = run_episodes(
        NoisyPolicy(), scenarios, CONFIG, batch=4, progress=lambda d, t: seen.append((d, t))
    )
    assert [n for n, r in enumerate(results) if r.end == "failed"] == [2, 7]
    assert "seed 2 blew up" in results[2].error
    for n in set(range(12)) - {2, 7}:
        assert results[n].progress_m == healthy[n].progress_m
    assert seen[-1] == (12, 12)


def test_a_policy_that_answers_with_nan_makes_failed_rows(fake_sim: Any) -> None:
    class Broken(NoisyPolicy):
        def plan(self, observation: Any, *, noise_keys: Any, privileged: Any = None) -> PlanBatch:
            values = np.full((len(observation), 8), np.nan, np.float32)
            return PlanBatch(values, values)

    results = run_episodes(Broken(), _scenarios(3), CONFIG)
    assert [r.end for r in results] == ["failed"] * 3 and "not finite" in results[0].error


def test_a_wrong_request_is_not_swallowed(fake_sim: Any) -> None:
    class Refusing(NoisyPolicy):
        def plan(self, observation: Any, *, noise_keys: Any, privileged: Any = None) -> PlanBatch:
            raise RequestError("no")

    with pytest.raises(RequestError):
        run_episodes(Refusing(), _scenarios(2), CONFIG)


def test_errors_of_a_callback_are_the_callers(fake_sim: Any) -> None:
    def full_disk(index: int, log: EpisodeLog) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_episodes(NoisyPolicy(), _scenarios(3), CONFIG, on_replay=full_disk)


def test_logs_hold_what_was_driven_and_how_it_was_decoded(fake_sim: Any) -> None:
    class Tracing(NoisyPolicy):
        def plan(self, observation: Any, *, noise_keys: Any, privileged: Any = None) -> PlanBatch:
            plan = super().plan(observation, noise_keys=noise_keys)
            count = len(observation)
            tokens = np.tile((observation.speed_mps[:, None] * 100).astype(np.int32), (1, 16))
            commit = np.tile(np.arange(16) // 8, (count, 1)).astype(np.int8)
            trace = DecodeTrace(
                tokens, commit, np.full((count, 16), -0.5, np.float32), np.full(count, 2, np.int8)
            )
            return PlanBatch(
                plan.accel_mps2, plan.curvature_per_m, trace, np.full(count, 7.0, np.float32)
            )

    logs: dict[int, EpisodeLog] = {}
    results = run_episodes(Tracing(), _scenarios(9), CONFIG, batch=4, on_replay=logs.__setitem__)
    assert sorted(logs) == list(range(9))
    for n, log in logs.items():
        assert log.scenario.seed == n and log.result == plain_result(results[n])
        assert results[n].decode_rounds == 2.0 and type(log.result) is EpisodeResult
        decisions = results[n].decisions
        assert (
            log.actions.shape == (decisions, 8, 2) and log.decode_ms.tolist() == [7.0] * decisions
        )
        assert log.trace is not None and log.trace.tokens.shape == (decisions, 16)
        assert log.trace.tokens[0, 0] == 100 * int(5 + n % 7)
        assert log.rewards["progress"].sum() == pytest.approx(0.1 * results[n].progress_m, rel=1e-5)
        assert results[n].plan_ms == 7.0


def test_the_privileged_view_has_the_rows_of_the_observation(fake_sim: Any) -> None:
    class Expert(NoisyPolicy):
        needs_privileged = True

        def plan(self, observation: Any, *, noise_keys: Any, privileged: Any = None) -> PlanBatch:
            assert len(privileged.rows) == len(observation) == len(noise_keys)
            return super().plan(observation, noise_keys=noise_keys)

    assert all(r.end == "timeout" for r in run_episodes(Expert(), _scenarios(9), CONFIG, batch=4))


# ---- several processes ----
def test_chunks_cover_every_episode_once_whatever_the_count() -> None:
    for count in (0, 1, 5, 31, 32, 64, 100, 300, 320, 1000):
        bounds = parallel.chunk_bounds(count, 64)
        covered = [n for start, stop in bounds for n in range(start, stop)]
        assert covered == list(range(count))
    assert len(parallel.chunk_bounds(320, 64)) == 4


def _fake_chunk(chunk: Any) -> Any:
    """Runs in a worker: the fake world, and death for the scenario that asks for it."""
    marker = chunk.scenarios[0].parameters.get("marker")
    if any(s.parameters.get("kill") for s in chunk.scenarios):
        os._exit(9)
    if marker and not os.path.exists(marker):
        with open(marker, "w") as file:
            file.write("died once")
        os._exit(9)
    sys.modules["sim.world"] = SimpleNamespace(WorldBatch=FakeWorld, HISTORY_GAP_S=0.1)  # type: ignore[assignment]
    runner._reward_terms = lambda s, c: fake_reward_terms(s, c.reward)  # type: ignore[assignment]
    logs: list[Any] = []
    results = run_episodes(
        NoisyPolicy(), chunk.scenarios, chunk.sim_config, batch=chunk.batch,
        on_replay=(lambda n, log: logs.append((n, log))) if chunk.keep_logs else None,
    )  # fmt: skip
    return results, logs


@pytest.fixture
def fake_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    # A spawned worker cannot import this test file by name, so the stand-in travels as
    # tests.alpamayo.* does.
    import tests.alpamayo.test_evaluation as importable

    monkeypatch.setattr(parallel, "_run_chunk", importable._fake_chunk)


def test_the_number_of_processes_changes_nothing(fake_chunks: None) -> None:
    scenarios = [scenario(n, decisions=2 + n % 4) for n in range(40)]
    outcomes = []
    for processes in (1, 3):
        logs: dict[int, EpisodeLog] = {}
        rows = parallel.evaluate(
            "x", scenarios, CONFIG, processes=processes, batch=8, on_replay=logs.__setitem__
        )
        assert sorted(logs) == list(range(40)) and logs[11].scenario.seed == 11
        outcomes.append([replace(r, plan_ms=0.0) for r in rows])
    assert outcomes[0] == outcomes[1] and [r.seed for r in outcomes[0]] == list(range(40))


def test_a_dead_worker_costs_its_own_chunk_only(fake_chunks: None, tmp_path: Any) -> None:
    scenarios = [scenario(n) for n in range(64)]
    scenarios[50] = scenario(50, kill=True)
    done: list[int] = []
    rows = parallel.evaluate(
        "x", scenarios, CONFIG, processes=2, batch=16, progress=lambda d, _: done.append(d)
    )
    start, stop = next(b for b in parallel.chunk_bounds(64, 16) if b[0] <= 50 < b[1])
    assert len(rows) == 64 and done[-1] == 64
    assert [r.end == "failed" for r in rows] == [start <= n < stop for n in range(64)]
    assert "worker process died" in rows[50].error


def test_a_worker_that_dies_once_is_tried_again(fake_chunks: None, tmp_path: Any) -> None:
    scenarios = [scenario(n, marker=str(tmp_path / "died")) for n in range(4)]
    rows = parallel.evaluate("x", scenarios, CONFIG, processes=1)
    assert [r.end for r in rows] == ["timeout"] * 4


def test_no_process_at_all_is_refused() -> None:
    with pytest.raises(RequestError, match="processes"):
        parallel.evaluate("idle", [], CONFIG, processes=0)


# ---- the real simulator, by command line ----
def _alpamayo(*words: str) -> int:
    from alpamayo.cli.main import main

    return main(list(words))


@pytest.fixture(scope="module")
def idle_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation of 12 held-out episodes, with two replays."""
    root = tmp_path_factory.mktemp("runs")
    words = ["--policy", "idle", "--suite", "heldout", "--episodes", "12", "--replays", "2"]
    assert _alpamayo("eval", *words, "--processes", "1", "--out", str(root)) == 0
    (run,) = root.iterdir()
    return run


def test_eval_leaves_a_run_directory_with_report_and_replays(idle_run: Path) -> None:
    names = {str(p.relative_to(idle_run)) for p in idle_run.rglob("*") if p.is_file()}
    assert {"config.yaml", "report.html", "report.json", "episodes.csv", "status.json"} <= names
    replays = [n for n in names if n.endswith(".replay")]
    assert len(replays) == 2 and {n.replace(".replay", ".html") for n in replays} <= names
    assert f"href='{sorted(replays)[0]}'" in (idle_run / "report.html").read_text()
    document = json.loads((idle_run / "report.json").read_text())
    assert document["comparison"]["metrics"]["failure"]["before"]["value"] > 0.3  # idle crashes


def test_replays_of_the_real_simulator_verify(idle_run: Path, capsys: Any) -> None:
    assert _alpamayo("replay", str(idle_run), "--verify") == 0
    assert capsys.readouterr().out.count("verified, every state the same") == 2
    assert _alpamayo("replay", str(idle_run), "--verify", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert all(r["verified"] for r in document["replays"])


def test_an_altered_replay_exits_1_and_a_damaged_one_exits_2(
    idle_run: Path, tmp_path: Path, capsys: Any
) -> None:
    from alpamayo.replay.format import read_replay, with_columns, write_replay

    replay = read_replay(next(iter(sorted(idle_run.rglob("*.replay")))))
    actions = replay.columns["actions"].copy()
    actions[3, 0, 0] -= 0.5
    altered = write_replay(tmp_path / "altered.replay", with_columns(replay, actions=actions))
    assert _alpamayo("replay", str(altered), "--verify") == 1
    assert "decision 3, tick 12 (at 1.20 s)" in capsys.readouterr().err
    altered.write_bytes(altered.read_bytes()[:1000])
    assert _alpamayo("replay", str(altered), "--verify") == 2
    error = capsys.readouterr().err
    assert str(altered) in error and len(error.splitlines()) == 1 and "Traceback" not in error


def test_a_later_evaluation_is_compared_with_a_baseline(
    idle_run: Path, tmp_path: Path, capsys: Any
) -> None:
    words = ["--policy", "expert", "--episodes", "12", "--replays", "0", "--processes", "1"]
    words += ["--out", str(tmp_path), "--baseline", str(idle_run), "--json"]
    assert _alpamayo("eval", *words) == 0
    document = json.loads(capsys.readouterr().out)
    failure = document["comparison"]["metrics"]["failure"]
    assert failure["after"]["value"] == 0.0 < failure["before"]["value"]
    assert document["comparison"]["failure_reduction"]["value"] == 1.0
    assert document["comparison"]["expert_reference"]


def test_two_runs_with_replays_are_shown_side_by_side_and_gated(
    tmp_path: Path, capsys: Any
) -> None:
    for policy, gate in (("constant_speed", "failure < 30%"), ("expert", "failure > 0")):
        words = ["--policy", policy, "--episodes", "6", "--replays", "all", "--processes", "1"]
        words += ["--out", str(tmp_path / policy), "--fail-if", gate]
        assert _alpamayo("eval", *words) == 0
        assert "gates passed" in capsys.readouterr().out
    before, after = (str(next((tmp_path / p).iterdir())) for p in ("constant_speed", "expert"))
    assert _alpamayo("eval", "--compare", before, after, "--out", str(tmp_path / "out")) == 0
    (folder,) = (tmp_path / "out").iterdir()
    document = json.loads((folder / "report.json").read_text())
    fixes = document["comparison"]["fixes"]
    assert len(fixes) >= 3 and document["comparison"]["regressions"] == []
    pages = sorted(p.name for p in (folder / "replays").iterdir())
    assert pages == sorted(f"{name}-{seed}.html" for name, seed in fixes)
    page = (folder / "report.html").read_text()
    assert page.count(">side by side</a>") == len(fixes) and ">before</a>" in page
    for target in re.findall(r"<a href='([^']+)'", page):
        assert (folder / target).is_file(), target


def test_a_gate_that_trips_leaves_the_report_and_exits_1(tmp_path: Path, capsys: Any) -> None:
    words = ["--policy", "idle", "--episodes", "4", "--replays", "failures", "--processes", "1"]
    words += ["--out", str(tmp_path), "--fail-if", "failure_rate > 1% and episodes == 4"]
    assert _alpamayo("eval", *words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "alpamayo eval: fail if failure_rate > 1% and episodes == 4: failure is" in error
    (run,) = tmp_path.iterdir()
    document = json.loads((run / "report.json").read_text())
    failures = document["comparison"]["metrics"]["failure"]["before"]["value"] * 4
    assert document["gates"][0]["tripped"] and len(document["replays"]) == round(failures)
    assert json.loads((run / "status.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["eval", "--policy", "idle", "--fail-if", "failure[cut_on] > 1"], "did you mean cut_in"),
        (["eval", "--policy", "idle", "--fail-if", "speed > 1"], "speed: unknown metric"),
        (["eval", "--policy", "idle", "--replays", "some"], "failures or all"),
        (["eval", "--policy", "no.where:Policy"], "no module no"),
        (["eval", "--policy", "nobody"], "nobody: expected"),
        (["eval", "--policy", "idle", "--suite", "heldou"], "did you mean heldout"),
        (["eval", "--policy", "idle", "--episodes", "0"], "episodes"),
        (["eval", "--policy", "idle", "--processes", "0"], "--processes 0"),
        (["eval", "--policy", "idle", "--baseline", "no/where"], "no/where"),
        (["replay", "no.replay"], "no.replay: no such file"),
        (["replay", "."], "expected replays"),
    ],
)
def test_wrong_requests_end_with_one_line_and_nothing_written(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert _alpamayo(*words) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_real_simulator_gives_the_same_results_for_any_number_of_processes() -> None:
    from scenarios.suites import load_suite

    scenarios = load_suite("heldout").draw(34)
    one, two = (parallel.evaluate("idle", scenarios, CONFIG, processes=n) for n in (1, 2))
    assert [replace(r, plan_ms=0.0) for r in one] == [replace(r, plan_ms=0.0) for r in two]
