"""The network as a ``Policy``: observation in, plan and decode trace out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alpamayo import streams
from alpamayo.types import (
    DecodeTrace,
    FloatArray,
    IntArray,
    ObservationBatch,
    PlanBatch,
    PlanMemory,
    PlanSpec,
    PrivilegedView,
    RequestError,
)
from policies.vlm.adapter import LoraAdapter, load_adapter
from policies.vlm.chat import ChatPromptEncoder
from policies.vlm.checkpoint import from_pretrained
from policies.vlm.config import KINDS, MASK_ID
from policies.vlm.decode import Decoded, Frozen, decode_plan, decode_text, prefill_plan
from policies.vlm.engine import Engine
from policies.vlm.image_cache import ImageCache
from policies.vlm.image_input import check_sizes
from policies.vlm.int8 import is_int8, to_int8
from policies.vlm.model import NLDModel
from policies.vlm.prompt import Prompt, PromptEncoder
from policies.vlm.schedule import CommitSchedule, DecodeConfig

WEIGHTS = ("full", "int8")
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class VLMPolicy:
    """Decodes one plan per row. ``last_rounds`` holds, if ``record_rounds``, what each round of the
    last call committed; ``last_text`` what was written before the plans of rows that thought.

    The model is used as it stands: ``dtype`` other than the model's runs under autocast, so weights
    that a trainer changes in place are seen at once. ``engine``: decode by the captured engine
    (None: on CUDA, unless the weights are int8; on a CPU, where nothing is captured, the plain
    network is faster).
    """

    needs_privileged = False

    def __init__(
        self,
        model: NLDModel,
        decode: DecodeConfig | None = None,
        *,
        name: str = "vlm",
        record_rounds: bool = False,
        engine: bool | None = None,
        adapter: LoraAdapter | None = None,
        **options: Any,
    ) -> None:
        """``options`` are fields of ``DecodeConfig``, instead of ``decode``; ``adapter`` drafts for
        ``self_speculation``."""
        self.model = model.eval()
        self.decode = decode_config(options) if decode is None else decode
        self.name = name
        self.record_rounds = record_rounds
        self.last_rounds: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
        self.last_text: dict[int, str] = {}
        self.encoder = prompt_encoder(model)
        self.images = ImageCache(model)
        action = model.config.action
        self.spec = PlanSpec(action.steps, action.step_s)
        self.schedule = CommitSchedule.of(self.decode, self.spec.tokens)
        self.frozen_steps = self.decode.frozen_steps(action.step_s)
        if self.frozen_steps >= action.steps:
            raise RequestError(
                f"decode.frozen_s: expected less than the {action.steps} steps of a plan, got "
                f"{self.decode.frozen_s:g} s"
            )
        if self.decode.think_every and not isinstance(self.encoder, ChatPromptEncoder):
            raise RequestError(
                "decode.think_every: expected 0 for a network whose prompts are no words "
                "(prompt.layout = ids)"
            )
        self.needs_memory = bool(self.frozen_steps or self.decode.think_every)
        use_engine = self._device.type == "cuda" and not is_int8(model)
        use_engine = use_engine if engine is None else engine
        self.engine = Engine(model, adapter=adapter) if use_engine else None
        self.adapter = adapter

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
        memory: PlanMemory | None = None,
    ) -> PlanBatch:
        """Plans of the N rows; ``decode_ms`` is the wall time of this call, from observation to
        plan. Without ``memory`` every row is at its first decision."""
        rows = len(observation)
        if rows == 0:
            return self._empty()
        start = time.perf_counter()
        self.last_rounds, self.last_text = [], {}
        thinks = self._thinks(rows, memory)
        with torch.inference_mode():
            if thinks.any() and not thinks.all():
                parts = [np.flatnonzero(thinks), np.flatnonzero(np.logical_not(thinks))]
                made = [
                    self._plan(observation.take(at), noise_keys[at], _take(memory, at), bool(which))
                    for which, at in zip((True, False), parts, strict=True)
                ]
                back = np.argsort(np.concatenate(parts))
                plan = _joined(made, back)
                self.last_text = {int(parts[0][n]): text for n, text in self.last_text.items()}
            else:
                plan = self._plan(observation, noise_keys, memory, bool(thinks.all()))
        elapsed_ms = (time.perf_counter() - start) * 1e3
        return replace(plan, decode_ms=np.full(rows, elapsed_ms, np.float32))

    def _thinks(self, rows: int, memory: PlanMemory | None) -> npt.NDArray[np.bool_]:
        """Which rows write text at this decision."""
        if not self.decode.think_every:
            return np.zeros(rows, bool)
        if memory is None:
            return np.ones(rows, bool)
        return memory.decision % self.decode.think_every == 0

    def _plan(
        self,
        observation: ObservationBatch,
        noise_keys: npt.NDArray[np.uint64],
        memory: PlanMemory | None,
        think: bool,
    ) -> PlanBatch:
        """Plans of rows that all think, or all do not."""
        frozen = self._frozen(memory)
        if think:
            decoded = self._think_and_decode(observation, noise_keys, frozen)
        else:
            decoded = self.decode_prompt(self.encoder(observation), noise_keys, frozen)
        actions = decoded.values.cpu().numpy().reshape(len(observation), self.spec.steps, 2)
        if frozen is not None:
            actions = self._behind_frozen(actions, frozen)
        self.last_rounds = [(ids.cpu().numpy(), top.cpu().numpy()) for ids, top in decoded.states]
        return PlanBatch(actions[..., 0].copy(), actions[..., 1].copy(), trace=_trace(decoded))

    def _frozen(self, memory: PlanMemory | None) -> Frozen | None:
        """The leading tokens of rows whose last plan drives while this one is made."""
        if not self.frozen_steps or memory is None:
            return None
        leading = memory.ahead[:, : self.frozen_steps].astype(np.float64)
        known = np.isfinite(leading[:, 0, 0])
        if not known.any():
            return None
        tokens = np.full((len(leading), self.spec.tokens), MASK_ID, np.int64)
        given = self.model.actions.encode(np.nan_to_num(leading))
        tokens[:, : given.shape[1]] = np.where(known[:, None], given, MASK_ID)
        return Frozen.of(torch.from_numpy(tokens).to(self._device))

    def _behind_frozen(self, actions: FloatArray, frozen: Frozen) -> FloatArray:
        """Plans [N, K, 2] from when they start to drive; the last control is held at the end."""
        count = self.spec.steps
        skipped = np.asarray(frozen.counts)[:, None] // KINDS
        at = np.minimum(np.arange(count) + skipped, count - 1)
        return np.take_along_axis(actions, at[..., None], axis=1)

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

    def decode_prompt(
        self, prompt: Prompt, noise_keys: npt.NDArray[np.uint64], frozen: Frozen | None = None
    ) -> Decoded:
        """The decode itself, in torch; call it without gradients."""
        length, uniforms = self.spec.tokens, self._uniforms(noise_keys)
        if self.engine is not None and not self.record_rounds:
            return self.engine.plan(
                prompt.ids, prompt.frames, self.decode, length, uniforms=uniforms, frozen=frozen
            )
        with self._autocast():
            embeds = self._embed(prompt)
            hidden, cache, first = prefill_plan(self.model, embeds, length, self.decode, frozen)
            return decode_plan(
                self.model,
                hidden,
                cache,
                length,
                self.decode,
                uniforms=uniforms,
                frozen=frozen,
                adapter=self.adapter,
                record=self.record_rounds,
                first=first,
            )

    def _embed(self, prompt: Prompt) -> Tensor:
        frames = prompt.frames.to(self._device)
        features = self.images.encode(frames) if frames.shape[1] else None
        return self.model.embed_prompt(prompt.ids.to(self._device), features=features)

    def _think_and_decode(
        self,
        observation: ObservationBatch,
        noise_keys: npt.NDArray[np.uint64],
        frozen: Frozen | None,
    ) -> Decoded:
        """Text between the prompt and the plan, by the AR head's most likely words."""
        assert isinstance(self.encoder, ChatPromptEncoder)
        decode, length, model = self.decode, self.spec.tokens, self.model
        prompt, count = self.encoder.thinking(observation), decode.think_tokens
        closing = torch.tensor(self.encoder.end_of_thought, device=self._device)
        stop_id = int(closing[0])
        room = 2 * count + len(closing) + decode.reserve(length)
        with self._autocast():
            hidden, cache = model.prefill(self._embed(prompt), room)
            end = cache.length
            ids, counts = decode_text(model, hidden, cache, count, stop_id, block=count)
            # Filled up behind its end, so that every row's plan starts at the same place.
            rest = torch.arange(count, device=ids.device) >= counts[:, None]
            text = ids.masked_fill(rest, self.encoder.fill_id)
            cache.length, cache.lengths = end, None
            tail = torch.cat([text, closing.expand(len(text), -1)], 1)
            hidden = model.extend(model.embed_tokens(tail), cache)
            out = decode_plan(
                model,
                hidden,
                cache,
                length,
                decode,
                uniforms=self._uniforms(noise_keys),
                frozen=frozen,
                adapter=self.adapter,
                record=self.record_rounds,
            )
        for row, (words, many) in enumerate(zip(ids.tolist(), counts.tolist(), strict=True)):
            self.last_text[row] = self.encoder.tokenizer.decode(words[:many])
        return out

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


