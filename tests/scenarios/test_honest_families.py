"""Each danger that policies are trained on is honest, in closer bounds than its proof: who keeps
speed and lane fails, a good driver gets through; ordinary driving and the nominal twins are there
to be driven without harm.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from alpamayo.evaluation.runner import run_episodes
from alpamayo.types import EpisodeResult
from policies.registry import load_policy
from scenarios.catalog import list_documents
from scenarios.load import load_document
from scenarios.sample import sample
from scenarios.suites import load_suite
from sim.config import SimConfig

DRAWS = 16
TRAFFIC_DRAWS = 32
FIRST_SEED = 30_000_000  # of no suite
# What policies are trained on; of every other danger its proof tells (test_proofs.py).
TRAINED = load_suite("train").shares
DANGERS = [d.id for d in list_documents() if not d.nominal and d.id in TRAINED]
TWINS = [d.id for d in list_documents() if d.nominal and d.extends and d.id in TRAINED]
ORDINARY = [d.id for d in list_documents() if d.nominal and not d.extends and not d.traffic]
TRAFFIC = [d.id for d in list_documents() if d.nominal and not d.extends and d.traffic]


def drive(policy: str, name: str, draws: int = DRAWS) -> list[EpisodeResult]:
    document = load_document(name)
    scenarios = [sample(document, FIRST_SEED + i) for i in range(draws)]
    results = run_episodes(load_policy(policy), scenarios, SimConfig(rig=None), batch=draws)
    assert not any(r.error for r in results), next(r.error for r in results if r.error)
    return results


def harmless(results: Sequence[EpisodeResult]) -> float:
    """Share of episodes without a crash of ego's fault, off-road or red light."""
    return sum(r.end in ("timeout", "route_done") for r in results) / len(results)


@pytest.mark.parametrize("name", DANGERS)
def test_whoever_keeps_speed_and_lane_crashes_by_its_own_fault(name: str) -> None:
    results = drive("constant_speed", name)
    assert sum(r.at_fault for r in results) / len(results) >= 0.9
    assert sum(r.collision for r in results) / len(results) >= 0.95


@pytest.mark.parametrize("name", DANGERS)
def test_the_expert_gets_through_and_gets_ahead(name: str) -> None:
    results = drive("expert", name)
    assert harmless(results) >= 0.95
    assert sum(r.progress_m for r in results) >= 0.7 * sum(r.reference_m for r in results)


@pytest.mark.parametrize("name", TWINS)
def test_in_a_nominal_twin_keeping_speed_and_lane_is_fine(name: str) -> None:
    assert harmless(drive("constant_speed", name)) >= 0.95


@pytest.mark.parametrize("name", ORDINARY)
def test_the_expert_drives_ordinary_scenes(name: str) -> None:
    assert harmless(drive("expert", name)) >= 0.95


@pytest.mark.parametrize("name", TRAFFIC)
def test_the_expert_drives_in_background_traffic(name: str) -> None:
    results = drive("expert", name, TRAFFIC_DRAWS)
    assert sum(not r.at_fault for r in results) / len(results) >= 0.9
    assert harmless(results) >= 0.9
    assert sum(r.progress_m for r in results) >= 0.4 * sum(r.reference_m for r in results)


def test_the_red_light_runner_is_seen_coming() -> None:
    """It must be inside the camera's view while there is still time to brake."""
    import numpy as np

    from sim.world import WorldBatch

    document = load_document("red_light_runner")
    half_view = np.radians(SimConfig().rig.cameras[0].hfov_deg) / 2  # type: ignore[union-attr]
    for seed in range(FIRST_SEED, FIRST_SEED + 10):
        world = WorldBatch([sample(document, seed)], SimConfig(rig=None))
        for _ in range(3):
            scene = world.scene(0)
            box = scene.boxes[list(scene.ids).index("runner")]
            x, y, heading = scene.ego_pose
            bearing = np.arctan2(box[1] - y, box[0] - x) - heading
            assert abs(np.arctan2(np.sin(bearing), np.cos(bearing))) < half_view
            world.step(np.zeros((1, 8, 2)))
