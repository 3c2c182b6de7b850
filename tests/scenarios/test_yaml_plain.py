"""The fast way through YAML: it reads what is beyond doubt, and then exactly as the careful way."""

from __future__ import annotations

import random

import numpy as np
import pytest

from alpamayo import streams
from scenarios.catalog import SUITES, library_files
from scenarios.yaml_plain import plain_tree
from scenarios.yaml_tree import careful_tree

FILES = [*library_files().values(), *sorted(SUITES.glob("*.yaml"))]
_SIGNS = list("abt01.-+:,{}[]#\"'\n $*&!|>?%@`~=<_\\/() é\t")
_PIECES = [
    ": ", " #", "- ", "\n  ", "\n- ", "0x1", "1_0", "1e5", "null", "true", "yes", "<<: ", ".5",
    "-1", "---\n", "...\n", "? ", "''", '""', "\n\n", "2020-01-01", "0o7", "{a: b}", "|\n  x",
    "&a ", "*a", "!!str ", ".inf",
]  # fmt: skip


def mutated(text: str, dice: random.Random) -> str:
    """A piece of ``text`` with one to three changes."""
    lines = text.split("\n")
    first = dice.randrange(len(lines))
    text = "\n".join(lines[first : first + dice.randrange(3, 25)])
    for _ in range(dice.randrange(1, 4)):
        at, cut = dice.randrange(len(text) + 1), dice.choice((0, 0, 1, 3))
        new = dice.choice(("", dice.choice(_SIGNS), dice.choice(_PIECES)))
        text = text[:at] + new + text[at + cut :]
    return text


def test_the_library_is_read_fast_with_the_same_values_and_places() -> None:
    for path in FILES:
        text = path.read_text("utf-8")
        assert plain_tree(text, path.name) == careful_tree(text, path.name), path.name


def test_whatever_is_read_fast_the_careful_way_reads_alike_without_a_problem() -> None:
    dice, fast = random.Random(5), 0
    texts = [path.read_text("utf-8") for path in FILES]
    for _ in range(1000):
        text = mutated(dice.choice(texts), dice)
        tree = plain_tree(text, "x")
        if tree is not None:
            fast += 1
            careful = careful_tree(text, "x")
            assert careful.problems == [], text
            assert repr(tree.value) == repr(careful.value), text
            assert tree.marks == careful.marks, text
    assert fast > 150, "it does read some of them"


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2", "a: &x 1\nb: *x", "a: !!str 1", "<<: {a: 1}", "? [1]\n: 2", "a: 0x10",
        "a: 1_000", "a: 017", "a: 2020-01-01", "a: 1e3", "a: .inf", "---\na: 1", "a: =",
        "a:\t1", "a: [1", "", "a: " + "[" * 40 + "]" * 40, "a: 99999999999999999999",
    ],
)  # fmt: skip
def test_what_is_in_doubt_is_left_to_the_careful_way(text: str) -> None:
    assert plain_tree(text, "x") is None


def test_one_number_of_a_stream_is_the_same_without_arrays() -> None:
    dice = random.Random(1)
    for _ in range(300):
        seed, stream = dice.randrange(-(2**63), 2**63), dice.randrange(1, 9)
        counter = dice.randrange(2**63)
        array = streams.uniform(streams.keys(np.int64(seed), stream, np.int64(counter)), 1)
        assert streams.one_uniform(seed, stream, counter) == array[0]
