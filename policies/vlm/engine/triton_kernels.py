"""Fused kernels for CUDA devices: norm with residual, rotary positions with cache write, attention
over the cache, and matrix products with few rows.

Reductions and accumulators are float32. A matrix product whose inner dimension is cut into parts
leaves the parts to its consumer, which adds them while it reads. Launchers are at the bottom.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _add_norm(x, delta, weight, out, width, part, eps, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    """x += sum of delta parts; out = x / rms(x) * weight. One program per row."""
    row = tl.program_id(0).to(tl.int64)
    col = tl.arange(0, BLOCK)
    inside = col < width
    at = row * width + col
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    for p in tl.static_range(PARTS):
        v += tl.load(delta + p * part + at, mask=inside, other=0.0).to(tl.float32)
    if PARTS > 0:
        tl.store(x + at, v, mask=inside)
    scale = tl.rsqrt(tl.sum(v * v, 0) / width + eps)
    w = tl.load(weight + col, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, (v * scale * w).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _rotate_store(
    qkv,
    cos,
    sin,
    q,
    keys,
    values,
    lengths,
    count,
    capacity,
    part,
    original,
    beta,
    HQ: tl.constexpr,
    HK: tl.constexpr,
    D: tl.constexpr,
    HEADS: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Row (b, i) stands at lengths[b] + i: rotate its queries and keys, write keys and values to
    that slot of the cache. One program per row and HEADS heads."""
    row = tl.program_id(0).to(tl.int64)
    batch = row // count
    place = tl.load(lengths + batch) + row % count
    first = tl.program_id(1) * HEADS
    head = first + tl.arange(0, HEADS)
    half = tl.arange(0, D // 2)
    at = (row * (HQ + 2 * HK) + head)[:, None] * D + half[None, :]
    a = tl.zeros((HEADS, D // 2), tl.float32)
    b = tl.zeros((HEADS, D // 2), tl.float32)
    for p in tl.static_range(PARTS):
        a += tl.load(qkv + p * part + at).to(tl.float32)
        b += tl.load(qkv + p * part + at + D // 2).to(tl.float32)
    if first < HQ + HK:
        c = tl.load(cos + place * D + half)[None, :]
        s = tl.load(sin + place * D + half)[None, :]
        a, b = a * c - b * s, b * c + a * s
    slot = capacity.to(tl.int64)
    if first < HQ:
        turns = (place // original).to(tl.float32)
        scale = 1.0 + beta * tl.log(1.0 + turns)
        to = (row * HQ + head)[:, None] * D + half[None, :]
        tl.store(q + to, (a * scale).to(q.dtype.element_ty))
        tl.store(q + to + D // 2, (b * scale).to(q.dtype.element_ty))
    elif first < HQ + HK:
        to = ((batch * HK + head - HQ) * slot + place)[:, None] * D + half[None, :]
        tl.store(keys + to, a.to(keys.dtype.element_ty))
        tl.store(keys + to + D // 2, b.to(keys.dtype.element_ty))
    else:
        to = ((batch * HK + head - HQ - HK) * slot + place)[:, None] * D + half[None, :]
        tl.store(values + to, a.to(values.dtype.element_ty))
        tl.store(values + to + D // 2, b.to(values.dtype.element_ty))


@triton.jit
def _attend(
    q,
    keys,
    values,
    lengths,
    out,
    sums,
    count,
    capacity,
    rows,
    scale,
    HQ: tl.constexpr,
    HK: tl.constexpr,
    D: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SPLITS: tl.constexpr,
    CAUSAL: tl.constexpr,
):
    """Queries (b, i, head) over slots [0, lengths[b] + count), or up to themselves if CAUSAL.

    One program per tile of (query, head of the group), key head, and share of the keys. With SPLITS
    > 1, ``out`` [SPLITS, rows, D] gets weighted sums and ``sums`` [2, SPLITS, rows] their maxima
    and weights.
    """
    batch = tl.program_id(1) // HK
    head = tl.program_id(1) % HK
    group: tl.constexpr = HQ // HK
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    i = m // group
    d = tl.arange(0, D)
    length = tl.load(lengths + batch).to(tl.int32)
    row = (batch * count + i).to(tl.int64) * HQ + head * group + m % group
    inside = i < count
    qt = tl.load(q + row[:, None] * D + d[None, :], mask=inside[:, None], other=0.0)
    end = length + count
    if CAUSAL:
        end = tl.minimum(end, length + (tl.program_id(0) * BLOCK_M + BLOCK_M - 1) // group + 1)
    share = tl.cdiv(tl.cdiv(end, SPLITS), BLOCK_N) * BLOCK_N
    start = tl.program_id(2) * share
    stop = tl.minimum(end, start + share)
    top = tl.full((BLOCK_M,), -1e30, tl.float32)
    weight = tl.zeros((BLOCK_M,), tl.float32)
    acc = tl.zeros((BLOCK_M, D), tl.float32)
    base = (batch * HK + head).to(tl.int64) * capacity
    for n0 in range(start, stop, BLOCK_N):
        n = n0 + tl.arange(0, BLOCK_N)
        valid = n < stop
        k = tl.load(keys + (base + n)[:, None] * D + d[None, :], mask=valid[:, None], other=0.0)
        v = tl.load(values + (base + n)[:, None] * D + d[None, :], mask=valid[:, None], other=0.0)
        s = tl.dot(qt, tl.trans(k)) * scale
        seen = valid[None, :]
        if CAUSAL:
            seen = seen & (n[None, :] <= (length + i)[:, None])
        s = tl.where(seen, s, -1e30)
        higher = tl.maximum(top, tl.max(s, 1))
        p = tl.where(seen, tl.exp(s - higher[:, None]), 0.0)
        shrink = tl.exp(top - higher)
        weight = weight * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None] + tl.dot(p.to(v.dtype), v)
        top = higher
    if SPLITS == 1:
        acc = acc / weight[:, None]
        tl.store(
            out + row[:, None] * D + d[None, :],
            acc.to(out.dtype.element_ty),
            mask=inside[:, None],
        )
    else:
        part = tl.program_id(2) * rows + row
        tl.store(out + part[:, None] * D + d[None, :], acc, mask=inside[:, None])
        tl.store(sums + part, top, mask=inside)
        tl.store(sums + SPLITS * rows + part, weight, mask=inside)


@triton.jit
def _combine(parts, sums, out, rows, D: tl.constexpr, SPLITS: tl.constexpr, SHARES: tl.constexpr):
    """Join the shares of ``_attend``. One program per (query, head); SHARES = SPLITS as a power of
    two."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    s = tl.arange(0, SHARES)
    used = s < SPLITS
    top = tl.load(sums + s * rows + row, mask=used, other=-1e30)
    weight = tl.load(sums + (SPLITS + s) * rows + row, mask=used, other=0.0)
    share = tl.where(used, tl.exp(top - tl.max(top, 0)), 0.0)
    at = (s * rows + row)[:, None] * D + d[None, :]
    acc = tl.load(parts + at, mask=used[:, None], other=0.0)
    total = tl.sum(acc * share[:, None], 0) / tl.sum(weight * share, 0)
    tl.store(out + row * D + d, total.to(out.dtype.element_ty))


@triton.jit
def _few_rows(
    x,
    w,
    scales,
    out,
    rows,
    width,
    inner,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    SPLIT: tl.constexpr,
    GATED: tl.constexpr,
    SCALED: tl.constexpr,
):
    """out[split] = x [rows, inner] @ w [width, inner].T over that share of the inner dimension;
    GATED: w holds gate above up, out = silu(gate) * up. SCALED: w's rows are in units of
    ``scales``."""
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    m = tl.program_id(0) * BM + tl.arange(0, BM)  # neighbours share the weights they read
    k = tl.arange(0, BK)
    share = inner // SPLIT
    begin = tl.program_id(2) * share
    in_x, in_w = m < rows, n < width
    xp = x + m[:, None].to(tl.int64) * inner + begin + k[None, :]
    wp = w + n[:, None].to(tl.int64) * inner + begin + k[None, :]
    acc = tl.zeros((BN, BM), tl.float32)
    up = tl.zeros((BN, BM), tl.float32)
    for _ in range(0, share, BK):
        xt = tl.trans(tl.load(xp, mask=in_x[:, None], other=0.0))
        wt = tl.load(wp, mask=in_w[:, None], other=0.0).to(x.dtype.element_ty)
        acc = tl.dot(wt, xt, acc)
        if GATED:
            ut = tl.load(wp + width.to(tl.int64) * inner, mask=in_w[:, None], other=0.0)
            up = tl.dot(ut.to(x.dtype.element_ty), xt, up)
        xp += BK
        wp += BK
    if SCALED:
        acc *= tl.load(scales + n, mask=in_w, other=0.0)[:, None]
        if GATED:
            up *= tl.load(scales + width + n, mask=in_w, other=0.0)[:, None]
    if GATED:
        acc = acc * tl.sigmoid(acc) * up
    at = (tl.program_id(2).to(tl.int64) * rows + m)[None, :] * width + n[:, None]
    keep = in_x[None, :] & in_w[:, None]
    tl.store(out + at, acc.to(out.dtype.element_ty), mask=keep)


@triton.jit
def _gate(gate_up, out, width, BLOCK: tl.constexpr):
    """out [M, width] = silu(gate) * up of [M, gate | up]. Grid (M, blocks)."""
    row = tl.program_id(0).to(tl.int64)
    col = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = col < width
    g = tl.load(gate_up + row * 2 * width + col, mask=inside, other=0.0).to(tl.float32)
    u = tl.load(gate_up + row * 2 * width + width + col, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + col, (g * tl.sigmoid(g) * u).to(out.dtype.element_ty), mask=inside)


# --------------------------------------------------------------------------------------
# Launchers
# --------------------------------------------------------------------------------------
def _parts(t: Tensor) -> tuple[int, int]:
    """(parts, elements in each) of [M, N] or [parts, M, N]."""
    return (1, t.numel()) if t.dim() == 2 else (t.shape[0], t[0].numel())


def add_norm(
    x: Tensor, delta: Tensor | None, weight: Tensor, eps: float, dtype: torch.dtype
) -> Tensor:
    """x [M, H] float32 += delta ([parts,] M, H), in place; the normed x as ``dtype``."""
    out = torch.empty(x.shape, dtype=dtype, device=x.device)
    parts, size = (0, 0) if delta is None else _parts(delta)
    rows, width = x.shape
    block = triton.next_power_of_2(width)
    _add_norm[(rows,)](
        x, x if delta is None else delta, weight, out, width, size, eps, parts, block, num_warps=8
    )
    return out


def rotate_store(
    qkv: Tensor,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    count: int,
    heads: int,
    original: int,
    beta: float,
) -> Tensor:
    """Queries [M, heads, D] of ``qkv`` ([parts,] M, (heads + 2 kv) * D); keys and values go to
    their slots of [B, kv, capacity, D]."""
    _, kv_heads, capacity, dim = keys.shape
    parts, size = _parts(qkv)
    rows = qkv.shape[-2]
    step = 1
    while step < 8 and heads % (step * 2) == 0 and kv_heads % (step * 2) == 0:
        step *= 2
    q = torch.empty(rows, heads, dim, dtype=keys.dtype, device=keys.device)
    _rotate_store[(rows, (heads + 2 * kv_heads) // step)](
        qkv,
        cos,
        sin,
        q,
        keys,
        values,
        lengths,
        count,
        capacity,
        size,
        original,
        beta,
        heads,
        kv_heads,
        dim,
        step,
        parts,
        num_warps=2,
    )
    return q


def attend(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    count: int,
    bound: int,
    causal: bool,
    tiling: tuple[int, int, int, int] | None = None,
) -> Tensor:
    """[M, heads * D] of queries [M, heads, D]; ``bound`` is at least every lengths + count.

    ``tiling``: (queries times group in a tile, keys in a step, shares of the keys, warps).
    """
    batch, kv_heads, capacity, dim = keys.shape
    rows, heads = q.shape[0], q.shape[1]
    tile = count * (heads // kv_heads)
    if tiling is None:
        block_m = min(max(16, triton.next_power_of_2(tile)), 128)
        # Enough programs to fill the device, but no share of fewer than 128 keys.
        programs = triton.cdiv(tile, block_m) * batch * kv_heads
        splits = max(1, min(8, 128 // programs, triton.cdiv(bound, 128)))
        tiling = block_m, 64, splits, 8 if block_m >= 128 else 4
    block_m, block_n, splits, warps = tiling
    tiles = triton.cdiv(tile, block_m)
    out = torch.empty(rows, heads * dim, dtype=q.dtype, device=q.device)
    total = rows * heads
    parts, sums = out, lengths
    if splits > 1:
        parts = torch.empty(splits, total, dim, dtype=torch.float32, device=q.device)
        sums = torch.empty(2, splits, total, dtype=torch.float32, device=q.device)
    _attend[(tiles, batch * kv_heads, splits)](
        q,
        keys,
        values,
        lengths,
        parts,
        sums,
        count,
        capacity,
        total,
        dim**-0.5,
        heads,
        kv_heads,
        dim,
        block_m,
        block_n,
        splits,
        causal,
        num_warps=warps,
        num_stages=2,
    )
    if splits > 1:
        shares = triton.next_power_of_2(splits)
        _combine[(total,)](parts, sums, out, total, dim, splits, shares, num_warps=1)
    return out


def few_rows(
    x: Tensor,
    w: Tensor,
    config: tuple[int, int, int, int, int],
    *,
    gated: bool = False,
    scales: Tensor | None = None,
) -> Tensor:
    """x [M, K] @ w.T as ``config`` (columns, inner step, split, stages, warps) says: float32 parts
    [split, M, N], or [M, N] like x if there is one."""
    bn, bk, split, stages, warps = config
    rows, inner = x.shape
    width = w.shape[0] // 2 if gated else w.shape[0]
    bm = min(max(16, triton.next_power_of_2(rows)), 64 if rows <= 64 else 128)
    dtype = x.dtype if split == 1 else torch.float32
    out = torch.empty(split, rows, width, dtype=dtype, device=x.device)
    _few_rows[(triton.cdiv(rows, bm), triton.cdiv(width, bn), split)](
        x,
        w,
        w if scales is None else scales,
        out,
        rows,
        width,
        inner,
        bm,
        bn,
        bk,
        split,
        gated,
        scales is not None,
        num_warps=warps,
        num_stages=stages,
    )
    return out[0] if split == 1 else out


def gate(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of [M, gate | up]."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    _gate[(rows, triton.cdiv(width, 1024))](gate_up, out, width, 1024, num_warps=4)
    return out
