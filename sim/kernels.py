"""How the simulator's inner loops are compiled, and where the machine code is kept.

A kernel is a plain scalar function over records and arrays, compiled by numba: no fast-math (a
world's numbers must not depend on how loops were vectorised) and no threads (processes are the
parallelism). A kernel allocates nothing (``_nrt=False``): otherwise every call between kernels
counts references of every array of a map, which costs more than the work (judging a world with 16
actors: 1.5 us instead of 0.2 us). Scratch space is made in Python and passed in. Calls between
kernels are inlined (``forceinline``), because each would copy the hundred words that describe a
map: a tick with 16 actors costs 5 us instead of 20 us.

Machine code is cached on disk in a folder named after the content of this package's sources: numba
looks at the file of a kernel only, and would go on using what it compiled from older callees in
other files. Where the sources lie does not matter (``ByContent``), so that a second checkout, or a
copy that a cluster made for a job, finds what another one compiled.
``ALPAMAYO_CACHE`` (else ``XDG_CACHE_HOME``, else ``~/.cache``) says where; ``NUMBA_CACHE_DIR``
wins.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite.binding import get_host_cpu_name
from numba.core.caching import UserProvidedCacheLocator

from scenarios.cache import cache_root

_F = TypeVar("_F", bound=Callable[..., Any])
_KEPT = 4  # folders of other versions that stay
READY = "compiled"  # this file stands in the folder once every kernel has been compiled


_PACKAGE = Path(__file__).parent


def _source_digest() -> str:
    """Of the sources, and of what else numba keeps machine code apart by."""
    host = (numba.__version__, sys.version_info[:2], get_host_cpu_name(), platform.machine())
    digest = hashlib.sha256(repr(host).encode())
    # Kernels freeze the constants of the vocabulary too.
    for path in (*sorted(_PACKAGE.rglob("*.py")), _PACKAGE.parent / "alpamayo" / "types.py"):
        digest.update(path.relative_to(_PACKAGE.parent).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


class ByContent(UserProvidedCacheLocator):
    """Where numba keeps the code of this package's kernels: by their place in the package."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        super().__init__(py_func, py_file)
        place = Path(py_file).resolve().relative_to(_PACKAGE).with_suffix("")
        self._cache_path = str(Path(numba.config.CACHE_DIR) / "sim" / place)

    def get_source_stamp(self) -> str:
        return _DIGEST

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> Any:
        if not Path(py_file).resolve().is_relative_to(_PACKAGE):
            return None  # one of numba's own ways fits
        return super().from_function(py_func, py_file)


def _prepare() -> Path:
    """The cache folder for these sources; a temporary one where nothing can be written."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    root = cache_root() / "kernels"
    folder = root / _DIGEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted((p for p in root.iterdir() if p != folder), key=lambda p: p.stat().st_mtime)
        for old in others[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"alpamayo-kernels-{os.getuid()}" / folder.name
        folder.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(folder)
    return folder


_DIGEST = _source_digest()
CACHE_DIR = _prepare()
numba.config.CACHE_LOCATOR_CLASSES = (
    "sim.kernels.ByContent,UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator"
)


def kernel(function: _F) -> _F:
    """Compile ``function`` on its first call. Division by zero gives inf or nan as in numpy."""
    compiled: _F = numba.njit(
        cache=True, error_model="numpy", nogil=True, _nrt=False, forceinline=True
    )(function)
    return compiled


def are_compiled() -> bool:
    """Whether all kernels lie compiled on disk (for this version of the sources)."""
    return (CACHE_DIR / READY).exists()


def mark_compiled() -> None:
    (CACHE_DIR / READY).touch()
