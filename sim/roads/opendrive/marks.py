"""Road marks: paint along the edges of lanes."""

from __future__ import annotations

from collections import Counter

from sim.roads.maps import WHITE, YELLOW
from sim.roads.opendrive.model import RoadMark
from sim.roads.opendrive.source import Node

KERB = (150, 150, 146)
COLORS = {
    "standard": WHITE,
    "white": WHITE,
    "yellow": YELLOW,
    "orange": (230, 140, 40),
    "red": (190, 50, 40),
    "blue": (50, 90, 190),
    "green": (50, 140, 70),
    "black": (40, 40, 42),
    "violet": (130, 70, 150),
}
# Dashed or not, from the inner stripe to the outer one (lane 0: from left to right).
STRIPES: dict[str, tuple[bool, ...]] = {
    "solid": (False,),
    "broken": (True,),
    "solid solid": (False, False),
    "solid broken": (False, True),
    "broken solid": (True, False),
    "broken broken": (True, True),
    "botts dots": (True,),
    "edge": (False,),
    "curb": (False,),
    "none": (),
}
LANE_CHANGES = ("both", "increase", "decrease", "none")
WIDTHS_M = {"standard": 0.12, "bold": 0.25}


def read_marks(lane: Node, section_m: float, skipped: Counter[str]) -> list[RoadMark]:
    """The road marks of a lane, in order; counts those of kinds and colours that are not drawn as
    what they are."""
    marks = []
    for node in lane.all("roadMark"):
        kind = node.text("type", "none")
        color = node.text("color", "standard")
        if kind not in STRIPES:
            skipped[f"roadMark (type {kind[:40]})"] += 1
        if color not in COLORS:
            skipped[f"roadMark (color {color[:40]})"] += 1
        width_m = _width(node)
        stripes = STRIPES.get(kind, ())
        middle = 0.5 * (len(stripes) - 1)
        # Double lines keep a stripe's width between them.
        placed = tuple((2.0 * width_m * (middle - i), dash) for i, dash in enumerate(stripes))
        paint = KERB if kind == "curb" else COLORS.get(color, WHITE)
        start_m = section_m + node.number("sOffset", 0.0, low=0.0)
        change = node.text("laneChange", "both")
        if change not in LANE_CHANGES:
            skipped[f"roadMark (laneChange {change[:40]})"] += 1
            change = "both"
        marks.append(RoadMark(start_m, placed, width_m, paint, kind == "curb", change))
    return sorted(marks, key=lambda mark: mark.start_m)


def _width(node: Node) -> float:
    """Width of one stripe; tools write 0 for "as usual" too."""
    widths = [node.number("width", 0.0, low=-1.0, high=10.0)]
    widths += [line.number("width", 0.0, low=-1.0, high=10.0) for line in node.all("type", "line")]
    said = [width for width in widths if width > 0.0]
    return said[0] if said else WIDTHS_M.get(node.text("weight", "standard"), 0.12)
