"""Videos, MCAP, Rerun and LeRobot datasets of a replay, read back by others' readers."""

from __future__ import annotations

import base64
import io
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alpamayo.cli.replay import _files
from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.replay import files
from alpamayo.replay.format import Replay, with_columns, write_replay
from alpamayo.replay.record import record_episode
from alpamayo.replay.video import camera_images, write_video
from alpamayo.types import RequestError
from policies.registry import load_policy
from scenarios.load import load_document
from scenarios.sample import sample
from sim.config import CameraConfig, RigConfig, SimConfig

av = pytest.importorskip("av", reason="the extra video is not installed")
RIG = RigConfig(
    65, 32, frames=1, supersample=1, cameras=(CameraConfig(), CameraConfig("left", yaw_deg=60.0))
)
CONFIG = SimConfig(rig=RIG)


def recorded(name: str, seed: int) -> Replay:
    logs: list[EpisodeLog] = []
    scene = replace(sample(load_document(name), seed), duration_s=2.8)
    run_episodes(load_policy("idle"), [scene], CONFIG, on_replay=lambda _, log: logs.append(log))
    return record_episode(logs[0], CONFIG, policy="idle")


@pytest.fixture(scope="module")
def replays() -> list[Replay]:
    return [recorded("hard_lead_brake", 5), recorded("follow_traffic", 6)]


@pytest.fixture(scope="module")
def paths(replays: list[Replay], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("replays")
    return [write_replay(folder / f"{n}.replay", r) for n, r in enumerate(replays)]


def decoded(path: Path) -> tuple[Any, list[np.ndarray]]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        about = (stream.codec_context.name, stream.codec_context.pix_fmt, stream.average_rate)
        return about, [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]


# ---- video ----
def test_cameras_come_apart_as_they_were_put_together(replays: list[Replay]) -> None:
    front, left = camera_images(replays[0], 0)
    assert front.shape == left.shape == (32, 65, 3) and (front != left).any()
    jpeg = replays[0].columns["jpeg"].copy()
    jpeg[:20] = 0
    with pytest.raises(RequestError, match=r"image 0: expected a JPEG of \(130, 32\)"):
        camera_images(with_columns(replays[0], jpeg=jpeg), 0)


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".webm", "vp9")])
def test_videos_play_in_browsers(
    replays: list[Replay], tmp_path: Path, suffix: str, codec: str
) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / f"x{suffix}"
    write_video(path, replays[0], 10, 96, lambda done, total: told.append((done, total)))
    (name, pixels, rate), frames = decoded(path)
    assert codec in name and pixels == "yuv420p" and rate == 10
    assert len(frames) == 29 and told[-1] == (29, 29)  # 2.8 s and the first
    assert frames[0].shape == (96, 192, 3)
    moved = np.abs(frames[0].astype(int) - frames[-1]).max(axis=2) > 40  # a car, small in this view
    assert 5 < moved.sum() < 2000
    if suffix == ".mp4":  # the index comes before the pictures
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_videos_of_other_kinds_and_missing_extras_are_refused(
    replays: list[Replay], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match=r"ends with \.mp4 or \.webm"):
        write_video(tmp_path / "x.avi", replays[0])
    with pytest.raises(RequestError, match=r"pip install 'alpamayo\[video\]'"):
        files.require("no_such_package", "video")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RequestError, match="av is not installed"):
        write_video(tmp_path / "x.mp4", replays[0])
    assert list(tmp_path.iterdir()) == []


# ---- MCAP ----
def test_mcap_holds_every_moment(replays: list[Replay], tmp_path: Path) -> None:
    reading = pytest.importorskip("mcap.reader", reason="the extra mcap is not installed")
    from alpamayo.replay.mcap import write_mcap

    replay = replays[0]
    path = write_mcap(tmp_path / "x.mcap", replay)
    messages: dict[str, list[tuple[float, Any]]] = {}
    with path.open("rb") as stream:
        reader = reading.make_reader(stream)
        (metadata,) = reader.iter_metadata()
        for schema, channel, message in reader.iter_messages():
            assert schema.encoding == "jsonschema" and channel.message_encoding == "json"
            entry = (message.log_time / 1e9, json.loads(message.data))
            messages.setdefault(channel.topic, []).append(entry)
    assert json.loads(metadata.metadata["scenario_hash"]) == replay.header.scenario_hash
    ego = replay.columns["ego"]
    assert [t for t, _ in messages["/ego"]] == pytest.approx(ego[:, 4].tolist())
    assert [m["x_m"] for _, m in messages["/ego"]] == pytest.approx(ego[:, 0].tolist())
    assert len(messages["/risk"]) == len(replay.columns["ttc_s"])
    total = [sum(m.values()) for _, m in messages["/rewards"]]
    assert total == pytest.approx(replay.columns["rewards"].sum(axis=1).tolist(), abs=1e-5)
    scene = messages["/scene"][3][1]["entities"]
    assert {e["id"] for e in scene} >= {"ego", "lead", "plan"}
    lead = next(e for e in scene if e["id"] == "lead")["cubes"][0]
    box = replay.columns["boxes"][3, replay.header.actor_ids.index("lead")]
    assert lead["pose"]["position"]["x"] == pytest.approx(float(box[0]), abs=1e-4)
    turn = 2 * np.arctan2(lead["pose"]["orientation"]["z"], lead["pose"]["orientation"]["w"])
    assert turn == pytest.approx(float(box[2]), abs=1e-5)
    assert base64.b64decode(messages["/camera"][2][1]["data"]) == replay.image(2)
    assert messages["/events"][-1][1]["message"] == f"end: {replay.header.result.end}"


