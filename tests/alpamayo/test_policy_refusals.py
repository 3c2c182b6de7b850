"""Checkpoints and inputs that cannot be used: one clear line, exit code 2, nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alpamayo.cli import main as cli
from alpamayo.paths import shipped_weights_dir

Damage = Callable[[Path], None]


def edit_config(change: Callable[[dict], None]) -> Damage:
    def edit(folder: Path) -> None:
        document = json.loads((folder / "config.json").read_text())
        change(document)
        (folder / "config.json").write_text(json.dumps(document))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    def edit(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return edit


def shards(folder: Path) -> list[Path]:
    """The weights in two files with an index, as large checkpoints come."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    where = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        where |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return sorted(folder.glob("model-*.safetensors"))


def truncated_shard(folder: Path) -> None:
    last = shards(folder)[-1]
    last.write_bytes(last.read_bytes()[:-1000])


def missing_shard(folder: Path) -> None:
    shards(folder)[0].unlink()


def not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    tensors["encoder.layers.1.mlp.up_proj.weight"][3, 4] = float("nan")


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def in_words(folder: Path) -> None:
    edit_config(lambda d: d["alpamayo"]["prompt"].update(layout="chat"))(folder)


def without_tokenizer(folder: Path) -> None:
    in_words(folder)
    (folder / "tokenizer.json").unlink()


def other_tokenizer(folder: Path) -> None:
    in_words(folder)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<|image_pad|>", "[IMG]"))


def larger_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer

    in_words(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["one more"])
    tokenizer.save(str(folder / "tokenizer.json"))


def few_reserved(folder: Path) -> None:
    in_words(folder)
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("<SPECIAL_", "<TAKEN_"))


def broken_tokenizer(folder: Path) -> None:
    in_words(folder)
    (folder / "tokenizer.json").write_text('{"model": {')


def budget(tokens: int) -> Damage:
    return edit_config(lambda d: d["alpamayo"]["prompt"].update(max_image_tokens=tokens))


CASES: dict[str, tuple[Damage, str]] = {
    "wrong vocabulary": (
        edit_config(lambda d: d.update(vocab_size=2048)),
        "expected the vocabulary of config.json, vocab_size 2048, got 1024 rows",
    ),
    "truncated shard": (truncated_shard, "model-00002-of-00002.safetensors: expected an intact"),
    "missing shard": (missing_shard, "model-00001-of-00002.safetensors: not found"),
    "nan": (edit_weights(not_a_number), "layers.1.mlp.up_proj.weight: expected finite numbers"),
    "pickle": (pickled, "pytorch_model.bin: a pickle can run code, so it is not read"),
    "no tokenizer": (without_tokenizer, "tokenizer.json: not found: expected the tokenizer"),
    "other tokenizer": (other_tokenizer, "<|image_pad|>: expected id 19, found no such token"),
    "larger tokenizer": (larger_tokenizer, "ids up to 1024: expected at most 1023"),
    "few reserved": (few_reserved, "expected 49 reserved tokens <SPECIAL_n> in a row"),
    "broken tokenizer": (broken_tokenizer, "tokenizer.json: expected a tokenizer"),
    "too many image tokens": (budget(29), "take 30 tokens: expected at most 29"),
}


@pytest.mark.parametrize("command", ["eval", "bench"])
@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_used_ends_in_one_line(
    name: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = CASES[name]
    folder, runs = tmp_path / "policy", tmp_path / "runs"
    shutil.copytree(shipped_weights_dir(), folder)
    damage(folder)
    words = {
        "eval": ["eval", "--policy", str(folder), "--out", str(runs), "--episodes", "4"],
        "bench": ["bench", "policy", "--policy", str(folder), "--seconds", "0.1"],
    }[command]
    assert cli.main(words) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1, told.err
    assert not told.out and not runs.exists()


def test_the_undamaged_one_is_used(tmp_path: Path) -> None:
    """The cases above fail for what was done to them, and for nothing else."""
    from policies.registry import load_policy

    for change in (in_words, shards, budget(30)):
        folder = tmp_path / getattr(change, "__name__", "budget")
        shutil.copytree(shipped_weights_dir(), folder)
        change(folder)
        load_policy(folder).check_images(2, 56, 168)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "policy", "--images", "1x0x56"], "expected 1 or more images of 1..4096 pixels"),
        (["bench", "policy", "--images", "9x4096x4096"], "tokens: expected at most 4096"),
        (["eval", "--policy", "shipped", "sim.rig.width_px=0"], "sim.rig.width_px"),
    ],
    ids=["no size", "budget", "rig"],
)
def test_images_that_cannot_be_shown_end_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
