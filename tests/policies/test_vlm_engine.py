"""The engine computes what the network computes, and keeps its promises about weights and
prefixes. Without a CUDA device nothing is captured; the functions are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alpamayo.types import RequestError
from policies.vlm.adapter import LoraAdapter, load_adapter, new_adapter, save_adapter
from policies.vlm.checkpoint import from_pretrained, save_pretrained
from policies.vlm.config import MASK_ID, RopeConfig
from policies.vlm.decode import Frozen, decode_plan
from policies.vlm.engine import Engine, EngineConfig, EngineNetwork
from policies.vlm.engine.ops import TorchOps
from policies.vlm.model import NLDModel
from policies.vlm.prompt import PromptEncoder
from policies.vlm.schedule import DecodeConfig
from tests.policies.cases import observation, random_prefix, random_tokens, toy_config, toy_model
from tests.policies.test_vlm_modes import MODES, numbers

LENGTH, ROWS = 6, 3


@pytest.fixture
def model() -> NLDModel:
    return toy_model(toy_config(bins=7, rope=RopeConfig(original_max_position_embeddings=24)))


@pytest.mark.parametrize("name", MODES)
@torch.no_grad()
def test_every_mode_decodes_the_same_with_the_engine(model: NLDModel, name: str) -> None:
    """From pixels to tokens, at positions beyond the original context."""
    config, seen = MODES[name], observation(ROWS)
    prompt = PromptEncoder(model.config)(seen)
    uniforms = numbers(config, ROWS)
    embeds = model.embed_prompt(prompt.ids, prompt.frames)
    hidden, cache = model.prefill(embeds, config.reserve(LENGTH))
    expected = decode_plan(model, hidden, cache, LENGTH, config, uniforms=uniforms)
    engine = Engine(toy_model(model.config), EngineConfig(max_prefix=128))
    out = engine.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
    assert torch.equal(out.tokens, expected.tokens)
    assert torch.equal(out.commit_round, expected.commit_round)
    assert torch.equal(out.forwards, expected.forwards)
    assert torch.allclose(out.log_prob, expected.log_prob, atol=1e-4)


@pytest.mark.parametrize("counts", [(2, 2, 2), (0, 2, 4)], ids=str)
@torch.no_grad()
def test_frozen_tokens_and_unequal_prefixes_go_through_the_engine(
    model: NLDModel, counts: tuple[int, ...]
) -> None:
    config = MODES["executed first"]
    ids = torch.randint(22, 90, (ROWS, 9), generator=torch.Generator().manual_seed(2))
    lengths = torch.tensor([9, 4, 6])
    given = torch.arange(LENGTH) < torch.tensor(counts)[:, None]
    frozen = Frozen.of(torch.where(given, random_tokens(model, ROWS, LENGTH), MASK_ID))
    hidden, cache = model.prefill(model.embed_tokens(ids), LENGTH, lengths)
    uniforms = numbers(config, ROWS)
    expected = decode_plan(model, hidden, cache, LENGTH, config, uniforms=uniforms, frozen=frozen)
    engine = Engine(toy_model(model.config), EngineConfig(prefix_step=4))
    out = engine.plan(ids, None, config, LENGTH, uniforms=uniforms, frozen=frozen, lengths=lengths)
    assert torch.equal(out.tokens, expected.tokens)
    assert torch.allclose(out.log_prob, expected.log_prob, atol=1e-4)


@torch.no_grad()
def test_leading_text_is_read_once_and_images_every_time(model: NLDModel) -> None:
    config, uniforms = DecodeConfig(rounds=2), numbers(DecodeConfig(), ROWS)
    one, two = observation(ROWS), observation(ROWS)
    two.frames[:] = 255 - two.frames
    encoder = PromptEncoder(model.config)
    engine = Engine(toy_model(model.config), EngineConfig(max_prefix=128))
    fresh = Engine(toy_model(model.config), EngineConfig(max_prefix=128, reuse=False))
    for seen in (one, two, one):
        prompt = encoder(seen)
        out = engine.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
        expected = fresh.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
        assert torch.equal(out.tokens, expected.tokens)
        assert torch.allclose(out.log_prob, expected.log_prob, atol=1e-4)
    starts = sorted({key[3] for key in engine._graphs if key[0] == "see"})
    assert starts == [0, 3]  # chat header and the first image's start, which are always the same
    assert {key[3] for key in fresh._graphs if key[0] == "see"} == {0}


@torch.no_grad()
def test_weights_changed_in_place_are_used_at_once_and_stored_once(model: NLDModel) -> None:
    config, uniforms = DecodeConfig(), numbers(DecodeConfig(), ROWS)
    prompt = PromptEncoder(model.config)(observation(ROWS))
    other = toy_model(model.config, seed=11)
    engine = Engine(model, EngineConfig(max_prefix=128))
    before = engine.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
    layer = model.encoder.layers[0]
    fused = engine.network.text.layers[0]
    assert layer.self_attn.v_proj.weight.untyped_storage().data_ptr() == (
        fused.qkv.untyped_storage().data_ptr()
    )
    again = Engine(model, EngineConfig(max_prefix=128))  # fusing twice changes nothing
    same = again.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
    assert torch.equal(before.log_prob, same.log_prob)
    graphs = set(engine._graphs)
    engine.load_state_dict(other.state_dict())
    out = engine.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
    expected = Engine(other, EngineConfig(max_prefix=128)).plan(
        prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms
    )
    assert torch.equal(out.tokens, expected.tokens)
    assert torch.equal(out.log_prob, expected.log_prob)
    assert not torch.equal(out.log_prob, before.log_prob)
    assert set(engine._graphs) == graphs


@torch.no_grad()
def test_a_model_with_fused_weights_saves_and_loads(model: NLDModel, tmp_path: Path) -> None:
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Engine(model)
    again = from_pretrained(save_pretrained(model, tmp_path / "c"))
    assert all(torch.equal(expected[n], t) for n, t in again.state_dict().items())


class ContiguousOps(TorchOps):
    """Refuses what the fused kernels could not read: they take rows as they lie in memory."""

    def add_norm(
        self, x: torch.Tensor, delta: torch.Tensor | None, weight: torch.Tensor, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert x.is_contiguous() and (delta is None or delta.is_contiguous())
        return super().add_norm(x, delta, weight, eps)

    def linear(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        assert x.is_contiguous() and w.is_contiguous()
        return super().linear(x, w)


@torch.no_grad()
def test_kernels_get_rows_as_they_lie_in_memory(model: NLDModel) -> None:
    """The last position of each of several rows is a strided view until it is copied."""
    engine = Engine(model, EngineConfig(max_prefix=128), ops=ContiguousOps())
    prompt = PromptEncoder(model.config)(observation(ROWS))
    uniforms = numbers(DecodeConfig(), ROWS)
    engine.plan(prompt.ids, prompt.frames, DecodeConfig(), LENGTH, uniforms=uniforms)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", MODES)
@torch.no_grad()
def test_captured_fused_decoding_equals_plain_decoding_on_a_device(
    model: NLDModel, name: str
) -> None:
    config, uniforms = MODES[name], numbers(MODES[name], ROWS)
    config = replace(config, max_rounds=LENGTH if config.mode == "threshold" else 0)
    wide = toy_config(bins=7, head_dim=32, hidden_size=64)
    prompt = PromptEncoder(wide)(observation(ROWS))
    plans = []
    for triton in (False, True):
        engine = Engine(toy_model(wide).cuda(), EngineConfig(max_prefix=128, triton=triton))
        out = engine.plan(prompt.ids, prompt.frames, config, LENGTH, uniforms=uniforms)
        plans.append((out.tokens.clone(), out.log_prob.clone()))
    assert torch.equal(plans[0][0], plans[1][0])
    assert torch.allclose(plans[0][1], plans[1][1], atol=1e-2)


# ---- drafter's adapter ---------------------------------------------------------------
def random_adapter(model: NLDModel, rank: int = 4, seed: int = 0) -> LoraAdapter:
    adapter = new_adapter(model.config, rank, model.diffusion_head.weight, seed)
    generator = torch.Generator().manual_seed(seed)
    for up in adapter.up:
        up.copy_(torch.randn(up.shape, generator=generator) * 0.5)
    return adapter


@torch.no_grad()
def test_an_adapter_changes_drafts_as_merged_weights_would_and_never_the_plan(
    model: NLDModel,
) -> None:
    adapter = random_adapter(model)
    prefix, block = random_prefix(model, 2), model.masked_block(2, 4)
    _, cache = model.prefill(prefix, reserve=4)
    got = model.denoise(block, cache, adapter=adapter)
    merged = toy_model(model.config)
    _, plain = merged.prefill(prefix, reserve=4)
    for index, layer in enumerate(merged.encoder.layers):
        layer.self_attn.o_proj.weight += adapter.up[index] @ adapter.down[index]
    assert torch.allclose(got, merged.denoise(block, plain), atol=1e-4)
    config = MODES["self-speculation"]
    uniforms = numbers(config, 2)
    plans = []
    for drafter in (None, adapter):
        hidden, cache = model.prefill(prefix, config.reserve(LENGTH))
        plans.append(
            decode_plan(model, hidden, cache, LENGTH, config, uniforms=uniforms, adapter=drafter)
        )
    assert torch.equal(plans[0].tokens, plans[1].tokens)
    assert torch.allclose(plans[0].log_prob, plans[1].log_prob, atol=1e-5)


@torch.no_grad()
def test_an_adapter_is_swapped_in_place(model: NLDModel) -> None:
    ids = torch.randint(22, 90, (2, 9), generator=torch.Generator().manual_seed(2))
    config, uniforms = MODES["self-speculation"], numbers(MODES["self-speculation"], 2)
    engine = Engine(model, adapter=random_adapter(model, seed=1))
    first = engine.plan(ids, None, config, LENGTH, uniforms=uniforms)
    captured = set(engine._slots[2].graphed._forwards)
    zero = new_adapter(model.config, 4, model.diffusion_head.weight)
    engine.swap_adapter(zero)
    second = engine.plan(ids, None, config, LENGTH, uniforms=uniforms)
    assert set(engine._slots[2].graphed._forwards) == captured
    without = Engine(model).plan(ids, None, config, LENGTH, uniforms=uniforms)
    assert torch.equal(second.forwards, without.forwards)
    assert torch.equal(first.tokens, second.tokens)
    with pytest.raises(ValueError, match="without an adapter"):
        Engine(model).swap_adapter(zero)


@torch.no_grad()
def test_an_adapter_survives_its_files_and_bad_ones_are_refused(
    model: NLDModel, tmp_path: Path
) -> None:
    adapter, like = random_adapter(model), model.diffusion_head.weight
    path = save_adapter(adapter, tmp_path / "linear_spec_lora")
    again = load_adapter(path, model.config, like)
    for mine, theirs in zip([*adapter.down, *adapter.up], [*again.down, *again.up], strict=True):
        assert torch.equal(mine, theirs)
    settings = (path / "adapter_config.json").read_text()
    (path / "adapter_config.json").write_text(
        settings.replace('"lora_alpha": 4', '"lora_alpha": 16')
    )
    scaled = load_adapter(path, model.config, like)
    assert torch.allclose(scaled.up[0], adapter.up[0] * 4)
    (path / "adapter_config.json").write_text(settings.replace("o_proj", "q_proj"))
    with pytest.raises(RequestError, match="target_modules: expected"):
        load_adapter(path, model.config, like)
    (path / "adapter_config.json").write_text(settings)
    deeper = replace(model.config, num_hidden_layers=3)
    with pytest.raises(RequestError, match="2 missing"):
        load_adapter(path, deeper, like)


# ---- limits --------------------------------------------------------------------------
@torch.no_grad()
def test_what_does_not_fit_is_refused(model: NLDModel) -> None:
    engine = Engine(model, EngineConfig(max_prefix=8))
    ids = torch.full((1, 9), 22)
    with pytest.raises(ValueError, match="at most 8"):
        engine.plan(ids, None, DecodeConfig(select="greedy"), LENGTH)
    network = EngineNetwork(model, capacity=4)
    with pytest.raises(ValueError, match="cache holds 4 positions, 6 needed"):
        network.forward_causal(random_tokens(model, 1, 6), network.new_cache(1))
