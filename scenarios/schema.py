"""The scenario language as pydantic models: strict types, no unknown keys, units in names.

A *quantity* is a number or an expression on parameters (``"$gap_m + 5"``); its range is checked
on the number it
becomes. Words follow OpenSCENARIO where it has one (road, ego, actors, events, trigger, actions,
parameters).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from alpamayo.types import ActorKind, RoadKind
from scenarios.expressions import ExpressionError, parse

SCHEMA_VERSION = 1
COLORS: dict[str, tuple[int, int, int]] = {
    "white": (225, 225, 225),
    "silver": (165, 170, 175),
    "black": (35, 35, 40),
    "red": (165, 30, 30),
    "blue": (35, 60, 150),
    "green": (30, 95, 55),
    "yellow": (220, 185, 40),
    "orange": (230, 110, 25),
    "brown": (105, 70, 45),
    "purple": (95, 45, 120),
}


@dataclass(frozen=True)
class Number:
    """Annotation of a quantity: a number within bounds, or an expression that gives one."""

    ge: float = -math.inf
    le: float = math.inf
    gt: float = -math.inf
    integer: bool = False

    def complaint(self, value: float) -> str | None:
        """What is wrong with the number, or None."""
        if not math.isfinite(value):
            return "expected a finite number"
        if self.integer and value != round(value):
            return f"expected a whole number, got {value:g}"
        if value < self.ge or value > self.le or value <= self.gt:
            return f"expected a number {self.range_text()}, got {value:g}"
        return None

    def range_text(self) -> str:
        low = f"above {self.gt:g}" if self.gt > -math.inf else f"of at least {self.ge:g}"
        has_low = max(self.gt, self.ge) > -math.inf
        high = f"at most {self.le:g}" if self.le < math.inf else ""
        return " and ".join(text for text in (low if has_low else "", high) if text)

    def check(self, value: Any) -> float | str:
        if isinstance(value, str):
            try:
                parse(value)
            except ExpressionError as error:
                raise PydanticCustomError(
                    "expression", "{reason}", {"reason": str(error)}
                ) from None
            return value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PydanticCustomError(
                "quantity", 'expected a number or an expression such as "$gap_m + 5"'
            )
        reason = self.complaint(value)
        if reason:
            raise PydanticCustomError("range", "{reason}", {"reason": reason})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        number: dict[str, Any] = {"type": "integer" if self.integer else "number"}
        if self.ge > -math.inf:
            number["minimum"] = self.ge
        if self.gt > -math.inf:
            number["exclusiveMinimum"] = self.gt
        if self.le < math.inf:
            number["maximum"] = self.le
        return {"anyOf": [number, {"type": "string", "pattern": r"\$"}]}


@dataclass(frozen=True)
class Text:
    """Annotation of a word out of ``choices`` (any if empty), or ``$name`` of a parameter that
    holds one.
    """

    choices: tuple[str, ...] = ()

    def complaint(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return f"expected text, got {value!r}"
        if self.choices and value not in self.choices:
            return (
                f"expected one of {', '.join(self.choices)}, got {value}{near(value, self.choices)}"
            )
        return None

    def check(self, value: Any) -> str:
        if isinstance(value, str) and value.startswith("$"):
            return value
        reason = self.complaint(value)
        if reason:
            raise PydanticCustomError("word", "{reason}", {"reason": reason})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        if not self.choices:
            return {"type": "string"}
        return {"anyOf": [{"enum": list(self.choices)}, {"type": "string", "pattern": r"^\$"}]}


@dataclass(frozen=True)
class Color:
    """Annotation of a colour: a name, ``$name``, or [r, g, b]."""

    def check(self, value: Any) -> str | list[int]:
        if isinstance(value, list):
            if len(value) == 3 and all(type(x) is int and 0 <= x <= 255 for x in value):
                return value
        elif isinstance(value, str):
            return Text(tuple(COLORS)).check(value)
        raise PydanticCustomError("color", "expected a colour name or [r, g, b] of 0 to 255")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        byte = {"type": "integer", "minimum": 0, "maximum": 255}
        rgb = {"type": "array", "items": byte, "minItems": 3, "maxItems": 3}
        return {"anyOf": [{"enum": list(COLORS)}, {"type": "string", "pattern": r"^\$"}, rgb]}


@dataclass(frozen=True)
class Scalar:
    """Annotation of a value of a choice: a number or text."""

    def check(self, value: Any) -> float | str:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise PydanticCustomError("scalar", "expected a number or text")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": ["number", "string"]}


def near(word: str, known: Any) -> str:
    """``"; did you mean x?"`` or nothing."""
    import difflib

    close = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {close[0]}?" if close else ""


Real = Annotated[float | str, Number()]
Positive = Annotated[float | str, Number(gt=0.0)]
NonNegative = Annotated[float | str, Number(ge=0.0)]
Speed = Annotated[float | str, Number(ge=0.0, le=60.0)]
SignedSpeed = Annotated[float | str, Number(ge=-60.0, le=60.0)]
Acceleration = Annotated[float | str, Number(gt=0.0, le=15.0)]
Lateral = Annotated[float | str, Number(ge=-60.0, le=60.0)]
Lane = Annotated[int | str, Number(ge=0, le=7, integer=True)]
Count = Annotated[int | str, Number(ge=0, le=6, integer=True)]
Share = Annotated[float | str, Number(ge=0.0, le=1.0)]
PathName = Annotated[str, Text()]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
ColorValue = Annotated[str | list[int], Color()]
Kind = Annotated[str, Text(get_args(ActorKind))]


class Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


def exactly_one(model: BaseModel, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise PydanticCustomError(
            "exactly_one",
            "expected exactly one of {names}, got {got}",
            {"names": ", ".join(names), "got": got},
        )


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
    """What a parameter is drawn from: exactly one of uniform, normal, choice, select."""

    uniform: Annotated[list[Real], Field(min_length=2, max_length=2)] | None = None
    """[low, high]"""
    normal: Normal | None = None
    choice: (
        Annotated[list[Annotated[float | str, Scalar()]], Field(min_length=1, max_length=200)]
        | None
    ) = None
    """Values drawn with equal probability, or with ``weights``."""
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
        exactly_one(self, ("uniform", "normal", "choice", "select"))
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
    """A procedural road: straight, curve, junction (4-way, signals) or merge (ramp joins lane
    0).
    """

    kind: RoadKind
    lanes: Annotated[int | str, Number(ge=1, le=6, integer=True)] = 2
    """Lanes in ego's direction; lane 0 is the rightmost."""
    oncoming_lanes: Count = 0
    lane_width_m: Annotated[float | str, Number(ge=2.5, le=5.0)] = 3.5
    shoulder_m: Annotated[float | str, Number(ge=0.0, le=8.0)] = 1.0
    length_m: Annotated[float | str, Number(ge=80.0, le=2000.0)] = 320.0
    radius_m: Real = 0.0
    """Curves only: above 0 turns left, below 0 right."""
    speed_limit_mps: Annotated[float | str, Number(gt=0.0, le=40.0)] = 14.0


