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
