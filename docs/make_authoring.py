"""Run the commands of docs/authoring.md again and paste what they print.

.venv/bin/python docs/make_authoring.py [--check]

A ``console`` block holds commands (``$ ...``, continued by ``> ...``) and their output. They run
one after the other in an empty folder. ``--check`` writes nothing and fails where the page no
longer tells what happens; times and milliseconds may differ.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import glob
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "authoring.md"
PICTURES = {"bus_cut_in-0.png": "authoring_storyboard.png", "draws.png": "authoring_draws.png"}
COLUMNS = "112"
# What differs from run to run: names of run directories, times, and the milliseconds of a plan.
_VARIES = (
    (re.compile(r"-\d{8}-\d{6}"), "-TIME"),
    (re.compile(r"(plan latency per batch \[ms\]).*"), r"\1"),
    (re.compile(r"[ ]+$", re.M), ""),
)


def rewritten(page: str, folder: Path) -> str:
    """The page with the output that its commands give now, run in ``folder``."""
    parts = re.split(r"(^```console\n.*?^```$)", page, flags=re.M | re.S)
    wide = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        with contextlib.chdir(folder):
            return "".join(_block(p) if p.startswith("```console") else p for p in parts)
    finally:
        os.environ.pop("COLUMNS") if wide is None else os.environ.update(COLUMNS=wide)


def _block(block: str) -> str:
    out = ["```console"]
    lines = block.splitlines()[1:-1]
    at = 0
    while at < len(lines):
        if not lines[at].startswith("$ "):
            at += 1  # the output of before
            continue
        command = [lines[at][2:]]
        out.append(lines[at])
        at += 1
        while at < len(lines) and lines[at].startswith("> "):
            command.append(lines[at][2:])
            out.append(lines[at])
            at += 1
        out += [line.rstrip() for line in run("\n".join(command)).splitlines()]
    return "\n".join([*out, "```"])


def run(command: str) -> str:
    """What ``command`` prints, errors included."""
    if not command.startswith("alpamayo "):
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        return done.stdout
    from alpamayo.cli.main import main

    words: list[str] = []
    for word in shlex.split(command)[1:]:
        words += (sorted(glob.glob(word)) or [word]) if "*" in word else [word]
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main(words)
    told = "\n".join(x for x in errors.getvalue().splitlines() if x.startswith("alpamayo "))
    return out.getvalue() + told + (f"(exit code {code})" if code else "")


def comparable(page: str) -> str:
    """Without what may differ; a policy that computes in floating point may drive otherwise on
    another machine, so its figures are left out.
    """
    page = re.sub(r"^```console\n.*?^```$", _without_figures, page, flags=re.M | re.S)
    for pattern, text in _VARIES:
        page = pattern.sub(text, page)
    return page


def _without_figures(block: re.Match[str]) -> str:
    text = block.group(0)
    if "--policy shipped" not in text and "scenario coverage" not in text:
        return text
    head, *rest = text.split("\n$ ")
    kept = [head]
    for command in rest:
        first, _, output = command.partition("\n")
        policy_drove = "--policy shipped" in first or "scenario coverage" in first
        kept.append(first + "\n" + (_words(output) if policy_drove else output))
    return "\n$ ".join(kept)


def _words(output: str) -> str:
    """Beginnings of the lines up to their first figure."""
    return "\n".join(re.split(r"\s+[\d.]+", line)[0] for line in output.splitlines())


def differences(before: str, after: str) -> list[str]:
    a, b = comparable(before).splitlines(), comparable(after).splitlines()
    return list(difflib.unified_diff(a, b, "page", "now", lineterm="", n=1))


def main_() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    args = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as name:
        now = rewritten(page, Path(name))
        if args.check:
            found = differences(page, now)
            print("\n".join(found) or f"{PAGE}: current")
            return 1 if found else 0
        PAGE.write_text(now, encoding="utf-8")
        for file, picture in PICTURES.items():
            shutil.copy(Path(name) / file, PAGE.parent / "images" / picture)
    print(f"wrote {PAGE}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main_())
