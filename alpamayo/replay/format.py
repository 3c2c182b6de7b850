"""Replay files: one recorded episode, with everything to simulate it again and to show it.

A ``*.replay`` file is a zip of ``.npy`` columns (numpy can open it: ``numpy.load(file)``; nothing
is pickled). The column ``header`` holds JSON as bytes: schema version, the sampled scenario and its
hash, simulator settings, policy, weights version, package versions, git revision, and the state
hash before each decision and at the end.

Shapes: T decisions, N ticks, A actor slots, E events of the scenario, P plan waypoints, R reward
terms, L action tokens.

``actions`` [T,K,2] f4; ``ego`` [T+1,5] f8 (x_m, y_m, heading_rad, speed_mps, time_s); ``boxes``
[T+1,A,7] f4 (x, y, heading, length, width, height, base_z; NaN where absent); ``braking`` [T+1,A]
bool; ``signals`` [T+1,2] i1; ``waypoints`` [T,P,2] f4, the plan made at that decision, in the
world frame; ``rewards`` [T,R] f4; ``decode_ms`` [T] f4.

Since version 2: ``latency_s`` [T] f4, from the observation to the plan in effect; ``tick_hash`` [N]
u8, the first 8 bytes of the state's SHA-256 after each tick; ``ttc_s`` and ``gap_m`` [N] f4, the
judge's time to collision and gap to the nearest (inf: nobody near); ``event_s`` [E] f8, when each
event fired (inf: never).

With a decode trace ``tokens`` [T,L] i4, ``commit_round`` [T,L] i1, ``log_prob`` [T,L] f4,
``rounds`` [T] i1; with cameras ``jpeg`` u1 (all images, one after another; each shows all cameras
of the rig side by side) and ``jpeg_end`` [T+1] i8.

Files come from anywhere: reading one checks every size, shape and value and never executes
anything.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.replay.codec import from_plain, to_plain
from alpamayo.replay.files import write_whole
from alpamayo.types import EpisodeResult, RequestError, Scenario
from sim.config import SimConfig

SCHEMA_VERSION = 2
_READABLE = (1, 2)
SUFFIX = ".replay"
_MAX_FILE_BYTES = 256 * 2**20
_MAX_COLUMN_BYTES = 256 * 2**20
_MAX_DECISIONS = 10_000

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ReplayHeader:
    """Everything about the episode that is not a column. ``state_hashes``: before each decision,
    then the end. ``scenario_hash``: ``hash_of(scenario)``; empty in version 1.

    ``actor_ids``/``actor_kinds``/``actor_colors`` name the actor slots of ``boxes``.
    """

    schema_version: int
    scenario: Scenario
    sim_config: SimConfig
    policy: str
    weights_version: int
    decode: Mapping[str, Any]
    result: EpisodeResult
    state_hashes: tuple[str, ...]
    reward_names: tuple[str, ...]
    actor_ids: tuple[str, ...]
    actor_kinds: tuple[str, ...]
    actor_colors: tuple[tuple[int, int, int], ...]
    versions: Mapping[str, Any] = field(default_factory=dict)
    scenario_hash: str = ""

    @property
    def title(self) -> str:
        return f"{self.scenario.id} seed {self.scenario.seed} {self.policy}"


@dataclass(frozen=True)
class Replay:
    """A recorded episode: header and columns (shapes in the module's docstring)."""

    header: ReplayHeader
    columns: Columns

    @property
    def decisions(self) -> int:
        return len(self.columns["actions"])

    def image(self, frame: int) -> bytes | None:
        """JPEG bytes of the cameras, side by side, before decision ``frame`` (T: at the end), or
        None without a camera.
        """
        if "jpeg" not in self.columns:
            return None
        ends = self.columns["jpeg_end"]
        start = int(ends[frame - 1]) if frame else 0
        return self.columns["jpeg"][start : int(ends[frame])].tobytes()


def hash_of(scenario: Scenario) -> str:
    """SHA-256 of all that a sampled scenario says, as it comes out of a file (3 m is 3.0 m)."""
    read = from_plain(Scenario, to_plain(scenario), "scenario")
    text = json.dumps(to_plain(read), allow_nan=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_replay(path: str | Path, replay: Replay) -> Path:
    """Write atomically: readers see the whole file or none."""
    text = json.dumps(to_plain(replay.header), allow_nan=False)
    columns = {"header": np.frombuffer(text.encode(), dtype=np.uint8), **replay.columns}
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, column in columns.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(column), allow_pickle=False)
            # ZipInfo has a fixed time stamp: equal episodes make equal files.
            entry = zipfile.ZipInfo(f"{name}.npy")
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED)
    return write_whole(path, whole.getvalue())


