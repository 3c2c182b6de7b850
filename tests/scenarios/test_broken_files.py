"""Two hundred files broken on purpose: a clear error at the right line, never a traceback, a hang
or a heap of memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alpamayo.types import RequestError
from scenarios.load import load_file
from scenarios.yaml_tree import ScenarioFileError
from tests.scenarios.broken import Broken, mutations, nasty

FILES = mutations()
MEMORY_MB, SECONDS = 500, 5.0


def written(folder: Path, broken: Broken) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{broken.stem}.yaml"
    path.write_bytes(broken.data)
    return path


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(FILES) >= 200
    assert len({broken.data for broken in FILES}) >= 0.97 * len(FILES)


@pytest.mark.parametrize("number", range(len(FILES)), ids=lambda n: f"{n} {FILES[n].kind}")
def test_a_broken_file_gives_a_clear_error_at_the_right_line(number: int, tmp_path: Path) -> None:
    broken = FILES[number]
    path = written(tmp_path, broken)
    started = time.process_time()
    with pytest.raises(RequestError) as caught:
        load_file(path)
    assert time.process_time() - started < SECONDS
    message = str(caught.value)
    if isinstance(caught.value, ScenarioFileError):
        own = [p for p in caught.value.problems if Path(p.mark.file).name == path.name]
        lines = {p.mark.line for p in own}
        assert lines & set(broken.lines), f"expected one of {broken.lines}, got {message[:600]}"
    assert re.match(r"\S*\.yaml(:\d+:\d+)?: \S", message), message[:200]
    for line in message.splitlines():
        assert len(line) < 2000 and "Traceback" not in line and "object at 0x" not in line
        assert line.isprintable(), line[:200]


def test_lint_survives_everything_that_is_meant_to_hurt_it(tmp_path: Path) -> None:
    """As a real process: its exit status, what it writes, and how much memory it takes."""
    for i, broken in enumerate(nasty()):
        written(tmp_path / f"{i:02} {broken.kind}", broken)
    lint = [sys.executable, "-m", "alpamayo", "scenario", "lint", str(tmp_path), "--json"]
    # A child begins with the resident size of its parent as its peak: start it from a small one.
    small = (
        "import json, resource, subprocess, sys\n"
        "status = subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], 'wb')).returncode\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([status, used.ru_maxrss, used.ru_utime]))\n"
    )
    command = [sys.executable, "-c", small, str(tmp_path / "out"), *lint]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    status, peak_kib, user_s = json.loads(process.stdout)
    assert status == 1, process.stderr
    assert process.stderr == ""
    told = json.loads((tmp_path / "out").read_text())
    named = {Path(problem["file"]).parent.name for problem in told["problems"]}
    assert len(named) == told["files"] == len(nasty()), "each of them is told"
    assert peak_kib / 1024 < MEMORY_MB
    assert user_s < 4.0 * SECONDS
