"""Triggers and actions of a drawn scenario in a few words, with units."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from alpamayo.types import Action, Condition, EventSpec, Scenario, Trigger

_UNITS = {
    "time": "s", "distance": "m", "ttc": "s", "ego_position": "m", "arrival": "s", "headway": "s",
    "ego_speed": "m/s", "actor_speed": "m/s", "actor_position": "m", "ego_at_most": "m/s",
    "actor_at_most": "m/s",
}  # fmt: skip
_FIELD_UNITS = {"_mps2": "m/s2", "_mps": "m/s", "_m": "m", "_s": "s", "_rad": "rad"}
# What an action of this kind is about, even at its default.
_SHOWN = {
    "speed": ("speed_mps", "accel_mps2"), "offset": ("d_m", "lateral_mps"), "react": ("speed_mps",),
    "open_door": ("value", "lateral_mps"), "signal": ("mode",), "friction": ("value",),
    "lane_change": ("value", "lateral_mps"), "indicator": ("value",), "stand": ("speed_mps",),
    "follow": ("path", "lateral_mps"), "patch": ("patch",), "weather": ("weather",),
}  # fmt: skip


def as_text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if is_dataclass(value) and not isinstance(value, type):
        parts = ((f.name, getattr(value, f.name)) for f in fields(value))
        return ", ".join(f"{name} {as_text(part)}" for name, part in parts if part is not None)
    if isinstance(value, tuple):
        return "(" + ", ".join(as_text(part) for part in value) + ")"
    return str(value)


def trigger_text(event: EventSpec) -> str:
    """``distance 10.9 m``, ``2 s after event 0``, ``all of (time 1 s, distance 5 m)``."""
    return _part(event.trigger, -1)


def _part(trigger: Trigger, number: int) -> str:
    """The trigger (-1), or part ``number`` of it."""
    one = trigger if number < 0 else trigger.parts[number]
    if one.kind in ("all", "any"):
        inner = [_part(trigger, n) for n, part in enumerate(trigger.parts) if part.whole == number]
        return f"{one.kind} of ({', '.join(inner)})"
    if one.kind == "after":
        return f"{as_text(one.value)} s after event {one.event}"
    told = f"{one.kind} {as_text(one.value)} {_UNITS.get(one.kind, '')}".strip()
    about = one.actor if isinstance(one, Condition) else ""
    return f"{told} of {about}" if about else told


def action_text(action: Action) -> str:
    """``speed 9.7 m/s, 3 m/s2``: the fields that matter for its kind, else those that are set."""
    if action.kind == "speed" and action.in_s > 0.0:
        return f"speed {as_text(action.speed_mps)} m/s in {as_text(action.in_s)} s"
    shown = _SHOWN.get(action.kind)
    if shown is None:
        plain = Action(action.kind)
        names = (f.name for f in fields(action) if f.name != "kind")
        shown = tuple(n for n in names if getattr(action, n) != getattr(plain, n))
    return f"{action.kind} {', '.join(_field(n, getattr(action, n)) for n in shown)}".strip()


def _field(name: str, value: Any) -> str:
    if name == "d_m":
        return f"to {value:+.3g} m"
    for suffix, unit in _FIELD_UNITS.items():
        if name.endswith(suffix):
            return f"{as_text(value)} {unit}"
    return as_text(value)


def actions_text(event: EventSpec) -> str:
    return "; ".join(action_text(action) for action in event.actions)


def event_text(scenario: Scenario, number: int) -> str:
    """``cutter: offset to -3.5 m, 2.6 m/s (distance 10.9 m)``."""
    event = scenario.events[number]
    return f"{event.actor or 'world'}: {actions_text(event)} ({trigger_text(event)})"
