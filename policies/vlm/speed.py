"""How long each part of a plan takes, for every way of decoding, on the same weights in one run.

All ways take turns in every repetition, so that whatever else the machine does falls on all of
them; their ratio to autoregression is the median of the ratios within a repetition.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alpamayo import streams
from alpamayo.types import ObservationBatch, RequestError
from policies.vlm.config import VLMConfig
from policies.vlm.decode import Decoded, decode_plan
from policies.vlm.engine import Engine
from policies.vlm.model import NLDModel
from policies.vlm.policy import VLMPolicy
from policies.vlm.prompt import Prompt
from policies.vlm.schedule import CAUSAL_MODES, DecodeConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_BANDWIDTH_BYTES = {"cpu": 1 << 28, "cuda": 1 << 32}  # well beyond every cache
_MATMUL_SIZE = {"cpu": 1024, "cuda": 8192}


@dataclass(frozen=True)
class Way:
    """One way of decoding: its key in the document, its title in the table."""

    name: str
    title: str
    decode: DecodeConfig


def ways(base: DecodeConfig, length: int, rounds: Sequence[int]) -> list[Way]:
    """AR first: the others are compared with it."""
    listed = [Way("ar", "AR", replace(base, mode="ar"))]
    for count in rounds:
        decode = replace(base, mode="executed_first", rounds=count)
        listed.append(Way(f"diffusion_{count}", f"diffusion K={count}", decode))
    decode = replace(base, mode="threshold")
    listed.append(Way("threshold", f"threshold {base.threshold:g}", decode))
    decode = replace(base, mode="self_speculation", block_size=min(base.block_size, length))
    listed.append(Way("self_speculation", f"self-spec. of {decode.block_size}", decode))
    return listed


# --------------------------------------------------------------------------------------
# Weights
# --------------------------------------------------------------------------------------
def random_model(config: VLMConfig, device: str, dtype: torch.dtype) -> NLDModel:
    """True shapes with random weights, made where they are used: signals of unit variance stay
    finite through all layers."""
    with torch.device("meta"):
        model = NLDModel(config)
    wanted = sum(p.numel() for p in model.parameters()) * dtype.itemsize
    room = _free_bytes(device)
    if wanted > room:
        raise RequestError(
            f"--size: {wanted / 1e9:.1f} GB of weights do not fit into the {room / 1e9:.1f} GB "
            f"that {device} has free"
        )
    model = model.to(dtype).to_empty(device=device)
    generator = torch.Generator(device).manual_seed(0)
    depth = math.sqrt(2 * config.num_hidden_layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.8, 1.2, generator=generator)
                continue
            scale = parameter[0].numel() ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale /= depth
            if name.endswith("embed_tokens.weight"):
                scale = 1.0
            parameter.normal_(0.0, scale, generator=generator)
    return model.eval()


def _free_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info()[0]
    with open("/proc/meminfo", encoding="ascii") as lines:
        known = dict(line.split(":") for line in lines)
    return int(known["MemAvailable"].split()[0]) * 1024


def sizes(model: NLDModel) -> dict[str, int]:
    """``parameters`` of everything, and what a forward over plan tokens reads and multiplies:
    the stack and the rows of the head that belong to action bins."""
    head = model.diffusion_head.weight
    rows = sum(model.actions.bins) * model.config.hidden_size
    stack = [*model.encoder.layers.parameters(), model.encoder.norm.weight]
    everything = list(model.parameters())
    return {
        "parameters": sum(p.numel() for p in everything),
        "weights_bytes": _bytes(everything),
        "forward_parameters": sum(p.numel() for p in stack) + rows,
        "forward_bytes": _bytes(stack) + rows * head.element_size(),
    }


def _bytes(parameters: Sequence[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


# --------------------------------------------------------------------------------------
# The floor
# --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Machine:
    """Measured: bytes read per second, and floating-point operations per second of a product."""

    bytes_per_s: float
    flop_per_s: float


def measure_machine(device: str, dtype: torch.dtype) -> Machine:
    kind = torch.device(device).type
    many = torch.ones(_BANDWIDTH_BYTES[kind] // 4, device=device)
    size = _MATMUL_SIZE[kind]
    square = torch.randn(size, size, device=device).to(dtype)
    read_s = _best(lambda: many.sum(), device)
    product_s = _best(lambda: square @ square, device)
    return Machine(many.numel() * 4 / read_s, 2 * size**3 / product_s)


def floor_s(
    model: NLDModel, machine: Machine, batch: int, tokens: int, prefix: int
) -> tuple[float, str]:
    """Least seconds of a forward of ``tokens`` per row behind ``prefix``, and what binds it."""
    config, known = model.config, sizes(model)
    item = model.diffusion_head.weight.element_size()
    cached = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    read = known["forward_bytes"] + batch * prefix * cached * item
    seen = prefix + tokens
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * seen
    flop = batch * tokens * (2 * known["forward_parameters"] + attention)
    memory_s, compute_s = read / machine.bytes_per_s, flop / machine.flop_per_s
    return (memory_s, "memory") if memory_s > compute_s else (compute_s, "compute")


def _best(function: Callable[[], Any], device: str, repeats: int = 7) -> float:
    function()
    return min(_seconds(function, device)[0] for _ in range(repeats))


def _seconds(function: Callable[[], Any], device: str) -> tuple[float, Any]:
    _wait(device)
    started = time.perf_counter()
    result = function()
    _wait(device)
    return time.perf_counter() - started, result


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


# --------------------------------------------------------------------------------------
# Parts of a plan
# --------------------------------------------------------------------------------------
class Clocks:
    """Seconds of each repetition by the name of what was timed."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def milliseconds(self, name: str) -> dict[str, float]:
        values = 1e3 * np.asarray(self.seconds[name])
        return {"p50": float(np.median(values)), "p99": float(np.quantile(values, 0.99))}


