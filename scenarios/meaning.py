"""What a document says, in one form however it is written: the base of its hash.

Comments, the order of keys, ``1.0`` for ``1``, ``"$a+1"`` for ``"$a + 1"``, defaults that are
spelled out, ``lane: 0`` for ``path: lane0``, ``extends`` for a copy, names of events and prose
(description, sources, tags) make no difference. Every value that a draw or the judge can see does,
and so does the content of maps and recorded trajectories. Two different words for one thing
(``brake`` and ``speed``) count as different. What equals a default is left out, so that a language
that grows new words keeps the hashes of files that do not use them.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from alpamayo import types
from scenarios.actors import default_behaviour
from scenarios.evaluate import find_rule
from scenarios.expressions import (
    ExpressionError,
    is_reference,
    parse,
    parse_condition,
    reference_of,
)
from scenarios.quantities import Constraint, File, Number
from scenarios.roads import CROSSINGS
from scenarios.schema import Distribution, Fault, ScenarioDocument, Traffic
from scenarios.schema_actors import Actor, Event
from scenarios.yaml_tree import Loc

_TRAFFIC = {
    name: list(value) if isinstance(value, tuple) else value
    for name, value in dataclasses.asdict(types.TrafficSpec()).items()
}
PROSE = ("schema_version", "description", "sources", "tags", "extends", "without")


def meaning(document: ScenarioDocument) -> dict[str, Any]:
    """The document as JSON data in its one form."""
    return _Canon(document).document()


class _Canon:
    def __init__(self, document: ScenarioDocument) -> None:
        self._document = document
        self._event_ids = {event.id: i for i, event in enumerate(document.events)}

    def document(self) -> dict[str, Any]:
        document = self._document
        told = self._model(document, (), without=PROSE)
        told["parameters"] = {
            name: self._parameter(spec, name) for name, spec in document.parameters.items()
        }
        if document.road.kind in CROSSINGS:  # one lane each way, whether they say so or not
            told["road"].pop("lanes", None)
            told["road"].pop("oncoming_lanes", None)
        if document.road.kind in ("junction", "opendrive") and told.get("signals") == {}:
            del told["signals"]
        return told

    def _parameter(self, spec: Any, name: str) -> Any:
        if not isinstance(spec, Distribution):
            return number(spec)
        told = self._model(spec, ("parameters", name))
        weights = spec.weights
        if weights is not None:
            shares = [weight / sum(weights) for weight in weights]
            told["weights"] = shares
            if len(set(weights)) == 1:
                del told["weights"]
        return told

    def _model(self, model: BaseModel, loc: Loc, without: tuple[str, ...] = ()) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for name, info in type(model).model_fields.items():
            raw = getattr(model, name)
            if raw is None or name in without:
                continue
            rule = find_rule(info.annotation, info.metadata)
            value = self._value(raw, rule, (*loc, name))
            if info.is_required() or value != self._value(
                info.get_default(call_default_factory=True), rule, (*loc, name)
            ):
                told[name] = value
        _place(told)
        if isinstance(model, Actor):
            _drop(told, {"behaviour": default_behaviour(model, model.kind)})
        elif isinstance(model, Event):
            told.pop("id", None)
        elif isinstance(model, Traffic):
            _drop(told, _TRAFFIC)
        elif isinstance(model, Fault):
            _drop(told, {"camera": "all"})
        return told

    def _value(self, raw: Any, rule: Any, loc: Loc) -> Any:
        if raw is None:
            return None
        if isinstance(raw, BaseModel):
            told = self._model(raw, loc)
            if loc[-1] == "after":
                told["event"] = self._event_ids.get(told["event"], told["event"])
            return told
        if isinstance(raw, dict):
            return {key: self._value(item, rule, (*loc, key)) for key, item in raw.items()}
        if isinstance(raw, list):
            inner = Number() if loc[-1] == "log" else rule
            return [self._value(item, inner, (*loc, i)) for i, item in enumerate(raw)]
        if isinstance(rule, Constraint):
            return _spelled(parse_condition(raw).tree)
        if isinstance(rule, File):
            return self._file(raw, loc)
        if isinstance(rule, Number) or type(raw) in (int, float):
            return number(raw)
        return raw

    def _file(self, raw: str, loc: Loc) -> Any:
        """Digests of the contents of the files that ``raw`` may name."""
        names, place = [raw], loc
        if raw.startswith("$"):
            spec, place = self._document.parameters.get(raw[1:]), ("parameters", raw[1:])
            names = (spec.choice or spec.select or []) if isinstance(spec, Distribution) else []  # type: ignore[assignment]
        tree = self._document.tree
        folder = tree.folder(place) if tree is not None else Path()
        return [_digest(folder / str(name)) for name in names]


def number(raw: float | str) -> float | str:
    """A number as float, an expression in one spelling."""
    if not isinstance(raw, str):
        return float(raw) + 0.0  # -0.0 is 0.0
    try:
        expression = parse(raw)
        if not expression.names:
            return expression.value({}) + 0.0
    except ExpressionError:
        return raw
    return _spelled(expression.tree)


def _spelled(tree: ast.expr) -> str:
    one_form = _OneForm().visit(copy.deepcopy(tree))
    return ast.unparse(one_form)


class _OneForm(ast.NodeTransformer):
    """Numbers as floats, parameters as in the file, no plus signs."""

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.Constant(float(node.value)) if type(node.value) is int else node  # type: ignore[arg-type]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name("$" + reference_of(node)) if is_reference(node) else node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, ast.UAdd) else node


def _place(told: dict[str, Any]) -> None:
    """``lane`` and ``oncoming`` that are numbers are short for a path."""
    for key in ("lane", "oncoming"):
        if isinstance(told.get(key), float) and "path" not in told:
            told["path"] = f"{key}{told.pop(key):g}"


def _drop(told: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Leave out what is as it would be anyway."""
    for name, value in defaults.items():
        if told.get(name) == value:
            del told[name]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return f"no such file: {path.name}"