# Column -> (dtype kind and size, shape); names stand for sizes that must agree throughout the file.
_LAYOUT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "actions": ("f4", ("T", "K", 2)),
    "ego": ("f8", ("T+1", 5)),
    "boxes": ("f4", ("T+1", "A", 7)),
    "braking": ("b1", ("T+1", "A")),
    "signals": ("i1", ("T+1", 2)),
    "waypoints": ("f4", ("T", "P", 2)),
    "rewards": ("f4", ("T", "R")),
    "decode_ms": ("f4", ("T",)),
    "latency_s": ("f4", ("T",)),
    "tick_hash": ("u8", ("N",)),
    "ttc_s": ("f4", ("N",)),
    "gap_m": ("f4", ("N",)),
    "event_s": ("f8", ("E",)),
    "tokens": ("i4", ("T", "L")),
    "commit_round": ("i1", ("T", "L")),
    "log_prob": ("f4", ("T", "L")),
    "rounds": ("i1", ("T",)),
    "jpeg": ("u1", ("J",)),
    "jpeg_end": ("i8", ("T+1",)),
}
_SINCE_2 = {"latency_s", "tick_hash", "ttc_s", "gap_m", "event_s"}
_OPTIONAL = ({"tokens", "commit_round", "log_prob", "rounds"}, {"jpeg", "jpeg_end"})


def read_replay(path: str | Path) -> Replay:
    """Read and check a replay file; RequestError names the file, the place and what was
    expected.
    """
    file = Path(path)
    raw = _read_columns(file)
    if "header" not in raw:
        raise RequestError(f"{file}: header: missing; expected a replay file made by alpamayo")
    header = _parse_header(file, raw.pop("header"))
    for group in _OPTIONAL:
        present = group & set(raw)
        if present and present != group:
            missing = sorted(group - present)[0]
            raise RequestError(f"{file}: {missing}: missing, though {sorted(present)[0]} is there")
    required = set(_LAYOUT) - set().union(*_OPTIONAL)
    if header.schema_version == 1:
        required -= _SINCE_2
    for name in sorted(required - set(raw)):
        raise RequestError(f"{file}: {name}: missing column")
    _check_shapes(file, header, raw)
    _check_values(file, header, raw)
    return Replay(header, raw)


def _read_columns(file: Path) -> Columns:
    try:
        size = file.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise RequestError(f"{file}: expected at most {_MAX_FILE_BYTES} bytes, got {size}")
        with zipfile.ZipFile(file) as archive:
            columns: Columns = {}
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in columns or (name not in _LAYOUT and name != "header"):
                    raise RequestError(
                        f"{file}: {info.filename[:80]!r}: unexpected member; "
                        "expected replay columns"
                    )
                columns[name] = _read_column(file, name, archive, info)
            return columns
    except OSError as error:
        raise RequestError(
            f"{file}: expected a readable replay file ({error.strerror or error})"
        ) from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise RequestError(
            f"{file}: expected a whole replay file, found a damaged one ({error})"
        ) from None


# What numpy writes for a column in C order, and no more: its own reader evaluates the text.
_ARRAY_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<descr>[<|][a-zA-Z]\d{1,4})', 'fortran_order': False, "
    rb"'shape': \((?P<shape>(?:\d{1,12}(?:, |,)?){0,4})\), \} *\n",
    re.DOTALL,
)


