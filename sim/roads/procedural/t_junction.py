"""A side road that ends at a major road, without signals."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import F64, Line, eased_turn, line_from_curvature
from sim.roads.maps import YELLOW, Marking
from sim.roads.procedural.junction import ARM_M, RIGHT_TURN_LEG_M, STOP_WIDTH_M
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import (
    CROSSING_M,
    INBOUND,
    PAVEMENT_M,
    RUN_OUT_M,
    SIGN_BESIDE_M,
    add_pavement,
    arc,
    joined,
    mirrored,
    moved,
    place_sign,
    require_single_lanes,
    segment,
    side,
    turned,
)

STOP_BACK_M = 5.0  # the stop line lies this far before the turns, in front of the crossing
_MOVES = {"south": ("west", "east"), "west": ("east", "south"), "east": ("west", "south")}
_YIELDS = {
    "south_west": ("west_east", "east_west", "east_south"),
    "south_east": ("west_east",),
    "east_south": ("west_east", "west_south"),
}


def t_junction(spec: RoadSpec) -> Layout:
    """Six paths ``south_west`` ... through a junction around the origin, and three pavements.

    The major road runs from west to east; ``south`` stops and yields to it, and who turns left from
    the major road yields to oncoming traffic. Turns begin and end ``ARM_M`` from the ends of the
    paths. Raises ``RequestError`` for more than one lane per direction.
    """
    require_single_lanes(spec, "T-junction")
    box = RIGHT_TURN_LEG_M + 0.5 * spec.lane_width_m
    out = Layout()
    for arm, destinations in _MOVES.items():
        for destination in destinations:
            out.lanes.append(_movement(spec, box, arm, destination))
        _dress_arm(out, spec, box, INBOUND[arm])
    half = spec.lane_width_m + spec.shoulder_m
    reach = box + ARM_M + RUN_OUT_M
    out.surfaces += [
        np.array([[-reach, -half], [reach, -half], [reach, half], [-reach, half]]),
        np.array([[-half, -reach], [half, -reach], [half, 0.0], [-half, 0.0]]),
    ]
    stop_line = np.array([[-box - STOP_BACK_M - 0.25, y] for y in (-spec.lane_width_m, 0.0)])
    south = turned(stop_line, INBOUND["south"])
    out.markings.append(Marking(south, "stop", STOP_WIDTH_M))
    place_sign(
        out, out.lanes[0].line, ARM_M - STOP_BACK_M,
        -0.5 * spec.lane_width_m - spec.shoulder_m - SIGN_BESIDE_M, "stop",
    )  # fmt: skip
    fronts = _sides(out, spec, box)
    add_scenery(out, road_seed(spec), fronts, every_m=28.0, buildings=0.45, trees=0.3)
    return out


def _movement(spec: RoadSpec, box: float, arm: str, destination: str) -> Lane:
    heading, half_lane = INBOUND[arm], 0.5 * spec.lane_width_m
    angle = INBOUND[destination] + np.pi - heading
    angle = float(np.arctan2(np.sin(angle), np.cos(angle)))
    if abs(angle) < 0.1:
        knots, inner = [(0.0, 0.0)], 2.0 * box
    elif angle > 0.0:
        knots, inner = eased_turn(box + half_lane, angle)
    else:
        knots, inner = eased_turn(box - half_lane, angle)
    profile = [(0.0, 0.0), *((ARM_M + s, k) for s, k in knots), (2 * ARM_M + inner, 0.0)]
    x, y = turned(np.array([[-box - ARM_M, -half_lane]]), heading)[0]
    name = f"{arm}_{destination}"
    lane = Lane(
        name,
        line_from_curvature(profile, (float(x), float(y)), heading),
        width_m=spec.lane_width_m,
        yields_to=_YIELDS.get(name, ()),
        junction=0,
    )
    if arm == "south":
        lane.stop_s_m, lane.stop_kind = ARM_M - STOP_BACK_M, "stop"
    return lane


def _dress_arm(out: Layout, spec: RoadSpec, box: float, heading: float) -> None:
    """The line between the directions and the crossing of one arm."""
    far, stop = -box - ARM_M - RUN_OUT_M, -box - STOP_BACK_M
    kerb, walk = spec.lane_width_m + spec.shoulder_m, -box - 0.5 * STOP_BACK_M

    def between(start: tuple[float, float], end: tuple[float, float]) -> F64:
        return turned(np.array([start, end]), heading)

    out.markings += [
        Marking(between((far, 0.0), (stop - 30.0, 0.0)), "dashed", color=YELLOW),
        Marking(between((stop - 30.0, 0.0), (stop, 0.0)), "solid", color=YELLOW),
        Marking(between((walk, -kerb), (walk, kerb)), "crossing", CROSSING_M),
    ]


def _sides(out: Layout, spec: RoadSpec, box: float) -> list[Frontage]:
    """Edge lines, rounded corners and pavements along the three sides; where houses may stand."""
    half, end = spec.lane_width_m + spec.shoulder_m, box + ARM_M
    away = half + 0.5 * PAVEMENT_M
    walks = {"north": segment((-end, away), (end, away))}
    out.markings.append(Marking(side(walks["north"], -away + spec.lane_width_m), "edge"))
    for arm, name in (("west", "west_south"), ("south", "south_east")):
        # The kerb is at least as round as the pavement is wide.
        radius = max(box - half, PAVEMENT_M)
        walk = moved(corner(end, away, radius - 0.5 * PAVEMENT_M), INBOUND[arm])
        walks[name] = walk
        out.markings.append(Marking(side(walk, 0.5 * PAVEMENT_M + spec.shoulder_m), "edge"))
        bend = half + radius
        first = end - bend
        kerb = side(walk, 0.5 * PAVEMENT_M, first, walk.length_m - first)
        inner = turned(np.array([[0.0, -bend], [0.0, 0.0], [-bend, 0.0]]), INBOUND[arm])
        out.surfaces.append(np.concatenate([kerb, inner]))
    fronts = []
    for name, walk in walks.items():
        add_pavement(out, walk, f"sidewalk_{name}")
        outward = 0.5 * PAVEMENT_M if name == "north" else -0.5 * PAVEMENT_M
        fronts.append(Frontage(walk, outward, 0.0, walk.length_m))
    return fronts


def corner(end_m: float, away_m: float, radius_m: float) -> Line:
    """From an arm's far end round the corner on its right, ``away_m`` beside both arms' middles.

    In the frame of the arm: x towards the junction's middle, y left.
    """
    bend = away_m + radius_m
    turn = moved(mirrored(arc(radius_m, -0.5 * np.pi, 0.0)), 0.0, (-bend, -bend))
    return joined(
        [
            segment((-end_m, -away_m), (-bend, -away_m)),
            turn,
            segment((-away_m, -bend), (-away_m, -end_m)),
        ]
    )
