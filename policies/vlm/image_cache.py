"""Image tokens of the last call, found again by their pixels.

A policy sees each picture more than once: what is the newest frame now is an older one at the next
decision. Rows may come in any order and number, so pictures are recognised by content, and the
tokens are forgotten as soon as the image tower's weights change.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from policies.vlm.model import NLDModel


class ImageCache:
    """Encodes frames, re-using the tokens of pictures that the call before held too."""

    def __init__(self, model: NLDModel) -> None:
        self._model = model
        modules = (
            (model.encoder.vision_tower, model.encoder.multi_modal_projector)
            if model.config.vision is not None
            else ()
        )
        self._parameters = [p for module in modules for p in module.parameters()]
        self._weights: tuple[int, ...] = ()
        self._known: dict[int, int] = {}  # picture -> row of _tokens
        self._tokens: Tensor | None = None

    def encode(self, frames: Tensor) -> Tensor:
        """Image tokens [B, F * cells, H] of uint8 ``frames`` [B, F, H_px, W_px, 3]."""
        batch, count = frames.shape[:2]
        pictures = frames.cpu().numpy().reshape(batch * count, -1)
        keys = [hash(picture.tobytes()) for picture in pictures]
        self._forget_if_changed()
        unique = {key: n for n, key in reversed(list(enumerate(keys)))}
        fresh = [n for key, n in unique.items() if key not in self._known]
        tables = [] if self._tokens is None else [self._tokens]
        places = dict(self._known)
        if fresh:
            places |= {keys[n]: sum(map(len, tables)) + i for i, n in enumerate(fresh)}
            chosen = frames.flatten(0, 1)[torch.as_tensor(np.array(fresh)).to(frames.device)]
            tables.append(self._model.encode_images(chosen.unsqueeze(1)))
        rows = torch.tensor([places[key] for key in keys], device=tables[0].device)
        tokens = torch.cat(tables).index_select(0, rows)
        self._known = {key: n for n, key in enumerate(keys)}
        self._tokens = tokens
        return tokens.reshape(batch, count * tokens.shape[1], -1)

    def _forget_if_changed(self) -> None:
        weights = tuple(p._version for p in self._parameters)
        if weights != self._weights:
            self._weights, self._known, self._tokens = weights, {}, None
