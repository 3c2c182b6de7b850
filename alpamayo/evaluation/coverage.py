"""Expected against evaluated: what was to be driven, and what became of it.

Nothing drops out. An episode that raised, or whose worker died, is a row with ``end = "failed"``
and its error; one that a report lacks altogether (written by something else, or cut) is put back as
such a row when the report is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alpamayo.judged import JudgedEpisode
from alpamayo.types import EpisodeResult

MISSING = "missing: the report says that it was to be driven, and holds no row of it"
Key = tuple[str, int]


@dataclass(frozen=True)
class Coverage:
    """Of ``expected`` episodes: ``ran`` to their end, ``failed`` to run, or ``missing`` from the
    report. ``errors``: (how many, error), most frequent first. ``episodes`` is their sum.
    """

    name: str
    expected: int
    ran: int
    failed: int
    missing: int
    errors: tuple[tuple[int, str], ...] = ()

    @property
    def complete(self) -> bool:
        return self.ran == self.expected

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "expected": self.expected, "ran": self.ran,
            "failed": self.failed, "missing": self.missing,
            "errors": [{"episodes": n, "error": text} for n, text in self.errors],
        }  # fmt: skip


def coverage(name: str, results: Sequence[EpisodeResult]) -> Coverage:
    """What became of ``results``, of which every expected episode is one (``complete_rows``)."""
    failed = [r for r in results if r.end == "failed"]
    missing = sum(r.error == MISSING for r in failed)
    errors = Counter(r.error for r in failed)
    return Coverage(
        name, len(results), len(results) - len(failed), len(failed) - missing, missing,
        tuple((n, text) for text, n in errors.most_common()),
    )  # fmt: skip


def complete_rows(
    results: Sequence[EpisodeResult],
    expected: Iterable[Key],
    families: Mapping[str, tuple[str, bool]],
) -> list[EpisodeResult]:
    """``results`` in the order of ``expected``, with a failed row for each that is not there;
    ``families``: scenario id -> (family, nominal), as far as known. Without ``expected``, as they
    are.
    """
    keys = list(expected)
    if not keys:
        return list(results)
    table = {(r.scenario_id, r.seed): r for r in results}
    return [table.get(key) or _missing(key, families) for key in keys]


def _missing(key: Key, families: Mapping[str, tuple[str, bool]]) -> JudgedEpisode:
    family, nominal = families.get(key[0], (key[0], False))
    return JudgedEpisode(
        scenario_id=key[0], family=family, nominal=nominal, seed=key[1], end="failed",
        at_fault=False, collision=False, off_road=False, red_light=False, progress_m=0.0,
        route_m=0.0, duration_s=0.0, mean_speed_mps=0.0, min_ttc_s=float("inf"),
        min_gap_m=float("inf"), comfort=0.0, wrong_way_s=0.0, total_reward=0.0, plan_ms=0.0,
        plan_deviation_m=0.0, parameters={}, error=MISSING, ttc_share=0.0, lane_share=0.0,
    )  # fmt: skip


def library_tags(scenario_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Tags of the scenarios that the library holds; others have none."""
    from scenarios.catalog import library_files
    from scenarios.load import load_document

    known = library_files()
    return {
        name: tuple(load_document(name).tags) for name in sorted(set(scenario_ids) & set(known))
    }
