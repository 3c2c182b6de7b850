"""The scenario language as pydantic models: strict types, no unknown keys, units in names.

Words follow OpenSCENARIO where it has one (road, ego, actors, events, trigger, actions,
parameters). Values: ``scenarios.quantities``; road users: ``scenarios.schema_actors``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args, get_type_hints

from pydantic import Discriminator, Field, PrivateAttr, Tag, model_validator
from pydantic_core import PydanticCustomError

from alpamayo import types
from alpamayo.types import COMMANDS, RoadKind
from scenarios.quantities import (
    Constraint,
    Count,
    File,
    Friction,
    Lane,
    Lateral,
    NonNegative,
    Number,
    PathName,
    Positive,
    Real,
    Scalar,
    Share,
    SignalMode,
    Speed,
    Strict,
    Text,
    Word,
    at_most_one,
    exactly_one,
    unit_of,
)
from scenarios.schema_actors import PLACES, VEHICLES, Actor, Event, Initially, Patch, Style

SCHEMA_VERSION = 1
MOST_ACTORS = 64
FAULT_KINDS: tuple[str, ...] = get_args(get_type_hints(types.Fault)["kind"])


# --------------------------------------------------------------------------------------
# Parameters
# --------------------------------------------------------------------------------------
class Normal(Strict):
    """Normal distribution cut off at ``min`` and ``max``."""

    mean: Real
    std: Positive
    min: Real | None = None
    max: Real | None = None


class Distribution(Strict):
    """What a parameter is drawn from: exactly one of uniform, normal, choice, grid, select."""

    uniform: Annotated[list[Real], Field(min_length=2, max_length=2)] | None = None
    """[low, high]"""
    normal: Normal | None = None
    choice: (
        Annotated[list[Annotated[float | str, Scalar()]], Field(min_length=1, max_length=200)]
        | None
    ) = None
    """Values drawn with equal probability, or with ``weights``."""
    grid: (
        Annotated[list[Annotated[float | str, Scalar()]], Field(min_length=1, max_length=200)]
        | None
    ) = None
    """Values taken one after the other instead of at random: seed after seed goes through every
    combination of all grids.
    """
    weights: Annotated[list[Annotated[float, Field(ge=0.0)]], Field(min_length=1)] | None = None
    """One weight per value of ``choice``."""
    select: (
        Annotated[list[Annotated[float | str, Scalar()]], Field(min_length=1, max_length=200)]
        | None
    ) = None
    """Not drawn: the value at the place ``by`` (0 = first), so that several values follow one
    choice.
    """
    by: Real | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Distribution:
        exactly_one(self, ("uniform", "normal", "choice", "grid", "select"))
        if (self.select is None) != (self.by is None):
            raise PydanticCustomError("select", "expected select and by together")
        if self.weights is not None and (
            self.choice is None or len(self.weights) != len(self.choice) or sum(self.weights) <= 0
        ):
            raise PydanticCustomError(
                "weights", "expected one weight per value of choice, not all zero"
            )
        if self.uniform and all(not isinstance(x, str) for x in self.uniform):
            low, high = self.uniform
            if low > high:  # type: ignore[operator]
                raise PydanticCustomError("order", "expected uniform: [low, high] with low <= high")
        return self


Parameter = Annotated[
    Annotated[Distribution, Tag("distribution")] | Annotated[Real, Tag("number")],
    Discriminator(
        lambda value: "distribution" if isinstance(value, dict | Distribution) else "number"
    ),
]


# --------------------------------------------------------------------------------------
# The parts of a scenario
# --------------------------------------------------------------------------------------
class Road(Strict):
    """A procedural road, or the roads of an OpenDRIVE file.

    straight, curve, s_curve, crest: lanes and oncoming lanes. merge: path ramp joins lane 0; exit:
    path exit leaves it; lane_drop: lane 0 ends. junction (4-way, signals), t_junction and
    roundabout (without): paths are movements such as south_north. parking_street: one way, with
    paths parking_right, parking_left, sidewalk_right, sidewalk_left.
    """

    kind: RoadKind
    lanes: Annotated[int | str, Number(ge=1, le=6, integer=True)] = 2
    """Lanes in ego's direction; lane 0 is the rightmost."""
    oncoming_lanes: Count = 0
    lane_width_m: Annotated[float | str, Number(ge=2.5, le=5.0)] = 3.5
    shoulder_m: Annotated[float | str, Number(ge=0.0, le=6.0)] = 1.0
    length_m: Annotated[float | str, Number(ge=80.0, le=2000.0)] = 320.0
    radius_m: Real = 0.0
    """curve and s_curve: above 0 turns left (first), below 0 right; roundabout: of the circulating
    lane.
    """
    rise_m: NonNegative = 0.0
    """crest: height of the hill in the middle of the road."""
    speed_limit_mps: Annotated[float | str, Number(gt=0.0, le=40.0)] = 14.0
    file: Annotated[str, File(".xodr")] | None = None
    """opendrive: the map, relative to this file. Its lanes are called
    road<id>_s<lane section>_l<lane id>.
    """


