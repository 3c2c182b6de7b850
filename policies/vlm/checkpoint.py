"""Checkpoint directories: ``config.json`` beside ``model.safetensors`` (or shards of it and their
index), in the published tensor names. No pickle.

Everything is checked before use, tensors travel one at a time (one shard at a time when saving),
and a save appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from alpamayo.types import RequestError
from policies.vlm.config import VLMConfig, from_json, to_json
from policies.vlm.model import NLDModel
from policies.vlm.tokenizer import TOKENIZER_NAME, TextTokenizer, with_tokenizer

CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"
INDEX_NAME = WEIGHTS_NAME + ".index.json"
SHARD_BYTES = 5_000_000_000
# Prefixes that conversions of the same network use, and ours.
_ALIASES = (
    ("language_model.model.", "encoder."),
    ("language_model.lm_head.", "diffusion_head."),
    ("vision_tower.", "encoder.vision_tower."),
    ("multi_modal_projector.", "encoder.multi_modal_projector."),
)
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_EMBEDDING = "encoder.embed_tokens.weight"
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_NAMED = 4  # how many tensor names an error lists


# --------------------------------------------------------------------------------------
# Save
# --------------------------------------------------------------------------------------
def save_pretrained(
    model: NLDModel,
    directory: str | Path,
    *,
    dtype: torch.dtype | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Path:
    """Write config and weights (as ``dtype``, default as they are) to ``directory``, replacing a
    checkpoint there. Weights above ``shard_bytes`` become several files and an index.

    All files are written to a directory beside it, then put in place by rename.
    """

    def write(staging: Path) -> None:
        _write_weights(model.state_dict(), staging, dtype, shard_bytes)
        text = json.dumps(to_json(model.config), indent=2) + "\n"
        (staging / CONFIG_NAME).write_text(text, encoding="utf-8")
        if model.tokenizer is not None:
            text = model.tokenizer.to_json() + "\n"
            (staging / TOKENIZER_NAME).write_text(text, encoding="utf-8")

    return write_whole(Path(directory), write)


def _write_weights(
    state: Mapping[str, Tensor], directory: Path, dtype: torch.dtype | None, shard_bytes: int
) -> None:
    """One file, or shards and their index; one shard at a time is held in memory."""
    shards: list[list[str]] = [[]]
    room, total = shard_bytes, 0
    for name, tensor in state.items():
        size = tensor.numel() * (dtype or tensor.dtype).itemsize
        if shards[-1] and size > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(name)
        room -= size
        total += size
    files = [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    files = files if len(shards) > 1 else [WEIGHTS_NAME]
    for file, names in zip(files, shards, strict=True):
        tensors = {
            name: state[name].detach().to("cpu", dtype or state[name].dtype).contiguous()
            for name in names
        }
        save_file(tensors, directory / file, metadata={"format": "pt"})
        (directory / file).chmod(0o644)
    if len(shards) > 1:
        place = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        index = {"metadata": {"total_size": total}, "weight_map": place}
        (directory / INDEX_NAME).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def write_whole(target: Path, write: Callable[[Path], None]) -> Path:
    """``write`` into a directory beside ``target``, then put its files in place by rename."""
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target}: expected a directory to save a checkpoint in, found a file")
    staging: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        staging.chmod(0o755)
        write(staging)
        _put_in_place(staging, target)
    except OSError as error:
        raise RequestError(f"{target}: cannot save a checkpoint: {error}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return target


def _put_in_place(staging: Path, target: Path) -> None:
    """A new directory is one rename. In an existing one the weights go first: they name no version,
    config does not change between saves of one run, and each file is replaced as a whole. Weights
    files of the checkpoint before that the new one does not have go last."""
    if not target.exists():
        os.rename(staging, target)
        return
    fresh = sorted((path.name for path in staging.iterdir()), key=lambda n: n.endswith(".json"))
    for name in fresh:
        os.replace(staging / name, target / name)
    if not {WEIGHTS_NAME, INDEX_NAME} & set(fresh):
        return  # not a model's checkpoint
    for path in target.iterdir():
        weights = path.name in (WEIGHTS_NAME, INDEX_NAME) or _SHARD.fullmatch(path.name)
        if weights and path.name not in fresh:
            path.unlink()


# --------------------------------------------------------------------------------------
# Load
# --------------------------------------------------------------------------------------
def count_parameters(directory: str | Path) -> int:
    """Of the checkpoint's architecture, without reading its weights."""
    with torch.device("meta"):
        model = NLDModel(load_config(directory))
    return sum(parameter.numel() for parameter in model.parameters())


def load_config(directory: str | Path) -> VLMConfig:
    path = Path(directory) / CONFIG_NAME
    document = read_json(path)
    try:
        config = from_json(document)
    except KeyError as error:
        raise RequestError(f"{path}: {error.args[0]}: missing") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise RequestError(f"{path}: {error}") from error
    if config.rope.factor < 1:
        # An early published config held such numbers; they make every position wrong.
        warnings.warn(
            f"{path}: rope_parameters.factor is {config.rope.factor:g}, below 1", stacklevel=2
        )
    return config


