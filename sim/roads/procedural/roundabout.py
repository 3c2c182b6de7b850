"""Four arms around a circle on which everybody turns left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from alpamayo.types import RoadSpec
from sim.roads.layout import Lane, Layout
from sim.roads.lines import F64, Line, line_from_curvature
from sim.roads.maps import YELLOW, Marking, Scenery
from sim.roads.procedural.junction import ARM_M
from sim.roads.procedural.scenery import Frontage, add_scenery, road_seed
from sim.roads.procedural.shapes import (
    ARMS,
    CROSSING_M,
    INBOUND,
    MOVES,
    PAVEMENT_M,
    RUN_OUT_M,
    SIGN_BESIDE_M,
    add_pavement,
    arc,
    broken_line,
    joined,
    mirrored,
    moved,
    place_sign,
    require,
    require_single_lanes,
    segment,
    side,
    turned,
)

RADIUS_M = 16.0  # of the middle of the circulating lane, if the spec has none
ENTRY_RADIUS_M = 12.0
EASE_M, RING_EASE_M = 4.0, 5.0  # transitions: arm to entry bend, entry bend to circle
YIELD_BACK_M = 1.5  # the yield line lies this far outside the circulating lane
HATCH_EVERY_M = 1.2
HATCH_FROM_M = 0.25  # no hatching where the island is narrower than twice this


@dataclass(frozen=True)
class _Ring:
    """Sizes of the roundabout and its pieces, in the frame of an arm: it lies at -x, the middle of
    the circle is the origin."""

    width: float
    shoulder: float
    radius: float

    @property
    def half(self) -> float:
        return 0.5 * self.width

    @cached_property
    def entry(self) -> Line:
        """From the arm's straight lane round to the right and onto the circle."""
        low, high = 0.0, 0.5 * np.pi * ENTRY_RADIUS_M
        for _ in range(60):
            hold = 0.5 * (low + high)
            line = self._bend(hold)
            # On the circle, where one heads for h, y is -radius cos h; above that, go on turning.
            above = line.xy[-1, 1] - self.half + self.radius * np.cos(line.heading[-1])
            low, high = (hold, high) if above > 0.0 else (low, hold)
        x = self.radius * np.sin(line.heading[-1]) - line.xy[-1, 0]
        return moved(line, 0.0, (x, -self.half))

    def _bend(self, hold: float) -> Line:
        bend = -1.0 / ENTRY_RADIUS_M
        steps = [(EASE_M, bend), (hold, bend), (RING_EASE_M, 1.0 / self.radius)]
        knots = [(0.0, 0.0)]
        for length, curvature in steps:
            knots.append((knots[-1][0] + length, curvature))
        return line_from_curvature(knots)

    @property
    def inbound(self) -> Line:
        x, y = self.entry.xy[0]
        return joined([segment((x - ARM_M, y), (x, y)), self.entry])

    @property
    def outbound(self) -> Line:
        return mirrored(self.inbound).reverse()

    @property
    def enters_at(self) -> float:
        """Polar angle, in (-pi, 0), where the circle begins; it is left at minus this."""
        return float(self.entry.heading[-1]) - 0.5 * np.pi

    def around(self, arm: str, destination: str) -> float:
        """Angle driven on the circle."""
        apart = INBOUND[destination] - INBOUND[arm]
        return float(np.mod(apart - 2.0 * self.enters_at, 2.0 * np.pi))

    def movement(self, arm: str, destination: str) -> Line:
        start = self.enters_at
        circle = arc(self.radius, start, start + self.around(arm, destination))
        leaving = moved(self.outbound, INBOUND[destination] - INBOUND[arm])
        return moved(joined([self.inbound, circle, leaving]), INBOUND[arm])

    @property
    def yield_s_m(self) -> float:
        """Arc length of the yield line on every movement."""
        inbound = self.inbound
        away = np.hypot(*inbound.xy.T)
        return float(inbound.s_m[np.argmax(away <= self.radius + self.half + YIELD_BACK_M)])


def roundabout(spec: RoadSpec) -> Layout:
    """Twelve paths ``south_north`` ... around the origin, then four pavements.

    ``radius_m`` is that of the middle of the one circulating lane (0: ``RADIUS_M``). Who enters
    yields to everybody who comes along the circle. Raises ``RequestError`` for more than one lane
    per direction or a radius out of bounds.
    """
    require_single_lanes(spec, "roundabout")
    radius = spec.radius_m or RADIUS_M
    least = 10.5 + spec.lane_width_m  # from here on there is a circle left to drive on to the right
    require(least <= radius <= 60.0, spec, "radius_m", f"{least:g} to 60 m, or 0 for {RADIUS_M:g}")
    ring = _Ring(spec.lane_width_m, spec.shoulder_m, radius)
    out = Layout()
    for arm in ARMS:
        for destination in MOVES[arm]:
            lane = Lane(
                f"{arm}_{destination}",
                ring.movement(arm, destination),
                width_m=spec.lane_width_m,
                stop_s_m=ring.yield_s_m,
                stop_kind="yield",
                yields_to=_priority(ring, arm),
                junction=0,
            )
            out.lanes.append(lane)
    _circle(out, ring)
    fronts = []
    for arm in ARMS:
        _dress_arm(out, ring, INBOUND[arm])
        beside = -ring.half - ring.shoulder
        right_turn = ring.movement(arm, MOVES[arm][2])
        out.markings.append(Marking(side(right_turn, -ring.half), "edge"))
        place_sign(out, right_turn, ring.yield_s_m, beside - SIGN_BESIDE_M, "yield")
        walk = right_turn.offset(beside - 0.5 * PAVEMENT_M)
        add_pavement(out, walk, f"sidewalk_{arm}_{MOVES[arm][2]}")
        fronts.append(Frontage(walk, -0.5 * PAVEMENT_M, 0.0, walk.length_m))
    add_scenery(out, road_seed(spec), fronts, every_m=32.0, buildings=0.4, trees=0.35)
    return out


