"""Read a YAML file and ``key=value`` words into a frozen dataclass; say exactly where a mistake
stands.

The dataclasses become an OmegaConf structured config (so ``${...}`` works); before each assignment
the key and the type are checked here, because a message needs the line of the file, the expectation
and the nearest known key. YAML is read as version 1.2: ``1e-4`` is a number, ``on`` is text, and a
key written twice is an error.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from alpamayo.types import RequestError

# (the keys that clash, the one to name first; what was expected)
Relations = Callable[[Any], Iterable[tuple[tuple[str, ...], str]]]
ExtraBounds = Mapping[tuple[str, str], "Bounds"]
_MOST_KEYS, _DEEPEST = 20_000, 50  # of a settings file
_LARGEST = 2**63  # whole numbers that others can hold


@dataclass(frozen=True)
class Bounds:
    """Allowed range of a number; None = no limit on that side."""

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def allow(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def __str__(self) -> str:
        parts = [("> ", self.gt), (">= ", self.ge), ("< ", self.lt), ("<= ", self.le)]
        text = " and ".join(f"{sign}{limit:g}" for sign, limit in parts if limit is not None)
        return text or "finite"


def number(
    default: float,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> Any:
    """A dataclass field with a default and a range."""
    return field(default=default, metadata={"bounds": Bounds(gt, ge, lt, le)})


@dataclass
class _Places:
    """Where each key was set, for messages. ``words`` maps a key to its ``key=value`` word of the
    command line.
    """

    file: str | None
    lines: dict[str, int]
    words: dict[str, str]

    def error(self, key: str, message: str) -> RequestError:
        at = key
        while at:  # the setting itself, else the nearest section above it that was written down
            if at in self.words:
                detail = "" if at == key else f"{key}: "
                return RequestError(f"command line: {self.words[at]}: {detail}{message}")
            if at in self.lines:
                return RequestError(f"{self.file}:{self.lines[at]}: {key}: {message}")
            at = at.rpartition(".")[0]
        # The key kept its default and clashes with something else.
        return RequestError(f"{self.file or 'command line'}: {key}: {message}")


def read_config(
    cls: type,
    path: str | None,
    dotlist: Sequence[str],
    *,
    extra_bounds: ExtraBounds,
    relations: Relations,
) -> Any:
    """See ``alpamayo.config.load_config``."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    places = _Places(path, {}, {})
    tree = OmegaConf.structured(cls)
    _unlock(tree)
    if path is not None:
        _apply(tree, cls, _read_yaml(path, places.lines), "", places)
    for word in dotlist:
        key, value = _split_word(word, cls)
        places.words[key] = word
        _apply(tree, cls, _nest(key, value), "", places)
    try:
        config = OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "")
        raise places.error(key, _first_line(error)) from None
    for key, bounds, value in _numbers(config, "", extra_bounds):
        if not bounds.allow(value):
            raise places.error(key, f"expected a number {bounds}, got {value:g}")
    for keys, message in relations(config):
        written = next((k for k in keys if k in places.words), None)
        written = written or next((k for k in keys if k in places.lines), keys[0])
        raise places.error(written, message if written == keys[0] else f"{keys[0]}: {message}")
    return config


def to_yaml(config: Any) -> str:
    """The resolved config as YAML; reading it back with ``load_config`` gives an equal object."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _unlock(tree: Any) -> None:
    """Frozen dataclasses become read-only nodes; allow writing while the layers are merged."""
    from omegaconf import DictConfig, OmegaConf

    if isinstance(tree, DictConfig) and not tree._is_none():
        OmegaConf.set_readonly(tree, False)
        for name in tree:
            _unlock(tree._get_node(name))


def _apply(tree: Any, cls: type, values: Any, prefix: str, places: _Places) -> None:
    """Write the mapping ``values`` over ``tree``, which holds dataclass ``cls``."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not isinstance(values, Mapping):
        raise places.error(
            prefix.rstrip("."), f"expected settings (key: value), got {_show(values)}"
        )
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    for name, value in values.items():
        key = f"{prefix}{name}"
        if name not in names:
            raise places.error(key, _unknown(str(name), names))
        section, optional = _section(hints[name])
        items = _item_type(hints[name])
        if items is not None:
            value = _list(items, value, key, places)
        elif section is None:
            _check_type(hints[name], value, key, places)
            if hints[name] is float and isinstance(value, int):
                value = float(value)
        elif value is not None:
            if tree._get_node(name)._is_none():
                tree[name] = OmegaConf.structured(section)
                _unlock(tree._get_node(name))
            _apply(tree[name], section, value, f"{key}.", places)
            continue
        elif not optional:
            raise places.error(key, "expected settings (key: value), got nothing")
        try:
            tree[name] = value
        except OmegaConfBaseException as error:
            raise places.error(key, _first_line(error)) from None


def _item_type(hint: Any) -> type | None:
    """The type of the values of a ``tuple[type, ...]``, else None."""
    args = get_args(hint)
    variadic = get_origin(hint) is tuple and len(args) == 2 and args[1] is Ellipsis
    return args[0] if variadic else None


def _list(items: type, values: Any, key: str, places: _Places) -> tuple[Any, ...]:
    """The checked ``values`` of a list; items that are sections become structured configs."""
    from omegaconf import OmegaConf

    if isinstance(values, str) or not isinstance(values, Sequence):
        raise places.error(key, f"expected a list, got {_show(values)}")
    made: list[Any] = []
    for i, value in enumerate(values):
        place = f"{key}[{i}]"
        if dataclasses.is_dataclass(items):
            node = OmegaConf.structured(items)
            _unlock(node)
            _apply(node, items, value, f"{place}.", places)
            made.append(node)
        else:
            _check_type(items, value, place, places)
            made.append(float(value) if items is float else value)
    return tuple(made)


