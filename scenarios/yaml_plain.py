"""The fast way through YAML that leaves no doubt: libyaml's events, straight into a ``Tree``.

Whatever could mean something else to a careful reader (aliases, tags, duplicate or odd keys,
scalars that are neither plainly numbers nor plainly text, characters out of the ordinary) and
every mistake ends it with None: ``yaml_tree`` then reads the text again, slowly, and tells what
there is to tell.
"""

from __future__ import annotations

import re
from typing import Any

from scenarios.yaml_tree import MAX_DEPTH, MAX_NODES, Loc, Mark, Tree

_ODD = re.compile(r"[^\n -~\u00a1-\ud7ff]")  # also tabs, carriage returns, soft line breaks
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\Z")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,15})\.[0-9]{1,17}\Z")
# What is in no number and no date anywhere, or not at its beginning.
_TEXT = re.compile(r"[A-Za-z_(\u00c0-\ud7ff]|-\(|[^\n]*[^-+0-9A-Fa-fINTZinotxz_.: ]")
_WORDS: dict[str, bool | None] = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
}  # fmt: skip


class _InDoubtError(Exception):
    """To be read carefully."""


def plain_tree(text: str, name: str) -> Tree | None:
    """The tree of a text without problems; None if in doubt."""
    try:
        from yaml import YAMLError
        from yaml.cyaml import CParser
    except ImportError:  # a build of PyYAML without libyaml
        return None
    if _ODD.search(text):
        return None
    reader = _Reader(CParser(text), Tree(name, None))
    try:
        return reader.document()
    except (_InDoubtError, YAMLError):
        return None


class _Reader:
    """Recursive descent over the events of one document."""

    def __init__(self, parser: Any, tree: Tree) -> None:
        self._next = parser.get_event
        self._file, self._marks = tree.file, tree.marks
        self._tree, self._count = tree, 0

    def document(self) -> Tree:
        started = [type(self._next()).__name__, self._next()]
        if started[0] != "StreamStartEvent" or type(started[1]).__name__ != "DocumentStartEvent":
            raise _InDoubtError
        if started[1].explicit:
            raise _InDoubtError
        self._tree.value = self._value(self._next(), (), 0)
        ended = [type(self._next()).__name__, type(self._next()).__name__]
        if ended != ["DocumentEndEvent", "StreamEndEvent"]:
            raise _InDoubtError
        return self._tree

    def _place(self, event: Any) -> Mark:
        mark = event.start_mark
        return Mark(self._file, mark.line + 1, mark.column + 1)

    def _value(self, event: Any, loc: Loc, depth: int) -> Any:
        kind = type(event).__name__
        self._count += 1
        if kind == "AliasEvent" or event.anchor or self._count > MAX_NODES or depth > MAX_DEPTH:
            raise _InDoubtError
        if loc not in self._marks:
            self._marks[loc] = self._place(event)
        if kind == "ScalarEvent":
            return scalar(event)
        if event.tag:
            raise _InDoubtError
        if kind == "MappingStartEvent":
            return self._mapping(loc, depth + 1)
        items: list[Any] = []
        while type(event := self._next()).__name__ != "SequenceEndEvent":
            items.append(self._value(event, (*loc, len(items)), depth + 1))
        return items

    def _mapping(self, loc: Loc, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while type(event := self._next()).__name__ != "MappingEndEvent":
            if type(event).__name__ != "ScalarEvent" or event.anchor or event.tag:
                raise _InDoubtError
            key = event.value
            if key in values or key == "<<":
                raise _InDoubtError
            place = (*loc, key)
            self._marks[place] = self._place(event)
            values[key] = self._value(self._next(), place, depth)
        return values


def scalar(event: Any) -> Any:
    """What a scalar means in YAML 1.2's core schema."""
    if event.tag:
        raise _InDoubtError
    text: str = event.value
    if event.style:  # quoted, or a block
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _TEXT.match(text) and text not in ("=", "<<"):
        return text
    if _INTEGER.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    raise _InDoubtError
