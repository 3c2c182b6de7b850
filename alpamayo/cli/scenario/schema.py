"""``alpamayo scenario schema``: the JSON Schema of scenario files, for editors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from alpamayo.cli.scenario.common import write_text
from alpamayo.types import CheckFailed

HELP = "print the JSON Schema of scenario files, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--check", action="store_true", help="check that the shipped schema file is current"
    )
    parser.add_argument("--write", metavar="OUT", help="write it to a file")


def run(args: argparse.Namespace) -> int:
    import scenarios.schema

    text = json.dumps(scenarios.schema.json_schema(), indent=2) + "\n"
    if args.check:
        shipped = Path(scenarios.schema.__file__).parent / "scenario.schema.json"
        if not shipped.is_file() or shipped.read_text(encoding="utf-8") != text:
            raise CheckFailed(
                f"{shipped}: out of date; run alpamayo scenario schema --write {shipped}"
            )
        print(json.dumps({"current": True}) if args.json else f"{shipped}: current")
    elif args.write:
        write_text(Path(args.write), text)
        print(json.dumps({"written": args.write}) if args.json else f"wrote {args.write}")
    else:
        print(text, end="")
    return 0
