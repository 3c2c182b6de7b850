"""Sensors: what the ego sees."""

from sim.sensors.history import FrameRing
from sim.sensors.rig import Rig
from sim.sensors.rig_view import RigView

__all__ = ["FrameRing", "Rig", "RigView"]
