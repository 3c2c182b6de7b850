"""The events of a draw: what is so from the start, triggers, and actions in the simulator's words.

Some words of the language are short for others: ``brake`` for a speed, ``swerve`` for two offsets
of which the second waits for the first. What an event does later becomes an event of its own behind
all those that the file lists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from alpamayo import types
from scenarios.actors import SCRIPTED_KINDS
from scenarios.evaluate import Evaluator
from scenarios.roads import check_path, runs_along
from scenarios.schema import ScenarioDocument
from scenarios.schema_actors import (
    ACTIONS_OF_WORLD,
    INDICATORS,
    SIDES,
    TRIGGERS_OF_ACTOR,
    Action,
    Event,
    Trigger,
)
from scenarios.surroundings import checked_fault
from scenarios.yaml_tree import Loc

FLAGS = ("run_light", "appear", "vanish", "fall")
MAY_FALL = ("pedestrian", "cyclist", "motorcycle", "animal")
SHIFT_RAMP_S = 0.5  # how much longer than way / speed a move sideways takes
_UNITS = ("_mps", "_s", "_m")


def build_events(
    document: ScenarioDocument,
    ev: Evaluator,
    actors: Mapping[str, types.ActorSpec],
    absent: set[str],
    signals: types.SignalPlan | None,
    paths: tuple[str, ...],
    road_kind: str,
) -> tuple[tuple[types.EventSpec, ...], tuple[types.Fault, ...]]:
    """Events, without those that cannot happen because their actor, or an event that they wait for,
    is absent; and the faults of sensors that wait for events.
    """
    builder = _Builder(ev, actors, absent, signals, paths, road_kind)
    kept = possible_events(document.events, absent)
    initial = [i for i, entry in enumerate(document.init) if entry.actor not in absent]
    builder.count = len(kept) + len(initial)
    index = {document.events[i].id: n for n, i in enumerate(kept)}
    for n, i in enumerate(kept):
        event, loc = document.events[i], ("events", i)
        trigger = builder.trigger(event, index, (*loc, "trigger"))
        builder.add(n, event.actor, trigger, event.actions, loc)
    for n, i in enumerate(initial, len(kept)):
        entry = document.init[i]
        builder.add(n, entry.actor, types.Trigger("time", 0.0), entry.actions, ("init", i))
    return tuple(builder.events + builder.later), tuple(builder.faults)


def possible_events(events: list[Event], absent: set[str]) -> list[int]:
    """Indices of the events that can happen without the ``absent`` actors."""
    kept = [i for i, event in enumerate(events) if event.actor not in absent]
    while True:
        ids = {events[i].id for i in kept}
        fewer = [i for i in kept if _possible(events[i].trigger, events[i], absent, ids)]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def _possible(trigger: Trigger, event: Event, absent: set[str], ids: set[str | None]) -> bool:
    if trigger.all is not None:
        return all(_possible(part, event, absent, ids) for part in trigger.all)
    if trigger.any is not None:
        return any(_possible(part, event, absent, ids) for part in trigger.any)
    if trigger.after is not None:
        return trigger.after.event in ids
    about = trigger.actor or event.actor
    kinds = [name for name in TRIGGERS_OF_ACTOR if getattr(trigger, name) is not None]
    return not (kinds and about in absent)


class _Builder:
    """Collects the events of a draw; ``count``: how many the file lists."""

    def __init__(
        self,
        ev: Evaluator,
        actors: Mapping[str, types.ActorSpec],
        absent: set[str],
        signals: types.SignalPlan | None,
        paths: tuple[str, ...],
        road_kind: str,
    ) -> None:
        self._ev, self._actors, self._absent = ev, actors, absent
        self._signals, self._paths, self._road_kind = signals, paths, road_kind
        self.count = 0
        self.events: list[types.EventSpec] = []
        self.later: list[types.EventSpec] = []
        self.faults: list[types.Fault] = []

    # Triggers ---------------------------------------------------------------------------
    def trigger(self, event: Event, index: Mapping[str | None, int], loc: Loc) -> types.Trigger:
        given = event.trigger
        if given.all is None and given.any is None and given.actor in (None, event.actor):
            kind, value, number = self._condition(given, index, loc)
            return types.Trigger(kind, value, number)
        parts: list[types.Condition] = []
        if given.all is None and given.any is None:  # about another actor
            self._part(given, event, index, loc, -1, parts)
            return types.Trigger("all", parts=tuple(parts))
        name = "any" if given.all is None else "all"
        self._parts(given, event, index, loc, -1, parts)
        return types.Trigger(name, parts=tuple(parts))  # type: ignore[arg-type]

    def _parts(
        self, whole: Trigger, event: Event, index: Any, loc: Loc, number: int, out: list[Any]
    ) -> None:
        name = "any" if whole.all is None else "all"
        ids = set(index)
        for i, part in enumerate(getattr(whole, name)):
            if _possible(part, event, self._absent, ids):
                self._part(part, event, index, (*loc, name, i), number, out)

    def _part(
        self, part: Trigger, event: Event, index: Any, loc: Loc, whole: int, out: list[Any]
    ) -> None:
        if part.all is not None or part.any is not None:
            kind: Any = "any" if part.all is None else "all"
            out.append(types.Condition(kind, whole=whole))
            self._parts(part, event, index, loc, len(out) - 1, out)
            return
        kind, value, number = self._condition(part, index, loc)
        actor = part.actor if part.actor != event.actor else None
        out.append(types.Condition(kind, value, number, actor or "", whole))

    def _condition(
        self, trigger: Trigger, index: Mapping[str | None, int], loc: Loc
    ) -> tuple[Any, float, int]:
        """Kind, value and number of the event awaited."""
        after = trigger.after
        if after is not None:
            delay_s = self._ev.values(after, (*loc, "after"))["delay_s"]
            return "after", delay_s, index[after.event]
        values = self._ev.values(trigger, loc)
        kind, value = next((name, value) for name, value in values.items() if value is not None)
        for unit in _UNITS:
            kind = kind.removesuffix(unit)
        return kind, value, -1

    # Actions ----------------------------------------------------------------------------
    def add(
        self,
        number: int,
        actor: str | None,
        trigger: types.Trigger,
        actions: list[Action],
        loc: Loc,
    ) -> None:
        """Event ``number``, with what it does."""
        done: list[types.Action] = []
        spec = self._actors.get(actor or "")
        for i, action in enumerate(actions):
            place: Loc = (*loc, "actions", i)
            name = next(n for n in type(action).model_fields if getattr(action, n) is not None)
            if name in ACTIONS_OF_WORLD:
                if name == "signal" and self._signals is None:
                    self._ev.refuse((*place, name), "the road has no signals")
            elif spec is not None:
                reason = complaint(name, spec)
                if reason:
                    self._ev.refuse((*place, name), reason)
            done += self._done(name, action, spec, number, place)
        self.events.append(types.EventSpec(actor or "", trigger, tuple(done)))

    def _then(
        self, spec: types.ActorSpec | None, number: int, delay_s: float, action: types.Action
    ) -> None:
        trigger = types.Trigger("after", delay_s, number)
        self.later.append(types.EventSpec(spec.id if spec else "", trigger, (action,)))

    def _done(
        self, name: str, action: Action, spec: types.ActorSpec | None, number: int, loc: Loc
    ) -> list[types.Action]:
        if name in FLAGS:
            return [types.Action(name)]  # type: ignore[arg-type]
        part: Any = getattr(action, name)
        place: Loc = (*loc, name)
        if name in _WORLDS:
            value = self._ev.values(action, loc)[name]
            return [_plain_action(name, value)]
        if name == "speed_profile":
            return self._profile(part, spec, number, place)
        values = self._ev.values(part, place)
        if name == "swerve":
            return self._swerve(values, spec, number)
        if name == "follow_path":
            return self._follow(values, spec, place)
        if name in ("sensor_fault", "latency"):
            self._break(name, values, number, place)
            return []
        if name == "weather":
            return _weather(values)
        return [_short(name, values, spec)]

    def _profile(
        self, points: Any, spec: types.ActorSpec | None, number: int, loc: Loc
    ) -> list[types.Action]:
        done: list[types.Action] = []
        delay_s = 0.0
        for i, point in enumerate(points):
            values = self._ev.values(point, (*loc, i))
            action = types.Action("speed", speed_mps=values["speed_mps"], in_s=values["in_s"])
            if i == 0:
                done = [action]
            else:
                self._then(spec, number, delay_s, action)
            delay_s += values["in_s"]
        return done

    def _swerve(
        self, values: dict[str, Any], spec: types.ActorSpec | None, number: int
    ) -> list[types.Action]:
        start_m = spec.d_m if spec is not None else 0.0
        back_m = start_m if values["back_d_m"] is None else values["back_d_m"]
        rate_mps = values["lateral_mps"] or 1.0
        way_s = abs(values["d_m"] - start_m) / rate_mps + SHIFT_RAMP_S
        back = types.Action("offset", d_m=back_m, lateral_mps=rate_mps)
        self._then(spec, number, way_s + values["hold_s"], back)
        return [types.Action("offset", d_m=values["d_m"], lateral_mps=rate_mps)]

    def _follow(
        self, values: dict[str, Any], spec: types.ActorSpec | None, loc: Loc
    ) -> list[types.Action]:
        path = values["path"]
        check_path(path, self._paths, (*loc, "path"), self._ev)
        if spec is not None and not runs_along(path, spec.path, self._road_kind):
            self._ev.refuse((*loc, "path"), f"{path} does not run beside {spec.path}")
        return [types.Action("follow", path=path, lateral_mps=values["lateral_mps"])]

    def _break(self, name: str, values: dict[str, Any], number: int, loc: Loc) -> None:
        for_s = values.pop("for_s")
        end_s = math.inf if for_s is None else for_s
        if name == "latency":
            fault = types.Fault("latency", amount=values["extra_s"], end_s=end_s, event=number)
        else:
            checked = checked_fault(values, self._ev, loc)
            fault = types.Fault(**checked, end_s=end_s, event=number)
        self.faults.append(fault)


# Actions that take one value.
_WORLDS = ("signal", "indicator", "friction")


def _plain_action(name: str, value: Any) -> types.Action:
    if name == "signal":
        return types.Action("signal", mode=value)
    if name == "indicator":
        return types.Action("indicator", value=INDICATORS.get(value, 0))
    return types.Action("friction", value=value)


def _short(name: str, values: dict[str, Any], spec: types.ActorSpec | None) -> types.Action:
    if name == "lane_change":
        side = SIDES.get(values["to"], 0)
        return types.Action("lane_change", value=side, lateral_mps=values["lateral_mps"])
    if name == "open_door":
        return types.Action("open_door", value=values["angle_rad"], lateral_mps=values["edge_mps"])
    if name == "brake":
        return types.Action("speed", speed_mps=values["to_mps"], accel_mps2=values["decel_mps2"])
    if name == "reverse":
        ahead = 1.0 if spec is not None and spec.speed_mps < 0.0 else -1.0
        speed_mps = ahead * values["speed_mps"]
        return types.Action("speed", speed_mps=speed_mps, accel_mps2=values["accel_mps2"])
    if name == "cross":
        return types.Action("offset", d_m=values["to_d_m"], lateral_mps=values["speed_mps"])
    if name == "friction_patch":
        patch = (values["from_m"], values["to_m"], values["friction"])
        return types.Action("patch", patch=patch)
    given = {key: value for key, value in values.items() if value is not None}
    return types.Action(name, **given)  # type: ignore[arg-type]


def _weather(values: dict[str, Any]) -> list[types.Action]:
    friction = values.pop("friction")
    done = [types.Action("weather", weather=types.WeatherChange(**values))]
    if friction is not None:
        done.append(types.Action("friction", value=friction))
    return done


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
    if action in ("lane_change", "follow_path", "reverse") and actor.kind in SCRIPTED_KINDS:
        return f"expected a vehicle; {actor.id} is a {actor.kind}"
    if action == "cross" and actor.kind not in (*SCRIPTED_KINDS, "cyclist"):
        return f"expected someone on foot, a cyclist, an animal or a ball; {actor.id} is " + (
            f"a {actor.kind}"
        )
    if action == "fall" and actor.kind not in MAY_FALL:
        return f"expected one of {', '.join(MAY_FALL)}; {actor.id} is a {actor.kind}"
    return None
