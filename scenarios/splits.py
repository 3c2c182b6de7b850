"""What training never sees: held-out seeds (parameter draws) and held-out families.

Every split has seeds of its own and families that it may hold. A training suite that names a
held-out family or a seed of another split does not load; a selector of a training suite leaves the
held-out families out.
"""

from __future__ import annotations

from typing import Literal, get_args

Split = Literal["train", "heldout", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

HELD_OUT_FROM = 1_000_000

# heldout: figures while developing. validation: choosing checkpoints and settings. test: the final
# figure only.
SEEDS: dict[Split, range] = {
    "train": range(0, HELD_OUT_FROM),
    "heldout": range(HELD_OUT_FROM, 3_000_000),
    "validation": range(3_000_000, 4_000_000),
    "test": range(4_000_000, 5_000_000),
}

# Families that no training suite may hold, and the first split that may.
HELD_OUT_FAMILIES: dict[str, Literal["validation", "test"]] = {
    "parking_pull_out": "validation",
    "s_curve": "validation",
    "animal_crossing": "test",
    "door_opening": "test",
    "accident_site": "test",
    "cyclist_crossing": "test",
    "evasive_neighbour": "test",
    "roundabout": "test",
}


def holds(split: Split, family: str) -> bool:
    """Whether suites of ``split`` may hold ``family``. A family of validation is not for training;
    one of test is for test alone, so that no choice is made on it.
    """
    home = HELD_OUT_FAMILIES.get(family)
    return home is None or split == "test" or (home == "validation" and split != "train")


def split_of_seed(seed: int) -> Split | None:
    """The split a seed belongs to."""
    return next((split for split, seeds in SEEDS.items() if seed in seeds), None)
