"""The vocabulary of the platform: frozen dataclasses that cross the seams between rooms.

Conventions used everywhere:

* ``B`` worlds, ``A`` actor slots, ``K`` plan steps, ``L = 2 K`` action tokens, ``F`` camera frames,
  ``T`` decisions.
* World frame: x east, y north, z up, metres; headings in radians, counter-clockwise from x.
* Ego (rig) frame: origin at the middle of the ego box on the ground, x forward, y left.
* Path frame: ``s_m`` along a path from its first point, ``d_m`` to the left of it.

Imports numpy only, so that every room may import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]


class RequestError(Exception):
    """The request was wrong (bad file, key, value, path): one clear line, exit code 2.

    The message names the file, the place in it and what was expected.
    """


class CheckFailed(Exception):
    """The thing asked about failed (lint errors, verification mismatch): exit code 1."""


# --------------------------------------------------------------------------------------
# Plans
# --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PlanSpec:
    """Length and spacing of a plan: ``steps`` (acceleration, curvature) pairs
    of ``step_s`` each.
    """

    steps: int = 8
    step_s: float = 0.4

    @property
    def tokens(self) -> int:
        return 2 * self.steps

    @property
    def horizon_s(self) -> float:
        return self.steps * self.step_s


@dataclass(frozen=True)
class DecodeTrace:
    """Which tokens were committed in which denoising round, with exact log-probabilities.

    Shapes: ``tokens`` int32 [B, L] vocabulary ids in plan order (a0, k0, a1, k1, ...);
    ``commit_round`` int8 [B, L], 0-based; ``log_prob`` float32 [B, L], natural log, of each token
    given exactly what was visible when it was committed; ``rounds`` int8 [B], denoising forwards
    used.
    """

    tokens: IntArray
    commit_round: IntArray
    log_prob: FloatArray
    rounds: IntArray


@dataclass(frozen=True)
class PlanBatch:
    """A plan per world: controls that start when the plan takes effect (observation time +
    latency).

    Shapes: ``accel_mps2`` and ``curvature_per_m`` float32 [B, K], each held for
    ``PlanSpec.step_s``. ``trace`` is None for policies that do not decode tokens. ``decode_ms``
    float32 [B] is the measured wall time of the decode that made each row (a batch shares one
    time), or None.
    """

    accel_mps2: FloatArray
    curvature_per_m: FloatArray
    trace: DecodeTrace | None = None
    decode_ms: FloatArray | None = None

    def as_actions(self) -> FloatArray:
        """[B, K, 2] float32, last axis (acceleration m/s2, curvature 1/m)."""
        return np.stack([self.accel_mps2, self.curvature_per_m], axis=-1).astype(np.float32)


# --------------------------------------------------------------------------------------
# Observations
# --------------------------------------------------------------------------------------
COMMANDS = ("follow", "left", "straight", "right")  # navigation command ids 0..3


@dataclass(frozen=True)
class ObservationBatch:
    """What a policy may see. Never privileged state.

    Shapes: ``frames`` uint8 [B, F, H, W, 3] RGB, oldest first, last = now; F = 0 without a rig.
    ``history`` float32 [B, 16, 3]: ego poses (x_m, y_m, heading_rad) at 10 Hz in the ego frame of
    now, oldest first, the last row is now (zeros); before the episode's start the first pose is
    repeated. ``speed_mps`` float32 [B]; ``command`` int8 [B], index into COMMANDS;
    ``speed_limit_mps`` float32 [B].
    """

    frames: npt.NDArray[np.uint8]
    history: FloatArray
    speed_mps: FloatArray
    command: IntArray
    speed_limit_mps: FloatArray

    def __len__(self) -> int:
        return len(self.speed_mps)

    def take(self, rows: Any) -> ObservationBatch:
        """Rows by index array, mask or slice."""
        return ObservationBatch(
            self.frames[rows],
            self.history[rows],
            self.speed_mps[rows],
            self.command[rows],
            self.speed_limit_mps[rows],
        )

    def as_dict(self) -> dict[str, np.ndarray]:
        return {
            "frames": self.frames,
            "history": self.history,
            "speed_mps": self.speed_mps,
            "command": self.command,
            "speed_limit_mps": self.speed_limit_mps,
        }

    @staticmethod
    def from_dict(columns: Mapping[str, np.ndarray]) -> ObservationBatch:
        return ObservationBatch(**{k: columns[k] for k in OBSERVATION_KEYS})


OBSERVATION_KEYS = ("frames", "history", "speed_mps", "command", "speed_limit_mps")


# --------------------------------------------------------------------------------------
# Privileged view, for experts only
# --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Forecast:
    """What would happen under candidate plans, found by simulating forks of each world.

    Shapes [N, C]: ``collision_s`` seconds until the first ego collision (inf if none);
    ``off_road_s`` likewise; ``red_light`` bool; ``progress_m`` along the route; ``min_gap_m``
    smallest box-to-box clearance to any actor; ``min_ttc_s`` smallest time to collision (inf if
    never closing); ``end_speed_mps``; ``lateral_m`` final offset from the nearest lane centre.
    """

    collision_s: FloatArray
    off_road_s: FloatArray
    red_light: BoolArray
    progress_m: FloatArray
    min_gap_m: FloatArray
    min_ttc_s: FloatArray
    end_speed_mps: FloatArray
    lateral_m: FloatArray


class PrivilegedView(Protocol):
    """True state offered to experts. Row order equals the observation batch's."""

    def ego_route_state(self) -> dict[str, FloatArray]:
        """[N] arrays at the moment the next plan takes effect: s_m, d_m (left of route),
        heading_error_rad, speed_mps, curvature_per_m (of the route there), speed_limit_mps,
        left_lanes and right_lanes (how many same-direction lanes lie beside the route's lane),
        lane_width_m, accel_mps2.
        """
        ...

    def route_ahead(self, distance_m: FloatArray) -> FloatArray:
        """Route curvature [N, M] (1/m) at ``distance_m`` [M] or [N, M] ahead of the ego."""
        ...

    def forecast(self, plans: FloatArray, rows: IntArray, hold_s: float = 0.0) -> Forecast:
        """Simulate candidate ``plans`` [N, C, K', 2] (K' free) in forks of worlds ``rows`` [N]."""
        ...


