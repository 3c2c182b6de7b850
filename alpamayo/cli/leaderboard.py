"""``alpamayo leaderboard``: rank the evaluations that lie in run directories."""

from __future__ import annotations

import argparse
import json
import shlex

HELP = "Rank evaluations on the same episodes, with 95 % intervals and a paired test."
EPILOG = """\
examples:
  alpamayo leaderboard runs
  alpamayo leaderboard runs/eval-A runs/eval-B --sort failure --out board
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="run directories, or folders that hold some")
    add(
        "--sort",
        default="driving_score",
        metavar="METRIC",
        help="what to rank by (default: driving_score)",
    )
    add("--out", metavar="DIR", help="write leaderboard.html, .json and .csv into this folder")
    add("--json", action="store_true", help="print one JSON document on stdout and nothing else")


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from alpamayo.evaluation.leaderboard import check_sort, leaderboard
    from alpamayo.evaluation.leaderboard_page import format_leaderboard, write_leaderboard
    from alpamayo.evaluation.runs import find_runs

    check_sort(args.sort)
    board = leaderboard(find_runs(args.runs), sort=args.sort)
    page = None if args.out is None else write_leaderboard(Path(args.out), board)
    if args.json:
        print(json.dumps({**board.as_dict(), "page": None if page is None else str(page)}))
        return 0
    print(format_leaderboard(board))
    if page is not None:
        print(f"leaderboard: {page}")
    else:
        print(f"next: {shlex.join(['alpamayo', 'leaderboard', *args.runs, '--out', 'board'])}")
    return 0
