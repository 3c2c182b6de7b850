"""The run directory: everything a command leaves behind, the frozen config first.

``runs/<kind>-<YYYYmmdd-HHMMSS>[-n]/`` holds ``config.yaml`` (resolved), ``versions.json`` and
``status.json``; the commands add ``metrics.jsonl``, ``tensorboard/``, ``checkpoints/``,
``replays/`` and reports. Use it as a context manager:

    with RunDir.create("train", config) as run:
        ...

The status then ends as finished, interrupted (Ctrl-C) or failed.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from alpamayo.types import RequestError

SCHEMA_VERSION = 1
_PACKAGES = (
    "torch",
    "ray",
    "gymnasium",
    "numpy",
    "omegaconf",
    "opencv-python-headless",
    "safetensors",
    "pydantic",
)
_current: RunDir | None = None


def current() -> RunDir | None:
    """The run directory this process opened last, for the message after Ctrl-C."""
    return _current


class RunDir:
    """One run directory. ``path`` is it; the properties are the places that every command agrees
    on.
    """

    def __init__(self, path: Path, kind: str, config: Any) -> None:
        self.path = path
        self.kind = kind
        self.config = config

    @classmethod
    def create(cls, kind: str, config: Any) -> RunDir:
        """Make a new directory below ``config.run_root`` and freeze ``config`` in it (kind: see
        CONFIG_KINDS).
        """
        from alpamayo.config import to_yaml

        text = f"# Settings of an `alpamayo {kind}` run, resolved.\n{to_yaml(config)}"
        path = stamped_folder(config.run_root, config.name)
        run = cls(path, kind, config)
        try:
            run.write_text("config.yaml", text)
            run.write_json("versions.json", versions())
            run.set_status("running")
        except RequestError:
            shutil.rmtree(path, ignore_errors=True)  # nothing half-written stays behind
            raise
        return run._register()

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """An existing run directory, for resume, export and replay."""
        from alpamayo.config import CONFIG_KINDS, load_config

        folder = Path(path)
        if not folder.is_dir():
            raise RequestError(f"{path}: no such run directory")
        status = read_json(folder / "status.json")
        kind = status.get("kind") if isinstance(status, dict) else None
        if kind not in CONFIG_KINDS:
            known = " or ".join(CONFIG_KINDS)
            raise RequestError(f"{folder / 'status.json'}: kind: expected {known}, got {kind!r}")
        return cls(folder, str(kind), load_config(str(kind), str(folder / "config.yaml")))

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def tensorboard_dir(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints_dir(self) -> Path:
        return self.path / "checkpoints"

    @property
    def replays_dir(self) -> Path:
        return self.path / "replays"

    @property
    def status(self) -> dict[str, Any]:
        """What ``status.json`` says: kind, status, time stamps and whatever was added."""
        return dict(read_json(self.path / "status.json"))

    def set_status(self, status: str, **more: Any) -> None:
        """``running``, ``finished``, ``interrupted`` or ``failed``; ``more`` is kept beside it."""
        file = self.path / "status.json"
        before = read_json(file) if file.is_file() else {}
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        record = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "started": now,
            "command": sys.argv,
        }
        self.write_json(
            "status.json", {**record, **before, **more, "status": status, "changed": now}
        )

    def write_json(self, name: str, value: Any) -> Path:
        return self.write_text(name, json.dumps(value, indent=2, default=str) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write ``name`` below the run directory; readers see the old file or the new one, never a
        half.
        """
        file = self.path / name
        part = file.with_name(file.name + ".part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(text, encoding="utf-8")
            os.replace(part, file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise RequestError(
                f"{file}: expected a writable run directory ({error.strerror})"
            ) from None
        return file

    def resume(self) -> RunDir:
        """Mark a stopped run as running again."""
        self.set_status(
            "running", resumed=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        )
        return self._register()

    def _register(self) -> RunDir:
        global _current
        _current = self
        return self

    def __enter__(self) -> RunDir:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.set_status("finished")
            return
        stopped = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
        # A full disk must not hide the error that is already on its way.
        with contextlib.suppress(RequestError):
            self.set_status(stopped, error=f"{kind.__name__}: {error}")


def read_json(file: Path) -> Any:
    """A JSON file that a run left, or a RequestError that names it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{file}: expected a readable JSON file ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{file}: expected valid JSON ({error})") from None


def versions() -> dict[str, Any]:
    """What made this run: package versions, Python, platform, git revision if there is one."""
    from importlib.metadata import PackageNotFoundError, version

    from alpamayo import __version__

    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "alpamayo": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": packages,
        "git": git_revision(),
    }


def git_revision() -> str | None:
    """Commit of the checkout, with ``+changes`` if files differ from it; None without git or
    outside a checkout.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD").strip()
        return head + ("+changes" if _git(root, "status", "--porcelain").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout


def stamped_folder(root: str | Path, name: str) -> Path:
    """Make ``root/<name>-<date and time>``, for a run or for what is made of several."""
    return _make_unique(Path(root), f"{name}-{datetime.datetime.now():%Y%m%d-%H%M%S}")


def _make_unique(root: Path, name: str) -> Path:
    """Create ``root/name``, or ``root/name-2`` ... if others started in the same second."""
    for attempt in range(1, 1000):
        path = root / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if root.exists() and not root.is_dir():
                raise RequestError(f"{root}: expected a directory for runs, found a file") from None
            continue
        except OSError as error:
            raise RequestError(
                f"{root}: expected a writable directory for runs ({error.strerror})"
            ) from None
        return path
    raise RequestError(f"{root / name}: too many runs started in this second")