@dataclass(frozen=True)
class PlanMemory:
    """What is known from decisions before.

    ``ahead`` float32 [N, K, 2]: the controls that drive from the observation on, should no new plan
    arrive (nan: none yet); ``decision`` int64 [N], 0 at an episode's first.
    """

    ahead: FloatArray
    decision: IntArray


class Policy(Protocol):
    """What drives: one plan per world, from observations.

    A policy with ``needs_memory = True`` gets ``memory`` (``PlanMemory``) besides.
    """

    needs_privileged: bool
    name: str

    def plan(
        self,
        observation: ObservationBatch,
        *,
        noise_keys: npt.NDArray[np.uint64],
        privileged: PrivilegedView | None = None,
    ) -> PlanBatch:
        """Plan for each of the N rows. ``noise_keys`` [N] makes any sampling reproducible per row,
        whatever the batch; ``privileged`` is given only if ``needs_privileged``."""
        ...


# --------------------------------------------------------------------------------------
# Scenarios, as the simulator takes them (sampled: every parameter is a number)
# --------------------------------------------------------------------------------------
RoadKind = Literal[
    "straight", "curve", "junction", "merge", "s_curve", "exit", "t_junction", "roundabout",
    "lane_drop", "parking_street", "crest", "opendrive",
]  # fmt: skip
ActorKind = Literal[
    "car", "van", "truck", "motorcycle", "cyclist", "pedestrian", "cone", "barrier", "debris",
    "bus", "animal", "ball", "door", "car_picture", "person_picture",
]  # fmt: skip
ACTOR_KINDS: tuple[str, ...] = (
    "car", "van", "truck", "motorcycle", "cyclist", "pedestrian", "cone", "barrier", "debris",
    "bus", "animal", "ball", "door", "car_picture", "person_picture",
)  # fmt: skip
# (length_m, width_m, height_m) of each kind's box.
ACTOR_SIZES_M: dict[str, tuple[float, float, float]] = {
    "car": (4.6, 1.9, 1.5),
    "van": (5.4, 2.1, 2.3),
    "truck": (9.0, 2.5, 3.4),
    "motorcycle": (2.2, 0.8, 1.5),
    "cyclist": (1.8, 0.7, 1.7),
    "pedestrian": (0.6, 0.6, 1.75),
    "cone": (0.5, 0.5, 0.9),
    "barrier": (0.8, 3.0, 1.1),
    "debris": (1.2, 1.2, 0.6),
    "bus": (12.0, 2.55, 3.2),
    "animal": (1.6, 0.5, 1.3),
    "ball": (0.4, 0.4, 0.4),
    "door": (1.1, 0.12, 1.2),
    "car_picture": (0.12, 2.6, 2.0),
    "person_picture": (0.12, 1.3, 2.2),
}
EGO_SIZE_M = (4.8, 2.0, 1.6)
REVERSE_TOP_MPS = 6.0  # of the ego in reverse gear


