"""``alpamayo submit``: run a training or the demo as a job of a Ray cluster."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alpamayo.types import CheckFailed, RequestError

if TYPE_CHECKING:
    from alpamayo.cluster.client import Cluster
    from alpamayo.cluster.records import Record
    from alpamayo.cluster.submit import Job
    from alpamayo.config import RunConfig

HELP = "Run `alpamayo train` as a job of a Ray cluster, after checking that it can."
EPILOG = """\
  alpamayo submit --address http://head:8265 --storage /shared/runs --config configs/train/cpu.yaml
  alpamayo submit status [JOB]   how it is doing (JOB: an id or a name; default: submitted last)
  alpamayo submit logs [JOB]     what it has printed; goes on until it ends
  alpamayo submit fetch [JOB]    bring back its report, replays and checkpoints
  alpamayo submit stop [JOB]     let it save and end

The job lives on the cluster: a lost terminal does not stop it, and `submit logs` finds it again.
If its head node is lost, it is submitted again and goes on from its last checkpoint.
"""
ACTIONS = ("status", "logs", "fetch", "stop")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "words", nargs="*", metavar="key=value | ACTION [JOB]",
        help="settings that override the config; or what to do with a job, see below",
    )  # fmt: skip
    parser.add_argument("--address", metavar="URL", help="Ray dashboard, like http://head:8265")
    parser.add_argument("--config", metavar="FILE", help="settings, below the working directory")
    parser.add_argument(
        "--storage", metavar="PLACE",
        help="where results go: a folder of the head node, or a URL like s3://bucket/runs",
    )  # fmt: skip
    parser.add_argument("--job", choices=("train", "demo"), default="train", help="what to run")
    parser.add_argument(
        "--name", help="of the job and its folder in the storage (default: by kind and time)"
    )
    parser.add_argument(
        "--working-dir", default=".", metavar="DIR", help="checkout to upload (default: here)"
    )
    parser.add_argument(
        "--no-upload", action="store_true", help="the nodes have alpamayo installed: upload nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="check here, print, submit nothing")
    parser.add_argument("--detach", action="store_true", help="do not follow the job to its end")
    parser.add_argument(
        "--retries", type=int, default=2, metavar="N",
        help="how often a job that lost its node is submitted again (default 2)",
    )  # fmt: skip
    parser.add_argument("--to", default="runs", metavar="DIR", help="fetch: where (default: runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    if args.words and args.words[0] in ACTIONS:
        return _act(args, args.words[0], args.words[1:])
    return _submit(args)


# A new job -----------------------------------------------------------------------------------
def _submit(args: argparse.Namespace) -> int:
    from alpamayo.cluster.client import Cluster
    from alpamayo.cluster.records import remember
    from alpamayo.cluster.submit import make_job
    from alpamayo.config import load_config

    for name in ("address", "config", "storage"):
        if getattr(args, name) is None:
            raise RequestError(f"--{name}: missing; see `alpamayo submit --help`")
    folder = None if args.no_upload else args.working_dir
    job = make_job(
        args.address, folder, args.config, args.words, storage=args.storage,
        name=args.name or f"{args.job}-{time.strftime('%Y%m%d-%H%M%S')}", kind=args.job,
    )  # fmt: skip
    if not args.json:
        print(job.ray_command(), flush=True)
    if args.dry_run:
        if args.json:
            _print_json(address=job.address, command=job.ray_command(), job_id=None)
        return 0
    cluster = Cluster(job.address)
    _preflight(cluster, job, load_config(args.job, args.config, args.words), quiet=args.json)
    record = remember(job, (cluster.submit(job),))
    if args.json:
        _print_json(
            address=job.address, command=job.ray_command(), job_id=record.job_id,
            results=record.results,
        )  # fmt: skip
        return 0
    print(f"submitted {record.job_id}; results: {record.results}")
    if args.detach:
        print(f"next: alpamayo submit logs {record.job_id}")
        return 0
    return _follow(record, args)


def _preflight(cluster: Cluster, job: Job, config: RunConfig, quiet: bool) -> None:
    """Print what was found; raises CheckFailed if a job would fail."""
    from alpamayo.cluster.preflight import judge, look_inside
    from alpamayo.paths import resolve_policy
    from alpamayo.sizing import parameters_of, waits

    findings = judge(job, config, look_inside(cluster, job.storage))
    for finding in findings:
        if not quiet:
            mark = "ok  " if finding.ok else "FAIL"
            print(f"{mark} {finding.what:10} {finding.seen}", flush=True)
    problems = [f"{f.what}: {f.problem}" for f in findings if not f.ok]
    if problems:
        raise CheckFailed("; ".join(problems))
    parameters = parameters_of(resolve_policy(config.policy.init))
    if parameters is not None and not quiet:  # the cluster's own checkpoints are not known here
        for line in waits(config, parameters):
            print(f"note {line}", flush=True)


def _follow(record: Record, args: argparse.Namespace) -> int:
    from alpamayo.cluster.follow import follow

    def show(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        record, state = follow(record, show=show, say=say, retries=args.retries)
    except KeyboardInterrupt:
        say(f"the job goes on; see it again with: alpamayo submit logs {record.job_id}")
        raise
    print(f"{record.job_id}: {state.status.lower()}; results: {record.results}")
    if state.status == "FAILED":
        reason = (state.message.strip().splitlines() or ["no reason given"])[0]
        raise CheckFailed(f"{record.job_id}: {reason.partition(', last available logs')[0]}")
    print(f"next: alpamayo submit fetch {record.job_id}")
    return 0


# A job that is there -------------------------------------------------------------------------
def _act(args: argparse.Namespace, action: str, words: list[str]) -> int:
    from alpamayo.cluster.client import Cluster
    from alpamayo.cluster.records import recall

    if len(words) > 1:
        raise RequestError(f"submit {action}: expected one job, got {' '.join(words)}")
    record = recall(words[0] if words else None)
    if action == "fetch":
        return _fetch(record, Path(args.to), args.json)
    if action == "logs":
        return _follow(record, args)
    cluster = Cluster(record.job.address)
    if action == "stop":
        running = cluster.stop(record.job_id)
        print(f"{record.job_id}: {'asked to save and end' if running else 'was not running'}")
        return 0
    state = cluster.state(record.job_id)
    if args.json:
        _print_json(
            job_id=record.job_id, status=state.status, message=state.message,
            exit_code=state.exit_code, results=record.results,
        )  # fmt: skip
        return 0
    print(f"{record.job_id} ({record.job.name}): {state.status.lower()}: {state.message}")
    last = cluster.logs(record.job_id).strip().splitlines()[-1:]
    print("".join(f"last line: {line}\n" for line in last) + f"results: {record.results}")
    return 0


def _fetch(record: Record, to: Path, as_json: bool) -> int:
    from alpamayo.cluster.storage import download

    place = to / record.job.name
    place.mkdir(parents=True, exist_ok=True)
    count = download(record.results, place)
    if not count:
        place.rmdir()
        raise CheckFailed(
            f"{record.results}: nothing there that can be seen from here; if it is a folder of the "
            "head node, copy it from there"
        )
    pages = sorted(str(p) for p in place.rglob("*.html"))
    if as_json:
        _print_json(job_id=record.job_id, fetched=str(place), files=count, pages=pages)
        return 0
    print(f"fetched {count} files into {place}")
    print("".join(f"open: {page}\n" for page in pages), end="")
    return 0


def _print_json(**document: Any) -> None:
    print(json.dumps(document))
