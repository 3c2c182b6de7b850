"""What a scenario file must mean, beyond its schema: names that exist, parameters that are used,
draws that work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alpamayo import types
from scenarios.sample import DrawError, build, draw_parameters, parameters_at, path_names
from scenarios.schema import Distribution, ScenarioDocument, near
from scenarios.yaml_tree import Loc, Problem, Tree

PROBED_SEEDS = 24
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
        *_check_event_actors(value),
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


def _check_event_actors(value: dict[str, Any]) -> Iterator[Problem]:
    names = [a["id"] for _, a in _mappings(value.get("actors")) if isinstance(a.get("id"), str)]
    for i, event in _mappings(value.get("events")):
        name = event.get("actor")
        if isinstance(name, str) and name not in names:
            hint = near(name, names) or f"; actors: {', '.join(names) or 'none'}"
            yield Problem(("events", i, "actor"), f"unknown actor {name}{hint}")


def _check_paths(value: dict[str, Any]) -> Iterator[Problem]:
    """Paths given literally on a road given literally; the rest is checked on draws."""
    road = value.get("road")
    if not isinstance(road, dict):
        return
    kind, lanes, oncoming = road.get("kind"), road.get("lanes", 2), road.get("oncoming_lanes", 0)
    if (
        kind not in ("straight", "curve", "junction", "merge")
        or type(lanes) is not int
        or type(oncoming) is not int
    ):
        return
    paths = path_names(kind, lanes, oncoming)
    users: list[tuple[Loc, Any]] = [(("ego",), value.get("ego"))]
    users += [(("actors", i), actor) for i, actor in _mappings(value.get("actors"))]
    for loc, user in users:
        if not isinstance(user, dict):
            continue
        path, lane = user.get("path"), user.get("lane")
        if isinstance(path, str) and not path.startswith("$") and path not in paths:
            hint = near(path, paths) or f"; its paths: {', '.join(paths)}"
            yield Problem((*loc, "path"), f"the road has no path {path}{hint}")
        elif type(lane) is int and f"lane{lane}" not in paths:
            yield Problem(
                (*loc, "lane"), f"the road has no lane {lane}; its paths: {', '.join(paths)}"
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
    if road.kind != "junction" and ego.s_m >= road.length_m:
        yield Problem(("ego", "s_m"), f"the road ends at {road.length_m:g}, got {ego.s_m:g}")
    index = {actor.id: i for i, actor in enumerate(document.actors)}
    for actor in scenario.actors:
        loc: Loc = ("actors", index[actor.id], "ahead_m" if actor.s_from_ego else "s_m")
        if actor.s_from_ego and not _runs_along(actor.path, ego.path, road.kind):
            yield Problem(
                loc, f"{actor.path} does not run along ego's {ego.path}; place it with s_m"
            )
        if actor.path != ego.path:
            continue
        ahead = actor.s_m if actor.s_from_ego else actor.s_m - ego.s_m
        length, width, _ = types.ACTOR_SIZES_M[actor.kind]
        apart_s = abs(ahead) > (length + types.EGO_SIZE_M[0]) / 2
        apart_d = abs(actor.d_m - ego.d_m) > (width + types.EGO_SIZE_M[1]) / 2
        if not apart_s and not apart_d:
            yield Problem(
                loc, f"{actor.id} starts inside ego ({ahead:.1f} m ahead of it) for some draws"
            )


def _runs_along(path: str, ego_path: str, road_kind: str) -> bool:
    if road_kind == "junction":
        return path.split("_")[0] == ego_path.split("_")[0]
    return (path == "ramp") == (ego_path == "ramp")
