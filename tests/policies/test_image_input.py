"""Images on their way into the network, against transformers' Pixtral processor where it agrees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alpamayo.types import RequestError
from policies.vlm.config import PromptConfig
from policies.vlm.image_input import check_images, image_tokens
from policies.vlm.prompt import PromptEncoder, image_block
from policies.vlm.vision import CENTRE, IMAGE_MEAN, IMAGE_STD, fit_frames, image_grid
from tests.policies.cases import observation, toy_config, toy_model

CELL = 28


def processed(image: np.ndarray) -> torch.Tensor:
    """Pixel values [3, H, W] by transformers (PIL variant), with the published cap and patches."""
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    processor = PixtralImageProcessorPil(
        patch_size={"height": CELL, "width": CELL}, size={"longest_edge": 1400}
    )
    values = processor(image, return_tensors="pt")["pixel_values"]
    return torch.as_tensor(np.asarray(values)).reshape(3, *values.shape[-2:])


def normalised(frame: np.ndarray) -> torch.Tensor:
    scaled = torch.from_numpy(frame).double().div(255)
    return ((scaled - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)).permute(2, 0, 1)


def picture(height_px: int, width_px: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs and an edge, as photographs have them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height_px, :width_px].astype(float)
    waves = [
        np.sin(x / rng.uniform(9, 60) + y / rng.uniform(9, 60) + rng.uniform(0, 6))
        for _ in range(3)
    ]
    image = 127 + 90 * np.stack(waves, -1)
    image[:, width_px // 2 :] *= 0.6
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(252, 448), (56, 168), (1400, 28)])
def test_an_image_of_whole_cells_equals_the_pixtral_processor(size: tuple[int, int]) -> None:
    frame = picture(*size)
    assert fit_frames(frame, CELL) is frame
    theirs = processed(frame)
    assert theirs.shape == (3, *size)
    assert torch.allclose(normalised(frame).float(), theirs, atol=1e-5)


def test_the_tower_reads_pixels_as_the_processor_writes_them() -> None:
    """Scaling and statistics are folded into the patch matrix; the sums are the same."""
    tower = toy_model().encoder.vision_tower
    frame = picture(28, 56)
    theirs = F.conv2d(processed(frame)[None], tower.patch_conv.weight, stride=14)
    weight, bias = tower.pixel_weight()
    patches = torch.from_numpy(frame).view(2, 14, 4, 42).transpose(1, 2).reshape(2, 4, -1)
    ours = F.linear(patches.float() - CENTRE, weight, bias)
    assert torch.allclose(ours.permute(2, 0, 1), theirs[0].detach(), atol=2e-4)


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((252, 448), (9, 16)), ((392, 672), (14, 24)), ((504, 896), (18, 32)),
        ((720, 1280), (26, 46)), ((1080, 1920), (29, 50)), ((1, 1), (1, 1)), ((29, 28), (2, 1)),
        ((3000, 10), (50, 1)),
    ],
)  # fmt: skip
def test_grids_are_the_published_ones(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert image_grid(*size, CELL) == grid
    assert image_tokens(*size, CELL) == 1 + grid[0] * (grid[1] + 1) == len(image_block(*grid))


def test_other_sizes_differ_from_the_processor_by_their_filter_only() -> None:
    """Same grid; enlarged by OpenCV's bicubic (a = -0.75) instead of Pillow's (a = -0.5)."""
    frame = picture(250, 440)
    ours, theirs = normalised(fit_frames(frame, CELL)), processed(frame)
    assert ours.shape == theirs.shape == (3, 252, 448)
    difference = (ours - theirs).abs()
    assert difference.mean() < 0.02 and difference.median() < 0.02


def test_beyond_the_cap_rounding_may_add_a_cell_to_what_the_processor_has() -> None:
    """1500 x 1201 shrinks by 1.0714 to 1400 x 1120.93: 1121 px are 41 cells, but 1120 are 40."""
    assert image_grid(1201, 1500, CELL) == (41, 50)  # 1120.93
    assert processed(picture(1201, 1500)).shape[1] == 40 * CELL


# ---- refusals ------------------------------------------------------------------------
def test_an_image_of_no_size_is_refused() -> None:
    encoder = PromptEncoder(toy_config())
    for size in ((0, 56), (56, 0)):
        with pytest.raises(RequestError, match="expected at least 1 x 1 pixels, got"):
            encoder(observation(1, size_px=size))


def test_more_image_tokens_than_the_budget_are_refused() -> None:
    config = replace(toy_config(), prompt=PromptConfig(max_image_tokens=307))
    frames = np.zeros((1, 2, 252, 448, 3), np.uint8)
    with pytest.raises(
        RequestError, match="2 of 448 x 252 px take 308 tokens: expected at most 307"
    ):
        check_images(frames, config, config.prompt.max_image_tokens)
    check_images(frames, config, 308)


def test_what_is_no_image_or_has_no_tower_is_refused() -> None:
    with pytest.raises(RequestError, match="expected uint8"):
        check_images(np.zeros((1, 1, 28, 28, 3)), toy_config(), 99)
    with pytest.raises(RequestError, match="no image tower"):
        check_images(np.zeros((1, 1, 28, 28, 3), np.uint8), toy_config(vision=None), 99)
