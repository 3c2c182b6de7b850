"""Random numbers inside kernels: the counter-based streams of ``alpamayo.streams``, one at a time.

``uniform(seed, stream, counter)`` equals ``streams.uniform(streams.keys(seed, stream, counter),
1)`` to the last bit, so a number may be drawn on either side.
"""

from __future__ import annotations

import math

import numpy as np

from alpamayo import streams
from alpamayo.types import FloatArray
from sim.kernels import kernel

Seed = int | np.uint64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_ONE, _LOW_BITS = np.uint64(1), np.uint64(11)
_UNIT = 2.0**-53


@kernel
def _mix(z: np.uint64) -> np.uint64:
    z = (z ^ (z >> _SHIFT_1)) * _MIX_1
    z = (z ^ (z >> _SHIFT_2)) * _MIX_2
    return z ^ (z >> _SHIFT_3)


@kernel
def _word(seed: Seed, stream: int, counter: int, index: int) -> np.uint64:
    """Word ``index`` (from 1) of the key of (seed, stream, counter)."""
    key = _mix(np.uint64(seed) + _GOLDEN * (np.uint64(stream) + _ONE))
    key = _mix(key + _GOLDEN * (np.uint64(counter) + _ONE))
    return _mix(key + _GOLDEN * np.uint64(index))


@kernel
def _unit(word: np.uint64) -> float:
    """A number in the open interval (0, 1) from the upper 53 bits."""
    return (float(word >> _LOW_BITS) + 0.5) * _UNIT


@kernel
def bits(seed: Seed, stream: int, counter: int) -> np.uint64:
    """64 random bits, those that ``uniform`` is made of."""
    return _word(seed, stream, counter, 1)


@kernel
def uniform(seed: Seed, stream: int, counter: int) -> float:
    """A number in the open interval (0, 1)."""
    return _unit(_word(seed, stream, counter, 1))


@kernel
def normal(seed: Seed, stream: int, counter: int) -> float:
    """A standard normal number (Box and Muller, "A note on the generation of random normal
    deviates", 1958)."""
    radius = math.sqrt(-2.0 * math.log(_unit(_word(seed, stream, counter, 1))))
    return radius * math.cos(2.0 * math.pi * _unit(_word(seed, stream, counter, 2)))


def normals(keys: streams.Keys, count: int) -> FloatArray:
    """[..., count] independent standard normal numbers for each key; the first one is ``normal``'s
    (up to the last digits)."""
    pairs = streams.uniform(keys, 2 * count)
    radius = np.sqrt(-2.0 * np.log(pairs[..., 0::2]))
    return radius * np.cos(2.0 * np.pi * pairs[..., 1::2])
