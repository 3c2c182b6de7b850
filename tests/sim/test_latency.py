"""Plans as an action FIFO: what was planned drives from when it would have been ready."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo import streams
from alpamayo.types import EgoSpec, Fault, RequestError, RoadSpec
from sim.config import SimConfig
from sim.latency import (
    adopt_all,
    check_latency,
    expected_ticks,
    latency_ticks,
    push,
    queue_slots,
    take_over,
)
from sim.params import params_of
from sim.state import Sizes, WorldState, allocate

CONFIG = SimConfig(rig=None)
P = params_of(CONFIG, CONFIG.tick_s)
NO_FAULTS: tuple[Fault, ...] = ()


def one_world(slots: int = 8) -> WorldState:
    return allocate(1, Sizes(1, 1, 1, 8, slots, 33, 0))


def numbered(number: int) -> Any:
    """A plan that can be told by its number."""
    plan = np.zeros((8, 2))
    plan[:, 0] = number
    return plan


def drive(state: WorldState, due_ticks: list[int], ticks_per_decision: int = 4) -> list[int]:
    """Decide every ``ticks_per_decision`` ticks, plan number d (from 1) being due at
    ``due_ticks[d - 1]``: the number of the plan that drives in each tick (0: none yet)."""
    w, driving = state.worlds[0], []
    for number, due in enumerate(due_ticks, start=1):
        push(w, state.queue[0], state.queue_due[0], numbered(number), due)
        w["decision"] += 1
        for _ in range(ticks_per_decision):
            before = w["plan_tick"]
            take_over(w, state.plan[0], state.queue[0], state.queue_due[0], state.reference[0], P)
            driving.append(int(state.plan[0, 0, 0]))
            changed = len(driving) > 1 and driving[-1] != driving[-2]
            assert w["plan_tick"] == 0 if changed else w["plan_tick"] in (0, before)
            w["tick"] += 1
            w["plan_tick"] += 1
    return driving


# The queue -----------------------------------------------------------------------------------
@pytest.mark.parametrize("latency", [0, 1, 3, 4, 5, 9, 12])
def test_a_fixed_latency_delays_every_plan_by_as_many_ticks(latency: int) -> None:
    config = replace(CONFIG, latency_s=latency * CONFIG.tick_s)
    due = [4 * d + latency for d in range(12)]
    driving = drive(one_world(queue_slots(config)), due)
    expected = [0 if t < latency else (t - latency) // 4 + 1 for t in range(48)]
    assert driving == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 25), min_size=1, max_size=15))
def test_of_the_plans_that_are_due_the_one_observed_last_drives(latencies: list[int]) -> None:
    due = [4 * d + latency for d, latency in enumerate(latencies)]
    state = one_world()
    driving = drive(state, due)
    for t, number in enumerate(driving):
        made = due[: t // 4 + 1]
        assert number == max((d + 1 for d, tick in enumerate(made) if tick <= t), default=0)
    # What still waits is newer than what drives, in order; the other slots are empty.
    waiting = [int(n) for n in state.queue[0, state.queue_due[0] >= 0, 0, 0]]
    expected = [d + 1 for d, tick in enumerate(due) if d + 1 > driving[-1] and tick >= len(driving)]
    assert waiting == expected
    assert (state.queue_due[0, len(waiting) :] == -1).all()
    assert (state.queue[0, len(waiting) :] == 0.0).all()


def test_a_full_queue_still_lets_plans_through() -> None:
    # Three slots, a planner that takes 10 decisions: the newest waiting plan makes room.
    driving = drive(one_world(3), [4 * d + 40 for d in range(20)])
    assert [n for n in dict.fromkeys(driving) if n] == [1, 2]
    assert driving.index(1) == 40 and driving.index(2) == 44


def test_a_plan_cannot_take_effect_before_it_is_made() -> None:
    state = one_world()
    state.tick = 10
    assert drive(state, [3, 3, 3])[::4] == [1, 2, 3]


def test_a_plan_starts_at_the_pose_the_ego_has_when_it_takes_over() -> None:
    state = allocate(3, Sizes(1, 1, 1, 8, 2, 33, 0))
    state.x, state.y, state.heading = [1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [0.0, np.pi / 2, np.pi]
    state.speed, state.plan_tick = [10.0, 5.0, 0.0], 7
    adopt_all(state.worlds, state.plan, state.reference, P)
    assert (state.plan_tick == 0).all()
    np.testing.assert_allclose(state.reference[:, 0, 0], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(state.reference[:, -1, 0], [33.0, 2.0, 3.0], atol=1e-9)
    np.testing.assert_allclose(state.reference[:, -1, 1], [4.0, 21.0, 6.0], atol=1e-9)


def test_the_plan_of_a_slipping_car_starts_along_its_course() -> None:
    p = params_of(replace(CONFIG, ego_model="dynamic"), CONFIG.tick_s)
    state = one_world()
    state.speed, state.lateral_speed = 12.0, -0.5
    adopt_all(state.worlds, state.plan, state.reference, p)
    np.testing.assert_allclose(
        state.reference[0, -1], [3.2 * 12.0, 3.2 * -0.5, np.arctan(-0.5 / 12), np.hypot(12, 0.5)]
    )


# The latency of a decision -------------------------------------------------------------------
def ticks_of(
    config: SimConfig,
    count: int = 400,
    faults: tuple[Fault, ...] = NO_FAULTS,
    time_s: float = 0.0,
    measured_s: Any = None,
) -> Any:
    seeds, decisions = np.full(count, 9, dtype=np.uint64), np.arange(count)
    return latency_ticks(
        config, seeds, decisions, [faults] * count, np.full(count, time_s), measured_s
    )


@pytest.mark.parametrize("tick_s", [0.1, 0.05, 0.02])
@pytest.mark.parametrize("latency_s", [0.0, 0.1, 0.3, 0.4, 0.7, 0.9, 1.1])
def test_a_fixed_latency_is_exact(tick_s: float, latency_s: float) -> None:
    config = replace(CONFIG, tick_s=tick_s, latency_s=latency_s)
    expected = round(latency_s / tick_s)
    assert set(ticks_of(config)) == {expected} and expected_ticks(config) == expected


def test_jitter_is_uniform_and_rounded_up_to_whole_ticks() -> None:
    config = replace(CONFIG, latency_s=0.25, latency_jitter_s=0.2)
    ticks, count = ticks_of(config, 20_000), 20_000
    # 0.05 to 0.45 s: (0.05, 0.1] is one tick, an eighth of the width; then a quarter each.
    shares = np.bincount(ticks, minlength=6) / count
    np.testing.assert_allclose(shares, [0.0, 0.125, 0.25, 0.25, 0.25, 0.125], atol=0.015)
    early = ticks_of(replace(CONFIG, latency_s=0.0, latency_jitter_s=0.2), count)
    np.testing.assert_allclose((early == 0).mean(), 0.5, atol=0.015)
    assert early.min() == 0


def test_a_recorded_distribution_is_drawn_from_as_it_is() -> None:
    samples = (0.1, 0.1, 0.12, 0.8)
    ticks = ticks_of(replace(CONFIG, latency_samples_s=samples), 20_000)
    shares = np.bincount(ticks) / len(ticks)
    np.testing.assert_allclose(shares[[1, 2, 8]], [0.5, 0.25, 0.25], atol=0.015)
    assert expected_ticks(replace(CONFIG, latency_samples_s=samples)) == 2


def test_draws_depend_on_seed_and_decision_alone() -> None:
    config = replace(CONFIG, latency_jitter_s=0.3, latency_s=0.4)
    seeds = np.array([3, 5, 3], dtype=np.uint64)
    together = latency_ticks(config, seeds, np.array([7, 7, 8]), [NO_FAULTS] * 3, np.zeros(3))
    for i, (seed, decision) in enumerate([(3, 7), (5, 7), (3, 8)]):
        draw = streams.uniform(streams.keys(seed, streams.STREAM_LATENCY, decision), 1)[0]
        assert together[i] == np.ceil((0.1 + 0.6 * draw) / 0.1 - 1e-9)
        alone = latency_ticks(
            config, seeds[i : i + 1], np.array([decision]), [NO_FAULTS], np.zeros(1)
        )
        assert alone[0] == together[i]


def test_measured_latencies_replace_the_configured_ones_where_given() -> None:
    measured = np.array([0.31, np.nan, 0.3, 0.0, -0.5])
    assert list(ticks_of(CONFIG, 5, measured_s=measured)) == [4, 1, 3, 0, 0]
    with pytest.raises(ValueError, match="expected finite seconds or nan"):
        ticks_of(CONFIG, 1, measured_s=np.array([np.inf]))


def test_latency_faults_add_to_it_while_they_last() -> None:
    faults = (Fault("latency", amount=0.5, start_s=2.0, end_s=4.0), Fault("latency", amount=0.1))
    for time_s, expected in ((1.9, 2), (2.0, 7), (3.9, 7), (4.0, 2)):
        assert set(ticks_of(CONFIG, 3, faults, time_s)) == {expected}
    measured = np.array([0.2, 0.2, 0.2])
    assert set(ticks_of(CONFIG, 3, faults, 3.0, measured)) == {8}


def test_the_queue_holds_what_the_latency_keeps_waiting() -> None:
    for config, longest_s in (
        (replace(CONFIG, latency_s=0.9), 0.9),
        (replace(CONFIG, latency_s=0.5, latency_jitter_s=0.45), 0.95),
        (replace(CONFIG, latency_samples_s=(0.1, 3.0)), 3.0),
        (replace(CONFIG, latency_s=0.1, decision_s=0.1), 0.1),
    ):
        assert queue_slots(config) * config.decision_s > longest_s + 2.0


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"latency_s": 0.15}, r"latency_s: expected a multiple of tick_s=0\.1, got 0\.15"),
        ({"latency_s": -0.1}, r"latency_s: expected a number from 0, got -0\.1"),
        ({"latency_s": float("inf"), "latency_jitter_s": 0.1}, "latency_s: expected a number"),
        ({"latency_jitter_s": -1.0}, "latency_jitter_s: expected a number from 0"),
        ({"latency_samples_s": (0.1, float("nan"))}, r"latency_samples_s\[1\]: expected a number"),
    ],
)
def test_latencies_that_make_no_sense_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        check_latency(replace(CONFIG, **settings_))


def test_a_jittered_latency_need_not_fit_the_tick() -> None:
    check_latency(replace(CONFIG, latency_s=0.15, latency_jitter_s=0.01))


# In the simulator ----------------------------------------------------------------------------
@pytest.mark.parametrize("latency_s", [0.0, 0.1, 0.3, 0.4, 0.9])
def test_a_brake_plan_starts_to_slow_the_car_exactly_one_latency_later(
    scenario, blind, latency_s
) -> None:
    from sim.world import WorldBatch

    worlds = WorldBatch([scenario()], replace(blind, latency_s=latency_s, actuator_lag_s=0.0))
    brake = np.zeros((1, 8, 2))
    brake[..., 0] = -5.0
    for _ in range(4):
        worlds.step(brake)
    # Position at 10 Hz: constant speed until the latency is over, then 5 m/s2 less.
    t = np.arange(17) * 0.1
    slowed = np.maximum(t - latency_s, 0.0)
    expected = 30.0 + 10.0 * t - 2.5 * slowed**2
    np.testing.assert_allclose(worlds.state.history[0, :, 0], expected[1:], atol=1e-6)


@pytest.mark.parametrize("model", ["kinematic", "dynamic"])
def test_until_the_first_plan_the_car_follows_the_bend_it_starts_in(scenario, blind, model) -> None:
    from sim.world import WorldBatch

    road = RoadSpec(kind="curve", radius_m=80.0)
    worlds = WorldBatch(
        [scenario(road=road, ego=EgoSpec(path="lane0", s_m=60.0, speed_mps=10.0))],
        replace(blind, latency_s=1.2, ego_model=model),
    )
    for _ in range(3):
        worlds.step(np.zeros((1, 8, 2)))
    assert abs(worlds.state.route_d[0]) < (0.05 if model == "kinematic" else 0.15)
