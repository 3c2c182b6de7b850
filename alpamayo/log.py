"""Metrics of a run, and its progress on the screen.

``MetricsWriter`` writes one JSON object per line to ``metrics.jsonl`` (the truth, flushed at once)
and the same scalars to TensorBoard. What CleanRL also logs has its names there, so that dashboards
transfer: ``charts/SPS``, ``charts/global_step`` (decisions so far), ``charts/learning_rate``,
``charts/episodic_return``, ``charts/episodic_length``, ``losses/policy_loss``,
``losses/value_loss``, ``losses/entropy``, ``losses/approx_kl``, ``losses/clipfrac``,
``losses/explained_variance``; beside them ``rollout/...``, ``curriculum/...``, ``eval/...`` and
``time/...``.

``Progress`` shows a live table on a terminal, plain lines elsewhere and nothing at all if quiet
(``--json``).
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from alpamayo.types import RequestError


class MetricsWriter:
    """Appends to ``metrics_file`` and, if ``tensorboard_dir`` is given, to an event file there."""

    def __init__(self, metrics_file: Path, tensorboard_dir: Path | None = None) -> None:
        try:
            metrics_file.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = metrics_file.open("a", encoding="utf-8")
        except OSError as error:
            raise RequestError(
                f"{metrics_file}: expected a writable file ({error.strerror})"
            ) from None
        self._board: Any = None
        if tensorboard_dir is not None:
            from tensorboardX import SummaryWriter  # comes with ray[rllib]

            self._board = SummaryWriter(str(tensorboard_dir))

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """One line ``{"step": ..., "time": ..., **metrics}``; NaN and infinity become null."""
        record = {"step": int(step), "time": round(time.time(), 3)}
        record.update({name: _plain(value) for name, value in metrics.items()})
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        if self._board is None:
            return
        for name, value in record.items():
            if name not in ("step", "time") and isinstance(value, int | float):
                self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _plain(value: Any) -> Any:
    """A JSON value; numpy and torch scalars become numbers."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    elif hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Progress:
    """Progress of a command of known length.

    On a terminal: a bar and the latest values of each named column. Elsewhere: one plain line per
    ``update``, at most one every ``every_s`` seconds, and the first and last always. Goes to
    stderr, so that stdout stays for results.
    """

    def __init__(
        self, title: str, total: int, *, quiet: bool = False, every_s: float = 5.0
    ) -> None:
        self.title = title
        self.total = total
        self._quiet = quiet
        self._every_s = every_s
        self._started = time.monotonic()
        self._last_line = -math.inf
        self._done = 0
        self._values: dict[str, Any] = {}
        self._live: Any = None

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self._table(), console=Console(stderr=True), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.update(self._table())
            self._live.stop()
            self._live = None

    def update(self, done: int, **values: Any) -> None:
        """``done`` of ``total`` units are finished; ``values`` are shown beside it."""
        self._done = done
        self._values.update(values)
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(self._table())
            return
        now = time.monotonic()
        if now - self._last_line >= self._every_s or done >= self.total:
            self._last_line = now
            print(self._line(), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line that stays, above the table on a terminal."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _line(self) -> str:
        elapsed = time.monotonic() - self._started
        parts = [f"{self.title} {self._done}/{self.total}", _clock(elapsed)]
        parts += [f"{name} {_short(value)}" for name, value in self._values.items()]
        return "  ".join(parts)

    def _table(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        elapsed = time.monotonic() - self._started
        left = elapsed / self._done * (self.total - self._done) if self._done else math.nan
        table = Table.grid(padding=(0, 2))
        table.add_row(
            self.title,
            ProgressBar(total=max(self.total, 1), completed=self._done, width=30),
            f"{self._done}/{self.total}",
            f"{_clock(elapsed)} < {_clock(left)}",
        )
        for name, value in self._values.items():
            table.add_row("", name, _short(value))
        return table


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "-:--"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
