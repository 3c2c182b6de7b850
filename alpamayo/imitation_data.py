"""Data for the warm start: the privileged expert drives, perturbed; every decision becomes one
sample.

The drawn plan is the expert's; the executed one carries noise, so that the data holds recoveries
(Ross et al. 2011; Bojarski et al. 2016, sec. 4, for lateral shifts). One process per shard, each
writing plain ``.npy`` columns: no pickle.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt

from alpamayo import streams
from alpamayo.types import (
    OBSERVATION_KEYS,
    EpisodeResult,
    FloatArray,
    ObservationBatch,
    PlanBatch,
    Policy,
    PrivilegedView,
    Scenario,
)
from sim.config import SimConfig

COLUMNS = (*OBSERVATION_KEYS, "plan")


@dataclass(frozen=True)
class ExpertNoise:
    """Perturbation of the executed plan. With ``probability`` per decision, normal noise of
    ``accel_mps2`` and of ``lateral_accel_mps2`` (turned into curvature at the present speed) is
    added to the first plan step.
    """

    probability: float
    accel_mps2: float
    lateral_accel_mps2: float

    def apply(
        self, plan: FloatArray, speed_mps: FloatArray, noise_keys: npt.NDArray[np.uint64]
    ) -> FloatArray:
        """Noisy copy of ``plan`` [N, K, 2]; the same keys give the same noise."""
        u = streams.uniform(streams.keys(noise_keys, streams.STREAM_EXPERT_NOISE), 5)
        radius = np.sqrt(-2.0 * np.log(u[:, 0:3:2]))
        normal = radius * np.cos(2.0 * np.pi * u[:, 1:4:2])
        hit = (u[:, 4] < self.probability)[:, None]
        curvature_scale = self.lateral_accel_mps2 / np.maximum(speed_mps, 4.0) ** 2
        scale = np.stack([np.full_like(curvature_scale, self.accel_mps2), curvature_scale], axis=1)
        noisy = plan.copy()
        noisy[:, 0] += np.where(hit, normal * scale, 0.0)
        return noisy


class RecordingPolicy:
    """Drives as ``teacher`` with noise and keeps (observation, clean plan) of every decision."""

    needs_privileged = True
    name = "recording"

    def __init__(self, teacher: Policy, noise: ExpertNoise) -> None:
        self._teacher = teacher
        self._noise = noise
        self._kept: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
    ) -> PlanBatch:
        clean = self._teacher.plan(observation, noise_keys=noise_keys, privileged=privileged)
        actions = clean.as_actions()
        for name, column in observation.as_dict().items():
            self._kept[name].append(column.copy())
        self._kept["plan"].append(actions)
        noisy = self._noise.apply(actions, observation.speed_mps, noise_keys).astype(np.float32)
        return PlanBatch(noisy[..., 0], noisy[..., 1])

    def columns(self) -> dict[str, np.ndarray]:
        return {name: np.concatenate(parts) for name, parts in self._kept.items()}


def record_expert(
    scenarios: list[Scenario],
    sim_config: SimConfig,
    noise: ExpertNoise,
    folder: Path,
    *,
    processes: int = 2,
    seed: int = 0,
) -> list[EpisodeResult]:
    """Let the expert drive ``scenarios``; columns land in ``folder/shard_<i>/``. Results in the
    order of scenarios.

    Raises OSError when the folder cannot be written.
    """
    shards = [scenarios[i::processes] for i in range(processes)]
    folders = [folder / f"shard_{i}" for i in range(processes)]
    for path in folders:
        path.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(_record_shard, shard, sim_config, noise, path, seed)
            for shard, path in zip(shards, folders, strict=True)
        ]
        parts = [future.result() for future in futures]
    results: list[EpisodeResult | None] = [None] * len(scenarios)
    for i, part in enumerate(parts):
        results[i::processes] = part
    return [result for result in results if result is not None]


def _record_shard(
    scenarios: list[Scenario], sim_config: SimConfig, noise: ExpertNoise, folder: Path, seed: int
) -> list[EpisodeResult]:
    from alpamayo.evaluation.runner import run_episodes
    from policies.expert import ExpertPolicy

    policy = RecordingPolicy(ExpertPolicy(), noise)
    results = run_episodes(policy, scenarios, sim_config, seed=seed)
    for name, column in policy.columns().items():
        np.save(folder / f"{name}.npy", column)
    return results


class ImitationData:
    """Samples of all shards behind one index; ``frames`` stay on disk (memory-mapped)."""

    def __init__(self, folder: Path) -> None:
        shards = sorted(folder.glob("shard_*"))
        if not shards:
            raise FileNotFoundError(f"{folder}: no shard_* folders of recorded driving")
        self._shards = [
            {
                name: np.load(path / f"{name}.npy", mmap_mode="r" if name == "frames" else None)
                for name in COLUMNS
            }
            for path in shards
        ]
        self._starts = np.cumsum([0] + [len(shard["plan"]) for shard in self._shards])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, index: npt.NDArray[np.integer]) -> tuple[ObservationBatch, FloatArray]:
        """Observations and clean plans [n, K, 2] of the samples ``index``."""
        shard_of = np.searchsorted(self._starts, index, side="right") - 1
        order = np.argsort(shard_of, kind="stable")
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        for i, shard in enumerate(self._shards):
            rows = index[order][shard_of[order] == i] - self._starts[i]
            for name in COLUMNS:
                columns[name].append(shard[name][rows])
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        return ObservationBatch.from_dict(joined), joined["plan"]
