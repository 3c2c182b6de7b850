"""One world at one moment, as drawings and replays need it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpamayo.types import ACTOR_KINDS, FloatArray, IntArray, Scenario
from sim.actors.lamps import braking
from sim.signals import signal_state
from sim.state import WorldState


@dataclass(frozen=True)
class SceneFrame:
    """``ego_pose`` [3] (x, y, heading of the body); ``plan_waypoints`` [n, 2] waypoints of the plan
    that drives, one per tick from where it took effect; ``boxes`` [n, 7] of the actors present (x,
    y, heading, length, width, height, base_z); ``colors`` uint8 [n, 3]; ``braking`` bool [n];
    ``signal_state`` int8 [2] for groups A and B: 0 green, 1 yellow, 2 red, 3 dark, 4
    flashing yellow."""

    time_s: float
    ego_pose: FloatArray
    ego_speed_mps: float
    ego_accel_mps2: float
    plan_waypoints: FloatArray
    boxes: FloatArray
    kinds: tuple[str, ...]
    ids: tuple[str, ...]
    colors: IntArray
    braking: np.ndarray
    signal_state: IntArray


def scene_of(state: WorldState, row: int, scenario: Scenario, tick_s: float) -> SceneFrame:
    """The scene of world ``row``."""
    slots = np.flatnonzero(state.present[row])
    time_s = state.tick * tick_s
    return SceneFrame(
        time_s=float(time_s[row]),
        ego_pose=np.array([state.x[row], state.y[row], body_heading(state)[row]]),
        ego_speed_mps=float(state.speed[row]),
        ego_accel_mps2=float(state.moved_accel[row]),
        plan_waypoints=state.reference[row, 1:, :2].copy(),
        boxes=boxes_of(state)[row, slots],
        kinds=tuple(ACTOR_KINDS[k] for k in state.kind[row, slots]),
        ids=tuple(scenario.actor_id(int(slot)) for slot in slots),
        colors=state.color[row, slots].copy(),
        braking=braking(state)[row, slots],
        signal_state=signal_state(state, time_s)[row],
    )


def body_heading(state: WorldState) -> FloatArray:
    """[B] where the noses of the egos point: against their motion in reverse gear."""
    heading: FloatArray = state.heading + np.pi * state.reversing
    return heading


def boxes_of(state: WorldState) -> FloatArray:
    """[B, A, 7] boxes of all slots, present or not."""
    boxes = np.zeros((*state.ax.shape, 7))
    boxes[..., 0], boxes[..., 1], boxes[..., 2] = state.ax, state.ay, state.aheading
    boxes[..., 3], boxes[..., 4], boxes[..., 5] = state.length, state.width, state.height
    boxes[..., 6] = state.base_z
    return boxes
