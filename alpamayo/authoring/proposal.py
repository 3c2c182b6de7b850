"""Where the stress search looks: a density over the unit cube that moves towards failures.

A product of histograms, one per dimension, mixed with the uniform density (share
``DEFENSIVE``): an importance weight is then at most 1 / ``DEFENSIVE`` and no failure anywhere is
out of reach. The update is the cross-entropy method (Rubinstein 1999): the histogram nearest to the
weighted elite in Kullback-Leibler divergence has the elite's weighted frequencies as its heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alpamayo.types import FloatArray

# With a larger share the interval of the failure rate is narrower, and fewer failures are found.
DEFENSIVE = 1.0 / 3.0
_SMOOTHING = 0.7  # share of the new heights; the rest stays from the round before
_PRIOR = (
    10.0  # pseudo-count in elites, spread over the cells: few elites must not narrow it by chance
)


@dataclass(frozen=True)
class Proposal:
    """``edges[d]`` [K_d + 1] and ``masses[d]`` [K_d] (sum 1) of each dimension's histogram."""

    edges: tuple[FloatArray, ...]
    masses: tuple[FloatArray, ...]
    defensive: float = DEFENSIVE

    @classmethod
    def uniform(cls, edges: tuple[FloatArray, ...]) -> Proposal:
        return cls(edges, tuple(np.diff(e) for e in edges), 1.0)

    def draw(self, count: int, rng: np.random.Generator) -> FloatArray:
        """[count, D] points of the open cube."""
        points = rng.random((count, len(self.edges)))
        plain = rng.random(count) < self.defensive
        for d, (edges, mass) in enumerate(zip(self.edges, self.masses, strict=True)):
            cell = rng.choice(len(mass), size=count, p=mass)
            inside = edges[cell] + points[:, d] * np.diff(edges)[cell]
            points[:, d] = np.where(plain, points[:, d], inside)
        return np.clip(points, 1e-12, 1.0 - 1e-12)

    def density(self, points: FloatArray) -> FloatArray:
        """[N] relative to the uniform density."""
        product = np.ones(len(points))
        for d, (edges, mass) in enumerate(zip(self.edges, self.masses, strict=True)):
            cell = self._cells(d, points[:, d])
            product *= (mass / np.diff(edges))[cell]
        return self.defensive + (1.0 - self.defensive) * product

    def towards(self, points: FloatArray, weights: FloatArray) -> Proposal:
        """The next density, from elites ``points`` [n, D] with importance ``weights`` [n]."""
        masses = []
        share = weights / weights.sum() * len(points)
        for d, (edges, mass) in enumerate(zip(self.edges, self.masses, strict=True)):
            counts = np.bincount(self._cells(d, points[:, d]), weights=share, minlength=len(mass))
            counts = counts + _PRIOR * np.diff(edges)
            fresh = counts / counts.sum()
            masses.append(_SMOOTHING * fresh + (1.0 - _SMOOTHING) * mass)
        return Proposal(self.edges, tuple(masses))

    def _cells(self, d: int, values: FloatArray) -> np.ndarray:
        found = np.searchsorted(self.edges[d], values, side="right") - 1
        return np.clip(found, 0, len(self.masses[d]) - 1)
