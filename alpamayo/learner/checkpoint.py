"""Checkpoints of a run: the policy as anyone can load it, and beside it what only resuming needs.
No pickle.

    checkpoints/iter_0005/config.json, model.safetensors ...   the policy in the published layout
                         /training/learner.safetensors           critic, optimizer
                         /training/state.json                    iteration, versions, counters
    checkpoints/latest -> iter_0005

A checkpoint appears under its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from alpamayo.learner.weights import load_tensors
from alpamayo.types import RequestError

SCHEMA_VERSION = 1
POLICY = "policy."
LATEST = "latest"


@dataclass(frozen=True)
class TrainingState:
    """``learned`` module tensors (``policy.*``, ``critic.*``), ``moments`` of the optimizer,
    integer ``counters``, the ``curriculum``'s numbers by scenario.
    """

    learned: dict[str, torch.Tensor]
    moments: dict[str, torch.Tensor]
    counters: dict[str, int]
    curriculum: dict[str, list[float]] = field(default_factory=dict)

    def policy(self) -> dict[str, torch.Tensor]:
        return {k.removeprefix(POLICY): v for k, v in self.learned.items() if k.startswith(POLICY)}


def save(folder: Path, state: TrainingState, architecture: Any) -> Path:
    """Write ``folder/iter_NNNN`` and point ``latest`` at it; ``architecture`` is the policy's
    VLMConfig.
    """
    from safetensors.torch import save_file

    from policies.vlm import save_pretrained

    name = f"iter_{state.counters['iteration']:04d}"
    path, part = folder / name, folder / f".{name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        (part / "training").mkdir(parents=True)
        save_pretrained(policy_model(architecture, state.policy()), part)
        others = {k: v for k, v in state.learned.items() if not k.startswith(POLICY)}
        tensors = {f"module.{k}": v for k, v in others.items()}
        tensors |= {f"optimizer.{k}": v for k, v in state.moments.items()}
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, part / "training/learner.safetensors"
        )
        record: dict[str, Any] = {"schema_version": SCHEMA_VERSION, **state.counters}
        record["curriculum"] = state.curriculum
        (part / "training/state.json").write_text(json.dumps(record, indent=2) + "\n")
        for file in part.rglob("*.safetensors"):
            file.chmod(
                0o644
            )  # safetensors makes them private, but checkpoints are there to be shared
        shutil.rmtree(path, ignore_errors=True)  # the same iteration, saved again
        os.replace(part, path)
        link = folder / f".{LATEST}.part"
        with contextlib.suppress(FileNotFoundError):
            link.unlink()
        link.symlink_to(name)
        os.replace(link, folder / LATEST)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RequestError(
            f"{path}: expected a writable run directory ({error.strerror})"
        ) from None
    return path


def load(path: Path) -> TrainingState:
    """Read a checkpoint back; a damaged one raises RequestError naming the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from policies.vlm import from_pretrained

    state_file, tensor_file = path / "training/state.json", path / "training/learner.safetensors"
    try:
        record = json.loads(state_file.read_text(encoding="utf-8"))
        counters = {k: int(record[k]) for k in ("iteration", "updates", "decisions")}
        curriculum = {
            str(name): [float(number) for number in numbers]
            for name, numbers in record.get("curriculum", {}).items()
        }
    except OSError as error:
        raise RequestError(
            f"{state_file}: expected a checkpoint of a run ({error.strerror})"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RequestError(f"{state_file}: expected the counters of a run ({error})") from None
    try:
        tensors = load_file(tensor_file)
    except (OSError, SafetensorError, ValueError) as error:
        raise RequestError(f"{tensor_file}: expected a safetensors file ({error})") from None
    model = from_pretrained(path, dtype=None)
    learned = {POLICY + n: p.detach() for n, p in model.named_parameters()}
    learned |= _strip(tensors, "module.")
    return TrainingState(learned, _strip(tensors, "optimizer."), counters, curriculum)


def latest(folder: Path) -> Path | None:
    """The newest checkpoint below ``folder``; None before the first."""
    found = {int(p.name[5:]): p for p in folder.glob("iter_*") if p.name[5:].isdigit()}
    return found[max(found)] if found else None


def policy_model(architecture: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """A model of ``architecture`` with these weights."""
    from policies.vlm import NLDModel

    model = NLDModel(architecture).eval()
    load_tensors(model, tensors)
    return model


def _strip(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
