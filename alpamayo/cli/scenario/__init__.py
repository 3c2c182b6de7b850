"""``alpamayo scenario``: check, look at, draw from, play and prove scenario files.

A subcommand is a module with ``HELP``, ``add_arguments(parser)`` and ``run(args)``, and one line in
``COMMANDS``.
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

HELP = "check, list, show, draw from, play and prove scenario files"

# Subcommand -> its module in this package, in the order of the help.
COMMANDS: dict[str, str] = {
    "lint": "lint",
    "migrate": "migrate",
    "resolve": "resolve",
    "list": "listing",
    "show": "show",
    "sample": "sample",
    "schema": "schema",
    "new": "new",
    "play": "play",
    "prove": "prove",
    "search": "search",
    "coverage": "coverage",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="scenario_command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = _module(name)
        sub = commands.add_parser(name, help=module.HELP, description=module.HELP)
        sub.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        module.add_arguments(sub)


def run(args: argparse.Namespace) -> int:
    return int(_module(args.scenario_command).run(args))


def _module(command: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{COMMANDS[command]}")
