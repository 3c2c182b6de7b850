"""The values of the scenario language: numbers, words, colours and files, each of which may refer
to parameters.

A *quantity* is a number or an expression on parameters (``"$gap_m + 5"``); its range is checked on
the number it becomes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from pydantic_core import PydanticCustomError, core_schema

from alpamayo.types import ActorKind
from scenarios.expressions import ExpressionError, parse, parse_condition

COLORS: dict[str, tuple[int, int, int]] = {
    "white": (225, 225, 225),
    "silver": (165, 170, 175),
    "black": (35, 35, 40),
    "gray": (100, 102, 105),
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

    def complaint(self, value: float, unit: str = "") -> str | None:
        """What is wrong with the number, or None."""
        if not math.isfinite(value):
            return with_unit("expected a finite number", unit and f"of {unit}")
        if self.integer and value != round(value):
            return f"expected a whole number, got {value:g}"
        if value < self.ge or value > self.le or value <= self.gt:
            expected = with_unit(f"expected a number {self.range_text()}", unit)
            return f"{expected}, got {with_unit(f'{value:g}', unit)}"
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
            raise PydanticCustomError(
                "range", "{reason}", {"reason": reason, "rule": self, "value": value}
            )
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


@dataclass(frozen=True)
class File:
    """Annotation of a file: a path relative to the file that says so, or ``$name``."""

    suffix: str

    def check(self, value: Any) -> str:
        if isinstance(value, str) and (value.startswith("$") or value.endswith(self.suffix)):
            return value
        raise PydanticCustomError(
            "file", "expected the path of a {suffix} file, got {got}",
            {"suffix": self.suffix, "got": str(value)},
        )  # fmt: skip

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True)
class Constraint:
    """Annotation of a comparison between parameters."""

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise PydanticCustomError(
                "constraint", 'expected a comparison such as "$gap_m > 2 * $ego_mps"'
            )
        try:
            parse_condition(value)
        except ExpressionError as error:
            raise PydanticCustomError("constraint", "{reason}", {"reason": str(error)}) from None
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": r"\$"}


Rule = Number | Text | Color | File | Constraint


# Last parts of names -> units.
_UNITS = {
    "mps2": "m/s2", "mps": "m/s", "m": "m", "s": "s", "rad": "rad", "deg": "degrees",
}  # fmt: skip


def unit_of(name: str) -> str:
    """Unit of a quantity by the end of its name; "" if it has none."""
    return _UNITS.get(name.rsplit("_", 1)[-1], "") if "_" in name else ""


def with_unit(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


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
Friction = Annotated[float | str, Number(ge=0.05, le=1.5)]
Size = Annotated[float | str, Number(ge=0.05, le=30.0)]
SignalMode = Annotated[str, Text(("cycle", "dark", "flashing", "stuck_red", "stuck_green"))]


class Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )

    _known: Any = PrivateAttr(default=None)
    """What ``scenarios.evaluate`` keeps of it from draw to draw."""


def exactly_one(model: BaseModel, names: tuple[str, ...]) -> None:
    """Raise unless one of the fields is given."""
    given = [name for name in names if getattr(model, name) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise PydanticCustomError(
            "exactly_one",
            "expected exactly one of {names}, got {got}",
            {"names": ", ".join(names), "got": got},
        )


def at_most_one(model: BaseModel, names: tuple[str, ...]) -> None:
    """Raise if several of the fields are given."""
    if sum(getattr(model, name) is not None for name in names) > 1:
        exactly_one(model, names)
