"""All numbers of a batch of worlds, as one struct of arrays that can be loaded, copied and hashed
by row.

Axes: ``world`` [B], ``actor`` [B, A], ``event`` [B, E], ``action`` [B, M]. Widths A, E and M grow
when a scenario needs it; unused slots keep their fill value, so that nothing depends on the widths.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alpamayo.types import BoolArray, FloatArray, IntArray

# Actor behaviours.
IDM, SCRIPTED, STATIC = range(3)
BEHAVIOURS = ("idm", "scripted", "static")
HISTORY = 16


def _column(axis: str, dtype: str = "f8", fill: Any = 0, hashed: bool = True) -> Any:
    return field(metadata={"axis": axis, "dtype": dtype, "fill": fill, "hashed": hashed})


def _world(dtype: str = "f8", fill: Any = 0, hashed: bool = True) -> Any:
    return _column("world", dtype, fill, hashed)


def _actor(dtype: str = "f8", fill: Any = 0, hashed: bool = True) -> Any:
    return _column("actor", dtype, fill, hashed)


@dataclass
class WorldState:
    """One row per world. Columns that are not hashed are set by the scenario alone or follow from
    the others."""

    # The task, fixed by the scenario.
    map_id: IntArray = _world("i8", 0, False)
    route: IntArray = _world("i8", 0, False)
    start_s: FloatArray = _world(hashed=False)
    end_s: FloatArray = _world(hashed=False)
    duration_s: FloatArray = _world(hashed=False)
    speed_limit: FloatArray = _world(hashed=False)
    lane_width: FloatArray = _world(fill=3.5, hashed=False)
    command: IntArray = _world("i1", 0, False)
    actor_count: IntArray = _world("i8", 0, False)
    event_count: IntArray = _world("i8", 0, False)
    has_signals: BoolArray = _world("?", False, False)
    green_s: FloatArray = _world(fill=20.0, hashed=False)
    yellow_s: FloatArray = _world(fill=3.0, hashed=False)
    all_red_s: FloatArray = _world(fill=1.5, hashed=False)
    offset_s: FloatArray = _world(hashed=False)
    stop_s: FloatArray = _world(fill=np.inf, hashed=False)
    signal_group: IntArray = _world("i8", -1, False)
    light: FloatArray = _world(fill=1.0, hashed=False)
    texture_seed: IntArray = _world("i8", 0, False)

    # The ego and its plan. ``tick`` counts base ticks.
    tick: IntArray = _world("i8")
    decision: IntArray = _world("i8")
    end: IntArray = _world("i8")
    x: FloatArray = _world()
    y: FloatArray = _world()
    heading: FloatArray = _world()
    speed: FloatArray = _world()
    accel: FloatArray = _world()
    curvature: FloatArray = _world()
    moved_accel: FloatArray = _world()
    yaw_rate: FloatArray = _world()
    route_s: FloatArray = _world()
    route_d: FloatArray = _world()
    route_heading: FloatArray = _world()
    plan_tick: IntArray = _world("i8")
    plan: FloatArray = _column("plan")
    queue: FloatArray = _column("queue")
    reference: FloatArray = _column("reference", hashed=False)
    history: FloatArray = _column("history", hashed=False)

    # Actors, in the frame of their path. ``turn``: heading relative to the path.
    present: BoolArray = _actor("?", False)
    kind: IntArray = _actor("i8", 0, False)
    length: FloatArray = _actor(fill=1.0, hashed=False)
    width: FloatArray = _actor(fill=1.0, hashed=False)
    height: FloatArray = _actor(fill=1.0, hashed=False)
    color: IntArray = _column("color", "u1", 0, False)
    path: IntArray = _actor("i8", 0, False)
    path_end: FloatArray = _actor(fill=np.inf, hashed=False)
    actor_stop_s: FloatArray = _actor(fill=np.inf, hashed=False)
    actor_group: IntArray = _actor("i8", -1, False)
    gives_way: BoolArray = _actor("?", False, False)
    merge_s: FloatArray = _actor(fill=-np.inf, hashed=False)
    cross_s: FloatArray = _actor(fill=np.inf, hashed=False)
    headway: FloatArray = _actor(fill=1.5, hashed=False)
    agile: BoolArray = _actor("?", False, False)
    behaviour: IntArray = _actor("i8", STATIC)
    desired: FloatArray = _actor(fill=1.0)
    runs_light: BoolArray = _actor("?", False)
    s: FloatArray = _actor()
    d: FloatArray = _actor()
    v: FloatArray = _actor()
    vd: FloatArray = _actor()
    turn: FloatArray = _actor()
    actor_accel: FloatArray = _actor()
    target_v: FloatArray = _actor()
    target_accel: FloatArray = _actor()
    shift_from: FloatArray = _actor()
    shift_to: FloatArray = _actor()
    shift_rate: FloatArray = _actor()
    shift_s: FloatArray = _actor()
    shift_clock: FloatArray = _actor()
    ax: FloatArray = _actor(fill=1e6, hashed=False)
    ay: FloatArray = _actor(fill=1e6, hashed=False)
    aheading: FloatArray = _actor(hashed=False)

    # Events and their actions.
    fired: BoolArray = _column("event", "?", True)
    event_actor: IntArray = _column("event", "i8", 0, False)
    trigger: IntArray = _column("event", "i8", 0, False)
    trigger_value: FloatArray = _column("event", "f8", 0, False)
    action_event: IntArray = _column("action", "i8", 0, False)
    action_kind: IntArray = _column("action", "i8", -1, False)
    action_values: FloatArray = _column("action_values", "f8", 0, False)

    # What the camera saw at the starts of the last decisions, newest first: enough to draw it
    # again.
    seen_ego: FloatArray = _column("seen_ego", hashed=False)
    seen_boxes: FloatArray = _column("seen_boxes", hashed=False)
    seen_flags: IntArray = _column("seen_flags", "i1", 0, False)
    seen_signals: IntArray = _column("seen_signals", "i1", 2, False)


COLUMNS = {f.name: f.metadata for f in dataclasses.fields(WorldState)}


@dataclass(frozen=True)
class Sizes:
    """Widths of the axes. ``reference`` counts reference poses, ``seen`` past decisions kept for
    the camera."""

    actors: int
    events: int
    actions: int
    plan_steps: int
    queue: int
    reference: int
    seen: int

    def shape(self, axis: str) -> tuple[int, ...]:
        shapes: dict[str, tuple[int, ...]] = {
            "world": (),
            "actor": (self.actors,),
            "color": (self.actors, 3),
            "event": (self.events,),
            "action": (self.actions,),
            "action_values": (self.actions, 4),
            "plan": (self.plan_steps, 2),
            "queue": (self.queue, self.plan_steps, 2),
            "reference": (self.reference, 4),
            "history": (HISTORY, 3),
            "seen_ego": (self.seen, 3),
            "seen_boxes": (self.seen, self.actors, 3),
            "seen_flags": (self.seen, self.actors),
            "seen_signals": (self.seen, 2),
        }
        return shapes[axis]


def allocate(count: int, sizes: Sizes) -> WorldState:
    """``count`` empty worlds."""
    return WorldState(
        **{
            name: np.full((count, *sizes.shape(m["axis"])), m["fill"], dtype=m["dtype"])
            for name, m in COLUMNS.items()
        }
    )


def take(state: WorldState, rows: Any) -> WorldState:
    """An independent copy of ``rows`` (an index array, repeats allowed)."""
    return WorldState(**{name: getattr(state, name)[rows] for name in COLUMNS})


def put(state: WorldState, rows: IntArray, other: WorldState) -> None:
    """Overwrite ``rows`` of ``state`` with all rows of ``other`` (same sizes)."""
    for name in COLUMNS:
        getattr(state, name)[rows] = getattr(other, name)


def resized(state: WorldState, sizes: Sizes) -> WorldState:
    """The same worlds with other widths; slots that are cut off must be unused."""
    grown = allocate(len(state.x), sizes)
    for name in COLUMNS:
        old, new = getattr(state, name), getattr(grown, name)
        common = tuple(slice(0, min(a, b)) for a, b in zip(old.shape, new.shape, strict=True))
        new[common] = old[common]
    return grown


def hashes(state: WorldState) -> list[str]:
    """SHA-256 of the hashed columns of each world; unused slots do not count."""
    result = []
    columns = [(name, m["axis"]) for name, m in COLUMNS.items() if m["hashed"]]
    for row in range(len(state.x)):
        digest = hashlib.sha256()
        used = {"actor": int(state.actor_count[row]), "event": int(state.event_count[row])}
        for name, axis in columns:
            value = getattr(state, name)[row]
            if axis in used:
                value = value[: used[axis]]
            # + 0 turns -0.0 into 0.0: equal states, equal hashes
            value = value if value.dtype == np.bool_ else value + 0
            digest.update(np.ascontiguousarray(value).tobytes())
        result.append(digest.hexdigest())
    return result
