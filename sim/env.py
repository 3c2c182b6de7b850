"""Gymnasium environments: one world (``DrivingEnv``) and natively batched ones
(``DrivingVectorEnv``).

One step is one decision. The action is a plan [K, 2] of (acceleration m/s2, curvature 1/m), or with
``action="controls"`` one such pair [2], which drives the car directly for the decision. With
``reset(seed=s)`` the next episode is the draw ``s`` of a scenario; later episodes draw fresh
scenarios and seeds from the environment's own generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

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
    BoolArray,
    FloatArray,
    IntArray,
    RequestError,
    Scenario,
    StepSignals,
    TrafficSpec,
)
from scenarios.splits import Split
from sim.actions import Actions
from sim.config import RigConfig, SimConfig, alpamayo_rig
from sim.observe import StateObserver, StateView, ego_space, flat_space, state_space
from sim.rewards import reward_terms, total_reward
from sim.source import ScenarioChoice, ScenarioSource
from sim.world import WorldBatch

DEFAULT_SCENARIO = "hard_lead_brake"
METRICS = (
    "progress_m", "min_ttc_s", "min_gap_m", "accel_mps2", "jerk_mps3", "lateral_accel_mps2",
    "lane_offset_m", "off_lane_s", "over_speed_mps", "wrong_way", "close_encounter", "stop_line",
    "blocked",
)  # fmt: skip
_END_NAMES = np.array(END_NAMES, dtype=object)


ActionKind = Literal["plan", "controls"]


def _config(
    rig: RigConfig | str | None, action: ActionKind | None, config: SimConfig | None
) -> SimConfig:
    """``rig="default"`` keeps the rig of ``config``; a single pair of controls is a plan of one."""
    config = config or SimConfig()
    if action not in (None, "plan", "controls"):
        raise RequestError(f"action: expected 'plan' or 'controls', got {action!r}")
    if action is not None:
        config = replace(config, action=action)
    if config.action == "controls":
        config = replace(config, plan_steps=1)
    if rig == "default":
        return config
    if rig == "alpamayo":
        rig = alpamayo_rig()
    if rig is not None and not isinstance(rig, RigConfig):
        raise RequestError(f"rig: expected a RigConfig, None, 'default' or 'alpamayo', got {rig!r}")
    return replace(config, rig=rig)


class ImageSpace(spaces.Box):
    """Images uint8 of ``shape``: a ``Box`` whose bounds take no memory (gymnasium keeps four arrays
    of the shape of the whole batch)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(0, 255, (1,) * len(shape), np.uint8)
        self._shape = shape
        for name in ("low", "high", "bounded_below", "bounded_above"):
            setattr(self, name, np.broadcast_to(getattr(self, name), shape))


@batch_space.register(ImageSpace)
def _batch_images(space: ImageSpace, n: int = 1) -> ImageSpace:
    return ImageSpace((n, *space.shape))


def observation_space(
    config: SimConfig, view: StateView | None = None, flatten: bool = False
) -> spaces.Space:
    """Of one world. With a rig: images ``frames`` [C * F, H, W, 3], camera by camera, and the other
    keys of ``ObservationBatch``; without one see ``sim.observe.state_space``, or ``flat_space`` if
    ``flatten``."""
    if config.rig is None:
        return (flat_space if flatten else state_space)(view or StateView())
    if flatten:
        raise RequestError("flatten: expected rig=None: images are not flattened")
    rig = config.rig
    shape = (len(rig.cameras) * rig.frames, rig.height_px, rig.width_px, 3)
    return spaces.Dict({"frames": ImageSpace(shape), **ego_space()})


class _Observer:
    """Makes the observation of a whole batch, as its space says."""

    def __init__(
        self, count: int, config: SimConfig, view: StateView | None, flatten: bool, copy: bool
    ) -> None:
        self.space = observation_space(config, view, flatten)
        self._flatten, self._copy = flatten, copy
        self._state = None if config.rig else StateObserver(count, view or StateView())

    def observe(self, worlds: WorldBatch) -> Any:
        """An array or a dict of arrays [B, ...]."""
        if self._state is None:
            return worlds.observe(copy=self._copy).as_dict()
        if self._flatten:
            return self._state.flat(worlds, self._copy)
        return self._state.observe(worlds, self._copy)


def _ends(signals: StepSignals) -> tuple[BoolArray, BoolArray]:
    """(terminated, truncated) [B]: running out of time or of route is a truncation."""
    truncated = (signals.end == END_TIMEOUT) | (signals.end == END_ROUTE_DONE)
    return (signals.end != END_RUNNING) & ~truncated, truncated


