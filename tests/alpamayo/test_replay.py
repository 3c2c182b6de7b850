"""Replays: recorded, read back, verified, shown; damaged and hostile files refused."""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from alpamayo.evaluation import runner
from alpamayo.evaluation.runner import EpisodeLog, run_episodes
from alpamayo.replay import html, topdown
from alpamayo.replay.codec import from_plain, to_plain
from alpamayo.replay.format import Replay, read_replay, with_columns, write_replay
from alpamayo.replay.record import record_episode
from alpamayo.replay.verify import first_difference, verify
from alpamayo.types import (
    END_COLLISION,
    ActorSpec,
    CheckFailed,
    DecodeTrace,
    PlanBatch,
    RequestError,
    Scenario,
)
from sim.config import RigConfig, SimConfig
from tests.alpamayo.fake_world import FakeWorld, NoisyPolicy, fake_reward_terms, scenario

CONFIG = SimConfig(rig=RigConfig(width_px=32, height_px=16))


class Tracing(NoisyPolicy):
    """Two rounds: the first two tokens, then the others."""

    def plan(self, observation: Any, *, noise_keys: Any, privileged: Any = None) -> PlanBatch:
        plan = super().plan(observation, noise_keys=noise_keys)
        count = len(observation)
        commit = np.tile((np.arange(16) >= 2).astype(np.int8), (count, 1))
        tokens = np.tile(np.arange(16, dtype=np.int32), (count, 1))
        trace = DecodeTrace(
            tokens, commit, np.full((count, 16), -0.25, np.float32), np.full(count, 2, np.int8)
        )
        return PlanBatch(
            plan.accel_mps2, plan.curvature_per_m, trace, np.full(count, 3.0, np.float32)
        )


@pytest.fixture(autouse=True)
def fake_sim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "sim.world", SimpleNamespace(WorldBatch=FakeWorld, HISTORY_GAP_S=0.1)
    )
    monkeypatch.setattr(runner, "_reward_terms", lambda s, c: fake_reward_terms(s, c.reward))


def _log(seed: int = 3, config: SimConfig = CONFIG, **parameters: Any) -> EpisodeLog:
    logs: dict[int, EpisodeLog] = {}
    one = scenario(seed, **{"decisions": 5, "end": END_COLLISION, **parameters})
    run_episodes(Tracing(), [one], config, on_replay=logs.__setitem__, weights_version=4)
    return logs[0]


