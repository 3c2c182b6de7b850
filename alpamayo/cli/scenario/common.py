"""What the subcommands of ``alpamayo scenario`` share: words, tables, JSON, files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.types import RequestError

if TYPE_CHECKING:
    from scenarios.schema import ScenarioDocument


def add_file_and_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="scenario file or library id")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default 0)")


def count(args: argparse.Namespace) -> int:
    if not 1 <= args.count <= 100_000:
        raise RequestError(
            f"command line: -n: expected a number from 1 to 100000, got {args.count}"
        )
    return int(args.count)


def load(name: str) -> ScenarioDocument:
    from scenarios.load import load_document

    return load_document(name)


def print_json(value: Any) -> None:
    from alpamayo.replay.codec import to_plain

    print(json.dumps(to_plain(value), indent=2, default=str, allow_nan=False))


def new_console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def new_table(title: str, *columns: str) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", header_style="bold", box=None)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != columns[-1])
    return table


def as_text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path}: cannot be written ({error.strerror})") from None
