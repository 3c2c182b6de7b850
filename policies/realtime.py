"""The dual-rate runtime: a slow planner, a fast controller that always has something to drive.

The planner (10 to 20 Hz) is whatever ``Policy`` one likes: it may stall, raise or answer nonsense.
The controller (100 Hz) runs beside it, in a thread or, by default, in a process of its own: there
no planner can keep the interpreter lock from it, and a planner whose process dies leaves behind a
controller that brings the car to a stop. Both sides meet on a ``Board`` in shared memory.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from alpamayo import streams
from alpamayo.types import FloatArray, ObservationBatch, PlanMemory, PlanSpec, Policy
from policies.plan_board import (
    OUTCOME_INVALID,
    OUTCOME_PLAN,
    OUTCOME_RAISED,
    Board,
    SharedBoard,
)
from policies.plan_keeper import PlanKeeper, RealtimeConfig, plan_problem
from policies.plan_memory import controls_ahead

Clock = Callable[[], float]
Sleep = Callable[[float], object]
Observe = Callable[[FloatArray], ObservationBatch]


class Vehicle(Protocol):
    """What the controller steers. ``state`` float64 [4]: x_m, y_m, heading_rad, speed_mps."""

    state: FloatArray

    def act(self, accel_mps2: float, curvature_per_m: float, elapsed_s: float) -> None:
        """Apply a command; ``elapsed_s`` have passed since the one before."""
        ...


@dataclass
class PointVehicle:
    """A unicycle without lag, for benches and tests."""

    state: FloatArray = field(default_factory=lambda: np.array([0.0, 0.0, 0.0, 12.0]))

    def act(self, accel_mps2: float, curvature_per_m: float, elapsed_s: float) -> None:
        x, y, heading, speed = self.state.tolist()
        later = max(speed + accel_mps2 * elapsed_s, 0.0)
        path_m = 0.5 * (speed + later) * elapsed_s
        heading += 0.5 * path_m * curvature_per_m
        self.state[0] = x + path_m * math.cos(heading)
        self.state[1] = y + path_m * math.sin(heading)
        self.state[2] = heading + 0.5 * path_m * curvature_per_m
        self.state[3] = later


# --------------------------------------------------------------------------------------
# The interpreter and the operating system
# --------------------------------------------------------------------------------------
@contextmanager
def punctual(switch_interval_s: float = 2e-4) -> Iterator[None]:
    """Keep the interpreter from holding up a thread that must be on time.

    By default a waiting thread gets the interpreter lock after 5 ms of another one's Python code,
    and a full garbage collection walks every object of torch. Here it gets it after
    ``switch_interval_s``, and what exists already is never collected.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(switch_interval_s)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before)


