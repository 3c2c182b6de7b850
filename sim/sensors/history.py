"""Past frames of many worlds, handed out without copying them.

Frames lie one after the other, camera by camera, oldest first, and an observation is a window on
them. With every decision the window moves on by one place: each camera's frames are then one
decision older, its oldest place falls to the camera before it, and that is where that camera's new
frame goes. So a new frame is all that is ever written, save that the window goes back to the start
when it has reached the end: one frame's copy per decision, on average.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim.config import RigConfig

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Ints = npt.NDArray[np.integer[Any]]
UNKNOWN = -1


class FrameRing:
    """Frames of ``count`` worlds: ``rig.frames`` per camera, ``gap`` decisions apart.

    ``images`` uint8 [count, places, H, W, 3]; ``tags`` [count, places] say which decision lies in a
    place of the first camera (``UNKNOWN``: nothing of use; the other cameras' are alike).
    """

    def __init__(self, count: int, rig: RigConfig, gap: int = 1) -> None:
        self._gap = max(gap, 1)
        self._frames, self._cameras = rig.frames, len(rig.cameras)
        # Between the frames of an observation lie those of the decisions in between.
        self._span = self._frames * self._gap if rig.frames > 1 else 1
        self._width = self._cameras * self._span
        # Without past frames the window stays where it is, and nothing is ever copied.
        places = self._width if self._span == 1 else 2 * self._width
        self.images = np.zeros((count, places, rig.height_px, rig.width_px, 3), dtype=np.uint8)
        self.tags = np.full((count, places), UNKNOWN, dtype=np.int64)
        self._start = 0

    @property
    def window(self) -> U8:
        """uint8 [count, C * F, H, W, 3]: camera by camera, oldest first. A view: right until the
        next ``advance``, changed by the frames written afterwards."""
        first = self._start + (self._gap - 1 if self._frames > 1 else 0)
        return self.images[:, first : self._start + self._width : self._gap_in_window]

    @property
    def _gap_in_window(self) -> int:
        return self._gap if self._frames > 1 else 1

    def places(self, ago: int = 0) -> I64:
        """[C] where the frame of each camera ``ago`` decisions ago lies in ``images``."""
        return self._start + self._span * np.arange(1, self._cameras + 1) - 1 - ago

    def place(self, ago: npt.ArrayLike) -> I64:
        """Where the first camera's frames of ``ago`` decisions ago, and their tags, lie."""
        return self._start + self._span - 1 - np.asarray(ago, dtype=np.int64)

    def advance(self) -> None:
        """One decision later: everything is one decision older, the newest frames are unknown."""
        if self._span == 1:
            return  # the tags tell
        if self._start + self._width == self.images.shape[1]:
            self._go_back()
        else:
            self._start += 1
        self.tags[:, self.place(0)] = UNKNOWN

    def _go_back(self) -> None:
        """Move the window, already one place on, to the start of the ring."""
        kept = slice(self._start + 1, self._start + self._width)
        # One world at a time: of all at once numpy cannot tell that nothing overlaps, and would
        # copy everything twice, by way of fresh memory.
        for images in self.images:
            images[: self._width - 1] = images[kept]
        self.tags[:, : self._width - 1] = self.tags[:, kept]
        self._start = 0

    def write(self, rows: Ints, ago: Ints, images: U8, decision: Ints) -> None:
        """Frame ``images[i]`` [C, H, W, 3] of world ``rows[i]`` is that of ``ago[i]`` decisions
        ago, made at ``decision[i]``."""
        for c in range(self._cameras):
            self.images[rows, self.place(ago) + c * self._span] = images[:, c]
        self.tags[rows, self.place(ago)] = decision

    def fill(self, rows: Ints) -> None:
        """Worlds ``rows`` begin: their newest frames have been there all the time."""
        newest = self.places()
        for ago in range(1, self._span):
            places = self.places(ago)
            self.images[rows[:, None], places] = self.images[rows[:, None], newest]
        self.tags[rows[:, None], self.place(np.arange(1, self._span))] = self.tags[
            rows, self.place(0)
        ][:, None]

    def hold(self, rows: Ints) -> None:
        """Worlds ``rows`` stood still while the others advanced: their frames are no older."""
        if self._span == 1:
            return
        first, end = self._start, self._start + self._width
        low = max(first - 1, 0)
        for rows_of in (self.images, self.tags):
            rows_of[rows, low + 1 : end] = rows_of[rows, low : end - 1]
        if first == 0:  # what was the oldest has just been given up
            self.tags[rows, 0] = UNKNOWN

    def forget(self, rows: Ints) -> None:
        """Nothing of worlds ``rows`` is of use any more."""
        self.tags[rows] = UNKNOWN
