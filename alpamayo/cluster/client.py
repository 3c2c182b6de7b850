"""Ray's job server, with its errors as one clear line each."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alpamayo.types import RequestError

if TYPE_CHECKING:
    from alpamayo.cluster.submit import Job

REACH_TIMEOUT_S = 5.0
_TOKEN_HELP = (
    "the cluster asks for a token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
    "RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token) to the head node's"
)


class Unreachable(RequestError):
    """Nobody answers at the address, or not now."""


@dataclass(frozen=True)
class JobState:
    """``status``: PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED. ``exit_code`` of the command,
    None if it did not come to its end: the node it ran on was lost.
    """

    status: str
    message: str
    exit_code: int | None

    @property
    def ended(self) -> bool:
        return self.status in ("STOPPED", "SUCCEEDED", "FAILED")

    @property
    def lost(self) -> bool:
        """It failed without its command having failed."""
        return self.status == "FAILED" and self.exit_code is None


def ray_version(address: str) -> str:
    """Of the cluster; "" if only a token would tell. Raises ``Unreachable``."""
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=REACH_TIMEOUT_S) as answer:
            return str(json.load(answer)["ray_version"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return ""  # it is there and wants a token, which Ray's client sends
        raise Unreachable(
            f"--address {address}: expected a Ray dashboard, got HTTP {error.code}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(
            f"--address {address}: no Ray dashboard answers there ({reason})"
        ) from None


class Cluster:
    """The job server at ``address``. Every method raises ``RequestError``, ``Unreachable`` where
    trying again may help."""

    def __init__(self, address: str) -> None:
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise RequestError(
                f"submitting needs Ray's job client ({error}): pip install 'alpamayo[cluster]'"
            ) from None
        ray_version(address)
        self.address = address
        with self._telling("refused to talk"):
            self._client: Any = JobSubmissionClient(address)

    @contextlib.contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        from ray.exceptions import AuthenticationError

        try:
            yield
        except AuthenticationError:
            raise RequestError(f"--address {self.address}: {_TOKEN_HELP}") from None
        except (ConnectionError, OSError) as error:  # requests' own errors are OSErrors
            raise Unreachable(f"--address {self.address}: {what}: {_line(error)}") from None
        except (RuntimeError, ValueError) as error:
            raise RequestError(
                f"--address {self.address}: the cluster {what}: {_line(error)}"
            ) from None

    def submit(self, job: Job) -> str:
        """Upload and start; returns the job id."""
        with self._telling("refused the job"):
            return str(
                self._client.submit_job(
                    entrypoint=job.entrypoint,
                    runtime_env=job.runtime_env,
                    metadata={"name": job.name, "storage": job.storage},
                )
            )

    def run(self, entrypoint: str, environment: dict[str, str]) -> str:
        """Start a small command that needs no files; returns the job id."""
        with self._telling("refused a job"):
            env = {"env_vars": environment}
            return str(self._client.submit_job(entrypoint=entrypoint, runtime_env=env))

    def state(self, job_id: str) -> JobState:
        with self._telling(f"knows nothing of {job_id}"):
            info = self._client.get_job_info(job_id)
            return JobState(str(info.status), info.message or "", info.driver_exit_code)

    def logs(self, job_id: str) -> str:
        """Everything that it has printed so far."""
        with self._telling(f"has no logs of {job_id}"):
            return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> bool:
        """Whether it was running; it gets SIGTERM, saves and ends."""
        with self._telling(f"cannot stop {job_id}"):
            return bool(self._client.stop_job(job_id))


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