def from_pretrained(
    directory: str | Path, *, device: str = "cpu", dtype: torch.dtype | None = torch.float32
) -> NLDModel:
    """The model in ``directory``, in eval mode; ``dtype`` None keeps the file's.

    Names and shapes of all files are checked first; then one tensor after the other is read and
    put into the model.
    """
    directory = Path(directory)
    config = load_config(directory)
    tokenizer: TextTokenizer | None = None
    if config.prompt.layout == "chat":
        tokenizer = TextTokenizer.load(directory, config.vocab_size)
        config = with_tokenizer(config, tokenizer)
    with torch.device("meta"):
        model = NLDModel(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    files = _weight_files(directory)
    found: dict[str, tuple[tuple[int, ...], Path, str]] = {}
    for path in files:
        for stored, shape in read_header(path).items():
            name = _published(stored)
            if name in found:
                raise RequestError(f"{path}: {name}: also in {found[name][1].name}")
            found[name] = (shape, path, stored)
    place = files[0] if len(files) == 1 else directory / INDEX_NAME
    shapes = {name: shape for name, (shape, _, _) in found.items()}
    _check_vocabulary(place, wanted, shapes)
    check_names(place, CONFIG_NAME, wanted, shapes)
    for path in files:
        names = {name: stored for name, (_, at, stored) in found.items() if at == path}
        for name, tensor in read_tensors(path, names, device, dtype):
            _set(model, name, tensor)
    model.tokenizer = tokenizer
    return model.eval()


def _set(model: nn.Module, name: str, tensor: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, nn.Parameter(tensor))


def read_json(path: Path) -> Mapping[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(f"{path}: not found: expected a checkpoint's config") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{path}:{error.lineno}:{error.colno}: expected JSON: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:  # endless digits or brackets
        raise RequestError(f"{path}: expected JSON: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


def _weight_files(directory: Path) -> list[Path]:
    """The one weights file, or the shards that an index names (in this directory only)."""
    single, index = directory / WEIGHTS_NAME, directory / INDEX_NAME
    if single.is_file() or not index.is_file():
        return [single]
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise RequestError(f"{index}: weight_map: expected tensor names with their files")
    names = sorted({str(name) for name in shards.values()})
    for name in names:
        if Path(name).name != name or Path(name).suffix != ".safetensors":
            raise RequestError(
                f"{index}: weight_map: expected names of safetensors files here, got {name!r}"
            )
    return [directory / name for name in names]


def _published(name: str) -> str:
    for alias, ours in _ALIASES:
        if name.startswith(alias):
            return ours + name[len(alias) :]
    return name


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a weights file; reads no tensor."""
    if not path.is_file():
        pickled = sorted(p.name for kind in _PICKLED for p in path.parent.glob(kind))
        if pickled:
            raise RequestError(
                f"{path.parent / pickled[0]}: a pickle can run code, so it is not read: expected "
                f"{path.name}"
            )
        raise RequestError(f"{path}: not found: expected a checkpoint's weights")
    try:
        with safe_open(path, framework="pt") as handle:
            return {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RequestError(f"{path}: expected an intact safetensors file: {error}") from error


def read_tensors(
    path: Path, names: Mapping[str, str], device: str, dtype: torch.dtype | None
) -> Iterator[tuple[str, Tensor]]:
    """Tensors of one file by our names, one at a time; other than finite numbers are refused."""
    try:
        with safe_open(path, framework="pt", device=device) as handle:
            for name, stored in names.items():
                tensor = handle.get_tensor(stored)
                tensor = tensor if dtype is None else tensor.to(dtype)
                if not bool(torch.isfinite(torch.stack(tensor.aminmax())).all()):
                    raise RequestError(f"{path}: {name}: expected finite numbers")
                yield name, tensor
    except (SafetensorError, OSError) as error:
        raise RequestError(f"{path}: expected an intact safetensors file: {error}") from error


def _check_vocabulary(
    path: Path, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    expected, got = wanted[_EMBEDDING], found.get(_EMBEDDING, ())
    if len(got) == 2 and got[1] == expected[1] and got[0] != expected[0]:
        raise RequestError(
            f"{path}: {_EMBEDDING}: expected the vocabulary of {CONFIG_NAME}, vocab_size "
            f"{expected[0]}, got {got[0]} rows"
        )


def check_names(
    path: Path,
    source: str,
    wanted: Mapping[str, tuple[int, ...]],
    found: Mapping[str, tuple[int, ...]],
) -> None:
    """One line that lists missing, unexpected and mis-shaped tensors, if there are any."""
    shapes = [
        f"{name} {list(found[name])} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    problems = [
        _listing("missing", [name for name in wanted if name not in found]),
        _listing("unexpected", [name for name in found if name not in wanted]),
        _listing("wrong shape", shapes),
    ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise RequestError(
            f"{path}: tensors differ from what {source} describes: {'; '.join(problems)}"
        )


def _listing(title: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {title}: {', '.join(names[:_NAMED])}{more}"
