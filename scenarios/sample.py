"""Draw a scenario from a document: every parameter becomes a number, every expression a value.

Each parameter has a random stream of its own, keyed by (seed, its name): adding one parameter
leaves the draws of the
others as they were, and a nominal twin shares the draws of the danger it belongs to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from alpamayo import streams, types
from alpamayo.types import RequestError
from scenarios.expressions import ExpressionError, parse
from scenarios.schema import (
    COLORS,
    Actor,
    Color,
    Distribution,
    Event,
    Number,
    ScenarioDocument,
    Strict,
    Text,
    near,
)
from scenarios.yaml_tree import Loc, Problem, ScenarioFileError

OBJECTS = ("cone", "barrier", "debris")
CAR_COLORS = ("white", "silver", "black", "red", "blue", "green", "yellow", "brown")
WALKER_COLORS = ("red", "yellow", "orange", "purple", "blue", "black")
_FIXED_COLORS = {"cone": "orange", "barrier": "orange", "debris": "brown"}
JUNCTION_ARMS = ("south", "north", "west", "east")


class DrawError(Exception):
    """A draw does not give a valid scenario; ``problems`` say where."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


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


# --------------------------------------------------------------------------------------
# Parameters
# --------------------------------------------------------------------------------------
@lru_cache(maxsize=4096)
def stable_hash(name: str) -> int:
    """The same 63-bit number for ``name`` in every process and version."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def uniforms(seed: int, names: list[str]) -> dict[str, float]:
    """One number in (0, 1) per name, from the stream of (seed, name)."""
    if not names:
        return {}
    counters = np.array([stable_hash(name) for name in names], np.int64)
    values = streams.uniform(streams.keys(seed, streams.STREAM_PARAMETERS, counters), 1)[:, 0]
    return dict(zip(names, values.tolist(), strict=True))


def draw_parameters(document: ScenarioDocument, seed: int) -> dict[str, Any]:
    """Name -> number or text."""
    names = [name for name, value in document.parameters.items() if isinstance(value, Distribution)]
    return parameters_at(document, uniforms(seed, names))


def parameters_at(document: ScenarioDocument, quantiles: Mapping[str, float]) -> dict[str, Any]:
    """Parameters at the given quantile (0 to 1) of each distribution."""
    values: dict[str, Any] = {}
    busy: list[str] = []

    def value_of(name: str) -> Any:
        if name in values:
            return values[name]
        loc: Loc = ("parameters", name)
        if name in busy:
            loop = " -> ".join([*busy[busy.index(name) :], name])
            raise DrawError(
                [
                    Problem(
                        ("parameters", busy[-1]),
                        f"parameters refer to each other in a loop: {loop}",
                    )
                ]
            )
        if name not in document.parameters:
            hint = near(name, document.parameters)
            raise DrawError([Problem(("parameters", busy[-1]), f"unknown parameter ${name}{hint}")])
        busy.append(name)
        spec = document.parameters[name]
        try:
            if isinstance(spec, Distribution):
                values[name] = _quantile(spec, quantiles[name], number)
            else:
                values[name] = number(spec)
        except ExpressionError as error:
            raise DrawError([Problem(loc, str(error))]) from None
        busy.pop()
        return values[name]

    def number(quantity: float | str) -> float:
        if not isinstance(quantity, str):
            return quantity
        expression = parse(quantity)
        known = {name: value_of(name) for name in expression.names}
        return expression.value(known)

    for name in document.parameters:
        value_of(name)
    return {name: values[name] for name in document.parameters}


def _quantile(spec: Distribution, q: float, number: Any) -> Any:
    if spec.uniform is not None:
        low, high = (number(x) for x in spec.uniform)
        if low > high:
            raise ExpressionError(
                f"expected uniform: [low, high] with low <= high, got [{low:g}, {high:g}]"
            )
        return low + (high - low) * q
    if spec.select is not None:
        index = number(spec.by)
        if index not in range(len(spec.select)):
            raise ExpressionError(
                f"by: expected a whole number from 0 to {len(spec.select) - 1}, got {index:g}"
            )
        return spec.select[int(index)]
    if spec.choice is not None:
        weights = np.asarray(spec.weights or [1.0] * len(spec.choice), float)
        index = int(np.searchsorted(np.cumsum(weights) / weights.sum(), q, side="right"))
        return spec.choice[min(index, int(np.flatnonzero(weights)[-1]))]
    normal = spec.normal
    assert normal is not None
    shape = NormalDist(number(normal.mean), number(normal.std))
    low = shape.cdf(number(normal.min)) if normal.min is not None else 0.0
    high = shape.cdf(number(normal.max)) if normal.max is not None else 1.0
    if not low < high:
        raise ExpressionError("expected min below max, within reach of mean and std")
    inside = min(max(low + (high - low) * q, 1e-12), 1.0 - 1e-12)
    value = shape.inv_cdf(inside)
    value = value if normal.min is None else max(value, number(normal.min))
    return value if normal.max is None else min(value, number(normal.max))


# --------------------------------------------------------------------------------------
# Values
# --------------------------------------------------------------------------------------
class _Evaluator:
    """Turns the quantities of a model into values; collects what is out of range."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.parameters = parameters
        self.problems: list[Problem] = []

    def values(self, model: Strict, loc: Loc) -> dict[str, Any]:
        """Field name -> value, for the fields that are quantities, words or colours."""
        out: dict[str, Any] = {}
        for name, rule in _rules(type(model)):
            raw = getattr(model, name)
            out[name] = None if raw is None else self._value(raw, rule, (*loc, name))
        return out

    def value(self, model: Strict, name: str, loc: Loc = ()) -> Any:
        rule = dict(_rules(type(model)))[name]
        return self._value(getattr(model, name), rule, (*loc, name))

    def _value(self, raw: Any, rule: Number | Text | Color, loc: Loc) -> Any:
        if isinstance(rule, Number):
            try:
                value = parse(raw).value(_Known(self.parameters)) if isinstance(raw, str) else raw
            except ExpressionError as error:
                return self._refuse(loc, str(error), 0)
            reason = rule.complaint(value) if isinstance(raw, str) else None
            if reason:
                return self._refuse(loc, reason, 0)
            return round(value) if rule.integer else float(value)
        if not isinstance(raw, str) or not raw.startswith("$"):
            return raw
        if raw[1:] not in self.parameters:
            return self._refuse(
                loc, f"unknown parameter {raw}{near(raw[1:], self.parameters)}", raw
            )
        value = self.parameters[raw[1:]]
        text = Text(tuple(COLORS)) if isinstance(rule, Color) else rule
        reason = text.complaint(value)
        return self._refuse(loc, reason, raw) if reason else value

    def _refuse(self, loc: Loc, message: str, instead: Any) -> Any:
        self.problems.append(Problem(loc, message))
        return instead


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise ExpressionError(f"unknown parameter ${name}{near(name, self)}")


