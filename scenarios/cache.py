"""Where things are kept that can be made again: remembered checks, the simulator's machine code."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """``ALPAMAYO_CACHE``, else ``alpamayo`` in ``XDG_CACHE_HOME``, else in ``~/.cache``."""
    chosen = os.environ.get("ALPAMAYO_CACHE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "alpamayo"