@dataclass(frozen=True)
class RoadSpec:
    """A procedural road. Hashable: maps are cached by it.

    ``straight``/``curve``: ``lanes`` same-direction lanes (index 0 = rightmost), ``oncoming_lanes``
    on the left; ``radius_m`` > 0 turns left, < 0 right (curve only). ``junction``: 4-way, signals,
    one lane per direction and arm (``lanes`` = ``oncoming_lanes`` = 1). ``merge``: ``lanes`` main
    lanes and a ramp that joins lane 0. ``s_curve``: left by ``radius_m``, then right. ``exit``: a
    ramp leaves lane 0. ``t_junction``, ``roundabout``: without signals; who enters gives way.
    ``lane_drop``: the rightmost of ``lanes`` ends. ``parking_street``: one way, parking lanes on
    both sides. ``crest``: straight over a hill of ``rise_m``. ``opendrive``: the roads of ``file``.
    """

    kind: RoadKind = "straight"
    lanes: int = 2
    oncoming_lanes: int = 0
    lane_width_m: float = 3.5
    shoulder_m: float = 1.0
    length_m: float = 320.0
    radius_m: float = 0.0
    speed_limit_mps: float = 14.0
    rise_m: float = 0.0
    file: str = ""


TriggerKind = Literal[
    "time", "distance", "ttc", "ego_position", "arrival", "headway", "ego_speed", "actor_speed",
    "after", "actor_position", "ego_at_most", "actor_at_most", "all", "any",
]  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A part of a trigger that combines several, ``kind``, ``value`` and ``event`` as of
    ``Trigger``.

    ``actor``: whom it is about, "" for the event's actor. ``whole``: the part, listed before, that
    it is a part of; -1: the trigger itself.
    """

    kind: TriggerKind
    value: float = 0.0
    event: int = -1
    actor: str = ""
    whole: int = -1


@dataclass(frozen=True)
class Trigger:
    """When an event fires (once). ``value`` is in s, m or m/s by kind.

    ``time``: episode time >= value. ``distance``: gap ahead of ego along ego's route to ``actor``
    <= value (bumper to bumper). ``ttc``: gap / closing speed to ``actor`` <= value while closing.
    ``ego_position``: ego has driven >= value along its route since its start. ``arrival``: the
    ego's centre would reach ``actor``'s route position (s of its centre on the ego route) within
    value seconds at its present speed. ``headway``: gap / ego speed to ``actor`` ahead <= value
    while the ego moves. ``ego_speed``, ``actor_speed``: that speed >= value; ``ego_at_most``,
    ``actor_at_most``: <= value. ``actor_position``: arc length on its path >= value. ``after``:
    value seconds have passed since event number ``event`` of the scenario (from 0) fired. ``all``,
    ``any``: of ``parts``, at the same tick.
    """

    kind: TriggerKind
    value: float = 0.0
    event: int = -1
    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Action:
    """What happens, mostly to the event's actor, when an event fires.

    ``speed``: go to ``speed_mps`` with ``accel_mps2`` magnitude (a brake is speed 0 with a large
    magnitude) or, if ``in_s`` is above 0, evenly within that time; ``offset``: move laterally to
    ``d_m`` at ``lateral_mps`` (swerve, pedestrian crossing); ``run_light``: ignore signals and
    give-way from now on; ``react``: hand the actor over to IDM with desired ``speed_mps``.
    ``lane_change``: to the neighbouring lane on the left (``value`` 1) or right (-1) at
    ``lateral_mps``; ``open_door``: a door swings to ``value`` rad, its edge at ``lateral_mps``;
    ``appear``, ``vanish``; ``indicator``: ``value`` 0 off, 1 left, -1 right, 2 hazard lights;
    ``stand``: a walker walks at ``speed_mps`` (0 stands still) from now on; ``follow``: goes over
    to ``path`` beside it at ``lateral_mps``; ``fall``: who walks or rides falls over and slides to
    a halt.
    To the world: ``signal``: the signals go to ``mode``; ``friction``: the road's coefficient
    becomes ``value``; ``patch``: so between two places of the ego's route, as in
    ``Weather.patches``; ``weather``: it looks like ``weather`` from now on.
    """

    kind: Literal[
        "speed", "offset", "run_light", "react", "lane_change", "open_door", "signal", "friction",
        "appear", "vanish", "indicator", "stand", "follow", "fall", "patch", "weather",
    ]  # fmt: skip
    speed_mps: float = 0.0
    accel_mps2: float = 3.0
    d_m: float = 0.0
    lateral_mps: float = 1.0
    value: float = 0.0
    mode: Literal["cycle", "dark", "flashing", "stuck_red", "stuck_green"] = "cycle"
    in_s: float = 0.0
    path: str = ""
    patch: tuple[float, float, float] = (0.0, 0.0, 1.0)
    weather: WeatherChange | None = None


@dataclass(frozen=True)
class WeatherChange:
    """Looks of ``Weather`` and light that become these, evenly over ``over_s``; None: stays."""

    fog_m: float | None = None
    rain: float | None = None
    snow: float | None = None
    glare: float | None = None
    light: float | None = None
    over_s: float = 0.0


@dataclass(frozen=True)
class EventSpec:
    """``actor`` does ``actions`` when ``trigger`` holds."""

    actor: str
    trigger: Trigger
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class ActorSpec:
    """One actor besides the ego, placed on a path.

    ``path`` is a path name of the road (``lane0``, ``oncoming0``, ``west_east``, ``ramp`` ...). If
    ``s_from_ego``, ``s_m`` is the longitudinal distance between box centres measured along the
    ego's route from the ego's start (only for paths parallel to the route); else it is an absolute
    arc length on ``path``. ``d_m`` left of the path. ``speed_mps`` is signed along the path:
    negative drives against its direction (wrong way). ``yaw_rad`` is added to the heading (parked
    at an angle; pedestrians standing). ``behaviour``: ``idm`` follows leaders, signals and gives
    way at junction signals; ``scripted`` keeps its speed until an event says otherwise; ``static``
    never moves; ``walk`` (pedestrians) walks at ``desired_speed_mps`` to ``goal_d_m`` beside its
    path, around others; ``log`` replays ``log`` rows (time_s, x_m, y_m, heading_rad, speed_mps) and
    turns to ``idm`` once the ego is within ``reacts_within_m`` of the recorded way (0: never).

    ``size_m`` (length, width, height) replaces that of the kind. A ``door`` hangs on the actor
    ``parent`` at ``hinge_m`` (ahead, left) of the parent's middle.
    """

    id: str
    kind: ActorKind
    path: str
    s_m: float
    d_m: float = 0.0
    speed_mps: float = 0.0
    yaw_rad: float = 0.0
    behaviour: Literal["idm", "scripted", "static", "walk", "log"] = "idm"
    desired_speed_mps: float = 13.0
    headway_s: float = 1.5
    s_from_ego: bool = True
    color: tuple[int, int, int] = (150, 30, 30)
    size_m: tuple[float, float, float] | None = None
    driver: DriverSpec | None = None
    goal_d_m: float = 0.0
    log: tuple[tuple[float, float, float, float, float], ...] = ()
    reacts_within_m: float = 0.0
    parent: str = ""
    hinge_m: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class DriverSpec:
    """How a driver follows and changes lanes: the parameters of IDM and MOBIL."""

    headway_s: float = 1.5
    min_gap_m: float = 2.0
    max_accel_mps2: float = 1.5
    comfort_brake_mps2: float = 2.0
    politeness: float = 0.2
    change_threshold_mps2: float = 0.2
    changes_lanes: bool = True


# From timid to aggressive: Treiber and Kesting, "Traffic Flow Dynamics", ch. 11 and 14, varied
# around their highway values.
DRIVERS: dict[str, DriverSpec] = {
    "timid": DriverSpec(2.2, 3.0, 1.0, 1.5, 0.5, 0.4),
    "normal": DriverSpec(1.5, 2.0, 1.5, 2.0, 0.2, 0.2),
    "hurried": DriverSpec(1.1, 1.5, 2.0, 2.5, 0.1, 0.1),
    "aggressive": DriverSpec(0.7, 1.0, 2.5, 3.5, 0.0, 0.05),
}


@dataclass(frozen=True)
class TrafficSpec:
    """Background traffic, spread over the lanes by the scenario's seed, besides the listed actors.

    ``styles`` are names in ``DRIVERS`` and ``kinds`` actor kinds, drawn evenly. Vehicles keep
    ``clear_m`` from the ego and from each other at the start. Desired speeds are the lane's limit
    times a factor from ``speed_factor``. One that leaves the map enters it again elsewhere.
    """

    vehicles: int = 0
    pedestrians: int = 0
    styles: tuple[str, ...] = ("timid", "normal", "hurried", "aggressive")
    kinds: tuple[str, ...] = ("car", "car", "car", "van", "truck", "motorcycle")
    clear_m: float = 12.0
    within_m: float = 200.0
    speed_factor: tuple[float, float] = (0.8, 1.15)


@dataclass(frozen=True)
class Weather:
    """``fog_m``: distance at which contrast has fallen to 5 % (inf: clear). ``rain``, ``snow``,
    ``glare`` in [0, 1]. ``friction``: tyre-road coefficient (about 1 dry, 0.7 wet, 0.3 snow, 0.1
    ice); ``patches``: (from, to, friction) along the ego's route from its start."""

    fog_m: float = float("inf")
    rain: float = 0.0
    snow: float = 0.0
    glare: float = 0.0
    friction: float = 1.0
    patches: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Fault:
    """What is wrong with a sensor between ``start_s`` and ``end_s`` of the episode.

    Of ``camera`` (a name of the rig, or ``all``): ``dead`` black; ``frozen`` repeats the image of
    the fault's start; ``drop`` repeats the last one with probability ``amount`` per
    frame; ``dirty`` blots over a share ``amount`` of the image; ``miscalibrated`` is turned left by
    ``amount`` degrees. If ``event`` is the number of an event, times count from when it fires. Of
    the ego's state: ``speed_scale`` error ``amount`` as a share;
    ``speed_noise`` (m/s) and ``pose_noise`` (m) standard deviations; ``latency`` adds ``amount``
    seconds.
    """

    kind: Literal[
        "dead", "frozen", "drop", "dirty", "miscalibrated",
        "speed_scale", "speed_noise", "pose_noise", "latency",
    ]  # fmt: skip
    camera: str = "all"
    amount: float = 0.0
    start_s: float = 0.0
    end_s: float = float("inf")
    event: int = -1


