"""Checkpoint directories: ``config.json`` beside ``model.safetensors``, in the published tensor
names. No pickle.

Everything is checked before use, and a save appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alpamayo.types import RequestError
from policies.vlm.config import VLMConfig, from_json, to_json
from policies.vlm.model import NLDModel
from policies.vlm.tokenizer import TOKENIZER_NAME, TextTokenizer, with_tokenizer

CONFIG_NAME, WEIGHTS_NAME = "config.json", "model.safetensors"
INDEX_NAME = WEIGHTS_NAME + ".index.json"
# Prefixes that conversions of the same network use, and ours.
_ALIASES = (
    ("language_model.model.", "encoder."),
    ("language_model.lm_head.", "diffusion_head."),
    ("vision_tower.", "encoder.vision_tower."),
    ("multi_modal_projector.", "encoder.multi_modal_projector."),
)
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_NAMED = 4  # how many tensor names an error lists


# --------------------------------------------------------------------------------------
# Save
# --------------------------------------------------------------------------------------
def save_pretrained(
    model: NLDModel, directory: str | Path, *, dtype: torch.dtype | None = None
) -> Path:
    """Write config and weights (as ``dtype``, default as they are) to ``directory``, replacing a
    checkpoint there.

    Both files are written to a directory beside it, then put in place by rename.
    """
    target = Path(directory)
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target}: expected a directory to save a checkpoint in, found a file")
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    staging: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        staging.chmod(0o755)
        save_file(tensors, staging / WEIGHTS_NAME, metadata={"format": "pt"})
        (staging / WEIGHTS_NAME).chmod(0o644)
        text = json.dumps(to_json(model.config), indent=2) + "\n"
        (staging / CONFIG_NAME).write_text(text, encoding="utf-8")
        if model.tokenizer is not None:
            text = model.tokenizer.to_json() + "\n"
            (staging / TOKENIZER_NAME).write_text(text, encoding="utf-8")
        _put_in_place(staging, target)
    except OSError as error:
        raise RequestError(f"{target}: cannot save a checkpoint: {error}") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return target


def _put_in_place(staging: Path, target: Path) -> None:
    """A new directory is one rename. In an existing one the weights go first: they name no version,
    config does not change between saves of one run, and each file is replaced as a whole."""
    if not target.exists():
        os.rename(staging, target)
        return
    for name in (WEIGHTS_NAME, CONFIG_NAME, TOKENIZER_NAME):
        if (staging / name).is_file():
            os.replace(staging / name, target / name)


# --------------------------------------------------------------------------------------
# Load
# --------------------------------------------------------------------------------------
def load_config(directory: str | Path) -> VLMConfig:
    path = Path(directory) / CONFIG_NAME
    document = _read_json(path)
    try:
        return from_json(document)
    except KeyError as error:
        raise RequestError(f"{path}: {error.args[0]}: missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise RequestError(f"{path}: {error}") from error


def from_pretrained(
    directory: str | Path, *, device: str = "cpu", dtype: torch.dtype | None = torch.float32
) -> NLDModel:
    """The model in ``directory``, in eval mode; ``dtype`` None keeps the file's."""
    directory = Path(directory)
    config = load_config(directory)
    tokenizer: TextTokenizer | None = None
    if config.prompt.layout == "chat":
        tokenizer = TextTokenizer.load(directory, config.vocab_size)
        config = with_tokenizer(config, tokenizer)
    with torch.device("meta"):
        model = NLDModel(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    loaded: dict[str, Tensor] = {}
    files = _weight_files(directory)
    found: dict[str, tuple[tuple[int, ...], Path, str]] = {}
    for path in files:
        for name, shape in _header(path).items():
            found[_published(name)] = (shape, path, name)
    place = files[0] if len(files) == 1 else directory / INDEX_NAME
    _check_names(place, wanted, {name: shape for name, (shape, _, _) in found.items()})
    for path in files:
        names = {name: stored for name, (_, at, stored) in found.items() if at == path}
        loaded.update(_read_tensors(path, names, device, dtype))
    model.load_state_dict(loaded, assign=True)
    model.tokenizer = tokenizer
    return model.eval()


def _read_json(path: Path) -> Mapping[str, Any]:
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
    if not isinstance(document, dict):
        raise RequestError(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


def _weight_files(directory: Path) -> list[Path]:
    """The one weights file, or the shards that an index names (in this directory only)."""
    single, index = directory / WEIGHTS_NAME, directory / INDEX_NAME
    if single.is_file() or not index.is_file():
        return [single]
    shards = _read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise RequestError(f"{index}: weight_map: expected tensor names with their files")
    names = sorted({str(name) for name in shards.values()})
    for name in names:
        if Path(name).name != name:
            raise RequestError(f"{index}: weight_map: expected plain file names, got {name!r}")
    return [directory / name for name in names]


def _published(name: str) -> str:
    for alias, ours in _ALIASES:
        if name.startswith(alias):
            return ours + name[len(alias) :]
    return name


def _header(path: Path) -> dict[str, tuple[int, ...]]:
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


def _read_tensors(
    path: Path, names: Mapping[str, str], device: str, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """Tensors of one file by our names; a file that holds other than finite numbers is refused."""
    tensors = {}
    try:
        with safe_open(path, framework="pt", device=device) as handle:
            for name, stored in names.items():
                tensor = handle.get_tensor(stored)
                tensors[name] = tensor.to(dtype) if dtype is not None else tensor
    except (SafetensorError, OSError) as error:
        raise RequestError(f"{path}: expected an intact safetensors file: {error}") from error
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise RequestError(f"{path}: {name}: expected finite numbers")
    return tensors


def _check_names(
    path: Path, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
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
            f"{path}: tensors differ from what {CONFIG_NAME} describes: {'; '.join(problems)}"
        )


def _listing(title: str, names: Iterable[str]) -> str:
    names = list(names)
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} {title}: {', '.join(names[:_NAMED])}{more}"
