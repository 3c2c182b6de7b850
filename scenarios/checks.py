"""What a scenario file must mean, beyond its schema: names that exist, parameters that are used,
draws that work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alpamayo import types
from scenarios.evaluate import DrawError
from scenarios.parameters import draw_parameters, parameters_at
from scenarios.quantities import near
from scenarios.roads import CROSSINGS, path_names, runs_along, unknown_path
from scenarios.sample import build
from scenarios.schema import Distribution, ScenarioDocument
from scenarios.schema_actors import ACTIONS_OF_WORLD, TRIGGERS_OF_ACTOR, Action
from scenarios.yaml_tree import Loc, Problem, Tree

PROBED_SEEDS = 24
_ROADS_BY_LANES = (
    "straight", "curve", "merge", "s_curve", "exit", "lane_drop", "parking_street", "crest",
)  # fmt: skip
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
    corners += [{**dict.fromkeys(drawn, 0.5), name: q} for name in drawn for q in (low, high)]
    for number in range(len(corners) + PROBED_SEEDS):
        try:
            if number < len(corners):
                parameters = parameters_at(document, corners[number])
            else:
                parameters = draw_parameters(document, number)
            scenario = build(document, parameters, number)
        except DrawError as error:
            for problem in error.problems:
                found.setdefault(problem.loc, problem)
            continue
        for problem in _check_start(scenario, document):
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
    events = _mappings(value.get("events"))
    named: list[tuple[Loc, Any]] = [(("actors", i, "parent"), a.get("parent")) for i, a in actors]
    named += [(("events", i, "actor"), event.get("actor")) for i, event in events]
    for loc, name in named:
        if isinstance(name, str) and name not in names:
            hint = near(name, names) or f"; actors: {', '.join(names) or 'none'}"
            yield Problem(loc, f"unknown actor {name}{hint}")
    for i, event in events:
        if event.get("actor") is None:
            for loc, key in _about_actors(event):
                yield Problem(("events", i, *loc), f"{key} needs the event's actor")


def _about_actors(event: dict[str, Any]) -> Iterator[tuple[Loc, str]]:
    """Places of the triggers and actions of an event that are about an actor."""
    trigger = event.get("trigger")
    for key in trigger if isinstance(trigger, dict) else ():
        if key in TRIGGERS_OF_ACTOR:
            yield ("trigger", key), key
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
    waits = {i: _awaited(event) for i, event in events}
    for i, name in waits.items():
        loc: Loc = ("events", i, "trigger", "after", "event")
        if name is None:
            continue
        if name not in ids:
            hint = near(name, ids) or f"; events with an id: {', '.join(ids) or 'none'}"
            yield Problem(loc, f"unknown event {name}{hint}")
        elif _comes_back(i, waits, ids):
            yield Problem(loc, f"waits for itself by way of {name}, so it never happens")


def _awaited(event: dict[str, Any]) -> str | None:
    """Id of the event that ``event`` waits for."""
    trigger = event.get("trigger")
    after = trigger.get("after") if isinstance(trigger, dict) else None
    name = after.get("event") if isinstance(after, dict) else None
    return name if isinstance(name, str) else None


def _comes_back(start: int, waits: dict[int, str | None], ids: dict[str, int]) -> bool:
    at: int | None = start
    for _ in waits:
        name = waits.get(at) if at is not None else None
        at = ids.get(name) if name is not None else None
        if at == start:
            return True
    return False


def _check_paths(value: dict[str, Any]) -> Iterator[Problem]:
    """Paths given literally on a road given literally; the rest is checked on draws."""
    road = value.get("road")
    if not isinstance(road, dict):
        return
    kind, lanes, oncoming = road.get("kind"), road.get("lanes", 2), road.get("oncoming_lanes", 0)
    if kind not in (*CROSSINGS, *_ROADS_BY_LANES):
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


# --------------------------------------------------------------------------------------
# The start of a draw
# --------------------------------------------------------------------------------------
def _check_start(scenario: types.Scenario, document: ScenarioDocument) -> Iterator[Problem]:
    """Ego starts on its path; distances ahead of ego make sense; nothing stands inside ego."""
    road, ego = scenario.road, scenario.ego
    if road.kind in _ROADS_BY_LANES and ego.s_m >= road.length_m:
        yield Problem(("ego", "s_m"), f"the road ends at {road.length_m:g}, got {ego.s_m:g}")
    index = {actor.id: i for i, actor in enumerate(document.actors)}
    for actor in scenario.actors:
        if actor.kind != "door" and actor.behaviour != "log":
            yield from _check_place(actor, ego, road.kind, ("actors", index[actor.id]))


def _check_place(
    actor: types.ActorSpec, ego: types.EgoSpec, kind: str, loc: Loc
) -> Iterator[Problem]:
    loc = (*loc, "ahead_m" if actor.s_from_ego else "s_m")
    if actor.s_from_ego and not runs_along(actor.path, ego.path, kind):
        yield Problem(loc, f"{actor.path} does not run along ego's {ego.path}; place it with s_m")
    if actor.path != ego.path:
        return
    ahead = actor.s_m if actor.s_from_ego else actor.s_m - ego.s_m
    length, width, _ = actor.size_m or types.ACTOR_SIZES_M[actor.kind]
    apart_s = abs(ahead) > (length + types.EGO_SIZE_M[0]) / 2
    apart_d = abs(actor.d_m - ego.d_m) > (width + types.EGO_SIZE_M[1]) / 2
    if not apart_s and not apart_d:
        yield Problem(
            loc, f"{actor.id} starts inside ego ({ahead:.1f} m ahead of it) for some draws"
        )
