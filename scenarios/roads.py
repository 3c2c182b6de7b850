"""The road of a draw: what its kind allows, and the names of its paths."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

from alpamayo.types import RequestError, RoadSpec
from scenarios.evaluate import Evaluator
from scenarios.map_names import lane_names
from scenarios.quantities import near
from scenarios.schema import Road
from scenarios.yaml_tree import Loc, Problem

ARMS = ("south", "north", "west", "east")
# Roads of one lane per direction and arm, whose paths are movements between arms.
CROSSINGS: dict[str, tuple[str, ...]] = {
    "junction": tuple(f"{a}_{b}" for a in ARMS for b in ARMS if a != b),
    "t_junction": tuple(
        f"{a}_{b}" for a in ("south", "west", "east") for b in ARMS if a != b and b != "north"
    ),
    "roundabout": tuple(f"{a}_{b}" for a in ARMS for b in ARMS if a != b),
}
SIDEWALKS: dict[str, tuple[str, ...]] = {
    "t_junction": ("sidewalk_north", "sidewalk_west_south", "sidewalk_south_east"),
    "roundabout": (
        "sidewalk_south_east", "sidewalk_north_west", "sidewalk_west_south", "sidewalk_east_north",
    ),
    "parking_street": ("sidewalk_right", "sidewalk_left"),
}  # fmt: skip
PARKING = ("parking_right", "parking_left")
RAMPS = {"merge": "ramp", "exit": "exit"}
BY_LANES = (
    "straight", "curve", "merge", "s_curve", "exit", "lane_drop", "parking_street", "crest",
)  # fmt: skip
# What only some kinds have, and why it is refused elsewhere.
_RADIUS_KINDS = ("curve", "s_curve", "roundabout")
_OF_THE_MAP = (
    "lanes", "oncoming_lanes", "lane_width_m", "shoulder_m", "length_m", "radius_m", "rise_m",
)  # fmt: skip
_LEAD_IN_M, _EASE_M, _MOST_TURN_RAD = 30.0, 30.0, 1.7 * math.pi


@lru_cache(maxsize=256)
def path_names(kind: str, lanes: int, oncoming_lanes: int) -> tuple[str, ...]:
    """Names of the paths of a procedural road, as the simulator calls them."""
    beside = SIDEWALKS.get(kind, ())
    if kind in CROSSINGS:
        return (*CROSSINGS[kind], *beside)
    names = [f"lane{i}" for i in range(lanes)] + [f"oncoming{i}" for i in range(oncoming_lanes)]
    if kind in RAMPS:
        names.append(RAMPS[kind])
    return (*names, *(PARKING if kind == "parking_street" else ()), *beside)


def is_for_driving(path: str) -> bool:
    """Whether a path of a procedural road is one that ego may take."""
    return not path.startswith(("sidewalk_", "parking_"))


def build_road(road: Road, ev: Evaluator) -> tuple[RoadSpec, tuple[str, ...]]:
    """The road and the names of its paths; what its builder would refuse goes to ``ev``."""
    if road.kind != "opendrive" and road.file is not None:
        ev.refuse(("road", "file"), f"only kind opendrive has a file; kind is {road.kind}")
    values = ev.values(road, ("road",))
    values["file"] = values["file"] or ""
    if road.kind == "opendrive":
        return _map(road, values["file"], values["speed_limit_mps"], ev)
    if road.kind in CROSSINGS:
        # One lane per direction and arm: the defaults of other roads do not apply.
        for name in {"lanes", "oncoming_lanes"} & road.model_fields_set:
            if values[name] != 1:
                what = road.kind.replace("_", "-")
                ev.refuse(("road", name), f"a {what} has 1, got {values[name]}")
        values |= {"lanes": 1, "oncoming_lanes": 1}
    spec = RoadSpec(kind=road.kind, **values)
    if not ev.problems:
        ev.problems += _problems(spec)
    return spec, path_names(spec.kind, spec.lanes, spec.oncoming_lanes)


def _map(
    road: Road, file: str, speed_limit_mps: float, ev: Evaluator
) -> tuple[RoadSpec, tuple[str, ...]]:
    for name in _OF_THE_MAP:
        if name in road.model_fields_set:
            ev.refuse(("road", name), "an OpenDRIVE map says this itself; leave it out")
    spec = RoadSpec(kind="opendrive", speed_limit_mps=speed_limit_mps, file=file)
    if road.file is None:
        ev.refuse(("road", "file"), "missing; kind opendrive needs the path of an .xodr file")
    names: tuple[str, ...] = ()
    if file:
        try:
            names = lane_names(file)
        except RequestError as error:
            ev.refuse(("road", "file"), str(error))
    return spec, names


def _problems(road: RoadSpec) -> Iterator[Problem]:
    """What the road builder would refuse."""
    kind, lanes = road.kind, road.lanes + road.oncoming_lanes
    if kind not in _RADIUS_KINDS and road.radius_m != 0.0:
        yield _about("radius_m", f"only a curve has a radius; kind is {kind}")
    if kind in ("curve", "s_curve"):
        yield from _bends(road, lanes * road.lane_width_m + 5.0)
    elif kind in RAMPS and road.length_m < 200.0:
        article = "an" if kind == "exit" else "a"
        yield _about("length_m", f"{article} {kind} needs at least 200 m, got {road.length_m:g} m")
    elif kind == "lane_drop":
        if road.lanes < 2:
            yield _about("lanes", f"a lane drop needs at least 2, got {road.lanes}")
        if road.length_m < 160.0:
            yield _about("length_m", f"a lane drop needs at least 160 m, got {road.length_m:g} m")
    elif kind == "parking_street" and road.oncoming_lanes:
        yield _about("oncoming_lanes", f"a parking street is one-way, got {road.oncoming_lanes}")
    elif kind == "roundabout" and road.radius_m:
        least = 10.5 + road.lane_width_m
        if not least <= road.radius_m <= 60.0:
            expected = f"expected {least:g} to 60 m for a roundabout"
            yield _about("radius_m", f"{expected}, got {road.radius_m:g} m")
    if kind == "crest":
        yield from _hill(road)
    elif road.rise_m != 0.0:
        yield _about("rise_m", f"only a crest rises; kind is {kind}")


def _bends(road: RoadSpec, least: float) -> Iterator[Problem]:
    what, radius = road.kind.replace("_", "-"), abs(road.radius_m)
    article = "an" if road.kind == "s_curve" else "a"
    if radius < least:
        message = f"{article} {what} needs at least {least:g} m either way, got {road.radius_m:g} m"
        yield _about("radius_m", message)
    elif road.kind == "s_curve":
        shortest = 2.0 * _LEAD_IN_M + 4.0 * min(_EASE_M, 0.5 * radius)
        if road.length_m < shortest:
            message = f"an s-curve of this radius needs at least {shortest:g} m"
            yield _about("length_m", f"{message}, got {road.length_m:g} m")
    else:
        longest = _LEAD_IN_M + _MOST_TURN_RAD * radius
        if road.length_m > longest:
            message = f"a curve of this radius closes its circle beyond {longest:.0f} m"
            yield _about("length_m", f"{message}, got {road.length_m:g} m")


def _hill(road: RoadSpec) -> Iterator[Problem]:
    """At most 15 % steep and 2.5 m/s2 of lift at the speed limit, for a hill of cosine shape over
    60 % of the length.
    """
    base = 0.6 * road.length_m
    steep = 0.15 * base / math.pi
    sharp = 2.5 / road.speed_limit_mps**2 * base**2 / (2.0 * math.pi**2)
    most = min(steep, sharp)
    if not 0.0 < road.rise_m <= most:
        expected = f"expected above 0 to {most:.3g} m for this length and speed limit"
        yield _about("rise_m", f"{expected}, got {road.rise_m:g} m")


def _about(key: str, message: str) -> Problem:
    return Problem(("road", key), message)


# --------------------------------------------------------------------------------------
# Paths
# --------------------------------------------------------------------------------------
def named_path(lane: int | None, oncoming: int | None, path: str | None) -> tuple[str, str]:
    """Name of the path that one of the three keys says, and that key."""
    if lane is not None:
        return f"lane{lane}", "lane"
    if oncoming is not None:
        return f"oncoming{oncoming}", "oncoming"
    return path or "", "path"


def check_path(name: str, paths: tuple[str, ...], loc: Loc, ev: Evaluator) -> None:
    """Refuse a path that the road does not have."""
    if paths and name not in paths and not ev.refused(loc):
        ev.refuse(loc, unknown_path(name, paths))


def unknown_path(name: str, paths: tuple[str, ...]) -> str:
    """The message for a path that is none of ``paths``."""
    shown = ", ".join(paths[:24]) + (", ..." if len(paths) > 24 else "")
    return f"the road has no path {name}{near(name, paths) or f'; its paths: {shown}'}"


def runs_along(path: str, ego_path: str, kind: str) -> bool:
    """Whether places on ``path`` can be told by distances along ego's."""
    if kind in CROSSINGS:
        return path.split("_")[0] == ego_path.split("_")[0]
    return kind != "merge" or (path == "ramp") == (ego_path == "ramp")
