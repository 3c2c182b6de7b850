"""The check that a danger is one tells a danger from none: with its event or its actor taken away,
whoever keeps lane and speed gets through, and the check fails as it should.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from alpamayo.evaluation.runner import run_episodes
from policies.registry import load_policy
from scenarios.load import load_document, load_file
from scenarios.sample import sample
from scenarios.schema import ScenarioDocument
from sim.config import SimConfig

DRAWS, FIRST_SEED = 8, 31_000_000  # seeds of no suite
CRASHES = 0.8  # share from which on a family is on a collision course
# Family -> what makes it dangerous.
NO_EVENTS, NOT_THERE = "events: []\n", "without: [{}]\n"
REMOVED = {
    "cut_in": NO_EVENTS,
    "hard_lead_brake": NO_EVENTS,
    "left_turn_across_path": NO_EVENTS,
    "occluded_pedestrian": NO_EVENTS,
    "crowd_crossing": NO_EVENTS,
    "drifting_neighbour": NO_EVENTS,
    "animal_crossing": NO_EVENTS,
    "cut_out_stopped": NOT_THERE.format("stopped"),
    "red_light_runner": NOT_THERE.format("runner"),
    "wrong_way_driver": NOT_THERE.format("ghost"),
    "blocked_lane": NOT_THERE.format("obstacle, cone1, cone2, cone3"),
    "slow_lead": NOT_THERE.format("slow"),
}


def crash_share(document: ScenarioDocument) -> float:
    """Share of draws in which whoever keeps lane and speed crashes."""
    scenarios = [sample(document, FIRST_SEED + i) for i in range(DRAWS)]
    policy = load_policy("constant_speed")
    results = run_episodes(policy, scenarios, SimConfig(rig=None), batch=DRAWS)
    assert not any(r.error for r in results), next(r.error for r in results if r.error)
    return sum(r.collision for r in results) / len(results)


@pytest.mark.parametrize("name", REMOVED)
def test_without_what_makes_it_dangerous_the_check_of_a_danger_fails(
    name: str, tmp_path: Path
) -> None:
    assert crash_share(load_document(name)) >= CRASHES
    head = f"schema_version: 1\nid: {name}_removed\nextends: {name}\n"
    path = tmp_path / f"{name}_removed.yaml"
    path.write_text(head + REMOVED[name])
    mutant = load_file(path)
    assert not mutant.nominal and mutant.collision_course, "it still claims to be one"
    assert crash_share(mutant) <= 0.25 < CRASHES
