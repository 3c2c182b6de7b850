"""Stress search: which parameters of a scenario make a policy fail, and how often they come.

Rounds of episodes, each drawn from a proposal that the cross-entropy method has moved towards the
worst episodes so far (``alpamayo.authoring.proposal``). Every episode keeps its importance weight,
and a round's proposal depends on earlier rounds only, so the weighted share of failures estimates
the failure rate under the scenario's own distributions, with an interval that holds its level
(``alpamayo.authoring.rate``). Sampling with a general-purpose optimiser (CMA-ES, Bayesian) would
find failures too, but has no such estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alpamayo.authoring.proposal import Proposal
from alpamayo.authoring.rate import Round, failure_rate
from alpamayo.authoring.space import Dimension, dimensions, values_at
from alpamayo.metrics import is_failure
from alpamayo.stats import Interval
from alpamayo.types import EpisodeResult, FloatArray, RequestError, Scenario
from scenarios.parameters import unmet_constraints
from scenarios.pins import Pins, pinned
from scenarios.schema import ScenarioDocument
from scenarios.splits import SEEDS, Split

BINS = 6
_ELITE = 0.2  # share of all episodes so far that draws the proposal

_MOST_TRIES = 200  # draws per wanted episode until the constraints count as out of reach

Drive = Callable[[Sequence[Scenario]], Sequence[EpisodeResult]]


@dataclass(frozen=True)
class Case:
    """One episode of the search. ``pins``: the drawn parameters; ``weight``: its own density over
    the proposal's."""

    scenario: Scenario
    pins: Pins
    result: EpisodeResult
    point: FloatArray
    weight: float

    @property
    def failed(self) -> bool:
        """The policy's failure; an episode that could not be run is another matter."""
        return is_failure(self.result) and self.result.end != "failed"


@dataclass(frozen=True)
class SearchResult:
    """``rate``: failures under the scenario's own distributions, with its 95 % interval; ``plain``:
    of the first, uniform round alone."""

    cases: tuple[Case, ...]
    rounds: tuple[Round, ...]
    rate: Interval
    plain: Interval
    dimensions: tuple[Dimension, ...]
    proposal: Proposal

    @property
    def failures(self) -> int:
        return sum(case.failed for case in self.cases)

    @property
    def failed_in_rounds(self) -> list[int]:
        ends = np.cumsum([len(r.hits) for r in self.rounds]).tolist()
        spans = zip([0, *ends], ends, strict=False)
        return [sum(case.failed for case in self.cases[a:b]) for a, b in spans]

    @property
    def broken(self) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.result.end == "failed")