@torch.inference_mode()
def measure(
    model: NLDModel,
    observations: Sequence[ObservationBatch],
    listed: Sequence[Way],
    seconds: float,
    machine: Machine,
) -> dict[str, Any]:
    """Figures of one batch size; ``observations`` are consecutive decisions of the same worlds."""
    device = str(model.diffusion_head.weight.device)
    policies = {way.name: VLMPolicy(model, way.decode, name=way.name) for way in listed}
    clocks, batch = Clocks(), len(observations[0])
    decoded: dict[str, list[Decoded]] = {way.name: [] for way in listed}
    prompt_tokens = 0
    for call, observation in _calls(observations, seconds):
        keys = streams.keys(np.arange(batch), streams.STREAM_DECODE, np.full(batch, max(call, 0)))
        for policy in policies.values():
            plan_s, _ = _seconds(partial(policy.plan, observation, noise_keys=keys), device)
            made, prompt_tokens = _parts(model, policy, observation, keys, clocks, device)
            decoded[policy.name].append(made)
            clocks.add(f"plan {policy.name}", plan_s)
        if call < 0:
            clocks.seconds.clear()
            decoded = {name: [] for name in decoded}
    parts = [name for name in ("vision", "prefill") if name in clocks.seconds]
    return {
        "batch": batch,
        "prompt_tokens": prompt_tokens,
        "repetitions": len(clocks.seconds["prefill"]) // len(listed),
        **{f"{name}_ms": clocks.milliseconds(name) for name in parts},
        "ways": {
            way.name: _row(model, machine, way, clocks, decoded[way.name], batch, prompt_tokens)
            for way in listed
        },
    }


def _calls(
    observations: Sequence[ObservationBatch], seconds: float
) -> Iterator[tuple[int, ObservationBatch]]:
    """(-1, first) to warm up, then (0, second) ... until the time is over."""
    yield -1, observations[0]
    started, call = time.perf_counter(), 0
    while call < 2 or time.perf_counter() - started < seconds:
        yield call, observations[(call + 1) % len(observations)]
        call += 1


