"""Builds the small tokenizer that ships beside the ``tiny`` weights: byte-level BPE in 1024 rows.

Special tokens lie where the published vocabulary has them, so that prompts look the same at every
size. ``python -m policies.vlm.small_tokenizer OUT.json`` writes it; a test checks that the shipped
file is what this makes. The words it learns its few merges from are our own.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from policies.vlm.config import MASK_ID, RESERVED_FIRST_ID, RESERVED_LAST_ID
from policies.vlm.tokenizer import SPECIAL_IDS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCAB_SIZE = 1024
# Bytes take rows that would be reserved otherwise: the tiny network has no others.
BYTES_FIRST_ID = 700
TEXT = """\
You drive a car. You see its cameras, its past motion, its speed and where to go.
front camera, left camera, right camera, rear camera: images, oldest first.
Past motion, newest first: acceleration and curvature. Speed and limit in metres per second.
Keep to the road. Turn left at the next junction. Go straight on. Turn right at the next junction.
"""


def build() -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    names = _special_names()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: token for token, name in names.items()}
    vocabulary |= {symbol: BYTES_FIRST_ID + n for n, symbol in enumerate(alphabet)}
    merges = _merges(VOCAB_SIZE - RESERVED_LAST_ID - 1)
    vocabulary |= {a + b: RESERVED_LAST_ID + 1 + n for n, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(names[token], special=True, normalized=False) for token in sorted(names)]
    )
    return tokenizer


def _special_names() -> dict[int, str]:
    """Names of the ids below 1000 that are no bytes."""
    named = {token: name for name, token in SPECIAL_IDS.items()}
    named |= {0: "<unk>", 1: "<s>", 2: "</s>", MASK_ID: "<|mask|>"}
    for token in range(RESERVED_LAST_ID + 1):
        if not BYTES_FIRST_ID <= token < BYTES_FIRST_ID + 256:
            kind = "SPECIAL" if token >= RESERVED_FIRST_ID else "UNUSED"
            named.setdefault(token, f"<{kind}_{token}>")
    return named


def _merges(count: int) -> list[tuple[str, str]]:
    """The ``count`` most useful merges of TEXT by the rule of BPE; ties by the alphabet, so that
    every machine makes the same."""
    from tokenizers import pre_tokenizers

    split = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(TEXT)
    words = Counter(word for word, _ in split)
    parts = {word: list(word) for word in words}
    merges: list[tuple[str, str]] = []
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, times in words.items():
            for pair in zip(parts[word], parts[word][1:], strict=False):
                pairs[pair] += times
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        parts = {word: _merged(symbols, best) for word, symbols in parts.items()}
    return merges


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def main() -> None:
    Path(sys.argv[1]).write_text(build().to_str() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