def usable_device(name: str) -> str:
    """``name``; raises ``RequestError`` unless there is such a device."""
    if name != "cpu" and not (name.startswith("cuda") and torch.cuda.is_available()):
        raise RequestError(f"device {name}: expected cpu, or cuda where there is such a device")
    return name


def load_network(
    directory: Path,
    device: str = "cpu",
    weights: str = "full",
    adapter: str = "",
    **options: Any,
) -> VLMPolicy:
    """The policy in a checkpoint ``directory``, on ``device``; ``options`` as of ``VLMPolicy``. A
    GPU holds the weights in the dtype that decodes; ``weights = int8``: see ``int8``. ``adapter``:
    the directory of one that drafts."""
    if weights not in WEIGHTS:
        raise RequestError(f"policy.weights: expected {', '.join(WEIGHTS)}, got {weights!r}")
    usable_device(device)
    half = device != "cpu" and options.get("dtype") == "bfloat16"
    dtype = torch.bfloat16 if half else torch.float32
    model = from_pretrained(directory, device=device, dtype=dtype)
    model = to_int8(model) if weights == "int8" else model
    drafts = None
    if adapter:
        drafts = load_adapter(adapter, model.config, model.diffusion_head.weight)
    return VLMPolicy(model, name=directory.name, adapter=drafts, **options)


def _take(memory: PlanMemory | None, rows: IntArray) -> PlanMemory | None:
    return None if memory is None else PlanMemory(memory.ahead[rows], memory.decision[rows])


def _joined(parts: list[PlanBatch], order: IntArray) -> PlanBatch:
    """The rows of several batches as one, in ``order``."""

    def column(of: Callable[[PlanBatch], np.ndarray]) -> np.ndarray:
        return np.concatenate([of(part) for part in parts])[order]

    def traced(name: str) -> np.ndarray:
        return column(lambda part: getattr(part.trace, name))

    trace = DecodeTrace(*(traced(f.name) for f in fields(DecodeTrace)))
    return PlanBatch(column(lambda p: p.accel_mps2), column(lambda p: p.curvature_per_m), trace)


def _trace(decoded: Decoded) -> DecodeTrace:
    return DecodeTrace(
        decoded.tokens.cpu().numpy().astype(np.int32),
        decoded.commit_round.cpu().numpy().astype(np.int8),
        decoded.log_prob.float().cpu().numpy(),
        decoded.rounds.cpu().numpy().astype(np.int8),
    )
