"""All numbers of a batch of worlds, as a few record arrays that kernels and numpy share.

Axes: ``worlds`` [B], ``actors`` [B, A], ``events`` [B, E], ``actions`` [B, M]. Widths A, E and M
grow when a scenario needs it; unused slots keep their fill value, so that nothing depends on the
widths. A field of a record is an array too: ``state.x`` is ``state.worlds["x"]`` [B],
``state.s`` is ``state.actors["s"]`` [B, A], and assigning to it writes in place.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from alpamayo.types import FloatArray, IntArray

# Actor behaviours.
IDM, SCRIPTED, STATIC, WALK, LOG, ATTACHED = range(6)
BEHAVIOURS = ("idm", "scripted", "static", "walk", "log", "attached")
HISTORY = 16
PATCHES = 4  # friction patches of a world
DELAY_TICKS = 8  # base ticks that a command may be on its way to the actuators
NOWHERE_M = 1e6  # where an unused slot stands

_Field = tuple[str, Any, Any, bool]  # name, type, fill, part of the state hash


def _task(name: str, kind: Any = "f8", fill: Any = 0) -> _Field:
    """Set by the scenario alone, or follows from the rest: not hashed."""
    return name, kind, fill, False


def _live(name: str, kind: Any = "f8", fill: Any = 0) -> _Field:
    return name, kind, fill, True


_WORLD: tuple[_Field, ...] = (
    # The task, fixed by the scenario.
    _task("map_id", "i8"),
    _task("route", "i8"),
    _task("seed", "u8"),
    _task("start_s"),
    _task("end_s"),
    _task("duration_s"),
    _task("speed_limit"),
    _task("lane_width", fill=3.5),
    _task("command", "i1"),
    _task("reversing", "?", False),  # the body points against ``heading``
    _task("actor_count", "i8"),
    _task("event_count", "i8"),
    _task("part_count", "i8"),
    # Signals: a cycle of two groups; ``signal_mode`` is an index into ``sim.signals.MODES``.
    _task("has_signals", "?", False),
    _task("green_s", fill=20.0),
    _task("yellow_s", fill=3.0),
    _task("all_red_s", fill=1.5),
    _task("offset_s"),
    _live("signal_mode", "i8"),
    _task("stop_s", fill=np.inf),
    _task("signal_group", "i8", -1),
    # The environment. Friction is the tyre-road coefficient; patches are (from, to, coefficient)
    # along the route.
    _live("friction", fill=1.0),
    _live("patches", ("f8", (PATCHES, 3)), (np.inf, -np.inf, 1.0)),
    _task("light", fill=1.0),
    _task("fog_m", fill=np.inf),
    _task("rain"),
    _task("snow"),
    _task("glare"),
    _task("texture_seed", "i8"),
    # The ego and its plan. ``tick`` counts base ticks; ``plan_tick`` ticks since the plan took
    # over.
    _live("tick", "i8"),
    _live("decision", "i8"),
    _live("end", "i8"),
    _live("x"),
    _live("y"),
    _live("heading"),
    _live("speed"),
    _live("accel"),
    _live("curvature"),
    _live("moved_accel"),
    _live("yaw_rate"),
    _live("lateral_speed"),
    _live("pending", ("f8", (DELAY_TICKS, 2))),  # commands on their way, oldest first
    _live("route_s"),
    _live("route_d"),
    _live("route_heading"),
    _live("lane", "i8", -1),
    _live("plan_tick", "i8"),
    _live("standstill_s"),
    _live("stood_s", fill=-np.inf),  # where on the route the ego last stood
)

_ACTOR: tuple[_Field, ...] = (
    _live("present", "?", False),
    _task("kind", "i8"),
    _task("length", fill=1.0),
    _task("width", fill=1.0),
    _task("height", fill=1.0),
    _task("base_z"),
    _task("color", ("u1", (3,))),
    # In the frame of its path; ``turn``: heading relative to the path. ``path`` changes at the end
    # of a lane and when changing lanes.
    _live("path", "i8"),
    _live("next_path", "i8", -1),
    _live("hops", "i8"),
    _live("behaviour", "i8", STATIC),
    _live("s"),
    _live("d"),
    _live("v"),
    _live("vd"),
    _live("turn"),
    _live("actor_accel"),
    _live("target_v"),
    _live("target_accel"),
    _live("shift_from"),
    _live("shift_to"),
    _live("shift_rate"),
    _live("shift_s"),
    _live("shift_clock"),
    _live("runs_light", "?", False),
    _live("waited_s"),  # stood at a stop line or giving way; negative: stood elsewhere
    _live("indicator", "i1"),  # 0 none, 1 left, -1 right, 2 hazard lights
    _task("turn_lamp", "i1"),  # the same for a turn at a junction; follows from where it drives
    # Follow from the rest, every tick. ``ax, ay``: the middle of the box.
    _task("ax", fill=NOWHERE_M),
    _task("ay", fill=NOWHERE_M),
    _task("aheading"),
    _task("cos_h", fill=1.0),
    _task("sin_h"),
    # The driver (Intelligent Driver Model and MOBIL).
    _live("desired", fill=1.0),
    _task("headway", fill=1.5),
    _task("min_gap", fill=2.0),
    _task("max_accel", fill=1.5),
    _task("comfort_brake", fill=2.0),
    _task("politeness", fill=0.2),
    _task("change_threshold", fill=0.2),
    _task("changes_lanes", "?", False),
    _live("change_cooldown_s"),
    _task("agile", "?", False),
    _task("respawns", "?", False),
    # A part of another actor (a door): hinge in the parent's frame, angle and its rate.
    _task("parent", "i8", -1),
    _task("hinge_x"),
    _task("hinge_y"),
    _live("angle"),
    _live("angle_to"),
    _live("angle_rate"),
    _live("opened_s", fill=-np.inf),  # when the part last began to move
    # Walkers: goal and velocity in the world frame.
    _live("goal_x"),
    _live("goal_y"),
    _live("walk_vx"),
    _live("walk_vy"),
    # Recorded actors: rows of the log arena, and where they stop replaying and start reacting.
    _task("log_first", "i8", -1),
    _task("log_count", "i8"),
    _task("reacts_within_m"),
)

_EVENT: tuple[_Field, ...] = (
    _live("fired", "?", True),
    _live("fired_s", fill=np.inf),
    _task("event_actor", "i8"),
    _task("trigger", "i8"),
    _task("trigger_value"),
    _task("after_event", "i8", -1),
    # Triggers that combine others. The parts are records behind those of the events, each behind
    # its whole; ``root`` is the event (-1: the record itself is one). ``met`` counts the parts that
    # hold now.
    _task("root", "i8", -1),
    _task("whole", "i8", -1),
    _task("parts", "i8"),
    _task("met", "i8"),
)

_ACTION: tuple[_Field, ...] = (
    _task("action_event", "i8"),
    _task("action_kind", "i8", -1),
    _task("speed_mps"),
    _task("accel_mps2"),
    _task("d_m"),
    _task("lateral_mps"),
    _task("value"),
    _task("in_s"),
    _task("patch", ("f8", (3,))),
)


def _record(fields: tuple[_Field, ...]) -> np.dtype[Any]:
    return np.dtype([(name, kind) for name, kind, _, _ in fields], align=True)  # type: ignore[misc]


WORLD, ACTOR, EVENT, ACTION = (_record(f) for f in (_WORLD, _ACTOR, _EVENT, _ACTION))
_RECORDS = {"worlds": _WORLD, "actors": _ACTOR, "events": _EVENT, "actions": _ACTION}
_OWNER = {f[0]: group for group, fields in _RECORDS.items() for f in fields}


@dataclass(frozen=True)
class Sizes:
    """Widths of the axes. ``reference`` counts reference poses, ``queue`` plans that may wait at
    once, ``seen`` past decisions kept for each of the ``cameras``."""

    actors: int
    events: int
    actions: int
    plan_steps: int
    queue: int
    reference: int
    seen: int
    cameras: int = 1


@dataclass
class WorldState:
    """One row per world.

    ``plan`` [B, K, 2] drives now, with its reference poses ``reference`` [B, N, 4] (x, y, heading,
    speed); ``queue`` [B, Q, K, 2] holds plans that wait, ``queue_due`` [B, Q] the base tick at
    which each takes over (-1: the slot is empty). ``history`` [B, 16, 3]: past ego poses. The
    ``seen_*`` arrays [B, seen, C, ...] hold what each camera showed at the starts of the last
    decisions, newest first: enough to draw it again (ego pose, number of the decision and route_s;
    poses and base heights of the boxes; flags; signals).
    """

    worlds: np.ndarray
    actors: np.ndarray
    events: np.ndarray
    actions: np.ndarray
    plan: FloatArray
    queue: FloatArray
    queue_due: IntArray
    reference: FloatArray
    history: FloatArray
    seen_ego: FloatArray
    seen_boxes: FloatArray
    seen_flags: IntArray
    seen_signals: IntArray

    def __getattr__(self, name: str) -> Any:
        owner = _OWNER.get(name)
        if owner is None:
            raise AttributeError(f"WorldState has no field {name!r}")
        return self.__dict__[owner][name]

    def __setattr__(self, name: str, value: Any) -> None:
        owner = _OWNER.get(name)
        if owner is None:
            self.__dict__[name] = value
        else:
            self.__dict__[owner][name] = value

    def __len__(self) -> int:
        return len(self.worlds)


ARRAYS = tuple(f.name for f in dataclasses.fields(WorldState))
_HASHED_ARRAYS = ("plan", "queue", "queue_due")


def _empty(group: str) -> np.ndarray:
    """One record [1] as it is before anything is written into it."""
    fields = _RECORDS[group]
    record = np.zeros(1, dtype=_record(fields))
    for name, _, fill, _ in fields:
        record[name] = fill
    return record


_EMPTY = {group: _empty(group) for group in _RECORDS}


def _filled(group: str, *shape: int) -> np.ndarray:
    empty = _EMPTY[group]
    records = np.empty(shape, dtype=empty.dtype)
    _raw(records)[...] = _raw(empty)
    return records


def _raw(array: np.ndarray) -> np.ndarray:
    """The same memory; records are copied whole then, not field by field."""
    return array.view(f"V{array.itemsize}") if array.dtype.names else array


def allocate(count: int, sizes: Sizes) -> WorldState:
    """``count`` empty worlds."""
    a, k, q, n = sizes.actors, sizes.plan_steps, sizes.queue, sizes.reference
    seen, cameras = sizes.seen, sizes.cameras
    return WorldState(
        worlds=_filled("worlds", count),
        actors=_filled("actors", count, a),
        events=_filled("events", count, sizes.events),
        actions=_filled("actions", count, sizes.actions),
        plan=np.zeros((count, k, 2)),
        queue=np.zeros((count, q, k, 2)),
        queue_due=np.full((count, q), -1, dtype=np.int64),
        reference=np.zeros((count, n, 4)),
        history=np.zeros((count, HISTORY, 3)),
        seen_ego=np.zeros((count, seen, cameras, 5)),
        seen_boxes=np.zeros((count, seen, cameras, a, 4)),
        seen_flags=np.zeros((count, seen, cameras, a), dtype=np.int8),
        seen_signals=np.full((count, seen, cameras, 2), 2, dtype=np.int8),
    )


def take(state: WorldState, rows: Any) -> WorldState:
    """An independent copy of ``rows`` (an index array, repeats allowed)."""
    taken = {}
    for name in ARRAYS:
        array = getattr(state, name)
        taken[name] = _raw(array)[rows].view(array.dtype)
    return WorldState(**taken)


def put(state: WorldState, rows: IntArray, other: WorldState) -> None:
    """Overwrite ``rows`` of ``state`` with all rows of ``other`` (same sizes)."""
    for name in ARRAYS:
        _raw(getattr(state, name))[rows] = _raw(getattr(other, name))


def resized(state: WorldState, sizes: Sizes) -> WorldState:
    """The same worlds with other widths; slots that are cut off must be unused."""
    grown = allocate(len(state), sizes)
    for name in ARRAYS:
        old, new = getattr(state, name), getattr(grown, name)
        common = tuple(slice(0, min(a, b)) for a, b in zip(old.shape, new.shape, strict=True))
        new[common] = old[common]
    return grown


def hashes(state: WorldState) -> list[str]:
    """SHA-256 of the hashed fields of each world; unused slots do not count."""
    result = []
    for row in range(len(state)):
        digest = hashlib.sha256()
        used = {"actors": int(state.actor_count[row]), "events": int(state.event_count[row])}
        for group, fields in _RECORDS.items():
            records = state.__dict__[group][row]
            records = records[: used[group]] if group in used else records
            for name, _, _, hashed in fields:
                if hashed:
                    _digest(digest, records[name])
        for name in _HASHED_ARRAYS:
            _digest(digest, getattr(state, name)[row])
        result.append(digest.hexdigest())
    return result


def _digest(digest: Any, value: Any) -> None:
    # + 0 turns -0.0 into 0.0: equal states, equal hashes
    value = np.asarray(value)
    value = value if value.dtype == np.bool_ else value + 0
    digest.update(np.ascontiguousarray(value).tobytes())
