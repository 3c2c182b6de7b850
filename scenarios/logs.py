"""Recorded trajectories of actors: inline rows or CSV files."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from alpamayo.types import RequestError
from scenarios.evaluate import Evaluator
from scenarios.quantities import File, Number, near
from scenarios.schema_actors import LOG_COLUMNS
from scenarios.yaml_tree import Loc

Row = tuple[float, float, float, float, float]
MAX_BYTES = 32 << 20
MAX_ROWS = 10_000


def build_log(raw: str | list[list[float | str]], ev: Evaluator, loc: Loc) -> tuple[Row, ...]:
    """The rows of ``Actor.log``; () and a problem in ``ev`` where they make no sense."""
    known = len(ev.problems)
    if isinstance(raw, str):
        path = ev.value(raw, File(".csv"), loc)
        rows: Sequence[Row] = ()
        if path:
            try:
                rows = read_log(path)
            except RequestError as error:
                ev.refuse(loc, str(error))
    else:
        rows = [
            tuple(ev.value(x, Number(), (*loc, i, j)) for j, x in enumerate(row))  # type: ignore[misc]
            for i, row in enumerate(raw)
        ]
        if len(ev.problems) == known:
            wrong = backwards(rows)
            if wrong:
                ev.refuse((*loc, wrong), _order(rows, wrong))
    return tuple(rows) if len(ev.problems) == known else ()


def backwards(rows: Sequence[Row]) -> int:
    """The first row whose time is not after the one before; 0: none."""
    return next((i for i in range(1, len(rows)) if rows[i][0] <= rows[i - 1][0]), 0)


def _order(rows: Sequence[Row], i: int) -> str:
    return f"time_s: expected growing times, got {rows[i][0]:g} after {rows[i - 1][0]:g}"


def read_log(file: str) -> tuple[Row, ...]:
    """Rows of a CSV file with the columns ``LOG_COLUMNS``, in any order; raises RequestError with
    the line.
    """
    return _read_log(file, Path(file).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _read_log(file: str, _changed_ns: int) -> tuple[Row, ...]:
    name = Path(file).name
    try:
        if Path(file).stat().st_size > MAX_BYTES:
            raise RequestError(f"{name}: expected at most {MAX_BYTES >> 20} MB")
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [column.strip() for column in next(reader, [])]
            places = _places(header, name)
            rows = [_row(row, header, places, f"{name}:{reader.line_num}") for row in reader if row]
    except OSError as error:
        raise RequestError(f"{name}: cannot be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{name}: expected CSV in UTF-8: {error}") from None
    if not 2 <= len(rows) <= MAX_ROWS:
        raise RequestError(f"{name}: expected 2 to {MAX_ROWS} rows, got {len(rows)}")
    wrong = backwards(rows)
    if wrong:
        raise RequestError(f"{name}: row {wrong + 1}: {_order(rows, wrong)}")
    return tuple(rows)


def _places(header: list[str], name: str) -> list[int]:
    """Where in a row each of ``LOG_COLUMNS`` stands."""
    for column in header:
        if column not in LOG_COLUMNS:
            hint = near(column, LOG_COLUMNS) or f"; columns: {','.join(LOG_COLUMNS)}"
            raise RequestError(f"{name}:1: unknown column {column!r}{hint}")
    missing = [column for column in LOG_COLUMNS if column not in header]
    if missing or len(header) != len(LOG_COLUMNS):
        raise RequestError(f"{name}:1: expected the columns {','.join(LOG_COLUMNS)} once each")
    return [header.index(column) for column in LOG_COLUMNS]


def _row(row: list[str], header: list[str], places: list[int], where: str) -> Row:
    if len(row) != len(header):
        raise RequestError(f"{where}: expected {len(header)} numbers, got {len(row)}")
    values = []
    for place in places:
        try:
            value = float(row[place])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise RequestError(f"{where}: {header[place]}: expected a number, got {row[place]!r}")
        values.append(value)
    t, x, y, heading, speed = values
    return t, x, y, heading, speed
