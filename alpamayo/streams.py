"""Counter-based random streams: the same (seed, stream, counter) gives the same numbers, whatever
the batch.

A key is mixed with splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number
generators", 2014), so that any element of any stream is computed directly: no state to carry,
nothing that depends on batch order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]

_GOLDEN_INT = 0x9E3779B97F4A7C15
_GOLDEN = np.uint64(_GOLDEN_INT)
_MIX_1_INT, _MIX_2_INT = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MIX_1, _MIX_2 = np.uint64(_MIX_1_INT), np.uint64(_MIX_2_INT)
_ALL = 2**64 - 1


def _splitmix(z: Keys) -> Keys:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def keys(seed: npt.ArrayLike, stream: int, counter: npt.ArrayLike = 0) -> Keys:
    """Keys for ``seed`` and ``counter`` (integers, broadcast together) in
    stream number ``stream``.
    """
    seed_u = np.asarray(seed).astype(np.int64).astype(np.uint64)
    counter_u = np.asarray(counter).astype(np.int64).astype(np.uint64)
    with np.errstate(over="ignore"):
        mixed = _splitmix(seed_u + _GOLDEN * np.uint64(stream + 1))
        return _splitmix(mixed + _GOLDEN * (counter_u + np.uint64(1)))


def uniform(key: Keys, count: int) -> npt.NDArray[np.float64]:
    """[..., count] numbers in the open interval (0, 1) for each key."""
    index = np.arange(1, count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        bits = _splitmix(np.asarray(key, dtype=np.uint64)[..., None] + _GOLDEN * index)
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def one_uniform(seed: int, stream: int, counter: int) -> float:
    """``uniform(keys(seed, stream, counter), 1)`` of whole numbers, without arrays: quicker for a
    few.
    """
    mixed = _splitmix_one(seed + _GOLDEN_INT * (stream + 1))
    key = _splitmix_one(mixed + _GOLDEN_INT * (counter + 1))
    return ((_splitmix_one(key + _GOLDEN_INT) >> 11) + 0.5) * 2.0**-53


def _splitmix_one(z: int) -> int:
    z &= _ALL
    z = (z ^ (z >> 30)) * _MIX_1_INT & _ALL
    z = (z ^ (z >> 27)) * _MIX_2_INT & _ALL
    return z ^ (z >> 31)


# Stream numbers, one per use, so that no two uses ever share randomness.
STREAM_PARAMETERS = 1
STREAM_TEXTURE = 2
STREAM_TRAFFIC = 3
STREAM_DECODE = 4
STREAM_EXPERT_NOISE = 5
STREAM_SUITE = 6
STREAM_LATENCY = 7
STREAM_FAULTS = 8
STREAM_BRANCHING = 9
