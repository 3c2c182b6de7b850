"""What docs/evaluation.md says works as it says."""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from alpamayo.evaluation.gates import parse_gate
from alpamayo.evaluation.measures import NAMES
from alpamayo.judged import EXTENDED_WEIGHTS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"


def block(language: str, number: int = 0) -> str:
    """A code block of the page."""
    pieces = re.split(r"^```(\w*)\n", PAGE.read_text(), flags=re.M)
    # Text, fence, code, fence, text ...
    code = [pieces[i + 1] for i in range(1, len(pieces), 4) if pieces[i] == language]
    return code[number]


def test_the_example_policy_drives(tmp_path: Path) -> None:
    (tmp_path / "my_policy.py").write_text(block("python"))
    words = shlex.split(block("").splitlines()[0])
    assert words[0] == "alpamayo"
    # A process of its own in the user's folder, with workers that have to find the class as well.
    done = subprocess.run(
        [sys.executable, "-m", *words, "--processes", "2"],
        cwd=tmp_path, capture_output=True, text=True, timeout=170, check=False,
        env={**os.environ, "PYTHONPATH": str(PAGE.parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (table,) = tmp_path.glob("runs/*/episodes.csv")
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == 8 and not any(row["error"] for row in rows)
    assert all(float(row["mean_speed_mps"]) > 4.0 for row in rows)


def test_every_metric_is_defined() -> None:
    table = PAGE.read_text().split("## What is measured")[1].split("`extended_score` =")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    defined = {n for line in lines for n in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert defined == set(NAMES)


def test_the_gates_of_the_page_are_gates() -> None:
    gates = re.findall(r'--fail-if "([^"]+)"', PAGE.read_text())
    assert len(gates) == 3 and all(parse_gate(text).conditions for text in gates)


def test_the_options_of_the_page_exist() -> None:
    from alpamayo.cli import eval as command
    from alpamayo.cli import leaderboard

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    board = argparse.ArgumentParser()
    leaderboard.add_arguments(board)
    known = {o for p in (parser, board) for a in p._actions for o in a.option_strings}
    commands = re.findall(r"^alpamayo (?:eval|leaderboard) .*$", PAGE.read_text(), re.M)
    used = {word for line in commands for word in re.findall(r"--[\w-]+", line)}
    assert len(commands) >= 5 and used <= known


def test_the_weights_of_the_page_are_those_of_the_score() -> None:
    words = PAGE.read_text().split("`extended_score` = ")[1].split("Where the expert")[0]
    found = dict(re.findall(r"`?(progress|ttc|lane|comfort|steady)(?:_share)?`? (\d)", words))
    assert {name: float(weight) for name, weight in found.items()} == EXTENDED_WEIGHTS


def test_the_scaling_benchmark_of_the_page_runs_and_finds_the_same_rows(tmp_path: Path) -> None:
    line = next(c for c in PAGE.read_text().splitlines() if "eval_scaling.py" in c)
    words = shlex.split(line)[1:]
    small = ["--policy", "idle", "--episodes", "4", "--out", str(tmp_path / "out.json")]
    done = subprocess.run(
        [sys.executable, *words, *small], cwd=PAGE.parents[1], capture_output=True, text=True,
        timeout=170, check=False, env={**os.environ, "PYTHONPATH": str(PAGE.parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["same_rows"] and set(document["episodes_per_s"]) == {"1", "2"}
    assert document["scaling"]["1 -> 2"] == pytest.approx(
        document["episodes_per_s"]["2"] / document["episodes_per_s"]["1"]
    )
