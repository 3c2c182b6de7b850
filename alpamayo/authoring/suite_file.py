"""Write a suite of exact cases: every drawn parameter and the seed fixed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from alpamayo.authoring.search import Case
from alpamayo.types import RequestError
from scenarios.catalog import library_files
from scenarios.splits import Split


def check_suite_path(path: Path, split: Split) -> None:
    """RequestError unless a suite of ``split`` can be written there."""
    if path.suffix != ".yaml" or not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", path.stem):
        raise RequestError(f"{path}: expected a name of small letters, digits and _, with .yaml")
    held_out = {"heldout", "validation", "test"} & set(path.stem.split("_"))
    if split == "train" and held_out:
        raise RequestError(f"{path}: expected a name without {held_out.pop()}: the split is train")
    if split != "train" and split not in path.stem:
        raise RequestError(f"{path}: expected a name that holds {split}, the split")
    if path.exists():
        raise RequestError(f"{path}: exists; remove it or take another name")
    if not path.resolve().parent.is_dir():
        raise RequestError(f"{path.parent}: no such folder")


def suite_text(
    cases: Sequence[Case], path: Path, scenario: str, description: str, split: Split
) -> str:
    """The file's text; ``scenario`` is a library id or a file."""
    seeds = [case.scenario.seed for case in cases]
    lines = [
        "schema_version: 1",
        f"id: {path.stem}",
        f"description: {json.dumps(description)}",
        f"split: {split}",
        "order: listed",
        f"seeds: {{start: {min(seeds)}, count: {len(seeds)}}}",
        "scenarios:",
    ]
    name = scenario if scenario in library_files() else _relative(scenario, path)
    for case in cases:
        pins = ", ".join(f"{key}: {_value(value)}" for key, value in case.pins.items())
        entry = f"id: {json.dumps(name)}, seed: {case.scenario.seed}, parameters: {{{pins}}}"
        lines.append(f"  - {{{entry}}}")
    return "\n".join(lines) + "\n"


def _relative(scenario: str, suite: Path) -> str:
    return os.path.relpath(Path(scenario).resolve(), suite.resolve().parent)


def _value(value: float | str) -> str:
    """All digits, so that the case is the very same; YAML wants a dot in a mantissa."""
    if isinstance(value, str):
        return json.dumps(value)
    text = repr(value)
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text
