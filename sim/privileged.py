"""The privileged view: true state, and forecasts made by simulating forks of the worlds.

A forecast first drives the latency with the plan that drives now (once per world, at the
simulator's tick), then one fork per candidate at ``FORECAST_TICK_S``. Events therefore fire up to
one coarse tick late and contacts are seen on the coarse grid; everything else is the simulator
itself. Forecast worlds draw no images and know no time-out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alpamayo.types import (
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    FloatArray,
    Forecast,
    IntArray,
)
from sim.judge import Tally
from sim.latency import due

if TYPE_CHECKING:
    from sim.world import WorldBatch

FORECAST_TICK_S = 0.2


class PrivilegedWorlds:
    """``alpamayo.types.PrivilegedView`` of worlds ``rows``; valid until the batch is stepped."""

    def __init__(self, worlds: WorldBatch, rows: IntArray) -> None:
        self._worlds, self._rows = worlds, rows
        self._later: WorldBatch | None = None

    def _at_effect(self) -> WorldBatch:
        """The rows at the moment when the next plan takes effect."""
        if self._later is None:
            later = self._worlds.fork(self._rows)
            schedule = later._schedule
            tally = Tally(later.running, later.state.route_s)
            ticks = schedule.delay * later._ticks_per_decision + schedule.switch_tick
            for tick in range(ticks):
                if tick % later._ticks_per_decision == schedule.switch_tick:
                    _adopt_waiting(later, tick // later._ticks_per_decision)
                later.run_tick(later.running, tally, time_limit=False)
            self._tally = tally
            self._later = later
        return self._later

    def ego_route_state(self) -> dict[str, FloatArray]:
        """See ``PrivilegedView``."""
        worlds = self._at_effect()
        state, atlas = worlds.state, worlds.atlas
        curvature = atlas.pose(state.map_id, state.route, state.route_s, 0.0)[3]
        error = state.heading - state.route_heading
        roads = [atlas.map(int(m)) for m in state.map_id]
        lanes = np.array(
            [
                (road.left_lanes[path], road.right_lanes[path])
                for road, path in zip(roads, state.route, strict=True)
            ],
            dtype=np.float64,
        ).reshape(-1, 2)
        return {
            "s_m": state.route_s.copy(),
            "d_m": state.route_d.copy(),
            "heading_error_rad": (error + np.pi) % (2.0 * np.pi) - np.pi,
            "speed_mps": state.speed.copy(),
            "curvature_per_m": curvature,
            "speed_limit_mps": state.speed_limit.copy(),
            "left_lanes": lanes[:, 0],
            "right_lanes": lanes[:, 1],
            "lane_width_m": state.lane_width.copy(),
            "accel_mps2": state.accel.copy(),
        }

    def route_ahead(self, distance_m: FloatArray) -> FloatArray:
        """See ``PrivilegedView``."""
        worlds = self._at_effect()
        state = worlds.state
        s = state.route_s[:, None] + np.asarray(distance_m, dtype=np.float64)
        return worlds.atlas.pose(state.map_id[:, None], state.route[:, None], s, 0.0)[3]

    def forecast(self, plans: FloatArray, rows: IntArray, hold_s: float = 0.0) -> Forecast:
        """See ``PrivilegedView``; ``rows`` count within this view. After a plan's end its last
        curvature is held at constant speed for ``hold_s``. Times count from the observation (they
        include the latency), progress from where the plan takes effect."""
        n, c, steps, _ = plans.shape
        rows = np.asarray(rows, dtype=np.int64)
        start = self._at_effect()
        worlds = start.fork(np.repeat(rows, c))
        config = worlds.config
        stride = max(round(FORECAST_TICK_S / config.tick_s), 1)
        while round(config.plan_step_s / config.tick_s) % stride:
            stride -= 1
        worlds._trim_actors()
        worlds._set_clock(stride * config.tick_s, stride)
        plan = np.asarray(plans, dtype=np.float64).reshape(n * c, steps, 2)
        worlds.adopt_plan(plan, np.ones(n * c, dtype=bool))
        outcome = _Outcome(worlds, config.latency_s)
        total = round((steps * config.plan_step_s + hold_s) / worlds.tick_s)
        tally = Tally(worlds.running, worlds.state.route_s)
        tally.min_gap_m = self._tally.min_gap_m[rows].repeat(c)
        tally.min_ttc_s = self._tally.min_ttc_s[rows].repeat(c)
        for tick in range(total):
            running = worlds.running
            if not running.any():
                break
            worlds.run_tick(running, tally, time_limit=False)
            outcome.note(worlds, running, config.latency_s + (tick + 1) * worlds.tick_s)
        state = worlds.state
        lateral, _ = worlds.atlas.nearest_lane(state.map_id, state.x, state.y)
        return Forecast(
            collision_s=outcome.collision_s.reshape(n, c),
            off_road_s=outcome.off_road_s.reshape(n, c),
            red_light=(state.end == END_RED_LIGHT).reshape(n, c),
            progress_m=(state.route_s - tally.start_s).reshape(n, c),
            min_gap_m=tally.min_gap_m.reshape(n, c),
            min_ttc_s=tally.min_ttc_s.reshape(n, c),
            end_speed_mps=state.speed.reshape(n, c),
            lateral_m=lateral.reshape(n, c),
        )


class _Outcome:
    """When forecast worlds crashed, [N * C]; those that crashed within the latency did so at its
    end."""

    def __init__(self, worlds: WorldBatch, latency_s: float) -> None:
        end = worlds.state.end
        self.collision_s = np.where(end == END_COLLISION, latency_s, np.inf)
        self.off_road_s = np.where(end == END_OFF_ROAD, latency_s, np.inf)

    def note(self, worlds: WorldBatch, running: np.ndarray, time_s: float) -> None:
        end = worlds.state.end
        self.collision_s[running & (end == END_COLLISION)] = time_s
        self.off_road_s[running & (end == END_OFF_ROAD)] = time_s


def _adopt_waiting(worlds: WorldBatch, decisions_ahead: int) -> None:
    """Let the plan that was made ``delay`` decisions before take over, if it was made."""
    state, delay = worlds.state, worlds._schedule.delay
    plan, exists = due(state.queue, state.decision + decisions_ahead, delay)
    worlds.adopt_plan(plan, worlds.running & exists)
