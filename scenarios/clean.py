"""Which scenario files were found clean before, so that lint reads only what has changed.

A file is known by its bytes, those of the files it extends, and the names beside it (they decide
what ``extends`` finds); all of it is forgotten when the checks themselves change. Files that name
maps or recorded trajectories are never remembered. ``scenarios.cache`` says where.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.cache import cache_root
from scenarios.catalog import LIBRARY

if TYPE_CHECKING:
    from scenarios.schema import ScenarioDocument

_KEPT = 5_000  # files that are remembered


def cache_file() -> Path:
    return cache_root() / "lint.json"


def _digest_of_checks() -> str:
    """Everything that decides whether a file is clean: this package, the vocabulary, the library's
    ids."""
    package = Path(__file__).parent
    digest = hashlib.sha256()
    vocabulary = [package.parent / "alpamayo" / name for name in ("types.py", "streams.py")]
    for path in (*sorted(package.glob("*.py")), *vocabulary):
        digest.update(path.read_bytes())
    ids = sorted(path.stem for path in LIBRARY.rglob("*.yaml"))
    digest.update("\n".join(ids).encode())
    return digest.hexdigest()


class CleanFiles:
    """The memory: a file's place -> the digest of what was read when it was found clean."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or cache_file()
        self._checks = _digest_of_checks()
        self._known: dict[str, dict[str, list[str] | str]] = {}
        self._changed = False
        self._digest_of = _Digests().of_all
        try:
            stored = json.loads(self._path.read_text(encoding="utf-8"))
            if stored["checks"] == self._checks:
                self._known = dict(stored["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return  # nothing remembered: everything is checked

    def has(self, file: Path) -> bool:
        entry = self._known.get(str(file.resolve()))
        if not isinstance(entry, dict):
            return False
        read = [Path(name) for name in entry.get("read", [])]
        return bool(read) and self._digest_of(file, read) == entry.get("digest")

    def add_scenario(self, file: Path, document: ScenarioDocument) -> None:
        """Remember a scenario that has been loaded without a problem."""
        logs = any(actor.log is not None for actor in document.actors)
        if document.road.file is None and not logs:
            folders = document.tree.folders
            self._add(file, [folder / Path(name).name for name, folder in folders.items()])

    def add_suite(self, file: Path) -> None:
        """Remember a suite without a problem; it may speak of anything in the library and of any
        file beside it."""
        beside = [p for p in file.resolve().parent.glob("*.y*ml") if p.is_file()]
        self._add(file, [*LIBRARY.rglob("*.yaml"), *beside])

    def _add(self, file: Path, read: list[Path]) -> None:
        read = sorted(read)
        digest = self._digest_of(file, read)
        if digest is not None:
            names = [str(path) for path in read]
            self._known[str(file.resolve())] = {"read": names, "digest": digest}
            self._changed = True

    def save(self) -> None:
        """Write the memory, whole or not at all; where nothing can be written nothing is lost but
        time."""
        if not self._changed:
            return
        files = dict(list(self._known.items())[-_KEPT:])
        text = json.dumps({"checks": self._checks, "files": files})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, suffix=".part")
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(text)
            os.replace(name, self._path)
        except OSError:
            return


class _Digests:
    """Of files and folders, each read once."""

    def __init__(self) -> None:
        self._bytes: dict[Path, bytes] = {}
        self._names: dict[Path, str] = {}

    def of_all(self, file: Path, read: Iterable[Path]) -> str | None:
        """Of the bytes of ``read``, by place, and of the names beside ``file``; None if one is
        gone.
        """
        digest = hashlib.sha256()
        try:
            for path in (file, *read):
                digest.update(self._of_file(path))
            digest.update(self._beside(file.resolve().parent).encode())
        except OSError:
            return None
        return digest.hexdigest()

    def _of_file(self, path: Path) -> bytes:
        if path not in self._bytes:
            place = f"{path.resolve()}\n".encode()
            self._bytes[path] = place + hashlib.sha256(path.read_bytes()).digest()
        return self._bytes[path]

    def _beside(self, folder: Path) -> str:
        if folder not in self._names:
            names = sorted(entry.name for entry in os.scandir(folder))
            self._names[folder] = "\n".join(names)
        return self._names[folder]
