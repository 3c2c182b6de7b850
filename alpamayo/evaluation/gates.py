"""``--fail-if "failure_rate > 0.1"``: conditions under which an evaluation ends with exit code 1.

    condition  = comparison { ("and" | "or") comparison }      "and" binds closer
    comparison = metric ("<" | "<=" | ">" | ">=" | "==" | "!=") number [ "%" ]
    metric     = name [ "[" family or tag "]" ] [ "." part ]

Names are those of ``alpamayo.evaluation.measures`` (``_rate`` may follow a rate), ``reduction``,
``regressions``, ``fixes``, ``episodes`` and ``failed``. Parts: ``value`` (of the policy that was
evaluated), ``low``, ``high``, ``before``, ``change``, ``p`` (adjusted). The text is read by a small
parser; nothing of it is ever executed.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from alpamayo.evaluation.compare import Comparison, GroupRow
from alpamayo.evaluation.measures import MEASURES, NAMES
from alpamayo.stats import Interval
from alpamayo.types import RequestError

COUNTS = ("reduction", "regressions", "fixes", "episodes", "failed")
PARTS = ("value", "low", "high", "before", "change", "p")
PAIRED_PARTS = ("before", "change", "p")
GROUPED = ("failure", "driving_score")  # what the rows of families and tags tell
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_RATES = tuple(m.name for m in MEASURES if m.kind == "rate")
_COMPARISON = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*(?:\[\s*(?P<group>[^\]\[]+?)\s*\])?\s*(?:\.\s*(?P<part>\w+))?"
    r"\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"\s*(?P<percent>%)?\s*"
)
_MOST_WORDS = 2000


@dataclass(frozen=True)
class Condition:
    """One comparison of a gate."""

    name: str
    group: str
    part: str
    operator: str
    number: float
    text: str

    @property
    def needs_pair(self) -> bool:
        return self.part in PAIRED_PARTS or self.name in ("reduction", "regressions", "fixes")


@dataclass(frozen=True)
class Gate:
    """``text`` as written; it trips if all conditions of any of ``either`` hold."""

    text: str
    either: tuple[tuple[Condition, ...], ...]

    @property
    def conditions(self) -> list[Condition]:
        return [c for group in self.either for c in group]


def parse_gate(text: str) -> Gate:
    """A gate, or RequestError that says where and what was expected."""
    if len(text) > _MOST_WORDS:
        raise RequestError(f"--fail-if: expected at most {_MOST_WORDS} characters")
    either: list[tuple[Condition, ...]] = []
    together: list[Condition] = []
    at = 0
    while True:
        found = _COMPARISON.match(text, at)
        if found is None:
            raise RequestError(
                f'--fail-if "{text}": at "{text[at:].strip()[:30]}": expected a comparison such as '
                "failure_rate > 0.1"
            )
        together.append(_condition(text, found))
        at = found.end()
        joint = re.compile(r"(and|or)\b").match(text, at)
        if joint is None:
            break
        if joint[1] == "or":
            either.append(tuple(together))
            together = []
        at = joint.end()
    if at != len(text):
        raise RequestError(
            f'--fail-if "{text}": at "{text[at:][:30]}": expected and, or or the end'
        )
    return Gate(text, (*either, tuple(together)))


def _condition(text: str, found: re.Match[str]) -> Condition:
    name, group, part = found["name"], found["group"] or "", found["part"] or "value"
    plain = name.removesuffix("_rate") if name.removesuffix("_rate") in _RATES else name
    if plain not in NAMES and plain not in COUNTS:
        known = [*NAMES, *COUNTS, *(f"{r}_rate" for r in _RATES)]
        near = difflib.get_close_matches(name, known, 3)
        hint = f"did you mean {', '.join(near)}?" if near else f"expected one of {', '.join(known)}"
        raise RequestError(f'--fail-if "{text}": {name}: unknown metric; {hint}')
    if part not in PARTS or (plain in COUNTS and found["part"]):
        allowed = "no part" if plain in COUNTS else ", ".join(PARTS)
        raise RequestError(f'--fail-if "{text}": {name}.{part}: expected {allowed}')
    if group and plain not in GROUPED:
        raise RequestError(
            f'--fail-if "{text}": {name}[{group}]: of a family or tag there are '
            f"{' and '.join(GROUPED)}"
        )
    number = float(found["number"]) / (100.0 if found["percent"] else 1.0)
    return Condition(plain, group, part, found["operator"], number, found[0].strip())


def check_gates(texts: Sequence[str], *, paired: bool, groups: Collection[str]) -> list[Gate]:
    """Parsed gates; RequestError where one asks for a second policy and there is none, or for a
    family or tag that is none of ``groups``. Before anything is driven.
    """
    gates = [parse_gate(text) for text in texts]
    for gate in gates:
        for condition in gate.conditions:
            if condition.needs_pair and not paired:
                raise RequestError(
                    f'--fail-if "{gate.text}": {condition.text}: expected two policies '
                    "(--baseline RUN or --compare A B)"
                )
            if condition.group and condition.group not in groups:
                near = difflib.get_close_matches(condition.group, sorted(groups), 3)
                known = (
                    f"did you mean {', '.join(near)}?"
                    if near
                    else f"expected one of {', '.join(sorted(groups))}"
                )
                raise RequestError(
                    f'--fail-if "{gate.text}": {condition.group}: no such family or tag; {known}'
                )
    return gates


def group_name(family: str, nominal: bool) -> str:
    """What a gate calls a family; its nominal twins are a group of their own."""
    return f"{family}_nominal" if nominal else family


@dataclass(frozen=True)
class Verdict:
    """What became of a gate. ``reason``: the numbers behind it."""

    gate: str
    tripped: bool
    reason: str


def judge(gate: Gate, comparison: Comparison) -> Verdict:
    """Look the numbers up. A number that is not there trips the gate: nothing passes by not having
    been measured.
    """
    reasons, tripped = [], False
    for together in gate.either:
        holds = []
        for condition in together:
            value = _look_up(condition, comparison)
            unknown = math.isnan(value)
            holds.append(unknown or _OPERATORS[condition.operator](value, condition.number))
            told = "is not known" if unknown else f"is {value:.4g}"
            reasons.append(f"{_name(condition)} {told}")
        tripped = tripped or all(holds)
    return Verdict(gate.text, tripped, ", ".join(reasons))


def _name(condition: Condition) -> str:
    group = f"[{condition.group}]" if condition.group else ""
    part = "" if condition.part == "value" else f".{condition.part}"
    return f"{condition.name}{group}{part}"


def _look_up(condition: Condition, comparison: Comparison) -> float:
    if condition.name in COUNTS:
        return _count(condition.name, comparison)
    if condition.group:
        return _of_group(condition, comparison)
    row = comparison.row(condition.name)
    return _part(condition.part, row.before, row.after, row.difference, row.p_adjusted)


def _count(name: str, comparison: Comparison) -> float:
    if name == "reduction":
        return math.nan if comparison.reduction is None else comparison.reduction.value
    if name == "failed":
        paired = comparison.after_name is not None
        return float(comparison.failed_after if paired else comparison.failed_before)
    value = getattr(comparison, name)
    return float(value if isinstance(value, int) else len(value))


def _of_group(condition: Condition, comparison: Comparison) -> float:
    row = _groups(comparison)[condition.group]
    if condition.name == "failure":
        before, after = row.failure_before, row.failure_after
    else:
        before = Interval(row.score_before, math.nan, math.nan)
        score = row.score_after
        after = None if score is None else Interval(score, math.nan, math.nan)
    change = None
    if after is not None:
        change = Interval(after.value - before.value, math.nan, math.nan)
    p_value = row.p_adjusted if condition.name == "failure" else None
    return _part(condition.part, before, after, change, p_value)


def _groups(comparison: Comparison) -> dict[str, GroupRow]:
    """Families (twins as ``cut_in_nominal``) and tags by name; a family goes before a tag."""
    rows = {row.family: row for row in comparison.tags}
    rows |= {group_name(r.family, r.nominal): r for r in comparison.families}
    return rows


def _part(
    part: str,
    before: Interval,
    after: Interval | None,
    change: Interval | None,
    p_value: float | None,
) -> float:
    now = before if after is None else after
    if part == "p":
        return math.nan if p_value is None else p_value
    chosen = {
        "value": now.value, "low": now.low, "high": now.high, "before": before.value,
        "change": math.nan if change is None else change.value,
    }  # fmt: skip
    return chosen[part]