@dataclass(frozen=True)
class SignalPlan:
    """Two-phase fixed cycle of the junction's signals.

    Arms south and north share phase A, west and east phase B. The cycle is: A green for
    ``green_s``, A yellow ``yellow_s``, all red ``all_red_s``, then the same for B. ``offset_s`` is
    the cycle time at episode start.
    """

    green_s: float = 20.0
    yellow_s: float = 3.0
    all_red_s: float = 1.5
    offset_s: float = 0.0
    mode: Literal["cycle", "dark", "flashing", "stuck_red", "stuck_green"] = "cycle"


@dataclass(frozen=True)
class EgoSpec:
    """``path`` is the ego's route; it starts at arc length ``s_m`` with ``speed_mps``.

    On a map whose lanes are linked, ``route`` names the lanes to drive one after the other, the
    first of which replaces ``path``; with no ``route`` there, it goes straight on from ``path``.

    ``reversing``: in reverse gear it drives its route tail first, for the whole episode; its speed,
    heading, plans and cameras all refer to the direction in which it moves.
    """

    path: str = "lane0"
    s_m: float = 30.0
    d_m: float = 0.0
    speed_mps: float = 12.0
    command: Literal["follow", "left", "straight", "right"] = "follow"
    route: tuple[str, ...] = ()
    reversing: bool = False


