"""docs/scenario_language.md tells every word of the language, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

from scenarios.load import load_file
from scenarios.parameters import draw_parameters
from scenarios.sample import sample
from tests.scenarios.broken import KEYS

PAGE = (Path(__file__).parents[2] / "docs" / "scenario_language.md").read_text("utf-8")


def test_every_word_of_the_language_is_on_the_page() -> None:
    words = set(re.findall(r"[a-z_0-9]+", PAGE))
    assert not KEYS - words


def test_the_examples_load(tmp_path: Path) -> None:
    parameters, events, twin = re.findall(r"```yaml\n((?!#).*?)```", PAGE, re.DOTALL)
    head = (
        "schema_version: 1\nid: cut_in\nfamily: x\ndescription: x\nego: {lane: 0, speed_mps: 9}\n"
    )
    scene = "road: {kind: straight}\nactors: [{id: lead, lane: 0, ahead_m: 30, speed_mps: 9}]\n"
    (tmp_path / "cut_in.yaml").write_text(head + scene + parameters + events)
    (tmp_path / "cut_in_nominal.yaml").write_text(twin)
    document = load_file(tmp_path / "cut_in.yaml")
    drawn = [draw_parameters(document, seed) for seed in range(20)]
    assert all(values["gap_m"] > 1.2 * values["ego_mps"] for values in drawn)
    assert {values["path"] for values in drawn} == {"west_east", "east_west"}
    assert len(sample(document, 0).events) == 2
    assert sample(load_file(tmp_path / "cut_in_nominal.yaml"), 0).events == ()