def _priority(ring: _Ring, arm: str) -> tuple[str, ...]:
    """Paths from other arms that pass where ``arm`` joins the circle."""
    result = []
    for other in ARMS:
        if other == arm:
            continue
        ahead = float(np.mod(INBOUND[arm] - INBOUND[other], 2.0 * np.pi))
        result += [f"{other}_{end}" for end in MOVES[other] if ring.around(other, end) > ahead]
    return tuple(result)


def _circle(out: Layout, ring: _Ring) -> None:
    """The circulating lane around an island with a tree on it."""
    inner = ring.radius - ring.half - ring.shoulder
    outer = ring.radius + ring.half + ring.shoulder
    # Two halves that overlap a little: a polygon with a hole cannot be drawn.
    for start in (0.0, np.pi):
        ends = (start - 0.02, start + np.pi + 0.02)
        rim, hole = (_points(arc(r, *ends)) for r in (outer, inner))
        out.surfaces.append(np.concatenate([rim, hole[::-1]]))
    edge = arc(ring.radius - ring.half, 0.0, 2.0 * np.pi)
    out.markings.append(Marking(_points(edge), "edge"))
    crown = min(5.0, inner - 2.0)
    if crown > 1.0:
        size = (crown, crown, 1.4 * crown)
        out.scenery.append(Scenery("tree", 0.0, 0.0, 0.0, *size, color=(62, 104, 46)))


def _points(line: Line) -> F64:
    return side(line, 0.0, 0.0, line.length_m)


def _dress_arm(out: Layout, ring: _Ring, heading: float) -> None:
    """Surface of an arm; its centre line, splitter island, crossing and yield line."""
    inbound, outbound, enters = ring.inbound, ring.outbound, ring.enters_at
    kerb = ring.half + ring.shoulder
    back = _points(arc(ring.radius, -enters, enters + 2.0 * np.pi))[::-1]
    surface = np.concatenate(
        [side(inbound, -kerb, end_m=inbound.length_m), back, side(outbound, -kerb, start_m=0.0)]
    )
    out.surfaces.append(turned(surface, heading))
    opens, walk = ring.entry.xy[0, 0], ring.entry.xy[0, 0] - 0.5 * CROSSING_M - 0.5
    far, before = inbound.xy[0, 0] - RUN_OUT_M, walk - 0.5 * CROSSING_M - 1.0

    def along(start: float, end: float) -> F64:
        return turned(np.array([[start, 0.0], [end, 0.0]]), heading)

    across = np.array([[walk, -ring.width - ring.shoulder], [walk, ring.width + ring.shoulder]])
    out.markings += [
        Marking(along(far, before - 30.0), "dashed", color=YELLOW),
        Marking(along(before - 30.0, before), "solid", color=YELLOW),
        Marking(turned(across, heading), "crossing", CROSSING_M),
    ]
    for points in _island(ring, opens):
        out.markings.append(Marking(turned(points, heading), "solid", color=YELLOW))
    (left,), (right,) = (inbound.at([ring.yield_s_m], d)[0] for d in (ring.half, -ring.half))
    ends = turned(np.stack([right, left]), heading)
    out.markings += broken_line(ends[0], ends[1], 0.5, 0.4, 0.5)


def _island(ring: _Ring, opens_x: float) -> list[F64]:
    """Outline and hatching of the splitter island, which opens at ``opens_x``."""
    inbound = ring.inbound
    edge = side(inbound, ring.half, ARM_M, inbound.length_m)
    edge = edge[np.hypot(edge[:, 0], edge[:, 1]) > ring.radius + ring.half + 0.3]
    mirror = edge * np.array([1.0, -1.0])
    closing = np.arctan2(edge[-1, 1], edge[-1, 0])
    reach = float(np.hypot(*edge[-1]))
    base = _points(arc(reach, -closing, closing + 2.0 * np.pi))
    result = [edge, mirror, base]
    order = np.argsort(edge[:, 0])
    for x in np.arange(opens_x, edge[-1, 0] - 0.3, HATCH_EVERY_M):
        y = float(np.interp(x, edge[order, 0], edge[order, 1]))
        if abs(y) > HATCH_FROM_M:
            result.append(np.array([[x, -abs(y)], [x, abs(y)]]))
    return result
