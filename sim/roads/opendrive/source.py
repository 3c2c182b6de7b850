"""XML elements that know their line, read without entities, and number their own mistakes.

``xml.etree`` forgets line numbers and expands entities, so elements are built straight from expat:
a document type declaration is refused, which leaves no entity to expand, and size, element count
and depth are bounded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from alpamayo.types import RequestError

MAX_BYTES = 64 << 20
MAX_ELEMENTS = 1_000_000
MAX_DEPTH = 48
# Far beyond every map in metres, and small enough that a cubic of it stays finite.
MAX_NUMBER = 1e9


@dataclass(slots=True)
class Node:
    """One element: its ``tag``, attributes, children, and where it starts."""

    tag: str
    attributes: dict[str, str]
    file: str
    line: int
    children: list[Node] = field(default_factory=list)

    def all(self, *path: str) -> Iterator[Node]:
        """Descendants along ``path``, in document order."""
        for child in self.children:
            if child.tag == path[0]:
                if len(path) == 1:
                    yield child
                else:
                    yield from child.all(*path[1:])

    def first(self, *path: str) -> Node | None:
        return next(self.all(*path), None)

    def error(self, expected: str, got: object) -> RequestError:
        """``file:line: element: expected ..., got ...``, to be raised."""
        return RequestError(f"{self.file}:{self.line}: {self.tag}: expected {expected}, got {got}")

    def text(self, name: str, default: str | None = None) -> str:
        value = self.attributes.get(name, default)
        if value is None:
            raise self.error(f"an attribute {name}", "none")
        return value.strip()

    def number(
        self,
        name: str,
        default: float | None = None,
        low: float = -MAX_NUMBER,
        high: float = MAX_NUMBER,
    ) -> float:
        """The attribute as a finite number in [low, high]; ``default`` where it is absent."""
        if name not in self.attributes and default is not None:
            return default
        text = self.text(name)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise self.error(f"{name} as a number from {low:g} to {high:g}", repr(text))
        return value

    def integer(self, name: str) -> int:
        text = self.text(name)
        try:
            value = int(text)
        except ValueError:
            value = -1 << 40
        if abs(value) > 1 << 30:
            raise self.error(f"{name} as an integer", repr(text))
        return value

    def choice(self, name: str, options: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(name, default)
        if value not in options:
            raise self.error(f"{name} as one of {', '.join(options)}", repr(value))
        return value


class _Builder:
    """Expat's callbacks; ``root`` is the tree once everything is read."""

    def __init__(self, file: str, parser: expat.XMLParserType) -> None:
        self.file, self.parser = file, parser
        self.root: Node | None = None
        self.open: list[Node] = []
        self.count = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        node = Node(tag, attributes, self.file, self.parser.CurrentLineNumber)
        self.count += 1
        if self.count > MAX_ELEMENTS or len(self.open) >= MAX_DEPTH:
            raise node.error(f"at most {MAX_ELEMENTS} elements, {MAX_DEPTH} deep", "more")
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node
        self.open.append(node)

    def end(self, tag: str) -> None:
        self.open.pop()

    def doctype(self, *_: object) -> None:
        raise RequestError(
            f"{self.file}:{self.parser.CurrentLineNumber}: DOCTYPE: expected no document type "
            "declaration (entities are not expanded), got one"
        )


def parse(path: Path) -> Node:
    """The root element of an XML file. ``RequestError`` where the file cannot be read."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_BYTES else b""
    except (OSError, ValueError) as problem:
        raise RequestError(f"{path}: expected a readable file, got {problem}") from None
    if not data:
        raise RequestError(f"{path}: expected 1 to {MAX_BYTES} bytes, got none or more")
    parser = expat.ParserCreate()
    builder = _Builder(str(path), parser)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.StartDoctypeDeclHandler = builder.doctype
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as problem:
        # ValueError and LookupError: an encoding that Python does not know
        place = f"{path}:{parser.CurrentLineNumber}"
        raise RequestError(f"{place}: xml: expected well-formed XML, got {problem}") from None
    assert builder.root is not None  # expat has refused a document without an element
    return builder.root


def count_unknown(root: Node, known: Container[str], skipped: Counter[str]) -> None:
    """Count the elements outside ``known`` by path below ``root``; what they hold goes with
    them."""
    rest = [(child, child.tag) for child in root.children]
    while rest:
        node, path = rest.pop()
        if path not in known:
            skipped[path] += 1
            continue
        rest += [(child, f"{path}/{child.tag}") for child in node.children]
