"""The elements that the importer reads; every other one is counted as skipped."""

from __future__ import annotations

_LANE = """
    link link/predecessor link/successor width border roadMark roadMark/type roadMark/type/line
    speed
"""
_OBJECT = """
    repeat outline outline/cornerLocal outline/cornerRoad outlines outlines/outline
    outlines/outline/cornerLocal outlines/outline/cornerRoad
"""
_ROAD = """
    link link/predecessor link/successor type type/speed planView planView/geometry
    planView/geometry/line planView/geometry/arc planView/geometry/spiral planView/geometry/poly3
    planView/geometry/paramPoly3 elevationProfile elevationProfile/elevation lateralProfile
    lateralProfile/superelevation lanes lanes/laneOffset lanes/laneSection objects objects/object
    signals signals/signal signals/signal/validity signals/signalReference
    signals/signalReference/validity surface
"""
_JUNCTION = """
    connection connection/laneLink priority
"""


def _known() -> frozenset[str]:
    paths = ["header", "road", "junction"]
    paths += [f"road/{path}" for path in _ROAD.split()]
    paths += [f"junction/{path}" for path in _JUNCTION.split()]
    paths += [f"road/objects/object/{path}" for path in _OBJECT.split()]
    for side in ("left", "center", "right"):
        place = f"road/lanes/laneSection/{side}"
        paths += [place, f"{place}/lane", *(f"{place}/lane/{path}" for path in _LANE.split())]
    return frozenset(paths)


# Paths below the root. Whether a signal, an object or a lane type means something is decided where
# it is read.
KNOWN = _known()
