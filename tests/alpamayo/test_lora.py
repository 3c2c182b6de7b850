"""Adapters: the same policy beside and merged, alone on their way to workers, whole in a
checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alpamayo.cli.main import main
from alpamayo.config import LearnerConfig, load_config
from alpamayo.learner import lora
from alpamayo.rollout.transport import ObjectStoreTransport
from alpamayo.types import RequestError
from tests.alpamayo import small_run

ALL = (*LearnerConfig().lora_targets, "gate_proj", "up_proj", "down_proj")
SETTINGS = LearnerConfig(lora_rank=3, lora_alpha=6.0, lora_targets=ALL)


def adapted_model(settings: LearnerConfig = SETTINGS, *, learned: bool = True) -> Any:
    from policies.vlm import NLDModel

    model = NLDModel(small_run.small_architecture()).init_weights(1)
    lora.add_adapters(model, settings)
    if learned:
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("lora_up"):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def plain_model() -> Any:
    from policies.vlm import NLDModel

    return NLDModel(small_run.small_architecture()).init_weights(1)


def logits(model: Any) -> torch.Tensor:
    """[3, 8, bins] of a masked block after a prompt of ids without pictures."""
    prefix = model.embed_prompt(torch.arange(30).view(3, 10) + 200)
    block = model.masked_block(3, 8)
    return model.action_logits(model.packed(prefix, [(block, False)])[:, 10:])


def test_only_adapters_learn_and_the_rest_of_the_policy_is_as_published() -> None:
    model = adapted_model()
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    # One layer: seven projections, two factors each.
    assert len(trainable) == 14 and all("lora_" in name for name in trainable)
    assert all(name.startswith("encoder.layers.0.") for name in trainable)
    names = {name for name, _ in model.named_parameters()} - trainable
    assert names == {name for name, _ in plain_model().named_parameters()}
    logits(model).sum().backward()
    for name, parameter in model.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert moved == (name in trainable), name


def test_a_fresh_adapter_changes_nothing_and_a_learned_one_is_off_in_the_reference() -> None:
    with torch.no_grad():
        expected = logits(plain_model())
        torch.testing.assert_close(logits(adapted_model(learned=False)), expected)
        model = adapted_model()
        changed = logits(model)
        assert (changed - expected).abs().max() > 0.1
        torch.testing.assert_close(logits(_with_masks(lora.WithoutAdapters(model))), expected)
        torch.testing.assert_close(logits(model), changed, rtol=0, atol=0)  # on again


def _with_masks(reference: Any) -> Any:
    reference.masked_block = reference.policy.masked_block
    return reference


def test_one_layer_by_hand() -> None:
    layer = torch.nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    adapted = lora.LoraLinear(layer, 1, 0.5, torch.Generator())
    with torch.no_grad():
        adapted.lora_down.copy_(torch.tensor([[1.0, -1.0]]))
        adapted.lora_up.copy_(torch.tensor([[2.0], [4.0]]))
    # down x = 3 - 1 = 2, times up = (4, 8), times a half; W x = (5, 13).
    assert adapted(torch.tensor([3.0, 1.0])).tolist() == [5.0 + 2.0, 13.0 + 4.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_workers_that_pull_adapters_give_the_learners_logits(dtype: torch.dtype) -> None:
    """Version after version from the same base: rounding does not add up."""
    learner, worker = adapted_model(), plain_model().to(dtype)
    base = {name: p.detach().to(dtype) for name, p in plain_model().named_parameters()}
    transport = ObjectStoreTransport(base)
    have = -1
    for version in range(6):
        with torch.no_grad():
            for parameter in (p for p in learner.parameters() if p.requires_grad):
                parameter.add_(torch.randn(parameter.shape) * 0.02)
        handle = transport.publish(version, lora.travelling(learner))
        have = handle.pull(worker, have)
    assert have == 5
    # rank x (in + out) numbers of four bytes for each projection.
    text = [p for n, p in plain_model().named_parameters() if n.startswith("encoder.layers.0.")]
    expected = sum(3 * sum(p.shape) for p in text if p.dim() == 2)
    assert handle.nbytes == 4 * expected < 0.1 * sum(p.nbytes for p in plain_model().parameters())
    once = plain_model().to(dtype)
    handle.pull(once, -1)
    for (name, mine), (_, theirs) in zip(
        worker.named_parameters(), once.named_parameters(), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, msg=name)
    if dtype == torch.float32:
        with torch.no_grad():
            torch.testing.assert_close(logits(worker), logits(learner), rtol=1e-4, atol=1e-4)


def test_a_checkpoint_holds_the_merged_policy_and_the_adapters_go_back() -> None:
    model = adapted_model()
    learned = {f"policy.{name}": p.detach().clone() for name, p in model.named_parameters()}
    saved = lora.for_checkpoint(learned | {"critic.out.bias": torch.ones(1)}, SETTINGS)
    whole = plain_model()
    whole.load_state_dict(
        {n.removeprefix("policy."): t for n, t in saved.items() if n.startswith("policy.")}
    )
    with torch.no_grad():
        torch.testing.assert_close(logits(whole), logits(model), rtol=1e-4, atol=1e-4)
    back = lora.from_checkpoint(saved, SETTINGS)
    assert set(back) == {n for n in learned if "lora_" in n} | {"critic.out.bias"}
    assert all(torch.equal(back[n], t) for n, t in learned.items() if "lora_" in n)

    lora.check_same("here", saved, SETTINGS)
    for change in ({"lora_rank": 2}, {"lora_rank": 0}, {"lora_alpha": 1.0},
                   {"lora_targets": ("q_proj",)}):  # fmt: skip
        with pytest.raises(RequestError, match=f"here: learner.{next(iter(change))} is not as in"):
            lora.check_same("here", saved, replace(SETTINGS, **change))
    lora.check_same("here", {}, LearnerConfig())
    with pytest.raises(RequestError, match=r"learner\.lora_rank"):
        lora.check_same("here", {}, SETTINGS)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["learner.lora_targets=[q_proj,lm_head]"], "learner.lora_targets"),
        (["learner.lora_targets=[]"], "learner.lora_targets"),
        (["learner.reference_every=3"], "learner.reference_every"),
    ],
)
def test_adapters_that_cannot_be_are_refused(words: list[str], complaint: str) -> None:
    with pytest.raises(RequestError, match=complaint):
        load_config("train", None, ["learner.lora_rank=4", *words])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900.0)
def test_a_run_with_adapters_learns_resumes_and_exports_a_plain_policy(tmp_path: Path) -> None:
    from alpamayo import training
    from alpamayo.learner import checkpoint
    from alpamayo.rollout.ray_session import ray_session
    from alpamayo.run_dir import RunDir
    from policies.vlm import VLMPolicy, from_pretrained

    init = small_run.save_small_policy(tmp_path / "policy")
    config = small_run.small_config(
        tmp_path / "runs", init, iterations=1, lora_rank=4, kl_fraction=1.0, lr=0.01
    )
    with ray_session(config, object_store_memory=200 << 20):
        with RunDir.create("train", config) as run:
            training.train(config, run)
        longer = replace(config, learner=replace(config.learner, iterations=2))
        with RunDir.open(run.path).resume() as resumed:
            result = training.train(longer, resumed, resume=True)
    first, second = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    for row in (first, second):
        assert row["losses/grad_norm"] > 0 and row["losses/skipped"] == 0
        # One minibatch: what workers drew, adapters merged, is as likely to the learner, beside.
        assert row["losses/ratio"] == pytest.approx(1.0, abs=1e-4)
    assert first["losses/kl_reference"] == pytest.approx(0.0, abs=1e-6)
    assert second["losses/kl_reference"] > 1e-4
    assert second["rollout/weights_version"] == 1
    full = sum(t.nbytes for t in small_run.start_of(init).values()) / 1e6
    assert 0 < second["rollout/weights_megabytes"] < 0.1 * full

    state = checkpoint.load(result.checkpoint)
    start = small_run.start_of(init)
    for name, tensor in start.items():
        touched = any(target in name for target in config.learner.lora_targets)
        touched = touched and name.startswith("policy.encoder.layers.")
        assert torch.equal(state.learned[name], tensor) != touched, name
    out = tmp_path / "out"
    words = ["export", str(run.path), "--out", str(out), "--checkpoint", result.checkpoint.name]
    assert main(words) == 0
    exported = from_pretrained(out)

    # The exported policy draws the tokens of the learner's own, adapters beside.
    beside = from_pretrained(init)
    lora.add_adapters(beside, config.learner)
    own = lora.from_checkpoint(state.learned, config.learner)
    with torch.no_grad():
        for name, parameter in beside.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(own[f"policy.{name}"])
    observation, keys = small_run.fixed_observation()
    plans = [VLMPolicy(m).plan(observation, noise_keys=keys) for m in (exported, beside)]
    traces = [plan.trace for plan in plans]
    assert traces[0] is not None and traces[1] is not None
    assert (traces[0].tokens == traces[1].tokens).all()
    before = VLMPolicy(from_pretrained(init)).plan(observation, noise_keys=keys).trace
    assert before is not None and abs(before.log_prob - traces[0].log_prob).max() > 1e-3


def test_the_objective_asks_the_reference_without_adapters() -> None:
    """KL to the start: zero with fresh adapters, positive with learned ones."""
    from alpamayo.learner.objective import _reference_kl, _score

    for learned in (False, True):
        model = adapted_model(learned=learned)
        module = SimpleNamespace(
            reference=lora.WithoutAdapters(model), temperature=1.0, causal=False
        )
        ids = torch.arange(30).view(3, 10) + 200
        views, wanted = model.masked_block(3, 8)[:, None], torch.arange(8)
        prefix = model.embed_prompt(ids)
        with torch.no_grad():
            log_probs, _ = _score(module, model, prefix, views, wanted)
        batch = {"prompt_ids": ids, "frames": torch.zeros(3, 0, 28, 56, 3, dtype=torch.uint8)}
        kl = _reference_kl(module, batch, views, wanted, log_probs, slice(None))
        assert float(kl) == pytest.approx(0.0, abs=1e-6) if not learned else float(kl) > 1e-3
