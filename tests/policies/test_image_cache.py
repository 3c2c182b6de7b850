"""Pictures that come back are not encoded twice, and never with old weights."""

import torch

from policies.vlm import NLDModel, VLMConfig
from policies.vlm.image_cache import ImageCache


def _model() -> NLDModel:
    return NLDModel(VLMConfig.preset("tiny")).init_weights(0).eval()


def _frames(seed: int, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 2, 28, 56, 3), generator=generator).to(torch.uint8)


def _count_encoded(model: NLDModel) -> list[int]:
    encoded: list[int] = []
    plain = model.encode_images

    def counting(frames: torch.Tensor) -> torch.Tensor:
        encoded.append(frames.shape[0] * frames.shape[1])
        return plain(frames)

    model.encode_images = counting  # type: ignore[method-assign]
    return encoded


@torch.no_grad()
def test_only_new_pictures_are_encoded_and_the_tokens_are_the_same() -> None:
    model = _model()
    first, second = _frames(0, 3), _frames(1, 3)
    second[:, 0] = first[:, 1]  # what was newest is now the older frame
    expected = [model.encode_images(f) for f in (first, second)]
    encoded, cache = _count_encoded(model), ImageCache(model)
    torch.testing.assert_close(cache.encode(first), expected[0])
    torch.testing.assert_close(cache.encode(second), expected[1])
    again = cache.encode(second[[2, 0]])
    torch.testing.assert_close(again, expected[1][[2, 0]])
    assert encoded == [6, 3]


@torch.no_grad()
def test_the_same_picture_twice_in_a_call_is_encoded_once() -> None:
    model = _model()
    encoded, cache = _count_encoded(model), ImageCache(model)
    frames = _frames(2, 2)
    frames[:, 0] = frames[:, 1]
    tokens = cache.encode(frames)
    half = tokens.shape[1] // 2
    torch.testing.assert_close(tokens[:, :half], tokens[:, half:])
    assert encoded == [2]


@torch.no_grad()
def test_changed_weights_empty_the_cache() -> None:
    model = _model()
    cache, frames = ImageCache(model), _frames(3, 2)
    before = cache.encode(frames)
    model.encoder.vision_tower.patch_conv.weight.mul_(0.5)
    after = cache.encode(frames)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, model.encode_images(frames))
