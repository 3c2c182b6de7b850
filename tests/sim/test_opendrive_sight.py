"""OpenDRIVE import: surfaces, paint, crossings and scenery of small documents."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Point, Polygon
from shapely.ops import unary_union

from sim.roads.layout import Layout
from tests.sim.xodr import by_name, crossing, geometry, lane, line, read, road, section, sign


def paved(layout: Layout) -> Polygon:
    return unary_union([Polygon(surface[:, :2]).buffer(1e-3) for surface in layout.surfaces])


def test_the_floor_of_a_crossing_has_no_holes(tmp_path):
    layout = read(tmp_path, *crossing())
    floor = paved(layout)
    assert floor.geom_type == "Polygon"
    assert len(floor.interiors) == 0
    assert floor.contains(Point(0.0, 0.0).buffer(3.0))
    for own in layout.lanes:
        assert all(floor.buffer(0.01).contains(Point(xy)) for xy in own.line.xy[::10])


def mark(type: str, color: str = "standard", s: float = 0.0, more: str = "") -> str:
    return f'<roadMark sOffset="{s}" type="{type}" color="{color}" weight="standard" {more}/>'


def test_road_marks_lie_on_the_outer_edge_of_their_lane(tmp_path):
    broken = mark("broken", "yellow", more='width="0.2"')
    solid = mark("solid", s=0.0) + mark("none", s=30.0)
    lanes = section(lane(0, more=broken), lane(-1, more=solid), lane(1, more=mark("curb")))
    layout = read(tmp_path, road("1", line(50.0), lanes, 50.0))
    middle, right, left = sorted(layout.markings, key=lambda m: (m.kind, m.points[0, 1]))[:3]
    dashed = next(m for m in layout.markings if m.kind == "dashed")
    np.testing.assert_allclose(dashed.points, [[0, 0], [50, 0]], atol=1e-9)
    assert dashed.width_m == 0.2 and dashed.color == (230, 180, 40)
    edge = next(m for m in layout.markings if m.kind == "edge")
    np.testing.assert_allclose(edge.points[:, 1], 3.5)
    line_ = next(m for m in layout.markings if m.kind == "solid")
    np.testing.assert_allclose(line_.points, [[0, -3.5], [30, -3.5]], atol=0.26)
    assert len(layout.markings) == 3 and {middle.kind, right.kind, left.kind} == {
        "dashed", "edge", "solid",
    }  # fmt: skip


def test_marks_say_where_nobody_may_change_lanes(tmp_path):
    marks = "".join(
        mark("broken", s=s, more=f'laneChange="{change}"')
        for s, change in ((0.0, "both"), (20.0, "none"), (60.0, "decrease"), (80.0, "both"))
    )
    inner = [lane(id, more=marks) for id in (1, -1)]
    lanes = section(*inner, lane(2), lane(-2))
    by = by_name(read(tmp_path, road("1", line(100.0), lanes, 100.0)))
    never = (np.inf, -np.inf)
    # from lane -1 to -2 ids decrease; lanes 1 and 2 are driven the other way, 1 to 2 increases
    want = {
        "road1_s0_l-1": (never, (20.0, 60.0)),
        "road1_s0_l-2": ((20.0, 80.0), never),
        "road1_s0_l1": (never, (20.0, 80.0)),
        "road1_s0_l2": ((40.0, 80.0), never),
    }
    for name, (left, right) in want.items():
        assert by[name].closed_left_m == pytest.approx(left), name
        assert by[name].closed_right_m == pytest.approx(right), name


def test_double_lines_are_two_stripes_the_inner_one_first(tmp_path):
    lanes = section(lane(-1, more=mark("solid broken")), lane(1, more=mark("solid broken")))
    layout = read(tmp_path, road("1", line(50.0), lanes, 50.0))
    places = sorted((m.points[0, 1], m.kind) for m in layout.markings)
    assert [kind for _, kind in places] == ["dashed", "solid", "solid", "dashed"]
    np.testing.assert_allclose([y for y, _ in places], [-3.62, -3.38, 3.38, 3.62])


def test_a_bent_marking_keeps_within_two_centimetres_with_few_points(tmp_path):
    plan = geometry('<arc curvature="0.02"/>', 60.0)
    layout = read(tmp_path, road("1", plan, section(lane(-1, more=mark("solid"))), 60.0))
    points = layout.markings[0].points
    assert len(points) < 40  # of 241 samples
    sides = np.linspace(points[:-1], points[1:], 9).reshape(-1, 2)
    away = np.hypot(*(sides - [0.0, 50.0]).T) - 53.5
    assert np.abs(away).max() < 0.021


def objects(text: str) -> str:
    return f"<objects>{text}</objects>"


def test_crosswalks_run_across_the_road(tmp_path):
    outline = "".join(
        f'<cornerLocal u="{u}" v="{v}" z="0"/>' for u, v in ((-2, -4), (2, -4), (2, 4), (-2, 4))
    )
    text = objects(
        '<object id="1" type="crosswalk" s="20" t="0" hdg="0">'
        f"<outline>{outline}</outline></object>"
    )
    layout = read(tmp_path, road("1", line(40.0), section(lane(-1)), 40.0, more=text))
    (crossing_,) = layout.markings
    assert crossing_.kind == "crossing" and crossing_.width_m == pytest.approx(4.0)
    ends = crossing_.points[np.argsort(crossing_.points[:, 1])]
    np.testing.assert_allclose(ends, [[20.0, -4.0], [20.0, 4.0]], atol=1e-5)
    told_as_signal = sign("1000003", 20.0, 0.0, width="8", value="4")
    layout = read(tmp_path, road("1", line(40.0), section(lane(-1)), 40.0, more=told_as_signal))
    np.testing.assert_allclose(layout.markings[0].points, [[20.0, -4.0], [20.0, 4.0]], atol=1e-9)


def test_buildings_trees_and_poles_are_scenery_and_low_things_are_counted(tmp_path):
    text = objects(
        '<object id="1" type="building" s="10" t="12" hdg="0.5" length="8" width="6" height="9"/>'
        '<object id="2" type="tree" s="0" t="-8" radius="1.5" height="5" zOffset="0.5">'
        '<repeat s="5" length="20" distance="10" tStart="-8" tEnd="-10" '
        'heightStart="4" heightEnd="6"/>'
        "</object>"
        '<object id="3" type="pole" s="30" t="5" height="0.4"/>'
        '<object id="4" type="guardrail" s="30" t="5" height="1.5"/>'
    )
    layout = read(tmp_path, road("1", line(40.0), section(lane(-1)), 40.0, more=text))
    house, *trees = layout.scenery
    assert (house.kind, house.length, house.width, house.height) == ("building", 8.0, 6.0, 9.0)
    assert (house.x, house.y, house.heading) == (pytest.approx(10), pytest.approx(12), 0.5)
    assert [(t.kind, t.x, t.y, t.height) for t in trees] == [
        ("tree", 5.0, -8.0, 4.0), ("tree", 15.0, -9.0, 5.0), ("tree", 25.0, -10.0, 6.0),
    ]  # fmt: skip
    assert all((t.length, t.base_z) == (3.0, 0.5) for t in trees)
    assert layout.skipped == {
        "road/objects/object (guardrail)": 1,
        "road/objects/object (pole)": 1,
    }


def test_what_the_importer_does_not_know_is_counted_once_with_all_it_holds(tmp_path):
    more = (
        '<lateralProfile><superelevation s="0" a="0.02" b="0" c="0" d="0"/>'
        '<superelevation s="9" a="0" b="0" c="0" d="0"/>'
        '<shape s="0" t="0" a="0" b="0" c="0" d="0"/>'
        "</lateralProfile><railroad><switch/><switch/></railroad>"
    )
    lanes = section(lane(-1, more='<material sOffset="0" friction="0.9"/>'))
    layout = read(
        tmp_path, road("1", line(40.0), lanes, 40.0, more=more), "<controller/><station/>"
    )
    assert layout.skipped == {
        "controller": 1,
        "road/lanes/laneSection/right/lane/material": 1,
        "road/lateralProfile/shape": 1,
        "road/lateralProfile/superelevation": 1,
        "road/railroad": 1,
        "station": 1,
    }


def test_the_floor_of_a_crossing_on_a_hill_is_as_high_as_its_lanes(tmp_path):
    hill = '<elevationProfile><elevation s="0" a="3" b="0" c="0" d="0"/></elevationProfile>'
    parts = [text.replace("<lanes>", f"{hill}<lanes>") for text in crossing()]
    layout = read(tmp_path, *parts)
    assert all(lane.line.z_m is not None for lane in layout.lanes)
    for surface in layout.surfaces:
        assert surface.shape[1] == 3
        np.testing.assert_allclose(surface[:, 2], 3.0)
