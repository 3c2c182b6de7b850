"""Compile every kernel once and keep the machine code: ``python -m sim.compile``.

Set-up does it, so that no worker's first step has to; ``WorldBatch`` does it with a line on stderr
if set-up did not.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace


def ensure_compiled() -> None:
    """Compile what is not on disk yet, and say so before it takes its time."""
    from sim import kernels

    if kernels.are_compiled():
        return
    kernels.mark_compiled()  # before: making a world below must not come back here
    started = time.perf_counter()
    print(
        f"alpamayo: compiling the simulator's kernels (once, about a minute) into "
        f"{kernels.CACHE_DIR} ...",
        file=sys.stderr,
        flush=True,
    )
    try:
        _touch_everything()
    except BaseException:
        (kernels.CACHE_DIR / kernels.READY).unlink(missing_ok=True)
        raise
    print(
        f"alpamayo: kernels compiled in {time.perf_counter() - started:.0f} s",
        file=sys.stderr,
        flush=True,
    )


def _touch_everything() -> None:
    """Step, forecast and look at a small world, so that each kernel runs once."""
    import numpy as np

    from alpamayo.types import EgoSpec, RoadSpec, Scenario, TrafficSpec
    from sim.config import SimConfig
    from sim.world import WorldBatch

    scenario = Scenario(
        "compile", "compile", True, 1, RoadSpec(), EgoSpec(), traffic=TrafficSpec(2, 1)
    )
    worlds = WorldBatch([scenario], SimConfig())
    steps = worlds.config.plan_steps
    worlds.observe()
    worlds.step(np.zeros((1, steps, 2)))
    worlds.privileged().forecast(np.zeros((1, 1, steps, 2)), np.zeros(1, dtype=np.int64))
    WorldBatch([replace(scenario, seed=2)], SimConfig(rig=None)).step(np.zeros((1, steps, 2)))


if __name__ == "__main__":
    ensure_compiled()
