"""Run directories of evaluations, read back: episodes, what was expected, replays, settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alpamayo.evaluation.coverage import complete_rows
from alpamayo.judged import JudgedEpisode
from alpamayo.replay.codec import from_plain
from alpamayo.types import EpisodeResult, RequestError

SCHEMA_VERSION = 2  # 1: without the columns of JudgedEpisode, what was expected, and tags
READABLE = (1, SCHEMA_VERSION)
ROLES = ("before", "after", "expert")
_NO_REPORT = "no such report; expected the run directory of an evaluation"
# Settings that change what an episode is or what drives it; packages and places do not.
_COMPARED = ("sim", "decode", "noise_seed")
Key = tuple[str, int]


@dataclass(frozen=True)
class EvaluatedRun:
    """What an evaluation left. ``results`` hold every expected episode; of a report with two
    policies (a demo's, or one with a baseline) these are the later one's. ``replays`` paths are
    relative to ``folder``.
    """

    folder: Path
    name: str
    suite: str
    results: tuple[EpisodeResult, ...]
    expert: tuple[EpisodeResult, ...] = ()
    replays: Mapping[Key, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[Key]:
        return frozenset((r.scenario_id, r.seed) for r in self.results)

    def viewers(self, side: str, folder: Path) -> dict[Key, list[tuple[str, str]]]:
        """Links to the pages of the replays, as seen from ``folder`` and called ``side``; the files
        lie beside them.
        """
        return {
            key: [
                (
                    side if label == "view" else label,
                    Path(os.path.relpath(self.folder / target, folder)).as_posix(),
                )
                for label, target in targets
                if not target.endswith(".replay")
            ]
            for key, targets in self.replays.items()
        }


def load_report(path: str | Path) -> dict[str, list[EpisodeResult]]:
    """Role -> episodes of a ``report.json`` (or of the run directory that holds one)."""
    file = report_file(path)
    return _roles(file, read_document(file))


def load_run(path: str | Path) -> EvaluatedRun:
    """The evaluation in a run directory, or RequestError with what was expected."""
    file = report_file(path)
    if not file.is_file():
        known = _why_not(file.parent) if Path(path).is_dir() else _NO_REPORT
        raise RequestError(f"{file}: {known}")
    document = read_document(file)
    roles = _roles(file, document)
    role = "after" if roles.get("after") else "before"
    rows = roles.get(role) or []
    if not rows:
        raise RequestError(f"{file}: episodes: expected at least one")
    families = {r.scenario_id: (r.family, r.nominal) for rs in roles.values() for r in rs}
    results = complete_rows(rows, _expected(file, document), families)
    settings = _object(document, "settings")
    name = _object(document, "comparison").get(role)
    # A demo keeps its whole config, in which the report has a section of its own.
    suite = settings.get("suite") or _object(_object(settings, "config"), "report").get("suite")
    return EvaluatedRun(
        folder=file.parent,
        name=str(name or file.parent.name),
        suite=str(suite or ""),
        results=tuple(results),
        expert=tuple(roles.get("expert") or ()),
        replays=_replays(file, document),
        tags=_tags(document),
        settings=settings,
    )


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def report_file(path: str | Path) -> Path:
    file = Path(path)
    return file / "report.json" if file.is_dir() else file


def read_document(file: Path) -> dict[str, Any]:
    """A report's JSON object, its schema version checked."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{file}: expected a readable report ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{file}: expected valid JSON ({error})") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version not in READABLE or isinstance(version, bool):
        known = " or ".join(map(str, READABLE))
        raise RequestError(f"{file}: schema_version: expected {known}, got {version!r:.40}")
    return dict(document)


def _roles(file: Path, document: Mapping[str, Any]) -> dict[str, list[EpisodeResult]]:
    episodes = document.get("episodes")
    if not isinstance(episodes, dict) or not all(isinstance(v, list) for v in episodes.values()):
        raise RequestError(f"{file}: episodes: expected an object of lists")
    return {
        role: [
            from_plain(JudgedEpisode, row, f"{file}: episodes.{role}[{n}]")
            for n, row in enumerate(rows)
        ]
        for role, rows in episodes.items()
        if role in ROLES
    }


def _expected(file: Path, document: Mapping[str, Any]) -> list[Key]:
    pairs = document.get("expected", [])
    if not isinstance(pairs, list) or not all(_is_key(p) for p in pairs):
        raise RequestError(f"{file}: expected: expected a list of [scenario id, seed]")
    return [(str(p[0]), int(p[1])) for p in pairs]


def _is_key(pair: Any) -> bool:
    return (
        isinstance(pair, list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], int)
    )