def raise_priority() -> bool:
    """Ask the operating system to run the calling thread before ordinary ones; False if it may not
    be asked (that needs CAP_SYS_NICE)."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
    except (PermissionError, AttributeError, OSError):
        return False
    return True


# --------------------------------------------------------------------------------------
# The two sides
# --------------------------------------------------------------------------------------
def control(
    board: Board,
    keeper: PlanKeeper,
    vehicle: Vehicle,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
    abandoned: Callable[[], bool] = bool,
) -> None:
    """The controller's loop: newest plan, command, act, record; until ``board.stopping``.

    If the planner's side has gone for good (``abandoned``), until the car stands.
    """
    started_s, hz = board.started_s, keeper.config.controller_hz
    tick, last_s = 0, 0.0
    while not board.stopping and not (vehicle.state[3] <= 0.0 and abandoned()):
        due_s = tick / hz
        wait_s = due_s - (clock() - started_s)
        if wait_s > 0.0:
            sleep(wait_s)
        begun_s = clock() - started_s
        board.take_plan(keeper)
        speed_mps = float(vehicle.state[3])
        accel, curvature = keeper.command(begun_s, speed_mps)
        vehicle.act(accel, curvature, begun_s - last_s)
        last_s = begun_s
        board.put_ego(vehicle.state)
        board.log_tick(due_s, begun_s, clock() - started_s, keeper, accel, curvature, speed_mps)
        # Ticks that are over are not made up for: the log shows the gap.
        tick = max(tick + 1, int((clock() - started_s) * hz))


class Planner:
    """The planner's loop: observe, plan, check, publish; whatever goes wrong is a row of the log.

    ``errors`` counts by message; a policy that never returns blocks its own thread only.
    """

    def __init__(
        self,
        policy: Policy,
        observe: Observe,
        board: Board,
        config: RealtimeConfig,
        spec: PlanSpec,
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._policy, self._observe = policy, observe
        self._board, self._config, self._spec = board, config, spec
        self._clock, self._sleep = clock, sleep
        self._stopped = False
        self._made: tuple[FloatArray, float] | None = None  # the last plan, when it was observed
        self.errors: dict[str, int] = {}

    def stop(self) -> None:
        """Touch the board no more. A call of the policy that never returns is left alone."""
        self._stopped = True

    def loop(self) -> None:
        cycle = 0
        while not self._stopped:
            self._wait_until(self._config.cycle_start_s(cycle))
            if self._stopped:
                return
            self.run_cycle(cycle)
            if self._stopped:
                return
            # A cycle that starts late is still that cycle; those that are wholly over are skipped.
            cycle = max(cycle + 1, int(self._now_s() * self._config.planner_hz))

    def run_cycle(self, cycle: int) -> None:
        observed_s = self._now_s()
        actions, outcome, problem = self._plan(cycle)
        if self._stopped:
            return
        if outcome == OUTCOME_PLAN:
            self._made = actions, observed_s
            self._board.publish(actions, cycle, observed_s, self._now_s())
        else:
            self.errors[problem] = self.errors.get(problem, 0) + 1
        self._board.log_cycle(cycle, observed_s, self._now_s(), outcome)

    def _plan(self, cycle: int) -> tuple[FloatArray, int, str]:
        nothing = np.empty((0, 2))
        try:
            observation = self._observe(self._board.ego())
            keys = streams.keys(np.zeros(1), streams.STREAM_DECODE, np.full(1, cycle))
            recalled = self._memory(cycle) if getattr(self._policy, "needs_memory", False) else {}
            plan = self._policy.plan(observation, noise_keys=keys, **recalled)
            actions = plan.as_actions()
        # Whatever a policy raises, the car goes on driving; the log and ``errors`` keep it.
        except Exception as error:
            return nothing, OUTCOME_RAISED, f"{type(error).__name__}: {error}"
        if len(actions) != 1:
            return nothing, OUTCOME_INVALID, f"expected one plan, got {len(actions)}"
        problem = plan_problem(actions[0], self._spec, self._config)
        return actions[0], OUTCOME_INVALID if problem else OUTCOME_PLAN, problem

    def _memory(self, cycle: int) -> dict[str, Any]:
        """What the last published plan drives from now on."""
        ahead = np.full((1, self._spec.steps, 2), np.nan, np.float32)
        if self._made is not None:
            actions, observed_s = self._made
            since_s = max(self._now_s() - observed_s - self._config.latency_s, 0.0)
            ahead[0] = controls_ahead(actions, since_s, self._spec.step_s)
        return {"memory": PlanMemory(ahead, np.array([cycle]))}

    def _now_s(self) -> float:
        return self._clock() - self._board.started_s

    def _wait_until(self, due_s: float) -> None:
        wait_s = due_s - self._now_s()
        if wait_s > 0.0:
            self._sleep(wait_s)


# --------------------------------------------------------------------------------------
# Together
# --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Record:
    """What a run left: ``ticks`` and ``cycles`` as in ``plan_board``, oldest first; ``errors`` of
    the planner by message; ``deadlines`` that came, and those of them missed."""

    ticks: np.ndarray
    cycles: np.ndarray
    errors: dict[str, int]
    deadlines: int
    deadlines_missed: int
    controller: str
    priority: bool

    def latency_s(self) -> FloatArray:
        """Seconds from observation to checked plan of every cycle that made one."""
        made = self.cycles[self.cycles["outcome"] == OUTCOME_PLAN]
        return made["ended_s"] - made["observed_s"]


def run_realtime(
    policy: Policy,
    observe: Observe,
    spec: PlanSpec,
    config: RealtimeConfig,
    seconds: float,
    *,
    controller: Literal["process", "thread"] = "process",
    vehicle: Callable[[], Vehicle] = PointVehicle,
    priority: bool = True,
) -> Record:
    """Drive for ``seconds`` and say how every tick and deadline went.

    ``observe`` gets the ego's state [4] (see ``Vehicle``) and returns one row. ``vehicle`` makes
    what is driven, on the controller's side: it is pickled if that is another process. ``priority``
    asks the operating system to prefer the controller.
    """
    capacity = int(seconds * config.controller_hz * 1.05) + 16
    cycles = int(seconds * config.planner_hz * 1.05) + 16
    with SharedBoard.create(spec.steps, capacity, cycles) as board:
        planner = Planner(policy, observe, board, config, spec)
        arguments = (board.address, spec, config, vehicle, priority)
        with punctual():
            if controller == "process":
                worker: Any = multiprocessing.get_context("spawn").Process(
                    target=_controller, args=arguments, daemon=True
                )
            else:
                worker = threading.Thread(target=_controller, args=arguments, daemon=True)
            worker.start()
            board.wait_ready(worker.is_alive)
            board.start(time.monotonic() + 0.05)
            thread = threading.Thread(target=planner.loop, daemon=True)
            thread.start()
            _wait(board.started_s + seconds, worker.is_alive)
            board.stop()
            planner.stop()
            worker.join(5.0)
            thread.join(1.0)
        return Record(
            board.ticks(), board.cycles(), dict(planner.errors), *board.deadlines(),
            controller, board.has_priority,
        )  # fmt: skip


def _controller(
    address: tuple[str, int, int, int],
    spec: PlanSpec,
    config: RealtimeConfig,
    vehicle: Callable[[], Vehicle],
    priority: bool,
) -> None:
    """The other side's entry: attach to the board, wait for the start, control."""
    with SharedBoard.attach(address) as board:
        keeper, driven = PlanKeeper(config, spec), vehicle()
        board.put_ego(driven.state)
        parent = os.getppid()
        board.ready(priority and raise_priority())
        while not board.started and not board.stopping:
            if os.getppid() != parent:
                return
            time.sleep(0.002)
        control(board, keeper, driven, abandoned=lambda: os.getppid() != parent)
        board.put_deadlines(keeper)


def _wait(end_s: float, alive: Callable[[], bool]) -> None:
    while time.monotonic() < end_s:
        if not alive():
            raise RuntimeError("the controller has ended before its time")
        time.sleep(min(0.1, max(end_s - time.monotonic(), 0.0)))
