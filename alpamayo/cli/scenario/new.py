"""``alpamayo scenario new``: a commented starter file."""

from __future__ import annotations

import argparse
from pathlib import Path

from alpamayo.cli.scenario.common import print_json, write_text
from alpamayo.types import RequestError

HELP = "write a commented starter file, from scratch or from one of the library"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("family", metavar="FAMILY", help="name: small letters, digits and _")
    parser.add_argument("--from", dest="base", metavar="ID", help="begin as a copy of this one")
    parser.add_argument("--out", metavar="FILE", help="where (default: FAMILY.yaml here)")


def run(args: argparse.Namespace) -> int:
    import re

    from scenarios.catalog import library_files
    from scenarios.starter import starter

    family = args.family
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", family):
        raise RequestError(
            f"command line: {family}: expected a name of small letters, digits and _"
        )
    if family in library_files():
        raise RequestError(
            f"command line: {family}: the library has this scenario; take another name"
        )
    path = Path(args.out) if args.out else Path(f"{family}.yaml")
    if path.stem != family:
        raise RequestError(f"{path}: expected a file name that equals the id, {family}.yaml")
    if path.exists():
        raise RequestError(f"{path}: exists; remove it or take another name")
    write_text(path, starter(family) if args.base is None else _copy(family, args.base))
    if args.base is not None:
        _check(path, args.base)
    if args.json:
        print_json({"written": str(path), "from": args.base})
    else:
        print(f"wrote {path}\nnext: alpamayo scenario show {path}")
    return 0


def _copy(family: str, base: str) -> str:
    from scenarios.catalog import library_files
    from scenarios.quantities import near
    from scenarios.starter import starter_from

    files = library_files()
    if base not in files:
        hint = near(base, files) or "; alpamayo scenario list shows them"
        raise RequestError(f"command line: --from {base}: no such scenario in the library{hint}")
    return starter_from(family, base, files[base].read_text(encoding="utf-8"))


def _check(path: Path, base: str) -> None:
    """A copy of a scenario that needs files beside it does not load elsewhere: nothing is left."""
    from scenarios.load import load_file
    from scenarios.yaml_tree import ScenarioFileError

    try:
        load_file(path)
    except ScenarioFileError as error:
        path.unlink()
        raise RequestError(
            f"command line: --from {base}: a copy does not load by itself: {error.problems[0]}"
        ) from None
