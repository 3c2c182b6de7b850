"""A storyboard of one sampled scenario: top views at key times as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alpamayo.types import RequestError, Scenario

if TYPE_CHECKING:
    from alpamayo.replay.record import Replay

PANELS, COLUMNS = 6, 3
PANEL_PX, SCALE_PX_PER_M, GAP_PX = 400, 5.0, 6


def write_storyboard(scenario: Scenario, out: Path, policy_name: str = "constant_speed") -> None:
    """Write a PNG: ``policy_name`` drives the scenario; panels from the start to the end of the
    episode.
    """
    import cv2

    if out.suffix != ".png":
        raise RequestError(f"{out}: expected a name that ends with .png")
    image = draw_storyboard(_drive(scenario, policy_name))
    done, data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise RuntimeError("the storyboard could not be encoded as PNG")
    try:
        out.write_bytes(data.tobytes())
    except OSError as error:
        raise RequestError(f"{out}: expected a writable place ({error.strerror})") from None


def _drive(scenario: Scenario, policy_name: str) -> Replay:
    from alpamayo.evaluation.runner import EpisodeLog, run_episodes
    from alpamayo.replay.record import record_episode
    from policies.registry import load_policy
    from sim.config import SimConfig

    config = SimConfig(rig=None)
    logs: list[EpisodeLog] = []
    results = run_episodes(
        load_policy(policy_name), [scenario], config, on_replay=lambda _, log: logs.append(log)
    )
    if not logs:
        raise RequestError(
            f"{scenario.id} seed {scenario.seed}: cannot be simulated: {results[0].error}"
        )
    return record_episode(logs[0], config, policy=policy_name)


def draw_storyboard(replay: Replay) -> Any:
    """uint8 [H, W, 3] RGB."""
    import cv2

    from alpamayo.replay.topdown import TopDown

    view = TopDown(replay, PANEL_PX, SCALE_PX_PER_M)
    times = replay.columns["ego"][:, 4]
    rows = -(-PANELS // COLUMNS)
    step = PANEL_PX + GAP_PX
    board = np.full((rows * step - GAP_PX, COLUMNS * step - GAP_PX, 3), 255, np.uint8)
    for n, time_s in enumerate(np.linspace(times[0], times[-1], PANELS)):
        panel = view.draw(float(time_s))
        label = f"{replay.header.scenario.id}  {time_s:.1f} s"
        if n == PANELS - 1:
            label += f"  {replay.header.result.end}"
        cv2.putText(
            panel, label, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (20, 24, 32), 1, cv2.LINE_AA
        )
        y, x = (n // COLUMNS) * step, (n % COLUMNS) * step
        board[y : y + PANEL_PX, x : x + PANEL_PX] = panel
    return board
