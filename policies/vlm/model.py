"""The network: a causal prefix, then a block that is denoised in both directions; one head for both
modes.

Three ways to run it: cached (``prefill``, ``denoise``, ``forward_causal``) for decoding, and packed
(``packed_views``, ``joint_forward``) for training and exact replay, where one forward holds [prefix
| segment | segment ...].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.vlm.action_tokens import KINDS, NEVER, ActionTokenizer
from policies.vlm.config import IMAGE_PAD_ID, MASK_ID, VLMConfig
from policies.vlm.text import KVCache, TextTower, causal_mask, packed_mask, packed_positions
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
        return [
            (action.accel_first_id, action.accel_bins),
            (action.curvature_first_id, action.curvature_bins),
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
    def prefill(self, embeds: Tensor, reserve: int = 0) -> tuple[Tensor, KVCache]:
        """Causal pass over embeddings [B, N, H]: last hidden state [B, H], and the cache with room
        for ``reserve`` more."""
        batch, length, _ = embeds.shape
        cache = self.encoder.new_cache(batch, length + reserve, embeds)
        hidden = self.encoder(
            embeds,
            (0, length),
            causal_mask(length, length),
            keep=slice(length - 1, length),
            cache=cache,
        )
        cache.length = length
        return hidden[:, 0], cache

    def denoise(self, block_ids: Tensor, cache: KVCache, keep: Tensor | None = None) -> Tensor:
        """Hidden states [B, L (or kept), H] of a block that sees the cached prefix and all of
        itself; the cache stays."""
        length = cache.length
        return self.encoder(
            self.embed_tokens(block_ids),
            (length, length + block_ids.shape[1]),
            None,
            keep=keep,
            cache=cache,
        )

    def forward_causal(self, ids: Tensor, cache: KVCache) -> Tensor:
        """Hidden states [B, t, H] of ``ids`` [B, t] appended to the cache."""
        length, count = cache.length, ids.shape[1]
        hidden = self.encoder(
            self.embed_tokens(ids),
            (length, length + count),
            causal_mask(count, length + count) if count > 1 else None,
            cache=cache,
        )
        cache.length = length + count
        return hidden

    # ---- packed: training and replay --------------------------------------------------
    def packed(
        self,
        prefix: Tensor,
        segments: list[tuple[Tensor, bool]],
        keep: Tensor | slice | None = None,
    ) -> Tensor:
        """Hidden states of [prefix | segments]; a segment is (ids [B, n], causal) and sees the
        prefix and itself only."""
        count = prefix.shape[1]
        lengths = tuple((ids.shape[1], causal) for ids, causal in segments)
        ids = torch.cat([ids for ids, _ in segments], dim=1)
        x = torch.cat([prefix, self.embed_tokens(ids).to(prefix.dtype)], dim=1)
        positions = packed_positions(count, tuple(n for n, _ in lengths))
        return self.encoder(x, positions, packed_mask(count, lengths), keep=keep)

    def packed_views(self, prefix: Tensor, views: Tensor, wanted: Tensor | None = None) -> Tensor:
        """Action logits of R versions of a block in one forward: what each would give after
        ``denoise``.

        ``prefix`` [B, N, H], ``views`` ids [B, R, L]. Returns float32 [B, R, L, W]; with ``wanted``
        int64 [M], indices into the flattened R * L positions, only those: [B, M, W].
        """
        batch, count, length = views.shape
        start = prefix.shape[1]
        segments = [(view, False) for view in views.unbind(1)]
        if wanted is not None:
            hidden = self.packed(prefix, segments, keep=start + wanted)
            return self.action_logits(hidden, wanted % length)
        hidden = self.packed(prefix, segments, keep=slice(start, start + count * length))
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

    def causal_logits(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        """Teacher-forced AR action logits [B, L, W] of ``tokens`` [B, L]: position i sees the
        prefix and tokens < i."""
        start, length = prefix.shape[1], tokens.shape[1]
        keep = slice(start - 1, start + length - 1)
        return self.action_logits(self.packed(prefix, [(tokens[:, :-1], True)], keep=keep))

    # ---- head -------------------------------------------------------------------------
    def action_logits(self, hidden: Tensor, positions: Tensor | None = None) -> Tensor:
        """float32 logits [..., M, W] over the bins that each position allows; absent bins are
        ``NEVER``.

        ``hidden`` [..., M, H]; ``positions`` [M] in the plan (default 0..M-1). Only the rows of the
        head that belong to action bins are read.
        """
        count = hidden.shape[-2]
        if positions is None and count % KINDS == 0:
            pairs = hidden.unflatten(-2, (-1, KINDS))
            parts = [self._kind_logits(pairs[..., kind, :], kind) for kind in range(KINDS)]
            return torch.stack(parts, dim=-2).flatten(-3, -2)
        if positions is None:
            positions = torch.arange(count, device=hidden.device)
        kinds = positions % KINDS
        places = [(kinds == kind).nonzero().squeeze(1) for kind in range(KINDS)]
        parts = [
            self._kind_logits(hidden.index_select(-2, at), kind) for kind, at in enumerate(places)
        ]
        return torch.cat(parts, dim=-2).index_select(-2, torch.cat(places).argsort())

    def _kind_logits(self, hidden: Tensor, kind: int) -> Tensor:
        first, count = self.actions.first_ids[kind], self.actions.bins[kind]
        logits = F.linear(hidden, self.diffusion_head.weight[first : first + count]).float()
        return F.pad(logits, (0, self.actions.width - count), value=NEVER)

    def masked_block(self, batch: int, length: int) -> Tensor:
        """ids [B, L], all masks."""
        device = self.diffusion_head.weight.device
        return torch.full((batch, length), MASK_ID, dtype=torch.long, device=device)


def _smooth_rows(count: int, size: int, generator: torch.Generator) -> Tensor:
    """[count, size] unit-variance random functions of the bin index, correlated over about a tenth
    of the range."""
    place = torch.linspace(0, 1, count).unsqueeze(1)
    frequency = torch.randn(1, size, generator=generator) * 8.0
    phase = torch.rand(1, size, generator=generator) * 2 * torch.pi
    return 2**0.5 * torch.cos(place * frequency + phase)
