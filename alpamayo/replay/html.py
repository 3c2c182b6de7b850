"""One self-contained HTML file of one replay, or of two side by side on one clock.

The page opens from disk without a network: style and script are inline, the data is deflated JSON
in base64 that the browser inflates itself. Text from the replay enters the page only as JSON and
through ``textContent``.
"""

from __future__ import annotations

import base64
import html
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.authoring.describe import event_text
from alpamayo.metrics import driving_score, is_failure
from alpamayo.replay.codec import to_plain
from alpamayo.replay.files import write_whole
from alpamayo.replay.format import Replay, fired_events
from alpamayo.types import EGO_SIZE_M, EpisodeResult, RequestError

_TTC_TOP_S, _GAP_TOP_M = 8.0, 30.0  # the upper ends also stand for nobody near
_TEMPLATE = Path(__file__).with_name("viewer.html")
_OUTCOMES = {
    "collision": "collision",
    "off_road": "left the road",
    "red_light": "ran a red light",
    "timeout": "time over, safe",
    "route_done": "route driven",
    "failed": "failed to run",
    "running": "unfinished",
}


def write_html(
    path: str | Path,
    replays: Sequence[Replay],
    labels: Sequence[str] = (),
) -> Path:
    """Write the page atomically; two replays (before, after) must be of the same scenario and
    seed.
    """
    return write_whole(path, render_html(replays, labels))


def render_html(replays: Sequence[Replay], labels: Sequence[str] = ()) -> str:
    """The page's text."""
    if len(replays) not in (1, 2):
        raise RequestError(f"expected one replay or two, got {len(replays)}")
    scenarios = [r.header.scenario for r in replays]
    episodes = [f"{s.id} seed {s.seed}" for s in scenarios]
    if len(set(episodes)) > 1:
        found = " and ".join(episodes)
        raise RequestError(f"expected two replays of the same episode, got {found}")
    names = list(labels) or (["Before", "After"] if len(replays) == 2 else [""])
    scenario = scenarios[0]
    twin = " (nominal twin)" if scenario.nominal else ""
    title = f"{scenario.id}, seed {scenario.seed}"
    data = {
        "title": title,
        "subtitle": f"{scenario.family}{twin}, {scenario.road.kind} road",
        "settings": _settings(replays),
        "replays": [
            _replay_data(r, n) | _ticks_data(r) for r, n in zip(replays, names, strict=True)
        ],
    }
    try:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise RequestError(f"{title}: expected finite numbers in road and settings") from None
    packed = zlib.compress(text.encode("utf-8", "replace"), 9)
    page = _TEMPLATE.read_text(encoding="utf-8")
    page = page.replace("__TITLE__", html.escape(f"{title} - Alpamayo replay"), 1)
    return page.replace("__DATA__", base64.b64encode(packed).decode("ascii"), 1)


def outcome(result: EpisodeResult) -> tuple[str, str]:
    """(words, badge class): '' good, 'warn', 'bad'."""
    words = _OUTCOMES.get(result.end, result.end)
    if result.collision:
        words = f"collision, {'at fault' if result.at_fault else 'other at fault'}"
        if result.collision_actor:
            words += f" ({result.collision_actor})"
    if is_failure(result):
        return words, "bad"
    return words, "warn" if result.collision or result.red_light else ""


def _replay_data(replay: Replay, label: str) -> dict[str, Any]:
    header, columns = replay.header, replay.columns
    result, config = header.result, header.sim_config
    words, badge = outcome(result)
    facts = (
        f"progress {result.progress_m:.0f} m, score {driving_score(result):.2f}, "
        f"min TTC {_finite(result.min_ttc_s)}"
    )
    if header.weights_version >= 0:
        facts += f", weights version {header.weights_version}"
    cameras = () if config.rig is None else config.rig.cameras
    images = [replay.image(n) for n in range(replay.decisions + 1)]
    return {
        "label": label,
        "policy": header.policy,
        "outcome": words,
        "badge": badge,
        "bad": badge != "",
        "facts": facts,
        "result": {"collision_actor": result.collision_actor},
        "road": _road(replay),
        "ego": _rounded(columns["ego"], 3),
        "egoSize": list(EGO_SIZE_M),
        "boxes": [[_box(b) for b in row] for row in columns["boxes"]],
        "braking": columns["braking"].astype(int).tolist(),
        "actors": [
            {"id": i, "kind": k, "color": list(c)}
            for i, k, c in zip(
                header.actor_ids, header.actor_kinds, header.actor_colors, strict=True
            )
        ],
        "signals": columns["signals"].tolist(),
        "waypoints": _rounded(columns["waypoints"], 3),
        "actions": _rounded(columns["actions"], 5),
        "limits": [
            config.max_accel_mps2,
            max(0.02, float(np.abs(columns["actions"][..., 1]).max())),
        ],
        "planSteps": config.plan_steps,
        "planStep": config.plan_step_s,
        "speedLimit": header.scenario.road.speed_limit_mps,
        "rewardNames": list(header.reward_names),
        "rewards": _rounded(columns["rewards"], 4),
        "decodeMs": _rounded(columns["decode_ms"], 2),
        "trace": _trace(columns),
        "cameras": [c.name for c in cameras],
        "cameraAspect": 1.0 if config.rig is None else config.rig.width_px / config.rig.height_px,
        "images": [base64.b64encode(i).decode("ascii") for i in images if i is not None],
    }


