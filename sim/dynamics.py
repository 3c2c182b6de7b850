"""Ego motion: a unicycle at the middle of the ego box, integrated exactly along arcs.

Plans and the car use the same integration, so a plan that the actuators can follow is followed
without error.
"""

from __future__ import annotations

import numpy as np

from alpamayo.types import BoolArray, FloatArray
from sim.config import SimConfig


def advance(
    x: FloatArray,
    y: FloatArray,
    heading: FloatArray,
    distance_m: FloatArray,
    curvature: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Pose after ``distance_m`` along an arc of ``curvature``: exact for constant curvature. Any
    shape."""
    half_turn = 0.5 * distance_m * curvature
    # chord = distance * sin(half turn) / half turn, and numpy's sinc(x) is sin(pi x) / (pi x)
    chord = distance_m * np.sinc(half_turn / np.pi)
    middle = heading + half_turn
    return x + chord * np.cos(middle), y + chord * np.sin(middle), heading + 2.0 * half_turn


def actuate(
    accel: FloatArray,
    curvature: FloatArray,
    accel_command: FloatArray,
    curvature_command: FloatArray,
    speed: FloatArray,
    blend: float,
    config: SimConfig,
) -> tuple[FloatArray, FloatArray]:
    """Acceleration and curvature after one tick of first-order lag; ``blend`` = 1 - exp(-tick /
    lag)."""
    bound = curvature_bound(speed, config)
    accel_command = np.clip(accel_command, -config.max_brake_mps2, config.max_accel_mps2)
    curvature_command = np.clip(curvature_command, -bound, bound)
    new_accel = accel + (accel_command - accel) * blend
    new_curvature = np.clip(curvature + (curvature_command - curvature) * blend, -bound, bound)
    return new_accel, new_curvature


def curvature_bound(speed: FloatArray, config: SimConfig) -> FloatArray:
    """Largest curvature that steering and tyres allow at ``speed``."""
    grip = config.max_lateral_accel_mps2 / np.maximum(speed * speed, 1e-6)
    return np.minimum(config.max_curvature_per_m, grip)


def lag_blend(tick_s: float, lag_s: float) -> float:
    """Share of the way to the command that a first-order lag goes in one tick."""
    return 1.0 - float(np.exp(-tick_s / lag_s)) if lag_s > 0.0 else 1.0


def integrate_plan(
    x: FloatArray,
    y: FloatArray,
    heading: FloatArray,
    speed: FloatArray,
    plan: FloatArray,
    ticks_per_step: int,
    tick_s: float,
) -> FloatArray:
    """Reference poses [B, n + 1, 4] (x, y, heading, speed) of ``plan`` [B, K, 2], from the pose and
    on.

    n = K * ticks_per_step. Speeds do not go below zero: with S the unclamped speeds, the clamped
    recursion max(0, v + dv) equals S - min(0, running minimum of S).
    """
    accel = np.repeat(plan[..., 0], ticks_per_step, axis=1)
    curvature = np.repeat(plan[..., 1], ticks_per_step, axis=1)
    free = np.concatenate([speed[:, None], accel * tick_s], axis=1)
    np.cumsum(free, axis=1, out=free)
    lowest = np.minimum.accumulate(free, axis=1)
    speeds = free - np.minimum(lowest, 0.0)
    distance = 0.5 * (speeds[:, :-1] + speeds[:, 1:]) * tick_s
    half_turn = 0.5 * distance * curvature
    reference = np.empty((*speeds.shape, 4))
    reference[:, 0, 0], reference[:, 0, 1], reference[:, 0, 2] = x, y, heading
    reference[:, 1:, 2] = 2.0 * half_turn
    np.cumsum(reference[..., 2], axis=1, out=reference[..., 2])
    chord = distance * np.sinc(half_turn / np.pi)
    middle = reference[:, :-1, 2] + half_turn
    reference[:, 1:, 0] = chord * np.cos(middle)
    reference[:, 1:, 1] = chord * np.sin(middle)
    np.cumsum(reference[..., 0], axis=1, out=reference[..., 0])
    np.cumsum(reference[..., 1], axis=1, out=reference[..., 1])
    reference[..., 3] = speeds
    return reference


def speed_step(
    speed: FloatArray, accel: FloatArray, running: BoolArray, tick_s: float
) -> tuple[FloatArray, FloatArray]:
    """New speed (not below zero) and distance of one tick; frozen worlds keep their speed and do
    not move."""
    new_speed = np.where(running, np.maximum(speed + accel * tick_s, 0.0), speed)
    return new_speed, np.where(running, 0.5 * (speed + new_speed) * tick_s, 0.0)
