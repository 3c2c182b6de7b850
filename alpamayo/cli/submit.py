"""``alpamayo submit``: run a training as a job of a Ray cluster."""

from __future__ import annotations

import argparse
import json

HELP = (
    "Run `alpamayo train` as a job of a Ray cluster; prints the equivalent `ray job submit` line."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", required=True, metavar="URL", help="Ray dashboard, such as http://head:8265"
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="training config, below the working directory",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that override the config"
    )
    parser.add_argument(
        "--working-dir", default=".", metavar="DIR", help="checkout to upload (default: here)"
    )
    parser.add_argument("--dry-run", action="store_true", help="check and print, submit nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from alpamayo.cluster.submit import check_reachable, make_job, submit

    job = make_job(args.address, args.working_dir, args.config, args.overrides)
    if not args.json:
        print(job.ray_command(), flush=True)
    job_id = None
    if not args.dry_run:
        check_reachable(job.address)
        job_id = submit(job)
    if args.json:
        print(json.dumps({"address": job.address, "command": job.ray_command(), "job_id": job_id}))
    elif job_id is not None:
        print(f"submitted {job_id}")
        print(f"next: ray job logs --address {job.address} --follow {job_id}")
    return 0
