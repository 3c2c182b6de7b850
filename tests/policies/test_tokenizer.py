"""Tokenizers, where action bins lie in them, and prompts in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alpamayo import streams
from alpamayo.paths import shipped_weights_dir
from alpamayo.types import COMMANDS, PlanMemory, RequestError
from policies.base import check_plan
from policies.registry import load_policy
from policies.vlm.chat import ChatPromptEncoder
from policies.vlm.checkpoint import from_pretrained, save_pretrained
from policies.vlm.config import MASK_ID, ActionConfig, PromptConfig, VLMConfig, from_json, to_json
from policies.vlm.decode import decode_plan
from policies.vlm.policy import VLMPolicy
from policies.vlm.schedule import DecodeConfig
from policies.vlm.small_tokenizer import build
from policies.vlm.tokenizer import SPECIAL_IDS, TextTokenizer, place_actions, with_tokenizer
from tests.policies.cases import observation, toy_config, toy_model


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return TextTokenizer(build())


def chat_config(**changes: object) -> VLMConfig:
    prompt = PromptConfig(layout="chat", history_intervals=2, **changes)
    return replace(toy_config(bins=25), prompt=prompt)


def edited(change) -> dict:
    """The small tokenizer's document after ``change``."""
    document = json.loads(build().to_str())
    change(document)
    return document


def rename(document: dict, names: dict[str, str]) -> None:
    vocabulary = document["model"]["vocab"]
    for old, new in names.items():
        vocabulary[new] = vocabulary.pop(old)
        for token in document["added_tokens"]:
            token["content"] = new if token["content"] == old else token["content"]


def loaded(document: dict) -> TextTokenizer:
    from tokenizers import Tokenizer

    return TextTokenizer(Tokenizer.from_str(json.dumps(document)))


# ---- the small one -------------------------------------------------------------------
def test_the_shipped_tokenizer_is_what_the_script_builds() -> None:
    shipped = (shipped_weights_dir() / "tokenizer.json").read_text()
    assert json.loads(shipped) == json.loads(build().to_str())
    assert len(shipped) < 200_000


def test_every_text_comes_back_and_special_words_in_it_are_only_text(
    tokenizer: TextTokenizer,
) -> None:
    text = "Turn left! 12.34 m/s\n\tüñí 車 <|im_end|> <SPECIAL_310>"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not set(ids) & {*SPECIAL_IDS.values(), *tokenizer.reserved, MASK_ID}
    assert tokenizer.encode_marked("<|im_start|>")[0] == 10
    assert tokenizer.size == 1024 and max(tokenizer.encode(text)) < 1024


def test_its_merges_make_text_shorter(tokenizer: TextTokenizer) -> None:
    text = "Turn right at the next junction."
    assert len(tokenizer.encode(text)) < 0.8 * len(text)


# ---- reserved ids --------------------------------------------------------------------
def test_bins_stay_where_they_are_if_those_rows_are_reserved(tokenizer: TextTokenizer) -> None:
    action = VLMConfig.preset("tiny").action
    assert place_actions(action, tokenizer) is action
    assert MASK_ID not in tokenizer.reserved and 310 in tokenizer.reserved


def test_bins_move_to_the_first_gaps_that_hold_them() -> None:
    # 330 is no reserved token here, nor is 40: bins for acceleration do not fit before 41.
    document = edited(lambda d: rename(d, {"<SPECIAL_330>": "<tool>", "<SPECIAL_40>": "<think>"}))
    placed = place_actions(ActionConfig(accel_bins=49, curvature_bins=65), loaded(document))
    assert (placed.accel_first_id, placed.curvature_first_id) == (41, 101)
    config = with_tokenizer(
        replace(VLMConfig.preset("nld-8b"), prompt=PromptConfig(layout="chat")), loaded(document)
    )
    assert config.action.accel_first_id == 41


def test_too_few_reserved_tokens_are_told() -> None:
    names = {
        f"<SPECIAL_{n}>": f"<used_{n}>" for n in range(60, 1000) if n != 100 and not 700 <= n < 956
    }
    with pytest.raises(RequestError, match=r"expected 49 reserved tokens .* found 38"):
        place_actions(ActionConfig(), loaded(edited(lambda d: rename(d, names))))


