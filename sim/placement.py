"""From sampled scenarios to rows of ``WorldState``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alpamayo.types import (
    ACTOR_KINDS,
    ACTOR_SIZES_M,
    COMMANDS,
    ActorSpec,
    FloatArray,
    RequestError,
    Scenario,
)
from sim.actors.motion import pose_actors
from sim.actors.paths import PathFacts
from sim.config import SimConfig
from sim.dynamics import curvature_bound, integrate_plan
from sim.events import ACTIONS, TRIGGERS
from sim.roads.atlas import MapAtlas
from sim.state import BEHAVIOURS, SCRIPTED, STATIC, Sizes, WorldState, allocate

ROUTE_END_M = 5.0
OBJECT_KINDS = ("cone", "barrier", "debris")
AGILE_KINDS = ("pedestrian", "cyclist")  # may move sideways while standing lengthwise


def place(
    scenarios: Sequence[Scenario],
    sizes: Sizes,
    config: SimConfig,
    atlas: MapAtlas,
    facts: PathFacts,
    ticks_per_step: int,
) -> WorldState:
    """One row per scenario, at time 0."""
    state = allocate(len(scenarios), sizes)
    for row, scenario in enumerate(scenarios):
        _place_world(state, row, scenario, atlas, facts)
        for slot, actor in enumerate(scenario.actors):
            _place_actor(state, row, slot, actor, scenario, atlas, facts)
        _place_events(state, row, scenario)
    _start_ego(state, config, atlas, ticks_per_step)
    _move_to_route_distance(state, scenarios, atlas)
    pose_actors(state, atlas)
    return state


def _path(scenario: Scenario, atlas: MapAtlas, map_id: int, name: str, what: str) -> int:
    names = atlas.map(map_id).names
    if name not in names:
        raise RequestError(
            f"scenario {scenario.id}: {what}: path {name!r}: expected one of {', '.join(names)}"
        )
    return names.index(name)


def _place_world(
    state: WorldState, row: int, scenario: Scenario, atlas: MapAtlas, facts: PathFacts
) -> None:
    map_id = atlas.add(scenario.road)
    facts.ensure(map_id)
    road = atlas.map(map_id)
    route = _path(scenario, atlas, map_id, scenario.ego.path, "ego")
    state.map_id[row], state.route[row] = map_id, route
    state.start_s[row] = scenario.ego.s_m
    state.end_s[row] = road.length_m[route] - ROUTE_END_M
    state.duration_s[row] = scenario.duration_s
    state.speed_limit[row] = scenario.road.speed_limit_mps
    state.lane_width[row] = scenario.road.lane_width_m
    state.command[row] = COMMANDS.index(scenario.ego.command)
    state.actor_count[row] = len(scenario.actors)
    state.event_count[row] = len(scenario.events)
    state.light[row], state.texture_seed[row] = scenario.light, scenario.seed
    state.route_s[row], state.route_d[row] = scenario.ego.s_m, scenario.ego.d_m
    state.speed[row] = scenario.ego.speed_mps
    if scenario.signals is not None:
        plan = scenario.signals
        state.has_signals[row] = True
        state.green_s[row], state.yellow_s[row] = plan.green_s, plan.yellow_s
        state.all_red_s[row], state.offset_s[row] = plan.all_red_s, plan.offset_s
        state.stop_s[row] = road.stop_s_m[route]
        state.signal_group[row] = road.signal_group[route]


def _place_actor(
    state: WorldState,
    row: int,
    slot: int,
    actor: ActorSpec,
    scenario: Scenario,
    atlas: MapAtlas,
    facts: PathFacts,
) -> None:
    map_id, at = int(state.map_id[row]), (row, slot)
    road = atlas.map(map_id)
    path = _path(scenario, atlas, map_id, actor.path, f"actor {actor.id}")
    behaviour = BEHAVIOURS.index(actor.behaviour)
    if actor.kind in OBJECT_KINDS:
        behaviour = STATIC
    elif actor.kind == "pedestrian" and actor.behaviour == "idm":
        behaviour = SCRIPTED  # car following means nothing for someone on foot
    speed = 0.0 if behaviour == STATIC else actor.speed_mps
    state.present[at] = True
    state.kind[at] = ACTOR_KINDS.index(actor.kind)
    state.length[at], state.width[at], state.height[at] = ACTOR_SIZES_M[actor.kind]
    state.color[at] = actor.color
    state.path[at], state.path_end[at] = path, road.length_m[path]
    if scenario.signals is not None:
        state.actor_stop_s[at] = road.stop_s_m[path]
        state.actor_group[at] = road.signal_group[path]
    state.gives_way[at] = facts.gives_way(map_id, path)
    state.merge_s[at] = facts.merge_s[map_id, path]
    state.cross_s[at] = facts.crossing_s[map_id, state.route[row], path]
    state.headway[at], state.desired[at] = actor.headway_s, actor.desired_speed_mps
    state.agile[at] = actor.kind in AGILE_KINDS
    state.behaviour[at] = behaviour
    state.s[at], state.d[at], state.v[at] = actor.s_m, actor.d_m, speed
    state.target_v[at], state.target_accel[at] = speed, 3.0
    state.shift_from[at] = state.shift_to[at] = actor.d_m
    # a wrong-way driver looks back along its path
    state.turn[at] = actor.yaw_rad + (np.pi if speed < 0.0 else 0.0)


def _place_events(state: WorldState, row: int, scenario: Scenario) -> None:
    slots = {actor.id: slot for slot, actor in enumerate(scenario.actors)}
    m = 0
    for e, event in enumerate(scenario.events):
        if event.actor not in slots:
            raise RequestError(
                f"scenario {scenario.id}: events[{e}]: actor {event.actor!r}: expected one of "
                f"{', '.join(slots) or '(the scenario has no actors)'}"
            )
        state.fired[row, e] = False
        state.event_actor[row, e] = slots[event.actor]
        state.trigger[row, e] = TRIGGERS.index(event.trigger.kind)
        state.trigger_value[row, e] = event.trigger.value
        for action in event.actions:
            state.action_event[row, m] = e
            state.action_kind[row, m] = ACTIONS.index(action.kind)
            state.action_values[row, m] = (
                action.speed_mps, action.accel_mps2, action.d_m, action.lateral_mps
            )  # fmt: skip
            m += 1


def _start_ego(state: WorldState, config: SimConfig, atlas: MapAtlas, ticks_per_step: int) -> None:
    """Pose, history and the plan that drives until the first real one takes effect."""
    x, y, heading, curvature = atlas.pose(state.map_id, state.route, state.route_s, state.route_d)
    state.x, state.y, state.heading = x, y, heading
    state.route_heading = heading.copy()
    bound = curvature_bound(state.speed, config)
    state.curvature = np.clip(curvature, -bound, bound)
    state.yaw_rate = state.speed * state.curvature
    state.plan[..., 1] = state.curvature[:, None]
    state.reference[:] = integrate_plan(
        x, y, heading, state.speed, state.plan, ticks_per_step, config.tick_s
    )
    state.history[:] = np.stack([x, y, heading], axis=-1)[:, None]


def _move_to_route_distance(
    state: WorldState, scenarios: Sequence[Scenario], atlas: MapAtlas
) -> None:
    """Resolve ``s_from_ego``: distances along the ego's route become arc lengths of the actor's own
    path."""
    index = [
        (row, slot)
        for row, scenario in enumerate(scenarios)
        for slot, actor in enumerate(scenario.actors)
        if actor.s_from_ego
    ]
    if not index:
        return
    b, a = np.array(index).T
    route_s: FloatArray = state.start_s[b] + state.s[b, a]
    x, y, _, _ = atlas.pose(state.map_id[b], state.route[b], route_s, np.zeros(len(b)))
    s, _ = atlas.locate(state.map_id[b], state.path[b, a], x, y)
    state.s[b, a] = np.where(state.path[b, a] == state.route[b], route_s, s)
