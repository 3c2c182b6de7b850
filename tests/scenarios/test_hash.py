"""Load, dump, load: the same document. The hash of a document changes with its meaning and with
nothing else."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from scenarios.catalog import library_files
from scenarios.dump import dump
from scenarios.hash import document_hash
from scenarios.load import load_document, load_file
from scenarios.schema import ScenarioDocument
from tests.scenarios.conftest import BASE, RICH, Write

ORIGIN = {"extends", "without"}
SLOW_FIXTURE = [HealthCheck.function_scoped_fixture]


def content(document: ScenarioDocument) -> dict[str, Any]:
    return document.model_dump(exclude=ORIGIN)


def plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def written(path: Path, value: Any) -> Path:
    yaml = YAML(typ="safe", pure=True)
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(value, out)
    path.write_text(out.getvalue(), encoding="utf-8")
    return path


def hash_of(value: Any) -> str:
    return document_hash(ScenarioDocument.model_validate(value))


@pytest.mark.parametrize("name", list(library_files()))
def test_loading_what_was_dumped_gives_the_same_document(name: str, tmp_path: Path) -> None:
    document = load_document(name)
    path = tmp_path / f"{name}.yaml"
    path.write_text(dump(document, tmp_path), encoding="utf-8")
    again = load_file(path)
    assert content(again) == content(document)
    assert document_hash(again) == document_hash(document)
    assert dump(again, tmp_path) == path.read_text(encoding="utf-8")


def test_dumped_documents_find_their_files_from_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    (here / "way.csv").write_text("time_s,x_m,y_m,heading_rad,speed_mps\n0,0,0,0,1\n1,1,0,0,1\n")
    path = here / "base.yaml"
    path.write_text(BASE.replace("events:", "  - {id: taped, log: way.csv}\nevents:"))
    document = load_file(path)
    before = document_hash(document)
    moved = there / "base.yaml"
    moved.write_text(dump(document, there))
    assert load_file(moved).actors[-1].log == "../here/way.csv"
    assert document_hash(load_file(moved)) == before
    (here / "way.csv").write_text("time_s,x_m,y_m,heading_rad,speed_mps\n0,0,0,0,1\n1,2,0,0,1\n")
    assert document_hash(load_file(moved)) != before, "the content counts"


# --------------------------------------------------------------------------------------
# What makes no difference
# --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("road:", "# a remark\nroad:"),
        ("lanes: 2}", "lanes: 2.0}"),
        ("lanes: 2}", "length_m: 320, oncoming_lanes: 0, lanes: 2, radius_m: -0.0}"),
        ("{kind: straight, lanes: 2}", "{kind: straight}"),
        ("ego: {lane: 0, speed_mps: $speed}", "ego: {speed_mps: +$speed , path: lane0}"),
        ("lane: 0, ahead_m: $gap", "lane: 0, behaviour: idm, headway_s: 1.5, ahead_m: $gap"),
        ("ahead_m: -20", "ahead_m: -2e1"),
        ("ahead_m: -20", 'ahead_m: "-(10 + 10)"'),
        ("  - actor: lead\n", "  - id: named\n    actor: lead\n"),
        ("[20, 30]", "[20.0, 30], weights: [2, 2]"),
        ("events:", "traffic: {styles: [timid, normal, hurried, aggressive]}\nevents:"),
        ("A car ahead.", "Someone else's words."),
        ("parameters:", "tags: [a]\nsources: [b]\nnominal: false\nparameters:"),
        ("duration_s: 12", "duration_s: 12"),
        ("events:", "weather: {rain: 0.0}\nfaults: []\nenvironment: {}\nevents:"),
    ],
)
def test_another_spelling_keeps_the_hash(write: Write, old: str, new: str) -> None:
    text = BASE + "duration_s: 12\n"
    text = text + "traffic: {}\n" if "traffic" in new else text
    before = document_hash(load_file(write(text=text)))
    after = write(text=text.replace("traffic: {}\n", ""), **{old: new})
    assert document_hash(load_file(after)) == before


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_the_order_of_keys_keeps_the_hash(seed: int) -> None:
    rng = random.Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            keys = list(value)
            rng.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert hash_of(shuffled(plain(RICH))) == hash_of(plain(RICH))


def test_a_twin_and_its_written_out_copy_have_one_hash(write: Write, tmp_path: Path) -> None:
    write()
    head = "schema_version: 1\nid: twin\nextends: base\nnominal: true\nevents: []\n"
    twin = load_file(write("twin", head))
    (tmp_path / "twin.yaml").write_text(dump(twin))
    copy = load_file(tmp_path / "twin.yaml")
    assert copy.extends is None and document_hash(copy) == document_hash(twin)
    assert document_hash(twin) != document_hash(load_file(tmp_path / "base.yaml"))


def test_names_of_events_are_no_meaning_but_what_waits_for_what_is(write: Write) -> None:
    chain = """\
  - {id: one, actor: van, trigger: {time_s: 1}, actions: [run_light: true]}
  - {id: two, actor: van, trigger: {time_s: 2}, actions: [run_light: true]}
  - {actor: van, trigger: {after: {event: one}}, actions: [vanish: true]}
