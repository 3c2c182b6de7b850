"""The stack on fused weights: what ``NLDModel`` computes, with fewer and larger operations.

The model's parameters become views of the fused matrices, so nothing is stored twice, and weights
that are changed in place (a trainer's step, ``load_state_dict``, a new adapter) are used by the
next call, captured or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from policies.vlm.engine.ops import Heads, Layer, Ops, TorchOps
from policies.vlm.model import NLDModel
from policies.vlm.text import Adapter, KVCache, rope_table
from policies.vlm.vision import CENTRE, rope_2d


@torch.no_grad()
def fused(*layers: Any) -> Tensor:
    """One matrix of linear layers' weights, stacked; the layers keep views of it."""
    if len({layer.weight.untyped_storage().data_ptr() for layer in layers}) == 1:
        first = layers[0].weight  # fused before
        rows = sum(layer.weight.shape[0] for layer in layers)
        return first.detach().as_strided((rows, first.shape[1]), first.stride())
    joined = torch.cat([layer.weight for layer in layers])
    start = 0
    for layer in layers:
        rows = layer.weight.shape[0]
        layer.weight.data = joined[start : start + rows]
        start += rows
    return joined


def _layer(norm_1: Any, attention: Any, norm_2: Any, mlp: Any) -> Layer:
    return Layer(
        norm_1.weight.detach(),
        fused(attention.q_proj, attention.k_proj, attention.v_proj),
        attention.o_proj.weight.detach(),
        norm_2.weight.detach(),
        fused(mlp.gate_proj, mlp.up_proj),
        mlp.down_proj.weight.detach(),
    )


def text_layers(model: NLDModel) -> list[Layer]:
    return [
        _layer(layer.input_layernorm, layer.self_attn, layer.post_attention_layernorm, layer.mlp)
        for layer in model.encoder.layers
    ]


def vision_layers(model: NLDModel) -> list[Layer]:
    if model.config.vision is None:
        return []
    return [
        _layer(layer.attention_norm, layer.attention, layer.ffn_norm, layer.feed_forward)
        for layer in model.encoder.vision_tower.transformer.layers
    ]


@dataclass(frozen=True)
class Stack:
    """Blocks, the norm after them (None: none), and their heads."""

    layers: list[Layer]
    norm: Tensor | None
    eps: float
    heads: Heads


def forward(
    stack: Stack,
    ops: Ops,
    x: Tensor,
    keys: Tensor,
    values: Tensor,
    lengths: Tensor,
    count: int,
    bound: int,
    *,
    causal: bool,
    keep: Tensor | slice | None = None,
    adapter: Adapter | None = None,
) -> Tensor:
    """Hidden states [B, S or kept, H] of float32 x [B * S, H], S = ``count`` new positions behind
    each row's ``lengths`` [B].

    ``keys``, ``values`` [layers, B, kv, capacity, D]: the new ones are written to their slots.
    ``keep``: positions of S wanted at the end.
    """
    delta: Tensor | None = None
    last = len(stack.layers) - 1
    for index, layer in enumerate(stack.layers):
        x, h = ops.add_norm(x, delta, layer.norm_1, stack.eps)
        k, v = keys[index], values[index]
        q = ops.rotate_store(ops.linear(h, layer.qkv), stack.heads, k, v, lengths, count)
        mixed = ops.attend(q, k, v, lengths, count, bound, causal)  # [B * S, heads * D]
        if index == last and keep is not None:
            x, mixed = _kept(x, keep, count), _kept(mixed, keep, count)
        delta = ops.linear(mixed, layer.out)
        if adapter is not None:
            delta = (delta if delta.dim() == 2 else delta.sum(0)) + adapter(index, mixed)
        x, h = ops.add_norm(x, delta, layer.norm_2, stack.eps)
        delta = ops.linear(ops.gated(h, layer.gate_up), layer.down)
    if stack.norm is None:
        assert delta is not None
        x = x + (delta if delta.dim() == 2 else delta.sum(0))
        return x.to(h.dtype).view(len(lengths), -1, x.shape[-1])
    _, h = ops.add_norm(x, delta, stack.norm, stack.eps)
    return h.view(len(lengths), -1, h.shape[-1])


