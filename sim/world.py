"""B worlds stepped together.

Order within a tick: a waiting plan may take over; events fire; traffic decides; the controller and
the ego move; the actors move; the judge looks. Worlds that have ended stay frozen. Every operation
is elementwise or a minimum or maximum within one world, so a world's numbers do not depend on its
batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alpamayo.types import (
    END_RUNNING,
    BoolArray,
    FloatArray,
    IntArray,
    ObservationBatch,
    RequestError,
    Scenario,
    StepSignals,
)
from sim.actors.idm import idm_accelerations
from sim.actors.motion import move, pose_actors
from sim.actors.paths import shared_roads
from sim.config import SimConfig
from sim.control import track
from sim.dynamics import actuate, advance, integrate_plan, lag_blend, speed_step
from sim.events import fire
from sim.judge import Before, Tally, judge_tick, to_signals
from sim.latency import LatencySchedule, due, push, whole_ticks
from sim.placement import place
from sim.privileged import PrivilegedWorlds
from sim.scene import SceneFrame, scene_of
from sim.signals import signal_state
from sim.state import Sizes, WorldState, hashes, put, resized, take
from sim.view import FrameStore, remember_view, views_kept

HISTORY_GAP_S = 0.1


class WorldBatch:
    """``scenarios[i]`` runs in world i. ``config`` is shared by all worlds."""

    def __init__(self, scenarios: Sequence[Scenario], config: SimConfig | None = None) -> None:
        self.config = config or SimConfig()
        self.atlas, self.facts = shared_roads()
        self._set_clock(self.config.tick_s, 1)
        self._schedule = LatencySchedule.from_config(self.config)
        whole_ticks("decision_s", HISTORY_GAP_S, self.config.tick_s)
        self.scenarios = list(scenarios)
        self._sizes = self._sizes_for(self.scenarios, None)
        self.state: WorldState = self._place(self.scenarios)
        self._frames: FrameStore | None = None

    def _set_clock(self, tick_s: float, stride: int) -> None:
        """Use ticks of ``tick_s``, each ``stride`` base ticks long."""
        config = self.config
        self.tick_s, self._stride = tick_s, stride
        self._blend = lag_blend(tick_s, config.actuator_lag_s)
        self._ticks_per_step = whole_ticks("plan_step_s", config.plan_step_s, tick_s)
        self._ticks_per_decision = whole_ticks("decision_s", config.decision_s, tick_s)

    # Loading ---------------------------------------------------------------------------
    def _sizes_for(self, scenarios: Sequence[Scenario], known: Sizes | None) -> Sizes:
        """Widths that hold ``scenarios`` and are not below ``known``."""
        for scenario in scenarios:
            if len(scenario.actors) > self.config.max_actors:
                raise RequestError(
                    f"scenario {scenario.id}: actors: expected at most "
                    f"{self.config.max_actors}, got {len(scenario.actors)}"
                )
        actors = max([1, *(len(s.actors) for s in scenarios)])
        events = max([1, *(len(s.events) for s in scenarios)])
        actions = max([1, *(sum(len(e.actions) for e in s.events) for s in scenarios)])
        if known is not None:
            actors, events = max(actors, known.actors), max(events, known.events)
            actions = max(actions, known.actions)
        steps = self.config.plan_steps
        return Sizes(
            actors, events, actions, steps, self._schedule.slots,
            steps * self._ticks_per_step + 1, views_kept(self.config),
        )  # fmt: skip

    def _place(self, scenarios: Sequence[Scenario]) -> WorldState:
        return place(
            scenarios, self._sizes, self.config, self.atlas, self.facts, self._ticks_per_step
        )

    def load(self, rows: IntArray | Sequence[int], scenarios: Sequence[Scenario]) -> None:
        """Start ``scenarios`` [n] in worlds ``rows`` [n]; nothing changes if one of them cannot be
        loaded."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) != len(scenarios):
            raise ValueError(f"load: {len(rows)} rows but {len(scenarios)} scenarios")
        if not len(rows):
            return
        before, self._sizes = self._sizes, self._sizes_for(scenarios, self._sizes)
        try:
            fresh = self._place(scenarios)
        except Exception:
            self._sizes = before
            raise
        if self._sizes != before:
            self.state = resized(self.state, self._sizes)
        put(self.state, rows, fresh)
        for row, scenario in zip(rows, scenarios, strict=True):
            self.scenarios[int(row)] = scenario
        if self._frames is not None:
            self._frames.forget(rows)

    def fork(self, rows: IntArray | Sequence[int]) -> WorldBatch:
        """An independent batch of copies of ``rows`` (repeats allowed). Maps are shared, they never
        change."""
        rows = np.asarray(rows, dtype=np.int64)
        other = object.__new__(WorldBatch)
        other.__dict__.update(self.__dict__)
        other.scenarios = [self.scenarios[int(row)] for row in rows]
        other.state = take(self.state, rows)
        other._frames = None
        return other

    def _trim_actors(self) -> None:
        """Drop actor slots that no world uses: cheaper ticks for short-lived forks."""
        used = max(1, int(self.state.actor_count.max(initial=1)))
        if used < self._sizes.actors:
            self._sizes = replace(self._sizes, actors=used)
            self.state = resized(self.state, self._sizes)

    # Looking ---------------------------------------------------------------------------
    @property
    def num_worlds(self) -> int:
        return len(self.state.x)

    @property
    def running(self) -> BoolArray:
        return self.state.end == END_RUNNING

    @property
    def time_s(self) -> FloatArray:
        return self.state.tick * self.config.tick_s

    @property
    def decision(self) -> IntArray:
        """[B] decisions made so far."""
        return self.state.decision.copy()

    @property
    def route_length_m(self) -> FloatArray:
        """[B] metres from the ego's start to where its route counts as done."""
        return self.state.end_s - self.state.start_s

    def observe(self, rows: IntArray | Sequence[int] | None = None) -> ObservationBatch:
        """What the policy may see in worlds ``rows`` (default: all), images drawn now."""
        rows = self._rows(rows)
        state = self.state
        config = self.config
        history = (
            state.history[rows]
            - np.stack([state.x[rows], state.y[rows], state.heading[rows]], axis=-1)[:, None]
        )
        cos_h = np.cos(state.heading[rows])[:, None]
        sin_h = np.sin(state.heading[rows])[:, None]
        dx, dy = history[..., 0].copy(), history[..., 1].copy()
        history[..., 0], history[..., 1] = dx * cos_h + dy * sin_h, dy * cos_h - dx * sin_h
        if config.rig is None:
            frames = np.zeros((len(rows), 0, 0, 0, 3), dtype=np.uint8)
        else:
            if self._frames is None:
                self._frames = FrameStore(self.num_worlds, config.rig, config, self.atlas)
            frames = self._frames.frames(state, rows)
        return ObservationBatch(
            frames,
            history.astype(np.float32),
            state.speed[rows].astype(np.float32),
            state.command[rows],
            state.speed_limit[rows].astype(np.float32),
        )

    def _rows(self, rows: IntArray | Sequence[int] | None) -> IntArray:
        if rows is None:
            return np.arange(self.num_worlds)
        index = np.asarray(rows)
        return np.flatnonzero(index) if index.dtype == np.bool_ else index.astype(np.int64)

    def privileged(self, rows: IntArray | Sequence[int] | None = None) -> PrivilegedWorlds:
        """The true state of worlds ``rows`` (default: all), for experts."""
        return PrivilegedWorlds(self, self._rows(rows))

    def state_hash(self) -> list[str]:
        """A digest per world of everything that the future depends on, wherever the world lies in
        the batch."""
        return hashes(self.state)

    def scene(self, row: int) -> SceneFrame:
        return scene_of(self.state, row, self.scenarios[row], self.config.tick_s)

    # Stepping --------------------------------------------------------------------------
    def step(self, actions: FloatArray) -> StepSignals:
        """One decision: plans ``actions`` [B, K, 2] (acceleration, curvature) arrive now and take
        effect after the latency. Rows of ended worlds are ignored."""
        state = self.state
        expected = (self.num_worlds, self.config.plan_steps, 2)
        if np.shape(actions) != expected:
            raise ValueError(f"actions: expected shape {expected}, got {np.shape(actions)}")
        active = self.running
        plan = np.asarray(actions, dtype=np.float64)
        if not np.isfinite(plan[active]).all():
            raise ValueError("actions: expected finite numbers")
        remember_view(state, active, self.config.tick_s)
        push(state.queue, state.decision, plan, active)
        tally = Tally(active, state.route_s)
        per_history = round(HISTORY_GAP_S / self.tick_s)
        poses = []
        for j in range(self._ticks_per_decision):
            running = self.running
            if j == self._schedule.switch_tick:
                self._switch_plan(running)
            self.run_tick(running, tally)
            if (j + 1) % per_history == 0:
                poses.append(np.stack([state.x, state.y, state.heading], axis=-1))
        recent = np.concatenate([state.history, np.stack(poses, axis=1)], axis=1)
        state.history = np.where(active[:, None, None], recent[:, len(poses) :], state.history)
        state.decision = state.decision + active
        return to_signals(state, self.atlas, tally)

    def _switch_plan(self, running: BoolArray) -> None:
        plan, exists = due(self.state.queue, self.state.decision, self._schedule.delay)
        self.adopt_plan(plan, running & exists)

    def adopt_plan(self, plan: FloatArray, where: BoolArray) -> None:
        """From now on ``plan`` [B, K, 2] drives the worlds ``where``, anchored at the ego's present
        pose."""
        state = self.state
        reference = integrate_plan(
            state.x, state.y, state.heading, state.speed, plan, self._ticks_per_step, self.tick_s
        )
        if reference.shape == state.reference.shape and not where.all():
            plan = np.where(where[:, None, None], plan, state.plan)
            reference = np.where(where[:, None, None], reference, state.reference)
        state.plan, state.reference = plan, reference
        state.plan_tick = np.where(where, 0, state.plan_tick)

    def run_tick(self, running: BoolArray, tally: Tally, time_limit: bool = True) -> None:
        """Advance ``running`` worlds by one tick and judge it."""
        state, tick_s = self.state, self.tick_s
        time_s = state.tick * self.config.tick_s
        signals = signal_state(state, time_s)
        before = Before.of(state)
        fire(state, self.atlas, time_s, running)
        idm = idm_accelerations(state, self.atlas, self.facts, signals, running)
        self._move_ego(running, tally)
        move(state, idm, running, tick_s)
        pose_actors(state, self.atlas)
        state.tick = state.tick + self._stride * running
        judge_tick(
            state, self.atlas, before, signals, running, state.tick * self.config.tick_s,
            tally, time_limit,
        )  # fmt: skip

    def _command(self) -> tuple[FloatArray, FloatArray]:
        """Commands [B] of the controller; past the end of its plan the car holds speed and
        curvature."""
        state = self.state
        rows = np.arange(self.num_worlds)
        last = state.reference.shape[1] - 1
        now = np.minimum(state.plan_tick, last - 1)
        step = state.plan[rows, now // self._ticks_per_step]
        accel, curvature = track(
            state.x, state.y, state.heading, state.speed, state.reference[rows, now],
            step[:, 0], step[:, 1],
        )  # fmt: skip
        over = state.plan_tick >= last
        if over.any():
            accel, curvature = np.where(over, 0.0, accel), np.where(over, step[:, 1], curvature)
        return accel, curvature

    def _move_ego(self, running: BoolArray, tally: Tally) -> None:
        state, tick_s = self.state, self.tick_s
        accel, curvature = actuate(
            state.accel, state.curvature, *self._command(), state.speed, self._blend, self.config
        )
        state.accel = np.where(running, accel, state.accel)
        state.curvature = np.where(running, curvature, state.curvature)
        speed, distance = speed_step(state.speed, state.accel, running, tick_s)
        moved_accel = np.where(running, (speed - state.speed) / tick_s, state.moved_accel)
        state.x, state.y, state.heading = advance(
            state.x, state.y, state.heading, distance, state.curvature
        )
        yaw_rate = speed * state.curvature
        motion = np.stack(
            [
                moved_accel,
                (moved_accel - state.moved_accel) / tick_s,
                speed * yaw_rate,
                yaw_rate,
                (yaw_rate - state.yaw_rate) / tick_s,
            ],
            axis=-1,
        )
        tally.motion(running, motion, np.maximum(speed - state.speed_limit, 0.0))
        state.speed, state.moved_accel, state.yaw_rate = speed, moved_accel, yaw_rate
        state.plan_tick = state.plan_tick + running
        s, d = self.atlas.project(
            state.map_id, state.route, state.x, state.y, state.route_s + distance
        )
        state.route_s = np.where(running, s, state.route_s)
        state.route_d = np.where(running, d, state.route_d)
        state.route_heading = self.atlas.pose(state.map_id, state.route, state.route_s, 0.0)[2]