def _replay(**options: Any) -> Replay:
    return record_episode(
        _log(**options), options.get("config", CONFIG), policy="tiny", decode={"rounds": 2}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_replay(tmp_path / "one.replay", _replay())


# ---- record, write, read ----
def test_a_replay_survives_the_file(file: Path) -> None:
    made, read = _replay(), read_replay(file)
    assert read.header == replace(made.header, versions=read.header.versions)
    assert read.header.weights_version == 4 and read.header.result.collision_actor == "lead"
    assert len(read.header.state_hashes) == 6 and read.decisions == 5
    assert set(read.columns) == set(made.columns)
    for name, column in made.columns.items():
        np.testing.assert_array_equal(read.columns[name], column)
    assert (read.image(0) or b"")[:2] == b"\xff\xd8" and (read.image(5) or b"")[:2] == b"\xff\xd8"


def test_equal_episodes_make_equal_files(tmp_path: Path, file: Path) -> None:
    assert write_replay(tmp_path / "two.replay", _replay()).read_bytes() == file.read_bytes()


def test_numpy_opens_the_columns_without_pickle(file: Path) -> None:
    with np.load(file, allow_pickle=False) as columns:
        assert columns["actions"].shape == (5, 8, 2)


def test_no_camera_no_images(tmp_path: Path) -> None:
    config = replace(CONFIG, rig=None)
    replay = read_replay(write_replay(tmp_path / "x.replay", _replay(config=config)))
    assert replay.image(0) is None and "jpeg" not in replay.columns


def test_recording_notices_an_episode_that_does_not_repeat() -> None:
    log = _log()
    with pytest.raises(CheckFailed, match="another state"):
        record_episode(replace(log, actions=log.actions + 0.5), CONFIG, policy="tiny")


def test_an_unwritable_place_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with pytest.raises(RequestError, match="writable"):
        write_replay(tmp_path / "blocked" / "x.replay", _replay())
    assert [p.name for p in tmp_path.iterdir()] == ["blocked"]


# ---- verify ----
def test_a_sound_replay_is_verified(file: Path) -> None:
    result = verify(file)
    assert result.decisions == 5 and result.final_hash == read_replay(file).header.state_hashes[-1]


@pytest.mark.parametrize("decision", [0, 2, 4])
def test_one_altered_action_is_found_at_its_decision(tmp_path: Path, decision: int) -> None:
    replay = _replay()
    actions = replay.columns["actions"].copy()
    actions[decision, 0, 0] += 0.01
    altered = with_columns(replay, actions=actions)
    found = first_difference(altered, "x")
    assert found is not None and found.decision == decision
    path = write_replay(tmp_path / "altered.replay", altered)
    with pytest.raises(CheckFailed, match=f"decision {decision}, tick {4 * decision + 3} "):
        verify(path)


def test_an_altered_scenario_differs_at_the_start() -> None:
    replay = _replay()
    header = replay.header
    ego = replace(header.scenario.ego, speed_mps=header.scenario.ego.speed_mps + 1)
    altered = replace(replay, header=replace(header, scenario=replace(header.scenario, ego=ego)))
    found = first_difference(altered, "x")
    assert found is not None and found.decision == -1


# ---- damaged and hostile files ----
def _rewrite(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(file) as archive:
        members = {i.filename: archive.read(i) for i in archive.infolist()}
    change(members)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def _npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asanyarray(array), **options)
    return buffer.getvalue()


def _with_header(file: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    def edit(members: dict[str, bytes]) -> None:
        raw = np.lib.format.read_array(io.BytesIO(members["header.npy"]))
        data = json.loads(raw.tobytes())
        change(data)
        members["header.npy"] = _npy(np.frombuffer(json.dumps(data).encode(), np.uint8))

    return _rewrite(file, edit)


def _refused(file: Path, expected: str) -> None:
    with pytest.raises(RequestError) as error:
        read_replay(file)
    message = str(error.value)
    assert message.startswith(str(file)) and expected in message and "\n" not in message


def test_files_that_are_no_replay_are_refused(tmp_path: Path) -> None:
    _refused(tmp_path / "missing.replay", "readable replay file")
    empty = tmp_path / "empty.replay"
    empty.write_bytes(b"")
    _refused(empty, "damaged")
    text = tmp_path / "text.replay"
    text.write_text("hello")
    _refused(text, "damaged")
    _refused(tmp_path, "readable replay file")


def test_every_truncation_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for size in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        file.write_bytes(whole[:size])
        with pytest.raises(RequestError):
            read_replay(file)


def test_flipped_bytes_are_refused_or_harmless(file: Path) -> None:
    """A zip does not protect all of its own bookkeeping, so some flips change nothing; none may
    raise anything else.
    """
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        try:
            read_replay(file)
        except RequestError as error:
            assert str(file) in str(error)


def test_pickles_are_never_read(file: Path) -> None:
    evil = _npy(np.array([{"a": 1}], dtype=object), allow_pickle=True)
    _refused(_rewrite(file, lambda m: m.update({"actions.npy": evil})), "expected a numpy column")


def test_a_shape_that_lies_about_its_size_is_refused(file: Path) -> None:
    def lie(members: dict[str, bytes]) -> None:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 8, 2), }"
        header += b" " * (117 - len(header)) + b"\n"
        members["actions.npy"] = (
            b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
        )

    _refused(_rewrite(file, lie), "match its shape")


def test_a_bomb_is_refused_without_unpacking_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alpamayo.replay.format._MAX_COLUMN_BYTES", 100_000)
    bomb = _npy(np.zeros(1_000_000, np.uint8))
    _refused(_rewrite(file, lambda m: m.update({"jpeg.npy": bomb})), "jpeg: expected at most")


def test_unknown_members_and_missing_columns_are_refused(file: Path) -> None:
    whole = file.read_bytes()
    _refused(_rewrite(file, lambda m: m.update({"../evil.py": b"x"})), "unexpected member")
    file.write_bytes(whole)
    _refused(_rewrite(file, lambda m: m.pop("ego.npy")), "ego: missing column")
    file.write_bytes(whole)
    _refused(_rewrite(file, lambda m: m.pop("rounds.npy")), "rounds: missing")
    file.write_bytes(whole)
    _refused(_rewrite(file, lambda m: m.pop("header.npy")), "header: missing")


