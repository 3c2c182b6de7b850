"""The files of configs/cluster are valid, and the runs find room on the clusters they describe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from alpamayo.config import RunConfig, load_config
from alpamayo.placement import custom, missing, roles

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "cluster"
RUNS = ("laptop", "node_8gpu", "multi_node")
Nodes = list[dict[str, float]]


def run(name: str) -> RunConfig:
    config = load_config("train", str(FOLDER / f"{name}.yaml"))
    assert isinstance(config, RunConfig)
    return config


def document(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def kubernetes_nodes() -> Nodes:
    """What KubeRay starts: limits of the containers, rayStartParams on top."""
    spec = document("rayjob.yaml")["spec"]["rayClusterSpec"]
    groups = [(spec["headGroupSpec"], 1)]
    groups += [(group, group["replicas"]) for group in spec["workerGroupSpecs"]]
    nodes: Nodes = []
    for group, count in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        start = group["rayStartParams"]
        node = {"CPU": float(start.get("num-cpus", limits["cpu"]))}
        if "nvidia.com/gpu" in limits:
            node["GPU"] = float(limits["nvidia.com/gpu"])
        # Quoted for YAML and once more for the shell that KubeRay writes.
        node |= json.loads(json.loads(start["resources"])) if "resources" in start else {}
        nodes += [node] * count
    return nodes


def launcher_nodes() -> Nodes:
    types = document("autoscaler.yaml")["available_node_types"]
    return [t["resources"] for t in types.values() for _ in range(max(t["min_workers"], 1))]


CLUSTERS: dict[str, tuple[str, Nodes]] = {
    "rayjob": ("multi_node", kubernetes_nodes()),
    "autoscaler": ("multi_node", launcher_nodes()),
    "one node": ("node_8gpu", [{"CPU": 96.0, "GPU": 8.0}]),
    "laptop": ("laptop", [{"CPU": 2.0}]),
}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_process_finds_room(cluster: str) -> None:
    name, nodes = CLUSTERS[cluster]
    assert missing(roles(run(name)), nodes) == {}


def test_simulators_and_learners_go_to_their_own_nodes() -> None:
    nodes = kubernetes_nodes()
    assert nodes == [
        {"CPU": 0.0}, {"CPU": 16.0, "sim": 1}, {"CPU": 16.0, "sim": 1},
        {"CPU": 16.0, "GPU": 4.0, "plan": 1}, {"CPU": 32.0, "GPU": 4.0, "learn": 1},
    ]  # fmt: skip
    for resource, left in (("sim", "rollout worker"), ("plan", "inference actor")):
        without = [node for node in nodes if resource not in node]
        assert set(missing(roles(run("multi_node")), without)) == {left}


def test_the_job_runs_a_config_that_ships() -> None:
    words = document("rayjob.yaml")["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "alpamayo.cli.job"]
    assert (FOLDER.parents[1] / words[words.index("--config") + 1]).is_file()


def test_rays_own_check_takes_the_launchers_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(document("autoscaler.yaml")))
    with pytest.raises(Exception, match="cluster_name"):
        validate_config({**document("autoscaler.yaml"), "cluster_name": 3})


def test_versions_agree() -> None:
    import ray

    assert document("rayjob.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    assert f"ray[default]=={ray.__version__}" in document("autoscaler.yaml")["setup_commands"][0]


@pytest.fixture(params=["rayjob", "one node"])
def simulated(request: pytest.FixtureRequest) -> Iterator[str]:
    """A Ray of as many nodes, each a process that says to have what the real one has."""
    import ray
    from ray.cluster_utils import Cluster

    _, nodes = CLUSTERS[request.param]
    cluster = Cluster()
    try:
        for node in nodes:
            cluster.add_node(
                num_cpus=int(node["CPU"]), num_gpus=int(node.get("GPU", 0)),
                resources=custom(node), object_store_memory=100 << 20,
            )  # fmt: skip
        ray.init(address=cluster.address, log_to_driver=False)
        yield request.param
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600.0)
def test_ray_places_every_process(simulated: str) -> None:
    import ray
    from ray.util.placement_group import placement_group, placement_group_table

    name, nodes = CLUSTERS[simulated]
    wanted = roles(run(name))
    bundles = [dict(role.each) for role in wanted for _ in range(role.count)]
    group = placement_group(bundles, strategy="PACK")
    assert group.wait(120.0), "no room for all at once"
    place = placement_group_table(group)["bundles_to_node_id"]
    has = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    for index, bundle in enumerate(bundles):
        for resource in custom(bundle):
            assert resource in has[place[index]]
    one_more = placement_group([{"CPU": max(node["CPU"] for node in nodes) + 1.0}])
    assert not one_more.wait(2.0)
