"""How plans are decoded: settings, and commit schedules that depend on nothing but the position.

Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from alpamayo.types import RequestError
from policies.vlm.config import KINDS

Select = Literal["sample", "greedy", "expected"]
MODES = ("executed_first", "sequential", "threshold", "ar", "self_speculation")
CAUSAL_MODES = ("ar", "self_speculation")  # tokens follow the AR law, each given those before it
SELECTS = ("sample", "greedy", "expected")
FROZEN = -1  # commit round of a token that was given, not decoded


@dataclass(frozen=True)
class DecodeConfig:
    """How plans are decoded.

    ``mode``: ``executed_first`` (the step that will be driven in round 1, the rest in ``rounds -
    1`` more; 1 = all at once), ``sequential`` (a token per round), ``threshold`` (confidence, as
    published; all that is left in round ``max_rounds``, 0 = as many as it takes), ``ar``, or
    ``self_speculation`` (drafts of ``block_size`` tokens, the law of ``ar``). ``select``:
    ``sample`` at ``temperature``, ``greedy``, or ``expected`` (the plan is the mean of the bins;
    the trace holds the nearest bins).

    ``frozen_s``: the planner's latency; the whole steps that the last plan drives during it are
    given, and the plan starts behind them (real-time chunking; 0: the plan starts when it is
    ready). ``think_every``: before every so many decisions the network writes up to
    ``think_tokens`` of text first (0: never); for prompts in words.
    """

    mode: str = "executed_first"
    rounds: int = 2
    temperature: float = 1.0
    select: str = "sample"
    threshold: float = 0.9
    dtype: str = "float32"
    block_size: int = 32
    max_rounds: int = 0
    frozen_s: float = 0.0
    think_every: int = 0
    think_tokens: int = 32

    def __post_init__(self) -> None:
        for key, allowed in (
            ("mode", MODES),
            ("select", SELECTS),
            ("dtype", ("float32", "bfloat16")),
        ):
            if getattr(self, key) not in allowed:
                raise RequestError(
                    f"decode.{key}: expected {', '.join(allowed)}, got {getattr(self, key)!r}"
                )
        for key, least in (
            ("rounds", 1),
            ("block_size", 1),
            ("max_rounds", 0),
            ("think_every", 0),
            ("think_tokens", 1),
        ):
            if getattr(self, key) < least:
                raise RequestError(
                    f"decode.{key}: expected at least {least}, got {getattr(self, key)}"
                )
        if not self.temperature >= 0.0:
            raise RequestError(f"decode.temperature: expected 0 or more, got {self.temperature}")
        if not 0.0 <= self.frozen_s < math.inf:
            raise RequestError(f"decode.frozen_s: expected 0 or more, got {self.frozen_s}")
        if not 0.0 < self.threshold <= 1.0:
            raise RequestError(f"decode.threshold: expected 0..1, got {self.threshold}")

    def frozen_steps(self, step_s: float) -> int:
        """Whole steps that pass while the planner computes."""
        return int(self.frozen_s / step_s + 1e-6)

    def reserve(self, length: int) -> int:
        """Cache slots behind the prefix that decoding ``length`` tokens needs."""
        return length + (self.block_size if self.mode == "self_speculation" else 0)


@dataclass(frozen=True)
class CommitSchedule:
    """``commit_round`` [L]: the round in which each position is committed; 0, 1, ... without gaps;
    ``FROZEN`` for a token that is given.

    It depends on nothing but the position, so a trace's likelihood has no term for the order.
    """

    commit_round: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(set(self.commit_round) - {FROZEN}) != list(range(self.rounds)):
            raise ValueError(f"rounds must be 0, 1, ... without gaps: {self.commit_round}")

    @property
    def rounds(self) -> int:
        return max(self.commit_round) + 1

    def group(self, round_index: int) -> list[int]:
        """Positions committed in that round."""
        return [i for i, r in enumerate(self.commit_round) if r == round_index]

    @staticmethod
    def executed_first(
        length: int, rounds: int, executed: int = KINDS, frozen: int = 0
    ) -> CommitSchedule:
        """Round 0: the ``executed`` first tokens after ``frozen`` given ones. The others, step by
        step, spread evenly over the rounds after it."""
        free = length - frozen
        if rounds == 1 or free <= executed:
            return CommitSchedule((FROZEN,) * frozen + (0,) * free)
        steps = -(-(free - executed) // KINDS)
        later = min(rounds - 1, steps)
        order = [1 + (i // KINDS) * later // steps for i in range(free - executed)]
        return CommitSchedule((FROZEN,) * frozen + (0,) * executed + tuple(order))

    @staticmethod
    def sequential(length: int, frozen: int = 0) -> CommitSchedule:
        return CommitSchedule((FROZEN,) * frozen + tuple(range(length - frozen)))

    @staticmethod
    @lru_cache(maxsize=256)
    def of(config: DecodeConfig, length: int, frozen: int = 0) -> CommitSchedule | None:
        """The fixed schedule of ``config``; None for modes whose order depends on the model
        (threshold, self_speculation)."""
        if config.mode == "executed_first":
            return CommitSchedule.executed_first(length, config.rounds, frozen=frozen)
        if config.mode in ("sequential", "ar"):
            return CommitSchedule.sequential(length, frozen)
        return None
