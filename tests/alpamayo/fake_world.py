"""A stand-in for ``sim.world`` with plain arithmetic, for tests of what runs worlds rather than of
worlds.

The ego drives along x by its speed; ``scenario.parameters`` say what happens: ``decisions`` until
the episode ends, ``end`` (an END_* code), ``bad_load``, ``bad_step`` (the decision that raises).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from alpamayo.types import (
    END_COLLISION,
    END_RUNNING,
    END_TIMEOUT,
    FAULT_EGO,
    ActorSpec,
    EgoSpec,
    ObservationBatch,
    PlanBatch,
    RoadSpec,
    Scenario,
    StepSignals,
)
from sim.config import SimConfig


def scenario(seed: int, **parameters: Any) -> Scenario:
    return Scenario(
        id="fake",
        family="fake",
        nominal=False,
        seed=seed,
        road=RoadSpec(lanes=2, length_m=120.0),
        ego=EgoSpec(speed_mps=float(5 + seed % 7)),
        actors=(ActorSpec("lead", "car", "lane0", 20.0),),
        parameters={"decisions": 3, **parameters},
    )


class FakeWorld:
    """The part of ``WorldBatch`` that the platform uses."""

    batches: ClassVar[list[int]] = []  # sizes of the observations asked for, over all worlds

    def __init__(self, scenarios: Sequence[Scenario], config: SimConfig) -> None:
        self.config = config
        count = len(scenarios)
        self.scenarios: list[Scenario] = list(scenarios)
        self.x, self.speed, self.time_s = np.zeros(count), np.zeros(count), np.zeros(count)
        self.decision = np.zeros(count, dtype=int)
        self.running = np.zeros(count, dtype=bool)
        self.plan = np.zeros((count, config.plan_steps, 2))
        self.load(np.arange(count), scenarios)

    @property
    def num_worlds(self) -> int:
        return len(self.scenarios)

    @property
    def route_length_m(self) -> np.ndarray:
        return np.full(self.num_worlds, 100.0)

    def load(self, rows: Any, scenarios: Sequence[Scenario]) -> None:
        for row, one in zip(rows, scenarios, strict=True):
            if one.parameters.get("bad_load"):
                raise ValueError(f"cannot load seed {one.seed}")
            self.scenarios[row] = one
            self.x[row], self.speed[row], self.time_s[row] = 0.0, one.ego.speed_mps, 0.0
            self.decision[row], self.running[row] = 0, True

    def observe(self, rows: Any = None) -> ObservationBatch:
        rows = np.arange(self.num_worlds) if rows is None else np.asarray(rows)
        FakeWorld.batches.append(len(rows))
        rig, count = self.config.rig, len(rows)
        size = (0, 0, 0) if rig is None else (rig.frames, rig.height_px, rig.width_px)
        frames = np.zeros((count, *size, 3), np.uint8)
        if rig is not None:
            frames[:] = (self.x[rows] % 255).astype(np.uint8)[:, None, None, None, None]
        return ObservationBatch(
            frames,
            np.zeros((count, 16, 3), np.float32),
            self.speed[rows].astype(np.float32),
            np.zeros(count, np.int8),
            np.full(count, 14.0, np.float32),
        )

    def step(self, actions: np.ndarray) -> StepSignals:
        active = self.running.copy()
        for row in np.flatnonzero(active):
            if self.scenarios[row].parameters.get("bad_step") == self.decision[row]:
                raise FloatingPointError(f"seed {self.scenarios[row].seed} blew up")
        self.plan[active] = actions[active]
        self.speed[active] = np.maximum(self.speed + 0.4 * actions[:, 0, 0], 0.0)[active]
        self.x[active] += 0.4 * self.speed[active]
        self.time_s[active] += 0.4
        self.decision[active] += 1
        count = self.num_worlds
        last = np.array([s.parameters["decisions"] for s in self.scenarios])
        code = np.array([s.parameters.get("end", END_TIMEOUT) for s in self.scenarios])
        end = np.where(active & (self.decision >= last), code, END_RUNNING)
        self.running &= end == END_RUNNING
        zeros, hit = np.zeros(count), end == END_COLLISION
        return StepSignals(
            end=end, fault=np.where(hit, FAULT_EGO, 0), collision_actor=np.where(hit, 0, -1),
            progress_m=0.4 * self.speed, min_ttc_s=np.full(count, np.inf),
            min_gap_m=np.full(count, 9.0),
            accel_mps2=actions[:, 0, 0].astype(float), jerk_mps3=zeros, lateral_accel_mps2=zeros,
            yaw_rate_radps=zeros, yaw_accel_radps2=zeros, lane_offset_m=zeros,
            wrong_way=np.zeros(count, dtype=bool), over_speed_mps=zeros,
            speed_mps=self.speed.copy(), active=active,
        )  # fmt: skip

    # Tick by tick: all of a decision happens in its last tick.
    def begin(self, actions: np.ndarray) -> None:
        self.begun, self.ticks_run = actions, 0

    def new_tally(self) -> dict[str, np.ndarray]:
        return {name: np.full(self.num_worlds, np.inf) for name in ("min_ttc_s", "min_gap_m")}

    def run(self, ticks: int, tally: dict[str, np.ndarray], per_pose: int = 0) -> None:
        self.ticks_run += ticks
        if self.ticks_run == round(self.config.decision_s / self.config.tick_s):
            signals = self.step(self.begun)
            tally["min_ttc_s"], tally["min_gap_m"] = signals.min_ttc_s, signals.min_gap_m

    @property
    def state(self) -> Any:
        count = self.num_worlds
        return SimpleNamespace(
            tick=np.zeros(count, int),
            queue_due=np.full((count, 1), round(self.config.latency_s / self.config.tick_s)),
            fired_s=np.full((count, 0), np.inf),
        )

    def state_hash(self) -> list[str]:
        state = np.stack([self.x, self.speed, self.time_s], axis=1)
        return [hashlib.sha256(row.tobytes()).hexdigest() for row in state]

    def fork(self, rows: Any) -> FakeWorld:
        other = FakeWorld([self.scenarios[row] for row in rows], self.config)
        other.x, other.speed, other.time_s = self.x[rows], self.speed[rows], self.time_s[rows]
        other.decision, other.running = self.decision[rows], self.running[rows]
        return other

    def scene(self, row: int) -> Any:
        ahead = 0.1 * np.arange(1, 33) * self.speed[row]
        return SimpleNamespace(
            time_s=self.time_s[row],
            ego_pose=np.array([self.x[row] + 30.0, 0.0, 0.0]),
            ego_speed_mps=self.speed[row],
            plan_waypoints=np.stack([self.x[row] + 30.0 + ahead, 0.0 * ahead], axis=1),
            boxes=np.array([[55.0 + 3 * self.time_s[row], 0.0, 0.0, 4.6, 1.9, 1.5, 0.0]]),
            kinds=["car"],
            ids=["lead"],
            colors=np.array([[150, 30, 30]], np.uint8),
            braking=np.array([self.decision[row] > 1]),
            signal_state=np.zeros(2, int),
        )

    def privileged(self, rows: Any = None) -> Any:
        return SimpleNamespace(rows=np.asarray(rows))


def fake_reward_terms(signals: StepSignals, config: Any) -> dict[str, np.ndarray]:
    return {
        "progress": 0.1 * signals.progress_m,
        "at_fault_collision": -40.0 * (signals.end == END_COLLISION),
    }


class NoisyPolicy:
    """Accelerates by a number drawn from its noise key: results show at once if a key is wrong."""

    needs_privileged = False
    name = "noisy"

    def plan(
        self, observation: ObservationBatch, *, noise_keys: Any, privileged: Any = None
    ) -> PlanBatch:
        from alpamayo import streams

        noise = streams.uniform(noise_keys, 1).astype(np.float32)
        accel = np.repeat(2.0 * noise - 1.0, 8, axis=1)
        return PlanBatch(accel, np.zeros_like(accel))
