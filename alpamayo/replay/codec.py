"""Frozen dataclasses to JSON and back, strictly: what a file says is checked before anything is
built from it.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar

from alpamayo.types import RequestError

T = TypeVar("T")

# No length, speed or count of a scenario comes near; larger ones are a mistake or an attack.
_NUMBER_LIMIT = 1e9
_MAX_ITEMS = 10_000
_DEEPEST = 50
_NON_FINITE = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}

# Fields whose value decides how much memory or time a rebuilt world takes: (class, field) -> (low,
# high).
_BOUNDS: dict[tuple[str, str], tuple[float, float]] = {
    ("RoadSpec", "lanes"): (1, 12),
    ("RoadSpec", "oncoming_lanes"): (0, 12),
    ("RoadSpec", "lane_width_m"): (1.0, 20.0),
    ("RoadSpec", "shoulder_m"): (0.0, 50.0),
    ("RoadSpec", "length_m"): (1.0, 5_000.0),
    ("SimConfig", "tick_s"): (0.001, 1.0),
    ("SimConfig", "decision_s"): (0.001, 10.0),
    ("SimConfig", "plan_steps"): (1, 64),
    ("SimConfig", "max_actors"): (0, 256),
    ("SimConfig", "latency_s"): (0.0, 10.0),
    ("SimConfig", "latency_jitter_s"): (0.0, 10.0),
    ("TrafficSpec", "vehicles"): (0, 256),
    ("TrafficSpec", "pedestrians"): (0, 256),
    ("RigConfig", "supersample"): (1, 4),
    ("RigConfig", "width_px"): (8, 4096),
    ("RigConfig", "height_px"): (8, 4096),
    ("RigConfig", "frames"): (1, 16),
}


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples and mappings as JSON values; floats that are not finite become
    strings.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if hasattr(value, "item") and not isinstance(value, str | bytes):  # numpy scalars
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def from_plain(cls: type[T], data: Any, where: str) -> T:
    """Build dataclass ``cls`` from JSON values; RequestError names the place ``where.field`` and
    what was expected.
    """
    if not isinstance(data, dict):
        raise RequestError(f"{where}: expected an object, got {_kind(data)}")
    hints = _hints(typing.cast(Any, cls))
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise RequestError(f"{where}.{unknown[0]}: unknown key; expected one of {', '.join(hints)}")
    values = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        place = f"{where}.{field.name}"
        if field.name in data:
            value = _convert(hints[field.name], data[field.name], place)
            _check_bounds(cls.__name__, field.name, value, place)
            values[field.name] = value
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RequestError(f"{place}: missing")
    return cls(**values)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _check_bounds(cls: str, name: str, value: Any, place: str) -> None:
    bounds = _BOUNDS.get((cls, name))
    if bounds is not None and not bounds[0] <= value <= bounds[1]:
        raise RequestError(f"{place}: expected {bounds[0]:g} to {bounds[1]:g}, got {value!r}")


def _convert(hint: Any, data: Any, place: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return _plain_only(data, place)
    if origin is Literal:
        if data not in args or isinstance(data, bool):
            raise RequestError(
                f"{place}: expected one of {', '.join(map(str, args))}, got {data!r}"
            )
        return data
    if origin in (types.UnionType, typing.Union):
        if data is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), data, place)
    if origin is tuple:
        return _convert_tuple(args, data, place)
    if origin in (dict, collections.abc.Mapping):
        if not isinstance(data, dict) or len(data) > _MAX_ITEMS:
            raise RequestError(f"{place}: expected an object, got {_kind(data)}")
        return {k: _convert(args[1], v, f"{place}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), data, place)
    return _scalar(hint, data, place)


def _convert_tuple(args: tuple[Any, ...], data: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(data, list) or len(data) > _MAX_ITEMS:
        raise RequestError(f"{place}: expected a list, got {_kind(data)}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], v, f"{place}[{n}]") for n, v in enumerate(data))
    if len(data) != len(args):
        raise RequestError(f"{place}: expected {len(args)} values, got {len(data)}")
    pairs = zip(args, data, strict=True)
    return tuple(_convert(a, v, f"{place}[{n}]") for n, (a, v) in enumerate(pairs))


def _scalar(hint: Any, data: Any, place: str) -> Any:
    if hint is float:
        if isinstance(data, str) and data in _NON_FINITE:
            return _NON_FINITE[data]
        if isinstance(data, bool) or not isinstance(data, int | float) or abs(data) > _NUMBER_LIMIT:
            raise RequestError(f"{place}: expected a number, got {data!r:.60}")
        return float(data)
    if hint is int:
        if isinstance(data, bool) or not isinstance(data, int) or abs(data) >= 2**63:
            raise RequestError(f"{place}: expected an integer, got {data!r:.60}")
        return data
    if hint in (bool, str):
        if not isinstance(data, hint):
            raise RequestError(f"{place}: expected {hint.__name__}, got {_kind(data)}")
        return data
    raise TypeError(f"{place}: no conversion to {hint}")


def _plain_only(data: Any, place: str, depth: int = 0) -> Any:
    if depth > _DEEPEST:
        raise RequestError(f"{place}: expected at most {_DEEPEST} levels of lists and objects")
    if isinstance(data, list):
        return [_plain_only(v, place, depth + 1) for v in data]
    if isinstance(data, dict):
        return {str(k): _plain_only(v, place, depth + 1) for k, v in data.items()}
    return data


def _kind(data: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(data), repr(data)[:60])
