"""What the expert's plans in the states that the policy came to add to a policy gradient.

``objective.expert_loss`` makes the expert's driven step likelier where the gradient is taken
(policy gradients helped by demonstrations, Rajeswaran et al. 2018, sec. 4.2, here with labels on
the policy's own states as in DAgger): exploration alone rarely finds, say, a swerve to the other
side. ``joint_loss`` is the warm start's own objective, AR + w diffusion, on whole plans of the
expert: a policy gradient moves only the tokens that are driven, in one decoding mode, and this
keeps the others alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from alpamayo.imitation import masks_of, two_view_loss
from alpamayo.types import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from alpamayo.config import LearnerConfig

EXPERT, NOISE = "expert_tokens", "mask_noise"


def mask_noise(tokens: IntArray, group: IntArray) -> FloatArray:
    """Uniform draws float32 [N, 2 + L] for the masks of ``tokens`` [N, L] from the rollout of
    ``group`` ids, see ``imitation.masks_of``."""
    rows, length = tokens.shape
    return _chance(rows, group).random((rows, 2 + length), dtype=np.float32)


def with_shown(
    worth: FloatArray, failed: BoolArray, fraction: float, group: IntArray
) -> FloatArray:
    """``worth`` [N] with ``fraction`` of the rows lifted above all others, so that the expert is
    heard there: half of them by lot from all rows, half from episodes that ``failed`` [N].

    Where every member of a group fails alike, advantages vanish and the gradient would never hear
    of it.
    """
    rng = _chance(len(worth), group)
    lot = rng.random(len(worth))
    count = round(fraction * len(worth))
    anywhere = np.argsort(lot, kind="stable")[: count // 2]
    lot[anywhere] = np.inf
    left = np.flatnonzero(failed & np.isfinite(lot))
    shown = np.concatenate([anywhere, left[np.argsort(lot[left], kind="stable")][: -(-count // 2)]])
    out: FloatArray = worth.astype(np.float32)
    out[shown] += out.max(initial=0.0) + 1.0
    return out


def _chance(rows: int, group: IntArray) -> np.random.Generator:
    """The same for the same rollout in every run; group ids never repeat within one."""
    return np.random.default_rng([rows, int(group[0])])


def joint_loss(
    model: Any, prefix: Tensor, batch: dict[str, Tensor], settings: LearnerConfig
) -> tuple[Tensor, dict[str, float]]:
    """(AR + ``joint_diffusion`` x diffusion of the expert's plans in the rows of ``prefix``
    [B, N, H], both terms).
    """
    tokens = batch[EXPERT].long()
    loss = two_view_loss(model, prefix, tokens, masks_of(batch[NOISE]), settings.joint_diffusion)
    return loss.total, {"joint_ar": loss.ar, "joint_diffusion": loss.diffusion}
