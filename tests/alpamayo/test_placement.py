"""What a training asks of a cluster, and whether it is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alpamayo.config import PlacementConfig, RunConfig, load_config
from alpamayo.placement import Role, custom, missing, roles, told
from alpamayo.types import RequestError


def test_a_run_asks_for_a_core_per_worker_and_what_its_learners_need() -> None:
    config = RunConfig()
    assert roles(config) == (Role("rollout worker", 2, {"CPU": 1.0}),)
    place = PlacementConfig(learners=2, learner_gpus=0.5, learner_cpus=4.0, worker_resource="sim")
    workers, learners = roles(replace(config, placement=place))
    assert workers.each == {"CPU": 1.0, "sim": 0.001} and custom(workers.each) == {"sim": 0.001}
    assert learners == Role("learner", 2, {"CPU": 4.0, "GPU": 0.5})
    assert told(learners.each) == "4 CPU, 0.5 GPU" and told(workers.each) == "1 CPU, sim"


def test_rare_places_are_kept_for_those_who_need_them() -> None:
    """Two nodes of two cores, one with a GPU: three workers and a learner on the GPU just fit."""
    nodes = [{"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0}]
    worker, learner = {"CPU": 1.0}, {"CPU": 1.0, "GPU": 1.0}
    assert missing([Role("worker", 3, worker), Role("learner", 1, learner)], nodes) == {}
    assert missing([Role("worker", 4, worker), Role("learner", 2, learner)], nodes) == {
        "learner": 1,
        "worker": 1,
    }
    # A process cannot be spread over nodes.
    assert missing([Role("big", 1, {"CPU": 3.0})], nodes) == {"big": 1}


def test_a_custom_resource_names_nodes_and_is_not_used_up() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 64.0, "sim": 1.0}]
    each = {"CPU": 1.0, "sim": 0.001}
    assert missing([Role("worker", 64, each)], nodes) == {}
    assert missing([Role("worker", 65, each)], nodes) == {"worker": 1}
    assert missing([Role("worker", 2, {"CPU": 1.0, "other": 0.001})], nodes) == {"worker": 2}


@pytest.mark.parametrize("word", ["placement.learner_gpus=1", "placement.learner_resource=gpu"])
def test_what_learners_ask_needs_learners(word: str) -> None:
    with pytest.raises(RequestError, match="expected at least 1"):
        load_config("train", None, [word])
    assert load_config("train", None, [word, "placement.learners=1"]).placement.learners == 1


@pytest.mark.ray
@pytest.mark.slow
def test_a_machine_without_a_gpu_refuses_at_once() -> None:
    import ray
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    from alpamayo.rollout.ray_session import ray_session

    place = PlacementConfig(learners=1, learner_gpus=1.0)
    with (
        pytest.raises(RequestError, match=r"every learner \(1 CPU, 1 GPU each\), 1 found none"),
        ray_session(replace(RunConfig(), placement=place), object_store_memory=100 << 20),
    ):
        pass
    assert not ray.is_initialized()
