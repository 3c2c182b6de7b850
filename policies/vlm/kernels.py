"""The few fused operations that decide the speed of small models on a CPU.

Each is a plain torch expression with a hand-written backward that keeps fewer tensors and makes
fewer passes over memory than automatic differentiation would. Reductions are taken in float32 at
least, whatever the dtype. Without gradients the same numbers come from as few calls as possible: on
one observation a call costs more than what it computes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
        scale = torch.rsqrt(norm.square_().div_(x.shape[-1]).add_(eps)).to(x.dtype)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        weight_x = weight.to(x.dtype)
        unit = x * scale
        product = grad * unit
        size = x.shape[-1]
        wide = torch.promote_types(x.dtype, torch.float32)
        grad_weight = product.reshape(-1, size).sum(0, dtype=wide).to(weight.dtype)
        mean = (product @ weight_x).unsqueeze(-1).div_(size)
        grad_x = (grad * weight_x).addcmul_(unit, mean, value=-1.0).mul_(scale)
        return grad_x, grad_weight, None


@lru_cache(maxsize=64)
def _constant(value: float, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor(value, device=device)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """``x / rms(x) * weight`` over the last axis."""
    if not torch.is_grad_enabled() and x.dtype == weight.dtype == torch.float32:
        size = x.shape[-1]
        least = _constant((eps * size) ** 0.5, x.device)
        norm = torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), least)
        return (x / norm.mul_(size**-0.5)).mul_(weight)
    return _RMSNorm.apply(x, weight, eps)


def signed(sin: Tensor) -> Tensor:
    """``sin`` [..., D] as rotations here take it: its first half negated."""
    first, second = sin.chunk(2, -1)
    return torch.cat([-first, second], -1)


def _rotate(out: Tensor, x: Tensor, cos: Tensor, sin: Tensor) -> None:
    """out = x rotated; the two halves of the last axis are the two coordinates. ``sin`` is signed;
    negated it turns back."""
    half = x.shape[-1] // 2
    torch.mul(x, cos, out=out)
    out[..., :half].addcmul_(x[..., half:], sin[..., :half])
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])


class _SplitHeads(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        rotated: tuple[int, ...],
        plain: tuple[int, ...],
    ) -> tuple[Tensor, ...]:
        batch, length, _ = x.shape
        dim = cos.shape[-1]
        heads = x.view(batch, length, -1, dim).transpose(1, 2)
        outputs, first = [], 0
        for index, count in enumerate((*rotated, *plain)):
            out = x.new_empty(batch, count, length, dim)
            source = heads[:, first : first + count]
            if index < len(rotated):
                _rotate(out, source, cos, sin)
            else:
                out.copy_(source)
            outputs.append(out)
            first += count
        ctx.save_for_backward(cos, sin)
        ctx.rotated = len(rotated)
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        back = -sin
        total = sum(g.shape[1] for g in grads)
        batch, _, length, dim = grads[0].shape
        grad = grads[0].new_empty(batch, length, total, dim)
        first = 0
        for index, part in enumerate(grads):
            target = grad[:, :, first : first + part.shape[1]].transpose(1, 2)
            if index < ctx.rotated:
                _rotate(target, part, cos, back)
            else:
                target.copy_(part)
            first += part.shape[1]
        return grad.flatten(2), None, None, None, None


def split_heads(
    x: Tensor, cos: Tensor, sin: Tensor, rotated: tuple[int, ...], plain: tuple[int, ...] = ()
) -> tuple[Tensor, ...]:
    """Cut projections x [B, S, sum of heads * D] into groups of heads, each contiguous [B, heads,
    S, D].

    The ``rotated`` groups (head counts) come first and get rotary positions cos, signed sin [S, D]
    (or [B, 1, S, D]); ``plain`` do not. Without gradients the groups are views of one tensor.
    """
    if not torch.is_grad_enabled():
        heads = x.view(*x.shape[:2], -1, cos.shape[-1]).transpose(1, 2)
        turned, still = heads.split_with_sizes((sum(rotated), sum(plain)), 1)
        if rotated:
            turned = torch.addcmul(turned * cos, turned.roll(cos.shape[-1] // 2, -1), sin)
        return (*turned.split_with_sizes(rotated, 1), *still.split_with_sizes(plain, 1))
    return _SplitHeads.apply(x, cos.to(x.dtype), sin.to(x.dtype), rotated, plain)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        active = F.silu(gate)
        ctx.save_for_backward(gate, up, active)
        return active * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up, active = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), grad * active


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """``silu(gate) * up``; without gradients ``gate`` is overwritten."""
    if not torch.is_grad_enabled():
        return F.silu(gate, inplace=True).mul_(up)
    return _SwiGLU.apply(gate, up)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        scale = q.shape[-1] ** -0.5
        kt = k.transpose(1, 2).contiguous()
        if bias is None:
            scores = torch.bmm(q * scale, kt)
        else:
            scores = torch.baddbmm(bias.expand(len(q), -1, -1), q, kt, alpha=scale)
        weights = torch.softmax(scores, dim=-1)
        ctx.save_for_backward(q, k, v, weights)
        return torch.bmm(weights, v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        grad = grad.contiguous()
        grad_v = torch.bmm(weights.transpose(1, 2), grad)
        grad_weights = torch.bmm(grad, v.transpose(1, 2).contiguous())
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_q = torch.bmm(grad_scores, k).mul_(scale)
        grad_k = torch.bmm(grad_scores.transpose(1, 2), q).mul_(scale)
        return grad_q, grad_k, grad_v, None


# Longer sequences use torch's blocked kernel: they must not hold the whole score matrix.
_SHORT = 256


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
    """Attention of q [B, Hq, Q, D] over k, v [B, Hkv, S, D] (Hq a multiple of Hkv) -> [B, Q, Hq *
    D].

    ``allowed`` [Q, S] or [B, Q, S] bool, None = every key. Short float32 sequences on a CPU, with
    gradients, take the plain path, which is about twice as fast there as the blocked one, forward
    and backward; everything else takes torch's.
    """
    batch, heads, queries, dim = q.shape
    groups, keys = k.shape[1], k.shape[2]
    plain = torch.is_grad_enabled() and q.device.type == "cpu" and q.dtype == torch.float32
    if not plain or max(queries, keys) > _SHORT:
        mask = allowed.unsqueeze(1) if allowed is not None and allowed.dim() == 3 else allowed
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=heads != groups)
        return out.transpose(1, 2).reshape(batch, queries, heads * dim)
    bias = None
    if allowed is not None:
        bias = torch.zeros_like(allowed, dtype=q.dtype).masked_fill_(~allowed, float("-inf"))
        if bias.dim() == 2:
            bias = bias.repeat(heads // groups, 1).unsqueeze(0)
        else:
            bias = bias.repeat(1, heads // groups, 1).repeat_interleave(groups, 0)
    out = _Attention.apply(
        q.reshape(batch * groups, heads // groups * queries, dim),
        k.reshape(batch * groups, keys, dim),
        v.reshape(batch * groups, keys, dim),
        bias,
    )
    return out.view(batch, heads, queries, dim).transpose(1, 2).reshape(batch, queries, heads * dim)
