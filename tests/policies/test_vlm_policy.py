"""Tokens, prompt, the policy seen from outside, and checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alpamayo import streams
from alpamayo.types import PlanMemory, RequestError
from policies.base import check_plan
from policies.registry import load_policy
from policies.vlm import VLMConfig
from policies.vlm.action_tokens import ActionTokenizer
from policies.vlm.adapter import new_adapter, save_adapter
from policies.vlm.checkpoint import from_pretrained, save_pretrained
from policies.vlm.config import MASK_ID, PromptConfig
from policies.vlm.model import NLDModel
from policies.vlm.policy import VLMPolicy
from policies.vlm.prompt import PromptEncoder, past_motion
from policies.vlm.replay import trace_log_prob
from policies.vlm.schedule import FROZEN, CommitSchedule, DecodeConfig
from tests.policies.cases import observation, toy_model

TINY = VLMConfig.preset("tiny")
ACTIONS = ActionTokenizer(TINY.action)


def keys(rows: int) -> np.ndarray:
    return streams.keys(np.arange(rows), streams.STREAM_DECODE)


@pytest.fixture(scope="module")
def model() -> NLDModel:
    return toy_model()


# ---- tokens --------------------------------------------------------------------------
def test_bins_are_the_documented_ones() -> None:
    accel, curvature = ACTIONS.values
    assert (len(accel), accel[0], accel[-1]) == (49, -8.0, 4.0)
    assert np.allclose(np.diff(accel), 0.25)
    assert len(curvature) == 65
    assert curvature[0] == -0.2 and curvature[32] == 0.0 and curvature[48] == pytest.approx(0.05)


@given(st.lists(st.tuples(st.integers(0, 48), st.integers(0, 64)), min_size=1, max_size=8))
def test_encode_inverts_decode_for_every_plan_of_bins(bins: list[tuple[int, int]]) -> None:
    tokens = (np.array(bins) + ACTIONS.first_ids).reshape(1, -1)
    assert np.array_equal(ACTIONS.encode(ACTIONS.decode(tokens)), tokens)


@given(st.floats(-20, 20), st.floats(-1, 1))
def test_encode_picks_the_nearest_bin(accel: float, curvature: float) -> None:
    choice = ACTIONS.encode_choice(np.array([[accel, curvature]]))[0]
    for kind, value in enumerate((accel, curvature)):
        distance = np.abs(ACTIONS.values[kind] - value)
        assert distance[choice[kind]] == pytest.approx(distance.min(), abs=1e-9)
    values = torch.tensor([[accel, curvature]], dtype=torch.float32)
    again = ACTIONS.nearest_choice(values)[0].numpy()
    table = [ACTIONS.values[kind][again[kind]] for kind in range(2)]
    assert table == pytest.approx([ACTIONS.values[k][choice[k]] for k in range(2)], abs=0.26)


def test_ids_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="not action bins"):
        ACTIONS.decode(np.array([[360, 310]]))


def test_expected_of_a_certain_bin_is_its_value() -> None:
    logits = torch.full((1, 2, ACTIONS.width), -1e9)
    logits[0, 0, 12] = 0.0
    logits[0, 1, 48] = 0.0
    assert ACTIONS.expected(logits)[0].tolist() == pytest.approx([-5.0, 0.05])


# ---- prompt --------------------------------------------------------------------------
def test_prompt_has_the_documented_layout() -> None:
    config = replace(TINY, prompt=PromptConfig(history_intervals=3))
    seen = observation(3, size_px=(84, 168))
    prompt = PromptEncoder(config)(seen)
    ids = prompt.ids.numpy()
    assert ids.shape == (3, 2 + 2 * 22 + 3 + 6 + 3)
    image = [18] + ([19] * 6 + [20]) * 3
    image[-1] = 21
    assert ids[0, :46].tolist() == [10, 22, *image, *image]
    assert ids[1, 46] == 160 + round(float(seen.speed_mps[1]) / 0.25)
    assert ids[1, 47] == 110 + round(float(seen.speed_limit_mps[1]))
    assert ids[:, 48].tolist() == [24, 25, 26]
    # Constant speed, straight ahead: zero acceleration and zero curvature.
    assert ids[2, 49:55].tolist() == [342, 392] * 3
    assert ids[0, 55:].tolist() == [11, 10, 23]
    assert (ids == 19).sum(1).tolist() == [36] * 3
    assert MASK_ID not in ids


def test_past_motion_recovers_a_braking_turn() -> None:
    """A car that brakes at 2 m/s2 on a circle of 50 m."""
    t = np.arange(-15, 1) * 0.1
    speed_now, accel, curvature = 10.0, -2.0, 0.02
    arc = speed_now * t + 0.5 * accel * t**2
    heading = curvature * arc
    x, y = np.sin(heading) / curvature, (1 - np.cos(heading)) / curvature
    history = np.stack([x, y, heading], -1)[None].astype(np.float32)
    motion = past_motion(history, np.array([speed_now], np.float32), 3)[0]
    assert motion[:, 0] == pytest.approx([accel] * 3, abs=0.02)
    assert motion[:, 1] == pytest.approx([curvature] * 3, abs=1e-4)


def test_standing_still_has_no_curvature_and_no_rig_has_no_images() -> None:
    seen = observation(2, frames=0)
    seen.history[:] = 0
    seen.speed_mps[:] = 0
    assert not past_motion(seen.history, seen.speed_mps, 3).any()
    assert PromptEncoder(TINY)(seen).ids.shape == (2, 8)  # the tiny policy is not told its past


# ---- policy --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {"rounds": 1},
        {"rounds": 3, "temperature": 0.8},
        {"mode": "sequential"},
        {"mode": "threshold", "threshold": 0.3},
        {"mode": "ar"},
        {"select": "greedy"},
        {"select": "expected"},
    ],
    ids=str,
)
def test_a_plan_depends_on_its_own_row_and_key_only(model: NLDModel, options: dict) -> None:
    policy = VLMPolicy(model, **options)
    seen = observation(6)
    whole = policy.plan(seen, noise_keys=keys(6))
    check_plan(whole, 6, policy.spec)
    rows = np.array([4, 1])
    part = policy.plan(seen.take(rows), noise_keys=keys(6)[rows])
    assert np.array_equal(whole.trace.tokens[rows], part.trace.tokens)
    assert np.array_equal(whole.trace.commit_round[rows], part.trace.commit_round)
    assert np.allclose(whole.trace.log_prob[rows], part.trace.log_prob, atol=1e-5)
    assert np.allclose(whole.as_actions()[rows], part.as_actions(), atol=1e-5)
    assert whole.decode_ms is not None and bool((whole.decode_ms > 0).all())
    if options.get("select") != "expected":
        assert np.array_equal(policy.model.actions.decode(whole.trace.tokens), whole.as_actions())


@pytest.mark.parametrize(
    "options",
    [{"rounds": 1}, {"rounds": 2}, {"mode": "ar"}, {"mode": "self_speculation", "block_size": 2}],
    ids=str,
)
def test_while_the_planner_computes_the_last_plan_is_given(model: NLDModel, options: dict) -> None:
    policy = VLMPolicy(model, frozen_s=0.5, **options)  # one whole step of 0.4 s
    assert policy.needs_memory and policy.frozen_steps == 1
    ahead = np.full((3, 2, 2), np.nan, np.float32)
    ahead[[0, 2]] = [[[-8.0, 0.2], [1.0, 0.0]]]
    seen = observation(3)
    memory = PlanMemory(ahead, np.array([4, 0, 4]))
    plan = policy.plan(seen, noise_keys=keys(3), memory=memory)
    assert plan.trace.commit_round[[0, 2], :2].tolist() == [[FROZEN] * 2] * 2
    assert (plan.trace.commit_round[1] >= 0).all()
    block = model.actions.decode(plan.trace.tokens)
    assert block[[0, 2], 0] == pytest.approx(np.array([[-8.0, 0.2]] * 2))
    # What is handed out starts when the last plan ends, its last control is held.
    assert np.array_equal(plan.as_actions()[[0, 2]], block[[0, 2]][:, [1, 1]])
    assert np.array_equal(plan.as_actions()[1], block[1])
    # The given step conditions what follows; a row without one decodes as ever.
    other = PlanMemory(np.where(np.isnan(ahead), ahead, 0.0), memory.decision)
    assert (policy.plan(seen, noise_keys=keys(3), memory=other).as_actions()[1] == block[1]).all()
    plain = VLMPolicy(model, **options).plan(seen, noise_keys=keys(3))
    assert np.array_equal(plain.as_actions()[1], block[1])


def test_plans_that_are_all_frozen_or_thoughts_without_words_are_refused(model: NLDModel) -> None:
    with pytest.raises(RequestError, match=r"decode.frozen_s: expected less than the 2 steps"):
        VLMPolicy(model, frozen_s=0.8)
    with pytest.raises(RequestError, match=r"decode.think_every: expected 0 for a network whose"):
        VLMPolicy(model, think_every=3)


@pytest.mark.parametrize("options", [{}, {"mode": "ar"}, {"mode": "threshold", "threshold": 0.3}])
def test_the_engine_plans_what_the_plain_network_plans(options: dict) -> None:
    seen = observation(3)
    plain = VLMPolicy(toy_model(), **options).plan(seen, noise_keys=keys(3))
    fast = VLMPolicy(toy_model(), engine=True, **options).plan(seen, noise_keys=keys(3))
    assert np.array_equal(fast.trace.tokens, plain.trace.tokens)
    assert np.allclose(fast.trace.log_prob, plain.trace.log_prob, atol=1e-4)


def test_an_adapter_drafts_and_changes_no_plan(model: NLDModel, tmp_path: Path) -> None:
    """Plans are the verifier's; how many forwards they take is the drafter's doing."""
    save_pretrained(model, tmp_path / "model")
    adapter = new_adapter(model.config, 2, model.diffusion_head.weight)
    for up in adapter.up:
        torch.nn.init.normal_(up, std=1.0, generator=torch.Generator().manual_seed(0))
    save_adapter(adapter, tmp_path / "adapter")
    options = {"mode": "self_speculation", "block_size": 4}
    drafts = load_policy(tmp_path / "model", adapter=str(tmp_path / "adapter"), **options)
    assert drafts.adapter is not None
    seen = observation(32)
    plain = load_policy(tmp_path / "model", **options).plan(seen, noise_keys=keys(32)).trace
    other = drafts.plan(seen, noise_keys=keys(32)).trace
    assert np.array_equal(plain.tokens, other.tokens)
    assert not np.array_equal(plain.rounds, other.rounds)


def test_another_key_gives_another_plan(model: NLDModel) -> None:
    policy = VLMPolicy(model)
    seen = observation(8)
    one = policy.plan(seen, noise_keys=keys(8))
    two = policy.plan(seen, noise_keys=keys(16)[8:])
    assert not np.array_equal(one.trace.tokens, two.trace.tokens)


def test_the_trace_of_a_plan_replays_through_the_prompt(model: NLDModel) -> None:
    policy, seen = VLMPolicy(model), observation(5)
    trace = policy.plan(seen, noise_keys=keys(5)).trace
    prompt = policy.encoder(seen)
    with torch.no_grad():
        prefix = model.embed_prompt(prompt.ids, prompt.frames)
        tokens = torch.from_numpy(trace.tokens).long()
        replayed = trace_log_prob(model, prefix, tokens, policy.schedule)
    assert np.allclose(replayed, trace.log_prob, atol=1e-5)
    assert trace.commit_round.dtype == np.int8 and trace.tokens.dtype == np.int32


def test_recorded_rounds_show_masks_turning_into_the_plan(model: NLDModel) -> None:
    policy = VLMPolicy(model, record_rounds=True)
    plan = policy.plan(observation(2), noise_keys=keys(2))
    (first, top), (last, _) = policy.last_rounds
    assert (first[:, 2:] == MASK_ID).all() and (first[:, :2] != MASK_ID).all()
    assert np.isfinite(top[:, :2]).all() and np.isnan(top[:, 2:]).all()
    assert np.array_equal(last, plan.trace.tokens)


def test_bfloat16_and_empty_batches_work(model: NLDModel) -> None:
    policy = VLMPolicy(model, dtype="bfloat16")
    check_plan(policy.plan(observation(3), noise_keys=keys(3)), 3, policy.spec)
    none = policy.plan(observation(3).take(slice(0, 0)), noise_keys=keys(0))
    check_plan(none, 0, policy.spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "beam"}, "decode.mode"),
        ({"rounds": 0}, "decode.rounds"),
        ({"temperature": -1.0}, "decode.temperature"),
        ({"threshold": 0.0}, "decode.threshold"),
        ({"beams": 3}, "unknown beams"),
    ],
)
def test_wrong_decode_options_are_one_clear_line(
    model: NLDModel, options: dict, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        VLMPolicy(model, **options)


def test_commit_schedule_of_a_config() -> None:
    assert CommitSchedule.of(DecodeConfig(mode="threshold"), 4) is None
    assert CommitSchedule.of(DecodeConfig(mode="ar"), 3) == CommitSchedule.sequential(3)


# ---- checkpoints ---------------------------------------------------------------------
def test_a_checkpoint_gives_the_same_plans(model: NLDModel, tmp_path: Path) -> None:
    save_pretrained(model, tmp_path / "a" / "b")
    policy = load_policy(tmp_path / "a" / "b", rounds=2)
    seen = observation(3)
    expected = VLMPolicy(model).plan(seen, noise_keys=keys(3))
    got = policy.plan(seen, noise_keys=keys(3))
    assert np.array_equal(expected.trace.tokens, got.trace.tokens)
    assert np.array_equal(expected.trace.log_prob, got.trace.log_prob)
    assert from_pretrained(tmp_path / "a" / "b").config == model.config
    # Saving again replaces it and leaves nothing beside it.
    save_pretrained(toy_model(seed=9), tmp_path / "a" / "b")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["b"]
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]


def test_weights_loaded_from_aliases_are_found(model: NLDModel, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_pretrained(model, tmp_path / "c")
    renamed = {}
    for name, tensor in model.state_dict().items():
        inner = name.removeprefix("encoder.")
        if name.startswith("diffusion_head"):
            inner = "language_model.lm_head.weight"
        elif not inner.startswith(("vision_tower", "multi_modal")):
            inner = "language_model.model." + inner
        renamed[inner] = tensor
    save_file(renamed, tmp_path / "c" / "model.safetensors")
    again = from_pretrained(tmp_path / "c")
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )


def _cut(path: Path) -> None:
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[: len(data) // 2])


def _scramble(path: Path) -> None:
    (path / "model.safetensors").write_bytes(b"not a checkpoint" * 9)


def _rename_tensor(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path / "model.safetensors")
    tensors["surprise"] = tensors.pop("encoder.norm.weight")
    tensors["diffusion_head.weight"] = torch.zeros(3, 4)
    save_file(tensors, path / "model.safetensors")


def _poison(path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(path / "model.safetensors")
    tensors["encoder.norm.weight"][0] = float("nan")
    save_file(tensors, path / "model.safetensors")


def _edit(key: str, value: object):
    def edit(path: Path) -> None:
        document = json.loads((path / "config.json").read_text())
        target, _, last = key.rpartition(".")
        place = document
        for part in filter(None, target.split(".")):
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value
        (path / "config.json").write_text(json.dumps(document))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "model.safetensors: expected an intact"),
        (_scramble, "model.safetensors: expected an intact"),
        (lambda p: (p / "model.safetensors").unlink(), "model.safetensors: not found"),
        (lambda p: (p / "config.json").unlink(), "config.json: not found"),
        (lambda p: (p / "config.json").write_text("{"), "config.json:1:2: expected JSON"),
        (lambda p: (p / "config.json").write_text("[]"), "expected a JSON object"),
        (lambda p: (p / "config.json").write_bytes(b"\xff\xfe"), "cannot be read"),
        (
            _rename_tensor,
            "1 missing: encoder.norm.weight; 1 unexpected: surprise; "
            r"1 wrong shape: diffusion_head.weight \[3, 4\] instead of \[1024, 32\]",
        ),
        (_poison, "encoder.norm.weight: expected finite numbers"),
        (_edit("hidden_size", "wide"), "hidden_size: expected int, got 'wide'"),
        (_edit("hidden_size", None), "hidden_size: missing"),
        (_edit("rope_parameters", None), "rope_parameters: missing"),
        (_edit("rope_parameters", 3), "rope_parameters: expected a mapping"),
        (_edit("mask_token_id", 7), "mask_token_id: expected 100, got 7"),
        (_edit("vision_config", "none"), "vision_config"),
        (_edit("alpamayo.action.colour", 3), "alpamayo.action: unknown keys colour"),
        (_edit("alpamayo.action.accel_first_id", 99), "overlap the mask token at id 100"),
        (_edit("num_key_value_heads", 3), "multiple of num_key_value_heads"),
        (_edit("num_key_value_heads", 0), "num_key_value_heads"),
        (_edit("num_hidden_layers", 3), "9 missing"),
    ],
)
def test_a_damaged_checkpoint_is_one_clear_line(
    model: NLDModel, tmp_path: Path, damage, message: str
) -> None:
    path = save_pretrained(model, tmp_path / "c")
    damage(path)
    with pytest.raises(RequestError, match=message) as error:
        from_pretrained(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_saving_where_it_cannot_is_refused_and_leaves_nothing(
    model: NLDModel, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RequestError, match="expected a directory"):
        save_pretrained(model, tmp_path / "file")
    with pytest.raises(RequestError, match="cannot save"):
        save_pretrained(model, tmp_path / "file" / "below")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_unknown_policies_and_options_they_do_not_take_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="constant_speed, module:Class or a checkpoint"):
        load_policy(tmp_path / "nothing")
    with pytest.raises(RequestError, match="takes no decode options"):
        load_policy("idle", rounds=2)
    assert load_policy("idle").name == "idle"
