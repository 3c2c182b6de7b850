"""Sensors: what the ego sees."""

from sim.sensors.camera import Camera

__all__ = ["Camera"]
