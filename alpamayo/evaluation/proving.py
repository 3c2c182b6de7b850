"""Proves that dangers are honest by driving them: see ``scenarios.proofs``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from alpamayo.evaluation.runner import run_episodes
from alpamayo.stats import wilson_interval
from alpamayo.types import EpisodeResult, Policy
from policies.registry import load_policy
from scenarios.hash import document_hash
from scenarios.proofs import (
    FAILED,
    FINE,
    FIRST_SEED,
    OFF_ROAD,
    OTHERS_CRASH,
    OWN_CRASH,
    RED_LIGHT,
    SLOW,
    Proof,
    save_proof,
)
from scenarios.sample import sample
from scenarios.schema import ScenarioDocument
from sim.config import SimConfig

KEEPER, EXPERT = "constant_speed", "expert"
LEAST_PROGRESS = 0.4  # of what driving at the speed limit gives
BEFORE_THE_CRASH = 0.8  # of the way to where whoever keeps its speed crashes


def prove(
    document: ScenarioDocument,
    twin: ScenarioDocument | None,
    draws: int,
    first_seed: int = FIRST_SEED,
) -> Proof:
    """Drive the danger and its twin over ``draws`` seeds, each with both drivers."""
    started = time.process_time()
    outcomes = drive_all(document, twin, range(first_seed, first_seed + draws))
    return Proof(
        scenario=document.id,
        twin=twin.id if twin else "",
        hash=document_hash(document),
        twin_hash=document_hash(twin) if twin else "",
        collision_course=document.collision_course,
        keeping_is_safe=twin.keeping_is_safe if twin else True,
        first_seed=first_seed,
        draws=draws,
        outcomes=outcomes,
        simulator=sources_digest(),
        cpu_s=round(time.process_time() - started, 1),
    )


def drive_all(
    document: ScenarioDocument, twin: ScenarioDocument | None, seeds: Iterable[int]
) -> dict[str, str]:
    """Drive -> one letter per seed."""
    seeds = list(seeds)
    keeper, expert = _both(document, seeds)
    outcomes = {"keeper": keeper, "expert": expert}
    if twin is not None:
        outcomes["twin_keeper"], outcomes["twin_expert"] = _both(twin, seeds)
    return outcomes


def store(proof: Proof) -> Path:
    """Write the proof into the library."""

    def interval(good: int, draws: int) -> tuple[float, float, float]:
        told = wilson_interval(good, draws)
        return told.value, told.low, told.high

    return save_proof(proof, interval)


def differences(
    proof: Proof, document: ScenarioDocument, twin: ScenarioDocument | None, picks: Sequence[int]
) -> list[str]:
    """Drive the draws ``picks`` of a proof again; what came out differently."""
    again = drive_all(document, twin, [proof.first_seed + pick for pick in picks])
    told = []
    for drive, letters in proof.outcomes.items():
        for pick, now in zip(picks, again.get(drive, " " * len(picks)), strict=True):
            if letters[pick] != now:
                seed = proof.first_seed + pick
                told.append(f"{drive}, seed {seed}: {letters[pick]} is stored, now {now}")
    return told


def _both(document: ScenarioDocument, seeds: list[int]) -> tuple[str, str]:
    """Letters of the constant-speed driver and of the expert."""
    scenarios = [sample(document, seed) for seed in seeds]
    config = SimConfig(rig=None)

    def driven(policy: Policy) -> list[EpisodeResult]:
        return run_episodes(policy, scenarios, config, batch=32)

    keeps, expert = driven(load_policy(KEEPER)), driven(load_policy(EXPERT))
    letters = "".join(letter(result, least_progress_m(result, result)) for result in keeps)
    return letters, "".join(
        letter(result, least_progress_m(result, kept))
        for result, kept in zip(expert, keeps, strict=True)
    )


def least_progress_m(result: EpisodeResult, kept: EpisodeResult) -> float:
    """How far a sensible driver gets at least: nobody has to pass what the one who kept lane and
    speed crashed into.
    """
    least = LEAST_PROGRESS * result.reference_m
    return min(least, BEFORE_THE_CRASH * kept.progress_m) if _harm(kept) else least


def _harm(result: EpisodeResult) -> bool:
    return result.collision or result.off_road or result.red_light


def letter(result: EpisodeResult, least_m: float) -> str:
    """What became of an episode. A crash counts whoever was at fault: who brakes for nothing is hit
    from behind.
    """
    if result.end == "failed":
        return FAILED
    if result.collision:
        return OWN_CRASH if result.at_fault else OTHERS_CRASH
    if result.off_road:
        return OFF_ROAD
    if result.red_light:
        return RED_LIGHT
    return FINE if result.progress_m >= least_m else SLOW


@lru_cache(maxsize=1)
def sources_digest() -> str:
    """Of the simulator and the two drivers."""
    import policies
    import sim

    drivers = Path(policies.__file__).parent
    files = sorted(Path(sim.__file__).parent.rglob("*.py"))
    files += [drivers / name for name in ("expert.py", "idle.py", "route_tracking.py")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
