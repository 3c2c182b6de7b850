"""Which checkpoints a run holds, which of them is best, and how one leaves the run.

``RUN/checkpoints/iter_NNNN/`` holds the policy as ``config.json`` + ``*.safetensors``; what lies
below ``training/`` belongs to the learner and is not exported. The best is the one that
``status.json`` names as ``best_checkpoint``; without that mark, the newest.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from alpamayo.run_dir import RunDir
from alpamayo.types import RequestError


def checkpoints(run: RunDir) -> list[Path]:
    """Complete checkpoints, oldest first."""
    found = [p for p in run.checkpoints_dir.glob("iter_*") if _iteration(p) >= 0 and is_policy(p)]
    return sorted(found, key=_iteration)


def is_policy(folder: Path) -> bool:
    """Whether a policy lies there completely."""
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def _iteration(path: Path) -> int:
    number = path.name.removeprefix("iter_")
    return int(number) if number.isdecimal() else -1


def best(run: RunDir) -> tuple[Path, str]:
    """(checkpoint, why this one)."""
    found = checkpoints(run)
    if not found:
        raise RequestError(f"{run.checkpoints_dir}: expected a checkpoint (iter_NNNN), found none")
    marked = run.status.get("best_checkpoint")
    if marked is not None:
        for path in found:
            if path.name == Path(str(marked)).name:
                return path, "best in the evaluations of its run"
        raise RequestError(
            f"{run.path / 'status.json'}: best_checkpoint: {marked} is not in {run.checkpoints_dir}"
        )
    return found[-1], "newest of its run"


def export(run_path: str, out: str, name: str | None = None) -> dict[str, Any]:
    """Load, check and write the policy of a checkpoint to ``out``; all of it or nothing."""
    from policies.vlm.checkpoint import from_pretrained, save_pretrained

    run = RunDir.open(run_path)
    if name is None:
        checkpoint, reason = best(run)
    else:
        checkpoint, reason = run.checkpoints_dir / name, "as asked for"
    if not is_policy(checkpoint):
        known = ", ".join(p.name for p in checkpoints(run)) or "none"
        raise RequestError(f"{checkpoint}: expected a checkpoint; there are: {known}")
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"--out {out}: expected a new or empty folder")
    model = from_pretrained(checkpoint)  # a corrupted checkpoint ends here
    part = target.with_name(target.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        save_pretrained(model, part)
        if target.is_dir():
            target.rmdir()
        part.rename(target)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise RequestError(f"--out {out}: expected a writable folder ({error.strerror})") from None
    return {
        "run": str(run.path),
        "checkpoint": str(checkpoint),
        "reason": reason,
        "out": str(target),
    }
