"""Roads, procedural and imported, and look-ups on them."""

from sim.roads.atlas import MapAtlas
from sim.roads.build import build_road_map
from sim.roads.maps import FAR_M, Marking, RoadMap

__all__ = ["FAR_M", "MapAtlas", "Marking", "RoadMap", "build_road_map"]
