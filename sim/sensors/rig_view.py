"""What a rig is asked to draw: plain arrays, one row per image set."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# The boxes of all rows as kernels read them, with the cosine and sine of their headings.
Actors = namedtuple("Actors", "boxes valid kind color braking indicator reversing cos sin")


# Shape and value of what is left out.
_CALM: dict[str, tuple[str, bool | int | float]] = {
    "box_braking": ("nA", False), "box_reversing": ("nA", False), "box_indicator": ("nA", 0),
    "ego_pitch": ("n", 0.0), "light": ("n", 1.0), "fog_m": ("n", np.inf), "rain": ("n", 0.0),
    "snow": ("n", 0.0), "glare": ("n", 0.0), "sun_heading": ("n", 0.0), "time_s": ("n", 0.0),
    "dead": ("nC", False), "dirty": ("nC", 0.0), "turned_deg": ("nC", 0.0),
    "dirt_seed": ("nC", 0),
}  # fmt: skip


@dataclass(frozen=True)
class RigView:
    """``n`` views with up to ``A`` boxes each, seen by ``C`` cameras. What is left out is calm:
    clear weather, full light, whole cameras.

    ``map_id`` [n]; ``ego_pose`` [n, 4] (x, y, heading of the ego box, z of the ground there);
    ``boxes`` [n, A, 7] (x, y, heading, length, width, height, base z) with ``box_valid`` [n, A],
    ``box_color`` uint8 [n, A, 3], ``box_kind`` [n, A] (index into ``ACTOR_KINDS``),
    ``box_braking``, ``box_reversing`` [n, A] and ``box_indicator`` [n, A] (0 none, 1 left, -1
    right, 2 both). ``signal_state`` [n, 2] of groups A and B: 0 green, 1 yellow, 2 red, 3 dark, 4
    flashing yellow. ``ego_pitch`` [n] rad, uphill positive. ``light`` in (0, 1], ``fog_m`` (inf:
    none), ``rain``, ``snow``, ``glare`` in [0, 1] of a low sun near the direction ``sun_heading``,
    ``texture_seed``, ``time_s`` [n]. Of each camera [n, C]: ``dead``; ``dirty``, the share of the
    image that is blotted out; ``turned_deg``, by how much it is turned to the left of where it
    should look; ``dirt_seed`` says where the blots are.
    """

    map_id: I64
    ego_pose: F64
    boxes: F64
    box_valid: Bool
    box_color: npt.NDArray[np.uint8]
    box_kind: I64
    signal_state: I64
    texture_seed: I64
    box_braking: Bool = None  # type: ignore[assignment]
    box_reversing: Bool = None  # type: ignore[assignment]
    box_indicator: I64 = None  # type: ignore[assignment]
    ego_pitch: F64 = None  # type: ignore[assignment]
    light: F64 = None  # type: ignore[assignment]
    fog_m: F64 = None  # type: ignore[assignment]
    rain: F64 = None  # type: ignore[assignment]
    snow: F64 = None  # type: ignore[assignment]
    glare: F64 = None  # type: ignore[assignment]
    sun_heading: F64 = None  # type: ignore[assignment]
    time_s: F64 = None  # type: ignore[assignment]
    dead: Bool = None  # type: ignore[assignment]
    dirty: F64 = None  # type: ignore[assignment]
    turned_deg: F64 = None  # type: ignore[assignment]
    dirt_seed: I64 = None  # type: ignore[assignment]

    def filled(self, cameras: int) -> RigView:
        """The same with every array there, of its type and shape."""
        count = len(self.map_id)
        sizes = {"n": (count,), "nA": np.shape(self.box_valid), "nC": (count, cameras)}
        values: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name not in _CALM:
                values[name] = np.asarray(value)
                continue
            shape, calm = _CALM[name]
            dtype = np.bool_ if calm is False else np.float64 if type(calm) is float else np.int64
            # Copied: kernels are compiled anew for arrays that are read-only or not contiguous.
            given = np.asarray(calm if value is None else value).astype(dtype)
            values[name] = np.array(np.broadcast_to(given, sizes[shape]), order="C")
        return RigView(**values)

    def rows(self, rows: Any) -> RigView:
        """Some rows; of what is left out, nothing."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        some: dict[str, Any] = {
            name: None if value is None else np.asarray(value)[rows]
            for name, value in given.items()
        }
        return RigView(**some)


def joined(views: Sequence[RigView]) -> RigView:
    """Many views with equally many boxes as one. What only some leave out is calm in those."""
    values: dict[str, Any] = {}
    for name in RigView.__dataclass_fields__:
        parts = [getattr(view, name) for view in views]
        given = next((part for part in parts if part is not None), None)
        if given is not None:
            sizes = [(len(view.map_id), *np.shape(given)[1:]) for view in views]
            parts = [
                np.full(size, _CALM[name][1]) if part is None else part
                for part, size in zip(parts, sizes, strict=True)
            ]
        values[name] = None if given is None else np.concatenate(parts)
    return RigView(**values)


def actors_of(view: RigView) -> Actors:
    """For kernels; ``view`` must be ``filled``."""
    boxes = np.array(view.boxes, dtype=np.float64, order="C")
    heading = np.ascontiguousarray(boxes[..., 2])
    return Actors(
        boxes,
        np.array(view.box_valid, dtype=np.bool_, order="C"),
        np.array(view.box_kind, dtype=np.int64, order="C"),
        np.array(view.box_color, dtype=np.uint8, order="C"),
        view.box_braking,
        view.box_indicator,
        view.box_reversing,
        np.cos(heading),
        np.sin(heading),
    )
