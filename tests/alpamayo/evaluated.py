"""Constructed evaluations: rows with known outcomes, and run directories that hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from alpamayo.evaluation.compare import summarise
from alpamayo.evaluation.report import ReportInput, write_report
from alpamayo.judged import JudgedEpisode
from alpamayo.metrics import failed_result
from alpamayo.types import EpisodeResult
from tests.alpamayo.fake_world import scenario


def row(seed: int, end: str = "timeout", **changes: object) -> JudgedEpisode:
    """One episode that ran (``end`` is its outcome; ``failed`` did not run)."""
    plain = failed_result(scenario(seed), "it raised" if end == "failed" else "x")
    if end != "failed":
        plain = replace(
            plain, end=end, error="", progress_m=80.0, reference_m=100.0, comfort=0.9,
            at_fault=end == "collision", collision=end == "collision", off_road=end == "off_road",
            red_light=end == "red_light", ttc_share=1.0, lane_share=1.0, mean_speed_mps=10.0,
        )  # fmt: skip
        changes = {
            "distance_m": 100.0, "steady_share": 1.0, "oncoming_m": 0.0, "close_s": 0.0,
            "latency_s": 0.1, "deadlines_missed": 0, **changes,
        }  # fmt: skip
    known = {k: v for k, v in changes.items() if k in vars(plain)}
    more = {k: v for k, v in changes.items() if k not in vars(plain)}
    return JudgedEpisode(**{**vars(replace(plain, **known)), **more})  # type: ignore[arg-type]


def rows(count: int, crashes: Sequence[int], **changes: object) -> list[EpisodeResult]:
    """``count`` episodes, those in ``crashes`` with a collision at fault."""
    return [row(n, "collision" if n in crashes else "timeout", **changes) for n in range(count)]


def run_folder(
    folder: Path,
    results: Sequence[EpisodeResult],
    *,
    name: str = "policy",
    suite: str = "heldout",
    status: str = "finished",
    **settings: object,
) -> Path:
    """A run directory as `alpamayo eval` leaves it."""
    comparison = summarise(results, name=name, resamples=50)
    known = {"suite": suite, "policy": name, **settings}
    write_report(folder, ReportInput("t", comparison, results, settings=known))
    (folder / "status.json").write_text(json.dumps({"kind": "eval", "status": status}))
    return folder
