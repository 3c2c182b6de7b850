"""Replay files: one recorded episode, with everything to simulate it again and to show it.

A ``*.replay`` file is a zip of ``.npy`` columns (numpy can open it: ``numpy.load(file)``; nothing
is pickled). The column ``header`` holds JSON as bytes: schema version, the sampled scenario,
simulator settings, policy, weights version, package versions, git revision, and the state hash
before each decision and at the end.

Shapes: T decisions, A actor slots, P plan waypoints, R reward terms, L action tokens.

``actions`` [T,K,2] f4; ``ego`` [T+1,5] f8 (x_m, y_m, heading_rad, speed_mps, time_s); ``boxes``
[T+1,A,7] f4 (x, y, heading, length, width, height, base_z; NaN where absent); ``braking`` [T+1,A]
bool; ``signals`` [T+1,2] i1; ``waypoints`` [T,P,2] f4, the plan made at that decision, in the
world frame; ``rewards`` [T,R] f4; ``decode_ms`` [T] f4; with a decode trace ``tokens`` [T,L] i4,
``commit_round`` [T,L] i1, ``log_prob`` [T,L] f4, ``rounds`` [T] i1; with a camera ``jpeg`` u1 (all
images, one after another) and ``jpeg_end`` [T+1] i8.

Files come from anywhere: reading one checks every size, shape and value and never executes
anything.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.evaluation.runner import EpisodeLog
from alpamayo.replay.codec import from_plain, to_plain
from alpamayo.replay.files import write_whole
from alpamayo.types import CheckFailed, EpisodeResult, RequestError, Scenario
from sim.config import SimConfig

SCHEMA_VERSION = 1
SUFFIX = ".replay"
_MAX_FILE_BYTES = 256 * 2**20
_MAX_COLUMN_BYTES = 256 * 2**20
_MAX_DECISIONS = 10_000
_JPEG_QUALITY = 82

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ReplayHeader:
    """Everything about the episode that is not a column. ``state_hashes``: before each decision,
    then the end.

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
        """JPEG bytes of the front camera before decision ``frame`` (T: at the end), or None
        without a camera.
        """
        if "jpeg" not in self.columns:
            return None
        ends = self.columns["jpeg_end"]
        start = int(ends[frame - 1]) if frame else 0
        return self.columns["jpeg"][start : int(ends[frame])].tobytes()


# --------------------------------------------------------------------------------------
# Recording
# --------------------------------------------------------------------------------------
def record_episode(
    log: EpisodeLog,
    sim_config: SimConfig,
    *,
    policy: str,
    decode: Mapping[str, Any] | None = None,
) -> Replay:
    """Simulate the logged episode again, alone, and record what there is to see.

    Worlds are deterministic, so this is the episode that was driven; CheckFailed if its end says
    otherwise.
    """
    from alpamayo.run_dir import versions
    from sim.world import WorldBatch

    world = WorldBatch([log.scenario], sim_config)
    recorder = Recorder(sim_config)
    recorder.frame(world)
    for action in log.actions:
        world.step(action[None])
        recorder.frame(world)
    if log.result.state_hash and recorder.hashes[-1] != log.result.state_hash:
        raise CheckFailed(
            f"{log.scenario.id} seed {log.scenario.seed}: simulating the episode again "
            "ended in another state"
        )
    columns = recorder.columns()
    columns["actions"] = np.asarray(log.actions, dtype=np.float32)
    columns["decode_ms"] = np.asarray(log.decode_ms, dtype=np.float32)
    columns["rewards"] = _stack_rewards(log)
    if log.trace is not None:
        columns["tokens"] = np.asarray(log.trace.tokens, dtype=np.int32)
        columns["commit_round"] = np.asarray(log.trace.commit_round, dtype=np.int8)
        columns["log_prob"] = np.asarray(log.trace.log_prob, dtype=np.float32)
        columns["rounds"] = np.asarray(log.trace.rounds, dtype=np.int8)
    header = ReplayHeader(
        schema_version=SCHEMA_VERSION,
        scenario=log.scenario,
        sim_config=sim_config,
        policy=policy,
        weights_version=log.result.weights_version,
        decode=dict(decode or {}),
        result=log.result,
        state_hashes=tuple(recorder.hashes),
        reward_names=tuple(log.rewards),
        actor_ids=tuple(recorder.slots),
        actor_kinds=tuple(kind for kind, _ in recorder.slots.values()),
        actor_colors=tuple(color for _, color in recorder.slots.values()),
        versions=versions(),
    )
    return Replay(header, columns)


def _stack_rewards(log: EpisodeLog) -> npt.NDArray[np.float32]:
    if not log.rewards:
        return np.zeros((len(log.actions), 0), dtype=np.float32)
    return np.stack(list(log.rewards.values()), axis=1).astype(np.float32)


