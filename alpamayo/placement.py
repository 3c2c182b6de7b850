"""What the processes of a training ask of a cluster, and whether its nodes have it.

Ray places every process on a node that has all of what it asks for; so do we, to know beforehand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from alpamayo.config import PlacementConfig, RunConfig

Resources = Mapping[str, float]
A_LITTLE = 0.001  # of a custom resource that only says which nodes are meant


@dataclass(frozen=True)
class Role:
    """``count`` processes that ask for ``each``."""

    name: str
    count: int
    each: Resources


def roles(config: RunConfig) -> tuple[Role, ...]:
    """The processes of a training besides the one that drives it."""
    place = config.placement
    found = [Role("rollout worker", config.rollout.workers, worker_resources(place))]
    if config.rollout.backend == "pool":
        found.append(Role("inference actor", config.rollout.pool_actors, pool_resources(place)))
    if place.learners:
        found.append(Role("learner", place.learners, learner_resources(place)))
    return tuple(found)


def worker_resources(place: PlacementConfig) -> dict[str, float]:
    named = {place.worker_resource: A_LITTLE} if place.worker_resource else {}
    return {"CPU": place.worker_cpus, **named}


def learner_resources(place: PlacementConfig) -> dict[str, float]:
    named = {place.learner_resource: A_LITTLE} if place.learner_resource else {}
    gpus = {"GPU": place.learner_gpus} if place.learner_gpus else {}
    return {"CPU": place.learner_cpus, **gpus, **named}


def pool_resources(place: PlacementConfig) -> dict[str, float]:
    named = {place.pool_resource: A_LITTLE} if place.pool_resource else {}
    gpus = {"GPU": place.pool_gpus} if place.pool_gpus else {}
    return {"CPU": place.pool_cpus, **gpus, **named}


def custom(resources: Resources) -> dict[str, float]:
    """Those that are neither CPU nor GPU."""
    return {name: amount for name, amount in resources.items() if name not in ("CPU", "GPU")}


def missing(wanted: Iterable[Role], nodes: Sequence[Resources]) -> dict[str, int]:
    """How many processes of each role find no room on ``nodes``; {} if all do.

    First fit, roles that ask for rare things first, as they have the fewest places to go.
    """
    free = [dict(node) for node in nodes]
    left: dict[str, int] = {}
    for role in sorted(wanted, key=lambda r: sum(_has(node, r.each) for node in nodes)):
        for _ in range(role.count):
            node = next((n for n in free if _has(n, role.each)), None)
            if node is None:
                left[role.name] = left.get(role.name, 0) + 1
                continue
            for name, amount in role.each.items():
                node[name] = node.get(name, 0.0) - amount
    return left


def _has(node: Resources, wanted: Resources) -> bool:
    return all(node.get(name, 0.0) >= amount - 1e-9 for name, amount in wanted.items())


def told(resources: Resources) -> str:
    """For people: ``1 CPU, 0.5 GPU, sim``."""
    parts = [f"{amount:g} {name}" for name, amount in resources.items() if name in ("CPU", "GPU")]
    return ", ".join([*parts, *custom(resources)])
