"""From sampled scenarios to rows of ``WorldState``, at time 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from alpamayo.types import (
    ACTOR_KINDS,
    ACTOR_SIZES_M,
    COMMANDS,
    Action,
    ActorSpec,
    Condition,
    DriverSpec,
    RequestError,
    Scenario,
)
from sim.actors.bodies import Bodies, scratch
from sim.actors.logs import LogArena
from sim.actors.motion import pose_all
from sim.actors.spawn import driver_fields, populate
from sim.actors.starting import calm
from sim.config import SimConfig
from sim.ego import start_all
from sim.events import ACTIONS, TRIGGERS, fire
from sim.faults import check_faults
from sim.latency import adopt_all
from sim.params import params_of
from sim.roads.atlas import MapAtlas
from sim.roads.maps import RoadMap
from sim.signals import MODES
from sim.state import (
    ATTACHED,
    BEHAVIOURS,
    LOG,
    PATCHES,
    SCRIPTED,
    STATIC,
    WALK,
    Sizes,
    WorldState,
    allocate,
)

ROUTE_END_M = 5.0
ROUTE_M = 1500.0  # a route that nobody described goes on this far
OBJECT_KINDS = ("cone", "barrier", "debris", "car_picture", "person_picture")
AGILE_KINDS = ("pedestrian", "cyclist", "animal")  # may move sideways while standing lengthwise
OFF_MAP_M = 60.0  # farther than this beside every lane, an actor is not on the map


class Placement:
    """Places scenarios on the maps of ``atlas``; recorded actors go to ``logs``."""

    def __init__(self, config: SimConfig, atlas: MapAtlas, logs: LogArena) -> None:
        self._config, self._atlas, self._logs = config, atlas, logs
        self._params = params_of(config, config.tick_s, 1)
        self._bodies: Bodies | None = None

    def place(self, scenarios: Sequence[Scenario], sizes: Sizes) -> WorldState:
        """One row per scenario."""
        state = allocate(len(scenarios), sizes)
        for row, scenario in enumerate(scenarios):
            check_faults(
                scenario.faults, self._config.rig, f"scenario {scenario.id}", len(scenario.events)
            )
            map_id = self._atlas.add(scenario.road)
            road = self._atlas.map(map_id)
            self._world(state.worlds[row], scenario, map_id, road)
            self._events(state, row, scenario, road)
        self._ego(state)
        for row, scenario in enumerate(scenarios):
            self._actors(state, row, scenario)
        self._s_from_ego(state, scenarios)
        pose_all(state.worlds, state.actors, self._atlas.arrays, self._logs.rows)
        for row, scenario in enumerate(scenarios):
            self._check_on_map(state, row, scenario)
            self._traffic(state, row, scenario)
            if scenario.events:  # what holds from the start has happened before the ego looks
                w, e, m = state.worlds[row], state.events[row], state.actions[row]
                fire(w, state.actors[row], e, m, self._atlas.arrays, self._params, 0.0)
        return state

    def _path(self, scenario: Scenario, road: RoadMap, name: str, what: str) -> int:
        path = road.index.get(name)
        if path is None:
            known = ", ".join(road.names[:12]) + (", ..." if len(road.names) > 12 else "")
            raise RequestError(
                f"scenario {scenario.id}: {what}: path {name!r}: expected one of {known}"
            )
        return path

    def _route(self, scenario: Scenario, map_id: int, road: RoadMap) -> int:
        """The path that the ego is to drive."""
        ego = scenario.ego
        names = ego.route or (ego.path,)
        first = self._path(scenario, road, names[0], "ego")
        if not ego.route and not road.lanes["successor_count"][first]:
            return first
        for name in names[1:]:
            self._path(scenario, road, name, "ego.route")
        lanes = names
        if len(names) == 1:
            lanes = self._atlas.straight_on(map_id, names[0], ROUTE_M)
        return self._atlas.add_route(map_id, lanes)

    def _world(self, w: Any, scenario: Scenario, map_id: int, road: RoadMap) -> None:
        route = self._route(scenario, map_id, road)
        lane = self._atlas.lane_record(map_id, route)
        ego, weather = scenario.ego, scenario.weather
        w["map_id"], w["route"] = map_id, route
        w["seed"] = np.uint64(scenario.seed & 0xFFFFFFFFFFFFFFFF)
        w["start_s"], w["end_s"] = ego.s_m, lane["length_m"] - ROUTE_END_M
        if not 0.0 <= ego.s_m < w["end_s"]:
            raise RequestError(
                f"scenario {scenario.id}: ego: s_m: expected 0 to {w['end_s']:.0f} m on its "
                f"route, got {ego.s_m:g}"
            )
        w["duration_s"] = scenario.duration_s
        w["speed_limit"], w["lane_width"] = lane["speed_limit"], lane["width_m"]
        w["command"], w["reversing"] = COMMANDS.index(ego.command), ego.reversing
        w["event_count"] = len(scenario.events)
        w["light"], w["texture_seed"] = scenario.light, scenario.seed
        w["fog_m"], w["rain"], w["snow"] = weather.fog_m, weather.rain, weather.snow
        w["glare"], w["friction"] = weather.glare, weather.friction
        if len(weather.patches) > PATCHES:
            raise RequestError(
                f"scenario {scenario.id}: weather.patches: expected at most {PATCHES}, "
                f"got {len(weather.patches)}"
            )
        for i, patch in enumerate(weather.patches):
            w["patches"][i] = patch
        w["route_s"], w["route_d"], w["speed"] = ego.s_m, ego.d_m, ego.speed_mps
        w["stop_s"], w["signal_group"] = np.inf, -1
        if scenario.signals is not None:
            plan = scenario.signals
            w["has_signals"], w["signal_mode"] = True, MODES.index(plan.mode)
            w["green_s"], w["yellow_s"] = plan.green_s, plan.yellow_s
            w["all_red_s"], w["offset_s"] = plan.all_red_s, plan.offset_s
            w["stop_s"], w["signal_group"] = lane["stop_s"], lane["signal_group"]

    def _ego(self, state: WorldState) -> None:
        """Pose, history and the plan that drives until the first real one takes effect."""
        x, y, heading, curvature = self._atlas.pose(
            state.map_id, state.route, state.route_s, state.route_d
        )
        state.x, state.y, state.heading, state.route_heading = x, y, heading, heading
        state.curvature = curvature
        start_all(state.worlds, self._params)
        state.plan[..., 1] = state.curvature[:, None]
        adopt_all(state.worlds, state.plan, state.reference, self._params)
        state.history[:] = np.stack([x, y, heading], axis=-1)[:, None]

    # Events ------------------------------------------------------------------------------
    def _events(self, state: WorldState, row: int, scenario: Scenario, road: RoadMap) -> None:
        m, part = 0, len(scenario.events)
        for e, event in enumerate(scenario.events):
            what = f"scenario {scenario.id}: events[{e}]"
            record = state.events[row, e]
            record["fired"] = False
            record["event_actor"] = _slot(scenario, event.actor, what)
            record["trigger"] = TRIGGERS.index(event.trigger.kind)
            record["trigger_value"] = event.trigger.value
            record["after_event"] = event.trigger.event
            for action in event.actions:
                record = state.actions[row, m]
                record["action_event"] = e
                self._action(record, action, scenario, road)
                m += 1
            _parts(state.events[row], e, part, event.trigger.parts, scenario, what)
            part += len(event.trigger.parts)
        state.worlds[row]["part_count"] = part - len(scenario.events)

    def _action(self, record: Any, action: Action, scenario: Scenario, road: RoadMap) -> None:
        record["action_kind"] = ACTIONS.index(action.kind)
        record["speed_mps"], record["accel_mps2"] = action.speed_mps, action.accel_mps2
        record["d_m"], record["lateral_mps"] = action.d_m, action.lateral_mps
        record["in_s"], record["patch"] = action.in_s, action.patch
        record["value"] = action.value
        if action.kind == "signal":
            record["value"] = MODES.index(action.mode)
        elif action.kind == "follow":
            record["value"] = self._path(scenario, road, action.path, "action follow")

    # Actors ------------------------------------------------------------------------------
    def _actors(self, state: WorldState, row: int, scenario: Scenario) -> None:
        w, records = state.worlds[row], state.actors[row]
        road = self._atlas.map(int(w["map_id"]))
        slots = {actor.id: slot for slot, actor in enumerate(scenario.actors)}
        for slot, actor in enumerate(scenario.actors):
            what = f"scenario {scenario.id}: actor {actor.id}"
            path = self._path(scenario, road, actor.path, f"actor {actor.id}")
            self._actor(records[slot], actor, path, what)
            if actor.kind == "door":
                if actor.parent not in slots:
                    raise RequestError(
                        f"{what}: parent {actor.parent!r}: expected another actor of the scenario"
                    )
                records[slot]["parent"] = slots[actor.parent]
        w["actor_count"] = len(scenario.actors)

    def _traffic(self, state: WorldState, row: int, scenario: Scenario) -> None:
        if scenario.traffic is not None:
            w, count = state.worlds[row], len(scenario.actors)
            w["actor_count"] += populate(
                state.actors[row], count, scenario, int(w["map_id"]), self._atlas,
                float(w["x"]), float(w["y"]), int(w["seed"]),
            )  # fmt: skip
            slots = state.actors.shape[1]
            if self._bodies is None or len(self._bodies.rows) < slots + 2:
                self._bodies = scratch(slots)
            calm(state.worlds, state.actors, row, count, self._atlas.arrays, self._bodies)

    def _actor(self, a: Any, actor: ActorSpec, path: int, what: str) -> None:
        behaviour = _behaviour(actor)
        speed = 0.0 if behaviour == STATIC else actor.speed_mps
        a["present"], a["kind"] = True, ACTOR_KINDS.index(actor.kind)
        a["length"], a["width"], a["height"] = actor.size_m or ACTOR_SIZES_M[actor.kind]
        a["color"], a["path"], a["behaviour"] = actor.color, path, behaviour
        driver_fields(a, actor.driver or DriverSpec(actor.headway_s, changes_lanes=False))
        a["desired"] = actor.desired_speed_mps
        a["agile"] = actor.kind in AGILE_KINDS
        a["s"], a["d"], a["v"] = actor.s_m, actor.d_m, speed
        a["target_v"], a["target_accel"] = speed, 3.0
        a["shift_from"] = a["shift_to"] = actor.d_m
        # a wrong-way driver looks back along its path
        a["turn"] = actor.yaw_rad + (np.pi if speed < 0.0 else 0.0)
        a["hinge_x"], a["hinge_y"] = actor.hinge_m
        if behaviour == LOG:
            a["log_first"], a["log_count"] = self._logs.add(actor.log, what)
            a["reacts_within_m"] = actor.reacts_within_m
        if behaviour == WALK:
            a["goal_y"] = actor.goal_d_m  # becomes a point of the world when s is known

    def _s_from_ego(self, state: WorldState, scenarios: Sequence[Scenario]) -> None:
        """Resolve ``s_from_ego`` (distances along the ego's route become arc lengths of the actor's
        own path) and the goals of walkers."""
        index = [
            (row, slot)
            for row, scenario in enumerate(scenarios)
            for slot, actor in enumerate(scenario.actors)
            if actor.s_from_ego
        ]
        if index:
            b, a = np.array(index).T
            route_s = state.start_s[b] + state.s[b, a]
            map_id, route, path = state.map_id[b], state.route[b], state.path[b, a]
            x, y, _, _ = self._atlas.pose(map_id, route, route_s, np.zeros(len(b)))
            s, _ = self._atlas.locate(map_id, path, x, y)
            state.s[b, a] = np.where(path == route, route_s, s)
        b, a = np.nonzero((state.behaviour == WALK) & (state.goal_x == 0.0) & state.present)
        if len(b):
            state.goal_x[b, a], state.goal_y[b, a], _, _ = self._atlas.pose(
                state.map_id[b], state.path[b, a], state.s[b, a], state.goal_y[b, a]
            )

    def _check_on_map(self, state: WorldState, row: int, scenario: Scenario) -> None:
        w = state.worlds[row]
        for slot, actor in enumerate(scenario.actors):
            a = state.actors[row, slot]
            if a["behaviour"] in (LOG, ATTACHED):
                continue
            away, _ = self._atlas.nearest_lane(w["map_id"], a["ax"], a["ay"])
            if not away <= OFF_MAP_M:
                raise RequestError(
                    f"scenario {scenario.id}: actor {actor.id}: expected a place within "
                    f"{OFF_MAP_M:.0f} m of a lane, got x={a['ax']:.0f} m y={a['ay']:.0f} m, "
                    f"{away:.0f} m away"
                )


def _behaviour(actor: ActorSpec) -> int:
    if actor.kind == "door":
        return ATTACHED
    if actor.kind in OBJECT_KINDS:
        return STATIC
    if actor.kind in ("pedestrian", "animal", "ball") and actor.behaviour == "idm":
        return SCRIPTED  # car following means nothing for them
    return BEHAVIOURS.index(actor.behaviour)


def event_records(scenario: Scenario) -> int:
    """Records that the events of a scenario and the parts of their triggers need."""
    return len(scenario.events) + sum(len(e.trigger.parts) for e in scenario.events)


def _slot(scenario: Scenario, actor: str, what: str) -> int:
    """Slot of an actor by its id; -1 for ""."""
    slots = {a.id: slot for slot, a in enumerate(scenario.actors)}
    if actor and actor not in slots:
        raise RequestError(
            f"{what}: actor {actor!r}: expected one of "
            f"{', '.join(slots) or '(the scenario has no actors)'}"
        )
    return slots.get(actor, -1)


def _parts(
    records: Any, event: int, first: int, parts: Sequence[Condition], scenario: Scenario, what: str
) -> None:
    """Write the parts of the trigger of ``event`` from record ``first`` on."""
    for n, part in enumerate(parts):
        record = records[first + n]
        if not -1 <= part.whole < n:
            raise RequestError(
                f"{what}: trigger.parts[{n}]: whole: expected an earlier part or -1, "
                f"got {part.whole}"
            )
        whole = event if part.whole < 0 else first + part.whole
        record["fired"], record["root"], record["whole"] = False, event, whole
        records[whole]["parts"] += 1
        record["trigger"], record["trigger_value"] = TRIGGERS.index(part.kind), part.value
        record["after_event"] = part.event
        record["event_actor"] = records[event]["event_actor"]
        if part.actor:
            record["event_actor"] = _slot(scenario, part.actor, f"{what}: trigger.parts[{n}]")
