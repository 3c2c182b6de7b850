"""Plan requests of many simulators, decoded together. Knows neither Ray nor how plans are made.

Requests of one weights version are joined; another version's wait for the next batch, so that no
plan is ever made by weights other than those its request names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from alpamayo.rollout.transport import WeightsHandle
from alpamayo.streams import Keys
from alpamayo.types import OBSERVATION_KEYS, DecodeTrace, ObservationBatch, PlanBatch


@dataclass(frozen=True)
class Answer:
    """Plans and, where the learner wants them, image tokens [N, ...] of what was seen."""

    plan: PlanBatch
    features: np.ndarray | None = None

    def take(self, rows: slice) -> Answer:
        features = None if self.features is None else self.features[rows]
        return Answer(take_plans(self.plan, rows), features)


Decode = Callable[[WeightsHandle, ObservationBatch, Keys], Answer]


@dataclass(frozen=True)
class _Request:
    weights: WeightsHandle
    observation: ObservationBatch
    noise_keys: Keys
    answer: asyncio.Future[Answer]


class Batcher:
    """Joins requests that come within ``window_s`` of each other, or while the batch before is
    decoded, up to ``max_rows`` (a larger request is a batch of its own).

    ``decode`` runs in a thread, one call at a time. Counts ``batches``, ``requests`` and ``rows``.
    """

    def __init__(self, decode: Decode, *, max_rows: int, window_s: float) -> None:
        self.decode, self.max_rows, self.window_s = decode, max_rows, window_s
        self.waiting: list[_Request] = []
        self.batches = self.requests = self.rows = 0
        self._serving: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")

    async def plan(
        self, weights: WeightsHandle, observation: ObservationBatch, noise_keys: Keys
    ) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append(_Request(weights, observation, noise_keys, future))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await future

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self.window_s)
        while self.waiting:
            batch = self._next()
            try:
                answers = await loop.run_in_executor(self._thread, self._decode, batch)
            except Exception as error:
                for request in batch:
                    if not request.answer.cancelled():
                        request.answer.set_exception(error)
                continue
            for request, answer in zip(batch, answers, strict=True):
                if not request.answer.cancelled():
                    request.answer.set_result(answer)

    def _next(self) -> list[_Request]:
        """The oldest request, and those of the same weights that fit beside it."""
        version = self.waiting[0].weights.version
        batch: list[_Request] = []
        left: list[_Request] = []
        rows = 0
        for request in self.waiting:
            count = len(request.observation)
            fits = not batch or rows + count <= self.max_rows
            if request.weights.version == version and fits:
                batch.append(request)
                rows += count
            else:
                left.append(request)
        self.waiting = left
        return batch

    def _decode(self, batch: Sequence[_Request]) -> list[Answer]:
        observation = join_observations([r.observation for r in batch])
        keys = np.concatenate([r.noise_keys for r in batch])
        answer = self.decode(batch[0].weights, observation, keys)
        self.batches += 1
        self.requests += len(batch)
        self.rows += len(observation)
        ends = np.cumsum([len(r.observation) for r in batch])
        starts = [0, *ends[:-1]]
        return [answer.take(slice(a, b)) for a, b in zip(starts, ends, strict=True)]


def join_observations(parts: Sequence[ObservationBatch]) -> ObservationBatch:
    """All rows in order, as arrays of our own."""
    columns = [p.as_dict() for p in parts]
    return ObservationBatch.from_dict(
        {key: np.concatenate([c[key] for c in columns]) for key in OBSERVATION_KEYS}
    )


def take_plans(plan: PlanBatch, rows: slice) -> PlanBatch:
    def part(values: Any) -> Any:
        return None if values is None else values[rows]

    trace = plan.trace
    if trace is not None:
        trace = DecodeTrace(
            trace.tokens[rows], trace.commit_round[rows], trace.log_prob[rows], trace.rounds[rows]
        )
    return PlanBatch(plan.accel_mps2[rows], plan.curvature_per_m[rows], trace, part(plan.decode_ms))
