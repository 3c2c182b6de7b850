"""Calls captured once and replayed: CUDA graphs on a CUDA device, plain calls elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from policies.vlm.engine.network import EngineNetwork
from policies.vlm.text import Adapter, KVCache

T = TypeVar("T")


class Captured(Generic[T]):
    """``function`` of tensors that stay where they are. The result is overwritten by the next
    call."""

    def __init__(self, function: Callable[[], T], device: torch.device) -> None:
        self._function = function
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type != "cuda":
            return
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # compiles kernels, makes library handles
            for _ in range(2):
                function()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._result = function()

    def __call__(self) -> T:
        if self._graph is None:
            return self._function()
        self._graph.replay()
        return self._result


class GraphedNetwork:
    """A ``decode.Network`` whose forwards are captured, for modes that ask the device how they are
    doing: self-speculation, and confidence without a limit of rounds."""

    def __init__(self, network: EngineNetwork, cache: KVCache) -> None:
        assert cache.lengths is not None
        self.network, self.actions = network, network.actions
        self._keys, self._values = cache.keys, cache.values
        self._lengths = cache.lengths.clone()
        self._forwards: dict[tuple[object, ...], tuple[Tensor, Captured[Tensor]]] = {}

    def _run(
        self,
        ids: Tensor,
        cache: KVCache,
        causal: bool,
        keep: Tensor | None,
        adapter: Adapter | None,
    ) -> Tensor:
        assert cache.lengths is not None
        self._lengths.copy_(cache.lengths)
        whole = keep is None or len(keep) == ids.shape[1]
        key = (causal, tuple(ids.shape), cache.length, None if whole else keep, id(adapter))
        if key not in self._forwards:
            static = ids.clone()

            def call(bound: int = cache.length) -> Tensor:
                view = KVCache(self._keys, self._values, bound, self._lengths)
                if causal:
                    return self.network.forward_causal(static, view)
                return self.network.denoise(static, view, None if whole else keep, adapter)

            self._forwards[key] = static, Captured(call, ids.device)
        static, captured = self._forwards[key]
        static.copy_(ids)
        return captured()

    def denoise(
        self,
        block_ids: Tensor,
        cache: KVCache,
        keep: Tensor | None = None,
        adapter: Adapter | None = None,
    ) -> Tensor:
        return self._run(block_ids, cache, False, keep, adapter)

    def forward_causal(self, ids: Tensor, cache: KVCache) -> Tensor:
        hidden = self._run(ids, cache, True, None, None)
        cache.advance(ids.shape[1])
        return hidden

    def action_logits(
        self, hidden: Tensor, positions: Tensor | tuple[int, ...] | None = None
    ) -> Tensor:
        return self.network.action_logits(hidden, positions)

    def text_logits(self, hidden: Tensor) -> Tensor:
        return self.network.text_logits(hidden)
