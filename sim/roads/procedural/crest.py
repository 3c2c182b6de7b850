"""A straight road over a hill that hides what lies behind it."""

from __future__ import annotations

import dataclasses

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Layout
from sim.roads.lines import F64, line_from_curvature
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import SIGN_BESIDE_M, carriageway, place_sign, require

HILL_SHARE = 0.6  # of the length, in its middle
STEEPEST = 0.15
# Vertical acceleration at the speed limit, a quarter of gravity: wheels keep most of their load.
MAX_LIFT_MPS2 = 2.5


def hill(x_m: F64, length_m: float, rise_m: float) -> F64:
    """Height of a cosine bell in the middle ``HILL_SHARE`` of ``length_m``; level at both ends."""
    base = HILL_SHARE * length_m
    u = np.clip((x_m - 0.5 * (length_m - base)) / base, 0.0, 1.0)
    return 0.5 * rise_m * (1.0 - np.cos(2.0 * np.pi * u))


def crest(spec: RoadSpec) -> Layout:
    """Lanes as on a straight road, with heights; the top is half way, ``rise_m`` above the ends.

    Raises ``RequestError`` for a rise that is too steep or too sharp at the speed limit.
    """
    base = HILL_SHARE * spec.length_m
    # A bell rise / 2 (1 - cos(2 pi x / base)) is steepest with pi rise / base and bends most with
    # 2 pi^2 rise / base^2.
    steep = STEEPEST * base / np.pi
    sharp = MAX_LIFT_MPS2 / spec.speed_limit_mps**2 * base**2 / (2.0 * np.pi**2)
    most = min(steep, sharp)
    expected = f"above 0 to {most:.3g} m for this length and speed limit"
    require(0.0 < spec.rise_m <= most, spec, "rise_m", expected)
    flat = line_from_curvature([(0.0, 0.0), (spec.length_m, 0.0)])
    middle = dataclasses.replace(flat, z_m=hill(flat.s_m, spec.length_m, spec.rise_m))
    out = carriageway(spec, middle)
    right = -0.5 * spec.lane_width_m - spec.shoulder_m
    left = right + (spec.lanes + spec.oncoming_lanes) * spec.lane_width_m + 2 * spec.shoulder_m
    foot = 0.5 * (spec.length_m - base)
    place_sign(out, middle, foot, right - SIGN_BESIDE_M, "warning")
    sides = [Frontage(middle, edge, 0.0, spec.length_m) for edge in (right - 2.0, left + 2.0)]
    add_scenery(out, road_seed(spec), sides, every_m=34.0, buildings=0.1, trees=0.5)
    return out
