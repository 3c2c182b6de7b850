"""Mutations of a good OpenDRIVE document end in a layout or a ``RequestError``, nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpamayo.types import RequestError
from sim.roads.layout import Layout
from sim.roads.opendrive import read_opendrive
from tests.sim.xodr import crossing, document, geometry, lane, road, section

RICH = document(
    *crossing(
        {
            "E": '<signals><signal id="1" s="2" t="5" type="1000001" dynamic="yes" orientation="-">'
            '<validity fromLane="0" toLane="3"/></signal><signal id="2" s="4" t="0" type="294"/>'
            '<signal id="3" s="9" t="5" type="274" value="50"/></signals>',
            "N": '<elevationProfile><elevation s="0" a="0" b="0.1" c="0" d="0"/></elevationProfile>'
            '<signals><signal id="4" s="2" t="5" type="205" orientation="-"/></signals>',
            "W": '<type s="0" type="town"><speed max="25" unit="mph"/></type>'
            '<objects><object id="1" type="tree" s="5" t="9" height="6" radius="2">'
            '<repeat s="5" length="20" distance="5" tStart="9" tEnd="9"/></object>'
            '<object id="2" type="crosswalk" s="8" t="0"><outline><cornerRoad s="6" t="-4"/>'
            '<cornerRoad s="10" t="-4"/><cornerRoad s="10" t="4"/><cornerRoad s="6" t="4"/>'
            "</outline></object></objects>",
        },
        '<priority high="SN" low="EW"/>',
    ),
    road(
        "p",
        geometry('<spiral curvStart="0" curvEnd="0.05"/>', 20.0)
        + geometry(
            '<paramPoly3 pRange="normalized" aU="0" bU="20" cU="0" dU="0" '
            'aV="0" bV="0" cV="2" dV="0"/>',
            20.132545,
            19.505754,
            3.274281,
            0.5,
            20.0,
        )
        + geometry(
            '<poly3 a="0" b="0" c="0.01" d="0"/>', 15.0, 36.098554, 14.617957, 0.697396, 40.132545
        ),
        section(
            lane(1, after=1),
            lane(
                -1,
                after=-1,
                more='<roadMark sOffset="0" type="solid broken" color="yellow" weight="bold"/>',
            ),
            lane(-2, '<width sOffset="0" a="3" b="0" c="-0.002" d="0"/>', "shoulder"),
        )
        + section(
            lane(1, before=1),
            lane(-1, before=-1),
            lane(-2, '<border sOffset="0" a="-5" b="0" c="0" d="0"/>', "sidewalk"),
            s=20.0,
        ),
        55.132545,
        offset='<laneOffset s="0" a="0.5" b="0" c="0.001" d="0"/>',
    ),
)
VALUES = [
    "", "0", "-0", "1", "-1", "2", "-3", "1e-9", "0.5", "1e3", "-1e3", "1e9", "1e300", "nan", "inf",
    "-inf", "abc", "E", "EW", "J", "start", "end", "road", "junction", "driving", "none", "LHT",
    "+", "é", "9" * 400, "0x10", "1_0", "<", "&amp;", "&x;",
]  # fmt: skip
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
ELEMENT = re.compile(r"<(\w+)[^<>]*/>")


def mutate(text: str, kind: str, at: int, value: str) -> str:
    """One attribute changed, dropped or given to another, one leaf dropped or doubled, or bytes."""
    if kind in ("set", "drop", "rename"):
        found = [*ATTRIBUTE.finditer(text)][2:]  # after the XML declaration
        hit = found[at % len(found)]
        new = {"set": f'{hit[1]}="{value}"', "drop": "", "rename": f'zz="{hit[2]}"'}[kind]
    elif kind in ("remove", "double"):
        leaves = [*ELEMENT.finditer(text)]
        hit = leaves[at % len(leaves)]
        new = hit[0] * 2 if kind == "double" else ""
    else:
        cut = at % len(text)
        return text[:cut] + value + text[cut + len(value) :]
    return text[: hit.start()] + new + text[hit.end() :]


def check_layout(layout: Layout) -> None:
    """A layout that came out of a mutation is whole: finite, ascending, linked by name."""
    names = {lane.name for lane in layout.lanes}
    for own in layout.lanes:
        assert set(own.successors) | set(own.yields_to) <= names
        assert (np.diff(own.line.s_m) > 0).all()
        parts = [own.line.xy, own.line.heading, own.line.curvature, own.line.s_m]
        assert all(np.isfinite(part).all() for part in parts)
        assert own.line.z_m is None or np.isfinite(own.line.z_m).all()
        assert min(own.stop_s_m, own.ends_m) >= 0.0
    for polygon in [*layout.surfaces, *layout.pavements]:
        assert len(polygon) >= 3 and np.isfinite(polygon).all()
    for marking in layout.markings:
        assert len(marking.points) >= 2 and np.isfinite(marking.points).all()
    for x, y, heading, _ in [*layout.signal_heads, *layout.signs]:
        assert np.isfinite([x, y, heading]).all()
    assert all(count > 0 for count in layout.skipped.values())


def test_the_document_that_is_mutated_is_good(tmp_path):
    path = tmp_path / "map.xodr"
    path.write_text(RICH, encoding="utf-8")
    layout = read_opendrive(path)
    check_layout(layout)
    layout.link()
    assert len(layout.lanes) == 8 + 12 + 6
    assert layout.skipped == {}


mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "drop", "rename", "remove", "double", "bytes"]),
        st.integers(0, 5000),
        st.sampled_from(VALUES),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(mutations)
def test_a_mutated_file_ends_in_a_layout_or_a_request_error(tmp_path: Path, changes):
    text = RICH
    for change in changes:
        text = mutate(text, *change)
    path = tmp_path / "map.xodr"
    path.write_text(text, encoding="utf-8")
    try:
        layout = read_opendrive(path)
    except RequestError as error:
        assert str(error).startswith(str(path))
    else:
        check_layout(layout)
        layout.link()
