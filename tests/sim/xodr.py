"""Small OpenDRIVE documents, put together from pieces of text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sim.roads.layout import Lane, Layout
from sim.roads.opendrive import read_opendrive

# Third-party maps, which are not part of the repository.
MAPS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "opendrive"


def third_party(name: str) -> Path:
    """A third-party file such as ``carla/Town01.xodr``; skips where there is none."""
    path = MAPS / name
    if not path.is_file():
        pytest.skip(f"third-party map {name} is not there ({MAPS})")
    return path


def line(length: float, x: float = 0.0, y: float = 0.0, hdg: float = 0.0, s: float = 0.0) -> str:
    return geometry("<line/>", length, x, y, hdg, s)


def geometry(
    curve: str, length: float, x: float = 0.0, y: float = 0.0, hdg: float = 0.0, s: float = 0.0
) -> str:
    return f'<geometry s="{s}" x="{x}" y="{y}" hdg="{hdg}" length="{length}">{curve}</geometry>'


def lane(
    id: int,
    width: float | str = 3.5,
    type: str = "driving",
    before: int | None = None,
    after: int | None = None,
    more: str = "",
) -> str:
    """A lane; ``width`` a number or width elements, ``before``/``after`` the linked lanes."""
    link = "" if before is None else f'<predecessor id="{before}"/>'
    link += "" if after is None else f'<successor id="{after}"/>'
    if not isinstance(width, str):
        width = f'<width sOffset="0" a="{width}" b="0" c="0" d="0"/>'
    width = "" if id == 0 else width
    return f'<lane id="{id}" type="{type}"><link>{link}</link>{width}{more}</lane>'


def section(*lanes: str, s: float = 0.0, single: bool = False) -> str:
    """A lane section of lanes, lane 0 added unless given."""
    sides: dict[str, list[str]] = {"left": [], "center": [], "right": []}
    for text in lanes:
        found = re.search(r'id="(-?\d+)"', text)
        assert found is not None
        id = int(found[1])
        sides["left" if id > 0 else "right" if id < 0 else "center"].append(text)
    sides["center"] = sides["center"] or ['<lane id="0" type="none"/>']
    body = "".join(f"<{side}>{''.join(own)}</{side}>" for side, own in sides.items() if own)
    one_sided = ' singleSide="true"' if single else ""
    return f'<laneSection s="{s}"{one_sided}>{body}</laneSection>'


def road(
    id: str,
    plan: str,
    sections: str,
    length: float,
    *,
    link: str = "",
    junction: str = "-1",
    offset: str = "",
    more: str = "",
    rule: str = "RHT",
) -> str:
    return (
        f'<road id="{id}" length="{length}" junction="{junction}" rule="{rule}">'
        f"<link>{link}</link><planView>{plan}</planView>{more}"
        f"<lanes>{offset}{sections}</lanes></road>"
    )


def to_road(tag: str, id: str, contact: str) -> str:
    """The ``predecessor`` or ``successor`` of a road: the start or end of another."""
    return f'<{tag} elementType="road" elementId="{id}" contactPoint="{contact}"/>'


def to_junction(tag: str, id: str) -> str:
    return f'<{tag} elementType="junction" elementId="{id}"/>'


def document(*parts: str) -> str:
    header = '<?xml version="1.0"?>\n<OpenDRIVE>\n<header revMajor="1" revMinor="6"/>\n'
    return header + "\n".join(parts) + "\n</OpenDRIVE>\n"


def read(folder: Path, *parts: str) -> Layout:
    path = folder / "map.xodr"
    path.write_text(document(*parts), encoding="utf-8")
    return read_opendrive(path)


def by_name(layout: Layout) -> dict[str, Lane]:
    return {lane.name: lane for lane in layout.lanes}


def sign(type: str, s: float = 3.0, t: float = 4.0, more: str = "", **extra: str) -> str:
    """A signal for those who drive against the arm, towards the crossing."""
    said = {"id": f"{type}{s}{t}", "dynamic": "no", "orientation": "-", "subtype": "-1"} | extra
    said_text = " ".join(f'{key}="{value}"' for key, value in said.items())
    return f'<signals><signal s="{s}" t="{t}" type="{type}" {said_text}>{more}</signal></signals>'


# A 4-way crossing without signs: arms 40 m long that begin 12 m from the origin, in the order east,
# north, west, south; lanes -1 lead away from the middle and lanes 1 towards it. Connecting road
# "<from><to>" has one lane, -1.
ARMS = "ENWS"


def crossing(arm_more: dict[str, str] | None = None, junction_more: str = "") -> tuple[str, ...]:
    """Roads E, N, W, S, the 12 connecting roads, and junction J."""
    parts = []
    for k, arm in enumerate(ARMS):
        angle = k * 1.5707963267948966
        x, y = (12.0, 0.0, -12.0, 0.0)[k], (0.0, 12.0, 0.0, -12.0)[k]
        plan = line(40.0, x, y, angle)
        more = (arm_more or {}).get(arm, "")
        link = to_junction("predecessor", "J")
        parts.append(road(arm, plan, section(lane(1), lane(-1)), 40.0, link=link, more=more))
    connections = []
    for i, start in enumerate(ARMS):
        for j, end in enumerate(ARMS):
            if i == j:
                continue
            parts.append(_way(i, j))
            connections.append(
                f'<connection id="{start}{end}" incomingRoad="{start}" contactPoint="start" '
                f'connectingRoad="{start}{end}"><laneLink from="1" to="-1"/></connection>'
            )
    parts.append(f'<junction id="J" name="">{"".join(connections)}{junction_more}</junction>')
    return tuple(parts)


def _way(i: int, j: int) -> str:
    """The connecting road from arm i to arm j: its reference line joins those of the arms."""
    quarter = 1.5707963267948966
    x, y = (12.0, 0.0, -12.0, 0.0)[i], (0.0, 12.0, 0.0, -12.0)[i]
    hdg = (i + 2) * quarter
    turn = {1: -1.0, 2: 0.0, 3: 1.0}[(j - i) % 4]  # the next arm counter-clockwise is a right turn
    if turn:
        length = 12.0 * quarter
        plan = geometry(f'<arc curvature="{turn / 12.0}"/>', length, x, y, hdg)
    else:
        length = 24.0
        plan = line(length, x, y, hdg)
    link = to_road("predecessor", ARMS[i], "start") + to_road("successor", ARMS[j], "start")
    lanes = section(lane(-1, before=1, after=-1))
    return road(ARMS[i] + ARMS[j], plan, lanes, length, link=link, junction="J")
