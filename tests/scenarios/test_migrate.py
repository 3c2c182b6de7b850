"""Files of an older schema version are rewritten, with their comments; others are left alone.

The old version is made up: the language has had no other yet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alpamayo.cli.main import main
from scenarios import migrate as migration
from scenarios.load import load_file
from scenarios.migrate import migrate
from tests.scenarios.conftest import Write, problems

OLD = """\
# yaml-language-server: $schema=scenario.schema.json
schema_version: 0   # the first try
id: old
family: old
description: "Quoted, as it was: a car ahead."
parameters:
  gap_m: {uniform: [20, 30]}     # bumper to bumper
road: {kind: straight, lanes: 2}

# ego comes first
ego: {lane: 0, speed: 12}
actors:
  # the one in front
  - id: lead
    lane: 0
    ahead_m: $gap_m + 5
    speed: 10        # slower than ego
events:
  - actor: lead
    when: {time_s: 2}
    actions:
      - speed: {speed_mps: 0}
"""


def _from_0(document: Any) -> None:
    """Version 0 said ``speed`` for ``speed_mps`` and ``when`` for ``trigger``."""
    for holder, old, new in (
        *((user, "speed", "speed_mps") for user in (document["ego"], *document["actors"])),
        *((event, "when", "trigger") for event in document["events"]),
    ):
        if old in holder:
            place = list(holder).index(old)
            comment = holder.ca.items.pop(old, None)
            holder.insert(place, new, holder.pop(old))
            if comment is not None:
                holder.ca.items[new] = comment


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(migration.MIGRATIONS, 0, _from_0)


def test_an_old_file_becomes_a_new_one_and_keeps_its_comments(
    steps: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(OLD)
    assert main(["scenario", "migrate", str(path), "--check"]) == 1
    assert path.read_text() == OLD, "checked only"
    capsys.readouterr()
    assert main(["scenario", "migrate", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"files": 1, "version": 1, "migrated": [{"file": str(path), "from": 0}]}
    expected = OLD.replace("schema_version: 0", "schema_version: 1").replace("when:", "trigger:")
    expected = expected.replace("speed: 12", "speed_mps: 12").replace(
        "speed: 10        #", "speed_mps: 10        #"
    )
    got, wanted = path.read_text().splitlines(), expected.splitlines()
    # the column of a comment may move with the length of what stands before it
    assert [" ".join(line.split()) for line in got] == [" ".join(line.split()) for line in wanted]
    assert load_file(path).actors[0].speed_mps == 10
    assert main(["scenario", "migrate", str(tmp_path)]) == 0
    assert path.read_text().splitlines() == got, "once is enough"
    assert list(tmp_path.iterdir()) == [path]


def test_lint_says_how_to_go_on_with_a_file_of_another_version(write: Write) -> None:
    old = problems(write(**{"schema_version: 1": "schema_version: 0"}))
    assert old == [
        "1:1: schema_version: expected 1, got 0; an older version: run alpamayo scenario migrate "
        "on this file"
    ]
    new = problems(write(**{"schema_version: 1": "schema_version: 7"}))
    assert new == ["1:1: schema_version: expected 1, got 7; a newer alpamayo wrote this file"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schema_version: -3", ":1:1: schema_version: no way leads from version -3 to 1"),
        ("schema_version: 2", ":1:1: schema_version: expected at most 1, got 2"),
        ("schema_version: one", ":1:1: schema_version: expected a whole number"),
        ("id: x", "schema_version: expected a whole number"),
        ("a: [1", ": expected valid YAML"),
    ],
)
def test_what_cannot_be_migrated_stays_as_it_is(
    tmp_path: Path, text: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    assert main(["scenario", "migrate", str(path)]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err and captured.out == ""
    assert path.read_text() == text


def test_current_files_are_not_touched(write: Write) -> None:
    path = write()
    assert migrate(path) == (1, path.read_text())


def test_every_version_before_this_one_has_a_way_to_it() -> None:
    from scenarios.schema import SCHEMA_VERSION

    assert set(migration.MIGRATIONS) == set(range(1, SCHEMA_VERSION))


def test_resolve_writes_a_twin_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "resolve", "cut_in_nominal"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# hash ") and "id: cut_in_nominal" in out and "extends" not in out
