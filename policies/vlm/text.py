"""The text backbone: a dense pre-norm decoder with YaRN rotary positions, cached or packed.

One stack serves both modes: which positions see which is the caller's ``allowed`` mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Protocol

import torch
from torch import Tensor, nn

from policies.vlm.config import RopeConfig, VLMConfig
from policies.vlm.kernels import attend, signed
from policies.vlm.layers import Attention, GatedMLP, RMSNorm


# --------------------------------------------------------------------------------------
# Positions
# --------------------------------------------------------------------------------------
def yarn_frequencies(rope: RopeConfig, head_dim: int) -> Tensor:
    """float32 [head_dim / 2] angular steps: fast pairs as trained, slow ones stretched by
    ``factor``."""
    half = head_dim // 2
    exponent = torch.arange(half, dtype=torch.float32) * 2 / head_dim
    base = 1.0 / rope.rope_theta**exponent

    def pair_of(rotations: float) -> float:
        """Index of the pair that turns ``rotations`` times over the original context."""
        span = rope.original_max_position_embeddings / (rotations * 2 * math.pi)
        return head_dim * math.log(span) / (2 * math.log(rope.rope_theta))

    low = max(math.floor(pair_of(rope.beta_fast)), 0)
    high = min(math.ceil(pair_of(rope.beta_slow)), head_dim - 1)
    slow = ((torch.arange(half, dtype=torch.float32) - low) / max(high - low, 1e-3)).clamp(0, 1)
    return base / rope.factor * slow + base * (1 - slow)


def _attention_factor(rope: RopeConfig) -> float:
    def mscale(weight: float) -> float:
        return 1.0 if rope.factor <= 1 else 0.1 * weight * math.log(rope.factor) + 1.0

    if rope.mscale and rope.mscale_all_dim:
        return mscale(rope.mscale) / mscale(rope.mscale_all_dim)
    return mscale(1.0)


@lru_cache(maxsize=16)
def rope_table(rope: RopeConfig, head_dim: int, length: int, device: str) -> tuple[Tensor, Tensor]:
    """cos, sin float32 [length, head_dim]."""
    with torch.inference_mode(False):
        angles = torch.outer(torch.arange(length).float(), yarn_frequencies(rope, head_dim))
        angles = torch.cat([angles, angles], dim=-1)
        factor = _attention_factor(rope)
        return (angles.cos() * factor).to(device), (angles.sin() * factor).to(device)


@lru_cache(maxsize=16)
def _signed_table(
    rope: RopeConfig, head_dim: int, length: int, device: str
) -> tuple[Tensor, Tensor]:
    """``rope_table`` with the sines as ``split_heads`` takes them."""
    with torch.inference_mode(False):
        cos, sin = rope_table(rope, head_dim, length, device)
        return cos, signed(sin)


# --------------------------------------------------------------------------------------
# Who sees whom
# --------------------------------------------------------------------------------------
@lru_cache(maxsize=256)
def causal_mask(queries: int, keys: int) -> Tensor:
    """bool [queries, keys]: the last ``queries`` of ``keys`` positions, each seeing itself and
    before."""
    with torch.inference_mode(False):
        return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


@lru_cache(maxsize=256)
def packed_mask(prefix: int, segments: tuple[tuple[int, bool], ...]) -> Tensor:
    """bool [S, S] for [prefix | segment | segment ...].

    The prefix is causal. Each segment (length, causal) sees the prefix and itself: all of itself,
    or, if causal, up to each position. No segment sees another.
    """
    with torch.inference_mode(False):
        total = prefix + sum(length for length, _ in segments)
        allowed = torch.zeros(total, total, dtype=torch.bool)
        allowed[:, :prefix] = True
        allowed[:prefix, :prefix] = causal_mask(prefix, prefix)
        first = prefix
        for length, causal in segments:
            own = slice(first, first + length)
            allowed[own, own] = causal_mask(length, length) if causal else True
            first += length
        return allowed


@lru_cache(maxsize=256)
def packed_positions(prefix: int, lengths: tuple[int, ...]) -> Tensor:
    """int64 [S]: every segment continues right after the prefix."""
    with torch.inference_mode(False):
        parts = [torch.arange(prefix), *(torch.arange(prefix, prefix + n) for n in lengths)]
        return torch.cat(parts)


# --------------------------------------------------------------------------------------
# Cache
# --------------------------------------------------------------------------------------
@dataclass
class KVCache:
    """Keys and values of a prefix, with room behind it for one block.

    ``keys`` and ``values`` [layers, B, kv_heads, capacity, D]; slot = position. The first
    ``length`` slots are valid; with ``lengths`` int64 [B] each row has its own count, and
    ``length`` is at least the largest (known without asking the device). A denoising forward writes
    the block's keys behind the valid slots and leaves the counts alone, so the prefix is never
    changed.
    """

    keys: Tensor
    values: Tensor
    length: int
    lengths: Tensor | None = None

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def places(self, count: int) -> tuple[int, int] | Tensor:
        """Where the next ``count`` positions go: a range, or int64 [B, count]."""
        if self.lengths is None:
            return self.length, self.length + count
        return self.lengths.unsqueeze(1) + torch.arange(count, device=self.lengths.device)

    def allowed(self, count: int, causal: bool) -> Tensor | None:
        """Who the next ``count`` positions see: bool [count, keys] or [B, count, keys], None = all.

        Every query sees the valid slots and its own block: all of it, or, if ``causal``, up to
        itself.
        """
        end = self.length + count
        if self.lengths is None:
            return causal_mask(count, end) if causal and count > 1 else None
        slots = torch.arange(end, device=self.lengths.device)
        places = self.places(count)
        assert isinstance(places, Tensor)
        last = places if causal else places[:, -1:].expand(-1, count)
        return slots <= last.unsqueeze(-1)

    def put(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store k, v [B, kv_heads, t, D] behind the valid slots; all keys, values so far."""
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"cache holds {self.capacity} positions, {end} needed")
        keys, values = self.keys[layer], self.values[layer]
        if self.lengths is None:
            keys[:, :, self.length : end] = k
            values[:, :, self.length : end] = v
        else:
            places = self.places(k.shape[2])
            assert isinstance(places, Tensor)
            at = places[:, None, :, None].expand_as(k)
            keys.scatter_(2, at, k.to(keys.dtype))
            values.scatter_(2, at, v.to(values.dtype))
        return keys[:, :, :end], values[:, :, :end]

    def advance(self, count: int) -> None:
        """The last ``count`` positions written become part of the prefix."""
        self.length += count
        if self.lengths is not None:
            self.lengths = self.lengths + count

    def crop(self, lengths: Tensor, bound: int) -> None:
        """Keep the first ``lengths`` [B] positions of each row; none is above ``bound``."""
        self.length, self.lengths = bound, lengths

    def take(self, rows: Tensor) -> KVCache:
        """The cache of some batch rows (a copy)."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return KVCache(self.keys[:, rows], self.values[:, rows], self.length, lengths)


# --------------------------------------------------------------------------------------
# Layers
# --------------------------------------------------------------------------------------
class Adapter(Protocol):
    """A change to the attention outputs: ``adapter(layer, mixed [B, S, Hq * D])`` [B, S, H]."""

    def __call__(self, layer: int, mixed: Tensor) -> Tensor: ...


# cos, signed sin [S, D] or [B, 1, S, D]; query scale [S] or [B, 1, S], None: 1 everywhere
Rotary = tuple[Tensor, Tensor, Tensor | None]


class DecoderLayer(nn.Module):
    def __init__(self, config: VLMConfig) -> None:
        super().__init__()
        hidden, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = RMSNorm(hidden, eps)
        self.self_attn = Attention(
            hidden, config.num_attention_heads, config.num_key_value_heads, config.head_dim
        )
        self.post_attention_layernorm = RMSNorm(hidden, eps)
        self.mlp = GatedMLP(hidden, config.intermediate_size)

    def forward(
        self,
        x: Tensor,
        rotary: Rotary,
        allowed: Tensor | None,
        *,
        keep: Tensor | slice | None = None,
        put: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        add: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """x [B, S, H] -> [B, S (or kept), H]. ``put`` takes keys and values and returns all that
        there are to see; ``add`` adds to the attention output.
        """
        cos, sin, scale = rotary
        normed = self.input_layernorm(x)
        if keep is None:
            q, k, v = self.self_attn.qkv(normed, cos, sin)
        else:
            k, v = self.self_attn.kv(normed, cos, sin)
            x, normed = _pick(x, keep), _pick(normed, keep)
            q = self.self_attn.q(normed, cos[..., keep, :], sin[..., keep, :])
            scale = scale[..., keep] if scale is not None else None
            allowed = allowed[..., keep, :] if allowed is not None else None
        if scale is not None:
            q = q * scale.unsqueeze(-1).to(q.dtype)
        if put is not None:
            k, v = put(k, v)
        mixed = attend(q, k, v, allowed)
        attended = self.self_attn.o_proj(mixed)
        x = x + (attended if add is None else attended + add(mixed))
        return x + self.mlp(self.post_attention_layernorm(x))


class TextTower(nn.Module):
    """``embed_tokens``, ``layers`` and ``norm``; subclass ``model.Encoder`` adds the image side."""

    def __init__(self, config: VLMConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def new_cache(self, batch: int, capacity: int, like: Tensor) -> KVCache:
        config = self.config
        shape = (
            config.num_hidden_layers,
            batch,
            config.num_key_value_heads,
            capacity,
            config.head_dim,
        )
        return KVCache(like.new_zeros(shape), like.new_zeros(shape), 0)

    def forward(
        self,
        x: Tensor,
        positions: Tensor | tuple[int, int],
        allowed: Tensor | None,
        *,
        keep: Tensor | slice | None = None,
        cache: KVCache | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor:
        """Final normed hidden states of embeddings x [B, S, H] at ``positions`` [S], [B, S] or a
        range.

        ``allowed`` bool [S, keys] or [B, S, keys], None = all. ``keep``: positions of S wanted at
        the end: the last layer computes keys for all but everything else only for these. ``cache``
        supplies the keys before. ``adapter`` adds to the attention outputs.
        """
        rotary = self._rotary(x, positions, cache.capacity if cache else None)
        if allowed is not None:
            allowed = allowed.to(x.device)
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            x = layer(
                x,
                rotary,
                allowed,
                keep=keep if index == last else None,
                put=None if cache is None else partial(cache.put, index),
                add=None if adapter is None else partial(adapter, index),
            )
        return self.norm(x)

    def _rotary(self, x: Tensor, positions: Tensor | tuple[int, int], bound: int | None) -> Rotary:
        """Of ``positions``; the scale is None while every position is in the original context.
        ``bound`` is above every position, if known."""
        config, rope = self.config, self.config.rope
        ranged = isinstance(positions, tuple)
        top = positions[1] if ranged else bound or int(positions.max()) + 1
        length = max(128, 1 << (top - 1).bit_length())
        cos, sin = _signed_table(rope, config.head_dim, length, str(x.device))
        if isinstance(positions, tuple):
            at: slice | Tensor = slice(*positions)
        else:
            at = positions.to(x.device)
            at = at.unsqueeze(1) if at.dim() == 2 else at
        scale = None
        if top > rope.original_max_position_embeddings and rope.llama_4_scaling_beta:
            turns = torch.arange(length, device=x.device) // rope.original_max_position_embeddings
            scale = (1 + rope.llama_4_scaling_beta * torch.log1p(turns.float()))[at]
        return cos[at], sin[at], scale


def _pick(x: Tensor, keep: Tensor | slice) -> Tensor:
    return x[:, keep] if isinstance(keep, slice) else x.index_select(1, keep)
