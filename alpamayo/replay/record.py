"""Record a logged episode: simulate it again and keep what there is to see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.evaluation.runner import EpisodeLog
from alpamayo.replay.format import SCHEMA_VERSION, Columns, Replay, ReplayHeader, hash_of
from alpamayo.replay.ticks import TickWorld
from alpamayo.types import CheckFailed
from sim.config import SimConfig

_JPEG_QUALITY = 82


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
    recorder, ticks = Recorder(sim_config), TickRecorder(world.fork([0]))
    recorder.frame(world)
    for action in log.actions:
        ticks.decide(action)
        world.step(action[None])
        recorder.frame(world)
    if log.result.state_hash and recorder.hashes[-1] != log.result.state_hash:
        raise CheckFailed(
            f"{log.scenario.id} seed {log.scenario.seed}: simulating the episode again "
            "ended in another state"
        )
    columns = recorder.columns() | ticks.columns()
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
        scenario_hash=hash_of(log.scenario),
    )
    return Replay(header, columns)


def _stack_rewards(log: EpisodeLog) -> npt.NDArray[np.float32]:
    if not log.rewards:
        return np.zeros((len(log.actions), 0), dtype=np.float32)
    return np.stack(list(log.rewards.values()), axis=1).astype(np.float32)


class TickRecorder:
    """Collects one row of the columns with a row per tick, in a world of size 1 of its own."""

    def __init__(self, world: Any) -> None:
        self.ticks = TickWorld(world)
        self._hash: list[int] = []
        self._ttc_s: list[float] = []
        self._gap_m: list[float] = []
        self._latency_s: list[float] = []

    def decide(self, action: npt.NDArray[Any]) -> None:
        """Drive the plan ``action`` [K, 2] until the next decision or the end."""
        self._latency_s.append(self.ticks.begin(action))
        for tally in self.ticks.run():
            self._hash.append(self.ticks.short_hash())
            self._ttc_s.append(float(tally["min_ttc_s"][0]))
            self._gap_m.append(float(tally["min_gap_m"][0]))

    def columns(self) -> Columns:
        state = self.ticks.world.state
        events = len(self.ticks.world.scenarios[0].events)
        return {
            "latency_s": np.asarray(self._latency_s, dtype=np.float32),
            "tick_hash": np.asarray(self._hash, dtype=np.uint64),
            "ttc_s": np.asarray(self._ttc_s, dtype=np.float32),
            "gap_m": np.asarray(self._gap_m, dtype=np.float32),
            "event_s": np.asarray(state.fired_s[0, :events], dtype=np.float64),
        }


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
            each = world.config.rig.frames  # camera by camera, the newest last
            images = world.observe().frames[0, each - 1 :: each]
            self._jpegs.append(_encode_jpeg(np.concatenate(list(images), axis=1)))

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
