"""Replays as a dataset in the layout of LeRobot v3.0, so that the data can train other models.

A row per decision. ``data/chunk-000/file-000.parquet`` holds the rows of many episodes,
``videos/<camera>/chunk-000/file-000.mp4`` their pictures one episode after the other,
``meta/episodes/`` where each begins and ends, ``meta/tasks.parquet``, ``meta/stats.json`` and
``meta/info.json`` the rest. https://huggingface.co/docs/lerobot/lerobot-dataset-v3

LeRobot itself is not needed; PyAV is where there are pictures (extra ``video``).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.replay.files import whole_folder
from alpamayo.replay.format import Replay, read_replay
from alpamayo.replay.video import Progress, camera_images, open_video
from alpamayo.types import RequestError
from sim.config import SimConfig

CODEBASE_VERSION = "v3.0"
CHUNK_FILES, DATA_FILE_MB, VIDEO_FILE_MB = 1000, 100, 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
STATE = ("x_m", "y_m", "heading_rad", "speed_mps")
_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
_STATS_PIXELS = 16  # of every side, for the statistics of pictures

Stats = dict[str, dict[str, Any]]


def write_lerobot(
    folder: str | Path, files: Sequence[str | Path], progress: Progress | None = None
) -> Path:
    """One dataset of all replays; they must agree on times, plans and cameras."""
    if not files:
        raise RequestError("lerobot: expected at least one replay")
    with whole_folder(folder) as part:
        dataset = _Dataset(part, read_replay(files[0]).header.sim_config)
        with dataset:
            for n, file in enumerate(files):
                dataset.add(read_replay(file), str(file))
                if progress is not None:
                    progress(n + 1, len(files))
        dataset.write_meta()
    return Path(folder)


@dataclass
class _Videos:
    """The open video file of one camera."""

    key: str
    index: int = 0
    frames: int = 0
    append: Any = None
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)


class _Dataset:
    """Collects episodes; files are closed when they are large enough, and at the end."""

    def __init__(self, root: Path, config: SimConfig) -> None:
        self._root, self._config = root, config
        self._fps = 1 / Fraction(config.decision_s).limit_denominator(1000)
        cameras = () if config.rig is None else config.rig.cameras
        self._videos = [_Videos(f"observation.images.{c.name}") for c in cameras]
        self._tasks: dict[str, int] = {}
        self._episodes: list[dict[str, Any]] = []
        self._pending: list[dict[str, npt.NDArray[Any]]] = []
        self._data_index, self._rows, self._pending_bytes = 0, 0, 0
        self._parts: list[dict[str, npt.NDArray[Any]]] = []

    def __enter__(self) -> _Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        for video in self._videos:
            video.closing.close()

    def add(self, replay: Replay, place: str) -> None:
        """Append one episode."""
        self._check(replay, place)
        columns, length = replay.columns, replay.decisions
        index, scenario = len(self._episodes), replay.header.scenario
        task = f"Drive safely: {scenario.family.replace('_', ' ')}"
        number = self._tasks.setdefault(task, len(self._tasks))
        frames = np.arange(length)
        rows: dict[str, npt.NDArray[Any]] = {
            "observation.state": columns["ego"][:length, :4].astype(np.float32),
            "action": columns["actions"].reshape(length, -1),
            "next.reward": columns["rewards"].sum(axis=1, dtype=np.float32),
            "next.done": frames == length - 1,
            "timestamp": (frames / float(self._fps)).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(length, index),
            "index": self._rows + frames,
            "task_index": np.full(length, number),
        }
        told: dict[str, Any] = {
            "episode_index": index,
            "tasks": [task],
            "length": length,
            "data/chunk_index": self._data_index // CHUNK_FILES,
            "data/file_index": self._data_index % CHUNK_FILES,
            "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
            "alpamayo/scenario": scenario.id,
            "alpamayo/seed": scenario.seed,
            "alpamayo/policy": replay.header.policy,
            "alpamayo/weights_version": replay.header.weights_version,
            "alpamayo/end": replay.header.result.end,
        }
        stats = {name: _stats(values) for name, values in rows.items()}
        thumbnails = self._add_pictures(replay, told)
        stats |= {key: _picture_stats(images) for key, images in thumbnails.items()}
        for name, entries in stats.items():
            told |= {f"stats/{name}/{kind}": value for kind, value in entries.items()}
        self._episodes.append(told)
        self._parts.append(rows | {k: images for k, images in thumbnails.items()})
        self._pending.append(rows)
        self._rows += length
        self._pending_bytes += sum(values.nbytes for values in rows.values())
        if self._pending_bytes > DATA_FILE_MB * 2**20:
            self._write_data()

    def _check(self, replay: Replay, place: str) -> None:
        config, first = replay.header.sim_config, self._config
        for name in ("decision_s", "plan_steps", "rig"):
            found, expected = getattr(config, name), getattr(first, name)
            if found != expected:
                raise RequestError(
                    f"{place}: sim.{name}: expected {expected}, as in the first replay, got {found}"
                )
        if config.rig is not None and "jpeg" not in replay.columns:
            raise RequestError(f"{place}: jpeg: expected pictures, as the rig has cameras")

    def _add_pictures(
        self, replay: Replay, told: dict[str, Any]
    ) -> dict[str, npt.NDArray[np.uint8]]:
        """Appends to the videos; small pictures [T, h, w, 3] of each camera, for statistics."""
        if not self._videos:
            return {}
        rig, fps = self._config.rig, self._fps
        assert rig is not None
        for video in self._videos:
            path = self._video_path(video)
            # The encoder holds the first pictures back: there may be no file yet.
            written = path.stat().st_size if path.exists() else 0
            if video.append is not None and written > VIDEO_FILE_MB * 2**20:
                video.closing.close()
                video.closing, video.append = contextlib.ExitStack(), None
                video.index, video.frames = video.index + 1, 0
            if video.append is None:
                path = self._video_path(video)
                path.parent.mkdir(parents=True, exist_ok=True)
                opened = open_video(path, rig.width_px, rig.height_px, fps)
                video.append = video.closing.enter_context(opened)
            place = f"videos/{video.key}"
            told[f"{place}/chunk_index"] = video.index // CHUNK_FILES
            told[f"{place}/file_index"] = video.index % CHUNK_FILES
            told[f"{place}/from_timestamp"] = video.frames / float(fps)
            told[f"{place}/to_timestamp"] = (video.frames + replay.decisions) / float(fps)
        small: dict[str, list[npt.NDArray[np.uint8]]] = {v.key: [] for v in self._videos}
        for frame in range(replay.decisions):
            for video, image in zip(self._videos, camera_images(replay, frame), strict=True):
                video.append(image)
                video.frames += 1
                steps = [max(1, side // _STATS_PIXELS) for side in image.shape[:2]]
                small[video.key].append(image[:: steps[0], :: steps[1]])
        return {key: np.stack(images) for key, images in small.items()}

    def _video_path(self, video: _Videos) -> Path:
        chunk, file = divmod(video.index, CHUNK_FILES)
        name = VIDEO_PATH.format(video_key=video.key, chunk_index=chunk, file_index=file)
        return self._root / name

    def _write_data(self) -> None:
        import pyarrow.parquet

        chunk, file = divmod(self._data_index, CHUNK_FILES)
        path = self._root / DATA_PATH.format(chunk_index=chunk, file_index=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(_table(self._pending), path)
        self._pending, self._pending_bytes = [], 0
        self._data_index += 1

    def write_meta(self) -> None:
        """After the last episode, with all videos closed."""
        import pandas
        import pyarrow
        import pyarrow.parquet

        if self._pending:
            self._write_data()
        meta = self._root / "meta"
        episodes = meta / "episodes" / "chunk-000" / "file-000.parquet"
        episodes.parent.mkdir(parents=True)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(self._episodes), episodes)
        names = pandas.Index(list(self._tasks), name="task")
        tasks = pandas.DataFrame({"task_index": list(self._tasks.values())}, index=names)
        tasks.to_parquet(meta / "tasks.parquet")
        (meta / "info.json").write_text(json.dumps(self._info(), indent=4) + "\n")
        (meta / "stats.json").write_text(json.dumps(self._all_stats(), indent=4) + "\n")

    def _all_stats(self) -> Stats:
        joined = {n: np.concatenate([part[n] for part in self._parts]) for n in self._parts[0]}
        keys = {video.key for video in self._videos}
        return {n: _picture_stats(v) if n in keys else _stats(v) for n, v in joined.items()}

    def _info(self) -> dict[str, Any]:
        rate, episodes = float(self._fps), len(self._episodes)
        fps = int(rate) if rate.is_integer() else rate
        return {
            "codebase_version": CODEBASE_VERSION,
            "robot_type": "car",
            "total_episodes": episodes,
            "total_frames": self._rows,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": fps,
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._videos else None,
            "features": self._features(fps),
        }

    def _features(self, fps: float) -> dict[str, Any]:
        steps = range(self._config.plan_steps)
        action = [n for k in steps for n in (f"accel_mps2_{k}", f"curvature_per_m_{k}")]
        vectors: dict[str, tuple[str, list[str] | None]] = {
            "observation.state": ("float32", list(STATE)),
            "action": ("float32", action),
            "next.reward": ("float32", None),
            "next.done": ("bool", None),
            "timestamp": ("float32", None),
            **{n: ("int64", None) for n in ("frame_index", "episode_index", "index", "task_index")},
        }
        features: dict[str, Any] = {
            name: {"dtype": dtype, "shape": [len(names) if names else 1], "names": names}
            for name, (dtype, names) in vectors.items()
        }
        rig = self._config.rig
        for video in self._videos:
            assert rig is not None
            height, width = rig.height_px // 2 * 2, rig.width_px // 2 * 2
            features[video.key] = {
                "dtype": "video",
                "shape": [height, width, 3],
                "names": ["height", "width", "channels"],
                "info": {
                    "video.height": height,
                    "video.width": width,
                    "video.codec": self._codec(video),
                    "video.pix_fmt": "yuv420p",
                    "video.is_depth_map": False,
                    "video.fps": fps,
                    "video.channels": 3,
                    "has_audio": False,
                },
            }
        return features

    def _codec(self, video: _Videos) -> str:
        """As the file says."""
        import av

        with av.open(str(self._video_path(video))) as container:
            return str(container.streams.video[0].codec_context.name)


def _table(episodes: Sequence[dict[str, npt.NDArray[Any]]]) -> Any:
    import pyarrow

    columns = {}
    for name in episodes[0]:
        values = np.concatenate([rows[name] for rows in episodes])
        flat = pyarrow.array(values.reshape(-1))
        vector = values.ndim > 1
        columns[name] = (
            pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1]) if vector else flat
        )
    return pyarrow.table(columns)


def _stats(values: npt.NDArray[Any]) -> dict[str, Any]:
    """Of every component, over the rows; lists even for single numbers."""
    table = values.reshape(len(values), -1).astype(np.float64)
    entries = {
        "min": table.min(axis=0),
        "max": table.max(axis=0),
        "mean": table.mean(axis=0),
        "std": table.std(axis=0),
    }
    quantiles = np.quantile(table, _QUANTILES, axis=0)
    named = {f"q{round(100 * q):02d}": row for q, row in zip(_QUANTILES, quantiles, strict=True)}
    return {k: v.tolist() for k, v in (entries | named).items()} | {"count": [len(table)]}


def _picture_stats(images: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Of every colour, from 0 to 1, as [3][1][1]; ``count``: pictures."""
    flat = _stats(images.reshape(-1, 3) / 255.0)
    shaped = {k: [[[v]] for v in values] for k, values in flat.items() if k != "count"}
    return shaped | {"count": [len(images)]}
