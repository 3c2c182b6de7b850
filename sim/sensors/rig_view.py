"""What a rig is asked to draw: plain arrays, one row per image set."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

# The boxes of all rows as kernels read them, with the cosine and sine of their headings.
Actors = namedtuple("Actors", "boxes valid kind color braking indicator reversing cos sin")


def _default(shape: str, fill: float) -> Any:
    return field(default=None, metadata={"shape": shape, "fill": fill})


@dataclass(frozen=True)
class RigView:
    """``n`` views with up to ``A`` boxes each, seen by ``C`` cameras. What is left out is calm: clear
    weather, full light, whole cameras.

    ``map_id`` [n]; ``ego_pose`` [n, 4] (x, y, heading of the ego box, z of the ground there);
    ``boxes`` [n, A, 7] (x, y, heading, length, width, height, base z) with ``box_valid`` [n, A],
    ``box_color`` uint8 [n, A, 3], ``box_kind`` [n, A] (index into ``ACTOR_KINDS``), ``box_braking``,
    ``box_reversing`` [n, A] and ``box_indicator`` [n, A] (0 none, 1 left, -1 right, 2 both).
    ``signal_state`` [n, 2] of groups A and B: 0 green, 1 yellow, 2 red, 3 dark, 4 flashing yellow.
    ``ego_pitch`` [n] rad, uphill positive. ``light`` in (0, 1], ``fog_m`` (inf: none), ``rain``,
    ``snow``, ``glare`` in [0, 1], ``texture_seed``, ``time_s`` [n]. Of each camera [n, C]:
    ``dead``; ``dirty``, the share of the image that is blotted out; ``turned_deg``, by how much it
    is turned to the left of where it should look; ``dirt_seed`` says where the blots are.
    """

    map_id: I64
    ego_pose: F64
    boxes: F64
    box_valid: Bool
    box_color: npt.NDArray[np.uint8]
    box_kind: I64
    signal_state: I64
    texture_seed: I64
    box_braking: Bool = _default("nA", False)
    box_reversing: Bool = _default("nA", False)
    box_indicator: I64 = _default("nA", 0)
    ego_pitch: F64 = _default("n", 0.0)
    light: F64 = _default("n", 1.0)
    fog_m: F64 = _default("n", np.inf)
    rain: F64 = _default("n", 0.0)
    snow: F64 = _default("n", 0.0)
    glare: F64 = _default("n", 0.0)
    time_s: F64 = _default("n", 0.0)
    dead: Bool = _default("nC", False)
    dirty: F64 = _default("nC", 0.0)
    turned_deg: F64 = _default("nC", 0.0)
    dirt_seed: I64 = _default("nC", 0)

    def filled(self, cameras: int) -> RigView:
        """The same with every array there, of its type and shape."""
        types = self.__dataclass_fields__
        sizes = {"n": (len(self.map_id),), "nA": np.shape(self.box_valid)}
        sizes["nC"] = (len(self.map_id), cameras)
        values = {}
        for name, spec in types.items():
            value, meta = getattr(self, name), spec.metadata
            if not meta:
                values[name] = np.asarray(value)
                continue
            fill = meta["fill"]
            kind = np.bool_ if fill is False else np.float64 if isinstance(fill, float) else np.int64
            value = fill if value is None else value
            # Copied: kernels are compiled anew for arrays that are read-only or not contiguous.
            whole = np.broadcast_to(np.asarray(value, dtype=kind), sizes[meta["shape"]])
            values[name] = np.array(whole, order="C")
        return RigView(**values)

    def rows(self, rows: Any) -> RigView:
        """Some rows; of what is left out, nothing."""
        return RigView(
            **{
                name: None if (value := getattr(self, name)) is None else np.asarray(value)[rows]
                for name in self.__dataclass_fields__
            }
        )


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