"""
    text = BASE + chain
    before = document_hash(load_file(write(text=text)))
    assert document_hash(load_file(write(text=text.replace("one", "first")))) == before
    assert document_hash(load_file(write(text=text.replace("event: one", "event: two")))) != before


# --------------------------------------------------------------------------------------
# What does
# --------------------------------------------------------------------------------------
def _leaves(value: Any, loc: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = enumerate(value) if isinstance(value, list) else value.items()
    for key, item in items:
        if isinstance(item, dict | list):
            yield from _leaves(item, (*loc, key))
        else:
            yield (*loc, key)


NAMES = ("schema_version", "description")
LEAVES = [
    loc
    for loc in _leaves(plain(RICH))
    if loc[0] not in NAMES and not (loc[0] == "events" and loc[2] == "id")
]
OTHER_WORDS = {
    "car": "van", "van": "truck", "right": "left", "left": "right", "red": "blue",
    "dark": "flashing", "timid": "normal", "bus": "truck", "hurried": "aggressive",
    "drop": "dirty", "front": "left", "static": "scripted",
}  # fmt: skip


def _changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) and value > 1 else value * 1.01 + 0.001
    return OTHER_WORDS.get(value, f"{value} * 1.01" if "$" in value else value + "_b")


def test_every_value_changes_the_hash() -> None:
    before, unloadable = hash_of(plain(RICH)), []
    for loc in LEAVES:
        value = at = plain(RICH)
        for key in loc[:-1]:
            at = at[key]
        at[loc[-1]] = _changed(at[loc[-1]])
        try:
            assert hash_of(value) != before, loc
        except ValidationError:
            unloadable.append(loc)
    assert len(unloadable) < 0.3 * len(LEAVES), "most changes make another valid scenario"


@given(
    text=st.text(
        st.characters(blacklist_categories=("Cs", "Cc")) | st.sampled_from("\n\t"), min_size=1
    ),
    gap=st.floats(15, 400) | st.integers(15, 400),
    low=st.floats(1, 12),
)
@settings(max_examples=15, deadline=None, suppress_health_check=SLOW_FIXTURE)
def test_no_text_and_no_number_is_lost_on_the_way(
    tmp_path: Path, text: str, gap: float, low: float
) -> None:
    value = plain(BASE)
    value["description"], value["sources"], value["actors"][0]["ahead_m"] = text, [text], gap
    value["parameters"]["speed"]["uniform"][0] = min(low, 10)
    first = load_file(written(tmp_path / "base.yaml", value))
    (tmp_path / "base.yaml").write_text(dump(first), encoding="utf-8")
    again = load_file(tmp_path / "base.yaml")
    assert content(again) == content(first)
    assert document_hash(again) == document_hash(first)


def test_the_hash_stays_what_it_is_from_version_to_version(write: Write) -> None:
    """Proofs and reports store it: words that the language gains must not change it."""
    assert document_hash(load_file(write())) == (
        "5a77ee2ff2931066cbb0f13afd448137ef57c33eb2245e7d235abbab5c861322"
    )
