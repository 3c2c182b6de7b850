"""What is around and wrong in a draw: traffic, signals, weather, faults of the sensors."""

from __future__ import annotations

import math
from typing import Any

from alpamayo import types
from scenarios.evaluate import Evaluator
from scenarios.quantities import with_unit
from scenarios.schema import Fault, Signals, Traffic, Weather
from scenarios.yaml_tree import Loc

CAMERA_FAULTS = ("dead", "frozen", "drop", "dirty", "miscalibrated")
WITHOUT_AMOUNT = ("dead", "frozen")
# Least and most of the amounts that are not from 0 to 1000.
_AMOUNTS = {
    "drop": (0.0, 1.0),
    "dirty": (0.0, 1.0),
    "miscalibrated": (-180.0, 180.0),
    "speed_scale": (-1.0, 10.0),
}
_MOST_AMOUNT = 1e3
AMOUNT_UNITS = {
    "miscalibrated": "degrees", "speed_noise": "m/s", "pose_noise": "m", "latency": "s",
}  # fmt: skip


def build_traffic(traffic: Traffic | None, ev: Evaluator) -> types.TrafficSpec | None:
    """Background traffic, if any."""
    if traffic is None:
        return None
    given = ev.values(traffic, ("traffic",))
    values = {name: value for name, value in given.items() if value is not None}
    low, high = values.get("speed_factor", (0.0, 0.0))
    if low > high:
        ev.refuse(("traffic", "speed_factor"), f"expected [low, high], got [{low:g}, {high:g}]")
    return types.TrafficSpec(**values)


def build_signals(
    signals: Signals | None, road: types.RoadSpec, ev: Evaluator
) -> types.SignalPlan | None:
    """The given cycle; the default one where a road may have signals."""
    if signals is not None:
        return types.SignalPlan(**ev.values(signals, ("signals",)))
    return types.SignalPlan() if road.kind in ("junction", "opendrive") else None


def build_weather(weather: Weather, ev: Evaluator) -> types.Weather:
    """The weather, with its patches."""
    values = ev.values(weather, ("weather",))
    if values["fog_m"] is None:
        values["fog_m"] = math.inf
    patches = []
    for i, patch in enumerate(weather.patches):
        loc: Loc = ("weather", "patches", i)
        part = ev.values(patch, loc)
        if not part["from_m"] < part["to_m"]:
            what = f"expected to_m above from_m, {part['from_m']:g} m, got {part['to_m']:g} m"
            ev.refuse((*loc, "to_m"), what)
        patches.append((part["from_m"], part["to_m"], part["friction"]))
    return types.Weather(**values, patches=tuple(patches))


def build_faults(faults: list[Fault], ev: Evaluator) -> tuple[types.Fault, ...]:
    """The faults of the sensors."""
    return tuple(_fault(fault, ev, ("faults", i)) for i, fault in enumerate(faults))


def _fault(fault: Fault, ev: Evaluator, loc: Loc) -> types.Fault:
    values = ev.values(fault, loc)
    end_s = values.pop("end_s")
    if end_s is not None and not end_s > values["start_s"]:
        expected = f"expected more than start_s, {values['start_s']:g} s"
        ev.refuse((*loc, "end_s"), f"{expected}, got {end_s:g} s")
    start_s = values.pop("start_s")
    checked = checked_fault(values, ev, loc)
    return types.Fault(**checked, start_s=start_s, end_s=math.inf if end_s is None else end_s)


def checked_fault(values: dict[str, Any], ev: Evaluator, loc: Loc) -> dict[str, Any]:
    """Kind, camera and amount of a fault; what makes no sense goes to ``ev``."""
    kind, amount = values["kind"], values["amount"]
    unit = AMOUNT_UNITS.get(kind, "")
    if values["camera"] is not None and kind not in CAMERA_FAULTS:
        ev.refuse((*loc, "camera"), f"{kind} is about ego's state, not about a camera")
    if kind in WITHOUT_AMOUNT:
        if amount is not None:
            ev.refuse((*loc, "amount"), f"{kind} has no amount")
    elif amount is None:
        ev.refuse((*loc, "amount"), f"missing; {kind} needs one{f' in {unit}' if unit else ''}")
    else:
        least, most = _AMOUNTS.get(kind, (0.0, _MOST_AMOUNT))
        if not least <= amount <= most:
            expected = with_unit(f"expected {least:g} to {most:g}", unit)
            got = with_unit(f"{amount:g}", unit)
            ev.refuse((*loc, "amount"), f"{expected} for {kind}, got {got}")
    return {"kind": kind, "camera": values["camera"] or "all", "amount": amount or 0.0}
