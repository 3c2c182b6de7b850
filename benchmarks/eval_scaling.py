"""How fast a suite is evaluated, and how that scales with worker processes.

.venv/bin/python benchmarks/eval_scaling.py --episodes 1000 --processes 1 2 --out eval_scaling.json

The same episodes are driven with each number of processes, in turns (``--rounds``), each time from
starting the workers to the last row. The rows must be the same; the command fails if they are not.
Figures mean something on an idle machine only: the CPU seconds beside them tell whether the
processes got their cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default="shipped")
    parser.add_argument("--suite", default="heldout")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--out", type=Path, help="write the document here")
    args = parser.parse_args()
    document = measure(args)
    text = json.dumps(document, indent=2) + "\n"
    if args.out:
        args.out.write_text(text)
    print(text, end="")
    return 0 if document["same_rows"] else 1


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from alpamayo.bench import machine
    from alpamayo.config import load_config, policy_options
    from alpamayo.paths import resolve_policy
    from policies.registry import is_network, load_policy, needs_images
    from scenarios.suites import load_suite

    config = load_config("eval", None, [])
    spec = resolve_policy(args.policy)
    decode = policy_options(config.policy, config.sim) if is_network(spec) else {}
    images = needs_images(spec, load_policy(spec, **decode))
    sim = config.sim if images else dataclasses.replace(config.sim, rig=None)
    scenarios = load_suite(args.suite).draw(args.episodes)
    runs: dict[int, list[dict[str, float]]] = {n: [] for n in args.processes}
    rows: list[Any] = []
    for _ in range(args.rounds):
        for count in args.processes:
            result, figures = drive(spec, scenarios, sim, decode, count, args.batch)
            runs[count].append(figures)
            # Measured times differ from run to run; everything else may not.
            rows.append([dataclasses.replace(r, plan_ms=0.0) for r in result])
    rate = {n: statistics.median(r["episodes_per_s"] for r in found) for n, found in runs.items()}
    first = args.processes[0]
    return {
        "policy": args.policy, "suite": args.suite, "episodes": len(scenarios),
        "runs": {str(n): found for n, found in runs.items()},
        "episodes_per_s": {str(n): value for n, value in rate.items()},
        "scaling": {f"{first} -> {n}": rate[n] / rate[first] for n in args.processes[1:]},
        "same_rows": all(r == rows[0] for r in rows),
        "load_average": os.getloadavg()[0], "machine": machine(),
    }  # fmt: skip


def drive(
    spec: str, scenarios: list[Any], sim: Any, decode: dict[str, Any], processes: int, batch: int
) -> tuple[list[Any], dict[str, float]]:
    from alpamayo.evaluation.parallel import evaluate

    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    cpu, started = cpu_s(), time.perf_counter()
    result = evaluate(spec, scenarios, sim, decode=decode, processes=processes, batch=batch)
    wall_s = time.perf_counter() - started
    cpu = cpu_s() - cpu
    figures = {"wall_s": wall_s, "cpu_s": cpu, "episodes_per_s": len(result) / wall_s}
    return result, {**figures, "cores_used": cpu / wall_s}


if __name__ == "__main__":
    sys.exit(main())
