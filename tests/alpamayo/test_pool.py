"""The pool of inference actors, in real processes: its plans are the local ones."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alpamayo.config import RunConfig, load_config
from alpamayo.placement import roles
from alpamayo.rollout.backend import LocalBackend
from alpamayo.types import ObservationBatch, PlanBatch, RequestError
from tests.alpamayo import small_run

PATIENCE_S = 240.0


def observation(rows: int, seed: int) -> ObservationBatch:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (rows, 1, 28, 56, 3), dtype=np.uint8)
    history = rng.normal(size=(rows, 16, 3)).astype(np.float32)
    speed = rng.uniform(0, 20, rows).astype(np.float32)
    command = rng.integers(0, 4, rows).astype(np.int8)
    return ObservationBatch(frames, history, speed, command, np.full(rows, 14, np.float32))


def keys(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(1000 + seed).integers(0, 2**62, rows).astype(np.uint64)


def same_plans(one: PlanBatch, other: PlanBatch) -> None:
    assert one.trace is not None and other.trace is not None
    np.testing.assert_array_equal(one.trace.tokens, other.trace.tokens)
    np.testing.assert_array_equal(one.trace.commit_round, other.trace.commit_round)
    np.testing.assert_allclose(one.trace.log_prob, other.trace.log_prob, atol=2e-5)
    np.testing.assert_array_equal(one.as_actions(), other.as_actions())


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunConfig, Any, Any]]:
    """(settings, names, Pool) of two actors that send image tokens, on a Ray of their own."""
    from alpamayo.rollout.pool import Pool, pool_names
    from alpamayo.rollout.ray_session import ray_session

    folder = tmp_path_factory.mktemp("pool")
    config = small_run.small_config(folder / "runs", folder, freeze_vision=True)
    rollout = replace(config.rollout, backend="pool", pool_actors=2, pool_window_ms=20.0)
    config = replace(config, rollout=rollout)
    with ray_session(config, object_store_memory=200 << 20):
        names = pool_names(config)
        pool = Pool(config, small_run.small_architecture(), names)
        yield config, names, pool
        pool.stop()


def published(count: int) -> list[Any]:
    """Handles of ``count`` versions whose weights differ."""
    from alpamayo.rollout.transport import ObjectStoreTransport
    from policies.vlm import NLDModel

    model = NLDModel(small_run.small_architecture()).init_weights(1)
    tensors = {n: p.detach().clone() for n, p in model.named_parameters()}
    transport = ObjectStoreTransport(tensors)
    vision = ("vision", "projector", "encoder.")
    moving = [n for n in tensors if not any(part in n for part in vision)]
    generator = torch.Generator().manual_seed(0)
    handles = []
    for version in range(count):
        noise = {n: torch.randn(tensors[n].shape, generator=generator) for n in moving}
        changed = {n: tensors[n] + 0.1 * version * noise[n] for n in moving}
        handles.append(transport.publish(version, changed))
    return handles


def worker(config: RunConfig, names: Any, first: int) -> Any:
    from alpamayo.rollout.pool import PoolBackend

    architecture = small_run.small_architecture()
    return PoolBackend(architecture, names, first, freeze_vision=True, patience_s=PATIENCE_S)


def local(config: RunConfig) -> LocalBackend:
    architecture = small_run.small_architecture()
    return LocalBackend(architecture, config.policy.decode, freeze_vision=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
def test_plans_are_the_local_ones_whatever_the_batch_and_versions_do_not_mix(pooled: Any) -> None:
    config, names, pool = pooled
    handles, alone = published(3), local(config)
    # Six workers, all first at the same actor: two of each version, of ragged sizes.
    jobs = [
        (n % 3, observation(size, n), keys(size, n)) for n, size in enumerate([1, 7, 3, 16, 2, 5])
    ]
    workers = [worker(config, names, 0) for _ in jobs]

    def drive(at: int) -> list[tuple[PlanBatch, dict[str, np.ndarray]]]:
        backend, (version, seen, noise) = workers[at], jobs[at]
        backend.pull(handles[version])
        assert backend.version == version
        return [(backend.plan(seen, noise + np.uint64(t)), backend.inputs(seen)) for t in range(4)]

    with ThreadPoolExecutor(len(jobs)) as threads:
        answers = list(threads.map(drive, range(len(jobs))))
    for (version, seen, noise), answer in zip(jobs, answers, strict=True):
        alone.pull(handles[version])
        for t, (plan, inputs) in enumerate(answer):
            same_plans(plan, alone.plan(seen, noise + np.uint64(t)))
            assert plan.decode_ms is not None and (plan.decode_ms > 0).all()
            expected = alone.inputs(seen)
            assert inputs.keys() == expected.keys() == {"prompt_ids", "features"}
            for name, values in expected.items():
                np.testing.assert_allclose(inputs[name], values, atol=1e-5)
    counts = pool.ask(lambda actor: actor.counts.remote())
    assert counts[0]["requests"] == 24 and counts[1]["requests"] == 0
    assert counts[0]["rows"] == 4 * sum(len(seen) for _, seen, _ in jobs)
    assert counts[0]["batches"] < 24  # some were joined
    # Different weights plan differently, or the comparison above would say little.
    alone.pull(handles[0])
    first = alone.plan(jobs[3][1], jobs[3][2]).as_actions()
    alone.pull(handles[2])
    assert np.abs(alone.plan(jobs[3][1], jobs[3][2]).as_actions() - first).max() > 1e-3


def pids_when_back(pool: Any) -> list[int]:
    """Of both actors, once Ray has put one in the place of the dead."""
    from ray.exceptions import RayActorError

    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return pool.ask(lambda actor: actor.pid.remote())
        except RayActorError:
            assert time.monotonic() < end
            time.sleep(0.5)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(2 * PATIENCE_S)
def test_an_actor_killed_between_two_plans_is_made_up_for_and_comes_back(pooled: Any) -> None:
    config, names, pool = pooled
    (handle,) = published(1)
    backend, alone = worker(config, names, 1), local(config)
    backend.pull(handle)
    alone.pull(handle)
    seen = observation(4, 7)
    before = pool.ask(lambda actor: actor.pid.remote())
    same_plans(backend.plan(seen, keys(4, 0)), alone.plan(seen, keys(4, 0)))
    os.kill(before[1], signal.SIGKILL)
    for n in range(1, 4):
        same_plans(backend.plan(seen, keys(4, n)), alone.plan(seen, keys(4, n)))
    assert backend.retries >= 1
    # What is seen last has no plan of its own, but image tokens.
    last = observation(2, 8)
    np.testing.assert_allclose(
        backend.inputs(last)["features"], alone.inputs(last)["features"], atol=1e-5
    )
    after = pids_when_back(pool)
    assert after[0] == before[0] and after[1] != before[1]
    back = worker(config, names, 1)
    back.pull(handle)
    same_plans(back.plan(seen, keys(4, 9)), alone.plan(seen, keys(4, 9)))
    assert pool.ask(lambda actor: actor.counts.remote())[1]["requests"] >= 1


def test_encoding_needs_no_actor(tmp_path: Path) -> None:
    from policies.vlm.action_tokens import ActionTokenizer

    config = small_run.small_config(tmp_path, tmp_path)
    tokenizer = ActionTokenizer(small_run.small_architecture().action)
    plans = np.random.default_rng(0).normal(size=(5, tokenizer.config.steps, 2)) * 0.1
    np.testing.assert_array_equal(local(config).encode(plans), tokenizer.encode(plans))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["policy.device=cuda"], "expected cpu while training, unless rollout.backend = pool"),
        (["policy.device=cuda", "rollout.backend=pool"], "placement.pool_gpus is above 0"),
        (["placement.pool_gpus=1"], "expected pool where its actors ask for GPUs"),
        (["rollout.samples_per_update=2"], "expected 0 with rollout.mode = synchronous"),
        (["rollout.mode=fast"], "rollout.mode"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        load_config("train", None, words)


def test_a_pool_on_gpus_asks_for_them() -> None:
    words = ["policy.device=cuda", "rollout.backend=pool", "rollout.pool_actors=3"]
    words += ["placement.pool_gpus=0.5", "placement.pool_resource=inference"]
    (role,) = [r for r in roles(load_config("train", None, words)) if r.name == "inference actor"]
    assert role.count == 3 and role.each == {"CPU": 1.0, "GPU": 0.5, "inference": 0.001}