def _parts(
    model: NLDModel,
    policy: VLMPolicy,
    observation: ObservationBatch,
    keys: np.ndarray,
    clocks: Clocks,
    device: str,
) -> tuple[Decoded, int]:
    """Vision (every image, none from the cache), prefill and rounds, one after the other (in a
    plan the first round of diffusion rides along with the prefill). The engine's prefill has the
    images in it."""
    prompt = policy.encoder(observation)
    if policy.engine is not None:
        return _engine_parts(policy, policy.engine, prompt, keys, clocks, device)
    ids, frames = prompt.ids.to(device), prompt.frames.to(device)
    features: Tensor | None = None
    if frames.shape[1]:
        seconds, features = _seconds(lambda: model.encode_images(frames), device)
        clocks.add("vision", seconds)
    length, decode = policy.spec.tokens, policy.decode

    def prefill() -> tuple[Tensor, Any]:
        embeds = model.embed_prompt(ids, features=features)
        return model.prefill(embeds, reserve=decode.reserve(length))

    seconds, (hidden, cache) = _seconds(prefill, device)
    clocks.add("prefill", seconds)
    uniforms = policy._uniforms(keys)
    seconds, made = _seconds(
        lambda: decode_plan(model, hidden, cache, length, decode, uniforms=uniforms), device
    )
    clocks.add(f"decode {policy.name}", seconds)
    return made, ids.shape[1]


def _engine_parts(
    policy: VLMPolicy,
    engine: Engine,
    prompt: Prompt,
    keys: np.ndarray,
    clocks: Clocks,
    device: str,
) -> tuple[Decoded, int]:
    batch, count = prompt.ids.shape
    seconds, _ = _seconds(lambda: engine.prefill(prompt.ids, prompt.frames), device)
    clocks.add("prefill", seconds)
    uniforms = policy._uniforms(keys)
    seconds, made = _seconds(
        lambda: engine.decode(batch, count, policy.decode, policy.spec.tokens, uniforms), device
    )
    clocks.add(f"decode {policy.name}", seconds)
    # The engine overwrites what it returns.
    return replace(made, rounds=made.rounds.clone(), forwards=made.forwards.clone()), count


def _row(
    model: NLDModel,
    machine: Machine,
    way: Way,
    clocks: Clocks,
    decoded: Sequence[Decoded],
    batch: int,
    prompt_tokens: int,
) -> dict[str, Any]:
    """Figures of one way. The causal ones get their first token from the prefill."""
    length = decoded[0].tokens.shape[1]
    causal = way.decode.mode in CAUSAL_MODES
    forwards = float(np.mean([made.forwards.float().mean().item() for made in decoded]))
    # A batch goes on until its slowest row is done.
    paid = float(np.mean([made.forwards.max().item() for made in decoded]))
    tokens = {"ar": 1, "self_speculation": way.decode.block_size}.get(way.decode.mode, length)
    least_s, binds = floor_s(model, machine, batch, tokens, prompt_tokens)
    decode_ms = clocks.milliseconds(f"decode {way.name}")
    plan_s = np.asarray(clocks.seconds[f"plan {way.name}"])
    ar_s = np.asarray(clocks.seconds["plan ar"])
    return {
        "title": way.title,
        "forwards_per_plan": forwards,
        "forwards_per_batch": paid,
        "tokens_per_forward": (length - causal) / forwards,
        "decode_ms": decode_ms,
        "forward_ms": decode_ms["p50"] / paid,
        "floor_ms": 1e3 * least_s,
        "floor_binds": binds,
        "times_floor": decode_ms["p50"] / paid / (1e3 * least_s),
        "plan_ms": clocks.milliseconds(f"plan {way.name}"),
        "plans_per_s": batch / float(np.median(plan_s)),
        "times_faster_than_ar": float(np.median(ar_s / plan_s)),
    }


def peak_memory_bytes(device: str) -> int:
    """Of the process so far (CPU: resident, everything counted), or allocated on the device."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