@dataclass(frozen=True)
class Scenario:
    """A sampled scenario: one YAML document with every parameter drawn. Picklable and hashable by
    content.

    ``id`` e.g. ``cut_in``, ``family`` e.g. ``cut_in``, ``nominal`` True for the twin without the
    danger; ``seed`` made the draw ``parameters`` (name -> number or choice) and the simulator's
    random streams. ``light`` in (0, 1] scales brightness; ``texture_seed`` varies colours of the
    scenery.
    """

    id: str
    family: str
    nominal: bool
    seed: int
    road: RoadSpec
    ego: EgoSpec
    actors: tuple[ActorSpec, ...] = ()
    events: tuple[EventSpec, ...] = ()
    signals: SignalPlan | None = None
    duration_s: float = 12.0
    light: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weather: Weather = field(default_factory=Weather)
    faults: tuple[Fault, ...] = ()
    traffic: TrafficSpec | None = None

    def actor_id(self, slot: int) -> str:
        """Name of the actor in ``slot``: the listed ones come first, then the traffic."""
        listed = len(self.actors)
        return self.actors[slot].id if slot < listed else f"traffic{slot - listed}"


# --------------------------------------------------------------------------------------
# What the judge records, and episodes
# --------------------------------------------------------------------------------------
END_RUNNING, END_COLLISION, END_OFF_ROAD, END_RED_LIGHT, END_TIMEOUT, END_ROUTE_DONE, END_FAILED = (
    range(7)
)
END_NAMES = ("running", "collision", "off_road", "red_light", "timeout", "route_done", "failed")
FAULT_NONE, FAULT_EGO, FAULT_OTHER = range(3)


