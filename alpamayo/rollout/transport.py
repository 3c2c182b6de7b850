"""Versioned weights on their way from the learner to the workers.

The learner publishes once per update; a worker pulls at the start of a sample and only if what it
holds is older. RLlib's own pushes are dropped silently when a worker is busy; a pull at the start
of each sample cannot be. Tensors travel as tensors, so bfloat16 passes unchanged, and each version
lies in the object store once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import ray

from alpamayo.learner.weights import adapted_names, cpu_copies, load_tensors

if TYPE_CHECKING:
    import torch

    Tensors = Mapping[str, torch.Tensor]


# The weights of each module that adapters are added to, as they are without: each version starts
# from them again, so that rounding does not add up.
_adapted: WeakKeyDictionary[torch.nn.Module, Tensors] = WeakKeyDictionary()


@dataclass(frozen=True)
class WeightsHandle:
    """A published version: ``trainable`` tensors of that version over the ``base`` that never
    changes in a run.

    Each is a reference into the object store, or the tensors themselves where there is none. Small
    enough to travel inside every sample request, so a worker that was restarted finds all of its
    weights there too.
    """

    version: int
    base: ray.ObjectRef | Tensors
    trainable: ray.ObjectRef | Tensors
    nbytes: int = 0  # of the trainable tensors

    def pull(self, module: torch.nn.Module, have_version: int) -> int:
        """Bring ``module`` from ``have_version`` (-1: nothing loaded yet) to this one; returns the
        version held.
        """
        if have_version == self.version:
            return have_version
        if have_version < 0:
            load_tensors(module, _resolve(self.base))
            _adapted.pop(module, None)
        tensors = _resolve(self.trainable)
        if module not in _adapted:
            own = dict(module.named_parameters())
            names = adapted_names(tensors)
            _adapted[module] = {name: own[name].detach().clone() for name in names}
        load_tensors(module, tensors, _adapted[module])
        return self.version


def _resolve(stored: ray.ObjectRef | Tensors) -> Tensors:
    return ray.get(stored) if isinstance(stored, ray.ObjectRef) else stored


class ObjectStoreTransport:
    """The default transport: CPU copies of the tensors in Ray's object store; frozen ones travel
    once.
    """

    def __init__(self, base: Tensors) -> None:
        self._base = self._store(base)

    def publish(self, version: int, trainable: Tensors) -> WeightsHandle:
        nbytes = sum(tensor.nbytes for tensor in trainable.values())
        return WeightsHandle(version, self._base, self._store(trainable), nbytes)

    @staticmethod
    def _store(tensors: Tensors) -> ray.ObjectRef | Tensors:
        copies = cpu_copies(tensors)
        return ray.put(copies) if ray.is_initialized() else copies
