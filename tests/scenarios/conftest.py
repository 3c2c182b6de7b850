from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios.load import load_file
from scenarios.yaml_tree import ScenarioFileError

Write = Callable[..., Path]

BASE = """\
schema_version: 1
id: base
family: base
description: A car ahead.
parameters:
  speed: {uniform: [10, 12]}
  gap: {choice: [20, 30]}
road: {kind: straight, lanes: 2}
ego: {lane: 0, speed_mps: $speed}
actors:
  - {id: lead, lane: 0, ahead_m: $gap, speed_mps: $speed}
  - {id: van, kind: van, path: lane1, ahead_m: -20}
events:
  - actor: lead
    trigger: {time_s: 2}
    actions:
      - speed: {speed_mps: 0}
  - actor: van
    trigger: {distance_m: 5}
    actions:
      - offset: {d_m: -3.5}
      - run_light: true
"""


RICH = """\
schema_version: 1
id: rich
family: rich
description: Something of everything.
parameters: {p: {choice: [4]}, q: {uniform: [1, 2]}, word: {choice: [hurried]}, k: {choice: [drop]}}
road: {kind: parking_street, lanes: 2, speed_limit_mps: 10, length_m: 300}
ego: {lane: 0, s_m: 20, speed_mps: $q}
actors:
  - {id: van, kind: van, path: parking_right, s_m: 80, behaviour: static, probability: 0.5}
  - {id: door, kind: door, parent: van, hinge_m: [1, $q]}
  - {id: walker, kind: pedestrian, path: sidewalk_left, s_m: 60, goal_d_m: 0.4,
     size_m: [1, 1, $q]}
  - {id: car, lane: 1, ahead_m: 20, driver: {headway_s: $q, changes_lanes: false}}
  - {id: taped, log: [[0, 1, 2, 3, 4], [$q, 1, 2, 3, 4]], reacts_within_m: $q}
  - {id: back, lane: 1, s_m: 120, speed_mps: -2, reversing: true, driver: $word, color: red}
events:
  - {id: one, actor: door, trigger: {time_s: $q}, actions: [{open_door: {angle_rad: 1}}]}
  - {id: two, actor: car, trigger: {after: {event: one, delay_s: $q}},
     actions: [{lane_change: {to: right}}, {indicator: left}]}
  - {trigger: {ego_speed_mps: 3}, actions: [{friction: $q / 2}]}
  - {actor: walker, trigger: {headway_s: 3}, actions: [{stand: {speed_mps: 1}}, {vanish: true}]}
traffic: {vehicles: $p, pedestrians: 2, styles: [timid, $word], kinds: [bus, car],
  speed_factor: [0.5, $q]}
weather: {fog_m: 50, rain: 0.5, friction: 0.7,
  patches: [{from_m: 1, to_m: 1 + $q, friction: 0.3}]}
faults: [{kind: $k, amount: 0.5, camera: front, start_s: 1, end_s: 1 + $q},
  {kind: pose_noise, amount: 0.1}]
environment: {light: 0.5}
signals: {mode: dark}
duration_s: 9
"""


def problems(path: Path) -> list[str]:
    """``line:col: key: message`` of each problem of a file."""
    with pytest.raises(ScenarioFileError) as caught:
        load_file(path)
    return [str(p).split(f"{path.name}:", 1)[1] for p in caught.value.problems]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a scenario file ``<id>.yaml``: the base text or ``text``, with replacements."""

    def make(name: str = "base", text: str | None = None, **replace: str) -> Path:
        body = BASE if text is None else text
        for old, new in replace.items():
            assert old in body
            body = body.replace(old, new)
        body = body.replace("id: base", f"id: {name}", 1)
        path = tmp_path / f"{name}.yaml"
        path.write_text(body, encoding="utf-8")
        return path

    return make
