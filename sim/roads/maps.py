"""What a road is made of, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from alpamayo.types import RoadSpec

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

FAR_M = 1e3  # "not beside this path" in the lateral tables
SPACING_M = 1.0
CELL_M = 0.25
MarkingKind = Literal["solid", "dashed", "stop", "edge"]
WHITE = (235, 235, 230)
YELLOW = (230, 180, 40)


@dataclass(frozen=True)
class Marking:
    """Paint on the road along ``points`` [n, 2]."""

    points: F64
    kind: MarkingKind
    width_m: float = 0.15
    color: tuple[int, int, int] = WHITE


@dataclass(frozen=True)
class RoadMap:
    """One road. ``P`` paths, each sampled at ``N`` points ``SPACING_M`` apart from arc length 0.

    ``xy`` [P, N, 2], ``heading`` [P, N] (unwrapped), ``curvature`` [P, N], ``length_m`` [P];
    samples after the end of a path are its straight extrapolation. ``table_s``, ``table_d``,
    ``table_h`` float32 [P, P, N]: point n of path q lies at (table_s, table_d)[p, q, n] in the
    frame of path p, and its heading minus that of p there is table_h (unwrapped along n). table_d
    is ``FAR_M`` where the point is farther than 30 m beside p or beyond p's ends.
    ``left_lanes``/``right_lanes`` [P]: same-direction lanes beside each path. ``stop_s_m`` [P]: arc
    length of the stop line (inf: none). ``signal_group`` [P]: -1 none, 0 phase A, 1 phase B.
    ``sdf`` float32 [rows, cols]: signed distance of cell centres to the edge of the drivable area
    (positive inside); the centre of cell (0, 0) is ``origin_xy``.
    ``nearest`` int32 [rows', cols']: flat sample index (path * N + n) of the lane sample nearest to
    each cell centre of a half-metre grid that starts at ``origin_xy`` too.
    ``signal_heads`` [M, 4]: x, y, heading it shines towards, group.
    """

    spec: RoadSpec
    names: tuple[str, ...]
    xy: F64
    heading: F64
    curvature: F64
    length_m: F64
    table_s: F32
    table_d: F32
    table_h: F32
    left_lanes: I64
    right_lanes: I64
    stop_s_m: F64
    signal_group: I64
    sdf: F32
    nearest: npt.NDArray[np.int32]
    origin_xy: tuple[float, float]
    surfaces: tuple[F64, ...]
    markings: tuple[Marking, ...]
    signal_heads: F64
    cell_m: float = CELL_M