# ---- Rerun ----
@pytest.mark.timeout(600)
def test_rerun_holds_every_moment(replays: list[Replay], tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="the extra rerun is not installed")
    from alpamayo.replay.rerun import TIMELINE, write_rerun
    from alpamayo.replay.scene3d import tick_signals

    path = write_rerun(tmp_path / "x.rrd", replays[0])
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "print", "-vv", str(path)],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for entity in ("/world/road", "/world/bodies", "/world/plan", "/ego/speed_mps", "/camera",
                   "/events", "/rewards/progress"):  # fmt: skip
        assert entity in done.stdout
    signals = tick_signals(replays[0])
    near = any(math.isfinite(gap_m) for _, _, gap_m in signals)
    assert ("/risk/gap_m" in done.stdout) == near
    assert TIMELINE in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["x.rrd"]


# ---- LeRobot ----
def test_a_dataset_has_the_published_layout(
    replays: list[Replay], paths: list[Path], tmp_path: Path
) -> None:
    import pandas
    import pyarrow.parquet as parquet

    from alpamayo.replay.lerobot import write_lerobot

    root, told = tmp_path / "set", list[tuple[int, int]]()
    write_lerobot(root, paths, lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    keys = ("observation.images.front", "observation.images.left")
    assert {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} == {
        "data/chunk-000/file-000.parquet",
        "meta/episodes/chunk-000/file-000.parquet",
        "meta/info.json",
        "meta/stats.json",
        "meta/tasks.parquet",
        *(f"videos/{key}/chunk-000/file-000.mp4" for key in keys),
    }
    info = json.loads((root / "meta/info.json").read_text())
    lengths = [r.decisions for r in replays]
    assert info["codebase_version"] == "v3.0" and info["fps"] == 2.5
    assert info["total_episodes"] == 2 and info["total_frames"] == sum(lengths)
    data = parquet.read_table(root / info["data_path"].format(chunk_index=0, file_index=0))
    assert data.num_rows == sum(lengths)
    assert set(data.column_names) | set(keys) == set(info["features"])
    state = np.array(data["observation.state"].to_pylist())
    egos = np.concatenate([r.columns["ego"][:-1, :4] for r in replays])
    np.testing.assert_allclose(state, egos.astype(np.float32))
    actions = np.array(data["action"].to_pylist(), dtype=np.float32)
    expected = np.concatenate([r.columns["actions"].reshape(r.decisions, -1) for r in replays])
    np.testing.assert_array_equal(actions, expected)
    assert data["index"].to_pylist() == list(range(sum(lengths)))
    assert np.flatnonzero(data["next.done"].to_pylist()).tolist() == [
        lengths[0] - 1,
        sum(lengths) - 1,
    ]
    episodes = parquet.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    tasks = pandas.read_parquet(root / "meta/tasks.parquet")
    for episode, replay in zip(episodes, replays, strict=True):
        rows = slice(episode["dataset_from_index"], episode["dataset_to_index"])
        assert episode["length"] == replay.decisions == rows.stop - rows.start
        number = data["task_index"].to_pylist()[rows.start]
        assert [tasks.iloc[number].name] == episode["tasks"]
        first = round(episode[f"videos/{keys[1]}/from_timestamp"] * info["fps"])
        video = info["video_path"].format(video_key=keys[1], chunk_index=0, file_index=0)
        (codec, pixels, rate), frames = decoded(root / video)
        assert (codec, pixels, float(rate)) == ("h264", "yuv420p", 2.5)
        assert len(frames) == sum(lengths) and frames[0].shape == (32, 64, 3)
        shown = camera_images(replay, 4)[1][:, :64].astype(int)
        assert np.abs(frames[first + 4].astype(int) - shown).mean() < 12.0
    stats = json.loads((root / "meta/stats.json").read_text())
    np.testing.assert_allclose(stats["action"]["mean"], expected.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(stats["action"]["q50"], np.median(expected, axis=0), atol=1e-6)
    assert np.shape(stats[keys[0]]["mean"]) == (3, 1, 1)
    assert all(0.0 < v < 1.0 for v in np.ravel(stats[keys[0]]["mean"]))


def test_datasets_of_unlike_replays_or_in_a_full_folder_are_refused(
    replays: list[Replay], paths: list[Path], tmp_path: Path
) -> None:
    from alpamayo.replay.lerobot import write_lerobot

    other = replace(replays[0].header, sim_config=replace(CONFIG, rig=replace(RIG, width_px=64)))
    odd = write_replay(tmp_path / "odd.replay", replace(replays[0], header=other))
    with pytest.raises(RequestError, match=r"odd\.replay: sim\.rig: expected"):
        write_lerobot(tmp_path / "set", [paths[0], odd])
    assert not (tmp_path / "set").exists() and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RequestError, match="does not exist yet or is empty"):
        write_lerobot(tmp_path, paths)


# ---- command line ----
def test_the_command_writes_them_all(paths: list[Path], tmp_path: Path, capsys: Any) -> None:
    from alpamayo.cli.main import main

    words = ["replay", str(paths[0]), "--json", "--lerobot", str(tmp_path / "set")]
    assert main([*words, "--mcap", str(tmp_path / "x.mcap")]) == 0
    document = json.load(io.StringIO(capsys.readouterr().out))
    assert {Path(p).name for p in document["written"]} == {"x.mcap", "set"}
    assert all(Path(p).exists() for p in document["written"])
    assert _files([str(paths[0].parent)]) == sorted(paths)
    assert main(["replay", str(paths[0]), "--video", str(tmp_path / "x.gif")]) == 2
    assert "ends with .mp4 or .webm" in capsys.readouterr().err
