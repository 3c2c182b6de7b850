"""What is wrong with the sensors, and when: pure functions of a scenario's faults, its seed and the
time, so that a fault looks the same in every batch, fork and replay.

Camera faults are described here and applied by the renderer (dead, dirty, miscalibrated) and by the
frame store (frozen, drop). Faults of the ego's state change what ``observed_state`` reports, never
the state itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo import streams
from alpamayo.types import BoolArray, Fault, FloatArray, IntArray, RequestError, Scenario
from sim.config import RigConfig
from sim.draws import Seed, bits, normal, uniform
from sim.kernels import kernel
from sim.state import HISTORY, WorldState

CAMERA_KINDS = ("dead", "frozen", "drop", "dirty", "miscalibrated")
STATE_KINDS = ("speed_scale", "speed_noise", "pose_noise")
HISTORY_GAP_S = 0.1
# Times that are equal but for rounding count as equal.
_EXACT_S = 1e-6
# Counters of STREAM_FAULTS: decision or fix times this, plus the fault's place in the list, times
# the cameras it may concern.
_FAULTS, _CAMERAS = 64, 64
_STREAM = streams.STREAM_FAULTS


@kernel
def during(time_s: float, start_s: float, end_s: float) -> bool:
    """Whether ``time_s`` lies in what begins at ``start_s`` and is over at ``end_s``."""
    return start_s - _EXACT_S <= time_s < end_s - _EXACT_S


def active(fault: Fault, time_s: float) -> bool:
    """Whether ``fault`` is there at ``time_s`` of the episode."""
    return bool(during(time_s, fault.start_s, fault.end_s))


def extra_latency_s(faults: Sequence[Fault], time_s: float) -> float:
    """What faults add to the latency of a plan whose observation is from ``time_s``."""
    return math.fsum(f.amount for f in faults if f.kind == "latency" and active(f, time_s))


@kernel
def _counter(index: int, camera: int, at: int) -> int:
    """Counter of fault ``index`` and a camera (or coordinate) at decision or fix ``at``."""
    return (at * _FAULTS + index) * _CAMERAS + camera


# Cameras -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class CameraFaults:
    """What to do to the images of the C cameras of a rig at one decision.

    ``decision`` int64 [C]: show the image of this decision (the present one if nothing is wrong).
    ``dead`` bool [C]: black. ``dirt`` [C]: share of the image to blot over, by a pattern that
    ``dirt_seed`` uint64 [C] fixes. ``yaw_rad`` [C]: turned to the left by this much. Dirt and
    turning are those of the decision that is shown.
    """

    decision: IntArray
    dead: BoolArray
    dirt: FloatArray
    dirt_seed: npt.NDArray[np.uint64]
    yaw_rad: FloatArray


def shows_from_s(fired_s: float, tick_s: float) -> float:
    """When an observation first shows what an event did: after the tick in which it fired; at once
    what happened at the start."""
    return float(fired_s) + tick_s if fired_s > 0.0 else 0.0


def faults_of(
    state: WorldState, rows: IntArray, scenarios: Sequence[Scenario], tick_s: float
) -> list[tuple[Fault, ...]]:
    """The faults of ``scenarios`` [n], which run in worlds ``rows`` [n] of ``state``, with the
    times of the episode: those that wait for an event begin with the tick after it fired."""
    return [
        s.faults
        and tuple(
            f if f.event < 0 else _begun(f, state.fired_s[row, f.event], tick_s) for f in s.faults
        )
        for row, s in zip(rows, scenarios, strict=True)
    ]


def _begun(fault: Fault, fired_s: float, tick_s: float) -> Fault:
    since_s = shows_from_s(fired_s, tick_s)
    return replace(fault, start_s=since_s + fault.start_s, end_s=since_s + fault.end_s, event=-1)


def check_faults(
    faults: Sequence[Fault], rig: RigConfig | None, place: str, events: int = 0
) -> None:
    """Raises ``RequestError`` if a fault's camera is none of the rig's, its amount makes no sense
    or it waits for none of the ``events``. ``place`` says where the faults come from."""
    if len(faults) > _FAULTS:
        raise RequestError(f"{place}: faults: expected at most {_FAULTS}, got {len(faults)}")
    names = ["all", *(camera.name for camera in rig.cameras)] if rig is not None else None
    for i, fault in enumerate(faults):
        where = f"{place}: faults[{i}]"
        if fault.kind not in (*CAMERA_KINDS, *STATE_KINDS, "latency"):
            raise RequestError(f"{where}: kind: expected a known fault, got {fault.kind!r}")
        if fault.kind in CAMERA_KINDS and names is not None and fault.camera not in names:
            raise RequestError(
                f"{where}: camera: expected one of {', '.join(names)}, got {fault.camera!r}"
            )
        if not -1 <= fault.event < events:
            raise RequestError(f"{where}: event: expected -1 to {events - 1}, got {fault.event}")
        lowest, highest = _amounts(fault.kind)
        if not lowest <= fault.amount <= highest:
            raise RequestError(
                f"{where}: amount: expected {lowest:g} to {highest:g} for {fault.kind}, "
                f"got {fault.amount:g}"
            )


def _amounts(kind: str) -> tuple[float, float]:
    """Smallest and largest amount of a fault of ``kind``."""
    if kind in ("drop", "dirty"):
        return 0.0, 1.0
    if kind == "miscalibrated":
        return -180.0, 180.0
    if kind == "speed_scale":
        return -1.0, 10.0
    return 0.0, 1e3


def camera_faults(
    faults: Sequence[Fault], rig: RigConfig, seed: int, decision: int, decision_s: float
) -> CameraFaults | None:
    """What is wrong with the images of ``decision`` (at ``decision`` * ``decision_s``); None:
    nothing."""
    concerned = [(i, f) for i, f in enumerate(faults) if f.kind in CAMERA_KINDS]
    if not any(f.start_s - _EXACT_S <= decision * decision_s for _, f in concerned):
        return None
    count, key = len(rig.cameras), np.uint64(int(seed) & 0xFFFFFFFFFFFFFFFF)
    result = CameraFaults(
        decision=np.full(count, decision, dtype=np.int64),
        dead=np.zeros(count, dtype=np.bool_),
        dirt=np.zeros(count),
        dirt_seed=np.zeros(count, dtype=np.uint64),
        yaw_rad=np.zeros(count),
    )
    for c, camera in enumerate(rig.cameras):
        here = [(i, f) for i, f in concerned if f.camera in ("all", camera.name)]
        shown = shown_decision(here, key, c, decision, decision_s)
        result.decision[c] = shown
        for i, fault in here:
            if fault.kind == "dead":
                result.dead[c] |= active(fault, decision * decision_s)
            elif not active(fault, shown * decision_s):
                continue
            elif fault.kind == "dirty" and fault.amount > result.dirt[c]:
                result.dirt[c] = min(fault.amount, 1.0)
                result.dirt_seed[c] = bits(key, _STREAM, _counter(i, c, 0))
            elif fault.kind == "miscalibrated":
                result.yaw_rad[c] += math.radians(fault.amount)
    return result


def shown_decision(
    faults: Sequence[tuple[int, Fault]], seed: Seed, camera: int, decision: int, decision_s: float
) -> int:
    """The decision whose image is seen at ``decision``, given the numbered ``faults`` of one
    camera. A frozen camera shows its first image since the fault began; each frame of a dropping
    one repeats, with probability ``amount``, what was seen before it."""
    shown = decision
    while shown > 0:
        before = shown
        for i, fault in faults:
            if not active(fault, shown * decision_s):
                continue
            if fault.kind == "frozen":
                first = max(math.ceil((fault.start_s - _EXACT_S) / decision_s), 0)
                shown = min(shown, first)
            elif fault.kind == "drop":
                draw = uniform(seed, _STREAM, _counter(i, camera, shown))
                shown -= int(draw < fault.amount and shown > 0)
        if shown == before:
            break
    return shown


# The ego's state ---------------------------------------------------------------------------
def observed_state(
    state: WorldState,
    rows: IntArray,
    faults: Sequence[tuple[Fault, ...]],
    tick_s: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What the ego's own sensors tell in worlds ``rows`` [n] with ``faults`` [n]: past poses
    float32 [n, 16, 3] in the ego frame (as in ``ObservationBatch``) and speed float32 [n].

    Every position fix of a time has one error, in whichever observation it is seen.
    """
    now = np.empty((len(rows), 3))
    now[:, 0], now[:, 1], now[:, 2] = state.x[rows], state.y[rows], state.heading[rows]
    past, speed = state.history[rows], state.speed[rows]
    if any(faults):
        for i, index, fault in _state_faults(faults):
            world = state.worlds[rows[i]]
            time_s = float(world["tick"]) * tick_s
            _disturb(fault, index, world, time_s, past[i], now[i], speed[i : i + 1])
    history = np.empty(past.shape, dtype=np.float32)
    _in_ego_frame(past, now, history)
    return history, np.maximum(speed, 0.0).astype(np.float32)