class Ego(Strict):
    """Where ego starts and the route it drives."""

    lane: Lane | None = None
    """Short for path: lane<n>."""
    path: PathName | None = None
    s_m: NonNegative = 30.0
    d_m: Lateral = 0.0
    speed_mps: Speed = 12.0
    command: Literal["follow", "left", "straight", "right"] = "follow"

    @model_validator(mode="after")
    def _placed(self) -> Ego:
        exactly_one(self, ("lane", "path"))
        return self


class Actor(Strict):
    """One road user or object besides ego."""

    id: Word
    kind: Kind = "car"
    lane: Lane | None = None
    """Short for path: lane<n>."""
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
    behaviour: Literal["idm", "scripted", "static"] | None = None
    """Default: static for cone, barrier, debris; scripted for pedestrian; idm for the others."""
    desired_speed_mps: Speed | None = None
    """Of idm; default: the speed limit."""
    headway_s: Positive = 1.5
    color: ColorValue | None = None
    """A name, [r, g, b] or $name; default: drawn per scenario."""
    probability: Share = 1.0
    """The actor is there with this probability."""

    @model_validator(mode="after")
    def _placed(self) -> Actor:
        exactly_one(self, ("lane", "path"))
        exactly_one(self, ("ahead_m", "s_m"))
        return self


class Trigger(Strict):
    """When the event fires, once: exactly one condition."""

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

    @model_validator(mode="after")
    def _one(self) -> Trigger:
        exactly_one(self, tuple(type(self).model_fields))
        return self


class SpeedAction(Strict):
    """Go to a speed; speed_mps 0 with a large accel_mps2 is hard braking."""

    speed_mps: SignedSpeed
    accel_mps2: Acceleration = 3.0


class OffsetAction(Strict):
    """Move sideways to d_m left of the actor's path: lane change, swerve, crossing."""

    d_m: Lateral
    lateral_mps: Annotated[float | str, Number(gt=0.0, le=10.0)] = 1.0


class ReactAction(Strict):
    """Hand the actor over to car following with this desired speed."""

    speed_mps: Speed


class Action(Strict):
    """What the actor does: exactly one."""

    speed: SpeedAction | None = None
    offset: OffsetAction | None = None
    run_light: Literal[True] | None = None
    """Ignore signals and give-way from now on."""
    react: ReactAction | None = None

    @model_validator(mode="after")
    def _one(self) -> Action:
        exactly_one(self, tuple(type(self).model_fields))
        return self


class Event(Strict):
    """``actor`` does ``actions`` when ``trigger`` holds."""

    actor: Word
    trigger: Trigger
    actions: Annotated[list[Action], Field(min_length=1)]


class Signals(Strict):
    """Fixed cycle: south/north green, yellow, all red, then west/east the same."""

    green_s: Positive = 20.0
    yellow_s: NonNegative = 3.0
    all_red_s: NonNegative = 1.5
    offset_s: NonNegative = 0.0
    """Cycle time at the episode's start."""


class Environment(Strict):
    """How the scene looks."""

    light: Annotated[float | str, Number(ge=0.05, le=1.0)] = 1.0
    """Brightness."""


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
    sources: list[str] = Field(default_factory=list)
    """Where the situation is described (crash typologies, protocols)."""
    tags: list[str] = Field(default_factory=list)
    severity: Literal["S0", "S1", "S2", "S3"] = "S0"
    """Expected harm of the crash if nobody reacts (ISO 26262 classes)."""
    parameters: dict[Word, Parameter] = Field(default_factory=dict)
    """Name to distribution, number, or expression on other parameters."""
    road: Road
    ego: Ego
    actors: Annotated[list[Actor], Field(max_length=12)] = Field(default_factory=list)
    events: list[Event] = Field(default_factory=list)
    signals: Signals | None = None
    environment: Environment = Field(default_factory=Environment)
    duration_s: Annotated[float | str, Number(gt=0.0, le=120.0)] = 12.0

    _tree: Any = PrivateAttr(default=None)

    @property
    def tree(self) -> Any:
        """Places in the file (``yaml_tree.Tree``), for messages."""
        return self._tree


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
    return schema
