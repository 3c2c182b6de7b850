"""Lane sections sampled: the reference line and the edges of every lane above it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sim.roads.lines import F64, Line
from sim.roads.opendrive.curves import Reference
from sim.roads.opendrive.model import LaneRecord, Road, Section

# Chords of 0.25 m are within 2 mm of an arc of 5 m; headings are exact at the samples.
STEP_M = 0.25
# How far below zero a width may dip by rounding of its cubics.
WIDTH_SLACK_M = 0.05
MAX_WIDTH_M = 200.0
MAX_HEIGHT_M = 10_000.0
# Where the road turns about a point nearer than this share beyond a line, the line folds over.
FOLD = 0.05


@dataclass(frozen=True)
class Track:
    """A line beside the reference line: distance to its left [n], and its first two derivatives
    along it."""

    t: F64
    slope: F64
    bend: F64

    def __add__(self, other: Track) -> Track:
        return Track(self.t + other.t, self.slope + other.slope, self.bend + other.bend)

    def scaled(self, factor: float) -> Track:
        return Track(factor * self.t, factor * self.slope, factor * self.bend)


@dataclass(frozen=True)
class Strip:
    """A lane section at ``s_m`` [n] along the road. ``edges``: outer edge of each lane by id, 0 for
    the middle; ``z_m`` [n] height, None where the road is flat."""

    road: Road
    section: Section
    s_m: F64
    reference: Reference
    z_m: F64 | None
    edges: dict[int, Track]

    def inner(self, lane_id: int) -> Track:
        """The edge of a lane towards the middle."""
        return self.edges[lane_id - (1 if lane_id > 0 else -1)]

    def width_m(self, lane_id: int) -> F64:
        return np.abs(self.edges[lane_id].t - self.inner(lane_id).t)

    def points(self, track: Track, first: int = 0, last: int | None = None) -> F64:
        """Points [m, 2], or [m, 3] with heights, of ``track``; where it folds over, none."""
        stretch = 1.0 - self.reference.curvature * track.t
        kept = np.flatnonzero(stretch > FOLD)
        kept = kept[(kept >= first) & (kept <= (len(self.s_m) - 1 if last is None else last))]
        heading = self.reference.heading[kept]
        normal = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        xy = self.reference.xy[kept] + track.t[kept, None] * normal
        return xy if self.z_m is None else np.column_stack([xy, self.z_m[kept]])

    def line(self, track: Track, first: int, last: int) -> tuple[Line, F64] | None:
        """``track`` from sample ``first`` to ``last`` as a line along the road, with the road's arc
        length at its samples; None where it folds over or is a point."""
        part = slice(first, last + 1)
        curvature, bend = self.reference.curvature[part], self.reference.bend[part]
        t, slope = track.t[part], track.slope[part]
        stretch = 1.0 - curvature * t
        if (stretch < FOLD).any():
            return None
        # Velocity (stretch, slope) in the frame of the reference line, which turns by curvature.
        turn = np.arctan2(slope, stretch)
        squeeze = -bend * t - curvature * slope
        pace = stretch**2 + slope**2
        rate = curvature + (stretch * track.bend[part] - slope * squeeze) / pace
        heading = self.reference.heading[part] + turn
        xy = self.points(track, first, last)[:, :2]
        chord = np.hypot(*np.diff(xy, axis=0).T)
        arc = chord / np.sinc(np.clip(np.diff(heading), -3.0, 3.0) / (2.0 * np.pi))
        kept = np.concatenate([[True], arc > 1e-6])
        if kept.sum() < 2:
            return None
        s_m = np.concatenate([[0.0], np.cumsum(arc[kept[1:]])])
        z_m = None if self.z_m is None else self.z_m[part][kept]
        line = Line(s_m, xy[kept], heading[kept], (rate / np.sqrt(pace))[kept], z_m)
        return line, self.s_m[part][kept]


def strips_of(road: Road) -> list[Strip]:
    """One strip per lane section. Raises ``RequestError`` where a lane's width is negative."""
    return [_strip(road, section) for section in road.sections]


def _strip(road: Road, section: Section) -> Strip:
    s_m = _grid(road, section)
    z_m = None
    if len(road.elevation.start_m):
        z_m = road.elevation.at(s_m, section.end_m)[0]
        if not np.abs(z_m).max() < MAX_HEIGHT_M:
            raise road.node.error(f"heights below {MAX_HEIGHT_M:g} m", f"{np.abs(z_m).max():g} m")
    edges = {0: Track(*road.offset.at(s_m, section.end_m))}
    for sign, most in ((1, max(section.lanes)), (-1, -min(section.lanes))):
        for k in range(1, most + 1):
            lane = section.lanes[sign * k]
            edges[lane.id] = _edge(lane, sign, edges[lane.id - sign], s_m, section.end_m)
    reference = road.plan.at(s_m)
    if not all(np.isfinite(part).all() for part in vars(reference).values()):
        raise road.node.error("a reference line of finite numbers", "others")
    return Strip(road, section, s_m, reference, z_m, edges)


def _edge(lane: LaneRecord, sign: int, inner: Track, s_m: F64, end_m: float) -> Track:
    """The outer edge of a lane whose inner edge is ``inner``."""
    if lane.width is not None:
        width = Track(*lane.width.at(s_m, end_m))
        outer = inner + width.scaled(sign)
    else:
        assert lane.border is not None  # a lane has a width or a border
        outer = Track(*lane.border.at(s_m, end_m))
    widths = sign * (outer.t - inner.t)
    narrow = int(np.argmin(widths))
    if widths[narrow] < -WIDTH_SLACK_M:
        raise lane.node.error(
            "a width of at least 0", f"{widths[narrow]:.3f} m at s={s_m[narrow]:.2f} of the road"
        )
    below = widths < 0.0
    if widths.max() > MAX_WIDTH_M or np.abs(outer.t).max() > 10.0 * MAX_WIDTH_M:
        raise lane.node.error(f"a width of at most {MAX_WIDTH_M:g}", f"{widths.max():g} m")
    if below.any():
        outer = Track(
            *(np.where(below, a, b) for a, b in zip(_parts(inner), _parts(outer), strict=True))
        )
    return outer


def _parts(track: Track) -> tuple[F64, F64, F64]:
    return track.t, track.slope, track.bend


def _grid(road: Road, section: Section) -> F64:
    """Ascending samples of a section, on all places where a curve or a cubic begins."""
    knots = [np.array([section.start_m, section.end_m])]
    knots += [np.array([piece.start_m for piece in road.plan.pieces])]
    profiles = [road.elevation, road.offset]
    for lane in section.lanes.values():
        profiles += [profile for profile in (lane.width, lane.border) if profile is not None]
    knots += [profile.start_m for profile in profiles]
    all_knots = np.unique(np.concatenate(knots))
    inside = all_knots[(all_knots > section.start_m + 1e-3) & (all_knots < section.end_m - 1e-3)]
    inside = inside[np.diff(inside, prepend=-1.0) > 1e-3]
    places = np.concatenate([[section.start_m], inside, [section.end_m]])
    cuts = [
        np.linspace(a, b, max(1, int(np.ceil((b - a) / STEP_M))), endpoint=False)
        for a, b in pairwise(places)
    ]
    return np.concatenate([*cuts, [section.end_m]])
