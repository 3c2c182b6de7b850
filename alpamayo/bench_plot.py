"""The sweeps of ``alpamayo bench sim`` as three small line charts in one SVG file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alpamayo.svg import BLUE, GRID, document, panel, text
from alpamayo.types import RequestError

PANEL_W, PANEL_H = 330, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 26, 44, 46

Points = Sequence[tuple[float, float]]


def check_plot_file(file: Path) -> Path:
    """``file`` itself, or a RequestError if no plot can have that name."""
    if file.suffix != ".svg":
        raise RequestError(f"--plot {file}: expected a name that ends in .svg")
    return file


def plot_sweeps(result: Mapping[str, Any], file: Path) -> None:
    """Draw ``result["sweeps"]`` of ``bench_sim`` into ``file``."""
    sweeps = result["sweeps"]

    def points(name: str, value: str, scale: float = 1.0) -> list[tuple[float, float]]:
        return [(p["at"], scale * p[value]) for p in sweeps[name]]

    agents = [(p["at"], p["us_per_env_step"] / p["at"]) for p in sweeps["agents"]]
    panels = [
        _panel(points("worlds", "env_steps_per_s", 1e-3), "Throughput, 16 agents",
               "worlds in the batch", "1,000 env-steps per CPU-second"),
        _panel(agents, "Cost of an agent", "agents per world", "CPU-µs per agent-step"),
        _panel(points("road_m", "us_per_env_step"), "Map size, 16 agents",
               "metres of road", "CPU-µs per env-step"),
    ]  # fmt: skip
    body = "\n".join(panel(i * PANEL_W, 0, drawn) for i, drawn in enumerate(panels))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(document(PANEL_W * len(panels), PANEL_H, body), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--plot {file}: expected a writable place ({error.strerror})") from None


def _panel(points: Points, title: str, x_label: str, y_label: str) -> str:
    """A line through ``points``: x logarithmic, y from zero."""
    low, high = math.log(points[0][0]), math.log(points[-1][0])
    top, step = _round_up(max(y for _, y in points))

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log(x) - low) / (high - low) if high > low else 0.5
        across = LEFT + share * (PANEL_W - LEFT - RIGHT)
        return across, PANEL_H - BOTTOM - y / top * (PANEL_H - TOP - BOTTOM)

    parts = [text(LEFT, 20, title, weight="bold", size=13)]
    parts.append(text(0.5 * (LEFT + PANEL_W - RIGHT), PANEL_H - 10, x_label, "middle"))
    parts.append(text(LEFT, 36, y_label, color="#666"))
    for i in range(round(top / step) + 1):
        _, y = at(points[0][0], i * step)
        parts.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{PANEL_W - RIGHT}" y2="{y:.1f}" stroke="{GRID}"/>'
        )
        parts.append(text(LEFT - 6, y + 4, f"{i * step:g}", "end"))
    for x, _ in points:
        parts.append(text(at(x, 0.0)[0], PANEL_H - BOTTOM + 16, f"{x:,.0f}", "middle"))
    line = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2"/>')
    for x, y in points:
        across, down = at(x, y)
        parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3.5" fill="{BLUE}"/>')
    return "\n".join(parts)


def _round_up(value: float) -> tuple[float, float]:
    """An axis end of at most six steps of 1, 2 or 5 times a power of ten, and that step."""
    exponent = 10.0 ** math.floor(math.log10(value / 6.0))
    step = next(m * exponent for m in (1.0, 2.0, 5.0, 10.0) if 6.0 * m * exponent >= value)
    return step * math.ceil(value / step), step
