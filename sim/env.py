"""Gymnasium environments: one world (``DrivingEnv``) and natively batched ones
(``DrivingVectorEnv``).

The action is a plan [K, 2] of (acceleration m/s2, curvature 1/m); one step is one decision. With
``reset(seed=s)`` the next episode is the draw ``s`` of a scenario; later episodes draw fresh
scenarios and seeds from the environment's own generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from alpamayo.types import (
    END_NAMES,
    END_ROUTE_DONE,
    END_RUNNING,
    END_TIMEOUT,
    FAULT_EGO,
    FloatArray,
    ObservationBatch,
    RequestError,
    Scenario,
    StepSignals,
)
from sim.config import RigConfig, SimConfig
from sim.rewards import reward_terms, total_reward
from sim.world import WorldBatch

DEFAULT_SCENARIO = "hard_lead_brake"
EPISODE_SEEDS = 1_000_000  # seeds below this are for training
TOP_SPEED_MPS = 100.0
HISTORY_M = 1000.0

ScenarioChoice = str | Path | Scenario | Sequence[str | Path | Scenario]


class ScenarioSource:
    """Draws scenarios from library ids, files or ready-made ``Scenario`` objects."""

    def __init__(self, choice: ScenarioChoice) -> None:
        single = isinstance(choice, (str, Path, Scenario))
        entries = [choice] if single else list(choice)  # type: ignore[arg-type, list-item]
        if not entries:
            raise RequestError("scenario: expected a library id, a path or a list of them, got []")
        self._entries: list[Any] = []
        for entry in entries:
            if isinstance(entry, Scenario):
                self._entries.append(entry)
            elif isinstance(entry, (str, Path)):
                from scenarios.load import load_document

                self._entries.append(load_document(str(entry)))
            else:
                raise RequestError(
                    "scenario: expected a library id, a path or a list of them, "
                    f"got {type(entry).__name__}"
                )

    def draw(self, rng: np.random.Generator, seed: int | None) -> Scenario:
        """The next scenario; ``seed`` fixes its parameters (ready-made scenarios have none to
        draw)."""
        entry = self._entries[int(rng.integers(len(self._entries)))]
        fresh = int(rng.integers(EPISODE_SEEDS))
        if isinstance(entry, Scenario):
            return entry
        from scenarios.sample import sample

        return sample(entry, fresh if seed is None else seed)


def observation_space(config: SimConfig) -> spaces.Dict:
    """Of one world; the keys of ``ObservationBatch.as_dict``, without ``frames`` if there is no
    rig."""
    parts: dict[str, spaces.Space] = {
        "history": spaces.Box(-HISTORY_M, HISTORY_M, (16, 3), np.float32),
        "speed_mps": spaces.Box(0.0, TOP_SPEED_MPS, (), np.float32),
        "command": spaces.Box(0, 3, (), np.int8),
        "speed_limit_mps": spaces.Box(0.0, TOP_SPEED_MPS, (), np.float32),
    }
    if config.rig is not None:
        rig = config.rig
        shape = (rig.frames, rig.height_px, rig.width_px, 3)
        parts = {"frames": spaces.Box(0, 255, shape, np.uint8), **parts}
    return spaces.Dict(parts)


def action_space(config: SimConfig) -> spaces.Box:
    """Of one world: [K, 2]."""
    low = np.tile(
        np.array([-config.max_brake_mps2, -config.max_curvature_per_m], np.float32),
        (config.plan_steps, 1),
    )
    high = np.tile(
        np.array([config.max_accel_mps2, config.max_curvature_per_m], np.float32),
        (config.plan_steps, 1),
    )
    return spaces.Box(low, high, dtype=np.float32)


def _config(rig: RigConfig | str | None, config: SimConfig | None) -> SimConfig:
    """``rig="default"`` keeps the rig of ``config``."""
    config = config or SimConfig()
    if rig == "default":
        return config
    if rig is not None and not isinstance(rig, RigConfig):
        raise RequestError(f"rig: expected a RigConfig or None, got {type(rig).__name__}")
    return replace(config, rig=rig)


def _observation(batch: ObservationBatch, config: SimConfig) -> dict[str, np.ndarray]:
    columns = batch.as_dict()
    if config.rig is None:
        del columns["frames"]
    return columns


def _ends(signals: StepSignals) -> tuple[np.ndarray, np.ndarray]:
    """(terminated, truncated) [B]: running out of time or of route is a truncation."""
    truncated = (signals.end == END_TIMEOUT) | (signals.end == END_ROUTE_DONE)
    return (signals.end != END_RUNNING) & ~truncated, truncated


def _infos(signals: StepSignals, terms: dict[str, FloatArray]) -> dict[str, np.ndarray]:
    """What ``info`` holds after a step, as arrays [B]."""
    return {
        "end": np.array([END_NAMES[code] for code in signals.end], dtype=object),
        "at_fault": signals.fault == FAULT_EGO,
        "progress_m": signals.progress_m,
        "min_ttc_s": signals.min_ttc_s,
        "min_gap_m": signals.min_gap_m,
        **{f"reward_{name}": values for name, values in terms.items()},
    }


def _started(worlds: WorldBatch | None) -> WorldBatch:
    if worlds is None:
        raise gym.error.ResetNeeded("call reset() first")
    return worlds


class DrivingEnv(gym.Env[dict[str, np.ndarray], np.ndarray]):
    """One world. ``scenario``: a library id, a path, a ``Scenario`` or a list of them;
    ``rig=None``: no camera."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2.5}  # noqa: RUF012

    def __init__(
        self,
        scenario: ScenarioChoice = DEFAULT_SCENARIO,
        rig: RigConfig | str | None = "default",
        config: SimConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.config = _config(rig, config)
        self.render_mode = render_mode
        self.observation_space = observation_space(self.config)
        self.action_space = action_space(self.config)
        self._source = ScenarioSource(scenario)
        self._worlds: WorldBatch | None = None

    @property
    def worlds(self) -> WorldBatch:
        return _started(self._worlds)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        super().reset(seed=seed)
        scenario = self._source.draw(self.np_random, seed)
        if self._worlds is None:
            self._worlds = WorldBatch([scenario], self.config)
        else:
            self._worlds.load([0], [scenario])
        return self._observe(), {"scenario": scenario.id, "seed": scenario.seed}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        signals = self.worlds.step(np.asarray(action, dtype=np.float64)[None])
        terms = reward_terms(signals, self.config.reward, self.config.decision_s)
        terminated, truncated = _ends(signals)
        info = {name: values[0] for name, values in _infos(signals, terms).items()}
        reward = float(total_reward(terms)[0])
        return self._observe(), reward, bool(terminated[0]), bool(truncated[0]), info

    def _observe(self) -> dict[str, np.ndarray]:
        columns = _observation(self.worlds.observe(), self.config)
        return {name: np.asarray(values[0]) for name, values in columns.items()}

    def render(self) -> np.ndarray | None:
        """The camera image of now (drawn with a default camera if the environment has none)."""
        if self.render_mode != "rgb_array":
            return None
        if self.config.rig is not None:
            return self.worlds.observe().frames[0, -1]
        from sim.view import FrameStore

        rig = RigConfig(frames=1)
        store = FrameStore(1, rig, replace(self.config, rig=rig), self.worlds.atlas)
        return store.frames(self.worlds.state, np.zeros(1, dtype=np.int64))[0, -1]


class DrivingVectorEnv(VectorEnv):
    """``num_envs`` worlds in one process. A world that ended starts its next episode at the
    following step, which ignores its action (autoreset mode NEXT_STEP)."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioChoice = DEFAULT_SCENARIO,
        rig: RigConfig | str | None = "default",
        config: SimConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.num_envs = num_envs
        self.config = _config(rig, config)
        self.render_mode = render_mode
        self.single_observation_space = observation_space(self.config)
        self.single_action_space = action_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._source = ScenarioSource(scenario)
        self._rngs = [np.random.default_rng() for _ in range(num_envs)]
        self._worlds: WorldBatch | None = None

    @property
    def worlds(self) -> WorldBatch:
        return _started(self._worlds)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode in every world, or only where ``options["reset_mask"]`` [B] is set;
        world i gets ``seed + i``."""
        seeds: list[int | None]
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        mask = np.ones(self.num_envs, dtype=bool)
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"], dtype=bool)
        rows = np.flatnonzero(mask)
        drawn = self._draw(rows, seeds)
        if self._worlds is None:
            if not mask.all():
                raise gym.error.ResetNeeded("the first reset must start every world")
            self._worlds = WorldBatch(drawn, self.config)
        else:
            self._worlds.load(rows, drawn)
        return _observation(self.worlds.observe(), self.config), self._names()

    def _draw(self, rows: np.ndarray, seeds: Sequence[int | None]) -> list[Scenario]:
        drawn = []
        for row in rows:
            seed = seeds[row]
            if seed is not None:
                self._rngs[row] = np.random.default_rng(seed)
            drawn.append(self._source.draw(self._rngs[row], seed))
        return drawn

    def _names(self) -> dict[str, Any]:
        scenarios = self.worlds.scenarios
        everyone = np.ones(self.num_envs, dtype=bool)
        return {
            "scenario": np.array([s.id for s in scenarios], dtype=object),
            "_scenario": everyone,
            "seed": np.array([s.seed for s in scenarios]),
            "_seed": everyone,
        }

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        worlds = self.worlds
        signals = worlds.step(np.asarray(actions, dtype=np.float64))
        # Worlds that had ended before this step were frozen in it: their reward is zero, they start
        # anew.
        stale = np.flatnonzero(~signals.active)
        if len(stale):
            worlds.load(stale, self._draw(stale, [None] * self.num_envs))
        terms = reward_terms(signals, self.config.reward, self.config.decision_s)
        terminated, truncated = _ends(signals)
        infos: dict[str, Any] = {}
        for name, values in _infos(signals, terms).items():
            infos[name], infos[f"_{name}"] = values, signals.active
        return (
            _observation(worlds.observe(), self.config),
            total_reward(terms),
            terminated & signals.active,
            truncated & signals.active,
            infos,
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The camera images of now, if there is a rig."""
        if self.render_mode != "rgb_array" or self.config.rig is None:
            return None
        return tuple(self.worlds.observe().frames[:, -1])
