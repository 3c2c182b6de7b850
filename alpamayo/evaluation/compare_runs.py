"""Two evaluations that were driven before, compared on the episodes they share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alpamayo.evaluation.command import safe_name
from alpamayo.evaluation.compare import Comparison, Key, compare, episode_key
from alpamayo.evaluation.coverage import library_tags
from alpamayo.evaluation.gates import Gate, Verdict, check_gates, group_name, judge
from alpamayo.evaluation.report import ReportFiles, ReportInput, write_report
from alpamayo.evaluation.runs import EvaluatedRun, load_run, unlike
from alpamayo.replay.format import SUFFIX
from alpamayo.types import EpisodeResult, RequestError

_MOST_PAGES = 40  # with two replays on one clock; about a megabyte each


@dataclass(frozen=True)
class RunPair:
    """``before`` and ``after`` on ``shared`` episodes, in ``before``'s order."""

    before: EvaluatedRun
    after: EvaluatedRun
    shared: tuple[Key, ...]
    tags: Mapping[str, tuple[str, ...]]
    gates: tuple[Gate, ...] = ()

    @classmethod
    def prepare(cls, before: str, after: str, gates: Sequence[str] = ()) -> RunPair:
        """Read both; RequestError if they share no episode or a gate makes no sense."""
        runs = load_run(before), load_run(after)
        keys = runs[0].keys & runs[1].keys
        shared = tuple(k for r in runs[0].results if (k := episode_key(r)) in keys)
        if not shared:
            raise RequestError(
                f"{after}: expected some of the episodes of {before} (scenario and seed), "
                "found none"
            )
        tags = {**library_tags(name for name, _ in shared), **runs[0].tags, **runs[1].tags}
        groups = {group_name(r.family, r.nominal) for r in runs[0].results}
        groups |= {tag for name, _ in shared for tag in tags.get(name, ())}
        checked = check_gates(gates, paired=True, groups=groups)
        return cls(*runs, shared, tags, tuple(checked))

    @property
    def names(self) -> tuple[str, str]:
        """What tells the two apart: policies, and letters if the policy is the same."""
        if self.before.name != self.after.name:
            return self.before.name, self.after.name
        return f"{self.before.name} (A)", f"{self.after.name} (B)"

    @property
    def notes(self) -> list[str]:
        """Where the two come from, and episodes of one that the other was not asked to drive."""
        sides = zip(self.names, (self.before, self.after), strict=True)
        told = ["; ".join(f"{name}: {run.folder}" for name, run in sides) + "."]
        for run, other in ((self.before, self.after), (self.after, self.before)):
            alone = len(run.keys - other.keys)
            if alone:
                told.append(
                    f"{alone} of the {len(run.keys)} episodes of {run.folder} were not to be "
                    f"driven in {other.folder}; compared are the {len(self.shared)} of both."
                )
        old, new = (_picked(run.results, self.shared) for run in (self.before, self.after))
        return [*told, *unlike(old, new, self.before.settings, self.after.settings)]


@dataclass(frozen=True)
class PairOutcome:
    comparison: Comparison
    files: ReportFiles
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def compare_runs(pair: RunPair, folder: Path) -> PairOutcome:
    """Write the report of the two into ``folder``; nothing is driven."""
    before, after = (_picked(run.results, pair.shared) for run in (pair.before, pair.after))
    expert = _expert(pair)
    comparison = compare(before, after, expert=expert or None, names=pair.names, tags=pair.tags)
    verdicts = tuple(judge(gate, comparison) for gate in pair.gates)
    links = _links(pair, folder)
    changed = (*comparison.regressions, *comparison.fixes)
    pages, problems = _side_by_side(pair, changed, folder)
    for key, page in pages.items():
        links[key] = [page, *links.get(key, [])]
    notes = [*pair.notes, *problems]
    command = ["alpamayo", "eval", "--compare", str(pair.before.folder), str(pair.after.folder)]
    report = ReportInput(
        title=f"{pair.names[0]} and {pair.names[1]}",
        comparison=comparison,
        before=before,
        after=after,
        expert=expert,
        settings={"before": pair.before.settings, "after": pair.after.settings},
        replays=links,
        commands=[shlex.join(command)],
        tags=pair.tags,
        verdicts=verdicts,
        notes=notes,
    )
    return PairOutcome(comparison, write_report(folder, report), verdicts, tuple(notes))


def _picked(rows: Sequence[EpisodeResult], keys: Sequence[Key]) -> list[EpisodeResult]:
    table = {episode_key(r): r for r in rows}
    return [table[key] for key in keys]


def _expert(pair: RunPair) -> list[EpisodeResult]:
    """The expert on every shared episode, from whichever run knows it; else nothing."""
    table = {episode_key(r): r for r in (*pair.after.expert, *pair.before.expert)}
    return [table[k] for k in pair.shared] if all(k in table for k in pair.shared) else []


def _links(pair: RunPair, folder: Path) -> dict[Key, list[tuple[str, str]]]:
    """Links to the viewers of both runs' replays, as seen from ``folder``."""
    links: dict[Key, list[tuple[str, str]]] = {}
    for side, run in (("before", pair.before), ("after", pair.after)):
        for key, shown in run.viewers(side, folder).items():
            links.setdefault(key, []).extend(shown)
    return links


def _side_by_side(
    pair: RunPair, keys: Sequence[Key], folder: Path
) -> tuple[dict[Key, tuple[str, str]], list[str]]:
    """Pages with both replays on one clock, of those ``keys`` that both runs recorded; and what is
    wrong with replays that cannot be shown.
    """
    from alpamayo.replay.format import read_replay
    from alpamayo.replay.html import write_html

    pages: dict[Key, tuple[str, str]] = {}
    problems = []
    for key in keys:
        files = [_replay_file(run, key) for run in (pair.before, pair.after)]
        if None in files or len(pages) == _MOST_PAGES:
            continue
        try:
            replays = [read_replay(file) for file in files if file is not None]
            page = write_html(folder / "replays" / f"{safe_name(*key)}.html", replays, pair.names)
        except RequestError as error:
            problems.append(f"Not shown side by side: {error}.")
            continue
        pages[key] = ("side by side", f"{page.parent.name}/{page.name}")
    return pages, problems


def _replay_file(run: EvaluatedRun, key: Key) -> Path | None:
    targets = (target for _, target in run.replays.get(key, ()) if target.endswith(SUFFIX))
    files = (run.folder / target for target in targets)
    return next((file for file in files if file.is_file()), None)
