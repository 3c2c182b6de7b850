"""Draw a scenario from a document: every parameter becomes a number, every expression a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alpamayo import types
from alpamayo.types import RequestError
from scenarios.actors import build_actors
from scenarios.evaluate import DrawError, Evaluator
from scenarios.events import build_events
from scenarios.parameters import draw_parameters
from scenarios.roads import build_road, check_path, is_for_driving, named_path
from scenarios.schema import ScenarioDocument
from scenarios.surroundings import build_faults, build_signals, build_traffic, build_weather
from scenarios.yaml_tree import Loc, ScenarioFileError


def sample(document: ScenarioDocument, seed: int, nominal: bool | None = None) -> types.Scenario:
    """The scenario that ``seed`` draws. ``nominal=True`` draws from the document's nominal twin
    instead.
    """
    if nominal and not document.nominal:
        from scenarios.catalog import twin_id
        from scenarios.load import load_document

        twin = twin_id(document.id)
        if twin is None:
            raise RequestError(f"{document.id}: has no nominal twin in the library")
        document = load_document(twin)
    try:
        return build(document, draw_parameters(document, seed), seed)
    except DrawError as error:
        if document.tree is None:
            raise RequestError(f"{document.id}: seed {seed}: {error}") from None
        raise ScenarioFileError([document.tree.locate(p) for p in error.problems]) from None


def build(document: ScenarioDocument, parameters: Mapping[str, Any], seed: int) -> types.Scenario:
    """The scenario for given parameter values; raises DrawError with every problem of the draw."""
    ev = Evaluator(parameters, document.tree.folder if document.tree is not None else None)
    road, paths = build_road(document.road, ev)
    ego = _ego(document, ev, paths, road)
    actors, absent = build_actors(document, ev, paths, road, ego, seed)
    signals = build_signals(document.signals, road, ev)
    there = {actor.id: actor for actor in actors}
    around = ev.values(document.environment, ("environment",))
    events, breaking = build_events(document, ev, there, absent, signals, paths, road.kind)
    scenario = types.Scenario(
        id=document.id,
        family=document.family,
        nominal=document.nominal,
        seed=seed,
        road=road,
        ego=ego,
        actors=actors,
        events=events,
        signals=signals,
        duration_s=ev.values(document, ())["duration_s"],
        light=around["light"],
        parameters=dict(parameters),
        weather=build_weather(document.weather, ev),
        faults=(*build_faults(document.faults, ev), *breaking),
        traffic=build_traffic(document.traffic, ev),
    )
    if ev.problems:
        raise DrawError(ev.problems)
    return scenario


def _ego(
    document: ScenarioDocument, ev: Evaluator, paths: tuple[str, ...], road: types.RoadSpec
) -> types.EgoSpec:
    values = ev.values(document.ego, ("ego",))
    route: tuple[str, ...] = values.pop("route") or ()
    path, key = named_path(values.pop("lane"), values.pop("oncoming"), values.pop("path"))
    loc: Loc = ("ego", key)
    if road.kind != "opendrive" and route:
        ev.refuse(("ego", "route"), f"only an OpenDRIVE map has linked lanes; kind is {road.kind}")
    elif path and route and route[0] != path:
        ev.refuse(("ego", "route", 0), f"expected the route to start with ego's path, {path}")
    for i, name in enumerate(route):
        check_path(name, paths, ("ego", "route", i), ev)
    if path or not route:
        check_path(path, paths, loc, ev)
    if road.kind != "opendrive" and path in paths and not is_for_driving(path):
        ev.refuse(loc, f"ego drives; {path} is not for driving")
    reversing = bool(document.ego.reversing)
    if reversing and not values["speed_mps"] <= types.REVERSE_TOP_MPS:
        ev.refuse(
            ("ego", "speed_mps"),
            f"expected at most {types.REVERSE_TOP_MPS:g} m/s in reverse gear, "
            f"got {values['speed_mps']:g} m/s",
        )
    return types.EgoSpec(path=path or route[0], route=route, reversing=reversing, **values)
