"""``alpamayo bench policy`` for a network: all ways of decoding on the same weights in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alpamayo import streams
from alpamayo.types import COMMANDS, ObservationBatch, RequestError
from sim.config import SimConfig

DECISIONS = 8  # consecutive observations of each world


@dataclass(frozen=True)
class Images:
    """Pictures per observation."""

    count: int
    width_px: int
    height_px: int

    @staticmethod
    def parse(text: str) -> Images:
        """``3x448x252``: number, width, height."""
        parts = text.split("x")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            raise RequestError(f"--images {text}: expected COUNTxWIDTHxHEIGHT, such as 3x448x252")
        count, width_px, height_px = map(int, parts)
        if count < 1 or not 0 < width_px <= 4096 or not 0 < height_px <= 4096:
            raise RequestError(f"--images {text}: expected 1 or more images of 1..4096 pixels")
        return Images(count, width_px, height_px)


@dataclass(frozen=True)
class PolicyBench:
    """What to measure: batch sizes, rounds of diffusion, seconds per batch size; a learning step,
    too, if ``learn``."""

    batches: tuple[int, ...] = (1, 8, 64)
    rounds: tuple[int, ...] = (1, 2, 4, 8)
    seconds: float = 10.0
    images: Images | None = None
    learn: bool = False


def driven(
    suite: str, batch: int, config: SimConfig, decisions: int = DECISIONS
) -> list[ObservationBatch]:
    """Observations [batch] of consecutive decisions in the simulator, driven straight ahead."""
    from scenarios.suites import load_suite
    from sim.world import WorldBatch

    worlds = WorldBatch(load_suite(suite).draw(batch), config)
    straight = np.zeros((batch, config.plan_steps, 2), np.float32)
    seen = [_copied(worlds.observe())]
    for _ in range(decisions - 1):
        worlds.step(straight)
        seen.append(_copied(worlds.observe()))
    return seen


def invented(
    images: Images | None, batch: int, decisions: int = DECISIONS
) -> list[ObservationBatch]:
    """Noise of the right shapes, every image new; no images without ``images``."""
    shape = (0, 28, 28) if images is None else (images.count, images.height_px, images.width_px)
    rows = np.arange(batch)

    def observation(decision: int) -> ObservationBatch:
        numbers = np.random.default_rng(decision)
        speed = streams.uniform(streams.keys(rows, 0, decision), 1)[:, 0] * 20.0
        history = np.zeros((batch, 16, 3), np.float32)
        history[..., 0] = speed[:, None] * np.arange(-15, 1) * 0.1
        return ObservationBatch(
            numbers.integers(0, 256, (batch, *shape, 3), dtype=np.uint8),
            history,
            speed.astype(np.float32),
            (rows % len(COMMANDS)).astype(np.int8),
            np.full(batch, 14.0, np.float32),
        )

    return [observation(decision) for decision in range(decisions)]


def _copied(seen: ObservationBatch) -> ObservationBatch:
    return ObservationBatch.from_dict({k: v.copy() for k, v in seen.as_dict().items()})


def bench_network(
    model: Any, request: PolicyBench, suite: str, sim: SimConfig, decode: Any
) -> tuple[dict[str, Any], list[float]]:
    """Figures of every batch size and what they are measured against; seconds of single plans
    decoded as ``decode`` says."""
    from policies.vlm import speed
    from policies.vlm.policy import VLMPolicy

    device = str(model.diffusion_head.weight.device)
    dtype = model.diffusion_head.weight.dtype
    length = model.config.action.tokens
    for rounds in request.rounds:
        if not 1 <= rounds <= length:
            raise RequestError(f"--rounds {rounds}: expected 1 to the {length} tokens of a plan")
    policy = VLMPolicy(model, decode)
    observations = _observations(policy, request, suite, sim)
    machine = speed.measure_machine(device, dtype)
    listed = speed.ways(decode, length, request.rounds)
    latencies_s = plan_latencies_s(policy, observations, request.seconds / 2)
    result = {
        "device": device,
        "dtype": str(dtype).removeprefix("torch."),
        **speed.sizes(model),
        "plan_tokens": length,
        "bytes_per_s": machine.bytes_per_s,
        "flop_per_s": machine.flop_per_s,
        "batches": {
            f"batch_{batch}": speed.measure(
                model,
                [seen.take(slice(0, batch)) for seen in observations],
                listed,
                request.seconds,
                machine,
            )
            for batch in request.batches
        },
        "peak_memory_bytes": speed.peak_memory_bytes(device),
    }
    if request.learn and policy.schedule is not None:
        from alpamayo.bench import bench_learning

        result["learn"] = bench_learning(policy, observations[0], request.seconds / 2)
    return result, latencies_s


def _observations(
    policy: Any, request: PolicyBench, suite: str, sim: SimConfig
) -> Sequence[ObservationBatch]:
    from policies.registry import check_rig

    model = policy.model
    most = max(request.batches)
    if model.config.vision is None:
        if request.images is not None:
            raise RequestError("--images: this size has no image tower")
        return invented(None, most)
    if request.images is not None:
        images = request.images
        policy.check_images(images.count, images.height_px, images.width_px)
        return invented(images, most)
    check_rig(policy, sim.rig)
    action = model.config.action
    return driven(suite, most, replace(sim, plan_steps=action.steps, plan_step_s=action.step_s))


def plan_latencies_s(
    policy: Any, observations: Sequence[ObservationBatch], seconds: float
) -> list[float]:
    """Wall time of each plan for one observation, decoded as ``policy`` is set to: what a vehicle
    waits for."""
    made: list[float] = []
    ends_s = time.perf_counter() + seconds
    call = -2
    while call < 1 or time.perf_counter() < ends_s:
        observation = observations[call % len(observations)].take(slice(0, 1))
        keys = streams.keys(np.zeros(1), streams.STREAM_DECODE, np.full(1, call + 2))
        started = time.perf_counter()
        policy.plan(observation, noise_keys=keys)
        if call >= 0:
            made.append(time.perf_counter() - started)
        call += 1
    return made
