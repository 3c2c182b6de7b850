"""Sensors: what the ego sees."""
