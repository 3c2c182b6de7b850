"""YAML 1.2 text as plain values plus the place of every key and value.

Everything wrong with the text itself (duplicate keys, odd tags, loops of aliases) becomes a
``Problem`` with its
place, so that one reading reports all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from alpamayo.types import RequestError

Loc = tuple[str | int, ...]
MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 30
_CACHED_BYTES = 50_000
_BRACKETS = 100  # open at once
_SEPARATORS = re.compile(r"[\[\]{},\n]")


@dataclass(frozen=True)
class Mark:
    """A place in a file, 1-based."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong: where (key path in the document) and what was expected."""

    loc: Loc
    message: str


@dataclass(frozen=True)
class LocatedProblem:
    """A problem with its place in the file."""

    mark: Mark
    key_path: str
    message: str

    def __str__(self) -> str:
        key = f" {self.key_path}:" if self.key_path else ""
        return f"{self.mark}:{key} {self.message}"

    def as_dict(self) -> dict[str, Any]:
        mark = self.mark
        return {
            "file": mark.file,
            "line": mark.line,
            "column": mark.column,
            "key": self.key_path,
            "message": self.message,
        }


class ScenarioFileError(RequestError):
    """All problems of a file; the message is one line each."""

    def __init__(self, problems: list[LocatedProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return (ScenarioFileError, (list(self.problems),))


@dataclass
class Tree:
    """``value`` is plain data; ``marks`` the place of each key (for list items, of the item);
    ``folders`` the folder of each file that marks name."""

    file: str
    value: Any
    marks: dict[Loc, Mark] = field(default_factory=dict)
    problems: list[LocatedProblem] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)

    def mark(self, loc: Loc) -> Mark:
        """Place of ``loc`` or of its nearest parent that is written in the file."""
        while loc and loc not in self.marks:
            loc = loc[:-1]
        return self.marks.get(loc, Mark(self.file, 1, 1))

    def folder(self, loc: Loc) -> Path:
        """Folder of the file in which ``loc`` is written; paths there are relative to it."""
        return self.folders.get(self.mark(loc).file, Path())

    def locate(self, problem: Problem) -> LocatedProblem:
        return LocatedProblem(self.mark(problem.loc), dotted(problem.loc), problem.message)

    def subtree(self, loc: Loc) -> Tree:
        """The part under ``loc`` with its marks re-rooted."""
        value = self.value
        for key in loc:
            value = value[key]
        n = len(loc)
        marks = {key[n:]: mark for key, mark in self.marks.items() if key[:n] == loc}
        return Tree(self.file, value, marks)


def dotted(loc: Loc) -> str:
    return ".".join(str(key) for key in loc)


def read_tree(path: Path, shown_as: str | None = None) -> Tree:
    """Parse a file; raises RequestError if there is nothing to parse, else reports through
    ``Tree.problems``.
    """
    name = shown_as or str(path)
    try:
        if path.exists() and not path.is_file():
            raise RequestError(f"{name}: expected a file")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{name}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise RequestError(f"{name}: expected a file of at most {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise ScenarioFileError(
            [LocatedProblem(Mark(name, line, column), "", "expected UTF-8 text")]
        ) from None
    tree = _parse_cached(text, name) if len(data) <= _CACHED_BYTES else parse_tree(text, name)
    value = dict(tree.value) if isinstance(tree.value, dict) else tree.value
    folders = {name: path.resolve().parent}
    return Tree(name, value, dict(tree.marks), list(tree.problems), folders)


@lru_cache(maxsize=256)
def _parse_cached(text: str, name: str) -> Tree:
    """The tree of a text, not to be changed: a base is parsed once for all its twins."""
    return parse_tree(text, name)


def parse_tree(text: str, name: str) -> Tree:
    """As ``read_tree``, from text."""
    from scenarios.yaml_plain import plain_tree

    too_much = _too_much(text, name)
    if too_much is not None:
        return Tree(name, None, problems=[too_much])
    return plain_tree(text, name) or careful_tree(text, name)


def careful_tree(text: str, name: str) -> Tree:
    """The tree of any text, with everything that is wrong with it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="safe", pure=True)
    tree = Tree(name, None)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        tree.problems.append(_of_text(error, name))
        return tree
    except (YAMLError, RecursionError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        mark = _mark(text, getattr(error, "position", 0), name)
        tree.problems.append(LocatedProblem(mark, "", f"expected valid YAML: {reason}"))
        return tree
    tree.value = {} if node is None else _Builder(yaml, tree).build(node, (), ())
    return tree


def _mark(text: str, position: int, name: str) -> Mark:
    """The place of a character."""
    line = text.count("\n", 0, position) + 1
    return Mark(name, line, position - text.rfind("\n", 0, position))


def _too_much(text: str, name: str) -> LocatedProblem | None:
    """What would keep the parser busy for long: found without parsing."""
    depth = 0
    for count, found in enumerate(_SEPARATORS.finditer(text)):
        sign = found[0]
        depth += (sign in "[{") - (sign in "]}")
        if depth > _BRACKETS or count > MAX_NODES:
            message = "nested too deeply" if depth > _BRACKETS else "too large"
            return LocatedProblem(_mark(text, found.start(), name), "", message)
    return None


def _of_text(error: Any, name: str) -> LocatedProblem:
    """What is wrong with the YAML: where it shows, or where what never ends begins."""
    at, since = error.problem_mark or error.context_mark, error.context_mark
    message = f"expected valid YAML: {error.problem}"
    if at is not None and since is not None and since.line != at.line:
        if "end of stream" in str(error.problem):
            message, at = f"{message} {error.context}", since
        else:
            message = f"{message} ({error.context} that begins on line {since.line + 1})"
    mark = Mark(name, at.line + 1, at.column + 1) if at else Mark(name, 1, 1)
    return LocatedProblem(mark, "", message)


class _Builder:
    """Walks composed nodes; aliases are expanded within the limits."""

    def __init__(self, yaml: Any, tree: Tree) -> None:
        self._constructor = yaml.constructor
        self._tree = tree
        self._count = 0

    def build(self, node: Any, loc: Loc, open_nodes: tuple[int, ...]) -> Any:
        self._count += 1
        self._tree.marks.setdefault(loc, self._place(node))
        if id(node) in open_nodes or len(open_nodes) > MAX_DEPTH or self._count > MAX_NODES:
            if self._count <= MAX_NODES + 1:
                self._report(
                    node, loc, "nested too deeply, too large, or an alias that contains itself"
                )
            return None
        inside = (*open_nodes, id(node))
        if node.id == "mapping":
            return self._mapping(node, loc, inside)
        if node.id == "sequence":
            return [self.build(child, (*loc, i), inside) for i, child in enumerate(node.value)]
        return self._scalar(node, loc)

    def _mapping(self, node: Any, loc: Loc, inside: tuple[int, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if key_node.id == "scalar" else None
            if not isinstance(key, str):
                self._report(key_node, loc, "expected a plain text key")
                continue
            place = (*loc, key)
            if key in values:
                first = self._tree.marks[place]
                self._report(key_node, place, f"duplicate key; first given on line {first.line}")
                continue
            self._tree.marks[place] = self._place(key_node)
            values[key] = self.build(value_node, place, inside)
        return values

    def _scalar(self, node: Any, loc: Loc) -> Any:
        from ruamel.yaml.error import YAMLError

        try:
            value = self._constructor.construct_object(node)
        except (YAMLError, ValueError) as error:
            reason = getattr(error, "problem", None) or str(error)
            self._report(node, loc, f"expected a number or text: {reason}")
            return None
        if value is None or isinstance(value, bool | int | float | str):
            return value
        self._report(
            node, loc, f"expected a number or text, got {type(value).__name__} (quote it for text)"
        )
        return None

    def _place(self, node: Any) -> Mark:
        mark = node.start_mark
        return Mark(self._tree.file, mark.line + 1, mark.column + 1)

    def _report(self, node: Any, loc: Loc, message: str) -> None:
        self._tree.problems.append(LocatedProblem(self._place(node), dotted(loc), message))
