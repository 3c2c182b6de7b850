"""Requests are joined by weights version, and each gets its own rows back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from alpamayo.rollout.batching import Answer, Batcher, join_observations, take_plans
from alpamayo.rollout.transport import WeightsHandle
from alpamayo.types import DecodeTrace, ObservationBatch, PlanBatch


def observation(rows: int, first: int = 0) -> ObservationBatch:
    """Speeds ``first``, ``first + 1`` ... tell the rows apart."""
    speed = np.arange(first, first + rows, dtype=np.float32)
    frames = np.zeros((rows, 1, 2, 2, 3), np.uint8)
    history = np.zeros((rows, 16, 3), np.float32)
    return ObservationBatch(frames, history, speed, np.zeros(rows, np.int8), speed + 1)


def weights(version: int) -> WeightsHandle:
    return WeightsHandle(version, {}, {})


class Decoder:
    """The plan of a row: (its speed + 1000 x version, its key)."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[int, int]] = []  # (version, rows)
        self.seconds = seconds

    def __call__(self, weights: WeightsHandle, seen: ObservationBatch, keys: np.ndarray) -> Answer:
        time.sleep(self.seconds)
        self.calls.append((weights.version, len(seen)))
        accel = seen.speed_mps[:, None] + 1000.0 * weights.version
        return Answer(PlanBatch(accel, keys[:, None].astype(np.float32)), seen.speed_mps * 2)


def ask(batcher: Batcher, *requests: tuple[int, ObservationBatch]) -> list[Any]:
    async def all_at_once() -> list[Any]:
        calls = [
            batcher.plan(weights(v), seen, seen.speed_mps.astype(np.uint64) + np.uint64(7))
            for v, seen in requests
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(all_at_once())


def check(answer: Answer, version: int, seen: ObservationBatch) -> None:
    np.testing.assert_array_equal(
        answer.plan.accel_mps2[:, 0], seen.speed_mps + 1000 * version, strict=False
    )
    np.testing.assert_array_equal(answer.plan.curvature_per_m[:, 0], seen.speed_mps + 7)
    np.testing.assert_array_equal(answer.features, seen.speed_mps * 2)


def test_requests_of_one_version_and_any_size_share_a_batch() -> None:
    decoder = Decoder()
    batcher = Batcher(decoder, max_rows=64, window_s=0.01)
    sizes = [1, 5, 3, 16]
    seen = [observation(n, first=100 * i) for i, n in enumerate(sizes)]
    answers = ask(batcher, *((4, s) for s in seen))
    assert decoder.calls == [(4, 25)]
    assert (batcher.batches, batcher.requests, batcher.rows) == (1, 4, 25)
    for answer, each in zip(answers, seen, strict=True):
        check(answer, 4, each)


def test_versions_are_never_mixed_and_the_oldest_request_goes_first() -> None:
    decoder = Decoder()
    batcher = Batcher(decoder, max_rows=64, window_s=0.01)
    requests = [(2, observation(2)), (1, observation(3, 50)), (2, observation(4, 90))]
    answers = ask(batcher, *requests)
    assert decoder.calls == [(2, 6), (1, 3)]
    for answer, (version, seen) in zip(answers, requests, strict=True):
        check(answer, version, seen)


def test_batches_stay_below_their_limit_and_a_larger_request_stands_alone() -> None:
    decoder = Decoder()
    batcher = Batcher(decoder, max_rows=8, window_s=0.01)
    requests = [(0, observation(n, 30 * n)) for n in (6, 3, 20, 5)]
    answers = ask(batcher, *requests)
    assert decoder.calls == [(0, 6), (0, 8), (0, 20)]  # 6; 3 + 5; 20
    for answer, (version, seen) in zip(answers, requests, strict=True):
        check(answer, version, seen)


def test_what_comes_while_a_batch_is_decoded_shares_the_next() -> None:
    decoder = Decoder(seconds=0.1)
    batcher = Batcher(decoder, max_rows=64, window_s=0.0)

    async def staggered() -> None:
        first = asyncio.create_task(batcher.plan(weights(0), observation(1), np.zeros(1, "u8")))
        await asyncio.sleep(0.03)
        later = [batcher.plan(weights(0), observation(2), np.zeros(2, "u8")) for _ in range(3)]
        await asyncio.gather(first, *later)

    asyncio.run(staggered())
    assert decoder.calls == [(0, 1), (0, 6)]


def test_an_error_reaches_those_who_asked_and_nobody_else() -> None:
    class Breaks(Decoder):
        def __call__(self, weights: WeightsHandle, seen: Any, keys: np.ndarray) -> Answer:
            if weights.version == 1:
                raise ZeroDivisionError("no plan")
            return super().__call__(weights, seen, keys)

    batcher = Batcher(Breaks(), max_rows=64, window_s=0.01)
    seen = observation(2)
    broken, fine = ask(batcher, (1, seen), (2, seen))
    assert isinstance(broken, ZeroDivisionError)
    check(fine, 2, seen)
    check(ask(batcher, (3, seen))[0], 3, seen)  # and goes on


@pytest.mark.parametrize("traced", [False, True])
def test_parts_of_what_was_joined_are_what_was_there_before(traced: bool) -> None:
    parts = [observation(2), observation(3, 10)]
    joined = join_observations(parts)
    for name, values in parts[1].as_dict().items():
        np.testing.assert_array_equal(joined.as_dict()[name][2:], values)
    grid = np.arange(10).reshape(5, 2)
    trace = DecodeTrace(grid, grid + 1, grid + 2.0, np.arange(5)) if traced else None
    plan = PlanBatch(grid + 0.5, grid - 0.5, trace, np.arange(5.0) if traced else None)
    part = take_plans(plan, slice(2, 5))
    np.testing.assert_array_equal(part.accel_mps2, grid[2:] + 0.5)
    if traced:
        assert part.trace is not None and part.decode_ms is not None
        np.testing.assert_array_equal(part.trace.tokens, grid[2:])
        np.testing.assert_array_equal(part.trace.log_prob, grid[2:] + 2.0)
        np.testing.assert_array_equal(part.trace.rounds, [2, 3, 4])
        np.testing.assert_array_equal(part.decode_ms, [2, 3, 4])
    else:
        assert part.trace is None and part.decode_ms is None
