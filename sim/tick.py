"""The inner loop: every world of a batch, tick by tick.

Order within a tick: a plan that is due takes over; events fire; traffic decides; the controller
and the ego move; the actors move; the judge looks. Worlds that have ended stay frozen. A world
reads and writes its own rows only, so its numbers depend neither on its batch nor on its place in
it.
"""

from __future__ import annotations

from alpamayo.types import END_RUNNING
from sim import ego, events, judge, latency, signals
from sim.actors import motion, traffic
from sim.kernels import kernel
from sim.state import HISTORY


@kernel
def begin_decisions(worlds, plans, queue, queue_due, due_tick):  # type: ignore[no-untyped-def]
    """Every running world's plan [B, K, 2] starts to wait for tick ``due_tick`` [B]."""
    for b in range(len(worlds)):
        if worlds[b].end == END_RUNNING:
            latency.push(worlds[b], queue[b], queue_due[b], plans[b], due_tick[b])
            worlds[b].decision += 1


@kernel
def run(  # type: ignore[no-untyped-def]
    worlds, actors, events_, actions, plan, reference, queue, queue_due, history, tally,
    accel, bodies, before, maps, logs, p, ticks, per_pose, time_limit,
):  # fmt: skip
    """Advance every running world by up to ``ticks`` ticks and judge each of them.

    ``tally`` [B] collects what the judge sees; ``accel`` [A], ``bodies`` and ``before`` [A + 1, 4]
    are scratch. Every ``per_pose`` ticks the ego's pose goes into ``history`` (0: never); a world
    that ended repeats its last one.
    """
    for b in range(len(worlds)):
        w = worlds[b]
        if w.end != END_RUNNING:
            continue
        for t in range(ticks):
            if w.end == END_RUNNING:
                _tick(
                    w, actors[b], events_[b], actions[b], plan[b], reference[b], queue[b],
                    queue_due[b], tally[b], accel, bodies, before, maps, logs, p, time_limit,
                )  # fmt: skip
            if per_pose > 0 and (t + 1) % per_pose == 0:
                _note_pose(w, history[b])


@kernel
def _tick(  # type: ignore[no-untyped-def]
    w, a, e, m, plan, reference, queue, queue_due, tally, accel, bodies, before, maps, logs, p,
    time_limit,
):  # fmt: skip
    time_s = w.tick * p.base_tick_s
    shown_a, shown_b = signals.shown(w, time_s)
    latency.take_over(w, plan, queue, queue_due, reference, p)
    events.fire(w, a, e, m, maps, p, time_s)
    traffic.decide(w, a, accel, bodies, maps, p, shown_a, shown_b)
    judge.remember(w, a, before)
    ego.move(w, plan, reference, tally, maps, p)
    motion.move(w, a, accel, maps, logs, p)
    w.tick += p.stride
    judge.judge(w, a, before, tally, maps, p, shown_a, shown_b, time_limit)


@kernel
def _note_pose(w, history):  # type: ignore[no-untyped-def]
    for i in range(HISTORY - 1):
        for k in range(3):
            history[i, k] = history[i + 1, k]
    history[HISTORY - 1, 0] = w.x
    history[HISTORY - 1, 1] = w.y
    history[HISTORY - 1, 2] = w.heading
