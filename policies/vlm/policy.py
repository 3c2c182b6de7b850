"""The network as a ``Policy``: observation in, plan and decode trace out."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from alpamayo import streams
from alpamayo.types import (
    DecodeTrace,
    ObservationBatch,
    PlanBatch,
    PlanSpec,
    PrivilegedView,
    RequestError,
)
from policies.vlm.chat import ChatPromptEncoder
from policies.vlm.decode import Decoded, decode_plan, prefill_plan
from policies.vlm.image_cache import ImageCache
from policies.vlm.image_input import check_sizes
from policies.vlm.model import NLDModel
from policies.vlm.prompt import Prompt, PromptEncoder
from policies.vlm.schedule import CommitSchedule, DecodeConfig

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class VLMPolicy:
    """Decodes one plan per row. ``last_rounds`` holds, if ``record_rounds``, what each round of the
    last call committed.

    The model is used as it stands: ``dtype`` other than the model's runs under autocast, so weights
    that a trainer changes in place are seen at once.
    """

    needs_privileged = False

    def __init__(
        self,
        model: NLDModel,
        decode: DecodeConfig | None = None,
        *,
        name: str = "vlm",
        record_rounds: bool = False,
        **options: Any,
    ) -> None:
        """``options`` are fields of ``DecodeConfig``, instead of ``decode``."""
        self.model = model.eval()
        self.decode = decode_config(options) if decode is None else decode
        self.name = name
        self.record_rounds = record_rounds
        self.last_rounds: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
        self.encoder = prompt_encoder(model)
        self.images = ImageCache(model)
        action = model.config.action
        self.spec = PlanSpec(action.steps, action.step_s)
        self.schedule = CommitSchedule.of(self.decode, self.spec.tokens)

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
    ) -> PlanBatch:
        """Plans of the N rows; ``decode_ms`` is the wall time of this call, from observation to
        plan."""
        rows = len(observation)
        if rows == 0:
            return self._empty()
        start = time.perf_counter()
        with torch.inference_mode():
            decoded = self.decode_prompt(self.encoder(observation), noise_keys)
            values = decoded.values.cpu().numpy().reshape(rows, self.spec.steps, 2)
        elapsed_ms = (time.perf_counter() - start) * 1e3
        self.last_rounds = [(ids.cpu().numpy(), top.cpu().numpy()) for ids, top in decoded.states]
        return PlanBatch(
            values[..., 0].copy(),
            values[..., 1].copy(),
            trace=_trace(decoded),
            decode_ms=np.full(rows, elapsed_ms, np.float32),
        )

    def check_images(self, count: int, height_px: int, width_px: int) -> None:
        """Raise ``RequestError`` unless so many images of that size fit into a prompt."""
        config = self.model.config
        budget = config.prompt.max_image_tokens
        check_sizes(count, height_px, width_px, config=config, budget=budget)

    def encode_images(self, frames: torch.Tensor) -> torch.Tensor:
        """Image tokens [N, F * cells, H] of uint8 ``frames``; those of the last plan
        are at hand.
        """
        with torch.inference_mode(), self._autocast():
            return self.images.encode(frames.to(self._device))

    @property
    def _device(self) -> torch.device:
        return self.model.diffusion_head.weight.device

    def _autocast(self) -> torch.autocast:
        dtype = _DTYPES[self.decode.dtype]
        return torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32)

    def decode_prompt(self, prompt: Prompt, noise_keys: npt.NDArray[np.uint64]) -> Decoded:
        """The decode itself, in torch; call it without gradients."""
        device = self._device
        with self._autocast():
            frames = prompt.frames.to(device)
            features = self.images.encode(frames) if frames.shape[1] else None
            embeds = self.model.embed_prompt(prompt.ids.to(device), features=features)
            length = self.spec.tokens
            hidden, cache, first = prefill_plan(self.model, embeds, length, self.decode)
            return decode_plan(
                self.model,
                hidden,
                cache,
                length,
                self.decode,
                uniforms=self._uniforms(noise_keys),
                record=self.record_rounds,
                first=first,
            )

    def _uniforms(self, noise_keys: npt.NDArray[np.uint64]) -> torch.Tensor | None:
        """[N, L] (or [N, L, L] for the threshold schedule) in (0, 1); None if nothing is drawn."""
        if self.decode.select != "sample" or self.decode.temperature == 0.0:
            return None
        length = self.spec.tokens
        shape = (length, length) if self.decode.mode == "threshold" else (length,)
        numbers = streams.uniform(np.asarray(noise_keys), int(np.prod(shape)))
        return torch.from_numpy(numbers.reshape(-1, *shape)).to(self._device)

    def _empty(self) -> PlanBatch:
        none = np.zeros((0, self.spec.steps), np.float32)
        blank = np.zeros((0, self.spec.tokens))
        trace = DecodeTrace(
            blank.astype(np.int32),
            blank.astype(np.int8),
            blank.astype(np.float32),
            np.zeros(0, np.int8),
        )
        return PlanBatch(none, none.copy(), trace, np.zeros(0, np.float32))


def prompt_encoder(model: NLDModel) -> PromptEncoder | ChatPromptEncoder:
    """What turns observations into prompts of ``model``, by the layout its config names."""
    if model.config.prompt.layout == "ids":
        return PromptEncoder(model.config)
    if model.tokenizer is None:
        raise RequestError("prompt.layout = chat: expected a model loaded with its tokenizer.json")
    return ChatPromptEncoder(model.config, model.tokenizer)


def decode_config(options: dict[str, Any]) -> DecodeConfig:
    """DecodeConfig from keyword options; an unknown one is a request error."""
    known = [f.name for f in fields(DecodeConfig)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise RequestError(
            f"decode options: unknown {', '.join(unknown)}; expected {', '.join(known)}"
        )
    return DecodeConfig(**options)


def _trace(decoded: Decoded) -> DecodeTrace:
    return DecodeTrace(
        decoded.tokens.cpu().numpy().astype(np.int32),
        decoded.commit_round.cpu().numpy().astype(np.int8),
        decoded.log_prob.float().cpu().numpy(),
        decoded.rounds.cpu().numpy().astype(np.int8),
    )
