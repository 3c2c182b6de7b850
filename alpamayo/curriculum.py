"""Which scenarios the next rollouts start: in a suite's own shares, or by what can be learned.

``potential`` keeps, per scenario, a fading count of episodes and failures, and draws a scenario the
more often, the more it may teach: p (1 - p), largest where half the episodes fail (Florensa et al.
2018, "Automatic goal generation", and Tzannetos et al. 2023, "Proximal curriculum", choose tasks of
middling success for the same reason), something for every failure, and something for what has not
been seen lately. No scenario falls below a floor, and nominal twins together not below theirs, so
that the policy is not taught to dodge what is no danger.

What is drawn more often must not count more in a failure rate: ``weighted_failure_rate`` corrects
one iteration's episodes by importance, ``stratified_failure_rate`` reads the whole memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from alpamayo.config import CurriculumConfig
from alpamayo.metrics import is_failure
from alpamayo.types import EpisodeResult

Shares = Mapping[str, float]
# Before any episode, a scenario's failure rate is uniform on [0, 1]: one success, one failure.
PRIOR = 1.0


@dataclass(frozen=True)
class Memory:
    """Fading counts of one scenario."""

    episodes: float = 0.0
    failures: float = 0.0

    @property
    def failure_rate(self) -> float:
        """Mean of the Beta posterior."""
        return (self.failures + PRIOR) / (self.episodes + 2 * PRIOR)

    @property
    def doubt(self) -> float:
        """Standard deviation of the Beta posterior: large for what is new or long not seen."""
        p = self.failure_rate
        return float(np.sqrt(p * (1 - p) / (self.episodes + 2 * PRIOR + 1)))

    def faded(self, keep: float) -> Memory:
        return Memory(self.episodes * keep, self.failures * keep)

    def seen(self, failed: bool) -> Memory:
        return Memory(self.episodes + 1, self.failures + failed)


class Curriculum(Protocol):
    """Shares of the next draws, a function of the episodes seen so far."""

    @property
    def shares(self) -> Shares: ...

    def observe(self, episodes: Iterable[EpisodeResult]) -> dict[str, float]:
        """Learn from the episodes of one iteration; metrics."""
        ...

    def state(self) -> dict[str, list[float]]:
        """All that ``load_state`` needs; JSON."""
        ...

    def load_state(self, state: Mapping[str, list[float]]) -> None: ...


class PotentialCurriculum:
    """``base`` are the suite's shares by scenario id, ``nominal`` the ids of nominal twins."""

    def __init__(self, base: Shares, nominal: frozenset[str], config: CurriculumConfig) -> None:
        self.base, self.nominal, self.config = dict(base), nominal, config
        self.memory = {name: Memory() for name in self.base}

    @property
    def shares(self) -> Shares:
        potential = {name: self.potential(name) for name in self.base}
        config = self.config
        return mix(self.base, potential, self.nominal, config.floor, config.nominal_share)

    def potential(self, name: str) -> float:
        memory, config = self.memory[name], self.config
        p = memory.failure_rate
        return p * (1 - p) + config.failure_weight * p + config.novelty_weight * memory.doubt

    def observe(self, episodes: Iterable[EpisodeResult]) -> dict[str, float]:
        driven = [e for e in episodes if e.end != "failed"]
        shares = self.shares
        metrics = {"failure_rate_weighted": weighted_failure_rate(driven, self.base, shares)}
        keep = 0.5 ** (1.0 / self.config.half_life)
        self.memory = {name: m.faded(keep) for name, m in self.memory.items()}
        for episode in driven:
            name = episode.scenario_id
            self.memory[name] = self.memory[name].seen(is_failure(episode))
        metrics["failure_rate_stratified"] = stratified_failure_rate(self.memory, self.base)
        following = self.shares
        metrics["nominal_share"] = sum(following[name] for name in self.nominal)
        metrics["entropy"] = -sum(s * float(np.log(s)) for s in following.values() if s > 0)
        metrics |= {f"share_{name}": share for name, share in following.items()}
        rates = {name: m.failure_rate for name, m in self.memory.items()}
        return metrics | {f"failures_{name}": rate for name, rate in rates.items()}

    def state(self) -> dict[str, list[float]]:
        return {name: [m.episodes, m.failures] for name, m in self.memory.items()}

    def load_state(self, state: Mapping[str, list[float]]) -> None:
        unseen = [0.0, 0.0]
        self.memory = {name: Memory(*state.get(name, unseen)) for name in self.base}


class UniformCurriculum:
    """The suite's own shares, always."""

    def __init__(self, base: Shares) -> None:
        self.shares: Shares = dict(base)

    def observe(self, episodes: Iterable[EpisodeResult]) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, list[float]]:
        return {}

    def load_state(self, state: Mapping[str, list[float]]) -> None:
        pass


def make_curriculum(base: Shares, nominal: frozenset[str], config: CurriculumConfig) -> Curriculum:
    if config.kind == "uniform":
        return UniformCurriculum(base)
    return PotentialCurriculum(base, nominal, config)


def mix(
    base: Shares,
    potential: Shares,
    nominal: frozenset[str],
    floor: float,
    nominal_share: float,
) -> Shares:
    """``floor`` of ``base`` plus the rest by ``base`` times ``potential``; sums to 1.

    ``nominal`` scenarios keep at least ``nominal_share`` times their share of ``base``, together:
    where they have less, the part above the floor is moved to them.
    """
    names = list(base)
    of_base = np.array([base[n] for n in names])
    of_base /= of_base.sum()
    wanted = of_base * np.array([potential[n] for n in names])
    wanted = wanted / wanted.sum() if wanted.sum() > 0 else of_base
    twins = np.array([n in nominal for n in names])
    least = nominal_share * float(of_base[twins].sum())
    free = (least - floor * float(of_base[twins].sum())) / max(1.0 - floor, 1e-12)
    have = float(wanted[twins].sum())
    if twins.any() and not twins.all() and have < free:
        parts = [(twins, free), (~twins, 1.0 - free)]
        for members, total in parts:
            inside = wanted[members] if wanted[members].sum() > 0 else of_base[members]
            wanted[members] = total * inside / inside.sum()
    mixed = floor * of_base + (1.0 - floor) * wanted
    return dict(zip(names, (mixed / mixed.sum()).tolist(), strict=True))


def weighted_failure_rate(
    episodes: Iterable[EpisodeResult], target: Shares, drawn: Shares
) -> float:
    """Failure rate under ``target`` shares from episodes drawn with ``drawn`` shares:
    self-normalised importance sampling (Owen 2013, "Monte Carlo theory", eq. 9.3); NaN of none.
    """
    weights, failed = [], []
    for episode in episodes:
        weights.append(target[episode.scenario_id] / drawn[episode.scenario_id])
        failed.append(is_failure(episode))
    return float(np.dot(weights, failed) / np.sum(weights)) if weights else float("nan")


def stratified_failure_rate(memory: Mapping[str, Memory], target: Shares) -> float:
    """Sum of the scenarios' remembered failure rates, without the prior, in ``target`` shares; over
    the scenarios seen so far, NaN if none was.
    """
    seen = {name: m for name, m in memory.items() if m.episodes > 0}
    total = sum(target[name] for name in seen)
    if not total:
        return float("nan")
    rates = ((target[n] / total) * m.failures / m.episodes for n, m in seen.items())
    return float(sum(rates))
