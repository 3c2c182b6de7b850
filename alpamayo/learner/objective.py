"""The post-training objective: a clipped policy gradient on the exact likelihood of decode traces.

A trace says which tokens were visible when each token was committed, so its log-probability is a
plain sum of conditionals (no ELBO, no mean field), and one packed forward scores every round
(``NLDModel.packed_views``). With the executed-first schedule only round 1 is scored by default: the
later tokens of a plan are replaced before they could be driven, and they cannot have influenced the
executed ones, so leaving them out is exact and costs one view instead of one per round.

Clipping is PPO's (Schulman et al. 2017, eq. 7) on the ratio of the scored tokens' joint
probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from policies.vlm.config import MASK_ID

if TYPE_CHECKING:
    from alpamayo.config import LearnerConfig

MASKED_LOGIT = -1e8  # log-probabilities of absent bins, kept out of 0 * -inf


def scored_views(tokens: Tensor, commit_round: Tensor, mask_id: int, rounds: int) -> Tensor:
    """What the block looked like at the start of each of the first ``rounds`` rounds.

    ``tokens``, ``commit_round`` [B, L] -> ids [B, rounds, L], masked where not committed yet.
    """
    at = torch.arange(rounds, device=tokens.device)[None, :, None]
    visible = commit_round[:, None, :] < at
    return torch.where(visible, tokens[:, None, :], mask_id)


def clipped_loss(log_ratio: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """(per-sample PPO-clip loss [B], was-clipped [B] bool)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    loss = -torch.minimum(ratio * advantage, clipped * advantage)
    return loss, (ratio - 1.0).abs() > clip


def kl_divergence(log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
    """KL(policy || reference) over the last axis, exact."""
    p = log_probs.exp()
    return (p * (log_probs - reference_log_probs)).sum(-1)


def prefix_embeddings(policy: Any, batch: dict[str, Tensor]) -> Tensor:
    """Prefix [B, N, H] of ``prompt_ids`` and either recorded image ``features`` (frozen image
    tower) or ``frames``.
    """
    ids = batch["prompt_ids"].long()
    if "features" in batch:
        return policy.embed_prompt(ids, features=batch["features"])
    return policy.embed_prompt(ids, frames=batch["frames"])


def state_value(module: Any, batch: dict[str, Tensor]) -> Tensor:
    """The critic's value [B], read from the last prefix position."""
    hidden, _ = module.policy.prefill(prefix_embeddings(module.policy, batch))
    return module.critic(hidden)


def policy_loss(
    module: Any, batch: dict[str, Tensor], settings: LearnerConfig
) -> tuple[Tensor, dict[str, float]]:
    """(loss, metrics) of one minibatch.

    ``module`` has ``policy`` (NLDModel), ``reference`` and ``critic`` (or None), and the rollouts'
    ``temperature``. ``batch``: ``prompt_ids`` [B, N], ``frames`` or ``features``, ``tokens``,
    ``commit_round``, ``log_prob`` [B, L] of the rollout, ``advantage``, ``return_`` [B].
    """
    policy = module.policy
    tokens, commit = batch["tokens"].long(), batch["commit_round"].long()
    scored = commit < settings.scored_rounds
    if settings.scored_rounds == 1:
        # One schedule drove the whole batch, so the places of round 1 are the same in every row.
        wanted = scored[0].nonzero().squeeze(1)
    else:
        wanted = torch.arange(settings.scored_rounds * tokens.shape[1], device=tokens.device)
    views = scored_views(tokens, commit, MASK_ID, settings.scored_rounds)
    prefix = prefix_embeddings(policy, batch)
    log_probs, hidden = _score(policy, prefix, views, wanted, module.temperature)
    choice = policy.actions.choice_of(tokens)
    joint = _joint(log_probs, choice, commit, wanted)
    old = torch.where(scored, batch["log_prob"], 0.0).sum(1)
    log_ratio = joint - old
    surrogate, clipped = clipped_loss(log_ratio, batch["advantage"], settings.clip)
    entropy = -(log_probs.exp() * log_probs.clamp_min(MASKED_LOGIT)).sum(-1).mean()
    loss = surrogate.mean() - settings.entropy_weight * entropy
    metrics = {
        "policy_loss": float(surrogate.detach().mean()),
        "approx_kl": float((log_ratio.exp() - 1.0 - log_ratio).detach().mean()),
        "clipfrac": float(clipped.float().mean()),
        "entropy": float(entropy.detach()),
        "ratio": float(log_ratio.detach().exp().mean()),
    }
    if module.reference is not None:
        rows = slice(None, None, max(1, round(1.0 / settings.kl_fraction)))
        kl = _reference_kl(module, batch, views, wanted, log_probs, rows)
        loss = loss + settings.kl_weight * kl
        metrics["kl_reference"] = float(kl.detach())
    if module.critic is not None:
        value_loss = (module.critic(hidden) - batch["return_"]).square().mean()
        loss = loss + settings.value_weight * value_loss
        metrics["value_loss"] = float(value_loss.detach())
    return loss, metrics


def _score(
    policy: Any, prefix: Tensor, views: Tensor, wanted: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """(log-probs [B, M, bins] at ``temperature`` of the flattened view positions ``wanted`` [M],
    last prefix hidden state [B, H]).
    """
    length, start = views.shape[-1], prefix.shape[1]
    keep = torch.cat([wanted.new_tensor([start - 1]), start + wanted])
    hidden = policy.packed(prefix, [(view, False) for view in views.unbind(1)], keep=keep)
    logits = policy.action_logits(hidden[:, 1:], wanted % length)
    return (logits / temperature).log_softmax(-1), hidden[:, 0]


def _joint(log_probs: Tensor, choice: Tensor, commit: Tensor, wanted: Tensor) -> Tensor:
    """[B] joint log-probability, over ``wanted`` view positions, of the tokens committed in just
    that round.
    """
    length = choice.shape[1]
    at, place = wanted // length, wanted % length
    taken = log_probs.gather(-1, choice[:, place, None]).squeeze(-1)
    return torch.where(commit[:, place] == at, taken, 0.0).sum(1)


def _reference_kl(
    module: Any,
    batch: dict[str, Tensor],
    views: Tensor,
    wanted: Tensor,
    log_probs: Tensor,
    rows: slice,
) -> Tensor:
    """Mean KL per position to the frozen start, over every ``rows`` of the minibatch (it costs a
    forward).
    """
    inputs = [name for name in batch if name in ("prompt_ids", "frames", "features")]
    part = {name: batch[name][rows] for name in inputs}
    with torch.no_grad():
        prefix = prefix_embeddings(module.reference, part)
        reference, _ = _score(module.reference, prefix, views[rows], wanted, module.temperature)
    return kl_divergence(log_probs[rows], reference).mean()
