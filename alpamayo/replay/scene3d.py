"""What the exporters to other viewers show of a moment: boxes, lines and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.authoring.describe import event_text
from alpamayo.replay.format import Replay, fired_events
from alpamayo.types import EGO_SIZE_M

EGO_COLOR, ROAD_COLOR = (37, 99, 201), (150, 150, 150)


@dataclass(frozen=True)
class Box:
    """A body on the ground: centre and size in metres, heading in radians, RGB colour."""

    name: str
    center_m: tuple[float, float, float]
    heading_rad: float
    size_m: tuple[float, float, float]
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Moment:
    """The state before decision ``decision`` (T: at the end), the plan made there and what the
    judge made of the step that led here (none at the start)."""

    decision: int
    time_s: float
    speed_mps: float
    boxes: tuple[Box, ...]
    plan: npt.NDArray[np.float64]  # [P, 2]; empty at the end
    rewards: dict[str, float]
    jpeg: bytes | None

    @property
    def ego(self) -> Box:
        return self.boxes[0]


def moments(replay: Replay) -> Iterator[Moment]:
    """Every recorded state; the ego is the first box."""
    header, columns = replay.header, replay.columns
    for k, (x, y, heading, speed, time_s) in enumerate(columns["ego"].tolist()):
        ego = Box("ego", (x, y, EGO_SIZE_M[2] / 2), heading, EGO_SIZE_M, EGO_COLOR)
        others = (
            _box(name, row, color)
            for name, row, color in zip(
                header.actor_ids, columns["boxes"][k].tolist(), header.actor_colors, strict=True
            )
            if np.isfinite(row).all()
        )
        rewards = columns["rewards"][k - 1].tolist() if k else []
        plan = columns["waypoints"][k] if k < replay.decisions else np.zeros((0, 2))
        yield Moment(
            k, time_s, speed, (ego, *others), np.asarray(plan, dtype=np.float64),
            dict(zip(header.reward_names, rewards, strict=False)), replay.image(k),
        )  # fmt: skip


def _box(name: str, row: list[float], color: tuple[int, int, int]) -> Box:
    x, y, heading, length, width, height, base = row
    return Box(name, (x, y, base + height / 2), heading, (length, width, height), color)


def road_lines(replay: Replay) -> list[npt.NDArray[np.float64]]:
    """[n, 2] each: lane markings and edges."""
    from sim.roads import build_road_map

    road: Any = build_road_map(replay.header.scenario.road)
    return [np.asarray(m.points, dtype=np.float64)[:, :2] for m in road.markings]


def tick_signals(replay: Replay) -> Iterator[tuple[float, float, float]]:
    """(time_s, time to collision [s], gap [m]) at the end of every tick; inf where nobody is
    near. Nothing in files of version 1."""
    tick_s = replay.header.sim_config.tick_s
    signals = (replay.columns.get(name, np.zeros(0)).tolist() for name in ("ttc_s", "gap_m"))
    for n, (ttc_s, gap_m) in enumerate(zip(*signals, strict=True), 1):
        yield n * tick_s, ttc_s, gap_m


def told_events(replay: Replay) -> list[tuple[float, str]]:
    """(time_s, text) of the events that fired, and how it ended."""
    scenario, result = replay.header.scenario, replay.header.result
    told = [(time_s, event_text(scenario, n)) for time_s, n, _ in fired_events(replay)]
    return [*told, (float(replay.columns["ego"][-1, 4]), f"end: {result.end}")]
