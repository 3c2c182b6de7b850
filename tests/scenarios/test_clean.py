"""Lint remembers what was clean, and notices everything that could change that."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alpamayo.cli.main import main
from scenarios import clean
from scenarios.catalog import LIBRARY


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a danger and its twin, and a memory of its own."""
    monkeypatch.setenv("ALPAMAYO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    base = (LIBRARY / "lateral" / "cut_in.yaml").read_text().replace("id: cut_in", "id: mine")
    (folder / "mine.yaml").write_text(base)
    (folder / "twin.yaml").write_text(
        "schema_version: 1\nid: twin\nextends: mine\ndescription: No one cuts in.\n"
        "nominal: true\nseverity: S0\nevents: []\n"
    )
    return folder


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are really checked."""
    import scenarios.load

    names: list[str] = []
    original = scenarios.load.load_document

    def spy(path: str | Path):  # type: ignore[no-untyped-def]
        names.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(scenarios.load, "load_document", spy)
    return names


def test_what_was_clean_is_not_read_again(mine: Path, loaded: list[str]) -> None:
    assert main(["scenario", "lint", str(mine)]) == 0
    assert loaded == ["mine.yaml", "twin.yaml"]
    loaded.clear()
    assert main(["scenario", "lint", str(mine)]) == 0
    assert loaded == []
    assert main(["scenario", "lint", "--fresh", str(mine)]) == 0
    assert loaded == ["mine.yaml", "twin.yaml"]


def test_a_changed_base_makes_its_twins_checked_again(
    mine: Path, loaded: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenario", "lint", str(mine)]) == 0
    loaded.clear()
    text = (mine / "mine.yaml").read_text()
    (mine / "mine.yaml").write_text(text.replace("lanes: 3", "lanes: 99"))
    assert main(["scenario", "lint", str(mine)]) == 1
    assert loaded == ["mine.yaml", "twin.yaml"]
    assert "road.lanes" in capsys.readouterr().out


def test_a_problem_is_told_every_time(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine / "mine.yaml").write_text("id: mine\nfoo: 1\n")
    for _ in range(2):
        assert main(["scenario", "lint", str(mine / "mine.yaml")]) == 1
        assert "mine.yaml:2:1: foo: unknown key" in capsys.readouterr().out


def test_a_new_file_beside_may_be_what_extends_means(mine: Path, loaded: list[str]) -> None:
    assert main(["scenario", "lint", str(mine)]) == 0
    loaded.clear()
    shutil.copy(LIBRARY / "lateral" / "cut_in.yaml", mine / "cut_in.yaml")
    assert main(["scenario", "lint", str(mine)]) == 0
    assert sorted(loaded) == ["cut_in.yaml", "mine.yaml", "twin.yaml"]


def test_other_checks_forget_everything(
    mine: Path, loaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["scenario", "lint", str(mine)]) == 0
    loaded.clear()
    monkeypatch.setattr(clean, "_digest_of_checks", lambda: "another version")
    assert main(["scenario", "lint", str(mine)]) == 0
    assert loaded == ["mine.yaml", "twin.yaml"]


def test_a_broken_memory_is_as_good_as_none(mine: Path, loaded: list[str]) -> None:
    for text in ("", "[]", '{"checks": 1}', "\x00"):
        clean.cache_file().parent.mkdir(exist_ok=True)
        clean.cache_file().write_text(text)
        loaded.clear()
        assert main(["scenario", "lint", str(mine)]) == 0
        assert loaded == ["mine.yaml", "twin.yaml"]
