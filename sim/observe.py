"""The state observation: what stands around the ego, the road ahead and the ego itself, as numbers.

For policies without a camera. It is true state (only ``history`` and ``speed_mps`` go through the
ego's sensor faults), so a policy that is to drive from images must not see it. All values of a
world lie in one float32 row; the named arrays are views into it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from alpamayo.types import COMMANDS, EGO_SIZE_M, FloatArray, RequestError
from sim import signals
from sim.faults import faults_of, observed_state
from sim.kernels import kernel
from sim.roads import lookup
from sim.roads.maps import NO_STOP, STOP_AT_SIGNAL
from sim.state import HISTORY
from sim.world import WorldBatch

TOP_SPEED_MPS = 100.0
HISTORY_M = 1000.0
RANGE_M = 150.0  # actors farther away than this are not seen
LONGEST_M = 30.0
ROAD_EDGE_M = 20.0  # clearances are reported up to this
STOP_M = 200.0  # distances to a stop line are reported up to this
ACTOR_FEATURES, ROAD_FEATURES, SIGNAL_STATES = 9, 4, 5


@dataclass(frozen=True)
class StateView:
    """How much the state observation shows: the ``actors`` nearest actors, and the route at the
    distances ``road_m`` ahead of the ego."""

    actors: int = 16
    road_m: tuple[float, ...] = tuple(5.0 * i for i in range(16))


@dataclass(frozen=True)
class _Field:
    """``full_scale`` divides the values in the flat observation; whatever is beyond is cut off."""

    shape: tuple[int, ...]
    low: FloatArray
    high: FloatArray
    full_scale: FloatArray

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def _field(
    shape: tuple[int, ...],
    low: list[float] | float,
    high: list[float] | float,
    full_scale: float | None = None,
) -> _Field:
    """Bounds are given for the last axis."""
    lows, highs = np.broadcast_to(low, shape), np.broadcast_to(high, shape)
    scale = np.maximum(np.abs(lows), np.abs(highs))
    return _Field(shape, lows, highs, scale if full_scale is None else np.full(shape, full_scale))


def _fields(view: StateView) -> dict[str, _Field]:
    """In the order in which the kernel writes them."""
    if view.actors < 1 or not view.road_m:
        raise RequestError(
            f"state observation: expected at least one actor and one distance, "
            f"got actors={view.actors}, road_m={view.road_m}"
        )
    high = [1.0, RANGE_M, RANGE_M, 1.0, 1.0, TOP_SPEED_MPS, TOP_SPEED_MPS, LONGEST_M, LONGEST_M]
    low = [0.0, *(-v for v in high[1:7]), 0.0, 0.0]
    road = [RANGE_M, RANGE_M, 1.0, ROAD_EDGE_M]
    signal = [*[1.0] * SIGNAL_STATES, STOP_M]
    return {
        "actors": _field((view.actors, ACTOR_FEATURES), low, high),
        "road": _field((len(view.road_m), ROAD_FEATURES), [-v for v in road], road),
        "signal": _field((SIGNAL_STATES + 1,), 0.0, signal),
        "history": _field((HISTORY, 3), -HISTORY_M, HISTORY_M, 100.0),
        "speed_mps": _field((), 0.0, TOP_SPEED_MPS),
        "speed_limit_mps": _field((), 0.0, TOP_SPEED_MPS),
        "route_offset_m": _field((), -ROAD_EDGE_M, ROAD_EDGE_M),
        "heading_error_rad": _field((), -math.pi, math.pi),
    }


def ego_space() -> dict[str, spaces.Space]:
    """Of what every observation holds, with or without a camera."""
    return {
        "history": spaces.Box(-HISTORY_M, HISTORY_M, (HISTORY, 3), np.float32),
        "speed_mps": spaces.Box(0.0, TOP_SPEED_MPS, (), np.float32),
        "command": spaces.Box(0, len(COMMANDS) - 1, (), np.int8),
        "speed_limit_mps": spaces.Box(0.0, TOP_SPEED_MPS, (), np.float32),
    }


def state_space(view: StateView) -> spaces.Dict:
    """Of one world.

    ``actors`` [N, 9]: the nearest actors within 150 m, by distance, in the ego frame: 1, x, y, cos
    and sin of the heading, velocity relative to the ego's (x, y), length, width; zeros where there
    are fewer. ``road`` [R, 4]: the route ahead: x, y in the ego frame, curvature, distance to the
    edge of the road (negative beyond it, at most 20 m). ``signal`` [6]: one-hot of green, yellow,
    red, dark, flashing at the next stop line on the ego's route (zeros at a stop or give-way
    sign), and the distance from the ego's front to it (200 m: none ahead). ``route_offset_m`` is
    the distance left of the route, ``heading_error_rad`` the heading relative to it. The rest as
    in ``ObservationBatch``.
    """
    parts: dict[str, spaces.Space] = {
        name: spaces.Box(field.low.astype(np.float32), field.high.astype(np.float32))
        for name, field in _fields(view).items()
    }
    return spaces.Dict({**parts, **ego_space()})


def flat_space(view: StateView) -> spaces.Box:
    """Of one world: every value divided by its bound, the command one-hot at the end."""
    size = sum(field.size for field in _fields(view).values()) + len(COMMANDS)
    return spaces.Box(-1.0, 1.0, (size,), np.float32)


class StateObserver:
    """Looks at all ``count`` worlds of a batch, into one array that it keeps."""

    def __init__(self, count: int, view: StateView) -> None:
        fields = _fields(view)
        command = _field((len(COMMANDS),), 0.0, 1.0)
        low, high, scale = (
            np.concatenate([getattr(f, what).reshape(-1) for f in (*fields.values(), command)])
            for what in ("low", "high", "full_scale")
        )
        self._fields = fields
        self._nearest, self._away = np.zeros(view.actors, dtype=np.int64), np.zeros(view.actors)
        self._low, self._high = low.astype(np.float32), high.astype(np.float32)
        self._per_scale = (1.0 / scale).astype(np.float32)
        self._road_m = np.array(view.road_m, dtype=np.float64)
        self._rows = np.zeros((count, len(low)), dtype=np.float32)
        self._flat = np.zeros_like(self._rows)

    def _look(self, worlds: WorldBatch) -> None:
        state, everyone = worlds.state, np.arange(worlds.num_worlds)
        tick_s = worlds.config.tick_s
        faults = faults_of(state, everyone, worlds.scenarios, tick_s)
        history, speed = observed_state(state, everyone, faults, tick_s)
        look(
            state.worlds, state.actors, history, speed, worlds.atlas.arrays, tick_s,
            self._road_m, self._nearest, self._away, self._low, self._high, self._rows,
        )  # fmt: skip

    def observe(self, worlds: WorldBatch, copy: bool = True) -> dict[str, np.ndarray]:
        """Arrays [B, ...] by name, see ``state_space``. Without ``copy`` the next call overwrites
        them."""
        self._look(worlds)
        rows = self._rows.copy() if copy else self._rows
        columns: dict[str, np.ndarray] = {}
        start = 0
        for name, field in self._fields.items():
            columns[name] = rows[:, start : start + field.size].reshape(-1, *field.shape)
            start += field.size
        columns["command"] = worlds.state.command.copy()
        return columns

    def flat(self, worlds: WorldBatch, copy: bool = True) -> FloatArray:
        """[B, D] within -1 and 1, see ``flat_space``."""
        self._look(worlds)
        np.multiply(self._rows, self._per_scale, out=self._flat)
        np.clip(self._flat, -1.0, 1.0, out=self._flat)
        return self._flat.copy() if copy else self._flat


@kernel
def look(  # type: ignore[no-untyped-def]
    worlds, actors, history, speed, maps, base_tick_s, road_m, nearest, away, low, high, out
):
    """Write the observation of every world into its row of ``out`` [B, D], within ``low`` and
    ``high`` [D]. ``history`` [B, 16, 3] and ``speed`` [B] are what the ego's sensors report;
    ``nearest`` (int) and ``away`` [N] are scratch for the N actors to show."""
    for b in range(len(worlds)):
        w, row = worlds[b], out[b]
        k = _put_actors(w, actors[b], nearest, away, row)
        k = _put_road(w, maps, road_m, row, k)
        k = _put_signal(w, maps, base_tick_s, row, k)
        for i in range(history.shape[1]):
            for j in range(3):
                row[k] = history[b, i, j]
                k += 1
        row[k] = speed[b]
        row[k + 1] = w.speed_limit
        row[k + 2] = w.route_d
        error = w.heading - w.route_heading
        row[k + 3] = math.atan2(math.sin(error), math.cos(error))
        for i in range(k + 4, len(row)):
            row[i] = 0.0
        row[k + 4 + w.command] = 1.0
        for i in range(len(row)):
            # written so that what is not a number becomes the lower bound
            value = row[i] if row[i] >= low[i] else low[i]
            row[i] = value if value <= high[i] else high[i]


@kernel
def _find_nearest(w, a, nearest, away):  # type: ignore[no-untyped-def]
    """Fill ``nearest`` with the slots of the nearest actors, sorted; returns how many."""
    found = 0
    for i in range(w.actor_count):
        if not a[i].present:
            continue
        dx, dy = a[i].ax - w.x, a[i].ay - w.y
        square = dx * dx + dy * dy
        if not square <= RANGE_M * RANGE_M or (found == len(nearest) and square >= away[-1]):
            continue
        at = min(found, len(nearest) - 1)
        while at > 0 and away[at - 1] > square:
            nearest[at], away[at] = nearest[at - 1], away[at - 1]
            at -= 1
        nearest[at], away[at] = i, square
        found = min(found + 1, len(nearest))
    return found


@kernel
def _put_actors(w, a, nearest, away, row):  # type: ignore[no-untyped-def]
    found = _find_nearest(w, a, nearest, away)
    cos, sin = math.cos(w.heading), math.sin(w.heading)
    ego_x = w.speed * cos - w.lateral_speed * sin
    ego_y = w.speed * sin + w.lateral_speed * cos
    k = 0
    for n in range(found):
        actor = a[nearest[n]]
        dx, dy = actor.ax - w.x, actor.ay - w.y
        vx, vy = velocity(actor)
        vx, vy = vx - ego_x, vy - ego_y
        row[k] = 1.0
        row[k + 1], row[k + 2] = dx * cos + dy * sin, dy * cos - dx * sin
        row[k + 3] = actor.cos_h * cos + actor.sin_h * sin
        row[k + 4] = actor.sin_h * cos - actor.cos_h * sin
        row[k + 5], row[k + 6] = vx * cos + vy * sin, vy * cos - vx * sin
        row[k + 7], row[k + 8] = actor.length, actor.width
        k += ACTOR_FEATURES
    end = len(nearest) * ACTOR_FEATURES
    for i in range(k, end):
        row[i] = 0.0
    return end


@kernel
def velocity(actor):  # type: ignore[no-untyped-def]
    """(vx, vy) of an actor in the world frame."""
    along = actor.aheading - actor.turn
    cos, sin = math.cos(along), math.sin(along)
    return actor.v * cos - actor.vd * sin, actor.v * sin + actor.vd * cos


@kernel
def _put_road(w, maps, road_m, row, k):  # type: ignore[no-untyped-def]
    cos, sin = math.cos(w.heading), math.sin(w.heading)
    for ahead in road_m:
        x, y, _, curvature = lookup.pose(maps, w.map_id, w.route, w.route_s + ahead, 0.0)
        dx, dy = x - w.x, y - w.y
        row[k], row[k + 1] = dx * cos + dy * sin, dy * cos - dx * sin
        row[k + 2] = curvature
        row[k + 3] = lookup.clearance(maps, w.map_id, x, y)
        k += ROAD_FEATURES
    return k


@kernel
def _put_signal(w, maps, base_tick_s, row, k):  # type: ignore[no-untyped-def]
    for i in range(SIGNAL_STATES):
        row[k + i] = 0.0
    front = w.route_s + 0.5 * EGO_SIZE_M[0]
    line, kind, group = lookup.next_stop(maps, w.map_id, w.route, front)
    distance = line - front
    if not distance <= STOP_M or kind == NO_STOP or (kind == STOP_AT_SIGNAL and not w.has_signals):
        distance = STOP_M
    elif kind == STOP_AT_SIGNAL:
        first, second = signals.shown(w, w.tick * base_tick_s)
        row[k + (second if group == 1 else first)] = 1.0
    row[k + SIGNAL_STATES] = distance
    return k + SIGNAL_STATES + 1
