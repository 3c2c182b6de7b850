"""OpenDRIVE import: who goes where, stops and gives way in junctions of small documents."""

from __future__ import annotations

import numpy as np
import pytest

from sim.roads.layout import Layout
from tests.sim.xodr import (
    by_name,
    crossing,
    geometry,
    lane,
    line,
    read,
    road,
    section,
    sign,
    to_junction,
    to_road,
)


def test_a_crossing_leads_from_every_arm_to_every_other(tmp_path):
    layout = read(tmp_path, *crossing())
    lanes = by_name(layout)
    assert set(lanes["roadE_s0_l1"].successors) == {f"roadE{to}_s0_l-1" for to in "NWS"}
    assert lanes["roadEN_s0_l-1"].successors == ("roadN_s0_l-1",)
    assert {lane.junction for lane in layout.lanes} == {-1, 0}
    for own in layout.lanes:
        for name in own.successors:
            after = lanes[name].line
            np.testing.assert_allclose(own.line.xy[-1], after.xy[0], atol=1e-6)
            assert np.sin(0.5 * (own.line.heading[-1] - after.heading[0])) == pytest.approx(
                0, abs=1e-6
            )
    assert layout.skipped == {}
    # The way in from the east turns right to the north and left to the south.
    assert lanes["roadEN_s0_l-1"].line.curvature[5] == pytest.approx(-1 / (12 - 1.75))
    assert lanes["roadES_s0_l-1"].line.curvature[5] == pytest.approx(1 / (12 + 1.75))


def yielding(layout: Layout) -> dict[str, set[str]]:
    """Ways and those they give way to, as "SN" for from the south to the north."""
    return {
        lane.name[4:6]: {name[4:6] for name in lane.yields_to}
        for lane in layout.lanes
        if lane.junction >= 0
    }


def test_without_signs_the_right_goes_before_the_left_and_left_turns_wait(tmp_path):
    yields = yielding(read(tmp_path, *crossing()))
    # From the south, the east is on the right: its ways west and south cross or join, the one to
    # the north joins; the west is on the left.
    assert yields["SN"] == {"EW", "EN", "ES"}
    # Left from the south to the west: before it go the north's straight and right turn.
    assert {"NS", "NW", "EW", "ES"} <= yields["SW"]
    # Right from the south to the east joins only ways that come from the left or turn left.
    assert yields["SE"] == set()
    assert "SW" not in yields["NS"]


def test_of_two_ways_that_conflict_exactly_one_yields(tmp_path):
    layout = read(tmp_path, *crossing())
    lanes = by_name(layout)
    yields = yielding(layout)
    middles = {name: lanes[f"road{name}_s0_l-1"].line.xy[::4] for name in yields}
    for a in yields:
        for b in yields:
            if a[0] == b[0] or a == b:
                assert b not in yields[a]
                continue
            near = np.hypot(*(middles[a][:, None] - middles[b][None]).transpose(2, 0, 1)).min()
            ordered = (b in yields[a]) + (a in yields[b])
            if near < 1.0:
                assert ordered == 1, (a, b, near)
            elif near > 3.0:
                assert ordered == 0, (a, b, near)


def test_yield_signs_turn_the_order_round_and_stop_signs_stop(tmp_path):
    arms = {"E": sign("205"), "W": sign("206"), "N": sign("306"), "S": sign("306")}
    layout = read(tmp_path, *crossing(arms))
    lanes, yields = by_name(layout), yielding(layout)
    assert lanes["roadE_s0_l1"].stop_kind == "yield"
    assert lanes["roadW_s0_l1"].stop_kind == "stop"
    assert lanes["roadN_s0_l1"].stop_kind == ""
    # Lane 1 ends at s = 0 of its arm; one waits a metre before.
    assert lanes["roadE_s0_l1"].stop_s_m == pytest.approx(39.0, abs=0.01)
    assert yields["SN"] == set() and "SN" in yields["EW"]
    assert [kind for *_, kind in layout.signs] == ["yield", "stop"]
    x, y, heading, _ = layout.signs[0]
    assert (x, y) == (pytest.approx(15.0), pytest.approx(4.0))
    assert np.cos(heading) == pytest.approx(1.0)  # it faces those who come from the east
    assert [m.kind for m in layout.markings] == ["stop"]
    np.testing.assert_allclose(layout.markings[0].points[:, 0], -13.0, atol=0.2)


def test_a_priority_of_the_file_goes_before_everything(tmp_path):
    layout = read(tmp_path, *crossing(junction_more='<priority high="SN" low="EW"/>'))
    assert "EW" not in yielding(layout)["SN"] and "SN" in yielding(layout)["EW"]
    layout = read(tmp_path, *crossing(junction_more='<priority high="W" low="S"/>'))
    assert "WE" in yielding(layout)["SN"]


def light(s: float = 2.0, t: float = 5.0) -> str:
    return sign("1000001", s, t, dynamic="yes", id="L")


def test_lights_stop_their_lanes_in_two_groups_by_axis(tmp_path):
    layout = read(tmp_path, *crossing({arm: light() for arm in "ENWS"}))
    lanes = by_name(layout)
    groups = {arm: lanes[f"road{arm}_s0_l1"].signal_group for arm in "ENWS"}
    assert groups == {"N": 0, "S": 0, "E": 1, "W": 1}
    assert all(lanes[f"road{arm}_s0_l1"].stop_kind == "signal" for arm in "ENWS")
    # A metre before the light, which stands 2 m before the crossing.
    assert lanes["roadE_s0_l1"].stop_s_m == pytest.approx(37.0, abs=0.01)
    assert lanes["roadE_s0_l-1"].stop_s_m == np.inf
    x, y, heading, group = layout.signal_heads[0]
    assert (x, y, group) == (pytest.approx(14.0), pytest.approx(5.0), 1.0)
    assert np.cos(heading) == pytest.approx(1.0)
    # Ways that never have green together need no order; a left turn and the oncoming one do.
    assert yielding(layout)["SN"] == set()
    assert yielding(layout)["SW"] == {"NS", "NW"}