def test_another_vocabulary_is_refused() -> None:
    with pytest.raises(RequestError, match=r"image_pad.*expected id 19, found no such token"):
        loaded(edited(lambda d: rename(d, {"<|image_pad|>": "[IMG]"})))
    swap = {"<|im_start|>": "x", "<|im_end|>": "<|im_start|>"}
    with pytest.raises(RequestError, match=r"<\|im_start\|>: expected id 10, found 11"):
        loaded(edited(lambda d: rename(d, swap)))


# ---- the prompt ----------------------------------------------------------------------
def test_a_chat_prompt_reads_as_documented(tokenizer: TextTokenizer) -> None:
    config = chat_config(cameras=("left", "front"))
    encoder = ChatPromptEncoder(config, tokenizer)
    seen = observation(2, frames=4, size_px=(28, 56))
    seen.speed_mps[:] = [3.0, 12.5]
    seen.history[..., 0] = seen.speed_mps[:, None] * np.arange(-15, 1) * 0.1
    prompt = encoder(seen)
    image = "<|image_start|><|image_pad|><|image_pad|><|image_end|>"
    text = tokenizer.decode(prompt.ids[1].tolist())
    assert text.startswith("<|im_start|>system\nYou drive a car.")
    assert "2 pairs of acceleration and curvature, one for each 0.4 s.<|im_end|>\n" in text
    assert (
        f"left camera, oldest first:\n{image * 2}\nfront camera, oldest first:\n{image * 2}\n"
        in text
    )
    assert "+00.00 m/s2, +0.0000 1/m\n" * 2 + "Speed 12.50 m/s, limit" in text
    assert text.rstrip("\n").endswith("<|im_end|>\n<|im_start|>assistant\n<think></think>")
    assert "Turn left at the next junction.\n" in text
    assert (prompt.ids == 19).sum(1).tolist() == [8, 8]


def test_what_never_changes_comes_first_and_all_prompts_are_as_long(
    tokenizer: TextTokenizer,
) -> None:
    encoder = ChatPromptEncoder(chat_config(), tokenizer)
    seen = observation(len(COMMANDS), frames=1, size_px=(28, 28))
    one, other = encoder.ids(seen), encoder.ids(observation(1, frames=1, size_px=(28, 28)))
    count = len(encoder.static)
    assert one.shape[1] == other.shape[1] and count > 60
    assert (one[:, :count] == one[0, :count]).all()
    assert not (one[1:] == one[0]).all()


