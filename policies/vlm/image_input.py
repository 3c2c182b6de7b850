"""What an image must be like before it becomes tokens."""

from __future__ import annotations

import numpy as np

from alpamayo.types import RequestError
from policies.vlm.config import VLMConfig
from policies.vlm.vision import image_grid


def image_tokens(height_px: int, width_px: int, cell_px: int) -> int:
    """Prompt tokens of one image: the start, and each row's cells with a break (or the end)."""
    rows, columns = image_grid(height_px, width_px, cell_px)
    return 1 + rows * (columns + 1)


def check_images(frames: np.ndarray, config: VLMConfig, budget: int) -> None:
    """Raise ``RequestError`` unless frames [B, F, H, W, 3] can be shown to the network within
    ``budget`` tokens per prompt."""
    if frames.dtype != np.uint8 or frames.ndim != 5 or frames.shape[-1] != 3:
        raise RequestError(
            f"images: expected uint8 [B, F, H, W, 3], got {frames.dtype} {list(frames.shape)}"
        )
    check_sizes(*frames.shape[1:4], config=config, budget=budget)


def check_sizes(
    count: int, height_px: int, width_px: int, *, config: VLMConfig, budget: int
) -> None:
    """The same for ``count`` images of that size, before there are any."""
    if count == 0:
        return
    if config.vision is None:
        raise RequestError("images: this network has no image tower: expected none (sim.rig=null)")
    if height_px < 1 or width_px < 1:
        raise RequestError(f"images: expected at least 1 x 1 pixels, got {width_px} x {height_px}")
    each = image_tokens(height_px, width_px, config.cell_px)
    if count * each > budget:
        raise RequestError(
            f"images: {count} of {width_px} x {height_px} px take {count * each} tokens: expected "
            f"at most {budget} (alpamayo.prompt.max_image_tokens in config.json)"
        )
