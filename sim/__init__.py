"""Batched closed-loop driving simulator; ``import sim`` registers its environments with gymnasium:

``alpamayo/Driving-v0`` plans from camera images (or what ``rig=`` says);
``alpamayo/DrivingState-v0`` direct controls from one flat array, for stock trainers.
"""

from gymnasium.envs.registration import register, registry

ENV_ID = "alpamayo/Driving-v0"
STATE_ENV_ID = "alpamayo/DrivingState-v0"

# Entry points are strings, so the simulator itself is imported when the first environment is made.
for _id, _settings in (
    (ENV_ID, {}),
    (STATE_ENV_ID, {"rig": None, "action": "controls", "flatten": True}),
):
    if _id not in registry:
        register(
            id=_id,
            entry_point="sim.env:DrivingEnv",
            vector_entry_point="sim.env:DrivingVectorEnv",
            kwargs=_settings,
        )