@dataclass(frozen=True)
class StepSignals:
    """What the judge saw during one decision interval; arrays [B] unless said otherwise.

    ``end`` is an END_* code (END_RUNNING while it goes on); ``fault`` a FAULT_* code for a
    collision in this interval; ``collision_actor`` int, actor slot hit or -1. ``progress_m`` route
    arc length gained in the interval; ``min_ttc_s`` and ``min_gap_m`` (inf if nothing near) are
    minima over its ticks;
    ``accel_mps2``/``jerk_mps3``/``lateral_accel_mps2``/``yaw_rate_radps``/``yaw_accel_radps2`` are
    the values of largest magnitude; ``lane_offset_m`` |distance| from the nearest lane centre and
    ``wrong_way`` at the end of the interval; ``over_speed_mps`` mean excess over the limit;
    ``active`` bool: the world was running at its start.

    ``min_accel_mps2`` and ``max_accel_mps2``: extremes along the car; ``mag_jerk_mps3``: largest
    change of the acceleration's magnitude. ``off_lane_s``: seconds outside every lane of the ego's
    direction; ``route_offset_m``: largest |distance| from the route. ``close_encounter``: came
    closer than ``sim.judge.CLOSE_M`` to an actor without touching it; ``stop_line``: crossed the
    line at a stop sign without having stood; ``blocked``: has stood for long with a free road
    ahead. Left out, they are neutral.
    """

    end: IntArray
    fault: IntArray
    collision_actor: IntArray
    progress_m: FloatArray
    min_ttc_s: FloatArray
    min_gap_m: FloatArray
    accel_mps2: FloatArray
    jerk_mps3: FloatArray
    lateral_accel_mps2: FloatArray
    yaw_rate_radps: FloatArray
    yaw_accel_radps2: FloatArray
    lane_offset_m: FloatArray
    wrong_way: BoolArray
    over_speed_mps: FloatArray
    speed_mps: FloatArray
    active: BoolArray
    min_accel_mps2: FloatArray = field(default_factory=lambda: np.zeros(()))
    max_accel_mps2: FloatArray = field(default_factory=lambda: np.zeros(()))
    mag_jerk_mps3: FloatArray = field(default_factory=lambda: np.zeros(()))
    off_lane_s: FloatArray = field(default_factory=lambda: np.zeros(()))
    route_offset_m: FloatArray = field(default_factory=lambda: np.zeros(()))
    close_encounter: BoolArray = field(default_factory=lambda: np.zeros((), dtype=np.bool_))
    stop_line: BoolArray = field(default_factory=lambda: np.zeros((), dtype=np.bool_))
    blocked: BoolArray = field(default_factory=lambda: np.zeros((), dtype=np.bool_))

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = np.asarray(getattr(self, name))
            if value.ndim == 0:
                object.__setattr__(self, name, np.full(np.shape(self.active), value))


@dataclass(frozen=True)
class EpisodeResult:
    """One judged episode: a row of every report, also when it failed to run (``end`` = "failed",
    ``error`` set).
    """

    scenario_id: str
    family: str
    nominal: bool
    seed: int
    end: str
    at_fault: bool
    collision: bool
    off_road: bool
    red_light: bool
    progress_m: float
    route_m: float
    duration_s: float
    mean_speed_mps: float
    min_ttc_s: float
    min_gap_m: float
    comfort: float
    wrong_way_s: float
    total_reward: float
    plan_ms: float
    plan_deviation_m: float
    parameters: Mapping[str, Any]
    weights_version: int = -1
    collision_actor: str = ""
    state_hash: str = ""
    error: str = ""
    # What the scores need besides: shares of decisions that kept a safe time to collision and the
    # lane, the progress that driving at the speed limit would have made, and the summed reward
    # terms.
    ttc_share: float = 1.0
    lane_share: float = 1.0
    reference_m: float = 0.0
    decisions: int = 0
    reward_terms: Mapping[str, float] = field(default_factory=dict)
