"""Names, shapes and numbers of the network against the published facts and an independent
implementation."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from policies.vlm.config import PRESETS, RopeConfig, VLMConfig, from_json, to_json
from policies.vlm.kernels import attend, rms_norm, signed, split_heads, swiglu
from policies.vlm.model import NLDModel
from policies.vlm.text import packed_mask, yarn_frequencies
from policies.vlm.vision import IMAGE_MEAN, IMAGE_STD, fit_frames, image_grid
from tests.policies.cases import random_prefix, random_tokens, toy_config, toy_model

transformers = pytest.importorskip("transformers")


def shapes(config: VLMConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in NLDModel(config).state_dict().items()}


@pytest.mark.parametrize(
    ("preset", "count", "parameters"),
    [
        ("small", 153, 0.028),
        ("nld-3b", 237, 3.83),
        ("nld-8b", 309, 8.49),
        ("nld-14b", 363, 13.51),
        ("nld-vlm-8b", 531, 8.917),
    ],
)
def test_published_sizes_have_the_published_tensors(
    preset: str, count: int, parameters: float
) -> None:
    found = shapes(PRESETS[preset])
    assert len(found) == count
    billions = sum(int(np.prod(shape)) for shape in found.values()) / 1e9
    assert billions == pytest.approx(parameters, abs=0.006)


def test_vlm_8b_names_and_shapes_are_those_of_the_published_file() -> None:
    found = shapes(PRESETS["nld-vlm-8b"])
    assert found["encoder.embed_tokens.weight"] == (131073, 4096)
    assert found["diffusion_head.weight"] == (131073, 4096)
    assert found["encoder.layers.33.self_attn.k_proj.weight"] == (1024, 4096)
    assert found["encoder.layers.0.mlp.down_proj.weight"] == (4096, 14336)
    assert found["encoder.norm.weight"] == (4096,)
    tower = "encoder.vision_tower."
    assert found[tower + "patch_conv.weight"] == (1024, 3, 14, 14)
    assert found[tower + "ln_pre.weight"] == (1024,)
    layer = tower + "transformer.layers.23."
    assert found[layer + "attention.o_proj.weight"] == (1024, 1024)
    assert found[layer + "feed_forward.gate_proj.weight"] == (4096, 1024)
    assert found[layer + "attention_norm.weight"] == (1024,)
    assert found[layer + "ffn_norm.weight"] == (1024,)
    projector = "encoder.multi_modal_projector."
    assert found[projector + "norm.weight"] == (1024,)
    assert found[projector + "patch_merger.merging_layer.weight"] == (1024, 4096)
    assert found[projector + "linear_1.weight"] == (4096, 1024)
    assert found[projector + "linear_2.weight"] == (4096, 4096)


def test_tiny_has_the_same_tensor_names_as_a_published_vlm_of_its_depth() -> None:
    tiny = PRESETS["tiny"]
    vision = replace(PRESETS["nld-vlm-8b"].vision, num_hidden_layers=tiny.vision.num_hidden_layers)
    big = replace(PRESETS["nld-vlm-8b"], num_hidden_layers=tiny.num_hidden_layers, vision=vision)
    assert set(shapes(tiny)) == set(shapes(big))
    parameters = sum(int(np.prod(shape)) for shape in shapes(tiny).values())
    assert 1.0e6 < parameters < 1.3e6


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_config_survives_its_json_form(preset: str) -> None:
    assert from_json(to_json(PRESETS[preset])) == PRESETS[preset]


def test_yarn_leaves_fast_pairs_alone_and_stretches_slow_ones_by_the_factor() -> None:
    rope = RopeConfig()
    plain = 1.0 / 1e6 ** (torch.arange(64) * 2 / 128)
    ratio = plain / yarn_frequencies(rope, 128)
    assert torch.allclose(ratio[:21], torch.ones(21))
    assert torch.allclose(ratio[37:], torch.full((27,), 16.0))
    assert bool((ratio[21:37] > 1).all()) and bool((ratio[21:37] < 16).all())


@pytest.mark.parametrize("original", [16384, 24])
def test_text_tower_equals_ministral3_also_beyond_the_original_context(original: int) -> None:
    """With an original context of 24, YaRN's ramp and the llama-4 query scale both matter at 70
    positions."""
    rope = RopeConfig(original_max_position_embeddings=original)
    config = toy_config(rope=rope, head_dim=16)
    model = toy_model(config)
    reference = transformers.Ministral3ForCausalLM(
        transformers.Ministral3Config(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            rms_norm_eps=config.rms_norm_eps,
            rope_parameters={"rope_type": "yarn", "max_position_embeddings": 512, **asdict(rope)},
            attn_implementation="eager",
        )
    ).eval()
    renamed = {
        name.replace("encoder.", "model.").replace("diffusion_head", "lm_head"): tensor
        for name, tensor in model.state_dict().items()
        if "vision" not in name and "projector" not in name
    }
    reference.load_state_dict(renamed)
    ids = torch.randint(0, config.vocab_size, (2, 70), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference(ids).logits
        embeds = model.embed_prompt(ids.masked_fill(ids == 19, 22))
        embeds[ids == 19] = model.embed_tokens(torch.tensor(19))
        hidden, cache = model.prefill(embeds[:, :50], reserve=20)
        tail = model.forward_causal(ids[:, 50:], cache)
    got = F.linear(torch.cat([hidden[:, None], tail], 1), model.diffusion_head.weight)
    assert torch.allclose(got, expected[:, 49:], atol=1e-4)


def test_vision_tower_and_projector_equal_pixtral_and_mistral3() -> None:
    from transformers.models.mistral3.modeling_mistral3 import Mistral3MultiModalProjector

    model = toy_model()
    vision, text = model.config.vision, model.config
    pixtral_config = transformers.PixtralVisionConfig(
        hidden_size=vision.hidden_size,
        intermediate_size=vision.intermediate_size,
        num_hidden_layers=vision.num_hidden_layers,
        num_attention_heads=vision.num_attention_heads,
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        hidden_act="silu",
        attn_implementation="eager",
    )
    tower = transformers.PixtralVisionModel(pixtral_config).eval()
    tower.load_state_dict(model.encoder.vision_tower.state_dict())
    projector = Mistral3MultiModalProjector(
        transformers.Mistral3Config(
            vision_config=pixtral_config,
            text_config=transformers.Ministral3Config(
                hidden_size=text.hidden_size, rms_norm_eps=text.rms_norm_eps
            ),
            spatial_merge_size=2,
            vision_feature_layer=-1,
        )
    ).eval()
    projector.load_state_dict(model.encoder.multi_modal_projector.state_dict())
    frames = torch.randint(
        0, 256, (3, 56, 84, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
    pixels = ((frames / 255.0 - mean) / std).permute(0, 3, 1, 2)
    sizes = [(56, 84)] * 3
    with torch.no_grad():
        features = tower(pixels, image_sizes=sizes).last_hidden_state.squeeze(0)
        expected = projector(features, sizes)
        got = model.encode_images(frames[None])
    assert torch.allclose(got[0], expected, atol=1e-4)


def test_kernels_and_their_gradients_equal_plain_torch() -> None:
    torch.manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, requires_grad=True)

    # gradcheck compares the hand-written backwards with finite differences.
    assert torch.autograd.gradcheck(swiglu, (leaf(3, 4), leaf(3, 4)))
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-5), (leaf(3, 6), leaf(6)))
    angle = torch.randn(5, 4, dtype=torch.float64)
    angle = torch.cat([angle[:, :2], angle[:, :2]], -1)
    assert torch.autograd.gradcheck(
        lambda x: split_heads(x, angle.cos(), signed(angle.sin()), (2, 1), (1,)), (leaf(2, 5, 16),)
    )
    x, w = leaf(3, 6), leaf(6)
    plain = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * w
    assert torch.allclose(rms_norm(x, w, 1e-5), plain, atol=1e-6)


def test_without_gradients_the_same_numbers_come_from_fewer_calls() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(2, 5, 16, requires_grad=True), torch.randn(16)
    angle = torch.randn(5, 4).repeat(1, 2)[:, :4]
    q, k, v = (torch.randn(2, heads, 5, 8, requires_grad=True) for heads in (4, 2, 2))
    mask = packed_mask(2, ((3, False),))

    def everything() -> list[Tensor]:
        heads = split_heads(x, angle.cos(), signed(angle.sin()), (2, 1), (1,))
        gate, up = x.clone().chunk(2, -1)
        return [rms_norm(x, w, 1e-5), *heads, attend(q, k, v, mask), swiglu(gate * 1.0, up)]

    with_gradients = everything()
    with torch.inference_mode():
        without = everything()
    for a, b in zip(with_gradients, without, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_what_is_folded_from_weights_follows_them() -> None:
    """In place, as trainers and rollout workers change them."""
    model, other = toy_model(seed=1), toy_model(seed=2)
    frames = torch.randint(0, 256, (1, 2, 56, 84, 3), dtype=torch.uint8)

    def outputs(network: NLDModel) -> Tensor:
        with torch.inference_mode():
            return network.prefill(network.encode_images(frames))[0]

    before = outputs(model)
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            mine.copy_(theirs)
    assert not torch.allclose(outputs(model), before, atol=1e-3)
    assert torch.equal(outputs(model), outputs(other))


def test_short_attention_equals_torchs_in_value_and_gradient() -> None:
    torch.manual_seed(0)
    mask = packed_mask(5, ((4, False), (3, True)))
    q = torch.randn(2, 4, 12, 8, requires_grad=True)
    k = torch.randn(2, 2, 12, 8, requires_grad=True)
    v = torch.randn(2, 2, 12, 8, requires_grad=True)
    for allowed in (mask, None):
        ours = attend(q, k, v, allowed)
        theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, enable_gqa=True)
        theirs = theirs.transpose(1, 2).reshape(2, 12, 32)
        weight = torch.randn_like(ours)
        mine = torch.autograd.grad((ours * weight).sum(), (q, k, v))
        other = torch.autograd.grad((theirs * weight).sum(), (q, k, v))
        assert torch.allclose(ours, theirs, atol=1e-5)
        for a, b in zip(mine, other, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def by_hand(model: NLDModel, x: Tensor, positions: list[int], sees: list[list[int]]) -> Tensor:
    """Hidden states when position i attends exactly to ``sees[i]``: loops, no masks, no cache."""
    config = model.config
    step = yarn_frequencies(config.rope, config.head_dim)
    groups = config.num_attention_heads // config.num_key_value_heads

    def norm(v: Tensor, layer: torch.nn.Module) -> Tensor:
        return v / (v.square().mean(-1, keepdim=True) + config.rms_norm_eps).sqrt() * layer.weight

    def turn(v: Tensor) -> Tensor:
        angle = torch.tensor(positions).float()[:, None] * step
        a, b = v.chunk(2, -1)
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    for layer in model.encoder.layers:
        attention, mlp, h = layer.self_attn, layer.mlp, norm(x, layer.input_layernorm)
        q = turn(attention.q_proj(h).view(len(x), -1, config.head_dim))
        k = turn(attention.k_proj(h).view(len(x), -1, config.head_dim))
        v = attention.v_proj(h).view(len(x), -1, config.head_dim)
        rows = []
        for i, keys in enumerate(sees):
            heads = [
                torch.softmax(k[keys, n // groups] @ q[i, n] / config.head_dim**0.5, 0)
                @ v[keys, n // groups]
                for n in range(config.num_attention_heads)
            ]
            rows.append(torch.cat(heads))
        x = x + attention.o_proj(torch.stack(rows))
        h = norm(x, layer.post_attention_layernorm)
        x = x + mlp.down_proj(F.silu(mlp.gate_proj(h)) * mlp.up_proj(h))
    return norm(x, model.encoder.norm)


def test_block_mode_sees_the_prefix_and_the_whole_block_and_leaves_the_cache_alone() -> None:
    model = toy_model()
    prefix = random_prefix(model, 2, 6)
    block = random_tokens(model, 2, 4)
    with torch.no_grad():
        _, cache = model.prefill(prefix, reserve=4)
        before = cache.keys[..., :6, :].clone()
        got = model.denoise(block, cache)
        again = model.denoise(block, cache)
        x = torch.cat([prefix, model.embed_tokens(block)], 1)
        sees = [list(range(i + 1)) for i in range(6)] + [list(range(10))] * 4
        expected = by_hand(model, x[1], list(range(10)), sees)[6:]
    assert torch.allclose(got[1], expected, atol=1e-5)
    assert torch.equal(cache.keys[..., :6, :], before)
    assert cache.length == 6
    assert torch.equal(got, again)


def test_joint_forward_separates_noisy_and_clean_halves() -> None:
    model = toy_model()
    prefix = random_prefix(model, 1, 5)
    clean = random_tokens(model, 1, 4)
    noisy = clean.masked_fill(torch.tensor([[True, False, True, False]]), 100)
    with torch.no_grad():
        diffusion, causal = model.joint_forward(prefix, noisy, clean)
        own = [list(range(i + 1)) for i in range(5)]
        x = torch.cat([prefix, model.embed_tokens(noisy)], 1)[0]
        hidden = by_hand(model, x, list(range(9)), own + [list(range(9))] * 4)
        assert torch.allclose(model.action_logits(hidden[5:]), diffusion[0], atol=1e-5)
        x = torch.cat([prefix, model.embed_tokens(clean)], 1)[0]
        hidden = by_hand(model, x, list(range(9)), [list(range(i + 1)) for i in range(9)])
        assert torch.allclose(model.action_logits(hidden[4:8]), causal[0], atol=1e-5)
        several, _ = model.joint_forward(prefix, torch.stack([noisy, clean], 1), clean)
        assert torch.allclose(several[:, 0], diffusion, atol=1e-5)


def test_gradients_do_not_depend_on_trimming_the_last_layer() -> None:
    model = toy_model()
    views = random_tokens(model, 2, 4)[:, None]
    prefix = random_prefix(model, 2)
    wanted = torch.tensor([1, 2])
    whole = model.packed_views(prefix, views)[:, 0, wanted]
    part = model.packed_views(prefix, views, wanted)
    assert torch.allclose(whole, part, atol=1e-5)
    parameters = [p for n, p in model.named_parameters() if "vision" not in n and "modal" not in n]
    one = torch.autograd.grad(whole.softmax(-1)[..., 0].sum(), parameters)
    two = torch.autograd.grad(part.softmax(-1)[..., 0].sum(), parameters)
    for a, b in zip(one, two, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_image_grid_follows_the_published_counts() -> None:
    for width, height, tokens in ((448, 252, 154), (672, 392, 351), (896, 504, 595)):
        rows, columns = image_grid(height, width, 28)
        assert 1 + rows * (columns + 1) == tokens
    assert image_grid(1080, 1920, 28) == (29, 50)
    frames = np.zeros((2, 3, 50, 60, 3), np.uint8)
    assert fit_frames(frames, 28).shape == (2, 3, 56, 84, 3)
    fitting = np.zeros((1, 1, 56, 84, 3), np.uint8)
    assert fit_frames(fitting, 28) is fitting


def test_prompt_and_images_must_agree() -> None:
    model = toy_model()
    ids = torch.tensor([[10, 18, 19, 21, 11]])
    with pytest.raises(ValueError, match="1 image tokens"):
        model.embed_prompt(ids)
    frames = torch.zeros(1, 1, 28, 28, 3, dtype=torch.uint8)
    with torch.no_grad():
        features = model.encode_images(frames)
        by_frames = model.embed_prompt(ids, frames)
        by_features = model.embed_prompt(ids, features=features)
    assert torch.equal(by_frames, by_features)
    assert torch.equal(by_frames[:, 2:3], features)
    assert torch.equal(by_frames[:, 3], model.embed_tokens(ids)[:, 3])
