"""Small arithmetic in scenario files: ``"$gap_m + 5"``, ``"-$speed_mps"``, ``"min($a, 2 * $b)"``;
and comparisons: ``"$gap_m > 2 * $ego_mps"``, ``"$kind != 'truck' or $gap_m >= 12"``.

Parsed with ``ast`` into a whitelist of nodes and walked by hand: nothing in a file is ever
executed.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

MAX_LENGTH = 300
MAX_DEPTH = 40
_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_PREFIX = "param_"
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_FUNCTIONS: dict[str, tuple[Callable[..., float], int]] = {
    "min": (min, 0),
    "max": (max, 0),
    "abs": (abs, 1),
    "sqrt": (math.sqrt, 1),
}


class ExpressionError(ValueError):
    """The expression cannot be read or has no finite value."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression; ``names`` are the parameters it refers to, in order of appearance."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr
    compute: Callable[[Mapping[str, Any]], float]
    """The value, unchecked."""

    @property
    def reference(self) -> str | None:
        """The parameter's name if the whole expression is one plain ``$name``."""
        return self.names[0] if _REFERENCE.fullmatch(self.text.strip()) else None

    def value(self, parameters: Mapping[str, Any]) -> float:
        """Number for these parameters; raises ExpressionError (division by zero, text parameter
        ...).
        """
        try:
            result = float(self.compute(parameters))
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f'"{self.text}" cannot be computed ({error})') from None
        if not math.isfinite(result):
            raise ExpressionError(f'"{self.text}" is not finite')
        return result


@dataclass(frozen=True)
class Condition:
    """A parsed comparison; ``names`` are the parameters it refers to."""

    text: str
    names: tuple[str, ...]
    tree: ast.expr
    truth: Callable[[Mapping[str, Any]], bool]
    """Whether it is true, unchecked."""

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Whether it is true of these parameters; raises ExpressionError as ``Expression.value``
        does.
        """
        try:
            return self.truth(parameters)
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f'"{self.text}" cannot be computed ({error})') from None


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Parse once; raises ExpressionError that says what is allowed."""
    names, tree = _read(text, 'a number or arithmetic on $parameters, such as "$gap_m + 5"')
    _check(tree, text, 0)
    return Expression(text, names, tree, _compute(tree))


@lru_cache(maxsize=1024)
def parse_condition(text: str) -> Condition:
    """As ``parse``, of a comparison."""
    names, tree = _read(text, 'a comparison such as "$gap_m > 2 * $ego_mps"')
    _check_condition(tree, text, 0)
    if not names:
        raise ExpressionError(f'"{text}": expected a comparison of $parameters')
    return Condition(text, names, tree, _truth(tree))


def _read(text: str, expected: str) -> tuple[tuple[str, ...], ast.expr]:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"expression longer than {MAX_LENGTH} characters")
    alone = _REFERENCE.fullmatch(text)
    if alone:  # nothing to parse
        return (alone[1],), ast.Name(_PREFIX + alone[1], ast.Load())
    names = tuple(dict.fromkeys(_REFERENCE.findall(text)))
    code = _REFERENCE.sub(lambda match: _PREFIX + match.group(1), text).strip()
    if "$" in code:
        raise ExpressionError(f'"{text}": expected a parameter name after $')
    try:
        return names, ast.parse(code, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f'"{text}": expected {expected}') from None


def is_reference(node: ast.Name) -> bool:
    """Whether a node of ``Expression.tree`` is a parameter (else: a function)."""
    return node.id.startswith(_PREFIX)


def reference_of(node: ast.Name) -> str:
    """Name of the parameter that a node of ``Expression.tree`` refers to."""
    return node.id[len(_PREFIX) :]


def _check(node: ast.expr, text: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(f'"{text}": nested too deeply')
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        children = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        children = [node.operand]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise ExpressionError(
                f'"{text}": unknown function {node.func.id}; known: {", ".join(_FUNCTIONS)}'
            )
        wanted = _FUNCTIONS[node.func.id][1]
        if (wanted and len(node.args) != wanted) or (not wanted and len(node.args) < 2):
            raise ExpressionError(
                f'"{text}": {node.func.id} takes {wanted or "two or more"} arguments'
            )
        children = node.args
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return
    elif isinstance(node, ast.Name):
        if not is_reference(node):
            raise ExpressionError(
                f'"{text}": {node.id} is not a number; refer to a parameter as ${node.id}'
            )
        return
    else:
        raise ExpressionError(
            f'"{text}": only + - * / ( ), {", ".join(_FUNCTIONS)} and $parameters are allowed'
        )
    for child in children:
        _check(child, text, depth + 1)


def _compute(node: ast.expr) -> Callable[[Mapping[str, Any]], Any]:
    """A function of the parameters for a checked tree: closures, put together once."""
    if isinstance(node, ast.Constant):
        constant = node.value
        return lambda parameters: constant
    if isinstance(node, ast.Name):
        name = reference_of(node)
        return lambda parameters: _number_of(name, parameters[name])
    if isinstance(node, ast.BinOp):
        work = _BINARY[type(node.op)]
        left, right = _compute(node.left), _compute(node.right)
        return lambda parameters: work(left(parameters), right(parameters))
    if isinstance(node, ast.UnaryOp):
        inner = _compute(node.operand)
        if isinstance(node.op, ast.UAdd):
            return inner
        return lambda parameters: -inner(parameters)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    function, parts = _FUNCTIONS[node.func.id][0], [_compute(child) for child in node.args]
    return lambda parameters: function(*(part(parameters) for part in parts))


def _number_of(name: str, value: Any) -> Any:
    if isinstance(value, str):
        raise ExpressionError(f"parameter {name} is text ({value}), expected a number")
    return value


# Comparisons ------------------------------------------------------------------------------
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def _check_condition(node: ast.expr, text: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(f'"{text}": nested too deeply')
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _check_condition(part, text, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check_condition(node.operand, text, depth + 1)
    elif isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
        for side in (node.left, *node.comparators):
            if not _is_text(side):
                _check(side, text, depth + 1)
    else:
        raise ExpressionError(
            f'"{text}": expected a comparison with < <= > >= == or != (and, or, not)'
        )


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _truth(node: ast.expr) -> Callable[[Mapping[str, Any]], bool]:
    """As ``_compute``, of a checked comparison."""
    if isinstance(node, ast.BoolOp):
        parts = [_truth(part) for part in node.values]
        combine = all if isinstance(node.op, ast.And) else any
        return lambda parameters: combine(part(parameters) for part in parts)
    if isinstance(node, ast.UnaryOp):
        inner = _truth(node.operand)
        return lambda parameters: not inner(parameters)
    assert isinstance(node, ast.Compare)
    sides = [_side(side) for side in (node.left, *node.comparators)]
    compare = [_COMPARE[type(op)] for op in node.ops]
    return lambda parameters: _in_order(compare, [side(parameters) for side in sides])


def _in_order(compare: list[Callable[[Any, Any], bool]], values: list[Any]) -> bool:
    for holds, left, right in zip(compare, values, values[1:], strict=False):
        if isinstance(left, str) != isinstance(right, str):
            raise ExpressionError(f"expected two numbers or two texts, got {left} and {right}")
        if not holds(left, right):
            return False
    return True


def _side(node: ast.expr) -> Callable[[Mapping[str, Any]], Any]:
    if isinstance(node, ast.Constant):
        constant = node.value
        return lambda parameters: constant
    if isinstance(node, ast.Name):
        name = reference_of(node)
        return lambda parameters: parameters[name]
    return _compute(node)
