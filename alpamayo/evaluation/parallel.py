"""Evaluation over several processes, with the same results for any number of them.

The scenarios are cut into chunks by a rule that does not know the number of processes; each chunk
is one ``run_episodes`` call in a worker that computes with one thread. So even floating-point sums
whose order depends on the batch come out the same. A worker that dies (killed, out of memory)
costs at most its own chunk: it is tried once more in a fresh process, then its episodes are
reported as failed.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from alpamayo.judged import JudgedEpisode
from alpamayo.metrics import failed_result
from alpamayo.types import EpisodeResult, Policy, RequestError, Scenario
from sim.config import SimConfig

logger = logging.getLogger(__name__)

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class _Chunk:
    start: int
    policy_spec: str
    decode: dict[str, Any]
    scenarios: tuple[Scenario, ...]
    sim_config: SimConfig
    batch: int
    seed: int
    weights_version: int
    keep_logs: bool


def evaluate(
    policy_spec: str,
    scenarios: Sequence[Scenario],
    sim_config: SimConfig,
    *,
    decode: Mapping[str, Any] | None = None,
    processes: int = 2,
    batch: int = 64,
    seed: int = 0,
    weights_version: int = -1,
    progress: Callable[[int, int], None] | None = None,
    on_replay: Callable[[int, Any], None] | None = None,
) -> list[EpisodeResult]:
    """Drive every scenario once with ``policies.registry.load_policy(policy_spec, **decode)``.

    Results are in the order of ``scenarios`` and do not depend on ``processes``.
    ``on_replay(index, EpisodeLog)`` is called in this process, for each finished episode of a
    chunk when the chunk is done.
    """
    if processes < 1:
        raise RequestError(f"processes: expected at least 1, got {processes}")
    chunks = [
        _Chunk(
            start, policy_spec, dict(decode or {}), tuple(scenarios[start:stop]), sim_config,
            batch, seed, weights_version, on_replay is not None,
        )
        for start, stop in chunk_bounds(len(scenarios), batch)
    ]  # fmt: skip
    results: list[EpisodeResult | None] = [None] * len(scenarios)
    done = 0
    with _single_threaded_children():
        for chunk, outcome in _outcomes(chunks, processes):
            if isinstance(outcome, str):
                failed = (failed_result(s, outcome, weights_version) for s in chunk.scenarios)
                rows: list[EpisodeResult] = [JudgedEpisode(**vars(row)) for row in failed]
                logs: list[Any] = []
            else:
                rows, logs = outcome
            results[chunk.start : chunk.start + len(rows)] = rows
            done += len(rows)
            if on_replay is not None:
                for index, log in logs:
                    on_replay(chunk.start + index, log)
            if progress is not None:
                progress(done, len(scenarios))
    return [r for r in results if r is not None]


def chunk_bounds(count: int, batch: int) -> list[tuple[int, int]]:
    """Equal parts of about 1.5 batches, an even number of them: refilled slots and two processes
    both stay busy.
    """
    if count == 0:
        return []
    parts = max(1, round(count / (1.5 * batch)))
    if parts > 1:
        parts += parts % 2
    elif count >= 32:
        parts = 2
    edges = [count * k // parts for k in range(parts + 1)]
    return list(pairwise(edges))


_Outcome = tuple[list[EpisodeResult], list[tuple[int, Any]]] | str


def _outcomes(chunks: list[_Chunk], processes: int) -> Iterator[tuple[_Chunk, _Outcome]]:
    """(chunk, results and logs | error text), as they come."""
    broken: list[_Chunk] = []
    with _pool(min(processes, max(len(chunks), 1))) as pool:
        waiting: dict[Future[Any], _Chunk] = {pool.submit(_run_chunk, c): c for c in chunks}
        try:
            while waiting:
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    chunk = waiting.pop(future)
                    try:
                        yield chunk, future.result()
                    except BrokenProcessPool:
                        broken.append(chunk)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for (
        chunk
    ) in broken:  # one dead worker breaks the whole pool: each chunk gets a process of its own
        logger.warning("an evaluation worker died; running episodes %d.. again", chunk.start)
        with _pool(1) as pool:
            try:
                outcome: _Outcome = pool.submit(_run_chunk, chunk).result()
            except BrokenProcessPool:
                outcome = "the evaluation worker process died twice (killed, or out of memory)"
        yield chunk, outcome


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Children read these at import; this process has imported its libraries already."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_policies: dict[bytes, Policy] = {}  # per worker process: one policy, loaded at its first chunk


def _run_chunk(chunk: _Chunk) -> tuple[list[EpisodeResult], list[tuple[int, Any]]]:
    from alpamayo.evaluation.runner import run_episodes
    from policies.registry import load_policy

    key = pickle.dumps((chunk.policy_spec, sorted(chunk.decode.items())))
    if key not in _policies:
        _policies[key] = load_policy(chunk.policy_spec, **chunk.decode)
    logs: list[tuple[int, Any]] = []
    results = run_episodes(
        _policies[key],
        chunk.scenarios,
        chunk.sim_config,
        batch=chunk.batch,
        seed=chunk.seed,
        weights_version=chunk.weights_version,
        on_replay=(lambda index, log: logs.append((index, log))) if chunk.keep_logs else None,
    )
    return results, logs
