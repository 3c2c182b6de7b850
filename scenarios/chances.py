"""Whether each event can ever happen: an event that no draw lets fire is a mistake."""

from __future__ import annotations

from collections.abc import Iterator

from alpamayo import types
from scenarios.events import possible_events
from scenarios.roads import BY_LANES
from scenarios.schema import ScenarioDocument
from scenarios.schema_actors import Event, Initially
from scenarios.yaml_tree import Loc, Problem

FASTEST_MPS = 60.0  # of anybody
_ABOUT_EGO_AND_ACTOR = ("distance", "ttc", "arrival", "headway")


class Chances:
    """Notes draws of a document, then tells which events none of them lets fire."""

    def __init__(self, document: ScenarioDocument) -> None:
        self._document = document
        self._reasons: dict[int, str] = {}
        self._can: set[int] = set()
        self._appear: dict[Loc, str] = {}

    def note(self, scenario: types.Scenario) -> None:
        """Look at one draw."""
        there = {actor.id for actor in scenario.actors}
        absent = {actor.id for actor in self._document.actors} - there
        for n, i in enumerate(possible_events(self._document.events, absent)):
            if i not in self._can:
                reason = never(scenario, n)
                if reason is None:
                    self._can.add(i)
                else:
                    self._reasons.setdefault(i, reason)

    def problems(self) -> Iterator[Problem]:
        for i, reason in self._reasons.items():
            if i not in self._can:
                yield Problem(("events", i, "trigger"), f"can never happen: {reason}")
        yield from self._appearing()

    def _appearing(self) -> Iterator[Problem]:
        """Nobody appears who is there."""
        document = self._document
        entries: list[Initially | Event] = [*document.init, *document.events]
        vanishing = {e.actor for e in entries for a in e.actions if a.vanish is not None}
        for i, event in enumerate(document.events):
            for j, action in enumerate(event.actions):
                if action.appear is not None and event.actor not in vanishing:
                    yield Problem(
                        ("events", i, "actions", j, "appear"),
                        f"{event.actor} is there all the time; expected vanish in init or in an "
                        "earlier event",
                    )


def never(scenario: types.Scenario, number: int) -> str | None:
    """Why event ``number`` cannot fire in a draw; None if it may."""
    event = scenario.events[number]
    trigger = event.trigger
    if trigger.kind not in ("all", "any"):
        part = types.Condition(trigger.kind, trigger.value, trigger.event)
        return _never(part, event.actor, scenario)
    return _combined(trigger.kind, -1, event, scenario)


def _combined(
    kind: str, whole: int, event: types.EventSpec, scenario: types.Scenario
) -> str | None:
    reasons = []
    for n, part in enumerate(event.trigger.parts):
        if part.whole == whole:
            if part.kind in ("all", "any"):
                reasons.append(_combined(part.kind, n, event, scenario))
            else:
                reasons.append(_never(part, part.actor or event.actor, scenario))
    if kind == "all":
        return next((reason for reason in reasons if reason is not None), None)
    return reasons[0] if reasons and None not in reasons else None


def _never(part: types.Condition, about: str, scenario: types.Scenario) -> str | None:
    kind, value = part.kind, part.value
    if kind in ("time", "after"):
        earliest_s = _earliest_s(part, scenario, ())
        if earliest_s >= scenario.duration_s:
            return f"its earliest time is {earliest_s:g} s, the episode ends at " + (
                f"{scenario.duration_s:g} s"
            )
        return None
    if kind == "ego_position":
        road, ego = scenario.road, scenario.ego
        if road.kind in BY_LANES and ego.s_m + value > road.length_m:
            return f"ego's route ends {road.length_m - ego.s_m:g} m after its start"
        return None
    if kind == "ego_speed":
        return None if value <= FASTEST_MPS else f"nobody drives {value:g} m/s"
    actor = next((a for a in scenario.actors if a.id == about), None)
    if actor is None or actor.kind == "door":
        return None
    return _never_of(kind, value, actor, scenario)


def _never_of(
    kind: str, value: float, actor: types.ActorSpec, scenario: types.Scenario
) -> str | None:
    """Of conditions about an actor."""
    stands = actor.behaviour == "static"
    if kind == "actor_speed":
        if stands and value > 0.0:
            return f"{actor.id} never moves; its behaviour is static"
        return None if value <= FASTEST_MPS else f"nobody drives {value:g} m/s"
    if kind == "actor_position" and stands and not actor.s_from_ego and actor.s_m < value:
        return f"{actor.id} stands at {actor.s_m:g} m"
    if kind in _ABOUT_EGO_AND_ACTOR and stands and actor.path == scenario.ego.path:
        ahead = actor.s_m if actor.s_from_ego else actor.s_m - scenario.ego.s_m
        if ahead <= 0.0:
            return f"{actor.id} stands {-ahead:g} m behind ego's start, never ahead of it"
    return None


def _earliest_s(
    part: types.Condition | types.Trigger, scenario: types.Scenario, open_: tuple[int, ...]
) -> float:
    """The first moment at which a condition may hold."""
    if part.kind == "time":
        return part.value
    if part.kind == "after" and part.event not in open_:
        before = scenario.events[part.event].trigger
        return part.value + _earliest_s(before, scenario, (*open_, part.event))
    if isinstance(part, types.Trigger) and part.parts:
        times = [_earliest_s(p, scenario, open_) for p in part.parts if p.whole < 0]
        return max(times) if part.kind == "all" else min(times)
    return 0.0
