"""Simulator settings; the only place where their defaults live."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Literal


@dataclass(frozen=True)
class CameraConfig:
    """One camera, mounted ``mount_x_m`` ahead and ``mount_y_m`` left of the middle of the ego.

    ``yaw_deg`` turns it left. ``lens``: ``pinhole``, or ``f_theta`` (image radius proportional to
    the angle off the axis, as wide-angle lenses are built), both with ``hfov_deg`` across.
    """

    name: str = "front"
    hfov_deg: float = 54.0
    mount_x_m: float = 0.8
    mount_y_m: float = 0.0
    mount_height_m: float = 1.5
    yaw_deg: float = 0.0
    pitch_down_deg: float = 1.5
    lens: Literal["pinhole", "f_theta"] = "pinhole"


@dataclass(frozen=True)
class RigConfig:
    """The cameras, all of one image size. ``frames`` images per camera and observation,
    ``frame_gap_s`` apart, the last one now. ``supersample``: drawn this much larger and averaged
    (1: edges are anti-aliased as they are drawn, faster for large images)."""

    width_px: int = 168
    height_px: int = 56
    frames: int = 2
    frame_gap_s: float = 0.4
    supersample: int = 2
    cameras: tuple[CameraConfig, ...] = (CameraConfig(),)


def alpamayo_rig(width_px: int = 448, height_px: int = 252, frames: int = 4) -> RigConfig:
    """Four cameras as Alpamayo's: cross-left, front-wide and cross-right 120 degrees, front-tele 30
    degrees."""
    return RigConfig(
        width_px,
        height_px,
        frames,
        frame_gap_s=0.1,
        supersample=1,
        cameras=(
            CameraConfig("cross_left", 120.0, 1.2, 0.9, 1.4, 60.0, 2.0, "f_theta"),
            CameraConfig("front_wide", 120.0, 1.0, 0.0, 1.5, 0.0, 2.0, "f_theta"),
            CameraConfig("cross_right", 120.0, 1.2, -0.9, 1.4, -60.0, 2.0, "f_theta"),
            CameraConfig("front_tele", 30.0, 1.0, 0.0, 1.5, 0.0, 1.0, "pinhole"),
        ),
    )


@dataclass(frozen=True)
class RewardConfig:
    """Weights of the named terms (``sim.rewards``). An at-fault crash must cost clearly more than
    all the progress that driving on could still earn, else a crash pays.

    Ego's speed when it crashes at fault weighs the crash: all of ``at_fault_collision`` from
    ``crash_full_mps`` on, ``crash_least`` of it at rest, linear between. Where no member of a group
    avoids the crash, the one that braked still did better.
    """

    progress_per_m: float = 0.1
    at_fault_collision: float = 40.0
    crash_least: float = 1.0
    crash_full_mps: float = 15.0
    other_collision: float = 5.0
    off_road: float = 40.0
    red_light: float = 20.0
    stop_line: float = 10.0
    ttc: float = 0.5
    comfort: float = 0.05
    lane_offset: float = 0.05
    over_speed: float = 0.1
    wrong_way: float = 1.0


@dataclass(frozen=True)
class VehicleConfig:
    """The car of the ``dynamic`` ego model: a mid-size saloon that understeers by about 1 degree
    per g. ``front_m`` and ``rear_m``: from the centre of mass (the middle of the box) to the axles;
    stiffnesses: lateral force per slip angle of a whole axle. ``substep_s``: longest step of the
    integration."""

    mass_kg: float = 1700.0
    yaw_inertia_kgm2: float = 2900.0
    front_m: float = 1.35
    rear_m: float = 1.5
    front_stiffness_n: float = 120e3
    rear_stiffness_n: float = 140e3
    substep_s: float = 0.005


@dataclass(frozen=True)
class SimConfig:
    """Time base and physics.

    ``latency_s`` is the planner's latency: observation to plan in effect. ``latency_jitter_s``:
    half the width of a uniform spread around it. ``latency_samples_s``: a recorded distribution,
    drawn from instead. ``ego_model``: ``kinematic`` follows curvature without slip; ``dynamic`` is
    a bicycle with tyre forces. ``action``: ``plan`` is tracked by the controller; ``controls``
    drives the first (acceleration, curvature) of the action directly. ``actuator_delay_s`` is a
    pure delay before the lag.
    """

    tick_s: float = 0.1
    decision_s: float = 0.4
    latency_s: float = 0.1
    latency_jitter_s: float = 0.0
    latency_samples_s: tuple[float, ...] = ()
    plan_steps: int = 8
    plan_step_s: float = 0.4
    max_actors: int = 128
    ego_model: Literal["kinematic", "dynamic"] = "kinematic"
    max_accel_mps2: float = 4.0
    max_brake_mps2: float = 8.0
    max_curvature_per_m: float = 0.2
    max_lateral_accel_mps2: float = 7.0
    actuator_lag_s: float = 0.1
    actuator_delay_s: float = 0.0
    action: Literal["plan", "controls"] = "plan"
    vehicle: VehicleConfig = field(default_factory=VehicleConfig)
    rig: RigConfig | None = field(default_factory=RigConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)

    @property
    def expected_latency_s(self) -> float:
        """The latency to reckon with before it is known: the fixed one, the middle of the jitter or
        the median of the recorded distribution."""
        return median(self.latency_samples_s) if self.latency_samples_s else self.latency_s
