"""Where the files that ship with the package lie, in a checkout and in an installed wheel alike.

``configs/`` of the checkout is the package ``alpamayo._configs`` of a wheel; the scenario library
and the shipped weights lie inside their packages in both.
"""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path

from alpamayo.types import RequestError


def _package_dir(name: str) -> Path:
    """Folder of an importable package, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RequestError(
            f"{name}: the package is not installed; expected `pip install alpamayo` or a checkout"
        )
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def configs_dir() -> Path:
    """Folder with ``demo.yaml``, ``train/``, ``eval/`` ..."""
    here = Path(__file__).resolve().parent
    installed = here / "_configs"
    return installed if installed.is_dir() else here.parent / "configs"


def scenarios_dir() -> Path:
    """Folder with ``library/`` and ``suites/``."""
    return _package_dir("scenarios")


def library_dir() -> Path:
    return scenarios_dir() / "library"


def suites_dir() -> Path:
    return scenarios_dir() / "suites"


def shipped_weights_dir(size: str = "tiny") -> Path:
    """Folder with the warm-started ``model.safetensors`` and ``config.json`` of that size."""
    return _package_dir("policies") / "weights" / size


def find_config(path: str) -> Path:
    """A config file as the user wrote it; ``configs/...`` also finds the ones that ship with the
    package.
    """
    given = Path(path)
    if given.is_file():
        return given
    shipped = configs_dir()
    relative = Path(*given.parts[1:]) if given.parts[:1] == ("configs",) else given
    if not given.is_absolute() and relative.parts and (shipped / relative).is_file():
        return shipped / relative
    if given.is_dir():
        raise RequestError(f"{path}: expected a YAML file, found a directory")
    known = sorted(f"configs/{p.relative_to(shipped).as_posix()}" for p in shipped.rglob("*.yaml"))
    near = difflib.get_close_matches(path, known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RequestError(f"{path}: no such file{hint}")


def resolve_policy(spec: str) -> str:
    """``shipped`` becomes the folder of the shipped weights; everything else stays as it is."""
    if spec != "shipped":
        return spec
    folder = shipped_weights_dir()
    if not (folder / "config.json").is_file():
        raise RequestError(
            f"{folder}: expected the shipped weights there (config.json and *.safetensors)"
        )
    return str(folder)
