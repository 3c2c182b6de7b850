"""Turn the quantities, words, colours and files of a document's models into values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from scenarios.expressions import ExpressionError, parse
from scenarios.quantities import (
    COLORS,
    Color,
    Constraint,
    File,
    Number,
    Rule,
    Strict,
    Text,
    near,
    unit_of,
)
from scenarios.yaml_tree import Loc, Problem

# Fields whose rules do not apply to them as a whole.
_ELSEWHERE = ("parameters", "log", "constraints")


class DrawError(Exception):
    """A draw does not give a valid scenario; ``problems`` say where."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class Evaluator:
    """Values for given ``parameters``; collects what is out of range in ``problems``.

    ``folder_of``: the folder to which a path written at a place is relative.
    """

    def __init__(
        self, parameters: Mapping[str, Any], folder_of: Callable[[Loc], Path] | None = None
    ) -> None:
        self.parameters = _Known(parameters)
        self.problems: list[Problem] = []
        self._folder_of = folder_of or (lambda _: Path())

    def values(self, model: Strict, loc: Loc) -> dict[str, Any]:
        """Field name -> value, for the fields that have a rule; lists become tuples."""
        kept = model.__pydantic_private__ or {}  # quicker than by attribute
        known = kept.get("_known")
        if known is None:
            known = model._known = _known(model)
        fixed, drawn, others = known
        out = dict(fixed)
        for name, raw, rule in drawn:
            try:
                value = parse(raw).compute(self.parameters)
                good = rule.ge <= value <= rule.le and rule.gt < value < math.inf
            except (ArithmeticError, ValueError, TypeError):
                good = False
            out[name] = float(value) if good else self._number(raw, rule, (*loc, name))
        for name, raw, rule in others:
            out[name] = self.value(raw, rule, (*loc, name))
        return out

    def value(self, raw: Any, rule: Rule, loc: Loc) -> Any:
        """The value that ``raw``, written at ``loc``, stands for."""
        if isinstance(raw, list) and not isinstance(rule, Color):
            return tuple(self.value(item, rule, (*loc, i)) for i, item in enumerate(raw))
        if isinstance(rule, Number):
            return self._number(raw, rule, loc)
        if isinstance(rule, File):
            return self._file(raw, loc)
        if isinstance(rule, Constraint):
            return raw
        if not isinstance(raw, str) or not raw.startswith("$"):
            return raw
        value = self._parameter(raw, loc)
        text = Text(tuple(COLORS)) if isinstance(rule, Color) else rule
        reason = text.complaint(value) if value is not None else None
        if reason:
            self.refuse(loc, reason)
        return raw if value is None or reason else value

    def refuse(self, loc: Loc, message: str) -> None:
        """Note a problem."""
        self.problems.append(Problem(loc, message))

    def refused(self, loc: Loc) -> bool:
        """Whether a problem is known at this very place."""
        return any(problem.loc == loc for problem in self.problems)

    def _number(self, raw: float | str, rule: Number, loc: Loc) -> float:
        try:
            value = parse(raw).value(self.parameters) if isinstance(raw, str) else raw
        except ExpressionError as error:
            self.refuse(loc, str(error))
            return 0
        if isinstance(raw, str) and rule.complaint(value):
            self.refuse(loc, rule.complaint(value, unit_at(loc)) or "")
            return 0
        return round(value) if rule.integer else float(value)

    def _file(self, raw: str, loc: Loc) -> str:
        """Absolute path of a file that exists; "" if there is none."""
        folder, given = self._folder_of(loc), raw
        if raw.startswith("$"):
            folder, given = self._folder_of(("parameters", raw[1:])), self._parameter(raw, loc)
            if given is None:
                return ""
            if not isinstance(given, str):
                self.refuse(loc, f"expected the path of a file, got {given}")
                return ""
        path = Path(os.path.abspath(folder / given))
        if not path.is_file():
            beside = [p.name for p in path.parent.glob(f"*{path.suffix}")]
            self.refuse(loc, f"no such file: {given}{near(path.name, beside)}")
            return ""
        return str(path)

    def _parameter(self, raw: str, loc: Loc) -> Any:
        """The parameter that ``$name`` refers to; None if there is none."""
        if raw[1:] not in self.parameters:
            self.refuse(loc, f"unknown parameter {raw}{near(raw[1:], self.parameters)}")
            return None
        return self.parameters[raw[1:]]


def unit_at(loc: Loc) -> str:
    """Unit of the quantity written at ``loc``: by the last key that is a name."""
    names = [key for key in loc if isinstance(key, str)]
    return unit_of(names[-1]) if names else ""


class _Known(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise ExpressionError(f"unknown parameter ${name}{near(name, self)}")


def _known(
    model: Strict,
) -> tuple[dict[str, Any], list[tuple[str, str, Number]], list[tuple[str, Any, Rule]]]:
    """The fields of a model that are the same in every draw, those that are an expression for a
    real number, and others to evaluate.
    """
    fixed: dict[str, Any] = {}
    drawn, others = [], []
    for name, rule in _rules(type(model)):
        raw = getattr(model, name)
        if isinstance(rule, Number) and type(raw) in (int, float):
            fixed[name] = round(raw) if rule.integer else float(raw)
        elif raw is None or (isinstance(rule, Text) and isinstance(raw, str) and raw[:1] != "$"):
            fixed[name] = raw
        else:
            fixed[name] = None
            if isinstance(rule, Number) and isinstance(raw, str) and not rule.integer:
                drawn.append((name, raw, rule))
            else:
                others.append((name, raw, rule))
    return fixed, drawn, others


@lru_cache(maxsize=64)
def _rules(model: type[Strict]) -> tuple[tuple[str, Rule], ...]:
    """The rules of a model's fields (also inside ``X | None`` and lists)."""
    rules = []
    for name, info in model.model_fields.items():
        rule = None if name in _ELSEWHERE else find_rule(info.annotation, info.metadata)
        if rule is not None:
            rules.append((name, rule))
    return tuple(rules)


def find_rule(annotation: Any, metadata: Any) -> Rule | None:
    """The rule in the annotation of a field (also inside ``X | None`` and lists)."""
    for item in metadata:
        if isinstance(item, Number | Text | Color | File | Constraint):
            return item
    for inner in get_args(annotation):
        found = find_rule(inner, getattr(inner, "__metadata__", ()))
        if found is not None:
            return found
    return None