def _section(hint: Any) -> tuple[type | None, bool]:
    """(dataclass, may be null) if the hint is a section of settings, else (None, ...)."""
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        inner = [a for a in get_args(hint) if a is not type(None)]
        optional = len(inner) < len(get_args(hint))
        hint = inner[0]
    return (hint if dataclasses.is_dataclass(hint) else None), optional  # type: ignore[return-value]


def _check_type(hint: Any, value: Any, key: str, places: _Places) -> None:
    if isinstance(value, str) and "${" in value:
        return  # an interpolation: OmegaConf checks the type when it resolves
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return
        hint = next(a for a in get_args(hint) if a is not type(None))
    if get_origin(hint) is Literal:
        choices = get_args(hint)
        if value not in choices:
            near = difflib.get_close_matches(str(value), [str(c) for c in choices], 1)
            hint_text = f" (did you mean {near[0]}?)" if near else ""
            expected = " or ".join(str(c) for c in choices)
            raise places.error(key, f"expected {expected}, got {_show(value)}{hint_text}")
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    in_reach = isinstance(value, float) or (is_number and abs(value) < _LARGEST)
    expectations = {
        bool: (isinstance(value, bool), "true or false"),
        int: (is_number and isinstance(value, int) and in_reach, "a whole number"),
        float: (is_number and in_reach, "a number"),
        str: (isinstance(value, str), "text"),
    }
    fits, expected = expectations.get(hint, (True, ""))
    if not fits:
        raise places.error(key, f"expected {expected}, got {_show(value)}")


def _numbers(config: Any, prefix: str, extra: ExtraBounds) -> Iterator[tuple[str, Bounds, float]]:
    """(key, bounds, value) of every number in the config; those without bounds must still be
    finite.
    """
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            yield from _numbers(value, f"{prefix}{f.name}.", extra)
        elif isinstance(value, tuple):
            for i, item in enumerate(value):
                if dataclasses.is_dataclass(item):
                    yield from _numbers(item, f"{prefix}{f.name}[{i}].", extra)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            cls = type(config).__name__
            bounds = f.metadata.get("bounds") or extra.get((cls, f.name)) or extra.get((cls, "*"))
            yield f"{prefix}{f.name}", bounds or Bounds(), value


# --------------------------------------------------------------------------------------
# Reading
# --------------------------------------------------------------------------------------
def _read_yaml(path: str, lines: dict[str, int]) -> Mapping[str, Any]:
    """The file's mapping; fills ``lines`` with the 1-based line of every key."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    from alpamayo.paths import find_config

    file = find_config(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"{path}: expected a readable YAML file ({_first_line(error)})"
        ) from None
    try:
        values = YAML(typ="safe", pure=True).load(text)
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise RequestError(f"{path}{line}: expected valid YAML: {error.problem}") from None
    except Exception as error:  # the library meets odd input with KeyError and worse
        raise RequestError(f"{path}: expected valid YAML: {_first_line(error)}") from None
    if values is None:
        return {}
    if not _mark_lines(node, "", lines):
        raise RequestError(
            f"{path}: expected at most {_MOST_KEYS} keys, {_DEEPEST} levels deep (aliases count)"
        )
    if not isinstance(values, Mapping):
        raise RequestError(f"{path}:1: expected settings (key: value), got {_show(values)}")
    return values


def _mark_lines(node: Any, prefix: str, lines: dict[str, int], depth: int = 0) -> bool:
    """False if there is too much, as where an alias holds itself or others hold many."""
    if depth > _DEEPEST or len(lines) > _MOST_KEYS:
        return False
    if getattr(node, "id", "") == "sequence":
        for i, item in enumerate(node.value):
            place = f"{prefix.rstrip('.')}[{i}]"
            lines[place] = item.start_mark.line + 1
            if not _mark_lines(item, f"{place}.", lines, depth + 1):
                return False
    if getattr(node, "id", "") != "mapping":
        return True
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        lines[key] = key_node.start_mark.line + 1
        if not _mark_lines(value_node, f"{key}.", lines, depth + 1):
            return False
    return True


def _split_word(word: str, cls: type) -> tuple[str, Any]:
    """``learner.lr=1e-4`` -> ("learner.lr", 0.0001); the text of a text setting is taken as it
    stands.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    key, equals, text = word.partition("=")
    if not equals or not key or not all(key.split(".")):
        raise RequestError(f"command line: {word}: expected key=value, such as learner.lr=1e-4")
    if _leaf_hint(cls, key) is str:
        return key, text
    try:
        return key, YAML(typ="safe", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError):
        raise RequestError(f"command line: {word}: expected a value in YAML notation") from None


def _leaf_hint(cls: type | None, key: str) -> Any:
    hint: Any = None
    for name in key.split("."):
        if cls is None:
            return None
        hint = typing.get_type_hints(cls).get(name)
        cls = _section(hint)[0]
    return hint


def _nest(key: str, value: Any) -> dict[str, Any]:
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def _unknown(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, 1, 0.5)
    return "unknown key" + (
        f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(names)}"
    )


def _show(value: Any) -> str:
    text = repr(value)
    return "nothing" if value is None else text if len(text) <= 60 else text[:57] + "..."


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
