"""Recorded planner latencies, from a bench to the simulator: one JSON file.

``{"latency_profile": 1, "samples_s": [...], "about": {...}}``: seconds from observation to plan, in
the order they were measured; ``about`` says of what and where.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpamayo.types import RequestError

VERSION = 1
MAX_SAMPLES = 100_000
LONGEST_S = 60.0


def write_profile(path: str | Path, samples_s: Sequence[float], about: Mapping[str, Any]) -> None:
    """Raises ``RequestError`` if there is nothing to write or the file cannot be written."""
    if not len(samples_s):
        raise RequestError(f"--latency-profile {path}: no plan was made, so there is no latency")
    document = {
        "latency_profile": VERSION,
        "samples_s": [round(float(s), 6) for s in samples_s][-MAX_SAMPLES:],
        "about": dict(about),
    }
    try:
        Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"--latency-profile {path}: expected a writable file ({error.strerror})"
        ) from None


def read_profile(path: str | Path) -> tuple[float, ...]:
    """The samples in seconds, for ``SimConfig.latency_samples_s``."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RequestError(f"{path}: expected a latency profile (JSON): {error}") from None
    if not isinstance(document, dict) or document.get("latency_profile") != VERSION:
        raise RequestError(f"{path}: latency_profile: expected version {VERSION} of this format")
    samples = document.get("samples_s")
    if not isinstance(samples, list) or not 0 < len(samples) <= MAX_SAMPLES:
        raise RequestError(f"{path}: samples_s: expected 1 to {MAX_SAMPLES} numbers")
    for index, sample in enumerate(samples):
        number = isinstance(sample, (int, float)) and not isinstance(sample, bool)
        if not number or not (math.isfinite(sample) and 0.0 <= sample <= LONGEST_S):
            raise RequestError(
                f"{path}: samples_s[{index}]: expected seconds in 0..{LONGEST_S:g}, got {sample!r}"
            )
    return tuple(float(sample) for sample in samples)