def _ticks_data(replay: Replay) -> dict[str, Any]:
    """Curves of the judge's signals, cut off at their upper ends, and what happened when."""
    columns, scenario = replay.columns, replay.header.scenario
    tick_s = replay.header.sim_config.tick_s

    def curve(name: str, top: float) -> list[tuple[float, float]]:
        values = np.minimum(columns.get(name, np.zeros(0)), top)
        times = tick_s * np.arange(1, len(values) + 1)
        return list(zip(_rounded(times, 3), _rounded(values, 2), strict=True))

    marks: list[dict[str, Any]] = [
        {"time": round(time_s, 3), "letter": letter, "text": event_text(scenario, n)}
        for time_s, n, letter in fired_events(replay)
    ]
    end_s = round(float(columns["ego"][-1, 4]), 3)
    words, badge = outcome(replay.header.result)
    marks.append({"time": end_s, "letter": "!" if badge else "E", "text": words, "end": True})
    return {
        "tick": tick_s,
        "ttc": curve("ttc_s", _TTC_TOP_S),
        "gap": curve("gap_m", _GAP_TOP_M),
        "tops": [_TTC_TOP_S, _GAP_TOP_M],
        "latency": _rounded(columns.get("latency_s", np.zeros(0)), 3),
        "marks": marks,
    }


def _trace(columns: dict[str, npt.NDArray[Any]]) -> dict[str, Any] | None:
    if "tokens" not in columns:
        return None
    return {
        "commit": columns["commit_round"].tolist(),
        "logProb": _rounded(
            np.nan_to_num(columns["log_prob"], nan=-99.0, neginf=-99.0, posinf=0.0), 4
        ),
        "rounds": columns["rounds"].tolist(),
    }


def _road(replay: Replay) -> dict[str, Any]:
    from sim.roads import build_road_map

    road = build_road_map(replay.header.scenario.road)
    heads: Any = road.signal_heads if replay.header.scenario.signals is not None else []
    return {
        "surfaces": [_rounded(np.asarray(s)[:, :2], 2) for s in road.surfaces],
        "markings": [
            {
                "points": _rounded(np.asarray(m.points)[:, :2], 2),
                "kind": str(m.kind),
                "width": float(m.width_m),
                "color": _color(m.color),
            }
            for m in road.markings
        ],
        "heads": [[float(h[0]), float(h[1]), float(h[2]), int(h[3])] for h in heads],
    }


def _color(color: Any) -> str:
    """A CSS colour from an RGB triple or a name; white markings take the page's own tone."""
    if isinstance(color, str):
        return "" if color == "white" else color
    red, green, blue = (int(c) for c in color)
    return "" if min(red, green, blue) > 200 else f"rgb({red},{green},{blue})"


def _settings(replays: Sequence[Replay]) -> list[tuple[str, str]]:
    header = replays[0].header
    rows = [(f"parameter {k}", _text(v)) for k, v in header.scenario.parameters.items()]
    rows.append(("light", _text(header.scenario.light)))
    for replay in replays:
        h = replay.header
        rows.append(
            (
                f"policy {h.policy}",
                f"weights version {h.weights_version}; {_text(dict(h.decode)) or 'no decoding'}",
            )
        )
    config = to_plain(header.sim_config)
    rig, reward = config.pop("rig"), config.pop("reward")
    rows += [
        ("simulator", _text(config)),
        ("camera", _text(rig)),
        ("reward weights", _text(reward)),
    ]
    rows.append(
        (
            "versions",
            _text({k: v for k, v in header.versions.items() if k in ("alpamayo", "python", "git")}),
        )
    )
    rows.append(("state hash at the end", header.state_hashes[-1]))
    return rows


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_text(v)}" for k, v in value.items())
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _finite(value: float) -> str:
    return f"{value:.1f} s" if math.isfinite(value) else "none"


def _rounded(values: npt.NDArray[Any], digits: int) -> Any:
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def _box(box: npt.NDArray[Any]) -> list[float] | None:
    """x, y, heading, length, width; None where the actor is absent."""
    return _rounded(box[:5], 3) if np.isfinite(box[:5]).all() else None
