"""Replays as MCAP files, which Foxglove, Lichtblick and others open (extra ``mcap``).

Channels of JSON messages, with Foxglove's schemas where there is one: ``/scene`` (boxes and plan)
and ``/road`` (foxglove.SceneUpdate), ``/camera`` (foxglove.CompressedImage, all cameras side by
side), ``/events`` (foxglove.Log), and our own ``/ego``, ``/rewards`` and, every tick, ``/risk``.
The metadata record ``replay`` holds the header, without state hashes. https://mcap.dev/spec
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

from alpamayo.replay.codec import to_plain
from alpamayo.replay.files import require, whole_file
from alpamayo.replay.format import Replay
from alpamayo.replay.scene3d import (
    ROAD_COLOR,
    Box,
    Moment,
    moments,
    road_lines,
    tick_signals,
    told_events,
)
from alpamayo.replay.video import Progress
from alpamayo.types import RequestError

FRAME = "world"
_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_OBJECT: dict[str, Any] = {"type": "object"}
# topic -> (name of the schema, the schema itself; viewers know Foxglove's by name)
CHANNELS: dict[str, tuple[str, dict[str, Any]]] = {
    "/scene": ("foxglove.SceneUpdate", _OBJECT),
    "/road": ("foxglove.SceneUpdate", _OBJECT),
    "/camera": (
        "foxglove.CompressedImage",
        {"type": "object", "properties": {"data": {"type": "string", "contentEncoding": "base64"}}},
    ),
    "/events": ("foxglove.Log", _OBJECT),
    "/ego": ("alpamayo.Ego", _NUMBERS),
    "/rewards": ("alpamayo.Rewards", _NUMBERS),
    "/risk": ("alpamayo.Risk", _NUMBERS),
}


def write_mcap(path: str | Path, replay: Replay, progress: Progress | None = None) -> Path:
    """One file; times count from the start of the episode."""
    file = Path(path)
    if file.suffix != ".mcap":
        raise RequestError(f"{file}: expected a name that ends with .mcap")
    writing = require("mcap.writer", "mcap")
    with whole_file(file) as part, part.open("wb") as stream:
        writer = writing.Writer(stream)
        writer.start(profile="", library="alpamayo")
        out = _Channels(writer)
        header = {k: v for k, v in to_plain(replay.header).items() if k != "state_hashes"}
        writer.add_metadata("replay", {k: json.dumps(v) for k, v in header.items()})
        out.send("/road", 0.0, _road(replay))
        for moment in moments(replay):
            _send_moment(out, moment)
            if progress is not None:
                progress(moment.decision + 1, replay.decisions + 1)
        for time_s, ttc_s, gap_m in tick_signals(replay):
            near = {"ttc_s": ttc_s, "gap_m": gap_m}
            out.send("/risk", time_s, {k: v for k, v in near.items() if math.isfinite(v)})
        for time_s, text in told_events(replay):
            told = {"timestamp": _stamp(time_s), "level": 2, "message": text, "name": "event"}
            out.send("/events", time_s, told)
        writer.finish()
    return file


class _Channels:
    def __init__(self, writer: Any) -> None:
        self._writer, self._sequence = writer, 0
        self._ids: dict[str, int] = {}
        for topic, (name, schema) in CHANNELS.items():
            schema_id = writer.register_schema(
                name=name, encoding="jsonschema", data=json.dumps(schema).encode()
            )
            self._ids[topic] = writer.register_channel(
                topic=topic, message_encoding="json", schema_id=schema_id
            )

    def send(self, topic: str, time_s: float, message: dict[str, Any]) -> None:
        time_ns = round(time_s * 1e9)
        self._writer.add_message(
            channel_id=self._ids[topic],
            log_time=time_ns,
            publish_time=time_ns,
            sequence=self._sequence,
            data=json.dumps(message, allow_nan=False, separators=(",", ":")).encode(),
        )
        self._sequence += 1


def _send_moment(out: _Channels, moment: Moment) -> None:
    time_s, ego = moment.time_s, moment.ego
    entities = [_entity(box, time_s) for box in moment.boxes]
    if len(moment.plan):
        entities.append(_lines("plan", [moment.plan], time_s, (255, 255, 255), 0.3))
    # Whoever has left disappears: the scene is told anew each time.
    gone = [{"timestamp": _stamp(time_s), "type": 1, "id": ""}]
    out.send("/scene", time_s, {"deletions": gone, "entities": entities})
    x, y, _ = ego.center_m
    pose = {"x_m": x, "y_m": y, "heading_rad": ego.heading_rad, "speed_mps": moment.speed_mps}
    out.send("/ego", time_s, pose)
    if moment.rewards:
        out.send("/rewards", time_s, moment.rewards)
    if moment.jpeg is not None:
        picture = {
            "timestamp": _stamp(time_s),
            "frame_id": "camera",
            "data": base64.b64encode(moment.jpeg).decode("ascii"),
            "format": "jpeg",
        }
        out.send("/camera", time_s, picture)


def _stamp(time_s: float) -> dict[str, int]:
    sec, nsec = divmod(round(time_s * 1e9), 10**9)
    return {"sec": sec, "nsec": nsec}


def _entity(box: Box, time_s: float) -> dict[str, Any]:
    size = dict(zip("xyz", box.size_m, strict=True))
    cube = {"pose": _pose(box.center_m, box.heading_rad), "size": size, "color": _color(box.color)}
    return _entity_of(box.name, time_s, cubes=[cube])


def _lines(
    name: str, lines: list[Any], time_s: float, color: tuple[int, int, int], width_m: float
) -> dict[str, Any]:
    shown = [
        {
            "type": 0,
            "pose": _pose((0.0, 0.0, 0.02), 0.0),
            "thickness": width_m,
            "scale_invariant": False,
            "points": [{"x": float(x), "y": float(y), "z": 0.0} for x, y in line],
            "color": _color(color),
            "colors": [],
            "indices": [],
        }
        for line in lines
    ]
    return _entity_of(name, time_s, lines=shown)


def _entity_of(name: str, time_s: float, **shapes: Any) -> dict[str, Any]:
    kinds = ("arrows", "cubes", "spheres", "cylinders", "lines", "triangles", "texts", "models")
    return {
        "timestamp": _stamp(time_s),
        "frame_id": FRAME,
        "id": name,
        "lifetime": {"sec": 0, "nsec": 0},
        "frame_locked": False,
        "metadata": [],
        **{kind: [] for kind in kinds},
        **shapes,
    }


def _road(replay: Replay) -> dict[str, Any]:
    lines = _lines("road", road_lines(replay), 0.0, ROAD_COLOR, 0.15)
    return {"deletions": [], "entities": [lines]}


def _pose(position_m: tuple[float, float, float], heading_rad: float) -> dict[str, Any]:
    half = heading_rad / 2
    return {
        "position": dict(zip("xyz", position_m, strict=True)),
        "orientation": {"x": 0.0, "y": 0.0, "z": math.sin(half), "w": math.cos(half)},
    }


def _color(rgb: tuple[int, int, int]) -> dict[str, float]:
    return dict(zip("rgba", (*(c / 255.0 for c in rgb), 1.0), strict=True))
