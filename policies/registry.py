"""Policies by name: ``expert``, ``idle``, ``constant_speed`` or the directory of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alpamayo.types import Policy, RequestError

NAMED_POLICIES = ("expert", "idle", "constant_speed")


def load_policy(
    spec: str | Path,
    *,
    device: str = "cpu",
    weights: str = "full",
    adapter: str = "",
    **decode_options: Any,
) -> Policy:
    """The policy called ``spec``; ``decode_options`` are fields of
    ``policies.vlm.schedule.DecodeConfig``, ``device``, ``weights`` and ``adapter`` as in
    ``alpamayo.config.PolicyConfig`` (a policy that is no network has none of them).

    Imports stay inside, so that naming an expert never loads torch.
    """
    name = str(spec)
    if name in NAMED_POLICIES and decode_options:
        raise RequestError(
            f"policy {name}: it decodes no tokens, so it takes no decode options "
            f"(got {', '.join(sorted(decode_options))})"
        )
    if name == "expert":
        from policies.expert import ExpertPolicy

        return ExpertPolicy()
    if name == "idle":
        from policies.idle import IdlePolicy

        return IdlePolicy()
    if name == "constant_speed":
        from policies.idle import ConstantSpeedPolicy

        return ConstantSpeedPolicy()
    directory = Path(name)
    if not directory.is_dir():
        raise RequestError(
            f"policy {name}: expected {', '.join(NAMED_POLICIES)} or a checkpoint directory "
            "with config.json and model.safetensors"
        )
    from policies.vlm.policy import load_network

    return load_network(directory, device, weights, adapter, **decode_options)


def check_rig(policy: Policy, rig: Any) -> None:
    """Raise ``RequestError`` if ``policy`` cannot take what ``rig`` (a RigConfig or None) sees."""
    if rig is not None and hasattr(policy, "check_images"):
        policy.check_images(len(rig.cameras) * rig.frames, rig.height_px, rig.width_px)
