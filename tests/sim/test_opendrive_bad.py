"""Malformed OpenDRIVE: one clear line that names the place."""

from __future__ import annotations

import re

import pytest

from alpamayo.types import RequestError
from sim.roads.opendrive import read_opendrive, source
from tests.sim.xodr import geometry, lane, line, read, road, section, to_junction, to_road

PLAN = line(40.0)
LANES = section(lane(-1))
STANDING = '<paramPoly3 aU="0" bU="0" cU="9" dU="0" aV="0" bV="0" cV="0" dV="0"/>'
CLOSING = '<width sOffset="0" a="3.5" b="-0.5" c="0" d="0"/>'
KNOTS = '<speed sOffset="0" max="9" unit="kn"/>'
CONNECTION = (
    '<junction id="J"><connection id="0" incomingRoad="1" connectingRoad="2" contactPoint="start">'
    '<laneLink from="{}" to="{}"/></connection></junction>'
)
STEEP = '<elevationProfile><elevation s="0" a="0" b="0" c="9" d="9"/></elevationProfile>'
COPIES = (
    '<objects><object id="1" type="tree" s="0" t="0"><repeat s="0" length="1e6" distance="1e-3"/>'
    "</object></objects>"
)
BACKWARD = "".join(f'<laneOffset s="{s}" a="0" b="0" c="0" d="0"/>' for s in (9, 1))


def one(plan: str = PLAN, lanes: str = LANES, **more: str) -> str:
    return road("1", plan, lanes, 40.0, **more)


def two(from_lane: int, to_lane: int) -> tuple[str, ...]:
    second = road("2", line(9.0, 40.0), LANES, 9.0, junction="J")
    return one(), second, CONNECTION.format(from_lane, to_lane)


# What is wrong, the parts of the document, and what the error says.
BAD: list[tuple[str, tuple[str, ...], str]] = [
    ("no road", (), "OpenDRIVE: expected at least one road, got none"),
    ("no id", (one().replace('id="1" ', ""),), "road: expected an attribute id, got none"),
    ("nan", (one(PLAN.replace('hdg="0.0"', 'hdg="nan"')),), "geometry: expected hdg as a number"),
    ("inf", (one(PLAN.replace('x="0.0"', 'x="inf"')),), "geometry: expected x as a number"),
    ("no geometry", (one(""),), "road: expected a planView"),
    ("zero length", (one(line(0.0)),), "geometry: expected length as a number"),
    ("late geometry", (one(line(40.0, s=1.0)),), "road: expected a first geometry at s=0"),
    ("geometry order", (one(line(9.0) + line(9.0)),), "geometry: expected s greater"),
    ("no curve", (one(geometry("", 40.0)),), "geometry: expected one of line, arc"),
    ("two curves", (one(geometry("<line/><line/>", 40.0)),), "got 2 of them"),
    ("tight arc", (one(geometry('<arc curvature="99"/>', 4.0)),), "arc: expected curvature"),
    ("standing", (one(geometry(STANDING, 9.0)),), "paramPoly3: expected a curve that moves on"),
    ("no section", (one(lanes=""),), "lanes: expected a first laneSection at s=0, got none"),
    ("section order", (one(lanes=LANES + LANES),), "laneSection: expected s before"),
    (
        "section beyond",
        (one(lanes=LANES + section(lane(-1), s=99.0)),),
        "laneSection: expected s before",
    ),
    ("no middle", (one(lanes=LANES.replace("center", "middle")),), "expected a lane 0 in center"),
    ("no driving", (one(lanes=section(lane(-1, type="rail"))),), "expected at least one lane"),
    ("side", (one(lanes=LANES.replace("right", "left")),), "lane: expected an id that fits left"),
    ("hole", (one(lanes=section(lane(-1), lane(-3))),), "lane ids without holes, got [-3, -1, 0]"),
    ("twice", (one(lanes=section(lane(-1), lane(-1))),), "expected a lane id of its own, got -1"),
    ("no width", (one(lanes=section(lane(-1, " "))),), "lane: expected a width or a border"),
    (
        "negative width",
        (one(lanes=section(lane(-1, CLOSING))),),
        "lane: expected a width of at least 0, got -16.500 m at s=40.00",
    ),
    ("wide", (one(lanes=section(lane(-1, 1e6))),), "lane: expected a width of at most"),
    (
        "unit",
        (one(lanes=section(lane(-1, more=KNOTS))),),
        "speed: expected unit as one of m/s, mph, km/h, got 'kn'",
    ),
    ("two roads", (one(), one()), "road: expected a road id of its own, got '1' a second time"),
    (
        "unknown road",
        (one(link=to_road("successor", "9", "start")),),
        "successor: expected the id of a road as elementId, got '9'",
    ),
    (
        "unknown junction",
        (one(link=to_junction("successor", "9")),),
        "successor: expected the id of a junction as elementId, got '9'",
    ),
    ("in no junction", (one(junction="9"),), "road: expected the id of a junction"),
    (
        "contact",
        (one(link=to_road("successor", "1", "middle")),),
        "successor: expected contactPoint as one of start, end, got 'middle'",
    ),
    (
        "lane link",
        (one(lanes=section(lane(-1, after=-2)) + section(lane(-1), s=9.0)),),
        "successor: expected a lane of section 1 of road '1' ([-1, 0]), got -2",
    ),
    ("link from", two(-7, -1), "laneLink: expected a lane of section 0 of road '1'"),
    ("link to", two(-1, 3), "laneLink: expected a lane of section 0 of road '2'"),
    ("connection", two(-1, -1)[::2], "connection: expected ids of roads, got '2'"),
    ("far", (one(), road("2", line(9.0, 1e8), LANES, 9.0)), "road: expected roads within"),
    ("high", (one(more=STEEP),), "road: expected heights below"),
    ("copies", (one(more=COPIES),), "repeat: expected at most 10000 copies"),
    ("backward", (one(offset=BACKWARD),), "laneOffset: expected s not before"),
]


