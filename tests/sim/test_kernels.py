"""Compiled kernels are found again by the content of their sources, wherever these lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def folder_of(checkout: Path, cache: Path) -> str:
    """Where ``checkout`` would keep its machine code."""
    done = subprocess.run(
        [sys.executable, "-c", "from sim.kernels import CACHE_DIR; print(CACHE_DIR.name)"],
        env={**os.environ, "PYTHONPATH": str(checkout), "ALPAMAYO_CACHE": str(cache)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_copy_elsewhere_finds_what_was_compiled_and_other_sources_do_not(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for package in ("sim", "scenarios", "alpamayo"):
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "library")
        )
    here, there = (folder_of(checkout, tmp_path / "cache") for checkout in (ROOT, copy))
    assert here == there
    with (copy / "sim" / "roads" / "lookup.py").open("a") as file:
        file.write("\n")
    assert folder_of(copy, tmp_path / "cache") != here
