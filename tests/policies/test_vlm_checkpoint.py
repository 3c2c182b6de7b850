"""Checkpoints in several files: layout, memory, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpamayo.types import RequestError
from policies.vlm.checkpoint import from_pretrained, save_pretrained
from policies.vlm.config import VLMConfig
from policies.vlm.model import NLDModel
from tests.policies.cases import toy_model

SHARD = 40_000  # bytes; the toy has about 200 kB of weights


@pytest.fixture(scope="module")
def model() -> NLDModel:
    return toy_model()


@pytest.fixture
def sharded(model: NLDModel, tmp_path: Path) -> Path:
    return save_pretrained(model, tmp_path / "c", shard_bytes=SHARD)


def test_shards_and_their_index_have_the_published_layout(model: NLDModel, sharded: Path) -> None:
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 2
    assert files == [
        f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in range(1, len(files) + 1)
    ]
    for file in files:
        tensors = load_file(sharded / file)
        assert {name for name, at in index["weight_map"].items() if at == file} == set(tensors)
        size = sum(t.numel() * t.element_size() for t in tensors.values())
        assert size <= SHARD or len(tensors) == 1
    total = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert index["metadata"]["total_size"] == total
    again = from_pretrained(sharded)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_saving_over_another_layout_leaves_no_stale_weights(model: NLDModel, sharded: Path) -> None:
    (sharded / "notes.txt").write_text("mine")
    other = toy_model(seed=8)
    save_pretrained(other, sharded)
    assert sorted(p.name for p in sharded.iterdir()) == [
        "config.json",
        "model.safetensors",
        "notes.txt",
    ]
    save_pretrained(model, sharded, shard_bytes=SHARD)
    assert not (sharded / "model.safetensors").exists()
    assert torch.equal(from_pretrained(sharded).diffusion_head.weight, model.diffusion_head.weight)


def _edit_shard(path: Path, change) -> None:
    file = sorted(path.glob("model-00002-*"))[0]
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)


def _cut(path: Path) -> None:
    file = sorted(path.glob("model-00002-*"))[0]
    file.write_bytes(file.read_bytes()[:-100])


def _poison(path: Path) -> None:
    _edit_shard(path, lambda tensors: next(iter(tensors.values())).view(-1)[:1].fill_(torch.inf))


def _twice(path: Path) -> None:
    one = load_file(sorted(path.glob("model-00001-*"))[0])
    _edit_shard(path, lambda tensors: tensors.update(one))


def _pickle_index(path: Path) -> None:
    index = path / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    document["weight_map"]["encoder.norm.weight"] = "pytorch_model.bin"
    index.write_text(json.dumps(document))


def _pickle_only(path: Path) -> None:
    for file in path.glob("*.safetensors*"):
        file.unlink()
    (path / "pytorch_model.bin").write_bytes(b"\x80\x04.")


def _more_vocabulary(path: Path) -> None:
    document = json.loads((path / "config.json").read_text())
    document["vocab_size"] = 1025
    (path / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "model-00002.*: expected an intact"),
        (lambda p: sorted(p.glob("model-00003-*"))[0].unlink(), "model-00003.*: not found"),
        (_poison, "model-00002.*: expected finite numbers"),
        (_twice, "also in model-00001"),
        (_pickle_index, "expected names of safetensors files here, got 'pytorch_model.bin'"),
        (_pickle_only, "pytorch_model.bin: a pickle can run code"),
        (_more_vocabulary, "expected the vocabulary of config.json, vocab_size 1025, got 1024"),
    ],
)
def test_a_damaged_set_of_shards_is_one_clear_line(sharded: Path, damage, message: str) -> None:
    damage(sharded)
    with pytest.raises(RequestError, match=message) as error:
        from_pretrained(sharded)
    assert "\n" not in str(error.value)


def test_a_stretch_below_one_is_pointed_out(sharded: Path) -> None:
    document = json.loads((sharded / "config.json").read_text())
    document["rope_parameters"]["factor"] = 0.25
    (sharded / "config.json").write_text(json.dumps(document))
    with pytest.warns(UserWarning, match="factor is 0.25, below 1"):
        from_pretrained(sharded)


_MEASURE = """
import sys, threading, time, torch
from policies.vlm.checkpoint import from_pretrained
torch.set_num_threads(1)
def anonymous():
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["RssAnon"].split()[0]) * 1024
from_pretrained(sys.argv[2])  # whatever a first load brings along
before = anonymous()
peak = before
stop = threading.Event()
def watch():
    global peak
    while not stop.is_set():
        peak = max(peak, anonymous())
        time.sleep(0.001)
thread = threading.Thread(target=watch); thread.start()
model = from_pretrained(sys.argv[1], dtype=torch.bfloat16)
stop.set(); thread.join()
weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
print((peak - before) / weights)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_loading_never_holds_the_weights_twice(tmp_path: Path) -> None:
    """`small` in float32 shards, loaded as bfloat16: every tensor is converted on the way."""
    model = NLDModel(VLMConfig.preset("small")).init_weights(0)
    path = save_pretrained(model, tmp_path / "c", shard_bytes=20_000_000)
    warm = save_pretrained(toy_model(), tmp_path / "toy")
    out = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path), str(warm)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(out.stdout) < 1.5
