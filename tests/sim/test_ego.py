"""One tick of the ego, against the same formulas written out, on lanes with a closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpamayo.types import FloatArray
from sim.config import SimConfig
from sim.ego import command, move, start_all
from sim.judge import TALLY, start_tally
from sim.latency import adopt_all
from sim.params import Params, params_of
from sim.roads.maps import LANE, MAP, MapArrays
from sim.state import Sizes, WorldState, allocate

CONFIG = SimConfig(rig=None)
LANE_M = 400


def arc_lane(curvature: float) -> Any:
    """A map of one lane from the origin along x, an arc of ``curvature`` throughout."""
    s = np.arange(LANE_M + 3, dtype=np.float64)
    heading = s * curvature
    chord = s * np.sinc(heading / 2 / np.pi)
    samples = np.zeros((len(s), 7))
    samples[:, 0], samples[:, 1] = chord * np.cos(heading / 2), chord * np.sin(heading / 2)
    samples[:, 2], samples[:, 3] = heading, curvature
    samples[:, 4], samples[:, 5] = np.cos(heading), np.sin(heading)
    lane, road = np.zeros(1, dtype=LANE), np.zeros(1, dtype=MAP)
    lane["count"], lane["length_m"], lane["speed_limit"] = LANE_M + 3, LANE_M, 14.0
    fields = dict.fromkeys(MapArrays._fields, np.zeros(0))
    own = np.zeros(len(s), dtype=np.int32)
    known = {"maps": road, "lanes": lane, "samples": samples, "sample_lane": own}
    return MapArrays(**{**fields, **known})


STRAIGHT, BEND = arc_lane(0.0), arc_lane(0.01)


class Car:
    """One world whose ego starts at ``speed`` on a lane and drives ``plan`` [K, 2]."""

    def __init__(
        self, maps: Any, speed: float, plan: FloatArray, config: SimConfig = CONFIG, s: float = 50.0
    ) -> None:
        self.p: Params = params_of(config, config.tick_s)
        self.maps = maps
        ticks = len(plan) * self.p.ticks_per_step
        self.state: WorldState = allocate(1, Sizes(1, 1, 1, len(plan), 3, ticks + 1, 0))
        w = self.w = self.state.worlds[0]
        index = int(s)
        w["x"], w["y"], w["heading"], w["curvature"] = maps.samples[index, :4]
        w["speed"], w["route_s"], w["start_s"], w["speed_limit"] = speed, s, s, 14.0
        start_all(self.state.worlds, self.p)
        self.state.plan[0] = plan
        adopt_all(self.state.worlds, self.state.plan, self.state.reference, self.p)
        self.tally = np.zeros(1, dtype=TALLY)
        start_tally(self.state.worlds, self.tally)

    def tick(self) -> Any:
        move(self.w, self.state.plan[0], self.state.reference[0], self.tally[0], self.maps, self.p)
        self.w["tick"] += 1
        return self.w


def plan_of(accel: float, curvature: float, steps: int = 8) -> FloatArray:
    return np.tile([[accel, curvature]], (steps, 1))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.floats(-8.0, 4.0), st.floats(-0.1, 0.1)), min_size=2, max_size=8),
    st.floats(0.0, 30.0),
    st.booleans(),
)
def test_a_tick_is_controller_then_actuators_then_arc(
    rows: list[tuple[float, float]], speed: float, bend: bool
) -> None:
    car = Car(BEND if bend else STRAIGHT, speed, np.array(rows))
    reference, w = car.state.reference[0], car.w
    last, blend = len(reference) - 1, 1 - math.exp(-1)
    x, y, heading, v = (float(w[k]) for k in ("x", "y", "heading", "speed"))
    accel, curvature = 0.0, float(w["curvature"])
    for t in range(last + 4):
        now = min(t, last - 1)
        row = rows[now // 4]
        rx, ry, rh, rv = reference[now]
        ahead = (x - rx) * math.cos(rh) + (y - ry) * math.sin(rh)
        left = (y - ry) * math.cos(rh) - (x - rx) * math.sin(rh)
        length = max(4.0, 0.8 * v)
        wanted = row[0] + (rv - v) - 0.5 * ahead if t < last else 0.0
        turn = row[1] - (2.0 * (heading - rh) + left / length) / length if t < last else row[1]
        bound = min(0.2, 7.0 / max(v * v, 1e-6))
        accel += (np.clip(wanted, -8.0, 4.0) - accel) * blend
        curvature += (np.clip(turn, -bound, bound) - curvature) * blend
        curvature = float(np.clip(curvature, -bound, bound))
        now_v = max(v + accel * 0.1, 0.0)
        distance, v = 0.5 * (v + now_v) * 0.1, now_v
        half = 0.5 * distance * curvature
        x += distance * np.sinc(half / np.pi) * math.cos(heading + half)
        y += distance * np.sinc(half / np.pi) * math.sin(heading + half)
        heading += 2.0 * half
        car.tick()
        np.testing.assert_allclose(
            [w[k] for k in ("x", "y", "heading", "speed", "accel", "curvature", "yaw_rate")],
            [x, y, heading, v, accel, curvature, v * curvature],
            atol=1e-9,
        )


@pytest.mark.parametrize("bend", [0.0, 0.01])
@pytest.mark.parametrize("model", ["kinematic", "dynamic"])
def test_the_place_on_the_route_is_kept_up_with(bend: float, model: Any) -> None:
    car = Car(
        BEND if bend else STRAIGHT, 10.0, plan_of(0.0, bend, 20), replace(CONFIG, ego_model=model)
    )
    car.w["y"] += 1.0
    for _ in range(80):
        w = car.tick()
        middle_x, middle_y = 0.0, 1 / bend if bend else 0.0
        if bend:
            angle = math.atan2(w["x"] - middle_x, middle_y - w["y"])
            s, d = angle / bend, 1 / bend - math.hypot(w["x"] - middle_x, w["y"] - middle_y)
        else:
            s, d = w["x"], w["y"]
        assert w["route_s"] == pytest.approx(s, abs=1e-6)
        assert w["route_d"] == pytest.approx(d, abs=1e-6)
        assert w["route_heading"] == pytest.approx(bend * s, abs=1e-6)
    assert w["route_s"] == pytest.approx(130.0, abs=1.0)


def test_past_its_plan_the_car_holds_speed_and_curvature() -> None:
    car = Car(STRAIGHT, 10.0, np.array([[1.0, 0.0], [1.0, 0.004]]))
    for _ in range(30):
        car.tick()
    assert command(car.w, car.state.plan[0], car.state.reference[0], car.p) == (0.0, 0.004)
    assert car.w["accel"] == pytest.approx(0.0, abs=1e-6)
    assert car.w["curvature"] == pytest.approx(0.004, abs=1e-6)
    assert car.w["speed"] == pytest.approx(10.8, abs=0.1)


def test_the_tally_gets_the_motion_of_each_tick() -> None:
    car = Car(BEND, 15.0, plan_of(-2.0, 0.01), replace(CONFIG, actuator_lag_s=0.0))
    for _ in range(3):
        car.tick()
    t = car.tally[0]
    assert t["ticks"] == 3 and t["accel"] == pytest.approx(-2.0)
    assert t["jerk"] == pytest.approx(-2.0 / 0.1)
    assert t["yaw_rate"] == pytest.approx(14.8 * 0.01)
    assert t["lateral"] == pytest.approx(14.8**2 * 0.01)
    assert t["yaw_accel"] == pytest.approx(-2.0 * 0.01)
    # 14.8, 14.6 and 14.4 m/s where 14 are allowed
    assert t["over_speed"] == pytest.approx(0.8 + 0.6 + 0.4)


@pytest.mark.parametrize("model", ["kinematic", "dynamic"])
def test_direct_controls_drive_without_the_controller(model: Any) -> None:
    config = replace(CONFIG, action="controls", actuator_lag_s=0.0, ego_model=model)
    plan = plan_of(0.0, 0.0)
    plan[0] = (1.5, 0.01)  # the other rows mean nothing
    car = Car(STRAIGHT, 10.0, plan, config)
    for _ in range(20):
        car.tick()
    assert car.w["accel"] == 1.5 and car.w["curvature"] == 0.01
    assert car.w["speed"] == pytest.approx(13.0, rel=2e-3)
    assert car.w["yaw_rate"] == pytest.approx(0.13, rel=0.02)


@pytest.mark.parametrize("model", ["kinematic", "dynamic"])
def test_braking_takes_longer_where_the_road_is_icy(model: Any) -> None:
    def stopped_after(patch: tuple[float, float, float]) -> float:
        config = replace(CONFIG, action="controls", actuator_lag_s=0.0, ego_model=model)
        car = Car(STRAIGHT, 10.0, plan_of(-20.0, 0.0), config)
        car.w["patches"][0] = patch
        while car.w["speed"] > 0.0:
            car.tick()
        return float(car.w["route_s"]) - 50.0

    dry = 10.0**2 / (2 * 8.0)
    ice = 10.0**2 / (2 * 0.1 * 9.81)
    assert stopped_after((60.0, 200.0, 0.1)) == pytest.approx(dry, abs=0.02)
    assert stopped_after((0.0, 200.0, 0.1)) == pytest.approx(ice, abs=0.02)
    # Ice on the first 10 m of its way, then dry: v^2 = 100 - 2 * 0.981 * 10.
    mixed = 10.0 + (100.0 - 2 * 0.981 * 10.0) / (2 * 8.0)
    assert stopped_after((0.0, 10.0, 0.1)) == pytest.approx(mixed, abs=0.5)


def test_an_ego_starts_in_the_turn_of_its_lane() -> None:
    for model in ("kinematic", "dynamic"):
        car = Car(BEND, 14.0, plan_of(0.0, 0.01), replace(CONFIG, ego_model=model))  # type: ignore[arg-type]
        worst = max(abs(float(car.tick()["route_d"])) for _ in range(30))
        assert worst < 0.05
        assert (car.w["lateral_speed"] != 0.0) == (model == "dynamic")
    fast = Car(arc_lane(0.1), 20.0, plan_of(0.0, 0.1))
    assert fast.w["curvature"] == pytest.approx(7.0 / 400.0)
    assert fast.w["yaw_rate"] == pytest.approx(7.0 / 20.0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=2, max_size=8),
    st.floats(0.0, 40.0),
    st.sampled_from(["kinematic", "dynamic"]),
    st.sampled_from(["plan", "controls"]),
    st.floats(0.0, 1.2),
)
def test_no_plan_however_absurd_breaks_the_ego(
    rows: list[tuple[float, float]], speed: float, model: Any, action: Any, friction: float
) -> None:
    config = replace(CONFIG, ego_model=model, action=action, actuator_delay_s=0.1)
    car = Car(BEND, speed, np.array(rows), config)
    car.w["friction"] = friction
    for _ in range(20):
        w = car.tick()
        values = [w[k] for k in ("x", "y", "heading", "speed", "accel", "curvature", "yaw_rate")]
        assert np.isfinite([*values, w["lateral_speed"], w["route_s"], w["route_d"]]).all()
        assert 0.0 <= w["speed"] <= speed + 4.0 * 2.0