class Ego(Strict):
    """Where ego starts and the route it drives."""

    lane: Lane | None = None
    """Short for path: lane<n>."""
    oncoming: Lane | None = None
    """Short for path: oncoming<n>."""
    path: PathName | None = None
    route: Annotated[list[PathName], Field(min_length=1, max_length=200)] | None = None
    """opendrive: lanes to drive one after the other, from path on; default: straight on."""
    s_m: NonNegative = 30.0
    d_m: Lateral = 0.0
    speed_mps: Speed = 12.0
    command: Annotated[str, Text(COMMANDS)] = "follow"
    """What navigation says: follow, left, straight or right."""
    reversing: Literal[True] | None = None
    """In reverse gear: it drives its lane tail first and looks back; at most 6 m/s."""

    @model_validator(mode="after")
    def _placed(self) -> Ego:
        if self.route is None:
            exactly_one(self, PLACES)
        at_most_one(self, PLACES)
        return self


class Traffic(Strict):
    """Background traffic besides the actors, spread over the lanes; drawn anew for every seed."""

    vehicles: Annotated[int | str, Number(ge=0, le=256, integer=True)] = 0
    pedestrians: Annotated[int | str, Number(ge=0, le=256, integer=True)] = 0
    styles: Annotated[list[Style], Field(min_length=1)] | None = None
    """Ways to drive, drawn evenly; default: all."""
    kinds: Annotated[list[Annotated[str, Text(VEHICLES)]], Field(min_length=1)] | None = None
    """Drawn evenly, one given twice comes twice as often; default: half of them cars, the others
    van, truck and motorcycle.
    """
    clear_m: NonNegative = 12.0
    """Free space at the start between vehicles, and to ego."""
    within_m: Positive = 200.0
    """Distance from ego within which they start."""
    speed_factor: (
        Annotated[
            list[Annotated[float | str, Number(gt=0.0, le=3.0)]], Field(min_length=2, max_length=2)
        ]
        | None
    ) = None
    """[low, high]: desired speed over the lane's limit; default: [0.8, 1.15]."""


class Signals(Strict):
    """Fixed cycle: south/north green, yellow, all red, then west/east the same."""

    green_s: Positive = 20.0
    yellow_s: NonNegative = 3.0
    all_red_s: NonNegative = 1.5
    offset_s: NonNegative = 0.0
    """Cycle time at the episode's start."""
    mode: SignalMode = "cycle"
    """cycle, or a failure: dark, flashing yellow, stuck_red or stuck_green for ego."""


class Environment(Strict):
    """How the scene looks."""

    light: Annotated[float | str, Number(ge=0.05, le=1.0)] = 1.0
    """Brightness."""


class Weather(Strict):
    """What is in the air and on the road."""

    fog_m: Annotated[float | str, Number(ge=5.0)] | None = None
    """Distance at which contrast has fallen to 5 %."""
    rain: Share = 0.0
    snow: Share = 0.0
    glare: Share = 0.0
    friction: Friction = 1.0
    """Coefficient between tyre and road: about 1 dry, 0.7 wet, 0.3 snow, 0.1 ice."""
    patches: Annotated[list[Patch], Field(max_length=4)] = Field(default_factory=list)


