"""Hand a training to a Ray cluster as a job, and say what the same thing is called in Ray's own
command line.

Ray uploads the working directory; run directories, environments and histories stay at home. Since
Ray 2.59 a cluster asks for a token: Ray's client takes it from ``RAY_AUTH_TOKEN`` or
``RAY_AUTH_TOKEN_PATH`` with ``RAY_AUTH_MODE=token``.
"""

from __future__ import annotations

import json
import shlex
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
REACH_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Job:
    """A training to run elsewhere. ``working_dir`` is uploaded; ``config`` is a path below it."""

    address: str
    working_dir: Path
    config: str
    overrides: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The command that runs on the cluster."""
        return ["python", "-m", "alpamayo", "train", "--config", self.config, *self.overrides]

    @property
    def entrypoint(self) -> str:
        return shlex.join(self.words)

    @property
    def runtime_env(self) -> dict[str, Any]:
        return {"working_dir": str(self.working_dir), "excludes": list(EXCLUDES)}

    def ray_command(self) -> str:
        """The equivalent `ray job submit` line; the entry point stands last, unquoted."""
        environment = json.dumps(self.runtime_env)
        line = [
            "ray",
            "job",
            "submit",
            "--address",
            self.address,
            "--runtime-env-json",
            environment,
            "--",
        ]
        return shlex.join(line + self.words)


def make_job(address: str, working_dir: str, config: str, overrides: Sequence[str]) -> Job:
    """Check everything that can be checked here; a mistake found on the cluster costs minutes."""
    from alpamayo.config import load_config

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
    folder = Path(working_dir).resolve()
    if not (folder / "alpamayo").is_dir():
        raise RequestError(
            f"--working-dir {working_dir}: expected a checkout, with alpamayo/ in it"
        )
    load_config("train", config, list(overrides))
    file = Path(config).resolve()
    if not file.is_file():
        relative = config  # found among the configs of the package, which the checkout carries too
    elif file.is_relative_to(folder):
        relative = file.relative_to(folder).as_posix()
    else:
        raise RequestError(
            f"--config {config}: expected a file below {folder}, which is what the cluster receives"
        )
    return Job(address.rstrip("/"), folder, relative, tuple(overrides))


def check_reachable(address: str) -> None:
    """RequestError unless something that speaks HTTP answers there."""
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=REACH_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return  # it is there and wants a token, which Ray's client sends
        raise RequestError(
            f"--address {address}: expected a Ray dashboard, got HTTP {error.code}"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RequestError(
            f"--address {address}: no Ray dashboard answers there ({reason})"
        ) from None


def submit(job: Job) -> str:
    """Upload and start; returns the job id."""
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise RequestError(
            f"submitting needs Ray's job client ({error}): pip install 'alpamayo[cluster]'"
        ) from None
    try:
        client = JobSubmissionClient(job.address)
        return str(client.submit_job(entrypoint=job.entrypoint, runtime_env=job.runtime_env))
    except (RuntimeError, ValueError, OSError) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RequestError(
            f"--address {job.address}: the cluster refused the job: {text}"
        ) from None
