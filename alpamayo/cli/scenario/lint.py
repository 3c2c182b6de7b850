"""``alpamayo scenario lint``: every mistake of files and folders, with its place."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from alpamayo.cli.scenario.common import print_json
from alpamayo.types import RequestError

if TYPE_CHECKING:
    from scenarios.clean import CleanFiles
    from scenarios.yaml_tree import LocatedProblem

HELP = "check scenario and suite files, print every error with its place"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="file, folder or library id")
    parser.add_argument(
        "--fresh", action="store_true", help="check also what was found clean before"
    )


def run(args: argparse.Namespace) -> int:
    from scenarios.clean import CleanFiles

    files = scenario_files(args.paths)
    problems: list[LocatedProblem] = []
    clean = CleanFiles()
    for file in files:
        if args.fresh or not clean.has(file):
            problems += _problems_of(file, clean)
    clean.save()
    problems = list(dict.fromkeys(problems))  # a base and its twins share theirs
    if args.json:
        print_json({"files": len(files), "problems": [problem.as_dict() for problem in problems]})
    else:
        for problem in problems:
            print(problem)
        word = "file" if len(files) == 1 else "files"
        print(f"{len(files)} {word}, {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


def scenario_files(paths: list[str]) -> list[Path]:
    """The files that paths, folders and library ids name."""
    from scenarios.catalog import resolve

    files: list[Path] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml"))
            if not found:
                raise RequestError(f"{text}: no YAML files in this folder")
            files += found
        else:
            files.append(resolve(text))
    return files


def _problems_of(file: Path, clean: CleanFiles) -> list[LocatedProblem]:
    from scenarios.load import load_document
    from scenarios.suites import load_suite
    from scenarios.yaml_tree import LocatedProblem, Mark, ScenarioFileError, read_tree

    try:
        value = read_tree(file).value
        if isinstance(value, dict) and {"scenarios", "select"} & set(value) and "road" not in value:
            load_suite(file)
            clean.add_suite(file)
        else:
            clean.add_scenario(file, load_document(file))
    except ScenarioFileError as error:
        return list(error.problems)
    except RequestError as error:  # not even text: others may still be checked
        message = str(error).removeprefix(f"{file}: ")
        return [LocatedProblem(Mark(str(file), 1, 1), "", message)]
    return []
