"""The numbers of ``SimConfig`` that kernels need, as a tuple of scalars."""

from __future__ import annotations

import math
from typing import NamedTuple

from alpamayo.types import RequestError
from sim.config import SimConfig
from sim.state import DELAY_TICKS

GRAVITY_MPS2 = 9.81
KINEMATIC, DYNAMIC = range(2)
EGO_MODELS = ("kinematic", "dynamic")
PLAN, CONTROLS = range(2)
ACTION_KINDS = ("plan", "controls")


class Params(NamedTuple):
    """``tick_s`` is the length of one tick, ``stride`` base ticks of ``base_tick_s``.

    ``blend``: share of the way to a command that the actuators go in a tick; ``delay_ticks``: base
    ticks until a command reaches them. ``front_m`` and ``rear_m``: from the middle of the ego to
    its axles.
    """

    tick_s: float
    base_tick_s: float
    stride: int
    ticks_per_step: int
    blend: float
    delay_ticks: int
    action_kind: int
    max_accel: float
    max_brake: float
    max_curvature: float
    max_lateral_accel: float
    ego_model: int
    mass_kg: float
    yaw_inertia_kgm2: float
    front_m: float
    rear_m: float
    wheelbase_m: float
    front_stiffness_n: float
    rear_stiffness_n: float
    substeps: int


def params_of(config: SimConfig, tick_s: float, stride: int = 1) -> Params:
    """Parameters for ticks of ``tick_s`` = ``stride`` * ``config.tick_s``.

    Raises ``RequestError`` for times that do not fit the tick and for an unknown ego model or
    action.
    """
    vehicle = config.vehicle
    delay_ticks = whole_ticks("actuator_delay_s", config.actuator_delay_s, config.tick_s)
    if delay_ticks > DELAY_TICKS:
        raise RequestError(
            f"sim config: actuator_delay_s: expected at most {DELAY_TICKS} ticks of "
            f"{config.tick_s} s, got {config.actuator_delay_s}"
        )
    return Params(
        tick_s=tick_s,
        base_tick_s=config.tick_s,
        stride=stride,
        ticks_per_step=whole_ticks("plan_step_s", config.plan_step_s, tick_s),
        blend=lag_blend(tick_s, config.actuator_lag_s),
        delay_ticks=delay_ticks,
        action_kind=_choice("action", config.action, ACTION_KINDS),
        max_accel=config.max_accel_mps2,
        max_brake=config.max_brake_mps2,
        max_curvature=config.max_curvature_per_m,
        max_lateral_accel=config.max_lateral_accel_mps2,
        ego_model=_choice("ego_model", config.ego_model, EGO_MODELS),
        mass_kg=vehicle.mass_kg,
        yaw_inertia_kgm2=vehicle.yaw_inertia_kgm2,
        front_m=vehicle.front_m,
        rear_m=vehicle.rear_m,
        wheelbase_m=vehicle.front_m + vehicle.rear_m,
        front_stiffness_n=vehicle.front_stiffness_n,
        rear_stiffness_n=vehicle.rear_stiffness_n,
        substeps=max(1, math.ceil(tick_s / vehicle.substep_s - 1e-9)),
    )


def whole_ticks(name: str, value_s: float, tick_s: float) -> int:
    """``value_s`` in ticks; times that are no multiple of the tick are refused."""
    ticks = round(value_s / tick_s) if math.isfinite(value_s) else -1
    if ticks < 0 or abs(ticks * tick_s - value_s) > 1e-6:
        raise RequestError(
            f"sim config: {name}: expected a multiple of tick_s={tick_s}, got {value_s}"
        )
    return ticks


def lag_blend(tick_s: float, lag_s: float) -> float:
    """Share of the way to the command that a first-order lag goes in one tick."""
    return 1.0 - math.exp(-tick_s / lag_s) if lag_s > 0.0 else 1.0


def _choice(name: str, value: str, known: tuple[str, ...]) -> int:
    if value not in known:
        raise RequestError(f"sim config: {name}: expected one of {', '.join(known)}, got {value!r}")
    return known.index(value)
