"""The scenario language about road users: who they are, how they drive, what they do."""

from __future__ import annotations

from typing import Annotated, Literal, get_args, get_type_hints

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from alpamayo.types import DRIVERS, Fault
from scenarios.quantities import (
    Acceleration,
    ColorValue,
    File,
    Friction,
    Kind,
    Lane,
    Lateral,
    NonNegative,
    Number,
    PathName,
    Positive,
    Real,
    Share,
    SignalMode,
    SignedSpeed,
    Size,
    Speed,
    Strict,
    Text,
    Word,
    at_most_one,
    exactly_one,
)

VEHICLES = ("car", "van", "truck", "bus", "motorcycle", "cyclist")
INDICATORS = {"off": 0, "left": 1, "right": -1, "hazard": 2}
SIDES = {"left": 1, "right": -1}
SENSOR_FAULTS = tuple(k for k in get_args(get_type_hints(Fault)["kind"]) if k != "latency")
LOG_COLUMNS = ("time_s", "x_m", "y_m", "heading_rad", "speed_mps")
PLACES = ("lane", "oncoming", "path")

Style = Annotated[str, Text(tuple(DRIVERS))]
LogRow = Annotated[list[Real], Field(min_length=len(LOG_COLUMNS), max_length=len(LOG_COLUMNS))]


class Driver(Strict):
    """How someone follows and changes lanes (IDM and MOBIL); what is left out is normal."""

    headway_s: Annotated[float | str, Number(ge=0.1, le=10.0)] = 1.5
    """Time gap kept to the one ahead."""
    min_gap_m: Annotated[float | str, Number(ge=0.1, le=20.0)] = 2.0
    """Distance kept when standing."""
    max_accel_mps2: Acceleration = 1.5
    comfort_brake_mps2: Acceleration = 2.0
    politeness: Share = 0.2
    """0: thinks of itself alone when changing lanes."""
    change_threshold_mps2: Annotated[float | str, Number(ge=0.0, le=10.0)] = 0.2
    """What a lane change must gain."""
    changes_lanes: bool = True


class Actor(Strict):
    """One road user or object besides ego."""

    id: Word
    kind: Kind = "car"
    lane: Lane | None = None
    """Short for path: lane<n>."""
    oncoming: Lane | None = None
    """Short for path: oncoming<n>."""
    path: PathName | None = None
    ahead_m: Real | None = None
    """Distance along ego's route from ego's start, between box centres (paths parallel to the
    route).
    """
    s_m: Real | None = None
    """Arc length on the actor's own path (junctions)."""
    d_m: Lateral = 0.0
    """Metres to the left of the path."""
    speed_mps: SignedSpeed = 0.0
    """Along the path; below 0 drives against its direction."""
    yaw_rad: Real = 0.0
    reversing: Literal[True] | None = None
    """A speed_mps below 0 means backing, not driving the wrong way."""
    behaviour: Literal["idm", "scripted", "static", "walk", "log"] | None = None
    """Default: static for cone, barrier, debris; scripted for pedestrian, animal, ball and who
    reverses; walk with goal_d_m; log with log; idm for the others.
    """
    desired_speed_mps: Speed | None = None
    """Of idm; default: the speed limit. Of walk; default: 1.34."""
    headway_s: Positive = 1.5
    driver: (
        Annotated[
            Annotated[Style, Tag("style")] | Annotated[Driver, Tag("driver")],
            Discriminator(lambda value: "style" if isinstance(value, str) else "driver"),
        ]
        | None
    ) = None
    """timid, normal, hurried, aggressive, or settings; without it the actor keeps its lane."""
    goal_d_m: Lateral | None = None
    """A pedestrian walks to this place beside its path, around others."""
    log: (
        Annotated[
            Annotated[str, File(".csv"), Tag("file")]
            | Annotated[list[LogRow], Field(min_length=2, max_length=10_000), Tag("rows")],
            Discriminator(lambda value: "rows" if isinstance(value, list) else "file"),
        ]
        | None
    ) = None
    """Recorded trajectory to replay: rows [time_s, x_m, y_m, heading_rad, speed_mps] in the frame
    of the map, or a CSV file with these columns, relative to this file.
    """
    reacts_within_m: NonNegative = 0.0
    """Of log: turns to idm once ego is this near to its recorded way; 0: never."""
    size_m: Annotated[list[Size], Field(min_length=3, max_length=3)] | None = None
    """[length, width, height]; default: that of the kind."""
    parent: Word | None = None
    """A door hangs on this actor and needs no place of its own."""
    hinge_m: Annotated[list[Lateral], Field(min_length=2, max_length=2)] | None = None
    """[ahead, left] of the parent's middle; default: the front door on the left."""
    color: ColorValue | None = None
    """A name, [r, g, b] or $name; default: drawn per scenario."""
    probability: Share = 1.0
    """The actor is there with this probability."""

    @model_validator(mode="after")
    def _placed(self) -> Actor:
        if self.kind == "door" or self.parent is not None:
            given = [n for n in (*PLACES, "ahead_m", "s_m") if getattr(self, n) is not None]
            if given:
                raise PydanticCustomError(
                    "door", "expected parent and hinge_m to place a door, got {got}",
                    {"got": " and ".join(given)},
                )  # fmt: skip
        elif self.log is not None or self.behaviour == "log":
            at_most_one(self, PLACES)
            at_most_one(self, ("ahead_m", "s_m"))
        else:
            exactly_one(self, PLACES)
            exactly_one(self, ("ahead_m", "s_m"))
        return self


