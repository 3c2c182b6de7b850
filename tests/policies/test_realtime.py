"""The dual-rate runtime: both loops under a fake clock, and once for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alpamayo.types import ObservationBatch, PlanBatch, PlanSpec
from policies.plan_board import OUTCOME_INVALID, OUTCOME_PLAN, OUTCOME_RAISED, Board, SharedBoard
from policies.plan_keeper import SOURCE_PLAN, SOURCE_STOP, PlanKeeper, RealtimeConfig
from policies.realtime import Planner, PointVehicle, control, run_realtime

SPEC = PlanSpec(4, 0.4)
CONFIG = RealtimeConfig(max_missed=2)


class FakeTime:
    """A clock that only ``sleep`` moves; ``events`` happen on the way."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.events: list[tuple[float, object]] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        for due_s, event in sorted(self.events, key=lambda e: e[0]):
            if due_s <= end_s:
                self.now_s = max(self.now_s, due_s)
                self.events.remove((due_s, event))
                event()
        self.now_s = max(self.now_s, end_s)


class Scripted:
    """A policy whose n-th answer is given; ``answers`` are actions, exceptions or seconds to stall
    before the last good plan."""

    needs_privileged, name = False, "scripted"

    def __init__(self, answers: list, sleep=time.sleep) -> None:
        self.answers, self.calls, self.sleep = answers, 0, sleep
        self.good = np.tile([0.5, 0.01], (SPEC.steps, 1))

    def plan(self, observation: ObservationBatch, *, noise_keys, privileged=None) -> PlanBatch:
        answer = self.answers[self.calls % len(self.answers)]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            self.sleep(answer)
            answer = self.good
        return PlanBatch(answer[None, :, 0], answer[None, :, 1])


def observe(ego: np.ndarray) -> ObservationBatch:
    return ObservationBatch(
        np.zeros((1, 0, 28, 28, 3), np.uint8),
        np.zeros((1, 16, 3), np.float32),
        np.array([ego[3]], np.float32),
        np.zeros(1, np.int8),
        np.full(1, 14.0, np.float32),
    )


def test_ticks_come_at_their_rate_and_use_the_newest_plan() -> None:
    fake, board = FakeTime(), Board.private(SPEC.steps, 64, 8)
    board.start(100.0)
    plan = np.tile([1.0, 0.0], (4, 1))
    fake.events = [
        (100.035, lambda: board.publish(plan, 0, 0.0, 0.035)),
        (100.095, lambda: board.publish(2 * plan, 1, 0.09, 0.095)),
        (100.2, board.stop),
    ]
    vehicle = PointVehicle()
    control(board, PlanKeeper(CONFIG, SPEC), vehicle, fake.clock, fake.sleep)
    ticks = board.ticks()
    assert ticks["due_s"] == pytest.approx(np.arange(21) * 0.01)
    assert ticks["begun_s"] == pytest.approx(ticks["due_s"])
    assert ticks["source"].tolist() == [SOURCE_STOP] * 4 + [SOURCE_PLAN] * 17
    assert ticks["accel_mps2"][4:10].tolist() == [1.0] * 6
    assert ticks["accel_mps2"][10:].tolist() == [2.0] * 11
    assert board.ego() == pytest.approx(vehicle.state)


def test_ticks_that_were_slept_through_are_a_gap_in_the_log() -> None:
    fake, board = FakeTime(), Board.private(SPEC.steps, 64, 8)
    board.start(100.0)

    class Slow(PointVehicle):
        def act(self, accel_mps2: float, curvature_per_m: float, elapsed_s: float) -> None:
            if fake.now_s == pytest.approx(100.02):
                fake.now_s += 0.025

    fake.events = [(100.08, board.stop)]
    control(board, PlanKeeper(CONFIG, SPEC), Slow(), fake.clock, fake.sleep)
    ticks = board.ticks()
    assert ticks["due_s"][:5] == pytest.approx([0.0, 0.01, 0.02, 0.04, 0.05])
    assert ticks["begun_s"][3] == pytest.approx(0.045)


def test_the_planner_logs_stalls_exceptions_and_nonsense_and_publishes_only_plans() -> None:
    fake, board = FakeTime(), Board.private(SPEC.steps, 8, 32)
    board.start(100.0)
    good = np.tile([1.0, 0.0], (4, 1))
    answers = [good, ValueError("no idea"), np.full((4, 2), np.nan), 0.25, good * 99, good]
    planner = Planner(
        Scripted(answers, fake.sleep), observe, board, CONFIG, SPEC, fake.clock, fake.sleep
    )
    fake.events = [(100.95, planner.stop)]
    planner.loop()
    log = board.cycles()
    # The stall of cycle 3 (0.3 to 0.55 s) swallows cycle 4; cycle 5 starts late, at once.
    assert log["cycle"][:7].tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert log["observed_s"][:7] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.55, 0.6, 0.7])
    assert log["outcome"][:7].tolist() == [
        OUTCOME_PLAN, OUTCOME_RAISED, OUTCOME_INVALID, OUTCOME_PLAN, OUTCOME_INVALID, OUTCOME_PLAN,
        OUTCOME_PLAN,
    ]  # fmt: skip
    assert planner.errors["ValueError: no idea"] == 2
    assert planner.errors["expected finite numbers"] == 2
    keeper = PlanKeeper(CONFIG, SPEC)
    board.take_plan(keeper)
    assert keeper.cycle == 7


