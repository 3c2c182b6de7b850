"""The forward camera: batched projection in numpy, then a few OpenCV fills per image.

Camera frame: X right, Y down, Z along the optical axis. A pixel's centre is at its index plus one
half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sim.config import RigConfig
from sim.roads import MapAtlas
from sim.sensors import palette
from sim.sensors.clip import clip_quads, clip_ragged
from sim.sensors.shapes import (
    END_A,
    END_B,
    HEAD_COLOR,
    LAMP_MIDDLE,
    POLE_COLOR,
    SHADOW,
    SIDE_A,
    SIDE_B,
    SLOTS,
    Boxes,
    StaticScene,
    box_quads,
    shines_at,
    static_scene,
)

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

FINE = 2  # drawn this much larger, then averaged: smooth edges and less flicker far away
NEAR_M = 0.5
PAINT_RANGE_M = 90.0
BOX_RANGE_M = 160.0
DETAIL_RANGE_M = 45.0  # windows and stripes are not drawn beyond
PITCH_SLACK = 1.2  # the pitched view is a little wider on the ground than straight ahead
_SHIFT = 4
_MAX_CANVASES = 128
_LAMP_RADIUS_M = 0.5
_MIN_LAMP_PX = (
    1.8  # a signal lamp never gets smaller than this radius, so that its colour can be read
)
SIGNAL_COLORS = np.array([[40, 255, 90], [255, 205, 30], [255, 40, 30]], dtype=np.uint8)
_MAX_STATIC = 256


@dataclass
class _Quads:
    """Drawable quads: ``pixels`` int32 [m, 5, 2] in fixed point, ``image`` [m]."""

    pixels: npt.NDArray[np.int32]
    image: I64
    index: I64  # which input quad each one was


@dataclass
class _Items:
    """What to fill, in drawing order; image i owns items ``first[i]`` to ``first[i + 1]``.

    ``radius`` 0 means that ``pixels`` is a quad [5, 2], else a disc around the point [2].
    """

    first: list[int]
    pixels: list[npt.NDArray[np.int32]]
    colors: list[list[int]]
    radius: list[int]


class Camera:
    """Draws what the ego's forward camera sees, for many worlds at once."""

    def __init__(self, rig: RigConfig, atlas: MapAtlas) -> None:
        self.rig = rig
        self.atlas = atlas
        self.focal_px = 0.5 * rig.width_px / np.tan(np.radians(0.5 * rig.hfov_deg))
        pitch = np.radians(rig.pitch_down_deg)
        self._cos_pitch, self._sin_pitch = float(np.cos(pitch)), float(np.sin(pitch))
        self._static: dict[int, StaticScene] = {}
        self._canvas = np.empty((FINE * rig.height_px, FINE * rig.width_px, 3), dtype=np.uint8)
        self._canvases: dict[bytes, U8] = {}
        # Elevation of the ray through each fine row; the horizon is where it changes sign.
        rows = (np.arange(FINE * rig.height_px) + 0.5) / FINE - 0.5 * rig.height_px
        self._row_pitch = np.arctan(-rows / self.focal_px) - pitch

    def draw(
        self,
        map_id: npt.ArrayLike,
        ego_pose: npt.ArrayLike,
        boxes: npt.ArrayLike,
        box_valid: npt.ArrayLike,
        box_color: npt.ArrayLike,
        box_kind: npt.ArrayLike,
        signal_state: npt.ArrayLike,
        light: npt.ArrayLike,
        texture_seed: npt.ArrayLike,
        box_braking: npt.ArrayLike | None = None,
    ) -> U8:
        """RGB images uint8 [n, H, W, 3]; each depends on its own row only.

        ``map_id`` [n]; ``ego_pose`` [n, 3] (x, y, heading of the ego box); ``boxes`` [n, A, 7] (x,
        y, heading, length, width, height, base z); ``box_valid``, ``box_braking`` bool [n, A];
        ``box_color`` uint8 [n, A, 3]; ``box_kind`` [n, A] index into ACTOR_KINDS; ``signal_state``
        [n, 2] (0 green, 1 yellow, 2 red) of groups A and B; ``light``, ``texture_seed`` [n].
        """
        maps = np.asarray(map_id, dtype=np.int64)
        count = len(maps)
        out = np.empty((count, self.rig.height_px, self.rig.width_px, 3), dtype=np.uint8)
        if not count:
            return out
        scenes = [self._scene(int(i)) for i in maps]
        eye = _eyes(np.asarray(ego_pose, dtype=np.float64), self.rig.mount_x_m)
        brightness = np.asarray(light, dtype=np.float64)
        look = palette.look(np.asarray(texture_seed))
        surfaces = self._surfaces(scenes, eye)
        paint = self._paint(scenes, eye)
        actors = Boxes(
            np.asarray(boxes, dtype=np.float64),
            np.asarray(box_kind, dtype=np.int64),
            np.asarray(box_color),
            np.zeros(np.shape(box_valid), bool) if box_braking is None else np.asarray(box_braking),
        )
        shown = self._gather(scenes, eye, actors, np.asarray(box_valid, dtype=bool))
        objects = self._objects(scenes, shown, np.asarray(signal_state), brightness)
        columns, asphalt = self._backgrounds(look, brightness)
        self._fill(out, columns, asphalt, surfaces, paint, objects, brightness)
        return out

    def _scene(self, map_id: int) -> StaticScene:
        scene = self._static.get(map_id)
        if scene is None:
            if len(self._static) >= _MAX_STATIC:
                self._static.pop(next(iter(self._static)))
            scene = self._static[map_id] = static_scene(self.atlas.map(map_id))
        return scene

    # ---- projection --------------------------------------------------------------------

    def _view(self, eye: F64, x: F64, y: F64, z: F64 | float) -> F64:
        """Camera coordinates [..., 3] of world points; ``eye`` [..., 4] broadcasts against them."""
        dx, dy = x - eye[..., 0], y - eye[..., 1]
        ahead = eye[..., 2] * dx + eye[..., 3] * dy
        up = z - self.rig.mount_height_m
        view = np.empty((*np.shape(ahead), 3))
        view[..., 0] = eye[..., 3] * dx - eye[..., 2] * dy
        view[..., 1] = -(ahead * self._sin_pitch + up * self._cos_pitch)
        view[..., 2] = ahead * self._cos_pitch - up * self._sin_pitch
        return view

    def _pixels(self, view: F64) -> npt.NDArray[np.int32]:
        """Fixed-point fine pixel coordinates [..., 2] of points in front of the camera."""
        scale = self.focal_px / view[..., 2:]
        middle = np.array([0.5 * self.rig.width_px, 0.5 * self.rig.height_px])
        pixels = (view[..., :2] * scale + middle) * FINE - 0.5
        return np.rint(np.clip(pixels, -30000.0, 30000.0) * (1 << _SHIFT)).astype(np.int32)

    def _quads(self, view: F64, image: I64, index: I64) -> _Quads:
        """Clip quads [m, 4, 3] at the near plane, project them, drop those outside the picture."""
        z = view[..., 2]
        slope = 1.02 * 0.5 * self.rig.width_px / self.focal_px
        x = view[..., 0]
        seen = (z >= NEAR_M).any(-1) & (x < slope * z).any(-1) & (x > -slope * z).any(-1)
        # Quads that reach behind the camera may enter the picture although no corner is in the
        # wedge.
        seen |= (z >= NEAR_M).any(-1) & (z < NEAR_M).any(-1)
        view, image, index = view[seen], image[seen], index[seen]
        clipped = view[:, [0, 1, 2, 3, 3]]
        crossing = np.flatnonzero((view[..., 2] < NEAR_M).any(-1))
        if len(crossing):
            clipped[crossing] = clip_quads(view[crossing], NEAR_M)
        pixels = self._pixels(clipped)
        low, high = pixels.min(axis=1), pixels.max(axis=1)
        limit = np.array([self.rig.width_px, self.rig.height_px]) * (FINE << _SHIFT)
        keep = ((high >= 0) & (low <= limit)).all(-1)
        return _Quads(pixels[keep], image[keep], index[keep])

    # ---- ground ------------------------------------------------------------------------

    def _surfaces(self, scenes: list[StaticScene], eye: F64) -> list[list[npt.NDArray[np.int32]]]:
        """Per image the drivable area's polygons, clipped to a wedge in front of the camera."""
        sizes = np.concatenate([s.surface_sizes for s in scenes])
        per_scene = np.array([len(s.surface_sizes) for s in scenes])
        corners_per_scene = np.array([len(s.surface_xy) for s in scenes])
        xy = np.concatenate([s.surface_xy for s in scenes])
        at = np.repeat(eye, corners_per_scene, axis=0)
        view = self._view(at, xy[:, 0], xy[:, 1], 0.0)
        # Lateral planes keep the pixel coordinates small, well outside the picture.
        for plane in ((0.0, 1.0, NEAR_M), (1.0, 4.0, 0.0), (-1.0, 4.0, 0.0)):
            view, sizes = clip_ragged(view, sizes, plane)
        parts = np.split(self._pixels(view), np.cumsum(sizes)[:-1])
        image = np.repeat(np.arange(len(scenes)), per_scene)
        result: list[list[npt.NDArray[np.int32]]] = [[] for _ in scenes]
        for i, part in zip(image.tolist(), parts, strict=True):
            if len(part) >= 3:
                result[i].append(part)
        return result

    def _paint(
        self, scenes: list[StaticScene], eye: F64
    ) -> list[list[tuple[tuple[int, int, int], npt.NDArray[np.int32]]]]:
        """Per image: (colour, quads [m, 5, 2]) for every colour of paint."""
        counts = np.array([len(s.paint) for s in scenes])
        xy = np.concatenate([s.paint for s in scenes])
        color = np.concatenate([s.paint_color for s in scenes])
        image = np.repeat(np.arange(len(scenes)), counts)
        at = eye[image]
        ahead = at[:, 2] * (xy[:, 0, 0] - at[:, 0]) + at[:, 3] * (xy[:, 0, 1] - at[:, 1])
        near = np.flatnonzero((ahead > -15.0) & (ahead < PAINT_RANGE_M))
        image = image[near]
        view = self._view(eye[image][:, None], xy[near, :, 0], xy[near, :, 1], 0.0)
        quads = self._quads(view, image, near)
        color = color[quads.index]
        result: list[list[tuple[tuple[int, int, int], npt.NDArray[np.int32]]]] = []
        first = np.searchsorted(quads.image, np.arange(len(scenes) + 1))
        for i, scene in enumerate(scenes):
            pixels = quads.pixels[first[i] : first[i + 1]]
            kind = color[first[i] : first[i + 1]]
            result.append([(rgb, pixels[kind == c]) for c, rgb in enumerate(scene.colors)])
        return result

    # ---- boxes -------------------------------------------------------------------------

    def _gather(self, scenes: list[StaticScene], eye: F64, actors: Boxes, valid: Bool) -> Boxes:
        """The valid boxes of actors and the fixed ones of maps that may show, in one list."""
        image, slot = np.nonzero(valid)
        post = np.repeat(np.arange(len(scenes)), [len(s.fixed) for s in scenes])
        count, posts = len(image), len(post)
        group = np.concatenate([np.full(count, -1), *(s.fixed_group for s in scenes)])
        beyond = np.concatenate([np.full(count, -np.inf), *(s.fixed_beyond_m for s in scenes)])
        box = np.concatenate([actors.box[image, slot], *(s.fixed for s in scenes)])
        kind = np.concatenate([actors.kind[image, slot], *(s.fixed_kind for s in scenes)])
        poles = np.full((posts, 3), POLE_COLOR, dtype=actors.color.dtype)
        color = np.concatenate([actors.color[image, slot], poles])
        braking = np.concatenate([actors.braking[image, slot], np.zeros(posts, dtype=bool)])
        image = np.concatenate([image, post])
        at = eye[image]
        kept = np.flatnonzero(self._within_view(at, box) & shines_at(at, box, beyond))
        return Boxes(
            box[kept], kind[kept], color[kept], braking[kept], image[kept], group[kept], at[kept]
        )

    def _objects(
        self, scenes: list[StaticScene], boxes: Boxes, signal: npt.NDArray[Any], light: F64
    ) -> _Items:
        """Everything that stands on the road, sorted by image and from far to near."""
        box, at = boxes.box, boxes.at
        cos, sin = np.cos(box[:, 2]), np.sin(box[:, 2])
        dx, dy = at[:, 0] - box[:, 0], at[:, 1] - box[:, 1]
        mount = np.full(len(dx), self.rig.mount_height_m)
        seat = np.stack([cos * dx + sin * dy, cos * dy - sin * dx, mount], axis=-1)
        corners, show, end = box_quads(box, boxes.kind, seat)
        # Order by the nearest point of each box, not its middle: long boxes overlap otherwise.
        gap = np.maximum(np.abs(seat[:, :2]) - 0.5 * box[:, 3:5], 0.0)
        distance = np.sqrt(gap[:, 0] ** 2 + gap[:, 1] ** 2)
        show[:, [SIDE_A, SIDE_B, END_A, END_B, SHADOW]] &= (distance < DETAIL_RANGE_M)[:, None]
        show[:, LAMP_MIDDLE] &= boxes.braking
        rgb = palette.box_colors(
            boxes.kind, boxes.color, boxes.braking, end, box[:, 2], light[boxes.image]
        )
        owner, which = np.nonzero(show)
        local = corners[owner, which]
        c, s = cos[owner][:, None], sin[owner][:, None]
        x = box[owner, 0][:, None] + c * local[..., 0] - s * local[..., 1]
        y = box[owner, 1][:, None] + s * local[..., 0] + c * local[..., 1]
        view = self._view(at[owner][:, None], x, y, local[..., 2])
        quads = self._quads(view, boxes.image[owner], np.arange(len(owner)))
        owner, which = owner[quads.index], which[quads.index]
        lit, centre, radius, glow = self._lamps(boxes, end, signal)
        # A head's lamp comes after its quads.
        item_image = np.concatenate([quads.image, boxes.image[lit]])
        item_owner = np.concatenate([owner, lit])
        item_slot = np.concatenate([which, np.full(len(lit), SLOTS)])
        order = np.lexsort((item_slot, item_owner, -distance[item_owner], item_image))
        first = np.searchsorted(item_image[order], np.arange(len(scenes) + 1))
        pixels = [*quads.pixels, *centre]
        radii = np.concatenate([np.zeros(len(owner), dtype=np.int64), radius])
        return _Items(
            first.tolist(),
            [pixels[i] for i in order.tolist()],
            np.concatenate([rgb[owner, which], glow])[order].tolist(),
            radii[order].tolist(),
        )

    def _within_view(self, at: F64, box: F64) -> Bool:
        """Which boxes may show in the picture: range and the horizontal angle of view."""
        dx, dy = box[:, 0] - at[:, 0], box[:, 1] - at[:, 1]
        ahead = at[:, 2] * dx + at[:, 3] * dy
        beside = np.abs(at[:, 2] * dy - at[:, 3] * dx)
        reach = 0.5 * (box[:, 3] + box[:, 4]) + 0.3
        slope = 0.5 * self.rig.width_px / self.focal_px
        return (
            (ahead > -reach)
            & (ahead < BOX_RANGE_M)
            & (beside < reach + slope * np.maximum(ahead + reach, 0.0) * PITCH_SLACK)
        )

    def _lamps(
        self, boxes: Boxes, end: I64, signal: npt.NDArray[Any]
    ) -> tuple[I64, npt.NDArray[np.int32], I64, U8]:
        """The lit lamp of every head seen from the front: owner, centre, radius, colour."""
        lit = np.flatnonzero((boxes.group >= 0) & (end == 2))
        box, at = boxes.box, boxes.at
        forward = 0.5 * box[lit, 3]
        x = box[lit, 0] + np.cos(box[lit, 2]) * forward
        y = box[lit, 1] + np.sin(box[lit, 2]) * forward
        view = self._view(at[lit], x, y, box[lit, 6] + 0.5 * box[lit, 5])
        front = view[:, 2] > NEAR_M
        lit, view = lit[front], view[front]
        size = np.maximum(self.focal_px * _LAMP_RADIUS_M / view[:, 2], _MIN_LAMP_PX)
        radius = np.rint(size * FINE * (1 << _SHIFT)).astype(np.int64)
        return (
            lit,
            self._pixels(view),
            radius,
            SIGNAL_COLORS[signal[boxes.image[lit], boxes.group[lit]]],
        )

    # ---- drawing -----------------------------------------------------------------------

    def _backgrounds(self, look: tuple[I64, ...], light: F64) -> tuple[U8, list[Any]]:
        """Sky and ground as columns [n, fine rows, 1, 3] and the asphalt colour per image."""
        sky, ground, asphalt = (
            palette.SKIES[look[0]],
            palette.GROUNDS[look[1]],
            palette.ASPHALT[look[2]],
        )
        rise = np.clip(self._row_pitch / np.radians(14.0), 0.0, 1.0)[None, :, None]
        above = sky[:, None] * (1.0 - 0.25 * rise) + 60.0 * (1.0 - rise) * 0.5
        # Ground pales towards the horizon.
        haze = np.clip(1.0 + self._row_pitch / np.radians(6.0), 0.0, 1.0)[None, :, None] * 0.25
        below = ground[:, None] * (1.0 - haze) + 150.0 * haze
        column = np.where((self._row_pitch > 0.0)[None, :, None], above, below)
        column = np.rint(np.minimum(column * light[:, None, None], 255.0)).astype(np.uint8)
        gray = np.rint(asphalt * light).astype(np.int64)
        tone = np.stack([gray, gray, np.rint(1.04 * gray).astype(np.int64)], axis=-1)
        return np.ascontiguousarray(column[:, :, None]), tone.tolist()

    def _background(self, column: U8) -> U8:
        """A canvas of sky and ground; kept, because the same ones come again and again."""
        key = column.tobytes()
        canvas = self._canvases.get(key)
        if canvas is None:
            if len(self._canvases) >= _MAX_CANVASES:
                self._canvases.pop(next(iter(self._canvases)))
            canvas = self._canvases[key] = np.repeat(column, self._canvas.shape[1], axis=1)
        return canvas

    def _fill(
        self, out: U8, columns: U8, asphalt: list[Any], surfaces: Any, paint: Any, objects: _Items,
        light: F64,
    ) -> None:  # fmt: skip
        """Draw every image on the fine canvas and average it down."""
        canvas = self._canvas
        size = (self.rig.width_px, self.rig.height_px)
        first, pixels = objects.first, objects.pixels
        colors, radius = objects.colors, objects.radius
        for i, bright in enumerate(light.tolist()):
            np.copyto(canvas, self._background(columns[i]))
            for polygon in surfaces[i]:
                cv2.fillPoly(canvas, [polygon], asphalt[i], cv2.LINE_8, _SHIFT)
            for rgb, quads in paint[i]:
                if len(quads):
                    tone = [round(bright * c) for c in rgb]
                    cv2.fillPoly(canvas, list(quads), tone, cv2.LINE_8, _SHIFT)
            for k in range(first[i], first[i + 1]):
                if radius[k]:
                    centre = pixels[k].tolist()
                    cv2.circle(
                        canvas, centre, int(1.4 * radius[k]), HEAD_COLOR, -1, cv2.LINE_8, _SHIFT
                    )
                    cv2.circle(canvas, centre, radius[k], colors[k], -1, cv2.LINE_8, _SHIFT)
                else:
                    cv2.fillConvexPoly(canvas, pixels[k], colors[k], cv2.LINE_8, _SHIFT)
            cv2.resize(canvas, size, dst=out[i], interpolation=cv2.INTER_AREA)


def _eyes(pose: F64, mount_x_m: float) -> F64:
    """Camera position and heading as [n, 4]: x, y, cos, sin."""
    heading = np.ascontiguousarray(pose[:, 2])
    cos, sin = np.cos(heading), np.sin(heading)
    return np.stack([pose[:, 0] + mount_x_m * cos, pose[:, 1] + mount_x_m * sin, cos, sin], axis=-1)
