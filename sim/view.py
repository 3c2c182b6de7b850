"""What the camera sees: remembers the view of past decisions and keeps the images already drawn.

Past frames can always be drawn again from the remembered views, so images depend on the state
alone: not on who asked for which image before, nor on whether a world is a fork.
"""

from __future__ import annotations

import numpy as np

from alpamayo.types import BoolArray, IntArray, RequestError
from sim.actors.motion import braking
from sim.config import RigConfig, SimConfig
from sim.roads.atlas import MapAtlas
from sim.scene import boxes_of
from sim.signals import signal_state
from sim.state import WorldState

_PRESENT, _BRAKING = 1, 2


def frame_gap_decisions(config: SimConfig) -> int:
    """Decisions between two frames of an observation (0 without a rig)."""
    if config.rig is None or config.rig.frames < 2:
        return 0
    gap = round(config.rig.frame_gap_s / config.decision_s)
    if gap < 1 or abs(gap * config.decision_s - config.rig.frame_gap_s) > 1e-6:
        raise RequestError(
            f"sim config: rig.frame_gap_s: expected a multiple of decision_s={config.decision_s}, "
            f"got {config.rig.frame_gap_s}"
        )
    return gap


def views_kept(config: SimConfig) -> int:
    """Past views that an observation may need."""
    return frame_gap_decisions(config) * (config.rig.frames - 1 if config.rig else 0)


def _flags(state: WorldState) -> IntArray:
    return (state.present * _PRESENT + braking(state) * _BRAKING).astype(np.int8)


def remember_view(state: WorldState, active: BoolArray, tick_s: float) -> None:
    """Push the present view of the ``active`` worlds to the front of the past ones, in place."""
    if not state.seen_ego.shape[1]:
        return
    rows = np.flatnonzero(active)
    boxes = np.stack([state.ax, state.ay, state.aheading], axis=-1)
    ego = np.stack([state.x, state.y, state.heading], axis=-1)
    signals = signal_state(state, state.tick * tick_s)
    for past, now in (
        (state.seen_ego, ego),
        (state.seen_boxes, boxes),
        (state.seen_flags, _flags(state)),
        (state.seen_signals, signals),
    ):
        past[rows, 1:] = past[rows, :-1]
        past[rows, 0] = now[rows]


class FrameStore:
    """Images of the newest decisions of each world, drawn when first asked for."""

    def __init__(self, count: int, rig: RigConfig, config: SimConfig, atlas: MapAtlas) -> None:
        from sim.sensors.camera import Camera

        self.camera = Camera(rig, atlas)
        self._rig, self._tick_s = rig, config.tick_s
        self._gap = frame_gap_decisions(config)
        kept = views_kept(config) + 1
        self._images = np.zeros((count, kept, rig.height_px, rig.width_px, 3), dtype=np.uint8)
        self._decision = np.full((count, kept), -1)

    def forget(self, rows: IntArray) -> None:
        """The worlds in ``rows`` were loaded anew."""
        self._decision[rows] = -1

    def frames(self, state: WorldState, rows: IntArray) -> np.ndarray:
        """uint8 [n, F, H, W, 3], oldest first; before the start the first image is repeated."""
        ago = self._gap * np.arange(self._rig.frames - 1, -1, -1)
        wanted = np.maximum(state.decision[rows][:, None] - ago, 0)
        slot = wanted % self._decision.shape[1]
        missing = self._decision[rows[:, None], slot] != wanted
        if missing.any():
            n, f = np.nonzero(missing)
            # the same image may be wanted twice at the start: draw it once
            _, first = np.unique(np.stack([rows[n], wanted[n, f]]), axis=1, return_index=True)
            n, f = n[first], f[first]
            images = self._draw(state, rows[n], wanted[n, f])
            self._images[rows[n], slot[n, f]] = images
            self._decision[rows[n], slot[n, f]] = wanted[n, f]
        return self._images[rows[:, None], slot]

    def _draw(self, state: WorldState, rows: IntArray, decision: IntArray) -> np.ndarray:
        """uint8 [n, H, W, 3] images at the starts of ``decision`` [n] of worlds ``rows`` [n]."""
        boxes = boxes_of(state)[rows]
        flags = _flags(state)[rows]
        ego = np.stack([state.x, state.y, state.heading], axis=-1)[rows]
        signals = signal_state(state, state.tick * self._tick_s)[rows]
        ago = state.decision[rows] - decision
        past = np.flatnonzero(ago > 0)
        if len(past):
            row, k = rows[past], ago[past] - 1
            boxes[past, :, :3] = state.seen_boxes[row, k]
            flags[past], ego[past] = state.seen_flags[row, k], state.seen_ego[row, k]
            signals[past] = state.seen_signals[row, k]
        return self.camera.draw(
            map_id=state.map_id[rows],
            ego_pose=ego,
            boxes=boxes,
            box_valid=(flags & _PRESENT) > 0,
            box_color=state.color[rows],
            box_kind=state.kind[rows],
            signal_state=signals,
            light=state.light[rows],
            texture_seed=state.texture_seed[rows],
            box_braking=(flags & _BRAKING) > 0,
        )
