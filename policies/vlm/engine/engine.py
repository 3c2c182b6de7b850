"""Plans from prompts at full speed: static buffers, captured calls, a prefix that is not read
twice.

On a CPU nothing is captured and the same functions run as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.vlm.adapter import LoraAdapter
from policies.vlm.config import IMAGE_PAD_ID
from policies.vlm.decode import Decoded, Frozen, decode_plan
from policies.vlm.engine.graphs import Captured, GraphedNetwork
from policies.vlm.engine.network import EngineNetwork
from policies.vlm.engine.ops import Ops, TorchOps, TritonOps
from policies.vlm.model import NLDModel
from policies.vlm.schedule import DecodeConfig
from policies.vlm.text import KVCache


@dataclass(frozen=True)
class EngineConfig:
    """``max_prefix`` prompt tokens at most; prompts are padded to a multiple of ``prefix_step`` (1:
    a captured prefill per length). ``reuse``: keep the keys of leading text that did not change
    since the last call. ``triton``: None = where there is a CUDA device."""

    max_prefix: int = 1024
    prefix_step: int = 1
    reuse: bool = True
    triton: bool | None = None


@dataclass
class _Slots:
    """Static tensors of one batch size."""

    cache: KVCache
    hidden: Tensor
    lengths: Tensor
    graphed: GraphedNetwork
    ids: Tensor | None = None  # prompt whose keys the cache holds


class Engine:
    """Decodes plans with ``model``'s weights, which it fuses in place."""

    def __init__(
        self,
        model: NLDModel,
        config: EngineConfig | None = None,
        *,
        adapter: LoraAdapter | None = None,
        ops: Ops | None = None,
    ) -> None:
        self.config = config or EngineConfig()
        self.device = model.diffusion_head.weight.device
        use_triton = self.config.triton
        if use_triton is None:
            use_triton = self.device.type == "cuda"
        # A plan of at most 64 tokens, and a block of drafts behind it.
        capacity = self.config.max_prefix + 128
        chosen = ops or (TritonOps() if use_triton else TorchOps())
        self.network = EngineNetwork(model, capacity=capacity, ops=chosen)
        self.adapter = adapter
        self._slots: dict[int, _Slots] = {}
        self._graphs: dict[tuple[object, ...], tuple[dict[str, Tensor], Captured]] = {}

    # ---- weights ----------------------------------------------------------------------
    def weights_changed(self) -> None:
        """Say that the model's weights were changed in place; nothing is captured again."""
        self.network.refresh()
        for slots in self._slots.values():
            slots.ids = None

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.network.model.load_state_dict(state)
        self.weights_changed()

    def swap_adapter(self, adapter: LoraAdapter) -> None:
        """Draft with another adapter of the same rank."""
        if self.adapter is None:
            raise ValueError("the engine was built without an adapter")
        self.adapter.copy_(adapter)

    # ---- calls ------------------------------------------------------------------------
    @torch.inference_mode()
    def plan(
        self,
        ids: Tensor,
        frames: Tensor | None,
        decode: DecodeConfig,
        length: int,
        *,
        uniforms: Tensor | None = None,
        frozen: Frozen | None = None,
        lengths: Tensor | None = None,
    ) -> Decoded:
        """``length`` action tokens for prompts ``ids`` int64 [B, N] with uint8 ``frames`` [B, F,
        H_px, W_px, 3] (None or F = 0: no images).

        ``lengths`` int64 [B]: how many of the N each row really has. The result is overwritten by
        the next call.
        """
        self.prefill(ids, frames, lengths)
        return self.decode(len(ids), ids.shape[1], decode, length, uniforms, frozen)

    @torch.inference_mode()
    def prefill(self, ids: Tensor, frames: Tensor | None, lengths: Tensor | None = None) -> None:
        """Images and prompt into the cache of that batch size."""
        batch, count = ids.shape
        if count > self.config.max_prefix:
            raise ValueError(f"a prompt of {count} tokens: at most {self.config.max_prefix}")
        slots = self._slots_of(batch)
        if frames is not None and not frames.shape[1]:
            frames = None
        step = self.config.prefix_step
        padded = -(-count // step) * step
        if padded != count and lengths is None:
            lengths = torch.full((batch,), count)
        ids = torch.nn.functional.pad(ids, (0, padded - count)).cpu()
        start = self._known(slots, ids, lengths)
        shape = None if frames is None else tuple(frames.shape)
        pads = tuple((ids[0] == IMAGE_PAD_ID).nonzero().squeeze(1).tolist())
        key = ("see", batch, padded, start, shape, pads, lengths is not None)
        if key not in self._graphs:
            self._graphs[key] = self._capture_prefill(ids, frames, start, pads, lengths is not None)
        static, captured = self._graphs[key]
        static["ids"].copy_(ids)
        if frames is not None:
            static["frames"].copy_(frames, non_blocking=True)
        if lengths is not None:
            static["lengths"].copy_(lengths)
        captured()
        slots.ids = ids if lengths is None else None

    @torch.inference_mode()
    def decode(
        self,
        batch: int,
        count: int,
        decode: DecodeConfig,
        length: int,
        uniforms: Tensor | None = None,
        frozen: Frozen | None = None,
    ) -> Decoded:
        """Decode behind what ``prefill`` of the same batch size has left."""
        slots = self._slots_of(batch)
        bound = -(-count // self.config.prefix_step) * self.config.prefix_step
        if bound + decode.reserve(length) > slots.cache.capacity:
            raise ValueError(f"decoding {length} tokens needs more room than the cache has")
        if _asks(decode):
            uniforms = None if uniforms is None else uniforms.to(self.device)
            return self._decode(slots.graphed, slots, bound, decode, length, uniforms, frozen, True)
        counts = None if frozen is None else frozen.counts
        shape = None if uniforms is None else tuple(uniforms.shape)
        key = ("decode", batch, bound, decode, length, shape, counts)
        if key not in self._graphs:
            self._graphs[key] = self._capture_decode(slots, bound, decode, length, uniforms, frozen)
        static, captured = self._graphs[key]
        if uniforms is not None:
            static["uniforms"].copy_(uniforms, non_blocking=True)
        if frozen is not None:
            static["frozen"].copy_(frozen.tokens)
        out: Decoded = captured()
        return out

    # ---- what is captured -------------------------------------------------------------
    def _slots_of(self, batch: int) -> _Slots:
        if batch not in self._slots:
            network = self.network
            cache = network.new_cache(batch)
            hidden = torch.zeros(
                batch, network.config.hidden_size, dtype=network.dtype, device=self.device
            )
            lengths = torch.zeros(batch, dtype=torch.long, device=self.device)
            graphed = GraphedNetwork(network, cache)
            self._slots[batch] = _Slots(cache, hidden, lengths, graphed)
        return self._slots[batch]

    def _known(self, slots: _Slots, ids: Tensor, lengths: Tensor | None) -> int:
        """How many leading tokens the cache already holds: text equal to the last call's."""
        before = slots.ids
        if not self.config.reuse or lengths is not None or before is None:
            return 0
        count = min(ids.shape[1], before.shape[1])
        differs = (ids[:, :count] != before[:, :count]) | (ids[:, :count] == IMAGE_PAD_ID)
        places = differs.any(0).nonzero()
        known = int(places[0]) if len(places) else count
        return min(known, ids.shape[1] - 1)

    def _capture_prefill(
        self,
        ids: Tensor,
        frames: Tensor | None,
        start: int,
        pads: tuple[int, ...],
        ragged: bool,
    ) -> tuple[dict[str, Tensor], Captured]:
        slots, network = self._slots_of(len(ids)), self.network
        static = {"ids": ids.to(self.device, copy=True)}
        places = torch.tensor(pads, device=self.device) - start
        if frames is not None:
            static["frames"] = frames.to(self.device, copy=True)
        if ragged:
            static["lengths"] = torch.full((len(ids),), ids.shape[1], device=self.device)
        known = torch.full((len(ids),), start, dtype=torch.long, device=self.device)

        def see() -> None:
            features = network.encode_images(static["frames"]) if frames is not None else None
            embeds = network.embed_prompt(static["ids"][:, start:], features, places)
            cache = KVCache(slots.cache.keys, slots.cache.values, start, known)
            own = static["lengths"] - start if ragged else None
            slots.hidden.copy_(network.extend(embeds, cache, own))
            assert cache.lengths is not None
            slots.lengths.copy_(cache.lengths)

        return static, Captured(see, self.device)

    def _capture_decode(
        self,
        slots: _Slots,
        bound: int,
        decode: DecodeConfig,
        length: int,
        uniforms: Tensor | None,
        frozen: Frozen | None,
    ) -> tuple[dict[str, Tensor], Captured]:
        static: dict[str, Tensor] = {}
        if uniforms is not None:
            static["uniforms"] = uniforms.to(self.device, copy=True)
        if frozen is not None:
            static["frozen"] = frozen.tokens.to(self.device, copy=True)
            frozen = Frozen(static["frozen"], frozen.counts)

        def call() -> Decoded:
            numbers = static.get("uniforms")
            return self._decode(self.network, slots, bound, decode, length, numbers, frozen, False)

        return static, Captured(call, self.device)

    def _decode(
        self,
        network: EngineNetwork | GraphedNetwork,
        slots: _Slots,
        bound: int,
        decode: DecodeConfig,
        length: int,
        uniforms: Tensor | None,
        frozen: Frozen | None,
        ask: bool,
    ) -> Decoded:
        cache = KVCache(slots.cache.keys, slots.cache.values, bound, slots.lengths)
        return decode_plan(
            network,
            slots.hidden,
            cache,
            length,
            decode,
            uniforms=uniforms,
            frozen=frozen,
            adapter=self.adapter,
            ask=ask,
        )


def _asks(decode: DecodeConfig) -> bool:
    """Modes whose number of forwards only the device knows."""
    return decode.mode == "self_speculation" or (
        decode.mode == "threshold" and not decode.max_rounds
    )
