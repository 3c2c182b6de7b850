"""One world put together record by record: who follows which path how fast, without drivers."""

from __future__ import annotations

from typing import Any

import numpy as np

from alpamayo.types import ACTOR_KINDS, ACTOR_SIZES_M, RoadSpec, StepSignals
from sim.config import SimConfig
from sim.events import ACTIONS, TRIGGERS, fire
from sim.judge import TALLY, judge, note_motion, remember, start_tally, to_signals
from sim.params import params_of
from sim.roads.atlas import MapAtlas
from sim.roads.maps import STOP_KINDS
from sim.state import ATTACHED, SCRIPTED, STATIC, Sizes, WorldState, allocate

ATLAS = MapAtlas()  # roads are built once for all tests


class Scene:
    """The ego and actors keep ``speed``/``v`` along and ``drift``/``vd`` across their paths.

    ``tick`` moves everybody and lets the judge look, as ``sim.tick`` does with drivers.
    """

    def __init__(
        self, road: RoadSpec | None = None, path: str = "lane0", tick_s: float = 0.1, **world: Any
    ) -> None:
        self.map_id = ATLAS.add(road or RoadSpec())
        self.road = ATLAS.map(self.map_id)
        self.maps = ATLAS.arrays
        self.params = params_of(SimConfig(tick_s=0.1), tick_s, round(tick_s / 0.1))
        self.state: WorldState = allocate(1, Sizes(16, 8, 16, 8, 3, 33, 2))
        self.drift = world.pop("drift", 0.0)
        w = self.world
        w["map_id"], w["route"] = self.map_id, self.road.index[path]
        w["duration_s"], w["end_s"], w["lane_width"], w["speed_limit"] = 1e3, 1e3, 3.5, 14.0
        w["route_s"], w["speed"] = 60.0, 10.0
        for name, value in world.items():
            w[name] = value
        w["start_s"] = w["route_s"]
        self.before = np.zeros((17, 4))
        self.shown = (0, 0)
        self.pose()
        self.restart()

    @property
    def world(self) -> Any:
        return self.state.worlds[0]

    @property
    def actors(self) -> Any:
        return self.state.actors[0]

    @property
    def tally(self) -> Any:
        return self.tallies[0]

    def restart(self) -> None:
        """A new decision interval."""
        self.tallies = np.zeros(1, dtype=TALLY)
        start_tally(self.state.worlds, self.tallies)

    # Actors and events -----------------------------------------------------------------
    def add(self, kind: str = "car", path: str = "lane0", s: float = 0.0, **fields: Any) -> int:
        """Another actor, ``s`` from the start of ``path``; returns its slot."""
        slot = int(self.world["actor_count"])
        self.world["actor_count"] = slot + 1
        a = self.actors[slot]
        a["present"], a["kind"] = True, ACTOR_KINDS.index(kind)
        a["length"], a["width"], a["height"] = ACTOR_SIZES_M[kind]
        a["path"], a["s"] = self.road.index[path], s
        moves = fields.get("v") or fields.get("vd")
        a["behaviour"] = SCRIPTED if moves else STATIC
        for name, value in fields.items():
            a[name] = value
        self.pose()
        return slot

    def ahead(self, gap: float, kind: str = "car", **fields: Any) -> int:
        """An actor on the ego's lane, its bumper ``gap`` ahead of the ego's."""
        s = float(self.world["route_s"]) + 2.4 + gap + 0.5 * ACTOR_SIZES_M[kind][0]
        return self.add(kind, self.road.names[int(self.world["route"])], s, **fields)

    def door(self, parent: int, angle: float, opened_s: float = -np.inf) -> int:
        """A door of ``parent`` at its left front, open by ``angle``."""
        a = self.actors[parent]
        slot = self.add("door", behaviour=ATTACHED, parent=parent, angle=angle, opened_s=opened_s)
        door = self.actors[slot]
        door["hinge_x"], door["hinge_y"] = 0.8, 0.5 * a["width"] + 0.06
        self.pose()
        return slot

    def event(
        self,
        trigger: str,
        value: float,
        *actions: tuple[str, dict[str, float]],
        actor: int = 0,
        after: int = -1,
    ) -> int:
        number = int(self.world["event_count"])
        self.world["event_count"] = number + 1
        e = self.state.events[0, number]
        e["fired"], e["event_actor"], e["after_event"] = False, actor, after
        e["trigger"], e["trigger_value"] = TRIGGERS.index(trigger), value
        for kind, values in actions:
            m = self.state.actions[0, int((self.state.action_kind[0] >= 0).sum())]
            m["action_event"], m["action_kind"] = number, ACTIONS.index(kind)
            for name, number_ in values.items():
                m[name] = number_
        return number

    def fire(self, time_s: float = 0.0) -> list[bool]:
        """Fire what holds; which events have fired so far."""
        state = self.state
        fire(
            self.world, self.actors, state.events[0], state.actions[0], self.maps, self.params,
            time_s,
        )  # fmt: skip
        return state.fired[0, : int(self.world["event_count"])].tolist()

    # Motion ----------------------------------------------------------------------------
    def pose(self) -> None:
        w = self.world
        x, y, heading, _ = ATLAS.pose(self.map_id, w["route"], w["route_s"], w["route_d"])
        w["x"], w["y"], w["route_heading"] = x, y, heading
        moving = self.drift and w["speed"]
        w["heading"] = heading + (np.arctan2(self.drift, w["speed"]) if moving else 0.0)
        for slot in range(int(w["actor_count"])):
            self._pose_actor(self.actors[slot])

    def _pose_actor(self, a: Any) -> None:
        if a["behaviour"] == ATTACHED:
            parent = self.actors[int(a["parent"])]
            heading = parent["aheading"] - np.copysign(a["angle"], a["hinge_y"])
            forward = np.array([np.cos(parent["aheading"]), np.sin(parent["aheading"])])
            left = np.array([-forward[1], forward[0]])
            hinge = a["hinge_x"] * forward + a["hinge_y"] * left
            back = 0.5 * a["length"] * np.array([np.cos(heading), np.sin(heading)])
            x, y = np.array([parent["ax"], parent["ay"]]) + hinge - back
        else:
            if a["v"] or a["vd"]:
                a["turn"] = np.arctan2(a["vd"], a["v"])
            x, y, heading, _ = ATLAS.pose(self.map_id, a["path"], a["s"], a["d"])
            heading = heading + a["turn"]
        a["ax"], a["ay"], a["aheading"] = x, y, heading
        a["cos_h"], a["sin_h"] = np.cos(heading), np.sin(heading)

    def tick(self, ticks: int = 1, accel: float = 0.0, lateral: float = 0.0) -> int:
        """Move everybody and judge, until the world ends; returns its END_* code."""
        w, tick_s = self.world, self.params.tick_s
        for _ in range(ticks):
            if w["end"]:
                break
            remember(w, self.actors, self.before)
            w["route_s"] += w["speed"] * tick_s
            w["route_d"] += self.drift * tick_s
            for slot in range(int(w["actor_count"])):
                a = self.actors[slot]
                a["s"] += a["v"] * tick_s
                a["d"] += a["vd"] * tick_s
                step = abs(float(a["angle_rate"])) * tick_s
                a["angle"] += np.clip(a["angle_to"] - a["angle"], -step, step)
            self.pose()
            note_motion(self.tally, accel, 0.0, lateral, 0.0, 0.0, 0.0)
            w["tick"] += self.params.stride
            judge(
                w, self.actors, self.before, self.tally, self.maps, self.params, *self.shown, True
            )
        return int(w["end"])

    def signals(self) -> StepSignals:
        return to_signals(self.state, self.tallies)

    def stop_line(self, s: float, kind: str, group: int = -1) -> None:
        """Put a stop line on the ego's route; the shared road stays as it is."""
        lanes = self.maps.lanes.copy()
        lane = lanes[int(self.maps.maps[self.map_id]["lane_first"]) + int(self.world["route"])]
        lane["stop_s"], lane["stop_kind"] = s, STOP_KINDS.index(kind)
        lane["signal_group"] = group
        self.maps = self.maps._replace(lanes=lanes)
