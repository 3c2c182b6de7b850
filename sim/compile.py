"""Compile every kernel once and keep the machine code: ``python -m sim.compile``.

Set-up does it, so that no worker's first step has to; ``WorldBatch`` does it with a line on stderr
if set-up did not.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

_busy = False  # the worlds made below come back to ``ensure_compiled``


def ensure_compiled() -> None:
    """Compile what is not on disk yet, and say so before it takes its time."""
    global _busy
    from sim import kernels

    if _busy or kernels.are_compiled():
        return
    _busy, started = True, time.perf_counter()
    print(
        f"alpamayo: compiling the simulator's kernels (once, about three minutes) into "
        f"{kernels.CACHE_DIR} ...",
        file=sys.stderr,
        flush=True,
    )
    try:
        _touch_everything()
    finally:
        _busy = False
    kernels.mark_compiled()
    print(
        f"alpamayo: kernels compiled in {time.perf_counter() - started:.0f} s",
        file=sys.stderr,
        flush=True,
    )


def _touch_everything() -> None:
    """Step, forecast and look at a small world, so that each kernel runs once."""
    import numpy as np

    from alpamayo.types import EgoSpec, RoadSpec, Scenario, TrafficSpec, Weather
    from sim.config import SimConfig, alpamayo_rig
    from sim.env import DrivingVectorEnv
    from sim.world import WorldBatch

    scenario = Scenario(
        "compile", "compile", True, 1, RoadSpec(), EgoSpec(), traffic=TrafficSpec(2, 1)
    )
    worlds = WorldBatch([scenario], SimConfig())
    steps = worlds.config.plan_steps
    worlds.observe()
    worlds.step(np.zeros((1, steps, 2)))
    worlds.privileged().forecast(np.zeros((1, 1, steps, 2)), np.zeros(1, dtype=np.int64))
    rainy = replace(scenario, weather=Weather(fog_m=80.0, rain=0.5))
    WorldBatch([rainy], SimConfig(rig=alpamayo_rig(112, 56, 1), decision_s=0.1)).observe()
    DrivingVectorEnv(1, scenario, rig=None).reset(seed=1)


if __name__ == "__main__":
    # The module that worlds import, not this second copy of it.
    from sim.compile import ensure_compiled as ensure

    ensure()
