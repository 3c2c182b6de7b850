"""The policy at full size on one GPU, with random weights at true shapes.

    PYTHONPATH=. python benchmarks/engine_gpu.py --out engine.json

Checks the engine against the network in float32, then times images, prefill, each round and whole
plans, all modes on the same weights in the same run, beside what the memory and the matrix units of
this device allow. A section that fails is reported and the others still run; then the exit code is
1. ``--size tiny --device cpu --repeats 3`` goes through everything without a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
import traceback
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.vlm.config import PRESETS, VLMConfig
from policies.vlm.decode import Frozen
from policies.vlm.engine import Engine, EngineConfig
from policies.vlm.engine.graphs import Captured
from policies.vlm.engine.ops import TorchOps, TritonOps, tune
from policies.vlm.model import NLDModel
from policies.vlm.prompt import image_block
from policies.vlm.schedule import DecodeConfig
from policies.vlm.speed import random_model
from policies.vlm.text import KVCache

CAMERAS, HEIGHT_PX, WIDTH_PX = 3, 252, 448
STATIC_TEXT, TEXT = 40, 64  # tokens; the static ones come first
PLAN_TOKENS = 32
ROUNDS = (1, 2, 4, 8)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
# (columns, inner step, split, stages, warps); for more than 64 rows the second list.
TILINGS = (
    (64, 128, 2, 4, 4),
    (64, 128, 1, 4, 4),
    (64, 256, 2, 3, 4),
    (64, 256, 1, 3, 4),
    (64, 128, 2, 5, 4),
    (64, 128, 2, 4, 8),
    (32, 256, 1, 4, 4),
    (32, 256, 2, 4, 4),
    (32, 128, 1, 6, 4),
    (128, 64, 1, 4, 4),
)
TILINGS_MANY = (
    (128, 64, 1, 4, 8),
    (128, 64, 2, 4, 8),
    (128, 64, 4, 4, 8),
    (64, 128, 1, 3, 4),
    (64, 128, 2, 3, 4),
    (64, 64, 2, 5, 4),
)
# (queries times group in a tile, keys in a step, shares of the keys, warps)
ATTENTION = (
    (128, 64, 4, 8),
    (64, 64, 2, 4),
    (64, 64, 4, 4),
    (32, 64, 1, 4),
    (32, 64, 2, 4),
    (32, 128, 1, 4),
    (16, 64, 1, 4),
    (16, 128, 1, 4),
    (16, 128, 1, 2),
)


@dataclass
class Bench:
    """What the sections share, and what they found."""

    args: argparse.Namespace
    device: torch.device
    dtype: torch.dtype
    found: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    table: list[tuple[str, str]] = field(default_factory=list)

    def section(self, name: str, run: Callable[[], dict[str, Any] | None]) -> None:
        start = time.perf_counter()
        try:
            with torch.inference_mode():
                found = run()
        except Exception:
            traceback.print_exc()
            self.failed.append(name)
            self.table.append((name, "FAILED"))
            found = {"failed": traceback.format_exc()}
        self.synchronize()
        print(f"[{name}] {time.perf_counter() - start:.1f} s", flush=True)
        self.found[name] = found

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def device_ms(self, run: Callable[[], Any], repeats: int | None = None) -> np.ndarray:
        """Time of each run on the device, ms."""
        repeats = repeats or self.args.repeats
        for _ in range(3):
            run()
        if self.device.type != "cuda":
            return self.wall_ms(run, repeats)
        events = [
            (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
            for _ in range(repeats)
        ]
        self.synchronize()
        for start, end in events:
            start.record()
            run()
            end.record()
        self.synchronize()
        return np.array([start.elapsed_time(end) for start, end in events])

    def wall_ms(self, run: Callable[[], Any], repeats: int | None = None) -> np.ndarray:
        """Wall time of each run, from the call until its result is there, ms."""
        repeats = repeats or self.args.repeats
        for _ in range(3):
            run()
        self.synchronize()
        took = []
        for _ in range(repeats):
            start = time.perf_counter()
            run()
            self.synchronize()
            took.append((time.perf_counter() - start) * 1e3)
        return np.array(took)

    def row(self, label: str, ms: np.ndarray, note: str = "") -> dict[str, float]:
        p50, p99 = float(np.median(ms)), float(np.quantile(ms, 0.99))
        self.table.append((label, f"p50 {p50:8.3f}  p99 {p99:8.3f} ms  {note}"))
        return {"p50_ms": p50, "p99_ms": p99, "repeats": len(ms)}


# --------------------------------------------------------------------------------------
# The device, the weights, the prompt
# --------------------------------------------------------------------------------------
def ceilings(bench: Bench) -> dict[str, Any]:
    cuda = bench.device.type == "cuda"
    count = 2**31 if cuda else 2**22
    source = torch.randn(count // 2, device=bench.device).to(bench.dtype)
    target = torch.empty_like(source)
    copy = np.median(bench.device_ms(lambda: target.copy_(source), 20))
    size = source.numel() * source.element_size()
    read = np.median(bench.device_ms(lambda: source.amax(), 20))
    side = 8192 if cuda else 256
    a = torch.randn(side, side, device=bench.device).to(bench.dtype)
    b = torch.randn(side, side, device=bench.device).to(bench.dtype)
    product = np.median(bench.device_ms(lambda: a @ b, 20))
    found = {
        "copy_tb_s": float(2 * size / copy / 1e9),
        "read_tb_s": float(size / read / 1e9),
        "matmul_tflop_s": float(2 * side**3 / product / 1e9),
    }
    bench.table.append(("ceilings", " ".join(f"{k} {v:.2f}" for k, v in found.items())))
    return found


def prompt(config: VLMConfig, rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """ids [B, N] and frames [B, cameras, H, W, 3]: static text, then labelled images, then text
    that changes."""
    rng = np.random.default_rng(seed)
    same = np.random.default_rng(1)
    static = same.integers(22, 100, STATIC_TEXT)
    label = same.integers(22, 100, 2)
    cells = HEIGHT_PX // config.cell_px, WIDTH_PX // config.cell_px
    images = np.concatenate([[*label, *image_block(*cells)]] * CAMERAS)
    tail = TEXT - STATIC_TEXT - 2 * CAMERAS
    ids = [np.concatenate([static, images, rng.integers(22, 100, tail)]) for _ in range(rows)]
    frames = rng.integers(0, 256, (rows, CAMERAS, HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
    return torch.from_numpy(np.stack(ids)), torch.from_numpy(frames)


def read_bytes(config: VLMConfig, model: NLDModel) -> tuple[float, float]:
    """(bytes of the text stack, bytes of the action rows of the head) that a forward reads."""
    item = model.diffusion_head.weight.element_size()
    stack = sum(p.numel() for p in model.encoder.layers.parameters()) * item
    rows = config.action.accel_bins + config.action.curvature_bins
    return float(stack), float(rows * config.hidden_size * item)


# --------------------------------------------------------------------------------------
# Right before fast
# --------------------------------------------------------------------------------------
def error(got: Tensor, expected: Tensor) -> float:
    if not bool(torch.isfinite(got).all()):
        return float("nan")
    difference = (got.float() - expected.float()).norm() / expected.float().norm()
    return float(difference)


def check(bench: Bench, engine: Engine, model: NLDModel) -> dict[str, Any]:
    """Relative error of the engine, and of the plain network in the same dtype, against the network
    in float32 on the same weights and inputs."""
    config, device = model.config, bench.device
    ids, frames = (t.to(device) for t in prompt(config, 2, seed=3))
    exact = deepcopy(model).float()
    block = model.masked_block(2, PLAN_TOKENS)
    block[:, ::3] = config.action.accel_first_id + 3

    def run(network: NLDModel) -> list[Tensor]:
        features = network.encode_images(frames)
        hidden, cache = network.prefill(network.embed_prompt(ids, features=features), PLAN_TOKENS)
        denoised = network.denoise(block, cache)
        causal = network.forward_causal(block, cache)
        return [features, hidden, denoised, causal, network.action_logits(denoised)]

    expected = run(exact)
    del exact
    plain = run(model)
    network = engine.network
    features = network.encode_images(frames)
    pads = (ids[0] == 19).nonzero().squeeze(1)
    cache = network.new_cache(2)
    hidden = network.extend(network.embed_prompt(ids, features, pads), cache)
    lengths = cache.lengths
    denoised = network.denoise(block, cache)
    cache = KVCache(cache.keys, cache.values, cache.length, lengths)
    causal = network.forward_causal(block, cache)
    fast = [features, hidden, denoised, causal, network.action_logits(denoised)]
    names = ("image_tokens", "prefill", "denoise", "causal", "logits")
    found: dict[str, Any] = {}
    for name, want, a, b in zip(names, expected, fast, plain, strict=True):
        mask = want > -1e8
        found[name] = {
            "engine": error(a[mask], want[mask]),
            "plain": error(b[mask], want[mask]),
        }
    worst = max(row["engine"] for row in found.values())
    text = " ".join(f"{n} {r['engine']:.1e} (plain {r['plain']:.1e})" for n, r in found.items())
    bench.table.append(("relative error", text))
    if not worst < 1e-2:
        raise AssertionError(f"engine differs from float32: {text}")
    return found


def tune_products(bench: Bench, engine: Engine) -> dict[str, Any]:
    """Vendor's library or own kernel, by measurement on this model's matrices."""
    ops = engine.network.ops
    if not isinstance(ops, TritonOps):
        return {"skipped": "no CUDA device"}
    layers = engine.network.text.layers
    weights = {
        "qkv": [layer.qkv for layer in layers],
        "out": [layer.out for layer in layers],
        "gate_up": [layer.gate_up for layer in layers],
        "down": [layer.down for layer in layers],
    }

    def time_ms(
        run: Callable[[Tensor, Tensor], Tensor], x: Tensor, matrices: list[Tensor]
    ) -> float:
        try:
            captured = Captured(lambda: [run(x, w) for w in matrices], bench.device)
        except Exception as problem:
            print("tiling failed:", str(problem).splitlines()[:1])
            return math.inf
        return float(np.median(bench.device_ms(captured, 10))) / len(matrices)

    found = []
    for rows in bench.args.tune_rows:
        candidates = TILINGS if rows <= 64 else TILINGS_MANY
        found += tune(ops, weights, (rows,), candidates, time_ms)
    read = bench.found["ceilings"]["read_tb_s"]
    for name, matrices in weights.items():
        floor = matrices[0].numel() * matrices[0].element_size() / read / 1e9
        for rows in bench.args.tune_rows:
            own = [r for r in found if r["matrix"] == name and r["rows"] == rows]
            library = next(r["ms"] for r in own if r["tiling"] is None)
            best = min(own, key=lambda r: r["ms"])
            bench.table.append(
                (
                    f"{name} x {rows} rows",
                    f"library {library * 1e3:6.1f} us, best {best['ms'] * 1e3:6.1f} us "
                    f"{best['tiling']}, floor {floor * 1e3:6.1f} us",
                )
            )
    return {"rows": found}


def tune_attention(bench: Bench, engine: Engine) -> dict[str, Any]:
    """Tiles of the decode attention behind a prompt of true length, by measurement."""
    network = engine.network
    ops, config = network.ops, network.config
    if not isinstance(ops, TritonOps):
        return {"skipped": "no CUDA device"}
    count = prompt(config, 1)[0].shape[1]
    found: dict[str, Any] = {}
    for rows, queries in ((1, PLAN_TOKENS), (1, 1), (8, PLAN_TOKENS)):
        cache = network.new_cache(rows)
        cache.keys.normal_()
        cache.values.normal_()
        lengths = torch.full((rows,), count, device=bench.device)
        shape = (rows * queries, config.num_attention_heads, config.head_dim)
        q = torch.randn(shape, device=bench.device).to(bench.dtype)
        took: dict[Any, float] = {}
        for tiling in (None, *ATTENTION):
            if tiling is not None and tiling[0] > max(4 * queries, 16):
                continue
            ops.attention.pop((rows, queries), None)
            if tiling is not None:
                ops.attention[rows, queries] = tiling
            captured = Captured(
                lambda q=q, cache=cache, lengths=lengths, queries=queries: [
                    ops.attend(q, k, v, lengths, queries, count + queries, False)
                    for k, v in zip(cache.keys, cache.values, strict=True)
                ],
                bench.device,
            )
            took[tiling] = float(np.median(bench.device_ms(captured, 10))) / len(cache.keys)
        best = min(took, key=lambda tiling: took[tiling])
        ops.attention.pop((rows, queries), None)
        if best is not None:
            ops.attention[rows, queries] = best
        label = f"attention {rows} x {queries}"
        text = f"default {took[None] * 1e3:.1f} us, best {took[best] * 1e3:.1f} us {best}"
        bench.table.append((label, text))
        found[label] = {str(key): value for key, value in took.items()}
    return found


def profile(bench: Bench, engine: Engine) -> dict[str, Any]:
    """Where a round's time goes, kernel by kernel."""
    if bench.device.type != "cuda":
        return {"skipped": "no CUDA device"}
    network = engine.network
    count = prompt(network.config, 1)[0].shape[1]
    found: dict[str, Any] = {}
    for rows in (1, 8):
        cache = network.new_cache(rows)
        lengths = torch.full((rows,), count, device=bench.device)
        block = network.model.masked_block(rows, PLAN_TOKENS)
        one = Captured(
            lambda block=block, cache=cache, lengths=lengths: network.denoise(
                block, KVCache(cache.keys, cache.values, count, lengths)
            ),
            bench.device,
        )
        one()
        bench.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            for _ in range(5):
                one()
            bench.synchronize()
        kernels = sorted(seen.key_averages(), key=lambda e: -e.device_time_total)[:12]
        found[str(rows)] = [(k.key[:70], k.count // 5, k.device_time_total / 5) for k in kernels]
        for name, calls, us in found[str(rows)]:
            print(f"batch {rows}: {us:9.1f} us {calls:4d} calls {name}")
    return found


# --------------------------------------------------------------------------------------
# Times
# --------------------------------------------------------------------------------------
def uniforms(rows: int, length: int = PLAN_TOKENS, rounds: int = 0) -> Tensor:
    shape = (rows, rounds, length) if rounds else (rows, length)
    return torch.from_numpy(np.random.default_rng(0).uniform(size=shape))


def phases(bench: Bench, engine: Engine) -> dict[str, Any]:
    """Images, prefill and one round, each captured alone."""
    config, network = engine.network.config, engine.network
    ids, frames = (t.to(bench.device) for t in prompt(config, 1))
    count = ids.shape[1]
    features = network.encode_images(frames)
    pads = (ids[0] == 19).nonzero().squeeze(1)
    embeds = network.embed_prompt(ids, features, pads)
    found: dict[str, Any] = {"prompt_tokens": count, "image_tokens": features.shape[1]}
    stack, head = read_bytes(config, network.model)
    limits = bench.found["ceilings"]
    floor = (stack + head) / limits["read_tb_s"] / 1e9
    found["floor_round_ms"] = floor
    flop = 2 * (stack / network.model.diffusion_head.weight.element_size()) * count
    found["floor_prefill_ms"] = flop / limits["matmul_tflop_s"] / 1e9
    images = Captured(lambda: network.encode_images(frames), bench.device)
    found["vision"] = bench.row("vision", bench.device_ms(images))
    base = network.new_cache(1)

    def cache(length: int) -> KVCache:
        return KVCache(base.keys, base.values, length, torch.full_like(base.lengths, length))

    fill = Captured(lambda: network.extend(embeds, cache(0)), bench.device)
    ms = bench.device_ms(fill)
    note = f"{count} tokens, {np.median(ms) / found['floor_prefill_ms']:.2f} x matmul floor"
    found["prefill"] = bench.row("prefill", ms, note)
    rest = embeds[:, STATIC_TEXT:]
    again = Captured(lambda: network.extend(rest, cache(STATIC_TEXT)), bench.device)
    found["prefill_reused"] = bench.row(
        "prefill, static text known", bench.device_ms(again), f"{rest.shape[1]} tokens"
    )
    block = network.model.masked_block(1, PLAN_TOKENS)
    one = Captured(lambda: network.denoise(block, cache(count)), bench.device)
    ms = bench.device_ms(one)
    found["forward"] = bench.row("forward of 32", ms, f"{np.median(ms) / floor:.2f} x memory floor")
    step = Captured(lambda: network.denoise(block[:, :1], cache(count)), bench.device)
    ms = bench.device_ms(step)
    found["forward_1"] = bench.row(
        "forward of 1", ms, f"{np.median(ms) / floor:.2f} x memory floor"
    )
    return found


def modes(bench: Bench, engine: Engine) -> dict[str, Any]:
    """Whole plans from host memory to host memory, all modes on the same weights."""
    config = engine.network.config
    ids, frames = prompt(config, 1)
    if bench.device.type == "cuda":
        frames = frames.pin_memory()
    numbers = uniforms(1)
    found: dict[str, Any] = {}
    engine.prefill(ids, frames)
    half = PLAN_TOKENS // 4
    given = torch.full((1, PLAN_TOKENS), 100)
    given[:, :half:2] = config.action.accel_first_id
    given[:, 1:half:2] = config.action.curvature_first_id
    cases: list[tuple[str, DecodeConfig, dict[str, Any], int]] = []
    for rounds in ROUNDS:
        cases.append((f"diffusion K={rounds}", DecodeConfig(rounds=rounds), {}, bench.args.repeats))
    cases.append(
        (
            f"diffusion K=2, {half} tokens frozen",
            DecodeConfig(rounds=2),
            {"frozen": Frozen.of(given)},
            bench.args.repeats,
        )
    )
    few = max(3, bench.args.repeats // 8)
    threshold = DecodeConfig("threshold", threshold=0.9, max_rounds=4)
    noise = {"uniforms": uniforms(1, rounds=PLAN_TOKENS)}
    cases.append(("confidence, at most 4 rounds", threshold, noise, few))
    cases.append(("autoregressive", DecodeConfig("ar"), {}, few))
    cases.append(("self-speculation", DecodeConfig("self_speculation"), {}, few))
    for label, decode, extra, repeats in cases:
        options = {"uniforms": numbers, **extra}

        def run(decode: DecodeConfig = decode, options: dict[str, Any] = options) -> Any:
            out = engine.plan(ids, frames, decode, PLAN_TOKENS, **options)
            return out, out.values.cpu()

        out, _ = run()
        forwards = int(out.forwards[0])
        ms = bench.wall_ms(run, repeats)
        inner = bench.device_ms(
            lambda decode=decode, options=options: engine.decode(
                1, ids.shape[1], decode, PLAN_TOKENS, options["uniforms"], options.get("frozen")
            ),
            repeats,
        )
        per = float(np.median(inner)) / max(forwards, 1)
        tokens = PLAN_TOKENS - (half if "frozen" in options else 0)
        note = f"{forwards} forwards of {per:.3f} ms, {tokens / (forwards + 1):.2f} tokens/forward"
        found[label] = {
            **bench.row(label, ms, note),
            "forwards": forwards,
            "decode_p50_ms": float(np.median(inner)),
            "per_forward_ms": per,
        }
    ratio = found["autoregressive"]["p50_ms"] / found["diffusion K=2"]["p50_ms"]
    found["ar_over_k2"] = ratio
    bench.table.append(("autoregressive / diffusion K=2", f"{ratio:.2f} x"))
    cold = Engine(
        engine.network.model,
        replace(engine.config, reuse=False),
        ops=engine.network.ops,
    )
    ms = bench.wall_ms(
        lambda: cold.plan(
            ids, frames, DecodeConfig(rounds=2), PLAN_TOKENS, uniforms=numbers
        ).values.cpu()
    )
    found["K=2, nothing reused"] = bench.row("diffusion K=2, nothing reused", ms)
    return found


def memory(bench: Bench, engine: Engine) -> dict[str, Any]:
    if bench.device.type != "cuda":
        return {"skipped": "no CUDA device"}
    found = {
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
    }
    bench.table.append(("memory", " ".join(f"{k} {v:.2f}" for k, v in found.items())))
    return found


def batches(bench: Bench, engine: Engine) -> dict[str, Any]:
    """The decode of K = 2 rounds alone, behind prompts of the same length, for more worlds."""
    count = prompt(engine.network.config, 1)[0].shape[1]
    stack, _ = read_bytes(engine.network.config, engine.network.model)
    limits = bench.found["ceilings"]
    found: dict[str, Any] = {}
    for rows in BATCHES:
        slots = engine._slots_of(rows)
        slots.cache.keys.normal_()
        slots.cache.values.normal_()
        slots.hidden.normal_()
        slots.lengths.fill_(count)
        numbers = uniforms(rows).to(bench.device)
        ms = bench.device_ms(
            lambda rows=rows, numbers=numbers: engine.decode(
                rows, count, DecodeConfig(rounds=2), PLAN_TOKENS, numbers
            ),
            max(3, bench.args.repeats // 4),
        )
        item = engine.network.model.diffusion_head.weight.element_size()
        flop = 2 * 2 * stack / item * rows * PLAN_TOKENS
        floor = max(2 * stack / limits["read_tb_s"], flop / limits["matmul_tflop_s"]) / 1e9
        base = found["1"]["p50_ms"] if found else float(np.median(ms))
        ratio = float(np.median(ms)) / base
        note = f"{ratio:.2f} x batch 1, {np.median(ms) / floor:.2f} x floor"
        found[str(rows)] = {
            **bench.row(f"decode K=2, batch {rows}", ms, note),
            "times_batch_1": ratio,
            "times_floor": float(np.median(ms)) / floor,
        }
        del engine._slots[rows]
        engine._graphs = {
            key: value
            for key, value in engine._graphs.items()
            if not (key[0] == "decode" and key[1] == rows)
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="nld-vlm-8b", choices=sorted(PRESETS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--layers", type=int, default=0, help="truncate the text stack")
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--tune-rows", type=int, nargs="*", default=[32])
    parser.add_argument("--no-tune", action="store_true")
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    device = torch.device(args.device)
    cuda = device.type == "cuda"
    bench = Bench(args, device, torch.bfloat16 if cuda else torch.float32)
    config = replace(PRESETS[args.size], action=replace(PRESETS[args.size].action, steps=16))
    if args.layers:
        config = replace(config, num_hidden_layers=args.layers)
    bench.found["setup"] = {
        "size": args.size,
        "layers": config.num_hidden_layers,
        "device": torch.cuda.get_device_name() if cuda else platform.processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cameras": f"{CAMERAS} x {WIDTH_PX} x {HEIGHT_PX}",
        "plan_tokens": PLAN_TOKENS,
    }
    bench.section("ceilings", lambda: ceilings(bench))
    model = random_model(config, str(device), bench.dtype)
    ops = TritonOps() if cuda else TorchOps()
    engine = Engine(model, EngineConfig(max_prefix=1024 if cuda else 640), ops=ops)
    bench.section("check", lambda: check(bench, engine, model))
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    if not args.no_tune:
        bench.section("tune", lambda: tune_products(bench, engine))
        bench.section("tune_attention", lambda: tune_attention(bench, engine))
        bench.section("profile", lambda: profile(bench, engine))
        bench.section("check_tuned", lambda: check(bench, engine, model))
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    bench.section("phases", lambda: phases(bench, engine))
    bench.section("modes", lambda: modes(bench, engine))
    bench.section("memory", lambda: memory(bench, engine))
    bench.section("batches", lambda: batches(bench, engine))
    if args.out:
        args.out.write_text(json.dumps(bench.found, indent=1, default=str) + "\n")
    print(json.dumps(bench.found["setup"]))
    for label, text in bench.table:
        print(f"{label:34s} {text}")
    if bench.failed:
        print("FAILED:", ", ".join(bench.failed))
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