@lru_cache(maxsize=64)
def _rules(model: type[Strict]) -> tuple[tuple[str, Number | Text | Color], ...]:
    """The annotated quantities of a model (also inside ``X | None``)."""
    from typing import get_args

    def find(annotation: Any, metadata: Any) -> Number | Text | Color | None:
        for item in metadata:
            if isinstance(item, Number | Text | Color):
                return item
        for inner in get_args(annotation):
            found = find(inner, getattr(inner, "__metadata__", ()))
            if found is not None:
                return found
        return None

    rules = []
    for name, info in model.model_fields.items():
        if name in ("parameters", "actors", "events", "road", "ego", "signals", "environment"):
            continue
        rule = find(info.annotation, info.metadata)
        if rule is not None:
            rules.append((name, rule))
    return tuple(rules)


# --------------------------------------------------------------------------------------
# Building
# --------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def path_names(kind: str, lanes: int, oncoming_lanes: int) -> tuple[str, ...]:
    """Names of the paths of a road, as the simulator calls them."""
    if kind == "junction":
        return tuple(f"{a}_{b}" for a in JUNCTION_ARMS for b in JUNCTION_ARMS if a != b)
    names = [f"lane{i}" for i in range(lanes)] + [f"oncoming{i}" for i in range(oncoming_lanes)]
    return tuple([*names, "ramp"] if kind == "merge" else names)


def build(document: ScenarioDocument, parameters: Mapping[str, Any], seed: int) -> types.Scenario:
    """The scenario for given parameter values; raises DrawError with every problem of the draw."""
    ev = _Evaluator(_Known(parameters))
    road_spec = _road(document, ev)
    ev.problems += _road_problems(road_spec)
    paths = path_names(road_spec.kind, road_spec.lanes, road_spec.oncoming_lanes)
    ego = _ego(document, ev, paths)
    actors, absent = _actors(document, ev, paths, road_spec, seed)
    events = tuple(
        _event(event, ev, ("events", i))
        for i, event in enumerate(document.events)
        if event.actor not in absent
    )
    signals = None
    if document.signals is not None:
        signals = types.SignalPlan(**ev.values(document.signals, ("signals",)))
    elif road_spec.kind == "junction":
        signals = types.SignalPlan()
    scenario = types.Scenario(
        id=document.id,
        family=document.family,
        nominal=document.nominal,
        seed=seed,
        road=road_spec,
        ego=ego,
        actors=actors,
        events=events,
        signals=signals,
        duration_s=ev.value(document, "duration_s"),
        light=ev.value(document.environment, "light", ("environment",)),
        parameters=dict(parameters),
    )
    if ev.problems:
        raise DrawError(ev.problems)
    return scenario


