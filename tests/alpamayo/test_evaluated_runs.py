"""Evaluations read back: nothing drops out, hostile reports, comparison of two, leaderboards."""

from __future__ import annotations

import csv
import io
import json
import random
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from alpamayo.cli.main import main
from alpamayo.evaluation.compare import compare, summarise
from alpamayo.evaluation.compare_runs import RunPair, compare_runs
from alpamayo.evaluation.coverage import MISSING, coverage
from alpamayo.evaluation.leaderboard import leaderboard
from alpamayo.evaluation.leaderboard_page import format_leaderboard, leaderboard_csv, render
from alpamayo.evaluation.runs import find_runs, load_run
from alpamayo.types import EpisodeResult, RequestError
from tests.alpamayo.evaluated import row, rows, run_folder


def edit(folder: Path, change: Any) -> None:
    file = folder / "report.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


# ---- coverage ----
def test_an_episode_that_a_report_lacks_is_put_back_as_a_failure(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", rows(10, (0, 1)))
    edit(folder, lambda d: d["episodes"]["before"].pop(4))
    results = load_run(folder).results
    assert len(results) == 10 and [r.seed for r in results] == list(range(10))
    assert results[4].end == "failed" and results[4].error == MISSING
    seen = coverage("a", results)
    assert (seen.expected, seen.ran, seen.failed, seen.missing) == (10, 9, 0, 1)
    assert not seen.complete
    assert summarise(results, resamples=50).row("failure").before.value == pytest.approx(0.3)


def test_episodes_that_failed_to_run_are_counted_with_their_errors() -> None:
    results = [row(0), row(1, "failed"), row(2, "failed", error="OSError: x"), row(3, "failed")]
    seen = coverage("p", results)
    assert (seen.expected, seen.ran, seen.failed, seen.missing) == (4, 1, 3, 0)
    assert seen.errors == ((2, "it raised"), (1, "OSError: x"))


def test_failing_to_run_looks_good_nowhere() -> None:
    """In every metric that has a better side, failed episodes are no better than good ones."""
    good = [row(n, decode_rounds=2.0) for n in range(6)]
    worse = [*good[:3], *(row(n, "failed") for n in range(3, 6))]
    before, after = (summarise(r, resamples=50) for r in (good, worse))
    for ours in after.rows:
        theirs = before.row(ours.name)
        if ours.episodes == theirs.episodes == 0:
            continue
        sign = 1 if ours.better == "higher" else -1
        assert sign * ours.before.value <= sign * theirs.before.value + 1e-12, ours.name
    assert after.row("failed_to_run").before.value == 0.5
    assert after.row("failure").before.value == 0.5
    assert (
        after.row("at_fault").episodes == after.row("mean_speed").episodes == 3
    )  # and says of how many


# ---- two policies ----
def test_regressions_and_fixes_are_named_and_tests_corrected() -> None:
    result = compare(rows(40, range(20)), rows(40, (18, 19, 20)), resamples=200)
    assert result.regressions == (("fake", 20),) and len(result.fixes) == 18
    failure = result.row("failure")
    # 18 against 1 of 19: 2 * (1 + 19) / 2^19
    assert failure.p_value == pytest.approx(40 / 2**19) and failure.p_adjusted == failure.p_value
    at_fault = result.row("at_fault")
    tested = sum(r.p_value is not None for r in result.rows) - 1
    assert at_fault.p_value == failure.p_value
    assert at_fault.p_adjusted is not None and at_fault.p_adjusted > at_fault.p_value
    assert at_fault.p_adjusted <= tested * at_fault.p_value
    assert result.families[0].p_value == failure.p_value


def test_groups_have_intervals_and_adjusted_p_values() -> None:
    before = [row(n, "collision", family=f"f{n % 3}") for n in range(30)]
    after = [
        row(n, "timeout" if n % 3 == 0 else "collision", family=f"f{n % 3}") for n in range(30)
    ]
    result = compare(before, after, tags={"fake": ("a", "b")}, resamples=50)
    first = result.families[0]
    assert (first.failures_before, first.failures_after) == (10, 0)
    assert first.p_value == pytest.approx(2 / 2**10)
    assert first.p_adjusted == pytest.approx(6 / 2**10)  # three families
    assert [t.family for t in result.tags] == ["a", "b"] and result.tags[0].episodes == 30


def test_distance_between_incidents_by_hand() -> None:
    """20 episodes of 100 m, 4 at fault, 1 hit by somebody else."""
    results = [*rows(19, range(4)), row(19, "collision", at_fault=False)]
    table = summarise(results, resamples=500)
    assert table.row("km_between_failures").before.value == pytest.approx(2.0 / 4)
    incidents = table.row("km_between_incidents").before
    assert incidents.value == pytest.approx(2.0 / 5) and incidents.low < 0.4 < incidents.high
    safe = summarise(rows(20, ()), resamples=500).row("km_between_failures").before
    assert safe.value == float("inf") and 0.3 < safe.low < 2.0


def test_two_runs_are_compared_on_what_they_share(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", rows(12, range(6)), name="old")
    b = run_folder(tmp_path / "b", rows(10, (9,)), name="new")
    pair = RunPair.prepare(str(a), str(b), ["regressions > 3"])
    out = compare_runs(pair, tmp_path / "out")
    assert out.comparison.episodes == 10 and out.comparison.before_name == "old"
    assert out.comparison.regressions == (("fake", 9),)
    assert len(out.notes) == 2 and "2 of the 12 episodes" in out.notes[1]
    page = out.files.html.read_text()
    assert "2 of the 12 episodes" in page and "passes" in page
    again = load_run(tmp_path / "out")
    assert [r.seed for r in again.results] == list(range(10)) and again.name == "new"


def test_a_missing_row_counts_against_the_run_that_lacks_it(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", rows(8, ()), name="old")
    b = run_folder(tmp_path / "b", rows(8, ()), name="new")
    edit(b, lambda d: d["episodes"]["before"].pop())
    result = compare_runs(RunPair.prepare(str(a), str(b)), tmp_path / "out").comparison
    assert result.episodes == 8 and result.failed_after == 1
    assert result.regressions == (("fake", 7),)


def test_links_lead_from_the_comparison_to_both_runs(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "x" / "a", rows(4, (0,)), name="p")
    b = run_folder(tmp_path / "x" / "b", rows(4, (1,)), name="p")
    for folder in (a, b):
        (folder / "replays").mkdir()
        (folder / "replays" / "fake-0.html").write_text("x")
        links = [["view", "replays/fake-0.html"], ["view", "../../../etc/passwd"]]
        edit(folder, lambda d, links=links: d.update(
            replays=[{"scenario_id": "fake", "seed": 0, "links": links}]
        ))  # fmt: skip
    pair = RunPair.prepare(str(a), str(b))
    assert pair.names == ("p (A)", "p (B)")
    page = compare_runs(pair, tmp_path / "out").files.html.read_text()
    assert "href='../x/a/replays/fake-0.html'" in page and "href='../x/b/" in page
    assert "passwd" not in page


def test_settings_that_differ_are_said(tmp_path: Path) -> None:
    slow, fast = {"latency_s": 0.3, "tick_s": 0.1}, {"latency_s": 0.1, "tick_s": 0.1}
    a = run_folder(tmp_path / "a", rows(4, ()), name="p", sim=slow, decode={"mode": "ar"})
    b = run_folder(tmp_path / "b", rows(4, ()), name="q", sim=fast, decode={}, batch=9)
    out = compare_runs(RunPair.prepare(str(a), str(b)), tmp_path / "out")
    assert out.notes[-1] == "Settings that differ: sim.latency_s: 0.3 / 0.1."
    board = leaderboard([a, b], resamples=20)
    assert board.boards[0].differ == ("sim.latency_s: 0.3 / 0.1",)
    assert "sim.latency_s: 0.3 / 0.1" in render(board, tmp_path)


def test_a_scenario_that_changed_between_two_runs_is_said(tmp_path: Path) -> None:
    old = [row(n, parameters={"gap_m": 9.0 + n}) for n in range(4)]
    new = [row(n, parameters={"gap_m": 9.0 + n + 5 * (n == 2)}) for n in range(3)]
    new.append(row(3, "failed", parameters={}))
    a, b = run_folder(tmp_path / "a", old), run_folder(tmp_path / "b", new)
    notes = compare_runs(RunPair.prepare(str(a), str(b)), tmp_path / "out").notes
    assert notes[-1].startswith("1 episodes have other parameters") and "fake" in notes[-1]


def test_a_damaged_replay_does_not_stop_the_comparison(tmp_path: Path) -> None:
    folders = []
    for name, crashes in (("a", (0,)), ("b", ())):
        folder = run_folder(tmp_path / name, rows(3, crashes))
        (folder / "replays").mkdir()
        (folder / "replays" / "fake-0.replay").write_bytes(b"PK\x03\x04 no replay")
        link = {"scenario_id": "fake", "seed": 0, "links": [["file", "replays/fake-0.replay"]]}
        edit(folder, lambda d, link=link: d.update(replays=[link]))
        folders.append(str(folder))
    out = compare_runs(RunPair.prepare(*folders), tmp_path / "out")
    assert any("Not shown side by side" in note and "fake-0.replay" in note for note in out.notes)
    assert out.comparison.fixes == (("fake", 0),)


def test_runs_without_a_common_episode_are_not_compared(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", rows(3, ()))
    b = run_folder(tmp_path / "b", [row(n) for n in range(5, 8)])
    with pytest.raises(RequestError, match="found none"):
        RunPair.prepare(str(a), str(b))


# ---- files of other versions, damaged and hostile ones ----
def test_a_report_of_the_first_schema_is_read(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", rows(4, (0,)))
    plain = {f.name for f in fields(EpisodeResult)}

    def older(document: dict[str, Any]) -> None:
        document["schema_version"] = 1
        for name in ("expected", "tags", "coverage", "gates", "notes"):
            del document[name]
        for episode in document["episodes"]["before"]:
            for name in set(episode) - plain:
                del episode[name]

    edit(folder, older)
    run = load_run(folder)
    assert len(run.results) == 4
    table = summarise(run.results, resamples=50)
    assert table.row("failure").before.value == 0.25
    assert table.row("extended_score").episodes == 0  # its columns were not there yet
    assert table.row("km_between_failures").before.value != table.row("failure").before.value


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": 3}, "schema_version: expected 1 or 2"),
        ({"expected": [["fake"]]}, "expected: expected a list of [scenario id, seed]"),
        ({"expected": {"a": 1}}, "expected: expected a list"),
        ({"replays": [{"seed": 1}]}, "replays: expected scenario_id, seed and links"),
        ({"episodes": {"before": []}}, "episodes: expected at least one"),
        ({"episodes": {"before": [{"hit_side": 3}]}}, "episodes.before[0]"),
    ],
)
def test_a_damaged_report_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, Any], expected: str
) -> None:
    folder = run_folder(tmp_path / "a", rows(3, ()))
    edit(folder, lambda d: d.update(change))
    with pytest.raises(RequestError) as error:
        load_run(folder)
    assert expected in str(error.value) and str(folder) in str(error.value)


def test_a_mutated_report_is_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", rows(3, (0,)), suite="s")
    file = folder / "report.json"
    good = bytearray(json.dumps(json.loads(file.read_text())), "utf-8")
    rng = random.Random(5)
    words = [b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b"[[[", b"9" * 400]
    refused = 0
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[at : at + rng.randint(0, 6)] = rng.choice(words)
            else:
                data[at] = rng.randrange(256)
        file.write_bytes(bytes(data))
        try:
            run = load_run(folder)
            summarise(run.results, expert=run.expert or None, tags=run.tags, resamples=5)
        except RequestError as error:
            refused += 1
            assert str(folder) in str(error) and len(str(error).splitlines()) == 1
    assert 500 < refused < 1500


def test_a_run_without_a_report_says_what_became_of_it(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"kind": "eval", "status": "interrupted"}')
    with pytest.raises(RequestError, match="no report; the run is interrupted"):
        load_run(tmp_path)
    with pytest.raises(RequestError, match="expected the run directory of an evaluation"):
        load_run(tmp_path / "nowhere")


# ---- leaderboards ----
@pytest.fixture
def three_runs(tmp_path: Path) -> Path:
    """Good, equally good, bad; one on other episodes; one that was interrupted; no run at all."""
    root = tmp_path / "runs"
    run_folder(root / "good", rows(30, (0,)), name="good")
    run_folder(root / "as_good", rows(30, (1,)), name="as good")
    run_folder(root / "bad", rows(30, range(25)), name="bad")
    run_folder(root / "elsewhere", [row(n) for n in range(100, 105)], name="elsewhere")
    (root / "cut").mkdir()
    (root / "cut" / "status.json").write_text('{"kind": "eval", "status": "interrupted"}')
    (root / "notes").mkdir()
    return root


def test_runs_are_ranked_on_the_same_episodes_and_tested(three_runs: Path) -> None:
    board = leaderboard(find_runs([three_runs]), sort="failure", resamples=300)
    first, other, broken = board.boards
    assert {s.policy for s in first.standings[:2]} == {"good", "as good"}
    assert [s.rank for s in first.standings] == [1, 1, 3]
    assert first.standings[1].like_first and not first.standings[2].like_first
    # 24 (or 25) against 1 or none, of two tests
    assert first.standings[2].p_value is not None and first.standings[2].p_value < 1e-5
    assert first.standings[0].p_value is None
    assert [s.policy for s in other.standings] == ["elsewhere"] and other.episodes == 5
    assert "interrupted" in broken.standings[0].problem and first.digest != other.digest


def test_the_sort_follows_the_better_side(three_runs: Path) -> None:
    board = leaderboard([three_runs / "bad", three_runs / "good"], sort="progress", resamples=50)
    assert {s.rank for s in board.boards[0].standings} == {1}  # the same progress
    board = leaderboard([three_runs / "bad", three_runs / "good"], resamples=50)
    assert [s.policy for s in board.boards[0].standings] == ["good", "bad"]
    with pytest.raises(RequestError, match="--sort speed: expected one of failure"):
        leaderboard([], sort="speed")


def test_a_leaderboard_as_text_csv_and_page(three_runs: Path, tmp_path: Path) -> None:
    board = leaderboard(find_runs([three_runs]), resamples=50)
    text = format_leaderboard(board)
    assert "heldout, 30 episodes" in text and "the run is interrupted" in text
    lines = list(csv.DictReader(io.StringIO(leaderboard_csv(board))))
    assert len(lines) == 5 and {line["policy"] for line in lines} >= {"good", "bad", ""}
    assert lines[0]["failure"] and lines[0]["ran"] == "30"
    page = render(board, tmp_path)
    assert "href='runs/bad/report.html'" in page and "the run is interrupted" in page
    json.dumps(board.as_dict(), allow_nan=False)


def test_the_command_ranks_and_refuses(three_runs: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "board"
    assert main(["leaderboard", str(three_runs), "--out", str(out), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["boards"]) == 3
    assert sorted(p.name for p in out.iterdir()) == [
        "leaderboard.csv", "leaderboard.html", "leaderboard.json",
    ]  # fmt: skip
    for words, expected in (
        ([str(three_runs / "notes")], "expected the run directory of an evaluation"),
        ([str(tmp_path / "nowhere")], "no such run directory"),
        ([str(three_runs), "--sort", "x"], "--sort x: expected one of"),
    ):
        assert main(["leaderboard", *words]) == 2
        assert expected in capsys.readouterr().err


# ---- the command: compare and gates ----
def test_eval_compares_two_runs_and_gates_decide_the_exit_code(tmp_path: Path, capsys: Any) -> None:
    a = str(run_folder(tmp_path / "a", rows(10, range(5)), name="old"))
    b = str(run_folder(tmp_path / "b", rows(10, (0, 9)), name="new"))
    words = ["eval", "--compare", a, b, "--out", str(tmp_path / "out")]
    assert main([*words, "--fail-if", "regressions > 1"]) == 0
    out = capsys.readouterr().out
    assert "4 better" in out and "gates passed: regressions is 1" in out
    assert main([*words, "--fail-if", "regressions > 0", "--fail-if", "failure > 90%"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "alpamayo eval: fail if regressions > 0: regressions is 1\n"
    assert main([*words, "--json", "--fail-if", "failure.change > -5%"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["gates"] == [
        {"fail_if": "failure.change > -5%", "failed": False, "reason": "failure.change is -0.3"}
    ]
    assert document["comparison"]["regressions"] == [["fake", 9]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--fail-if", "failre > 1"], "did you mean failure"),
        (["--policy", "idle"], "expected it without --policy"),
        (["sim.tick_s=0.1"], "expected it without sim.tick_s=0.1"),
        (["--expert-reference"], "expected it without --expert-reference"),
    ],
)
def test_a_wrong_comparison_leaves_nothing_behind(
    tmp_path: Path, capsys: Any, words: list[str], expected: str
) -> None:
    a = str(run_folder(tmp_path / "a", rows(3, ())))
    out = tmp_path / "out"
    assert main(["eval", *words, "--compare", a, a, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert expected in error and len(error.splitlines()) == 1 and not out.exists()
