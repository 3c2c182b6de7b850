from __future__ import annotations

import numpy as np
import pytest

from sim.signals import DARK, FLASHING, GREEN, MODES, RED, YELLOW, shown, signal_state
from sim.state import Sizes, WorldState, allocate

# Green 20 s, yellow 3 s, all red 1.5 s: half a cycle takes 24.5 s.
CYCLE = [
    (0.0, GREEN, RED),
    (19.9, GREEN, RED),
    (20.0, YELLOW, RED),
    (22.9, YELLOW, RED),
    (23.0, RED, RED),
    (24.4, RED, RED),
    (24.5, RED, GREEN),
    (44.5, RED, YELLOW),
    (47.5, RED, RED),
    (49.0, GREEN, RED),
    (490.0, GREEN, RED),
    (-1.5, RED, RED),
]


def with_signals(count: int = 1, mode: str = "cycle") -> WorldState:
    state = allocate(count, Sizes(1, 1, 1, 1, 1, 1, 1))
    state.has_signals = True
    state.signal_mode = MODES.index(mode)
    return state


@pytest.mark.parametrize(("time_s", "first", "second"), CYCLE)
def test_the_cycle_by_hand(time_s, first, second) -> None:
    state = with_signals()
    assert tuple(shown(state.worlds[0], time_s)) == (first, second)
    assert signal_state(state, time_s).tolist() == [[first, second]]


def test_the_offset_shifts_the_cycle() -> None:
    state = with_signals(2)
    state.offset_s = [0.0, 24.5]
    np.testing.assert_array_equal(signal_state(state, 3.0), [[GREEN, RED], [RED, GREEN]])
    np.testing.assert_array_equal(
        signal_state(state, np.array([24.5, 0.0])), [[RED, GREEN], [RED, GREEN]]
    )


def test_a_phase_change_does_not_depend_on_how_the_time_was_summed_up() -> None:
    state = with_signals()
    state.green_s, state.yellow_s, state.all_red_s = 0.3, 0.3, 0.4
    summed = 0.1 + 0.1 + 0.1  # 0.30000000000000004
    assert summed != 0.3
    for time_s in (0.3, summed, 3 * 0.1, 2.3, 2.0 + summed):
        assert signal_state(state, time_s)[0, 0] == YELLOW
    for tick in (20, 40, 60, 600):
        assert signal_state(state, tick * 0.1)[0].tolist() == [GREEN, RED]


def test_the_groups_are_never_both_open() -> None:
    state = with_signals()
    both = np.array([signal_state(state, 0.1 * tick)[0] for tick in range(1000)])
    assert ((both == RED).sum(axis=1) >= 1).all()
    for group in range(2):
        counts = np.bincount(both[:980, group], minlength=3)
        assert counts.tolist() == [400, 60, 520], "two cycles of 49 s: 20 s, 3 s and the rest"


def test_no_signals_are_green() -> None:
    state = allocate(1, Sizes(1, 1, 1, 1, 1, 1, 1))
    assert signal_state(state, 47.0).tolist() == [[GREEN, GREEN]]


@pytest.mark.parametrize(
    ("mode", "group", "expected"),
    [
        ("dark", 0, (DARK, DARK)),
        ("flashing", 1, (FLASHING, FLASHING)),
        ("stuck_red", 0, (RED, GREEN)),
        ("stuck_red", 1, (GREEN, RED)),
        ("stuck_green", 0, (GREEN, RED)),
        ("stuck_green", 1, (RED, GREEN)),
        ("stuck_green", -1, (GREEN, RED)),
    ],
)
def test_failures_last(mode, group, expected) -> None:
    state = with_signals(mode=mode)
    state.signal_group = group
    for time_s in (0.0, 21.0, 30.0, 48.0):
        assert tuple(signal_state(state, time_s)[0].tolist()) == expected
