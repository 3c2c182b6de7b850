"""``alpamayo scenario prove``: figures, exit codes, what is stored and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import scenarios.proofs
from alpamayo.cli.main import main
from alpamayo.library_page import page, write_docs
from alpamayo.types import RequestError
from scenarios.catalog import library_files

FILE = """\
schema_version: 1
id: wall
family: stopped_lead
description: A barrier across the lane.
parameters: {ahead_m: {uniform: [40, 60]}}
road: {kind: straight, lanes: 2}
ego: {lane: 0, speed_mps: 12}
actors:
  - {id: barrier, kind: barrier, lane: 0, ahead_m: $ahead_m}
"""
TWIN = """\
schema_version: 1
id: wall_nominal
extends: wall
description: No barrier.
nominal: true
without: [barrier]
"""


@pytest.fixture
def proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for proofs."""
    monkeypatch.setattr(scenarios.proofs, "PROOFS", tmp_path / "proofs")
    return tmp_path / "proofs"


def told(capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    return json.loads(capsys.readouterr().out)


def test_a_file_of_ones_own_is_proven_with_the_twin_beside_it_and_not_stored(
    tmp_path: Path, proofs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wall.yaml").write_text(FILE)
    (tmp_path / "wall_nominal.yaml").write_text(TWIN)
    assert main(["scenario", "prove", str(tmp_path / "wall.yaml"), "--json"]) == 0
    (proof,) = told(capsys)
    assert proof["twin"] == "wall_nominal" and proof["outcomes"]["keeper"] == "C" * 32
    assert not proofs.exists()


def test_a_danger_that_is_none_exits_1_and_is_not_stored(
    tmp_path: Path, proofs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wall.yaml").write_text(FILE.replace("lane: 0, ahead_m", "lane: 1, ahead_m"))
    assert main(["scenario", "prove", str(tmp_path / "wall.yaml"), "--json"]) == 1
    (proof,) = told(capsys)
    assert proof["shortfalls"] == [
        "whoever keeps its lane and speed fails: 0 of 32 draws, expected 80%"
    ]
    assert not proofs.exists()


def test_a_proof_is_stored_checked_and_found_stale(
    proofs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "prove", "blocked_lane", "--json"]) == 0
    assert main(["scenario", "prove", "blocked_lane", "--check", "--sample", "3"]) == 0
    file = proofs / "blocked_lane.json"
    stored = json.loads(file.read_text())
    assert stored["rates"]["expert"]["share"] == 1.0 and stored["rates"]["expert"]["low"] < 0.9
    file.write_text(json.dumps(stored | {"twin_hash": "0" * 64}))
    capsys.readouterr()
    assert main(["scenario", "prove", "blocked_lane", "--check", "--sample", "0"]) == 1
    assert "blocked_lane: has changed since it was proven" in capsys.readouterr().out
    file.write_text("{}")
    assert main(["scenario", "prove", "blocked_lane", "--check"]) == 2
    file.unlink()
    capsys.readouterr()
    assert main(["scenario", "prove", "blocked_lane", "--check"]) == 1
    assert "blocked_lane: has no proof" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [["cut_in_nominal"], ["nowhere"], ["--draws", "0"], ["--sample", "2"]]
)
def test_wrong_requests_exit_2_with_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "prove", *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_page_names_every_scenario_and_needs_a_folder(tmp_path: Path) -> None:
    text = page()
    for name in library_files():
        assert f"**{name}**" in text or f"| {name} |" in text
    with pytest.raises(RequestError, match="no such folder"):
        write_docs(tmp_path / "docs")
