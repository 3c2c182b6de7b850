"""Failure rate against time of several training runs in one picture.

.venv/bin/python benchmarks/learning_curves.py runs/a=plain runs/b="with a curriculum" --out c.svg

Time is CPU time of workers and learner together (what a loaded machine cannot distort); ``--x
wall`` takes the iterations' wall time. The failure rate is that of the sampled training episodes:
remembered per scenario, in the suite's shares, where the run had a curriculum (which draws what
fails), else plain; means of ``--window`` iterations.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from alpamayo.replay.files import write_whole
from alpamayo.svg import BLUE, GREY, GRID, ORANGE, document, text

COLOURS = (BLUE, ORANGE, "#3f8f4f", "#8a4fb0", "#b03a48", GREY)
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 360, 56, 16, 22, 44
STRATIFIED, PLAIN = "curriculum/failure_rate_stratified", "rollout/failure_rate"
Curve = list[tuple[float, float]]


def read(folder: Path, axis: str, window: int) -> Curve:
    """(minutes, failure rate) at the end of each window."""
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if PLAIN in row]
    if axis == "wall":
        seconds = [row["time/iteration_s"] for row in rows]
    else:
        seconds = [row["time/workers_cpu_s"] + row["time/learner_cpu_s"] for row in rows]
    minutes = [s / 60 for s in accumulate(seconds)]
    name = STRATIFIED if STRATIFIED in rows[0] else PLAIN
    rates = [float(row[name]) for row in rows]
    ends = range(window, len(rows) + 1, window)
    return [(minutes[end - 1], sum(rates[end - window : end]) / window) for end in ends]


def draw(curves: Sequence[Curve], names: Sequence[str], axis: str) -> str:
    longest = max(x for curve in curves for x, _ in curve)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(x: float, y: float) -> str:
        across = LEFT + x / longest * (right - LEFT)
        return f"{across:.1f},{bottom - y * (bottom - TOP):.1f}"

    parts = []
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        y = bottom - share * (bottom - TOP)
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{right}" y2="{y}" stroke="{GRID}"/>')
        parts.append(text(LEFT - 6, y + 4, f"{share:.0%}", "end", GREY))
    step = max(1, round(longest / 8))
    for minute in range(0, int(longest) + 1, step):
        x = LEFT + minute / longest * (right - LEFT)
        parts.append(text(x, bottom + 16, f"{minute}", "middle", GREY))
    told = "minutes of wall time" if axis == "wall" else "minutes of CPU time, workers and learner"
    parts.append(text(right, HEIGHT - 8, told, "end", GREY))
    for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        line = " ".join(at(x, y) for x, y in curve)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(right - 6, TOP + 14 + 16 * i, name, "end", colour))
    return document(WIDTH, HEIGHT, "".join(parts))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN[=NAME]")
    parser.add_argument("--x", choices=("cpu", "wall"), default="cpu")
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    folders = [Path(word.partition("=")[0]) for word in args.runs]
    pairs = zip(args.runs, folders, strict=True)
    names = [word.partition("=")[2] or folder.name for word, folder in pairs]
    curves = [read(folder, args.x, args.window) for folder in folders]
    for name, curve in zip(names, curves, strict=True):
        minutes, rate = curve[-1]
        print(f"{name}: {rate:.1%} after {minutes:.1f} min")
    print(write_whole(args.out, draw(curves, names, args.x)))


if __name__ == "__main__":
    main()