def _road(document: ScenarioDocument, ev: _Evaluator) -> types.RoadSpec:
    values = ev.values(document.road, ("road",))
    if document.road.kind == "junction":
        # One lane per direction and arm: the defaults of other roads do not apply.
        for name in {"lanes", "oncoming_lanes"} & document.road.model_fields_set:
            if values[name] != 1:
                ev.problems.append(Problem(("road", name), f"a junction has 1, got {values[name]}"))
        values |= {"lanes": 1, "oncoming_lanes": 1}
    return types.RoadSpec(kind=document.road.kind, **values)


def _road_problems(road: types.RoadSpec) -> list[Problem]:
    """What the road builder would refuse."""
    problems = []
    if road.kind == "curve":
        least = (road.lanes + road.oncoming_lanes) * road.lane_width_m + 5.0
        if abs(road.radius_m) < least:
            message = f"a curve needs at least {least:g} either way, got {road.radius_m:g}"
            problems.append(Problem(("road", "radius_m"), message))
    elif road.radius_m != 0.0:
        problems.append(
            Problem(("road", "radius_m"), f"only a curve has a radius; kind is {road.kind}")
        )
    if road.kind == "merge" and road.length_m < 200.0:
        problems.append(
            Problem(("road", "length_m"), f"a merge needs at least 200, got {road.length_m:g}")
        )
    return problems


def _path(values: dict[str, Any], ev: _Evaluator, paths: tuple[str, ...], loc: Loc) -> str:
    lane = values.pop("lane")
    path = values.pop("path")
    key = "path" if lane is None else "lane"
    name = path if lane is None else f"lane{lane}"
    if name not in paths and not any(p.loc == (*loc, key) for p in ev.problems):
        hint = near(name, paths) or f"; its paths: {', '.join(paths)}"
        ev.problems.append(Problem((*loc, key), f"the road has no path {name}{hint}"))
    return name


def _ego(document: ScenarioDocument, ev: _Evaluator, paths: tuple[str, ...]) -> types.EgoSpec:
    values = ev.values(document.ego, ("ego",))
    path = _path(values, ev, paths, ("ego",))
    return types.EgoSpec(path=path, command=document.ego.command, **values)


def _actors(
    document: ScenarioDocument,
    ev: _Evaluator,
    paths: tuple[str, ...],
    road: types.RoadSpec,
    seed: int,
) -> tuple[tuple[types.ActorSpec, ...], set[str]]:
    chance = uniforms(
        seed,
        [f"actor {actor.id} {use}" for actor in document.actors for use in ("is there", "color")],
    )
    actors, absent = [], set()
    for i, actor in enumerate(document.actors):
        loc: Loc = ("actors", i)
        values = ev.values(actor, loc)
        if chance[f"actor {actor.id} is there"] >= values.pop("probability"):
            absent.add(actor.id)
            continue
        actors.append(
            _actor(actor, values, ev, paths, road, chance[f"actor {actor.id} color"], loc)
        )
    return tuple(actors), absent


def _actor(
    actor: Actor,
    values: dict[str, Any],
    ev: _Evaluator,
    paths: tuple[str, ...],
    road: types.RoadSpec,
    color_chance: float,
    loc: Loc,
) -> types.ActorSpec:
    kind = values.pop("kind")
    ahead, s_m = values.pop("ahead_m"), values.pop("s_m")
    desired = values.pop("desired_speed_mps")
    color = values.pop("color")
    default = "static" if kind in OBJECTS else "scripted" if kind == "pedestrian" else "idm"
    return types.ActorSpec(
        id=actor.id,
        kind=kind,
        path=_path(values, ev, paths, loc),
        s_m=s_m if ahead is None else ahead,
        s_from_ego=ahead is not None,
        behaviour=actor.behaviour or default,  # type: ignore[arg-type]
        desired_speed_mps=road.speed_limit_mps if desired is None else desired,
        color=_rgb(color, kind, color_chance),
        **values,
    )


def _rgb(color: Any, kind: str, chance: float) -> tuple[int, int, int]:
    if isinstance(color, list | tuple):
        return (color[0], color[1], color[2])
    if color is None:
        palette = WALKER_COLORS if kind in ("pedestrian", "cyclist") else CAR_COLORS
        color = _FIXED_COLORS.get(kind) or palette[int(chance * len(palette))]
    return COLORS.get(color, (150, 30, 30))


def _event(event: Event, ev: _Evaluator, loc: Loc) -> types.EventSpec:
    trigger = ev.values(event.trigger, (*loc, "trigger"))
    kind, value = next((name, value) for name, value in trigger.items() if value is not None)
    actions = []
    for i, action in enumerate(event.actions):
        place: Loc = (*loc, "actions", i)
        if action.run_light:
            actions.append(types.Action("run_light"))
        for name in ("speed", "offset", "react"):
            part = getattr(action, name)
            if part is not None:
                actions.append(types.Action(name, **ev.values(part, (*place, name))))
    kind = kind.removesuffix("_s").removesuffix("_m")
    return types.EventSpec(event.actor, types.Trigger(kind, value), tuple(actions))  # type: ignore[arg-type]
