"""Random numbers drawn in kernels are those of ``alpamayo.streams``."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo import streams
from sim import draws

SEEDS = st.integers(0, 2**64 - 1).map(np.uint64)
STREAMS = st.integers(0, 40)
COUNTERS = st.integers(-(2**63), 2**63 - 1).map(np.int64)


@settings(deadline=None)  # the first call compiles
@given(SEEDS, STREAMS, COUNTERS)
def test_a_kernel_draws_what_the_streams_draw(
    seed: np.uint64, stream: int, counter: np.int64
) -> None:
    key = streams.keys(seed, stream, counter)
    pair = streams.uniform(key, 2)
    assert draws.uniform(seed, stream, counter) == pair[0]
    assert (int(draws.bits(seed, stream, counter)) >> 11) + 0.5 == pair[0] * 2.0**53
    expected = np.sqrt(-2.0 * np.log(pair[0])) * np.cos(2.0 * np.pi * pair[1])
    np.testing.assert_allclose(draws.normal(seed, stream, counter), expected, atol=1e-12)
    np.testing.assert_allclose(draws.normals(key, 3)[0], expected, atol=1e-12)


def test_seeds_may_come_as_signed_or_unsigned_integers() -> None:
    assert draws.uniform(np.int64(5), 3, 7) == draws.uniform(np.uint64(5), 3, 7)
    assert draws.bits(5, 3, 7) == draws.bits(np.uint64(5), np.int64(3), np.uint64(7))


def test_normal_numbers_are_standard_normal_and_independent() -> None:
    numbers = draws.normals(streams.keys(3, 1, np.arange(20_000)), 4)
    assert abs(numbers.mean()) < 0.01 and abs(numbers.std() - 1.0) < 0.01
    assert abs((numbers**4).mean() - 3.0) < 0.1
    correlation = np.corrcoef(numbers.T)
    assert np.abs(correlation - np.eye(4)).max() < 0.03