class Recorder:
    """Collects one row of every column per frame of a world of size 1."""

    def __init__(self, sim_config: SimConfig) -> None:
        self.camera = sim_config.rig is not None
        self.hashes: list[str] = []
        self.slots: dict[str, tuple[str, tuple[int, int, int]]] = {}
        self._ego: list[list[float]] = []
        self._boxes: list[dict[str, tuple[npt.NDArray[Any], bool]]] = []
        self._signals: list[npt.NDArray[Any]] = []
        self._waypoints: list[npt.NDArray[Any]] = []
        self._jpegs: list[bytes] = []

    def frame(self, world: Any) -> None:
        scene = world.scene(0)
        self.hashes.append(world.state_hash()[0])
        x, y, heading = scene.ego_pose
        self._ego.append(
            [float(x), float(y), float(heading), float(scene.ego_speed_mps), float(scene.time_s)]
        )
        boxes = {}
        for n, actor in enumerate(scene.ids):
            red, green, blue = (int(c) for c in scene.colors[n])
            self.slots.setdefault(actor, (str(scene.kinds[n]), (red, green, blue)))
            boxes[actor] = (np.asarray(scene.boxes[n]), bool(scene.braking[n]))
        self._boxes.append(boxes)
        self._signals.append(np.asarray(scene.signal_state))
        self._waypoints.append(np.asarray(scene.plan_waypoints))
        if self.camera:
            self._jpegs.append(_encode_jpeg(world.observe().frames[0, -1]))

    def columns(self) -> Columns:
        frames, actors = len(self._ego), len(self.slots)
        boxes = np.full((frames, actors, 7), np.nan, dtype=np.float32)
        braking = np.zeros((frames, actors), dtype=bool)
        for t, row in enumerate(self._boxes):
            for a, actor in enumerate(self.slots):
                if actor in row:
                    boxes[t, a], braking[t, a] = row[actor]
        columns: Columns = {
            "ego": np.asarray(self._ego, dtype=np.float64),
            "boxes": boxes,
            "braking": braking,
            "signals": np.stack(self._signals).astype(np.int8),
            # The scene after a step shows the plan that was made at that decision.
            "waypoints": np.stack(self._waypoints[1:] or [np.zeros((0, 2))]).astype(np.float32),
        }
        if self.camera:
            columns["jpeg"] = np.frombuffer(b"".join(self._jpegs), dtype=np.uint8)
            columns["jpeg_end"] = np.cumsum([len(j) for j in self._jpegs], dtype=np.int64)
        return columns


def _encode_jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    """``image`` [H, W, 3] RGB."""
    import cv2

    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise RuntimeError("the camera image could not be encoded as JPEG")
    return bytes(data.tobytes())


# --------------------------------------------------------------------------------------
# Files
# --------------------------------------------------------------------------------------
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
    "tokens": ("i4", ("T", "L")),
    "commit_round": ("i1", ("T", "L")),
    "log_prob": ("f4", ("T", "L")),
    "rounds": ("i1", ("T",)),
    "jpeg": ("u1", ("J",)),
    "jpeg_end": ("i8", ("T+1",)),
}
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
    buffer = io.BytesIO(data)
    try:
        if np.lib.format.read_magic(buffer) != (1, 0):
            raise ValueError("array format version is not 1.0")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    except (ValueError, SyntaxError, TypeError, KeyError) as error:
        raise RequestError(f"{file}: {name}: expected a numpy column ({error})") from None
    expected = "u1" if name == "header" else _LAYOUT[name][0]
    if dtype != np.dtype(expected) or fortran or dtype.hasobject:
        raise RequestError(f"{file}: {name}: expected {np.dtype(expected)} values, got {dtype}")
    rest = data[buffer.tell() :]
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(rest):
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
    if version != SCHEMA_VERSION:
        raise RequestError(
            f"{file}: header.schema_version: expected {SCHEMA_VERSION}, got {version!r:.40}"
        )
    return from_plain(ReplayHeader, data, f"{file}: header")


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
    if len(header.state_hashes) != decisions + 1:
        raise RequestError(
            f"{file}: header.state_hashes: expected {decisions + 1}, got {len(header.state_hashes)}"
        )
    for name in ("actor_kinds", "actor_colors"):
        if len(getattr(header, name)) != len(header.actor_ids):
            raise RequestError(f"{file}: header.{name}: expected {len(header.actor_ids)} entries")


def _check_values(file: Path, header: ReplayHeader, columns: Columns) -> None:
    for name in ("actions", "ego", "waypoints", "rewards", "decode_ms"):
        if not np.isfinite(columns[name]).all():
            place = np.argwhere(~np.isfinite(columns[name]))[0].tolist()
            raise RequestError(f"{file}: {name}{place}: expected a finite number")
    if "jpeg" in columns:
        ends = columns["jpeg_end"]
        if (np.diff(ends, prepend=0) < 0).any() or int(ends[-1]) != len(columns["jpeg"]):
            raise RequestError(
                f"{file}: jpeg_end: expected rising ends up to {len(columns['jpeg'])}"
            )


def with_columns(replay: Replay, **changes: npt.NDArray[Any]) -> Replay:
    """A copy with some columns replaced."""
    return dataclasses.replace(replay, columns={**replay.columns, **changes})