def test_a_checkpoint_with_words_drives_and_takes_its_tokenizer_along(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    model = toy_model(with_tokenizer(chat_config(), tokenizer))
    model.tokenizer = tokenizer
    save_pretrained(model, tmp_path / "a")
    policy = load_policy(tmp_path / "a")
    plan = policy.plan(observation(3), noise_keys=streams.keys(np.arange(3), 4))
    check_plan(plan, 3, policy.spec)
    save_pretrained(from_pretrained(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a/tokenizer.json").read_text() == (
        tmp_path / "b/tokenizer.json"
    ).read_text()
    assert from_pretrained(tmp_path / "b").config.action == model.config.action
    (tmp_path / "b/tokenizer.json").unlink()
    with pytest.raises(RequestError, match=r"tokenizer.json: not found: expected the tokenizer"):
        load_policy(tmp_path / "b")


def test_a_published_config_speaks_in_words_and_ours_says_what_it_does() -> None:
    document = to_json(VLMConfig.preset("nld-vlm-8b"))
    assert from_json(document).prompt.layout == "ids"
    del document["alpamayo"]
    assert from_json(document).prompt.layout == "chat"
    again = to_json(chat_config(cameras=("left", "front")))
    assert from_json(again).prompt.cameras == ("left", "front")
    again["alpamayo"]["prompt"]["layout"] = "poem"
    with pytest.raises(ValueError, match="layout: expected ids or chat"):
        from_json(again)


def test_images_that_do_not_match_the_cameras_are_told(tokenizer: TextTokenizer) -> None:
    encoder = ChatPromptEncoder(chat_config(cameras=("left", "front")), tokenizer)
    with pytest.raises(RequestError, match=r"2 names \(left, front\) for 3 images"):
        encoder(observation(1, frames=3))


def test_a_model_without_its_tokenizer_cannot_be_a_policy() -> None:
    with pytest.raises(RequestError, match=r"expected a model loaded with its tokenizer.json"):
        VLMPolicy(toy_model(chat_config()))


def test_prompts_of_real_length_keep_their_beginning_across_ticks(tokenizer: TextTokenizer) -> None:
    """Causal keys of the static part depend on it alone, so they may be kept."""
    model = toy_model(with_tokenizer(chat_config(), tokenizer))
    encoder = ChatPromptEncoder(model.config, tokenizer)
    first, second = (encoder(observation(1, frames=0).take(slice(0, 1))) for _ in range(2))
    second.ids[:, len(encoder.static) :] = 30
    caches = [model.prefill(model.embed_prompt(p.ids))[1] for p in (first, second)]
    kept = len(encoder.static)
    assert torch.equal(caches[0].keys[:, :, :, :kept], caches[1].keys[:, :, :, :kept])


def test_text_comes_before_every_nth_plan_and_conditions_it(tokenizer: TextTokenizer) -> None:
    model = toy_model(with_tokenizer(chat_config(), tokenizer))
    model.tokenizer = tokenizer
    policy = VLMPolicy(model, think_every=2, think_tokens=5, select="greedy")
    seen, noise = observation(3), streams.keys(np.arange(3), 4)
    nothing = np.full((3, 2, 2), np.nan, np.float32)
    mixed = policy.plan(seen, noise_keys=noise, memory=PlanMemory(nothing, np.array([0, 1, 2])))
    assert sorted(policy.last_text) == [0, 2]
    check_plan(mixed, 3, policy.spec)
    plain = VLMPolicy(model, select="greedy").plan(seen, noise_keys=noise)
    assert np.array_equal(mixed.trace.tokens[1], plain.trace.tokens[1])
    assert not np.array_equal(mixed.trace.log_prob[0], plain.trace.log_prob[0])
    # By hand: the AR head's most likely words behind the open thought, then the plan behind it.
    encoder = ChatPromptEncoder(model.config, tokenizer)
    whole = encoder(seen.take(slice(0, 1)))
    closing = tokenizer.encode_marked("</think>")
    assert whole.ids[0, -len(closing) :].tolist() == closing
    ids = whole.ids[:, : -len(closing)]
    with torch.inference_mode():
        words: list[int] = []
        for _ in range(5):
            said = torch.cat([ids, torch.tensor([words], dtype=torch.long)], 1)
            hidden, _ = model.prefill(model.embed_prompt(said, whole.frames))
            word = int(model.text_logits(hidden).argmax())
            if word == closing[0]:
                break
            words.append(word)
        assert policy.last_text[0] == tokenizer.decode(words)
        words += [tokenizer.encode("\n")[0]] * (5 - len(words))
        said = torch.cat([ids, torch.tensor([words + closing])], 1)
        hidden, cache = model.prefill(model.embed_prompt(said, whole.frames), 4)
        expected = decode_plan(model, hidden, cache, 4, DecodeConfig(select="greedy"))
    assert mixed.trace.tokens[0].tolist() == expected.tokens[0].tolist()
    assert np.allclose(mixed.trace.log_prob[0], expected.log_prob[0].numpy(), atol=1e-4)


def test_a_network_of_words_is_refused_for_training_in_one_line(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    from alpamayo.config import RunConfig
    from alpamayo.training import check_request

    model = toy_model(with_tokenizer(chat_config(), tokenizer))
    model.tokenizer = tokenizer
    save_pretrained(model, tmp_path)
    with pytest.raises(RequestError, match=r"layout = chat: training needs a network whose"):
        check_request(RunConfig(), str(tmp_path))
