"""What traffic may skip: every set of lanes against all pairs, and where lanes meet."""

from __future__ import annotations

import numpy as np
import pytest

from alpamayo.types import RoadSpec
from sim.roads.maps import RoadMap
from sim.roads.meetings import (
    APART_M,
    FEATURES,
    GIVES_WAY,
    HAS_END,
    HAS_MERGE,
    HAS_STOP,
    HAS_TURN,
    MEETS,
    NEAR,
    YIELDS,
)
from tests.sim.actor_cases import ATLAS, Stage
from tests.sim.xodr import third_party

ROADS = {
    "straight": RoadSpec(lanes=3, oncoming_lanes=1),
    "merge": RoadSpec(kind="merge", lanes=2),
    "junction": RoadSpec(kind="junction", lanes=1, oncoming_lanes=1),
    "t_junction": RoadSpec(kind="t_junction", lanes=1, oncoming_lanes=1),
    "roundabout": RoadSpec(kind="roundabout", lanes=1, oncoming_lanes=1),
    "lane_drop": RoadSpec(kind="lane_drop", lanes=3),
}


def stored(name: str) -> tuple[int, RoadMap, np.ndarray, np.ndarray]:
    """Number, map, ``bits`` [P, 4] and PAIR of its lanes as kernels see them."""
    spec = ROADS.get(name) or RoadSpec(kind="opendrive", file=str(third_party(name)))
    number = ATLAS.add(spec)
    road, maps = ATLAS.map(number), ATLAS.arrays
    place = maps.maps[number]
    lanes = slice(place["lane_first"], place["lane_first"] + len(road.lanes))
    p, q = road.pair_paths.astype(np.int64).T
    rows = maps.pair_index[place["pair_first"] + p * place["pair_stride"] + q]
    return number, road, maps.bits[lanes], maps.pairs[rows]


@pytest.mark.parametrize("name", [*ROADS, "carla/Town01.xodr"])
def test_a_bit_that_is_not_set_means_that_no_pair_would_answer(name):
    _, road, bits, pairs = stored(name)
    asked = {
        NEAR: pairs["apart_m"] < APART_M,
        MEETS: np.isfinite(pairs["meet_s_p"]),
        YIELDS: pairs["yields"],
    }
    for column, answers in asked.items():
        wanted = [set() for _ in road.lanes]
        for (p, q), yes in zip(road.pair_paths, answers, strict=True):
            if yes:
                wanted[p].add(int(q) % 64)
        if column == NEAR:
            for p, known in enumerate(wanted):
                known.add(p % 64)
        found = [{b for b in range(64) if int(word) >> b & 1} for word in bits[:, column]]
        assert found == wanted


@pytest.mark.parametrize("name", [*ROADS, "carla/Town01.xodr"])
def test_lanes_meet_at_one_place(name):
    number, road, _, pairs = stored(name)
    meets = np.flatnonzero(np.isfinite(pairs["meet_s_p"]))
    for n in meets:
        p, q = road.pair_paths[n]
        # where q meets p it is on p's line, and about there
        x, y, _, _ = ATLAS.pose(number, q, pairs["meet_s_q"][n], 0.0)
        s, d = ATLAS.locate(number, p, x, y)
        assert abs(d) < 1.6
        assert abs(s - pairs["meet_s_p"][n]) < 6.0
    assert (len(meets) > 0) == (name != "straight")
    # ways that cross meet for both of them
    both = {(int(p), int(q)) for p, q in road.pair_paths[meets]}
    crossing = np.flatnonzero(np.isfinite(pairs["cross_s"]))
    for p, q in road.pair_paths[crossing]:
        if (q, p) in {(int(a), int(b)) for a, b in road.pair_paths[crossing]}:
            assert (p, q) in both and (q, p) in both


@pytest.mark.parametrize(
    ("name", "stays", "comes", "where"),
    [
        ("merge", "lane0", "ramp", (180.0, 208.0)),  # on the line before it has joined it
        ("roundabout", "south_west", "west_east", (150.0, 160.0)),  # a quarter of the circle on
        ("t_junction", "south_east", "west_east", (130.0, 140.0)),  # far from where it begins
    ],
)
def test_a_lane_meets_another_however_long_it_drives_before(name, stays, comes, where):
    _, road, _, pairs = stored(name)
    wanted = (road.index[stays], road.index[comes])
    row = [tuple(paths) for paths in road.pair_paths].index(wanted)
    assert where[0] < pairs["meet_s_q"][row] < where[1]


def test_features_say_what_there_is_on_a_lane():
    for name in ROADS:
        _, road, bits, _ = stored(name)
        for lane, word in zip(road.lanes, bits[:, FEATURES], strict=True):
            assert bool(word & HAS_STOP) == np.isfinite(lane["stop_s"])
            assert bool(word & GIVES_WAY) == lane["gives_way"]
            assert bool(word & HAS_MERGE) == (lane["merge_s"] > -np.inf)
            assert bool(word & HAS_TURN) == (lane["turn"] != 0)
    _, road, bits, _ = stored("lane_drop")
    assert [bool(word & HAS_END) for word in bits[:3, FEATURES]] == [True, False, False]


def test_who_turns_off_at_a_junction_indicates_before_and_in_the_turn():
    for path, lamp in (("south_west", 1), ("south_north", 0), ("south_east", -1)):
        stage = Stage(ROADS["junction"], 1)
        lane = stage.road.lanes[stage.road.index[path]]
        assert lane["turn"] == lamp
        car = stage.add(path, float(lane["stop_s"]) - 60.0, 10.0)
        stage.decide()
        assert stage.a["turn_lamp"][car] == 0, "too early"
        stage.a["s"][car] = lane["stop_s"] - 10.0
        stage.decide()
        assert stage.a["turn_lamp"][car] == lamp
        if lamp:
            assert lane["stop_s"] < lane["turn_from"] < lane["turn_to"] < lane["length_m"]
            for s, shown in ((lane["turn_to"] - 1.0, lamp), (lane["turn_to"] + 1.0, 0)):
                stage.a["s"][car] = s
                stage.decide()
                assert stage.a["turn_lamp"][car] == shown
