"""What several procedural roads are drawn with: parallels, joined lines, blends, arms, arrows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alpamayo.types import RequestError, RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import F64, FINE_STEP_M, Line
from sim.roads.maps import WHITE, YELLOW, Marking, MarkingKind

RUN_OUT_M = 40.0  # surface and paint go on this far before the start and past the end of the lanes
LEAD_IN_M = 30.0
PAVEMENT_M = 2.0
SIGN_BESIDE_M = 0.9  # from the edge of the surface
SAG_M = 0.01  # a drawn polygon is nowhere farther than this from the curve it stands for
SLAB_M = 5.0  # polygons on a hill are cut into slabs this long, so that near ones hide far ones
ARMS = ("south", "north", "west", "east")
INBOUND = {"south": 0.5 * np.pi, "north": -0.5 * np.pi, "west": 0.0, "east": np.pi}
# Destinations of each of four arms: straight on, left, right.
MOVES = {
    "south": ("north", "west", "east"),
    "north": ("south", "east", "west"),
    "west": ("east", "north", "south"),
    "east": ("west", "south", "north"),
}
CROSSING_M = 3.0


def require(good: bool, spec: RoadSpec, key: str, expected: str) -> None:
    """Raise ``RequestError`` for ``spec.key`` unless ``good``."""
    if not good:
        raise RequestError(f"road: {key}: expected {expected}, got {getattr(spec, key):g}")


def require_single_lanes(spec: RoadSpec, what: str) -> None:
    """Refuse more than one lane per direction and arm."""
    if spec.lanes != 1 or spec.oncoming_lanes not in (0, 1):
        raise RequestError(
            f"road: lanes: expected 1 lane and 1 oncoming lane per arm of a {what}, "
            f"got {spec.lanes} and {spec.oncoming_lanes}"
        )


# --------------------------------------------------------------------------------------
# Lines
# --------------------------------------------------------------------------------------
def arc(radius_m: float, start_rad: float, end_rad: float) -> Line:
    """The circle around the origin from polar angle ``start_rad`` on to the larger ``end_rad``."""
    angles = np.linspace(
        start_rad, end_rad, max(2, round(radius_m * (end_rad - start_rad) / FINE_STEP_M) + 1)
    )
    xy = radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    curvature = np.full(len(angles), 1.0 / radius_m)
    return Line(radius_m * (angles - start_rad), xy, angles + 0.5 * np.pi, curvature)


def segment(start: Sequence[float], end: Sequence[float]) -> Line:
    """The straight line between two points."""
    first, last = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    length = float(np.hypot(*(last - first)))
    share = np.linspace(0.0, 1.0, max(2, round(length / FINE_STEP_M) + 1))
    heading = np.full(len(share), np.arctan2(last[1] - first[1], last[0] - first[0]))
    return Line(
        length * share, first + share[:, None] * (last - first), heading, np.zeros(len(share))
    )


def moved(line: Line, turn_rad: float, shift: Sequence[float] = (0.0, 0.0)) -> Line:
    """``line`` turned about the origin, then shifted."""
    xy = turned(line.xy, turn_rad) + np.asarray(shift, dtype=np.float64)
    return Line(line.s_m, xy, line.heading + turn_rad, line.curvature)


def mirrored(line: Line) -> Line:
    """``line`` with left and right (y and -y) exchanged."""
    return Line(line.s_m, line.xy * np.array([1.0, -1.0]), -line.heading, -line.curvature)


def joined(pieces: Sequence[Line]) -> Line:
    """One line out of pieces that each begin where and how the one before ends."""
    s, xy = [pieces[0].s_m], [pieces[0].xy]
    heading, curvature = [pieces[0].heading], [pieces[0].curvature]
    for piece in pieces[1:]:
        turns = np.round((heading[-1][-1] - piece.heading[0]) / (2 * np.pi))
        s.append(s[-1][-1] + piece.s_m[1:])
        xy.append(piece.xy[1:])
        heading.append(piece.heading[1:] + 2 * np.pi * turns)
        curvature.append(piece.curvature[1:])
    return Line(*(np.concatenate(part) for part in (s, xy, heading, curvature)))


def blend(x: F64, start: float, length: float) -> tuple[F64, F64, F64]:
    """Smooth 0-to-1 step (zero first and second derivative at both ends) with its derivatives."""
    u = np.clip((x - start) / length, 0.0, 1.0)
    value = u**3 * (10 - 15 * u + 6 * u**2)
    slope = 30 * u**2 * (1 - u) ** 2 / length
    bend = 60 * u * (1 - u) * (1 - 2 * u) / length**2
    return value, slope, bend


def turned(points: F64, heading: float) -> F64:
    """Rotate points [n, 2] of the frame (forward, left) of an arm into the world."""
    cos, sin = np.cos(heading), np.sin(heading)
    return points @ np.array([[cos, sin], [-sin, cos]])


# --------------------------------------------------------------------------------------
# Polygons and paint along lines
# --------------------------------------------------------------------------------------
def stations(line: Line, start_m: float, end_m: float) -> F64:
    """Arc lengths that describe ``line`` to within ``SAG_M``; on a hill every ``SLAB_M`` too."""
    # A chord of length c sags by c^2 curvature / 8.
    density = np.sqrt(np.abs(line.curvature) / (8.0 * SAG_M))
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(line.s_m)
    level = np.concatenate([[0.0], np.cumsum(steps)])
    inner = np.interp(np.arange(1.0, np.ceil(level[-1])), level, line.s_m)
    bends = density > 0.0
    change = np.flatnonzero(bends[1:] != bends[:-1])
    inner = np.append(inner, line.s_m[np.where(bends[change], change + 1, change)])
    if line.z_m is not None:
        inner = np.append(inner, np.arange(0.0, line.length_m, SLAB_M))
    if line.z_m is not None or len(change):
        inner = np.append(inner, [0.0, line.length_m])
    inner = inner[(inner > start_m + 0.01) & (inner < end_m - 0.01)]
    return np.unique(np.concatenate([[start_m], inner, [end_m]]))


def side(line: Line, d_m: float, start_m: float = -RUN_OUT_M, end_m: float | None = None) -> F64:
    """Points [n, 2 or 3] of the parallel to ``line`` at ``d_m``; ``end_m`` None: to the run-out."""
    s = stations(line, start_m, line.length_m + RUN_OUT_M if end_m is None else end_m)
    xy = line.at(s, d_m)[0]
    if line.z_m is None:
        return xy
    return np.column_stack([xy, line.elevation_at(s)])


def strip(
    line: Line,
    right_m: float,
    left_m: float,
    start_m: float = -RUN_OUT_M,
    end_m: float | None = None,
) -> F64:
    """Polygon [n, 2 or 3] between two parallels of ``line``."""
    right, left = side(line, right_m, start_m, end_m), side(line, left_m, start_m, end_m)
    return np.concatenate([right, left[::-1]])


def slabs(right: F64, left: F64) -> list[F64]:
    """Polygons [4, n] one after the other between two sides that run point by point abreast."""
    return [np.stack([right[i], right[i + 1], left[i + 1], left[i]]) for i in range(len(right) - 1)]


def broken_line(start: F64, end: F64, dash_m: float, gap_m: float, width_m: float) -> list[Marking]:
    """Short dashes from ``start`` to ``end`` [2], as of a yield line."""
    length = float(np.hypot(*(end - start)))
    count = max(1, int((length + gap_m) / (dash_m + gap_m)))
    along = (end - start) / length
    margin = 0.5 * (length - count * dash_m - (count - 1) * gap_m)
    firsts = margin + np.arange(count) * (dash_m + gap_m)
    return [
        Marking(np.stack([start + s * along, start + (s + dash_m) * along]), "solid", width_m)
        for s in firsts
    ]


def arrow(x_m: float, y_m: float, sideways_m: float) -> list[Marking]:
    """A lane arrow that points along +x and bends ``sideways_m`` to the left; middle at x, y."""
    shaft = np.array([[-3.0, 0.0], [0.0, 0.0], [2.2, sideways_m]])
    tip = shaft[-1] + 0.9 * (shaft[-1] - shaft[-2]) / np.hypot(*(shaft[-1] - shaft[-2]))
    back = shaft[-1] - tip
    barbs = [tip + 1.3 * turned(back[None], angle)[0] for angle in (0.6, -0.6)]
    at = np.array([x_m, y_m])
    return [
        Marking(shaft + at, "solid", 0.2),
        *(Marking(np.stack([tip, barb]) + at, "solid", 0.25) for barb in barbs),
    ]


def place_sign(out: Layout, line: Line, s_m: float, d_m: float, kind: str) -> None:
    """A sign beside ``line`` that faces the traffic coming along it."""
    (xy,), (heading,), _ = line.at([s_m], d_m)
    facing = np.arctan2(-np.sin(heading), -np.cos(heading))
    out.signs.append((float(xy[0]), float(xy[1]), float(facing), kind))


# --------------------------------------------------------------------------------------
# Roads
# --------------------------------------------------------------------------------------
def add_lanes(out: Layout, spec: RoadSpec, middle: Line, lane0: Line | None = None) -> None:
    """``lane0``, ``lane1`` ... at and left of ``middle``, then ``oncoming0`` ... of the other way.

    ``lane0`` replaces the line of the rightmost lane.
    """
    lanes, oncoming, width = spec.lanes, spec.oncoming_lanes, spec.lane_width_m
    for i in range(lanes):
        line = lane0 if i == 0 and lane0 is not None else middle.offset(i * width)
        right = f"lane{i - 1}" if i > 0 else ""
        left = f"lane{i + 1}" if i < lanes - 1 else ""
        out.lanes.append(Lane(f"lane{i}", line, width_m=width, left=left, right=right))
    for i in range(oncoming):
        line = middle.offset((lanes + i) * width).reverse()
        left = f"oncoming{i - 1}" if i > 0 else ""
        right = f"oncoming{i + 1}" if i < oncoming - 1 else ""
        out.lanes.append(Lane(f"oncoming{i}", line, width_m=width, left=left, right=right))


def add_dividers(out: Layout, spec: RoadSpec, middle: Line, first: int = 1) -> None:
    """The left edge line and the lines between lanes, from the left of lane ``first - 1`` on."""
    lanes, every, width = spec.lanes, spec.lanes + spec.oncoming_lanes, spec.lane_width_m
    out.markings.append(Marking(side(middle, (every - 0.5) * width), "edge"))
    for i in range(first, every):
        points = side(middle, (i - 0.5) * width)
        if i == lanes:
            kind: MarkingKind = "solid" if every > 2 else "dashed"
            out.markings.append(Marking(points, kind, color=YELLOW))
        else:
            out.markings.append(Marking(points, "dashed", color=WHITE))


def carriageway(spec: RoadSpec, middle: Line) -> Layout:
    """Lanes, surface and paint of a road whose lane 0 runs along ``middle``."""
    out = Layout()
    add_lanes(out, spec, middle)
    width = spec.lane_width_m
    right = -0.5 * width
    left = (spec.lanes + spec.oncoming_lanes - 0.5) * width
    outer_right = side(middle, right - spec.shoulder_m)
    outer_left = side(middle, left + spec.shoulder_m)
    if middle.z_m is None:
        out.surfaces.append(np.concatenate([outer_right, outer_left[::-1]]))
    else:
        out.surfaces += slabs(outer_right, outer_left)
    out.markings.append(Marking(side(middle, right), "edge"))
    add_dividers(out, spec, middle)
    return out


def add_pavement(out: Layout, line: Line, name: str) -> None:
    """A pavement ``PAVEMENT_M`` wide along ``line``, and the lane on it for pedestrians."""
    out.pavements.append(strip(line, -0.5 * PAVEMENT_M, 0.5 * PAVEMENT_M))
    out.lanes.append(Lane(name, line, kind="sidewalk", width_m=PAVEMENT_M))
