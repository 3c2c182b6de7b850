"""OpenDRIVE import: lanes, their links, kinds and limits, of small documents."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Polygon

from tests.sim.xodr import (
    by_name,
    crossing,
    lane,
    line,
    read,
    road,
    section,
    to_road,
)


def test_lanes_run_the_way_they_are_driven(tmp_path):
    layout = read(tmp_path, road("7", line(40.0), section(lane(1), lane(-1), lane(-2)), 40.0))
    assert [lane.name for lane in layout.lanes] == ["road7_s0_l1", "road7_s0_l-1", "road7_s0_l-2"]
    lanes = by_name(layout)
    np.testing.assert_allclose(lanes["road7_s0_l-1"].line.xy[[0, -1]], [[0, -1.75], [40, -1.75]])
    np.testing.assert_allclose(lanes["road7_s0_l1"].line.xy[[0, -1]], [[40, 1.75], [0, 1.75]])
    assert lanes["road7_s0_l-2"].left == "road7_s0_l-1"
    assert lanes["road7_s0_l-1"].right == "road7_s0_l-2"
    assert not lanes["road7_s0_l-1"].left and not lanes["road7_s0_l1"].left
    layout.link()
    assert (lanes["road7_s0_l-2"].left_lanes, lanes["road7_s0_l-1"].right_lanes) == (1, 1)


def test_left_hand_traffic_mirrors_directions_and_neighbours(tmp_path):
    lanes = section(lane(2), lane(1), lane(-1))
    layout = by_name(read(tmp_path, road("1", line(40.0), lanes, 40.0, rule="LHT")))
    np.testing.assert_allclose(layout["road1_s0_l1"].line.xy[0], [0.0, 1.75])
    np.testing.assert_allclose(layout["road1_s0_l-1"].line.xy[0], [40.0, -1.75])
    assert layout["road1_s0_l1"].left == "road1_s0_l2"


def test_a_lane_offset_shifts_all_lanes_and_is_seen_from_within_each_section(tmp_path):
    offset = (
        '<laneOffset s="0" a="1" b="0" c="0" d="0"/><laneOffset s="20" a="-2" b="0" c="0" d="0"/>'
    )
    sections = section(lane(-1, after=-1)) + section(lane(-1, before=-1), s=20.0)
    layout = read(tmp_path, road("1", line(40.0), sections, 40.0, offset=offset))
    first, second = layout.lanes
    np.testing.assert_allclose(first.line.xy[:, 1], 1.0 - 1.75)
    np.testing.assert_allclose(second.line.xy[:, 1], -2.0 - 1.75)
    # The file lets the lane jump aside by 3 m: that is no way to drive on.
    assert first.successors == () and layout.skipped["gap (link dropped)"] == 1
    assert first.ends_m == pytest.approx(20.0)


def test_borders_tell_outer_edges_and_widths_count_before_them(tmp_path):
    border = '<border sOffset="0" a="-6" b="0" c="0" d="0"/>'
    both = (
        '<width sOffset="0" a="2" b="0" c="0" d="0"/><border sOffset="0" a="-9" b="0" c="0" d="0"/>'
    )
    lanes = section(lane(-1, 4.0), lane(-2, border), lane(-3, both))
    layout = by_name(read(tmp_path, road("1", line(30.0), lanes, 30.0)))
    assert layout["road1_s0_l-2"].line.xy[0, 1] == pytest.approx(-5.0)
    assert layout["road1_s0_l-3"].line.xy[0, 1] == pytest.approx(-7.0)
    assert layout["road1_s0_l-3"].width_m == pytest.approx(2.0)


def test_links_lead_over_sections_and_roads_whichever_side_tells_them(tmp_path):
    one = section(lane(1), lane(-1, after=-1)) + section(
        lane(1, after=None, before=1), lane(-1), s=20
    )
    a = road("a", line(40.0), one, 40.0, link=to_road("successor", "b", "end"))
    # Road b is drawn the other way round: its lane 1 goes on from lane -1 of a.
    b_plan = line(30.0, 70.0, 0.0, np.pi)
    b = road("b", b_plan, section(lane(1, after=-1), lane(-1, after=1)), 30.0,
             link=to_road("successor", "a", "end"))  # fmt: skip
    lanes = by_name(read(tmp_path, a, b))
    assert lanes["roada_s0_l-1"].successors == ("roada_s1_l-1",)
    assert lanes["roada_s1_l-1"].successors == ("roadb_s0_l1",)
    assert lanes["roadb_s0_l-1"].successors == ("roada_s1_l1",)
    assert lanes["roada_s1_l1"].successors == ("roada_s0_l1",)
    for own in lanes.values():
        for name in own.successors:
            np.testing.assert_allclose(own.line.xy[-1], lanes[name].line.xy[0], atol=1e-6)


def test_lanes_of_other_kinds_are_kept_apart_and_unused_ones_counted(tmp_path):
    lanes = section(
        lane(-1), lane(-2, 1.5, "shoulder"), lane(-3, 2.0, "biking"), lane(-4, 2.0, "sidewalk"),
        lane(-5, 2.5, "parking"), lane(-6, 3.0, "rail"), lane(-7, 0.4, "shoulder"),
    )  # fmt: skip
    layout = read(tmp_path, road("1", line(40.0), lanes, 40.0))
    assert [lane.kind for lane in layout.lanes] == [
        "driving", "shoulder", "bike", "sidewalk", "parking",
    ]  # fmt: skip
    assert layout.lanes[0].right == ""
    assert layout.skipped == {"lane (type rail)": 1}
    assert sum(Polygon(p).area for p in layout.surfaces) == pytest.approx(40.0 * (7.0 + 2.5 + 0.4))
    assert sum(Polygon(p).area for p in layout.pavements) == pytest.approx(40.0 * 2.0)


def test_a_closing_lane_is_cut_and_tells_where_to_leave_it(tmp_path):
    narrowing = '<width sOffset="0" a="3.5" b="-0.07" c="0" d="0"/>'  # nothing left at 50 m
    sections = section(lane(-1, after=-1), lane(-2, narrowing)) + section(lane(-1), s=50.0)
    layout = read(tmp_path, road("1", line(100.0), sections, 100.0))
    closing = by_name(layout)["road1_s0_l-2"]
    assert closing.line.xy[-1, 0] == pytest.approx((3.5 - 1.0) / 0.07, abs=0.3)
    assert closing.ends_m == pytest.approx((3.5 - 2.2) / 0.07, abs=0.3)
    assert by_name(layout)["road1_s0_l-1"].ends_m == np.inf
    assert by_name(layout)["road1_s1_l-1"].ends_m == np.inf  # the map ends there, not the lane


def test_a_one_sided_section_leaves_the_other_side_as_it_is(tmp_path):
    sections = (
        section(lane(1), lane(-1, after=-1))
        + section(lane(-1, before=-1, after=-1), lane(-2), s=20.0, single=True)
        + section(lane(1, before=1), lane(-1), s=40.0)
    )
    lanes = by_name(read(tmp_path, road("1", line(60.0), sections, 60.0)))
    assert lanes["road1_s2_l1"].successors == ("road1_s1_l1",)
    assert lanes["road1_s1_l1"].successors == ("road1_s0_l1",)
    assert lanes["road1_s1_l1"].line.length_m == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("speed", "want"),
    [
        ('<speed max="20"/>', 20.0),
        ('<speed max="36" unit="km/h"/>', 10.0),
        ('<speed max="25" unit="mph"/>', 25 * 1609.344 / 3600),
        ('<speed max="no limit"/>', 130 / 3.6),
        ('<speed max="undefined"/>', None),
    ],
)
def test_speed_limits_come_in_three_units(tmp_path, speed, want):
    more = f'<type s="0" type="town">{speed}</type>'
    layout = read(tmp_path, road("1", line(40.0), section(lane(-1)), 40.0, more=more))
    assert layout.lanes[0].speed_limit_mps == (None if want is None else pytest.approx(want))


def test_a_lanes_own_limit_goes_before_the_roads_and_the_longest_counts(tmp_path):
    more = '<type s="0" type="town"><speed max="10"/></type>'
    own = '<speed sOffset="0" max="20" unit="m/s"/><speed sOffset="10" max="30" unit="m/s"/>'
    lanes = section(lane(-1), lane(-2, more=own))
    layout = read(tmp_path, road("1", line(40.0), lanes, 40.0, more=more))
    assert [lane.speed_limit_mps for lane in layout.lanes] == [10.0, 30.0]
    assert layout.skipped == {"lane/speed (more than one on a lane)": 1}


def test_lanes_in_a_junction_take_over_the_limit_of_the_way_there(tmp_path):
    limit = '<type s="0" type="town"><speed max="9"/></type>'
    lanes = by_name(read(tmp_path, *crossing({"S": limit})))
    assert lanes["roadSN_s0_l-1"].speed_limit_mps == 9.0
    assert lanes["roadNS_s0_l-1"].speed_limit_mps is None
