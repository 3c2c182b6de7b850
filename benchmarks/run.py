"""Run `alpamayo bench sim`, and `policy` and `loop` several times; keep medians, or compare two
documents made that way.

.venv/bin/python benchmarks/run.py --out bench.json [--repeat 3] [--seconds 6]
.venv/bin/python benchmarks/run.py --compare before.json after.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

BENCHES = ("policy", "loop")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the document here")
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of policy and of loop (default: 3)"
    )
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="time of each of them (default: 6)"
    )
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"))
    args = parser.parse_args()
    if args.compare:
        before, after = (json.loads(p.read_text()) for p in args.compare)
        for name in sorted(before["figures"].keys() & after["figures"].keys()):
            old, new = before["figures"][name]["median"], after["figures"][name]["median"]
            print(f"{name:44} {old:12.2f} {new:12.2f}  {new / old if old else float('nan'):6.2f}x")
        return 0
    document = measure(args.repeat, args.seconds)
    text = json.dumps(document, indent=2) + "\n"
    if args.out:
        args.out.write_text(text)
        print(args.out)
    else:
        print(text, end="")
    return 0


def measure(repeat: int, seconds: float) -> dict[str, Any]:
    simulator = bench("sim")
    figures = {f"sim.{r['name']}": _figure(r) for r in simulator["result"]["rows"] if r["value"]}
    values: dict[str, list[float]] = {}
    for what in BENCHES:
        for _ in range(repeat):
            document = bench(what, "--seconds", str(seconds))
            for name, value in flat(document["result"], f"{what}."):
                values.setdefault(name, []).append(value)
    figures |= {
        name: {"median": statistics.median(v), "min": min(v), "max": max(v)}
        for name, v in values.items()
    }
    return {
        "figures": figures, "repeat": repeat, "seconds": seconds,
        "simulator": simulator["result"], "machine": simulator["machine"],
    }  # fmt: skip


def _figure(row: Mapping[str, Any]) -> dict[str, float]:
    low, high = row["spread"] or (row["value"], row["value"])
    return {"median": row["value"], "min": low, "max": high}


def bench(what: str, *words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "alpamayo", "bench", what, "--json", *words],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1", **os.environ},
    )
    return json.loads(done.stdout)


def flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif not isinstance(value, str):
            yield prefix + name, float(value)


if __name__ == "__main__":
    sys.exit(main())
