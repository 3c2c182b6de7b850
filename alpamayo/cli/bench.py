"""``alpamayo bench``: measure speed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

HELP = "Measure the speed of the simulator, the policy, or the loop of both, in one process."
EPILOG = """\
sim     env-steps/s (a step = one decision), agent-steps/s, camera images/s
policy  time to decode a batch and a single observation; for a checkpoint also a learning step
loop    decisions/s of observe + plan + step, and the share of each
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    parser.add_argument(
        "what", choices=("sim", "policy", "loop"), help="what to measure, see below"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, such as sim.rig=null"
    )
    parser.add_argument(
        "--policy",
        default="shipped",
        metavar="PATH|NAME",
        help="checkpoint, expert, idle (default: shipped)",
    )
    parser.add_argument(
        "--suite", default="heldout", metavar="NAME", help="scenarios to drive (default: heldout)"
    )
    parser.add_argument(
        "--worlds", type=int, default=64, metavar="N", help="worlds stepped together (default: 64)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="time to measure (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace) -> int:
    from alpamayo.types import RequestError

    if args.worlds < 1:
        raise RequestError(f"--worlds {args.worlds}: expected a number >= 1")
    if not 0 < args.seconds < 1e6:
        raise RequestError(f"--seconds {args.seconds:g}: expected a number > 0")
    from alpamayo import bench
    from alpamayo.config import load_config

    config = load_config("eval", None, args.overrides)
    where = (args.suite, args.worlds, args.seconds, config.sim)
    if args.what == "sim":
        result = bench.bench_sim(*where)
    else:
        policy = _policy(args.policy, config)
        measure = bench.bench_policy if args.what == "policy" else bench.bench_loop
        result = measure(policy, *where)
    document = {
        "bench": args.what,
        "suite": args.suite,
        "worlds": args.worlds,
        "policy": None if args.what == "sim" else args.policy,
        "result": result,
        "machine": bench.machine(),
    }
    if args.json:
        print(json.dumps(document))
    else:
        _show(document)
    return 0


def _policy(spec: str, config: Any) -> Any:
    from alpamayo.config import decode_options
    from alpamayo.paths import resolve_policy
    from policies.registry import load_policy

    if spec in ("expert", "idle", "constant_speed"):
        return load_policy(spec)
    return load_policy(resolve_policy(spec), **decode_options(config.policy.decode))


def _show(document: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"bench {document['bench']}: {document['worlds']} worlds of {document['suite']}"
    table = Table(title=title, show_header=False)
    for name, value in _flat(document["result"], ""):
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}")
    Console().print(table)


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", float(value)
