"""What a scenario file must mean, beyond its schema: names that exist, parameters that are used,
draws that work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scenarios.chances import Chances
from scenarios.evaluate import DrawError
from scenarios.parameters import draw_parameters, parameters_at, stable_hash, unmet_constraints
from scenarios.places import check_start
from scenarios.quantities import near
from scenarios.roads import BY_LANES, CROSSINGS, path_names, unknown_path
from scenarios.sample import build
from scenarios.schema import Distribution, ScenarioDocument
from scenarios.schema_actors import ACTIONS_OF_WORLD, TRIGGERS_OF_ACTOR, Action
from scenarios.yaml_tree import Loc, Problem, Tree

PROBED_CORNERS, PROBED_SEEDS = 12, 10
_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_PROSE = ("description", "sources", "tags", "id", "family", "extends")


def check_raw(tree: Tree) -> list[Problem]:
    """Checks that make sense even when other parts of the file are wrong; ``tree.value`` is a
    mapping.
    """
    value = tree.value
    return [
        *_check_id(tree, value),
        *_check_duplicate_actors(value),
        *_check_actor_names(value),
        *_check_event_ids(value),
        *_check_paths(value),
        *_check_parameters(value),
    ]


def check_draws(document: ScenarioDocument) -> list[Problem]:
    """Problems of a sweep over the corners of the parameter space and some random draws."""
    found: dict[Loc, Problem] = {}
    drawn = [name for name, spec in document.parameters.items() if isinstance(spec, Distribution)]
    low, high = 1e-9, 1.0 - 1e-9
    corners = [dict.fromkeys(drawn, low), dict.fromkeys(drawn, high), dict.fromkeys(drawn, 0.5)]
    corners += [
        {name: high if stable_hash(name) >> k & 1 else low for name in drawn}
        for k in range(PROBED_CORNERS)
    ]
    chances = Chances(document)
    for number in range(len(corners) + PROBED_SEEDS):
        try:
            if number < len(corners):
                parameters = parameters_at(document, corners[number])
                if unmet_constraints(document, parameters):
                    continue
            else:
                parameters = draw_parameters(document, number)
            scenario = build(document, parameters, number)
        except DrawError as error:
            for problem in error.problems:
                found.setdefault(problem.loc, problem)
            if error.problems[0].loc[:1] == ("constraints",):
                break  # as slow, and as hopeless, for every other seed
            continue
        chances.note(scenario)
        for problem in check_start(scenario, document):
            found.setdefault(problem.loc, problem)
    for problem in chances.problems():
        found.setdefault(problem.loc, problem)
    return list(found.values())


# --------------------------------------------------------------------------------------
# Names
# --------------------------------------------------------------------------------------
def _check_id(tree: Tree, value: dict[str, Any]) -> Iterator[Problem]:
    own, stem = value.get("id"), Path(tree.file).stem
    if isinstance(own, str) and own != stem:
        yield Problem(("id",), f"expected the file's name, {stem}, got {own}")


def _mappings(value: Any) -> list[tuple[int, dict[str, Any]]]:
    return (
        [(i, v) for i, v in enumerate(value) if isinstance(v, dict)]
        if isinstance(value, list)
        else []
    )


def _check_duplicate_actors(value: dict[str, Any]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for i, actor in _mappings(value.get("actors")):
        name = actor.get("id")
        if not isinstance(name, str):
            continue
        if name in seen or name == "ego":
            reason = "is taken by ego" if name == "ego" else f"is also actors.{seen[name]}"
            yield Problem(("actors", i, "id"), f"duplicate actor id: {name} {reason}")
        seen.setdefault(name, i)


def _check_actor_names(value: dict[str, Any]) -> Iterator[Problem]:
    """Events and doors name actors that exist; events that are about an actor name one."""
    actors = _mappings(value.get("actors"))
    names = [actor["id"] for _, actor in actors if isinstance(actor.get("id"), str)]
    doing: list[tuple[Loc, dict[str, Any]]] = [
        (("events", i), event) for i, event in _mappings(value.get("events"))
    ]
    doing += [(("init", i), entry) for i, entry in _mappings(value.get("init"))]
    named: list[tuple[Loc, Any]] = [(("actors", i, "parent"), a.get("parent")) for i, a in actors]
    for loc, entry in doing:
        named.append(((*loc, "actor"), entry.get("actor")))
        for place, trigger in _triggers(entry):
            named.append(((*loc, *place, "actor"), trigger.get("actor")))
    for loc, name in named:
        if isinstance(name, str) and name not in names:
            hint = near(name, names) or f"; actors: {', '.join(names) or 'none'}"
            yield Problem(loc, f"unknown actor {name}{hint}")
    for loc, entry in doing:
        if entry.get("actor") is None:
            for place, key in _about_actors(entry):
                yield Problem((*loc, *place), f"{key} needs the event's actor")


def _triggers(event: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any]]]:
    """Place and value of the trigger of an event and of all its parts."""
    open_: list[tuple[Loc, Any]] = [(("trigger",), event.get("trigger"))]
    while open_:
        loc, trigger = open_.pop(0)
        if isinstance(trigger, dict):
            yield loc, trigger
            for name in ("all", "any"):
                for i, part in _mappings(trigger.get(name)):
                    open_.append(((*loc, name, i), part))


def _about_actors(event: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Places of the triggers and actions of an event that are about its actor."""
    for place, trigger in _triggers(event):
        for key in trigger if trigger.get("actor") is None else ():
            if key in TRIGGERS_OF_ACTOR:
                yield (*place, key), key
    for i, action in _mappings(event.get("actions")):
        for key in action:
            if key in Action.model_fields and key not in ACTIONS_OF_WORLD:
                yield ("actions", i, key), key


