"""How one or several learners hold the weights: each all of them, or each a part.

``local`` and ``ddp``: every learner holds everything, gradients are added up. ``fsdp2``: torch's
``fully_shard`` cuts weights, gradients and optimizer state along their first axis, one unit per
transformer block and one for the rest; a unit's weights are gathered while it computes.

What a strategy hands out and takes in are whole tensors, so checkpoints and published weights know
nothing of it. With ``fsdp2`` every learner must make the same calls in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from alpamayo.learner.parallel import add_gradients, learners

T = TypeVar("T")


class Strategy(Protocol):
    sharded: bool  # whether learners compute together, so that all must call alike

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """``function(*args)``, which may use the weights."""
        ...

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """After a backward pass: gradients are the sum over all learners."""
        ...

    def whole(self, tensor: Tensor) -> Tensor:
        """All of a parameter, or of what belongs to one."""
        ...

    def part(self, tensor: Tensor, of: Tensor) -> Tensor:
        """Of a whole ``tensor`` what this learner holds, laid out like ``of``."""
        ...


class Replicated:
    """Every learner holds all weights."""

    sharded = False

    def run(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        add_gradients(parameters)

    def whole(self, tensor: Tensor) -> Tensor:
        return tensor.detach()

    def part(self, tensor: Tensor, of: Tensor) -> Tensor:
        return tensor.to(of.device)


class Sharded:
    """Every learner holds a part of ``parts``, the networks that learning uses.

    ``parts`` stay usable under their own names, but only inside ``run``.
    """

    sharded = True

    def __init__(self, parts: Iterable[nn.Module], device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FSDPModule, fully_shard

        from policies.vlm.layers import fold_afresh

        mesh = init_device_mesh(device.type, (learners(),))
        self.root = _Whole(parts)
        fold_afresh(self.root)
        blocks = [m for m in self.root.modules() if isinstance(m, nn.ModuleList)]
        for block in (block for stack in blocks for block in stack):
            fully_shard(block, mesh=mesh)
        fully_shard(self.root, mesh=mesh)
        for module in self.root.modules():
            if isinstance(module, FSDPModule):
                # Sums, as with every other strategy: rows are weighted before the backward pass.
                module.set_force_sum_reduction_for_comms(True)
                module.set_gradient_divide_factor(1.0)

    def run(self, function: Callable[..., T], *args: Any) -> T:
        out: T = self.root(function, *args)
        if not torch.is_grad_enabled():
            # Else it is the backward pass that lets go of what was gathered.
            self.root.reshard()  # type: ignore[operator]
        return out

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        pass  # the backward pass has done it

    def whole(self, tensor: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor

        tensor = tensor.detach()
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def part(self, tensor: Tensor, of: Tensor) -> Tensor:
        from torch.distributed.tensor import DTensor, distribute_tensor

        tensor = tensor.to(of.device)
        if not isinstance(of, DTensor):
            return tensor
        # Everybody has the whole tensor, so nothing needs to be sent.
        return distribute_tensor(tensor, of.device_mesh, of.placements, src_data_rank=None)


class _Whole(nn.Module):
    """The networks together: its forward pass is whatever is to be computed with them."""

    def __init__(self, parts: Iterable[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({str(n): part for n, part in enumerate(parts)})

    def forward(self, function: Callable[..., T], *args: Any) -> T:
        return function(*args)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> float:
    """Scale gradients to a joint norm of at most ``max_norm``; the norm before, over everything
    that any learner holds of them.
    """
    from torch.distributed.tensor import DTensor

    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        held = gradient.to_local() if isinstance(gradient, DTensor) else gradient
        held.mul_(scale)
    return float(norm)
