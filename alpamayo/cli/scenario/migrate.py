"""``alpamayo scenario migrate``: bring files of older schema versions up to date."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from alpamayo.cli.scenario.common import print_json
from alpamayo.cli.scenario.lint import scenario_files
from alpamayo.types import RequestError

HELP = "bring scenario files of older schema versions up to date, comments kept"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file or folder")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if one is old")


def run(args: argparse.Namespace) -> int:
    from scenarios.migrate import migrate
    from scenarios.schema import SCHEMA_VERSION

    planned = [(file, *migrate(file)) for file in scenario_files(args.paths)]
    old = [(file, version, text) for file, version, text in planned if version != SCHEMA_VERSION]
    if not args.check:
        for file, _, text in old:
            _replace(file, text)
    if args.json:
        files = [{"file": str(file), "from": version} for file, version, _ in old]
        print_json({"files": len(planned), "version": SCHEMA_VERSION, "migrated": files})
    else:
        verb = "is of" if args.check else "migrated from"
        for file, version, _ in old:
            print(f"{file}: {verb} version {version}")
        what = f"{len(planned)} files, " if len(planned) != 1 else "1 file, "
        print(f"{what}{len(old)} older than version {SCHEMA_VERSION}")
    return 1 if args.check and old else 0


def _replace(file: Path, text: str) -> None:
    beside = file.with_name(f".{file.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RequestError(f"{file}: cannot be written ({error.strerror})") from None
