"""The privileged view: true state, and forecasts made by simulating forks of the worlds.

A forecast first drives the latency (the expected one and what faults add) with the plans that are
on their way (once per world, at the simulator's tick), then one fork per candidate at
``FORECAST_TICK_S``. Events therefore fire up to one coarse tick late and contacts are seen on the
coarse grid; everything else is the simulator itself. Forecast worlds draw no images
and know no time-out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from alpamayo.types import (
    END_COLLISION,
    END_OFF_ROAD,
    END_RED_LIGHT,
    END_RUNNING,
    END_TIMEOUT,
    FloatArray,
    Forecast,
    IntArray,
)
from sim.dynamics import course_heading

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
            self._tally = later.new_tally()
            wait = later.expected_latency_ticks()
            _run_each(later, wait, self._tally)
            self._latency_s = wait * later.config.tick_s
            self._later = later
        return self._later

    def ego_route_state(self) -> dict[str, FloatArray]:
        """See ``PrivilegedView``."""
        worlds = self._at_effect()
        state, atlas = worlds.state, worlds.atlas
        curvature = atlas.pose(state.map_id, state.route, state.route_s, 0.0)[3]
        error = course_heading(state.worlds) - state.route_heading
        left, right = atlas.lanes_beside(state.map_id, state.route, state.route_s)
        return {
            "s_m": state.route_s.copy(),
            "d_m": state.route_d.copy(),
            "heading_error_rad": (error + np.pi) % (2.0 * np.pi) - np.pi,
            "speed_mps": state.speed.copy(),
            "curvature_per_m": curvature,
            "speed_limit_mps": state.speed_limit.copy(),
            "left_lanes": left.astype(np.float64),
            "right_lanes": right.astype(np.float64),
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
        latency_s = self._latency_s[rows].repeat(c)
        worlds.trim_actors()
        worlds.set_stride(_stride(config.tick_s, config.plan_step_s))
        worlds.adopt(np.asarray(plans, dtype=np.float64).reshape(n * c, steps, 2))
        tally = worlds.new_tally()
        for name in ("min_gap_m", "min_ttc_s"):
            tally[name] = self._tally[name][rows].repeat(c)
        first_tick, state = worlds.state.tick.copy(), worlds.state
        total_s = steps * config.plan_step_s + hold_s
        worlds.run(round(total_s / worlds.tick_s), tally, time_limit=False)
        # A world stops counting ticks when it ends.
        ended_s = latency_s + (state.tick - first_tick) * config.tick_s
        lateral, _ = worlds.atlas.nearest_lane(state.map_id, state.x, state.y)
        return Forecast(
            collision_s=np.where(state.end == END_COLLISION, ended_s, np.inf).reshape(n, c),
            off_road_s=np.where(state.end == END_OFF_ROAD, ended_s, np.inf).reshape(n, c),
            red_light=(state.end == END_RED_LIGHT).reshape(n, c),
            progress_m=(state.route_s - tally["start_s"]).reshape(n, c),
            min_gap_m=tally["min_gap_m"].reshape(n, c),
            min_ttc_s=tally["min_ttc_s"].reshape(n, c),
            end_speed_mps=state.speed.reshape(n, c),
            lateral_m=lateral.reshape(n, c),
        )


def _run_each(worlds: WorldBatch, ticks: IntArray, tally: np.ndarray) -> None:
    """Advance world b by ``ticks`` [b] ticks; those that are done wait for the others."""
    done, end = 0, worlds.state.end
    for until in np.unique(ticks):
        waiting = (ticks < until) & (end == END_RUNNING)
        end[waiting] = END_TIMEOUT
        worlds.run(int(until) - done, tally, time_limit=False)
        end[waiting] = END_RUNNING
        done = int(until)


def _stride(tick_s: float, plan_step_s: float) -> int:
    """Base ticks per forecast tick: about ``FORECAST_TICK_S``, and a whole number per plan step."""
    stride = max(round(FORECAST_TICK_S / tick_s), 1)
    while round(plan_step_s / tick_s) % stride:
        stride -= 1
    return stride
