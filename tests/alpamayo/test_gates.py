"""``--fail-if``: what can be asked, what it answers, and that nothing else is possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alpamayo.evaluation.compare import compare, summarise
from alpamayo.evaluation.gates import check_gates, judge, parse_gate
from alpamayo.evaluation.measures import NAMES
from alpamayo.types import RequestError
from tests.alpamayo.evaluated import row, rows

TAGS = {"fake": ("braking", "lead")}
ONE = summarise(rows(20, range(4)), tags=TAGS, resamples=200)
TWO = compare(rows(20, range(8)), rows(20, (0, 1, 19)), tags=TAGS, resamples=200)


def tripped(text: str, comparison: object = ONE) -> bool:
    return judge(parse_gate(text), comparison).tripped  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failure_rate > 0.1", True),
        ("failure > 20%", False),
        ("failure >= 20 %", True),
        ("failure.high < 0.5", True),
        ("failure.low > .1", False),
        ("driving_score<0.9", True),
        ("failure > 10% and driving_score > 0.9", False),
        ("failure > 90% or at_fault_rate > 10%", True),
        ("failure > 90% or at_fault_rate > 10% and episodes == 21", False),
        ("episodes != 20", False),
        ("failed > 0", False),
        ("failure[fake] > 1e-1", True),
        ("failure_rate[ braking ] > 0.1", True),
        ("driving_score[lead] > 0.5", True),
        ("mean_speed == 10", True),
        ("km_between_failures < 0.49", False),  # 2 km driven, 4 failures
        ("km_between_failures < 0.51", True),
    ],
)
def test_what_one_policy_can_be_asked(text: str, expected: bool) -> None:
    assert tripped(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failure > 14%", True),  # 3 of 20 now
        ("failure.before == 0.4", True),
        ("failure.change > -25%", False),
        ("regressions > 0", True),  # seed 19
        ("regressions > 1", False),
        ("fixes == 6", True),
        ("reduction < 50%", False),  # 1 - 3/8 = 62.5 %
        ("failure.p < 0.2", True),  # 6 against 1: 16/128
        ("failure[fake].change < 0", True),
        ("driving_score[lead].before > driving_score", None),
    ],
)
def test_what_two_policies_can_be_asked(text: str, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(RequestError, match="expected a comparison"):
            parse_gate(text)
    else:
        assert tripped(text, TWO) == expected


def test_the_verdict_tells_the_numbers() -> None:
    verdict = judge(parse_gate("failure_rate.high > 10% and episodes > 5"), ONE)
    assert verdict.reason == "failure.high is 0.416, episodes is 20"


def test_what_was_not_measured_does_not_pass() -> None:
    rows_without = [row(n, decode_rounds=None) for n in range(5)]
    verdict = judge(parse_gate("decode_rounds > 99"), summarise(rows_without, resamples=50))
    assert verdict.tripped and verdict.reason == "decode_rounds is not known"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("failures > 0.1", "did you mean failure"),
        ("faliure_rate > 0.1", "did you mean failure_rate"),
        ("", "expected a comparison"),
        ("failure", "expected a comparison"),
        ("failure > ", "expected a comparison"),
        ("failure > x", "expected a comparison"),
        ("failure = 0.1", "expected a comparison"),
        ("failure > 0.1 and", "expected a comparison"),
        ("failure > 0.1 xor episodes > 3", 'at "xor'),
        ("failure > 0.1; import os", 'at "; import'),
        ("__import__('os').system('true') > 0", "expected a comparison"),
        ("failure.upper > 0.1", "expected value, low, high, before, change, p"),
        ("episodes.low > 1", "expected no part"),
        ("comfort[lead] > 1", "of a family or tag there are failure and driving_score"),
        ("failure.change > 0.1", "expected two policies"),
        ("regressions > 0", "expected two policies"),
        ("failure[leed] > 0.1", "no such family or tag; did you mean lead"),
        ("failure > 0.1" + " or failure > 0.1" * 200, "at most"),
    ],
)
def test_a_wrong_condition_is_refused_in_one_line(text: str, expected: str) -> None:
    with pytest.raises(RequestError) as error:
        check_gates([text], paired=False, groups={"fake", "lead", "braking"})
    assert expected in str(error.value) and "\n" not in str(error.value)


@given(st.text(max_size=80))
def test_any_text_is_a_gate_or_refused(text: str) -> None:
    try:
        gate = parse_gate(text)
    except RequestError:
        return
    assert gate.conditions


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
            st.floats(-5, 5), st.sampled_from(["and", "or"]),
        ),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_conditions_hold_as_python_would_have_it(
    parts: list[tuple[str, str, float, str]],
) -> None:
    text, python = "", ""
    for n, (name, compared, number, joint) in enumerate(parts):
        joiner = f" {joint} " if n else ""
        value = ONE.row(name).before.value
        text += f"{joiner}{name} {compared} {number!r}"
        # What is not a number trips.
        python += f"{joiner}({'True' if value != value else f'{value!r} {compared} {number!r}'})"
    assert tripped(text) == eval(python)
