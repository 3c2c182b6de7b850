"""A short way to construct scenarios for the simulator's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alpamayo.types import ActorSpec, EgoSpec, EventSpec, RoadSpec, Scenario
from sim.config import SimConfig


def make_scenario(
    *actors: ActorSpec,
    events: tuple[EventSpec, ...] = (),
    road: RoadSpec | None = None,
    ego: EgoSpec | None = None,
    **settings: Any,
) -> Scenario:
    return Scenario(
        id="test",
        family="test",
        nominal=True,
        seed=settings.pop("seed", 1),
        road=road or RoadSpec(),
        ego=ego or EgoSpec(speed_mps=10.0),
        actors=actors,
        events=events,
        **settings,
    )


@pytest.fixture
def scenario() -> Callable[..., Scenario]:
    """``scenario(*actors, events=, road=, ego=, **settings)``: straight two-lane road, ego in lane0
    at 10 m/s."""
    return make_scenario


@pytest.fixture
def blind() -> SimConfig:
    """Default physics without a camera."""
    return SimConfig(rig=None)
