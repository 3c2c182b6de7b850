"""OpenDRIVE import: ``read_opendrive`` makes a ``Layout`` of an ``.xodr`` file.

An own reader on Python's expat. Of the packaged ones, pyxodr (MIT) has stood still since 2023 and
reads no signals, speeds, lane links across roads or road marks; opendrive2lanelet and
commonroad-scenario-designer are GPL; scenariogeneration (MPL) is made for writing; libOpenDRIVE has
no Python wheels.
"""

from sim.roads.opendrive.read import read_opendrive

__all__ = ["read_opendrive"]
