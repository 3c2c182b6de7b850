"""A world of size 1 that is advanced tick by tick.

Until the episode ends, its state at every decision is that of ``WorldBatch.step`` with the same
plans; after the end only the history of poses differs, which ``step`` goes on repeating.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


class TickWorld:
    """``world``: a ``WorldBatch`` of size 1 that nobody else steps."""

    def __init__(self, world: Any) -> None:
        from sim.world import HISTORY_GAP_S

        self.world = world
        config = world.config
        self._ticks = round(config.decision_s / config.tick_s)
        self._per_pose = round(HISTORY_GAP_S / config.tick_s)

    def begin(self, action: npt.NDArray[Any]) -> float:
        """The plan ``action`` [K, 2] arrives; its latency [s] until it drives."""
        world = self.world
        world.begin(action[None])
        due = world.state.queue_due[0]
        newest = int(due[due >= 0][-1])  # oldest first, -1 in empty slots
        return (newest - int(world.state.tick[0])) * float(world.config.tick_s)

    def run(self) -> Iterator[np.ndarray]:
        """Advance to the next decision or the end; the judge's tally [1] of each tick."""
        world = self.world
        for tick in range(1, self._ticks + 1):
            if not world.running[0]:
                return
            tally = world.new_tally()
            world.run(1, tally, per_pose=1 if tick % self._per_pose == 0 else 0)
            yield tally

    def short_hash(self) -> int:
        """The first 8 bytes of the state's SHA-256."""
        return int(self.world.state_hash()[0][:16], 16)
