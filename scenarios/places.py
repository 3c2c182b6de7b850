"""Where everybody of a draw starts: on the map, and not inside one another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from alpamayo import types
from scenarios.roads import BY_LANES, runs_along
from scenarios.schema import ScenarioDocument
from scenarios.yaml_tree import Loc, Problem

OFF_MAP_M = 60.0  # farther than this from every lane, the simulator refuses to place an actor
_APART_M = 0.02  # boxes that overlap by less touch


@dataclass(frozen=True)
class _Box:
    """A box in a frame of its own (the road, or a path): middle and half extents."""

    frame: str
    x_m: float
    y_m: float
    reach_m: float
    side_m: float


def check_start(scenario: types.Scenario, document: ScenarioDocument) -> Iterator[Problem]:
    """Problems of the start of a draw, at the places that say where somebody is."""
    road, ego = scenario.road, scenario.ego
    if road.kind in BY_LANES and ego.s_m >= road.length_m:
        yield Problem(("ego", "s_m"), f"the road ends at {road.length_m:g} m, got {ego.s_m:g} m")
    index = {actor.id: i for i, actor in enumerate(document.actors)}
    away = _not_there_yet(scenario)
    boxes: list[tuple[str, _Box]] = []
    ego_box = _ego_box(scenario)
    for actor in scenario.actors:
        if actor.kind == "door" or actor.behaviour == "log":
            continue
        loc: Loc = ("actors", index[actor.id], "ahead_m" if actor.s_from_ego else "s_m")
        if actor.s_from_ego and not runs_along(actor.path, ego.path, road.kind):
            yield Problem(
                loc, f"{actor.path} does not run along ego's {ego.path}; place it with s_m"
            )
        yield from _off_map(actor, scenario, loc)
        box = _box(actor, scenario)
        if actor.id in away or box is None:
            continue
        if ego_box is not None and _overlap(box, ego_box):
            ahead = box.x_m - ego_box.x_m
            yield Problem(
                loc, f"{actor.id} starts inside ego ({ahead:.1f} m ahead of it) for some draws"
            )
        for name, other in boxes:
            if _overlap(box, other):
                apart = f"{box.x_m - other.x_m:+.1f} m along, {box.y_m - other.y_m:+.1f} m across"
                yield Problem(
                    loc, f"{actor.id} starts inside {name} for some draws (its middle {apart})"
                )
        boxes.append((actor.id, box))


def _not_there_yet(scenario: types.Scenario) -> set[str]:
    """Ids of the actors that come later: whom something makes appear, or vanish at the start."""
    away = set()
    for event in scenario.events:
        at_start = event.trigger.kind == "time" and event.trigger.value <= 0.0
        for action in event.actions:
            if action.kind == "appear" or (action.kind == "vanish" and at_start):
                away.add(event.actor)
    return away


def _ego_box(scenario: types.Scenario) -> _Box | None:
    ego = scenario.ego
    length, width, _ = types.EGO_SIZE_M
    frame, y = _lateral(scenario.road, ego.path, ego.d_m)
    x = 0.0 if frame == "road" else ego.s_m
    return _Box(frame, x, y, length / 2, width / 2)


def _box(actor: types.ActorSpec, scenario: types.Scenario) -> _Box | None:
    """None where the road's shape would be needed to tell."""
    ego = scenario.ego
    length, width, _ = actor.size_m or types.ACTOR_SIZES_M[actor.kind]
    if abs(math.sin(actor.yaw_rad)) > 0.1:  # turned: the circle inside
        length = width = min(length, width)
    frame, y = _lateral(scenario.road, actor.path, actor.d_m)
    if frame == "road":
        if actor.path.startswith("oncoming") and not actor.s_from_ego:
            x = scenario.road.length_m - actor.s_m - ego.s_m
        else:
            x = actor.s_m if actor.s_from_ego else actor.s_m - ego.s_m
    elif actor.path == ego.path:
        x = ego.s_m + actor.s_m if actor.s_from_ego else actor.s_m
    elif actor.s_from_ego:
        frame, x = f"{actor.path} from ego", actor.s_m
    else:
        x = actor.s_m
    return _Box(frame, x, y, length / 2, width / 2)


def _lateral(road: types.RoadSpec, path: str, d_m: float) -> tuple[str, float]:
    """Frame, and metres to the left in it: lanes of a straight road share one frame."""
    if road.kind in ("straight", "crest", "lane_drop"):
        if path.startswith("lane"):
            return "road", int(path[4:]) * road.lane_width_m + d_m
        if path.startswith("oncoming"):
            return "road", (road.lanes + int(path[8:])) * road.lane_width_m - d_m
    return path, d_m


def _overlap(a: _Box, b: _Box) -> bool:
    if a.frame != b.frame:
        return False
    along = a.reach_m + b.reach_m - abs(a.x_m - b.x_m)
    across = a.side_m + b.side_m - abs(a.y_m - b.y_m)
    return along > _APART_M and across > _APART_M


def _off_map(actor: types.ActorSpec, scenario: types.Scenario, loc: Loc) -> Iterator[Problem]:
    road = scenario.road
    if road.kind not in BY_LANES or not actor.path.startswith(("lane", "oncoming")):
        return
    s_m = scenario.ego.s_m + actor.s_m if actor.s_from_ego else actor.s_m
    beyond = max(-s_m, s_m - road.length_m, 0.0)
    if beyond > OFF_MAP_M:
        side = "before the start" if s_m < 0.0 else "beyond the end"
        yield Problem(
            loc,
            f"{actor.id} starts off the map for some draws: {beyond:.0f} m {side} of {actor.path}, "
            f"which is {road.length_m:g} m long; expected at most {OFF_MAP_M:g} m",
        )
