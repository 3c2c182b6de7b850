"""Whole files or none: what readers see is never half-written."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alpamayo.types import RequestError


@contextlib.contextmanager
def _writable(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RequestError(f"{place}: expected a writable place ({error.strerror})") from None


def write_whole(path: str | Path, data: bytes | str) -> Path:
    """Write ``data`` to ``path`` through a neighbour file; RequestError if the place cannot be
    written.
    """
    file = Path(path)
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        os.replace(part, file)
    except OSError as error:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            part.unlink(missing_ok=True)
        raise RequestError(f"{file}: expected a writable place ({error.strerror})") from None
    return file


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A place to write to that becomes ``path`` when the block ends well, and vanishes otherwise.

    It keeps the suffix, by which libraries choose a format.
    """
    file = Path(path)
    part = file.with_name(f".part-{file.name}")
    with _writable(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    try:
        yield part
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """As ``whole_file``; a folder that exists must be empty."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"{folder}: expected a folder that does not exist yet or is empty")
    with _writable(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".part-{folder.name}-", dir=folder.parent))
        part.chmod(0o755)
    try:
        yield part
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def require(package: str, extra: str) -> Any:
    """An optional package; RequestError says how to get it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise RequestError(f"{package} is not installed: pip install 'alpamayo[{extra}]'") from None
