"""The loop with real workers that drive while the learner updates."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.alpamayo import small_run
from tests.alpamayo.test_loop import PATIENCE_S, iterate, workers

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(2 * PATIENCE_S)]
BOUND = 1


@pytest.fixture(scope="module")
def algorithm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from alpamayo.loop import PostTrainConfig
    from alpamayo.rollout.ray_session import ray_session

    folder = tmp_path_factory.mktemp("loop")
    init = small_run.save_small_policy(folder / "policy")
    config = small_run.small_config(folder / "runs", init, importance_cap=2.0)
    rollout = replace(
        config.rollout, mode="asynchronous", max_staleness=BOUND, samples_per_update=1
    )
    config = replace(config, rollout=rollout)
    with ray_session(config, object_store_memory=200 << 20):
        made = PostTrainConfig.of(config, str(init)).build_algo()
        yield made
        made.stop()


def test_updates_learn_from_samples_as_they_arrive_none_older_than_the_bound(
    algorithm: Any,
) -> None:
    versions = []
    for iteration in range(6):
        metrics = iterate(algorithm)
        # One worker's sample, whole groups of 4.
        assert metrics["rollout/episodes"] == 16
        (version,) = {e.weights_version for e in algorithm.episodes}
        versions.append(version)
        assert metrics["rollout/staleness"] == iteration - version
        assert 0 <= metrics["rollout/staleness_max"] <= BOUND
        assert metrics["charts/weights_version"] == iteration + 1 == algorithm.version
        assert 0 <= metrics["time/worker_idle_share"] < 1
        assert 0 < metrics["time/learner_idle_share"] < 1
        assert metrics["losses/skipped"] == 0
    assert versions == sorted(versions) and versions[-1] >= 4
    assert 1 in {iteration - version for iteration, version in enumerate(versions)}
    rows = list(algorithm.ledger._last.values())
    trained = [row for row in rows if row["event"] == "trained"]
    assert len(trained) == 6 and all(r["groups"] == 4 and r["episodes"] == 16 for r in trained)
    assert sum(algorithm.ledger.totals().values()) == algorithm.ledger.next_sample
    # Workers are driving although nobody asks for an iteration.
    assert algorithm.stream.under_way + len(algorithm.sampler.arrived) >= 1


def test_a_killed_worker_costs_its_sample_and_comes_back(algorithm: Any) -> None:
    pids = workers(algorithm, lambda runner: runner.pid())
    os.kill(pids[0], signal.SIGKILL)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        metrics = iterate(algorithm)
        assert metrics["rollout/episodes"] == 16 and metrics["rollout/staleness_max"] <= BOUND
        lost = algorithm.ledger.totals().get("lost (worker died)", 0)
        if lost and metrics["rollout/workers"] == 2:
            break
    assert lost == 1
    assert sum(algorithm.ledger.totals().values()) == algorithm.ledger.next_sample
    algorithm.ledger.settle(algorithm.loop_iteration)
    assert "requested" not in algorithm.ledger.totals()
