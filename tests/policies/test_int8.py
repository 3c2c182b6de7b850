"""Weights as int8."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from alpamayo import streams
from alpamayo.paths import shipped_weights_dir
from alpamayo.types import RequestError
from policies.registry import load_policy
from policies.vlm.int8 import Int8Linear, quantised, to_int8
from policies.vlm.speed import sizes
from tests.policies.cases import observation, toy_model


def test_a_row_is_told_in_255_levels_of_its_largest_weight() -> None:
    values, scale = quantised(torch.tensor([[1.27, -0.5, 0.004, 0.0], [0.0, 0.0, 0.0, 0.0]]))
    assert values.tolist() == [[127, -50, 0, 0], [0, 0, 0, 0]]
    assert scale[0].item() == pytest.approx(0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_that_of_the_rounded_weights(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 48, bias=False).to(dtype)
    x = torch.randn(2, 3, 64).to(dtype)
    layer = Int8Linear(linear)
    with torch.no_grad():
        rounded = (layer.weight.float() * layer.scale.float()[:, None]) @ x.float().unsqueeze(-1)
        error = (layer(x).float() - rounded.squeeze(-1)).norm() / rounded.norm()
    assert error < (1e-5 if dtype == torch.float32 else 1e-2)
    worst = (layer.weight.float() * layer.scale.float()[:, None] - linear.weight.float()).abs()
    share = 0.501 if dtype == torch.float32 else 0.76
    assert bool((worst <= share * layer.scale.float()[:, None]).all())


def test_the_shipped_policy_drives_the_same_on_int8_weights() -> None:
    """Nine of ten steps that will be driven are the same, and no step is far from it."""
    directory = shipped_weights_dir()
    seen, keys = observation(48, size_px=(56, 168)), streams.keys(np.arange(48), 4)
    full = load_policy(directory, select="greedy")
    small = load_policy(directory, select="greedy", weights="int8")
    one, two = (p.plan(seen, noise_keys=keys) for p in (full, small))
    assert one.trace is not None and two.trace is not None
    assert (one.trace.tokens[:, :2] == two.trace.tokens[:, :2]).all(1).mean() >= 0.9
    assert np.abs(one.as_actions()[:, 0] - two.as_actions()[:, 0]).mean() < 0.05
    assert np.abs(one.trace.log_prob - two.trace.log_prob).mean() < 0.02


def test_int8_weights_are_counted_as_the_bytes_they_are() -> None:
    model = toy_model()
    full = sizes(model)
    layers = sum(p.numel() for p in model.encoder.layers.parameters() if p.dim() == 2)
    small = sizes(to_int8(model))
    scales = sum(len(p) for n, p in model.encoder.layers.named_parameters() if "scale" in n)
    assert full["forward_bytes"] - small["forward_bytes"] == 3 * layers - 4 * scales


def test_other_kinds_of_weights_are_refused() -> None:
    with pytest.raises(RequestError, match=r"policy.weights: expected full, int8, got 'int3'"):
        load_policy(shipped_weights_dir(), weights="int3")
