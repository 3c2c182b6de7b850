"""The closed loop with real workers: weights arrive by version, dead and failing workers are
survived.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from alpamayo.types import CheckFailed
from tests.alpamayo import small_run

PATIENCE_S = 240.0
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(2 * PATIENCE_S)]


@pytest.fixture(scope="module")
def algorithm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from alpamayo.loop import PostTrainConfig
    from alpamayo.rollout.ray_session import ray_session

    folder = tmp_path_factory.mktemp("loop")
    init = small_run.save_small_policy(folder / "policy")
    config = small_run.small_config(folder / "runs", init)
    with ray_session(config, object_store_memory=200 << 20):
        made = PostTrainConfig.of(config, str(init)).build_algo()
        yield made
        made.stop()


def workers(algorithm: Any, func: Any) -> list[Any]:
    return algorithm.env_runner_group.foreach_env_runner(
        func, local_env_runner=False, timeout_seconds=PATIENCE_S
    )


def iterate(algorithm: Any) -> dict[str, float]:
    from alpamayo.training import flatten

    return flatten(algorithm.train())


def test_two_updates_reach_the_rollouts_by_version_and_change_what_they_do(algorithm: Any) -> None:
    observation, keys = small_run.fixed_observation()

    def held(runner: Any) -> tuple[int, np.ndarray]:
        return runner.module.version, runner.log_probs(observation, keys)

    first = iterate(algorithm)
    assert {e.weights_version for e in algorithm.episodes} == {0}
    before = workers(algorithm, held)
    expected = algorithm._from_learner(
        lambda learner: learner.post.policy_tensors(trainable_only=True)
    )
    expected = {name: tensor.clone() for name, tensor in expected.items()}
    second = iterate(algorithm)
    assert {e.weights_version for e in algorithm.episodes} == {1}
    after = workers(algorithm, held)

    assert [version for version, _ in before] == [0, 0]
    assert [version for version, _ in after] == [1, 1]
    assert algorithm.version == 2
    np.testing.assert_array_equal(after[0][1], after[1][1])
    assert np.abs(after[0][1] - before[0][1]).max() > 1e-3
    # Exactly the weights of the first update.
    from alpamayo.learner.checkpoint import policy_model
    from policies.vlm import VLMPolicy

    local = VLMPolicy(policy_model(small_run.small_architecture(), expected))
    trace = local.plan(observation, noise_keys=keys).trace
    assert trace is not None
    np.testing.assert_allclose(after[0][1], trace.log_prob, atol=1e-5)

    for metrics, version in ((first, 0), (second, 1)):
        assert metrics["rollout/weights_version"] == version
        assert metrics["rollout/staleness"] == 0
        assert metrics["rollout/episodes"] == 32 and metrics["rollout/broken"] == 0
        # One minibatch per update: the replayed likelihood meets unchanged weights.
        assert metrics["losses/ratio"] == pytest.approx(1.0, abs=1e-4)
        assert metrics["losses/approx_kl"] == pytest.approx(0.0, abs=1e-5)
        assert metrics["losses/grad_norm"] > 0 and metrics["losses/skipped"] == 0


def test_an_iteration_repeated_from_its_saved_state_gives_the_same_weights(algorithm: Any) -> None:
    learned, moments, counters = algorithm.training_state()
    iterate(algorithm)
    once, _, after = algorithm.training_state()
    assert after["iteration"] == counters["iteration"] + 1
    algorithm.load_training_state(learned, moments, counters)
    iterate(algorithm)
    again, _, _ = algorithm.training_state()
    assert any(not torch.equal(once[name], learned[name]) for name in once)
    for name, tensor in once.items():
        torch.testing.assert_close(again[name], tensor, rtol=1e-6, atol=1e-8)


def test_a_worker_whose_simulator_raises_leaves_failed_episodes_and_training_goes_on(
    algorithm: Any,
) -> None:
    def break_first(runner: Any) -> None:
        if runner.worker_index == 1:
            runner._drive = lambda *_: 1 / 0

    def mend(runner: Any) -> None:
        runner.__dict__.pop("_drive", None)

    workers(algorithm, break_first)
    metrics = iterate(algorithm)
    failed = [e for e in algorithm.episodes if e.end == "failed"]
    assert len(failed) == 16 and len(algorithm.episodes) == 32
    assert failed[0].error == "ZeroDivisionError: division by zero" and failed[0].scenario_id
    assert metrics["rollout/broken"] == 16 and metrics["rollout/workers"] == 1
    workers(algorithm, mend)
    assert iterate(algorithm)["rollout/workers"] == 2


def test_a_killed_worker_does_not_stop_training_and_comes_back(algorithm: Any) -> None:
    victim = workers(algorithm, lambda runner: runner.pid())[0]
    os.kill(victim, signal.SIGKILL)
    metrics = iterate(algorithm)
    assert metrics["rollout/workers"] == 1 and metrics["rollout/episodes"] == 16
    # No group of the dead worker is left half-filled.
    assert len(algorithm.episodes) % 4 == 0
    end = time.monotonic() + PATIENCE_S
    while metrics["rollout/workers"] < 2 and time.monotonic() < end:
        metrics = iterate(algorithm)
    assert metrics["rollout/workers"] == 2
    # The restarted worker drives with the newest weights, which it had to pull completely.
    newest = algorithm.version - 1
    assert {e.weights_version for e in algorithm.episodes} == {newest}


def test_an_iteration_without_any_driven_episode_ends_the_run_with_the_reason(
    algorithm: Any,
) -> None:
    def break_all(runner: Any) -> None:
        runner._drive = lambda *_: 1 / 0

    workers(algorithm, break_all)
    with pytest.raises(CheckFailed, match="every episode of the iteration failed: ZeroDivision"):
        algorithm.train()
    assert {e.end for e in algorithm.episodes} == {"failed"}