def test_numbers_that_are_not_finite_are_refused_with_their_place(file: Path) -> None:
    actions = read_replay(file).columns["actions"].copy()
    actions[2, 1, 0] = np.nan
    _refused(
        _rewrite(file, lambda m: m.update({"actions.npy": _npy(actions)})),
        "actions[2, 1, 0]: expected a finite",
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d.update(schema_version=3), "header.schema_version: expected 1 or 2, got 3"),
        (lambda d: d["scenario"].update(light=0.5), "header.scenario_hash: expected the hash"),
        (
            lambda d: d["scenario"]["road"].update(length_m=1e8),
            "header.scenario.road.length_m: expected 1 to 5000",
        ),
        (
            lambda d: d["scenario"]["road"].update(lanes="2"),
            "header.scenario.road.lanes: expected an integer",
        ),
        (
            lambda d: d["scenario"]["road"].update(kind="moon"),
            "header.scenario.road.kind: expected one of straight",
        ),
        (lambda d: d["scenario"].update(colour=1), "header.scenario.colour: unknown key"),
        (lambda d: d["scenario"].pop("ego"), "header.scenario.ego: missing"),
        (
            lambda d: d["sim_config"].update(plan_steps=9),
            "actions: expected shape (5, 9, 2), got (5, 8, 2)",
        ),
        (lambda d: d["sim_config"]["rig"].update(width_px=10**9), "rig.width_px"),
        (lambda d: d.update(state_hashes=["a"]), "header.state_hashes: expected 6, got 1"),
        (lambda d: d.update(actor_kinds=[]), "header.actor_kinds: expected 1 entries"),
        (
            lambda d: d["scenario"]["actors"][0].update(color=[1, 2]),
            "actors[0].color: expected 3 values, got 2",
        ),
    ],
)
def test_headers_are_checked_key_by_key(
    file: Path, change: Callable[[dict[str, Any]], None], expected: str
) -> None:
    _refused(_with_header(file, change), expected)


def test_scenarios_survive_json() -> None:
    one = Scenario(
        **{**vars(scenario(9)), "actors": (ActorSpec("a", "truck", "lane0", 5.0, color=(1, 2, 3)),)}
    )
    again = from_plain(Scenario, json.loads(json.dumps(to_plain(one))), "x")
    assert again == one and isinstance(again.actors[0].color, tuple)


# ---- pages and videos ----
def _page_data(page: str) -> dict[str, Any]:
    import base64
    import zlib

    packed = re.search(r'id="data">([^<]*)<', page)
    assert packed is not None
    return json.loads(zlib.decompress(base64.b64decode(packed.group(1))))


def test_the_page_needs_no_network_and_holds_the_episode() -> None:
    page = html.render_html([_replay()])
    without_data = re.sub(r'id="data">[^<]*<', "", page)
    assert (
        not re.search(r"https?:|src=|@import|url\((?!data:)", without_data)
        and "__" not in without_data
    )
    data = _page_data(page)
    one = data["replays"][0]
    assert (
        data["title"] == "fake, seed 3"
        and one["outcome"] == "collision, at fault (lead)"
        and one["badge"] == "bad"
    )
    assert len(one["ego"]) == 6 and len(one["images"]) == 6 and len(one["waypoints"]) == 5
    assert one["trace"]["commit"][0] == [0, 0] + [1] * 14 and one["trace"]["rounds"] == [2] * 5
    assert one["boxes"][0][0][:2] == [55.0, 0.0] and one["road"]["surfaces"]


def test_two_replays_of_one_episode_stand_side_by_side(tmp_path: Path) -> None:
    replay = _replay()
    data = _page_data(html.render_html([replay, replay], ["Warm start", "Post-trained"]))
    assert [r["label"] for r in data["replays"]] == ["Warm start", "Post-trained"]
    with pytest.raises(RequestError, match="same episode"):
        html.render_html([replay, _replay(seed=4)])


def test_markup_in_names_stays_text() -> None:
    replay = _replay()
    evil = replace(replay.header.scenario, id="</script><script>alert(1)</script>")
    page = html.render_html([replace(replay, header=replace(replay.header, scenario=evil))])
    assert "alert(1)" not in page.replace("&lt;script&gt;alert(1)", "")


def test_the_top_view_shows_ego_and_actor() -> None:
    replay = _replay()
    image = topdown.TopDown(replay, 280).draw(0.0)
    colors = {tuple(c) for c in image.reshape(-1, 3).tolist()}
    assert topdown._EGO in colors and (150, 30, 30) in colors and topdown._ROAD in colors
    assert not np.array_equal(image, topdown.TopDown(replay, 280).draw(1.0))