# --------------------------------------------------------------------------------------
# Events
# --------------------------------------------------------------------------------------
class After(Strict):
    """``delay_s`` seconds after another event has fired."""

    event: Word
    """Its id."""
    delay_s: NonNegative = 0.0


class Trigger(Strict):
    """When the event fires, once: exactly one condition, or several in ``all`` or ``any``."""

    time_s: NonNegative | None = None
    """Episode time."""
    distance_m: Positive | None = None
    """The gap from ego's front to the actor, along the route, is at most this."""
    ttc_s: Positive | None = None
    """Gap / closing speed to the actor is at most this."""
    ego_position_m: NonNegative | None = None
    """Ego has driven this far since the start."""
    arrival_s: Positive | None = None
    """At its present speed ego reaches the actor's place on the route within this time."""
    headway_s: Positive | None = None
    """Gap / ego's speed to the actor ahead is at most this while ego moves."""
    ego_speed_mps: NonNegative | None = None
    """Ego is at least this fast."""
    ego_at_most_mps: NonNegative | None = None
    """Ego is at most this fast."""
    actor_speed_mps: NonNegative | None = None
    """The actor is at least this fast."""
    actor_at_most_mps: NonNegative | None = None
    """The actor is at most this fast."""
    actor_position_m: NonNegative | None = None
    """The actor is at least this far along its path (its s_m)."""
    after: After | None = None
    all: Annotated[list[Trigger], Field(min_length=1, max_length=16)] | None = None
    """All of these hold at the same time."""
    any: Annotated[list[Trigger], Field(min_length=1, max_length=16)] | None = None
    """At least one of these holds."""
    actor: Word | None = None
    """Whom the condition is about; default: the event's actor."""

    @model_validator(mode="after")
    def _one(self) -> Trigger:
        exactly_one(self, CONDITIONS)
        return self


CONDITIONS = tuple(name for name in Trigger.model_fields if name != "actor")
# Triggers that say something about an actor.
TRIGGERS_OF_ACTOR = (
    "distance_m", "ttc_s", "arrival_s", "headway_s",
    "actor_speed_mps", "actor_at_most_mps", "actor_position_m",
)  # fmt: skip


class SpeedAction(Strict):
    """Go to a speed; speed_mps 0 with a large accel_mps2 is hard braking; below 0 is reversing."""

    speed_mps: SignedSpeed
    accel_mps2: Acceleration = 3.0
    in_s: Positive | None = None
    """Evenly within this time, instead of with accel_mps2."""

    @model_validator(mode="after")
    def _timed(self) -> SpeedAction:
        if self.in_s is not None and "accel_mps2" in self.model_fields_set:
            raise PydanticCustomError("speed", "expected accel_mps2 or in_s, got both")
        return self


class ProfilePoint(Strict):
    """A speed, reached evenly within in_s from the point before."""

    speed_mps: SignedSpeed
    in_s: Positive


class BrakeAction(Strict):
    """Brake to a standstill, or to to_mps."""

    decel_mps2: Acceleration = 6.0
    to_mps: Speed = 0.0


class ReverseAction(Strict):
    """Go against the direction in which it drives now."""

    speed_mps: Annotated[float | str, Number(gt=0.0, le=20.0)] = 2.0
    accel_mps2: Acceleration = 2.0


class SwerveAction(Strict):
    """Out to d_m left of the actor's path, and back to where it started (back_d_m)."""

    d_m: Lateral
    lateral_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 2.0
    hold_s: NonNegative = 0.5
    """Stays out this long."""
    back_d_m: Lateral | None = None


class CrossAction(Strict):
    """Cross to to_d_m left of the actor's path: who is on foot, an animal, a ball."""

    to_d_m: Lateral
    speed_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 1.34


class FollowPathAction(Strict):
    """Go over to another path that runs beside its own: an exit, a turn, a ramp."""

    path: PathName
    lateral_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 1.0


class OffsetAction(Strict):
    """Move sideways to d_m left of the actor's path: lane change, swerve, crossing."""

    d_m: Lateral
    lateral_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 1.0