def test_a_policy_that_is_stopped_while_it_stalls_publishes_nothing_more() -> None:
    fake, board = FakeTime(), Board.private(SPEC.steps, 8, 8)
    board.start(100.0)
    planner = Planner(
        Scripted([0.5], fake.sleep), observe, board, CONFIG, SPEC, fake.clock, fake.sleep
    )
    fake.events = [(100.2, planner.stop)]
    planner.loop()
    assert len(board.cycles()) == 0


def test_a_full_log_keeps_the_newest_ticks_in_order() -> None:
    board, keeper = Board.private(SPEC.steps, 4, 4), PlanKeeper(CONFIG, SPEC)
    for n in range(6):
        board.log_tick(float(n), 0.0, 0.0, keeper, 0.0, 0.0, 0.0)
    assert board.ticks()["due_s"].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_a_plan_being_overwritten_is_not_taken() -> None:
    board, keeper = Board.private(SPEC.steps, 4, 4), PlanKeeper(CONFIG, SPEC)
    board.publish(np.ones((4, 2)), 0, 0.0, 0.01)
    board._plans["number"][1] = 0  # as `publish` marks the slot that it is writing to
    board.take_plan(keeper)
    assert keeper.cycle == -1
    board._plans["number"][1] = 1
    board.take_plan(keeper)
    assert keeper.cycle == 0


def test_both_ends_of_a_shared_board_see_the_same() -> None:
    with SharedBoard.create(SPEC.steps, 4, 4) as mine, SharedBoard.attach(mine.address) as other:
        other.put_ego(np.array([1.0, 2.0, 3.0, 4.0]))
        assert mine.ego().tolist() == [1.0, 2.0, 3.0, 4.0]
        mine.start(5.0)
        assert other.started and other.started_s == 5.0


@pytest.mark.slow
@pytest.mark.parametrize("controller", ["thread", "process"])
def test_for_real_every_tick_has_a_command_whatever_the_policy_does(controller) -> None:
    good = np.tile([0.5, 0.01], (SPEC.steps, 1))
    answers = [good] * 5 + [RuntimeError("lost"), np.full((4, 2), np.inf), 0.6] + [good] * 4
    record = run_realtime(
        Scripted(answers), observe, SPEC, CONFIG, 2.5, controller=controller, priority=False
    )
    ticks = record.ticks
    # Other processes may take whole ticks from it, but not many.
    assert 150 <= len(ticks) <= 262
    assert np.isfinite(ticks["accel_mps2"]).all() and np.isfinite(ticks["curvature_per_m"]).all()
    assert (ticks["accel_mps2"] >= -8.0).all() and (ticks["accel_mps2"] <= 4.0).all()
    assert (ticks["missed"][ticks["source"] == SOURCE_PLAN] == 0).all()
    assert set(ticks["source"].tolist()) == {0, 1, 2}
    assert (
        record.errors["RuntimeError: lost"] >= 1 and record.errors["expected finite numbers"] >= 1
    )
    assert record.deadlines >= 20 and record.deadlines_missed >= 6
    assert record.latency_s().max() >= 0.6


_DYING = """
import os, signal, sys, time
import numpy as np
from pathlib import Path
from tests.policies.test_realtime import CONFIG, SPEC, Scripted, Watched, observe
from policies.realtime import run_realtime

class Dies(Scripted):
    def plan(self, *words, **more):
        if self.calls == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().plan(*words, **more)

if __name__ == "__main__":
    run_realtime(Dies([np.tile([0.5, 0.0], (4, 1))]), observe, SPEC, CONFIG, 60.0, vehicle=Watched)
"""


class Watched(PointVehicle):
    """Leaves its speed and its process in a file."""

    def act(self, accel_mps2: float, curvature_per_m: float, elapsed_s: float) -> None:
        super().act(accel_mps2, curvature_per_m, elapsed_s)
        Path(os.environ["WATCHED"]).write_text(f"{os.getpid()} {self.state[3]}\n")


@pytest.mark.slow
def test_a_planner_that_is_killed_leaves_a_controller_that_stops_the_car(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(_DYING)
    watched = tmp_path / "speed"
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "WATCHED": str(watched)}
    done = subprocess.run([sys.executable, str(tmp_path / "dying.py")], env=environment, cwd=root)
    assert done.returncode == -signal.SIGKILL
    pid = int(watched.read_text().split()[0])
    end_s = time.monotonic() + 30.0
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end_s:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert float(watched.read_text().split()[1]) == 0.0
