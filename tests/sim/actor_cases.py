"""One world with actors placed by hand, stepped without an ego that drives."""

from __future__ import annotations

import itertools
from typing import Any
from unittest import mock

import numpy as np

from alpamayo.types import ACTOR_KINDS, ACTOR_SIZES_M, DRIVERS, RoadSpec
from sim.actors import bodies, motion, spawn, traffic
from sim.config import SimConfig
from sim.kernels import kernel
from sim.params import params_of
from sim.roads.atlas import MapAtlas
from sim.roads.layout import Lane, Layout
from sim.roads.lines import Line, line_from_curvature
from sim.signals import GREEN
from sim.state import IDM, Sizes, WorldState, allocate

TICK_S = 0.1
ATLAS = MapAtlas()


@kernel
def _run(w, a, accel, scratch, maps, logs, p, ticks, shown_a, shown_b):  # type: ignore[no-untyped-def]
    for _ in range(ticks):
        traffic.decide(w, a, accel, scratch, maps, p, shown_a, shown_b)
        motion.move(w, a, accel, maps, logs, p)
        w.tick += p.stride


_layouts = itertools.count()


def straight(start_x: float, end_x: float, y: float = 0.0) -> Line:
    return line_from_curvature([(0.0, 0.0), (end_x - start_x, 0.0)], (start_x, y))


def add_layout(*lanes: Lane) -> RoadSpec:
    """Put a road of these lanes into ``ATLAS``; returns the specification that names it."""
    layout = Layout(lanes=list(lanes))
    ends = np.concatenate([lane.line.xy[[0, -1]] for lane in lanes])
    (x0, y0), (x1, y1) = ends.min(axis=0) - 5.0, ends.max(axis=0) + 5.0
    layout.surfaces.append(np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    spec = RoadSpec(length_m=100000.0 + next(_layouts))
    with mock.patch("sim.roads.build.lay_out", lambda _: layout):
        ATLAS.add(spec)
    return spec


def idm(
    v: float, desired: float, gap: float = np.inf, lead: float = 0.0, style: str = "normal"
) -> float:
    """IDM in one line, as in the paper, with the bounds on acceleration."""
    d = DRIVERS[style]
    a, b = d.max_accel_mps2, d.comfort_brake_mps2
    wanted = d.min_gap_m + max(v * d.headway_s + v * (v - lead) / (2 * np.sqrt(a * b)), 0.0)
    free = a * (1 - (v / desired) ** 4 - (wanted / gap) ** 2)
    return float(np.clip(free, -8.0, a))


def overlaps(stage: Stage) -> list[tuple[int, int]]:
    """Pairs of present actors whose boxes overlap (separating axes)."""
    a = stage.a[: int(stage.w["actor_count"])]
    there = np.flatnonzero(a["present"])
    corners = {i: _corners(a[i]) for i in there}
    found = []
    for i, j in itertools.combinations(there, 2):
        if np.hypot(a["ax"][i] - a["ax"][j], a["ay"][i] - a["ay"][j]) > 15.0:
            continue
        axes = [(a["cos_h"][k], a["sin_h"][k]) for k in (i, j)]
        axes += [(-sin, cos) for cos, sin in axes]
        shadows = [(corners[i] @ axis, corners[j] @ axis) for axis in axes]
        if all(p.max() > q.min() and q.max() > p.min() for p, q in shadows):
            found.append((int(i), int(j)))
    return found


def _corners(actor: Any) -> np.ndarray:
    half = 0.5 * np.array([actor["length"], actor["width"]])
    box = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * half
    turned = np.array([[actor["cos_h"], actor["sin_h"]], [-actor["sin_h"], actor["cos_h"]]])
    return box @ turned + [actor["ax"], actor["ay"]]


class Stage:
    """A road; the ego stands on the first path at ``ego_s``, far from everything by default."""

    def __init__(
        self,
        road: RoadSpec,
        actors: int,
        *,
        ego: tuple[str, float] | None = None,
        tick_s: float = TICK_S,
        seed: int = 1,
        logs: Any = None,
    ) -> None:
        self.map_id = ATLAS.add(road)
        self.road = ATLAS.map(self.map_id)
        self.state: WorldState = allocate(1, Sizes(actors, 1, 1, 8, 1, 33, 1))
        self.params = params_of(SimConfig(rig=None, tick_s=tick_s), tick_s, 1)
        self.accel, self.bodies = np.zeros(actors), bodies.scratch(actors)
        self.logs = np.zeros((1, 5)) if logs is None else np.asarray(logs, dtype=np.float64)
        self.shown = (GREEN, GREEN)
        self.w, self.a = self.state.worlds[0], self.state.actors[0]
        self.w["map_id"], self.w["seed"] = self.map_id, seed
        path, s = ego or (self.road.names[0], -5000.0)
        self.put_ego(path, s)

    def put_ego(self, path: str, s: float, speed: float = 0.0, d: float = 0.0) -> None:
        w, route = self.w, self.road.index[path]
        x, y, heading, _ = ATLAS.pose(self.map_id, route, s, d)
        w["route"], w["route_s"], w["route_d"], w["speed"] = route, s, d, speed
        w["x"], w["y"], w["heading"], w["route_heading"] = x, y, heading, heading

    def add(
        self,
        path: str,
        s: float,
        v: float = 0.0,
        *,
        kind: str = "car",
        style: str = "",
        **fields: Any,
    ) -> int:
        """The slot of another actor; ``fields`` are those of its record."""
        i = int(self.w["actor_count"])
        self.w["actor_count"] = i + 1
        a = self.a[i]
        a["present"], a["kind"], a["behaviour"] = True, ACTOR_KINDS.index(kind), IDM
        a["length"], a["width"], a["height"] = ACTOR_SIZES_M[kind]
        a["path"], a["s"], a["v"], a["desired"] = self.road.index[path], s, v, 13.0
        a["target_v"], a["target_accel"] = v, 3.0
        if style:
            spawn.driver_fields(a, DRIVERS[style])
        for name, value in fields.items():
            a[name] = value
        a["shift_from"] = a["shift_to"] = a["d"]
        return i

    def pose(self) -> None:
        motion.pose_all(self.state.worlds, self.state.actors, ATLAS.arrays, self.logs)

    def decide(self) -> np.ndarray:
        """Accelerations [A] of this tick."""
        self.pose()
        traffic.decide(
            self.w, self.a, self.accel, self.bodies, ATLAS.arrays, self.params, *self.shown
        )
        return self.accel

    def run(self, seconds: float) -> None:
        if not int(self.w["tick"]):
            self.pose()
        ticks = round(seconds / self.params.tick_s)
        _run(
            self.w, self.a, self.accel, self.bodies, ATLAS.arrays, self.logs, self.params, ticks,
            *self.shown,
        )  # fmt: skip

    def gap(self, leader: int, follower: int) -> float:
        """Bumper to bumper, of two on the same path."""
        a = self.a
        half = 0.5 * (a["length"][leader] + a["length"][follower])
        return float(a["s"][leader] - a["s"][follower] - half)
