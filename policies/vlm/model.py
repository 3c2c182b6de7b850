"""The network: a causal prefix, then a block that is denoised in both directions; one head for both
modes.

Three ways to run it: cached (``prefill``, ``denoise``, ``forward_causal``) for decoding, and packed
(``packed_views``, ``joint_forward``) for training and exact replay, where one forward holds [prefix
| segment | segment ...].
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.vlm.action_tokens import NEVER, ActionTokenizer
from policies.vlm.config import IMAGE_PAD_ID, KINDS, MASK_ID, VLMConfig
from policies.vlm.text import (
    Adapter,
    KVCache,
    TextTower,
    causal_mask,
    packed_mask,
    packed_positions,
)
from policies.vlm.tokenizer import TextTokenizer
from policies.vlm.vision import Projector, VisionTower


class Encoder(TextTower):
    """Everything below the head, under the published names."""

    def __init__(self, config: VLMConfig) -> None:
        super().__init__(config)
        if config.vision is not None:
            self.vision_tower = VisionTower(config.vision, config.spatial_merge_size)
            self.multi_modal_projector = Projector(config, config.vision)


class NLDModel(nn.Module):
    """Shapes: B rows, N prefix tokens, L block tokens, H hidden, W = widest set of action bins."""

    def __init__(self, config: VLMConfig) -> None:
        super().__init__()
        self.config = config
        self.tokenizer: TextTokenizer | None = None  # of the checkpoint, if its prompts are words
        self.actions = ActionTokenizer(config.action)
        self.encoder = Encoder(config)
        self.diffusion_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    @torch.no_grad()
    def init_weights(self, seed: int = 0) -> NLDModel:
        """Fresh weights. Rows of ordered bins start out smooth in the bin, so that neighbours share
        what they learn."""
        generator = torch.Generator().manual_seed(seed)
        std = self.config.initializer_range
        layers = self.config.num_hidden_layers
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
                continue
            inputs = parameter[0].numel()
            scale = min(std, inputs**-0.5)
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale /= (2 * layers) ** 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for first, count in self._ordered_rows():
            rows = slice(first, first + count)
            smooth = _smooth_rows(count, self.config.hidden_size, generator) * std
            self.encoder.embed_tokens.weight[rows] = smooth
            smooth = _smooth_rows(count, self.config.hidden_size, generator) * std
            self.diffusion_head.weight[rows] = smooth
        return self

    def _ordered_rows(self) -> list[tuple[int, int]]:
        action, prompt = self.config.action, self.config.prompt
        rows = [
            (action.accel_first_id, action.accel_bins),
            (action.curvature_first_id, action.curvature_bins),
        ]
        if prompt.layout != "ids":
            return rows
        return [
            *rows,
            (prompt.speed_first_id, prompt.speed_bins),
            (prompt.limit_first_id, prompt.limit_bins),
        ]

    # ---- inputs -----------------------------------------------------------------------
    def encode_images(self, frames: Tensor) -> Tensor:
        """Image tokens [B, F * cells, H] of uint8 frames [B, F, H_px, W_px, 3]."""
        batch, count = frames.shape[:2]
        if frames.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8, got {frames.dtype}")
        features = self.encoder.vision_tower(frames.flatten(0, 1))
        tokens = self.encoder.multi_modal_projector(features)
        return tokens.reshape(batch, count * tokens.shape[1], -1)

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.encoder.embed_tokens(ids)

    def embed_prompt(
        self, ids: Tensor, frames: Tensor | None = None, features: Tensor | None = None
    ) -> Tensor:
        """Embeddings [B, N, H] of prompt ``ids`` [B, N]: image pads are replaced, in order, by
        image tokens.

        Give uint8 ``frames`` [B, F, H_px, W_px, 3], or ``features`` [B, pads, H] from
        ``encode_images``, or neither if the prompt has no pads. Every row must have its pads at the
        same places.
        """
        x = self.embed_tokens(ids)
        if features is None and frames is not None and frames.shape[1]:
            features = self.encode_images(frames)
        places = (ids[0] == IMAGE_PAD_ID).nonzero().squeeze(1)
        given = 0 if features is None else features.shape[1]
        if len(places) != given:
            raise ValueError(f"the prompt has {len(places)} image tokens, the images give {given}")
        if features is None:
            return x
        return x.index_copy(1, places, features.to(x.dtype))

    # ---- cached: decoding -------------------------------------------------------------
    def prefill(
        self, embeds: Tensor, reserve: int = 0, lengths: Tensor | None = None
    ) -> tuple[Tensor, KVCache]:
        """Causal pass over embeddings [B, N, H]: last hidden state [B, H], and the cache with room
        for ``reserve`` more.

        ``lengths`` int64 [B]: how many of the N each row really has; what follows is padding.
        """
        batch, length, _ = embeds.shape
        cache = self.encoder.new_cache(batch, length + reserve, embeds)
        hidden = self.encoder(
            embeds,
            (0, length),
            causal_mask(length, length),
            keep=slice(length - 1, length) if lengths is None else None,
            cache=cache,
        )
        cache.length, cache.lengths = length, lengths
        return (hidden[:, 0] if lengths is None else _last(hidden, lengths)), cache

    def prefill_block(
        self, embeds: Tensor, block_ids: Tensor, keep: Tensor, reserve: int
    ) -> tuple[Tensor, KVCache, Tensor]:
        """``prefill`` and the first ``denoise`` in one forward of [prefix | block]: (last hidden
        state [B, H] of the prefix, its cache, hidden states [B, M, H] at positions ``keep`` [M] of
        the block).

        ``reserve`` holds at least the block; the cache ends before it, as after ``prefill``.
        """
        batch, start, _ = embeds.shape
        length = block_ids.shape[1]
        x = torch.cat([embeds, self.embed_tokens(block_ids).to(embeds.dtype)], dim=1)
        cache = self.encoder.new_cache(batch, start + reserve, x)
        hidden = self.encoder(
            x,
            (0, start + length),
            packed_mask(start, ((length, False),)),
            keep=torch.cat([keep.new_tensor([start - 1]), start + keep]),
            cache=cache,
        )
        cache.length = start
        return hidden[:, 0], cache, hidden[:, 1:]

    def extend(self, embeds: Tensor, cache: KVCache) -> Tensor:
        """Last hidden state [B, H] of embeddings [B, S, H] appended, causally, to the cache: a
        prefix whose beginning is known from before."""
        count = embeds.shape[1]
        hidden = self.encoder(
            embeds,
            cache.places(count),
            cache.allowed(count, causal=True),
            keep=slice(count - 1, count),
            cache=cache,
        )
        cache.advance(count)
        return hidden[:, 0]

    def denoise(
        self,
        block_ids: Tensor,
        cache: KVCache,
        keep: Tensor | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor:
        """Hidden states [B, L (or kept), H] of a block that sees the cached prefix and all of
        itself; the cache stays."""
        count = block_ids.shape[1]
        return self.encoder(
            self.embed_tokens(block_ids),
            cache.places(count),
            cache.allowed(count, causal=False),
            keep=keep,
            cache=cache,
            adapter=adapter,
        )

    def forward_causal(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Hidden states [B, t, H] of ``ids`` [B, t] appended to the cache."""
        count = ids.shape[1]
        hidden = self.encoder(
            self.embed_tokens(ids),
            cache.places(count),
            cache.allowed(count, causal=True),
            cache=cache,
        )
        cache.advance(count)
        return hidden

    # ---- packed: training and replay --------------------------------------------------
    def packed(
        self,
        prefix: Tensor,
        segments: list[tuple[Tensor, bool]],
        keep: Tensor | slice | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of [prefix | segments]; a segment is (ids [B, n], causal) and sees the
        prefix and itself only.

        ``lengths`` [B]: how many prefix positions each row really has; segments follow right after
        them and do not see the padding.
        """
        count = prefix.shape[1]
        shape = tuple((ids.shape[1], causal) for ids, causal in segments)
        ids = torch.cat([ids for ids, _ in segments], dim=1)
        x = torch.cat([prefix, self.embed_tokens(ids).to(prefix.dtype)], dim=1)
        positions = packed_positions(count, tuple(n for n, _ in shape)).to(x.device)
        allowed = packed_mask(count, shape).to(x.device)
        if lengths is not None:
            slots = torch.arange(len(positions), device=x.device)
            padding = (slots >= lengths[:, None]) & (slots < count)  # [B, S]
            positions = torch.where(slots < count, positions, positions - count + lengths[:, None])
            allowed = allowed & ~(padding[:, None, :] & (slots >= count)[:, None])
        return self.encoder(x, positions, allowed, keep=keep)

    def packed_views(
        self,
        prefix: Tensor,
        views: Tensor,
        wanted: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Action logits of R versions of a block in one forward: what each would give after
        ``denoise``.

        ``prefix`` [B, N, H], ``views`` ids [B, R, L]. Returns float32 [B, R, L, W]; with ``wanted``
        int64 [M], indices into the flattened R * L positions, only those: [B, M, W].
        """
        batch, count, length = views.shape
        start = prefix.shape[1]
        segments = [(view, False) for view in views.unbind(1)]
        if wanted is not None:
            hidden = self.packed(prefix, segments, start + wanted, lengths)
            return self.action_logits(hidden, wanted % length)
        hidden = self.packed(prefix, segments, slice(start, start + count * length), lengths)
        return self.action_logits(hidden.view(batch, count, length, -1))

    def joint_forward(self, prefix: Tensor, noisy: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Both modes in one forward of [prefix | noisy ... | clean]: (diffusion logits, AR logits).

        ``noisy`` ids [B, L], or [B, R, L] for several maskings of the same plan (the prefix, which
        costs most, is shared); ``clean`` [B, L]. Diffusion logits [B, L, W] or [B, R, L, W] predict
        the token at their own place; AR logits [B, L, W] predict token i from the prefix and clean
        tokens < i. float32.
        """
        views = noisy if noisy.dim() == 3 else noisy.unsqueeze(1)
        batch, count, length = views.shape
        start = prefix.shape[1]
        segments = [(view, False) for view in views.unbind(1)] + [(clean[:, :-1], True)]
        total = start + count * length + length - 1
        hidden = self.packed(prefix, segments, keep=slice(start - 1, total))
        diffusion = hidden[:, 1 : 1 + count * length].reshape(batch, count, length, -1)
        causal = torch.cat([hidden[:, :1], hidden[:, 1 + count * length :]], dim=1)
        logits = self.action_logits(diffusion)
        return logits if noisy.dim() == 3 else logits[:, 0], self.action_logits(causal)

    def causal_logits(
        self, prefix: Tensor, tokens: Tensor, lengths: Tensor | None = None
    ) -> Tensor:
        """Teacher-forced AR action logits [B, L, W] of ``tokens`` [B, L]: position i sees the
        prefix and tokens < i."""
        start, length = prefix.shape[1], tokens.shape[1]
        segments = [(tokens[:, :-1], True)]
        if lengths is None:
            keep = slice(start - 1, start + length - 1)
            return self.action_logits(self.packed(prefix, segments, keep=keep))
        hidden = self.packed(prefix, segments, lengths=lengths)
        first = _last(hidden, lengths).unsqueeze(1)
        return self.action_logits(torch.cat([first, hidden[:, start:]], dim=1))

    # ---- head -------------------------------------------------------------------------
    def action_logits(
        self, hidden: Tensor, positions: Tensor | tuple[int, ...] | None = None
    ) -> Tensor:
        """float32 logits [..., M, W] over the bins that each position allows; absent bins are
        ``NEVER``.

        ``hidden`` [..., M, H]; ``positions`` [M] in the plan (default 0..M-1), or [B, M] where they
        differ between rows. Only the rows of the head that belong to action bins are read.
        """
        count = hidden.shape[-2]
        if isinstance(positions, Tensor) and positions.dim() == 2:
            accel, curvature = (self._kind_logits(hidden, kind) for kind in range(KINDS))
            return torch.where((positions % KINDS == 0).unsqueeze(-1), accel, curvature)
        if isinstance(positions, Tensor):
            positions = tuple(positions.tolist())
        kinds = tuple(p % KINDS for p in (range(count) if positions is None else positions))
        if count == 1:
            return self._kind_logits(hidden, kinds[0])
        if kinds == (*range(KINDS),) * (count // KINDS):  # whole steps
            pairs = hidden.unflatten(-2, (-1, KINDS))
            parts = [self._kind_logits(pairs[..., kind, :], kind) for kind in range(KINDS)]
            return torch.stack(parts, dim=-2).flatten(-3, -2)
        places, back = _kind_places(kinds, str(hidden.device))
        parts = [
            self._kind_logits(hidden.index_select(-2, at), kind) for kind, at in enumerate(places)
        ]
        return torch.cat(parts, dim=-2).index_select(-2, back)

    def text_logits(self, hidden: Tensor) -> Tensor:
        """float32 logits [..., vocabulary] of ``hidden`` [..., H]."""
        return self.diffusion_head(hidden).float()

    def _kind_logits(self, hidden: Tensor, kind: int) -> Tensor:
        first, count = self.actions.first_ids[kind], self.actions.bins[kind]
        logits = F.linear(hidden, self.diffusion_head.weight[first : first + count]).float()
        missing = self.actions.width - count
        return F.pad(logits, (0, missing), value=NEVER) if missing else logits

    def masked_block(self, batch: int, length: int) -> Tensor:
        """ids [B, L], all masks."""
        device = self.diffusion_head.weight.device
        return torch.full((batch, length), MASK_ID, dtype=torch.long, device=device)


def _last(hidden: Tensor, lengths: Tensor) -> Tensor:
    """[B, H] of ``hidden`` [B, N, H] at each row's last valid position."""
    at = (lengths - 1)[:, None, None].expand(-1, 1, hidden.shape[-1])
    return hidden.gather(1, at).squeeze(1)


@lru_cache(maxsize=256)
def _kind_places(kinds: tuple[int, ...], device: str) -> tuple[list[Tensor], Tensor]:
    """Where each kind stands among ``kinds``, and the order that undoes grouping by kind."""
    with torch.inference_mode(False):
        groups = [[i for i, k in enumerate(kinds) if k == kind] for kind in range(KINDS)]
        order = torch.tensor([i for group in groups for i in group])
        places = [torch.tensor(group, dtype=torch.long, device=device) for group in groups]
        return places, order.argsort().to(device)


def _smooth_rows(count: int, size: int, generator: torch.Generator) -> Tensor:
    """[count, size] unit-variance random functions of the bin index, correlated over about a tenth
    of the range."""
    place = torch.linspace(0, 1, count).unsqueeze(1)
    frequency = torch.randn(1, size, generator=generator) * 8.0
    phase = torch.rand(1, size, generator=generator) * 2 * torch.pi
    return 2**0.5 * torch.cos(place * frequency + phase)
