"""What the cameras see: remembers the views of past decisions and keeps the images already drawn.

Past frames can always be drawn again from the remembered views, so images depend on the state
alone: not on who asked for which image before, nor on whether a world is a fork. A camera that is
frozen or drops frames shows the view of an earlier decision; what each camera *showed* is
remembered, so nothing older is ever needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alpamayo.types import BoolArray, FloatArray, IntArray, RequestError, Scenario
from sim.actors.lamps import braking, indicating, reversing
from sim.config import RigConfig, SimConfig
from sim.faults import CAMERA_KINDS, CameraFaults, camera_faults, faults_of
from sim.looks import looks_at, stand_up
from sim.roads.atlas import MapAtlas
from sim.scene import boxes_of
from sim.signals import signal_state
from sim.state import WorldState

PRESENT, BRAKING, REVERSING = 1, 2, 4
INDICATOR_SHIFT = 3  # the indicator (-1, 0, 1, 2) + 1 in the bits above
GRADE_M = 2.0  # the ground's slope under the ego is taken over this length


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
    """Past views that an observation may need: those of its frames, and what a camera that drops
    this frame showed before."""
    if config.rig is None:
        return 0
    return max(frame_gap_decisions(config) * (config.rig.frames - 1), 1)


def _flags(state: WorldState) -> IntArray:
    flags = state.present * PRESENT + braking(state) * BRAKING + reversing(state) * REVERSING
    flags = flags + ((indicating(state) + 1) << INDICATOR_SHIFT)
    return np.asarray(flags, dtype=np.int8)


def faults_now(
    state: WorldState,
    rows: IntArray,
    scenarios: Sequence[Scenario],
    config: SimConfig,
    decision: IntArray,
) -> dict[int, CameraFaults]:
    """What is wrong with the cameras of worlds ``rows`` [n] at their ``decision`` [n], by place in
    ``rows``; only worlds with a fault."""
    rig, found = config.rig, {}
    if rig is not None:
        for i, faults in enumerate(faults_of(state, rows, scenarios, config.tick_s)):
            if any(fault.kind in CAMERA_KINDS for fault in faults):
                wrong = camera_faults(
                    faults, rig, scenarios[i].seed, int(decision[i]), config.decision_s
                )
                if wrong is not None:
                    found[i] = wrong
    return found


def remember_view(
    state: WorldState, active: BoolArray, scenarios: Sequence[Scenario], config: SimConfig
) -> None:
    """Push what the cameras of the ``active`` worlds show to the front of the past views, in
    place."""
    if not state.seen_ego.shape[1]:
        return
    rows = np.flatnonzero(active)
    now = (
        np.stack([state.x, state.y, state.heading, state.decision, state.route_s], axis=-1),
        np.stack([state.ax, state.ay, state.aheading, state.base_z], axis=-1),
        _flags(state),
        signal_state(state, state.tick * config.tick_s),
    )
    everyone = np.arange(len(state))
    stale = [
        (row, c)
        for row, faults in faults_now(state, everyone, scenarios, config, state.decision).items()
        for c in np.flatnonzero(faults.decision != state.decision[row])
    ]
    past = (state.seen_ego, state.seen_boxes, state.seen_flags, state.seen_signals)
    for seen, present in zip(past, now, strict=True):
        held = [seen[row, 0, c].copy() for row, c in stale]
        seen[rows, 1:] = seen[rows, :-1]
        seen[rows, 0] = present[rows, None]
        for (row, c), old in zip(stale, held, strict=True):
            seen[row, 0, c] = old


class FrameStore:
    """Images of the newest decisions of each world, drawn when first asked for."""

    def __init__(self, count: int, rig: RigConfig, config: SimConfig, atlas: MapAtlas) -> None:
        from sim.sensors.history import FrameRing
        from sim.sensors.rig import Rig

        self.rig = Rig(rig, atlas)
        self._config, self._atlas = config, atlas
        self._cameras, gap = len(rig.cameras), frame_gap_decisions(config)
        self._ago = gap * np.arange(rig.frames - 1, -1, -1)
        self._ring = FrameRing(count, rig, gap)
        self._everyone = np.arange(count)

    def forget(self, rows: IntArray) -> None:
        """The worlds in ``rows`` were loaded anew."""
        self._ring.forget(rows)

    def advance(self, active: BoolArray) -> None:
        """The ``active`` worlds have made a decision, the others have ended."""
        self._ring.advance()
        self._ring.hold(np.flatnonzero(~active))

    def frames(
        self, state: WorldState, rows: IntArray, scenarios: Sequence[Scenario], copy: bool
    ) -> np.ndarray:
        """uint8 [n, C * F, H, W, 3]: camera by camera, oldest first; before the start the first
        image is repeated. Without ``copy``, for all worlds in their order, it is a view of the
        store, right until ``advance``."""
        ring, decision = self._ring, state.decision[rows]
        wanted = np.maximum(decision[:, None] - self._ago, 0)
        places = ring.place(self._ago)
        missing = ring.tags[rows[:, None], places] != wanted
        newest = np.flatnonzero(missing[:, -1])
        if len(newest):
            self._draw_newest(state, rows[newest], scenarios)
            ring.fill(rows[newest[decision[newest] == 0]])
            missing = ring.tags[rows[:, None], places] != wanted
        if missing.any():
            n, f = np.nonzero(missing)
            # the same image may be wanted in several places at the start: draw it once
            pairs = np.stack([rows[n], wanted[n, f]])
            _, first, again = np.unique(pairs, axis=1, return_index=True, return_inverse=True)
            row, past = pairs[:, first]
            images = self._draw(state, row, past, scenarios)
            ring.write(rows[n], self._ago[f], images[again.reshape(-1)], wanted[n, f])
        window = ring.window
        return window if not copy and np.array_equal(rows, self._everyone) else window[rows]

    def _draw_newest(
        self, state: WorldState, rows: IntArray, scenarios: Sequence[Scenario]
    ) -> None:
        """Draw the present images of worlds ``rows`` where they belong."""
        ring, decision = self._ring, state.decision[rows]
        driven = [scenarios[row] for row in rows]
        faults = faults_now(state, rows, driven, self._config, decision)
        view = self._view(state, rows, decision, 0, faults, driven)
        self.rig.draw_into(view, ring.images, rows, ring.places())
        for i, c, image in self._stale(state, rows, decision, faults, driven):
            ring.images[rows[i], ring.places()[c]] = image
        ring.tags[rows, ring.place(0)] = decision

    def _draw(
        self, state: WorldState, rows: IntArray, decision: IntArray, scenarios: Sequence[Scenario]
    ) -> np.ndarray:
        """uint8 [n, C, H, W, 3] images at the starts of ``decision`` [n] of worlds ``rows`` [n]."""
        driven = [scenarios[row] for row in rows]
        faults = faults_now(state, rows, driven, self._config, decision)
        images = self.rig.draw(self._view(state, rows, decision, 0, faults, driven))
        for i, c, image in self._stale(state, rows, decision, faults, driven):
            images[i, c] = image
        return images

    def _stale(
        self,
        state: WorldState,
        rows: IntArray,
        decision: IntArray,
        faults: dict[int, CameraFaults],
        scenarios: Sequence[Scenario],
    ) -> Iterator[tuple[int, int, np.ndarray]]:
        """(row, camera, image) where the cameras of a world do not all show the same decision: each
        needs its own view."""
        for i, wrong in faults.items():
            if (wrong.decision != wrong.decision[0]).any():
                for c in range(1, self._cameras):
                    one = rows[[i]], decision[[i]]
                    view = self._view(state, *one, c, {0: wrong}, [scenarios[i]])
                    yield i, c, self.rig.draw(view)[0, c]

    def _view(
        self,
        state: WorldState,
        rows: IntArray,
        decision: IntArray,
        camera: int,
        faults: dict[int, CameraFaults],
        scenarios: Sequence[Scenario],
    ) -> Any:
        """What ``camera`` of worlds ``rows``, in which ``scenarios`` run, shows at ``decision``, as
        the rig takes it."""
        from sim.sensors.rig_view import RigView

        config, cameras = self._config, self._cameras
        boxes: Any = boxes_of(state)[rows]
        flags = _flags(state)[rows].astype(np.int64)
        ego = np.stack([state.x, state.y, state.heading], axis=-1)[rows]
        route_s = state.route_s[rows]
        signals: Any = signal_state(state, state.tick * config.tick_s)[rows]
        time_s: Any = decision.astype(np.float64) * config.decision_s
        ago = state.decision[rows] - decision
        for i, wrong in faults.items():
            if ago[i] == 0 and wrong.decision[camera] != decision[i]:
                ago[i] = 1  # it shows what it showed before
        past = np.flatnonzero(ago > 0)
        if len(past):
            row, k = rows[past], ago[past] - 1
            boxes[past, :, :3] = state.seen_boxes[row, k, camera, :, :3]
            boxes[past, :, 6] = state.seen_boxes[row, k, camera, :, 3]
            flags[past] = state.seen_flags[row, k, camera]
            ego[past] = state.seen_ego[row, k, camera, :3]
            route_s[past] = state.seen_ego[row, k, camera, 4]
            time_s[past] = state.seen_ego[row, k, camera, 3] * config.decision_s
            signals[past] = state.seen_signals[row, k, camera]
        dead, dirty = np.zeros((len(rows), cameras), bool), np.zeros((len(rows), cameras))
        turned_deg = np.zeros((len(rows), cameras))
        dirt_seed = np.zeros((len(rows), cameras), dtype=np.int64)
        for i, wrong in faults.items():
            dead[i], dirty[i] = wrong.dead, wrong.dirt
            turned_deg[i] = np.degrees(wrong.yaw_rad)
            dirt_seed[i] = (wrong.dirt_seed >> np.uint64(1)).astype(np.int64)
        z_m, pitch_rad = self._ground(state, rows, route_s)
        looks = looks_at(state, rows, scenarios, time_s, config.tick_s)
        stand_up(boxes, state, rows, scenarios, time_s, config.tick_s)
        map_id, glare = state.map_id[rows], looks["glare"]
        sun_heading = np.zeros(len(rows))
        if glare.any():  # it stands low over where the route leads at its start
            start = self._atlas.pose(map_id, state.route[rows], state.start_s[rows], 0.0)
            sun_heading = np.asarray(start[2], dtype=np.float64)
        return RigView(
            map_id=map_id,
            ego_pose=np.concatenate([ego, z_m[:, None]], axis=1),
            ego_pitch=pitch_rad,
            boxes=boxes,
            box_valid=(flags & PRESENT) > 0,
            box_color=state.color[rows],
            box_kind=state.kind[rows],
            box_braking=(flags & BRAKING) > 0,
            box_reversing=(flags & REVERSING) > 0,
            box_indicator=(flags >> INDICATOR_SHIFT) - 1,
            signal_state=signals,
            light=looks["light"],
            fog_m=looks["fog_m"],
            rain=looks["rain"],
            snow=looks["snow"],
            glare=glare,
            sun_heading=sun_heading,
            texture_seed=state.texture_seed[rows],
            time_s=time_s,
            dead=dead,
            dirty=dirty,
            turned_deg=turned_deg,
            dirt_seed=dirt_seed,
        )

    def _ground(self, state: WorldState, rows: IntArray, s_m: FloatArray) -> tuple[Any, Any]:
        """Height of the routes of worlds ``rows`` at ``s_m`` [n], and their slope there (rad)."""
        map_id, route = state.map_id[rows], state.route[rows]
        behind = self._atlas.elevation(map_id, route, s_m - 0.5 * GRADE_M)
        ahead = self._atlas.elevation(map_id, route, s_m + 0.5 * GRADE_M)
        return 0.5 * (ahead + behind), np.arctan((ahead - behind) / GRADE_M)
