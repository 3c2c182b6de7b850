"""The events of a draw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alpamayo import types
from scenarios.actors import SCRIPTED_KINDS
from scenarios.evaluate import Evaluator
from scenarios.schema import ScenarioDocument
from scenarios.schema_actors import (
    ACTIONS_OF_WORLD,
    INDICATORS,
    SIDES,
    Action,
    Event,
)
from scenarios.yaml_tree import Loc

_FLAGS = ("run_light", "appear", "vanish")
_UNITS = ("_mps", "_s", "_m")


def build_events(
    document: ScenarioDocument,
    ev: Evaluator,
    actors: Mapping[str, types.ActorSpec],
    absent: set[str],
    signals: types.SignalPlan | None,
) -> tuple[types.EventSpec, ...]:
    """Events, without those that cannot happen because their actor, or an event that they wait for,
    is absent.
    """
    kept = _possible(document.events, absent)
    index = {document.events[i].id: n for n, i in enumerate(kept)}
    result = []
    for i in kept:
        event, loc = document.events[i], ("events", i)
        trigger = _trigger(event, ev, index, (*loc, "trigger"))
        actions = tuple(_actions(event, ev, actors.get(event.actor or ""), signals, loc))
        result.append(types.EventSpec(event.actor or "", trigger, actions))
    return tuple(result)


def _possible(events: list[Event], absent: set[str]) -> list[int]:
    """Indices of the events that can happen."""
    kept = [i for i, event in enumerate(events) if event.actor not in absent]
    while True:
        ids = {events[i].id for i in kept}
        after = {i: events[i].trigger.after for i in kept}
        fewer = [i for i in kept if (wait := after[i]) is None or wait.event in ids]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def _trigger(
    event: Event, ev: Evaluator, index: Mapping[str | None, int], loc: Loc
) -> types.Trigger:
    after = event.trigger.after
    if after is not None:
        delay_s = ev.values(after, (*loc, "after"))["delay_s"]
        return types.Trigger("after", delay_s, index[after.event])
    values = ev.values(event.trigger, loc)
    kind, value = next((name, value) for name, value in values.items() if value is not None)
    for unit in _UNITS:
        kind = kind.removesuffix(unit)
    return types.Trigger(kind, value)  # type: ignore[arg-type]


def _actions(
    event: Event,
    ev: Evaluator,
    actor: types.ActorSpec | None,
    signals: types.SignalPlan | None,
    loc: Loc,
) -> Iterator[types.Action]:
    for i, action in enumerate(event.actions):
        place: Loc = (*loc, "actions", i)
        name = next(n for n in type(action).model_fields if getattr(action, n) is not None)
        if name in ACTIONS_OF_WORLD:
            if name == "signal" and signals is None:
                ev.refuse((*place, name), "the road has no signals")
        elif actor is not None:
            reason = complaint(name, actor)
            if reason:
                ev.refuse((*place, name), reason)
        yield _action(name, action, ev, place)


def complaint(action: str, actor: types.ActorSpec) -> str | None:
    """Why an action could never do anything to ``actor``."""
    if action in ("appear", "vanish", "indicator"):
        return None
    if (action == "open_door") != (actor.kind == "door"):
        return f"only a door opens, and does nothing else; {actor.id} is a {actor.kind}"
    if actor.behaviour == "static" and actor.kind != "door":
        return f"{actor.id} never moves; its behaviour is static"
    if action == "stand" and actor.behaviour != "walk":
        return f"only behaviour walk stands and walks on; {actor.id} has {actor.behaviour}"
    if action == "lane_change" and actor.kind in SCRIPTED_KINDS:
        return f"expected a vehicle; {actor.id} is a {actor.kind}"
    return None


def _action(name: str, action: Action, ev: Evaluator, loc: Loc) -> types.Action:
    if name in _FLAGS:
        return types.Action(name)  # type: ignore[arg-type]
    part: Any = getattr(action, name)
    if name in ("speed", "offset", "react", "stand"):
        return types.Action(name, **ev.values(part, (*loc, name)))  # type: ignore[arg-type]
    if name == "lane_change":
        values = ev.values(part, (*loc, name))
        side = SIDES.get(values["to"], 0)
        return types.Action("lane_change", value=side, lateral_mps=values["lateral_mps"])
    if name == "open_door":
        values = ev.values(part, (*loc, name))
        return types.Action("open_door", value=values["angle_rad"], lateral_mps=values["edge_mps"])
    value = ev.values(action, loc)[name]
    if name == "signal":
        return types.Action("signal", mode=value)
    if name == "indicator":
        return types.Action("indicator", value=INDICATORS.get(value, 0))
    return types.Action("friction", value=value)
