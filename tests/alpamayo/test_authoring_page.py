"""docs/authoring.md tells what its commands print."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from alpamayo.cli.scenario import COMMANDS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_authoring", ROOT / "docs" / "make_authoring.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_is_what_its_commands_print_now(maker: ModuleType, tmp_path: Path) -> None:
    page = maker.PAGE.read_text(encoding="utf-8")
    found = maker.differences(page, maker.rewritten(page, tmp_path))
    assert not found, "\n".join(["run docs/make_authoring.py", *found])


def test_only_commands_that_exist_are_on_the_page(maker: ModuleType) -> None:
    used = set(re.findall(r"^\$ alpamayo scenario (\w+)", maker.PAGE.read_text(), re.M))
    assert used <= set(COMMANDS) and {"new", "lint", "show", "sample", "play"} <= used


def test_a_page_whose_output_differs_is_found_but_not_for_its_times(maker: ModuleType) -> None:
    page = "```console\n$ ls\nrun-20260101-120000\n```"
    assert not maker.differences(page, page.replace("120000", "130000"))
    assert maker.differences(page, page.replace("run-", "ran-"))