def test_a_light_stops_where_the_file_paints_the_line(tmp_path):
    more = light() + sign("294", 6.0, 0.0)
    layout = read(tmp_path, *crossing({"E": more}))
    assert by_name(layout)["roadE_s0_l1"].stop_s_m == pytest.approx(34.0, abs=0.01)
    stops = [m for m in layout.markings if m.kind == "stop"]
    assert len(stops) == 1
    np.testing.assert_allclose(stops[0].points, [[18.0, 0.0], [18.0, 3.5]], atol=0.2)


def test_references_from_inside_the_junction_hold_for_the_lanes_that_lead_there(tmp_path):
    lamp = sign("1000001", 2.0, 5.0, '<validity fromLane="0" toLane="0"/>', dynamic="yes", id="L")
    parts = [*crossing({"E": lamp})]
    way = next(i for i, text in enumerate(parts) if 'id="EW"' in text)
    # Some tools write the orientation the wrong way round; the validity says what is meant.
    reference = (
        '<signals><signalReference id="L" s="1" t="0" orientation="-">'
        '<validity fromLane="-1" toLane="-1"/></signalReference></signals></road>'
    )
    parts[way] = parts[way].replace("</road>", reference)
    layout = read(tmp_path, *parts)
    lanes = by_name(layout)
    assert lanes["roadE_s0_l1"].stop_kind == "signal"
    assert lanes["roadE_s0_l1"].stop_s_m == pytest.approx(37.0, abs=0.01)
    assert [lane.name for lane in layout.lanes if np.isfinite(lane.stop_s_m)] == ["roadE_s0_l1"]
    assert len(layout.signal_heads) == 1


def test_signals_without_a_meaning_here_are_counted(tmp_path):
    arms = {"E": sign("1000002", dynamic="yes"), "N": sign("-1"), "W": sign("1000001", id="x",
            more='<validity fromLane="0" toLane="0"/>')}  # fmt: skip
    assert read(tmp_path, *crossing(arms)).skipped == {
        "road/signals/signal (a light for no lane)": 1,
        "road/signals/signal (dynamic type 1000002)": 1,
        "road/signals/signal (type -1)": 1,
    }


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (sign("274", value="70"), "speed_70"),
        (sign("274", subtype="57"), "speed_70"),
        (sign("274", subtype="30"), "speed_30"),
        (sign("-1", name="Speed_90"), "speed_90"),
        (sign("101"), "warning"),
    ],
)
def test_speed_and_warning_signs(tmp_path, text, want):
    layout = read(tmp_path, road("1", line(40.0), section(lane(1)), 40.0, more=text))
    assert [kind for *_, kind in layout.signs] == [want]


def test_a_direct_junction_links_roads_without_anything_between(tmp_path):
    fork = '<junction id="J" type="direct">'
    for to, first in (("b", -1), ("c", -2)):
        fork += (
            f'<connection id="{to}" incomingRoad="a" linkedRoad="{to}" contactPoint="start">'
            f'<laneLink from="{first}" to="-1"/></connection>'
        )
    a = road("a", line(40.0), section(lane(-1), lane(-2)), 40.0, link=to_junction("successor", "J"))
    b = road("b", line(40.0, 40.0), section(lane(-1)), 40.0, link=to_junction("predecessor", "J"))
    c = road("c", line(40.0, 40.0, -3.5), section(lane(-1)), 40.0,
             link=to_junction("predecessor", "J"))  # fmt: skip
    lanes = by_name(read(tmp_path, a, b, c, fork + "</junction>"))
    assert lanes["roada_s0_l-1"].successors == ("roadb_s0_l-1",)
    assert lanes["roada_s0_l-2"].successors == ("roadc_s0_l-1",)


def test_a_ramp_that_joins_outside_a_junction_waits(tmp_path):
    main = road("main", line(40.0), section(lane(-1, after=-1)), 40.0,
                link=to_road("successor", "on", "start"))  # fmt: skip
    # 0.4 rad to the right on a radius of 100 m, level with the main road where they meet.
    bend = geometry(
        '<arc curvature="-0.01"/>', 40.0, 40.0 - 100 * np.sin(0.4), -100 * (1 - np.cos(0.4)), 0.4
    )
    ramp = road(
        "ramp", bend, section(lane(-1, after=-1)), 40.0, link=to_road("successor", "on", "start")
    )
    on = road("on", line(60.0, 40.0), section(lane(-1, before=-1)), 60.0,
              link=to_road("predecessor", "main", "end"))  # fmt: skip
    lanes = by_name(read(tmp_path, main, ramp, on))
    assert lanes["roadramp_s0_l-1"].successors == ("roadon_s0_l-1",)
    assert lanes["roadramp_s0_l-1"].yields_to == ("roadmain_s0_l-1",)
    assert lanes["roadmain_s0_l-1"].yields_to == ()


def test_virtual_junctions_are_counted(tmp_path):
    virtual = '<junction id="V" type="virtual" mainRoad="1" sStart="5" sEnd="9"/>'
    layout = read(tmp_path, road("1", line(40.0), section(lane(-1)), 40.0), virtual)
    assert layout.skipped == {"junction (type virtual)": 1}
