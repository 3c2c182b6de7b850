"""Coverage of a run: counted by hand on a scenario of two parameters and on the library."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from alpamayo.authoring.coverage import Row, cover, read_rows
from alpamayo.authoring.coverage_page import render_page
from alpamayo.authoring.space import dimensions, quantile_of, values_at
from alpamayo.cli.main import main
from alpamayo.metrics import failed_result
from alpamayo.types import RequestError
from scenarios.catalog import list_documents
from scenarios.load import load_document, load_file
from scenarios.sample import sample

TEXT = """\
schema_version: 1
id: two
family: two
description: A car ahead.
tags: [lead, straight, night]
parameters:
  speed: {uniform: [10, 12]}
  gap: {choice: [20, 30, 20], weights: [1, 2, 1]}
  tail: {normal: {mean: 0, std: 1, min: -2, max: 2}}
  late: {uniform: ["$speed", "$speed + 2"]}
  sum: $speed + $gap
road: {kind: straight, lanes: 2}
ego: {lane: 0, speed_mps: $speed}
actors:
  - {id: lead, lane: 0, ahead_m: $gap, speed_mps: $late}
"""


@pytest.fixture
def two(tmp_path: Path):  # type: ignore[no-untyped-def]
    path = tmp_path / "two.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return load_file(path)


def row(speed: float, gap: float, failed: bool = False, tail: float = 0.0) -> Row:
    values = {"speed": speed, "gap": gap, "tail": tail, "late": speed + 1.5, "sum": speed + gap}
    return Row("two", 1, values, failed)


def test_cells_count_episodes_and_failures(two) -> None:  # type: ignore[no-untyped-def]
    rows = [
        row(10.1, 20),
        row(10.4, 20, failed=True),
        row(11.9, 30, tail=1.9),
        Row("x", 1, {}, True),
    ]
    coverage = cover([two], rows, bins=4)
    (scenario,) = coverage.scenarios
    assert (scenario.episodes, scenario.failures) == (3, 1) and coverage.elsewhere == {"x": 1}
    speed, gap, tail, late = scenario.parameters  # sum follows from the others: no dimension
    assert [(c.label, c.episodes, c.failures) for c in speed.cells] == [
        ("10 to 10.5", 2, 1),
        ("10.5 to 11", 0, 0),
        ("11 to 11.5", 0, 0),
        ("11.5 to 12", 1, 0),
    ]
    assert [(c.label, c.share, c.episodes) for c in gap.cells] == [("20", 0.5, 2), ("30", 0.5, 1)]
    # Quartiles of the cut-off normal are -0.64, 0, 0.64: 0 opens the third, 1.9 lies in the last.
    assert [c.episodes for c in tail.cells] == [0, 0, 2, 1]
    assert [c.label for c in late.cells] == ["0% to 25%", "25% to 50%", "50% to 75%", "75% to 100%"]
    assert [c.episodes for c in late.cells] == [0, 0, 0, 3]
    assert coverage.figures == {
        "families": (1, 1),
        "scenarios": (1, 1),
        "parameter cells": (2 + 2 + 2 + 1, 14),
        "tag pairs": (3, 3),
    }


def test_values_of_another_version_of_the_file_are_told(two) -> None:  # type: ignore[no-untyped-def]
    coverage = cover([two], [row(14.0, 25)])
    outside = {p.name: p.outside for p in coverage.scenarios[0].parameters}
    assert outside == {"speed": 1, "gap": 1, "tail": 0, "late": 0}


@pytest.mark.parametrize("document", list_documents(), ids=lambda d: d.id)
def test_a_value_lies_at_the_quantile_it_was_drawn_from(document) -> None:  # type: ignore[no-untyped-def]
    space = dimensions(document, 4)
    for quantile in (0.02, 0.37, 0.5, 0.93):
        values = values_at(document, {d.name: quantile for d in space})
        for d in space:
            found = quantile_of(d.spec, values[d.name], values)
            assert found is not None
            if d.labels:
                assert d.labels[d.cell(quantile)] == d.labels[d.cell(found)]
            else:
                assert found == pytest.approx(quantile, abs=1e-6)


def test_even_draws_fill_the_library(tmp_path: Path) -> None:
    documents = list_documents()
    rows = [Row(d.id, s, sample(d, s).parameters, False) for d in documents for s in range(48)]
    coverage = cover(documents, rows)
    done, total = coverage.figures["parameter cells"]
    assert done > 0.99 * total  # a cell of a quarter stays empty with probability 1e-6
    assert all(p.outside == 0 for s in coverage.scenarios for p in s.parameters)
    partial = cover(documents, [r for r in rows if r.scenario == "cut_in"])
    assert partial.figures["families"][0] == 1 and partial.figures["scenarios"][0] == 1
    missed = [p for p in partial.pairs if not p.episodes]
    assert all("cut_in" not in p.scenarios for p in missed) and missed


def test_a_runs_rows_are_read_and_wrong_ones_named(tmp_path: Path) -> None:
    scenario = sample(load_document("cut_in"), 5)
    result = replace(failed_result(scenario, "x"), end="off_road", off_road=True, error="")
    line = json.dumps({"step": 1, **asdict(result)}, default=float)
    (tmp_path / "episodes.jsonl").write_text(line + "\n")
    (read,) = read_rows(tmp_path)
    assert (read.scenario, read.seed, read.failed) == ("cut_in", 5, True)
    (tmp_path / "episodes.jsonl").write_text(line + '\n{"seed": 1}\n')
    with pytest.raises(RequestError, match=r"episodes.jsonl:2: expected an episode's row"):
        read_rows(tmp_path)
    with pytest.raises(RequestError, match="no such run directory"):
        read_rows(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="expected episodes"):
        read_rows(tmp_path / "empty")


def test_the_command_prints_json_and_writes_a_page_without_outside_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = sample(load_document("cut_in"), 5)
    line = json.dumps({"step": 1, **asdict(failed_result(scenario, "x"))}, default=float)
    (tmp_path / "episodes.jsonl").write_text(line + "\n")
    page = tmp_path / "page.html"
    words = ["scenario", "coverage", str(tmp_path), "--suite", "id:cut_in,id:hard_lead_brake"]
    assert main([*words, "--html", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["figures"]["scenarios"] == {"driven": 1, "of": 2}
    text = page.read_text()
    assert "http" not in text and "hard_lead_brake" in text
    assert main(words) == 0
    assert "not driven: hard_lead_brake" in capsys.readouterr().out


def test_names_enter_the_page_as_text(two) -> None:  # type: ignore[no-untyped-def]
    tagged = two.model_copy(update={"tags": ["<b>", "x&y"]})
    text = render_page(cover([tagged], []), "<script>")
    assert "<b>x" not in text and "<script>" not in text and "x&amp;y" in text
