"""The image tower and the projector that turns each 2 x 2 patches into one text-width token.

Patches travel in cell order (cell row, cell column, row in cell, column in cell), so that merging a
cell is a reshape; attention inside an image does not care about the order, and rotary positions are
explicit.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from policies.vlm.config import VisionConfig, VLMConfig
from policies.vlm.kernels import signed
from policies.vlm.layers import Attention, Folded, GatedMLP, RMSNorm

# Statistics of the images that the published tower was trained on.
IMAGE_MEAN = (0.48145466, 0.4578275, 0.40821073)
IMAGE_STD = (0.26862954, 0.26130258, 0.27577711)
LONGEST_SIDE_PX = 1400
CENTRE = 128.0  # uint8 minus this is exact in every float dtype, and small


def image_grid(height_px: int, width_px: int, cell_px: int) -> tuple[int, int]:
    """Rows and columns of image tokens for an image of that size."""
    ratio = max(max(height_px, width_px) / LONGEST_SIDE_PX, 1.0)
    rows = -(-round(height_px / ratio) // cell_px)
    columns = -(-round(width_px / ratio) // cell_px)
    return rows, columns


def fit_frames(frames: npt.NDArray[np.uint8], cell_px: int) -> npt.NDArray[np.uint8]:
    """Frames [..., H, W, 3] resized to whole cells (bicubic); returned as they are if they already
    fit."""
    height, width = frames.shape[-3:-1]
    rows, columns = image_grid(height, width, cell_px)
    target = (rows * cell_px, columns * cell_px)
    if (height, width) == target:
        return frames
    flat = frames.reshape(-1, height, width, 3)
    size = (target[1], target[0])
    resized = [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in flat]
    return np.stack(resized).reshape(*frames.shape[:-3], *target, 3)


@lru_cache(maxsize=16)
def rope_2d(
    vision: VisionConfig, rows: int, columns: int, merge: int, device: str
) -> tuple[Tensor, Tensor]:
    """cos, sin float32 [patches, head_dim] in cell order; even frequencies turn with the row, odd
    with the column."""
    with torch.inference_mode(False):
        dim = vision.head_dim
        frequency = 1.0 / vision.rope_theta ** (torch.arange(0, dim, 2).float() / dim)
        grid = torch.stack(
            torch.meshgrid(torch.arange(rows * merge), torch.arange(columns * merge), indexing="ij")
        ).float()
        grid = grid.view(2, rows, merge, columns, merge).transpose(2, 3).reshape(2, -1)
        angles = torch.cat(
            [torch.outer(grid[0], frequency[0::2]), torch.outer(grid[1], frequency[1::2])], dim=-1
        )
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(device), angles.sin().to(device)


@lru_cache(maxsize=16)
def _signed_2d(
    vision: VisionConfig, rows: int, columns: int, merge: int, device: str
) -> tuple[Tensor, Tensor]:
    """``rope_2d`` with the sines as ``split_heads`` takes them."""
    with torch.inference_mode(False):
        cos, sin = rope_2d(vision, rows, columns, merge, device)
        return cos, signed(sin)


class VisionLayer(nn.Module):
    def __init__(self, vision: VisionConfig, eps: float) -> None:
        super().__init__()
        hidden, heads = vision.hidden_size, vision.num_attention_heads
        self.attention_norm = RMSNorm(hidden, eps)
        self.attention = Attention(hidden, heads, heads, vision.head_dim)
        self.ffn_norm = RMSNorm(hidden, eps)
        self.feed_forward = GatedMLP(hidden, vision.intermediate_size)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = self.attention.qkv(self.attention_norm(x), cos, sin)
        x = x + self.attention.attend(q, k, v, None)
        return x + self.feed_forward(self.ffn_norm(x))


class _Transformer(nn.Module):
    def __init__(self, vision: VisionConfig, eps: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            VisionLayer(vision, eps) for _ in range(vision.num_hidden_layers)
        )


class VisionTower(nn.Module):
    """uint8 frames -> patch features."""

    def __init__(self, vision: VisionConfig, merge: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.config, self.merge = vision, merge
        side = vision.patch_size
        self.patch_conv = nn.Conv2d(3, vision.hidden_size, side, side, bias=False)
        self.ln_pre = RMSNorm(vision.hidden_size, eps)
        self.transformer = _Transformer(vision, eps)
        self._folded = Folded()

    def forward(self, frames: Tensor) -> Tensor:
        """Features [N, cells, merge * merge, hidden] of uint8 frames [N, H, W, 3]; sides are
        multiples of a cell."""
        count, height, width, _ = frames.shape
        cell, merge = self.config.patch_size * self.merge, self.merge
        rows, columns = height // cell, width // cell
        weight, bias = self._folded.get(self.pixel_weight, self.patch_conv.weight)
        pixels = self.patches(frames).to(weight.dtype).sub_(CENTRE)
        x = self.ln_pre(F.linear(pixels, weight, bias))
        cos, sin = _signed_2d(self.config, rows, columns, merge, str(frames.device))
        for layer in self.transformer.layers:
            x = layer(x, cos, sin)
        return x.view(count, rows * columns, merge * merge, -1)

    def patches(self, frames: Tensor) -> Tensor:
        """uint8 [N, patches, side * side * 3] in cell order."""
        count, height, width, _ = frames.shape
        side, merge = self.config.patch_size, self.merge
        rows, columns = height // (side * merge), width // (side * merge)
        if (rows * side * merge, columns * side * merge) != (height, width):
            raise ValueError(
                f"frame sides {height} x {width} must be multiples of {side * merge} px"
            )
        patches = frames.view(count, rows, merge, side, columns, merge, side * 3)
        return patches.permute(0, 1, 4, 2, 5, 3, 6).reshape(count, -1, side * side * 3)

    def pixel_weight(self) -> tuple[Tensor, Tensor]:
        """The patch convolution as one matrix on raw pixels: scaling and statistics folded in."""
        weight = self.patch_conv.weight
        mean = weight.new_tensor(IMAGE_MEAN) * 255
        std = weight.new_tensor(IMAGE_STD) * 255
        matrix = (
            weight.permute(0, 2, 3, 1) / std
        )  # [hidden, y, x, channel], as pixels lie in memory
        bias = (matrix * (CENTRE - mean)).sum((1, 2, 3))
        return matrix.reshape(len(weight), -1), bias


class _PatchMerger(nn.Module):
    def __init__(self, hidden: int, merge: int) -> None:
        super().__init__()
        self.merging_layer = nn.Linear(hidden * merge * merge, hidden, bias=False)


class Projector(nn.Module):
    """Patch features -> one text-width token per cell."""

    def __init__(self, config: VLMConfig, vision: VisionConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(vision.hidden_size, config.rms_norm_eps)
        self.patch_merger = _PatchMerger(vision.hidden_size, config.spatial_merge_size)
        self.linear_1 = nn.Linear(vision.hidden_size, config.hidden_size, bias=False)
        self.linear_2 = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self._folded = Folded()

    def forward(self, x: Tensor) -> Tensor:
        """[N, cells, text hidden] of x [N, cells, merge * merge, hidden]."""
        merging = self.patch_merger.merging_layer.weight
        (weight,) = self._folded.get(lambda: (self.merge_weight(),), merging)
        merged = F.linear(self.norm(x).flatten(2), weight)
        return self.linear_2(F.gelu(self.linear_1(merged)))

    def merge_weight(self) -> Tensor:
        """The merging matrix: the published one reads (channel, y, x), ours lies (y, x,
        channel)."""
        weight = self.patch_merger.merging_layer.weight
        hidden = len(weight)
        return weight.view(hidden, hidden, -1).transpose(1, 2).reshape(hidden, -1)