def _kept(x: Tensor, keep: Tensor | slice, count: int) -> Tensor:
    rows = x.view(-1, count, x.shape[-1])
    rows = rows[:, keep] if isinstance(keep, slice) else rows.index_select(1, keep)
    return rows.reshape(-1, x.shape[-1]).contiguous()  # a strided view would pass reshape


class EngineNetwork:
    """A ``decode.Network`` over static caches. One row's prefix may be shorter than another's."""

    def __init__(self, model: NLDModel, *, capacity: int, ops: Ops | None = None) -> None:
        self.model, self.config, self.actions = model, model.config, model.actions
        self.ops: Ops = ops or TorchOps()
        self.capacity = capacity
        config, device = model.config, str(model.diffusion_head.weight.device)
        self.dtype = model.diffusion_head.weight.dtype
        self.device = torch.device(device)
        cos, sin = rope_table(config.rope, config.head_dim, capacity, device)
        heads = Heads(
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            cos,
            sin,
            config.rope.original_max_position_embeddings,
            config.rope.llama_4_scaling_beta,
        )
        norm = model.encoder.norm.weight.detach()
        self.text = Stack(text_layers(model), norm, config.rms_norm_eps, heads)
        self.tower = vision_layers(model)
        self._vision: dict[tuple[int, ...], tuple[Stack, Tensor, Tensor, Tensor]] = {}
        self._folded: tuple[Tensor, Tensor, Tensor] | None = None

    def new_cache(self, batch: int) -> KVCache:
        config = self.config
        shape = (
            config.num_hidden_layers,
            batch,
            config.num_key_value_heads,
            self.capacity,
            config.head_dim,
        )
        keys = torch.zeros(shape, dtype=self.dtype, device=self.device)
        lengths = torch.zeros(batch, dtype=torch.long, device=self.device)
        return KVCache(keys, torch.zeros_like(keys), 0, lengths)

    # ---- text -------------------------------------------------------------------------
    def _run(
        self,
        x: Tensor,
        cache: KVCache,
        *,
        causal: bool,
        keep: Tensor | slice | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor:
        count = x.shape[1]
        if cache.length + count > cache.capacity:
            raise ValueError(
                f"cache holds {cache.capacity} positions, {cache.length + count} needed"
            )
        assert cache.lengths is not None
        return forward(
            self.text,
            self.ops,
            x.reshape(-1, x.shape[-1]).to(torch.float32, copy=True),  # updated in place
            cache.keys,
            cache.values,
            cache.lengths,
            count,
            cache.length + count,
            causal=causal,
            keep=keep,
            adapter=adapter,
        )

    def extend(self, embeds: Tensor, cache: KVCache, lengths: Tensor | None = None) -> Tensor:
        """Last hidden state [B, H] of embeddings [B, S, H] appended, causally, to the cache.

        ``lengths`` int64 [B]: how many of the S each row really has.
        """
        count = embeds.shape[1]
        keep = slice(count - 1, count) if lengths is None else None
        hidden = self._run(embeds, cache, causal=True, keep=keep)
        cache.advance(count)
        if lengths is None:
            return hidden[:, 0]
        assert cache.lengths is not None
        cache.lengths = cache.lengths - count + lengths
        at = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
        return hidden.gather(1, at).squeeze(1)

    def denoise(
        self,
        block_ids: Tensor,
        cache: KVCache,
        keep: Tensor | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor:
        """As ``NLDModel.denoise``."""
        embeds = self.model.embed_tokens(block_ids)
        return self._run(embeds, cache, causal=False, keep=keep, adapter=adapter)

    def forward_causal(self, ids: Tensor, cache: KVCache) -> Tensor:
        """As ``NLDModel.forward_causal``."""
        hidden = self._run(self.model.embed_tokens(ids), cache, causal=True)
        cache.advance(ids.shape[1])
        return hidden

    def action_logits(
        self, hidden: Tensor, positions: Tensor | tuple[int, ...] | None = None
    ) -> Tensor:
        return self.model.action_logits(hidden, positions)

    def text_logits(self, hidden: Tensor) -> Tensor:
        return self.model.text_logits(hidden)

    # ---- images -----------------------------------------------------------------------
    def embed_prompt(self, ids: Tensor, features: Tensor | None, places: Tensor | None) -> Tensor:
        """Embeddings [B, N, H] of ``ids``; image tokens ``features`` [B, P, H] stand at ``places``
        [P], which are known beforehand: nothing waits for the device."""
        x = self.model.embed_tokens(ids)
        if features is None or places is None:
            return x
        return x.index_copy(1, places, features.to(x.dtype))

    def encode_images(self, frames: Tensor) -> Tensor:
        """Image tokens [B, F * cells, H] of uint8 ``frames`` [B, F, H_px, W_px, 3]."""
        batch, count, height, width, _ = frames.shape
        tower = self.model.encoder.vision_tower
        stack, keys, values, none = self._vision_state(batch * count, height, width)
        patches = keys.shape[3]
        weight, bias, merge = self._fold()
        pixels = tower.patches(frames.flatten(0, 1)).to(weight.dtype).sub_(CENTRE)
        x = F.linear(pixels, weight, bias).reshape(-1, weight.shape[0]).float()
        _, x = self.ops.add_norm(x, None, tower.ln_pre.weight, tower.ln_pre.eps)
        x = forward(stack, self.ops, x.float(), keys, values, none, patches, patches, causal=False)
        projector = self.model.encoder.multi_modal_projector
        cells = x.view(-1, x.shape[-1])
        _, cells = self.ops.add_norm(cells.float(), None, projector.norm.weight, projector.norm.eps)
        merged = F.linear(cells.view(-1, merge.shape[1]), merge)
        tokens = projector.linear_2(F.gelu(projector.linear_1(merged)))
        return tokens.view(batch, -1, tokens.shape[-1])

    def _vision_state(
        self, images: int, height_px: int, width_px: int
    ) -> tuple[Stack, Tensor, Tensor, Tensor]:
        """The tower for images of that size: its positions, and room for one layer's keys."""
        key = (images, height_px, width_px)
        if key not in self._vision:
            vision = self.config.vision
            if vision is None:
                raise ValueError("the model has no image tower")
            merge, cell = self.config.spatial_merge_size, self.config.cell_px
            rows, columns = height_px // cell, width_px // cell
            cos, sin = rope_2d(vision, rows, columns, merge, str(self.device))
            heads = Heads(
                vision.num_attention_heads, vision.num_attention_heads, vision.head_dim, cos, sin
            )
            eps = self.model.encoder.vision_tower.ln_pre.eps
            patches = rows * columns * merge * merge
            shape = (images, vision.num_attention_heads, patches, vision.head_dim)
            room = torch.zeros(2, *shape, dtype=self.dtype, device=self.device)
            layers = len(self.tower)
            self._vision[key] = (
                Stack(self.tower, None, eps, heads),
                room[0].unsqueeze(0).expand(layers, *shape),  # each layer overwrites the last
                room[1].unsqueeze(0).expand(layers, *shape),
                torch.zeros(images, dtype=torch.long, device=self.device),
            )
        return self._vision[key]

    def _fold(self) -> tuple[Tensor, Tensor, Tensor]:
        if self._folded is None:
            self.refresh()
        assert self._folded is not None
        return self._folded

    @torch.inference_mode()
    def refresh(self) -> None:
        """Recompute, in place, what is derived from the weights (the patch matrix, the merging
        matrix): call it after they have changed. Everything else sees them as they are."""
        if self.config.vision is None:
            return
        encoder = self.model.encoder
        weight, bias = encoder.vision_tower.pixel_weight()
        fresh = (weight, bias, encoder.multi_modal_projector.merge_weight())
        if self._folded is None:
            self._folded = tuple(t.detach().clone() for t in fresh)  # type: ignore[assignment]
            return
        for old, new in zip(self._folded, fresh, strict=True):
            old.copy_(new)
