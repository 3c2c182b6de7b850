"""Bring scenario files of older schema versions up to date, comments and layout kept.

When the language changes so that files of version n no longer mean the same, ``SCHEMA_VERSION``
becomes n + 1 and ``MIGRATIONS[n]`` a function that turns the one into the other. New words alone
need no new version.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alpamayo.types import RequestError
from scenarios.schema import SCHEMA_VERSION
from scenarios.yaml_tree import LocatedProblem, Mark, ScenarioFileError, read_tree

Step = Callable[[Any], None]
"""Changes a document of one version, in place, into one of the next."""

MIGRATIONS: dict[int, Step] = {}


def version_of(value: Any) -> int | None:
    """The schema version of a document; None if it does not say so."""
    version = value.get("schema_version") if isinstance(value, dict) else None
    return version if type(version) is int else None


def version_hint(version: Any) -> str:
    """What to do about a file of another version."""
    if type(version) is not int or version == SCHEMA_VERSION:
        return ""
    if version > SCHEMA_VERSION:
        return "; a newer alpamayo wrote this file"
    return "; an older version: run alpamayo scenario migrate on this file"


def migrate(
    path: Path, steps: Mapping[int, Step] | None = None, target: int = SCHEMA_VERSION
) -> tuple[int, str]:
    """The version of a file, and its text in version ``target``; raises RequestError for what is
    no scenario or cannot be brought there.
    """
    steps = MIGRATIONS if steps is None else steps
    tree = read_tree(path)
    if tree.problems:
        raise ScenarioFileError(tree.problems)
    version = version_of(tree.value)
    if version is None:
        place = LocatedProblem(
            tree.mark(("schema_version",)), "schema_version", "expected a whole number"
        )
        raise ScenarioFileError([place])
    text = path.read_text(encoding="utf-8")
    if version == target:
        return version, text
    for number in range(version, target):
        if number not in steps:
            raise _no_way(tree.mark(("schema_version",)), version, target)
    if version > target:
        raise _no_way(tree.mark(("schema_version",)), version, target)
    return version, _rewritten(text, [steps[n] for n in range(version, target)], target)


def _no_way(mark: Mark, version: int, target: int) -> RequestError:
    message = f"expected at most {target}, got {version}"
    if version < target:
        message = f"no way leads from version {version} to {target}"
    return ScenarioFileError([LocatedProblem(mark, "schema_version", message)])


def _rewritten(text: str, steps: list[Step], target: int) -> str:
    from ruamel.yaml import YAML
    from ruamel.yaml.util import load_yaml_guess_indent

    _, indent, offset = load_yaml_guess_indent(text)
    yaml = YAML()  # round trip: comments, quotes and the order of keys stay
    yaml.preserve_quotes = True
    yaml.width = 4096
    if indent:
        yaml.indent(mapping=2, sequence=indent, offset=offset or 0)
    document = yaml.load(text)
    for step in steps:
        step(document)
    document["schema_version"] = target
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()
