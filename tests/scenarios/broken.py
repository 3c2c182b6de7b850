"""Scenario files broken on purpose: mutations of the library, each with the line of its mistake."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel

from scenarios.catalog import library_files
from scenarios.schema import ScenarioDocument

COUNT = 24  # of each kind of mutation


@dataclass(frozen=True)
class Broken:
    """``lines``: one of them must be named."""

    kind: str
    stem: str
    data: bytes
    lines: tuple[int, ...]


def _keys(model: type[BaseModel], seen: set[type]) -> Iterator[str]:
    if model not in seen:
        seen.add(model)
        for name, info in model.model_fields.items():
            yield name
            yield from _inner(info.annotation, seen)


def _inner(annotation: object, seen: set[type]) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _keys(annotation, seen)
    for inner in get_args(annotation):
        yield from _inner(inner, seen)


KEYS = set(_keys(ScenarioDocument, set()))
_NUMBER_KEYS = "speed_mps|lanes|ahead_m|length_m|s_m|time_s|probability|lateral_mps|accel_mps2"
_BOUNDED_KEYS = "speed_mps|lanes|length_m|probability|lateral_mps|accel_mps2|speed_limit_mps"
_VALUE = r"(?<![\w$]){keys}: ([^,{{}}\[\]\n#]+)"


class Texts:
    """Whole files of the library, in turn."""

    def __init__(self) -> None:
        paths = {stem: path.read_text("utf-8") for stem, path in library_files().items()}
        whole = [(stem, text) for stem, text in paths.items() if "\nextends:" not in text]
        random.Random(3).shuffle(whole)
        self._whole = whole

    def broken(
        self, kind: str, change: Callable[[str, random.Random], tuple[str, tuple[int, ...]] | None]
    ) -> Iterator[Broken]:
        """``COUNT`` files to which ``change`` could be made."""
        made = number = 0
        while made < COUNT:
            stem, text = self._whole[number % len(self._whole)]
            changed = change(text, random.Random(f"{kind} {number}"))
            number += 1
            if changed is not None:
                made += 1
                yield Broken(kind, stem, changed[0].encode(), changed[1])
            assert number < 40 * COUNT, kind


def _outside_parameters(text: str) -> list[tuple[int, str]]:
    """(index, line) of the lines that are neither comments nor in the block of parameters, nor
    prose."""
    lines, inside = [], False
    for i, line in enumerate(text.split("\n")):
        if line[:1].isalpha():
            inside = line.startswith(("parameters:", "constraints:", "description:"))
        if line.strip() and not inside and not line.lstrip().startswith("#"):
            lines.append((i, line.split(" #")[0]))
    return lines


def _with_line(text: str, i: int, line: str) -> str:
    lines = text.split("\n")
    lines[i] = line
    return "\n".join(lines)


def typo(text: str, rng: random.Random) -> tuple[str, tuple[int, ...]] | None:
    places = [
        (i, line, match)
        for i, line in _outside_parameters(text)
        for match in re.finditer(r"(?<![\w$])([a-z_0-9]+):(?=[ \n]|$)", line)
        if match[1] in KEYS and len(match[1]) > 2
    ]
    i, line, match = rng.choice(places)
    at = rng.randrange(1, len(match[1]))
    word = match[1][:at] + match[1][at + 1 :]
    if word in KEYS:
        return None
    return _with_line(text, i, line[: match.start(1)] + word + line[match.end(1) :]), (i + 1,)


def _value(keys: str, values: tuple[str, ...]) -> Callable:  # type: ignore[type-arg]
    pattern = re.compile(_VALUE.format(keys=f"(?:{keys})"))

    def change(text: str, rng: random.Random) -> tuple[str, tuple[int, ...]] | None:
        places = [
            (i, line, match)
            for i, line in _outside_parameters(text)
            for match in pattern.finditer(line)
        ]
        if not places:
            return None
        i, line, match = rng.choice(places)
        new = line[: match.start(1)] + rng.choice(values) + line[match.end(1) :]
        return _with_line(text, i, new), (i + 1,)

    return change


wrong_type = _value(_NUMBER_KEYS, ("[1]", "{a: 1}", "banana", "true", '"1 +"', '"$"', "2024-01-01"))
out_of_range = _value(_BOUNDED_KEYS, ("1e7", "-1.0e+7", ".nan", ".inf", '"1 / 0"'))
no_parameter = _value(_NUMBER_KEYS, ("$nobody", "2 * $nobody", "min($nobody, 1)"))


def duplicate(text: str, rng: random.Random) -> tuple[str, tuple[int, ...]] | None:
    line = rng.choice([x for _, x in _outside_parameters(text) if re.match(r"\w+: \S", x)])
    return f"{text.rstrip()}\n{line}\n", (text.rstrip().count("\n") + 2,)


def tab(text: str, rng: random.Random) -> tuple[str, tuple[int, ...]] | None:
    i, line = rng.choice([(i, x) for i, x in _outside_parameters(text) if re.match(r"  +\S", x)])
    return _with_line(text, i, "\t" + line.lstrip()), (i + 1,)


def unclosed(text: str, rng: random.Random) -> tuple[str, tuple[int, ...]] | None:
    ends = [(i, x) for i, x in _outside_parameters(text) if x.rstrip().endswith(("}", "]"))]
    if not ends:
        return None
    i, line = rng.choice(ends)
    following = text.count("\n") + 1 if i + 1 >= text.rstrip().count("\n") + 1 else i + 2
    return _with_line(text, i, line.rstrip()[:-1]), (i + 1, *range(i + 2, following + 3))


def nobody(text: str, rng: random.Random) -> tuple[str, tuple[int, ...]] | None:
    """Events and paths that name what is not there."""
    swaps = (
        (r"^  - actor: (\w+)", "nobody"), (r"(?<![\w$])path: ([a-z]\w+)", "nowhere"),
        (r"(?<![\w$])kind: ([a-z]\w+)", "zeppelin"), (r"(?<![\w$])behaviour: (\w+)", "asleep"),
        (r"^severity: (\w+)", "S7"), (r"^extends: (\w+)", "nothing"),
    )  # fmt: skip
    places = [
        (i, line, match, new)
        for i, line in _outside_parameters(text)
        for pattern, new in swaps
        for match in [re.search(pattern, line)]
        if match is not None
    ]
    i, line, match, new = rng.choice(places)
    return _with_line(text, i, line[: match.start(1)] + new + line[match.end(1) :]), (i + 1,)


def mutations() -> list[Broken]:
    """At least 200 files."""
    texts = Texts()
    made: list[Broken] = []
    for change in (typo, wrong_type, out_of_range, no_parameter, duplicate, tab, unclosed, nobody):
        kind = getattr(change, "__name__", "value")
        made += texts.broken(f"{kind}{len(made)}", change)
    return made + nasty()


def nasty() -> list[Broken]:
    """What is meant to hurt the reader."""
    head = "schema_version: 1\nid: nasty\n"
    bomb = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    wide = "a: {" + ", ".join(f"k{i}: 1" for i in range(30_000)) + "}\n"
    texts: list[tuple[str, str | bytes, int]] = [
        ("bomb", f"{head}a0: &a0 [x, x]\n{bomb}", 7),
        ("merge bomb", f"{head}a: &a {{x: 1}}\nb: &b {{<<: [*a, *a]}}\nc: {{<<: [*b, *b]}}\n", 4),
        ("cycle", f"{head}a: &x [*x]\n", 3),
        ("cycle of keys", f"{head}a: &x {{b: &y {{c: *x, d: *y}}}}\n", 3),
        ("no anchor", f"{head}a: *nothing\n", 3),
        ("deep list", f"{head}a: {'[' * 500}{']' * 500}\n", 3),
        ("very deep", f"{head}a: {'[' * 100_000}\n", 3),
        ("very deep map", f"{head}a: {'{a: ' * 50_000}\n", 3),
        ("deep block", head + "".join(" " * i + "a:\n" for i in range(400)), 3),
        ("wide", head + wide, 3),
        ("huge", head + "# " + "x" * 3_000_000 + "\n", 1),
        ("huge word", f"{head}description: {'x' * 900_000}\n", 3),
        ("huge number", f"{head}duration_s: {'9' * 100_000}\n", 3),
        ("huge exponent", f"{head}duration_s: 1e999999\n", 3),
        ("long expression", f"{head}duration_s: {'1 + ' * 5000}1\n", 3),
        ("nested expression", f"{head}duration_s: {'(' * 250}1{')' * 250}\n", 3),
        ("power", f"{head}duration_s: 9 ** 9 ** 9\n", 3),
        ("import", f"{head}duration_s: __import__('os').system('true')\n", 3),
        ("tag", f"{head}a: !!python/object/apply:os.system [true]\n", 3),
        ("odd tag", f"{head}a: !anything 3\n", 3),
        ("latin 1", head.encode() + b"# \xe9t\xe9\n", 3),
        ("utf 16", head.encode("utf-16"), 1),
        ("nul", head.encode() + b"a: \x00\n", 3),
        ("escape", head.encode() + b"a: \x1b[31m\n", 3),
        ("binary", bytes(range(256)) * 64, 2),
        ("two documents", f"{head}---\nid: other\n", 3),
        ("odd key", f"{head}? [a, b]\n: 1\n", 3),
        ("a list", "- a\n- b\n", 1),
        ("empty", "", 1),
        ("unclosed text", f'{head}description: "never ends\nfamily: x\n', 3),
        ("self", f"{head}extends: nasty\n", 3),
        ("secrets", f"{head}extends: /etc/passwd\n", 3),
        ("null", f"{head}actors: [null]\nroad: null\n", 3),
        ("many actors", head + "actors: [" + ", ".join(["{id: a}"] * 500) + "]\n", 3),
    ]  # fmt: skip
    return [
        Broken(kind, "nasty", text if isinstance(text, bytes) else text.encode(), (line,))
        for kind, text, line in texts
    ]
