"""Where a job's results lie: a folder that the head node sees, or any URL that fsspec knows."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from alpamayo.types import RequestError

logger = logging.getLogger(__name__)

SYNC_S = 20.0  # between two looks for files to upload


def is_url(storage: str) -> bool:
    return "://" in storage


def check_storage(storage: str) -> str:
    """``storage`` without a slash at its end; RequestError for what is no place for results."""
    if storage.startswith("file://"):
        storage = storage.removeprefix("file://")
    if is_url(storage):
        scheme = storage.split("://", 1)[0]
        from fsspec.registry import known_implementations

        if scheme not in known_implementations:
            raise RequestError(
                f"--storage {storage}: fsspec knows no {scheme}://; expected a folder or a URL "
                "such as s3://bucket/runs"
            )
    elif not Path(storage).is_absolute():
        raise RequestError(
            f"--storage {storage}: expected an absolute path, for it is the head node's, or a URL"
        )
    return storage.rstrip("/") or "/"


def _open(url: str) -> tuple[Any, str]:
    """(file system, path on it). Raises RequestError where its package or its credentials lack."""
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise RequestError(f"{url}: {error}") from None
    return filesystem, path.rstrip("/")


class Mirror:
    """Keeps a copy of a local folder at a URL: downloads it on entry, uploads what changes every
    ``SYNC_S`` and once more at the end. Only one process may write to the URL.
    """

    def __init__(self, folder: Path, url: str, every_s: float = SYNC_S) -> None:
        self.folder, self.url = folder, url
        self._every_s = every_s
        self._filesystem, self._path = _open(url)
        self._sent: dict[str, tuple[int, int]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="mirror", daemon=True)

    def __enter__(self) -> Mirror:
        self.folder.mkdir(parents=True, exist_ok=True)
        download(self.url, self.folder)
        self._sent = self._present()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        self.upload()

    def _keep(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                self.upload()
            except OSError as error:  # tried again at the next turn, and at the end for certain
                logger.warning("%s: upload failed: %s", self.url, error)

    def upload(self) -> int:
        """Send every file that is new or has changed; returns how many."""
        count = 0
        for name, stamp in self._present().items():
            if self._sent.get(name) != stamp:
                target = f"{self._path}/{name}"
                self._filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._filesystem.put_file(str(self.folder / name), target)
                self._sent[name] = stamp
                count += 1
        return count

    def _present(self) -> dict[str, tuple[int, int]]:
        """(size, time of change) of every finished file, by its name below the folder."""
        found = {}
        for file in sorted(self.folder.rglob("*")):
            if file.is_file() and not file.name.endswith(".part"):
                stat = file.stat()
                name = file.relative_to(self.folder).as_posix()
                found[name] = (stat.st_size, stat.st_mtime_ns)
        return found


def download(url: str, folder: Path) -> int:
    """Copy everything below ``url`` into ``folder``; returns how many files. Nothing there: 0.

    A file whose name would leave ``folder`` is refused.
    """
    filesystem, path = _open(url)
    try:
        files = filesystem.find(path) if filesystem.exists(path) else []
    except OSError as error:
        raise RequestError(f"{url}: {error}") from None
    root = folder.resolve()
    for file in files:
        name = file[len(path) :].lstrip("/") if file.startswith(path) else file
        target = (root / name).resolve()
        if not target.is_relative_to(root):
            raise RequestError(f"{url}: {name}: expected a file below the run")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        filesystem.get_file(file, str(part))
        part.replace(target)
    return len(files)
