"""Sensor faults: pure functions of the scenario, its seed and the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alpamayo.types import Fault, RequestError
from sim.config import CameraConfig, RigConfig, SimConfig, alpamayo_rig
from sim.faults import (
    CameraFaults,
    active,
    camera_faults,
    check_faults,
    extra_latency_s,
    observed_state,
)
from sim.state import Sizes, WorldState, allocate

RIG = RigConfig(cameras=(CameraConfig("left"), CameraConfig("front"), CameraConfig("right")))
DECISION_S = 0.4


def at(decision: int, *faults: Fault, seed: int = 7, rig: RigConfig = RIG) -> CameraFaults:
    result = camera_faults(faults, rig, seed, decision, DECISION_S)
    assert result is not None
    return result


# Cameras -------------------------------------------------------------------------------------
def test_nothing_is_wrong_without_camera_faults_or_before_they_begin() -> None:
    speed = Fault("speed_noise", amount=1.0)
    assert camera_faults((), RIG, 7, 5, DECISION_S) is None
    assert camera_faults((speed,), RIG, 7, 5, DECISION_S) is None
    assert camera_faults((Fault("dead", start_s=2.01),), RIG, 7, 5, DECISION_S) is None
    assert camera_faults((Fault("dead", start_s=2.0),), RIG, 7, 5, DECISION_S) is not None


def test_a_dead_camera_is_dead_from_start_to_end() -> None:
    fault = Fault("dead", camera="front", start_s=0.8, end_s=1.6)
    for decision, expected in ((2, True), (3, True), (4, False)):
        assert list(at(decision, fault).dead) == [False, expected, False]
    assert at(2, replace(fault, camera="all")).dead.all()
    assert list(at(2, fault).decision) == [2, 2, 2]


def test_a_frozen_camera_repeats_the_first_image_since_the_fault_began() -> None:
    fault = Fault("frozen", camera="left", start_s=1.0, end_s=3.0)
    shown = [int(at(d, fault).decision[0]) for d in range(3, 10)]
    assert shown == [3, 3, 3, 3, 3, 8, 9]
    assert list(at(6, fault).decision) == [3, 6, 6]
    from_the_start = Fault("frozen", camera="left")
    assert [int(at(d, from_the_start).decision[0]) for d in range(4)] == [0, 0, 0, 0]


def test_dropped_frames_repeat_the_one_before_each_with_its_probability() -> None:
    fault = Fault("drop", camera="all", amount=0.3)
    shown = np.stack([at(d, fault).decision for d in range(4000)])
    decisions = np.arange(4000)[:, None]
    assert (shown <= decisions).all() and (shown[0] == 0).all()
    dropped = shown[1:] != decisions[1:]
    # A dropped frame shows exactly what the frame before it showed.
    np.testing.assert_array_equal(shown[1:][dropped], shown[:-1][dropped])
    np.testing.assert_allclose(dropped.mean(axis=0), 0.3, atol=0.025)
    # Frames and cameras are independent.
    np.testing.assert_allclose((dropped[1:] & dropped[:-1]).mean(axis=0), 0.09, atol=0.02)
    np.testing.assert_allclose((dropped[:, 0] & dropped[:, 1]).mean(), 0.09, atol=0.02)


def test_dropping_everything_freezes_at_the_image_before() -> None:
    fault = Fault("drop", camera="front", amount=1.0, start_s=2.0, end_s=4.0)
    assert [int(at(d, fault).decision[1]) for d in range(5, 12)] == [4, 4, 4, 4, 4, 10, 11]
    never = Fault("drop", camera="front", amount=0.0)
    assert [int(at(d, never).decision[1]) for d in range(6)] == list(range(6))


def test_dirt_and_turning_are_those_of_the_image_that_is_shown() -> None:
    frozen = Fault("frozen", start_s=0.0)
    dirty = Fault("dirty", camera="right", amount=0.4, start_s=1.0)
    turned = Fault("miscalibrated", camera="right", amount=-3.0)
    seen = at(5, dirty, turned)
    np.testing.assert_allclose(seen.dirt, [0.0, 0.0, 0.4])
    np.testing.assert_allclose(seen.yaw_rad, [0.0, 0.0, np.deg2rad(-3.0)])
    assert seen.dirt_seed[2] != 0 and seen.dirt_seed[2] == at(9, dirty).dirt_seed[2]
    assert seen.dirt_seed[2] != at(5, dirty, seed=8).dirt_seed[2]
    np.testing.assert_allclose(at(5, dirty, turned, frozen).dirt, 0.0)
    both = at(5, turned, replace(turned, amount=1.0), dirty, replace(dirty, amount=0.2))
    np.testing.assert_allclose(both.yaw_rad[2], np.deg2rad(-2.0))
    assert both.dirt[2] == 0.4


def test_the_seed_alone_decides_what_happens() -> None:
    fault = Fault("drop", amount=0.5)
    first, again = (np.stack([at(d, fault).decision for d in range(40)]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = np.stack([at(d, fault, seed=8).decision for d in range(40)])
    assert (first != other).any()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("dead", camera="rear"), r"faults\[0\]: camera: expected one of all, cross_left"),
        (Fault("drop", amount=1.5), r"faults\[0\]: amount: expected 0 to 1 for drop, got 1.5"),
        (Fault("dirty", amount=float("nan")), "amount: expected 0 to 1 for dirty, got nan"),
        (Fault("speed_scale", amount=-2.0), "amount: expected -1 to 10 for speed_scale"),
        (Fault("latency", amount=-0.5), "amount: expected 0 to 1000 for latency"),
        (Fault("haunted"), "kind: expected a known fault, got 'haunted'"),  # type: ignore[arg-type]
    ],
)
def test_faults_that_make_no_sense_are_refused(fault: Fault, message: str) -> None:
    with pytest.raises(RequestError, match=message) as error:
        check_faults((fault,), alpamayo_rig(), "scenario x")
    assert str(error.value).startswith("scenario x: faults[0]")


def test_faults_that_make_sense_pass_whatever_the_rig() -> None:
    faults = (Fault("dead", camera="front"), Fault("pose_noise", amount=0.1), Fault("latency"))
    check_faults(faults, RIG, "scenario x")
    check_faults(faults, None, "scenario x")


# Times ---------------------------------------------------------------------------------------
def test_a_fault_is_there_from_its_start_until_its_end_despite_rounding() -> None:
    fault = Fault("dead", start_s=0.3, end_s=0.6)
    assert active(fault, 0.1 * 3) and active(fault, 0.3 - 1e-9) and not active(fault, 0.29)
    assert not active(fault, 0.6) and not active(fault, 0.2 + 0.4 - 1e-9) and active(fault, 0.59)


def test_extra_latency_is_the_sum_of_what_is_active() -> None:
    faults = (
        Fault("latency", amount=0.2),
        Fault("latency", amount=0.3, start_s=5.0),
        Fault("dead"),
    )
    assert extra_latency_s(faults, 1.0) == pytest.approx(0.2)
    assert extra_latency_s(faults, 5.0) == pytest.approx(0.5)
    assert extra_latency_s((), 5.0) == 0.0


# The ego's state -----------------------------------------------------------------------------
def moving(count: int = 3, ticks: int = 40) -> WorldState:
    """Worlds that drive north-east at 10 m/s, ``ticks`` ticks after their start."""
    state = allocate(count, Sizes(1, 1, 1, 8, 3, 33, 0))
    state.seed = np.arange(count) + 5
    state.speed, state.heading, state.tick, state.decision = 10.0, np.pi / 4, ticks, ticks // 4
    ago = np.maximum(ticks - np.arange(15, -1, -1), 0) * 0.1
    state.history[..., 0] = state.history[..., 1] = 10.0 * ago * np.sqrt(0.5)
    state.history[..., 2] = np.pi / 4
    state.x, state.y = state.history[:, -1, 0], state.history[:, -1, 1]
    return state


def seen(state: WorldState, *faults: Fault) -> tuple[Any, Any]:
    count = len(state)
    return observed_state(state, np.arange(count), [faults] * count, SimConfig().tick_s)


def test_without_faults_the_ego_knows_its_state() -> None:
    history, speed = seen(moving())
    assert history.dtype == speed.dtype == np.float32 and history.shape == (3, 16, 3)
    expected = np.zeros((16, 3))
    expected[:, 0] = -10.0 * 0.1 * np.arange(15, -1, -1)
    np.testing.assert_allclose(history, np.broadcast_to(expected, (3, 16, 3)), atol=1e-5)
    np.testing.assert_allclose(speed, 10.0)


def test_only_the_rows_with_faults_are_disturbed_and_the_state_itself_never() -> None:
    state = moving()
    before = state.worlds.copy(), state.history.copy()
    faults = [(), (Fault("pose_noise", amount=1.0), Fault("speed_scale", amount=0.1)), ()]
    history, speed = observed_state(state, np.arange(3), faults, 0.1)
    clean, _ = seen(state)
    np.testing.assert_array_equal(history[[0, 2]], clean[[0, 2]])
    assert (history[1] != clean[1]).any()
    np.testing.assert_allclose(speed, [10.0, 11.0, 10.0], rtol=1e-6)
    np.testing.assert_array_equal(state.worlds, before[0])
    np.testing.assert_array_equal(state.history, before[1])
    alone, _ = observed_state(state, np.array([1]), faults[1:2], 0.1)
    np.testing.assert_array_equal(alone[0], history[1])


def test_speed_noise_has_its_spread_and_speed_stays_a_speed() -> None:
    state = moving(4000)
    _, speed = seen(state, Fault("speed_noise", amount=0.5))
    assert abs(speed.mean() - 10.0) < 0.03 and abs(speed.std() - 0.5) < 0.02
    _, later = seen(state, Fault("speed_noise", amount=0.5, start_s=4.1))
    np.testing.assert_array_equal(later, 10.0)
    _, wild = seen(state, Fault("speed_noise", amount=50.0), Fault("speed_scale", amount=-1.0))
    assert wild.min() == 0.0


def test_every_fix_has_one_error_of_the_given_spread() -> None:
    fault = Fault("pose_noise", amount=0.2)
    clean = seen(moving(2000))[0].astype(np.float64)
    error = seen(moving(2000), fault)[0] - clean
    np.testing.assert_array_equal(error[:, -1], 0.0)  # the last row is the origin of the frame
    # An old fix less the present one: two independent errors.
    np.testing.assert_allclose(error[:, :-1, :2].std(axis=0), 0.2 * np.sqrt(2.0), atol=0.02)
    np.testing.assert_array_equal(error[..., 2], 0.0)
    # Four ticks later the same fixes lie four rows further back, with the same errors.
    later = seen(moving(2000, ticks=44), fault)[0] - clean
    np.testing.assert_allclose(
        np.diff(later[:, :11], axis=1), np.diff(error[:, 4:15], axis=1), atol=1e-5
    )


def test_fixes_outside_the_fault_are_right_and_before_the_start_there_is_only_one() -> None:
    state = moving(5)
    error = (
        seen(state, Fault("pose_noise", amount=1.0, start_s=3.0, end_s=3.55))[0] - seen(state)[0]
    )
    wrong = np.abs(error[..., :2]).max(axis=(0, 2)) > 1e-6
    times = 4.0 - 0.1 * np.arange(15, -1, -1)
    np.testing.assert_array_equal(wrong, (times > 2.95) & (times < 3.54))
    start = moving(5, ticks=0)
    np.testing.assert_allclose(seen(start, Fault("pose_noise", amount=1.0))[0], 0.0, atol=1e-6)
