"""B worlds stepped together, loaded, forked and looked at; the inner loop is ``sim.tick``."""

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
from sim.actors.bodies import scratch
from sim.actors.logs import LogArena
from sim.compile import ensure_compiled
from sim.config import SimConfig
from sim.faults import extra_latency_s, faults_of, observed_state
from sim.judge import TALLY, start_tally, to_signals
from sim.latency import adopt_all, expected_ticks, latency_ticks, queue_slots
from sim.params import params_of, whole_ticks
from sim.placement import Placement, event_records
from sim.privileged import PrivilegedWorlds
from sim.roads.atlas import shared_roads
from sim.scene import SceneFrame, scene_of
from sim.state import Sizes, WorldState, hashes, put, resized, take
from sim.tick import begin_decisions, run
from sim.view import FrameStore, remember_view, views_kept

HISTORY_GAP_S = 0.1


class WorldBatch:
    """``scenarios[i]`` runs in world i. ``config`` is shared by all worlds."""

    def __init__(self, scenarios: Sequence[Scenario], config: SimConfig | None = None) -> None:
        ensure_compiled()
        self.config = config or SimConfig()
        self.atlas = shared_roads()
        self.logs = LogArena()
        whole_ticks("decision_s", HISTORY_GAP_S, self.config.tick_s)
        self.latency_ticks = expected_ticks(self.config)
        self.set_stride(1)
        self.scenarios = list(scenarios)
        self._sizes = self._sizes_for(self.scenarios, None)
        self._placement = Placement(self.config, self.atlas, self.logs)
        self.atlas.make_room()
        self.state: WorldState = self._placement.place(self.scenarios, self._sizes)
        self._frames: FrameStore | None = None
        self.atlas.serve(self)

    def set_stride(self, stride: int) -> None:
        """Ticks are ``stride`` base ticks long from now on."""
        config = self.config
        self.tick_s = stride * config.tick_s
        self.params = params_of(config, self.tick_s, stride)
        self._ticks_per_decision = whole_ticks("decision_s", config.decision_s, self.tick_s)

    # Loading ---------------------------------------------------------------------------
    def _sizes_for(self, scenarios: Sequence[Scenario], known: Sizes | None) -> Sizes:
        """Widths that hold ``scenarios`` and are not below ``known``."""
        config, counts = self.config, [1]
        for scenario in scenarios:
            traffic = scenario.traffic
            extra = 0 if traffic is None else traffic.vehicles + traffic.pedestrians
            counts.append(len(scenario.actors) + extra)
            if counts[-1] > config.max_actors:
                raise RequestError(
                    f"scenario {scenario.id}: actors: expected at most {config.max_actors} "
                    f"(sim.max_actors) with its traffic, got {counts[-1]}"
                )
        actors = max(counts)
        events = max([1, *(event_records(s) for s in scenarios)])
        actions = max([1, *(sum(len(e.actions) for e in s.events) for s in scenarios)])
        if known is not None:
            actors, events = max(actors, known.actors), max(events, known.events)
            actions = max(actions, known.actions)
        per_step = whole_ticks("plan_step_s", config.plan_step_s, config.tick_s)
        return Sizes(
            actors, events, actions, config.plan_steps, queue_slots(config),
            config.plan_steps * per_step + 1, views_kept(config),
            0 if config.rig is None else len(config.rig.cameras),
        )  # fmt: skip

    def load(self, rows: IntArray | Sequence[int], scenarios: Sequence[Scenario]) -> None:
        """Start ``scenarios`` [n] in worlds ``rows`` [n]; nothing changes if one of them cannot be
        loaded."""
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) != len(scenarios):
            raise ValueError(f"load: {len(rows)} rows but {len(scenarios)} scenarios")
        if not len(rows):
            return
        sizes = self._sizes_for(scenarios, self._sizes)
        self.atlas.make_room()
        fresh = self._placement.place(scenarios, sizes)
        if sizes != self._sizes:
            self.state, self._sizes = resized(self.state, sizes), sizes
        put(self.state, rows, fresh)
        for row, scenario in zip(rows, scenarios, strict=True):
            self.scenarios[int(row)] = scenario
        if self._frames is not None:
            self._frames.forget(rows)

    def fork(self, rows: IntArray | Sequence[int]) -> WorldBatch:
        """An independent batch of copies of ``rows`` (repeats allowed). Maps and recorded actors
        are shared, they never change."""
        rows = np.asarray(rows, dtype=np.int64)
        other = object.__new__(WorldBatch)
        other.__dict__.update(self.__dict__)
        other.scenarios = [self.scenarios[int(row)] for row in rows]
        other.state = take(self.state, rows)
        other._frames = None
        self.atlas.serve(other)
        return other

    def snapshot(self) -> WorldBatch:
        """A copy of all worlds, to ``restore`` later or to go on from."""
        return self.fork(np.arange(self.num_worlds))

    def restore(self, snapshot: WorldBatch, rows: IntArray | Sequence[int] | None = None) -> None:
        """Put worlds ``rows`` (default: all) back to what they were in ``snapshot`` of this
        batch."""
        if snapshot.atlas is not self.atlas or snapshot.logs is not self.logs:
            raise ValueError("restore: expected a snapshot of this batch, got one of another")
        rows = self._rows(rows)
        if snapshot._sizes != self._sizes:
            snapshot = snapshot.snapshot()
            snapshot.state = resized(snapshot.state, self._sizes)
        put(self.state, rows, take(snapshot.state, rows))
        for row in rows:
            self.scenarios[int(row)] = snapshot.scenarios[int(row)]
        if self._frames is not None:
            self._frames.forget(rows)

    def trim_actors(self) -> None:
        """Drop actor slots that no world uses: cheaper ticks for short-lived forks."""
        used = max(1, int(self.state.actor_count.max(initial=1)))
        if used < self._sizes.actors:
            self._sizes = replace(self._sizes, actors=used)
            self.state = resized(self.state, self._sizes)

    # Looking ---------------------------------------------------------------------------
    @property
    def num_worlds(self) -> int:
        return len(self.state)

    @property
    def maps_in_use(self) -> IntArray:
        """[B] maps of the atlas that the worlds are on."""
        maps: IntArray = self.state.map_id
        return maps

    @property
    def running(self) -> BoolArray:
        running: BoolArray = self.state.end == END_RUNNING
        return running

    @property
    def time_s(self) -> FloatArray:
        time_s: FloatArray = self.state.tick * self.config.tick_s
        return time_s

    @property
    def decision(self) -> IntArray:
        """[B] decisions made so far."""
        decision: IntArray = self.state.decision.copy()
        return decision

    @property
    def route_length_m(self) -> FloatArray:
        """[B] metres from the ego's start to where its route counts as done."""
        length_m: FloatArray = self.state.end_s - self.state.start_s
        return length_m

    def observe(
        self, rows: IntArray | Sequence[int] | None = None, *, copy: bool = True
    ) -> ObservationBatch:
        """What the policy may see in worlds ``rows`` (default: all), images drawn now.

        With ``copy=False`` the images of all worlds are a view that the next step overwrites: past
        frames are not copied again and again.
        """
        rows = self._rows(rows)
        state, config = self.state, self.config
        faults = faults_of(state, rows, [self.scenarios[row] for row in rows], config.tick_s)
        history, speed = observed_state(state, rows, faults, config.tick_s)
        if config.rig is None:
            frames = np.zeros((len(rows), 0, 0, 0, 3), dtype=np.uint8)
        else:
            if self._frames is None:
                self._frames = FrameStore(self.num_worlds, config.rig, config, self.atlas)
            frames = self._frames.frames(state, rows, self.scenarios, copy)
        return ObservationBatch(
            frames, history, speed, state.command[rows], state.speed_limit[rows].astype(np.float32)
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
    def step(self, actions: FloatArray, latency_s: FloatArray | None = None) -> StepSignals:
        """One decision: plans ``actions`` [B, K, 2] (acceleration, curvature) arrive now and take
        effect after the latency. Rows of ended worlds are ignored.

        ``latency_s`` [B]: measured latencies of these plans, instead of the configured ones.
        """
        self.begin(actions, latency_s)
        active = self.running
        tally = self.new_tally()
        self.run(self._ticks_per_decision, tally, per_pose=round(HISTORY_GAP_S / self.tick_s))
        if self._frames is not None:
            self._frames.advance(active)
        return to_signals(self.state, tally)

    def begin(self, actions: FloatArray, latency_s: FloatArray | None = None) -> None:
        """The first half of ``step``: the plans arrive, and nothing moves until ``run``."""
        state = self.state
        expected = (self.num_worlds, self.config.plan_steps, 2)
        if np.shape(actions) != expected:
            raise ValueError(f"actions: expected shape {expected}, got {np.shape(actions)}")
        active = self.running
        plans = np.ascontiguousarray(actions, dtype=np.float64)
        bad = active & ~np.isfinite(plans).all(axis=(1, 2))
        if bad.any():
            raise ValueError(f"actions: world {bad.argmax()}: expected finite numbers")
        remember_view(state, active, self.scenarios, self.config)
        everyone = np.arange(self.num_worlds)
        faults = faults_of(state, everyone, self.scenarios, self.config.tick_s)
        due = state.tick + latency_ticks(
            self.config, state.seed, state.decision, faults, self.time_s, latency_s
        )
        begin_decisions(state.worlds, plans, state.queue, state.queue_due, due)

    def expected_latency_ticks(self) -> IntArray:
        """Base ticks [B] after which a plan made from the present observation should drive."""
        everyone = np.arange(self.num_worlds)
        faults = faults_of(self.state, everyone, self.scenarios, self.config.tick_s)
        extra_s = np.array([
            extra_latency_s(f, time_s) for f, time_s in zip(faults, self.time_s, strict=True)
        ])  # fmt: skip
        extra: IntArray = np.ceil(extra_s / self.config.tick_s - 1e-6).astype(np.int64)
        return self.latency_ticks + extra

    def new_tally(self) -> np.ndarray:
        """[B] records for the judge, of an interval that starts now."""
        tally = np.zeros(self.num_worlds, dtype=TALLY)
        start_tally(self.state.worlds, tally)
        return tally

    def run(
        self, ticks: int, tally: np.ndarray, *, time_limit: bool = True, per_pose: int = 0
    ) -> None:
        """Advance all running worlds by ``ticks`` ticks; see ``sim.tick.run``."""
        state, slots = self.state, self._sizes.actors
        run(
            state.worlds, state.actors, state.events, state.actions, state.plan, state.reference,
            state.queue, state.queue_due, state.history, tally, np.empty(slots),
            scratch(slots), np.empty((slots + 1, 4)), self.atlas.arrays, self.logs.rows,
            self.params, ticks, per_pose, time_limit,
        )  # fmt: skip

    def adopt(self, plans: FloatArray) -> None:
        """From now on ``plans`` [B, K', 2] (K' free) drive, anchored at the ego's present pose; no
        other plan waits."""
        count, steps, _ = plans.shape
        self.state.plan = np.ascontiguousarray(plans)
        self.state.reference = np.zeros((count, steps * self.params.ticks_per_step + 1, 4))
        self.state.queue_due = np.full((count, 1), -1, dtype=np.int64)
        self.state.queue = np.zeros((count, 1, steps, 2))
        adopt_all(self.state.worlds, self.state.plan, self.state.reference, self.params)
