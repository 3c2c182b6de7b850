"""``alpamayo export``: copy the best checkpoint of a run to a folder of its own."""

from __future__ import annotations

import argparse
import json

HELP = (
    "Copy the best checkpoint of a run to a folder of its own: config.json and safetensors in the\n"
    "published tensor naming."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", metavar="RUN", help="run directory, such as runs/train-...")
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="folder to create; it must not exist or be empty",
    )
    parser.add_argument(
        "--checkpoint", metavar="NAME", help="this one below RUN/checkpoints instead of the best"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from alpamayo.checkpoints import export

    done = export(args.run_dir, args.out, args.checkpoint)
    if args.json:
        print(json.dumps(done))
    else:
        print(f"{done['out']}: {done['checkpoint']} ({done['reason']})")
        print(f"next: alpamayo eval --policy {done['out']} --suite heldout")
    return 0
