"""The ``alpamayo`` command: choose the module of the command, run it, turn errors into one line and
an exit code.

Exit codes: 0 done, 1 the thing asked about failed, 2 the request was wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

# Command -> the line in the list of commands. The modules are not imported for it: that list must
# appear at once.
COMMANDS: dict[str, str] = {
    "demo": "the main job: evaluate, post-train in closed loop, evaluate again, report",
    "warmstart": "let the expert drive and fine-tune a policy on what it did",
    "train": "post-train a policy in closed loop",
    "eval": "drive held-out episodes and report how safe they were",
    "leaderboard": "rank evaluations on the same episodes",
    "replay": "verify a recorded episode, or turn it into a web page or a video",
    "scenario": "check, list, show, sample and play scenarios",
    "bench": "measure the speed of the simulator, the policy or the whole loop",
    "submit": "run a training as a job of a Ray cluster",
    "export": "copy the best checkpoint of a run to a folder of its own",
}

EXIT_FAILED, EXIT_REQUEST, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        command, args, module = _parse(words)
    except SystemExit as stop:  # argparse has printed the help (0) or the mistake (2)
        return int(stop.code or 0)
    from alpamayo.types import CheckFailed, RequestError

    try:
        return int(module.run(args) or 0)
    except RequestError as error:
        return _complain(command, error, EXIT_REQUEST)
    except CheckFailed as error:
        return _complain(command, error, EXIT_FAILED)
    except KeyboardInterrupt:
        return _interrupted(command)
    except BrokenPipeError:
        # The reader went away (`alpamayo ... | head`). Point stdout elsewhere, else Python
        # complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE


def _parse(words: list[str]) -> tuple[str, argparse.Namespace, ModuleType]:
    top = _top_parser()
    if not words or words[0].startswith("-"):
        top.parse_args(words)  # --help and --version end here
        top.print_help(sys.stderr)
        raise SystemExit(EXIT_REQUEST)
    command = words[0]
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; expected one of {', '.join(COMMANDS)}"
        top.error(f"unknown command {command}{hint}")
    module = importlib.import_module(f"alpamayo.cli.{command}")
    parser = argparse.ArgumentParser(
        prog=f"alpamayo {command}",
        description=module.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    # intermixed: `key=value` words may stand before and after options. Sub-subcommands cannot be
    # intermixed.
    nested = any(isinstance(a, argparse._SubParsersAction) for a in parser._actions)
    args = parser.parse_args(words[1:]) if nested else parser.parse_intermixed_args(words[1:])
    return command, args, module


def _top_parser() -> argparse.ArgumentParser:
    from alpamayo import __version__

    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="alpamayo",
        usage="alpamayo COMMAND ... | --help | --version",
        description="Closed-loop post-training for end-to-end driving policies.",
        epilog=f"commands:\n{listing}\n\n`alpamayo COMMAND --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"alpamayo {__version__}")
    return parser


def _complain(command: str, error: Exception, code: int) -> int:
    print(f"alpamayo {command}: {error}", file=sys.stderr)
    return code


def _interrupted(command: str) -> int:
    """Say how to go on; a command that made a run directory has told ``run_dir`` about it."""
    run_dir = sys.modules.get("alpamayo.run_dir")
    current = run_dir.current() if run_dir is not None else None
    if current is None:
        print(f"alpamayo {command}: interrupted", file=sys.stderr)
    elif command == "train":
        print(
            f"alpamayo {command}: interrupted; go on with: alpamayo train --resume {current.path}",
            file=sys.stderr,
        )
    else:
        print(
            f"alpamayo {command}: interrupted; what there is lies in {current.path}",
            file=sys.stderr,
        )
    return EXIT_INTERRUPTED
