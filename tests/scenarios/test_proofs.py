"""Every danger of the library has a current proof, and what a proof says is what driving gives."""

from __future__ import annotations

import dataclasses
import hashlib
import re

import pytest

from alpamayo.evaluation.proving import differences, least_progress_m, letter
from alpamayo.library_page import DOCS, PAGE, page
from alpamayo.metrics import failed_result
from scenarios.catalog import list_documents, twin_id
from scenarios.families import FAMILIES, family_of
from scenarios.hash import document_hash
from scenarios.load import load_document
from scenarios.proofs import FIRST_SEED, LEAST_DRAWS, Proof, load_proof
from scenarios.sample import sample
from scenarios.suites import list_suites, load_suite

DANGERS = [d.id for d in list_documents() if not d.nominal]
REDRIVEN, DRAWS_EACH = 4, 6
PROOF = Proof(
    scenario="x", twin="x_nominal", hash="", twin_hash="", collision_course=True,
    keeping_is_safe=True, first_seed=FIRST_SEED, draws=40,
    outcomes={
        "keeper": "C" * 30 + "." * 10,
        "expert": "." * 36 + "cSOR",
        "twin_expert": "." * 38 + "SS",
        "twin_keeper": "." * 20 + "S" * 20,
    },
    simulator="", cpu_s=0.0,
)  # fmt: skip


def test_the_table_numbers_46_families_once() -> None:
    assert [family.number for family in FAMILIES] == list(range(1, 47))
    assert len({family.id for family in FAMILIES}) == 46


def test_an_older_name_belongs_to_a_family_of_the_table() -> None:
    family = family_of("blocked_lane")
    assert family is not None and family.number == 12
    assert family_of("cruise_straight") is None


@pytest.mark.parametrize("name", DANGERS)
def test_every_danger_belongs_to_a_family_and_lies_in_its_folder(name: str) -> None:
    document = load_document(name)
    family = family_of(document.family)
    assert family is not None
    assert f"/library/{family.group}/" in document.tree.file.replace("\\", "/")
    drawn = [s for s in document.parameters.values() if not isinstance(s, int | float | str)]
    assert len(drawn) >= 3


@pytest.mark.parametrize("name", DANGERS)
def test_every_danger_has_a_proof_of_what_it_says_now(name: str) -> None:
    proof, twin = load_proof(name), twin_id(name)
    assert proof is not None and twin is not None
    assert proof.hash == document_hash(load_document(name))
    assert proof.twin_hash == document_hash(load_document(twin))
    assert proof.shortfalls == []
    assert proof.draws >= LEAST_DRAWS


def _rotating() -> list[str]:
    """A few dangers, others whenever a proof changes."""
    everything = "".join(proof.hash for name in DANGERS if (proof := load_proof(name)))
    key = hashlib.sha256(everything.encode()).hexdigest()
    return sorted(DANGERS, key=lambda name: hashlib.sha256((key + name).encode()).digest())[
        :REDRIVEN
    ]


@pytest.mark.parametrize("name", _rotating())
def test_driving_again_gives_what_the_proof_says(name: str) -> None:
    proof, twin = load_proof(name), twin_id(name)
    assert proof is not None and twin is not None
    picks = [k * proof.draws // DRAWS_EACH for k in range(DRAWS_EACH)]
    assert differences(proof, load_document(name), load_document(twin), picks) == []


def test_a_tampered_proof_is_found_out() -> None:
    proof, twin = load_proof("hard_lead_brake"), load_document("hard_lead_brake_nominal")
    assert proof is not None
    outcomes = {**proof.outcomes, "twin_keeper": "C" + proof.outcomes["twin_keeper"][1:]}
    changed = dataclasses.replace(proof, outcomes=outcomes)
    told = differences(changed, load_document("hard_lead_brake"), twin, [0, 1])
    assert told == [f"twin_keeper, seed {proof.first_seed}: C is stored, now ."]


def test_seeds_of_proofs_are_of_no_suite() -> None:
    for name in list_suites():
        seeds = load_suite(name).document.seeds
        assert not seeds.start <= FIRST_SEED < seeds.start + seeds.count


def test_shares_count_what_should_happen_in_each_drive() -> None:
    """30 of 40 crashes are 75 %, below 80 %; the expert's S, c, O and R are no successes."""
    assert [PROOF.good(d) for d in PROOF.outcomes] == [30, 36, 38, 40]
    assert PROOF.shortfalls == [
        "whoever keeps its lane and speed fails: 30 of 40 draws, expected 80%"
    ]
    other = dataclasses.replace(PROOF, collision_course=False)
    assert other.shortfalls == []


def test_few_draws_and_drives_that_cannot_run_are_no_proof() -> None:
    few = dataclasses.replace(
        PROOF, draws=2, collision_course=False, twin="", outcomes={"keeper": "CF", "expert": ".."}
    )
    assert len(few.shortfalls) == 2


def test_nobody_has_to_pass_what_the_keeper_crashed_into() -> None:
    scenario = sample(load_document("cut_in"), 0)
    base = dataclasses.replace(failed_result(scenario, "x"), end="timeout", reference_m=100.0)
    crash = dataclasses.replace(base, end="collision", collision=True, progress_m=20.0)
    through = dataclasses.replace(base, progress_m=17.0)
    assert least_progress_m(base, base) == 40.0
    assert least_progress_m(through, crash) == 16.0
    assert letter(through, 16.0) == "." and letter(through, 40.0) == "S"
    assert letter(crash, 0.0) == "c"
    assert letter(dataclasses.replace(crash, at_fault=True), 0.0) == "C"
    assert letter(failed_result(scenario, "x"), 0.0) == "F"


def test_the_page_of_scenarios_is_current_and_has_its_pictures() -> None:
    written = (DOCS / PAGE).read_text(encoding="utf-8")
    assert written == page(), "run alpamayo scenario prove --docs ID"
    names = re.findall(r"\]\((images/scenarios/\w+\.jpg)\)", written)
    assert names and all((DOCS / name).is_file() for name in names)
    assert sum((DOCS / name).stat().st_size for name in names) < 3_000_000