def _read_column(
    file: Path, name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> npt.NDArray[Any]:
    """Read one member without trusting its declared sizes: neither the zip's nor the array
    header's.
    """
    with archive.open(info) as stream:
        data = stream.read(_MAX_COLUMN_BYTES + 1)
    if len(data) > _MAX_COLUMN_BYTES:
        raise RequestError(f"{file}: {name}: expected at most {_MAX_COLUMN_BYTES} bytes")
    head = _ARRAY_HEAD.match(data)
    if head is None:
        raise RequestError(f"{file}: {name}: expected a numpy column of format 1.0")
    dtype = np.dtype("u1" if name == "header" else _LAYOUT[name][0])
    descr, shape_text = (head.group(n).decode("ascii") for n in ("descr", "shape"))
    if descr != dtype.str:
        raise RequestError(f"{file}: {name}: expected {dtype} values, got {descr}")
    shape = tuple(int(n) for n in shape_text.replace(" ", "").split(",") if n)
    rest = data[head.end() :]
    if math.prod(shape) * dtype.itemsize != len(rest):
        raise RequestError(
            f"{file}: {name}: expected {len(rest)} bytes of data to match its shape {shape}"
        )
    return np.frombuffer(rest, dtype=dtype).reshape(shape)


def _parse_header(file: Path, raw: npt.NDArray[np.uint8]) -> ReplayHeader:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        data = json.loads(raw.tobytes().decode("utf-8"), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{file}: header: expected JSON ({error})") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version not in _READABLE or isinstance(version, bool):
        expected = " or ".join(map(str, _READABLE))
        raise RequestError(
            f"{file}: header.schema_version: expected {expected}, got {version!r:.40}"
        )
    header = from_plain(ReplayHeader, data, f"{file}: header")
    if header.schema_version > 1 and header.scenario_hash != hash_of(header.scenario):
        raise RequestError(
            f"{file}: header.scenario_hash: expected the hash of the scenario in the file"
        )
    return header


def _check_shapes(file: Path, header: ReplayHeader, columns: Columns) -> None:
    decisions = len(columns["actions"]) if columns["actions"].ndim else 0
    if not 1 <= decisions <= _MAX_DECISIONS:
        raise RequestError(
            f"{file}: actions: expected 1 to {_MAX_DECISIONS} decisions, got {decisions}"
        )
    sizes: dict[str, int] = {
        "T": decisions,
        "T+1": decisions + 1,
        "K": header.sim_config.plan_steps,
        "A": len(header.actor_ids),
        "R": len(header.reward_names),
        "E": len(header.scenario.events),
    }
    for name, column in columns.items():
        layout = _LAYOUT[name][1]
        expected = tuple(
            sizes.setdefault(n, column.shape[i] if i < column.ndim else -1)
            if isinstance(n, str)
            else n
            for i, n in enumerate(layout)
        )
        if column.shape != expected:
            raise RequestError(f"{file}: {name}: expected shape {expected}, got {column.shape}")
    ticks = sizes.get("N", 1)
    most = decisions * round(header.sim_config.decision_s / header.sim_config.tick_s)
    if not 1 <= ticks <= most:
        raise RequestError(f"{file}: tick_hash: expected 1 to {most} ticks, got {ticks}")
    if len(header.state_hashes) != decisions + 1:
        raise RequestError(
            f"{file}: header.state_hashes: expected {decisions + 1}, got {len(header.state_hashes)}"
        )
    for name in ("actor_kinds", "actor_colors"):
        if len(getattr(header, name)) != len(header.actor_ids):
            raise RequestError(f"{file}: header.{name}: expected {len(header.actor_ids)} entries")


def _check_values(file: Path, header: ReplayHeader, columns: Columns) -> None:
    for name in ("actions", "ego", "waypoints", "rewards", "decode_ms", "latency_s"):
        if name in columns and not np.isfinite(columns[name]).all():
            place = np.argwhere(~np.isfinite(columns[name]))[0].tolist()
            raise RequestError(f"{file}: {name}{place}: expected a finite number")
    for name in ("ttc_s", "gap_m", "event_s"):
        if name in columns and np.isnan(columns[name]).any():
            raise RequestError(f"{file}: {name}: expected numbers (inf: none)")
    if "jpeg" in columns:
        ends = columns["jpeg_end"]
        if (np.diff(ends, prepend=0) < 0).any() or int(ends[-1]) != len(columns["jpeg"]):
            raise RequestError(
                f"{file}: jpeg_end: expected rising ends up to {len(columns['jpeg'])}"
            )


def with_columns(replay: Replay, **changes: npt.NDArray[Any]) -> Replay:
    """A copy with some columns replaced."""
    return dataclasses.replace(replay, columns={**replay.columns, **changes})


def fired_events(replay: Replay) -> list[tuple[float, int, str]]:
    """(time_s, number in the scenario, letter) of the events that fired, in the order of time."""
    times = replay.columns.get("event_s", np.zeros(0))
    order = [int(n) for n in np.argsort(times, kind="stable") if np.isfinite(times[n])]
    return [(float(times[n]), n, chr(ord("A") + i % 26)) for i, n in enumerate(order)]