@pytest.mark.parametrize(("parts", "want"), [case[1:] for case in BAD], ids=[c[0] for c in BAD])
def test_a_mistake_is_one_line_with_file_line_and_element(tmp_path, parts, want):
    with pytest.raises(RequestError) as raised:
        read(tmp_path, *parts)
    message = str(raised.value)
    assert want in message
    assert "\n" not in message
    place = re.match(r"(.+):(\d+): (\w+): expected .+, got .+", message)
    assert place is not None and place[1] == str(tmp_path / "map.xodr")
    line_text = (tmp_path / "map.xodr").read_text().splitlines()[int(place[2]) - 1]
    assert f"<{place[3]}" in line_text


RAW = {
    "empty": (b"", "bytes"),
    "not XML": (b"hello", "syntax error"),
    "unclosed": (b"<OpenDRIVE><header/>", ":1: xml: expected well-formed XML"),
    "another root": (b"<opendrive/>", "expected the root element OpenDRIVE, got opendrive"),
    "no header": (b"<OpenDRIVE/>", "expected a header"),
    "revision": (b'<OpenDRIVE><header revMajor="2"/></OpenDRIVE>', "expected revMajor 1, got 2"),
    "encoding": (b'<?xml version="1.0" encoding="klingon"?><OpenDRIVE/>', "well-formed XML"),
    "wide encoding": (b'<?xml version="1.0" encoding="gb18030"?><OpenDRIVE/>', "well-formed XML"),
    "entity": (
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><OpenDRIVE n="&b;"/>',
        ":1: DOCTYPE: expected no document type",
    ),
    "external": (b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><OpenDRIVE/>', "DOCTYPE"),
    "deep": (b"<OpenDRIVE>" + b"<a>" * 100 + b"</a>" * 100 + b"</OpenDRIVE>", "48 deep"),
}


@pytest.mark.parametrize("case", RAW)
def test_what_is_not_opendrive_is_refused(tmp_path, case):
    data, want = RAW[case]
    path = tmp_path / "map.xodr"
    path.write_bytes(data)
    with pytest.raises(RequestError, match=re.escape(want)):
        read_opendrive(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(RequestError, match=r"nothing\.xodr: expected a readable file"):
        read_opendrive(tmp_path / "nothing.xodr")
    with pytest.raises(RequestError, match="expected a readable file"):
        read_opendrive(tmp_path)


def test_a_file_with_too_much_in_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_ELEMENTS", 5)
    with pytest.raises(RequestError, match="at most 5 elements"):
        read(tmp_path, one())
    monkeypatch.setattr(source, "MAX_BYTES", 10)
    with pytest.raises(RequestError, match="expected 1 to 10 bytes"):
        read(tmp_path, one())
