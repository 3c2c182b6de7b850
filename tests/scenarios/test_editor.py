"""What an editor makes of the JSON Schema: the real language server, driven as an editor does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import scenarios
from scenarios.catalog import library_files
from scenarios.starter import starter
from tests.scenarios.language_server import LanguageServer, find_server

SCHEMA = Path(scenarios.__file__).parent / "scenario.schema.json"
COMMAND, MISSING = find_server()
pytestmark = pytest.mark.skipif(COMMAND is None, reason=MISSING)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    assert COMMAND is not None
    made = LanguageServer(COMMAND, tmp_path_factory.mktemp("editor"))
    yield made
    made.close()


def text(**replace: str) -> str:
    """The starter file with the line that editors look for, and ``replace`` done."""
    body = f"# yaml-language-server: $schema={SCHEMA.as_uri()}\n" + starter("mine")
    for old, new in replace.items():
        assert old in body
        body = body.replace(old, new, 1)
    return body


def place(body: str, what: str) -> tuple[int, int]:
    """(line, column) of the end of ``what``, 0-based."""
    before = body[: body.index(what) + len(what)]
    return before.count("\n"), len(before.rsplit("\n", 1)[-1])


@pytest.mark.parametrize("name", ["cut_in", "cut_in_nominal", "occluded_pedestrian"])
def test_good_files_have_no_squiggles(server: LanguageServer, name: str) -> None:
    path = library_files()[name]
    assert server.diagnose(path, path.read_text(encoding="utf-8")) == []


def test_the_starter_file_has_no_squiggles(server: LanguageServer, tmp_path: Path) -> None:
    assert server.diagnose(tmp_path / "mine.yaml", text()) == []


@pytest.mark.parametrize(
    ("old", "new", "wrong", "message"),
    [
        ("severity: S2", "severty: S2", "severty", "Property severty is not allowed."),
        ("severity: S2", "severity: S9", "severity: S9", "Value is not accepted"),
        ("duration_s: 12", "duration_s: 500", "duration_s: 500", ""),
        (
            "brake: {decel_mps2",
            "brake: {decl_mps2",
            "decl_mps2",
            "Property decl_mps2 is not allowed.",
        ),
        ("lanes: 2", "lanes: two", "lanes: two", "Incorrect type"),
    ],
)
def test_mistakes_are_marked_on_their_line(
    server: LanguageServer, tmp_path: Path, old: str, new: str, wrong: str, message: str
) -> None:
    body = text(**{old: new})
    found = server.diagnose(tmp_path / "mine.yaml", body)
    line, _ = place(body, wrong)
    lines = {d["range"]["start"]["line"]: d["message"] for d in found}
    assert line in lines, lines
    assert message in lines[line]


def test_completion_offers_the_keys_of_the_place(server: LanguageServer, tmp_path: Path) -> None:
    body = text() + "signals:\n  \n"
    path = tmp_path / "mine.yaml"
    server.diagnose(path, body)
    line = body.count("\n") - 1
    offered = server.at("completion", path, line, 2)
    items = offered["items"] if isinstance(offered, dict) else offered
    labels = {item["label"] for item in items}
    assert {"green_s", "yellow_s", "mode"} <= labels and "ego" not in labels


def test_completion_offers_words(server: LanguageServer, tmp_path: Path) -> None:
    body = text() + "signals:\n  mode: \n"
    path = tmp_path / "mine.yaml"
    server.diagnose(path, body)
    offered = server.at("completion", path, *place(body, "\n  mode: "))
    items = offered["items"] if isinstance(offered, dict) else offered
    labels = {item["label"].strip('"') for item in items}
    assert {"cycle", "dark", "flashing", "stuck_red", "stuck_green"} <= labels


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("ahead_m", "Distance along ego's route from ego's start, between box centres"),
        ("probability", "The actor is there with this probability"),
        ("light", "Brightness"),
        ("speed_limit_mps", "In m/s"),
    ],
)
def test_hovering_tells_what_a_key_means(
    server: LanguageServer, tmp_path: Path, word: str, told: str
) -> None:
    body = text()
    path = tmp_path / "mine.yaml"
    server.diagnose(path, body)
    code = "\n".join(line.split("#")[0] for line in body.splitlines())
    line, column = place(code, f"{word}:")
    hover = server.at("hover", path, line, column - 2)
    assert hover is not None and told in str(hover["contents"]), hover