def _replays(file: Path, document: Mapping[str, Any]) -> dict[Key, tuple[tuple[str, str], ...]]:
    """Links that stay inside the run directory; a report from elsewhere cannot point anywhere
    else.
    """
    found: dict[Key, tuple[tuple[str, str], ...]] = {}
    entries = document.get("replays", [])
    for entry in entries if isinstance(entries, list) else []:
        try:
            key = (str(entry["scenario_id"]), int(entry["seed"]))
            links = tuple((str(label), str(target)) for label, target in entry["links"])
        except (KeyError, TypeError, ValueError):
            raise RequestError(f"{file}: replays: expected scenario_id, seed and links") from None
        found[key] = tuple(
            (label, target) for label, target in links if _inside(file.parent, target)
        )
    return found


def _inside(folder: Path, target: str) -> bool:
    return (folder / target).resolve().is_relative_to(folder.resolve())


def _tags(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    tags = document.get("tags", {})
    if not isinstance(tags, dict):
        return {}
    return {str(k): tuple(map(str, v)) for k, v in tags.items() if isinstance(v, list)}


def _why_not(folder: Path) -> str:
    """Why a folder holds no report, as far as its status tells."""
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))["status"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return _NO_REPORT
    return f"no report; the run is {status}"


def unlike(
    before: Sequence[EpisodeResult],
    after: Sequence[EpisodeResult],
    old: Mapping[str, Any],
    new: Mapping[str, Any],
) -> list[str]:
    """What makes paired episodes another test: settings that differ, and scenarios that drew other
    parameters from the same seed, for they have changed in between.
    """
    differ = differing_settings([old, new])
    told = [f"Settings that differ: {'; '.join(differ)}."] if differ else []
    changed = [
        b.scenario_id
        for b, a in zip(before, after, strict=True)
        # What failed to load, or is missing, may have none.
        if b.parameters and a.parameters and dict(b.parameters) != dict(a.parameters)
    ]
    if changed:
        names = ", ".join(sorted(set(changed))[:5])
        told.append(
            f"{len(changed)} episodes have other parameters in the two, so their scenario files "
            f"have changed in between: {names}."
        )
    return told


def differing_settings(sides: Sequence[Mapping[str, Any]]) -> list[str]:
    """``sim.latency_s: 0.1 / 0.3`` for every setting of the world and the decoding in which
    ``settings`` of evaluations differ. What one of them does not have (decoding, without a
    network) is no difference.
    """
    flat = [dict(flatten({k: s[k] for k in _COMPARED if k in s})) for s in sides]
    shared = sorted(set.intersection(*(set(side) for side in flat)))
    told = [(name, [str(side[name]) for side in flat]) for name in shared]
    return [f"{name}: {' / '.join(values)}" for name, values in told if len(set(values)) > 1]


def flatten(value: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted name, value) of everything in nested mappings."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flatten(inner, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value


def find_runs(paths: Sequence[str | Path]) -> list[Path]:
    """Run directories: those given, and those that lie directly in a given folder.

    A run that was to evaluate and left no report is one of them.
    """
    found: list[Path] = []
    for given in map(Path, paths):
        if not given.exists():
            raise RequestError(f"{given}: no such run directory")
        if report_file(given).is_file() or _is_evaluation(given):
            found.append(given)
            continue
        inside = sorted(p for p in given.iterdir() if p.is_dir()) if given.is_dir() else []
        runs = [p for p in inside if report_file(p).is_file() or _is_evaluation(p)]
        if not runs:
            raise RequestError(f"{given}: expected the run directory of an evaluation")
        found += runs
    return list(dict.fromkeys(found))


def _is_evaluation(folder: Path) -> bool:
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        return bool(status["kind"] in ("eval", "demo"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
