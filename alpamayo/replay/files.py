"""Whole files or none: what readers see is never half-written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from alpamayo.types import RequestError


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
