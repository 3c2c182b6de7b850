"""How a world looks at a time, after what events have changed: pure functions of when they fired.

So past views are drawn again as they were, in every fork, and nothing has to be remembered. What an
event changes shows from the tick after it fired on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from alpamayo.types import ACTOR_SIZES_M, Action, FloatArray, IntArray, Scenario, WeatherChange
from sim.faults import shows_from_s
from sim.state import WorldState

LOOKS = ("light", "fog_m", "rain", "snow", "glare")
_EXACT_S = 1e-6


def looks_at(
    state: WorldState,
    rows: IntArray,
    scenarios: Sequence[Scenario],
    time_s: FloatArray,
    tick_s: float,
) -> dict[str, npt.NDArray[np.float64]]:
    """``LOOKS`` [n] of ``scenarios`` [n], which run in worlds ``rows`` [n], at ``time_s`` [n]."""
    looks = {name: np.array(getattr(state, name)[rows], dtype=np.float64) for name in LOOKS}
    for i, (row, scenario) in enumerate(zip(rows, scenarios, strict=True)):
        if not any(a.kind == "weather" for e in scenario.events for a in e.actions):
            continue
        for since_s, action, _ in _shown(state, int(row), scenario, time_s[i], tick_s):
            if action.weather is not None:
                share = _share(action.weather, time_s[i] - since_s)
                for name in LOOKS:
                    target = getattr(action.weather, name)
                    if target is not None:
                        looks[name][i] = _between(name, float(looks[name][i]), target, share)
    return looks


def stand_up(
    boxes: FloatArray,
    state: WorldState,
    rows: IntArray,
    scenarios: Sequence[Scenario],
    time_s: FloatArray,
    tick_s: float,
) -> None:
    """Give those in ``boxes`` [n, A, 7] who had not fallen at ``time_s`` [n] their size of then, in
    place."""
    for i, (row, scenario) in enumerate(zip(rows, scenarios, strict=True)):
        falls = {e.actor for e in scenario.events if any(a.kind == "fall" for a in e.actions)}
        if not falls:
            continue
        shown = _shown(state, int(row), scenario, time_s[i], tick_s)
        fallen = {actor for _, action, actor in shown if action.kind == "fall"}
        for slot, actor in enumerate(scenario.actors):
            if actor.id in falls - fallen:
                boxes[i, slot, 3:6] = actor.size_m or ACTOR_SIZES_M[actor.kind]


def _shown(
    state: WorldState, row: int, scenario: Scenario, time_s: float, tick_s: float
) -> Iterator[tuple[float, Action, str]]:
    """(since when, action, actor) of what shows at ``time_s``, in the order in which it came."""
    fired_s = state.fired_s[row, : len(scenario.events)]
    for k in np.argsort(fired_s, kind="stable"):
        since_s = shows_from_s(fired_s[k], tick_s)
        if since_s <= time_s + _EXACT_S:
            for action in scenario.events[k].actions:
                yield since_s, action, scenario.events[k].actor


def _share(change: WeatherChange, elapsed_s: float) -> float:
    if change.over_s <= 0.0:
        return 1.0
    return min(max(elapsed_s / change.over_s, 0.0), 1.0)


def _between(name: str, before: float, target: float, share: float) -> float:
    if name != "fog_m":
        return before + (target - before) * share
    # Extinction changes evenly, not the distance of sight: from clear air (inf) too.
    extinction = (1.0 - share) / before + share / target
    return 1.0 / extinction if extinction > 0.0 else math.inf
