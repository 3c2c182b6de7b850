"""The scenario library that ships with the package: ids, files, twins."""

from __future__ import annotations

import difflib
from functools import lru_cache
from pathlib import Path

from alpamayo.types import RequestError
from scenarios.schema import ScenarioDocument

LIBRARY = Path(__file__).resolve().parent / "library"
SUITES = Path(__file__).resolve().parent / "suites"
NOMINAL_SUFFIX = "_nominal"


@lru_cache(maxsize=1)
def library_files() -> dict[str, Path]:
    """Id -> file, in alphabetical order of group and file."""
    return {path.stem: path for path in sorted(LIBRARY.rglob("*.yaml"))}


def list_ids() -> list[str]:
    return list(library_files())


def list_documents() -> list[ScenarioDocument]:
    """Every document of the library."""
    from scenarios.load import load_document

    return [load_document(name) for name in library_files()]


def resolve(id_or_path: str | Path) -> Path:
    """File of a library id, or the path itself; raises RequestError with a suggestion."""
    text = str(id_or_path)
    files = library_files()
    if text in files:
        return files[text]
    path = Path(text)
    if path.is_file():
        return path
    if path.is_dir():
        raise RequestError(f"{text}: expected a scenario file, found a directory")
    close = difflib.get_close_matches(path.stem, list(files), 1, 0.5)
    known = f"; `alpamayo scenario list` shows the {len(files)} ids of the library"
    hint = f"; did you mean {close[0]}?" if close else known
    raise RequestError(f"{text}: no such scenario or file{hint}")


def twin_id(document_id: str) -> str | None:
    """Id of the nominal twin of a danger, if the library has one."""
    name = document_id + NOMINAL_SUFFIX
    return name if name in library_files() else None