def _infos(signals: StepSignals, terms: dict[str, FloatArray]) -> dict[str, np.ndarray]:
    """What ``info`` holds after a step, as arrays [B]."""
    return {
        "end": _END_NAMES[signals.end],
        "at_fault": signals.fault == FAULT_EGO,
        **{name: getattr(signals, name) for name in METRICS},
        **{f"reward_{name}": values for name, values in terms.items()},
    }


def _started(worlds: WorldBatch | None) -> WorldBatch:
    if worlds is None:
        raise gym.error.ResetNeeded("call reset() first")
    return worlds


def _images_now(frames: np.ndarray, rig: RigConfig) -> np.ndarray:
    """uint8 [B, H, C * W, 3]: the newest image of every camera, side by side."""
    count, _, height, width, _ = frames.shape
    cameras = frames.reshape(count, len(rig.cameras), rig.frames, height, width, 3)[:, :, -1]
    return cameras.transpose(0, 2, 1, 3, 4).reshape(count, height, -1, 3)


class DrivingEnv(gym.Env[Any, np.ndarray]):
    """One world.

    ``scenario``: a library id, a path, a ``Scenario`` or a list of them; ``traffic`` replaces their
    background traffic. ``rig``: a ``RigConfig``, ``"default"``, ``"alpamayo"``, or None for the
    state observation, which ``flatten`` makes one array; ``view`` says how much it shows.
    ``invalid``: an action that is no plan is refused (``"raise"``), or the world brakes fully
    (``"brake"``) and ``info["invalid_action"]`` says so. ``split``: families and seeds that another
    split of ``scenarios.splits`` holds out are refused, so that no training meets them by accident.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2.5}  # noqa: RUF012

    def __init__(
        self,
        scenario: ScenarioChoice = DEFAULT_SCENARIO,
        rig: RigConfig | str | None = "default",
        config: SimConfig | None = None,
        render_mode: str | None = None,
        action: ActionKind | None = None,
        flatten: bool = False,
        view: StateView | None = None,
        traffic: TrafficSpec | int | None = None,
        invalid: Literal["raise", "brake"] = "raise",
        split: Split = "train",
    ) -> None:
        self.config = _config(rig, action, config)
        self.render_mode = render_mode
        self._observer = _Observer(1, self.config, view, flatten, copy=True)
        self._actions = Actions(self.config, invalid)
        self.observation_space = self._observer.space
        self.action_space = self._actions.space
        self._source = ScenarioSource(scenario, traffic, split)
        self._worlds: WorldBatch | None = None

    @property
    def worlds(self) -> WorldBatch:
        return _started(self._worlds)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        scenario = self._source.draw(self.np_random, seed)
        if self._worlds is None:
            self._worlds = WorldBatch([scenario], self.config)
        else:
            self._worlds.load([0], [scenario])
        return self._observe(), {"scenario": scenario.id, "seed": scenario.seed}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        plans, invalid = self._actions.plans(np.asarray(action)[None], self.worlds)
        signals = self.worlds.step(plans)
        terms = reward_terms(signals, self.config.reward, self.config.decision_s)
        terminated, truncated = _ends(signals)
        info = {name: values[0] for name, values in _infos(signals, terms).items()}
        if self._actions.brakes:
            info["invalid_action"] = invalid[0]
        reward = float(total_reward(terms)[0])
        return self._observe(), reward, bool(terminated[0]), bool(truncated[0]), info

    def _observe(self) -> Any:
        columns = self._observer.observe(self.worlds)
        if isinstance(columns, np.ndarray):
            return columns[0]
        return {name: np.asarray(values[0]) for name, values in columns.items()}

    def render(self) -> np.ndarray | None:
        """The camera images of now, side by side (drawn with a default camera if the environment
        has none)."""
        if self.render_mode != "rgb_array":
            return None
        rig = self.config.rig
        if rig is not None:
            return _images_now(self.worlds.observe().frames, rig)[0]
        from sim.view import FrameStore

        rig, worlds = RigConfig(frames=1), self.worlds
        store = FrameStore(1, rig, replace(self.config, rig=rig), worlds.atlas)
        images = store.frames(worlds.state, np.zeros(1, dtype=np.int64), worlds.scenarios, True)
        return _images_now(images, rig)[0]


@dataclass
class _Episodes:
    """Who drives what in a vector environment, [B]."""

    rngs: list[np.random.Generator]
    scenarios: list[str]
    seeds: list[int]

    @staticmethod
    def of(count: int) -> _Episodes:
        rngs = [np.random.default_rng() for _ in range(count)]
        return _Episodes(rngs, [""] * count, [0] * count)

    def draw(
        self, source: ScenarioSource, rows: IntArray, seeds: Sequence[int | None] | None = None
    ) -> list[Scenario]:
        drawn = []
        for row in rows:
            seed = None if seeds is None else seeds[row]
            if seed is not None:
                self.rngs[row] = np.random.default_rng(seed)
            scenario = source.draw(self.rngs[row], seed)
            self.scenarios[row], self.seeds[row] = scenario.id, scenario.seed
            drawn.append(scenario)
        return drawn

    def infos(self, where: BoolArray) -> dict[str, np.ndarray]:
        return {
            "scenario": np.array(self.scenarios, dtype=object), "_scenario": where,
            "seed": np.array(self.seeds), "_seed": where,
        }  # fmt: skip


class DrivingVectorEnv(VectorEnv):
    """``num_envs`` worlds in one process; settings as of ``DrivingEnv``.

    A world that ended starts its next episode at the following step, which ignores its action
    (autoreset mode NEXT_STEP). Infos are arrays [B] with masks. Without ``copy`` the next step
    overwrites the arrays of an observation (past frames are then not copied).
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.NEXT_STEP,
    }  # fmt: skip

    def __init__(
        self,
        num_envs: int = 1,
        scenario: ScenarioChoice = DEFAULT_SCENARIO,
        rig: RigConfig | str | None = "default",
        config: SimConfig | None = None,
        render_mode: str | None = None,
        action: ActionKind | None = None,
        flatten: bool = False,
        view: StateView | None = None,
        traffic: TrafficSpec | int | None = None,
        invalid: Literal["raise", "brake"] = "raise",
        split: Split = "train",
        copy: bool = True,
    ) -> None:
        self.num_envs = num_envs
        self.config = _config(rig, action, config)
        self.render_mode = render_mode
        self._observer = _Observer(num_envs, self.config, view, flatten, copy)
        self._actions = Actions(self.config, invalid)
        self.single_observation_space = self._observer.space
        self.single_action_space = self._actions.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._source = ScenarioSource(scenario, traffic, split)
        self._episodes = _Episodes.of(num_envs)
        self._worlds: WorldBatch | None = None

    @property
    def worlds(self) -> WorldBatch:
        return _started(self._worlds)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every world, or only where ``options["reset_mask"]`` [B] is set;
        world i gets ``seed + i``."""
        seeds: list[int | None]
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        mask = np.ones(self.num_envs, dtype=bool)
        if options is not None and "reset_mask" in options:
            mask = np.array(options["reset_mask"], dtype=bool)
        if len(seeds) != self.num_envs or mask.shape != (self.num_envs,):
            raise RequestError(
                f"reset: expected {self.num_envs} seeds and a reset_mask of that length, "
                f"got {len(seeds)} and {mask.shape}"
            )
        rows = np.flatnonzero(mask)
        if self._worlds is None and not mask.all():
            raise gym.error.ResetNeeded("the first reset must start every world")
        drawn = self._episodes.draw(self._source, rows, seeds)
        if self._worlds is None:
            self._worlds = WorldBatch(drawn, self.config)
        else:
            self._worlds.load(rows, drawn)
        return self._observer.observe(self.worlds), self._episodes.infos(mask)

    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        worlds = self.worlds
        plans, invalid = self._actions.plans(actions, worlds)
        signals = worlds.step(plans)
        active = signals.active
        # Worlds that had ended before this step were frozen in it: their reward is zero, they start
        # anew.
        infos: dict[str, Any] = {}
        if not active.all():
            stale = np.flatnonzero(~active)
            worlds.load(stale, self._episodes.draw(self._source, stale))
            infos.update(self._episodes.infos(~active))
        terms = reward_terms(signals, self.config.reward, self.config.decision_s)
        terminated, truncated = _ends(signals)
        for name, values in _infos(signals, terms).items():
            infos[name], infos[f"_{name}"] = values, active
        if self._actions.brakes:
            infos["invalid_action"], infos["_invalid_action"] = invalid, active
        return (
            self._observer.observe(worlds),
            total_reward(terms),
            terminated & active,
            truncated & active,
            infos,
        )

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The camera images of now of every world, side by side, if there is a rig."""
        if self.render_mode != "rgb_array" or self.config.rig is None:
            return None
        return tuple(_images_now(self.worlds.observe().frames, self.config.rig))
