"""``alpamayo replay``: verify recorded episodes, or turn them into pages, videos and files
for other programs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

HELP = (
    "Look at recorded episodes: re-simulate and verify them; write web pages, videos,\n"
    "MCAP and Rerun files or a LeRobot dataset."
)
EPILOG = """\
examples:
  alpamayo replay runs/eval-... --verify
  alpamayo replay cut_in-1000003.replay --html cut_in.html
  alpamayo replay before.replay after.replay --html side_by_side.html
  alpamayo replay runs/eval-... --lerobot dataset
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "target",
        nargs="+",
        metavar="FILE|RUN",
        help="replay files, or a run directory with replays",
    )
    add("--verify", action="store_true", help="re-simulate and compare every state")
    add(
        "--batch",
        type=int,
        default=1,
        metavar="B",
        help="verify in batches of B worlds (default: 1); the outcome is the same for any B",
    )
    add("--html", metavar="OUT", help="write a self-contained page (two files: side by side)")
    add("--video", metavar="OUT", help="write a video (OUT ends with .mp4 or .webm)")
    add("--mcap", metavar="OUT", help="write an MCAP file (OUT ends with .mcap)")
    add("--rerun", metavar="OUT", help="write a Rerun recording (OUT ends with .rrd)")
    add("--lerobot", metavar="DIR", help="write all replays as one LeRobot v3 dataset")
    add("--json", action="store_true", help="print one JSON document on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    from alpamayo.replay.format import read_replay
    from alpamayo.types import CheckFailed

    files = _files(args.target)
    replays = [(file, read_replay(file)) for file in files]
    documents: list[dict[str, Any]] = [{"file": str(f), **_summary(r)} for f, r in replays]
    mismatch = _verify(files, documents, args) if args.verify else None
    written = [*_write_html(args.html, replays), *_export(args, replays)]
    if args.json:
        print(json.dumps({"replays": documents, "written": [str(p) for p in written]}))
    else:
        for document in documents:
            print(_line(document))
        for path in written:
            print(f"wrote {path}")
        if not args.verify or not written:
            print(f"next: {_next(files, args)}")
    if mismatch is not None:
        raise CheckFailed(mismatch)
    return 0


def _verify(
    files: list[Path], documents: list[dict[str, Any]], args: argparse.Namespace
) -> str | None:
    """Adds what was found to the documents; the first problem."""
    from dataclasses import asdict

    from alpamayo.log import Progress
    from alpamayo.replay.verify import verify_all

    with Progress("verify", len(files), quiet=args.json) as progress:
        found = verify_all(files, args.batch, lambda done, _: progress.update(done))
    for one, document in zip(found, documents, strict=True):
        document["verified"] = one.problem is None
        document["decisions_verified"], document["ticks_verified"] = one.decisions, one.ticks
        if one.difference is not None:
            document["error"], document["first_difference"] = one.problem, asdict(one.difference)
    return next((f.problem for f in found if f.problem), None)


def _next(files: list[Path], args: argparse.Namespace) -> str:
    if not args.verify:
        return f"alpamayo replay {' '.join(args.target)} --verify"
    return f"alpamayo replay {files[0]} --html {files[0].with_suffix('.html').name}"


def _files(targets: list[str]) -> list[Path]:
    """Replay files; a run directory stands for all replays in it."""
    from alpamayo.replay.format import SUFFIX
    from alpamayo.types import RequestError

    files: list[Path] = []
    for target in targets:
        path = Path(target)
        if path.is_dir():
            found = sorted(path.rglob(f"*{SUFFIX}"))
            if not found:
                raise RequestError(f"{target}: expected replays (*{SUFFIX}) in this directory")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise RequestError(f"{target}: no such file; expected a replay or a run directory")
    return files


def _summary(replay: Any) -> dict[str, Any]:
    header = replay.header
    return {
        "scenario": header.scenario.id,
        "seed": header.scenario.seed,
        "policy": header.policy,
        "weights_version": header.weights_version,
        "end": header.result.end,
        "at_fault": header.result.at_fault,
        "decisions": replay.decisions,
        "final_hash": header.state_hashes[-1],
    }


def _line(document: dict[str, Any]) -> str:
    end = document["end"] + (" at fault" if document["at_fault"] else "")
    text = (
        f"{document['file']}: {document['scenario']} seed {document['seed']}, "
        f"{document['policy']}, "
        f"{document['decisions']} decisions, {end}"
    )
    if document.get("verified"):
        return f"{text}: verified, every state the same"
    return text + (": NOT the same" if "error" in document else "")


def _write_html(out: str | None, replays: list[tuple[Path, Any]]) -> list[Path]:
    """One page for one replay or a pair of the same episode; else OUT is a directory with a page
    for each.
    """
    from alpamayo.replay.html import write_html

    if out is None:
        return []
    episodes = {(r.header.scenario.id, r.header.scenario.seed) for _, r in replays}
    if len(replays) == 1 or (len(replays) == 2 and len(episodes) == 1):
        return [write_html(out, [r for _, r in replays])]
    return [write_html(Path(out) / f"{file.stem}.html", [r]) for file, r in replays]


def _export(args: argparse.Namespace, replays: list[tuple[Path, Any]]) -> list[Path]:
    """One file for one replay; for several, OUT is a directory, and with ``--lerobot`` always."""
    from functools import partial

    from alpamayo.log import Progress

    jobs: list[tuple[str, Path, Any]] = []
    for kind in ("video", "mcap", "rerun"):
        out = getattr(args, kind)
        if out is None:
            continue
        names = [Path(out)]
        if len(replays) > 1:
            suffix = {"video": ".mp4", "mcap": ".mcap", "rerun": ".rrd"}[kind]
            names = [Path(out) / f"{file.stem}{suffix}" for file, _ in replays]
        write = _writer(kind)
        jobs += [
            (kind, name, partial(write, name, replay))
            for name, (_, replay) in zip(names, replays, strict=True)
        ]
    if args.lerobot is not None:
        from alpamayo.replay.lerobot import write_lerobot

        files = [file for file, _ in replays]
        jobs.append(("lerobot", Path(args.lerobot), partial(write_lerobot, args.lerobot, files)))
    for kind, name, job in jobs:
        with Progress(f"{kind} {name.name}", 1, quiet=args.json) as progress:

            def told(done: int, total: int, shown: Progress = progress) -> None:
                shown.total = total
                shown.update(done)

            job(progress=told)
    return [name for _, name, _ in jobs]


def _writer(kind: str) -> Any:
    if kind == "video":
        from alpamayo.replay.video import write_video

        return write_video
    if kind == "mcap":
        from alpamayo.replay.mcap import write_mcap

        return write_mcap
    from alpamayo.replay.rerun import write_rerun

    return write_rerun