def _check_event_ids(value: dict[str, Any]) -> Iterator[Problem]:
    """Ids of events are unique, ``after`` names one, and nothing waits for itself."""
    events = _mappings(value.get("events"))
    ids: dict[str, int] = {}
    for i, event in events:
        name = event.get("id")
        if isinstance(name, str):
            if name in ids:
                yield Problem(
                    ("events", i, "id"), f"duplicate event id: {name} is also events.{ids[name]}"
                )
            ids.setdefault(name, i)
    waits = {i: list(_awaited(event)) for i, event in events}
    happens = _happening(dict(events), ids)
    for i, awaited in waits.items():
        for place, name in awaited:
            loc: Loc = ("events", i, *place)
            if name not in ids:
                hint = near(name, ids) or f"; events with an id: {', '.join(ids) or 'none'}"
                yield Problem(loc, f"unknown event {name}{hint}")
            elif i not in happens and _comes_back(i, ids[name], waits, ids):
                yield Problem(loc, f"waits for itself by way of {name}, so it never happens")


def _awaited(event: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Places and ids of the events that ``event`` waits for."""
    for place, trigger in _triggers(event):
        after = trigger.get("after")
        name = after.get("event") if isinstance(after, dict) else None
        if isinstance(name, str):
            yield (*place, "after", "event"), name


def _happening(events: dict[int, dict[str, Any]], ids: dict[str, int]) -> set[int]:
    """Numbers of the events that do not wait for themselves."""
    happens: set[int] = set()
    while True:
        more = {i for i, e in events.items() if _starts(e.get("trigger"), happens, ids)}
        if more == happens:
            return happens
        happens = more


def _starts(trigger: Any, happens: set[int], ids: dict[str, int]) -> bool:
    if not isinstance(trigger, dict):
        return True
    for key, combine in (("all", all), ("any", any)):
        parts = [part for _, part in _mappings(trigger.get(key))]
        if parts:
            return combine(_starts(part, happens, ids) for part in parts)
    after = trigger.get("after")
    name = after.get("event") if isinstance(after, dict) else None
    return not isinstance(name, str) or name not in ids or ids[name] in happens


def _comes_back(
    start: int, at: int, waits: dict[int, list[tuple[Loc, str]]], ids: dict[str, int]
) -> bool:
    """Whether ``at`` is, or waits for, ``start``."""
    seen: set[int] = set()
    open_ = [at]
    while open_:
        at = open_.pop()
        if at == start:
            return True
        if at not in seen:
            seen.add(at)
            open_ += [ids[name] for _, name in waits.get(at, ()) if name in ids]
    return False


def _check_paths(value: dict[str, Any]) -> Iterator[Problem]:
    """Paths given literally on a road given literally; the rest is checked on draws."""
    road = value.get("road")
    if not isinstance(road, dict):
        return
    kind, lanes, oncoming = road.get("kind"), road.get("lanes", 2), road.get("oncoming_lanes", 0)
    if kind not in (*CROSSINGS, *BY_LANES):
        return
    if type(lanes) is not int or type(oncoming) is not int:
        return
    paths = path_names(kind, lanes, oncoming)
    users: list[tuple[Loc, Any]] = [(("ego",), value.get("ego"))]
    users += [(("actors", i), actor) for i, actor in _mappings(value.get("actors"))]
    for loc, user in users:
        if not isinstance(user, dict):
            continue
        path = user.get("path")
        if isinstance(path, str) and not path.startswith("$") and path not in paths:
            yield Problem((*loc, "path"), unknown_path(path, paths))
        for key in ("lane", "oncoming"):
            number = user.get(key)
            if type(number) is int and f"{key}{number}" not in paths:
                what = "lane" if key == "lane" else "oncoming lane"
                yield Problem(
                    (*loc, key), f"the road has no {what} {number}; its paths: {', '.join(paths)}"
                )


def _check_parameters(value: dict[str, Any]) -> Iterator[Problem]:
    known = value.get("parameters")
    known = known if isinstance(known, dict) else {}
    for loc, text in _texts({k: v for k, v in value.items() if k not in _PROSE}, ()):
        for name in _REFERENCE.findall(text):
            if name not in known:
                hint = near(name, known) or f"; parameters: {', '.join(known) or 'none'}"
                yield Problem(loc, f"unknown parameter ${name}{hint}")


def _texts(value: Any, loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, str):
        yield loc, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*loc, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _texts(item, (*loc, i))