def search(
    document: ScenarioDocument,
    drive: Drive,
    *,
    episodes: int = 480,
    rounds: int = 6,
    split: Split = "heldout",
    seed: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> SearchResult:
    """``drive`` gets a round's scenarios and gives their results in the same order.

    Scenario seeds are the last ones of ``split``, so that they meet those of no suite that ships.
    """
    space = dimensions(document, BINS)
    if not space:
        raise RequestError(f"{document.id}: no parameter is drawn: there is nothing to search")
    if not 1 <= rounds <= episodes:
        raise RequestError(f"expected at least one episode per round, got {episodes} in {rounds}")
    sampler = _Sampler(document, space, split, np.random.default_rng(seed))
    proposal = Proposal.uniform(tuple(d.edges for d in space))
    cases: list[Case] = []
    told: list[Round] = []
    for number in range(rounds):
        count = episodes * (number + 1) // rounds - episodes * number // rounds
        drawn = sampler.draw(proposal, count)
        results = drive([scenario for _, _, scenario, _ in drawn])
        fresh = [
            Case(scenario, pins, result, point, weight)
            for (point, pins, scenario, weight), result in zip(drawn, results, strict=True)
        ]
        told.append(_round(proposal, cases, fresh))
        cases += fresh
        progress(len(cases))
        proposal = _next(proposal, cases)
    return SearchResult(
        tuple(cases), tuple(told), failure_rate(told), failure_rate(told[:1]), space, proposal
    )


class _Sampler:
    """Turns points of the cube into scenarios with seeds of their own."""

    def __init__(
        self,
        document: ScenarioDocument,
        space: tuple[Dimension, ...],
        split: Split,
        rng: np.random.Generator,
    ) -> None:
        self.document, self.space, self.rng = document, space, rng
        self._next_seed = SEEDS[split].stop - 1 - int(rng.integers(100_000)) * 2

    def draw(
        self, proposal: Proposal, count: int
    ) -> list[tuple[FloatArray, Pins, Scenario, float]]:
        """(point, drawn parameters, scenario, importance weight)."""
        from scenarios.sample import sample

        out: list[tuple[FloatArray, Pins, Scenario, float]] = []
        tried = 0
        while len(out) < count:
            if tried >= _MOST_TRIES * count:
                raise RequestError(
                    f"{self.document.id}: {tried} draws met the constraints only {len(out)} times: "
                    "expected parameters that meet them more often"
                )
            (point,) = proposal.draw(1, self.rng)
            tried += 1
            pins = self._pins(point)
            if pins is None:
                continue
            scenario = sample(pinned(self.document, pins), self._next_seed)
            self._next_seed -= 1
            out.append((point, pins, scenario, float(1.0 / proposal.density(point[None])[0])))
        return out

    def _pins(self, point: FloatArray) -> Pins | None:
        """The drawn parameters at ``point``; None where they break a constraint."""
        names = [d.name for d in self.space]
        values = values_at(self.document, dict(zip(names, point.tolist(), strict=True)))
        if unmet_constraints(self.document, values):
            return None
        return {name: values[name] for name in names}


def danger(result: EpisodeResult) -> float:
    """How near to a failure an episode came, 0 to 1; 2 for a failure. Time to collision and gap
    decide, the nearer the worse."""
    if result.end == "failed":
        return 0.0
    if is_failure(result):
        return 2.0
    return max(1.0 / (1.0 + max(result.min_ttc_s, 0.0)), 1.0 / (1.0 + max(result.min_gap_m, 0.0)))


def _next(proposal: Proposal, cases: Sequence[Case]) -> Proposal:
    """Failures are the elite; where they are few, the nearest misses fill it up."""
    scores = np.array([danger(case.result) for case in cases])
    most = max(2, math.ceil(_ELITE * len(cases)))
    failed = np.flatnonzero(scores >= 2.0)
    elite = failed if len(failed) >= most else np.argsort(-scores, kind="stable")[:most]
    points = np.stack([cases[i].point for i in elite])
    return proposal.towards(points, np.array([cases[i].weight for i in elite]))


def _round(proposal: Proposal, past: Sequence[Case], fresh: Sequence[Case]) -> Round:
    """What the ``fresh`` episodes of a round say, and what the ``past`` ones let expect of it.

    Episodes that could not be run count as failures, so that nothing hides.
    """
    weights = np.array([case.weight for case in fresh])
    hits = np.array([is_failure(case.result) for case in fresh])
    most = 1.0 / proposal.defensive
    if not past:
        return Round(weights, hits, most)
    own = np.array([case.weight for case in past])
    hit = np.array([is_failure(case.result) for case in past])
    squares = own / own.mean() / proposal.density(np.stack([case.point for case in past]))
    of_hits, of_misses = float(np.mean(squares * hit)), float(np.mean(squares * ~hit))
    return Round(weights, hits, most, len(past), of_hits, of_misses)


def worst(result: SearchResult, count: int) -> list[Case]:
    """``count`` failures far apart from each other in the cube, the most probable one first, so
    that a suite of them holds every way to fail; the nearest misses if nothing failed."""
    failed = [case for case in result.cases if case.failed]
    if not failed:
        others = [case for case in result.cases if case.result.end != "failed"]
        return sorted(others, key=lambda case: -danger(case.result))[:count]
    chosen = [max(failed, key=lambda case: case.weight)]
    gaps = np.array([_apart(case, chosen[0]) for case in failed])
    while len(chosen) < min(count, len(failed)):
        far = int(np.argmax(gaps))
        chosen.append(failed[far])
        gaps = np.minimum(gaps, [_apart(case, failed[far]) for case in failed])
    return chosen


def _apart(a: Case, b: Case) -> float:
    return float(np.linalg.norm(a.point - b.point))
