"""What docs/evaluation.md says works as it says."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

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
