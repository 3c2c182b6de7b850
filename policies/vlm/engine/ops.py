"""The few operations of a transformer block, in plain torch and in Triton.

Shapes: M = B * S rows, H hidden, heads x D, F inner width of the MLP. The residual stream is
float32; everything else has the weights' dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# (columns, inner step, split of the inner dimension, pipeline stages, warps)
Tiling = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Heads:
    """Query and key heads and how positions turn them; ``cos``, ``sin`` float32 [positions, D]."""

    queries: int
    keys: int
    dim: int
    cos: Tensor
    sin: Tensor
    original: int = 1 << 30  # beyond it queries grow (the llama-4 scale)
    beta: float = 0.0


@dataclass
class Layer:
    """Fused weights of one block: ``qkv`` [(queries + 2 keys) * D, H], ``out`` [H, queries * D],
    ``gate_up`` [2 F, H], ``down`` [H, F], norms [H]."""

    norm_1: Tensor
    qkv: Tensor
    out: Tensor
    norm_2: Tensor
    gate_up: Tensor
    down: Tensor


class Ops(Protocol):
    def add_norm(
        self, x: Tensor, delta: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """(x + delta float32 [M, H], its norm); ``delta`` [M, H] or in parts [parts, M, H]."""
        ...

    def linear(self, x: Tensor, w: Tensor) -> Tensor:
        """x [M, K] @ w.T, [M, N] or in parts [parts, M, N]."""
        ...

    def gated(self, x: Tensor, gate_up: Tensor) -> Tensor:
        """silu(gate) * up [M, F]."""
        ...

    def rotate_store(
        self, qkv: Tensor, heads: Heads, keys: Tensor, values: Tensor, lengths: Tensor, count: int
    ) -> Tensor:
        """Queries [M, heads, D] of ``qkv`` at places lengths[b] + i, i < count; keys and values go
        to these slots of [B, kv, capacity, D]."""
        ...

    def attend(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
        count: int,
        bound: int,
        causal: bool,
    ) -> Tensor:
        """[M, heads * D]: slots below lengths[b] + count, or up to each query's own if ``causal``;
        no slot is at or above ``bound``."""
        ...


class TorchOps:
    """Plain torch, on any device: the engine's reference."""

    def add_norm(
        self, x: Tensor, delta: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        x = x if delta is None else x + delta.float()
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        return x, (x * scale * weight.float()).to(weight.dtype)

    def linear(self, x: Tensor, w: Tensor) -> Tensor:
        return F.linear(x, w)

    def gated(self, x: Tensor, gate_up: Tensor) -> Tensor:
        gate, up = F.linear(x, gate_up).chunk(2, -1)
        return F.silu(gate) * up

    def rotate_store(
        self, qkv: Tensor, heads: Heads, keys: Tensor, values: Tensor, lengths: Tensor, count: int
    ) -> Tensor:
        batch = len(lengths)
        places = lengths[:, None] + torch.arange(count, device=lengths.device)  # [B, S]
        cos, sin = heads.cos[places].unsqueeze(2), heads.sin[places].unsqueeze(2)
        parts = qkv.view(batch, count, -1, heads.dim)
        q, k, v = parts.split([heads.queries, heads.keys, heads.keys], dim=2)

        def turn(t: Tensor) -> Tensor:
            a, b = t.float().chunk(2, -1)
            return t.float() * cos + torch.cat([-b, a], -1) * sin

        scale = 1 + heads.beta * torch.log1p((places // heads.original).float())
        at = places[:, None, :, None].expand(-1, heads.keys, -1, heads.dim)
        keys.scatter_(2, at, turn(k).to(keys.dtype).transpose(1, 2))
        values.scatter_(2, at, v.to(values.dtype).transpose(1, 2))
        q = turn(q) * scale[:, :, None, None]
        return q.to(keys.dtype).reshape(-1, heads.queries, heads.dim)

    def attend(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
        count: int,
        bound: int,
        causal: bool,
    ) -> Tensor:
        batch, kv_heads, _, dim = keys.shape
        slots = torch.arange(bound, device=q.device)
        last = lengths[:, None] + torch.arange(count, device=q.device)
        last = last if causal else last[:, -1:].expand(-1, count)
        allowed = (slots <= last.unsqueeze(-1)).unsqueeze(1)  # [B, 1, S, bound]
        out = F.scaled_dot_product_attention(
            q.view(batch, count, -1, dim).transpose(1, 2),
            keys[:, :, :bound],
            values[:, :, :bound],
            attn_mask=allowed,
            enable_gqa=q.shape[1] != kv_heads,
        )
        return out.transpose(1, 2).reshape(batch * count, -1)


@dataclass
class TritonOps:
    """Fused kernels on CUDA. ``tilings``: how a product of a shape (rows rounded up to a power of
    two, N, K) runs; a shape without one goes to the vendor's library."""

    tilings: dict[tuple[int, int, int], Tiling] = field(default_factory=dict)
    gated_tilings: dict[tuple[int, int, int], Tiling] = field(default_factory=dict)
    # By (batch, queries of a row); None where nothing was measured.
    attention: dict[tuple[int, int], tuple[int, int, int, int]] = field(default_factory=dict)

    def add_norm(
        self, x: Tensor, delta: Tensor | None, weight: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        from policies.vlm.engine import triton_kernels as kernels

        return x, kernels.add_norm(x, delta, weight, eps, weight.dtype)

    def linear(self, x: Tensor, w: Tensor) -> Tensor:
        tiling = self.tilings.get((shape_class(x.shape[0]), *w.shape))
        if tiling is None:
            return F.linear(x, w)
        from policies.vlm.engine import triton_kernels as kernels

        return kernels.few_rows(x, w, tiling)

    def gated(self, x: Tensor, gate_up: Tensor) -> Tensor:
        from policies.vlm.engine import triton_kernels as kernels

        tiling = self.gated_tilings.get((shape_class(x.shape[0]), *gate_up.shape))
        if tiling is None:
            return kernels.gate(F.linear(x, gate_up))
        return kernels.few_rows(x, gate_up, tiling, gated=True)

    def rotate_store(
        self, qkv: Tensor, heads: Heads, keys: Tensor, values: Tensor, lengths: Tensor, count: int
    ) -> Tensor:
        from policies.vlm.engine import triton_kernels as kernels

        return kernels.rotate_store(
            qkv,
            heads.cos,
            heads.sin,
            keys,
            values,
            lengths,
            count,
            heads.queries,
            heads.original,
            heads.beta,
        )

    def attend(
        self,
        q: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor,
        count: int,
        bound: int,
        causal: bool,
    ) -> Tensor:
        from policies.vlm.engine import triton_kernels as kernels

        tiling = self.attention.get((len(lengths), count))
        return kernels.attend(q, keys, values, lengths, count, bound, causal, tiling)


def shape_class(rows: int) -> int:
    """Row counts that share a tiling."""
    return 1 << max(4, (rows - 1).bit_length())


def tune(
    ops: TritonOps,
    weights: dict[str, list[Tensor]],
    rows: tuple[int, ...],
    candidates: tuple[Tiling, ...],
    time_ms: Callable[[Callable[[Tensor, Tensor], Tensor], Tensor, list[Tensor]], float],
) -> list[dict[str, object]]:
    """Choose by measurement, for products with few rows, between the vendor's library and
    ``candidates``; keeps the faster in ``ops``. Returns what was measured.

    ``weights``: matrices of equal shape by name; ``gate_up`` is the gated one. ``time_ms(run, x,
    matrices)`` times ``run(x, w)`` for each of the matrices in turn.
    """
    from policies.vlm.engine import triton_kernels as kernels

    found: list[dict[str, object]] = []
    for name, matrices in weights.items():
        width, inner = matrices[0].shape
        gated = name == "gate_up"
        table = ops.gated_tilings if gated else ops.tilings
        for count in rows:
            key = (shape_class(count), width, inner)
            table.pop(key, None)
            x = torch.randn(count, inner, device=matrices[0].device, dtype=matrices[0].dtype)
            best = time_ms(ops.gated if gated else ops.linear, x, matrices)
            found.append({"matrix": name, "rows": count, "tiling": None, "ms": best})
            for tiling in candidates:
                columns, step, split, _, _ = tiling
                if inner % (split * step) or (gated and split > 1) or width % columns:
                    continue

                run = partial(kernels.few_rows, config=tiling, gated=gated)
                took = time_ms(run, x, matrices)
                found.append({"matrix": name, "rows": count, "tiling": tiling, "ms": took})
                if took < best:
                    best = took
                    table[key] = tiling
    return found
