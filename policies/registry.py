"""Policies by name: ``expert``, ``idle``, ``constant_speed``, the directory of a checkpoint, or a
user's own (``policies.user``).
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from alpamayo.types import Policy, RequestError
from policies.user import is_import_path, load_user_policy, offered

NAMED_POLICIES = ("expert", "idle", "constant_speed")


def load_policy(
    spec: str | Path,
    *,
    device: str = "cpu",
    weights: str = "full",
    adapter: str = "",
    **decode_options: Any,
) -> Policy:
    """The policy called ``spec``: a name, ``module:Class``, a checkpoint directory, or the name of
    an entry point, in this order. ``decode_options`` are fields of
    ``policies.vlm.schedule.DecodeConfig``, ``device``, ``weights`` and ``adapter`` as in
    ``alpamayo.config.PolicyConfig`` (a policy that is no network has none of them).

    Imports stay inside, so that naming an expert never loads torch.
    """
    name = str(spec)
    network = is_network(name)
    if not network and decode_options:
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
    if not network:
        return load_user_policy(name)
    from policies.vlm.policy import load_network

    return load_network(Path(name), device, weights, adapter, **decode_options)


def is_network(spec: str) -> bool:
    """Whether ``spec`` is a checkpoint, which decodes tokens; ``RequestError`` if it is nothing."""
    if spec in NAMED_POLICIES or is_import_path(spec):
        return False
    if Path(spec).is_dir():
        return True
    others = offered()
    if spec in others:
        return False
    names = [*NAMED_POLICIES, *sorted(others)]
    near = difflib.get_close_matches(spec, [*names, "shipped"], 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RequestError(
        f"policy {spec}: expected {', '.join(names)}, module:Class or a checkpoint directory "
        f"with config.json and model.safetensors{hint}"
    )


def needs_images(spec: str, policy: Policy) -> bool:
    """Whether cameras have to be drawn for ``policy``. A user's class says ``needs_images = False``
    if it looks at the state alone.
    """
    return spec not in NAMED_POLICIES and bool(getattr(policy, "needs_images", True))


def check_rig(policy: Policy, rig: Any) -> None:
    """Raise ``RequestError`` if ``policy`` cannot take what ``rig`` (a RigConfig or None) sees."""
    if rig is not None and hasattr(policy, "check_images"):
        policy.check_images(len(rig.cameras) * rig.frames, rig.height_px, rig.width_px)
