"""Decisions per second of the closed loop, and who waits for whom.

.venv/bin/python benchmarks/loop_scaling.py --workers 1 2 --seconds 60 --out loop_scaling.json

Trains from the shipped policy with every combination of ``--modes``, ``--backends`` and
``--workers``, in turns (``--rounds``). ``decisions_per_s`` is of the whole loop: what was driven
and learned from, over wall time. ``sampling_per_s`` (synchronous mode only) is over the time
workers drove, so its ratio between numbers of workers is how driving scales, whatever the learner
does. Figures mean something on an idle machine with a core for every worker (and, asynchronously,
one for the learner): ``cores_used`` by the workers tells whether they got theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

WARM_UP = 2  # iterations before the clock starts: processes up, kernels loaded, memory touched


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes, backends = ("synchronous", "asynchronous"), ("local", "pool")
    parser.add_argument("--config", default="configs/train/cpu.yaml")
    parser.add_argument("--modes", nargs="+", default=list(modes), choices=modes)
    parser.add_argument("--backends", nargs="+", default=["local"], choices=backends)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each case and round")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the document here")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings to override, before the options"
    )
    args = parser.parse_args()
    document = measure(args)
    text = json.dumps(document, indent=2) + "\n"
    if args.out:
        args.out.write_text(text)
    print(text, end="")
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from alpamayo.bench import machine

    cases = list(product(args.modes, args.backends, args.workers))
    found: dict[tuple[str, str, int], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(args.rounds):
        for case in cases:
            found[case].append(loop(args, *case))
            print(f"{case}: {found[case][-1]}", file=sys.stderr, flush=True)
    middle = {
        case: {name: statistics.median(r[name] for r in runs) for name in runs[0]}
        for case, runs in found.items()
    }
    least = args.workers[0]
    scaling = {
        f"{mode} {backend} {least} -> {workers}": {
            name: middle[mode, backend, workers][name] / middle[mode, backend, least][name]
            for name in ("decisions_per_s", "sampling_per_s")
            if name in middle[mode, backend, workers]
        }
        for mode, backend, workers in cases
        if workers != least
    }
    return {
        "cases": [
            {"mode": mode, "backend": backend, "workers": workers, **middle[mode, backend, workers]}
            for mode, backend, workers in cases
        ],
        "scaling": scaling,
        "overrides": args.overrides,
        "load_average": os.getloadavg()[0],
        "machine": machine(),
    }


def loop(args: argparse.Namespace, mode: str, backend: str, workers: int) -> dict[str, float]:
    """Figures of one case, on a Ray of its own."""
    from alpamayo.config import load_config
    from alpamayo.loop import PostTrainConfig
    from alpamayo.paths import resolve_policy
    from alpamayo.rollout.ray_session import quiet_stderr, ray_session
    from alpamayo.training import check_request

    chosen = [f"rollout.mode={mode}", f"rollout.backend={backend}", f"rollout.workers={workers}"]
    with tempfile.TemporaryDirectory() as folder:
        words = [*args.overrides, *chosen, f"run_root={folder}", "learner.iterations=1000000"]
        config = load_config("train", args.config, words)
        init = resolve_policy(config.policy.init)
        check_request(config, init)
        with ray_session(config):
            with quiet_stderr():
                algorithm = PostTrainConfig.of(config, init).build_algo()
            try:
                return timed(algorithm, args.seconds, mode)
            finally:
                algorithm.stop()


def timed(algorithm: Any, seconds: float, mode: str) -> dict[str, float]:
    from alpamayo.training import flatten

    for _ in range(WARM_UP):
        algorithm.train()
    started, rows = time.perf_counter(), []
    while not rows or time.perf_counter() - started < seconds:
        rows.append(flatten(algorithm.train()))
    wall_s = time.perf_counter() - started

    def total(name: str) -> float:
        return sum(row[name] for row in rows)

    decisions = total("rollout/decisions")
    figures = {
        "iterations": float(len(rows)),
        "decisions_per_s": decisions / wall_s,
        "worker_idle_share": total("time/worker_idle_share") / len(rows),
        "learner_idle_share": total("time/learner_idle_share") / len(rows),
        "staleness": total("rollout/staleness") / len(rows),
        "samples_dropped_stale": total("rollout/samples_dropped_stale"),
        "cores_used": total("time/workers_cpu_s") / wall_s,
    }
    if mode == "synchronous":
        figures["sampling_per_s"] = decisions / total("time/sample_s")
    return figures


if __name__ == "__main__":
    sys.exit(main())
