"""Recorded trajectories of actors, one after the other in a flat array that kernels read."""

from __future__ import annotations

import numpy as np

from alpamayo.types import FloatArray, RequestError

COLUMNS = 5  # time_s, x_m, y_m, heading_rad, speed_mps
_Log = tuple[tuple[float, float, float, float, float], ...]


class LogArena:
    """``rows`` [R, 5]; grows when a new recording is added, equal ones are stored once."""

    def __init__(self) -> None:
        self.rows: FloatArray = np.zeros((1, COLUMNS))
        self._known: dict[_Log, int] = {}

    def add(self, log: _Log, what: str) -> tuple[int, int]:
        """(first row, rows) of ``log``; ``what`` names it in errors."""
        first = self._known.get(log)
        if first is None:
            rows = np.array(log, dtype=np.float64).reshape(-1, COLUMNS)
            if len(rows) < 2 or not np.isfinite(rows).all() or not (np.diff(rows[:, 0]) > 0).all():
                raise RequestError(
                    f"{what}: log: expected at least 2 rows of finite numbers with growing times"
                )
            first = self._known[log] = len(self.rows)
            self.rows = np.concatenate([self.rows, rows])
        return first, len(log)
