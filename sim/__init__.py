"""Batched closed-loop driving simulator; ``import sim`` registers ``alpamayo/Driving-v0`` with
gymnasium."""

from gymnasium.envs.registration import register, registry

ENV_ID = "alpamayo/Driving-v0"

if ENV_ID not in registry:
    # Entry points are strings, so the simulator itself is imported when the first environment is
    # made.
    register(
        id=ENV_ID,
        entry_point="sim.env:DrivingEnv",
        vector_entry_point="sim.env:DrivingVectorEnv",
    )