@kernel
def _in_ego_frame(past: FloatArray, now: FloatArray, history: FloatArray) -> None:
    """``past`` [n, 16, 3] poses as seen from the poses ``now`` [n, 3]."""
    for i in range(len(past)):
        cos_h, sin_h = math.cos(now[i, 2]), math.sin(now[i, 2])
        for k in range(past.shape[1]):
            dx, dy = past[i, k, 0] - now[i, 0], past[i, k, 1] - now[i, 1]
            history[i, k, 0] = dx * cos_h + dy * sin_h
            history[i, k, 1] = dy * cos_h - dx * sin_h
            history[i, k, 2] = past[i, k, 2] - now[i, 2]


def _state_faults(faults: Sequence[tuple[Fault, ...]]) -> Iterator[tuple[int, int, Fault]]:
    """(row, place in the row's list, fault) of all faults of the ego's state."""
    for i, of_row in enumerate(faults):
        for index, fault in enumerate(of_row):
            if fault.kind in STATE_KINDS:
                yield i, index, fault


def _disturb(
    fault: Fault,
    index: int,
    world: Any,
    time_s: float,
    past: FloatArray,
    now: FloatArray,
    speed: FloatArray,
) -> None:
    """Apply one fault of the ego's state to ``past`` [16, 3], ``now`` [3] and ``speed`` [1], in
    place."""
    seed, start_s, end_s = world["seed"], fault.start_s, fault.end_s
    if fault.kind == "pose_noise":
        last_fix = round(time_s / HISTORY_GAP_S)
        _misplace(past, now, fault.amount, start_s, end_s, seed, index, last_fix)
    elif not active(fault, time_s):
        return
    elif fault.kind == "speed_scale":
        speed *= 1.0 + fault.amount
    else:
        counter = _counter(index, 0, int(world["decision"]))
        speed += fault.amount * normal(seed, _STREAM, counter)


@kernel
def _misplace(
    past: FloatArray,
    now: FloatArray,
    amount: float,
    start_s: float,
    end_s: float,
    seed: int,
    index: int,
    last_fix: int,
) -> None:
    """Add the errors of fault number ``index`` to the position fixes ``past`` [16, 3], the last of
    which, fix number ``last_fix`` of the episode, is also ``now`` [3]."""
    for k in range(HISTORY):
        fix = max(last_fix - (HISTORY - 1 - k), 0)
        if during(fix * HISTORY_GAP_S, start_s, end_s):
            error_x = amount * normal(seed, _STREAM, _counter(index, 0, fix))
            error_y = amount * normal(seed, _STREAM, _counter(index, 1, fix))
            past[k, 0] += error_x
            past[k, 1] += error_y
            if k == HISTORY - 1:
                now[0] += error_x
                now[1] += error_y
