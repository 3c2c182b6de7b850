"""Which lamps of the actors are lit."""

from __future__ import annotations

import numpy as np

from alpamayo.types import ACTOR_KINDS, BoolArray, IntArray
from sim.state import ATTACHED, STATIC, WALK, WorldState

WITH_LAMPS = ("car", "van", "truck", "motorcycle", "bus")
_HAS_LAMPS = np.array([kind in WITH_LAMPS for kind in ACTOR_KINDS])
BACKING_MPS = 0.05


def braking(state: WorldState) -> BoolArray:
    """[B, A] brake lamps: slowing down, or standing in traffic."""
    slowing = state.actor_accel * np.sign(state.v) < -0.6
    standing = (np.abs(state.v) < 0.1) & (state.behaviour != STATIC)
    return _lit(state) & (slowing | standing)


def reversing(state: WorldState) -> BoolArray:
    """[B, A] reverse lamps: moving against where the vehicle faces."""
    backing = (state.v < -BACKING_MPS) & (np.cos(state.turn) > 0.0)
    return _lit(state) & backing & (state.behaviour != STATIC)


def indicating(state: WorldState) -> IntArray:
    """[B, A] what the indicators show: 0 none, 1 left, -1 right, 2 both. A lane change or hazard
    lights count more than a turn ahead."""
    lane = state.indicator.astype(np.int64)
    shown: IntArray = np.where(lane != 0, lane, state.turn_lamp)
    return shown


def _lit(state: WorldState) -> BoolArray:
    lit: BoolArray = state.present & ~state.agile & _HAS_LAMPS[state.kind]
    return lit & (state.behaviour != WALK) & (state.behaviour != ATTACHED)
