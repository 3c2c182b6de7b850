"""``python -m alpamayo.cli.job``: what ``alpamayo submit`` lets a cluster run."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType


def main() -> int:
    from alpamayo.cli.main import main as alpamayo
    from alpamayo.cluster.entry import run_job
    from alpamayo.types import RequestError

    parser = argparse.ArgumentParser(prog="alpamayo.cli.job", description=__doc__)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- train --config ...")
    args = parser.parse_args()
    # A stopped job gets SIGTERM; before the training has its own handler, results are kept too.
    signal.signal(signal.SIGTERM, _interrupt)
    words = [word for word in args.command if word != "--"]
    try:
        return run_job(args.storage, args.name, words, alpamayo)
    except RequestError as error:
        print(f"alpamayo job: {error}", file=sys.stderr)
        return 2


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
