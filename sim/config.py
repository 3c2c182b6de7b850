"""Simulator settings; the only place where their defaults live."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RigConfig:
    """One forward camera. ``frames`` images per observation, ``frame_gap_s`` apart, the last one
    now."""

    width_px: int = 168
    height_px: int = 56
    hfov_deg: float = 54.0
    mount_height_m: float = 1.5
    mount_x_m: float = 0.8
    pitch_down_deg: float = 1.5
    frames: int = 2
    frame_gap_s: float = 0.4


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the named terms (``sim.rewards``). An at-fault crash must cost clearly more than
    all the progress that driving on could still earn, else a crash pays."""

    progress_per_m: float = 0.1
    at_fault_collision: float = 40.0
    other_collision: float = 5.0
    off_road: float = 40.0
    red_light: float = 20.0
    ttc: float = 0.5
    comfort: float = 0.05
    lane_offset: float = 0.05
    over_speed: float = 0.1
    wrong_way: float = 1.0


@dataclass(frozen=True)
class SimConfig:
    """Time base and physics. ``latency_s`` is the planner's fixed latency: observation to plan in
    effect."""

    tick_s: float = 0.1
    decision_s: float = 0.4
    latency_s: float = 0.1
    plan_steps: int = 8
    plan_step_s: float = 0.4
    max_actors: int = 12
    max_accel_mps2: float = 4.0
    max_brake_mps2: float = 8.0
    max_curvature_per_m: float = 0.2
    max_lateral_accel_mps2: float = 7.0
    actuator_lag_s: float = 0.1
    rig: RigConfig | None = field(default_factory=RigConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
