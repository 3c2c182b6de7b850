"""How long new weights take from the learner to the rollout workers, by size: publish, then pull in
every worker at once, as at the start of a sample.

.venv/bin/python benchmarks/weight_sync.py [--megabytes 1 20 200 1000] [--workers 2] [--repeats 5]

Trainable tensors of 4 MB each (the last one smaller) travel through the object store of a Ray of
its own; a pull copies them into a module. Prints a table, or one JSON document with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

import ray
import torch

from alpamayo.rollout.transport import ObjectStoreTransport, WeightsHandle

TENSOR_BYTES = 4 << 20


class Weights(torch.nn.Module):
    """``megabytes`` of parameters."""

    def __init__(self, megabytes: float, dtype: torch.dtype) -> None:
        super().__init__()
        size = dtype.itemsize
        left = int(megabytes * 1e6) // size
        self.parts = torch.nn.ParameterList()
        while left:
            count = min(left, TENSOR_BYTES // size)
            self.parts.append(torch.nn.Parameter(torch.zeros(count, dtype=dtype), False))
            left -= count


@ray.remote(num_cpus=0)
class Worker:
    """Holds a module as a rollout worker does."""

    def __init__(self, megabytes: float, dtype: torch.dtype) -> None:
        torch.set_num_threads(1)
        self.module, self.version = Weights(megabytes, dtype), -1

    def pull(self, weights: WeightsHandle) -> tuple[float, float]:
        """(seconds, first value now held)."""
        started = time.perf_counter()
        self.version = weights.pull(self.module, self.version)
        return time.perf_counter() - started, float(self.module.parts[0][0])


@dataclass(frozen=True)
class Row:
    """Medians in seconds: copying and storing; until every worker holds them; both."""

    megabytes: float
    publish_s: float
    pull_s: float
    total_s: float


def measure(megabytes: float, workers: int, repeats: int, dtype: torch.dtype) -> Row:
    module = Weights(megabytes, dtype)
    tensors = dict(module.named_parameters())
    transport = ObjectStoreTransport({})
    actors = [Worker.remote(megabytes, dtype) for _ in range(workers)]
    publish, pull = [], []
    for version in range(repeats + 1):
        for tensor in tensors.values():
            tensor.fill_(version)
        started = time.perf_counter()
        handle = transport.publish(version, tensors)
        published = time.perf_counter()
        held = ray.get([actor.pull.remote(handle) for actor in actors])
        ended = time.perf_counter()
        if any(value != version for _, value in held):
            raise SystemExit(f"a worker holds other weights than version {version}: {held}")
        if version:  # the first time, pages are new and actors start
            publish.append(published - started)
            pull.append(ended - published)
    for actor in actors:
        ray.kill(actor)
    total = [a + b for a, b in zip(publish, pull, strict=True)]
    return Row(megabytes, *(statistics.median(v) for v in (publish, pull, total)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 20, 200, 1000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    # Two versions at once, and some room.
    store = int(3 * max(args.megabytes) * 1e6) + (256 << 20)
    folder = tempfile.mkdtemp(prefix="alp-", dir="/tmp")
    ray.init(
        num_cpus=1,
        object_store_memory=store,
        include_dashboard=False,
        _temp_dir=folder,
        log_to_driver=False,
    )
    try:
        dtype = getattr(torch, args.dtype)
        rows = [measure(m, args.workers, args.repeats, dtype) for m in args.megabytes]
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
    report(rows, args)


def report(rows: list[Row], args: Any) -> None:
    if args.json:
        print(json.dumps({"workers": args.workers, "rows": [asdict(row) for row in rows]}))
        return
    print(f"{args.workers} workers, {args.dtype}, medians of {args.repeats}")
    print(
        "| MB | publish ms | pull ms | together ms | MB/s to each worker |\n|---|---|---|---|---|"
    )
    for r in rows:
        ms = " | ".join(f"{1000 * s:.1f}" for s in (r.publish_s, r.pull_s, r.total_s))
        print(f"| {r.megabytes:g} | {ms} | {r.megabytes / r.total_s:,.0f} |")


if __name__ == "__main__":
    main()
