"""Clearance, contact and time to collision of the ego with many actors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from shapely import affinity

from alpamayo.types import END_COLLISION, END_RUNNING, FAULT_EGO, RoadSpec
from sim.encounters import NEAR_M, look_at_actors
from sim.judge import CLOSE_M
from tests.sim.records import Scene


def polygon(x: float, y: float, heading: float, length: float, width: float) -> shapely.Polygon:
    flat = shapely.box(-length / 2, -width / 2, length / 2, width / 2)
    return affinity.translate(affinity.rotate(flat, heading, (0, 0), use_radians=True), x, y)


def crowd(rng: np.random.Generator, count: int) -> Scene:
    scene = Scene(RoadSpec(lanes=4), "lane1", speed=0.0, route_s=150.0)
    for _ in range(count):
        scene.add(
            s=rng.uniform(125.0, 175.0), d=rng.uniform(-15.0, 20.0), turn=rng.uniform(-4.0, 4.0),
            length=rng.uniform(0.3, 9.0), width=rng.uniform(0.3, 2.5),
        )  # fmt: skip
    return scene


def test_the_smallest_clearance_and_the_contact_agree_with_shapely() -> None:
    rng = np.random.default_rng(5)
    ends = []
    for _ in range(150):
        scene = crowd(rng, int(rng.integers(1, 8)))
        w = scene.world
        ego = polygon(w["x"], w["y"], w["heading"], 4.8, 2.0)
        gaps = [
            ego.distance(polygon(a["ax"], a["ay"], a["aheading"], a["length"], a["width"]))
            for a in scene.actors[: int(w["actor_count"])]
        ]
        ends.append(scene.tick())
        expected = min(gaps) if min(gaps) < NEAR_M else math.inf
        assert (ends[-1] == END_COLLISION) == (expected == 0.0)
        assert scene.tally["min_gap_m"] == pytest.approx(expected, abs=1e-9)
        assert scene.tally["close"] == (0.0 < expected < CLOSE_M)
    assert {END_RUNNING, END_COLLISION} == set(ends), "the draw must exercise both outcomes"


def test_the_minimum_is_kept_over_the_ticks_and_forgotten_with_the_interval() -> None:
    scene = Scene()
    scene.ahead(3.0, d=-3.0)  # 3 - 1 - 0.95 m beside
    scene.tick(4)
    assert scene.tally["min_gap_m"] == pytest.approx(1.05)
    scene.tick(12)
    assert scene.signals().min_gap_m[0] == pytest.approx(1.05)
    scene.restart()
    scene.tick()
    # the ego's rear is 18 m further on than its front was, less 3 + 4.6 + 4.8 m
    assert scene.tally["min_gap_m"] == pytest.approx(math.hypot(17.0 - 12.4, 1.05))


def test_absent_actors_do_not_count() -> None:
    scene = Scene()
    scene.actors[scene.ahead(0.5)]["present"] = False
    assert scene.tick(20) == END_RUNNING
    assert np.isinf(scene.tally["min_gap_m"]) and np.isinf(scene.tally["min_ttc_s"])


def test_a_close_encounter_is_near_without_contact() -> None:
    def passes(beside: float) -> Scene:
        scene = Scene()
        scene.add(s=70.0, d=-(1.0 + 0.95 + beside))
        scene.tick(20)
        return scene

    near, far, contact = passes(0.49), passes(0.51), passes(-0.05)
    assert near.signals().close_encounter.tolist() == [True]
    assert far.signals().close_encounter.tolist() == [False]
    assert contact.world["end"] == END_COLLISION
    assert contact.signals().min_gap_m[0] == 0.0 and contact.signals().min_ttc_s[0] == 0.0


@pytest.mark.parametrize("tick_s", [0.1, 0.2])
@pytest.mark.parametrize("kind", ["barrier", "pedestrian", "cone", "car"])
@pytest.mark.parametrize("start", np.linspace(0.0, 7.9, 8))
def test_nothing_tunnels_at_forty_metres_per_second(tick_s, kind, start) -> None:
    scene = Scene(RoadSpec(length_m=800.0), speed=40.0, tick_s=tick_s)
    scene.ahead(12.0 + start, kind)
    assert scene.tick(12) == END_COLLISION
    assert scene.tally["fault"] == FAULT_EGO


@pytest.mark.parametrize("start", np.linspace(0.0, 7.9, 8))
def test_nor_does_anything_that_crosses_in_front_of_it(start) -> None:
    # A motorcycle at 30 m/s across the road: 6 m a tick, and the ego is 2 m long that way.
    scene = Scene(RoadSpec(lanes=3), "lane1", speed=0.0, tick_s=0.2)
    scene.add("motorcycle", s=60.0, d=-9.0 - start, v=0.0, vd=30.0, turn=math.pi / 2)
    assert scene.tick(5) == END_COLLISION


def test_one_that_enters_the_map_again_elsewhere_hits_nobody_on_its_way() -> None:
    scene = Scene(speed=0.0)
    slot = scene.add(s=30.0, v=10.0)
    scene.tick()
    scene.actors[slot]["s"] = 200.0
    assert scene.tick() == END_RUNNING
    scene.actors[slot]["s"] = 60.0  # upon the ego
    assert scene.tick() == END_COLLISION


def test_time_to_collision_of_who_is_ahead_crosses_or_backs_up() -> None:
    def ttc(**actor) -> float:
        scene = Scene()
        turn = actor.pop("stays_turned", None)
        slot = scene.add(**actor)
        if turn is not None:
            scene.actors[slot]["turn"] = turn
            scene.actors[slot]["cos_h"], scene.actors[slot]["sin_h"] = (
                math.cos(turn),
                math.sin(turn),
            )
        scene.before[1, :2] = scene.actors[slot]["ax"], scene.actors[slot]["ay"]
        w = scene.world
        look_at_actors(w, scene.actors, scene.before, scene.tally, 1.0, 0.0, 0.1)
        return float(scene.tally["min_ttc_s"])

    assert ttc(s=84.7) == pytest.approx(2.0)  # 84.7 - 60 - 2.4 - 2.3 = 20 m at 10 m/s
    assert ttc(s=84.7, v=5.0) == pytest.approx(4.0)
    assert ttc(s=84.7, v=-10.0) == pytest.approx(1.0)
    assert ttc(s=84.7, v=-10.0, stays_turned=0.0) == pytest.approx(1.0), "backing up"
    assert np.isinf(ttc(s=84.7, v=8.1)), "more than 10 s"
    assert np.isinf(ttc(s=84.7, v=12.0)) and np.isinf(ttc(s=40.0, v=30.0))
    # a pedestrian from the right, 2 m/s: after 2 s it has come 4 m, from 4 m to the middle
    assert ttc(kind="pedestrian", s=82.7, d=-4.0, vd=2.0) == pytest.approx(2.0)
    assert np.isinf(ttc(kind="pedestrian", s=82.7, d=-1.0, vd=2.0)), "has passed by then"
    assert np.isinf(ttc(kind="pedestrian", s=82.7, d=-1.41)), "0.01 m beside ego and margin"
    assert ttc(kind="pedestrian", s=82.7, d=-1.39) == pytest.approx(2.0)
    # alongside: its tail still reaches half an ego length beside the ego's front
    assert ttc(s=62.4, d=0.0) == 0.0 and np.isinf(ttc(s=62.2, d=0.0))
