"""What planner and controller share: the newest plans, the ego's state, and the log of both.

One structured array, made once; nothing grows while it is used. Each field has one writer. What
must be read whole (a plan, the ego's state) is written to the next slot of a ring before the
counter that announces it; a plan carries its number, so that a reader who was overtaken notices.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import Self

import numpy as np

from alpamayo.types import FloatArray
from policies.plan_keeper import PlanKeeper

OUTCOME_PLAN, OUTCOME_RAISED, OUTCOME_INVALID = range(3)
OUTCOME_NAMES = ("plan", "raised", "invalid")
_PLANS, _EGOS = 8, 16  # slots of the rings

TICK = np.dtype(
    [
        ("due_s", "f8"), ("begun_s", "f8"), ("ended_s", "f8"), ("accel_mps2", "f8"),
        ("curvature_per_m", "f8"), ("speed_mps", "f8"), ("cycle", "i8"), ("missed", "i4"),
        ("source", "i4"),
    ]
)  # fmt: skip
CYCLE = np.dtype([("cycle", "i8"), ("observed_s", "f8"), ("ended_s", "f8"), ("outcome", "i8")])


def _layout(steps: int, ticks: int, cycles: int) -> np.dtype:
    plan = np.dtype(
        [
            ("number", "i8"), ("cycle", "i8"), ("observed_s", "f8"), ("ready_s", "f8"),
            ("actions", "f8", (steps, 2)),
        ]
    )  # fmt: skip
    return np.dtype(
        [
            ("started_s", "f8"), ("stop", "i8"), ("ready", "i8"), ("priority", "i8"),
            ("published", "i8"), ("plans", plan, (_PLANS,)),
            ("ego_count", "i8"), ("egos", "f8", (_EGOS, 4)),
            ("deadlines", "i8", (2,)),
            ("tick_count", "i8"), ("ticks", TICK, (ticks,)),
            ("cycle_count", "i8"), ("cycles", CYCLE, (cycles,)),
        ]
    )  # fmt: skip


class Board:
    """The array and what may be done with it. Times are seconds since ``started_s``."""

    def __init__(self, data: np.ndarray) -> None:
        self._header = data
        self._plans, self._egos = data["plans"], data["egos"]
        self._ticks, self._cycles = data["ticks"], data["cycles"]
        self._taken = 0
        self._scratch = np.empty(self._plans["actions"].shape[1:])

    @staticmethod
    def private(steps: int, ticks: int, cycles: int) -> Board:
        """A board of this process alone."""
        return Board(np.zeros((), _layout(steps, ticks, cycles)))

    # ---- start and end ----------------------------------------------------------------
    @property
    def started_s(self) -> float:
        return float(self._header["started_s"])

    @property
    def started(self) -> bool:
        return self.started_s != 0.0

    @property
    def stopping(self) -> bool:
        return bool(self._header["stop"])

    @property
    def has_priority(self) -> bool:
        return bool(self._header["priority"])

    def start(self, started_s: float) -> None:
        self._header["started_s"] = started_s

    def stop(self) -> None:
        self._header["stop"] = 1

    def ready(self, has_priority: bool) -> None:
        self._header["priority"] = has_priority
        self._header["ready"] = 1

    def wait_ready(self, alive: Callable[[], bool], timeout_s: float = 60.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not self._header["ready"]:
            if not alive() or time.monotonic() > end_s:
                raise RuntimeError("the controller did not start")
            time.sleep(0.01)

    # ---- planner's side ---------------------------------------------------------------
    def publish(self, actions: FloatArray, cycle: int, observed_s: float, ready_s: float) -> None:
        number = int(self._header["published"]) + 1
        slot = self._plans[number % _PLANS]
        slot["number"] = 0  # whoever reads this slot now must not take it for whole
        slot["cycle"], slot["observed_s"], slot["ready_s"] = cycle, observed_s, ready_s
        slot["actions"][:] = actions
        slot["number"] = number
        self._header["published"] = number

    def ego(self) -> FloatArray:
        """The ego's newest state [4] (a copy)."""
        return self._egos[int(self._header["ego_count"]) % _EGOS].copy()

    def log_cycle(self, cycle: int, observed_s: float, ended_s: float, outcome: int) -> None:
        count = int(self._header["cycle_count"])
        self._cycles[count % len(self._cycles)] = (cycle, observed_s, ended_s, outcome)
        self._header["cycle_count"] = count + 1

    # ---- controller's side ------------------------------------------------------------
    def take_plan(self, keeper: PlanKeeper) -> None:
        """Offer the newest plan to ``keeper``, if there is a new one."""
        number = int(self._header["published"])
        if number == self._taken:
            return
        slot = self._plans[number % _PLANS]
        np.copyto(self._scratch, slot["actions"])
        cycle, observed_s, ready_s = int(slot["cycle"]), slot["observed_s"], slot["ready_s"]
        if int(slot["number"]) != number:
            return  # overwritten meanwhile: a newer one is there at the next tick
        self._taken = number
        keeper.offer(self._scratch, cycle, float(observed_s), float(ready_s))

    def put_ego(self, state: FloatArray) -> None:
        count = int(self._header["ego_count"]) + 1
        self._egos[count % _EGOS] = state
        self._header["ego_count"] = count

    def log_tick(
        self,
        due_s: float,
        begun_s: float,
        ended_s: float,
        keeper: PlanKeeper,
        accel_mps2: float,
        curvature_per_m: float,
        speed_mps: float,
    ) -> None:
        count = int(self._header["tick_count"])
        self._ticks[count % len(self._ticks)] = (
            due_s, begun_s, ended_s, accel_mps2, curvature_per_m, speed_mps, keeper.cycle,
            keeper.missed, keeper.source,
        )  # fmt: skip
        self._header["tick_count"] = count + 1

    def put_deadlines(self, keeper: PlanKeeper) -> None:
        self._header["deadlines"] = (keeper.deadlines, keeper.deadlines_missed)

    # ---- afterwards -------------------------------------------------------------------
    def ticks(self) -> np.ndarray:
        """The last ticks (a copy), oldest first."""
        return _unrolled(self._ticks, int(self._header["tick_count"]))

    def cycles(self) -> np.ndarray:
        return _unrolled(self._cycles, int(self._header["cycle_count"]))

    def deadlines(self) -> tuple[int, int]:
        """(deadlines that came, those missed)."""
        came, missed = self._header["deadlines"].tolist()
        return came, missed


class SharedBoard(Board):
    """A board in shared memory; the side that created it removes it."""

    def __init__(self, memory: SharedMemory, address: tuple[str, int, int, int], own: bool) -> None:
        self._memory, self._own = memory, own
        self.address = address
        super().__init__(np.ndarray((), _layout(*address[1:]), buffer=memory.buf))

    @classmethod
    def create(cls, steps: int, ticks: int, cycles: int) -> SharedBoard:
        memory = SharedMemory(create=True, size=_layout(steps, ticks, cycles).itemsize)
        board = cls(memory, (memory.name, steps, ticks, cycles), own=True)
        board._header[...] = np.zeros((), board._header.dtype)
        return board

    @classmethod
    def attach(cls, address: tuple[str, int, int, int]) -> SharedBoard:
        return cls(SharedMemory(address[0]), address, own=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del self._header, self._plans, self._egos, self._ticks, self._cycles
        self._memory.close()
        if self._own:
            self._memory.unlink()


def _unrolled(ring: np.ndarray, count: int) -> np.ndarray:
    if count <= len(ring):
        return ring[:count].copy()
    return np.roll(ring, -(count % len(ring)), axis=0)