class ReactAction(Strict):
    """Hand the actor over to car following with this desired speed."""

    speed_mps: Speed


class LaneChangeAction(Strict):
    """Change to the neighbouring lane, whoever is there."""

    to: Annotated[str, Text(tuple(SIDES))]
    lateral_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 1.0


class OpenDoorAction(Strict):
    """A door swings to an angle; 0 shuts it."""

    angle_rad: Annotated[float | str, Number(ge=0.0, le=1.6)] = 1.1
    edge_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 1.0
    """Speed of its free edge."""


class StandAction(Strict):
    """Someone with behaviour walk walks this fast from now on; 0 stands still."""

    speed_mps: Annotated[float | str, Number(ge=0.0, le=5.0)] = 0.0


class Patch(Strict):
    """A friction of its own from from_m to to_m along ego's route from its start."""

    from_m: Real
    to_m: Real
    friction: Friction


class WeatherAction(Strict):
    """The weather becomes this, evenly over over_s; what is left out stays. Friction changes at
    once.
    """

    fog_m: Annotated[float | str, Number(ge=5.0)] | None = None
    """Distance at which contrast has fallen to 5 %."""
    rain: Share | None = None
    snow: Share | None = None
    glare: Share | None = None
    light: Annotated[float | str, Number(ge=0.05, le=1.0)] | None = None
    """Brightness."""
    friction: Friction | None = None
    over_s: NonNegative = 0.0

    @model_validator(mode="after")
    def _something(self) -> WeatherAction:
        if not self.model_fields_set - {"over_s"}:
            raise PydanticCustomError(
                "weather", "expected at least one of fog_m, rain, snow, glare, light, friction"
            )
        return self


class SensorFaultAction(Strict):
    """A sensor breaks, for for_s (default: to the end)."""

    kind: Annotated[str, Text(SENSOR_FAULTS)]
    """As in faults."""
    camera: PathName | None = None
    """Name of a camera of the rig; default: all."""
    amount: Real | None = None
    """In the unit of the kind; dead and frozen have none."""
    for_s: Positive | None = None


class LatencyAction(Strict):
    """The planner takes extra_s longer, for for_s (default: to the end)."""

    extra_s: Annotated[float | str, Number(gt=0.0, le=10.0)]
    for_s: Positive | None = None


class Action(Strict):
    """What the actor does, or what happens to the world: exactly one."""

    speed: SpeedAction | None = None
    speed_profile: Annotated[list[ProfilePoint], Field(min_length=1, max_length=20)] | None = None
    """Speeds one after the other."""
    brake: BrakeAction | None = None
    reverse: ReverseAction | None = None
    offset: OffsetAction | None = None
    run_light: Literal[True] | None = None
    """Ignore signals and give-way from now on."""
    react: ReactAction | None = None
    lane_change: LaneChangeAction | None = None
    swerve: SwerveAction | None = None
    cross: CrossAction | None = None
    follow_path: FollowPathAction | None = None
    fall: Literal[True] | None = None
    """Who walks or rides falls over and slides to a halt."""
    open_door: OpenDoorAction | None = None
    stand: StandAction | None = None
    indicator: Annotated[str, Text(tuple(INDICATORS))] | None = None
    vanish: Literal[True] | None = None
    """The actor is gone; at time_s 0: it is not there yet."""
    appear: Literal[True] | None = None
    """Who has vanished is there again."""
    signal: SignalMode | None = None
    """The signals go to this mode; needs no actor."""
    friction: Friction | None = None
    """The road's coefficient of friction becomes this; needs no actor."""
    friction_patch: Patch | None = None
    """A stretch of ego's route gets a friction of its own; needs no actor."""
    weather: WeatherAction | None = None
    """Needs no actor."""
    sensor_fault: SensorFaultAction | None = None
    """Needs no actor."""
    latency: LatencyAction | None = None
    """Needs no actor."""

    @model_validator(mode="after")
    def _one(self) -> Action:
        exactly_one(self, tuple(type(self).model_fields))
        return self


ACTIONS_OF_WORLD = (
    "signal", "friction", "friction_patch", "weather", "sensor_fault", "latency"
)  # fmt: skip


class Initially(Strict):
    """``actor`` has done ``actions`` before ego first looks."""

    actor: Word | None = None
    """May be left out if the actions are not about an actor."""
    actions: Annotated[list[Action], Field(min_length=1)]


class Event(Strict):
    """``actor`` does ``actions`` when ``trigger`` holds."""

    id: Word | None = None
    """For ``after`` of other events."""
    actor: Word | None = None
    """May be left out if neither the trigger nor the actions are about an actor."""
    trigger: Trigger
    actions: Annotated[list[Action], Field(min_length=1)]
