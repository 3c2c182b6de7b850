"""Replays as Rerun recordings, ``.rrd`` (extra ``rerun``).

A recording is for looking at: viewers promise to open those of their own and the previous minor
version only. The replay stays the archive.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo.replay.files import require, whole_file
from alpamayo.replay.format import Replay
from alpamayo.replay.scene3d import (
    EGO_COLOR,
    ROAD_COLOR,
    Moment,
    moments,
    road_lines,
    tick_signals,
    told_events,
)
from alpamayo.replay.video import Progress
from alpamayo.types import RequestError

TIMELINE = "episode_time"


def write_rerun(path: str | Path, replay: Replay, progress: Progress | None = None) -> Path:
    """One ``.rrd``; nothing is sent anywhere and no viewer starts."""
    file = Path(path)
    if file.suffix != ".rrd":
        raise RequestError(f"{file}: expected a name that ends with .rrd")
    rr = require("rerun", "rerun")
    header = replay.header
    name = f"{header.scenario.id}-{header.scenario.seed}"
    with whole_file(file) as part:
        stream = rr.RecordingStream(
            "alpamayo", recording_id=f"{name}-{header.state_hashes[-1][:8]}"
        )
        stream.save(str(part))
        stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        lines = [np.pad(line, ((0, 0), (0, 1))) for line in road_lines(replay)]
        stream.log(
            "world/road", rr.LineStrips3D(lines, colors=[ROAD_COLOR], radii=0.08), static=True
        )
        about = f"{header.title}: {header.result.end}; scenario {header.scenario_hash}"
        stream.log("about", rr.TextDocument(about), static=True)
        for moment in moments(replay):
            _log_moment(rr, stream, moment)
            if progress is not None:
                progress(moment.decision + 1, replay.decisions + 1)
        for time_s, ttc_s, gap_m in tick_signals(replay):
            stream.set_time(TIMELINE, duration=time_s)
            for entity, value in (("risk/ttc_s", ttc_s), ("risk/gap_m", gap_m)):
                if math.isfinite(value):
                    stream.log(entity, rr.Scalars(value))
        for time_s, text in told_events(replay):
            stream.set_time(TIMELINE, duration=time_s)
            stream.log("events", rr.TextLog(text))
        stream.flush()
        stream.disconnect()
    return file


def _log_moment(rr: Any, stream: Any, moment: Moment) -> None:
    stream.set_time(TIMELINE, duration=moment.time_s)
    boxes = moment.boxes
    halves = [box.heading_rad / 2 for box in boxes]
    shown = rr.Boxes3D(
        centers=[box.center_m for box in boxes],
        half_sizes=[[side / 2 for side in box.size_m] for box in boxes],
        quaternions=[rr.Quaternion(xyzw=[0.0, 0.0, math.sin(h), math.cos(h)]) for h in halves],
        colors=[box.color for box in boxes],
        labels=[box.name for box in boxes],
        show_labels=False,
        fill_mode="solid",
    )
    stream.log("world/bodies", shown)
    if len(moment.plan):
        plan = np.pad(moment.plan, ((0, 0), (0, 1)), constant_values=0.05)
        stream.log("world/plan", rr.LineStrips3D([plan], colors=[EGO_COLOR], radii=0.15))
    stream.log("ego/speed_mps", rr.Scalars(moment.speed_mps))
    for name, value in moment.rewards.items():
        stream.log(f"rewards/{name}", rr.Scalars(value))
    if moment.jpeg is not None:
        stream.log("camera", rr.EncodedImage(contents=moment.jpeg, media_type="image/jpeg"))
