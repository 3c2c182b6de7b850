"""What the camera draws: paint cut into quads, and boxes with windows, lamps and stripes.

Everything that does not depend on the ego's pose is prepared here once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from alpamayo.types import ACTOR_KINDS
from sim.roads.maps import Marking, RoadMap

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

DASH_M, GAP_M = 3.0, 6.0
PIECE_M = 12.0
HEAD_KIND, POLE_KIND = len(ACTOR_KINDS), len(ACTOR_KINDS) + 1
KINDS = len(ACTOR_KINDS) + 2
# Length (along the direction it shines), width, height and base of a signal head; its pole reaches
# up to it.
HEAD_SIZE_M = (0.4, 1.3, 1.5)
HEAD_BASE_M = 2.7
HEAD_COLOR = (25, 25, 25)
PAST_STOP_M = 1.0  # how far past the stop line a camera still sees the light
POLE_WIDTH_M = 0.22
POLE_COLOR = (90, 90, 90)

# Quads of a box, in drawing order.
SHADOW, SIDE, SIDE_A, SIDE_B, END, END_A, END_B, LAMP_LEFT, LAMP_RIGHT, LAMP_MIDDLE, TOP = range(11)
SLOTS = 11

_GLASS, _TYRE, _SKIN, _PALE = (38, 46, 58), (22, 22, 24), (226, 178, 148), (235, 235, 230)
_TROUSERS = (34, 36, 66)
# kind -> face -> up to two rectangles (from, to across the face; from, to of the height; colour).
# Across runs from the rear to the front on sides, from right to left on ends; fractions of the
# face.
_Patch = tuple[float, float, float, float, tuple[int, int, int]]
_PATCHES: dict[str, dict[str, list[_Patch]]] = {
    "car": {
        "side": [(0.18, 0.84, 0.56, 0.93, _GLASS), (0.0, 1.0, 0.0, 0.16, _TYRE)],
        "rear": [(0.12, 0.88, 0.6, 0.93, _GLASS), (0.0, 1.0, 0.0, 0.16, _TYRE)],
        "front": [(0.06, 0.94, 0.56, 0.95, _GLASS), (0.0, 1.0, 0.0, 0.16, _TYRE)],
    },
    "van": {
        "side": [(0.55, 0.97, 0.52, 0.85, _GLASS), (0.0, 1.0, 0.0, 0.12, _TYRE)],
        "rear": [(0.14, 0.86, 0.6, 0.86, _GLASS), (0.0, 1.0, 0.0, 0.12, _TYRE)],
        "front": [(0.05, 0.95, 0.5, 0.88, _GLASS), (0.0, 1.0, 0.0, 0.12, _TYRE)],
    },
    "truck": {
        "side": [(0.84, 0.98, 0.45, 0.72, _GLASS), (0.0, 1.0, 0.0, 0.18, _TYRE)],
        "rear": [(0.49, 0.51, 0.2, 0.97, _TYRE), (0.0, 1.0, 0.0, 0.1, _TYRE)],
        "front": [(0.06, 0.94, 0.45, 0.72, _GLASS), (0.0, 1.0, 0.0, 0.12, _TYRE)],
    },
    "motorcycle": {
        "side": [(0.0, 1.0, 0.0, 0.4, _TYRE), (0.35, 0.6, 0.82, 1.0, _PALE)],
        "rear": [(0.0, 1.0, 0.0, 0.4, _TYRE), (0.25, 0.75, 0.82, 1.0, _PALE)],
        "front": [(0.0, 1.0, 0.0, 0.4, _TYRE), (0.25, 0.75, 0.82, 1.0, _PALE)],
    },
    "cyclist": {
        "side": [(0.0, 1.0, 0.0, 0.4, _TYRE), (0.4, 0.65, 0.85, 1.0, _SKIN)],
        "rear": [(0.0, 1.0, 0.0, 0.4, _TYRE), (0.25, 0.75, 0.85, 1.0, _SKIN)],
        "front": [(0.0, 1.0, 0.0, 0.4, _TYRE), (0.25, 0.75, 0.85, 1.0, _SKIN)],
    },
    "pedestrian": {
        face: [(0.0, 1.0, 0.0, 0.46, _TROUSERS), (0.0, 1.0, 0.84, 1.0, _SKIN)]
        for face in ("side", "rear", "front")
    },
    "cone": {face: [(0.0, 1.0, 0.45, 0.72, _PALE)] for face in ("side", "rear", "front")},
    "barrier": {face: [(0.0, 1.0, 0.36, 0.66, _PALE)] for face in ("side", "rear", "front")},
}
# kind -> (across, height) ranges of the right lamp; the left one mirrors it. Motor vehicles only.
_LAMPS = {
    "car": (0.03, 0.27, 0.36, 0.56),
    "van": (0.03, 0.22, 0.26, 0.42),
    "truck": (0.03, 0.2, 0.14, 0.32),
    "motorcycle": (0.2, 0.8, 0.42, 0.6),
}
_MIDDLE_LAMP = {"car": (0.3, 0.7, 0.93, 1.0), "van": (0.3, 0.7, 0.88, 0.96)}
LAMP_DARK, LAMP_BRAKE, LAMP_FRONT = (105, 12, 16), (255, 36, 28), (255, 250, 222)


def _tables() -> tuple[F64, npt.NDArray[np.uint8]]:
    """Rectangles [KINDS, 3 faces (side, rear, front), 5, 4] and patch colours [KINDS, 3, 2, 3].

    The five rectangles: two patches, left, right and middle lamp. Empty ones are all zero.
    """
    rect = np.zeros((KINDS, 3, 5, 4))
    color = np.zeros((KINDS, 3, 2, 3), dtype=np.uint8)
    for k, kind in enumerate(ACTOR_KINDS):
        for face, name in enumerate(("side", "rear", "front")):
            for i, patch in enumerate(_PATCHES.get(kind, {}).get(name, [])):
                rect[k, face, i] = patch[:4]
                color[k, face, i] = patch[4]
            if kind in _LAMPS and name != "side":
                low, high, bottom, top = _LAMPS[kind]
                rect[k, face, 3] = low, high, bottom, top
                rect[k, face, 2] = 1.0 - high, 1.0 - low, bottom, top
        if kind in _MIDDLE_LAMP:
            rect[k, 1, 4] = _MIDDLE_LAMP[kind]
    return rect, color


PATCH_RECT, PATCH_COLOR = _tables()


@dataclass(frozen=True)
class StaticScene:
    """The fixed part of a map.

    ``paint`` [Q, 4, 2] quads with ``paint_color`` [Q] (index into ``colors``); surface corners [V,
    2] with ``surface_sizes`` [S]; ``fixed`` [M, 7] boxes (heads, then poles) with their kind, group
    (-1: a pole) and how far in front of them the approach ends that they are meant for.
    """

    paint: F64
    paint_color: I64
    colors: tuple[tuple[int, int, int], ...]
    surface_xy: F64
    surface_sizes: I64
    fixed: F64
    fixed_kind: I64
    fixed_group: I64
    fixed_beyond_m: F64


def static_scene(road: RoadMap) -> StaticScene:
    """Prepare a map for drawing."""
    quads, color_of, colors = [], [], []
    for marking in road.markings:
        if marking.color not in colors:
            colors.append(marking.color)
        pieces = _paint_quads(marking)
        quads.append(pieces)
        color_of.append(np.full(len(pieces), colors.index(marking.color), dtype=np.int64))
    fixed, kinds, groups = _fixed_boxes(road.signal_heads)
    beyond = np.tile(_approach_ends(road), 2)
    return StaticScene(
        np.concatenate(quads),
        np.concatenate(color_of),
        tuple(colors),
        np.concatenate(road.surfaces),
        np.array([len(s) for s in road.surfaces], dtype=np.int64),
        fixed,
        kinds,
        groups,
        beyond,
    )


def _paint_quads(marking: Marking) -> F64:
    """Quads [q, 4, 2] along a marking; dashes are left out in between."""
    points = marking.points
    steps = np.hypot(*np.diff(points, axis=0).T)
    s = np.concatenate([[0.0], np.cumsum(steps)])
    if marking.kind == "dashed":
        start = np.arange(0.0, s[-1] - 0.5, DASH_M + GAP_M)
        ends = np.stack([start, np.minimum(start + DASH_M, s[-1])], axis=1)
    else:
        pieces = max(1, int(np.ceil(s[-1] / PIECE_M)))
        # Keep the corners of bent lines; cut straight ones into pieces.
        cuts = s if len(s) > 2 else np.linspace(0.0, s[-1], pieces + 1)
        ends = np.stack([cuts[:-1], cuts[1:]], axis=1)
    xy = np.stack([np.interp(ends, s, points[:, i]) for i in (0, 1)], axis=-1)
    along = xy[:, 1] - xy[:, 0]
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    side = 0.5 * marking.width_m * np.stack([-along[:, 1], along[:, 0]], axis=-1)
    return np.stack([xy[:, 0] - side, xy[:, 1] - side, xy[:, 1] + side, xy[:, 0] + side], axis=1)


def _fixed_boxes(heads: F64) -> tuple[F64, I64, I64]:
    """Boxes [2 M, 7] of heads, then of poles, with their kinds and groups."""
    count = len(heads)
    boxes = np.zeros((2 * count, 7))
    boxes[:count, :3] = heads[:, :3]
    boxes[:count, 3:] = (*HEAD_SIZE_M, HEAD_BASE_M)
    boxes[count:, :3] = heads[:, :3]
    boxes[count:, 3:] = (POLE_WIDTH_M, POLE_WIDTH_M, HEAD_BASE_M, 0.0)
    kinds = np.repeat([HEAD_KIND, POLE_KIND], count).astype(np.int64)
    groups = np.concatenate([heads[:, 3].astype(np.int64), np.full(count, -1, dtype=np.int64)])
    return boxes, kinds, groups


def _approach_ends(road: RoadMap) -> F64:
    """How far from each head [M], the way it shines, the approach ends that it is meant for."""
    stops = np.array([m.points.mean(axis=0) for m in road.markings if m.kind == "stop"])
    ends = np.empty(len(road.signal_heads))
    for i, (x, y, facing, _) in enumerate(road.signal_heads):
        dx, dy = stops[:, 0] - x, stops[:, 1] - y
        ahead = np.cos(facing) * dx + np.sin(facing) * dy
        beside = np.abs(np.cos(facing) * dy - np.sin(facing) * dx)
        ends[i] = ahead[np.argmin(np.where(ahead > -5.0, beside, np.inf))] - PAST_STOP_M
    return ends


@dataclass
class Boxes:
    """Boxes to draw: of actors [n, A, ...] as given, or gathered [m, ...] with their image.

    ``group`` is the signal group of a head (-1: none); ``at`` [m, 4] the camera that sees the box.
    """

    box: F64
    kind: I64
    color: npt.NDArray[Any]
    braking: Bool
    image: I64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    group: I64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    at: F64 = field(default_factory=lambda: np.empty((0, 4)))


def shines_at(at: F64, box: F64, beyond_m: F64) -> Bool:
    """Which boxes are meant for the camera: signal heads (and poles) only from their own approach.

    ``beyond_m`` is how far in front of a head its approach ends (-inf: no head). Past the stop
    line, and from the other arms, a light has nothing to say and would mislead.
    """
    dx, dy = at[:, 0] - box[:, 0], at[:, 1] - box[:, 1]
    cos, sin = np.cos(box[:, 2]), np.sin(box[:, 2])
    ahead, beside = cos * dx + sin * dy, np.abs(cos * dy - sin * dx)
    against = at[:, 2] * cos + at[:, 3] * sin < -0.5
    return np.isneginf(beyond_m) | ((ahead > beyond_m) & (ahead > beside) & against)


def box_quads(boxes: F64, kinds: I64, eye: F64) -> tuple[F64, Bool, I64]:
    """Visible rectangles of boxes as seen from ``eye``.

    ``boxes`` [m, 7]; ``eye`` [m, 3]: the camera in the frame of each box (its middle, on the
    world's z = 0). Returns corners [m, SLOTS, 4, 3] in that frame, which of them to draw
    [m, SLOTS], and the end seen [m] (1 rear, 2 front, 0 neither).
    """
    count = len(boxes)
    half_length, half_width = 0.5 * boxes[:, 3], 0.5 * boxes[:, 4]
    height, base = boxes[:, 5], boxes[:, 6]
    end = np.where(eye[:, 0] < -half_length, 1, np.where(eye[:, 0] > half_length, 2, 0))
    side = np.where(eye[:, 1] > half_width, 1.0, np.where(eye[:, 1] < -half_width, -1.0, 0.0))
    # Rectangles (across from, to; up from, to) of the side slots and of the end slots, in
    # fractions.
    across = np.zeros((count, SLOTS, 4))
    across[:, SIDE] = across[:, END] = (0.0, 1.0, 0.0, 1.0)
    across[:, SIDE_A : SIDE_B + 1] = PATCH_RECT[kinds, 0, :2]
    across[:, END_A : LAMP_MIDDLE + 1] = PATCH_RECT[kinds, end]
    show = across[..., 1] > across[..., 0]
    show[:, SIDE : SIDE_B + 1] &= (side != 0.0)[:, None]
    show[:, END : LAMP_MIDDLE + 1] &= (end != 0)[:, None]
    u = across[:, :, [0, 1, 1, 0]] - 0.5
    corners = np.empty((count, SLOTS, 4, 3))
    corners[..., 2] = base[:, None, None] + across[:, :, [2, 2, 3, 3]] * height[:, None, None]
    sides, ends = slice(SIDE, SIDE_B + 1), slice(END, LAMP_MIDDLE + 1)
    corners[:, sides, :, 0] = u[:, sides] * boxes[:, 3][:, None, None]
    corners[:, sides, :, 1] = (side * half_width)[:, None, None]
    corners[:, ends, :, 0] = ((2 * end - 3) * half_length)[:, None, None]
    corners[:, ends, :, 1] = u[:, ends] * boxes[:, 4][:, None, None]
    flat = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    half = np.stack([half_length, half_width], axis=-1)[:, None]
    corners[:, TOP, :, :2] = flat * half
    corners[:, TOP, :, 2] = (base + height)[:, None]
    corners[:, SHADOW, :, :2] = flat * (half + 0.15)
    corners[:, SHADOW, :, 2] = 0.0
    show[:, TOP] = eye[:, 2] > base + height
    show[:, SHADOW] = (kinds != HEAD_KIND) & (kinds != POLE_KIND)
    return corners, show, end
