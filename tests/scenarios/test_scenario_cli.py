"""``alpamayo scenario``: exit codes, JSON documents, starter file, schema file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alpamayo.cli.main import main
from scenarios.catalog import LIBRARY, SUITES


def _json(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    return json.loads(capsys.readouterr().out)


def test_the_library_and_the_suites_lint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "lint", str(LIBRARY), str(SUITES), "cut_in", "--json"]) == 0
    result = _json(capsys)
    assert result["problems"] == [] and result["files"] >= 20


def test_lint_reports_all_files_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"id: {name}\nfoo: 1\n")
    assert main(["scenario", "lint", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "one.yaml:2:1: foo: unknown key" in out and "two.yaml:2:1: foo: unknown key" in out


@pytest.mark.parametrize(
    "words",
    [
        ["lint", "nowhere.yaml"],
        ["show", "cut_inn"],
        ["sample", "cut_in", "-n", "0"],
        ["new", "Bad-Name"],
        ["new", "cut_in"],
        ["show", "cut_in", "--png", "board.jpg"],
        ["show", "cut_in", "--html", "page.txt"],
        ["show", "cut_in", "--policy", "nobody"],
        ["sample", "cut_in", "--png", "draws.gif"],
        ["new", "mine", "--from", "cut_inn"],
        ["search", "cut_in", "--split", "later"],
        ["search", "cut_in", "--out", "worst.yaml"],
        ["search", "cut_in", "--policy", "nobody"],
        ["search", "cut_in", "-n", "0"],
        ["coverage", "nowhere"],
        ["play", "cut_in", "--policy", "nobody"],
        ["schema", "--write", "/nonexistent/x.json"],
    ],
)
def test_wrong_requests_exit_2_with_one_line(
    words: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scenario", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_new_writes_a_file_that_lints_shows_and_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scenario", "new", "my_danger"]) == 0
    assert main(["scenario", "lint", "my_danger.yaml"]) == 0
    assert main(["scenario", "new", "my_danger"]) == 2
    capsys.readouterr()
    assert main(["scenario", "sample", "my_danger.yaml", "-n", "3", "--json"]) == 0
    drawn = _json(capsys)
    assert [d["seed"] for d in drawn] == [0, 1, 2] and drawn[0]["actors"][0]["id"] == "lead"


def test_list_and_show_print_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "list", "--json"]) == 0
    listed = _json(capsys)
    assert {"cut_in", "cruise_curve"} <= {s["id"] for s in listed["scenarios"]}
    assert {"train", "heldout"} <= {s["id"] for s in listed["suites"]}
    assert main(["scenario", "show", "cut_in", "--json"]) == 0
    assert _json(capsys)["sample"]["id"] == "cut_in"
    assert main(["scenario", "show", "cut_in", "--summary"]) == 0
    assert "closing_mps" in capsys.readouterr().out


def test_the_shipped_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "schema", "--check"]) == 0


def test_an_outdated_schema_exits_1(monkeypatch: pytest.MonkeyPatch) -> None:
    import scenarios.schema

    monkeypatch.setattr(scenarios.schema, "json_schema", lambda: {"title": "other"})
    assert main(["scenario", "schema", "--check"]) == 1


def test_play_tells_how_each_seed_ended(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "play", "cut_in", "--policy", "idle", "-n", "2", "--json"]) == 0
    results = _json(capsys)
    assert [(r["seed"], r["end"], r["collision_actor"]) for r in results] == [
        (0, "collision", "cutter"),
        (1, "collision", "cutter"),
    ]
    assert main(["scenario", "play", "cut_in", "-n", "1"]) == 0
    assert "timeout" in capsys.readouterr().out


def test_show_writes_a_storyboard_and_a_page_here_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["scenario", "show", "left_turn_across_path", "--seed", "3"]) == 0
    assert "driven by constant_speed" in capsys.readouterr().out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"left_turn_across_path-3.png", "left_turn_across_path-3.html"}
    assert (
        main(["scenario", "show", "cut_in", "--policy", "expert", "--png", "b.png", "--json"]) == 0
    )
    told = _json(capsys)
    assert (told["png"], told["html"], told["policy"]) == ("b.png", None, "expert")
    assert main(["scenario", "show", "cut_in", "--summary"]) == 0
    assert main(["scenario", "show", "cut_in", "--json"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == names | {"b.png"}


def test_sample_writes_a_contact_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "draws.png"
    words = ["scenario", "sample", "cut_in", "--png", str(out)]
    assert main([*words, "-n", "2"]) == 0 and out.stat().st_size > 10_000
    assert "driven by constant_speed" in capsys.readouterr().out
    assert main([*words, "-n", "65"]) == 2
    assert "at most 64 draws" in capsys.readouterr().err


@pytest.mark.parametrize("base", ["cut_in", "cut_in_nominal", "occluded_pedestrian", "roundabout"])
def test_new_begins_from_any_scenario_of_the_library(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scenarios.load import load_document

    monkeypatch.chdir(tmp_path)
    assert main(["scenario", "new", "mine", "--from", base]) == 0
    mine, theirs = load_document("mine.yaml"), load_document(base)
    assert mine.id == "mine" and mine.parameters == theirs.parameters
    assert (mine.road, mine.ego, mine.actors) == (theirs.road, theirs.ego, theirs.actors)
    text = Path("mine.yaml").read_text()
    assert f"copy of the library's {base}" in text
    assert theirs.extends or "# Drawn anew for every seed" in text
