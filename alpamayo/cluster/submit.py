"""A training (or the demo) as a job of a Ray cluster, and what the same thing is called in Ray's
own command line.

Ray uploads the working directory; run directories, environments and histories stay at home. Since
Ray 2.59 a cluster asks for a token: Ray's client takes it from ``RAY_AUTH_TOKEN``,
``RAY_AUTH_TOKEN_PATH`` or ``~/.ray/auth_token``; nothing here reads, stores or prints it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from alpamayo.cluster.storage import check_storage
from alpamayo.paths import configs_dir
from alpamayo.types import RequestError

# What the cluster does not need, in .gitignore notation.
EXCLUDES = (
    ".git/",
    ".venv/",
    "/runs/",
    "/build/",
    "/dist/",
    "*.egg-info/",
    "__pycache__/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".hypothesis/",
)
JobKind = Literal["train", "demo"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Job:
    """A run elsewhere. ``working_dir`` is uploaded and ``config`` is a path below it (None: the
    cluster's nodes have alpamayo installed); the results go to ``storage``/``name``, where the same
    job finds them again if it starts anew.
    """

    address: str
    working_dir: str | None
    kind: JobKind
    name: str
    storage: str
    config: str
    overrides: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The command that runs on the cluster."""
        run = [self.kind, "--config", self.config, *self.overrides]
        place = ["--storage", self.storage, "--name", self.name]
        return ["python", "-m", "alpamayo.cli.job", *place, "--", *run]

    @property
    def entrypoint(self) -> str:
        return shlex.join(self.words)

    @property
    def runtime_env(self) -> dict[str, Any]:
        if self.working_dir is None:
            return {}
        return {"working_dir": self.working_dir, "excludes": list(EXCLUDES)}

    def ray_command(self) -> str:
        """The equivalent `ray job submit` line; the entry point stands last, unquoted."""
        line = ["ray", "job", "submit", "--address", self.address]
        if self.runtime_env:
            line += ["--runtime-env-json", json.dumps(self.runtime_env)]
        return shlex.join([*line, "--", *self.words])


def make_job(
    address: str,
    working_dir: str | None,
    config: str,
    overrides: Sequence[str],
    *,
    storage: str,
    name: str,
    kind: JobKind = "train",
) -> Job:
    """Check everything that can be checked here; a mistake found on the cluster costs minutes."""
    from alpamayo.config import load_config

    folder = None if working_dir is None else Path(working_dir).resolve()
    if folder is not None and not (folder / "alpamayo").is_dir():
        raise RequestError(
            f"--working-dir {working_dir}: expected a checkout, with alpamayo/ in it"
        )
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"--name {name}: expected letters, digits, dots, dashes and underscores, got {name!r}"
        )
    load_config(kind, config, list(overrides))
    file = Path(config).resolve()
    if not file.is_file():
        relative = config  # found among the configs of the package, which the checkout carries too
    elif folder is None and file.is_relative_to(shipped := configs_dir()):
        relative = f"configs/{file.relative_to(shipped).as_posix()}"
    elif folder is not None and file.is_relative_to(folder):
        relative = file.relative_to(folder).as_posix()
    else:
        where = "one of the package's own configs, for --no-upload sends no file"
        if folder is not None:
            where = f"a file below {folder}, which is what the cluster receives"
        raise RequestError(f"--config {config}: expected {where}")
    if any(word.startswith("run_root=") for word in overrides):
        raise RequestError("run_root: results of a job go to its --storage")
    where = check_storage(storage)
    upload = None if folder is None else str(folder)
    return Job(check_address(address), upload, kind, name, where, relative, tuple(overrides))


def check_address(address: str) -> str:
    """The URL of a dashboard without a slash at its end, or a RequestError."""
    parts = urlsplit(address)
    try:
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        )
    except ValueError:  # a port that is no number
        usable = False
    if not usable:
        raise RequestError(
            f"--address {address}: expected the URL of a Ray dashboard, such as http://head:8265"
        )
    return address.rstrip("/")
