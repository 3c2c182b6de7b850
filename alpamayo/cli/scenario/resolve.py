"""``alpamayo scenario resolve``: a scenario written out in full, and the hash of its meaning."""

from __future__ import annotations

import argparse
from pathlib import Path

from alpamayo.cli.scenario.common import load, print_json

HELP = "print a scenario written out in full, without extends, and the hash of its meaning"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="scenario file or library id")


def run(args: argparse.Namespace) -> int:
    from scenarios.dump import dump, plain
    from scenarios.hash import document_hash

    document, here = load(args.file), Path.cwd()
    if args.json:
        print_json({"hash": document_hash(document), "document": plain(document, here)})
    else:
        print(f"# hash {document_hash(document)}\n{dump(document, here)}", end="")
    return 0
