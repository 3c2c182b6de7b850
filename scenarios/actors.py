"""The road users of a draw."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from alpamayo.types import (
    ACTOR_SIZES_M,
    DRIVERS,
    ActorSpec,
    DriverSpec,
    EgoSpec,
    RoadSpec,
)
from scenarios.evaluate import Evaluator
from scenarios.logs import build_log
from scenarios.parameters import uniforms
from scenarios.quantities import COLORS
from scenarios.roads import check_path, named_path
from scenarios.schema import ScenarioDocument
from scenarios.schema_actors import Actor, Driver
from scenarios.yaml_tree import Loc

OBJECTS = ("cone", "barrier", "debris", "car_picture", "person_picture")
SCRIPTED_KINDS = ("pedestrian", "animal", "ball")
NO_REVERSE = ("cyclist", "motorcycle", *SCRIPTED_KINDS, *OBJECTS)
WALK_MPS = 1.34  # Helbing & Molnar, "Social force model for pedestrian dynamics", 1995
CAR_COLORS = ("white", "silver", "black", "red", "blue", "green", "yellow", "brown")
WALKER_COLORS = ("red", "yellow", "orange", "purple", "blue", "black")
_FIXED_COLORS = {"cone": "orange", "barrier": "orange", "debris": "brown", "animal": "brown"}
_HINGE_AHEAD = 0.2  # of a parent's length: where the front door of a car begins


def build_actors(
    document: ScenarioDocument,
    ev: Evaluator,
    paths: tuple[str, ...],
    road: RoadSpec,
    ego: EgoSpec,
    seed: int,
) -> tuple[tuple[ActorSpec, ...], set[str]]:
    """The actors that are there, and the ids of those that are not."""
    chance = uniforms(
        seed,
        [f"actor {actor.id} {use}" for actor in document.actors for use in ("is there", "color")],
    )
    drawn: dict[str, tuple[int, ActorSpec]] = {}
    for i, actor in enumerate(document.actors):
        values = ev.values(actor, ("actors", i))
        if chance[f"actor {actor.id} is there"] < values.pop("probability"):
            builder = _Builder(actor, values, ev, ("actors", i))
            color_chance = chance[f"actor {actor.id} color"]
            drawn[actor.id] = (i, builder.spec(paths, road, ego, color_chance))
    hung = _hang_doors(document, drawn, ev)
    return tuple(hung), {a.id for a in document.actors} - {a.id for a in hung}


class _Builder:
    """One actor and the values of its quantities."""

    def __init__(self, actor: Actor, values: dict[str, Any], ev: Evaluator, loc: Loc) -> None:
        self.actor, self.values, self.ev, self.loc = actor, values, ev, loc
        self.kind: str = values.pop("kind")

    def refuse(self, key: str, message: str) -> None:
        self.ev.refuse((*self.loc, key), message)

    def spec(
        self, paths: tuple[str, ...], road: RoadSpec, ego: EgoSpec, color_chance: float
    ) -> ActorSpec:
        values, actor = self.values, self.actor
        path = self._path(paths, ego)
        ahead, s_m = values.pop("ahead_m"), values.pop("s_m")
        desired, color = values.pop("desired_speed_mps"), values.pop("color")
        behaviour = self._behaviour()
        if desired is None:
            desired = WALK_MPS if behaviour == "walk" else road.speed_limit_mps
        values["yaw_rad"] -= math.pi if self._reverses(behaviour) else 0.0
        values["goal_d_m"] = values["goal_d_m"] or 0.0
        values["hinge_m"] = values["hinge_m"] or (0.0, 0.0)
        return ActorSpec(
            id=actor.id,
            kind=self.kind,  # type: ignore[arg-type]
            path=path,
            s_m=(s_m or 0.0) if ahead is None else ahead,
            s_from_ego=ahead is not None,
            behaviour=behaviour,  # type: ignore[arg-type]
            desired_speed_mps=desired,
            color=_rgb(color, self.kind, color_chance),
            log=self._log(behaviour),
            driver=self._driver(),
            parent=actor.parent or "",
            **values,
        )

    def _path(self, paths: tuple[str, ...], ego: EgoSpec) -> str:
        values = self.values
        name, key = named_path(values.pop("lane"), values.pop("oncoming"), values.pop("path"))
        if self.kind == "door":
            if self.actor.parent is None:
                self.refuse("parent", "missing; a door hangs on another actor")
            return ""
        if self.actor.parent is not None:
            self.refuse("parent", f"only a door has a parent; kind is {self.kind}")
        if not name:
            return ego.path  # of a log, which settles on the lane it is on
        check_path(name, paths, (*self.loc, key), self.ev)
        return name

    def _behaviour(self) -> str:
        actor, kind = self.actor, self.kind
        given = actor.behaviour or default_behaviour(actor, kind)
        if given == "walk" and kind != "pedestrian":
            key = "behaviour" if actor.behaviour else "goal_d_m"
            self.refuse(key, f"only a pedestrian walks; kind is {kind}")
        if given != "walk" and actor.goal_d_m is not None:
            self.refuse("goal_d_m", f"only behaviour walk has a goal; behaviour is {given}")
        if given != "log" and actor.log is not None:
            self.refuse("log", f"only behaviour log replays one; behaviour is {given}")
        if given == "log" and actor.log is None:
            self.refuse("log", "missing; behaviour log needs rows or a CSV file")
        if given != "log" and self.values["reacts_within_m"]:
            self.refuse("reacts_within_m", f"only behaviour log reacts; behaviour is {given}")
        return given

    def _reverses(self, behaviour: str) -> bool:
        if not self.actor.reversing:
            return False
        if self.kind in (*NO_REVERSE, "door"):
            self.refuse("reversing", f"a {self.kind} does not reverse")
        elif behaviour != "scripted":
            self.refuse("reversing", f"needs behaviour scripted, got {behaviour}")
        elif not self.values["speed_mps"] < 0.0:
            speed = self.values["speed_mps"]
            self.refuse("reversing", f"needs speed_mps below 0 m/s, got {speed:g} m/s")
        return True

    def _log(self, behaviour: str) -> tuple[tuple[float, float, float, float, float], ...]:
        if self.actor.log is None or behaviour != "log":
            return ()
        return build_log(self.actor.log, self.ev, (*self.loc, "log"))

    def _driver(self) -> DriverSpec | None:
        given = self.values.pop("driver")
        if given is None:
            return None
        if "headway_s" in self.actor.model_fields_set:
            self.refuse("headway_s", "expected driver or headway_s, got both")
        if isinstance(given, Driver):
            values = self.ev.values(given, (*self.loc, "driver"))
            return DriverSpec(**values, changes_lanes=given.changes_lanes)
        return DRIVERS.get(given)


def default_behaviour(actor: Actor, kind: str) -> str:
    """How an actor of ``kind`` that does not say so behaves."""
    if actor.log is not None:
        return "log"
    if actor.goal_d_m is not None:
        return "walk"
    if kind in (*OBJECTS, "door"):
        return "static"
    return "scripted" if kind in SCRIPTED_KINDS or actor.reversing else "idm"


def _hang_doors(
    document: ScenarioDocument, drawn: dict[str, tuple[int, ActorSpec]], ev: Evaluator
) -> list[ActorSpec]:
    """The actors, with the doors at the places of their parents; without doors of the absent."""
    result = []
    for i, spec in drawn.values():
        if spec.kind != "door":
            result.append(spec)
            continue
        if spec.parent not in drawn:
            continue
        loc: Loc = ("actors", i, "parent")
        parent = drawn[spec.parent][1]
        if parent.kind not in ("car", "van", "truck", "bus"):
            ev.refuse(loc, f"expected a car, van, truck or bus, got {parent.id}, a {parent.kind}")
            continue
        result.append(_hung(spec, parent, document.actors[i]))
    return result


def _hung(door: ActorSpec, parent: ActorSpec, actor: Actor) -> ActorSpec:
    length, width, _ = parent.size_m or ACTOR_SIZES_M[parent.kind]
    return replace(
        door,
        path=parent.path,
        s_m=parent.s_m,
        s_from_ego=parent.s_from_ego,
        color=parent.color if actor.color is None else door.color,
        hinge_m=(_HINGE_AHEAD * length, 0.5 * width) if actor.hinge_m is None else door.hinge_m,
    )


def _rgb(color: Any, kind: str, chance: float) -> tuple[int, int, int]:
    if isinstance(color, list | tuple):
        return (color[0], color[1], color[2])
    if color is None:
        palette = WALKER_COLORS if kind in ("pedestrian", "cyclist", "ball") else CAR_COLORS
        color = _FIXED_COLORS.get(kind) or palette[int(chance * len(palette))]
    return COLORS.get(color, (150, 30, 30))
