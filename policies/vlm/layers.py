"""Attention and gated MLP shared by the text and the image tower; parameter names are the published
ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.vlm.kernels import attend, rms_norm, split_heads, swiglu

# Below this width one larger matrix product beats the copy that joins the weights.
_JOIN_BELOW = 1025


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class Folded:
    """What is computed from weights alone, kept until they change; with gradients always fresh."""

    keep = True  # see ``fold_afresh``

    def __init__(self) -> None:
        self._of: list[tuple[int, int]] = []
        self._made: tuple[Tensor, ...] = ()

    def get(self, make: Callable[[], tuple[Tensor, ...]], *weights: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled() or not self.keep:
            return make()
        of = [(weight._version, weight.data_ptr()) for weight in weights]
        if of != self._of:
            self._of, self._made = of, make()
        return self._made


class _Joined:
    """Several projections of the same input as one product."""

    def __init__(self, *layers: nn.Linear) -> None:
        self._layers, self._folded = layers, Folded()

    def __call__(self, x: Tensor) -> Tensor:
        weights = [layer.weight for layer in self._layers]
        (joined,) = self._folded.get(lambda: (torch.cat(weights),), *weights)
        return F.linear(x, joined)


def fold_afresh(model: nn.Module) -> None:
    """From now on nothing computed from the weights of ``model`` is kept: for weights that change
    in place without a trace, such as those that are gathered for each use.
    """
    for module in model.modules():
        for value in vars(module).values():
            folded = value._folded if isinstance(value, _Joined) else value
            if isinstance(folded, Folded):
                folded.keep = False


class Attention(nn.Module):
    """Grouped-query attention without biases."""

    def __init__(self, hidden: int, heads: int, kv_heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        self.q_proj = _linear(hidden, heads * head_dim)
        self.k_proj = _linear(hidden, kv_heads * head_dim)
        self.v_proj = _linear(hidden, kv_heads * head_dim)
        self.o_proj = _linear(heads * head_dim, hidden)
        self.join = hidden < _JOIN_BELOW
        self._qkv = _Joined(self.q_proj, self.k_proj, self.v_proj)
        self._kv = _Joined(self.k_proj, self.v_proj)

    def qkv(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys and the values of x [B, S, H]: [B, heads, S, D] each."""
        if self.join:
            rotated = (self.heads, self.kv_heads)
            q, k, v = split_heads(self._qkv(x), cos, sin, rotated, (self.kv_heads,))
            return q, k, v
        return (self.q(x, cos, sin), *self.kv(x, cos, sin))

    def q(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return split_heads(self.q_proj(x), cos, sin, (self.heads,))[0]

    def kv(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        if self.join:
            k, v = split_heads(self._kv(x), cos, sin, (self.kv_heads,), (self.kv_heads,))
            return k, v
        (k,) = split_heads(self.k_proj(x), cos, sin, (self.kv_heads,))
        (v,) = split_heads(self.v_proj(x), cos, sin, (), (self.kv_heads,))
        return k, v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
        return self.o_proj(attend(q, k, v, allowed))


class GatedMLP(nn.Module):
    """``down(silu(gate(x)) * up(x))``."""

    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = _linear(hidden, inner)
        self.up_proj = _linear(hidden, inner)
        self.down_proj = _linear(inner, hidden)
        self.join = hidden < _JOIN_BELOW
        self._gate_up = _Joined(self.gate_proj, self.up_proj)

    def forward(self, x: Tensor) -> Tensor:
        if self.join and not torch.is_grad_enabled():
            return self.down_proj(swiglu(*self._gate_up(x).chunk(2, -1)))
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))