class Fault(Strict):
    """What is wrong with a sensor from start_s to end_s (default: to the end)."""

    kind: Annotated[str, Text(FAULT_KINDS)]
    """Cameras: dead, frozen, drop (probability per frame), dirty (share of the image),
    miscalibrated (degrees). Ego's state: speed_scale (share), speed_noise (m/s), pose_noise (m),
    latency (s).
    """
    camera: PathName | None = None
    """Name of a camera of the rig; default: all."""
    amount: Real | None = None
    """In the unit of the kind; dead and frozen have none."""
    start_s: NonNegative = 0.0
    end_s: NonNegative | None = None


class ScenarioDocument(Strict):
    """One scenario file, after ``extends`` is resolved."""

    schema_version: Literal[1]
    id: Word
    """Stable name; equals the file's name."""
    family: Word
    """The kind of danger it poses."""
    description: Annotated[str, Field(min_length=1, max_length=2000)]
    extends: str | None = None
    """Id or relative path of the file this one changes: mappings are merged, actors by id, other
    lists replaced,
    null removes an inherited key."""
    without: list[Word] | None = None
    """Inherited actors to leave out, together with their events."""
    nominal: bool = False
    """True for the twin without the danger, and for ordinary driving."""
    collision_course: bool = True
    """Of a danger: whoever keeps its lane and speed crashes. False where the danger is another one
    (faults, bad sight, who drives into ego from behind): then only the expert must get through.
    """
    keeping_is_safe: bool = True
    """Of a nominal twin: whoever keeps its lane and speed comes to no harm. False where everybody
    has to slow down or give way there as well.
    """
    sources: list[str] = Field(default_factory=list)
    """Where the situation is described (crash typologies, protocols)."""
    tags: list[str] = Field(default_factory=list)
    severity: Literal["S0", "S1", "S2", "S3"] = "S0"
    """Expected harm of the crash if nobody reacts (ISO 26262 classes)."""
    parameters: dict[Word, Parameter] = Field(default_factory=dict)
    """Name to distribution, number, or expression on other parameters."""
    constraints: Annotated[list[Annotated[str, Constraint()]], Field(max_length=50)] = Field(
        default_factory=list
    )
    """What must hold between parameters, such as "$gap_m > 2 * $ego_mps": draws that break one are
    drawn again.
    """
    road: Road
    ego: Ego
    actors: Annotated[list[Actor], Field(max_length=MOST_ACTORS)] = Field(default_factory=list)
    init: list[Initially] = Field(default_factory=list)
    """What is so at the start: actions that have happened before ego first looks."""
    events: list[Event] = Field(default_factory=list)
    traffic: Traffic | None = None
    signals: Signals | None = None
    environment: Environment = Field(default_factory=Environment)
    weather: Weather = Field(default_factory=Weather)
    faults: Annotated[list[Fault], Field(max_length=64)] = Field(default_factory=list)
    duration_s: Annotated[float | str, Number(gt=0.0, le=120.0)] = 12.0

    _tree: Any = PrivateAttr(default=None)
    _steps: Any = PrivateAttr(default=None)
    """What ``scenarios.parameters`` keeps of it from draw to draw."""

    @property
    def tree(self) -> Any:
        """Places in the file (``yaml_tree.Tree``), for messages."""
        return self._tree


def _tell_unit(name: str, told: dict[str, Any]) -> None:
    """Hovering a key tells its unit."""
    unit = unit_of(name)
    if unit:
        told["description"] = " ".join([*told.get("description", "").split(), f"In {unit}."])


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a scenario file, for editors: what ``extends`` can provide
    is optional.
    """
    schema = ScenarioDocument.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Alpamayo scenario"
    complete = schema["required"]
    schema["required"] = ["schema_version", "id"]
    schema["anyOf"] = [{"required": ["extends"]}, {"required": complete}]
    schema["$defs"]["Road"].pop("required", None)
    for model in (schema, *schema["$defs"].values()):
        for name, told in model.get("properties", {}).items():
            _tell_unit(name, told)
    return schema
