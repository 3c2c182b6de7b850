"""Background traffic begins at speeds that go with what is ahead of it."""

from __future__ import annotations

from typing import Any

from sim import signals
from sim.actors.bodies import gather, note_speeds
from sim.actors.traffic import wish
from sim.kernels import kernel
from sim.state import IDM

ROUNDS = 40
KEPT, LESS_MPS = 0.9, 0.3  # of its speed, each time someone proves too fast


@kernel
def calm(worlds: Any, actors: Any, row: int, first: int, maps: Any, bodies: Any) -> None:
    """Slow down the background vehicles of world ``row`` in slots from ``first`` on until nobody
    would begin by braking harder than comfortably, be it for who is ahead, for a merging lane, a
    line or a bend. ``bodies`` is scratch."""
    w, a = worlds[row], actors[row]
    shown_a, shown_b = signals.shown(w, 0.0)
    gather(w, a, maps, bodies)
    for _ in range(ROUNDS):
        slowed = 0
        for k in range(1, bodies.count[0]):
            i = bodies.slot[k]
            if i < first or a[i].behaviour != IDM or a[i].v <= 0.0:
                continue
            if wish(w, a, k, maps, bodies, shown_a, shown_b) < -a[i].comfort_brake:
                a[i].v = max(KEPT * a[i].v - LESS_MPS, 0.0)
                slowed += 1
        if slowed == 0:
            return
        note_speeds(a, bodies)
