"""Text as tokens, by the ``tokenizer.json`` that comes with a checkpoint.

The rows of the vocabulary are fixed by the weights: a tokenizer that names them otherwise is
refused here, before it can turn a prompt into nonsense. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alpamayo.types import RequestError
from policies.vlm.config import (
    IM_END_ID,
    IM_START_ID,
    IMAGE_BREAK_ID,
    IMAGE_END_ID,
    IMAGE_PAD_ID,
    IMAGE_START_ID,
    MASK_ID,
    ActionConfig,
    VLMConfig,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_NAME = "tokenizer.json"
SPECIAL_IDS: Mapping[str, int] = {
    "<|im_start|>": IM_START_ID,
    "<|im_end|>": IM_END_ID,
    "<|image_start|>": IMAGE_START_ID,
    "<|image_pad|>": IMAGE_PAD_ID,
    "<|image_break|>": IMAGE_BREAK_ID,
    "<|image_end|>": IMAGE_END_ID,
}
_RESERVED = re.compile(r"<SPECIAL_\d+>")


class TextTokenizer:
    """Text <-> ids. ``place`` names the file in messages; ``reserved`` are the ids of untrained
    ``<SPECIAL_n>`` rows, ascending."""

    def __init__(self, tokenizer: Tokenizer, place: str = TOKENIZER_NAME) -> None:
        self._tokenizer, self.place = tokenizer, place
        vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.size = max(vocabulary.values(), default=-1) + 1
        for name, wanted in SPECIAL_IDS.items():
            if vocabulary.get(name) != wanted:
                found = vocabulary.get(name, "no such token")
                raise RequestError(
                    f"{place}: {name}: expected id {wanted}, found {found}: not the vocabulary "
                    "of this network"
                )
        named = {i for name, i in vocabulary.items() if _RESERVED.fullmatch(name)}
        self.reserved = tuple(sorted(named - {MASK_ID}))

    @staticmethod
    def load(directory: str | Path, vocab_size: int) -> TextTokenizer:
        """The tokenizer in ``directory``, for a network with ``vocab_size`` rows."""
        from tokenizers import Tokenizer

        path = Path(directory) / TOKENIZER_NAME
        if not path.is_file():
            raise RequestError(
                f"{path}: not found: expected the tokenizer that came with the weights"
            )
        try:
            loaded = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise RequestError(f"{path}: expected a tokenizer: {_one_line(error)}") from None
        tokenizer = TextTokenizer(loaded, str(path))
        if tokenizer.size > vocab_size:
            raise RequestError(
                f"{path}: ids up to {tokenizer.size - 1}: expected at most {vocab_size - 1}, as "
                "the weights have rows for"
            )
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Ids of plain text: words that look like special tokens are text, too."""
        self._tokenizer.encode_special_tokens = True
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_marked(self, text: str) -> list[int]:
        """Ids of our own text, in which special tokens mean what they say."""
        self._tokenizer.encode_special_tokens = False
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def to_json(self) -> str:
        return self._tokenizer.to_str()


def place_actions(action: ActionConfig, tokenizer: TextTokenizer) -> ActionConfig:
    """``action`` with its bins on reserved ids of ``tokenizer``: where they are if these are
    reserved, else in the first gaps that hold them."""
    spans = (
        (action.accel_first_id, action.accel_bins),
        (action.curvature_first_id, action.curvature_bins),
    )
    free = set(tokenizer.reserved)
    if all(set(range(first, first + count)) <= free for first, count in spans):
        return action
    accel = _first_run(free, action.accel_bins, tokenizer.place)
    free -= set(range(accel, accel + action.accel_bins))
    curvature = _first_run(free, action.curvature_bins, tokenizer.place)
    return replace(action, accel_first_id=accel, curvature_first_id=curvature)


def with_tokenizer(config: VLMConfig, tokenizer: TextTokenizer) -> VLMConfig:
    return replace(config, action=place_actions(config.action, tokenizer))


def _first_run(free: set[int], count: int, place: str) -> int:
    """First id of ``count`` consecutive ``free`` ones."""
    longest = run = 0
    for token in range(max(free, default=-1) + 1):
        run = run + 1 if token in free else 0
        longest = max(longest, run)
        if run == count:
            return token - count + 1
    raise RequestError(
        f"{place}: expected {count} reserved tokens <SPECIAL_n> in a row for action bins, found "
        f"{longest}"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
