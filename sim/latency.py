"""When plans take effect: an action FIFO.

Every decision puts its plan into the queue of its world, with the base tick at which it will have
been computed: the tick of the observation plus the latency of this decision. From that tick on it
drives. Latencies may differ from decision to decision: a plan that is overtaken by one from a later
observation is dropped.

In a queue [Q, K, 2] plans lie in the order of their observations, oldest first; the slots behind
them are empty (zeros, due at tick -1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alpamayo import streams
from alpamayo.types import Fault, FloatArray, IntArray, RequestError
from sim.config import SimConfig
from sim.dynamics import course, integrate_plan
from sim.faults import extra_latency_s
from sim.kernels import kernel
from sim.params import Params, whole_ticks

# Plans of this much more than the configured latency fit into the queue: for latency faults and
# measured latencies.
SPARE_S = 2.0
# Latencies within this of a whole number of ticks are that number.
_EXACT_S = 1e-6


# What the latency of a decision is ---------------------------------------------------------
def latency_ticks(
    config: SimConfig,
    seeds: IntArray,
    decisions: IntArray,
    faults: Sequence[tuple[Fault, ...]],
    time_s: FloatArray,
    measured_s: FloatArray | None = None,
) -> IntArray:
    """Base ticks [B] from the observation of ``decisions`` [B] at ``time_s`` [B] to its plan.

    Drawn as the config says, for the world's seed and the decision's number alone; ``measured_s``
    [B] replaces the draw where it is a number (not nan). ``faults`` [B] of kind ``latency`` add to
    it. A plan waits for the next tick, so fractions of a tick count as whole ones.
    """
    latency_s = _drawn_s(config, seeds, decisions)
    if measured_s is not None:
        if np.isinf(measured_s).any():
            raise ValueError(
                "measured latencies: expected finite seconds or nan, got infinite ones"
            )
        latency_s = np.where(np.isnan(measured_s), latency_s, measured_s)
    if any(faults):
        extra_s = [extra_latency_s(f, t) for f, t in zip(faults, time_s, strict=True)]
        latency_s = latency_s + np.array(extra_s)
    ticks = np.ceil((latency_s - _EXACT_S) / config.tick_s)
    return np.maximum(ticks, 0.0).astype(np.int64)


def _drawn_s(config: SimConfig, seeds: IntArray, decisions: IntArray) -> FloatArray:
    """Latencies [B] in seconds, before faults."""
    samples = np.asarray(config.latency_samples_s, dtype=np.float64)
    if not len(samples) and config.latency_jitter_s == 0.0:
        return np.full(len(seeds), config.latency_s)
    draw = streams.uniform(streams.keys(seeds, streams.STREAM_LATENCY, decisions), 1)[:, 0]
    if len(samples):
        return samples[np.minimum((draw * len(samples)).astype(np.int64), len(samples) - 1)]
    return config.latency_s + config.latency_jitter_s * (2.0 * draw - 1.0)


def expected_ticks(config: SimConfig) -> int:
    """The base ticks that ``config.expected_latency_s`` takes."""
    return max(math.ceil((config.expected_latency_s - _EXACT_S) / config.tick_s), 0)


def queue_slots(config: SimConfig) -> int:
    """Plans of one world that may wait at once (``SPARE_S`` of latency beyond the config's fit).

    Raises ``RequestError`` for times that make no sense: a fixed latency that is no multiple of the
    tick, negative or infinite numbers.
    """
    check_latency(config)
    longest_s = config.latency_s + config.latency_jitter_s
    if config.latency_samples_s:
        longest_s = max(config.latency_samples_s)
    return math.ceil((longest_s + SPARE_S) / config.decision_s) + 1


def check_latency(config: SimConfig) -> None:
    """Raises ``RequestError`` as ``queue_slots`` does."""
    jitter_s, samples = config.latency_jitter_s, config.latency_samples_s
    if not 0.0 <= jitter_s < math.inf:
        raise RequestError(
            f"sim config: latency_jitter_s: expected a number from 0, got {jitter_s}"
        )
    for i, sample in enumerate(samples):
        if not 0.0 <= sample < math.inf:
            raise RequestError(
                f"sim config: latency_samples_s[{i}]: expected a number from 0, got {sample}"
            )
    if not 0.0 <= config.latency_s < math.inf:
        raise RequestError(
            f"sim config: latency_s: expected a number from 0, got {config.latency_s}"
        )
    if not samples and jitter_s == 0.0:
        whole_ticks("latency_s", config.latency_s, config.tick_s)


# The queue ---------------------------------------------------------------------------------
@kernel
def push(w: Any, queue: FloatArray, queue_due: IntArray, plan: FloatArray, due_tick: int) -> None:
    """Let ``plan`` [K, 2] wait in ``queue`` [Q, K, 2] until base tick ``due_tick``. It replaces the
    newest plan of a full queue, so that a planner that is too slow still gets a plan through now
    and then."""
    slot = 0
    while slot < len(queue_due) - 1 and queue_due[slot] >= 0:
        slot += 1
    _copy(plan, queue[slot])
    queue_due[slot] = max(due_tick, w.tick)


@kernel
def take_over(
    w: Any,
    plan: FloatArray,
    queue: FloatArray,
    queue_due: IntArray,
    reference: FloatArray,
    p: Params,
) -> None:
    """Let the newest plan that is due drive from now on; plans from before it are dropped."""
    newest, count = -1, 0
    while count < len(queue_due) and queue_due[count] >= 0:
        if queue_due[count] <= w.tick:
            newest = count
        count += 1
    if newest < 0:
        return
    _copy(queue[newest], plan)
    adopt(w, plan, reference, p)
    for slot in range(count):
        later = slot + newest + 1
        if later < count:
            _copy(queue[later], queue[slot])
            queue_due[slot] = queue_due[later]
        else:
            queue[slot, :, :] = 0.0
            queue_due[slot] = -1


@kernel
def adopt(w: Any, plan: FloatArray, reference: FloatArray, p: Params) -> None:
    """``plan`` [K, 2] drives from now on: its poses, from the ego's present one on, go to
    ``reference`` [N, 4]."""
    heading, speed = course(w, p)
    integrate_plan(w.x, w.y, heading, speed, plan, reference, p)
    w.plan_tick = 0


@kernel
def adopt_all(worlds: np.ndarray, plan: FloatArray, reference: FloatArray, p: Params) -> None:
    """In each world b ``plan`` [b] of ``plan`` [B, K, 2] drives from now on."""
    for b in range(len(worlds)):
        adopt(worlds[b], plan[b], reference[b], p)


@kernel
def _copy(source: FloatArray, target: FloatArray) -> None:
    for k in range(len(source)):
        target[k, 0] = source[k, 0]
        target[k, 1] = source[k, 1]
